#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Where time goes when nothing runs: block, mutex and wall profiles."""
from harness import *

# They compete for the CPUs, and wait for those more than for what they are about.
COMPETING = {"direct", "fault", "fsync", "starved"}
# What they wait for is all that they do.
PURE = {"sleep", "mutex", "condition", "poll", "select", "epoll", "pipe", "unix", "tcp", "child", "uring"}


def waits_config(target, duration="1s", interval=None, **more):
    """Gapless unless an interval is given; waits of one process, and nothing of the rest of the host."""
    window = {"duration": duration, "interval": interval or duration}
    config = cpu_config(duration, interval, targets=f'[{{service: waits, match: {{pid: "{target.pid}"}}}}]', host={"enabled": False},
                        block=dict(window), wall={"enabled": False, **window})
    for key, value in more.items():
        config[key] = {**config.get(key, {}), **value}
    return config


class Clocks:
    """CPU time of each thread of a process, read all the time: what it was in a window is known afterwards."""

    def __init__(self, pid):
        self.pid, self.read = pid, {}
        self.ended = threading.Event()
        self.reader = threading.Thread(target=self._run, daemon=True)
        self.reader.start()
        cleanup(self.ended.set)

    def _run(self):
        while not self.ended.wait(0.05):
            try:
                for tid in os.listdir(f"/proc/{self.pid}/task"):
                    with open(f"/proc/{self.pid}/task/{tid}/schedstat") as f:
                        self.read.setdefault(int(tid), []).append((time.time_ns(), int(f.read().split()[0])))
            except OSError:
                pass

    def at(self, tid, moment):
        """Interpolated."""
        points = self.read[tid]
        i = min(max(bisect.bisect_left(points, (moment, 0)), 1), len(points) - 1)
        (t0, c0), (t1, c1) = points[i - 1], points[i]
        return c0 + (c1 - c0) * (moment - t0) / max(t1 - t0, 1)

    def used(self, tid, profile):
        return self.at(tid, profile.time_nsec + profile.duration_nsec) - self.at(tid, profile.time_nsec)


class Waits:
    """What a profile says of each thread."""

    def __init__(self, profile):
        self.profile, self.by_reason, self.below_function = profile, {}, {}
        for s in profile.samples:
            tid, reason, nsec = s.labels["tid"], s.labels["reason"], s.values[1]
            reasons = self.by_reason.setdefault(tid, {})
            reasons[reason] = reasons.get(reason, 0) + nsec
            # Who wants a CPU is preempted anywhere, between two calls of that function, too.
            function = "run_waiter" if s.labels["thread"] == "starved" else f"wait_{s.labels['thread']}"
            if function in s.names:
                below = self.below_function.setdefault(tid, {})
                below[reason] = below.get(reason, 0) + nsec

    def total(self, tid):
        return sum(self.by_reason.get(tid, {}).values())


_recorded = []


def record():
    """(threads, clocks, kind -> profile) of one window with all kinds; made once."""
    if not _recorded:
        directory = tempdir()
        target = Target("c-waits-nofp", 11)
        time.sleep(1)
        clocks = Clocks(target.pid)
        time.sleep(0.5)
        run(find_binary(), "--once", "--kind", "block,mutex,wall,cpu", "--pid", target.pid, "--duration", "5s", "--output", directory)
        truth = target.truth()
        clocks.ended.set()
        _recorded.append((truth["threads"], clocks, {f.kind: f.profile for f in files_below(directory, kind=None)}))
    return _recorded[0]


def show(thread, reasons, window):
    note(f"{thread['name']:10} " + ", ".join(f"{reason} {100 * nsec / window:.2f} %" for reason, nsec in
                                             sorted(reasons.items(), key=lambda item: -item[1])))


@test
def each_thread_waits_for_what_it_says():
    threads, _, profiles = record()
    waits = Waits(profiles["block"])
    check(len(threads) >= 12, f"only {len(threads)} ways to wait are there")
    for thread in threads:
        reasons = dict(waits.by_reason.get(thread["tid"], {}))
        show(thread, reasons, profiles["block"].duration_nsec)
        if thread["name"] in COMPETING and thread["name"] != "starved":
            reasons.pop("runqueue", None)
        check(reasons, f"{thread['name']} has not waited")
        check_equal(max(reasons, key=reasons.get), thread["reason"], f"why {thread['name']} waits most")
    check_equal(profiles["block"].sample_types, [("contentions", "count"), ("delay", "nanoseconds")], "sample types")
    check_equal((profiles["block"].period_type, profiles["block"].period), (("contentions", "count"), 1), "period")


@test
def waits_and_cpu_time_are_the_window():
    threads, clocks, profiles = record()
    waits, window = Waits(profiles["block"]), profiles["block"].duration_nsec
    for thread in threads:
        expected = window - clocks.used(thread["tid"], profiles["block"])
        error = (waits.total(thread["tid"]) - expected) / window
        note(f"{thread['name']:10} waited {waits.total(thread['tid']) / 1e6:.2f} ms, its clocks say {expected / 1e6:.2f}: {100 * error:+.3f} %")
        check_measured(abs(error) < (0.01 if thread["name"] in PURE else 0.05), f"{thread['name']}: {100 * error:.2f} % off")


@test
def the_function_that_waits_is_in_the_stack():
    threads, _, profiles = record()
    waits = Waits(profiles["block"])
    for thread in threads:
        all_of_it = waits.by_reason[thread["tid"]].get(thread["reason"], 0)
        below = waits.below_function.get(thread["tid"], {}).get(thread["reason"], 0)
        note(f"{thread['name']:10} {100 * below / max(all_of_it, 1):.2f} % of its time is below its function")
        check_measured(below >= 0.99 * all_of_it, f"{thread['name']}: {100 * below / max(all_of_it, 1):.2f} %")


@test
def mutex_profiles_have_locks_only():
    threads, _, profiles = record()
    mutex, block = Waits(profiles["mutex"]), Waits(profiles["block"])
    check_equal({r for reasons in mutex.by_reason.values() for r in reasons}, {"lock"}, "reasons")
    for tid, reasons in mutex.by_reason.items():
        check_equal(reasons["lock"], block.by_reason[tid]["lock"], "the same waits as in block")
    check(next(t["tid"] for t in threads if t["name"] == "mutex") in mutex.by_reason, "the thread `mutex` is not there")


@test
def wall_time_of_each_thread_is_the_window():
    threads, clocks, profiles = record()
    wall = Waits(profiles["wall"])
    check_equal(profiles["wall"].sample_types, [("samples", "count"), ("time", "nanoseconds")], "sample types")
    check_equal(profiles["wall"].period_type, ("wallclock", "nanoseconds"), "period type")
    for thread in threads:
        total = wall.total(thread["tid"]) / profiles["wall"].duration_nsec
        ran = wall.by_reason[thread["tid"]].get("ran", 0)
        used = clocks.used(thread["tid"], profiles["wall"])
        note(f"{thread['name']:10} {100 * total:.3f} % of the window; ran {ran / 1e6:.1f} ms, its clock says {used / 1e6:.1f}")
        check_measured(abs(total - 1) < 0.01, f"{thread['name']}: {100 * total:.2f} % of the window")


SLEEPER = "import time\nwhile True: time.sleep({})"


def sleeper(seconds):
    return Target(sys.executable, "-c", SLEEPER.format(seconds))


def check_whole_windows(files, pid, allowed=0.01):
    """A thread that only sleeps waits all the time, in each window."""
    for f in files:
        waits = Waits(f.profile)
        share = waits.total(pid) / f.profile.duration_nsec
        note(f"{os.path.basename(f.path)}: {f.profile.duration_nsec / 1e9:.3f} s, {f.profile.n_samples} waits, {100 * share:.3f} %, "
             f"{max(waits.by_reason.get(pid, {'nothing': 0}).items(), key=lambda item: item[1])[0]}")
        check_measured(abs(share - 1) < allowed, f"{100 * share:.2f} % of the window")
    return files


@test
def a_wait_that_outlasts_windows_is_counted_in_each_and_not_twice():
    target = sleeper(2.3)
    daemon = Daemon(waits_config(target))
    daemon.wait_files(9, "waits", kind="block")
    files = check_whole_windows(daemon.files("waits", kind="block")[:8], target.pid)
    for f in files:
        # One that goes on, and at most one that begins; the moments after the alarm are waits for a CPU.
        check(sum(s.count for s in f.profile.samples if s.labels["reason"] == "sleep") <= 2, "more sleeps than there were")
    late = files[3:]
    named = sum(s.values[1] for f in late for s in f.profile.samples if any("sleep" in n for n in s.names))
    everything = sum(s.values[1] for f in late for s in f.profile.samples)
    check_measured(named >= 0.99 * everything, f"{100 * named / everything:.2f} % of the time has the stack of its beginning")


@test
def nothing_is_counted_of_the_time_between_windows():
    target = sleeper(60)
    daemon = Daemon(waits_config(target, "1s", "3s"))
    daemon.wait_files(4, "waits", kind="block", timeout=60)
    check_whole_windows(daemon.files("waits", kind="block"), target.pid)
    check(not daemon.files("waits", kind="block", trigger="background"), "there are files of the time between")


@test
def whoever_waits_through_the_whole_window_has_its_stack():
    directory = tempdir()
    target = Target("c-parked-nofp", 300, preexec_fn=yielding)
    check_equal(target.process.stdout.readline(), "ready\n", "what it says first")
    run(find_binary(), "--once", "--kind", "block,mutex", "--pid", target.pid, "--duration", "3s", "--output", directory)
    profiles = {f.kind: f.profile for f in files_below(directory, kind=None)}
    window = profiles["block"].duration_nsec
    expected = {"sleep": "sleep", "mutex": "lock", "condition": "channel", "poll": "select", "pipe": "pipe", "child": "child",
                "dead_first": "lock", "dead_second": "lock"}
    for name, reason in expected.items():
        nsec = sum(s.values[1] for s in profiles["block"].samples
                   if s.labels["thread"] == name and s.labels["reason"] == reason and f"wait_{name}" in s.names and s.broken is None)
        note(f"{name:12} {100 * nsec / window:.2f} % of the window below wait_{name}")
        check_measured(abs(nsec - window) < 0.01 * window, f"{name}: {100 * nsec / window:.2f} %")
    check(not any("[no stack was taken]" in s.names for s in profiles["block"].samples if s.labels["thread"] in expected),
          "a wait has no stack")
    check_equal({s.labels["thread"] for s in profiles["mutex"].samples if "dead" in s.labels["thread"]}, {"dead_first", "dead_second"},
                "the deadlock in mutex")


def attached(daemon):
    """Whether its programs see each switch of the machine, as the kernel tells."""
    found = 0
    for name in os.listdir(f"/proc/{daemon.pid}/fdinfo"):
        try:
            with open(f"/proc/{daemon.pid}/fdinfo/{name}") as f:
                found += bool(re.search(r"link_type:\s*raw_tracepoint", f.read()))
        except OSError:
            pass
    return found


@test
def nothing_is_attached_without_a_target_or_between_windows():
    target = sleeper(0.1)
    config = waits_config(target, "1s", "3s")
    others = Daemon({**config, "targets": "[]"})
    time.sleep(2)
    without = attached(others)
    others.stop()
    daemon = Daemon(config)
    daemon.wait_files(1, "waits", kind="block")
    seen = set()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        seen.add(attached(daemon))
        time.sleep(0.1)
    note(f"tracing links: {without} without a target, {sorted(seen)} with one")
    # Two for switches; those that tell which file a page fault is about are not in every kernel.
    with open("/proc/kallsyms") as f:
        symbols = set(f.read().split())
    n_of_pages = sum(f"__traceiter_mm_filemap_{name}" in symbols for name in ("fault", "add_to_page_cache"))
    check_equal(seen, {without, without + 2 + n_of_pages}, "links in and between windows")


@test
def wall_by_schedule_is_the_window_for_each_thread():
    target = Target("c-waits-nofp", 60)
    daemon = Daemon(waits_config(target, "2s", wall={"enabled": True}))
    daemon.wait_files(3, "waits", kind="wall", timeout=60)
    for f in daemon.files("waits", kind="wall")[1:]:
        wall = Waits(f.profile)
        tids = {s.labels["tid"]: s.labels["thread"] for s in f.profile.samples if s.labels["pid"] == target.pid}
        worst = max(tids, key=lambda tid: abs(wall.total(tid) / f.profile.duration_nsec - 1))
        note(f"{len(tids)} threads; the worst is {tids[worst]} with {100 * wall.total(worst) / f.profile.duration_nsec:.3f} % of the window")
        check_measured(abs(wall.total(worst) / f.profile.duration_nsec - 1) < 0.01, "a thread's wall time is not the window")
    for kind in "block", "mutex", "cpu":
        check(daemon.files("waits", kind=kind), f"there is no {kind} profile")


@test
def a_reload_turns_them_on_and_off():
    target = Target("c-waits-nofp", 60)
    off = waits_config(target, block={"enabled": False}, mutex={"enabled": False})
    daemon = Daemon(off)
    time.sleep(2.5)
    always = attached(daemon)
    check(not daemon.files(kind="block") and not daemon.files(kind="mutex"), "there are block profiles")
    daemon.write_config(waits_config(target, mutex={"enabled": False}))
    daemon.send(signal.SIGHUP)
    daemon.wait_files(2, "waits", kind="block")
    check(not daemon.files(kind="mutex"), "there are mutex profiles")
    daemon.write_config(waits_config(target))
    daemon.send(signal.SIGHUP)
    daemon.wait_files(2, "waits", kind="mutex")
    daemon.write_config(off)
    daemon.send(signal.SIGHUP)
    wait_for(lambda: attached(daemon) == always, "nothing is attached any more")
    time.sleep(1)
    n = len(daemon.files(kind="block"))
    time.sleep(2.5)
    check_equal(len(daemon.files(kind="block")), n, "block profiles later")


@test
def what_is_seen_is_kept_or_lost_and_the_profile_says_so():
    target = Target("c-waits-nofp", 60)
    daemon = Daemon(waits_config(target), "--test-entries", "64")
    daemon.wait_files(3, "waits", kind="block")
    file = daemon.files("waits", kind="block")[-1]
    text = "\n".join(file.profile.comments)
    note(text)
    found = re.search(r"waits of all targets in this window: seen (\d+) = kept (\d+) \+ lost (\d+) \(ring (\d+)", text)
    check(found, "the comments do not say what was seen")
    seen, kept, lost, ring = map(int, found.groups())
    check_equal(seen, kept + lost, "seen")
    check(ring > 0, "nothing was lost, with 64 entries")
    check_equal(file.profile.n_samples, kept, "waits in the file")
    check("INCOMPLETE" in text, "the profile is not marked")
    check("a stack was taken for" in text and " Hz" not in text, "the comments do not say what was timed")
    n_files = len(daemon.files(kind="block"))
    wait_for(lambda: len(daemon.files(kind="block")) > n_files, "one more window")
    metrics = daemon.fresh_metrics()
    all_lost = sum(value for name, value in metrics.items() if name.startswith("tsprofd_samples_lost_total") and 'kind="block"' in name)
    check(all_lost > 0, "the metrics know of no loss")
    check(metrics['tsprofd_samples_total{kind="block"}'] > all_lost, "the metrics have no waits")
    check(metrics["tsprofd_waits_lost_seconds_total"] > 0 and metrics["tsprofd_waits_seconds_total"] > 0, "the metrics have no time")


@test
def what_is_seen_in_a_quiet_window_is_kept():
    _, _, profiles = record()
    for kind in "block", "mutex", "wall":
        text = "\n".join(profiles[kind].comments)
        check(re.search(r"seen (\d+) = kept \1 \+ lost 0 ", text), f"{kind}: {text}")
        check("INCOMPLETE" not in text, f"{kind} is marked")


@test
def short_waits_are_left_out_when_asked():
    target = Target("c-waits-nofp", 60)
    daemon = Daemon(waits_config(target, block={"min_delay": "1ms"}))
    daemon.wait_files(3, "waits", kind="block")
    profile = daemon.files("waits", kind="block")[-1].profile
    text = "\n".join(profile.comments)
    found = re.search(r"waits below min_delay \(1000\.000 us\), not in this file: (\d+)", text)
    check(found and int(found[1]) > 0, f"the comments do not say what is left out: {text}")
    delays = [s.values[1] / s.count for s in profile.samples if s.labels["reason"] == "sleep"]
    check(delays and min(delays) >= 1e6, "there are shorter ones")


main()
