#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Code that no file has is named by /tmp/perf-PID.map; stubs of the PLT by what they call."""
from harness import *


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
