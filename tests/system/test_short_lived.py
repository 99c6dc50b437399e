#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Processes that live 2 ms are seen and named, beside 2,000 idle ones."""
from harness import *


@test
def four_fifths_of_the_samples_of_2_ms_processes_are_in_the_right_function():
    rate = 999
    daemon = Daemon(cpu_config("2s", rate=rate))
    truth = Target("churn", 8, 600, 2000).truth(timeout=180)
    daemon.wait_window_after(time.time_ns(), timeout=90)
    samples = [s for f in daemon.files() for s in f.profile.samples]
    period = daemon.files()[-1].profile.period
    expected = truth["cpu_ns"]["child_work"] / period
    # child_work has it done by a leaf function, to which gcc gives no frame even if asked for frame pointers: there its
    # caller is missing, which is for unwind tables to mend. Nothing else in that program calls it.
    found = total([s for s in samples if s.labels.get("comm") == "churn-child" and s.first_of({"child_work", "alpha"})])
    of_children = total([s for s in samples if s.labels.get("comm") == "churn-child"])
    note(f"{truth['children']} children in {truth['wall_ns'] / 1e9:.1f} s, {truth['children'] * 1e9 / truth['wall_ns']:.0f} a second")
    note(f"expected {expected:.0f} samples in child_work, found {found} ({100 * found / expected:.1f} %); with their comm {of_children}")
    check_measured(expected >= 500, "too few to tell")
    check_measured(found >= 0.8 * expected, f"{found} of {expected:.0f} expected samples are in child_work")
    check_measured(found <= 1.15 * expected, f"{found} samples are more than the {expected:.0f} that there can be")


@test
def processes_that_burst_do_not_grow_the_daemon():
    daemon = Daemon(cpu_config("1s", rate=99))
    daemon.wait_files(1)
    def resident():
        return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{daemon.pid}/status").read())[1])
    Target("churn", 3, 400).truth()
    first = resident()
    Target("churn", 6, 600).truth()
    daemon.wait_window_after(time.time_ns())
    note(f"resident {first} KiB, then {resident()} KiB")
    check(resident() < first + 16 * 1024 or SANITIZED, "it grew by more than 16 MiB")


main()
