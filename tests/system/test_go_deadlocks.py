#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Goroutines that nobody will wake any more are told, by the daemon and by --once; those that only look so are not."""
from harness import *

WAYS = ["go-stuck", "go-stuck-stripped", "go-stuck-pie"]
DEADLOCK = r"goroutine deadlock (?:in (\S+) )?\(process (\d+)\): (\d+) goroutines (.*?); confidence (\d+) %"
MEMBER = r"goroutine (\d+) waits in (.+?) for 0x([0-9a-f]+) at (\S+)(?: \(\S+\))?, created by (\S+) "
LOCKS, UNREACHABLE = "wait for each other's locks, nobody else reaches the locks", "wait for what no goroutine that goes on can reach"


def start(name, *arguments):
    target = Target(name, *arguments)
    check(target.process.stdout.readline().startswith("ready"), "the target did not begin")
    return target


def once(pid, duration="5s"):
    """(its output, comments of the file)."""
    directory = tempdir()
    done = run(find_binary(), "--once", "--kind", "goroutine", "--pid", pid, "--duration", duration, "--output", directory + "/")
    files = files_below(directory, kind="goroutine")
    check_equal(len(files), 1, "files")
    return done.stdout, "\n".join(files[0].profile.comments)


def found(text):
    """[(goroutines, what, confidence)], [(what one waits in, where, who made it)]."""
    return ([(int(n), what, int(confidence)) for _, _, n, what, confidence in re.findall(DEADLOCK, text)],
            [(reason, top, creator) for _, reason, _, top, creator in re.findall(MEMBER, text)])


def check_locks(text, pairs):
    deadlocks, members = found(text)
    check_equal([(n, what) for n, what, _ in deadlocks], [(2, LOCKS)] * pairs, "deadlocks")
    check(all(confidence >= 96 for _, _, confidence in deadlocks), f"how sure they are: {deadlocks}")
    check_equal(members, [("sync.Mutex.Lock", "main.crosswise", "main.crosswisePair")] * 2 * pairs, "their goroutines")


def check_channels(text, pairs):
    deadlocks, members = found(text)
    check_equal(sum(n for n, _, _ in deadlocks), 2 * pairs, f"goroutines in {deadlocks}")
    check(all(what == UNREACHABLE and 84 <= confidence <= 90 for _, what, confidence in deadlocks), f"told: {deadlocks}")
    check_equal(members, [("chan receive", "main.waitsForOther", "main.channelPair")] * 2 * pairs, "their goroutines")


@test_each(WAYS)
def once_tells_locks_taken_crosswise_with_their_goroutines(name):
    target = start(name, "locks", 3, 120)
    out, comments = once(target.pid)
    check_locks(out, 3)
    check_locks(comments, 3)
    check(re.search(r"goroutine deadlocks: 3, of 6 goroutines; searches for who could wake them until now: [1-9]", comments), "how they were looked for")


@test_each(WAYS)
def once_tells_channels_that_wait_for_each_other(name):
    target = start(name, "channels", 5, 120)
    out, comments = once(target.pid)
    check_channels(out, 5)
    check_channels(comments, 5)


@test_each([(name, mode) for name in WAYS for mode in ("pool", "idle")])
def once_does_not_tell_pools_and_idle_servers(what):
    name, mode = what
    target = start(name, mode, 50, 120)
    out, comments = once(target.pid)
    check("goroutine deadlock in" not in out, out)
    check(re.search(r"goroutine deadlocks: 0, of 0 goroutines", comments), "they were looked for")
    # A pool's workers move, an idle server's do not: it is by searching that it is not told.
    if mode == "idle":
        check(re.search(r"could wake them until now: [1-9]", comments), "who could wake them was searched for")


def daemon_config(targets, **more):
    list_of = ", ".join(f'{{service: {service}, match: {{pid: "{pid}"}}}}' for service, pid in targets.items())
    return cpu_config("1s", targets=f"[{list_of}]", host={"enabled": False}, block={"enabled": False}, mutex={"enabled": False},
                      wall={"enabled": False}, memory={"enabled": False},
                      goroutine={"enabled": True, "snapshot_interval": "1s", "deadlock_after": "2s"}, **more)


@test
def the_daemon_tells_each_once_and_again_when_it_is_gone():
    targets = {"locks": start("go-stuck", "locks", 2, 300), "channels": start("go-stuck-stripped", "channels", 3, 300),
               "pool": start("go-stuck", "pool", 20, 300), "idle": start("go-stuck-pie", "idle", 20, 300)}
    daemon = Daemon(daemon_config({service: target.pid for service, target in targets.items()}))
    daemon.wait_log(r"goroutine deadlock in locks", 240)
    daemon.wait_log(r"goroutine deadlock in channels", 240)
    # The others are searched, too, and not at each look.
    time.sleep(8)
    log = daemon.log()
    check_locks("\n".join(line for line in log.splitlines() if "waits in chan" not in line and "deadlock in channels" not in line), 2)
    check_equal({service for service, *_ in re.findall(DEADLOCK, log)}, {"locks", "channels"}, "services told")
    check_equal(len(re.findall("goroutine deadlock in locks", log)), 2, "times it was told")
    check_channels("\n".join(daemon.files("channels", kind="goroutine")[-1].profile.comments), 3)
    comments = "\n".join(daemon.files("idle", kind="goroutine")[-1].profile.comments)
    check(re.search(r"goroutine deadlocks: 0, .* until now: [1-9]", comments), comments)
    metrics = daemon.fresh_metrics()
    for service, expected in (("locks", 2), ("channels", len(re.findall("goroutine deadlock in channels", log))), ("pool", 0), ("idle", 0)):
        check_equal(metrics.get(f'tsprofd_goroutine_deadlocks{{service="{service}"}}'), expected, f"tsprofd_goroutine_deadlocks of {service}")
    check("is gone" not in log, "none is gone")
    targets["locks"].kill()
    daemon.wait_log(r"The goroutine deadlock in locks \(process \d+\) is gone", 15)


@test
def a_search_takes_a_hundredth_of_the_time():
    target = start("go-stuck", "idle", 1000, 300)
    daemon = Daemon(daemon_config({"idle": target.pid}))

    def searched():
        files = daemon.files("idle", kind="goroutine")
        n, msec = re.search(r"until now: (\d+), in ([0-9.]+) ms", "\n".join(files[-1].profile.comments)).groups() if files else (0, 0)
        return int(n), float(msec)

    wait_for(lambda: searched()[0], "it is searched", 240)
    n, msec = searched()
    note(f"{n} searches took {msec} ms")
    check_between(n, 3, 5, "searches of one look")
    # As long as a hundred of them there are no more, though there is a snapshot each second.
    time.sleep(min(10, msec / 10 / 2))
    check_equal(searched(), (n, msec), "searches until half of that time")
    if msec < 300:
        wait_for(lambda: searched()[0] > n, "it is searched again", 60)


@test
def the_ring_of_the_sample_server_is_told_under_load():
    server = Server("tsiot-server", "-deadlock", "4")
    daemon = Daemon(daemon_config({"tsiot": server.pid}))
    # Any word that looks like a pointer is one: a stale one hides the ring from a search, not from all that follow.
    daemon.wait_log(r"goroutine deadlock in tsiot", 240)
    time.sleep(0.5)
    deadlocks, members = found(daemon.log())
    # Locks side by side in a slice: who has which is not told by addresses, but that nobody else reaches them.
    check_equal([n for n, _, _ in deadlocks], [4], f"goroutines in {deadlocks}")
    check(deadlocks[0][1] in (LOCKS, UNREACHABLE), deadlocks[0][1])
    check_equal([top for _, top, _ in members], ["main.deadlockedGoroutine"] * 4, "where they wait")


main()
