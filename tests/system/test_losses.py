#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost silently: seen = kept + lost, in each window and since the start, also with maps and rings too small."""
from harness import *


def numbers(profile):
    """seen, kept and what was lost by reason, of the comments."""
    text = "\n".join(profile.comments)
    found = {}
    for key in ("seen", "kept", "lost"):
        # "seen 2 = kept 2 + lost 0 (ring 0, namespace 0, frames 0)"
        if match := re.search(rf"\b{key} (\d+)", text):
            found[key] = int(match[1])
    return found


@test_each(["default", "--test-entries 64", "--test-ring 4096", "--test-entries 16 --test-ring 4096"])
def seen_is_kept_and_lost(options):
    daemon = Daemon(cpu_config("2s", rate=997), *(options.split() if options != "default" else []))
    for name in ("c-shares-fp", "c-deep-fp", "c-threads"):
        Target(name, 60)
    Server("tsiot-server", rate=0)
    daemon.wait_window_after(time.time_ns() + 5 * 10**9)
    windows = {}
    # A window's files are all there when there is one of a later window.
    files = daemon.files()
    for f in [f for f in files if f.begin < files[-1].begin]:
        windows.setdefault(f.profile.time_nsec, []).append(f.profile)
    lost = 0
    for start, profiles in sorted(windows.items()):
        said = [numbers(p) for p in profiles]
        check(all({"seen", "kept", "lost"} <= set(s) for s in said), f"the comments do not say what was seen: {profiles[0].comments}")
        check_equal(len({(s["seen"], s["kept"], s["lost"]) for s in said}), 1, "different numbers in files of one window")
        check_equal(said[0]["kept"] + said[0]["lost"], said[0]["seen"], f"kept + lost ({profiles[0].comments})")
        check_equal(sum(p.n_samples for p in profiles), said[0]["kept"], "samples in the files of a window")
        lost += said[0]["lost"]
    note(f"{len(windows)} windows, {sum(numbers(p[0])['seen'] for p in windows.values())} seen, {lost} lost")
    if "entries 16" in options and "ring" in options:
        check(lost > 0, "these are too small not to lose something: the test does not test")
    m = daemon.fresh_metrics()
    note({k: v for k, v in m.items() if "samples" in k})
    if lost:
        check(sum(v for k, v in m.items() if k.startswith("tsprofd_samples_lost_total")) > 0, "the metrics know of no loss")


@test
def what_is_lost_is_lost_evenly_and_said():
    """With tiny maps shares stay right, or the profile says that it lost."""
    daemon = Daemon(cpu_config("2s", rate=997), "--test-entries", "32", "--test-ring", "8192")
    truth = Target("c-shares-fp", 6).truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    found, n = shares(samples, truth["cpu_ns"])
    said = sum(numbers(p)["lost"] for p in {f.profile.time_nsec: f.profile for f in daemon.files()}.values())
    note(f"{n} samples of ours, {said} lost in all: {found}")
    expected = truth["total_ns"] / daemon.files()[-1].profile.period
    check_measured(n + said >= 0.97 * expected, f"{expected:.0f} expected, {n} kept, {said} said to be lost")


main()
