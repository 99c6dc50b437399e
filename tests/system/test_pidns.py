#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""In a pid namespace of its own (a container) the daemon sees what is in it, by the pids that it has there."""
from harness import *


@test
def processes_of_the_same_namespace_are_seen_and_others_counted():
    need_tool("unshare")
    outside = keep_a_core_busy()
    directory = tempdir()
    script = os.path.join(directory, "inside")
    with open(script, "w") as f:
        f.write(f"""#!/bin/sh
"{target_path('c-threads')}" 3600 > "{directory}/threads" & echo $! > "{directory}/pid"
exec "$@"
""")
    os.chmod(script, 0o755)
    daemon = Daemon(cpu_config("1s", rate=199), directory=directory, wrap=["unshare", "--pid", "--fork", "--kill-child",
                    "--mount", "--mount-proc", script])
    try:
        files = daemon.wait_files(3)
        inside = int(open(f"{directory}/pid").read())
        pids = {s.labels.get("pid") for f in files for s in f.profile.samples}
        note(f"pids in the files: {sorted(p for p in pids if p)}; ours inside is {inside}, outside {outside.pid}")
        check(inside in pids, "the process inside is not seen")
        check(outside.pid not in pids or inside == outside.pid, "the process outside is seen")
        named = [s for f in files for s in f.profile.samples if s.labels.get("pid") == inside and s.first_of({"alpha", "beta", "gamma"})]
        check(total(named) > 50, "the process inside is not named")
        text = "\n".join(files[-1].profile.comments)
        check(re.search(r"namespace\D{0,20}[1-9]", text), f"the samples outside are not counted: {text}")
    finally:
        # unshare passes no signal on: what it started ends with it.
        daemon.process.kill()


@test
def a_target_in_another_mount_namespace_is_named():
    """Its executable has a path that means another file, or nothing, where the daemon is."""
    need_tool("unshare")
    directory = tempdir()
    shutil.copy(target_path("c-shares-fp"), os.path.join(directory, "program"))
    daemon = Daemon(cpu_config("2s", rate=199))
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", f"mkdir -p {directory}/m && mount -t tmpfs t {directory}/m && "
                                f"cp {directory}/program {directory}/m/only-here && exec {directory}/m/only-here 5"],
                               stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    truth = json.loads(process.communicate(timeout=60)[0])
    samples = daemon.samples_of(truth["pid"], until_nsec=time.time_ns())
    _, n = shares(samples, truth["cpu_ns"])
    note(f"{n} of {total(samples)} are named")
    check(n >= 0.9 * total(samples) > 300, f"{n} of {total(samples)} are named")


main()
