#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Goroutines that are made and never end are found, with the go statement that makes them, and told once; healthy programs are left alone."""
from harness import *

TOLD = r"goroutine leak in {} \(process (\d+)\): (.*)"
WORDS = (r"(?P<function>\S+) created by (?P<creator>\S+) \((?P<file>[^:]*):(?P<line>\d+)\), waits in (?P<wait>[\w ]+): (?P<n>[\d,]+) now, "
         r"\+(?P<rate>[\d,]+) an hour, confidence (?P<confidence>\d+) %, seen growing for (?P<time>\d+)(?P<unit>[smhd])"
         r"(?:, examples (?P<examples>\d+ \(\d+[smhd]\)(?:, \d+ \(\d+[smhd]\))*))?")
RATE = 20
# A leak is told after a bit more than a minute (goroutine_leaks.h); as long again is watched whether it is told once more.
PATIENT = 200


def source_line(path, pattern):
    with open(os.path.join(TOP, "tests", "targets", path)) as f:
        return next(number for number, line in enumerate(f, 1) if re.search(pattern, line))


STUCK = ("main.forgotten", "main.leak", "main.go", source_line("go/stuck/main.go", r"go forgotten\("))
SERVER = ("main.(*Faults).leakGoroutine", "main.(*Faults).startLeakedGoroutine", "faults.go", source_line("tsiot/faults.go", r"\tgo f\.leakGoroutine"))


def check_words(line, place, rate):
    """That a line tells of a leak, where it is and how fast it is."""
    found = re.match(WORDS, line)
    check(found, f"not the words of a leak: {line}")
    check_equal((found["function"], found["creator"], os.path.basename(found["file"]), int(found["line"])), place, "the place")
    check_between(int(found["rate"].replace(",", "")), rate * 3600 * 0.85, rate * 3600 * 1.15, "goroutines an hour")
    check(int(found["confidence"]) >= 50, f"confidence {found['confidence']} %")
    return found


def stuck(name, mode, n):
    target = Target(name, mode, n, 900)
    check(target.process.stdout.readline().startswith("ready"), "the target did not begin")
    return target


def becomes_leaking(name):
    """A shell that runs it in its own place, when the daemon has seen the shell."""
    return Target("/bin/sh", "-c", f"sleep 5; exec {target_path(name)} leak {RATE} 900")


class Once:
    """One window of a program; several run at the same time."""

    def __init__(self, target, *options, output=None):
        self.target, self.directory = target, tempdir()
        self.process = subprocess.Popen([find_binary(), "--once", "--kind", "goroutine", "--pid", str(target.pid), "--duration", "30s", *options,
                                         "--output", output or self.directory + "/"], stdout=subprocess.PIPE, text=True)
        cleanup(self.kill)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def result(self):
        """(what it said, the comments of its file)."""
        out, _ = self.process.communicate(timeout=90)
        check_equal(self.process.returncode, 0, "exit status")
        files = files_below(self.directory, kind="goroutine")
        return out, "\n".join(files[0].profile.comments) if files else ""


@test
def leaks_are_told_once_with_their_places_and_healthy_programs_never():
    leaking = {"stuck": (stuck("go-stuck", "leak", RATE), STUCK), "stripped": (stuck("go-stuck-stripped", "leak", RATE), STUCK),
               "becoming": (becomes_leaking("go-stuck-pie"), STUCK),
               "server": (Server("tsiot-server", "-leak-goroutines", str(RATE), rate=200), SERVER),
               "server-stripped": (Server("tsiot-server-stripped", "-leak-goroutines", str(RATE), load=False), SERVER)}
    healthy = {"pool": stuck("go-stuck", "pool", 50), "idle": stuck("go-stuck", "idle", 50), "loaded": Server("tsiot-server", rate=200),
               "quiet": Server("tsiot-server-stripped", load=False)}
    services = {**{name: target.pid for name, (target, _) in leaking.items()}, **{name: target.pid for name, target in healthy.items()}}
    targets = ", ".join(f'{{service: {name}, match: {{pid: "{pid}"}}}}' for name, pid in services.items())
    daemon = Daemon(cpu_config("30s", targets=f"[{targets}]", host={"enabled": False}, block={"enabled": False}, mutex={"enabled": False},
                               memory={"enabled": False}, goroutine={"snapshot_interval": "1s"}))
    for name in leaking:
        daemon.wait_log(TOLD.format(name), PATIENT)
    note(f"all are told after {time.monotonic() - daemon.started:.0f} s")
    files = {name: daemon.files(name, kind="goroutine")[-1] for name in leaking}
    time.sleep(40)
    for name, (target, place) in leaking.items():
        told = re.findall(TOLD.format(name), daemon.log())
        check_equal([int(pid) for pid, _ in told], [target.pid], f"{name}: processes told of")
        found = check_words(told[0][1], place, RATE)
        check(found["examples"], f"no examples: {told[0][1]}")
        lines = [c for c in files[name].profile.comments if c.startswith("goroutine leak (process")]
        check_equal(len(lines), 1, f"{name}: leaks in the comments of a file")
        check_words(lines[0].split(": ", 1)[1], place, RATE)
    check_equal(len(re.findall("goroutine leak in", daemon.log())), len(leaking), f"leaks told of\n{daemon.log()}")
    check("is over" not in daemon.log(), "none is over")
    metrics = daemon.fresh_metrics()
    for name in services:
        check_equal(metrics.get(f'tsprofd_goroutine_leaks{{service="{name}"}}'), int(name in leaking), f"tsprofd_goroutine_leaks of {name}")
    for name in ("stuck", "server"):
        target = leaking[name][0]
        target.kill() if name == "stuck" else target.stop()
        daemon.wait_log(rf"The goroutine leak in {name} \(process {target.pid}\) is over, their process has ended.*: {re.escape(leaking[name][1][0])} created by")
    check_equal(len(re.findall("is over", daemon.log())), 2, "leaks that are over")


@test
def one_window_tells_of_a_leak_and_of_nothing_else():
    leak = stuck("go-stuck", "leak", RATE)
    text = os.path.join(tempdir(), "text")
    windows = {"profile": Once(leak), "text": Once(leak, "--debug", "2", output=text), "pool": Once(stuck("go-stuck", "pool", 50)),
               "idle": Once(stuck("go-stuck-stripped", "idle", 50))}
    results = {name: window.result() for name, window in windows.items()}
    for name in ("profile", "text"):
        told = re.findall(TOLD.format("go-stuck"), results[name][0])
        check_equal([int(pid) for pid, _ in told], [leak.pid], f"{name}: processes told of: {results[name][0]}")
        check_words(told[0][1], STUCK, RATE)
        note(told[0][1])
    check(f"goroutine leak (process {leak.pid}): main.forgotten created by main.leak" in results["profile"][1], "it is in the comments")
    with open(text) as f:
        check(f.read().count("main.forgotten(...)") > 20 * RATE, "the text has the goroutines")
    for name in ("pool", "idle"):
        out, comments = results[name]
        check("leak" not in out, out)
        found = re.search(r"goroutine leaks: 0, by (\d+) looks", comments)
        check(found and int(found[1]) >= 15, f"looks: {comments}")


@test
def one_look_tells_nothing_and_takes_no_time():
    target = stuck("go-stuck", "leak", RATE)
    start = time.monotonic()
    directory = tempdir()
    done = run(find_binary(), "--once", "--kind", "goroutine", "--pid", target.pid, "--output", directory + "/")
    check("leak" not in done.stdout, done.stdout)
    check_measured(time.monotonic() - start < 8, f"it took {time.monotonic() - start:.1f} s")


main()
