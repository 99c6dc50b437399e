#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Waits at their edges: threads that move, end, exec or fork while they wait, live for a moment, or wait a million times."""
from harness import *

LIFE = "c-waits-life-nofp"


def by_thread(profiles):
    """(pid, tid) -> reason -> nanoseconds."""
    found = {}
    for s in [s for profile in profiles for s in profile.samples]:
        reasons = found.setdefault((s.labels["pid"], s.labels["tid"]), {})
        reasons[s.labels["reason"]] = reasons.get(s.labels["reason"], 0) + s.values[1]
    return found


def stolen_nsec():
    """What the machine's host gave to others, of all CPUs: a thread that has a CPU then does not run, and no clock of ours knows."""
    with open("/proc/stat") as f:
        return int(f.readline().split()[8]) * 10**9 // os.sysconf("SC_CLK_TCK")


def run_whole(*arguments, kinds="block", options=()):
    """(what the program printed, kind -> profiles): a command from its first instruction to its end."""
    directory = tempdir()
    stolen = stolen_nsec()
    done = run(find_binary(), "--once", "--kind", kinds, "--output", directory + "/", *options, "--", target_path(LIFE), *arguments)
    stolen = stolen_nsec() - stolen
    if stolen:
        note(f"the machine's host took {stolen / 1e6:.0f} ms away")
    # What there is before the exec is another service's: it is the same command.
    profiles = {}
    for f in files_below(directory, kind=None):
        profiles.setdefault(f.kind, []).append(f.profile)
    truths = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    truths[0]["stolen_ns"] = stolen
    return truths, profiles


def show(what, name, waited, expected, life, reasons):
    note(f"{what:9} {name:7} waited {waited / 1e6:.3f} ms, its clocks say {expected / 1e6:.3f} ({100 * (waited - expected) / life:+.3f} % of its "
         f"life): " + ", ".join(f"{r} {n / 1e6:.2f}" for r, n in sorted(reasons.items(), key=lambda item: -item[1])))


def check_lives(truths, profiles, allowed=0.02, allowed_of_life=0, edge_nsec=3e6):
    """Each thread's waits are its life less its CPU time. At its edges it is there already, or still, but not on its own clocks."""
    waits = by_thread(profiles)
    for truth in truths:
        for thread in truth["threads"]:
            reasons = waits.get((thread["pid"], thread["tid"]), {})
            waited, expected = sum(reasons.values()), thread["wall_ns"] - thread["cpu_ns"]
            if len(truth["threads"]) <= 8:
                show(truth["what"], thread["name"], waited, expected, thread["wall_ns"], reasons)
            slack = allowed * expected + allowed_of_life * thread["wall_ns"] + edge_nsec
            check_measured(abs(waited - expected) <= slack + truths[0]["stolen_ns"], f"{truth['what']}: {thread['name']} waited "
                           f"{waited / 1e6:.2f} ms, {expected / 1e6:.2f} by its own clocks")


@test
def waits_of_threads_that_are_moved_are_whole():
    truths, profiles = run_whole("migrate", "4")
    # The kernel sees a move some 4 us before or after our programs do, and who burns is moved as often as who sleeps: of a thread
    # that hardly waits that is more than 2 %, and what one has too much another one has too little.
    check_lives(truths, profiles["block"], allowed_of_life=0.01)
    expected = sum(t["wall_ns"] - t["cpu_ns"] for t in truths[0]["threads"])
    tids = {(t["pid"], t["tid"]) for t in truths[0]["threads"]}
    waited = sum(sum(reasons.values()) for thread, reasons in by_thread(profiles["block"]).items() if thread in tids)
    check_measured(abs(waited - expected) < 0.01 * expected + truths[0]["stolen_ns"], f"all waited {waited / 1e6:.2f} ms, {expected / 1e6:.2f} by their clocks")


@test_each(["wait 3", "cancel 2"])
def waits_of_threads_are_whole(arguments):
    truths, profiles = run_whole(*arguments.split())
    check_lives(truths, profiles["block"])


@test
def an_exec_ends_the_waits_of_all_threads_and_nothing_is_lost_or_twice():
    truths, profiles = run_whole("exec", "2")
    check_equal(len(truths), 2, "images that printed")
    before, after = truths
    # The first thread's number is the same in both, and the profile adds them up.
    main = next(t for t in before["threads"] if t["name"] == "main")
    after["threads"][0]["wall_ns"] += main["wall_ns"]
    # Since the exec the number of the thread that did it is gone, and so is its own.
    before["threads"].remove(main)
    check_lives(truths, profiles["block"])


@test
def a_command_with_short_lived_children_is_seen_from_its_first_instruction_to_its_exit():
    truths, profiles = run_whole("fork", "40", "50", kinds="block,cpu")
    check_lives(truths, profiles["block"], edge_nsec=1e6)
    waits = by_thread(profiles["block"])
    total = sum(sum(waits.get((t["pid"], t["tid"]), {}).values()) for t in truths[0]["threads"])
    expected = sum(t["wall_ns"] - t["cpu_ns"] for t in truths[0]["threads"])
    note(f"40 children: {total / 1e6:.2f} ms of {expected / 1e6:.2f}: {100 * total / expected:.2f} %")
    check_measured(abs(total - expected) < 0.02 * expected, "the sum is not that of the children's clocks")


@test
def children_of_a_shell_that_exec_are_all_there():
    directory = tempdir()
    run(find_binary(), "--once", "--kind", "block,cpu", "--output", directory, "--", "/bin/sh", "-c",
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/sleep 0.05; done")
    slept = {}
    for s in [s for f in files_below(directory, kind="block") for s in f.profile.samples]:
        if s.labels["comm"] == "sleep" and s.labels["reason"] == "sleep":
            slept[s.labels["pid"]] = slept.get(s.labels["pid"], 0) + s.values[1]
    note(f"{len(slept)} children slept {sum(slept.values()) / 1e6:.2f} ms, from {min(slept.values()) / 1e6:.3f} to {max(slept.values()) / 1e6:.3f}")
    check_equal(len(slept), 20, "children")
    for pid, nsec in slept.items():
        check_measured(0.05 * 0.98 <= nsec / 1e9 <= 0.05 * 1.02 + 0.002, f"{pid} slept {nsec / 1e6:.2f} ms")


@test_each(["futex 1 500000", "pipe 1 500000", "eventfd 1 500000"])
def a_million_waits_of_a_microsecond_sum_up(arguments):
    truths, profiles = run_whole("pingpong", *arguments.split())
    note(re.search(r"waits of .* in this window: .*", "\n".join(profiles["block"][0].comments))[0])
    check_lives(truths, profiles["block"])


@test_each(["futex 2 50000", "pipe 2 50000", "eventfd 2 50000"])
def waits_from_one_cpu_to_the_other_are_not_more_than_the_calls_and_not_less_than_the_clocks(arguments):
    """A thread that is woken on another CPU is charged by the kernel from the interrupt on that wakes it, which on a virtual machine
    may take longer than the wait: it does not run yet, so that we have more than the kernel's clock leaves over."""
    truths, profiles = run_whole("pingpong", *arguments.split())
    waits = by_thread(profiles["block"])
    for thread in truths[0]["threads"]:
        reasons = waits[thread["pid"], thread["tid"]]
        waited, least = sum(reasons.values()), thread["wall_ns"] - thread["cpu_ns"]
        show("pingpong", thread["name"], waited, least, thread["wall_ns"], reasons)
        edge = truths[0]["stolen_ns"] + 3e6
        check_measured(0.98 * least - edge <= waited <= 1.02 * thread["called_ns"] + edge,
                       f"{waited / 1e6:.2f} ms, not from {least / 1e6:.2f} to {thread['called_ns'] / 1e6:.2f}")


# --- By schedule --------------------------------------------------------------------------------------------------------

def waits_config(target, duration="1s", **more):
    """Gapless windows of all kinds, of one process alone."""
    window = {"duration": duration, "interval": duration}
    return cpu_config(duration, targets=f'[{{service: waits, match: {{pid: "{target.pid}"}}}}]', host={"enabled": False},
                      block=dict(window), wall={"enabled": True, **window}, **more)


@test
def wall_of_each_of_500_threads_is_the_window():
    target = Target(LIFE, "many", 500, 60, preexec_fn=yielding)
    time.sleep(1)
    daemon = Daemon(waits_config(target, "2s"))
    daemon.wait_files(4, "waits", kind="wall", timeout=60)
    for f in daemon.files("waits", kind="wall")[1:]:
        threads = by_thread([f.profile])
        off = {key: sum(reasons.values()) / f.profile.duration_nsec - 1 for key, reasons in threads.items()}
        worst = max(off, key=lambda key: abs(off[key]))
        note(f"{len(off)} threads; the worst is {100 * off[worst]:+.3f} % off: {threads[worst]}")
        check(len(off) >= 500, "threads are missing")
        check_measured(abs(off[worst]) < 0.01, "a thread's wall time is not the window")


@test
def waits_across_windows_sum_up_and_nothing_is_twice():
    target = Target(LIFE, "wait", 90)
    time.sleep(0.5)
    daemon = Daemon(waits_config(target))
    daemon.wait_files(9, "waits", kind="block", timeout=40)
    files = daemon.files("waits", kind="block")[:9]
    covered = sum(f.profile.duration_nsec for f in files)
    threads = by_thread([f.profile for f in files])
    check_equal(len(threads), 5, "threads")
    for key, reasons in threads.items():
        waited = sum(reasons.values())
        note(f"{key[1]}: {waited / 1e6:.3f} of {covered / 1e6:.3f} ms in {len(files)} windows: {reasons}")
        check_measured(0.98 * covered <= waited <= covered + 5e6, f"{waited / covered:.4f} of the windows")
    for f in files:
        for key, reasons in by_thread([f.profile]).items():
            check_measured(sum(reasons.values()) <= 1.01 * f.profile.duration_nsec, f"{key} waited for longer than the window")


def told(profile):
    """seen, kept and lost of a window."""
    found = re.search(r"waits of .* in this window: seen (\d+) = kept (\d+) \+ lost (\d+)", "\n".join(profile.comments))
    check(found, "the comments do not say what was seen")
    return tuple(map(int, found.groups()))


@test
def shares_of_waits_at_50000_switches_a_second_are_true_over_20_windows():
    target = Target(LIFE, "shares", 25)
    daemon = Daemon(waits_config(target))
    truth = target.truth()
    marks = truth["marks"]
    times = [m[0] for m in marks]

    def at(moment, which):
        i = min(max(bisect.bisect_left(times, moment), 1), len(marks) - 1)
        a, b = marks[i - 1], marks[i]
        return a[which] + (b[which] - a[which]) * (moment - a[0]) / max(b[0] - a[0], 1)

    tid, errors = truth["threads"][0]["tid"], []
    inside = [f.profile for f in daemon.files("waits", kind="block") if times[0] < f.profile.time_nsec and
              f.profile.time_nsec + f.profile.duration_nsec < times[-1]]
    for profile in inside[1:21]:
        waited = {"wait_in_f": 0, "wait_in_g": 0}
        for s in profile.samples:
            name = s.first_of(waited)
            if s.labels["tid"] == tid and name:
                waited[name] += s.values[1]
        end = profile.time_nsec + profile.duration_nsec
        f, g = (at(end, which) - at(profile.time_nsec, which) for which in (1, 2))
        share, found = f / (f + g), waited["wait_in_f"] / max(sum(waited.values()), 1)
        errors.append(found - share)
        note(f"{told(profile)[0]} waits; f has {100 * share:.2f} % by its clocks, {100 * found:.2f} % by the profile")
    check(len(errors) >= 18, f"only {len(errors)} windows")
    mean = sum(errors) / len(errors)
    deviation = math.sqrt(sum((e - mean) ** 2 for e in errors) / (len(errors) - 1))
    note(f"mean error {100 * mean:+.3f} %, standard deviation of a window {100 * deviation:.3f} %, 3 standard errors "
         f"{300 * deviation / math.sqrt(len(errors)):.3f} %")
    check_measured(abs(mean) <= 3 * deviation / math.sqrt(len(errors)), "a bias")


@test_each(["--test-entries 24", "--test-ring 4096", "--test-entries 16 --test-ring 4096"])
def what_does_not_fit_is_counted_and_what_is_told_is_true(options):
    target = Target("c-waits-nofp", 60)
    time.sleep(1)
    daemon = Daemon(waits_config(target), *options.split())
    daemon.wait_files(4, "waits", kind="block")
    incomplete = 0
    for f in daemon.files("waits", kind="block")[1:]:
        seen, kept, lost = told(f.profile)
        text = "\n".join(f.profile.comments)
        check_equal(seen, kept + lost, "seen")
        check_equal(f.profile.n_samples, kept, "waits in the file")
        unknown = sum(s.values[1] for s in f.profile.samples if s.names == ["[stack lost]"])
        waited = sum(s.values[1] for s in f.profile.samples)
        note(f"seen {seen}, lost {lost}, stacks lost of {100 * unknown / max(waited, 1):.2f} % of the time told")
        if lost > 0.01 * seen or unknown > 0.01 * waited:
            check("INCOMPLETE" in text, f"it is not marked: {text}")
            incomplete += 1
        # Never more than there is: no thread's waits are longer than the window, and none is in another's function.
        for key, reasons in by_thread([f.profile]).items():
            check_measured(sum(reasons.values()) <= 1.01 * f.profile.duration_nsec, f"{key} waited for longer than the window")
        for s in f.profile.samples:
            others = [n for n in s.names if n.startswith("wait_")]
            check(not others or s.labels["thread"] == "starved" or others == [f"wait_{s.labels['thread']}"], f"{s.labels} in {s.names}")
    check(incomplete or "entries" not in options, "nothing was too small: the test does not test")


main()
