#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Configuration from outside: what is accepted, and what each mistake is told as."""
from harness import *

SEED = """profiling:
  enabled: true
  cpu:
    enabled: true
    duration: 30s
    interval: 5m
  memory:
    enabled: true
    snapshot_interval: 1m
  output:
    directory: /var/log/tsiot/profiles
    format: pprof
    retention: 7d
"""


def check_config(text, *options, **more):
    path = os.path.join(tempdir(), "profiling.yaml")
    with open(path, "wb" if isinstance(text, bytes) else "w") as f:
        f.write(text)
    return path, run(find_binary(), "--check-config", "--config", path, *options, check_status=False, timeout=20, **more)


@test
def the_file_of_the_seed_is_valid_as_it_stands():
    _, done = check_config(SEED)
    check_equal(done.returncode, 0, f"exit status ({done.stderr})")


@test_each(["config/profiling.yaml", "config/quickstart.yaml"])
def a_file_that_we_ship_is_valid(name):
    done = run(find_binary(), "--check-config", "--config", os.path.join(TOP, name), check_status=False)
    check_equal(done.returncode, 0, f"exit status ({done.stderr})")


# What is wrong, where (line, column; None: anywhere on it), and a word of the message.
MISTAKES = {
    "an unknown key with the nearest one": ("profiling:\n  cpu:\n    durration: 30s\n", 3, 5, "duration"),
    "a wrong type": ("profiling:\n  cpu: 7\n", 2, None, ""),
    "a bad duration": ("profiling:\n  cpu: {duration: 30 parsecs}\n", 2, None, "duration|30 parsecs"),
    "a duration without a unit": ("profiling:\n  cpu: {duration: 30}\n", 2, None, ""),
    "a bad size": ("profiling:\n  output: {max_size: 5 elephants}\n", 2, None, ""),
    "a bad share": ("profiling:\n  budget: {cpu: 101%}\n", 2, None, ""),
    "a bad boolean": ("profiling:\n  enabled: maybe\n", 2, 12, "maybe|true"),
    "out of range": ("profiling:\n  cpu: {rate: 100000}\n", 2, None, "9999|rate"),
    "negative": ("profiling:\n  cpu: {rate: -1}\n", 2, None, ""),
    "a duplicate key": ("profiling:\n  enabled: true\n  enabled: false\n", 3, 3, "enabled"),
    "duration over interval": ("profiling:\n  cpu: {duration: 10m, interval: 5m}\n", 2, None, "interval"),
    "a relative directory": ("profiling:\n  output: {directory: somewhere}\n", 2, None, "directory|absolute"),
    "an unknown format": ("profiling:\n  output: {format: jpeg}\n", 2, None, "pprof"),
    "not YAML": ("profiling:\n  cpu: {duration: 30s\n", None, None, ""),
    "a tab": ("profiling:\n\tcpu:\n", 2, None, ""),
    "a bad trigger name": ("alerts:\n  - {name: a b, condition: cpu_usage_percent > 80, duration: 5m, action: capture_cpu_profile}\n", 2, None, "name"),
    "a list where a map belongs": ("profiling:\n  - cpu\n", 2, None, ""),
    "an unknown top level key": ("profilling:\n  enabled: true\n", 1, 1, "profiling"),
}


@test_each(list(MISTAKES))
def a_mistake_is_told_with_file_line_and_column(name):
    text, line, column, words = MISTAKES[name]
    path, done = check_config(text)
    check_equal(done.returncode, 78, f"exit status ({done.stderr.strip()!r})")
    first = (done.stderr + done.stdout).strip().splitlines()[0]
    note(first.replace(path, "profiling.yaml"))
    found = re.match(re.escape(path) + r":(\d+):(\d+): \S", first)
    check(found, f"not FILE:LINE:COLUMN: message: {first!r}")
    check(line is None or int(found[1]) == line, f"line {found[1]}, expected {line}")
    check(column is None or int(found[2]) == column, f"column {found[2]}, expected {column}")
    check(re.search(words, first), f"it does not speak of {words}: {first!r}")


@test
def all_mistakes_are_told_at_once():
    _, done = check_config("profiling:\n  cpu: {rate: -1, durration: 3s}\n  enabled: maybe\n  output: {format: jpeg}\n")
    lines = [line for line in done.stderr.splitlines() if re.search(r":\d+:\d+: ", line)]
    check_equal(done.returncode, 78, "exit status")
    check(len(lines) >= 4, f"{len(lines)} messages: {lines}")


@test
def a_bomb_of_aliases_is_refused_at_once():
    text = "a: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"b{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
    start = time.monotonic()
    _, done = check_config(text)
    check_equal(done.returncode, 78, "exit status")
    check(time.monotonic() - start < 2 or SANITIZED, "it took too long")


@test
def bytes_that_are_no_text_are_refused():
    for junk in (b"\x00\x01\x02\xff\xfe", b"profiling: \xc3\x28\n", os.urandom(4096), b"{" * 100000):
        _, done = check_config(junk)
        check_equal(done.returncode, 78, f"exit status for {junk[:8]!r}... ({done.stderr[:200]})")


@test
def a_file_that_is_not_there_is_78_and_named():
    done = run(find_binary(), "--check-config", "--config", "/does/not/exist.yaml", check_status=False)
    check_equal(done.returncode, 78, "exit status")
    check("/does/not/exist.yaml" in done.stderr, done.stderr)


@test
def what_is_printed_is_a_configuration_that_means_the_same():
    path, _ = check_config(SEED)
    printed = run(find_binary(), "--print-config", "--config", path).stdout
    check("background_rate: 19" in printed.replace('"', ""), f"defaults are not there:\n{printed}")
    second, done = check_config(printed)
    check_equal(done.returncode, 0, f"exit status ({done.stderr})")
    check_equal(run(find_binary(), "--print-config", "--config", second).stdout, printed, "printed again")


@test
def drop_ins_override_in_the_order_of_their_names():
    directory = tempdir()
    path = os.path.join(directory, "profiling.yaml")
    open(path, "w").write(SEED)
    os.mkdir(path + ".d")
    open(path + ".d/20-late.yaml", "w").write("profiling: {cpu: {rate: 22}}\n")
    open(path + ".d/10-early.yaml", "w").write("profiling: {cpu: {rate: 11, background_rate: 5}}\n")
    open(path + ".d/30-no.txt", "w").write("not read")
    printed = run(find_binary(), "--print-config", "--config", path).stdout
    check(re.search(r"rate: 22\b", printed) and re.search(r"background_rate: 5\b", printed), printed)
    open(path + ".d/40-bad.yaml", "w").write("profiling: {cpu: {raet: 11}}\n")
    done = run(find_binary(), "--check-config", "--config", path, check_status=False)
    check_equal(done.returncode, 78, "exit status")
    check("40-bad.yaml:1:" in done.stderr, f"the drop-in is not named: {done.stderr}")


@test
def the_flags_of_the_seed_override_the_file():
    path, _ = check_config(SEED)
    printed = run(find_binary(), "--print-config", "--config", path, "-profiling-interval=10m", "-profiling-duration=20s",
                  "-profiling-output=/srv/p", "-enable-continuous-profiling", "-port", "6061").stdout
    for word in ("interval: 10m", "duration: 20s", "directory: /srv/p", "6061"):
        check(word in printed.replace('"', ""), f"{word} is not in:\n{printed}")


@test
def a_key_of_a_part_that_is_not_there_yet_is_one_warning():
    _, done = check_config("profiling:\n  symbols: {debuginfod: true}\n")
    check_equal(done.returncode, 0, "exit status")
    check("no effect" in done.stderr + done.stdout, f"no warning: {done.stderr!r}")


@test
def version_and_help_work_without_a_configuration():
    check(re.search(r"tsprofd \d+\.\d+", run(find_binary(), "--version").stdout), "no version")
    check("--check-config" in run(find_binary(), "--help").stdout, "no help")


@test
def an_unknown_option_is_64():
    done = run(find_binary(), "--no-such-option", check_status=False)
    check_equal(done.returncode, 64, "exit status")


@test
def check_host_names_each_ability():
    done = run(find_binary(), "--check-host", check_status=False)
    note(done.stdout)
    check_equal(done.returncode, 0, "exit status")
    check("ok" in done.stdout.lower(), done.stdout)


main()
