#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Profilers of Go runtimes, switched on from outside, collect what the program itself counts; and all is as it was afterwards.

By tests/system/go_switch.c, which does what the daemon does (TSPROFD_GO_SWITCH)."""
import json
import math
import os
import re
import signal
import subprocess
import tempfile
import time

from harness import (Skip, TARGETS, TOP, check, check_between, check_equal, check_measured, cleanup, main, need_tool, note, run, target_path,
                     tempdir, test, test_each)

RATE = 524288
ASKED = "runtime.MemProfileRate"


def tool_path():
    path = os.environ.get("TSPROFD_GO_SWITCH")
    if not path:
        raise Skip("TSPROFD_GO_SWITCH does not say where the tool is")
    return path


class Talk:
    """A program that answers each line with a line of JSON, and ends with its input."""

    def __init__(self, command, **options):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, **options)
        self.pid = self.process.pid
        cleanup(self.kill)
        self.hello = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        check(line, f"{self.process.args[0]} ended: {self.said()}")
        return json.loads(line)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def end(self):
        self.process.stdin.close()
        check_equal(self.process.wait(30), 0, f"exit status of {self.process.args[0]}")
        return self.said()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


def switch(directory, program):
    return Talk([tool_path(), directory, program.pid])


def old_enough(*arguments, path=None):
    """One that is: what a program does in its first second is its own."""
    program = Talk([path or target_path("go-rates"), *arguments])
    time.sleep(1.1)
    return program


# What the unit gives the daemon that counts here; the others would not help.
AS_THE_SERVICE = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"] + [
    f"--{kind}-{'caps' if kind != 'bounding' else 'set'}=-all,+sys_ptrace,+dac_read_search" for kind in ("inh", "ambient", "bounding")]


def recover(directory):
    """A start and an end without any process; what it said."""
    return run(tool_path(), directory).stderr


def state_of(directory):
    path = os.path.join(directory, "go-rates")
    return open(path).read().splitlines()[2:] if os.path.exists(path) else []


def programs():
    """go-rates and its other builds, the one of the default toolchain first."""
    return sorted(name for name in os.listdir(TARGETS) if name.startswith("go-rates")) if os.path.isdir(TARGETS) else []


def in_function(records, name):
    return [r for r in records if r["function"] == name]


def check_site(name, site, found):
    """Of N allocations of one size each is sampled with the probability p."""
    p = 1 - math.exp(-site["size"] / RATE)
    for what, true, value in (("allocated", site["allocs"], sum(f["values"][0] for f in found)),
                              ("in use", site["held"], sum(f["values"][2] for f in found))):
        sigma = math.sqrt(true * (1 - p) / p)
        # The first allocation of each P is sampled in any case: half a sample too many on average, of two P's and four sites.
        note(f"  {name} {what}: {value} of {true}, {(value - true) / sigma:+.2f} sigma ({true * p:.0f} samples expected)")
        check_measured(abs(value - true) <= 3 * sigma, f"{name} {what}: {value}, the program counted {true}, sigma {sigma:.0f}")
    bytes_ = sum(f["values"][1] for f in found)
    objects = sum(f["values"][0] for f in found)
    # Beneath an allocation the runtime may have one of its own sampled: whoever assists the collector and waits for it wants a sudog.
    check(abs(bytes_ - objects * site["size"]) <= 2 * RATE, f"{name}: {bytes_} bytes in {objects} objects of {site['size']}")


@test_each(programs())
def what_is_switched_on_collects_what_the_program_counts(name):
    directory = tempdir()
    program = old_enough(path=target_path(name))
    sw = switch(directory, program)
    note(f"built by {program.hello}; before: rates {sw.hello['rates']}")
    check(sw.hello["off_by_linker"], "the linker switched heap profiles off")
    check_equal(sw.hello["rates"], [0, 0, 0], "rates before")
    program.ask("allocate", 8)
    before = sw.ask("records")
    check_equal([sum(f["values"][0] for f in in_function(before["memory"], s)) for s in ("main.allocate64", "main.allocate128K")], [0, 0],
                "samples before")

    rates = sw.ask("set", RATE, 1, 1)["rates"]
    check_equal(rates, [RATE, 1, 1], "rates when switched on")
    check_equal(len(state_of(directory)), 3, "entries in the state file")
    allocated, waited, locked = program.ask("allocate", 192), program.ask("wait", 50), program.ask("lock", 30)
    records = sw.ask("records")
    for site, counts in sorted(allocated.items()):
        check_site(site, counts, in_function(records["memory"], site))
    for kind, function, true in (("block", "main.receive", waited), ("mutex", "main.unlock", locked)):
        found = in_function(records[kind], function)
        contentions, delay = sum(f["contentions"] for f in found), sum(f["delay"] for f in found)
        note(f"  {kind}: {contentions:.0f} times, {1000 * delay:.1f} ms; the program: {true['n']} times, {1000 * true['delay']:.1f} ms")
        check_equal(contentions, true["n"], f"{kind}: contentions")
        check_between(delay, 0.95 * true["delay"] - 0.002, 1.01 * true["delay"], f"{kind}: delay")
    said = sw.end()
    check_equal(program.ask("rate"), 0, "the rate as the program has it at the end")
    check_equal(len(re.findall(r"was 0, is \d+ now", said)), 3, "lines that tell of a write")
    check_equal(len(re.findall(r"was \d+, is 0 now: tsprofd ends", said)), 3, "lines that tell that it was undone")
    check_equal(state_of(directory), [], "entries in the state file at the end")
    check_equal(switch(tempdir(), program).hello["rates"], [0, 0, 0], "rates at the end")


@test
def nothing_is_written_unless_it_is_wished():
    program = old_enough()
    directory = tempdir()
    sw = switch(directory, program)
    check_equal(sw.ask("set", 0, 0, 0)["rates"], [0, 0, 0], "rates")
    check_equal(os.listdir(directory), [], "files")
    check_equal(sw.end(), "", "what was said")


@test
def a_process_is_left_alone_for_its_first_second():
    program = Talk([target_path("go-rates")])
    begin = time.monotonic()
    sw = switch(tempdir(), program)
    rates = sw.ask("set", 0, 0, 1)["rates"]
    check_measured(time.monotonic() - begin < 0.9, "asked too late")
    check_equal(rates, [0, 0, 0], "rates")
    time.sleep(1.1)
    check_equal(sw.ask("set", 0, 0, 1)["rates"], [0, 0, 1], "rates afterwards")


@test
def a_rate_is_undone_when_it_is_wished_no_more_and_when_the_process_is_no_target():
    program = old_enough()
    directory = tempdir()
    sw = switch(directory, program)
    cycles = int(1000 * sw.hello["cycles_per_second"] / 1e9)
    check_equal(sw.ask("set", RATE, 1000, 5)["rates"], [RATE, cycles, 5], "three")
    # A clock that is measured anew, or not known for a while, is no reason to write.
    for clock in (1.002 * sw.hello["cycles_per_second"], 0):
        sw.ask("clock", clock)
        check_equal(sw.ask("set", RATE, 1000, 5)["rates"], [RATE, cycles, 5], f"with a clock of {clock}")
    check_equal(sw.said().count("\n"), 3, "lines that tell of a write")
    sw.ask("clock", sw.hello["cycles_per_second"])
    check_equal(sw.ask("set", RATE, 0, 5)["rates"], [RATE, 0, 5], "without that of waits")
    check_equal(sw.ask("set", RATE, 0, 7)["rates"], [RATE, 0, 7], "another one of locks")
    check_equal(len(state_of(directory)), 2, "entries in the state file")
    check_equal(sw.ask("release")["rates"], [0, 0, 0], "no target any more")
    check_equal(state_of(directory), [], "entries in the state file")
    check_equal(sw.ask("set", 0, 1000, 0)["rates"], [0, cycles, 0], "a target again")
    sw.end()
    check_equal(switch(tempdir(), program).hello["rates"], [0, 0, 0], "rates at the end")


@test
def it_takes_no_more_than_what_the_service_has():
    need_tool("setpriv")
    program = old_enough()
    directory = tempdir()
    os.chown(directory, 65534, 65534)
    sw = Talk([*AS_THE_SERVICE, tool_path(), directory, program.pid])
    check_equal(sw.ask("set", RATE, 1, 1)["rates"], [RATE, 1, 1], f"rates; it said {sw.said()!r}")
    path = os.path.join(directory, "go-rates")
    check_equal(os.stat(path).st_mode & 0o777, 0o600, "mode of the state file, which tells where memory is")
    sw.kill()
    run(*AS_THE_SERVICE, tool_path(), directory)
    check_equal(switch(tempdir(), program).hello["rates"], [0, 0, 0], "rates after the next start")


@test_each(["go-rates", "go-rates-pie"])
def after_a_kill_the_next_start_undoes_it(name):
    program = old_enough(path=target_path(name))
    directory = tempdir()
    sw = switch(directory, program)
    check_equal(sw.ask("set", RATE, 1, 1)["rates"], [RATE, 1, 1], f"rates; it said {sw.said()!r}")
    sw.kill()
    check_equal(program.ask("rate"), RATE, "the rate after the kill")
    said = recover(directory)
    note(said)
    check_equal(len(re.findall(r"is 0 now: one before this tsprofd was killed", said)), 3, "lines that tell of it")
    check_equal(program.ask("rate"), 0, "the rate after the next start")
    check_equal(switch(directory, program).hello["rates"], [0, 0, 0], "rates after the next start")
    check_equal(state_of(directory), [], "entries in the state file")


@test
def what_the_program_sets_itself_stays():
    directory = tempdir()
    program = old_enough()
    sw = switch(directory, program)
    sw.ask("set", RATE, 1, 0)
    program.ask("rate", 4096)
    check_equal(sw.ask("set", RATE, 1, 0)["rates"], [4096, 1, 0], "noticed at the next look")
    check_equal(len(state_of(directory)), 1, "entries in the state file")
    program.ask("rate", 0)
    check_equal(sw.ask("set", RATE, 1, 0)["rates"], [0, 1, 0], "switched off by the program, not on again")
    said = sw.end()
    check(re.search(ASKED + r" is 4096, not 524288 as it was set: the program changed it, it stays", said), f"it says so: {said}")

    sw = switch(directory, program)
    sw.ask("set", RATE, 0, 0)
    program.ask("rate", 8192)
    check(re.search(ASKED + r" is 8192, not 524288", sw.end()), "it says so at the end")
    check_equal(program.ask("rate"), 8192, "changed between the last look and the end")

    program.ask("rate", 0)
    sw = switch(directory, program)
    sw.ask("set", RATE, 0, 0)
    sw.kill()
    program.ask("rate", 2048)
    check(re.search(ASKED + r" is 2048, not 524288", recover(directory)), "it says so at the next start")
    check_equal(program.ask("rate"), 2048, "changed between the kill and the next start")

    program.ask("rate", 1000)
    sw = switch(directory, program)
    check_equal(sw.ask("set", RATE, 0, 0)["rates"][0], 1000, "a rate that the program had from the start")
    check_equal(sw.end(), "", "what was said")


@test
def another_program_in_the_same_process_is_left_alone():
    for number, way in enumerate(("at the end", "at the next start")):
        directory = tempdir()
        program = old_enough()
        sw = switch(directory, program)
        sw.ask("set", RATE, 0, 0)
        addresses = sw.ask("rates")["addresses"]
        if number:
            sw.kill()
        # The same file at the same addresses, in the same process, with the very number: only its first stack lies elsewhere.
        program.ask("exec", RATE)
        if number:
            recover(directory)
        else:
            sw.end()
        check_equal(program.ask("rate"), RATE, way)
        check_equal(switch(tempdir(), program).hello["addresses"], addresses, "addresses of the other program")
        check_equal(state_of(directory), [], "entries in the state file")


def start_as(pid, path, *arguments):
    """A program with this pid, which must be free."""
    for _ in range(200):
        with open("/proc/sys/kernel/ns_last_pid", "w") as f:
            f.write(str(pid - 1))
        program = Talk([path, *arguments])
        if program.pid == pid:
            return program
        program.kill()
    raise Skip(f"others were quicker to get the pid {pid}")


@test
def a_process_that_got_the_pid_is_left_alone():
    directory = tempdir()
    program = old_enough()
    sw = switch(directory, program)
    sw.ask("set", RATE, 0, 0)
    entry = state_of(directory)[0].split()
    sw.kill()
    program.kill()
    other = start_as(program.pid, target_path("go-rates"), RATE)
    check_equal(str(other.pid), entry[0], "its pid")
    # Even if its stack were where the other one's was.
    fields = open(f"/proc/{other.pid}/stat").read().rsplit(")", 1)[1].split()
    path = os.path.join(directory, "go-rates")
    text = open(path).read().replace(entry[2], hex(int(fields[25])))
    open(path, "w").write(text)
    check_equal(recover(directory), "", "what was said")
    check_equal(other.ask("rate"), RATE, "the rate of who has the pid now")
    check_equal(state_of(directory), [], "entries in the state file")
    # The same entry with the start time of the process is good: it was that alone.
    open(path, "w").write(text.replace(f" {entry[1]} ", f" {fields[19]} "))
    recover(directory)
    check_equal(other.ask("rate"), 0, "the rate after an entry that is of this process")


@test
def a_file_of_another_boot_or_of_nobody_is_not_obeyed():
    directory = tempdir()
    program = old_enough()
    sw = switch(directory, program)
    sw.ask("set", RATE, 0, 0)
    sw.kill()
    path = os.path.join(directory, "go-rates")
    good = open(path).read()
    lines = good.splitlines()
    for what, text, quiet in (("another boot", good.replace(lines[1], "0" * 8 + lines[1][8:]), True),
                              ("another format", good.replace("go-rates 1", "go-rates 2"), False),
                              ("a line cut off", good[:-4], False), ("a line too few words", good[:-14] + "\n", False),
                              ("another variable", good.replace(ASKED, "runtime.allglen"), False),
                              ("zeros", "\0" * 100, False), ("nothing", "", False)):
        open(path, "w").write(text)
        said = recover(directory)
        check_equal(bool(said), not quiet, f"{what}: whether it was said: {said}")
        check_equal(program.ask("rate"), RATE, what)
        check(not os.path.exists(path), f"{what}: the file is gone")
    open(path, "w").write(good)
    recover(directory)
    check_equal(program.ask("rate"), 0, "the true file")
    # As after a kill between the file and the process.
    open(path, "w").write(good)
    check_equal(recover(directory), "", "what was said of what was not written")
    check_equal(program.ask("rate"), 0, "what was not written")


@test
def only_the_number_is_written_and_the_process_is_not_stopped():
    strace = need_tool("strace")
    program = old_enough()
    directory = tempdir()
    trace = os.path.join(directory, "trace")
    sw = Talk([strace, "-f", "-qq", "-o", trace, "-e",
               "trace=process_vm_writev,ptrace,kill,tgkill,tkill,pidfd_send_signal,openat,open,pwrite64,fsync,fdatasync,rename,renameat,renameat2",
               tool_path(), directory, program.pid])
    sw.ask("set", RATE, 0, 0)
    sw.end()
    calls = [line.split(None, 1)[1] for line in open(trace).read().splitlines() if "resumed>" not in line]
    writes = [c for c in calls if c.startswith("process_vm_writev(")]
    note("\n".join(writes))
    check_equal(len(writes), 2, "writes into the process")
    for write in writes:
        check(write.startswith(f"process_vm_writev({program.pid}, ") and write.endswith("= 8"), write)
    check(not [c for c in calls if re.match(r"ptrace|tgkill|tkill|pidfd_send|pwrite", c)], "calls that stop it or write otherwise")
    opened = [c for c in calls if f"{program.pid}/mem" in c]
    check(opened and all("O_RDONLY" in c for c in opened), f"its memory is opened for reading: {opened}")
    # On disk first: file, name, folder; then the process.
    order = [re.match(r"\w+", c)[0] for c in calls if re.match(r"fsync|rename|process_vm_writev", c)]
    check_equal(order[:4], ["fsync", order[1], "fsync", "process_vm_writev"], "the order of the first write")
    check(order[1].startswith("rename"), f"the order of the first write: {order}")


if __name__ == "__main__":
    main()
