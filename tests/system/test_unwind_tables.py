#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Unwind tables say what elfutils reads from the same files, at every row; they are small, and made fast.

TSPROFD_ALL_FILES=1 compares every executable and library below /usr and /opt (a minute of CPU), else those that matter
most: what nearly every program maps, the largest runtimes, and our own targets.
"""
from harness import *

COMPARE = os.environ.get("TSPROFD_COMPARE_CFI")
LINE = re.compile(r"(?P<path>.*): (?P<rows>\d+) rows, (?P<rules>\d+) rules, (?P<compared>\d+) compared, (?P<differ>\d+) differ, "
                  r"(?P<unsupported>\d+) unsupported, (?P<bp>\d+) without rbp, (?P<bx>\d+) without rbx, "
                  r"(?P<go>\d+) differ from Go's tables, (?P<corrupt>\d+) corrupt, (?P<seconds>[\d.]+) s")
MEASURED = re.compile(r"(.*): (\d+) rows, (\d+) rules, (\d+) bytes, ([\d.]+) s, (\d+) KiB resident at most, .*")

LIBRARIES = ["libc.so.6", "ld-linux-x86-64.so.2", "libm.so.6", "libpthread.so.0", "libstdc++.so.6", "libgcc_s.so.1",
             "libcrypto.so.3", "libssl.so.3", "libz.so.1", "libgcrypt.so.20", "libsystemd.so.0", "libpython3*.so.1.0",
             "libdw.so.1", "libx265.so.*", "libopenblas*.so.0"]
PROGRAMS = ["bash", "python3", "node", "perl", "gdb", "busybox", "git", "ssh", "docker"]
LARGE = ["/usr/lib/jvm/*/lib/server/libjvm.so", "/usr/local/go/bin/go", "/root/.rustup/toolchains/*/lib/librustc_driver*.so"]


def is_elf(path):
    try:
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError:
        return False
    return head[:5] == b"\x7fELF\x02" and head[18:20] == b"\x3e\0" and head[16] in (2, 3)


def distinct(paths):
    """Each file once, whatever links lead to it."""
    files = {}
    for path in paths:
        if os.path.isfile(path) and is_elf(path):
            status = os.stat(path)
            files.setdefault((status.st_dev, status.st_ino), os.path.realpath(path))
    return sorted(files.values())


def libraries():
    return distinct(path for name in LIBRARIES for folder in ("/lib/x86_64-linux-gnu", "/lib64", "/usr/lib/x86_64-linux-gnu")
                    for path in glob.glob(os.path.join(folder, name)))


def programs():
    return distinct(path for path in map(shutil.which, PROGRAMS) if path)


def large():
    return distinct(path for pattern in LARGE for path in glob.glob(pattern))


def all_files():
    return distinct(os.path.join(folder, name) for top in ("/usr", "/opt") for folder, _, names in os.walk(top) for name in names
                    if ".so" in name or os.access(os.path.join(folder, name), os.X_OK))


def compare(files, *options):
    """Each must agree; returns the sums of what was counted."""
    if not COMPARE:
        raise Skip("TSPROFD_COMPARE_CFI does not say where compare_cfi is (meson sets it)")
    check(files, "there is no such file on this machine")
    sums = {"files": 0, "without code": 0}
    # Few at a time: what one costs in memory is not paid by the next.
    for i in range(0, len(files), 50):
        done = run(COMPARE, *options, *files[i:i + 50], timeout=600, check_status=False)
        told = [line for line in done.stdout.splitlines() if line.startswith("# ")]
        check(done.returncode == 0, f"{COMPARE} ended with {done.returncode}:\n" + "\n".join(told[:20]) + done.stderr[-2000:])
        sums["without code"] += len(re.findall(": no code$", done.stdout, re.M))
        for found in LINE.finditer(done.stdout):
            sums["files"] += 1
            for key, value in found.groupdict().items():
                if key not in ("path", "seconds"):
                    sums[key] = sums.get(key, 0) + int(value)
    note(", ".join(f"{value} {key}" for key, value in sums.items()))
    check_equal(sums["files"] + sums["without code"], len(files), "files that were read")
    check(sums["without code"] < len(files) / 20, "too many files have no code with rows") # separate debug files have none
    check_equal(sums["differ"], 0, "places where elfutils says something else")
    check(sums["compared"] > 1000, f"only {sums['compared']} places were compared")
    # Code that switches to another stack by hand, a few instructions in each C library.
    check(sums["unsupported"] < sums["compared"] / 1000, f"{sums['unsupported']} places of {sums['compared']} are not followed")
    return sums


@test
def every_row_of_what_programs_map_agrees_with_elfutils():
    compare(libraries() + programs())


@test
def every_row_of_the_largest_runtimes_agrees_with_elfutils():
    compare(large())


@test
def every_row_of_our_targets_agrees_with_elfutils():
    files = distinct(os.path.join(folder, name) for folder, _, names in os.walk(TARGETS) for name in names)
    if not files:
        raise Skip("no target is built here")
    compare(files)


@test
def every_row_of_debug_frame_agrees_with_elfutils():
    """Which is what there is without -fasynchronous-unwind-tables: in the file, compressed in both ways, in another file."""
    need_tool("gcc")
    need_tool("objcopy")
    folder = tempdir()
    sources = [path for room in ("base", "proc", "object") for path in glob.glob(os.path.join(TOP, "lib", room, "*.c"))]
    options = ["-D_GNU_SOURCE", "-O2", "-g", "-fPIC", "-shared", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-nostdlib",
               *("-I" + os.path.join(TOP, "lib", room) for room in ("base", "proc", "object"))]
    for version in (2, 4, 5):
        whole = os.path.join(folder, f"dwarf-{version}.so")
        run("gcc", *options, f"-gdwarf-{version}", "-o", whole, *sources)
        check(".debug_frame" in run("readelf", "-SW", whole).stdout, "the compiler made no .debug_frame")
        run("objcopy", "--compress-debug-sections=zlib", whole, whole + "-zlib")
        run("objcopy", "--compress-debug-sections=zlib-gnu", whole, whole + "-zlib-gnu")
        run("objcopy", "--only-keep-debug", whole, whole + ".debug")
        run("strip", "-o", whole + "-stripped", whole)
        plain = compare([whole])
        for other in (compare([whole + "-zlib"]), compare([whole + "-zlib-gnu"]),
                      compare([whole + "-stripped"], "--debug", whole + ".debug")):
            check_equal(other["rows"], plain["rows"], "rows")


@test
def every_row_of_this_machine_agrees_with_elfutils():
    if not os.environ.get("TSPROFD_ALL_FILES"):
        raise Skip("TSPROFD_ALL_FILES=1 asks for it")
    compare(all_files())


@test
def tables_are_small_and_made_fast():
    if not COMPARE:
        raise Skip("TSPROFD_COMPARE_CFI does not say where compare_cfi is (meson sets it)")
    files = distinct(libraries()[:1] + programs() + large() + glob.glob("/lib/x86_64-linux-gnu/libc.so.6"))
    note("rows, rules, KiB, seconds of CPU, MiB resident at most, file")
    for path in files:
        found = MEASURED.match(run(COMPARE, "--measure", path).stdout)
        if not found:
            continue
        rows, rules, n_bytes, seconds, resident = int(found[2]), int(found[3]), int(found[4]), float(found[5]), int(found[6])
        # What the program itself takes, and what of the file was read, is in it.
        note(f"{rows:8} {rules:5} {n_bytes / 1024:7.0f} {seconds:6.3f} {resident / 1024:6.1f} {path}")
        check(n_bytes < 8 << 20, f"{path}: {n_bytes} bytes")
        check(SANITIZED or resident < 128 << 10, f"{path}: {resident} KiB resident")
        # node's 0.3 M rows below 1 s, the rest by their number.
        check_measured(SANITIZED or seconds < 0.05 + rows * 3e-6, f"{path}: {seconds} s for {rows} rows")


@test
def what_this_machine_has_mapped_fits_into_its_budget():
    """All tables at once, if everything that runs here were profiled."""
    if not COMPARE:
        raise Skip("TSPROFD_COMPARE_CFI does not say where compare_cfi is (meson sets it)")
    mapped = set()
    for maps in glob.glob("/proc/[0-9]*/maps"):
        try:
            with open(maps) as file:
                mapped |= {line.split(None, 5)[5].rstrip("\n") for line in file if line.split(None, 2)[1][2:3] == "x" and "/" in line}
        except OSError:
            continue
    total_bytes = 0
    files = distinct(mapped)
    for path in files:
        found = MEASURED.match(run(COMPARE, "--measure", path).stdout)
        total_bytes += int(found[4]) if found else 0
    note(f"{len(files)} files are mapped as code; their rows and rules are {total_bytes / 2**20:.2f} MiB")
    check(total_bytes < 16 << 20, f"{total_bytes} bytes")


main()
