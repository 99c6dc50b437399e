#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Names, files, lines and inlined frames are those of `addr2line -fie`, in 99.9 % of the addresses."""
from harness import *


def addr2line(path, addresses):
    """address -> [(linkage name, file, line)], innermost first."""
    done = run("addr2line", "-a", "-f", "-i", "-e", path, input="\n".join(f"0x{a:x}" for a in addresses) + "\n", stdin=None)
    result, current, lines = {}, None, done.stdout.splitlines()
    at = 0
    while at < len(lines):
        if lines[at].startswith("0x") and ":" not in lines[at]:
            current = result.setdefault(int(lines[at], 16), [])
            at += 1
        else:
            file, _, line = lines[at + 1].partition(" (")[0].rpartition(":")
            current.append((lines[at], file, int(line) if line.isdigit() else 0))
            at += 2
    return result


def same_file(ours, theirs):
    """One of them may be relative to the folder it was compiled in."""
    ours, theirs = os.path.normpath(ours), os.path.normpath(theirs)
    return ours == theirs or ours.endswith("/" + theirs.lstrip("./")) or theirs.endswith("/" + ours.lstrip("./")) or \
        os.path.basename(ours) == os.path.basename(theirs) and ("??" not in theirs)


WITH_DWARF = ["c-shares-fp", "c-inlined-fp", "c-inlined-nofp", "clang-inlined-fp", "c-deep-fp", "c-dwarf4", "c-dwarf5",
              "c-pie", "c-nopie", "c-static", "cpp-shares-fp", "cpp-inlined-fp", "rust-shares-fp", "rust-inlined-fp"]


@test_each(WITH_DWARF + ["tsiot-server-go1.19"])
def every_address_has_the_names_that_addr2line_gives(name):
    need_tool("addr2line")
    path = target_path(name)
    if name.startswith("tsiot"):
        daemon = Daemon(cpu_config("2s", rate=1999))
        server = Server(name)
        time.sleep(8)
        samples = daemon.samples_of(server.pid, until_nsec=time.time_ns())
    else:
        _, samples = record_together(name, WITH_DWARF, 20, 1999)
    real = os.path.realpath(path)
    # Of callers the profile has the return address less one, as everybody does; addr2line is asked about the same one.
    places = {loc.address: loc for s in samples for loc in s.locations if loc.mapping and
              os.path.realpath(loc.mapping.file) == real}
    check(len(places) >= 5, f"only {len(places)} addresses in {real}; mappings: "
          f"{sorted({loc.mapping.file for s in samples for loc in s.locations if loc.mapping})}")
    truth = addr2line(path, places)
    good, bad = 0, []
    for address, location in sorted(places.items()):
        ours = [(f.system_name or f.name, f.file, line) for f, line in location.lines]
        theirs = truth.get(address, [])
        if theirs and theirs[0][0] == "??":
            # addr2line has nothing to say: then a name of ours (of a table that it does not read) is no error.
            good += 1
            continue
        equal = len(ours) == len(theirs) and all(
            (o[0] == t[0] or plain_name(o[0]) == plain_name(t[0])) and (t[2] == 0 or o[2] == t[2]) and
            (t[1] in ("", "??") or same_file(o[1], t[1])) for o, t in zip(ours, theirs))
        good += equal
        if not equal:
            bad.append((address, ours, theirs))
    note(f"{good} of {len(places)} addresses agree")
    for address, ours, theirs in bad[:5]:
        note(f"0x{address:x}: ours {ours}\n   addr2line {theirs}")
    # Of few addresses one is more than 0.1 %: then all must agree.
    check(len(bad) <= 0.001 * len(places), f"{len(bad)} of {len(places)} addresses differ")


@test_each(["go-callers", "go-callers-stripped", "go-callers-pie"])
def go_frames_are_those_of_runtime_CallersFrames(name):
    """For Go built with DWARF 5, which binutils 2.40 cannot read: the program itself says what its addresses are."""
    path = target_path(name)
    daemon = Daemon(cpu_config("2s", rate=1999))
    truth = Target(name, 4).truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    stacks = {tuple((f["function"], f["file"], f["line"]) for f in stack) if isinstance(stack, list) else stack
              for stack in map(lambda s: s if isinstance(s, list) else s.get("frames", []), truth.get("stacks", []))}
    check(stacks, f"{name} says nothing of its stacks: {sorted(truth)}")
    # The pairs caller -> callee, by function and file: lines of the leaf differ from one sample to the next.
    def pairs(frames):
        return {((a[0], os.path.basename(a[1])), (b[0], os.path.basename(b[1]), b[2])) for a, b in zip(frames, frames[1:])}
    known = set().union(*(pairs(stack) for stack in stacks))
    callers = {a[0] for a, _ in known}
    good = bad = 0
    wrong = set()
    for sample in samples:
        for pair in pairs(sample.frames):
            if pair[0][0] in callers and any(pair[0] == a for a, _ in known):
                if pair in known:
                    good += sample.count
                else:
                    bad += sample.count
                    wrong.add(pair)
    note(f"{good} calls agree, {bad} differ, of {path}")
    for pair in sorted(wrong)[:5]:
        note(f"ours {pair}")
    check(good > 100, "too few to tell")
    check(bad <= 0.001 * (good + bad), f"{bad} of {good + bad} differ")


main()
