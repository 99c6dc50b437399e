#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""`go tool pprof` opens every file in every view, without a word of complaint, and merges them."""
import urllib.request

from harness import *


def record(seconds=5):
    """A daemon's files of some kinds of programs, and the daemon ended."""
    need_tool("go")
    daemon = Daemon(cpu_config("2s", rate=199, background=19))
    server = Server("tsiot-server", rate=200)
    for name in ("c-inlined-fp", "c-stripped", "c-jit"):
        if os.path.exists(os.path.join(TARGETS, name)):
            Target(name, seconds)
    time.sleep(seconds)
    daemon.wait_files(2, "tsiot-server")
    files = daemon.files()
    server.stop()
    daemon.stop()
    return daemon, files


def pprof(*arguments):
    done = run("go", "tool", "pprof", *arguments, env={**os.environ, "PPROF_NO_BROWSER": "1"}, cwd="/")
    complaints = [line for line in done.stderr.splitlines() if line.strip() and
                  not line.startswith(("File:", "Type:", "Fetching", "Generating report", "Main binary filename"))]
    check(not complaints, f"go tool pprof {' '.join(map(str, arguments))} says {complaints[:5]}")
    check("unknown" not in done.stderr.lower() and "warning" not in done.stderr.lower(), done.stderr)
    return done.stdout


@test
def every_view_opens_every_file_without_a_warning():
    _, files = record()
    check(len({f.service for f in files}) >= 3, f"services: {sorted({f.service for f in files})}")
    for file in files:
        for view in ("-top", "-traces", "-raw", "-tags", "-tree"):
            check(pprof(view, file.path).strip(), f"{view} of {file.path} is empty")
        name = next((n for s in file.profile.samples for n in s.names if re.fullmatch(r"[\w.]+", n)), None)
        if name:
            check(name in pprof(f"-peek=^{re.escape(name)}$", file.path), f"-peek of {name}")
    note(f"{len(files)} files in 6 views")


@test
def names_in_the_views_are_ours():
    _, files = record()
    file = [f for f in files if f.service == "c-inlined-fp"][-1]
    top = pprof("-top", file.path)
    known = {n for s in file.profile.samples for n in s.names}
    shown = {line.split(None, 5)[5].removesuffix(" (inline)") for line in top.splitlines()
             if re.match(r"\s+[\d.]+\w*\s+[\d.]+%", line)}
    check(shown, f"no function in:\n{top}")
    check(shown <= known, f"names that are not ours: {sorted(shown - known)}")


@test
def source_is_listed_with_its_lines():
    _, files = record()
    file = [f for f in files if f.service == "c-inlined-fp"][-1]
    text = pprof("-list=^alpha$", file.path)
    check("spin_scrambling(n_rounds)" in text, f"the source of alpha is not there:\n{text[:1500]}")


@test
def a_base_of_the_same_service_can_be_taken_away():
    _, files = record()
    own = [f for f in files if f.service == "tsiot-server"]
    pprof("-top", f"-base={own[0].path}", own[-1].path)
    text = pprof("-top", f"-diff_base={own[0].path}", own[0].path)
    check("0 of" in text or "Showing nodes" in text, text)


@test
def a_day_of_files_is_merged_to_their_sum():
    daemon, files = record(7)
    own = [f for f in files if f.service == "tsiot-server"]
    check(len(own) >= 2, "only one file")
    out = os.path.join(daemon.directory, "merged.pb.gz")
    pprof("-proto", f"-output={out}", *[f.path for f in own])
    merged = Profile.load(out)
    check_equal(merged.n_samples, sum(f.profile.n_samples for f in own), "samples of all")
    check_equal(merged.cpu_nsec, sum(f.profile.cpu_nsec for f in own), "CPU time of all")


@test
def all_services_of_a_window_merge():
    daemon, files = record()
    out = os.path.join(daemon.directory, "merged.pb.gz")
    pprof("-proto", f"-output={out}", *[f.path for f in files])
    check_equal(Profile.load(out).n_samples, sum(f.profile.n_samples for f in files), "samples of all")


@test
def the_web_view_serves_the_flame_graph():
    _, files = record()
    file = [f for f in files if f.service == "tsiot-server"][-1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    process = subprocess.Popen(["go", "tool", "pprof", "-no_browser", f"-http={address}", file.path], cwd="/",
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    cleanup(lambda: (os.killpg(process.pid, signal.SIGKILL), process.wait()))

    def page():
        try:
            return urllib.request.urlopen(f"http://{address}/ui/flamegraph", timeout=20).read().decode()
        except OSError:
            return None
    text = wait_for(page, "the page of the flame graph")
    check("tsiot" in text or "main." in text, "no function of the server in the page")


main()
