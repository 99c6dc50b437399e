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


def symbolize(path, addresses):
    """address -> [(name, linkage name, file, line)] by the symbolizer process itself, innermost first."""
    tool = os.environ.get("TSPROFD_SYMBOLIZE") or os.path.join(os.path.dirname(os.path.dirname(find_binary())), "tests", "system", "symbolize")
    if not os.path.exists(tool):
        raise Skip(f"{tool} is not built")
    done = run(tool, path, os.path.join(TARGETS, "debug"), input="".join(f"{a:x}\n" for a in addresses), stdin=None)
    return {int(d["pc"], 16): [(f["func"], f["system"], f["file"], f["line"]) for f in d["frames"]]
            for d in map(json.loads, done.stdout.splitlines())}


def text_addresses(path, n):
    """Spread over .text, each in the middle of nothing in particular."""
    for line in run("readelf", "-SW", path).stdout.splitlines():
        if found := re.search(r"\s\.text\s+PROGBITS\s+(\w+)\s+\w+\s+(\w+)", line):
            start, size = int(found[1], 16), int(found[2], 16)
            return sorted({start + size * i // n for i in range(n)})
    raise Failed(f"{path} has no .text")


@test_each(WITH_DWARF + ["tsiot-server-go1.19"])
def thousands_of_addresses_all_over_the_file_agree(name):
    path = target_path(name)
    addresses = text_addresses(path, 4000)
    ours, theirs = symbolize(path, addresses), addr2line(path, addresses)
    good, bad, silent = 0, [], 0
    for address in addresses:
        a, b = ours.get(address, []), theirs.get(address, [])
        if not b or b[0][0] == "??" or (b[0][1] in ("", "??") and not a):
            silent += 1
            continue
        same = len(a) == len(b) and all((o[1] == t[0] or plain_name(o[0]) == plain_name(t[0])) and (t[2] == 0 or o[3] == t[2]) and
                                        (t[1] in ("", "??") or same_file(o[2], t[1])) for o, t in zip(a, b))
        good += same
        if not same:
            bad.append((address, a, b))
    note(f"{good} agree, {len(bad)} differ, of {silent} addr2line says nothing")
    for address, a, b in bad[:4]:
        note(f"0x{address:x}: ours {a}\n   addr2line {b}")
    check(good + len(bad) >= 10, "too few to tell")
    check(len(bad) <= 0.001 * (good + len(bad)), f"{len(bad)} of {good + len(bad)} differ")


def go_callers():
    found = sorted(os.path.basename(p) for p in glob.glob(os.path.join(TARGETS, "go-callers*")))
    return found or ["go-callers"]


@test_each(go_callers())
def go_frames_are_those_of_runtime_CallersFrames(name):
    """The program itself says what its addresses are: also for Go with DWARF 5, which binutils 2.40 cannot read."""
    path = target_path(name)
    truth = {int(d["pc"], 16): [(f["func"], f["file"], f["line"]) for f in d["frames"]]
             for d in map(json.loads, run(path, 4000).stdout.splitlines())}
    ours = symbolize(path, truth)
    good, bad = 0, []
    for address, frames in truth.items():
        if not frames:
            continue
        mine = [(f[0], f[2], f[3]) for f in ours.get(address, [])]
        good += mine == frames
        if mine != frames:
            bad.append((address, mine, frames))
    note(f"{good} of {good + len(bad)} addresses agree")
    for address, a, b in bad[:5]:
        note(f"0x{address:x}: ours {a}\n   CallersFrames {b}")
    check(good + len(bad) >= 1000, "too few to tell")
    check(len(bad) <= 0.001 * (good + len(bad)), f"{len(bad)} of {good + len(bad)} differ")


main()
