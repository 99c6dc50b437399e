#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Waits through libraries and runtimes: the application's function, the reason, and which of them are for work."""
from harness import *

# With prefix of the function that waits; C++ is compiled by both compilers.
LANGUAGES = {"cpp-waits-nofp": "wait_", "clang++-waits-nofp": "wait_", "rust-waits-nofp": "wait_", "rust-waits-bare": "wait_",
             "go-cgowaits": "c_in_"}
POOLS = ["cpp-waits-nofp", "clang++-waits-nofp", "rust-waits-nofp", "rust-waits-bare"]

_recorded = {}


def record(name):
    """(truth, block profile) of one window; made once for each program."""
    if name not in _recorded:
        target = Target(name, 12)  # to load the sampler takes its time on a busy machine
        directory = tempdir()
        time.sleep(1)
        run(find_binary(), "--once", "--kind", "block,mutex,wall", "--pid", target.pid, "--duration", "3s", "--output", directory)
        profiles = {f.kind: f.profile for f in files_below(directory, kind=None)}
        check_measured(target.process.poll() is None, f"{name} ended before the window did")
        # Of threads; what goroutines are seen to do is test_go_waits.py's.
        for profile in profiles.values():
            profile.samples = [s for s in profile.samples if s.labels["source"] == "os"]
        _recorded[name] = (target.truth(), profiles)
    return _recorded[name]


def is_below(sample, function):
    """Names of C++ and Rust have their namespaces and arguments around them."""
    return any(re.search(rf"(^|[^A-Za-z0-9_]){function}($|[^A-Za-z0-9_])", n) for n in sample.names)


def nsec(samples):
    return sum(s.values[1] for s in samples)


def waits_of(profile, tid):
    """Of one thread, without waits for a CPU, and what began before we looked: nobody knows its stack."""
    return [s for s in profile.samples if s.labels["tid"] == tid and s.labels["reason"] != "runqueue" and
            s.names != ["[no stack was taken]"]]


def not_of_the_runtime(samples):
    """A thread of Go waits for its turn before and after calls of C: those are no waits of the application."""
    return [s for s in samples if not s.names[0].startswith("runtime.futex")]


@test_each(LANGUAGES)
def the_function_that_waits_is_in_the_stack(name):
    truth, profiles = record(name)
    for thread in truth["threads"]:
        samples = not_of_the_runtime(waits_of(profiles["block"], thread["tid"]))
        below = nsec(s for s in samples if is_below(s, LANGUAGES[name] + thread["name"]))
        note(f"{thread['name']:12} {100 * below / max(nsec(samples), 1):.2f} % of {nsec(samples) / 1e6:.1f} ms")
        check(nsec(samples) > 0, f"{thread['name']} has not waited")
        check_measured(below >= 0.99 * nsec(samples), f"{thread['name']}: {100 * below / nsec(samples):.2f} %")


@test_each(LANGUAGES)
def each_kind_of_wait_has_its_reason(name):
    truth, profiles = record(name)
    for thread in truth["threads"]:
        samples = not_of_the_runtime(waits_of(profiles["block"], thread["tid"]))
        reasons = {}
        for s in samples:
            reasons[s.labels["reason"]] = reasons.get(s.labels["reason"], 0) + s.values[1]
        share = reasons.get(thread["reason"], 0) / max(nsec(samples), 1)
        note(f"{thread['name']:12} " + ", ".join(f"{r} {100 * n / nsec(samples):.2f} %" for r, n in reasons.items()))
        # Locks beside what is waited for take some time, too; see docs/offcpu.md for the rest.
        check_measured(share >= 0.85, f"{thread['name']}: {100 * share:.2f} % is {thread['reason']}")


@test_each(LANGUAGES)
def what_a_thread_waited_is_what_its_clock_says(name):
    truth, profiles = record(name)
    window = profiles["block"].duration_nsec
    for thread in truth["threads"]:
        waited = sum(s.values[1] for s in profiles["block"].samples if s.labels["tid"] == thread["tid"])
        # All they do is wait; locks that nobody has are taken many times meanwhile, which takes CPU time.
        if thread["reason"] != "lock":
            check_measured(0.95 * window <= waited <= 1.01 * window, f"{thread['name']}: {100 * waited / window:.2f} % of the window")


def idle_share(samples):
    samples = list(samples)
    check(samples, "no such waits")
    return nsec(s for s in samples if s.labels.get("idle") == 1) / nsec(samples)


@test_each(POOLS)
def workers_are_idle_and_what_they_handle_is_not(name):
    _, profiles = record(name)
    samples = [s for s in profiles["block"].samples if s.labels["reason"] != "runqueue" and s.names != ["[no stack was taken]"]]
    for function in "run_worker", "run_alone":
        workers = [s for s in samples if is_below(s, function)]
        if function == "run_alone" and "rust" not in name:
            continue
        handled = [s for s in workers if any("ask_" in n for n in s.names)]
        # Workers that share a queue by a lock wait for that as well: locks are never idle.
        home = [s for s in workers if s not in handled and s.labels["reason"] != "lock"]
        note(f"{function}: {nsec(home) / 1e6:.0f} ms for work, {100 * idle_share(home):.2f} % of it idle; "
             f"{nsec(handled) / 1e6:.0f} ms in requests, {100 * idle_share(handled):.2f} % of it idle; "
             f"reasons there: {sorted({s.labels['reason'] for s in handled})}")
        check_measured(idle_share(home) >= 0.99, "workers that wait for work are not idle")
        check_equal(idle_share(handled), 0, "share of what is waited for in requests that is idle")
        check(len({s.labels["reason"] for s in handled}) > 1, "requests wait in one way only")
    check_measured(idle_share(s for s in samples if is_below(s, "accept_all") and s.labels["reason"] == "network") >= 0.99,
                   "who accepts is not idle")
    if "rust" not in name:
        check_equal(idle_share(s for s in samples if s.labels["thread"] == "ticker"), 1, "idle share of the ticker")


@test_each(LANGUAGES)
def locks_and_waits_for_a_cpu_are_never_idle(name):
    _, profiles = record(name)
    for kind in "block", "mutex", "wall":
        found = {s.labels["reason"] for s in profiles[kind].samples if "idle" in s.labels}
        check(not found & {"lock", "runqueue", "disk", "fault", "ran"}, f"{kind}: idle are {found}")
        for s in profiles[kind].samples:
            check_equal(s.labels.get("source"), "os", f"{kind}: source")
            check_equal(s.labels.get("idle", 1), 1, f"{kind}: idle")


@test
def the_profile_says_how_much_of_it_is_idle():
    _, profiles = record("cpp-waits-nofp")
    for kind in "block", "wall":
        idle = [s for s in profiles[kind].samples if "idle" in s.labels]
        text = "\n".join(profiles[kind].comments)
        found = re.search(r"idle, for want of work \(label idle = 1\): (\d+) waits, ([\d.]+) s, ([\d.]+) % of the time of this file", text)
        check(found, f"{kind}: the comments do not say it: {text}")
        note(found[0])
        check_equal(int(found[1]), sum(s.count for s in idle), "waits")
        check(abs(float(found[2]) - nsec(idle) / 1e9) < 1e-5, f"{kind}: {nsec(idle)} ns")
    check(not any("idle" in c for c in profiles["mutex"].comments), "mutex speaks of idle waits")


@test
def threads_of_go_that_park_are_idle_and_goroutines_that_wait_in_c_are_not():
    truth, profiles = record("go-cgowaits")
    names = {t["name"] for t in truth["threads"]}
    of_runtime = [s for s in profiles["block"].samples if s.names[0] in ("runtime.futex", "runtime.usleep") and
                  s.labels["reason"] in ("channel", "sleep") and not any(n.startswith("main.") or "[" in n for n in s.names)]
    in_c = [s for s in profiles["block"].samples if s.labels["thread"] in names and any(n.startswith("c_in_") for n in s.names)]
    note(f"{nsec(of_runtime) / 1e6:.0f} ms by the runtime, {nsec(in_c) / 1e6:.0f} ms in C")
    check_measured(idle_share(of_runtime) >= 0.99, f"{100 * idle_share(of_runtime):.2f} % of the runtime's parks are idle")
    check_equal(idle_share(in_c), 0, "idle share of waits in C")


main()
