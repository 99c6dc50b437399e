#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""With memory.go.enable the daemon has heap files of Go programs whose linker switched heap profiles off, that tell what the program counts;
and the program is as it was afterwards. How a number is written is tested in test_go_switch.py."""
import json
import math
import signal

from harness import *

RATE = 524288


class Program(Target):
    """tests/targets/go/rates: answers each line with a line of JSON."""

    def __init__(self, name):
        super().__init__(name, stdin=subprocess.PIPE)
        self.version = json.loads(self.process.stdout.readline())
        cleanup(self.process.stdin.close)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def programs():
    return sorted(name for name in os.listdir(TARGETS) if re.fullmatch(r"go-rates(-pie)?(-go1\.(18|19|23)[.\d]*)?", name)) if os.path.isdir(TARGETS) else []


def config(program, enable=True, snapshot="1s", is_target=True, **more):
    memory = {"snapshot_interval": snapshot, **({"go": {"enable": True}} if enable else {})}
    return cpu_config("1s", memory=memory, goroutine={"enabled": False}, wall={"enabled": False}, host={"enabled": False},
                      **({"targets": f'[{{service: rates, match: {{pid: "{program.pid}"}}}}]'} if is_target else {}), **more)


def wait_rate(program, expected, what, timeout=15):
    wait_for(lambda: program.ask("rate") == expected, f"the rate is {expected}: {what}", timeout, 0.1)


def state(daemon):
    path = os.path.join(daemon.runtime, "go-rates")
    return open(path).read().splitlines()[2:] if os.path.exists(path) else []


def last_heap(daemon, after=0):
    """A file of a look that began after that moment."""
    def newer():
        files = daemon.files("rates", "heap")
        return files[-1] if files and files[-1].profile.time_nsec > after else None
    return wait_for(newer, "a heap file", PATIENCE, 0.2).profile


@test_each(programs())
def heap_files_tell_what_the_program_counts_once_it_is_switched_on(name):
    program = Program(name)
    program.ask("allocate", 8)
    daemon = Daemon(config(program))
    wait_rate(program, RATE, "with memory.go.enable")
    check_equal([line.split()[3] for line in state(daemon)], ["runtime.MemProfileRate"], "entries in the state file")
    counted = program.ask("allocate", 192)
    profile = last_heap(daemon, time.time_ns())
    types = [kind for kind, _ in profile.sample_types]
    for site, true in sorted(counted.items()):
        p = 1 - math.exp(-true["size"] / RATE)
        samples = [s for s in profile.samples if site in s.names]
        for what, exact, kind in ("in use", true["held"], "inuse_objects"), ("allocated", true["allocs"], "alloc_objects"):
            if kind not in types:
                continue
            value = sum(s.values[types.index(kind)] for s in samples)
            sigma = math.sqrt(exact * (1 - p) / p)
            note(f"  {program.version} {site} {what}: {value} of {exact}, {(value - exact) / sigma:+.2f} sigma ({exact * p:.0f} samples expected)")
            check_measured(abs(value - exact) <= 3 * sigma, f"{site} {what}: {value}, the program counted {exact}, sigma {sigma:.0f}")
    check("inuse_objects" in types, f"sample types {types}")
    said = [c for c in profile.comments if "no baseline: memory profiling was switched on at 20" in c]
    check_equal(len(said), 1, f"comments that tell of it in {profile.comments}")
    numbers = daemon.fresh_metrics()
    check_equal([numbers.get(f"tsprofd_go_rates{n}") for n in ("", "_written_total", "_undone_total", "_failed_total")], [1, 1, 0, 0], "metrics")
    daemon.stop()
    check_equal(program.ask("rate"), 0, "the rate after the end")
    check_equal(state(daemon), [], "entries in the state file at the end")
    check(re.search(r"MemProfileRate was 524288, is 0 now: tsprofd ends", daemon.log()), daemon.log())


@test
def it_is_undone_by_a_reload_without_the_key_and_done_by_one_with_it():
    program = Program("go-rates")
    # The next snapshot is an hour away: neither the first write nor what a reload asks for waits for it.
    daemon = Daemon(config(program, snapshot="1h"))
    begin = time.monotonic()
    wait_rate(program, RATE, "with memory.go.enable")
    note(f"written {time.monotonic() - begin:.1f} s after the start")
    for expected, settings in ((0, {"enable": False}), (RATE, {}), (0, {"is_target": False}), (RATE, {}), (0, {"enabled": False})):
        daemon.write_config(config(program, snapshot="1h", **settings))
        begin = time.monotonic()
        daemon.send(signal.SIGHUP)
        wait_rate(program, expected, f"after a reload with {settings}")
        note(f"{settings}: {expected} {time.monotonic() - begin:.1f} s after the reload")
    check_equal(state(daemon), [], "entries in the state file")
    check("no effect" not in daemon.log(), daemon.log())


@test
def after_a_kill_the_next_start_undoes_it():
    program = Program("go-rates")
    daemon = Daemon(config(program, snapshot="1h"))
    wait_rate(program, RATE, "with memory.go.enable")
    daemon.process.kill()
    daemon.process.wait()
    check_equal(program.ask("rate"), RATE, "the rate after the kill")
    daemon.write_config(config(program, enable=False))
    daemon.start()
    check_equal(program.ask("rate"), 0, "the rate when the next one is ready")
    check_equal(state(daemon), [], "entries in the state file")
    check(re.search(r"is 0 now: one before this tsprofd was killed", daemon.log()), daemon.log())


@test
def a_target_that_comes_is_written_to_soon_and_one_that_goes_is_forgotten():
    daemon = Daemon(cpu_config("1s", memory={"snapshot_interval": "1h", "go": {"enable": True}}, goroutine={"enabled": False},
                               targets='[{service: rates, match: {exe: go-rates}}]', host={"enabled": False}))
    for _ in range(2):
        program = Program("go-rates")
        begin = time.monotonic()
        wait_rate(program, RATE, "of a program that came later")
        took = time.monotonic() - begin
        note(f"written {took:.1f} s after it began")
        check(took >= 0.9, "it was written to in its first second")
    program.kill()
    wait_for(lambda: len(state(daemon)) == 1, "the one that has ended is in the state file no more")


@test
def without_the_key_nothing_is_written_and_both_file_and_journal_say_that_it_is_off():
    strace = need_tool("strace")
    program = Program("go-rates")
    directory = tempdir()
    for enable in False, True:
        trace = os.path.join(directory, f"trace-{enable}")
        daemon = Daemon(config(program, enable=enable), wrap=[strace, "-f", "-qq", "-o", trace, "-e", "trace=process_vm_writev", "-e", "signal=none"])
        if enable:
            wait_rate(program, RATE, "with memory.go.enable")
        else:
            off = r"memory profiling is off in this program: the linker left it out"
            check(any(re.search(off, c) for c in last_heap(daemon).comments), f"{off} in the comments")
            last_heap(daemon, time.time_ns())
            check_equal(len(re.findall(r"Process \d+ \(rates\): Go's memory profiling is off in this program: nothing in it asks", daemon.log())), 1,
                        "lines of the journal that tell of it")
            check_equal(program.ask("rate"), 0, "the rate without the key")
        # strace passes it on.
        for pid in daemon.children():
            os.kill(pid, signal.SIGTERM)
        daemon.process.wait(PATIENCE)
        writes = open(trace).read().count("process_vm_writev(")
        # The same with the key, so that it is known that it would be seen.
        check_equal(writes, 2 if enable else 0, f"writes with memory.go.enable {enable}")
    check_equal(program.ask("rate"), 0, "the rate at the end")


def rates_in(program):
    """What is in the process, by tests/system/go_switch.c, which writes nothing unless it is told to."""
    tool = os.environ.get("TSPROFD_GO_SWITCH")
    if not tool:
        raise Skip("TSPROFD_GO_SWITCH does not say where the tool is")
    return json.loads(run(tool, tempdir(), program.pid).stdout.splitlines()[0])


@test_each(programs())
def rates_of_waits_and_locks_are_written_as_the_runtime_has_them(name):
    """Nobody in the program asked for the rate of its clock: that is for the daemon to measure."""
    program = Program(name)
    for go_rate in 1, 1000:
        daemon = Daemon(config(program, enable=False, snapshot="1h", block={"go_rate": go_rate}, mutex={"go_fraction": 5}))
        begin = time.monotonic()
        wait_for(lambda: len(state(daemon)) == 2, f"two entries in the state file with go_rate: {go_rate}")
        found = rates_in(program)
        cycles, clock = found["rates"][1], found["cycles_per_second"]
        note(f"{program.version} go_rate: {go_rate}: {cycles} cycles of {clock / 1e9:.6f} GHz after {time.monotonic() - begin:.1f} s")
        check_equal(found["rates"][2], 5, "runtime.mutexprofilerate")
        check_equal({line.split()[3]: int(line.split()[6]) for line in state(daemon)},
                    {"runtime.blockprofilerate": cycles, "runtime.mutexprofilerate": 5}, "what is in the state file")
        if go_rate == 1:
            check_equal(cycles, 1, "runtime.blockprofilerate, where 1 is one cycle: all waits")
        else:
            check_between(cycles / clock, 0.99e-6, 1.01e-6, "seconds that runtime.blockprofilerate is")
        daemon.stop()
        check_equal(rates_in(program)["rates"], [0, 0, 0], "rates at the end")
        check_equal(len(re.findall(r"was \d+, is 0 now: tsprofd ends", daemon.log())), 2, "lines that tell that it was undone")


@test
def once_never_writes():
    program = Program("go-rates")
    time.sleep(1.2)
    directory = tempdir()
    daemon = Daemon(config(program), start=False)
    done = run(find_binary(), "--config", daemon.config_path, "--once", "--kind", "heap", "--pid", program.pid, "--output", directory,
               env={**os.environ, "RUNTIME_DIRECTORY": daemon.runtime}, check_status=False)
    note(done.stderr)
    check_equal(program.ask("rate"), 0, "the rate")
    check_equal(state(daemon), [], "entries in the state file")


if __name__ == "__main__":
    main()
