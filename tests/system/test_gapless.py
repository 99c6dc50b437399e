#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Scheduled windows and the background between them cover all time, once."""
from harness import *


def spans(files):
    return sorted((f.profile.time_nsec, f.profile.time_nsec + f.profile.duration_nsec, f) for f in files)


def check_cover(files, allowed_nsec):
    found = spans(files)
    worst = 0
    for (_, end, a), (start, _, b) in zip(found, found[1:]):
        worst = max(worst, abs(start - end))
        check(start - end > -allowed_nsec, f"{os.path.basename(a.path)} and {os.path.basename(b.path)} overlap by {(end - start) / 1e6:.1f} ms")
        check(start - end < allowed_nsec, f"{(start - end) / 1e6:.1f} ms between {os.path.basename(a.path)} and {os.path.basename(b.path)}")
    note(f"{len(found)} windows, at most {worst / 1e6:.2f} ms between two")


@test
def windows_without_a_pause_cover_all_time():
    target = keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", rate=199))
    daemon.wait_files(8, "c-shares-fp")
    check_cover(daemon.files("c-shares-fp"), 20e6)


@test
def the_background_covers_what_is_between_the_windows():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", "4s", rate=199, background=19))
    daemon.wait_files(3, "c-shares-fp", trigger="", timeout=60)
    daemon.wait_files(3, "c-shares-fp", trigger="background", timeout=60)
    files = daemon.files("c-shares-fp")
    check_cover(files, 20e6)
    for f in files[1:-1]:
        rate = round(1e9 / f.profile.period)
        check_equal(rate, 19 if f.trigger == "background" else 199, f"rate of {os.path.basename(f.path)}")
        check_between(f.profile.duration_nsec / 1e9, *((2.9, 3.1) if f.trigger else (0.95, 1.05)), "duration")


@test
def windows_are_aligned_to_the_clock_and_named_by_it():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", "3s", rate=99))
    daemon.wait_files(3, "c-shares-fp", timeout=60)
    for f in daemon.files("c-shares-fp")[1:]:
        start = f.profile.time_nsec / 1e9
        offset = start % 3
        check(min(offset, 3 - offset) < 0.1, f"a window began {offset:.3f} s after a multiple of its interval")
        expected = time.strftime("%Y-%m-%d/c-shares-fp/cpu-%H%M%SZ", time.gmtime(start + 0.05))
        check(f.path.endswith(expected + ".pprof"), f"{f.path} should be called {expected}")


@test
def without_background_nothing_is_between():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", "3s", rate=99))
    daemon.wait_files(3, "c-shares-fp", timeout=60)
    check(not daemon.files(trigger="background"), "there are background files")


@test
def files_have_the_modes_and_labels_of_the_product():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", rate=99))
    file = daemon.wait_files(3, "c-shares-fp")[-1]
    check_equal(oct(os.stat(file.path).st_mode & 0o7777), oct(0o640), "mode of a file")
    check_equal(oct(os.stat(os.path.dirname(file.path)).st_mode & 0o777), oct(0o750), "mode of its folder")
    profile = file.profile
    check_equal(profile.sample_types, [("samples", "count"), ("cpu", "nanoseconds")], "sample types")
    check_equal(profile.period_type, ("cpu", "nanoseconds"), "period type")
    sample = profile.samples[0]
    check({"service", "pid", "comm", "thread", "tid"} <= set(sample.labels), f"labels: {sample.labels}")
    note("\n".join(profile.comments))
    text = "\n".join(profile.comments)
    for word in ("tsprofd", "rate", "seen", "kept", "lost", "cpu-clock"):
        check(word in text, f"the comments do not say {word}")
    kernel = [m for m in profile.mappings.values() if "kernel" in m.file]
    check(not kernel or kernel[0].file == "[kernel.kallsyms]", f"kernel mapping {kernel[0].file if kernel else ''}")
    for location in profile.locations.values():
        if location.mapping and location.mapping.limit and "kernel" not in location.mapping.file:
            check(location.mapping.start <= location.address < location.mapping.limit,
                  f"0x{location.address:x} is outside of its mapping {location.mapping.file}")
    ours = [m for m in profile.mappings.values() if m.file.endswith("c-shares-fp")]
    if ours:
        check(ours[0].build_id and ours[0].has_functions, "the program's mapping lacks its build id or has_functions")


main()
