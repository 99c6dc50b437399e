# SPDX-License-Identifier: Apache-2.0
"""Goroutines read from outside are those that the program itself tells (net/http/pprof's goroutine?debug=2), whatever built it.

The targets go-goroutines* are one program, built by several Go toolchains in several ways; by default those of this machine's go, the oldest
and the newest other. With TSPROFD_ALL_GO set Go 1.18 to 1.27 are tried, each in four ways (`tests/targets/build --all-go` builds them).
The tool tests/system/goroutines prints what lib/goruntime reads; TSPROFD_GOROUTINES says where it is.
"""
import glob
import http.client
import os
import random
import re
import shutil
import signal
import struct
import time

from harness import (TARGETS, TOP, Failed, Skip, Target, check, check_equal, check_measured, cleanup, main, note, run, target_path, tempdir, test,
                     test_each)

WAYS = ("", "-stripped", "-pie", "-cgo")
MOVERS = 40
ANSWERING = "runtime/pprof.writeGoroutineStacks"


def tool():
    given = os.environ.get("TSPROFD_GOROUTINES")
    found = [given] if given else glob.glob(os.path.join(TOP, "build*", "tests", "system", "goroutines"))
    if not found:
        raise Skip("tests/system/goroutines is not built; say where it is with TSPROFD_GOROUTINES")
    return max(found, key=os.path.getmtime)


def programs():
    """Names of targets; those that are not built are skipped by name."""
    here = sorted(os.path.basename(path) for path in glob.glob(os.path.join(TARGETS, "go-goroutines*")))
    if not os.environ.get("TSPROFD_ALL_GO"):
        # A folder in which all were built has more than these: then one of the middle is among the few.
        others = sorted((name for name in here if re.fullmatch(r"go-goroutines-stripped-go1\.\d+.*", name)), key=minor_of)
        return [f"go-goroutines{way}" for way in WAYS] + ([others[0], others[-1]] if others else [])
    names = []
    for minor in range(18, 28):
        for way in WAYS:
            found = [name for name in here if re.fullmatch(rf"go-goroutines{way}-go1\.{minor}(\.\d+)?", name)]
            names.append(found[0] if found else f"go-goroutines{way}-go1.{minor}")
    return names


def minor_of(name):
    return int(re.search(r"-go1\.(\d+)", name)[1])


def version_of(path):
    """What its build information says: 1.26.8."""
    with open(path, "rb") as f:
        data = f.read()
    at = data.index(b"\xff Go buildinf:") + 32
    return data[at + 3:at + 1 + data[at]].decode()


class Program:
    def __init__(self, path, n=3, movers=0):
        path = path if os.path.isabs(path) else target_path(path)
        # As it is without for programs whose go.mod says 1.27; older ones have it, too, but another way.
        debug = {"GODEBUG": "tracebacklabels=1"} if int(version_of(path).split(".")[1]) >= 27 else {}
        self.target = Target(path, "127.0.0.1:0", n, *([movers] if movers else []), env={**os.environ, **debug})
        self.pid = self.target.pid
        self.addresses, self.connection = {}, None
        for line in self.target.process.stdout:
            if line.startswith("ready"):
                break
            name, value = line.split()
            self.addresses[name] = value if name == "pprof" else int(value, 16)
        else:
            raise Failed("it ended")

    def ask(self, path):
        """Over one connection: who accepts it stands still afterwards."""
        if not self.connection:
            self.connection = http.client.HTTPConnection(self.addresses["pprof"], timeout=60)
            cleanup(self.connection.close)
        self.connection.request("GET", "/debug/pprof/" + path)
        return self.connection.getresponse().read().decode()

    def read(self, *options, **more):
        return run(tool(), *options, self.pid, **more)

    def facts(self, *options):
        """(variables, id -> (state, what is behind it))"""
        variables, goroutines = {}, {}
        for line in self.read("-f", *options).stdout.splitlines():
            if found := re.match(r"variable (\S+) (\S+)$", line):
                variables[found[1]] = int(found[2], 16)
            elif found := re.match(r"goroutine (\d+) \[(.*?)\](.*)$", line):
                goroutines[int(found[1])] = found[2], found[3].split()
        return variables, goroutines


def parse(text):
    """id -> (state and labels, lines), without what we do not tell: arguments, offsets."""
    found = {}
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        head = re.match(r"goroutine (\d+) \[(.*)\]( \{.*\})?:$", lines[0])
        check(head, f"no goroutine: {lines[0]}")
        body = []
        for line in lines[1:]:
            if line.startswith("\t"):
                line = re.sub(r" \+0x[0-9a-f]+$", "", line)
            elif not line.startswith(("created by", "...")) and "(" in line:
                line = line[:line.rindex("(")]
            body.append(line)
        labels = head[3] or ""
        # Of many we keep some.
        found[int(head[1])] = head[2] + ("" if "many0" in labels else labels), body
    return found


def compare(program, *options):
    """(compared, theirs): all goroutines that stood still during both readings of ours."""
    before = parse(program.read(*options).stdout)
    theirs = parse(program.ask("goroutine?debug=2"))
    done = program.read(*options)
    after = parse(done.stdout)
    compared = 0
    for number, goroutine in before.items():
        # The one that answers is none that stands still, though it waits for the next question each time.
        if after.get(number) != goroutine or goroutine[0] == "running" or ANSWERING in theirs.get(number, ("", []))[1]:
            continue
        compared += 1
        if theirs.get(number) != goroutine:
            raise Failed(f"goroutine {number} differs:\nours: {goroutine}\ntheirs: {theirs.get(number)}")
    return compared, len(theirs), done.stderr.strip()


@test_each(programs())
def all_goroutines_are_as_the_program_tells_them(name):
    program = Program(name, 10)
    program.ask("cmdline")
    time.sleep(0.2)
    for options in ((), ("-s",)):
        compared, theirs, said = compare(program, *options)
        note(f"{compared} of {theirs} compared, all equal{' (without symbols)' if options else ''}; {said}")
        check_measured(compared >= 0.9 * theirs, f"only {compared} of {theirs} stood still")
        check("broken 0" in said and "unread 0" in said, said)


@test_each(programs())
def variables_are_found_without_symbols_where_the_symbols_say(name):
    program = Program(name)
    by_symbols, _ = program.facts()
    by_code, _ = program.facts("-s")
    check(all(by_code.values()), f"not found: {[name for name, address in by_code.items() if not address]}")
    check_equal(by_code, by_symbols, "addresses")
    note(f"{len(by_code)} variables")


@test_each(programs())
def the_clock_of_its_profiles_is_the_one_that_it_tells(name):
    program = Program(name)
    theirs = int(re.search(r"^cycles/second=(\d+)$", program.ask("block?debug=1"), re.M)[1])
    for options in ((), ("-s",)):
        ours = int(re.search(r"^cycles (\d+)$", program.read("-f", *options).stdout, re.M)[1])
        check_equal(ours, theirs, "cycles per second")
    note(f"{theirs} cycles per second")


@test_each(programs())
def what_they_wait_for_and_their_labels_are_those_of_the_program(name):
    n = 9
    program = Program(name, n)
    time.sleep(0.2)
    _, goroutines = program.facts()
    at = program.addresses

    def count(fact):
        return sum(fact in facts for _, facts in goroutines.values())
    expected = {
        f"send:{at['full']:#x}": 2 * n,              # one of each sort, and the select
        f"semaphore:{at['mutex'] + 4:#x}": n,        # sync.Mutex.sema
        f"semaphore:{at['rwmutex'] + 12:#x}": n,     # sync.RWMutex.readerSem
        f"semaphore:{at['group'] + 8:#x}": n,        # sync.WaitGroup.sema
        "request=slow": n,
    }
    for i in range(7):
        expected[f"tenant={i}"] = n // 7 + (i < n % 7)
    for fact, number in expected.items():
        check_equal(count(fact), number, fact)
    # Who waits for it in the program's own words: receivers, two functions deep or in a select.
    check_equal(count(f"receive:{at['never']:#x}"), 11 * n, "receivers of never")
    conditions = count(f"condition:{at['condition'] + 16:#x}")
    check(conditions in (0, n), f"{conditions} wait for the condition")
    many = [facts for _, facts in goroutines.values() if any(fact.startswith("many") for fact in facts)]
    check_equal(len(many), 1, "goroutines with many labels")
    check_equal(len([fact for fact in many[0] if "=" in fact]), 32, "labels that are kept")
    long = [fact for fact in many[0] if fact.startswith("long=")]
    check(all(fact == "long=" + 128 * "\u00e4" for fact in long), long)
    hidden = sum("system" in facts for _, facts in goroutines.values())
    check_equal(len(goroutines) - hidden, len(parse(program.read().stdout)), "goroutines that are not the runtime's own")
    note(f"{len(goroutines)} goroutines, {hidden} of the runtime; {conditions} condition variables")


def mixtures(program, goroutines):
    """What each of the moving ones says, and what was never so."""
    channel = {"main.waitsHere": f"receive:{program.addresses['here']:#x}", "main.waitsThere": f"receive:{program.addresses['there']:#x}"}
    n, wrong = 0, []
    for number, (state, facts) in goroutines.items():
        frames = [fact[3:] for fact in facts if fact.startswith("in:")]
        waits = [fact for fact in facts if fact.startswith(("receive:", "send:", "unknown:"))]
        if "main.moves" not in frames:
            continue
        n += 1
        # Of the runtime, of one of the two, the loop, the end: in this order.
        kinds = [frame if frame in channel else "runtime" if frame.startswith("runtime.") else frame for frame in frames]
        order = [kind for i, kind in enumerate(kinds) if not i or kinds[i - 1] != kind]
        order = order[1:] if order[0] == "runtime" else order
        right = order[-2:] == ["main.moves", "runtime"] and order[:-2] in ([], ["main.waitsHere"], ["main.waitsThere"])
        if state == "chan receive":
            right = right and waits == [channel[order[0]]]
        if not right or sum(frame in channel for frame in frames) > 7:
            wrong.append((number, state, facts))
    return n, wrong


@test_each([name for name in programs() if "-pie" not in name])
def those_that_never_rest_are_never_told_as_a_mixture(name):
    program = Program(name, 1, MOVERS)
    seen = retried = restless = 0
    for _ in range(60):
        done = program.read("-f")
        goroutines = {int(found[1]): (found[2], found[3].split())
                      for found in re.finditer(r"^goroutine (\d+) \[(.*?)\](.*)$", done.stdout, re.M)}
        n, wrong = mixtures(program, goroutines)
        check(not wrong, f"never so: {wrong[:2]}")
        seen += n
        retried += int(re.search(r"retried (\d+)", done.stderr)[1])
        restless += int(re.search(r"restless (\d+)", done.stderr)[1])
        check(" broken 0" in done.stderr, done.stderr)
    note(f"{seen} told while they moved; {retried} were torn at first and read again, {restless} told as running")
    check_measured(seen > 100, "hardly any was seen")
    check_measured(retried > 0, "none was torn: nothing is proven")


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
    shutil.copymode(target_path(name), path)
    return path


@test_each([name for name in programs() if "-pie" not in name])
def a_version_that_nobody_knows_is_read_right_or_refused_by_name(name):
    program = Program(patched(name, "go1.31."))
    done = program.read(check_status=False)
    if done.returncode == 0:
        program.ask("cmdline")
        compared, theirs, said = compare(program)
        note(f"as the newest: {compared} of {theirs} compared; {said}")
        check("go1.31" in said, said)
        return
    note(done.stderr.strip())
    check(re.search(r"runtime layout of go1\.31\.\d* not understood: \w.*\w", done.stderr), done.stderr)
    check_equal(done.stdout, "", "what is printed of it")
    if "-go1.27" in name:
        raise Failed("this is the newest that is known")


def damage_length(memory, variables):
    memory.write(variables["runtime.allgs"] + 8, struct.pack("<Q", 1 << 60))


def damage_list(memory, variables):
    memory.write(variables["runtime.allgs"], struct.pack("<Q", 0xdead00000000))


def damage_addresses(memory, variables):
    start, n = struct.unpack("<QQ", memory.read(variables["runtime.allgs"], 16))
    for g in struct.unpack(f"<{n}Q", memory.read(start, 8 * n)):
        memory.write(g + 64, struct.pack("<Q", 0x1234567)) # sched.pc in all versions


def damage_stacks(memory, variables):
    start, n = struct.unpack("<QQ", memory.read(variables["runtime.allgs"], 16))
    for g in struct.unpack(f"<{n}Q", memory.read(start, 8 * n)):
        memory.write(g, struct.pack("<QQ", 0, 1 << 63))


def damage_pointers(memory, variables):
    start, n = struct.unpack("<QQ", memory.read(variables["runtime.allgs"], 16))
    memory.write(start, struct.pack("<Q", start) * n)


class Memory:
    def __init__(self, pid):
        self.file = open(f"/proc/{pid}/mem", "r+b", buffering=0)

    def read(self, address, size):
        self.file.seek(address)
        return self.file.read(size)

    def write(self, address, data):
        self.file.seek(address)
        self.file.write(data)


DAMAGES = {"length": damage_length, "list": damage_list, "addresses": damage_addresses, "stacks": damage_stacks, "pointers": damage_pointers}


@test_each(list(DAMAGES))
def what_damaged_its_own_runtime_is_refused_soon(damage):
    program = Program("go-goroutines", 300)
    variables, _ = program.facts()
    os.kill(program.pid, signal.SIGSTOP)
    memory = Memory(program.pid)
    DAMAGES[damage](memory, variables)
    memory.file.close()
    begin = time.monotonic()
    done = program.read(check_status=False, timeout=20)
    took = time.monotonic() - begin
    note(f"{done.stderr.strip()} after {took:.2f} s")
    check(done.returncode == 1 and re.search(r"runtime layout of go1\.\S+ not understood: \w.*\w", done.stderr), done.stderr)
    check_equal(done.stdout, "", "what is printed of it")
    check_measured(took < 2, f"it took {took:.1f} s")


@test
def what_writes_at_random_into_its_runtime_ends_soon_too():
    program = Program("go-goroutines", 30)
    variables, _ = program.facts()
    os.kill(program.pid, signal.SIGSTOP)
    memory = Memory(program.pid)
    start, n = struct.unpack("<QQ", memory.read(variables["runtime.allgs"], 16))
    goroutines = struct.unpack(f"<{n}Q", memory.read(start, 8 * n))
    seed = time.time_ns()
    note(f"seed {seed}")
    chance = random.Random(seed)
    refused = 0
    for _ in range(60):
        # Some words of a g, of what it points at, of the variables: zeros, ones, pointers to other things.
        for _ in range(3):
            g = chance.choice(goroutines)
            place = chance.choice([g + 8 * chance.randrange(56), variables["runtime.semtable"] + 8 * chance.randrange(2008),
                                   variables["runtime.mbuckets"], struct.unpack("<Q", memory.read(g + 320, 8))[0] + 8 * chance.randrange(13)])
            value = chance.choice([0, 1, 1 << 63, (1 << 64) - 1, chance.choice(goroutines), g, start, chance.getrandbits(64)])
            try:
                memory.write(place, struct.pack("<Q", value))
            except (OSError, OverflowError):
                pass
        begin = time.monotonic()
        done = program.read("-f", check_status=False, timeout=20)
        took = time.monotonic() - begin
        check(done.returncode in (0, 1), f"status {done.returncode}: {done.stderr}")
        check_measured(took < 5, f"it took {took:.1f} s")
        refused += done.returncode
    memory.file.close()
    note(f"read 60 times, refused {refused} times")


@test
def one_that_ends_while_it_is_read_costs_nothing():
    for i in range(20):
        program = Program("go-goroutines", 30)
        begin = time.monotonic()
        os.kill(program.pid, signal.SIGKILL)
        done = program.read(check_status=False, timeout=20)
        check(done.returncode in (0, 1), f"status {done.returncode}: {done.stderr}")
        check(time.monotonic() - begin < 5, "it took long")
        program.target.kill()


main()
