#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Where each thread is: snapshots of programs, running or not, by --once and by the daemon's schedule."""
from harness import *

# Of c-parked-nofp: name of the thread -> its function, its state, why.
PARKED = {
    "sleep": ("wait_sleep", "blocked", "sleep"), "mutex": ("wait_mutex", "blocked", "lock"),
    "condition": ("wait_condition", "blocked", "channel"), "poll": ("wait_poll", "blocked", "select"),
    "pipe": ("wait_pipe", "blocked", "pipe"), "child": ("wait_child", "blocked", "child"),
    "dead_first": ("wait_dead_first", "blocked", "lock"), "dead_second": ("wait_dead_second", "blocked", "lock"),
    "c-parked-nofp": ("main", "blocked", "sleep"),
}


def parked(*arguments):
    target = Target("c-parked-nofp", 300, *arguments, preexec_fn=yielding)
    check_equal(target.process.stdout.readline(), "ready\n", "what it says first")
    return target


def snapshot(pid, *options):
    path = os.path.join(tempdir(), "out.pprof")
    said = run(find_binary(), "--once", "--kind", "thread", "--pid", pid, "--output", path, *options)
    for line in said.stderr.splitlines():
        note(line)
    return Profile.load(path)


def tids_of(pid):
    return {int(tid) for tid in os.listdir(f"/proc/{pid}/task")}


def accounts(profile):
    """(seen, kept, lost) of the comments."""
    text = "\n".join(profile.comments)
    found = re.search(r"^threads of .* in this snapshot: seen (\d+) = kept (\d+) \+ lost (\d+) ", text, re.M)
    check(found, f"the comments do not count threads: {text}")
    seen, kept, lost = map(int, found.groups())
    check_equal(kept + lost, seen, "kept and lost threads")
    check_equal(sum(s.count for s in profile.samples), kept, "threads in the file")
    return seen, kept, lost


def check_complete(samples, allowed=()):
    for s in samples:
        if s.broken and s.labels["thread"] not in allowed:
            raise Failed(f"{s.labels['thread']} is broken ({s.broken}): {' < '.join(s.names)}")


@test
def each_thread_is_there_once_with_its_function_and_what_it_does():
    target = parked()
    profile = snapshot(target.pid)
    check_equal(profile.sample_types, [("thread", "count")], "sample types")
    check_equal((profile.period_type, profile.period), (("thread", "count"), 1), "period")
    check_equal(sorted(s.labels["tid"] for s in profile.samples), sorted(tids_of(target.pid)), "threads")
    check_equal({s.count for s in profile.samples}, {1}, "counts")
    check_equal(accounts(profile)[2], 0, "lost threads")
    check_complete(profile.samples)
    for s in profile.samples:
        name = s.labels["thread"]
        note(f"{name:14} {s.labels['state']:9}{s.labels.get('reason', ''):10}{' < '.join(s.names[:8])}")
        check_equal((s.labels["pid"], s.labels["comm"]), (target.pid, "c-parked-nofp"), f"labels of {name}")
        if name in PARKED:
            function, state, reason = PARKED[name]
            check_equal((s.labels["state"], s.labels["reason"]), (state, reason), f"state of {name}")
            check(function in s.names, f"{name} is not in {function}: {s.names}")
    check_equal({s.labels["thread"] for s in profile.samples}, {*PARKED, "busy", "idle"}, "names of threads")


@test
def threads_that_run_have_a_stack_too():
    # Where it looks it has a CPU itself: as many as there are left can run, and the others are ready.
    target = parked()
    # On a machine that others use, too: this one does.
    for tid in tids_of(target.pid):
        with open(f"/proc/{target.pid}/task/{tid}/comm") as f:
            if f.read() == "busy\n" and len(os.sched_getaffinity(tid)) == os.cpu_count() > 1:
                os.sched_setaffinity(tid, {os.cpu_count() - 1})
                os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(10))
    caught, states = 0, {"busy": {}, "idle": {}}
    for _ in range(5):
        profile = snapshot(target.pid)
        for s in profile.samples:
            name, state = s.labels["thread"], s.labels["state"]
            if name not in states:
                continue
            check(state in ("running", "runnable"), f"{name} is {state}")
            states[name][state] = states[name].get(state, 0) + 1
            function = "run_always" if name == "busy" else "run_if_may"
            if function in s.names:
                caught += state == "running"
                check(s.broken is None, f"{name}: {s.names}")
                continue
            check_equal((state, s.names), ("running", ["[running]"]), f"{name} is not in {function}")
            note(f"{name} ran, and was not met")
        text = "\n".join(profile.comments)
        running = sum(s.count for s in profile.samples if s.labels["state"] == "running")
        check(f"running: {running}, of which " in text, f"{running} threads run, the comments say otherwise: {text}")
        check(all("reason" not in s.labels for s in profile.samples if s.labels["state"] == "running"), "who runs has a reason to wait")
    note(f"{states}; {caught} that ran with their stacks")
    check_measured(states["busy"].get("running", 0) >= 2 and caught >= 2, "none of the threads that always run was met running")
    check_measured(states["idle"].get("runnable", 0) >= 3, "who has no CPU is not ready for one")


@test
def a_snapshot_of_a_thousand_threads_is_quick():
    target = parked(1000)
    profile = snapshot(target.pid)
    check_equal(sorted(s.labels["tid"] for s in profile.samples), sorted(tids_of(target.pid)), "threads")
    seen, _, lost = accounts(profile)
    check_equal((seen, lost), (1012, 0), "threads seen and lost")
    sleepers = [s for s in profile.samples if s.labels["thread"] == "sleeper"]
    check_equal(len(sleepers), 1000, "sleepers")
    check_complete(profile.samples)
    check(all(s.names.count("sleep_deep") >= 19 and "wait_sleep" in s.names for s in sleepers), "a sleeper is somewhere else")
    msec = float(re.search(r"all within ([\d.]+) ms", "\n".join(profile.comments))[1])
    note(f"{seen} threads of {len(sleepers[0].names)} frames in {msec:.1f} ms, {1000 * msec / seen:.1f} us each (with the burst, if any ran)")
    check_measured(SANITIZED or msec < 500, f"{msec:.0f} ms")


@test
def threads_that_come_and_go_do_no_harm():
    target = parked(20, 20)
    for _ in range(6):
        before = tids_of(target.pid)
        profile = snapshot(target.pid)
        after = tids_of(target.pid)
        seen, _, lost = accounts(profile)
        tids = [s.labels["tid"] for s in profile.samples]
        check_equal(len(tids), len(set(tids)), "each thread is there once")
        check(before & after <= set(tids), f"threads that lived all the time are missing: {sorted((before & after) - set(tids))}")
        note(f"{seen} threads, {lost} lost; {len(before & after)} of them lived on; {len(profile.samples) - len(before & after)} came or went")
        check_equal(lost, 0, "lost threads")
        check_complete([s for s in profile.samples if s.labels["tid"] in before & after and s.labels["thread"] not in ("churner", "moment")])
    check(target.process.poll() is None, "the program has ended")


@test
def what_has_no_room_is_counted():
    target = parked(500)
    daemon = Daemon(threads_config(target), "--test-entries", "64")
    file = daemon.wait_files(1, "parked", kind="thread")[0]
    seen, kept, lost = accounts(file.profile)
    note(f"{seen} threads in a map for 64: {kept} kept")
    check(lost > 400 and kept > 0, f"{lost} lost")
    check(any(c.startswith("INCOMPLETE") for c in file.profile.comments), "it is not marked")


@test
def java_and_python_have_whole_stacks():
    python = Target(sys.executable, "-c", "import threading, time\n" +
                    "def doze(): time.sleep(1000)\nfor i in range(4): threading.Thread(target=doze).start()")
    time.sleep(1)
    profile = snapshot(python.pid)
    check_equal(len(profile.samples), 5, "threads of Python")
    check_complete(profile.samples)
    for s in profile.samples:
        check(any("PyEval" in n or "Py_Run" in n or "Py_Bytes" in n or "thread_run" in n for n in s.names), f"Python is not in {s.names}")
    java = need_tool("java")
    program = Target(java, "-jar", target_path("java-calls.jar"), 3600, 30)
    time.sleep(3)
    profile = snapshot(program.pid)
    note(f"{len(profile.samples)} threads of Java, {sum(1 for s in profile.samples if s.broken)} broken")
    check(len(profile.samples) >= 10, "Java has more threads")
    check_complete(profile.samples)
    waiting = [s for s in profile.samples if s.labels["thread"] in ("Reference Handl", "Finalizer", "Signal Dispatch")]
    check(waiting, "the threads that Java always has are not there")


def threads_config(target, name="parked", **more):
    return cpu_config(targets=f'[{{service: {name}, match: {{pid: "{target.pid}"}}}}]', host={"enabled": False},
                      block={"enabled": False}, mutex={"enabled": False}, wall={"enabled": False},
                      goroutine={"snapshot_interval": "1s", **more})


@test
def the_daemon_takes_one_each_interval():
    target = parked()
    daemon = Daemon(threads_config(target, snapshot_interval="2s"))
    files = daemon.wait_files(4, "parked", kind="thread", timeout=60)[:4]
    tids = sorted(tids_of(target.pid))
    for f in files:
        check_equal(f.trigger, "", "trigger")
        check_equal(sorted(s.labels["tid"] for s in f.profile.samples), tids, "threads")
        check_complete(f.profile.samples)
    times = [f.profile.time_nsec / 1e9 for f in files]
    note("taken at " + ", ".join(f"{t % 60:.2f}" for t in times))
    gaps = [b - a for a, b in zip(times[1:], times[2:])]
    check_measured(all(abs(gap - 2) < 0.3 for gap in gaps), f"not each 2 s: {gaps}")
    metrics = daemon.fresh_metrics()
    check(metrics['tsprofd_samples_total{kind="thread"}'] >= 4 * len(tids), "the metrics do not count threads")


@test
def it_takes_none_when_that_is_off():
    target = parked()
    daemon = Daemon(threads_config(target, enabled=False))
    daemon.wait_files(3, "parked")
    check(not daemon.files("parked", kind="thread"), "there is a snapshot")


@test
def go_programs_are_left_out():
    go = Target("go-stacks-stripped", 300, preexec_fn=yielding)
    target = parked()
    daemon = Daemon({**threads_config(target), "targets": f'[{{service: parked, match: {{pid: "{target.pid}"}}}}, '
                                                          f'{{service: go, match: {{pid: "{go.pid}"}}}}]'})
    daemon.wait_files(3, "parked", kind="thread")
    check(not daemon.files("go", kind="thread"), "there is a snapshot of a Go program")
    check(go.process.poll() is None, "the Go program has ended before")


@test
def a_page_that_nobody_brings_holds_up_no_snapshot():
    target = Target(target_path("c-stuck-nofp"), 300)
    line = target.process.stdout.readline()
    if line != "ready\n":
        raise Skip("no userfaultfd here")
    start = time.monotonic()
    profile = snapshot(target.pid)
    note(f"{time.monotonic() - start:.1f} s")
    check_equal(sorted(s.labels["tid"] for s in profile.samples), sorted(tids_of(target.pid)), "threads")
    check(time.monotonic() - start < 25, "it was held up")
    check_equal({s.labels["thread"]: s.broken for s in profile.samples},
                {"stuck": "unreadable page", "behind": None, "c-stuck-nofp": None}, "what is broken")
    check_equal(accounts(profile)[2], 0, "lost threads")


@test
def with_other_kinds_it_is_taken_at_the_end_of_the_window():
    target = parked()
    directory = tempdir()
    run(find_binary(), "--once", "--kind", "block,thread,cpu", "--pid", target.pid, "--duration", "2s", "--output", directory)
    profiles = {f.kind: f.profile for f in files_below(directory, kind=None)}
    check_equal(sorted(profiles), ["block", "cpu", "thread"], "files")
    end = profiles["block"].time_nsec + profiles["block"].duration_nsec
    check(abs(profiles["thread"].time_nsec - end) < 0.5e9, "it was taken at another time")


main()
