#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Heap profiles read from outside are those that the program itself gives (net/http/pprof), stack by stack.

With TSPROFD_ALL_GO set all versions of Go that were built are tried (`tests/targets/build --all-go`).
The tool tests/system/go_profiles reads a process and has the press make a file of it; TSPROFD_GO_PROFILES says where it is.
"""
import collections
import http.client
import pathlib
import re

import pprof
from harness import *

NAMES = ["go-goroutines", "go-goroutines-stripped", "go-goroutines-pie", "go-goroutines-cgo"]
if os.environ.get("TSPROFD_ALL_GO"):
    NAMES = sorted(path.name for path in pathlib.Path(TARGETS).glob("go-goroutines*-go1.*"))


def tool():
    path = os.environ.get("TSPROFD_GO_PROFILES") or os.path.join(os.path.dirname(find_binary()), "..", "tests", "system", "go_profiles")
    if not os.path.exists(path):
        raise Skip("go_profiles is not built")
    return os.path.abspath(path)


class Program:
    def __init__(self, name):
        # One sample every 64 bytes: hundreds of stacks.
        self.target = Target(name, "127.0.0.1:0", 5, env=dict(os.environ, GODEBUG="memprofilerate=64"))
        for line in self.target.process.stdout:
            if line.startswith("pprof "):
                self.address = line.split()[1]
            if line.startswith("ready"):
                break
        self.connection = http.client.HTTPConnection(self.address, timeout=60)
        cleanup(self.connection.close)

    def ask(self, what):
        self.connection.request("GET", "/debug/pprof/" + what)
        return self.connection.getresponse().read()

    def read(self, kind):
        return subprocess.run([tool(), str(self.target.pid), kind], capture_output=True, timeout=60, check=True).stdout


def stack(sample):
    """Variables of a package are set by one function of many files: Go names the one that it met first, we the one of its first line."""
    return tuple((function.name, "" if re.search(r"\.init(\.\d+)?$", function.name) else function.file, line, function.start_line)
                 for location in sample.locations for function, line in location.lines)


def allocations(data):
    """(stack, size of an object) -> its four values."""
    found = collections.defaultdict(lambda: [0, 0, 0, 0])
    for sample in pprof.Profile(data).samples:
        for i, value in enumerate(sample.values):
            found[stack(sample), sample.labels.get("bytes")][i] += value
    return {key: tuple(values) for key, values in found.items() if any(values)}


@test_each(NAMES)
def the_heap_is_what_the_program_says_of_it(name):
    program = Program(name)
    for kind in "heap", "allocs":
        program.ask("heap?gc=1")
        before = allocations(program.ask(kind))
        ours = allocations(program.read(kind))
        after = allocations(program.ask(kind))
        # The garbage collector went on: nothing to compare with.
        same = {key: values for key, values in before.items() if after.get(key) == values}
        check(len(same) >= 5 and len(same) >= 0.5 * len(before), f"{kind}: {len(same)} of {len(before)} stood still")
        wrong = [key for key, values in same.items() if ours.get(key) != values]
        # Of the frames at the leaf Go hides those of its runtime, by the instruction behind each call, we by the call: where a function of another
        # package is inlined there, Go shows what is above. One in some hundred stacks of some versions.
        check(len(wrong) * 100 <= len(same), f"{kind}: {len(wrong)} of {len(same)} stacks differ, as {wrong[:1]}: {[(same[w], ours.get(w)) for w in wrong[:1]]}")
        strange = set(ours) - set(before) - set(after)
        check(len(strange) <= len(wrong), f"{kind}: {len(strange)} stacks that the program does not have")
        note(f"{name}: {kind}: {len(same) - len(wrong)} of {len(same)} stacks equal in functions, files, lines, sizes and values")


main()
