#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""`go build -pgo` takes our profile as it takes that of net/http/pprof: the calls that it finds hot are the same."""
import urllib.request

from harness import *

SOURCE = os.path.join(TOP, "tests", "targets", "tsiot")


def calls(profiles):
    """(caller, callee, line of the call in the caller) -> samples: what cmd/internal/pgo counts, by the names of the linker.

    Left out are kernel frames and goexit, which Go's profiles do not have, and what the caller of the leaf does: a leaf
    without a frame of its own (runtime.memmove) hides it from a walk along frame pointers."""
    counts = {}
    for profile in profiles:
        for sample in profile.samples:
            # Go's have no goexit either, by which ours show that a stack is whole.
            locations = [l for l in sample.locations
                         if (not l.mapping or "kernel" not in l.mapping.file) and l.lines[0][0].name != "runtime.goexit"]
            seen = set()
            for i, location in enumerate(locations):
                if i == 1:
                    continue
                pairs = list(zip(location.lines[1:], location.lines))
                if i and i + 1 < len(locations):
                    pairs.append((locations[i + 1].lines[0], location.lines[-1]))
                seen.update((caller.system_name, callee.system_name, line - caller.start_line)
                            for (caller, line), (callee, _) in pairs)
            for call in seen:
                counts[call] = counts.get(call, 0) + sample.count
    return counts


def hot(counts):
    """Those with 99 % of all, as cmd/compile/internal/inline/inl.go hotNodesFromCDF has it."""
    total, found = 0, set()
    for call, count in sorted(counts.items(), key=lambda item: -item[1]):
        total += count
        found.add(call)
        if total > 0.99 * sum(counts.values()):
            break
    return found


def build(profile, directory):
    """The compiler's words about the main package."""
    done = run("go", "build", f"-pgo={profile}", "-gcflags=-m=2 -d=pgodebug=1", "-o", os.path.join(directory, "server"), ".", cwd=SOURCE,
               env={**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOCACHE": os.path.join(directory, "cache")},
               timeout=400)
    return done.stderr


@test
def go_build_takes_it_and_finds_the_calls_hot_that_it_finds_with_net_http_pprof():
    need_tool("go")
    version = re.search(r"go1\.(\d+)", run("go", "env", "GOVERSION", cwd="/").stdout)
    if int(version[1]) < 21:
        raise Skip("profile-guided optimization came with Go 1.21")
    server, url = pprof_server()
    # Twice as often as theirs makes our part of the noise smaller.
    daemon = Daemon(cpu_config("1s", rate=199))
    time.sleep(1)
    start = time.time_ns()
    with urllib.request.urlopen(url + "/debug/pprof/profile?seconds=20", timeout=60) as answer:
        theirs = Profile(answer.read())
    end = time.time_ns()
    daemon.wait_window_after(end)
    files = [f for f in daemon.files("tsiot-server-pprof")
             if start <= f.profile.time_nsec and f.profile.time_nsec + f.profile.duration_nsec <= end + 10**9]
    server.stop()
    daemon.stop()
    ours = os.path.join(daemon.directory, "ours.pprof")
    run("go", "tool", "pprof", "-proto", f"-output={ours}", *[f.path for f in files], cwd="/")
    mine, reference = calls([f.profile for f in files]), calls([theirs])
    ratio = sum(mine.values()) / sum(reference.values())
    note(f"hot calls: {len(hot(mine))} of {len(mine)} with ours, {len(hot(reference))} of {len(reference)} with theirs")
    # A call site is hot from one or two samples on: with ten it is not by chance.
    for name, counts, least, other in (("theirs", reference, 10, hot(mine)), ("ours", mine, 10 * ratio, hot(reference))):
        sure = {call for call, count in counts.items() if count >= least}
        missing = sorted(sure - other, key=lambda call: -counts[call])
        note(f"{len(sure)} calls are surely hot with {name}, {len(missing)} of them are not with the other")
        for call in missing[:5]:
            note(f"  {call[0]} line {call[2]} -> {call[1]}: {counts[call]} samples")
        check(len(sure) >= 50, "too few to tell")
        check(len(missing) <= 0.03 * len(sure), f"hot with {name} only: more than three in a hundred")
    said = build(ours, daemon.directory)
    grown = re.findall(r"hot-node enabled increased budget=\d+ for func=(\S+)", said)
    note(f"the compiler gives {len(grown)} hot functions of the main package a larger budget")
    check("hot-callsite-thres-from-CDF=0\n" not in said and "hot-callsite-thres" in said, "the compiler found nothing hot")
    check(len(grown) >= 5, said[:500])


main()
