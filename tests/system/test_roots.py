#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Stacks are whole: a sample in code with frame pointers reaches the function that its thread began with."""
from harness import *

# What a thread begins with. A C program's main() is called by libc, whose own frames may be missing: main is enough.
ROOTS = {"main", "_start", "__libc_start_main", "__libc_start_call_main", "start_thread", "clone3", "__clone3", "clone",
         "goexit", "mstart", "mcall", "systemstack", "rt0_go"}


WITH_FRAME_POINTERS = ["c-shares-fp", "c-deep-fp", "c-inlined-fp", "c-shared-fp", "c-threads", "clang-deep-fp", "cpp-shares-fp",
                       "cpp-deep-fp", "rust-shares-fp", "rust-deep-fp", "go-shares", "go-shares-stripped", "go-shares-pie"]


@test_each(WITH_FRAME_POINTERS)
def stacks_reach_the_first_function(name):
    truth, samples = record_together(name, WITH_FRAME_POINTERS, 20, 499)
    # Whose leaf is in code with frame pointers: the program's own.
    samples = [s for s in samples if s.first_of(truth["cpu_ns"])]
    n = total(samples)
    check_measured(n >= 500, f"{n} samples are too few to tell")
    lost = [s for s in samples if not ROOTS & {plain_name(x) for x in s.names[-12:]}]
    note(f"{n - total(lost)} of {n} reach it; deepest {max(len(s.names) for s in samples)} frames")
    for s in lost[:3]:
        note(f"ends in {s.names[-3:]}")
    check_measured(total(lost) <= 0.01 * n, f"{total(lost)} of {n} samples do not reach it")


@test
def a_go_server_reaches_goexit_or_the_system_stack():
    server = Server("tsiot-server", rate=400)
    daemon = Daemon(cpu_config("3s", rate=199))
    daemon.wait_files(2, "tsiot-server")
    samples = [s for s in daemon.samples_of(server.pid) if any("/" in name or name.startswith(("main.", "runtime."))
                                                               for name in s.names)]
    n = total(samples)
    lost = [s for s in samples if not {"goexit", "mstart", "mstart1", "mcall", "systemstack", "rt0_go", "morestack", "sigtramp",
                                       "gogo"} & {plain_name(x) for x in s.names}]
    note(f"{n - total(lost)} of {n} samples reach it")
    for s in lost[:5]:
        note(f"ends in {s.names[-3:]}")
    check_measured(n >= 100, f"{n} samples are too few to tell")
    check_measured(total(lost) <= 0.01 * n, f"{total(lost)} of {n} samples do not reach it")


@test
def a_stack_that_ends_early_is_counted_by_reason():
    # No frame pointers: most walks break. Every one has a verdict; those of the comments are the window's.
    daemon = Daemon(cpu_config("2s", rate=499))
    Target("c-deep-nofp", 5)
    files = daemon.wait_files(2, "c-deep-nofp")
    text = "\n".join(files[-1].profile.comments)
    note(text)
    check(re.search(r"truncat|broken|unreadable|complete", text), "the comments say nothing about how walks ended")
    metrics = daemon.fresh_metrics()
    verdicts = {k: v for k, v in metrics.items() if k.startswith("tsprofd_unwind_stacks_total")}
    note(verdicts)
    check(sum(verdicts.values()) > 0, "tsprofd_unwind_stacks_total counts nothing")


main()
