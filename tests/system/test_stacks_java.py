#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Stacks of Java without a flag that would help: complete, and the callers are those that the program is known to have."""
import glob
from harness import *

DEPTH = 40
# So that each method has a frame of its own.
NOT_INLINED = ["-XX:CompileCommand=quiet", "-XX:CompileCommand=dontinline,Calls*.*"]
MODES = {"default": [], "C1": ["-XX:TieredStopAtLevel=1"], "C2": ["-XX:-TieredCompilation"], "one heap": ["-XX:-SegmentedCodeCache"],
         "parallel, full": ["-XX:+UseParallelGC", "-Xmx64m"], "serial": ["-XX:+UseSerialGC"], "Z": ["-XX:+UseZGC"],
         "frame pointers": ["-XX:+PreserveFramePointer"]}


def javas():
    """That of the PATH, and all others that are installed; of JDK 17 and later: before, no perf map is to be had by asking."""
    found = {}
    for path in [shutil.which("java"), *sorted(glob.glob("/usr/lib/jvm/*/bin/java"))]:
        if path and os.path.realpath(path) not in found:
            version = re.search(r'version "(\d+)', run(path, "-version").stderr)
            found[os.path.realpath(path)] = int(version[1]) if version else 0
    return {path: version for path, version in found.items() if version >= 17} or need_tool("java")


def ways(depth):
    """What Calls.next(depth) goes down by."""
    classes = ["Calls$One", "Calls$Two", "Calls$Three"]
    if depth % 5 == 1:
        return [classes[(depth >> 2) % 3] + ".virtual"]
    if depth % 5 == 2:
        way = (depth >> 2) % 4
        return ["Calls$$Lambda.down", "Calls.lambda$static$0", "Calls.plain"] if way == 3 else [classes[way] + ".down"]
    if depth % 5 == 3:
        return ["Calls.thrower", "Calls.fail"]
    return ["Calls.plain"]


CHAIN = ["Calls.main"] + [name for depth in range(DEPTH, -1, -1) for name in ["Calls.next"] + ways(depth)] + ["Calls.work"]

# What work() calls; all that the methods before it may have inlined is between.
LEAVES = ["Calls.arithmetic", "Calls.copies", "Calls.objects", "Calls.natives", "Calls.small"]


def plain(name):
    name = re.sub(r"/0x[0-9a-f]+|\$*(?<=Lambda)\$?\d*(\+0x[0-9a-f]+)?(?=[./])", "", name)
    found = re.search(r"(Calls[\w$]*\.[\w$<>]+)", name)
    return found[1] if found else name


def record(java, options, program, seconds=3):
    """Samples of three seconds, some after the start."""
    directory = tempdir()
    config, output = os.path.join(directory, "on.yaml"), os.path.join(directory, "p.pprof")
    with open(config, "w") as f:
        f.write(yaml({"profiling": {"jit": {"java_perfmap": True}}}) + "\n")
    target = Target(java, *options, *program, stderr=subprocess.DEVNULL)
    cleanup(lambda: os.path.exists(f"/tmp/perf-{target.pid}.map") and os.unlink(f"/tmp/perf-{target.pid}.map"))
    time.sleep(2.5)
    run(find_binary(), "--once", "--config", config, "--pid", target.pid, "--duration", f"{seconds}s", "--rate", "499", "--output", output)
    target.kill()
    return Profile.load(output).samples


def is_part(names, chain):
    """In the same order, with others left out."""
    rest = iter(chain)
    return all(name in rest for name in names)


def check_chains(samples, is_right, deepest):
    """Of those in Calls.main(): whose callers are right; tells of the others. `deepest`: a method at the end of the chain."""
    right = wrong = deep = 0
    for s in samples:
        names = [plain(name) for name in reversed(s.names)]
        calls = [name for name in names if name.startswith("Calls")]
        if s.broken or not calls or any(name == "Interpreter" for name in names):
            continue
        if is_right(calls):
            right += s.count
            deep += s.count * any(name in deepest for name in calls)
        else:
            wrong += s.count
            note(f"  {s.count} times: ... {' > '.join(names[-6:])}, {len(calls)} frames of it")
    note(f"{right} stacks have the callers they should have, {deep} of them to the last; {wrong} have not")
    check_measured(deep >= 200, f"only {deep} are of the deepest part")
    # Code that is replaced between a sample and the end of the window has another's name then.
    check_measured(wrong <= 0.005 * right, f"{wrong} of {wrong + right} stacks have other callers")


def is_beginning(calls):
    return calls[:len(CHAIN)] == CHAIN or calls == CHAIN[:len(calls)]


@test_each(MODES)
def callers_of_java_are_exact(mode):
    for java, version in javas().items():
        samples = record(java, MODES[mode] + NOT_INLINED, ["-jar", target_path("java-calls.jar"), 3600, DEPTH])
        note(f"JDK {version}, {mode}:")
        check_complete(samples, 0.999, 500)
        check_chains(samples, is_beginning, ["Calls.work"])


@test
def java_that_inlines_has_the_callers_that_are_left():
    for java, version in javas().items():
        samples = record(java, [], ["-jar", target_path("java-calls.jar"), 3600, DEPTH])
        note(f"JDK {version}:")
        check_complete(samples, 0.999, 500)
        check_chains(samples, lambda calls: calls[0] == "Calls.main" and is_part(calls, CHAIN + LEAVES), ["Calls.work", *LEAVES])


@test
def interpreted_frames_are_as_many_as_there_are():
    for java, version in javas().items():
        samples = record(java, ["-Xint"], ["-jar", target_path("java-shares.jar"), 3600])
        note(f"JDK {version}:")
        check_complete(samples, 0.999, 500)
        counts = {}
        for s in samples:
            n = sum(name == "Interpreter" for name in s.names)
            counts[n] = counts.get(n, 0) + s.count
        # main, spend, workSlice, the lambda's applyAsLong, and alpha, beta or gamma
        note(f"stacks by number of interpreted frames: {counts}")
        check_measured(counts.get(5, 0) >= 0.97 * total(samples), "nearly all are in the five")


@test
def java_that_starts_under_a_running_daemon_is_known_soon():
    daemon = Daemon(cpu_config("2s", rate=499))
    java, jar = next(iter(javas())), target_path("java-shares.jar")
    # What is mapped besides gets its tables first.
    Target(java, "-jar", jar, 3, stderr=subprocess.DEVNULL).truth()
    time.sleep(3)
    target = Target(java, "-jar", jar, 6, stderr=subprocess.DEVNULL)
    target.truth()
    samples = daemon.samples_of(target.pid, until_nsec=time.time_ns())
    check_complete(samples, 0.99, 500)
    metrics = daemon.metrics()
    check("tsprofd_unwind_jvms" in metrics, "it is counted")
    check_equal(metrics.get("tsprofd_unwind_jvms_failed_total"), 0, "looks at Java that came to nothing")


main()
