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


@test
def a_program_whose_tables_are_there_has_whole_stacks_from_its_first_sample():
    daemon = Daemon(cpu_config("2s", rate=999))
    keep_a_core_busy()
    Target("c-deep-nofp", 3600)
    wait_warm(daemon)
    target = Target("c-deep-nofp", 3)
    truth = target.truth()
    samples = [s for s in daemon.samples_of(truth["pid"], until_nsec=time.time_ns())]
    # Until the dynamic linker jumps to it, a program has pages that nobody has read yet.
    complete_below(samples, "_start", 0.998)


@test
def a_library_that_is_loaded_while_it_runs():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("2s", rate=999))
    # Its tables are made by the first; the second maps the same files 300 ms after its start.
    Target("c-dlopen-nofp", 3600)
    wait_warm(daemon)
    truth = Target("c-dlopen-nofp", 4).truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    complete_below(samples, "main", 0.998)
    check_measured(total([s for s in samples if s.first_of(truth["cpu_ns"])]) >= 0.9 * total(samples), "not in the library")


@test
def children_that_are_forked_and_never_exec():
    daemon = Daemon(cpu_config("2s", rate=999))
    target = Target("c-forks-nofp", 3600, 100, 3000)
    begin = wait_warm(daemon)
    time.sleep(6)
    end = time.time()
    samples = [s for s in samples_from(daemon, begin, end) if "child_work" in s.names or "below_fork" in s.names]
    n_children = len({s.labels["pid"] for s in samples})
    note(f"{total(samples)} samples of {n_children} children")
    target.process.terminate()
    complete_below(samples, "main", 0.998)
    working = [s for s in samples if not s.broken and "child_work" in s.names]
    depths = {s.names.count("below_fork") for s in working}
    check_equal(depths, {12}, "frames of below_fork")
    check_measured(n_children > 100, f"{n_children} children were seen")


@test
def ten_thousand_forks_and_seven_hundred_execs_a_second_lose_nothing():
    daemon = Daemon(cpu_config("2s", rate=499))
    Target("c-forks-nofp", 3600, 0, 0)
    Target("churn", 3600, 700, 0, 100)
    begin = wait_warm(daemon)
    before = own_cpu(daemon)
    time.sleep(8)
    used = (own_cpu(daemon) - before) / 8
    end = time.time()
    samples = [s for s in samples_from(daemon, begin, end) if {"c-forks-nofp", "churn", "churn-child"} & {s.labels.get("comm", s.labels.get("thread"))}]
    note(f"own CPU {100 * used:.1f} % of a core")
    # In a process of a few milliseconds a page that was not touched yet is not rare.
    check_complete([s for s in samples if not s.is_kernel_only], 0.98, 500)


def own_cpu(daemon):
    pids = [daemon.pid, *daemon.children()]
    return sum(cpu_seconds(pid) for pid in pids if os.path.exists(f"/proc/{pid}"))


@test
def an_exec_in_the_same_process():
    daemon = Daemon(cpu_config("2s", rate=999))
    keep_a_core_busy()
    Target("c-execer", 1).truth()
    Target("c-shares-nofp", 3600)
    wait_warm(daemon)
    target = Target("c-execer", 3)
    target.truth()
    samples = daemon.samples_of(target.pid, until_nsec=time.time_ns())
    check_complete(samples, 0.998, 300)
    for function in ("before_exec", "after_exec"):
        inside = [s for s in samples if function in s.names]
        check_measured(total(inside) >= 100, f"{total(inside)} samples in {function}")
        check(all("main" in s.names for s in inside if not s.broken), f"{function} without main")


@test
def a_deleted_file():
    daemon = Daemon(cpu_config("2s", rate=999))
    target = Target("c-deleted-nofp", 3600)
    begin = wait_warm(daemon)
    time.sleep(4)
    complete_below(samples_from(daemon, begin, time.time(), target.pid), "main")


def copy_over(source, path):
    """Into the same inode."""
    with open(source, "rb") as f, open(path, "r+b" if os.path.exists(path) else "wb") as to:
        to.truncate(0)
        to.write(f.read())
    os.chmod(path, 0o755)


def run_copy(daemon, path, function, depth, *arguments):
    target = Target(path, 3600, *arguments)
    begin = wait_warm(daemon, {target.pid})
    time.sleep(3)
    samples = samples_from(daemon, begin, time.time(), target.pid)
    target.kill()
    complete_below(samples, "main")
    inside = [s for s in samples if not s.broken and s.first_of({"alpha", "beta", "gamma"})]
    check_equal({s.names.count(function) for s in inside}, {depth}, f"frames of {function}")


@test
def a_file_that_is_written_anew_in_its_place():
    directory = tempdir()
    path = os.path.join(directory, "program")
    daemon = Daemon(cpu_config("2s", rate=999))
    copy_over(target_path("c-deep-nofp"), path)
    run_copy(daemon, path, "descend", 33, 33)
    copy_over(target_path("c-mappings-nofp"), path)
    run_copy(daemon, path, "among_mappings", 20, 10)


@test
def a_file_that_is_replaced_while_it_runs():
    directory = tempdir()
    path = os.path.join(directory, "program")
    daemon = Daemon(cpu_config("2s", rate=999))
    shutil.copy(target_path("c-deep-nofp"), path)
    old = Target(path, 3600, 33)
    shutil.copy(target_path("c-mappings-nofp"), path + ".new")
    os.rename(path + ".new", path)
    new = Target(path, 3600, 10)
    begin = wait_warm(daemon, {old.pid, new.pid})
    time.sleep(3)
    end = time.time()
    for target, function, depth in ((old, "descend", 33), (new, "among_mappings", 20)):
        samples = samples_from(daemon, begin, end, target.pid)
        complete_below(samples, "main")
        inside = [s for s in samples if not s.broken and s.first_of({"alpha", "beta", "gamma"})]
        check_equal({s.names.count(function) for s in inside}, {depth}, f"frames of {function}")


@test
def a_pid_that_is_used_again():
    daemon = Daemon(cpu_config("2s", rate=999))
    Target("c-realigned-nofp", 3600)
    first = Target("c-deep-nofp", 3600)
    wait_warm(daemon)
    first.kill()
    end = time.monotonic() + 20
    second = None
    while not second:
        with open("/proc/sys/kernel/ns_last_pid", "w") as f:
            f.write(str(first.pid - 1))
        second = Target("c-coroutines-nofp", 5)
        if second.pid != first.pid:
            second.kill()
            second = None
            if time.monotonic() > end:
                raise Skip("no process got the pid of another one that had ended")
    truth = second.truth()
    samples = [s for s in daemon.samples_of(second.pid, until_nsec=time.time_ns()) if "descend" not in s.names]
    moment = time.time() - 3
    late = [s for f in daemon.files() if f.begin > moment - 3 for s in f.profile.samples if s.labels.get("pid") == second.pid]
    check_complete(late, 0.995, 100)
    check(not [s for s in late if "descend" in s.names], "frames of the process before")
    found, n = shares(samples, truth["cpu_ns"])
    note(f"{found} of {n}")
    check_measured(n > 0.9 * total(samples), "not the functions of the second")


@test
def a_process_whose_first_thread_has_ended():
    daemon = Daemon(cpu_config("2s", rate=999))
    target = Target("c-leaderless-nofp", 3600)
    begin = wait_warm(daemon)
    time.sleep(4)
    samples = samples_from(daemon, begin, time.time(), target.pid)
    complete_below(samples, "leaderless_work")
    roots = {s.names[-1] for s in samples if not s.broken and not s.is_kernel_only}
    check(roots <= {"clone3", "__clone3", "clone"}, f"roots: {roots}")


@test
def a_process_with_a_hundred_thousand_mappings():
    path = "/proc/sys/vm/max_map_count"
    old = open(path).read()
    cleanup(lambda: open(path, "w").write(old))
    open(path, "w").write("262144")
    daemon = Daemon(cpu_config("2s", rate=999))
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
