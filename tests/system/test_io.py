#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Delays of block devices, waits by service as metrics, and time that a quota or the hypervisor took away."""
import mmap

from harness import *

NSEC, BLOCK = 1e9, 4096
OPERATIONS = ("read", "write", "discard", "flush")


def metrics_now(daemon):
    """A reload writes them at once."""
    path = os.path.join(daemon.runtime, "metrics.prom")
    before = os.stat(path).st_mtime_ns
    daemon.send(signal.SIGHUP)
    wait_for(lambda: os.stat(path).st_mtime_ns != before, "metrics.prom is written again")
    return parse_metrics(open(path).read())


# --- Block devices --------------------------------------------------------------------------------------------------

def diskstats(device):
    """operation -> (requests, seconds, bytes); flushes have no bytes (Documentation/admin-guide/iostats.rst)."""
    for line in open("/proc/diskstats"):
        fields = line.split()
        if fields[2] == device:
            numbers = [int(f) for f in fields[3:]] + [0] * 17
            of = {name: (numbers[at], numbers[at + 3] / 1000, numbers[at + 2] * 512) for name, at in (("read", 0), ("write", 4), ("discard", 11))}
            return {**of, "flush": (numbers[15], numbers[16] / 1000, 0)}
    raise Failed(f"/proc/diskstats has no {device}")


def of_device(metrics, device):
    """The same of our metrics."""
    def value(name, operation):
        return metrics.get(f'tsprofd_block_io_{name}{{device="{device}",operation="{operation}"}}', 0)
    return {o: (value("seconds_count", o), value("seconds_sum", o), value("bytes_total", o)) for o in OPERATIONS}


def disk_of(path):
    """The whole disk that a file is on, as diskstats calls it."""
    number = os.stat(path).st_dev
    folder = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not os.path.isdir(folder):
        raise Skip(f"{path} is not on a block device")
    return os.path.basename(os.path.dirname(folder) if os.path.exists(f"{folder}/partition") else folder)


def loop_device(megabytes=64):
    """A device that nobody else uses, on a file."""
    need_tool("losetup")
    path = os.path.join(tempdir(), "image")
    with open(path, "wb") as f:
        f.write(os.urandom(1 << 20) * megabytes)
    made = run("losetup", "--find", "--show", path, check_status=False)
    if made.returncode:
        raise Skip(f"there are no loop devices here: {made.stderr.strip()}")
    device = made.stdout.strip()
    cleanup(run, "losetup", "--detach", device)
    return device


def read_and_write(path, reads=3000, writes=400):
    """Single requests: reads that nothing keeps, and writes each of which is followed by a flush."""
    page = mmap.mmap(-1, BLOCK)
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        for i in range(max(reads, writes)):
            at = (i * 7919 * BLOCK) % (size - BLOCK) // BLOCK * BLOCK
            if i < reads:
                os.preadv(fd, [page], at)
            if i < writes:
                os.pwritev(fd, [page], at)
                os.fsync(fd)
    finally:
        os.close(fd)


def difference(after, before):
    return {o: tuple(a - b for a, b in zip(after[o], before[o])) for o in OPERATIONS}


@test
def the_histogram_of_a_device_is_what_diskstats_counts():
    device = loop_device()
    name = os.path.basename(device)
    daemon = Daemon(cpu_config("1s"))
    daemon.metrics()
    ours, kernels = of_device(metrics_now(daemon), name), diskstats(name)
    read_and_write(device)
    time.sleep(0.5)
    metrics = metrics_now(daemon)
    ours, kernels = difference(of_device(metrics, name), ours), difference(diskstats(name), kernels)
    for o in OPERATIONS:
        note(f"{name} {o}: counted {ours[o][0]:.0f} requests, {1000 * ours[o][1]:.1f} ms, {ours[o][2]:.0f} bytes; "
             f"/proc/diskstats {kernels[o][0]}, {1000 * kernels[o][1]:.1f} ms, {kernels[o][2]}")
        check(abs(ours[o][0] - kernels[o][0]) <= 0.01 * kernels[o][0], f"{o}: {ours[o][0]} requests, not {kernels[o][0]}")
        check(abs(ours[o][2] - kernels[o][2]) <= 0.01 * kernels[o][2], f"{o}: {ours[o][2]} bytes, not {kernels[o][2]}")
        # They are told in milliseconds, and end when the request has been put away, some microseconds after it was complete.
        check_measured(abs(ours[o][1] - kernels[o][1]) <= 0.1 * kernels[o][1] + 0.002 + 0.00001 * kernels[o][0],
                       f"{o}: {ours[o][1]} s, not {kernels[o][1]}")
    check(kernels["read"][0] >= 3000 and kernels["write"][0] >= 400 and kernels["flush"][0] >= 400, "the device had less to do than was asked of it")
    buckets = [(float(k.split('le="')[1].rstrip('"}')), v) for k, v in metrics.items()
               if k.startswith(f'tsprofd_block_io_seconds_bucket{{device="{name}",operation="read"')]
    check_equal(len(buckets), 22, "buckets")
    check_equal(sorted(buckets), buckets, "their order")
    check(all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:])), "the buckets do not add up")
    check_equal(buckets[-1], (float("inf"), of_device(metrics, name)["read"][0]), "the last bucket")
    check_equal(metrics['tsprofd_block_io_lost_total{reason="too_many_devices"}'], 0, "lost requests")


@test
def a_disk_that_others_use_too_is_what_diskstats_counts():
    folder = tempdir()
    name = disk_of(folder)
    path = os.path.join(folder, "file")
    with open(path, "wb") as f:
        f.write(os.urandom(8 << 20))
    os.sync()
    daemon = Daemon(cpu_config("1s", output={"directory": os.path.join(folder, "out")}))
    daemon.metrics()

    def look():
        """Ours is between the two of the kernel."""
        before = diskstats(name)
        ours = of_device(metrics_now(daemon), name)
        return before, ours, diskstats(name)
    first = look()
    try:
        read_and_write(path)
    except OSError as error:
        raise Skip(f"no direct I/O on {path}: {error}")
    last = look()
    least, most = difference(last[0], first[2]), difference(last[2], first[0])
    ours = difference(last[1], first[1])
    for o in OPERATIONS:
        note(f"{name} {o}: counted {ours[o][0]:.0f} requests, {1000 * ours[o][1]:.1f} ms; /proc/diskstats {least[o][0]} to {most[o][0]}, "
             f"{1000 * least[o][1]:.1f} to {1000 * most[o][1]:.1f} ms")
        check_measured(0.99 * least[o][0] <= ours[o][0] <= 1.01 * most[o][0], f"{o}: {ours[o][0]} requests")
        # As above: the kernel's clock of a request stops some microseconds after it was complete.
        slack = 0.002 + 0.00001 * most[o][0]
        check_measured(0.9 * least[o][1] - slack <= ours[o][1] <= 1.1 * most[o][1] + slack, f"{o}: {ours[o][1]} s")
    check(ours["read"][0] >= 3000 and ours["flush"][0] >= 100, "the disk had less to do than was asked of it")


@test
def without_block_nothing_is_counted_of_devices():
    daemon = Daemon(cpu_config("1s", block={"enabled": False}))
    daemon.metrics()
    check(not [k for k in metrics_now(daemon) if k.startswith("tsprofd_block_io")], "there are metrics of devices")
    daemon.write_config(cpu_config("1s"))
    metrics_now(daemon)
    read_and_write(loop_device(), reads=10, writes=10)
    check([k for k in metrics_now(daemon) if k.startswith("tsprofd_block_io_seconds_count")], "there are none after a reload, either")


# --- Waits of services ----------------------------------------------------------------------------------------------

@test
def the_waits_of_a_service_are_those_of_its_profiles():
    target = Target("c-waits-nofp", 60)
    daemon = Daemon(cpu_config("1s", targets=f'[{{service: waits, match: {{pid: "{target.pid}"}}}}]', host={"enabled": False},
                               block={"duration": "1s", "interval": "1s"}))
    daemon.wait_files(4, "waits", kind="block")
    metrics = metrics_now(daemon)
    observed = metrics['tsiot_wait_observed_seconds_total{service="waits"}']
    profiles = [f.profile for f in daemon.files("waits", kind="block")]
    # The windows of which the metrics know.
    n = next((i for i in range(len(profiles) + 1) if abs(sum(p.duration_nsec for p in profiles[:i]) / NSEC - observed) < 1e-6), None)
    check(n, f"{observed} s are not the sum of the first windows: {[p.duration_nsec for p in profiles]}")
    expected = {}
    for p in profiles[:n]:
        for s in p.samples:
            expected[s.labels["reason"]] = expected.get(s.labels["reason"], 0) + s.values[1] / NSEC
    note(f"{n} windows, {observed:.3f} s")
    for reason, seconds in sorted(expected.items()):
        found = metrics.get(f'tsiot_wait_seconds_total{{service="waits",reason="{reason}"}}', 0)
        note(f"{reason}: {found:.6f} s, in the profiles {seconds:.6f}")
        check(abs(found - seconds) < 1e-6, f"{reason}: {found} s, in the profiles {seconds}")
    devices = {k.split('device="')[1].rstrip('"}'): v for k, v in metrics.items() if k.startswith('tsiot_io_wait_seconds_total{service="waits"')}
    note(f"by device: {devices}")
    wanted = expected.get("disk", 0) + expected.get("fault", 0)
    check(wanted > 0 and abs(sum(devices.values()) - wanted) < 1e-6, f"{sum(devices.values())} s by device, {wanted} s of disk and fault")
    disk = disk_of(tempdir())
    check(devices.get(disk, 0) > 0, f"nothing of {disk}")


@test
def a_writer_that_is_slowed_down_waits_for_its_disk():
    need_tool("mkfs.ext4")
    device = loop_device(256)
    folder = tempdir()
    run("mkfs.ext4", "-q", "-F", device)
    mounted = run("mount", device, folder, check_status=False)
    if mounted.returncode:
        raise Skip(f"cannot mount: {mounted.stderr.strip()}")
    cleanup(run, "umount", folder)
    number = os.stat(folder).st_dev
    limits = f"/sys/class/bdi/{os.major(number)}:{os.minor(number)}"
    if not os.path.exists(f"{limits}/strict_limit"):
        raise Skip("this kernel has no limit of dirty pages for one device (Linux 6.2)")
    for name, value in ("strict_limit", 1), ("max_bytes", 1 << 20):
        with open(f"{limits}/{name}", "w") as f:
            f.write(str(value))
    writer = Target(sys.executable, "-c", f"import os\nfd = os.open('{folder}/file', os.O_CREAT | os.O_WRONLY)\nb = b'x' * 65536\n"
                    "while True:\n for i in range(2000): os.pwrite(fd, b, i * 65536)")
    cleanup(writer.kill)  # before its file system goes
    time.sleep(1)
    daemon = Daemon(cpu_config("1s", targets=f'[{{service: writer, match: {{pid: "{writer.pid}"}}}}]', host={"enabled": False},
                               block={"duration": "1s", "interval": "1s"}))
    daemon.wait_files(3, "writer", kind="block")
    metrics = metrics_now(daemon)
    reasons = {k.split('reason="')[1].rstrip('"}'): v for k, v in metrics.items() if k.startswith('tsiot_wait_seconds_total{service="writer"')}
    note(f"{reasons}; {[(k, v) for k, v in metrics.items() if k.startswith('tsiot_io_wait_seconds_total')]}")
    check_measured(max((r for r in reasons if r != "runqueue"), key=reasons.get) == "disk", f"why it waits: {reasons}")
    found = metrics.get(f'tsiot_io_wait_seconds_total{{service="writer",device="{os.path.basename(device)}"}}', 0)
    check_measured(found >= 0.95 * reasons["disk"], f"{found} of {reasons['disk']} s are of the device")


# --- Time that was taken away ---------------------------------------------------------------------------------------

class Group:
    """A control group with a quota, in whichever hierarchy has the CPU."""
    n = 0

    def __init__(self, quota_usec=None, period_usec=100000):
        Group.n += 1
        name = f"tsprofd-test-{os.getpid()}-{Group.n}"
        unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        top = "/sys/fs/cgroup" if unified else "/sys/fs/cgroup/cpu"
        self.path, self.unified = os.path.join(top, name), unified
        try:
            if unified and "cpu" not in open(f"{top}/cgroup.subtree_control").read().split():
                self.write("+cpu", f"{top}/cgroup.subtree_control")
            os.mkdir(self.path)
        except OSError as error:
            raise Skip(f"no control group of the CPU can be made: {error}")
        cleanup(self.remove)
        # Others of this machine do not matter: a quota is what it waits for.
        self.write(10000 if unified else 262144, "cpu.weight" if unified else "cpu.shares")
        if quota_usec and unified:
            self.write(f"{quota_usec} {period_usec}", "cpu.max")
        elif quota_usec:
            self.write(period_usec, "cpu.cfs_period_us")
            self.write(quota_usec, "cpu.cfs_quota_us")

    def write(self, value, name):
        with open(os.path.join(self.path, name), "w") as f:
            f.write(str(value))

    def run(self, code, cpu):
        def join():
            self.write(os.getpid(), "cgroup.procs")
            os.sched_setaffinity(0, {cpu})
        return Target(sys.executable, "-c", code, preexec_fn=join)

    def throttled(self):
        """Seconds."""
        for line in open(os.path.join(self.path, "cpu.stat")):
            name, value = line.split()
            if name in ("throttled_usec", "throttled_time"):
                return int(value) / (1e6 if name == "throttled_usec" else 1e9)
        raise Failed("cpu.stat does not say")

    def remove(self):
        wait_for(lambda: not open(os.path.join(self.path, "cgroup.procs")).read(), "the group is empty", 5)
        os.rmdir(self.path)


SPIN = "while True: pass"
# Sleeps, and then wants as much CPU time as it waited.
WAKE = "import time\nwhile True:\n time.sleep(0.005)\n end = time.monotonic() + 0.001\n while time.monotonic() < end: pass"


def waits_of(target, duration=4):
    """reason -> share of the window, and the profile."""
    path = os.path.join(tempdir(), "profile")
    time.sleep(1)
    run(find_binary(), "--once", "--kind", "block", "--pid", target.pid, "--duration", f"{duration}s", "--output", path)
    profile, reasons = Profile.load(path), {}
    for s in profile.samples:
        reasons[s.labels["reason"]] = reasons.get(s.labels["reason"], 0) + s.values[1] / profile.duration_nsec
    note(", ".join(f"{reason} {100 * share:.2f} % of the window" for reason, share in sorted(reasons.items())))
    return reasons, profile


def last_cpu():
    return max(os.sched_getaffinity(0))


@test
def who_used_up_the_quota_is_throttled():
    group = Group(20000)
    target = group.run(SPIN, last_cpu())
    time.sleep(0.5)
    begun, before = time.monotonic(), group.throttled()
    reasons, _ = waits_of(target)
    share = (group.throttled() - before) / (time.monotonic() - begun)
    note(f"cpu.stat: throttled {100 * share:.2f} % of the time")
    throttled = reasons.get("throttled", 0)
    check_measured(throttled >= 0.95 * sum(reasons.values()), "it waited for something else")
    check_between(throttled, 0.9 * share, 1.1 * share, "share of the time that it was throttled")
    check_between(throttled, 0.7, 0.85, "share of the time, of which four fifths are above its quota")


@test
def who_is_woken_without_a_quota_left_is_throttled():
    group = Group(20000)
    group.run(SPIN, last_cpu())
    target = group.run(WAKE, last_cpu())
    reasons, _ = waits_of(target)
    # The two take turns while there is some left: a fifth of the time, at most.
    check_measured(reasons.get("throttled", 0) >= 0.5, "it was throttled for less than half of the time")
    check_measured(reasons.get("runqueue", 0) <= 0.25, "it waited for others of its group for too long")


@test
def who_has_a_full_run_queue_before_it_is_not_throttled():
    group = Group()
    for _ in range(3):
        group.run(SPIN, last_cpu())
    reasons, _ = waits_of(group.run(SPIN, last_cpu()))
    check_equal(reasons.get("throttled", 0), 0, "throttled")
    check_measured(reasons.get("runqueue", 0) >= 0.95 * sum(reasons.values()) and reasons.get("runqueue", 0) > 0.5, "it did not wait for a CPU")


@test
def stolen_time_is_what_the_kernel_says():
    def kernels():
        return int(open("/proc/stat").readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    daemon = Daemon(cpu_config("1s"))
    daemon.metrics()
    before = kernels()
    found = metrics_now(daemon)["tsprofd_stolen_cpu_seconds_total"]
    after = kernels()
    note(f"{found} s since boot")
    check(before <= found <= after, f"{found} is not in {before} to {after}")


main()
