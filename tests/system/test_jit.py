#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Code that no file has is named by /tmp/perf-PID.map, which Java is asked for; stubs of the PLT by what they call."""
from harness import *

ASKING = {"jit": {"java_perfmap": True}}
# As tsprofd.service has them, and what a drop-in adds.
SERVICE = "bpf,perfmon,sys_ptrace,dac_read_search,syslog,checkpoint_restore,sys_admin"
DROP_IN = SERVICE + ",setuid,setgid"
NOBODY = ["setpriv", "--reuid=65533", "--regid=65534", "--clear-groups"]


def start_java(*options, seconds=8, wrap=(), **more):
    """java-shares.jar, which has no flag that would help a profiler."""
    java, jar = need_tool("java"), target_path("java-shares.jar")
    command = [*wrap, java, *options, "-jar", jar, seconds]
    target = Target(shutil.which(command[0]), *command[1:], **more)
    cleanup(lambda: os.path.exists(f"/tmp/perf-{target.pid}.map") and os.unlink(f"/tmp/perf-{target.pid}.map"))
    return target


def truth_of_java(target):
    """It ended well, and printed its truth and no thread dump, which SIGQUIT alone would have made it print."""
    out, _ = target.process.communicate(timeout=120)
    check_equal(target.process.returncode, 0, "exit status of java")
    check_equal(len(out.splitlines()), 1, "lines of its output")
    return json.loads(out)


def java_samples(samples, truth):
    """Those in one of its three methods: "long Shares.alpha(long)" and the like."""
    return {name: total([s for s in samples if any(re.search(rf"\bShares\.{name}\(", n) for n in s.names)])
            for name in truth["cpu_ns"]}


def traces(pid):
    return [path for path in (f"/tmp/.attach_pid{pid}", f"/tmp/.java_pid{pid}", f"/tmp/perf-{pid}.map",
                              f"/proc/{pid}/cwd/.attach_pid{pid}") if os.path.exists(path)]


def said_of_java(daemon):
    return [line for line in daemon.log().splitlines() if "Java process" in line]


def check_java_is_named(samples, truth):
    counts = java_samples(samples, truth)
    n, whole = sum(counts.values()), sum(truth["cpu_ns"].values())
    note(f"{counts}, {n} of {total(samples)} are in one of the three")
    check_measured(n >= 0.8 * total(samples) > 300, f"{n} of {total(samples)} are named")
    for name, nsec in truth["cpu_ns"].items():
        # The first run of each is interpreted, which no map tells.
        check_measured(abs(counts[name] / n - nsec / whole) <= tolerance(nsec / whole, n) + 0.02, f"share of {name}")


@test
def jitted_code_has_the_names_of_its_map():
    daemon = Daemon(cpu_config("2s", rate=499))
    truth = Target("c-jit", 5, "keep-map").truth()
    cleanup(lambda: os.path.exists(f"/tmp/perf-{truth['pid']}.map") and os.unlink(f"/tmp/perf-{truth['pid']}.map"))
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    found, n = shares(samples, truth["cpu_ns"])
    whole = sum(truth["cpu_ns"].values())
    note(f"{found}, n = {n} of {total(samples)}")
    check_measured(n >= 0.9 * total(samples) > 500, f"{n} of {total(samples)} are named")
    for name, nsec in truth["cpu_ns"].items():
        check(abs(found[name] - nsec / whole) <= tolerance(nsec / whole, n), f"share of {name}")


@test
def jitted_code_of_a_process_that_is_gone_has_them_too():
    daemon = Daemon(cpu_config("5s", rate=499))
    truth = Target("c-jit", 2).truth()  # removes its map at its end
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    _, n = shares(samples, truth["cpu_ns"])
    note(f"{n} of {total(samples)} are named")
    check_measured(n >= 0.8 * total(samples) > 100, f"{n} of {total(samples)} are named")


@test
def a_node_program_has_the_names_of_its_functions():
    node = need_tool("node")
    script = target_path("node-shares.js") if os.path.exists(os.path.join(TARGETS, "node-shares.js")) else \
        os.path.join(TOP, "tests", "targets", "node", "shares.js")
    if not os.path.exists(script):
        raise Skip("tests/targets/node/shares.js is not there")
    daemon = Daemon(cpu_config("2s", rate=499))
    target = Target(node, "--perf-basic-prof", script, 6)
    truth = target.truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    named = [s for s in samples if any(re.search(rf"\b({'|'.join(truth['cpu_ns'])})\b", n) for n in s.names)]
    note(f"{total(named)} of {total(samples)} are in a function of the script")
    check_measured(total(named) >= 0.5 * total(samples) > 200, "JavaScript functions are not named")


@test
def a_node_program_has_them_by_its_jitdump_too():
    node = need_tool("node")
    script = os.path.join(TOP, "tests", "targets", "node", "shares.js")
    if not os.path.exists(script):
        raise Skip("tests/targets/node/shares.js is not there")
    daemon = Daemon(cpu_config("2s", rate=499))
    # Node.js 20 writes it to its working directory.
    target = Target(node, "--perf-prof", script, 6, cwd=tempdir())
    truth = target.truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    named = [s for s in samples if any(re.search(rf"^JS:.*\b({'|'.join(truth['cpu_ns'])})\b", n) for n in s.names)]
    note(f"{total(named)} of {total(samples)} are in a function of the script")
    check_measured(total(named) >= 0.5 * total(samples) > 200, "JavaScript functions are not named")


@test
def a_java_program_without_flags_has_the_names_of_its_methods():
    daemon = Daemon(cpu_config("2s", rate=199, **ASKING))
    target = start_java(stderr=subprocess.DEVNULL)
    wait_for(lambda: os.path.exists(f"/tmp/perf-{target.pid}.map"), "the map is there", every=0.01)
    wait_for(lambda: said_of_java(daemon), "the daemon tells")
    check_equal(traces(target.pid), [f"/tmp/.java_pid{target.pid}", f"/tmp/perf-{target.pid}.map"], "what is there then")
    check_equal(os.stat(f"/tmp/perf-{target.pid}.map").st_uid, 0, "the owner of the map")
    truth = truth_of_java(target)
    check_java_is_named(daemon.samples_of(truth["pid"], until_nsec=time.time_ns()), truth)
    daemon.send(signal.SIGHUP)
    metrics = wait_for(lambda: (m := daemon.metrics()).get('tsprofd_java_perf_maps_total{result="written"}') and m, "the metrics tell")
    n = metrics['tsprofd_java_perf_maps_total{result="written"}']
    note(f"{n:.0f} maps, {1e3 * metrics['tsprofd_java_perf_maps_seconds_total'] / n:.2f} ms each")
    check_between(n, 2, 5, "maps asked for in 8 s with windows of 2 s")
    check_equal(len(said_of_java(daemon)), 1, "lines about it in the journal")
    check_equal(traces(target.pid), [f"/tmp/perf-{target.pid}.map"], "what is left")


@test
def java_is_left_alone_unless_that_is_asked_for():
    daemon = Daemon(cpu_config("1s", rate=199))
    target = start_java(seconds=5)
    while target.process.poll() is None:
        check_equal(traces(target.pid), [], "what is there")
        time.sleep(0.02)
    truth = truth_of_java(target)
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    check(total([s for s in samples if "[jit]" in s.names]) > 300, "its samples are not there")
    check_equal(sum(java_samples(samples, truth).values()), 0, "samples with names of methods")
    check_equal(said_of_java(daemon), [], "what the journal says")


@test
def what_only_looks_like_java_never_gets_the_signal_that_would_end_it():
    directory = tempdir()
    # Any library, under that name.
    library = next(line.split()[-1] for line in open("/proc/self/maps") if "/libm.so" in line or "/libc.so" in line)
    shutil.copy(library, os.path.join(directory, "libjvm.so"))
    daemon = Daemon(cpu_config("1s", rate=199, **ASKING))
    target = Target("c-jit", 5, env={**os.environ, "LD_PRELOAD": os.path.join(directory, "libjvm.so")})
    wait_for(lambda: said_of_java(daemon), "the daemon tells")
    truth = target.truth()
    check_equal(truth["pid"], target.pid, "who ended well")
    check(re.search(rf"Java process {target.pid} .*does not catch SIGQUIT", said_of_java(daemon)[0]), f"the reason: {said_of_java(daemon)}")
    daemon.wait_window_after(time.time_ns())
    check_equal(len(said_of_java(daemon)), 1, "lines about it in the journal")
    check_equal([t for t in traces(target.pid) if "perf" not in t], [], "what is left")


@test
def java_that_does_not_want_to_be_asked_is_not():
    daemon = Daemon(cpu_config("1s", rate=199, **ASKING))
    target = start_java("-XX:+DisableAttachMechanism", seconds=5)
    wait_for(lambda: said_of_java(daemon), "the daemon tells")
    truth_of_java(target)
    check("DisableAttachMechanism" in said_of_java(daemon)[0], f"the reason: {said_of_java(daemon)}")
    check_equal(traces(target.pid), [], "what is left")


@test
def java_of_another_user_in_a_container_is_asked_too():
    need_tool("unshare")
    daemon = Daemon(cpu_config("2s", rate=199, **ASKING))
    outside = {path for path in os.listdir("/tmp") if "_pid" in path or path.startswith("perf-")}
    target = start_java(wrap=["unshare", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c",
                              f'mount -t tmpfs -o mode=1777 t /tmp && exec {" ".join(NOBODY)} "$@"', "sh"])
    truth = truth_of_java(target)
    daemon.wait_window_after(time.time_ns())
    check_equal(truth["pid"], 1, "its pid as it knows it")
    samples = [s for f in daemon.files(service="java") for s in f.profile.samples]
    check_java_is_named(samples, truth)
    check_equal({path for path in os.listdir("/tmp") if "_pid" in path or path.startswith("perf-")}, outside, "files outside")


def start_as_service(capabilities, **more):
    """The daemon as a user of its own with some capabilities."""
    need_tool("setpriv")
    directory = tempdir()
    listed = ",".join("+" + name for name in capabilities.split(","))
    os.chmod(directory, 0o777)
    daemon = Daemon(cpu_config("2s", rate=199, **ASKING), directory=directory, start=False,
                    wrap=["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", f"--inh-caps={listed}", f"--ambient-caps={listed}",
                          f"--bounding-set=-all,{listed}"])
    os.chmod(daemon.runtime, 0o777)
    os.umask(0)
    try:
        daemon.start()
    finally:
        os.umask(0o022)
    return daemon


@test_each(["nobody", "root"])
def a_service_with_the_drop_in_of_the_manual_may_ask_java_of(user):
    daemon = start_as_service(DROP_IN)
    truth = truth_of_java(start_java(wrap=NOBODY if user == "nobody" else []))
    check_java_is_named(daemon.samples_of(truth["pid"], until_nsec=time.time_ns()), truth)


@test
def a_service_without_it_says_what_it_lacks():
    daemon = start_as_service(SERVICE)
    target = start_java(seconds=5, wrap=NOBODY)
    wait_for(lambda: said_of_java(daemon), "the daemon tells")
    truth_of_java(target)
    check("CAP_SETUID, CAP_SETGID" in said_of_java(daemon)[0], f"the reason: {said_of_java(daemon)}")
    check_equal(traces(target.pid), [], "what is left")


@test
def one_window_without_a_daemon_asks_too_if_its_configuration_says_so():
    directory = tempdir()
    config, output = os.path.join(directory, "on.yaml"), os.path.join(directory, "p.pprof")
    with open(config, "w") as f:
        f.write(yaml({"profiling": ASKING}) + "\n")
    target = start_java(seconds=6)
    time.sleep(1.5)
    run(find_binary(), "--once", "--config", config, "--pid", target.pid, "--duration", "3s", "--rate", "199", "--output", output)
    check_java_is_named(Profile.load(output).samples, truth_of_java(target))


@test_each(["c-plt", "c-plt-now", "c-plt-ibt"])
def a_stub_is_named_by_what_it_calls(name):
    daemon = Daemon(cpu_config("2s", rate=1999))
    truth = Target(name, 5).truth()
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    stubs = {}
    for s in samples:
        for n in s.names[:1]:
            if n.endswith("@plt"):
                stubs[n] = stubs.get(n, 0) + s.count
    note(f"{stubs} of {total(samples)} samples")
    check({"plt_add@plt", "plt_xor@plt"} <= set(stubs), f"stubs that were met: {stubs}")


main()
