#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Who ended a wait: who held the lock, who woke, who had the CPU."""
from harness import *

OTHERS = {"[held by]", "[woken by]", "[ran instead]"}


def split(sample):
    """(frames of who waited, what joins them, frames of the other one), each leaf first."""
    for i, name in enumerate(sample.names):
        if name in OTHERS:
            return sample.names[i + 1:], name, sample.names[:i]
    return sample.names, None, []


def nsec_of(samples):
    return sum(s.values[1] for s in samples)


def write(text):
    path = os.path.join(tempdir(), "profiling.yaml")
    with open(path, "w") as f:
        f.write(text)
    return path


def once(pid, kinds, wakers, duration="3s"):
    """kind -> profile"""
    directory = tempdir()
    config = write("profiling:\n  block: {wakers: %s}\n" % ("true" if wakers else "false"))
    run(find_binary(), "--once", "--config", config, "--kind", kinds, "--pid", pid, "--duration", duration, "--output", directory)
    return {f.kind: f.profile for f in files_below(directory, kind=None)}


def record(wakers):
    """(threads of the target, kind -> profile) of one window."""
    target = Target("c-wakers-nofp", 6)
    time.sleep(1)
    profiles = once(target.pid, "block,mutex,wall", wakers)
    return target.truth()["threads"], profiles


def check_share(samples, is_right, least, what):
    """Of the time of these samples."""
    right, everything = nsec_of(s for s in samples if is_right(s)), nsec_of(samples)
    check(everything, f"{what}: there is nothing")
    note(f"{what}: {100 * right / everything:.2f} % of {everything / 1e6:.1f} ms")
    check_measured(right >= least * everything, f"{what}: {100 * right / everything:.2f} %")


def is_held(sample):
    waiter, how, other = split(sample)
    return how == "[held by]" and "want_the_lock" in waiter and "hold_a_lock" in other and "want_the_lock" not in other


@test
def waits_for_a_lock_show_who_held_it():
    threads, profiles = record(False)
    mutex = profiles["mutex"]
    samples = [s for s in mutex.samples if s.labels["thread"] == "wanter"]
    check_share(samples, is_held, 0.95, "want_the_lock > [held by] > hold_a_lock")
    holder = next(t["tid"] for t in threads if t["name"] == "holder")
    check_share(samples, lambda s: s.labels.get("holder") == holder, 0.95, "label holder")
    # Three of them wait most of the time, of which this is a half, and no time is told twice.
    waited = nsec_of(samples) / mutex.duration_nsec
    truth = sum(t["waited_ns"] for t in threads if t["name"] == "wanter") / 6e9
    note(f"they waited {waited:.3f} times the window, their clocks say {truth:.3f}")
    check_measured(abs(waited - truth) < 0.1 * truth, "time for the lock")
    whole = [s for s in mutex.samples if split(s)[1]]
    check_share(whole, lambda s: split(s)[0][-1] == split(s)[2][-1] and "start_thread" in split(s)[2], 0.99, "both stacks reach their root")


@test
def without_wakers_block_and_wall_have_no_other_stacks():
    _, profiles = record(False)
    for kind in "block", "wall":
        check(not any(split(s)[1] for s in profiles[kind].samples), f"{kind} has other stacks")
        check(not any("holder" in s.labels for s in profiles[kind].samples), f"{kind} has holders")
        # Each stack with its labels once: who unlocked makes no difference.
        rows = [(tuple(s.names), tuple(sorted(s.labels.items()))) for s in profiles[kind].samples if s.labels["reason"] == "lock"]
        check_equal(len(rows), len(set(rows)), f"{kind}: rows")
    lock = {kind: nsec_of(s for s in profiles[kind].samples if s.labels["reason"] == "lock") for kind in profiles}
    check_equal(lock["block"], lock["mutex"], "time for locks in block and in mutex")


@test
def with_wakers_block_shows_who_woke():
    _, profiles = record(True)
    samples = profiles["block"].samples
    for thread, reason, waits, wakes in (("reader", "pipe", "read_the_pipe", "produce_for_pipe"),
                                         ("awaiter", "channel", "await_the_condition", "signal_the_condition")):
        mine = [s for s in samples if s.labels["thread"] == thread and s.labels["reason"] == reason]
        check_share(mine, lambda s: split(s)[1] == "[woken by]" and waits in split(s)[0] and wakes in split(s)[2] and
                    waits not in split(s)[2], 0.95, f"{waits} > [woken by] > {wakes}")
    mine = [s for s in samples if s.labels["thread"] == "wanter" and s.labels["reason"] == "lock"]
    check_share(mine, is_held, 0.95, "want_the_lock > [held by] > hold_a_lock, in block")
    check(not any(split(s)[1] for s in profiles["wall"].samples), "wall has other stacks")


def hog(cpu):
    def prepare():
        os.sched_setaffinity(0, {cpu})
        os.nice(-20)
    return Target("c-shares-nofp", 60, preexec_fn=prepare)


def pinned(cpu, *arguments):
    """With what it competes with it has the CPU nearly for itself, whatever else runs."""
    def prepare():
        os.sched_setaffinity(0, {cpu})
        os.nice(-20)
    return Target("c-wakers-nofp", *arguments, preexec_fn=prepare)


@test
def a_timer_is_not_taken_for_the_thread_that_it_interrupts():
    cpu = max(os.sched_getaffinity(0))
    hog(cpu)
    target = pinned(cpu, 60)
    time.sleep(1)
    samples = [s for s in once(target.pid, "block", True)["block"].samples if s.labels["thread"] == "sleeper" and s.labels["reason"] == "sleep"]
    check_share(samples, lambda s: split(s)[1:] == ("[woken by]", ["[interrupt]"]), 0.95, "sleep_a_while > [woken by] > [interrupt]")
    wrong = [s for s in samples if split(s)[2] not in ([], ["[interrupt]"])]
    check(not wrong, f"woken by {wrong and split(wrong[0])[2]}")


@test
def who_had_the_cpu_is_named_and_seen():
    cpu = max(os.sched_getaffinity(0))
    hogs = [hog(cpu), hog(cpu)]
    target = pinned(cpu, 60, "starve")
    time.sleep(1)
    profile = once(target.pid, "block", True, "5s")["block"]
    samples = [s for s in profile.samples if s.labels["thread"] == "starved" and s.labels["reason"] == "runqueue"]
    waited = nsec_of(samples) / profile.duration_nsec
    note(f"it waited {100 * waited:.1f} % of the window for a CPU that it shares with {len(hogs)} others")
    check_measured(0.5 < waited < 0.8, f"{100 * waited:.1f} % of the window")
    # All but those of less than 100 us, of which who ran is not asked.
    long = [s for s in samples if "by" in s.labels or s.values[1] / s.count >= 100e3]
    check_measured(nsec_of(long) > 0.9 * nsec_of(samples), "most of it are short waits")
    by = sorted({s.labels.get("by") for s in long}, key=str)
    note(", ".join(f"{name} {nsec_of(s for s in long if s.labels.get('by') == name) / 1e6:.1f} ms" for name in by))
    check_share(long, lambda s: s.labels.get("by") == "c-shares-nofp", 0.95, "label by")
    check_share([s for s in long if s.labels.get("by") == "c-shares-nofp"], lambda s: split(s)[1] == "[ran instead]" and "truth_spend" in split(s)[2],
                0.95, "[ran instead] > truth_spend")
    check(not any("by" in s.labels for s in profile.samples if s.labels["reason"] != "runqueue"), "other waits have `by`")


@test
def who_had_the_cpu_is_named_without_wakers_too():
    cpu = max(os.sched_getaffinity(0))
    hog(cpu)
    target = pinned(cpu, 60, "starve")
    time.sleep(1)
    profiles = once(target.pid, "block,wall", False)
    for kind in "block", "wall":
        samples = [s for s in profiles[kind].samples if s.labels["thread"] == "starved" and s.labels["reason"] == "runqueue"]
        check_share(samples, lambda s: s.labels.get("by") == "c-shares-nofp" and not split(s)[1], 0.9, f"label by in {kind}")


@test
def a_reload_turns_wakers_on():
    target = Target("c-wakers-nofp", 120)

    def config(wakers):
        window = {"duration": "1s", "interval": "1s"}
        return cpu_config("1s", targets=f'[{{service: waits, match: {{pid: "{target.pid}"}}}}]', host={"enabled": False},
                          block={"wakers": wakers, **window}, mutex={"enabled": False})

    daemon = Daemon(config(False))
    daemon.wait_files(2, "waits", kind="block")
    check("no effect" not in daemon.log(), daemon.log())
    check(not any(split(s)[1] for f in daemon.files("waits", kind="block") for s in f.profile.samples), "there are other stacks")
    daemon.write_config(config(True))
    daemon.send(signal.SIGHUP)
    wait_for(lambda: any("produce_for_pipe" in split(s)[2] and split(s)[1] == "[woken by]" for s in daemon.files("waits", kind="block")[-1].profile.samples),
             "who woke is told")


main()
