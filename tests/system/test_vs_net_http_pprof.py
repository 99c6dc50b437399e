#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Beside net/http/pprof in the same process and window: the ten largest functions agree."""
import urllib.request

from harness import *


@test
def the_ten_largest_functions_agree():
    seconds = 30
    server, url = pprof_server()
    # 100 Hz is what Go samples at; ours faster only makes our own noise smaller.
    daemon = Daemon(cpu_config("1s", rate=199))
    time.sleep(1)
    start = time.time_ns()
    with urllib.request.urlopen(f"{url}/debug/pprof/profile?seconds={seconds}", timeout=seconds * 2) as answer:
        theirs = Profile(answer.read())
    end = time.time_ns()
    samples = [s for s in daemon.samples_of(server.pid, until_nsec=end)
               if start <= s.profile.time_nsec and s.profile.time_nsec + s.profile.duration_nsec <= end + 10**9]

    def flat(samples):
        # Go's profile has no kernel frames: time in the kernel is that of the Go function that called it.
        counts = {}
        for s in samples:
            # asyncPreempt is put on the stack by one signal just before SIGPROF looks: it hides who was running.
            frame = next((f.name for loc in s.locations if not loc.mapping or "kernel" not in loc.mapping.file
                          for f, _ in loc.lines if not f.name.startswith("runtime.asyncPreempt")), None)
            if frame:
                counts[frame] = counts.get(frame, 0) + s.count
        return counts

    ours_flat, theirs_flat = flat(samples), flat(theirs.samples)
    n_ours, n_theirs = sum(ours_flat.values()), sum(theirs_flat.values())
    n = min(n_ours, n_theirs)
    note(f"samples: {n_ours} ours, {n_theirs} theirs")
    check(n >= 500, "too few to tell")
    wrong = []
    for name, count in sorted(theirs_flat.items(), key=lambda item: -item[1])[:10]:
        p, q = count / n_theirs, ours_flat.get(name, 0) / n_ours
        allowed = 3 * math.sqrt(2 * p * (1 - p) / n) + 0.005
        note(f"{name}: theirs {100 * p:.2f} %, ours {100 * q:.2f} %, allowed {100 * allowed:.2f} points")
        if abs(p - q) > allowed:
            wrong.append(name)
    check(not wrong, f"too far apart: {', '.join(wrong)}")


@test
def names_files_and_start_lines_are_theirs():
    server, url = pprof_server()
    daemon = Daemon(cpu_config("2s", rate=499))
    with urllib.request.urlopen(f"{url}/debug/pprof/profile?seconds=6", timeout=30) as answer:
        theirs = Profile(answer.read())
    samples = daemon.samples_of(server.pid)
    ours = {f.name: f for s in samples for loc in s.locations for f, _ in loc.lines}
    both = {f.name: f for f in theirs.functions.values() if f.name in ours}
    check(len(both) >= 30, f"only {len(both)} functions are in both; ours: {sorted(ours)[:20]}")
    files = [n for n, f in both.items() if ours[n].file != f.file]
    lines = [n for n, f in both.items() if ours[n].start_line != f.start_line]
    twins = {f.name for s in samples for loc in s.locations for f, _ in loc.lines if f != ours[f.name] and
             (f.system_name, f.file, f.start_line) != (ours[f.name].system_name, ours[f.name].file, ours[f.name].start_line)}
    # Method values; other generated code is a wrapper or not as the compiler says, which test_resolve_go looks into.
    wrappers = {n for n in ours if n.endswith("-fm") and n not in both}
    note(f"{len(both)} functions in both, {len(files)} with another file, {len(lines)} with another start line")
    for n in (files + lines)[:8]:
        note(f"{n}: ours {ours[n].file}:{ours[n].start_line}, theirs {both[n].file}:{both[n].start_line}")
    check(len(files) == 0, "files differ")
    # Needed by `go build -pgo`, which counts lines from there.
    check(len(lines) == 0, "start lines differ")
    check(all(ours[n].system_name == f.system_name for n, f in both.items()), "names of the linker differ")
    check(not twins, f"functions told in two ways: {sorted(twins)[:5]}")
    check(not wrappers, f"wrappers, which Go hides: {sorted(wrappers)[:5]}")


main()
