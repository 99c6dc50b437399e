#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""metrics.prom: Prometheus text, whole at any moment, and with the numbers that the files have."""
from harness import *

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LINE = re.compile(rf'({NAME})(\{{({NAME}="(\\.|[^"\\])*"(,{NAME}="(\\.|[^"\\])*")*,?)?\}})? (-?[0-9.eE+-]+|NaN|[+-]Inf)( \d+)?$')


def text_of(daemon):
    return open(os.path.join(daemon.runtime, "metrics.prom")).read()


@test
def every_line_is_Prometheus_text():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s"))
    daemon.wait_files(1)
    daemon.fresh_metrics()
    text = text_of(daemon)
    check(text.endswith("\n"), "the last line does not end")
    types, helps, seen = {}, set(), set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            check(name not in types, f"two types of {name}")
            check(kind in ("counter", "gauge", "histogram", "summary", "untyped"), line)
            types[name] = kind
        elif line.startswith("# HELP "):
            helps.add(line.split(" ", 3)[2])
        elif line and not line.startswith("#"):
            found = LINE.match(line)
            check(found, f"not Prometheus text: {line!r}")
            key = line.rsplit(" ", 1)[0]
            check(key not in seen, f"twice: {key}")
            seen.add(key)
            base = re.sub(r"_(bucket|sum|count)$", "", found[1])
            check(found[1] in types or base in types, f"no type of {found[1]}")
            check(types.get(found[1]) != "counter" or found[1].endswith("_total"), f"a counter that does not end in _total: {found[1]}")
    check(set(types) <= helps, f"no help of {set(types) - helps}")
    note(f"{len(seen)} series of {len(types)} metrics")


@test
def the_metrics_of_the_product_are_there():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s"))
    daemon.wait_files(2)
    daemon.fresh_metrics()
    text = text_of(daemon)
    missing = [name for name in ("tsprofd_build_info", "tsprofd_config_last_reload_successful", "tsprofd_samples_total",
               "tsprofd_samples_lost_total", "tsprofd_unwind_stacks_total", "tsprofd_profiles_written_total",
               "tsprofd_profile_bytes_total", "tsprofd_storage_bytes", "tsprofd_storage_oldest_profile_timestamp_seconds",
               "tsprofd_retention_deleted_total", "tsprofd_symbolize_seconds", "tsprofd_cpu_seconds_total",
               "tsprofd_memory_bytes") if not re.search(rf"^{name}(_bucket|_sum|_count)?[ {{]", text, re.M)]
    check(not missing, f"missing: {missing}")


@test
def the_counters_are_those_of_the_files():
    keep_a_core_busy()
    daemon = Daemon(cpu_config("1s", rate=199))
    daemon.wait_files(3)
    m = daemon.fresh_metrics()
    files = daemon.files()
    written = sum(v for k, v in m.items() if k.startswith("tsprofd_profiles_written_total"))
    n_files = len(daemon.files(kind=None))
    check(0 < written <= n_files, f"{written} written, {n_files} files")
    # Names carry the second of the start: files of the same age as the metrics are at the edge.
    samples = sum(v for k, v in m.items() if re.match(r'tsprofd_samples_total\{[^}]*kind="cpu"', k))
    in_files = sum(f.profile.n_samples for f in files)
    note(f"samples: {samples} counted, {in_files} in files; {written} written, {len(files)} files")
    check(0 < samples <= in_files * 1.05, "more samples counted than there are in files")


@test
def it_is_never_seen_half_written():
    daemon = Daemon(cpu_config("1s"))
    daemon.fresh_metrics()
    end = time.monotonic() + 17
    first = text_of(daemon)
    while time.monotonic() < end:
        text = text_of(daemon)
        check(text.endswith("\n") and len(text) > 0.5 * len(first), "a part of it")
        time.sleep(0.002)


main()
