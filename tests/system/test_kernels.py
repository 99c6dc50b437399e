#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The service on other kernels, booted with systemd, perf_event_paranoid as Debian has it (3), and where it cannot work the reason."""
import base64

from harness import *

KERNELVM = os.path.join(MACHINES, "kernelvm")

# Runs in the machine, as root, from a unit of a booted systemd. Prints what is judged outside.
SCRIPT = r"""
set -u
exec 2>&1
tar -C /payload/install -cf - . | tar -C / -xf - --keep-directory-symlink --no-same-owner && systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload
mkdir -p /etc/tsiot/profiling.yaml.d
printf 'profiling:\n  cpu: {duration: 3s, interval: 5s, rate: 99, background_rate: 19}\n  budget: {cpu: 50%%}\n' > /etc/tsiot/profiling.yaml.d/50-test.yaml
echo "PARANOID $(cat /proc/sys/kernel/perf_event_paranoid)"
systemd-run --quiet --unit=worker --uid=nobody -p PrivateTmp=yes /payload/c-shares-fp 3600
systemd-run --quiet --unit=deep /payload/cpp-deep-nofp 3600
systemctl enable --now tsprofd; echo "ENABLE $?"
# Of a window at the full rate: one at the background rate may hold ten samples, and not each function.
profiles() { ls /var/log/tsiot/profiles/*/$1/cpu-*Z.pprof 2>/dev/null; }
# The first windows of a program begin before its unwind tables are made, which takes a while on an emulated machine.
lacks_tables() { zcat "$(profiles deep | tail -1)" | grep -qF '[broken: no unwind table yet]'; }
for i in $(seq 120); do
	[ "$(profiles deep | wc -l)" -ge 5 ] && [ -n "$(profiles worker)" ] && ! lacks_tables && break
	[ "$(systemctl is-active tsprofd)" = failed ] && break
	sleep 1
done
echo "ACTIVE $(systemctl is-active tsprofd) STATUS $(systemctl show -p ExecMainStatus --value tsprofd) RESTARTS $(systemctl show -p NRestarts --value tsprofd)"
echo "MEMORY $(systemctl show -p MemoryCurrent --value tsprofd)"
for f in /var/log/tsiot/profiles/*/*/*.pprof; do [ -e "$f" ] && echo "FILE $f $(stat -c '%U %G %a' $f)"; done
for service in worker deep; do
	f=$(profiles $service | tail -1)
	[ -z "$f" ] || { echo "BASE64 $service"; base64 -w 76 "$f"; echo END; }
done
for p in $(pgrep tsprofd); do echo "PROCESS $(tr '\0' ' ' < /proc/$p/cmdline)$(grep -E 'CapEff|CapPrm|Seccomp:|NoNewPrivs' /proc/$p/status | tr '\t\n' '  ')"; done
# What waits all the time, for what is known.
/payload/c-waits-life-nofp wait 600 &
waiter=$!
tsprofd --once --kind block,mutex,wall --pid $waiter --duration 3s --output /tmp/once/ > /tmp/once.log; echo "ONCE $?"
for kind in block mutex wall; do
	f=$(ls /tmp/once/*/*/$kind-*.pprof 2>/dev/null | tail -1)
	[ -z "$f" ] || { echo "BASE64 once-$kind"; base64 -w 76 "$f"; echo END; }
done
kill $waiter
tsprofd --check-host
echo "CHECKHOST $?"
journalctl -u tsprofd --no-pager -o cat | grep -v '^Wrote' | tail -n 30 | sed 's/^/JOURNAL /'
"""


def boot(kernel):
    for tool in ("qemu-system-x86_64", "debootstrap", "mke2fs", "busybox"):
        need_tool(tool)
    done = run(KERNELVM, "prepare", kernel, timeout=1200, check_status=False)
    if done.returncode:
        raise Skip(f"kernel {kernel} cannot be had here: {done.stderr.strip()[-200:]}")
    tree = tempdir()
    build = os.path.dirname(os.path.dirname(find_binary()))
    run("meson", "install", "--no-rebuild", "--quiet", "--destdir", f"{tree}/install", "-C", build)
    open(f"{tree}/script", "w").write(SCRIPT)
    # An emulated machine now and then does not boot; that says nothing of what is tested.
    for _ in range(3):
        done = run(KERNELVM, "run", "-s", "-t", "240", "-a", f"{tree}/install", "-a", target_path("c-shares-fp"),
                   "-a", target_path("cpp-deep-nofp"), "-a", target_path("c-waits-life-nofp"), "-a", f"{tree}/script", kernel, "bash /payload/script", timeout=300, check_status=False)
        if done.returncode != 125:
            break
        note(f"kernel {kernel} did not come up: {done.stdout[-300:]!r}")
    else:
        raise Failed(f"kernel {kernel} did not come up:\n{done.stdout[-2000:]}")
    text = done.stdout
    for line in text.splitlines():
        if line.startswith(("PARANOID", "ENABLE", "ACTIVE", "MEMORY", "PROCESS", "CHECKHOST", "JOURNAL")):
            note(line[:200])
    return text


def profile_in(text, service):
    encoded = re.search(rf"BASE64 {service}\n(.*?)\nEND", text, re.S)
    check(encoded, f"no profile of {service}:\n{text[-3000:]}")
    return Profile(base64.b64decode(encoded[1]))


def check_waits(text):
    """Of a program whose threads wait from before the window until after it: for an alarm, a pipe, a mutex."""
    block, mutex, wall = (profile_in(text, f"once-{kind}") for kind in ("block", "mutex", "wall"))
    note("\n".join(c for c in block.comments if "in this window" in c))
    for profile in block, wall:
        threads = {}
        for s in profile.samples:
            reasons = threads.setdefault(s.labels["thread"] if s.labels["tid"] != s.labels["pid"] else "main", {})
            reasons[s.labels["reason"]] = reasons.get(s.labels["reason"], 0) + s.values[1]
        check_equal(set(threads), {"main", "sleeps", "naps", "reads", "locks"}, "threads")
        for name, reasons in threads.items():
            share = sum(reasons.values()) / profile.duration_nsec
            note(f"{name}: {100 * share:.2f} % of the window: {max(reasons, key=reasons.get)}")
            check_equal(max(reasons, key=reasons.get), {"locks": "lock", "reads": "pipe"}.get(name, "sleep"), f"why {name} waits")
            check_measured(abs(share - 1) < 0.02, f"{name} waited {100 * share:.2f} % of the window")
    check_equal({(s.labels["thread"], s.labels["reason"]) for s in mutex.samples}, {("locks", "lock")}, "locks")


@test_each(["6.1", "6.12", "new"])
def the_service_works_on_kernel(version):
    text = boot(version)
    check("PARANOID 3" in text, "this kernel's default is not what it is about")
    check("ENABLE 0" in text, f"systemctl enable --now failed:\n{text[-3000:]}")
    check("ACTIVE active STATUS 0 RESTARTS 0" in text, "it is not running")
    check(re.search(r"FILE \S+/worker/cpu-\S+\.pprof tsprofd tsprof 640", text), f"no profile of another user's process:\n{text[-3000:]}")
    profile = profile_in(text, "worker")
    names = {n for s in profile.samples for n in s.names}
    note(f"{profile.n_samples} samples; {', '.join(sorted(names)[:12])}")
    check({"alpha", "beta", "gamma"} <= names, "its functions are not named")
    # Without frame pointers, 64 calls deep, through the C library's start: by unwind tables.
    deep = profile_in(text, "deep")
    whole = sum(s.count for s in deep.samples if s.names[-1] == "_start" and len(s.names) >= 64)
    note(f"{whole} of {deep.n_samples} stacks of a C++ program without frame pointers are complete")
    check_measured(deep.n_samples >= 20 and whole >= 0.99 * deep.n_samples, "its stacks are not complete")
    main_process = re.search(r"PROCESS (?!tsprofd-symbolizer)\S*tsprofd .*?CapPrm: (\w+) CapEff: (\w+)", text)
    check(main_process, "the process is not there")
    check(not int(main_process[2], 16) >> 21 & 1, "CAP_SYS_ADMIN is in effect")
    check(int(main_process[1], 16) >> 21 & 1, "CAP_SYS_ADMIN is not permitted any more: CPUs that come later have no events")
    check("CHECKHOST 0" in text, "--check-host finds something missing")
    check_waits(text)


@test
def kernel_5_10_is_refused_with_the_reason():
    text = boot("5.10")
    found = re.search(r"ACTIVE (\w+) STATUS (\d+) RESTARTS (\d+)", text)
    check(found, text[-2000:])
    if found[1] == "active" and "FILE" in text:
        note("it works on 5.10, which is more than was promised")
        return
    check(found[1] in ("failed", "inactive"), f"state {found[1]}")
    check(found[2] in ("69", "71", "77"), f"exit status {found[2]}")
    check_equal(found[3], "0", "restarts: trying again does not mend it")
    journal = "\n".join(re.findall(r"JOURNAL (.*)", text))
    check(re.search(r"5\.1[0-9]|kernel", journal), f"the reason is not in the journal:\n{journal}")


main()
