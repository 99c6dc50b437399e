# SPDX-License-Identifier: Apache-2.0
"""What the system tests stand on: a daemon in a folder of its own, programs to profile, and tests that print TAP.

A file test_PROMISE.py has functions decorated with @test, whose names are sentences, and ends with main(). Each runs
alone, as root: `sudo tests/system/test_once.py [PART OF A NAME]`. Only the standard library of Python 3.9 is used.

    TSPROFD_BINARY    the daemon to test (default: the newest of build*/**/daemon/tsprofd)
    TSPROFD_TARGETS   the programs of tests/targets/build (default: tests/targets/out)
    TSPROFD_SANITIZED set when the daemon is built with sanitizers: tests of speed and size say that they skip
"""
import bisect
import calendar
import glob
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pprof import BadProfile, Profile, plain_name  # noqa: E402,F401 (for the tests)

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TARGETS = os.environ.get("TSPROFD_TARGETS") or os.path.join(TOP, "tests", "targets", "out")
MACHINES = os.path.join(TOP, "tests", "machines")
CACHE = os.environ.get("TSPROFD_CACHE") or os.path.expanduser("~/.cache/tsprofd")
SANITIZED = bool(os.environ.get("TSPROFD_SANITIZED"))
# A profile of a second is more than a window and its writing late only if something is wrong.
PATIENCE = 60 if SANITIZED else 30

os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"


def find_binary():
    given = os.environ.get("TSPROFD_BINARY")
    found = [given] if given else [path for folder in ("build*", "build*/*")
                                         for path in glob.glob(os.path.join(TOP, folder, "daemon", "tsprofd"))]
    if not found:
        sys.exit("no tsprofd is built; say where it is with TSPROFD_BINARY")
    return os.path.abspath(max(found, key=os.path.getmtime))


# --- Tests ----------------------------------------------------------------------------------------------------------

class Skip(Exception):
    """The test cannot run here; the argument says why."""


class Failed(Exception):
    pass


class Missed(Failed):
    """A measured figure outside of its bounds."""


# Machines are shared: a figure may miss its bounds once for what the others do, and by chance (3 sigma) once in 370
# times. What is wrong misses them each time.
ATTEMPTS = 3


_tests = []
_cleanups = []


def test(function):
    """Its name, with blanks, is the sentence that it proves."""
    _tests.append((function.__name__.replace("_", " "), function))
    return function


def test_each(values):
    """One test for each value, which is passed and shown."""
    def decorate(function):
        for value in values:
            shown = value if isinstance(value, str) else getattr(value, "name", str(value))
            _tests.append((f"{function.__name__.replace('_', ' ')}: {shown}", lambda value=value: function(value)))
        return function
    return decorate


def cleanup(function, *arguments):
    """Called at the end of the test, whatever becomes of it; the last one first."""
    _cleanups.append((function, arguments))


def note(text):
    """Shown in the output: measured figures belong there."""
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


def check(condition, why):
    if not condition:
        raise Failed(why)


def check_measured(condition, why):
    """Of a figure, that other load or chance may spoil once."""
    if not condition:
        raise Missed(why)


def check_equal(found, expected, what):
    check(found == expected, f"{what}: {found!r}, expected {expected!r}")


def check_between(value, low, high, what):
    if not low <= value <= high:
        raise Missed(f"{what}: {value:.4g} is not in {low:.4g} to {high:.4g}")


def _run_cleanups():
    while _cleanups:
        function, arguments = _cleanups.pop()
        try:
            function(*arguments)
        except Exception as error:  # the others still have to run
            note(f"at the end: {error!r}")


def _attempt(function):
    """Runs a test, and again while it only misses what it measures. Another failure gets a second chance, too, but is told:
    the first line of what was wrong then, or None."""
    failed = None
    for left in reversed(range(ATTEMPTS)):
        try:
            function()
            return failed
        except Missed as why:
            if not left:
                raise
            note(f"{why}; measured anew")
        except Skip:
            raise
        except Exception as why:
            if failed or not left:
                raise
            failed = _one_line(why)
            note(f"failed: {why}; a second try")
            _show_logs()
        _run_cleanups()


def _one_line(why):
    text = str(why) if isinstance(why, Failed) else repr(why)
    return (text.splitlines() or [""])[0].replace("#", "")[:300]


def main():
    wanted = " ".join(sys.argv[1:]).replace("_", " ")
    tests = [(name, function) for name, function in _tests if wanted in name]
    # The same bytes whoever reads them, and nothing lost when we are killed.
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("TAP version 13")
    if os.geteuid() != 0:
        print("1..0 # SKIP root is needed to profile other processes")
        sys.exit(0)
    print(f"1..{len(tests)}")
    failed = 0
    for number, (name, function) in enumerate(tests, 1):
        name = name.replace("#", "")
        start = time.monotonic()
        try:
            failed_before = _attempt(function)
            print(f"ok {number} - {name}" + (f" # UNSTEADY {failed_before}" if failed_before else ""))
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}")
        except Failed as why:
            failed += 1
            note(why)
            _show_logs()
            print(f"not ok {number} - {name} # WHY {_one_line(why)}")
        except Exception as error:
            failed += 1
            note(traceback.format_exc())
            _show_logs()
            print(f"not ok {number} - {name} # WHY {_one_line(error)}")
        except SystemExit:
            _run_cleanups()
            raise
        finally:
            _run_cleanups()
        note(f"{time.monotonic() - start:.1f} s")
    sys.exit(1 if failed else 0)


def _show_logs():
    for function, arguments in _cleanups:
        owner = getattr(function, "__self__", None)
        if isinstance(owner, Daemon):
            note("the daemon said:\n" + "\n".join(owner.log().splitlines()[-25:]))


def tempdir():
    path = tempfile.mkdtemp(prefix="tsprofd-test-")
    os.chmod(path, 0o755)
    cleanup(shutil.rmtree, path, True)
    return path


def wait_for(condition, what, timeout=None, every=0.05):
    """The condition's value once it is true."""
    end = time.monotonic() + (timeout or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {timeout or PATIENCE} s: {what}")
        time.sleep(every)


def need_tool(name, why="is not installed"):
    path = shutil.which(name)
    if not path:
        raise Skip(f"{name} {why}")
    return path


def run(*command, timeout=120, check_status=True, **options):
    """The finished process, with its output as text."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout,
                          errors="replace", **options)
    if check_status and done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


# --- Programs to profile --------------------------------------------------------------------------------------------

def target_path(name):
    path = os.path.join(TARGETS, name)
    if not os.path.exists(path):
        raise Skip(f"{name} is not built here: its tools are missing (tests/targets/build says which)")
    return path


class Target:
    """A program with a known answer. It prints it as one line of JSON when it ends."""

    def __init__(self, name, *arguments, **options):
        path = name if os.path.isabs(name) else target_path(name)
        self.name = os.path.basename(path)
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("cwd", tempdir()) # some leave files: node
        self.process = subprocess.Popen([path, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options)
        self.pid = self.process.pid
        cleanup(self.kill)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def truth(self, timeout=120):
        """Waits for its end."""
        out, _ = self.process.communicate(timeout=timeout)
        if self.process.returncode:
            raise Failed(f"{self.name} ended with {self.process.returncode}")
        return json.loads(out.strip().splitlines()[-1])


def undisturbed():
    """For preexec_fn: one CPU for itself, whatever else runs (the kernel keeps 5 % of it for the others)."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


def yielding():
    """For preexec_fn: dozens of programs that never sleep leave the CPU to who has something to do, as on a sane machine."""
    os.nice(10)


class Server:
    """tsiot-server with its load generator."""

    def __init__(self, binary="tsiot-server", *flags, load=True, clients=4, rate=0, env=None):
        path = target_path(binary)
        self.path = path
        self.process = subprocess.Popen([path, "serve", "-listen", "127.0.0.1:0", *flags], text=True, env=env,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        cleanup(self.stop)
        self.loader = None
        self.pid = self.process.pid
        self.said = []
        self.url = self.wait_line(r"listening on (http://\S+)")
        if load:
            # Under another name, so that the load is not taken for the service.
            self.loader = subprocess.Popen([target_path("iot-load"), "load", "-url", self.url, "-clients", str(clients), "-rate", str(rate),
                                            "-duration", "1h"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)

    def wait_line(self, pattern):
        for line in self.said:
            if found := re.search(pattern, line):
                return found[1]
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise Failed("the server ended")

    def truth(self):
        import urllib.request
        with urllib.request.urlopen(self.url + "/truth", timeout=10) as answer:
            return json.load(answer)

    def stop(self):
        for process in (self.loader, self.process):
            if process and process.poll() is None:
                process.kill()
            if process:
                process.wait()
        self.process.stdout.close()


def pprof_server(**options):
    """tsiot-server with net/http/pprof, and the address of that."""
    server = Server("tsiot-server-pprof", "-pprof-listen", "127.0.0.1:0", **options)
    return server, server.wait_line(r"pprof on (http://\S+)")


def cpu_seconds(pid):
    """User and system time of a process, of /proc/PID/stat."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- The daemon -----------------------------------------------------------------------------------------------------

def yaml(value, indent=0):
    """Written as people do. Strings are plain: nothing here needs quotes but what has them already."""
    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines.append(" " * indent + f"{key}:" + ("" if item else " {}"))
            if item:
                lines.append(yaml(item, indent + 2))
        else:
            shown = {True: "true", False: "false"}.get(item, item) if isinstance(item, bool) else item
            lines.append(" " * indent + f"{key}: {shown}")
    return "\n".join(lines)


class File:
    """A profile on disk, by the grammar of product file names."""
    pattern = re.compile(r"(?P<kind>[a-z]+)-(?P<time>\d{6})Z(-(?P<trigger>[A-Za-z0-9_]{1,64}))?(\.(?P<number>\d+))?\.pprof$")

    def __init__(self, path):
        self.path = path
        found = self.pattern.match(os.path.basename(path))
        if not found:
            raise Failed(f"not a name of ours: {path}")
        self.kind, self.trigger = found["kind"], found["trigger"] or ""
        self.service = os.path.basename(os.path.dirname(path))
        self.day = os.path.basename(os.path.dirname(os.path.dirname(path)))
        self.begin = calendar.timegm(time.strptime(self.day + found["time"], "%Y-%m-%d%H%M%S"))
        self._profile = None

    @property
    def profile(self):
        if not self._profile:
            self._profile = Profile.load(self.path)
        return self._profile


def files_below(directory, service=None, kind="cpu", trigger=None):
    """Oldest first."""
    found = [File(path) for path in glob.glob(os.path.join(glob.escape(directory), "*", "*", "*.pprof"))]
    return sorted((f for f in found if (service is None or f.service == service) and (kind is None or f.kind == kind) and
                   (trigger is None or f.trigger == trigger)), key=lambda f: (f.day, os.path.basename(f.path)))


def cpu_config(duration="1s", interval=None, rate=99, background=0, **more):
    """profiling.cpu of a test; gapless unless an interval is given. The rate stays what it is, whatever that costs."""
    return {"cpu": {"duration": duration, "interval": interval or duration, "rate": rate, "background_rate": background},
            "budget": {"cpu": "50%", "memory": "256MiB"}, **more}


class Daemon:
    """tsprofd with a configuration of its own. `config` is the part below `profiling:`, or the text of a whole file."""

    def __init__(self, config, *options, directory=None, wrap=(), env=None, ready=True, start=True, output=True):
        self.directory = directory or tempdir()
        self.output = os.path.join(self.directory, "profiles")
        self.runtime = os.path.join(self.directory, "run")
        self.config_path = os.path.join(self.directory, "profiling.yaml")
        self.log_path = os.path.join(self.directory, "log")
        self.options, self.wrap, self.env, self.has_output = options, list(wrap), env or {}, output
        self.process, self.notes = None, []
        os.makedirs(self.runtime, exist_ok=True)
        self.write_config(config)
        cleanup(self.stop)
        if start:
            self.start(ready)

    def write_config(self, config):
        if isinstance(config, dict):
            config = json.loads(json.dumps(config))  # a copy
            if self.has_output:
                config.setdefault("output", {}).setdefault("directory", self.output)
                config["output"].setdefault("keep_free", "0")
            config = yaml({"profiling": config}) + "\n"
        with open(self.config_path + ".new", "w") as f:
            f.write(config)
        os.rename(self.config_path + ".new", self.config_path)

    def start(self, ready=True):
        self.notify_path = os.path.join(self.directory, "notify")
        if os.path.exists(self.notify_path):
            os.unlink(self.notify_path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.notify_path)
        self.notes = []
        # Read all the time, as a service manager does: a full socket would make the daemon wait.
        threading.Thread(target=self._listen, args=(self.socket, self.notes), daemon=True).start()
        environment = {**os.environ, "NOTIFY_SOCKET": self.notify_path, "RUNTIME_DIRECTORY": self.runtime, **self.env}
        for name in ("SUDO_UID", "SUDO_GID"):
            if name not in self.env:
                environment.pop(name, None)
        self.started = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.wrap, find_binary(), "--config", self.config_path, *self.options],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                            cwd=self.directory)
        if ready:
            self.wait_note(r"^READY=1$", "the daemon is ready")

    @staticmethod
    def _listen(receiver, notes):
        try:
            while data := receiver.recv(65536):
                notes += data.decode(errors="replace").splitlines()
        except OSError:
            pass

    @property
    def pid(self):
        return self.process.pid

    def wait_note(self, pattern, what, timeout=None):
        """A line that it sent to its service manager, since start."""
        end = time.monotonic() + (timeout or PATIENCE)
        while True:
            for line in self.notes:
                if found := re.search(pattern, line):
                    return found
            if self.process.poll() is not None:
                raise Failed(f"{what}: it ended with {self.process.returncode}")
            if time.monotonic() > end:
                raise Failed(f"not within {timeout or PATIENCE} s: {what}")
            time.sleep(0.01)

    def close_notes(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, timeout=None):
        return wait_for(lambda: re.search(pattern, self.log(), re.M), f"the log has {pattern!r}", timeout)

    def alive(self):
        return self.process.poll() is None

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout=None):
        """Its exit status; None if it did not run."""
        if not self.process:
            return None
        if self.alive():
            self.process.send_signal(number)
            try:
                self.process.wait(timeout or PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failed(f"it did not end within {timeout or PATIENCE} s of signal {number}")
        self.close_notes()
        status, self.process = self.process.returncode, None
        if SANITIZED and re.search(r"ERROR: (Address|Leak)Sanitizer|runtime error:", self.log()):
            raise Failed("a sanitizer found something:\n" + self.log()[-3000:])
        return status

    def files(self, service=None, kind="cpu", trigger=None):
        return files_below(self.output, service, kind, trigger)

    def wait_files(self, n=1, service=None, kind="cpu", trigger=None, timeout=None):
        def enough():
            if not self.alive():
                raise Failed(f"the daemon ended with {self.process.returncode}")
            found = self.files(service, kind, trigger)
            return found if len(found) >= n else None
        return wait_for(enough, f"{n} files of {service or 'any service'}", timeout)

    def wait_window_after(self, moment_nsec, timeout=None):
        """Until a file is there whose window began after that wall clock time: all before it is written, too."""
        def later():
            return any(f.profile.time_nsec > moment_nsec for f in self.files()[-8:])
        wait_for(later, "a window that began later", timeout, every=0.2)

    def samples_of(self, pid, until_nsec=None):
        """All samples of a process that are on disk, of all its windows; waits for the windows up to that moment."""
        if until_nsec:
            self.wait_window_after(until_nsec)
        return [s for f in self.files() for s in f.profile.samples if s.labels.get("pid") == pid]

    def children(self):
        return [int(pid) for task in os.listdir(f"/proc/{self.pid}/task")
                for pid in open(f"/proc/{self.pid}/task/{task}/children").read().split()]

    def metrics(self, wait=20):
        """name{labels} -> value of metrics.prom, which is written every 15 s."""
        path = os.path.join(self.runtime, "metrics.prom")
        wait_for(lambda: os.path.exists(path), "metrics.prom is there", wait)
        return parse_metrics(open(path).read())

    def fresh_metrics(self):
        """Written after this call began."""
        path = os.path.join(self.runtime, "metrics.prom")
        now = time.time()
        wait_for(lambda: os.path.exists(path) and os.stat(path).st_mtime > now, "metrics.prom is written again", 35)
        return parse_metrics(open(path).read())


def parse_metrics(text):
    result = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            result[name] = float(value)
    return result


def keep_a_core_busy(seconds=None):
    """Something to sample: the daemon never samples idle CPUs, so that no file is written of an idle machine."""
    return Target("c-shares-fp", seconds or 3600)


_recorded = {}


def record_together(name, names, seconds, rate):
    """(truth, samples) of one of the targets, which all ran at the same time under one daemon: they share two cores as
    well as they would take turns, and tests wait once. The recording is made by whoever asks first."""
    target_path(name)
    key = (tuple(names), seconds, rate)
    if key not in _recorded:
        daemon = Daemon(cpu_config("2s", rate=rate))
        targets = {n: Target(n, seconds) for n in names if os.path.exists(os.path.join(TARGETS, n))}
        truths = {n: target.truth() for n, target in targets.items()}
        daemon.wait_window_after(time.time_ns(), timeout=3 * PATIENCE)
        by_pid = {}
        for file in daemon.files():
            for sample in file.profile.samples:
                by_pid.setdefault(sample.labels.get("pid"), []).append(sample)
        _recorded[key] = {n: (truth, by_pid.get(truth["pid"], [])) for n, truth in truths.items()}
    return _recorded[key][name]


def record_runs(runs, seconds, rate, **more):
    """label -> (truth, samples) of programs that all run at the same time under one daemon, and end by SIGTERM; runs:
    label -> (name, *arguments behind the seconds). Recorded is what follows the window in which all tables were there."""
    daemon = Daemon(cpu_config("1s", rate=rate, **more))
    targets = {}
    for label, (name, *arguments) in runs.items():
        if os.path.exists(os.path.join(TARGETS, name)):
            targets[label] = Target(name, 3600, *arguments, stderr=subprocess.DEVNULL, preexec_fn=yielding)
    let_tables_be_made([target.pid for target in targets.values()])
    begin = wait_warm(daemon)
    time.sleep(seconds)
    end = time.time()
    for target in targets.values():
        target.process.terminate()
    truths = {label: target.truth() for label, target in targets.items()}
    pids = {target.pid: label for label, target in targets.items()}
    wait_for(lambda: daemon.alive() and daemon.files() and daemon.files()[-1].begin > end, "the last window is written", 3 * PATIENCE, 0.5)
    samples = {label: [] for label in targets}
    for file in daemon.files():
        if begin <= file.begin < end:
            for sample in file.profile.samples:
                if sample.labels.get("pid") in pids:
                    samples[pids[sample.labels["pid"]]].append(sample)
    daemon.stop()
    return {label: (truth, samples[label]) for label, truth in truths.items()}


def let_tables_be_made(pids, sampled=1, held=1.5):
    """Programs that leave no CPU to others are sampled for a moment, then held: their tables are made, at low priority."""
    time.sleep(sampled)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(held)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


NOT_YET = "no unwind table yet"


def wait_warm(daemon, pids=None, timeout=None, late=0.0005):
    """Waits for the unwind tables of what runs (or of some processes); returns when the first window began that has all,
    but for a share of `late`."""
    start, seen = time.time(), set()

    def look():
        files = daemon.files()
        # A window's files are all there when one of a later window is.
        for begin in sorted({f.begin for f in files if f.begin < files[-1].begin and f.begin >= start} - seen):
            seen.add(begin)
            samples = [s for f in files if f.begin == begin for s in f.profile.samples if pids is None or s.labels.get("pid") in pids]
            without = total([s for s in samples if s.broken == NOT_YET])
            if samples and without <= late * total(samples):
                return begin
        return None

    begin = wait_for(look, "all unwind tables are made", timeout or 4 * PATIENCE, 0.5)
    note(f"unwind tables were there after {begin - start:.0f} s")
    return begin


class Unstripped:
    """Names for the code of stripped files, by the file as it was before."""

    def __init__(self):
        self.tables = {}

    def name(self, location):
        """That of the function at a location; its own name where there is nothing better."""
        own = location.names[-1] if location.lines else ""
        file = os.path.basename(location.mapping.file) if location.mapping else ""
        table = self._table(file)
        i = bisect.bisect_right(table, (location.address, "~")) - 1
        return table[i][1] if i >= 0 else own

    def names(self, sample):
        """Those of the functions that are not inlined, leaf first."""
        return [self.name(location) for location in sample.locations]

    def _table(self, file):
        if file not in self.tables:
            path = os.path.join(TARGETS, "unstripped", file)
            lines = run("nm", "-C", path).stdout.splitlines() if file and os.path.exists(path) else []
            found = [line.split(" ", 2) for line in lines if re.match(r"[0-9a-f]+ [tTwW] ", line)]
            self.tables[file] = sorted((int(address, 16), name) for address, _, name in found)
        return self.tables[file]


def check_complete(samples, at_least, low_n):
    """At least that share of the stacks is not broken; tells how and where others are. Stacks of the kernel alone are whole."""
    n = total(samples)
    broken = {}
    for s in samples:
        if s.broken:
            # What the walk got to last: the frame whose caller it could not find.
            at = s.locations[-2].names[-1] if len(s.locations) > 1 else "?"
            key = (s.broken, at)
            broken[key] = broken.get(key, 0) + s.count
    n_broken = sum(broken.values())
    note(f"{n - n_broken} of {n} stacks are complete ({100 * (n - n_broken) / max(n, 1):.3f} %)")
    for (why, at), count in sorted(broken.items(), key=lambda item: -item[1])[:6]:
        note(f"  broken: {count} times {why}, behind {at}")
    check_measured(n >= low_n, f"{n} samples are too few to tell")
    check(n_broken <= 0.05 * n, f"{n_broken} of {n} stacks are broken: no accident of measuring")
    check_measured(n - n_broken >= at_least * n, f"{n_broken} of {n} stacks are broken")


# --- Numbers --------------------------------------------------------------------------------------------------------

def total(samples):
    return sum(s.count for s in samples)


def shares(samples, names):
    """name -> share of the samples that are in (or below) it; what is in none of them is not counted."""
    counts = dict.fromkeys(names, 0)
    for sample in samples:
        name = sample.first_of(counts)
        if name:
            counts[name] += sample.count
    n = sum(counts.values())
    return {name: count / n if n else 0 for name, count in counts.items()}, n


def tolerance(share, n):
    """Three standard deviations of a sampled share, and half a percentage point."""
    return 3 * math.sqrt(share * (1 - share) / n) + 0.005 if n else 1


def comments(profile):
    """key -> value of "key: value" and "key=value" words."""
    found = {}
    for comment in profile.comments:
        for key, value in re.findall(r"([A-Za-z_][A-Za-z_ -]*?)\s*[:=]\s*([^\s,;]+)", comment):
            found[key.strip()] = value
    return found
