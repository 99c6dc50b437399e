#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: all or nothing, and the window under way goes on."""
from harness import *


@test
def a_good_file_takes_effect():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("2s", rate=49))
    daemon.wait_files(2)
    check_equal(round(1e9 / daemon.files()[-1].profile.period), 49, "rate before")
    daemon.write_config(cpu_config("1s", rate=199))
    daemon.send(signal.SIGHUP)
    daemon.wait_note(r"^RELOADING=1", "it says that it reloads")
    wait_for(lambda: any(round(1e9 / f.profile.period) == 199 for f in daemon.files()), "a window with the new rate")


@test
def a_bad_file_leaves_the_old_one_and_says_why():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", rate=99))
    daemon.wait_files(1)
    check_equal(daemon.fresh_metrics()["tsprofd_config_last_reload_successful"], 1, "metric before")
    daemon.write_config("profiling:\n  cpu: {durration: 3s}\n")
    daemon.send(signal.SIGHUP)
    daemon.wait_log(r"profiling\.yaml:2:\d+: .*durration")
    n = len(daemon.files())
    wait_for(lambda: len(daemon.files()) >= n + 3, "more files")
    check_equal(round(1e9 / daemon.files()[-1].profile.period), 99, "rate after")
    check_equal(daemon.fresh_metrics()["tsprofd_config_last_reload_successful"], 0, "metric after")
    daemon.write_config(cpu_config("1s", rate=99))
    daemon.send(signal.SIGHUP)
    time.sleep(0.5)
    check_equal(daemon.fresh_metrics()["tsprofd_config_last_reload_successful"], 1, "metric when it is mended")


@test
def the_window_under_way_is_not_disturbed():
    target = keep_a_core_busy()
    daemon = Daemon(cpu_config("4s", rate=199))
    daemon.wait_files(1)
    for _ in range(6):
        time.sleep(0.5)
        daemon.send(signal.SIGHUP)
    daemon.wait_files(3, timeout=60)
    files = daemon.files("c-shares-fp")
    for file in files[1:]:
        check_between(file.profile.duration_nsec / 1e9, 3.9, 4.1, "duration")
    for a, b in zip(files, files[1:]):
        gap = b.profile.time_nsec - a.profile.time_nsec - a.profile.duration_nsec
        check(abs(gap) < 50e6, f"{gap / 1e6:.1f} ms between two windows")
    check_measured(total(daemon.samples_of(target.pid)) > 300, "samples are missing")


@test
def a_hundred_reloads_leave_nothing_behind():
    daemon = Daemon(cpu_config("1s", rate=19))
    count = lambda: len(os.listdir(f"/proc/{daemon.pid}/fd"))
    time.sleep(1)
    before = count()
    for _ in range(100):
        daemon.send(signal.SIGHUP)
        time.sleep(0.02)
    time.sleep(1.5)
    check(daemon.alive(), "it died")
    # Files of processes that came meanwhile are held open, too: a leak would be one or more for each reload.
    check(count() <= before + 50, f"{before} descriptors before, {count()} after")


main()
