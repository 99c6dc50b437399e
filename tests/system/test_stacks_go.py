#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Stacks of Go programs are complete: leaves without frames, stacks of the runtime's own, and cgo both ways."""
from harness import *

# What the stacks of goroutines and of the runtime's threads begin with; below cgo the C library's, for threads it made.
ROOTS = {"goexit", "mstart", "mstart0", "rt0_go", "_rt0_amd64_linux", "_rt0_amd64", "_start", "clone3", "__clone3", "clone", "gogo",
         "mcall", "systemstack", "morestack"}
RUNS = {"go-stacks": ("go-stacks",), "go-cgodeep": ("go-cgodeep",), "go-cgo": ("go-cgo",), "go-cgo-stripped": ("go-cgo-stripped",),
        "go-shares": ("go-shares",), "go-shares-stripped": ("go-shares-stripped",), "go-shares-pie": ("go-shares-pie",)}
SECONDS, RATE = 8, 999

_recorded, _was_recorded = {}, set()


def recorded(name):
    target_path(name)
    if name not in _recorded:
        runs = RUNS if name not in _was_recorded else {name: RUNS[name]}
        _was_recorded.update(runs)
        _recorded.update(record_runs(runs, SECONDS, RATE))
    return _recorded.pop(name)


def check_roots(samples):
    lost = {}
    for s in samples:
        if not s.broken and not s.is_kernel_only and plain_name(s.names[-1]) not in ROOTS:
            lost[s.names[-1]] = lost.get(s.names[-1], 0) + s.count
    check(not lost, f"roots that are none: {lost}")


@test_each(["go-stacks", "go-cgodeep", "go-cgo", "go-cgo-stripped", "go-shares", "go-shares-stripped", "go-shares-pie"])
def each_stack_is_complete(name):
    truth, samples = recorded(name)
    roots = {}
    for s in samples:
        roots[s.names[-1]] = roots.get(s.names[-1], 0) + s.count
    note(f"{total(samples)} samples; roots {roots}")
    check_complete(samples, 0.999, 500)
    check_roots(samples)
    JUDGES.get(name, lambda truth, samples: None)(truth, samples)


def count_names(sample, pattern):
    return sum(re.fullmatch(pattern, name) is not None for name in sample.names)


def judge_frameless_leaf(truth, samples):
    """A leaf that never pushed anything has the right caller, and the stack no frame too many or too few."""
    callers = {"main.firstCaller": 0, "main.secondCaller": 0}
    for s in samples:
        if s.broken or s.names[0] != "main.leaf":
            continue
        # The leaf of the main thread's work, or of keepCollecting.
        caller = s.names[1]
        check(caller in callers or caller == "main.keepCollecting", f"main.leaf was called by {s.names[1:4]}")
        if caller not in callers:
            continue
        callers[caller] += s.count
        check_equal(count_names(s, r"main\.descend"), 21, "frames of main.descend")
        check("main.main" in s.names and "runtime.main" in s.names, f"no main: {s.names[-6:]}")
    n = sum(callers.values())
    whole = truth["cpu_ns"]["firstCaller"] + truth["cpu_ns"]["secondCaller"]
    p, q = truth["cpu_ns"]["firstCaller"] / whole, callers["main.firstCaller"] / max(n, 1)
    note(f"firstCaller: clock {100 * p:.2f} %, samples {100 * q:.2f} % of {n}")
    check_measured(n >= 300, f"{n} samples of the leaf are too few to tell")
    check_measured(abs(p - q) <= max(0.02, 2 * math.sqrt(p * (1 - p) / n)), f"off by {100 * (q - p):+.2f} points")
    system = [s for s in samples if any(name in ("runtime.systemstack", "runtime.mcall", "runtime.morestack") for name in s.names)]
    beyond = [s for s in system if any(name.startswith("main.") for name in s.names)]
    note(f"{total(system)} samples on the runtime's own stacks, {total(beyond)} of them go on to the program")
    allocating = [s for s in samples if not s.broken and "main.allocate" in s.names]
    check_measured(total(allocating) >= 100, "too few samples in main.allocate")
    for s in allocating:
        # Or in the goroutine that it starts, which is not below it.
        check_equal(count_names(s, r"main\.descend"), 21, "frames of main.descend")


def judge_crossings(truth, samples):
    expected = {"c_burn, from Go": (30, 20), "main.calledBack": (30, 20), "c_burn, from Go from C": (60, 20)}
    counts = dict.fromkeys(expected, 0)
    for s in samples:
        if s.broken or s.names[0] not in ("c_burn", "main.calledBack"):
            continue
        in_c, in_go = count_names(s, "c_descend"), count_names(s, r"main\.goDescend")
        kind = s.names[0] if s.names[0] != "c_burn" else "c_burn, from Go from C" if any("goGamma" in n for n in s.names) else "c_burn, from Go"
        check_equal((in_c, in_go), expected[kind], f"frames of c_descend and main.goDescend of {kind}")
        check("main.main" in s.names and "runtime.main" in s.names, f"no main: {s.names[-6:]}")
        counts[kind] += s.count
    n, whole = sum(counts.values()), sum(truth["cpu_ns"].values())
    for (kind, count), name in zip(counts.items(), ("alpha", "beta", "gamma")):
        p, q = truth["cpu_ns"][name] / whole, count / max(n, 1)
        note(f"{kind}: clock {100 * p:.2f} %, samples {100 * q:.2f} % of {n}")
        check_measured(abs(p - q) <= max(0.02, 2 * math.sqrt(p * (1 - p) / max(n, 1))), f"{kind} is off by {100 * (q - p):+.2f} points")


def judge_main(truth, samples):
    for s in samples:
        if not s.broken and s.first_of(truth["cpu_ns"]):
            check("main.main" in s.names, f"no main: {s.names}")


JUDGES = {"go-stacks": judge_frameless_leaf, "go-cgodeep": judge_crossings, "go-cgo": judge_main, "go-shares": judge_main,
          "go-shares-stripped": judge_main, "go-shares-pie": judge_main, "go-cgo-stripped": judge_main}


@test
def each_stack_of_a_server_is_complete():
    servers = {name: Server(name, rate=300) for name in ("tsiot-server", "tsiot-server-stripped", "tsiot-server-go1.19")
               if os.path.exists(target_path(name))}
    daemon = Daemon(cpu_config("1s", rate=499))
    begin = wait_warm(daemon)
    time.sleep(6)
    files = [f for f in daemon.files() if f.begin >= begin]
    for name, server in servers.items():
        note(name)
        samples = [s for f in files for s in f.profile.samples if s.labels.get("pid") == server.pid]
        check_complete(samples, 0.999, 300)
        check_roots(samples)


main()
