#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What a wait was about: the labels file, peer and lock of block, mutex and wall profiles."""
from harness import *

# Of which waits a label is.
REASONS = {"file": {"disk", "fault"}, "peer": {"network"}, "lock": {"lock"}}
LEAST = 0.95

# Reads blocks of files at random, around the page cache: `python3 -c READER FILE...`; a line "OLD NEW" renames.
READER = """
import mmap, os, random, select, sys
buffer = mmap.mmap(-1, 4096)
files = [os.open(path, os.O_RDONLY | os.O_DIRECT) for path in sys.argv[1:]]
print("ready", flush=True)
while True:
    for fd in files:
        os.preadv(fd, [buffer], random.randrange(256) * 4096)
    if select.select([0], [], [], 0)[0]:
        os.rename(*sys.stdin.readline().split())
        print("renamed", flush=True)
"""


def disk_folder():
    """/tmp may be memory."""
    path = tempfile.mkdtemp(prefix="tsprofd-objects-", dir="/var/tmp")
    cleanup(shutil.rmtree, path, True)
    return path


def reader(*paths):
    for path in paths:
        with open(path, "wb") as f:
            f.write(os.urandom(1 << 20))
            os.fsync(f.fileno())
    process = subprocess.Popen([sys.executable, "-c", READER, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    cleanup(process.wait)
    cleanup(process.kill)
    check_equal(process.stdout.readline(), "ready\n", "the reader's first line")
    return process


def once(pid, *kinds, seconds=3):
    directory = tempdir()
    run(find_binary(), "--once", "--kind", ",".join(kinds), "--pid", pid, "--duration", f"{seconds}s", "--output", directory)
    return {f.kind: f.profile for f in files_below(directory, kind=None)}


def values_of(profile, label, tid=None):
    """value -> ns of the waits that have, or lack (None), the label."""
    found = {}
    for s in profile.samples:
        if s.labels["reason"] in REASONS[label] and tid in (None, s.labels["tid"]):
            value = s.labels.get(label)
            found[value] = found.get(value, 0) + s.values[1]
    return found


def expected(thread, program):
    """A stripped file has no names but those that it exports, and those that were copied to it."""
    nameless = {"hidden"} | ({"bss", "data"} if program == "c-objects-stripped" else set())
    return thread["address"] if thread["name"] in nameless else thread["value"]


@test_each(["c-objects-pie", "c-objects-nopie", "c-objects-stripped"])
def waits_say_what_they_are_about(program):
    target = Target(program, 8)
    # It writes its files first.
    wait_for(lambda: len(os.listdir(f"/proc/{target.pid}/task")) > 14, "its threads", 30)
    time.sleep(0.5)
    profiles = once(target.pid, "block", "mutex", "wall")
    threads = target.truth()["threads"]
    check(len(threads) >= 14, "threads are missing")
    for thread in threads:
        found = values_of(profiles["block"], thread["label"], thread["tid"])
        right, total_nsec = found.get(expected(thread, program), 0), sum(found.values())
        note(f"{thread['name']:9} {100 * right / max(total_nsec, 1):6.2f} % of {total_nsec / 1e6:8.2f} ms: "
             f"{thread['label']}={expected(thread, program)}")
        check(total_nsec, f"{thread['name']} has not waited")
        check(right >= LEAST * total_nsec, f"{thread['name']}: {found}")
        wrong = {value: nsec for value, nsec in found.items() if value is not None and value != expected(thread, program)}
        check(thread["label"] == "file" or not wrong, f"{thread['name']} is said to have waited for {wrong}")
        if thread["label"] == "lock":
            check_equal(values_of(profiles["mutex"], "lock", thread["tid"]), found, "the same locks in mutex")
        check_equal(values_of(profiles["wall"], thread["label"], thread["tid"]), found, "the same in wall")
    for s in profiles["wall"].samples:
        if s.labels["reason"] in ("ran", "runqueue", "sleep"):
            check(not set(s.labels) & set(REASONS), f"{s.labels} has nothing to be about")


@test
def rows_that_differ_in_what_they_are_about_stay_apart():
    folder = disk_folder()
    paths = [f"{folder}/{name}" for name in ("one", "two")]
    found = values_of(once(reader(*paths).pid, "block", seconds=2)["block"], "file")
    note(", ".join(f"{value}: {nsec / 1e6:.2f} ms" for value, nsec in found.items()))
    for path in paths:
        check(found.get(path, 0) >= 0.3 * sum(found.values()), f"{path} has too little of {found}")


@test
def a_service_has_no_more_than_64_values_of_a_label():
    folder = disk_folder()
    paths = [f"{folder}/{i}" for i in range(90)]
    found = values_of(once(reader(*paths).pid, "block")["block"], "file")
    named = {value: nsec for value, nsec in found.items() if value in paths}
    note(f"{len(named)} files, other {100 * found.get('other', 0) / sum(found.values()):.2f} %")
    check_equal(len(named), 64, "files with a name")
    check_between(found.get("other", 0) / sum(found.values()), 0.05, 0.29, "share of the 26 that have had the shortest waits")
    check(found.get(None, 0) <= (1 - LEAST) * sum(found.values()), f"without a label: {found.get(None)}")


@test
def a_deleted_file_says_so():
    folder = disk_folder()
    process = reader(f"{folder}/gone")
    os.unlink(f"{folder}/gone")
    found = values_of(once(process.pid, "block", seconds=1)["block"], "file")
    check(found.get(f"{folder}/gone (deleted)", 0) >= LEAST * sum(found.values()), f"{found}")


@test
def a_new_name_is_that_of_the_next_window():
    folder = disk_folder()
    process = reader(f"{folder}/before")
    window = {"duration": "1s", "interval": "1s"}
    daemon = Daemon(cpu_config("1s", targets=f'[{{service: reads, match: {{pid: "{process.pid}"}}}}]', host={"enabled": False}, block=window))
    first = daemon.wait_files(2, service="reads", kind="block")[-1].profile
    found = values_of(first, "file")
    check(found.get(f"{folder}/before", 0) >= LEAST * sum(found.values()), f"before: {found}")
    process.stdin.write(f"{folder}/before {folder}/after\n")
    process.stdin.flush()
    check_equal(process.stdout.readline(), "renamed\n", "the reader's answer")
    renamed_nsec = time.time_ns()

    def later():
        return [f for f in daemon.files(service="reads", kind="block") if f.profile.time_nsec > renamed_nsec]
    found = values_of(wait_for(later, "a window after that")[-1].profile, "file")
    check(found.get(f"{folder}/after", 0) >= LEAST * sum(found.values()), f"after: {found}")


main()
