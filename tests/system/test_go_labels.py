#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""CPU samples of Go have the labels of their goroutine: as the program's own CPU profile of the same time has them."""
import urllib.request

from harness import *

SECONDS = 10
# In go-labels: what has more than is kept of it.
WIDE, LONG = "wide", "long"


def labels_target(name, *more, seconds=60):
    target = Target(name, seconds, "127.0.0.1:0", *more)
    found = re.match(r"pprof on (http://\S+), goroutine (\d+)", target.process.stdout.readline())
    check(found, "it did not say where it listens")
    return target, found[1], int(found[2])


def versions():
    """Of those that are built: also with other toolchains (tests/targets/build --all-go)."""
    found = sorted(os.path.basename(path) for path in glob.glob(os.path.join(TARGETS, "go-labels*")))
    return found or ["go-labels"]


def own_profile(url, seconds, into):
    with urllib.request.urlopen(f"{url}/debug/pprof/profile?seconds={seconds}", timeout=seconds + 60) as answer:
        into.append(Profile(answer.read()))


def once(pid, seconds, *options, rate=499):
    path = os.path.join(tempdir(), "once.pprof")
    run(find_binary(), "--config", os.devnull, "--once", "--pid", pid, "--duration", f"{seconds}s", "--rate", rate, "--output", path, *options)
    return Profile.load(path)


def theirs_as_ours(labels):
    """What Go says of a sample, as we tell it: cut, and apart from ours. 12 labels are more than we keep: which are left is open."""
    if "wide0" in labels or any(key.startswith("wide") for key in labels):
        return ((WIDE, WIDE),)
    cut = {}
    for key, value in labels.items():
        cut["go." + key if key == "service" else key] = value.encode()[:128].decode(errors="ignore")
    return tuple(sorted(cut.items()))


def ours(labels):
    mine = {"service", "pid", "tid", "thread", "comm", "unit", "container"}
    given = {key: value for key, value in labels.items() if key not in mine}
    if any(key.startswith("wide") for key in given):
        check_equal(len(given), 10, f"labels kept of 12 ({given})")
        check(all(value == key.replace("wide", "value") for key, value in given.items()), f"mixed up: {given}")
        return ((WIDE, WIDE),)
    return tuple(sorted(given.items()))


def shares(samples, key):
    counts = {}
    for sample in samples:
        found = key(sample.labels)
        counts[found] = counts.get(found, 0) + sample.count
    return counts


@test_each(versions())
def labels_are_those_of_the_programs_own_profile(name):
    target, url, _ = labels_target(name)
    answers = []
    asking = threading.Thread(target=own_profile, args=(url, SECONDS, answers))
    asking.start()
    profile = once(target.pid, SECONDS)
    asking.join()
    theirs = answers[0]
    # Go's counts are weighted by itself: 100 Hz.
    a, b = shares(profile.samples, ours), shares(theirs.samples, theirs_as_ours)
    n_ours, n_theirs = sum(a.values()), sum(b.values())
    note(f"samples: {n_ours} ours, {n_theirs} theirs")
    check_measured(n_theirs >= 150, "too few to tell")
    # pprof.Do() leaves behind the labels of its context: what is done without it has those of the tenant or none.
    check(len(b) == 6, f"theirs are {sorted(b)}")
    check_equal(sorted(a), sorted(b), "sets of labels")
    for labels, count in sorted(b.items()):
        p, q = count / n_theirs, a[labels] / n_ours
        allowed = 3 * math.sqrt(p * (1 - p) * (1 / n_theirs + 1 / n_ours)) + 0.015
        note(f"{dict(labels)}: theirs {100 * p:.2f} %, ours {100 * q:.2f} %, allowed {100 * allowed:.2f} points")
        check_between(q, p - allowed, p + allowed, f"share of {dict(labels)}")
    comment = [c for c in profile.comments if "goroutines with labels that are not all told" in c]
    check(len(comment) == 1, f"nothing is said of those that were cut: {profile.comments}")
    cut = sum(count for labels, count in a.items() if labels == ((WIDE, WIDE),) or ("endpoint", LONG) in labels)
    check(f"{cut} with those that there is room for" in comment[0] and ": 0 without" in comment[0], f"{cut} were cut: {comment[0]}")


@test
def shares_are_those_of_the_programs_clock():
    target, _, _ = labels_target("go-labels", seconds=8)
    profile = once(target.pid, 20, rate=999)
    truth = target.truth()["cpu_ns"]
    # What the thread that does the work was sampled in.
    work = [s for s in profile.samples if s.labels.get("tid") == target.pid]
    counts = shares(work, lambda labels: WIDE if "wide0" in labels else labels.get("endpoint", "none"))
    n, total = sum(counts.values()), sum(truth.values())
    check_measured(n >= 1000, f"{n} samples are too few")
    for name, nsec in truth.items():
        check_between(counts.get(name, 0) / n, nsec / total - 0.03, nsec / total + 0.03, f"share of {name}")


@test
def more_sets_of_labels_than_are_kept_are_other():
    target, _, _ = labels_target("go-labels", 200000)
    profile = once(target.pid, 5, rate=999)
    counts = shares(profile.samples, lambda labels: "request" if "request" in labels else labels.get("labels", "none"))
    sets = {s.labels["request"] for s in profile.samples if "request" in s.labels}
    note(f"{len(sets)} sets, {counts}")
    check_measured(counts.get("other", 0) > 100, "not enough of them to tell")
    # CPUs may be above the limit by one each.
    check_between(len(sets), 1024, 1024 + os.cpu_count(), "sets that are told")
    said = next(c for c in profile.comments if "goroutines with labels that are not all told" in c)
    check(f"; {counts['other']} as `other`" in said, f"{counts['other']} are `other`: {said}")
    check(any("lost 0 (" in c for c in profile.comments), f"samples were lost: {profile.comments}")


def in_depth(cpu):
    config = cpu_config("2s", rate=199)
    config["cpu"].update(cpu)
    return yaml({"profiling": {**config, "output": {"directory": "OUTPUT", "keep_free": "0"}}}) + \
        "\n  targets:\n    - {service: labelled, match: {exe: go-labels}}\n"


def daemon_with(cpu):
    directory = tempdir()
    return Daemon(in_depth(cpu).replace("OUTPUT", os.path.join(directory, "profiles")), directory=directory)


def labels_seen(daemon, pid):
    """Of the second whole window in which the process is."""
    def enough():
        files = files_below(daemon.output, service="labelled")
        return files[3] if len(files) > 3 else None
    samples = [s for s in wait_for(enough, "four windows").profile.samples if s.labels["pid"] == pid]
    check(len(samples) > 3, "it was not sampled")
    return samples


@test
def targets_of_the_daemon_have_labels_and_on_request_numbers_of_goroutines():
    target, _, goid = labels_target("go-labels")
    other, _, _ = labels_target(os.path.join(TARGETS, "go-labels-stripped"))  # not in depth
    daemon = daemon_with({"go_ids": True})
    samples = labels_seen(daemon, target.pid)
    work = [s for s in samples if "tenant" in s.labels]
    check(work, "no labels")
    check_equal({s.labels.get("goid") for s in work}, {goid}, "goroutines that work")
    rest = files_below(daemon.output, service="go-labels-stripped")
    check(rest and not any("tenant" in s.labels or "goid" in s.labels for f in rest for s in f.profile.samples if s.labels["pid"] == other.pid),
          "labels of a program that is no target")


@test
def without_the_keys_there_are_none():
    target, _, _ = labels_target("go-labels")
    samples = labels_seen(daemon_with({"go_labels": False}), target.pid)
    check(not any("tenant" in s.labels or "goid" in s.labels for s in samples), "labels")


main()
