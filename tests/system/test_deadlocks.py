#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Threads that wait for each other for good are found and told, nobody else is; what each lock cost."""
from harness import *

DEADLOCK = r"deadlock in (\S+) \(process (\d+)\): (.*)"
WAIT = r"thread (\d+) \((.*?)\) waits for lock 0x([0-9a-f]+), which (?:thread (\d+) \((.*?)\) has|(it has itself)): (.*)"
LOCK = r"lock 0x([0-9a-f]+) of process (\d+): ([0-9.]+) s in (\d+) waits of (\d+) threads, longest ([0-9.]+) s; owners seen: (\d+)(?: \((.*)\))?$"


def start(name, *arguments):
    """The program, and what it says when its threads are where they stay."""
    target = Target(name, *arguments, stderr=subprocess.DEVNULL)
    return target, lambda: json.loads(target.process.stdout.readline())


def circle(truth):
    """{(thread, lock, owner)} as it is known to be."""
    threads, locks = truth["threads"], truth["locks"]
    n = len(threads)
    return {(threads[i]["tid"], locks[(i + 1) % n], threads[(i + 1) % n]["tid"]) for i in range(n)}


def told(text):
    """({(thread, lock, owner)}, thread -> stack) of lines."""
    found = [m for m in re.findall(WAIT, text, re.M)]
    return ({(int(tid), int(lock, 16), int(owner or tid)) for tid, _, lock, owner, _, _, _ in found},
            {int(tid): stack.split(" <- ") for tid, _, _, _, _, _, stack in found})


def once(target, kind="mutex", duration="2s"):
    """(its output, comments of the mutex profile, exit status)."""
    directory = tempdir()
    done = run(find_binary(), "--once", "--kind", kind, "--pid", target.pid, "--duration", duration, "--output", directory + "/", check_status=False)
    files = files_below(directory, kind="mutex")
    return done.stdout, "\n".join(files[0].profile.comments) if files else "", done.returncode


def waits_config(target, duration="2s", interval=None):
    """Of windows of 1 s some are too short to tell, when the one before ended late."""
    window = {"duration": duration, "interval": interval or duration}
    return cpu_config(duration, interval, targets=f'[{{service: locker, match: {{pid: "{target.pid}"}}}}]', host={"enabled": False},
                      block=dict(window), mutex={"enabled": True}, wall={"enabled": False, **window})


def needs(stacks, truth):
    """The functions that wait are in the stacks, and they are the application's alone."""
    for thread in truth["threads"]:
        stack = stacks[thread["tid"]]
        check(len(stack) <= 12, f"{len(stack)} frames in a line")
        for function in (f"want_{thread['name']}", f"hold_{thread['name']}"):
            check(function in stack, f"{function} is not in {stack}")
        check(not any("mutex_lock" in f or "clone" in f for f in stack), f"frames of libc are in {stack}")


@test_each(["two", "three", "self", "inherit"])
def a_deadlock_that_arises_under_the_daemon_is_told_with_all_stacks(what):
    target, truth = start("c-deadlock-nofp", what, 3600, 4)
    daemon = Daemon(waits_config(target))
    truth = truth()
    began = time.monotonic()
    daemon.wait_log(DEADLOCK, 15)
    note(f"told {time.monotonic() - began + 1:.1f} s after it arose")
    time.sleep(0.5)
    waits, stacks = told(daemon.log())
    check_equal(waits, circle(truth), "who waits for what, and who has it")
    needs(stacks, truth)
    n = len(truth["threads"])
    service, pid, text = re.findall(DEADLOCK, daemon.log())[0]
    check_equal((service, int(pid)), ("locker", target.pid), "service and process")
    check(("itself" if n == 1 else f"{n} threads") in text, text)
    # In each window's profile, with whole stacks.
    files = daemon.files("locker", kind="mutex")
    waits, stacks = told("\n".join(files[-1].profile.comments))
    check_equal(waits, circle(truth), "the same in the comments")
    for thread in truth["threads"]:
        check(any("mutex_lock" in f for f in stacks[thread["tid"]]), f"the whole stack is {stacks[thread['tid']]}")


@test
def it_is_told_once_and_again_when_it_is_gone():
    target, truth = start("c-deadlock-nofp", "two", 3600, 2)
    daemon = Daemon(waits_config(target))
    truth()
    daemon.wait_log(DEADLOCK, 15)
    metrics = daemon.fresh_metrics()
    check_equal(metrics.get('tsprofd_deadlocks{service="locker"}'), 1, "tsprofd_deadlocks")
    check_equal(len(re.findall(DEADLOCK, daemon.log())), 1, "times it was told")
    check_equal(len(re.findall(WAIT, daemon.log())), 2, "threads that were told")
    check("is gone" not in daemon.log(), "it is not gone")
    target.kill()
    daemon.wait_log(r"The deadlock in locker \(process \d+\) is gone", 15)
    check_equal(daemon.fresh_metrics().get('tsprofd_deadlocks{service="locker"}'), 0, "tsprofd_deadlocks afterwards")


@test
def a_mutex_of_cpp_is_one_too():
    target, truth = start("cpp-deadlock-nofp")
    truth = truth()
    out, comments, status = once(target)
    check_equal(status, 0, "exit status")
    check_equal(told(out)[0], circle(truth), "on the terminal")
    check_equal(told(comments)[0], circle(truth), "in the comments")


@test
def the_functions_of_cpp_are_in_its_stacks():
    target, truth = start("cpp-deadlock-nofp", 3600, 4)
    daemon = Daemon(waits_config(target))
    truth = truth()
    daemon.wait_log(DEADLOCK, 15)
    time.sleep(0.5)
    waits, stacks = told(daemon.log())
    check_equal(waits, circle(truth), "who waits for what")
    for thread, function in zip(truth["threads"], ("Bank::pay", "Bank::audit")):
        check(any(function in f for f in stacks[thread["tid"]]), f"{function} is not in {stacks[thread['tid']]}")


@test_each(["two", "three", "self", "inherit"])
def a_deadlock_from_long_before_is_found_by_once(what):
    target, truth = start("c-deadlock-nofp", what)
    truth = truth()
    time.sleep(2)
    out, comments, status = once(target)
    check_equal(status, 0, "exit status")
    check_equal(told(out)[0], circle(truth), "on the terminal")
    check_equal(told(comments)[0], circle(truth), "in the comments")


@test
def a_deadlock_from_long_before_has_its_stacks():
    target, truth = start("c-deadlock-nofp", "two")
    truth = truth()
    time.sleep(2)
    needs(told(once(target)[0])[1], truth)


@test
def a_deadlock_in_a_pid_namespace_is_found():
    unshare = need_tool("unshare")
    target = Target(unshare, "--pid", "--fork", "--mount-proc", "--kill-child", target_path("c-deadlock-nofp"), "three", stderr=subprocess.DEVNULL)
    truth = json.loads(target.process.stdout.readline())
    with open(f"/proc/{target.pid}/task/{target.pid}/children") as f:
        target.pid = int(f.read().split()[0])
    out, comments, status = once(target)
    waits, _ = told(out)
    note(out)
    note(f"threads there {[t['tid'] for t in truth['threads']]}, here {sorted(tid for tid, _, _ in waits)}")
    check_equal({lock for _, lock, _ in waits}, set(truth["locks"]), "locks")
    check_equal({tid for tid, _, _ in waits}, {int(t) for t in os.listdir(f"/proc/{target.pid}/task")} - {target.pid}, "threads")


@test_each(["timed", "handed"])
def what_looks_like_a_deadlock_and_is_none_is_not_told(what):
    target, truth = start("c-deadlock-nofp", what, 3600, 3)
    daemon = Daemon(waits_config(target))
    truth = truth()
    n = len(daemon.files("locker", kind="mutex"))
    daemon.wait_files(n + 4, "locker", kind="mutex")
    check(not re.search("deadlock", daemon.log()), "it told of one")
    file = daemon.files("locker", kind="mutex")[-1]
    waiting = {s.labels["tid"] for s in file.profile.samples}
    # The test is about waits that last.
    check(len(waiting) >= 2, f"only {waiting} wait")
    if what == "handed":
        owners = {int(m[1], 16): m[8] for c in file.profile.comments if (m := re.search(LOCK, c))}
        note(f"owners when the waits began: {owners}")
        # By these there is a circle.
        check_equal(owners.get(truth["locks"][2]), str(truth["threads"][2]["tid"]), "who had the lock of right")
        check_equal(owners.get(truth["locks"][0]), str(truth["threads"][0]["tid"]), "who had the lock of left")
    out, comments, _ = once(target)
    check(not re.search("deadlock in", out + comments), "once told of one")


@test_each(["busy", "others"])
def a_busy_program_is_no_false_alarm(what):
    target, truth = start("c-deadlock-nofp", what)
    truth()
    minutes = float(os.environ.get("TSPROFD_BUSY_MINUTES") or (0.4 if what == "busy" else 0.2))
    daemon = Daemon(waits_config(target, "1s"))
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        time.sleep(1)
        check(daemon.alive(), "the daemon ended")
        check(not re.search(DEADLOCK, daemon.log()), "it told of a deadlock")
    daemon.stop()
    files = daemon.files("locker", kind="mutex")
    waits = [s for f in files for s in f.profile.samples]
    whole = sum(s.values[1] >= 0.98 * f.profile.duration_nsec for f in files for s in f.profile.samples)
    note(f"{len(files)} windows, {sum(s.count for s in waits)} waits for locks, {whole} of them as long as a window")
    if what == "busy":
        check(len(files) > 40 * minutes, f"only {len(files)} windows")
        check(whole > 1000 * minutes, "the test is about waits that take all of a window")
    check(not any(re.search(DEADLOCK, c) for f in files for c in f.profile.comments), "there is one in the comments")


@test
def what_each_lock_cost_is_in_the_comments():
    target = Target("c-waits-nofp", 30)
    time.sleep(1)
    directory = tempdir()
    run(find_binary(), "--once", "--kind", "block,mutex", "--pid", target.pid, "--duration", "4s", "--output", directory)
    profile = files_below(directory, kind="mutex")[0].profile
    locks = [re.search(LOCK, c) for c in profile.comments if re.search(LOCK, c)]
    check(locks, f"no lock in {profile.comments}")
    sum_told = sum(float(m[3]) for m in locks)
    in_rows = sum(s.values[1] for s in profile.samples) / 1e9
    note(f"{len(locks)} locks, {sum_told:.6f} s; in rows {in_rows:.6f} s")
    check(abs(sum_told - in_rows) < 1e-5 * len(locks) + 1e-6, "the locks' time is that of the rows")
    check_equal(sum(int(m[4]) for m in locks), sum(s.count for s in profile.samples), "waits")
    check(max(int(m[5]) for m in locks) <= 2, "a thread waits for a lock, and at times the one that feeds it")
    check(all(float(m[6]) <= float(m[3]) + 1e-6 for m in locks), "none is longer than all")


@test
def waiters_and_owners_of_a_lock_are_counted():
    target, truth = start("c-deadlock-nofp", "busy")
    truth()
    _, comments, _ = once(target, duration="5s")
    locks = [m.groups() for m in re.finditer(LOCK, comments, re.M)]
    check_equal(len(locks), 20, "locks that are named")
    found = re.search(r"locks waited for: (\d+), ([0-9.]+) s", comments)
    check_equal(int(found[1]), 24, "locks of the program")
    seconds = [float(lock[2]) for lock in locks]
    check_equal(seconds, sorted(seconds, reverse=True), "most time first")
    check(sum(seconds) < float(found[2]), "more than the total")
    check_between(float(found[2]), 0.8 * 5 * 1000, 1.02 * 5 * 1000, "seconds of 1,000 threads that wait for locks nearly all of 5 s")
    n_threads = max(int(lock[4]) for lock in locks)
    check_between(n_threads, 30, 1000, "threads at one lock")
    with_owners = [lock for lock in locks if int(lock[6])]
    check(with_owners, "no owner was seen")
    threads = {int(t) for t in os.listdir(f"/proc/{target.pid}/task")}
    named = {int(t) for lock in with_owners for t in lock[7].split(", ") if t != "..."}
    check(named <= threads, f"{named - threads} are no threads")


main()
