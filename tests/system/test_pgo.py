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
    daemon = Daemon(cpu_config("20s", rate=199))
    with urllib.request.urlopen(url + "/debug/pprof/profile?seconds=20", timeout=60) as answer:
        theirs = os.path.join(daemon.directory, "theirs.pprof")
        open(theirs, "wb").write(answer.read())
    daemon.wait_files(2, "tsiot-server-pprof", timeout=60)
    ours = os.path.join(daemon.directory, "ours.pprof")
    files = [f for f in daemon.files("tsiot-server-pprof")]
    run("go", "tool", "pprof", "-proto", f"-output={ours}", *[f.path for f in files], cwd="/")
    server.stop()
    daemon.stop()
    mine, hot = inlining(ours, daemon.directory)
    reference, hot_reference = inlining(theirs, daemon.directory)
    without, _ = inlining("off", daemon.directory)
    note(f"inlined calls: {len(without)} without a profile, {len(mine)} with ours, {len(reference)} with theirs; "
         f"hot: {len(hot)} ours, {len(hot_reference)} theirs")
    check(mine, "nothing was said of inlining")
    check(mine - without, "our profile changed nothing")
    differ = (mine ^ reference)
    for line in sorted(differ)[:8]:
        note(("ours only: " if line in mine else "theirs only: ") + line)
    # Both are samples: a call site at the edge of "hot" is on one side in one of them. Of those that a profile decides.
    decided = (mine | reference) - without
    check(len(differ) <= max(2, 0.15 * len(decided)), f"{len(differ)} of {len(decided)} decisions differ")


main()
