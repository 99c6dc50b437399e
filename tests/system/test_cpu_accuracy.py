#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Functions have the share of the samples that they had of the CPU time, by the program's own clocks."""
from harness import *

# With frame pointers; beside each what is measured the same way where frame pointers are not needed for the leaf.
TARGETS_WITH_SHARES = ["c-shares-fp", "clang-shares-fp", "c-deep-fp", "c-inlined-fp", "c-shared-fp", "c-dlopen-fp",
                       "c-pie", "c-nopie", "c-static", "c-deleted", "cpp-shares-fp", "rust-shares-fp",
                       "go-shares", "go-shares-stripped", "go-shares-pie"]


@test_each(TARGETS_WITH_SHARES)
def shares_of_functions_are_those_of_the_clocks(name):
    # Fifteen programs on two cores for 40 s at 999 Hz are about 5,000 samples each.
    truth, samples = record_together(name, TARGETS_WITH_SHARES, 40, 999)
    expected = truth["cpu_ns"]
    found, n = shares(samples, expected)
    check(n > 0, f"no sample is in {', '.join(expected)}; seen: {sorted({s.names[0] for s in samples if s.names})[:20]}")
    whole = sum(expected.values())
    wrong = []
    for function, nsec in expected.items():
        p, q, allowed = nsec / whole, found[function], tolerance(nsec / whole, n)
        note(f"{function}: clock {100 * p:.2f} %, samples {100 * q:.2f} %, off by {100 * (q - p):+.2f} points, allowed {100 * allowed:.2f}")
        if abs(q - p) > allowed:
            wrong.append(function)
    note(f"n = {n} of {total(samples)} samples")
    check(n >= 0.9 * total(samples), f"only {n} of {total(samples)} samples are in a function that it has")
    check_measured(n >= 1000, f"{n} samples are too few to tell")
    check_measured(not wrong, f"off: {', '.join(wrong)}")


@test
def threads_have_the_shares_of_their_own_clocks():
    daemon = Daemon(cpu_config("2s", rate=999))
    truth = Target("c-threads", 8).truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    whole = sum(t["cpu_ns"] for t in truth["threads"])
    of_threads = [s for s in samples if s.labels.get("tid") in {t["tid"] for t in truth["threads"]}]
    n = total(of_threads)
    for thread in truth["threads"]:
        own = [s for s in of_threads if s.labels["tid"] == thread["tid"]]
        p, q = thread["cpu_ns"] / whole, total(own) / n
        note(f"{thread['name']}: clock {100 * p:.2f} %, samples {100 * q:.2f} %")
        check_measured(abs(p - q) <= tolerance(p, n), f"{thread['name']} is off by {100 * (q - p):.2f} points, n = {n}")
        check_equal({s.labels.get("thread") for s in own}, {thread["name"]}, "label thread")


main()
