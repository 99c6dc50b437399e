#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""On a machine that runs all kinds of programs at once, stacks are complete and their frames are mapped."""
from harness import *

# Of each kind: everything would only wait for everything else on two cores.
PROGRAMS = ["c-shares-fp", "c-shares-nofp", "c-static", "c-stripped", "c-shared-nofp", "c-dlopen-nofp", "c-threads-nofp", "c-deleted-nofp",
            "c-jit", "c-plt", "c-signals-nofp", "c-coroutines-nofp", "c-realigned-nofp", "c-lazy-nofp", "c-vdso-nofp", "c-syscalls-nofp",
            "c-blocked-nofp", "c-leaderless-nofp", "c-debugframe-split", "c-deep-musl", "c-minidebug", "clang-deep-nofp", "cpp-layers",
            "cpp-throws-nofp", "cpp-inlined-nofp", "rust-deep-stripped", "rust-inlined-nofp", "rust-v0", "go-shares", "go-stacks",
            "go-cgodeep", "go-inlined-stripped"]
SECONDS = 16


def start_all():
    """label -> pid of programs; those with a machine of their own as well as they are usually started."""
    pids = {}
    for name in PROGRAMS:
        if os.path.exists(os.path.join(TARGETS, name)):
            pids[name] = Target(name, 3600, stderr=subprocess.DEVNULL, preexec_fn=yielding).pid
    for label, tool, *command in (("python", "/usr/bin/python3", "python-shares.py"), ("node", "node", "--perf-basic-prof", "node-shares.js"),
                                  ("java", "java", "-jar", "java-shares.jar")):
        path, file = shutil.which(tool), os.path.join(TARGETS, command[-1])
        if path and os.path.exists(file):
            pids[label] = Target(path, *command[:-1], file, 3600, stderr=subprocess.DEVNULL, preexec_fn=yielding).pid
    server = Server("tsiot-server", rate=200)
    pids["tsiot-server"], pids["iot-load"] = server.pid, server.loader.pid
    pids["churn"] = Target("churn", 3600, 20, preexec_fn=yielding).pid
    return pids


@test
def of_everything_at_once():
    pids = start_all()
    daemon = Daemon(cpu_config("3s", rate=499))
    let_tables_be_made(pids.values(), 8, 4)
    begin = wait_warm(daemon, timeout=60, late=0.002)
    time.sleep(SECONDS)
    end = time.time()
    metrics = daemon.fresh_metrics()
    wait_for(lambda: daemon.files()[-1].begin > end, "the last window is written", 3 * PATIENCE, 0.5)
    samples = [s for f in daemon.files() if begin <= f.begin < end for s in f.profile.samples]
    labels = {pid: label for label, pid in pids.items()}
    per_program = {}
    n_frames = n_unmapped = 0
    for s in samples:
        label = labels.get(s.labels.get("pid"), "others")
        n, broken = per_program.get(label, (0, 0))
        per_program[label] = (n + s.count, broken + (s.count if s.broken else 0))
        frames = [location for location in s.locations if location.names[-1][:8] != "[broken:" and "frames elided" not in location.names[-1]]
        n_frames += len(frames) * s.count
        n_unmapped += sum(location.mapping is None for location in frames) * s.count
    for label, (n, broken) in sorted(per_program.items(), key=lambda item: -item[1][1]):
        if broken:
            note(f"{label}: {broken} of {n} broken ({100 * broken / n:.2f} %)")
    note(f"{len(per_program)} programs, {n_frames} frames, {n_unmapped} of them without mapping ({100 * n_unmapped / n_frames:.3f} %)")
    memory = {name: f"{value / 2**20:.1f} MiB" for name, value in metrics.items() if name.startswith("tsprofd_memory_bytes")}
    rows = {name: value for name, value in metrics.items() if name.startswith("tsprofd_unwind_") and "stacks" not in name and "_total" not in name}
    note(f"{rows}\n{memory}")
    check_complete(samples, 0.995, 2000)
    check_measured(n_unmapped < 0.005 * n_frames, f"{n_unmapped} of {n_frames} frames have no mapping")


main()
