#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The unit as it is installed: systemd finds nothing to complain about, and as little exposed as BPF allows."""
from harness import *

# Of `systemd-analyze security`, 252: 9.8 is a unit without any setting. The capabilities for BPF alone cost 1.5; the rest is
# what breaks it (systemd/tsprofd.service.in says which, and why).
EXPOSURE_MAX = 3.0


def installed():
    """The tree as `meson install` makes it, in a folder."""
    directory = tempdir()
    build = os.path.dirname(os.path.dirname(find_binary()))
    run("meson", "install", "--no-rebuild", "--quiet", "--destdir", directory, "-C", build)
    return directory


def unit_in(directory):
    found = glob.glob(f"{directory}/**/tsprofd.service", recursive=True)
    check_equal(len(found), 1, f"units in {directory}")
    return found[0]


@test
def meson_installs_to_the_paths_of_the_FHS():
    directory = installed()
    files = sorted(os.path.relpath(os.path.join(d, f), directory) for d, _, fs in os.walk(directory) for f in fs)
    note("\n".join(files))
    for wanted in (r"usr/(local/)?s?bin/tsprofd", r"(usr/)?lib/systemd/system/tsprofd\.service", r"usr/lib/sysusers\.d/tsprofd\.conf",
                   r"usr/lib/tmpfiles\.d/tsprofd\.conf", r"etc/tsiot/profiling\.yaml"):
        check(any(re.fullmatch(wanted, f) for f in files), f"{wanted} is not installed")
    check(not [f for f in files if f.startswith(("opt", "home", "root", "tmp", "work"))], "files at strange places")
    unit = open(unit_in(directory)).read()
    program = re.search(r"ExecStart=(\S+)", unit)[1]
    check(program.lstrip("/") in files, f"ExecStart={program} is not installed")
    check("@" not in re.sub(r"#.*|SystemCallFilter=.*", "", unit), "something was not filled in")


@test
def systemd_analyze_verify_has_nothing_to_say():
    need_tool("systemd-analyze")
    directory = installed()
    unit = unit_in(directory)
    text = open(unit).read()
    # The program and the man page are in the folder, not where the unit says.
    program = re.search(r"ExecStart=(\S+)", text)[1]
    copy = os.path.join(tempdir(), "tsprofd.service")
    open(copy, "w").write(re.sub(r"Documentation=.*\n", "", text.replace(program, directory + program)))
    done = run("systemd-analyze", "verify", "--man=no", copy, check_status=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "tsprofd" in line]
    check(not said, "\n".join(said))


@test
def the_exposure_is_low():
    need_tool("systemd-analyze")
    unit = unit_in(installed())
    done = run("systemd-analyze", "security", "--offline=1", "--no-pager", unit, check_status=False)
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    check(found, done.stdout + done.stderr)
    note(f"exposure {found[1]}")
    check(float(found[1]) <= EXPOSURE_MAX, f"{found[1]} is above {EXPOSURE_MAX}")


@test
def sysusers_and_tmpfiles_make_what_the_unit_needs():
    need_tool("systemd-sysusers")
    directory = installed()
    root = tempdir()
    for name in ("etc", "usr/lib", "var/log"):
        os.makedirs(os.path.join(root, name))
    for name in ("sysusers", "tmpfiles"):
        source = glob.glob(f"{directory}/usr/lib/{name}.d/tsprofd.conf")[0]
        run(f"systemd-{name}", f"--root={root}", *(["--create"] if name == "tmpfiles" else []), source)
    users, groups = open(f"{root}/etc/passwd").read(), open(f"{root}/etc/group").read()
    check(re.search(r"^tsprofd:", users, re.M), users)
    check(re.search(r"^tsprofd:", groups, re.M), groups)
    group = re.search(r"^tsprof:[^:]*:(\d+):(.*)$", groups, re.M)
    check(group and "tsprofd" in group[2].split(","), f"tsprofd is not of the group tsprof: {groups}")
    status = os.stat(f"{root}/var/log/tsiot/profiles")
    check_equal(oct(status.st_mode & 0o7777), oct(0o2750), "mode of the folder of profiles")
    check_equal(status.st_gid, int(group[1]), "its group")


main()
