#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Bad disks, kills and bad input: one clear message each, nothing lost that could be kept, the daemon alive."""
import random

from harness import *


def bpf_programs():
    """Ids of the programs that are loaded; by name, of ours only."""
    need_tool("bpftool")
    done = run("bpftool", "-j", "prog", "show")
    return {p["id"] for p in json.loads(done.stdout or "[]")}


def mount_tmpfs(path, size):
    os.makedirs(path, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", path)
    cleanup(run, "umount", "-l", path)


@test
def a_missing_output_directory_is_made():
    keep_a_core_busy()
    directory = tempdir()
    daemon = Daemon(cpu_config("1s", output={"directory": f"{directory}/a/b/c"}))
    wait_for(lambda: files_below(f"{directory}/a/b/c"), "a file")


@test
def an_output_directory_that_is_removed_comes_back():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s"))
    daemon.wait_files(1)
    # In one step: it may be writing.
    os.rename(daemon.output, daemon.output + "-gone")
    shutil.rmtree(daemon.output + "-gone")
    daemon.wait_files(2)


@test
def a_read_only_directory_is_one_message_and_nothing_is_lost():
    keep_a_core_busy()
    directory = tempdir()
    disk = f"{directory}/disk"
    mount_tmpfs(disk, "8m")
    daemon = Daemon(cpu_config("1s", output={"directory": f"{disk}/profiles"}))
    wait_for(lambda: files_below(f"{disk}/profiles"), "a file")
    run("mount", "-o", "remount,ro", disk)
    size = len(daemon.log())
    time.sleep(5)
    said = daemon.log()[size:]
    check(re.search(r"[Rr]ead-only", said), f"it does not say why: {said!r}")
    n = len([line for line in said.splitlines() if re.search(r"[Rr]ead-only", line)])
    check(n <= 2, f"{n} messages in 5 s")
    run("mount", "-o", "remount,rw", disk)
    writable = time.monotonic()
    time.sleep(4)
    check(daemon.alive(), "it died")
    files = files_below(f"{disk}/profiles", "c-shares-fp")
    spans = sorted((f.profile.time_nsec, f.profile.time_nsec + f.profile.duration_nsec) for f in files)
    gaps = [b[0] - a[1] for a, b in zip(spans, spans[1:])]
    note(f"{len(files)} files, largest gap {max(gaps) / 1e9:.2f} s, written again after at most {time.monotonic() - writable:.1f} s")
    check(max(gaps) < 0.5e9, f"windows of the bad time are missing: gaps {[round(g / 1e9, 2) for g in gaps]}")


@test
def a_full_disk_is_one_message_and_it_carries_on_when_there_is_space():
    keep_a_core_busy()
    directory = tempdir()
    disk = f"{directory}/disk"
    mount_tmpfs(disk, "16m")
    daemon = Daemon(cpu_config("1s", output={"directory": f"{disk}/profiles"}))
    wait_for(lambda: files_below(f"{disk}/profiles"), "a file")
    filler = os.open(f"{disk}/filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(filler, b"x" * 4096)
    except OSError as error:
        note(f"the disk is full: {error.strerror}")
    os.close(filler)
    time.sleep(4)
    check(daemon.alive(), "it died")
    check(re.search(r"No space left", daemon.log()), f"it does not say why: {daemon.log()[-500:]!r}")
    for file in files_below(f"{disk}/profiles"):
        Profile.load(file.path)
    n = len(files_below(f"{disk}/profiles"))
    os.unlink(f"{disk}/filler")
    wait_for(lambda: len(files_below(f"{disk}/profiles")) > n + 2, "files again", 10)
    temporary = [p for p in glob.glob(f"{disk}/profiles/**/.*", recursive=True) if os.path.isfile(p)]
    check(not [p for p in temporary if time.time() - os.stat(p).st_mtime > 2], f"temporary files stay: {temporary}")


@test
def killed_at_any_moment_it_leaves_only_whole_files():
    rounds = int(os.environ.get("TSPROFD_KILLS", "30"))
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s"), start=False)
    before = bpf_programs()
    seed = int(os.environ.get("TSPROFD_SEED", time.time()))
    chance = random.Random(seed)
    note(f"seed {seed}, {rounds} rounds")
    for _ in range(rounds):
        daemon.start(ready=False)
        # Windows end on full seconds: most kills shall meet the writing that follows, some the start.
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 0.5))
        else:
            daemon.wait_note("^READY=1$", "ready")
            # The first file takes longest: nothing is known of any program yet.
            time.sleep(1 - time.time() % 1 + chance.uniform(0, 1.2))
        daemon.process.kill()
        daemon.process.wait()
        daemon.close_notes()
        daemon.process = None
    broken = []
    for file in daemon.files():
        try:
            Profile.load(file.path)
        except Exception as error:
            broken.append(f"{file.path}: {error!r}")
    note(f"{len(daemon.files())} files")
    check(len(daemon.files()) > 0, "no file at all was written")
    check(not broken, "\n".join(broken[:5]))
    wait_for(lambda: bpf_programs() <= before, "all BPF programs are gone", 5)
    daemon.start()
    daemon.wait_files(len(daemon.files()) + 1)
    stale = [p for p in glob.glob(f"{daemon.output}/**/.*", recursive=True) if os.path.isfile(p) and
             os.stat(p).st_mtime < time.time() - 3]
    check(not stale, f"stale temporary files after a restart: {stale}")


@test
def ended_in_peace_it_leaves_no_program_and_no_process():
    before = bpf_programs()
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s"))
    daemon.wait_files(1)
    children = daemon.children()
    during = bpf_programs()
    check(during - before, "no BPF program was loaded")
    check_equal(daemon.stop(), 0, "exit status")
    wait_for(lambda: bpf_programs() <= before, "all BPF programs are gone", 5)
    check(not [c for c in children if os.path.exists(f"/proc/{c}")], "a helper is still there")


@test
def the_last_window_is_written_at_the_end():
    target = keep_a_core_busy()
    daemon = Daemon(cpu_config("60s", rate=99))
    time.sleep(3)
    daemon.stop()
    samples = [s for f in daemon.files() for s in f.profile.samples if s.labels.get("pid") == target.pid]
    check_measured(total(samples) > 100, f"{total(samples)} samples of 3 s")


@test
def a_second_daemon_with_the_same_runtime_directory_is_refused():
    daemon = Daemon(cpu_config("1s"))
    second = Daemon(cpu_config("1s"), env={"RUNTIME_DIRECTORY": daemon.runtime}, ready=False)
    status = second.process.wait(20)
    check(status not in (0, None) and status > 0, f"exit status {status}")
    check(str(daemon.pid) in second.log(), f"it does not name the other one's pid: {second.log()!r}")


def hostile_executable(directory, name, damage):
    """A program that runs, whose file has tables that lead nowhere."""
    path = os.path.join(directory, name)
    with open(target_path("c-shares-fp"), "rb") as f:
        data = bytearray(f.read())
    damage(data)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o755)
    return path


def _no_sections(data):
    data[0x28:0x30] = b"\xff" * 8          # e_shoff


def _huge_sections(data):
    data[0x3c:0x3e] = b"\xff\xff"          # e_shnum


def _junk_sections(data):
    start = int.from_bytes(data[0x28:0x30], "little")
    data[start:] = os.urandom(len(data) - start)


def _junk_tables(data):
    # Everything behind the loaded segments: symbols and debug information.
    n, size, at = int.from_bytes(data[0x38:0x3a], "little"), 56, int.from_bytes(data[0x20:0x28], "little")
    end = max(int.from_bytes(data[p + 8:p + 16], "little") + int.from_bytes(data[p + 32:p + 40], "little")
              for p in range(at, at + n * size, size))
    start = int.from_bytes(data[0x28:0x30], "little")
    data[end:start] = os.urandom(start - end)


@test
def a_corrupt_executable_costs_only_its_own_names():
    directory = tempdir()
    paths = [hostile_executable(directory, f"bad-{d.__name__.strip('_')}", d)
             for d in (_no_sections, _huge_sections, _junk_sections, _junk_tables)]
    daemon = Daemon(cpu_config("2s", rate=199))
    pids = [Target(p, 8).pid for p in paths]
    good = Target("c-shares-fp", 8)
    truth = good.truth()
    moment = time.time_ns()
    named = total([s for s in daemon.samples_of(truth["pid"], until_nsec=moment) if s.first_of(truth["cpu_ns"])])
    check(named > 100, "the good program's names are gone, too")
    for path, pid in zip(paths, pids):
        samples = daemon.samples_of(pid)
        check_measured(total(samples) > 50, f"{os.path.basename(path)} has {total(samples)} samples: nothing may be dropped")
        check(all(s.names for s in samples), f"{os.path.basename(path)} has frames without even an offset")
    check(daemon.alive(), "it died")


class HelpersWatch:
    """The most that helpers of a daemon had in memory at a time, looked at ten times a second."""

    def __init__(self, daemon):
        self.daemon, self.highest, self.stopped = daemon, 0, threading.Event()
        cleanup(self.stopped.set)
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while not self.stopped.wait(0.1):
            try:
                statuses = [open(f"/proc/{pid}/status").read() for pid in self.daemon.children()]
            except OSError:
                continue
            sizes = [int(m[1]) << 10 for m in (re.search(r"^VmHWM:\s+(\d+) kB", s, re.M) for s in statuses) if m]
            self.highest = max(self.highest, *sizes, 0)


def damaged_cfi(directory, number, random):
    """A program that runs, whose .eh_frame has been written over here and there; nothing of it throws."""
    path = os.path.join(directory, f"damaged-{number}")
    with open(target_path("c-deep-nofp"), "rb") as f:
        data = bytearray(f.read())
    sections = run("readelf", "-SW", target_path("c-deep-nofp")).stdout
    at, size = (int(x, 16) for x in re.search(r" \.eh_frame +PROGBITS +\w+ (\w+) (\w+)", sections).groups())
    for _ in range(random.randrange(1, 40)):
        where = at + random.randrange(size - 4)
        data[where:where + 4] = random.choice([bytes(4), b"\xff" * 4, random.randbytes(4), bytes([data[where] ^ 1 << random.randrange(8)])
                                               + data[where + 1:where + 4]])
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o755)
    return path


@test
def unwind_tables_of_damaged_files_cost_little_and_lose_nothing():
    random = __import__("random").Random(4)
    directory, seconds, n = tempdir(), 6, 40
    daemon = Daemon(cpu_config("2s", rate=199))
    watch = HelpersWatch(daemon)
    targets = [Target(damaged_cfi(directory, i, random), seconds, preexec_fn=yielding) for i in range(n)]
    moment = max(time.time_ns() for target in targets if target.truth())
    daemon.wait_window_after(moment)
    samples = [s for t in targets for s in daemon.samples_of(t.pid)]
    why = {}
    for s in samples:
        why[s.broken] = why.get(s.broken, 0) + s.count
    m = daemon.fresh_metrics()
    tables = m['tsprofd_cpu_seconds_total{process="tables"}']
    note(f"{total(samples)} samples of {n} programs, broken: {why}; tables: {tables:.2f} s of CPU, helpers at most {watch.highest / 2**20:.1f} MiB")
    expected = seconds * 199 * min(os.cpu_count(), n)
    check_measured(total(samples) > 0.5 * expected, "samples are missing")
    check(watch.highest < 96 << 20, "too much memory")
    check(tables < 5, "too much CPU time")
    said = [line for line in daemon.log().splitlines() if "unwind table" in line and "damaged-" in line]
    check(len(said) <= 1, f"it says too much: {said[:3]}")
    check(daemon.alive(), "it died")


GIANT = """
	.text
	.rept 240000
	.cfi_startproc
	push %rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbx, 0
	pop %rbx
	.cfi_adjust_cfa_offset -8
	ret
	.skip 4210
	.cfi_endproc
	.endr
	.section .note.GNU-stack,"",@progbits
"""


@test
def an_executable_of_a_gigabyte_costs_bounded_time_and_memory():
    directory, sources = tempdir(), os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "targets", "c")
    giant = os.path.join(directory, "giant")
    with open(giant + ".S", "w") as f:
        f.write(GIANT)
    run("gcc", "-O2", "-std=gnu11", "-D_GNU_SOURCE", "-fno-builtin", "-fomit-frame-pointer", "-DTARGET_NAME=\"giant\"", "-o", giant,
        *(os.path.join(sources, name) for name in ("deep.c", "truth.c", "work.c")), giant + ".S", timeout=300)
    check_between(os.path.getsize(giant), 1e9, 2e9, "bytes of the executable")
    daemon = Daemon(cpu_config("1s", rate=199))
    watch = HelpersWatch(daemon)
    target = Target(giant, 3600)
    started = time.time()
    begin = wait_warm(daemon, {target.pid})
    daemon.wait_window_after(time.time_ns() + 2 * 10**9)
    samples = [s for f in daemon.files() if f.begin >= begin for s in f.profile.samples if s.labels.get("pid") == target.pid]
    m = daemon.fresh_metrics()
    tables, core = m['tsprofd_cpu_seconds_total{process="tables"}'], m['tsprofd_memory_bytes{part="core"}']
    note(f"its table was there after {begin - started:.1f} s; all tables took {tables:.2f} s of CPU; helpers at most "
         f"{watch.highest / 2**20:.1f} MiB, core {core / 2**20:.1f} MiB")
    check_complete(samples, 0.999, 100)
    check_measured(total([s for s in samples if s.names.count("descend") == 60]) > 0.9 * total(samples), "stacks do not have all of descend")
    check(watch.highest < 128 << 20, "too much memory")
    check(daemon.alive(), "it died")


@test
def perf_maps_that_are_traps_harm_nobody():
    daemon = Daemon(cpu_config("1s", rate=199))
    made = []
    def trap(target, make):
        path = f"/tmp/perf-{target.pid}.map"
        make(path)
        cleanup(lambda: os.path.lexists(path) and os.unlink(path))
        made.append(target)
    trap(Target("c-shares-fp", 6), os.mkfifo)
    trap(Target("c-shares-fp", 6), lambda p: os.symlink("/dev/zero", p))
    trap(Target("c-shares-fp", 6), lambda p: os.symlink("/etc/shadow", p))
    trap(Target("c-shares-fp", 6), lambda p: open(p, "wb").write(os.urandom(1 << 20)))
    trap(Target("c-shares-fp", 6), lambda p: open(p, "w").write("7f0000000000 1000 cut of"))
    moment = time.time_ns() + 4 * 10**9
    daemon.wait_window_after(moment)
    for target in made:
        check_measured(total(daemon.samples_of(target.pid)) > 100, "samples are missing")
    check(daemon.alive(), "it died")


@test
def a_frozen_daemon_goes_on_and_counts_right():
    target = keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", rate=199))
    before = cpu_seconds(target.pid)
    daemon.wait_files(1)
    daemon.send(signal.SIGSTOP)
    time.sleep(3)
    daemon.send(signal.SIGCONT)
    expected = 199 * (cpu_seconds(target.pid) - before)
    daemon.wait_window_after(time.time_ns())
    files = daemon.files("c-shares-fp")
    # Files are later than the moment of the question, so that there may be more than expected, but not less.
    n = sum(f.profile.n_samples for f in files)
    note(f"{n} samples, {expected:.0f} expected of its CPU time until then")
    check_measured(n >= 0.9 * expected, "samples of the frozen time are missing")
    for a, b in zip(files, files[1:]):
        check(b.profile.time_nsec >= a.profile.time_nsec + a.profile.duration_nsec - 10**7, "windows overlap")


main()
