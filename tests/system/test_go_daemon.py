#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Goroutines, heap and garbage collector of Go programs as the daemon and --once tell them: files by schedule, and the runtime's own numbers."""
import http.client

from harness import *

# The oldest, the newest and whatever is between them here.
VERSIONS = ["go-goroutines"] + sorted(os.path.basename(path) for path in glob.glob(os.path.join(TARGETS, "go-goroutines-stripped*")))


def looks(*pids, **more):
    """profiling: nothing but looks at Go processes, often."""
    return {"cpu": {"enabled": False}, "block": {"enabled": False}, "mutex": {"enabled": False},
            "goroutine": {"snapshot_interval": "2s"}, "memory": {"snapshot_interval": "3s"},
            "targets": "[" + ", ".join(f"{{match: {{pid: \"{pid}\"}}}}" for pid in pids) + "]",
            "budget": {"cpu": "50%", "memory": "256MiB"}, **more}


class Program:
    """One of the targets go-goroutines*, ready, and the address that it answers at."""

    def __init__(self, name, n=1, **options):
        self.target = Target(name, "127.0.0.1:0", n, **options)
        self.pid = self.target.pid
        for line in self.target.process.stdout:
            if line.startswith("pprof "):
                self.address = line.split()[1]
            if line.startswith("ready"):
                return
        raise Failed("it ended")

    def stats(self, collect=False):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("GET", "/stats" + ("?gc=1" if collect else ""))
        answer = connection.getresponse().read()
        connection.close()
        if not answer.startswith(b"{"):
            raise Skip("the target is older than this test: tests/targets/build makes it anew")
        answer = json.loads(answer)
        return answer["Memory"], answer["Metrics"]


def patched(name, version):
    """A copy whose build information says that it is of that version, padded to the length of its own."""
    with open(target_path(name), "rb") as f:
        data = bytearray(f.read())
    at = data.index(b"\xff Go buildinf:") + 32
    length = data[at]
    data[at + 1:at + 1 + length] = version.encode().ljust(length, b"0")[:length]
    path = os.path.join(tempdir(), "patched")
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o755)
    return path


def goroutines_of(file, pid):
    return [s for s in file.profile.samples if s.labels.get("pid") == pid]


@test_each(["go-goroutines", "go-goroutines-stripped", "tsiot-server"])
def files_come_by_schedule_with_labels(name):
    pid = Server().pid if name == "tsiot-server" else Program(name).pid
    daemon = Daemon(looks(pid))
    # The first may be of a process that had just begun.
    goroutine = daemon.wait_files(5, name, "goroutine")[1:]
    heap = daemon.wait_files(3, name, "heap")
    for kind, files, seconds in ("goroutine", goroutine, 2), ("heap", heap, 3):
        gaps = [b.begin - a.begin for a, b in zip(files, files[1:])]
        note(f"{kind}: every {gaps} s")
        check_measured(all(abs(gap - seconds) <= 1 for gap in gaps), f"{kind} files are {gaps} s apart, not {seconds}")
        check_equal({s.labels.get("service") for f in files for s in f.profile.samples}, {name}, "services")
    for file in goroutine:
        samples = goroutines_of(file, pid)
        check(samples, "no goroutine")
        first = [s for s in samples if s.labels["goid"] == 1]
        check(len(first) == 1 and "created by" not in first[0].labels, f"the first goroutine: {[s.labels for s in first]}")
        check_equal(len({s.labels["goid"] for s in samples}), len(samples), "different goroutines")
        check(all(s.labels["state"] != "waiting" or s.labels["wait_reason"] for s in samples), "one waits for no reason")
        check(any(s.labels.get("created by", "").startswith("main.") for s in samples) or name == "tsiot-server", "none was created by main")
    if shutil.which("go"):
        traces = run("go", "tool", "pprof", "-traces", goroutine[-1].path).stdout
        created = [line for line in traces.splitlines() if "created by" in line]
        check_equal(len(created), len([s for s in goroutine[-1].profile.samples if "created by" in s.labels]), "lines with a creator")


def works(names):
    return {"alpha", "beta", "gamma"} & {plain_name(name) for name in names}


@test_each(["go-shares", "go-shares-stripped"])
def who_runs_has_the_stack_that_the_sampler_saw(name):
    target = Target(name, 120)
    daemon = Daemon(looks(target.pid, cpu={"enabled": True, "rate": 199, "duration": "5s", "interval": "5s"}))
    files = daemon.wait_files(6, name, "goroutine")
    running = [s for f in files[2:] for s in goroutines_of(f, target.pid) if s.labels["goid"] == 1 and s.labels["state"] == "running"]
    met = [s for s in running if "[running]" not in s.names]
    note(f"{len(met)} of {len(running)} times that it ran it had a stack: {met[-1].names if met else ''}")
    check_measured(len(running) >= 2 and len(met) >= 0.7 * len(running), "it was not met")
    for s in met:
        check(works(s.names) and s.names[-1] == "runtime.main" and not s.broken, f"its stack: {s.names}")
    check(any("have the stack of their thread's latest CPU sample, at most a second before: 1" in c for f in files for c in f.profile.comments), "comment")


@test
def once_with_cpu_tells_what_runs_too():
    target = Target("go-shares", 60)
    output = tempdir()
    run(find_binary(), "--once", "--kind", "cpu,goroutine", "--pid", target.pid, "--duration", "2s", "--output", f"{output}/")
    path = glob.glob(f"{output}/**/goroutine-*.pprof", recursive=True)[0]
    names = next(s.names for s in Profile.load(path).samples if s.labels["goid"] == 1)
    check_measured(works(names), f"its stack: {names}")


def number(metrics, name, service, **labels):
    return metrics.get(name + "{" + ",".join(f'{k}="{v}"' for k, v in {"service": service, **labels}.items()) + "}")


@test_each(VERSIONS)
def numbers_of_the_runtime_are_those_it_tells_itself(name):
    # The limit decides when the next collection is to be, for those that have it.
    settings = {"GOMAXPROCS": "3", "GOGC": "900000", "GOMEMLIMIT": "64MiB"}
    program = Program(name, 50, env={**os.environ, **settings})
    for _ in range(3):
        program.stats(collect=True)
    daemon = Daemon(looks(program.pid))
    # What is printed was seen after the first answer and before the second one.
    before, before_metrics = program.stats()
    answered = time.time_ns()
    wait_for(lambda: any(f.profile.time_nsec > answered for f in daemon.files(name, "goroutine")), "a look that began after the answer", PATIENCE, 0.2)
    ours = daemon.fresh_metrics()
    after, after_metrics = program.stats()
    service = name

    def equal(what, found, *truths):
        check(found is not None, f"{what}: it is not told")
        # Texts of 17 digits are exact.
        check(min(truths) <= found <= max(truths), f"{what}: {found!r}, the program says {truths}")
        note(f"{what}: {found:.17g}, the program: {min(truths):.17g} to {max(truths):.17g}")

    def both(key):
        return before[key], after[key]

    def near(what, found, *truths):
        """Spans that move while the program answers: stacks of what serves us come and go, memory that was given back is taken again and the other
        way round, 8 KiB at a time. What was so in between need not lie between the two answers."""
        equal(what, found, min(truths) - (64 << 10), max(truths) + (64 << 10))

    equal("collections", number(ours, "tsiot_gc_cycles_total", service), *both("NumGC"))
    equal("pauses", round(number(ours, "tsiot_gc_pause_seconds_sum", service) * 1e9), *both("PauseTotalNs"))
    ring = sorted(before["PauseNs"][(before["NumGC"] - 1 - i) % 256] for i in range(min(before["NumGC"], 256)))
    check_equal(before["NumGC"], after["NumGC"], "collections meanwhile")
    equal("longest pause", round(number(ours, "tsiot_gc_pause_seconds", service, quantile="1") * 1e9), ring[-1])
    equal("middle pause", round(number(ours, "tsiot_gc_pause_seconds", service, quantile="0.5") * 1e9), ring[(len(ring) - 1) // 2])
    equal("share of CPU time", number(ours, "tsiot_gc_cpu_fraction", service), *both("GCCPUFraction"))
    equal("GOMAXPROCS", number(ours, "tsiot_go_maxprocs", service), 3)
    equal("GOGC", number(ours, "tsiot_gc_percent", service), 900000)
    near("stacks", number(ours, "tsiot_go_stack_bytes", service), *both("StackInuse"))
    # It follows from how much memory is not heap.
    goals = both("NextGC")
    near("goal", number(ours, "tsiot_heap_bytes", service, part="goal"), *goals)
    if before_metrics.get("/gc/gogc:percent"):
        check_equal(before_metrics["/gc/gogc:percent"], 900000, "GOGC of the program")
        equal("limit", number(ours, "tsiot_go_memory_limit_bytes", service), before_metrics["/gc/gomemlimit:bytes"])
        equal("marked", number(ours, "tsiot_heap_bytes", service, part="marked"), before_metrics["/gc/heap/live:bytes"])
    if "go1.18" in name:
        check(number(ours, "tsiot_heap_bytes", service, part="in_use") is None, "1.18 does not tell what is in use")
        return
    near("in use", number(ours, "tsiot_heap_bytes", service, part="in_use"), *both("HeapInuse"))
    near("released", number(ours, "tsiot_heap_bytes", service, part="released"), *both("HeapReleased"))
    equal("allocated", number(ours, "tsiot_heap_allocated_bytes_total", service), *both("TotalAlloc"))
    check(max(goals) < 64 << 20, "the limit decides nothing")


@test
def how_long_a_goroutine_waits_is_remembered():
    program = Program("go-goroutines")
    daemon = Daemon(looks(program.pid))
    # Nobody knows what was before the first look, until the garbage collector has noted it.
    first = daemon.wait_files(1, "go-goroutines", "goroutine")[0]
    file = wait_for(lambda: next((f for f in daemon.files("go-goroutines", "goroutine") if f.begin >= first.begin + 10), None), "a look after 10 s")
    took = (file.profile.time_nsec - first.profile.time_nsec) / 1e9
    waits = sorted(s.labels["wait"] / 1e9 for s in goroutines_of(file, program.pid)
                   if s.labels.get("wait_reason") == "chan receive" and "wait" in s.labels)
    note(f"after {took:.1f} s: {waits}")
    check(len(waits) > 3, "too few wait for a channel")
    check_measured(all(took - 2 <= wait <= took + 2 for wait in waits), f"after {took:.1f} s they waited {waits[0]:.1f} to {waits[-1]:.1f} s")


@test
def what_is_not_understood_is_told_once_and_the_rest_goes_on():
    refused = refused_program()
    program = Program("go-goroutines")
    idle = Target("c-parked-nofp", 600)
    daemon = Daemon(looks(targets="[" + ", ".join(f'{{service: together, match: {{pid: "{p}"}}}}' for p in (refused.pid, program.pid, idle.pid)) + "]"))
    daemon.wait_files(4, "together", "goroutine")
    said = [line for line in daemon.log().splitlines() if "not understood" in line]
    note("\n".join(said))
    check(len(said) == 1 and f"{refused.pid}" in said[0] and "runtime layout of go1.31" in said[0], f"{len(said)} lines of the journal")
    m = daemon.fresh_metrics()
    check(m.get("tsprofd_go_reads_failed_total", 0) >= 2, f"failed: {m.get('tsprofd_go_reads_failed_total')}")
    check(m["tsprofd_go_reads_total"] > m["tsprofd_go_reads_failed_total"], "none was read")
    check(goroutines_of(daemon.files("together", "goroutine")[-1], program.pid), "the other one is not told")
    check(not any(goroutines_of(f, idle.pid) for f in daemon.files("together", "goroutine")), "what is not Go's has goroutines")
    comments = [c for f in daemon.files("together", "goroutine") for c in f.profile.comments]
    check(any("go: runtime layout of go1.31" in c for c in comments), f"no comment tells: {comments[:5]}")
    check_nothing_else_is_told(refused.pid, comments)


REFUSED = "go: runtime layout of go1.31"


def refused_program():
    old = next((name for name in VERSIONS if "go1.18" in name), None)
    if not old:
        raise Skip("no target of Go 1.18 is built")
    return Program(patched(old, "go1.31."))


def check_nothing_else_is_told(pid, comments):
    """By a layout that is wrong all numbers are."""
    others = {c for c in comments if c.startswith(f"process {pid} ") and REFUSED not in c}
    check(not others, f"of what is not understood it is told: {others}")


@test
def one_that_is_not_understood_and_alone_in_its_service_has_files_that_say_so():
    program = refused_program()
    # Of what it once set nothing is written, either.
    daemon = Daemon(looks(memory={"snapshot_interval": "1s"}, block={"enabled": True, "go_rate": 1}, mutex={"enabled": True, "go_fraction": 1},
                          targets=f'[{{service: alone, match: {{pid: "{program.pid}"}}}}]'))
    for kind in "goroutine", "heap":
        for file in daemon.wait_files(3, "alone", kind):
            profile = file.profile
            check_equal(len(profile.samples), 0, f"{kind}: samples")
            check(any(REFUSED in c for c in profile.comments), f"{kind}: no comment tells why: {profile.comments}")
            check_nothing_else_is_told(program.pid, profile.comments)
            if shutil.which("go"):
                raw = run("go", "tool", "pprof", "-raw", file.path).stdout
                check(REFUSED in raw and "Samples:" in raw, f"what pprof makes of it: {raw}")
    numbers = daemon.fresh_metrics()
    told = [name for name in numbers if 'service="alone"' in name and re.match(r"tsiot_(heap|gc|go_|goroutines)|tsprofd_goroutine", name)]
    check(not told, f"metrics tell of what is not understood: {told}")
    check_equal(numbers.get("tsprofd_go_reads_failed_total"), numbers.get("tsprofd_go_reads_total"), "all looks failed")
    check_equal([numbers.get(f"tsprofd_go_rates{n}") for n in ("", "_written_total", "_failed_total")], [0, 0, 0], "rates")
    check_equal(len(re.findall(REFUSED, daemon.log())), 1, "lines of the journal that tell of it")


@test
def once_says_why_there_is_nothing_of_one_that_is_not_understood():
    program = refused_program()
    directory = tempdir()
    for kind, more in ("goroutine", []), ("heap", []), ("goroutine", ["--debug", "2"]):
        path = os.path.join(directory, kind + "".join(more))
        done = run(find_binary(), "--once", "--kind", kind, *more, "--pid", program.pid, "--output", path, check_status=False)
        check_equal(done.returncode, os.EX_UNAVAILABLE, f"exit status of {kind} {more}")
        check(REFUSED in done.stderr and "No Go process could be read" in done.stderr, done.stderr)
        if not more:
            profile = Profile.load(path)
            check(not profile.samples and any(REFUSED in c for c in profile.comments), f"{kind}: {profile.comments}")
    done = run(find_binary(), "--once", "--kind", "goroutine,heap", "--pid", program.pid, "--output", directory, check_status=False)
    check_equal(done.returncode, os.EX_UNAVAILABLE, "exit status of two kinds in a folder")
    check_equal({f.kind for f in files_below(directory, None, kind=None)}, {"goroutine", "heap"}, "kinds of files in the folder")
    # What there is of the rest is worth something.
    done = run(find_binary(), "--once", "--kind", "goroutine,block", "--duration", "1s", "--pid", program.pid, "--output", directory, check_status=False)
    check_equal(done.returncode, 0, "exit status with waits of threads")
    check("No Go process could be read" in done.stderr, done.stderr)


@test
def one_that_ends_costs_the_others_nothing():
    program = Program("go-goroutines")
    daemon = Daemon(looks(goroutine={"snapshot_interval": "1s"}, targets='[{match: {exe: "go-goroutines*"}}]'))
    begun = daemon.wait_files(1, "go-goroutines", "goroutine")[-1].profile.time_nsec
    n_ended = 0

    def looked_at_enough():
        nonlocal n_ended
        other = Program("go-goroutines-stripped", 200)
        # Between two looks, within one, elsewhere each time: multiples of the golden ratio.
        time.sleep(0.1 + 0.9 * (n_ended * 0.618034 % 1))
        other.target.kill()
        n_ended += 1
        check(daemon.alive(), "the daemon ended")
        files = [f for f in daemon.files("go-goroutines", "goroutine") if f.profile.time_nsec > begun]
        return files if n_ended >= 5 and len(files) >= 5 and len(daemon.files("go-goroutines-stripped", "goroutine")) >= 2 else None

    files = wait_for(looked_at_enough, "five looks, of which two met one that ended", 120, 0)
    note(f"{len(files)} looks, {n_ended} ended, {len(daemon.files('go-goroutines-stripped', 'goroutine'))} looks met one of them")
    for file in files:
        check(goroutines_of(file, program.pid), f"{file.path} is without it")
        check(any(re.match(rf"process {program.pid} .*: \d+ goroutines: ", c) for c in file.profile.comments), f"{file.path}: {file.profile.comments}")


@test
def a_look_only_reads():
    need_tool("strace")
    program = Program("go-goroutines")
    log = os.path.join(tempdir(), "strace")
    run("strace", "-f", "-qq", "-o", log, "-e", "trace=ptrace,process_vm_writev,process_vm_readv,kill,tkill,tgkill,pidfd_send_signal,openat,open,openat2,"
        "pwrite64,pwritev", find_binary(), "--once", "--kind", "goroutine,heap", "--pid", program.pid, "--output", tempdir())
    lines = open(log, errors="replace").read().splitlines()
    memory = [line for line in lines if re.search(r'"\d+/mem"', line)]
    note("\n".join(memory))
    check(memory and all("O_RDONLY" in line for line in memory), f"its memory: {memory}")
    wrong = [line for line in lines if re.search(r"\b(ptrace|process_vm_writev|pwrite64|pwritev)\(", line) or
             re.search(rf"\b(kill|tkill|tgkill|pidfd_send_signal)\({program.pid}\b", line) or
             (f"/proc/{program.pid}/" in line and re.search(r"O_WRONLY|O_RDWR", line))]
    check(not wrong, f"more than reading: {wrong[:5]}")


@test
def once_has_all_kinds_together_and_of_whom_was_asked():
    program = Program("go-goroutines")
    burner = Target("go-shares", 60)
    for how in ["--pid", burner.pid], ["--service", "go-shares"], ["--all"]:
        directory = tempdir()
        run(find_binary(), "--once", "--kind", "block,mutex,goroutine,heap,cpu", *how, "--duration", "2s", "--output", directory)
        kinds = {f.kind for f in files_below(directory, "go-shares", kind=None)}
        check({"goroutine", "heap", "cpu"} <= kinds, f"{how}: {kinds}")
        check_equal(bool(files_below(directory, "go-goroutines", "goroutine")), how == ["--all"], f"{how}: files of others")
    path = os.path.join(tempdir(), "text")
    run(find_binary(), "--once", "--kind", "goroutine", "--debug", "1", "--pid", program.pid, "--output", path)
    text = open(path).read()
    head = re.match(r"goroutine profile: total (\d+)\n", text)
    check(head, text[:80])
    groups = sum(int(n) for n in re.findall(r"^(\d+) @", text, re.M))
    check_equal(groups, int(head[1]), "goroutines in groups")
    note(f"{groups} goroutines, {len(re.findall('created by', text))} lines with a creator")


@test
def a_command_is_looked_at_while_it_runs():
    path = os.path.join(tempdir(), "f.pprof")
    done = run(find_binary(), "--once", "--kind", "goroutine", "--duration", "2s", "--output", path, "--", target_path("go-shares"), "5")
    check_equal(done.returncode, 0, "exit status")
    check(any(s.labels["goid"] == 1 for s in Profile.load(path).samples), "its first goroutine is missing")


@test
def where_there_is_no_Go_it_is_said():
    target = Target("c-parked-nofp", 60)
    path = os.path.join(tempdir(), "f.pprof")
    done = run(find_binary(), "--once", "--kind", "goroutine", "--pid", target.pid, "--output", path, check_status=False)
    check_equal(done.returncode, os.EX_UNAVAILABLE, "exit status")
    check("No Go process was seen" in done.stderr, done.stderr)
    check(not os.path.exists(path), "there is a file")


main()
