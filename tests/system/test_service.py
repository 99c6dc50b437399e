#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The service as a user has it: a Debian 12 with systemd, `systemctl enable --now tsprofd`, another user's process."""
from harness import *

BOOTED = os.path.join(MACHINES, "booted")
NAME = f"tsprofd-{os.getpid()}"


class Machine:
    def __init__(self):
        for tool in ("systemd-nspawn", "debootstrap", "nsenter"):
            need_tool(tool)
        done = run(BOOTED, "prepare", timeout=900, check_status=False)
        if done.returncode:
            raise Skip(f"no Debian root folder can be made here: {done.stderr.strip()[-200:]}")
        self.tree = tempdir()
        build = os.path.dirname(os.path.dirname(find_binary()))
        run("meson", "install", "--no-rebuild", "--quiet", "--destdir", f"{self.tree}/install", "-C", build)
        cleanup(run, BOOTED, "down", NAME)
        run(BOOTED, "up", NAME, f"{self.tree}/install", target_path("c-shares-fp"), timeout=120)
        # As a package does it.
        self.run("tar -C /payload/install -cf - . | tar -C / -xf - --keep-directory-symlink --no-same-owner && systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload")
        self.edit("duration: 1s, interval: 2s, rate: 99, background_rate: 19")

    def run(self, command, check_status=True, timeout=60):
        return run(BOOTED, "run", NAME, "sh", "-c", command, check_status=check_status, timeout=timeout)

    def edit(self, cpu, more=""):
        """A drop-in, as an administrator would."""
        self.run("mkdir -p /etc/tsiot/profiling.yaml.d && cat > /etc/tsiot/profiling.yaml.d/50-test.yaml <<'E'\n"
                 f"profiling:\n  cpu: {{{cpu}}}\n{more}E\n")

    def files(self, pattern="*/*/cpu-*.pprof"):
        return self.run(f"ls -1 /var/log/tsiot/profiles/{pattern} 2>/dev/null", check_status=False).stdout.split()

    def fetch(self, path):
        inside = os.path.join(CACHE, "booted", NAME, "root") + path
        return Profile.load(inside)

    def journal(self):
        return self.run("journalctl -u tsprofd --no-pager -o cat", check_status=False).stdout

    def show(self, what):
        return self.run(f"systemctl show -p {what} --value tsprofd").stdout.strip()


def started():
    machine = Machine()
    machine.run("systemd-run --unit=worker --uid=nobody -p PrivateTmp=yes /payload/c-shares-fp 3600")
    done = machine.run("systemctl enable --now tsprofd", check_status=False)
    if done.returncode:
        raise Failed(f"systemctl enable --now: {done.stderr}\n{machine.journal()[-3000:]}")
    return machine


def wait_profile(machine, pattern="*/worker/cpu-*.pprof", n=1, timeout=40):
    try:
        return wait_for(lambda: len(f := machine.files(pattern)) >= n and f, f"{n} files {pattern}", timeout, every=0.3)
    except Failed as why:
        raise Failed(f"{why}\nfiles: {machine.files()[:10]}\n{machine.journal()[-3000:]}")


@test
def profiles_of_another_users_process_appear_after_enable_now():
    machine = started()
    path = wait_profile(machine, n=2)[-1]
    check_equal(machine.run("systemctl is-enabled tsprofd").stdout.strip(), "enabled", "is-enabled")
    profile = machine.fetch(path)
    names = {n for s in profile.samples for n in s.names}
    check({"alpha", "beta", "gamma"} <= names, f"its functions are not named: {sorted(names)[:20]}")
    check_equal({s.labels.get("unit") for s in profile.samples}, {"worker.service"}, "label unit")
    owner = machine.run(f"stat -c '%U %G %a' {path}").stdout.strip()
    check_equal(owner, "tsprofd tsprof 640", "owner, group and mode of a file")
    check_equal(machine.run(f"stat -c '%U %G %a' $(dirname {path})").stdout.strip().replace("2750", "750"), "tsprofd tsprof 750", "of its folder")
    # Not every window has one.
    kernel = wait_for(lambda: [n for f in machine.files() for s in machine.fetch(f).samples for loc in s.locations
                               if loc.mapping and "kernel" in loc.mapping.file for n in loc.names], "kernel frames", 40, every=1)
    check(any(not re.search(r"0x", n) for n in kernel), f"kernel frames are not named: {kernel[:5]}")


@test
def a_reader_of_the_group_can_open_them_and_nobody_else():
    machine = started()
    path = wait_profile(machine)[-1]
    machine.run("useradd reader; useradd stranger; usermod -aG tsprof reader")
    machine.run(f"setpriv --reuid reader --regid reader --init-groups cat {path} >/dev/null")
    check(machine.run(f"setpriv --reuid stranger --regid stranger --init-groups cat {path}", check_status=False).returncode != 0,
          "a stranger can read it")


@test
def the_service_says_how_it_is():
    machine = started()
    wait_profile(machine)
    check_equal(machine.show("ActiveState"), "active", "state")
    note(f"status: {machine.show('StatusText')}")
    check(machine.show("StatusText"), "no STATUS=")
    metrics = machine.run("for i in $(seq 40); do [ -e /run/tsprofd/metrics.prom ] && break; sleep 0.5; done; cat /run/tsprofd/metrics.prom").stdout
    check("tsprofd_build_info" in metrics, "no metrics")
    check("tsprofd" in machine.journal(), "nothing in the journal")
    user = machine.run("ps -o user= -p $(systemctl show -p MainPID --value tsprofd)").stdout.strip()
    check_equal(user, "tsprofd", "user of the process")


@test
def a_reload_takes_effect_and_a_bad_one_is_refused_aloud():
    machine = started()
    wait_profile(machine)
    machine.edit("duration: 1s, interval: 1s, rate: 49")
    machine.run("systemctl reload tsprofd")
    wait_for(lambda: any(round(1e9 / machine.fetch(f).period) == 49 for f in machine.files("*/worker/cpu-*.pprof")[-3:]),
             "a window with the new rate", every=0.5)
    machine.edit("duration: 1s, interval: 1s, raet: 49")
    done = machine.run("systemctl reload tsprofd", check_status=False)
    check(done.returncode != 0, "systemctl reload says nothing of the bad file")
    check(re.search(r"50-test\.yaml:2:\d+: .*rate", machine.journal()), f"the journal does not name the mistake:\n{machine.journal()[-1500:]}")
    check_equal(machine.show("ActiveState"), "active", "state after the bad reload")
    n = len(machine.files())
    wait_for(lambda: len(machine.files()) > n, "files after the bad reload", every=0.5)


@test
def a_hung_daemon_is_replaced_by_the_watchdog():
    machine = Machine()
    machine.run("mkdir -p /etc/systemd/system/tsprofd.service.d && printf '[Service]\\nWatchdogSec=3\\n' > "
                "/etc/systemd/system/tsprofd.service.d/test.conf && systemctl daemon-reload")
    machine.run("systemd-run --unit=worker --uid=nobody /payload/c-shares-fp 3600")
    machine.run("systemctl enable --now tsprofd")
    wait_profile(machine)
    # Long enough for many watchdog periods: the loop feeds it.
    time.sleep(5)
    check_equal(machine.show("NRestarts"), "0", "restarts before")
    first = machine.show("MainPID")
    machine.run(f"kill -STOP {first}")
    wait_for(lambda: machine.show("NRestarts") == "1" and machine.show("ActiveState") == "active", "it is started again", 40, every=0.5)
    check(machine.show("MainPID") != first, "it is the same process")
    n = len(machine.files("*/worker/cpu-*.pprof"))
    wait_profile(machine, n=n + 1)


@test
def a_bad_configuration_is_78_and_not_tried_again():
    machine = Machine()
    machine.edit("raet: 49")
    check(machine.run("systemctl start tsprofd", check_status=False).returncode != 0, "it started")
    check_equal(machine.show("ExecMainStatus"), "78", "exit status")
    time.sleep(2.5)
    check_equal(machine.show("NRestarts"), "0", "restarts")


@test
def a_stop_leaves_no_process_and_a_disk_with_the_last_window():
    machine = started()
    wait_profile(machine)
    machine.run("systemctl stop tsprofd")
    check_equal(machine.show("Result"), "success", "result")
    check(machine.run("pgrep tsprofd", check_status=False).returncode != 0, "a process is left")


main()
