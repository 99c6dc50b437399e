#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Stacks of native programs without frame pointers are complete: to the thread's first function, each frame of them."""
from harness import *

C_LIKE = {"_start"}
THREAD = {"clone3", "__clone3", "clone", "__clone"}


class Case:
    """recursion, depth: that many frames of these functions in each stack of the program's own work. above: functions that
    are in each stack with a given one. more: other roots than _start."""

    def __init__(self, *run, recursion="", depth=0, roots=C_LIKE, above=None, shares=True, leaf=None):
        self.run, self.recursion, self.depth, self.roots = run, recursion, depth, roots
        self.above, self.shares, self.leaf = above or {}, shares, leaf


LAYERS = "layers_descend|layers_library_descend|layers_plugin_descend"
SHAPES = "with_alloca|with_alignment|with_both|with_realignment"
CASES = {
    "C++ in three stripped files, 64 deep": Case("cpp-layers", 64, recursion=LAYERS, depth=64),
    "C++ in three stripped files, 300 deep": Case("cpp-layers", 300, recursion=LAYERS, depth=300),
    "C++ in three stripped files, 900 deep": Case("cpp-layers", 900, recursion=LAYERS, depth=900),
    "C++ in three stripped files, 5000 deep": Case("cpp-layers", 5000, recursion=LAYERS, depth=5000),
    "C++ in three stripped files by clang, 300 deep": Case("clang++-layers", 300, recursion=LAYERS, depth=300),
    "Rust, stripped, 160 deep": Case("rust-deep-stripped", 160, recursion="descend", depth=160),
    "Rust, stripped, 900 deep": Case("rust-deep-stripped", 900, recursion="descend", depth=900),
    "C, 60 deep": Case("c-deep-nofp", 60, recursion="descend", depth=60),
    "C, 5000 deep": Case("c-deep-nofp", 5000, recursion="descend", depth=5000),
    "C by clang, 60 deep": Case("clang-deep-nofp", 60, recursion="descend", depth=60),
    "C, static, 300 deep": Case("c-deep-static", 300, recursion="descend", depth=300),
    "C, musl, static, 300 deep": Case("c-deep-musl", 300, recursion="descend", depth=300),
    ".debug_frame only": Case("c-debugframe-nofp", 60, recursion="descend", depth=60),
    ".debug_frame in a separate file": Case("c-debugframe-split", 60, recursion="descend", depth=60),
    ".debug_frame in .gnu_debugdata": Case("c-debugframe-mini", 60, recursion="descend", depth=60),
    "signal handlers": Case("c-signals-nofp", above={"on_alarm": ["main"], "on_profile": ["main"], "beta": ["on_alarm", "main"],
                                                     "gamma": ["on_profile", "main"], "alpha": ["interrupted", "main"]}),
    "signal handlers by clang": Case("clang-signals-nofp", above={"beta": ["on_alarm", "main"], "gamma": ["on_profile", "main"]}),
    "signal handlers, musl": Case("c-signals-musl", above={"beta": ["on_alarm", "main"], "gamma": ["on_profile", "main"]}),
    "coroutines": Case("c-coroutines-nofp", recursion="climb_.*", depth=9, roots={"__start_context", "_start"},
                       above={"alpha": ["climb_alpha", "run_coroutine"], "beta": ["climb_beta", "run_coroutine"]}),
    "coroutines by clang": Case("clang-coroutines-nofp", recursion="climb_.*", depth=9, roots={"__start_context", "_start"}),
    "frames of unusual shapes": Case("c-realigned-nofp", 40, recursion=SHAPES, depth=40),
    "frames of unusual shapes by clang": Case("clang-realigned-nofp", 40, recursion=SHAPES, depth=40),
    "frames that are all realigned": Case("c-stackrealign-nofp", 40, recursion=SHAPES, depth=40),
    "exceptions": Case("cpp-throws-nofp", above={"throw_deep": ["main"], "throw_again": ["main"]}),
    "exceptions by clang's code": Case("clang++-throws-nofp", above={"throw_deep": ["main"], "throw_again": ["main"]}),
    "lazy binding": Case("c-lazy-nofp", above={"bind_lazily": ["main"], "call_all": ["bind_lazily"],
                                               "_dl_fixup": ["call_all", "bind_lazily"]}),
    "the vdso": Case("c-vdso-nofp", above={"ask_clock": ["main"], "ask_time": ["main"]}),
    "system calls": Case("c-syscalls-nofp", above={"in_futex": ["main"], "in_poll": ["main"]}),
    "lazy stubs": Case("c-plt"),
    "stubs with indirect branch tracking": Case("c-plt-ibt"),
    "threads": Case("c-threads-nofp", roots=THREAD | C_LIKE),
    "a shared library": Case("c-shared-nofp"),
}
SECONDS, RATE = 12, 999
TOGETHER = 16 # at the same time, on two cores
DEBUG = {"symbols": {"debug_directories": f"[/usr/lib/debug, {TARGETS}/debug]"}}

unstripped = Unstripped()
_recorded, _was_recorded = {}, set()


def recorded(label):
    target_path(CASES[label].run[0])
    if label not in _recorded:
        # What misses its bounds is recorded anew, alone.
        labels = list(CASES)
        first = labels.index(label) // TOGETHER * TOGETHER
        group = [label] if label in _was_recorded else labels[first:first + TOGETHER]
        _was_recorded.update(group)
        _recorded.update(record_runs({key: CASES[key].run for key in group}, SECONDS, RATE, **DEBUG))
    return _recorded.pop(label)


def is_installing(sample):
    """libgcc is about to jump to a handler: uw_install_context_1 (unwind-dw2.c) has written the handler's registers over
    those that _Unwind_RaiseException and others saved, its caller's rbp among them: nobody can tell who called."""
    user = [location for location in sample.locations if not location.mapping or location.mapping.file != "[kernel.kallsyms]"]
    names = [location.names[-1] for location in user[:3]]
    file = user[0].mapping.file if user and user[0].mapping else ""
    return "libgcc_s" in file and any(re.fullmatch("_Unwind_(RaiseException|Resume|Resume_or_Rethrow)", name) for name in names)


def without_installing(samples):
    found = [s for s in samples if is_installing(s) and s.names[-1] not in C_LIKE]
    note(f"{total(found)} of {total(samples)} end amid the jump to a handler")
    check_measured(total(found) <= 0.06 * total(samples), "that is more than it takes")
    return [s for s in samples if s not in found], total(found) / max(total(samples), 1)


def check_roots(stacks, roots):
    lost = {}
    for sample, names in stacks:
        if not sample.broken and not sample.is_kernel_only and names[-1] not in roots:
            lost[names[-1]] = lost.get(names[-1], 0) + sample.count
    if lost:
        note(f"roots that are none: {lost}")
    # The program's own stack may be amid a change that nothing describes: of ten thousand stacks five may be lost in it.
    check_measured(sum(lost.values()) <= 0.0005 * sum(s.count for s, _ in stacks), f"roots that are none: {lost}")


def check_depth(stacks, case, leaves):
    """Of whole stacks in the program's own work: amid the recursion itself there are fewer."""
    wrong, n = {}, 0
    for sample, names in stacks:
        if sample.broken or not leaves & {plain_name(name) for name in names[:4]}:
            continue
        depth = sum(re.fullmatch(case.recursion, plain_name(name)) is not None for name in names) + sample.n_elided
        n += sample.count
        if depth != case.depth:
            wrong[depth] = wrong.get(depth, 0) + sample.count
    note(f"{n} of them below all {case.depth} frames of {case.recursion}")
    check(not wrong, f"other depths than {case.depth}: {wrong}")
    check_measured(n > 0, "no sample is below the recursion")


def check_halves(samples):
    """What is kept of a deep stack is half next to the leaf and half next to the root."""
    seen = set()
    for sample in samples:
        if sample.broken or not sample.n_elided:
            continue
        user = [location.names[-1] for location in sample.locations if not location.mapping or location.mapping.file != "[kernel.kallsyms]"]
        at = next(i for i, name in enumerate(user) if "frames elided" in name)
        seen.add((at, len(user) - at - 1))
    check(seen <= {(512, 512)}, f"frames before and behind what is elided: {seen}")


def in_order(wanted, names):
    at = 0
    for name in wanted:
        if name not in names[at:]:
            return False
        at = names.index(name, at)
    return True


def check_above(stacks, above):
    """These callers are there, in that order, wherever a stack is whole."""
    plain = [(s, [plain_name(name) for name in names]) for s, names in stacks if not s.broken]
    for inner, outer in above.items():
        with_it = [(s, names[names.index(inner):]) for s, names in plain if inner in names]
        wrong = [(sample, names) for sample, names in with_it if not in_order(outer, names)]
        check_measured(sum(s.count for s, _ in wrong) <= 0.0005 * sum(s.count for s, _ in with_it),
                       f"{outer} are not above {inner}: {wrong[0][1][:12] if wrong else ''}")
        check_measured(with_it, f"no sample is in {inner}")


def check_shares(stacks, truth, untold=0.0):
    """untold: the share of samples of which nobody can say where they belong."""
    whole = sum(truth.values())
    counts = dict.fromkeys(truth, 0)
    for sample, names in stacks:
        first = next((name for name in map(plain_name, names) if name in truth), None)
        if first:
            counts[first] += sample.count
    n = sum(counts.values())
    for name, nsec in truth.items():
        p, q = nsec / whole, counts[name] / max(n, 1)
        note(f"{name}: clock {100 * p:.2f} %, samples {100 * q:.2f} %")
        check_measured(abs(q - p) <= untold + max(0.02, 2 * math.sqrt(p * (1 - p) / max(n, 1))), f"{name} is off by {100 * (q - p):+.2f} points, n = {n}")


@test_each(list(CASES))
def each_stack_is_complete_and_exact(label):
    case = CASES[label]
    truth, samples = recorded(label)
    untold = 0.0
    if "throws" in case.run[0]:
        samples, untold = without_installing(samples)
    check_complete(samples, 0.999, 500 if case.run[0] != "c-threads-nofp" else 300)
    stacks = [(s, unstripped.names(s)) for s in samples]
    deepest = max(stacks, key=lambda stack: len(stack[1]))
    note(f"{total(samples)} samples, up to {len(deepest[1])} frames and {deepest[0].n_elided} elided; roots {sorted({names[-1] for _, names in stacks})}")
    check_roots(stacks, case.roots)
    if case.depth:
        check_depth(stacks, case, set(truth["cpu_ns"]))
        check_equal({s.n_elided > 0 for s, _ in stacks if not s.broken and len(s.locations) > 100},
                    {case.depth > 1000} if case.depth > 100 else set(), "whether frames are elided")
        check_halves(samples)
    check_above(stacks, case.above)
    if case.shares:
        check_shares(stacks, truth["cpu_ns"], untold)


@test
def deeper_than_is_walked_is_said():
    daemon = Daemon(cpu_config("1s", rate=99))
    target = Target("c-deep-nofp", 60, 9000)
    begin = wait_warm(daemon, {target.pid})
    daemon.wait_window_after(time.time_ns())
    samples = [s for f in daemon.files("c-deep-nofp") if f.begin >= begin for s in f.profile.samples if "descend" in s.names]
    # A library that it enters late has its table late, whatever the window before had.
    walked = [s for s in samples if s.broken != NOT_YET]
    check_measured(total(walked) >= 0.9 * total(samples) > 0, f"{total(samples) - total(walked)} of {total(samples)} samples have no table yet")
    samples = walked
    check_equal({s.broken for s in samples}, {"too deep"}, "why stacks are broken")
    note(f"{samples[0].n_elided} frames elided, {len(samples[0].locations)} locations")
    check_between(samples[0].n_elided, 8192 - 1024, 8192, "elided")


@test
def a_thread_that_waits_inside_libc_shows_who_waits():
    daemon = Daemon(cpu_config("1s", rate=1999))
    truth = Target("c-blocked-nofp", 10).truth()
    daemon.wait_window_after(time.time_ns())
    first = daemon.files()[0].profile.time_nsec
    samples = [s for f in daemon.files() if f.profile.time_nsec > first + 3e9 for s in f.profile.samples
               if s.labels.get("pid") == truth["pid"]]
    check_complete(samples, 0.999, 500)
    for thread in truth["threads"]:
        own = [s for s in samples if s.labels.get("tid") == thread["tid"] and not s.is_kernel_only]
        waiting = [s for s in own if f"wait_{thread['name']}" in s.names]
        inside = [s for s in waiting if s.names[0] != f"wait_{thread['name']}"]
        note(f"{thread['name']}: {total(own)} samples, {total(waiting)} in wait_{thread['name']}, {total(inside)} of them below it")
        check_measured(total(inside) >= 10, f"{thread['name']}: {total(inside)} samples are too few to tell")
        stray = [s for s in own if not s.broken and not {f"wait_{thread['name']}", "run_waiter"} & set(s.names)
                 and not {"start_thread", "clone3", "__clone3"} & set(s.names[:3])]
        # A thread's first and last moments are not in run_waiter either, however deep they are in libc or the kernel.
        outside = [s for s in stray if not {"start_thread", "clone3", "__clone3"} & set(s.names)]
        check(not outside, f"{thread['name']}: neither: {outside[0].names if outside else ''}")
        check_measured(total(stray) <= max(2, 0.002 * total(own)), f"{thread['name']}: {total(stray)} without: {stray[0].names if stray else ''}")
        # Amid the kernel's work of that wait, the caller is there: that is what blocked stacks are about.
        in_kernel = [s for s in own if not s.broken and s.locations[0].mapping and s.locations[0].mapping.file == "[kernel.kallsyms]"
                     and any("do_syscall_64" in name for name in s.names)]
        lost = [s for s in in_kernel if f"wait_{thread['name']}" not in s.names and "run_waiter" not in s.names and
                not {"start_thread", "clone3"} & set(s.names)]
        check(not lost, f"{thread['name']}: {lost[0].names if lost else ''}")


main()
