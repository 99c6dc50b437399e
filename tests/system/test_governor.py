#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Own cost stays within profiling.budget: rates go down when it does not, say so, come back, and figures stay right."""
import bisect

from harness import *

RATE = 999
LEVELS = [RATE, RATE // 2, RATE // 4, RATE // 8]
LOWERED = re.compile(r"the governor lowered the rate from (\d+) to (\d+) Hz: own cost ([\d.]+) % of the machine's CPU time, "
                     r"budget ([\d.]+) %$")


# 20 ms of CPU time a second, whatever the machine; calm is below 12.
BUDGET = max(round(2 / os.cpu_count(), 2), 0.01)


def storm():
    """Programs that come and go as fast as they can, on all CPUs: each one is looked at."""
    for _ in range(os.cpu_count()):
        loop = subprocess.Popen(["/bin/sh", "-c", "while :; do /bin/true; done"], stdin=subprocess.DEVNULL)
        cleanup(loop.wait)
        cleanup(loop.kill)


class Jit:
    """Always busy in code that is named by a perf map, which is read again in each window: as costly as it is long."""

    def __init__(self):
        self.target = Target("c-jit", 3600)
        self.pid = self.target.pid
        self.map = f"/tmp/perf-{self.pid}.map"
        cleanup(lambda: os.path.exists(self.map) and os.unlink(self.map))
        wait_for(lambda: os.path.exists(self.map) and os.path.getsize(self.map), "the perf map is there")
        self.size = os.path.getsize(self.map)
        self.clock = []
        self.stopped = threading.Event()
        cleanup(self.stopped.set)
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        """(wall clock, CPU time) in nanoseconds."""
        while not self.stopped.wait(0.02):
            try:
                with open(f"/proc/{self.pid}/schedstat") as f:
                    self.clock.append((time.time_ns(), int(f.read().split()[0])))
            except (OSError, IndexError):
                return

    def cpu_until(self, moment):
        later = bisect.bisect_left(self.clock, (moment, 0))
        if not 0 < later < len(self.clock):
            return None
        (t0, c0), (t1, c1) = self.clock[later - 1:later + 1]
        return c0 + (c1 - c0) * (moment - t0) / (t1 - t0)

    def cpu_between(self, start, end):
        """None when it was not looked at all the time."""
        a, b = self.cpu_until(start), self.cpu_until(end)
        return None if a is None or b is None else b - a

    def be_costly(self):
        with open(self.map, "a") as f:
            f.writelines(f"{0x100000000000 + 64 * i:x} 40 function_{i}\n" for i in range(400000))

    def be_calm(self):
        os.truncate(self.map, self.size)


def rate_of(profile):
    return int(next(re.match(r"rate: (\d+) Hz", c)[1] for c in profile.comments if c.startswith("rate: ")))


def steps(daemon, what):
    return re.findall(rf"The governor {what} the rate to (\d+) Hz of {RATE} .*: own cost ([\d.]+) % .*, budget ([\d.]+) %",
                      daemon.log())


@test
def too_much_cost_lowers_the_rates_and_calm_raises_them():
    folder = tempdir()
    # Only what is its own: neighbours would cost too.
    config = cpu_config("1s", rate=RATE, host={"enabled": False}, budget={"cpu": f"{BUDGET}%"},
                        output={"directory": folder, "keep_free": 0})
    daemon = Daemon(yaml({"profiling": config}) + "\n  targets:\n    - {service: jit, match: {exe: c-jit}}\n")
    busy = Jit()
    check_equal(daemon.fresh_metrics()["tsprofd_budget_level"], 0, "the level of a quiet machine")
    check_equal(steps(daemon, "lowered"), [], "steps of a quiet machine")
    busy.be_costly()
    wait_for(lambda: len(steps(daemon, "lowered")) >= 2, "two steps down", 90)
    busy.be_calm()
    calm = time.monotonic()
    wait_for(lambda: steps(daemon, "raised"), "a step up", 180)
    note(f"raised after {time.monotonic() - calm:.0f} s: {steps(daemon, 'raised')}")
    check_measured(time.monotonic() - calm > 25, "it was raised at once")
    lowered = steps(daemon, "lowered")
    n = len(lowered)
    for rate, cost, budget in lowered:
        note(f"lowered to {rate} Hz: cost {cost} %, budget {budget} %")
        check(float(cost) > float(budget), "lowered without a reason")
    check_equal([int(rate) for rate, _, _ in lowered], LEVELS[1:1 + n], "rates, step by step")
    check_equal(int(steps(daemon, "raised")[0][0]), LEVELS[n - 1], "one step up")
    check_equal(daemon.fresh_metrics()["tsprofd_budget_level"], n - len(steps(daemon, "raised")), "the level after that")
    check_equal(len(steps(daemon, "lowered")), n, "steps down: none when it is calm")

    # Each file says at what rate it was sampled and why; what it holds is the truth at each rate.
    found, clock = {}, {}
    for file in files_below(folder, "jit"):
        profile, rate = file.profile, rate_of(file.profile)
        check(rate in LEVELS, f"{rate} Hz")
        check_equal(profile.period, 10**9 // rate, "the period")
        said = [LOWERED.match(c) for c in profile.comments if "governor" in c]
        check_equal(len(said), int(rate != RATE), f"comments of the governor at {rate} Hz")
        if said:
            check(said[0], f"not understood: {profile.comments}")
            check_equal((int(said[0][1]), int(said[0][2])), (RATE, rate), "rates told")
            check(float(said[0][3]) > float(said[0][4]) > 0, f"cost told: {said[0][0]}")
        truth = busy.cpu_between(profile.time_nsec, profile.time_nsec + profile.duration_nsec)
        if truth is not None:
            found[rate] = found.get(rate, 0) + sum(s.values[1] for s in profile.samples if s.labels.get("pid") == busy.pid)
            clock[rate] = clock.get(rate, 0) + truth
    for rate in sorted(found, reverse=True):
        ratio = found[rate] / clock[rate]
        note(f"at {rate} Hz: {found[rate] / 1e9:.2f} s of CPU time in files, {clock[rate] / 1e9:.2f} s by its clock: {ratio:.4f}")
        # Samples come at even times: what is left to chance is each time that it is put on a CPU, and taken off.
        check_between(ratio, 0.95, 1.05, f"CPU time in files by that of the clock, at {rate} Hz")
    check(len(found) >= 3, f"rates seen: {sorted(found)}")


@test
def a_budget_that_is_large_enough_changes_nothing():
    daemon = Daemon(cpu_config("1s", rate=RATE, budget={"cpu": "100%"}))
    storm()
    time.sleep(30)
    check_equal(daemon.fresh_metrics()["tsprofd_budget_level"], 0, "the level")
    check("governor" not in daemon.log(), "a step")


@test
def memory_beyond_the_budget_is_given_back_and_told():
    # The least that can be configured, which the kernel's maps alone go beyond.
    daemon = Daemon(cpu_config("1s", rate=RATE, budget={"memory": "16MiB"}))
    keep_a_core_busy()
    daemon.wait_log(r"Own memory is [\d.]+ MiB, budget 16.0 MiB: caches are given up", 60)
    daemon.wait_log(r"unwind tables may take [\d.]+ MiB from now on", 60)
    daemon.wait_log(r"Own memory is [\d.]+ MiB, above profiling.budget.memory \(16.0 MiB\), and nothing is left", 90)
    said = re.findall(r".*Own memory is.*", daemon.log())
    note("\n".join(said))
    check_equal(len(said), 5, "lines about memory")
    time.sleep(15)
    check_equal(len(re.findall("Own memory is", daemon.log())), 5, "lines about memory later")
    # It works on.
    now = time.time_ns()
    daemon.wait_window_after(now)
    check(any(s.labels.get("thread") for f in daemon.files()[-3:] for s in f.profile.samples), "no samples")


UNTIMED = re.compile(r"timed: ([\d.]+) % of the waits, .*: ([\d.]+) s of ([\d.]+) s, standard error .* fit the sums ([\d.]+) s")
TIMES_LESS = re.compile(r"the governor has not each wait below (\d+) us timed: own cost ([\d.]+) % .*, budget ([\d.]+) %$")


class ThreadClocks:
    """CPU time of each thread of a process, read all the time."""

    def __init__(self, pid):
        self.pid, self.read, self.stopped = pid, {}, threading.Event()
        cleanup(self.stopped.set)
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while not self.stopped.wait(0.02):
            try:
                for tid in os.listdir(f"/proc/{self.pid}/task"):
                    with open(f"/proc/{self.pid}/task/{tid}/schedstat") as f:
                        self.read.setdefault(int(tid), []).append((time.time_ns(), int(f.read().split()[0])))
            except OSError:
                return

    def at(self, tid, moment):
        clock = self.read.get(tid, [])
        later = bisect.bisect_left(clock, (moment, 0))
        if not 0 < later < len(clock):
            return None
        (t0, c0), (t1, c1) = clock[later - 1:later + 1]
        return c0 + (c1 - c0) * (moment - t0) / (t1 - t0)

    def used(self, tid, profile):
        a, b = self.at(tid, profile.time_nsec), self.at(tid, profile.time_nsec + profile.duration_nsec)
        return None if a is None or b is None else b - a


@test
def timing_a_million_waits_a_second_is_ended_within_seconds_and_taken_up_again():
    folder = tempdir()
    config = cpu_config("5s", rate=RATE, host={"enabled": False}, budget={"cpu": f"{BUDGET}%"}, output={"directory": folder, "keep_free": 0},
                        block={"duration": "5s", "interval": "5s"},
                        wall={"duration": "5s", "interval": "5s"})
    daemon = Daemon(yaml({"profiling": config}) + "\n  targets:\n    - {service: pingpong, match: {exe: c-pingpong-nofp}}"
                                                  "\n    - {service: quiet, match: {exe: sleep}}\n")
    quiet = subprocess.Popen([shutil.which("sleep"), "600"], stdin=subprocess.DEVNULL)
    cleanup(quiet.wait)
    cleanup(quiet.kill)
    check_equal(daemon.fresh_metrics()["tsprofd_budget_level"], 0, "the level of a quiet machine")
    target = Target("c-pingpong-nofp", 3600)
    clocks = ThreadClocks(target.pid)
    begun = time.monotonic()
    wait_for(lambda: steps(daemon, "lowered"), "a step down", 60)
    took = time.monotonic() - begun
    note(f"stepped down after {took:.1f} s: {steps(daemon, 'lowered')}")
    # Two seconds, and what the daemon takes to see the program and to load; not some windows.
    check_measured(took < 9, "it was not seen within the window")
    time.sleep(18)
    check(daemon.fresh_metrics()["tsprofd_budget_level"] > 0, "the level")
    estimated = daemon.fresh_metrics()["tsprofd_waits_estimated_seconds_total"]
    target.kill()
    wait_for(lambda: steps(daemon, "raised"), "a step up", 180)
    n = len(steps(daemon, "lowered")) - len(steps(daemon, "raised"))
    check_equal(daemon.fresh_metrics()["tsprofd_budget_level"], n, "the level after that")
    check(estimated > 0, "no time was estimated")

    errors, n_full, n_less = {}, 0, 0
    for file in files_below(folder, "pingpong", kind="block"):
        profile = file.profile
        said = [m for c in profile.comments if (m := UNTIMED.match(c))]
        less = [m for c in profile.comments if (m := TIMES_LESS.match(c))]
        n_full += not less
        n_less += bool(less)
        check(not said or less, "waits were not timed and nobody had said so")
        if less:
            check(float(less[0][2]) > float(less[0][3]), "timed less without a reason")
        own = [s for s in profile.samples if s.labels["thread"] in ("ping", "pong")]
        used = [clocks.used(tid, profile) for tid in {s.labels["tid"] for s in own}]
        if len(used) != 2 or None in used:
            continue
        # What is below min_delay is not in the samples.
        short = sum(float(m[1]) for c in profile.comments if (m := re.search(r"not in this file: \d+, ([\d.]+) s", c)))
        told = sum(s.values[1] for s in own) + 1e9 * short
        truth = 2 * profile.duration_nsec - sum(used)
        share = float(said[0][1]) if said else 100
        note(f"{os.path.basename(file.path)}: {share:.3f} % timed; {told / 1e9:.3f} s told, {truth / 1e9:.3f} s by their clocks: "
             f"{100 * (told / truth - 1):+.2f} %" + (f", standard error of all {float(said[0][4]):.3f} s" if said else ""))
        if said:
            check(share < 50, f"{share} % were timed")
            errors[file.path] = told / truth - 1
    check(n_full and n_less and errors, f"{n_full} files with each wait timed, {n_less} without")
    check_measured(all(abs(e) < 0.02 for e in errors.values()), "what is told is not what the threads waited")
    # Wall: with estimates, too, nobody has more than the window.
    for file in files_below(folder, "pingpong", kind="wall"):
        for tid in {s.labels["tid"] for s in file.profile.samples}:
            total = sum(s.values[1] for s in file.profile.samples if s.labels["tid"] == tid)
            check(total <= 1.01 * file.profile.duration_nsec, f"{os.path.basename(file.path)}: {total / file.profile.duration_nsec:.3f} windows")


def sampler_statistics(daemon):
    """run_time_ns, run_cnt of the program that samples (BPF_PROG_TYPE_PERF_EVENT)."""
    for fd in os.listdir(f"/proc/{daemon.pid}/fdinfo"):
        text = open(f"/proc/{daemon.pid}/fdinfo/{fd}").read()
        if re.search(r"^prog_type:\s+7$", text, re.M):
            return re.search(r"^run_time_ns:\s+(\d+)$", text, re.M)[1], re.search(r"^run_cnt:\s+(\d+)$", text, re.M)[1]
    raise AssertionError("the daemon holds no program of a perf event")


@test
def time_in_the_kernel_counts_as_ours():
    path = "/proc/sys/kernel/bpf_stats_enabled"
    before = open(path).read()
    cleanup(lambda: open(path, "w").write(before))
    open(path, "w").write("1\n")
    daemon = Daemon(cpu_config("1s", rate=RATE))
    keep_a_core_busy()
    daemon.wait_files(5)
    m = daemon.fresh_metrics()
    seconds, samples = m['tsprofd_cpu_seconds_total{process="bpf"}'], m['tsprofd_samples_total{kind="cpu"}']
    kernel = [int(x) for x in sampler_statistics(daemon)]
    note(f"{seconds * 1e3:.1f} ms for {samples:.0f} samples: {seconds / samples * 1e9:.0f} ns a sample; the kernel's own statistics: "
         f"{kernel[0] / kernel[1]:.0f} ns")
    # Its figure has the way into the program, too.
    check_between(seconds / samples * 1e9 / (kernel[0] / kernel[1]), 0.5, 1.1, "our time over the kernel's")


main()
