#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Go processes whose runtimes hold what no runtime holds, that come and go, or that are held: the daemon says what is wrong with each, once,
reads the others, and costs no more than without them. (The reader alone: test_go_reader.py; its library: test_goroutines_versions.py.)"""
import ctypes
import random
import struct

from harness import *

# Of tests/targets/go/goroutines: so many goroutines of each round, at least.
PER_ROUND = 22
# Two processes are read at once, each in 10 s at most: a quarter of it at idle priority, which on a machine that is busy brings nothing.
PATIENCE_SECONDS = 60


def tool():
    path = os.environ.get("TSPROFD_GOROUTINES") or os.path.join(os.path.dirname(find_binary()), "..", "tests", "system", "goroutines")
    if not os.path.exists(path):
        raise Skip("goroutines is not built")
    return os.path.abspath(path)


def goroutines(rounds=20, **options):
    target = Target("go-goroutines", "127.0.0.1:0", rounds, **options)
    wait_for(lambda: target.process.stdout.readline() == "ready\n", "the target is ready")
    return target


def variables(pid):
    return {name: int(value, 16) for name, value in re.findall(r"^variable (\S+) (\S+)$", run(tool(), "-f", pid).stdout, re.M)}


class Memory:
    def __init__(self, pid):
        self.file = open(f"/proc/{pid}/mem", "r+b", buffering=0)

    def read(self, address, size):
        self.file.seek(address)
        return self.file.read(size)

    def u64(self, address):
        return struct.unpack("<Q", self.read(address, 8))[0]

    def write(self, address, *words):
        self.file.seek(address)
        self.file.write(struct.pack(f"<{len(words)}Q", *words))


def all_g(memory, known):
    start, n = memory.u64(known["runtime.allgs"]), memory.u64(known["runtime.allgs"] + 8)
    return start, struct.unpack(f"<{n}Q", memory.read(start, 8 * n))


# What is done, and in which words it is to be refused. Where a word of a g, a bucket or a string lies is the same in all versions.
def absurd_length(memory, known):
    memory.write(known["runtime.allgs"] + 8, 1 << 60)


def wild_pointer(memory, known):
    memory.write(known["runtime.allgs"], 0xdead00000000)


def pointers_into_the_kernel(memory, known):
    start, g = all_g(memory, known)
    memory.write(start, *[0xffffffff81000000] * len(g))


def one_goroutine_many_times(memory, known):
    start, g = all_g(memory, known)
    memory.write(start, *[g[0]] * len(g))


def endless_stacks(memory, known):
    for g in all_g(memory, known)[1]:
        memory.write(g, 0, 1 << 63)


def texts_without_end(memory, known):
    for i in range(64):
        memory.write(known["runtime.waitReasonStrings"] + 16 * i + 8, 1 << 62)


def cyclic_buckets(memory, known):
    # bucket.allnext of the first: itself.
    first = memory.u64(known["runtime.mbuckets"])
    check(first, "it has no heap profile")
    memory.write(first + 8, first)


def buckets_of_absurd_depth(memory, known):
    # bucket.nstk
    memory.write(memory.u64(known["runtime.mbuckets"]) + 40, 1 << 40)


DAMAGES = [absurd_length, wild_pointer, pointers_into_the_kernel, one_goroutine_many_times, endless_stacks, texts_without_end, cyclic_buckets,
           buckets_of_absurd_depth]


def damaged(damage):
    """It stands still afterwards: it would fall over itself."""
    target = goroutines()
    known = variables(target.pid)
    os.kill(target.pid, signal.SIGSTOP)
    damage(Memory(target.pid), known)
    return target


def go_config(**more):
    """Goroutines and heaps each second, and nothing else."""
    config = cpu_config("60s", targets="[{service: go-goroutines, match: {exe: go-goroutines}}]", **more)
    config["goroutine"] = {"enabled": True, "snapshot_interval": "1s"}
    config["memory"] = {"enabled": True, "snapshot_interval": "1s"}
    for kind in "block", "wall":
        config[kind] = {"enabled": False}
    return config


def pids_of(file):
    return {s.labels.get("pid") for s in file.profile.samples}


def wait_read(daemon, pid, kind="goroutine", after=0):
    """A file of the kind, of a look that began after that moment, in which the process is."""
    def found():
        check(daemon.alive(), f"the daemon ended with {daemon.process.returncode}")
        return next((f for f in daemon.files("go-goroutines", kind) if f.profile.time_nsec / 1e9 > after and pid in pids_of(f)), None)
    return wait_for(found, f"a {kind} profile of process {pid}", PATIENCE_SECONDS)


def resident_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])


def complaints(daemon, pid):
    return re.findall(rf"^.*Process {pid} \(\S+\): go: .*$", daemon.log(), re.M)


@test
def each_damage_is_told_once_and_the_others_are_read():
    broken = {damaged(damage).pid: damage.__name__ for damage in DAMAGES}
    healthy = goroutines()
    daemon = Daemon(go_config())
    wait_read(daemon, healthy.pid)
    for pid, damage in broken.items():
        wait_for(lambda pid=pid: complaints(daemon, pid), f"{damage} is told", 30)
    before = resident_kib(daemon.pid)
    begun = time.time()
    for kind in "goroutine", "heap":
        for _ in range(3):
            wait_read(daemon, healthy.pid, kind, begun)
            begun = time.time()
    for pid, damage in broken.items():
        said = complaints(daemon, pid)
        check_equal(len(said), 1, f"messages of {damage}: {said}")
        note(f"{damage}: {said[0].split('go: ', 1)[1]}")
        check(re.search(r"runtime layout of go1\.\S+ not understood: \w+", said[0]), f"{damage}: it is not told what")
    files = daemon.files("go-goroutines", "goroutine")
    check(files[-1].profile.n_samples >= 20 * PER_ROUND, "goroutines of the healthy one are missing")
    told = [line for line in files[-1].profile.comments if "not understood" in line]
    check(len(told) >= len(broken) - 2, f"the profile tells of {len(told)} only")  # in heap alone
    # As often as it takes: what is refused leaves nothing behind.
    check(resident_kib(daemon.pid) - before < 20 << 10, "the daemon grows")
    check(len(daemon.children()) <= 4, f"helpers: {len(daemon.children())}")


@test
def what_rewrites_its_runtime_all_the_time_harms_nobody():
    target, healthy = goroutines(), goroutines()
    known = variables(target.pid)
    memory = Memory(target.pid)
    os.kill(target.pid, signal.SIGSTOP)
    start, g = all_g(memory, known)
    seed = time.time_ns()
    note(f"seed {seed}")
    writer = os.fork()
    if writer == 0:
        # Pointers, lengths and lists, wrong in a new way each time, and right now and then.
        chance = random.Random(seed)
        slice_ = struct.unpack("<3Q", memory.read(known["runtime.allgs"], 24))
        wild = [0, 8, 1 << 47, 1 << 63, 0xffffffff81000000, *g[:20], start, known["runtime.allgs"]]
        while True:
            memory.write(known["runtime.allgs"], *slice_)
            for _ in range(20):
                memory.write(chance.choice(g) + 8 * chance.randrange(48), chance.choice(wild))
            memory.write(start + 8 * chance.randrange(len(g)), chance.choice(wild))
            memory.write(memory.u64(known["runtime.mbuckets"]) + 8, chance.choice(wild))
            if chance.random() < 0.1:
                memory.write(known["runtime.allgs"] + 8, chance.choice([0, 1 << 20, 1 << 62]))
    cleanup(lambda: (os.kill(writer, signal.SIGKILL), os.waitpid(writer, 0)))
    daemon = Daemon(go_config())
    begun = time.time()
    for _ in range(6):
        wait_read(daemon, healthy.pid, after=begun)
        begun = time.time()
    n = len(complaints(daemon, target.pid))
    note(f"messages: {n}")
    check(n <= 1, "it is told again and again")
    check(resident_kib(daemon.pid) < 150 << 10, "the daemon grew")


@test
def snapshots_that_take_too_long_do_not_pile_up():
    healthy = goroutines()
    daemon = Daemon(go_config())
    wait_read(daemon, healthy.pid)
    # Whoever reads for the daemon stands still, as it does at a process whose memory does not come.
    end = time.monotonic() + 8
    while time.monotonic() < end:
        for pid in daemon.children():
            try:
                if open(f"/proc/{pid}/comm").read() == "tsprofd-go\n":
                    os.kill(pid, signal.SIGSTOP)
            except OSError:
                pass
        time.sleep(0.02)
    n = daemon.fresh_metrics()["tsprofd_go_snapshots_left_out_total"]
    note(f"left out: {n:.0f}")
    check(n >= 4, "they pile up, or it is not counted")
    # Seven snapshots of two kinds are not made up for: the next one is of now.
    wait_read(daemon, healthy.pid, after=time.time())


@test
def those_that_come_and_go_while_they_are_read_harm_nobody():
    healthy = goroutines()
    daemon = Daemon(go_config())
    wait_read(daemon, healthy.pid)
    chance = random.Random(1)
    begun, end, n = time.time(), time.monotonic() + 8, 0
    while time.monotonic() < end:
        target = goroutines(200)
        # In the midst of its reading, before, or after it.
        time.sleep(chance.random() * 1.2)
        target.kill()
        n += 1
    wait_read(daemon, healthy.pid, after=time.time())
    note(f"{n} came and went; {len(daemon.files('go-goroutines', 'goroutine'))} files")
    unexpected = [line for line in daemon.log().splitlines() if " go: " in line and "it has ended" not in line and "has not begun" not in line]
    check_equal(unexpected, [], "what is told of them")


@test
def one_that_is_held_by_a_debugger_is_read_by_the_daemon():
    target = goroutines()
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes, ptrace.restype = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p], ctypes.c_long
    check(ptrace(16, target.pid, None, None) == 0, "cannot attach to it")
    os.waitpid(target.pid, 0)
    cleanup(ptrace, 17, target.pid, None, None)
    daemon = Daemon(go_config())
    file = wait_read(daemon, target.pid)
    check(file.profile.n_samples >= 20 * PER_ROUND, "goroutines are missing")
    check_equal(complaints(daemon, target.pid), [], "complaints")
    check_equal(open(f"/proc/{target.pid}/stat").read().rsplit(")", 1)[1].split()[0], "t", "its state")


@test
def one_for_another_processor_is_refused_by_name():
    try:
        target = Target("go-shares-386", 60)
    except OSError as error:
        raise Skip(f"this kernel runs no programs of 32 bits: {error}")
    time.sleep(0.5)
    if target.process.poll() is not None:
        raise Skip("this kernel runs no programs of 32 bits")
    done = run(find_binary(), "--once", "--kind", "goroutine,heap", "--pid", target.pid, "--output", tempdir(), check_status=False)
    check_equal(done.returncode, os.EX_UNAVAILABLE, "exit status")
    note(done.stderr.strip())
    check(re.search(rf"Process {target.pid} \(\S+\): go: a program for another processor", done.stderr), "it is not told")
    # The rest goes on.
    daemon = Daemon(cpu_config("1s"))
    daemon.wait_files(2, "go-shares-386")


@test
def a_goroutine_that_runs_is_told_as_running():
    """Its stack is in registers; a sample of its thread has no time, and may be of another one."""
    target = Target("go-shares", 60)
    directory = tempdir()
    path = os.path.join(directory, "f.pprof")
    run(find_binary(), "--once", "--kind", "goroutine", "--pid", target.pid, "--output", path)
    running = [s for s in Profile.load(path).samples if s.labels.get("state") == "running"]
    check_equal([(s.names, s.labels.get("goid")) for s in running], [(["[running]"], 1)], "who runs")
    text = os.path.join(directory, "f.txt")
    run(find_binary(), "--once", "--kind", "goroutine", "--debug", "2", "--pid", target.pid, "--output", text)
    check("goroutine 1 [running, locked to thread]:\n\tgoroutine running on other thread; stack unavailable\n" in open(text).read(), "Go's words")



main()
