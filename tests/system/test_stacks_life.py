#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Stacks are complete whatever becomes of the process and its files: what is mapped, forked, replaced, reused."""
from harness import *


def samples_from(daemon, begin, end, pid=None):
    """Of windows that began between two moments, all of them written."""
    wait_for(lambda: daemon.files() and daemon.files()[-1].begin > end, "the last window is written", 3 * PATIENCE, 0.3)
    return [s for f in daemon.files() if begin <= f.begin < end for s in f.profile.samples if pid is None or s.labels.get("pid") == pid]


def complete_below(samples, function, at_least=0.999, low_n=200):
    check_complete(samples, at_least, low_n)
    n = total([s for s in samples if function in s.names])
    note(f"{n} of {total(samples)} below {function}")
    check_measured(n >= 0.9 * total(samples), f"{n} of {total(samples)} are below {function}")


_lives = {}


def record_lives():
    """name -> (process id, samples): all of them at the same time; the later ones when the tables are there."""
    daemon = Daemon(cpu_config("1s", rate=999))
    steady = {name: Target(name, 3600, *arguments, preexec_fn=yielding) for name, *arguments in
              (["c-dlopen-nofp"], ["c-deleted-nofp"], ["c-leaderless-nofp"], ["c-forks-nofp", 100, 3000], ["c-deep-nofp"])}
    Target("c-execer", 1).truth()
    begin = wait_warm(daemon)
    later = {"later " + name: Target(name, 4) for name in ("c-deep-nofp", "c-dlopen-nofp", "c-execer")}
    for target in later.values():
        target.truth()
    end = time.time()
    for target in steady.values():
        target.process.terminate()
    wait_for(lambda: daemon.files()[-1].begin > end, "the last window is written", 3 * PATIENCE, 0.3)
    by_pid = {}
    for file in daemon.files():
        if begin <= file.begin < end:
            for s in file.profile.samples:
                by_pid.setdefault(s.labels.get("pid"), []).append(s)
    for name, target in {**steady, **later}.items():
        _lives[name] = (target.pid, by_pid.pop(target.pid, []))
    _lives["children"] = (0, [s for samples in by_pid.values() for s in samples if s.labels.get("comm", s.labels.get("thread")) == "c-forks-nofp"])


def life_of(name):
    """Recorded once, and again by who missed what it measures."""
    if name not in _lives:
        record_lives()
    return _lives.pop(name)[1]


@test
def a_program_whose_tables_are_there_has_whole_stacks_from_its_first_sample():
    complete_below(life_of("later c-deep-nofp"), "_start", 0.998)


@test
def a_library_that_is_loaded_while_it_runs():
    complete_below(life_of("c-dlopen-nofp"), "main")
    samples = life_of("later c-dlopen-nofp")
    complete_below(samples, "main", 0.998)
    check_measured(total([s for s in samples if s.first_of({"alpha", "beta", "gamma"})]) >= 0.9 * total(samples), "not in the library")


@test
def children_that_are_forked_and_never_exec():
    samples = [s for s in life_of("children") if "child_work" in s.names or "below_fork" in s.names]
    n_children = len({s.labels["pid"] for s in samples})
    note(f"{total(samples)} samples of {n_children} children")
    complete_below(samples, "main", 0.998)
    depths = {s.names.count("below_fork") for s in samples if not s.broken and "child_work" in s.names}
    check_equal(depths, {12}, "frames of below_fork")
    check_measured(n_children > 50, f"{n_children} children were seen")


@test
def an_exec_in_the_same_process():
    samples = life_of("later c-execer")
    check_complete(samples, 0.998, 300)
    for function in ("before_exec", "after_exec"):
        inside = [s for s in samples if function in s.names]
        check_measured(total(inside) >= 50, f"{total(inside)} samples in {function}")
        check(all("main" in s.names for s in inside if not s.broken), f"{function} without main")


@test
def a_deleted_file():
    complete_below(life_of("c-deleted-nofp"), "main")


@test
def a_process_whose_first_thread_has_ended():
    samples = life_of("c-leaderless-nofp")
    complete_below(samples, "leaderless_work")
    roots = {s.names[-1] for s in samples if not s.broken and not s.is_kernel_only}
    check(roots <= {"clone3", "__clone3", "clone"}, f"roots: {roots}")


@test
def a_process_whose_first_thread_had_ended_when_we_started():
    target = Target("c-leaderless-nofp", 3600)
    time.sleep(0.5)
    daemon = Daemon(cpu_config("1s", rate=999))
    time.sleep(6)
    files = daemon.wait_files(5)
    complete_below([s for f in files[3:] for s in f.profile.samples if s.labels.get("pid") == target.pid], "leaderless_work")


@test
def ten_thousand_forks_and_seven_hundred_execs_a_second_lose_nothing():
    daemon = Daemon(cpu_config("1s", rate=499))
    forks, execs = Target("c-forks-nofp", 3600, 0, 0), Target("churn", 3600, 700, 0, 100)
    started = time.monotonic()
    begin = wait_warm(daemon)
    before = own_cpu(daemon)
    time.sleep(5)
    used = (own_cpu(daemon) - before) / 5
    end = time.time()
    samples = [s for s in samples_from(daemon, begin, end) if {"c-forks-nofp", "churn", "churn-child"} & {s.labels.get("comm", s.labels.get("thread"))}]
    forks.process.terminate()
    execs.process.terminate()
    took = time.monotonic() - started
    note(f"own CPU {100 * used:.1f} % of a core; {forks.truth()['children'] / took:.0f} forks, {execs.truth()['children'] / took:.0f} execs a second")
    # In a process of a few milliseconds a page that was not touched yet is not rare.
    check_complete([s for s in samples if not s.is_kernel_only], 0.98, 500)


def own_cpu(daemon):
    pids = [daemon.pid, *daemon.children()]
    return sum(cpu_seconds(pid) for pid in pids if os.path.exists(f"/proc/{pid}"))


def copy_over(source, path):
    """Into the same inode."""
    with open(source, "rb") as f, open(path, "r+b" if os.path.exists(path) else "wb") as to:
        to.truncate(0)
        to.write(f.read())
    os.chmod(path, 0o755)


def judge_copies(daemon, copies):
    """copies: (target, function, depth)."""
    begin = wait_warm(daemon, {target.pid for target, _, _ in copies})
    time.sleep(3)
    end = time.time()
    for target, function, depth in copies:
        samples = samples_from(daemon, begin, end, target.pid)
        complete_below(samples, "main")
        inside = [s for s in samples if not s.broken and s.first_of({"alpha", "beta", "gamma"})]
        check_equal({s.names.count(function) for s in inside}, {depth}, f"frames of {function}")
        target.kill()


@test
def a_file_that_is_replaced_while_it_runs_and_one_that_is_written_anew_in_its_place():
    path = os.path.join(tempdir(), "program")
    daemon = Daemon(cpu_config("1s", rate=999))
    deep, mappings = target_path("c-deep-nofp"), target_path("c-mappings-nofp")
    copy_over(deep, path)
    old = Target(path, 3600, 33)
    copy_over(mappings, path + ".new")
    os.rename(path + ".new", path)
    new = Target(path, 3600, 10, stderr=subprocess.DEVNULL)
    judge_copies(daemon, [(old, "descend", 33), (new, "among_mappings", 20)])
    # The table that is there for this inode is that of other code.
    copy_over(deep, path)
    judge_copies(daemon, [(Target(path, 3600, 44), "descend", 44)])


@test
def a_pid_that_is_used_again():
    daemon = Daemon(cpu_config("1s", rate=999))
    Target("c-realigned-nofp", 3600) # its tables, for the second life
    first = Target("c-deep-nofp", 3600)
    wait_warm(daemon)
    first.kill()
    time.sleep(2)
    begun = time.time()
    end = time.monotonic() + 20
    second = None
    while not second:
        with open("/proc/sys/kernel/ns_last_pid", "w") as f:
            f.write(str(first.pid - 1))
        second = Target("c-realigned-nofp", 4)
        if second.pid != first.pid:
            second.kill()
            second = None
            if time.monotonic() > end:
                raise Skip("no process got the pid of another one that had ended")
    truth = second.truth()
    daemon.wait_window_after(time.time_ns())
    samples = [s for f in daemon.files() if f.begin >= begun for s in f.profile.samples if s.labels.get("pid") == second.pid]
    check_complete(samples, 0.998, 100)
    check(not [s for s in samples if "descend" in s.names], "frames of the process before")
    inside = [s for s in samples if not s.broken and s.first_of(truth["cpu_ns"])]
    check_equal({sum(name.startswith("with_") for name in s.names) for s in inside}, {40}, "frames of with_*")


@test
def a_process_with_a_hundred_thousand_mappings():
    path = "/proc/sys/vm/max_map_count"
    old = open(path).read()
    cleanup(lambda: open(path, "w").write(old))
    open(path, "w").write("262144")
    daemon = Daemon(cpu_config("1s", rate=999))
    target = Target("c-mappings-nofp", 3600, 100000, stderr=subprocess.PIPE)
    target.process.stderr.readline()
    n_mappings = sum(1 for _ in open(f"/proc/{target.pid}/maps"))
    begin = wait_warm(daemon)
    before = own_cpu(daemon)
    time.sleep(6)
    used = (own_cpu(daemon) - before) / 6
    samples = samples_from(daemon, begin, time.time(), target.pid)
    note(f"{n_mappings} mappings; own CPU {100 * used:.1f} % of a core")
    complete_below(samples, "main")
    inside = [s for s in samples if not s.broken and s.first_of({"alpha", "beta", "gamma"})]
    check_equal({s.names.count("among_mappings") for s in inside}, {20}, "frames of among_mappings")
    unmapped = total([s for s in samples for location in s.locations if not location.mapping and "elided" not in location.names[0]])
    check_measured(unmapped <= 0.005 * sum(len(s.locations) * s.count for s in samples), f"{unmapped} frames without mapping")


main()
