#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""`go build -pgo` takes our profile as it takes that of net/http/pprof, and decides the same."""
import urllib.request

from harness import *

SOURCE = os.path.join(TOP, "tests", "targets", "tsiot")


def inlining(profile, directory):
    """What the compiler says that it inlines for the profile's sake."""
    done = run("go", "build", f"-pgo={profile}", "-gcflags=-m=2 -d=pgodebug=1", "-o", os.path.join(directory, "server"), ".", cwd=SOURCE,
               env={**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOCACHE": os.path.join(directory, "cache")},
               timeout=400)
    check("error" not in done.stderr.lower().replace("error)", "").split("pgo")[0][:200], done.stderr[:500])
    hot = set(re.findall(r"(?:hot-budget check allows inlining|hot-callsite identified)[^\n]*", done.stderr))
    inlined = {line for line in done.stderr.splitlines() if ": inlining call to " in line}
    return inlined, hot


@test
def go_build_takes_it_and_inlines_as_with_net_http_pprof():
    need_tool("go")
    version = re.search(r"go1\.(\d+)", run("go", "env", "GOVERSION", cwd="/").stdout)
    if int(version[1]) < 21:
        raise Skip("profile-guided optimization came with Go 1.21")
    server, url = pprof_server()
    daemon = Daemon(cpu_config("5s", rate=100))
    theirs = []
    for i in range(2):
        with urllib.request.urlopen(url + "/debug/pprof/profile?seconds=20", timeout=60) as answer:
            theirs.append(os.path.join(daemon.directory, f"theirs{i}.pprof"))
            open(theirs[-1], "wb").write(answer.read())
        if not i:
            first_end = time.time_ns()
    daemon.wait_window_after(time.time_ns())
    # As long as theirs: how many call sites are found to be hot depends on how many samples there are.
    files = [f for f in daemon.files("tsiot-server-pprof") if f.profile.time_nsec < first_end][-4:]
    ours = os.path.join(daemon.directory, "ours.pprof")
    run("go", "tool", "pprof", "-proto", f"-output={ours}", *[f.path for f in files], cwd="/")
    server.stop()
    daemon.stop()
    mine, _ = inlining(ours, daemon.directory)
    reference, again = (inlining(t, daemon.directory)[0] for t in theirs)
    without, _ = inlining("off", daemon.directory)
    note(f"inlined calls: {len(without)} without a profile, {len(mine)} with ours, {len(reference)} and {len(again)} with theirs")
    check(mine - without, "our profile changed nothing")
    # All are samples: a call site at the edge of "hot" is on one side in one profile and on the other in the next. What two
    # profiles of theirs of the same server differ by is what chance does.
    chance, differ = reference ^ again, mine ^ reference
    note(f"{len(differ)} decisions differ between ours and theirs, {len(chance)} between two of theirs")
    for line in sorted(differ - chance)[:10]:
        note(("ours only: " if line in mine else "theirs only: ") + line)
    check(len(differ) <= 1.5 * len(chance) + 10, "they differ by more than chance does")


main()
