#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What goroutines wait for is told of any Go process: by the runtime's own records where it keeps them, and by many looks at its goroutines
where it does not; and nothing twice."""
import collections
import http.client
import pathlib

import pprof
from harness import *

WAYS = {"main.inReceive": "chan receive", "main.inSelect": "select", "main.inMutex": "sync.Mutex.Lock", "main.inSleep": "sleep",
        "main.inRead": "IO wait"}
EACH = 8


class Program:
    """tests/targets/go/waits."""

    def __init__(self, *arguments):
        self.target = Target("go-waits", *arguments, stdin=subprocess.PIPE)
        self.pid = self.target.pid
        self.address = self.target.process.stdout.readline().split()[1]
        cleanup(self.target.process.stdin.close)

    def say(self, what):
        self.target.process.stdin.write(what + "\n")
        self.target.process.stdin.flush()
        return {"main." + name: nsec for name, nsec in json.loads(self.target.process.stdout.readline()).items()}

    def ask(self, what):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("GET", "/debug/pprof/" + what)
        data = connection.getresponse().read()
        connection.close()
        return data


class Once:
    """A window; `files` has what it made by kind."""

    def __init__(self, pid, kinds, seconds):
        self.directory = tempdir()
        self.process = subprocess.Popen([find_binary(), "--config", os.devnull, "--once", "--kind", kinds, "--pid", str(pid), "--duration", f"{seconds}s",
                                         "--output", self.directory], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        cleanup(self.kill)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def helpers(self):
        found = []
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in task.read_text().split():
                try:
                    if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "tsprofd-go":
                        found.append(int(pid))
                except OSError:
                    pass
        return found

    def wait_helper(self):
        """Until goroutines are looked at."""
        return wait_for(lambda: [pid for pid in self.helpers() if time.monotonic() - self.started_of(pid) > 1], "a helper that goes on")[0]

    @staticmethod
    def started_of(pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                return int(f.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return math.inf

    def files(self, timeout):
        out, _ = self.process.communicate(timeout=timeout)
        check(not self.process.returncode, f"tsprofd: {self.process.returncode}: {out}")
        return {file.kind: file.profile for file in files_below(self.directory, kind=None)}


def place(sample):
    """The function of WAYS that it waits in."""
    return next((name for name in sample.names if name in WAYS), None)


def by_place(samples):
    nsec = collections.Counter()
    for sample in samples:
        if place(sample):
            nsec[place(sample)] += sample.values[1]
    return nsec


def of_source(profile, source):
    return [sample for sample in profile.samples if sample.labels["source"] == source]


def parks(profile):
    return [sample for sample in of_source(profile, "os") if any(name == "runtime.futex" or name == "runtime.futex.abi0" for name in sample.names)]


def check_shares(told, truth, what):
    for name in WAYS:
        share, true_share = told[name] / sum(told.values()), truth[name] / sum(truth.values())
        note(f"{what}: {name}: {share:.4f} of the time, by its own clock {true_share:.4f} ({100 * (share / true_share - 1):+.2f} %); {told[name] / 1e9:.2f} s, "
             f"{truth[name] / 1e9:.2f} s")
        check_between(share / true_share, 0.95, 1.05, f"{what}: share of {name}")


@test
def where_the_runtime_records_nothing_shares_are_those_of_the_programs_own_clocks():
    program = Program()
    once = Once(program.pid, "block,wall", 60)
    helper = once.wait_helper()
    started, begin, cpu = time.monotonic(), program.say("sum"), cpu_seconds(helper)
    time.sleep(57)
    end, cpu, seconds = program.say("sum"), cpu_seconds(helper) - cpu, time.monotonic() - started
    found = once.files(60)
    block, wall = found["block"], found["wall"]
    truth = {name: end[name] - begin[name] for name in WAYS}
    told = of_source(block, "go")
    check_shares(by_place(told), truth, "block")
    for comment in block.comments:
        if "snapshots" in comment:
            note(comment)
    check(any("rows with source = go are of" in comment for comment in block.comments), f"no comment of it: {block.comments}")
    note(f"the helper used {cpu:.3f} s of CPU in {seconds:.1f} s: {100 * cpu / seconds:.3f} % of a CPU")
    check_between(cpu / seconds, 0, 0.011, "CPU of the helper")
    check_between(sum(s.values[1] for s in told) / sum(s.values[0] for s in told), 40e6, 70e6, "mean time between looks")
    for sample in told:
        check_equal(sample.labels["state"], "waiting", "state of what block has")
        if place(sample):
            check_equal(sample.labels["wait_reason"], WAYS[place(sample)], f"reason in {place(sample)}")
    idle = {place(s) for s in told if s.labels.get("idle") and place(s)}
    check("main.inMutex" not in idle and "main.inRead" not in idle, f"idle are {idle}")
    accepting = [s for s in told if any("Accept" in name for name in s.names)]
    check(accepting and all(s.labels.get("idle") == 1 for s in accepting), "the server's accept is not idle")
    resting = [s for s in told if "main.rest" in s.names]
    check(resting and all(s.labels.get("idle") == 1 for s in resting), "a sleep at home is not idle")
    check(parks(block), "threads of the runtime park, and nobody else tells of it")
    # Wall has the same and what runs besides.
    all_go = of_source(wall, "go")
    check_equal(by_place(s for s in all_go if s.labels["state"] == "waiting"), by_place(told), "waiting in wall and in block")
    check({s.labels["source"] for s in wall.samples} == {"go", "os"}, "wall has another source")
    check(any(s.labels["state"] in ("running", "runnable", "syscall") for s in all_go), "nobody runs in wall")
    workers = sum(s.values[1] for s in all_go if "main.run" in s.names or not s.locations)
    window = sum(s.values[1] for s in accepting)  # one goroutine, all the time
    note(f"goroutines of main.run, as wall tells: {workers / window:.3f}")
    check_between(workers / window, 0.97 * EACH * len(WAYS), 1.01 * EACH * len(WAYS), "goroutines of main.run")


def contentions(data):
    """Stacks of the program, by functions and lines, with their values."""
    found = collections.defaultdict(lambda: [0, 0])
    for sample in pprof.Profile(data).samples if isinstance(data, bytes) else data:
        key = tuple((function.name, line) for location in sample.locations for function, line in location.lines)
        if any(name.startswith("main.") for name, _ in key):
            found[key][0] += sample.values[0]
            found[key][1] += sample.values[1]
    return found


@test
def where_the_runtime_records_them_its_records_are_told_and_no_park_of_its_threads():
    program = Program("1")
    program.say("stop")
    once = Once(program.pid, "block,mutex", 16)
    # The window has begun by then; the runtime was read before.
    time.sleep(5)
    before = {kind: contentions(program.ask(kind)) for kind in ("block", "mutex")}
    program.say("go")
    time.sleep(6)
    program.say("stop")
    check(once.process.poll() is None, "the window has ended before")
    after = {kind: contentions(program.ask(kind)) for kind in ("block", "mutex")}
    found = once.files(60)
    for kind in "block", "mutex":
        ours = contentions(of_source(found[kind], "go"))
        theirs = {key: [now - then for now, then in zip(values, before[kind][key])] for key, values in after[kind].items()}
        theirs = {key: values for key, values in theirs.items() if any(values)}
        check(len(theirs) >= (3 if kind == "block" else 1), f"{kind}: the program has {len(theirs)} stacks alone")
        check_equal(set(ours), set(theirs), f"stacks of {kind}")
        n = 0
        for key, (count, nsec) in theirs.items():
            check_equal(ours[key][0], count, f"{kind}: contentions of {key}")
            # The runtime measures the rate of its clock anew each time that it is asked, and tells all of it by that.
            check(abs(ours[key][1] - nsec) <= max(1e-3 * nsec, 1000), f"{kind}: {ours[key][1]} ns, the program says {nsec} of {key}")
            n += count
        note(f"{kind}: {len(theirs)} stacks, {n} contentions, {sum(v[1] for v in theirs.values()) / 1e9:.3f} s: as net/http/pprof has them")
        check(not parks(found[kind]), f"{kind}: parks of the runtime's threads: {[s.names for s in parks(found[kind])][:2]}")
    left_out = [comment for comment in found["block"].comments if "parks of threads of Go's runtime" in comment]
    check(left_out, f"what was left out is not told: {found['block'].comments}")
    note(left_out[0])
    check(not any("rows with source = go are of" in comment for comment in found["block"].comments), "goroutines were looked at all the same")
    check(not [s for s in of_source(found["block"], "go") if "wait_reason" in s.labels], "rows of snapshots where there are records")


CONFIG = """
profiling:
  output: {{directory: {output}, keep_free: 0}}
  targets:
    - service: go-waits
      match:
        pid: {pid}
  cpu: {{enabled: false}}
  block: {{duration: 5s, interval: 5s}}
  budget: {{cpu: 50%, memory: 256MiB}}
"""


@test
def the_daemon_looks_from_window_to_window_and_stops_with_them():
    program = Program()
    output = tempdir()
    daemon = Daemon(CONFIG.format(pid=program.pid, output=output))
    daemon.output = output
    files = daemon.wait_files(3, "go-waits", "block", timeout=60)
    for file in files[1:3]:
        told = of_source(file.profile, "go")
        check(all(name in by_place(told) for name in WAYS), f"{file.path}: not all waits are told: {by_place(told)}")
        accepting = sum(s.values[1] for s in told if any("Accept" in name for name in s.names))
        note(f"{os.path.basename(file.path)}: looked at for {accepting / 1e9:.3f} s")
        check_between(accepting / 1e9, 4.7, 5.2, "a window's time")
    status = daemon.stop()
    check_equal(status, 0, "exit status")


@test
def a_process_that_ends_before_its_window_is_told_as_far_as_it_was_seen():
    program = Program()
    output = tempdir()
    daemon = Daemon(CONFIG.format(pid=program.pid, output=output))
    daemon.output = output
    daemon.wait_files(1, "go-waits", "block", timeout=60)
    known = len(daemon.files("go-waits", "block"))
    time.sleep(2.5)
    program.target.kill()
    last = daemon.wait_files(known + 1, "go-waits", "block", timeout=60)[known]
    accepting = sum(s.values[1] for s in of_source(last.profile, "go") if any("Accept" in name for name in s.names))
    note(f"{os.path.basename(last.path)}: looked at for {accepting / 1e9:.3f} s")
    check_between(accepting / 1e9, 1, 4.5, "time that it was seen")
    check_equal(daemon.stop(), 0, "exit status")


@test
def goroutines_are_looked_at_no_more_than_one_percent_of_a_cpu_allows():
    goroutines = Target("go-goroutines", "127.0.0.1:0", 1000)
    for line in goroutines.process.stdout:
        if line.startswith("ready"):
            break
    once = Once(goroutines.pid, "block", 20)
    helper = once.wait_helper()
    begin, start = cpu_seconds(helper), time.monotonic()
    time.sleep(16)
    share = (cpu_seconds(helper) - begin) / (time.monotonic() - start)
    found = once.files(60)["block"]
    note(next(comment for comment in found.comments if "snapshots" in comment))
    note(f"{100 * share:.3f} % of a CPU after the first second")
    check_between(share, 0.002, 0.013, "CPU of the helper")
    # Each but the first was paid for before it was taken.
    check_between(float(re.search(r"\(([\d.]+) % of a CPU\)", next(c for c in found.comments if "snapshots" in c))[1]), 0.1, 2, "CPU in all, in percent")
    distance = sum(s.values[1] for s in of_source(found, "go")) / sum(s.values[0] for s in of_source(found, "go"))
    note(f"one look each {distance / 1e9:.3f} s")
    check(distance > 100e6, "thousands of goroutines are looked at as often as a few")


main()
