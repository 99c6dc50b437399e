#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What is gone when the window ends is named as if it were there."""
from harness import *


# Functions that do the work, and the leaf that they have it done by: gcc gives a leaf no frame even if it is asked for frame
# pointers, so that the function that called it is missing (which is for unwind tables to mend).
BELOW = {"burn_then_exit": {"burn_then_exit", "alpha"}, "before_exec": {"before_exec", "alpha"}, "after_exec": {"after_exec", "beta"}}


def unnamed(samples):
    return total([s for s in samples if not s.names or re.search(r"\+0x[0-9a-f]+$|^\[", s.names[0])])


@test
def a_process_that_exited_before_the_window_ended_is_fully_named():
    daemon = Daemon(cpu_config("4s", rate=499))
    keep_a_core_busy(5)
    daemon.wait_files(1)
    truth = Target("c-burn-then-exit", 1).truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    inside = total([s for s in samples if s.first_of(BELOW["burn_then_exit"])])
    note(f"{inside} of {total(samples)} samples are in burn_then_exit, {unnamed(samples)} without a name")
    check(unnamed(samples) <= 0.01 * total(samples), "some have no name")
    check_measured(total(samples) >= 200, f"only {total(samples)} samples")
    check(inside >= 0.95 * total(samples), "not in the function that it was in")


@test
def an_exec_is_two_programs_each_with_its_own_names():
    daemon = Daemon(cpu_config("3s", rate=999))
    target = Target("c-execer", 2)
    truth = target.truth()
    samples = daemon.samples_of(target.pid, until_nsec=time.time_ns())
    before = [s for s in samples if s.first_of(BELOW["before_exec"])]
    after = [s for s in samples if s.first_of(BELOW["after_exec"])]
    note(f"before {total(before)}, after {total(after)} of {total(samples)}; truth {truth['cpu_ns']}")
    check_measured(total(before) >= 150, "the first life has too few samples")
    check_measured(total(after) >= 1000, "the second life has too few samples")
    check(not {s.labels.get("comm") for s in before} & {s.labels.get("comm") for s in after},
          f"both lives have the same comm: {before[0].labels} {after[0].labels}")


@test
def a_deleted_binary_is_named():
    daemon = Daemon(cpu_config("2s", rate=499))
    truth = Target("c-deleted", 4).truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    _, n = shares(samples, truth["cpu_ns"])
    note(f"{n} of {total(samples)} named")
    check_measured(n >= 0.9 * total(samples) > 100, f"only {n} of {total(samples)} samples are named")
    check(not any("(deleted)" in s.labels.get("comm", "") or "(deleted)" in f.service for f in daemon.files()
                  for s in f.profile.samples), "a name has (deleted) in it")


@test
def a_library_loaded_later_is_named():
    daemon = Daemon(cpu_config("3s", rate=499))
    truth = Target("c-dlopen-fp", 4).truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    _, n = shares(samples, truth["cpu_ns"])
    check_measured(n >= 0.9 * total(samples) > 100, f"only {n} of {total(samples)} samples are named")


main()
