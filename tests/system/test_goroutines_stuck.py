#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Goroutines that leak or wait for each other for good are found from outside; those that only look so are not."""
from harness import *

WAYS = ["go-stuck", "go-stuck-stripped", "go-stuck-pie"]
LEAK = r"leak: (\d+) goroutines of 0x\S+ created by 0x\S+ wait \((.*?)\), (\d+) more an hour, confidence (\d+)%"
DEADLOCK = r"deadlock: (\d+) goroutines (wait for each other's locks|wait for what no goroutine|wait for nil|are all)\b.*?confidence (\d+)%(.*)"


def look(name, mode, n, looks=10, interval=200):
    """What is told of a process: (its leaks, its deadlocks), each a list of tuples."""
    target = Target(name, mode, n, 300)
    check(target.process.stdout.readline().startswith("ready"), "the target did not begin")
    options = ["-s"] if name.endswith("stripped") else []
    done = run(os.environ["TSPROFD_STUCK"], *options, target.pid, looks, interval)
    note(done.stderr.strip().splitlines()[-1])
    return re.findall(LEAK, done.stdout), re.findall(DEADLOCK, done.stdout)


@test_each(WAYS)
def a_leak_is_told_with_its_rate_and_that_nobody_reaches_them(name):
    leaks, deadlocks = look(name, "leak", 20, looks=16, interval=500)
    check_equal(len(leaks), 1, "leaks told")
    n, wait, rate, confidence = leaks[0]
    check_equal(wait, "chan send", "what they wait for")
    check_between(int(rate), 20 * 3600 * 0.85, 20 * 3600 * 1.15, "goroutines an hour")
    check(int(confidence) >= 50, f"confidence is {confidence}%")
    # Those that were there at all searches; a word that a new stack has from the one before may lead to some of them.
    check(all(what == "wait for what no goroutine" for _, what, _, _ in deadlocks), f"told: {deadlocks}")
    check(deadlocks, f"of {n} these are told as out of reach: {deadlocks}")


@test_each(WAYS)
def locks_taken_crosswise_are_circles_of_two(name):
    leaks, deadlocks = look(name, "locks", 3)
    check_equal(leaks, [], "leaks")
    check_equal([(int(n), what) for n, what, _, _ in deadlocks], [(2, "wait for each other's locks")] * 3, "deadlocks")
    for _, _, confidence, more in deadlocks:
        check_equal((int(confidence), more), (98, ", nobody else reaches the locks"), "confidence and evidence")


@test_each(WAYS)
def channels_that_wait_for_each_other_are_out_of_reach(name):
    leaks, deadlocks = look(name, "channels", 5)
    check_equal(leaks, [], "leaks")
    check_equal(sum(int(n) for n, _, _, _ in deadlocks), 10, "goroutines told")
    check(all((what, int(c)) == ("wait for what no goroutine", 95) for _, what, c, _ in deadlocks), f"told: {deadlocks}")


@test_each([(name, mode) for name in WAYS for mode in ("pool", "idle")])
def pools_and_idle_servers_are_not_told(what):
    name, mode = what
    check_equal(look(name, mode, 50), ([], []), "told")


main()
