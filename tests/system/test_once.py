#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""`tsprofd --once`: one window with no daemon and no configuration."""
from harness import *


def once(*arguments, **options):
    return run(find_binary(), "--once", *arguments, **options)


@test
def a_process_by_its_pid():
    directory = tempdir()
    target = Target("c-shares-fp", 30)
    path = os.path.join(directory, "f.pprof")
    start = time.monotonic()
    once("--pid", target.pid, "--duration", "2s", "--output", path)
    took = time.monotonic() - start
    profile = Profile.load(path)
    check_equal({s.labels.get("pid") for s in profile.samples}, {target.pid}, "pids")
    check_between(profile.n_samples, 150, 220, "samples at 99 Hz in 2 s")
    check(any("alpha" in s.names for s in profile.samples), "alpha is not named")
    check_between(profile.duration_nsec / 1e9, 1.9, 2.3, "duration of the profile")
    note(f"took {took:.2f} s")
    check_measured(took < 5 or SANITIZED, "it took too long")


@test
def every_process_with_a_folder_as_output():
    directory = tempdir()
    Target("c-shares-fp", 30)
    Target("c-threads", 30)
    once("--all", "--duration", "2s", "--output", directory)
    services = {f.service for f in files_below(directory)}
    check({"c-shares-fp", "c-threads"} <= services, f"services: {services}")


@test
def a_service_by_its_name():
    directory = tempdir()
    Target("c-shares-fp", 30)
    Target("c-threads", 30)
    path = os.path.join(directory, "f.pprof")
    once("--service", "c-threads", "--duration", "2s", "--output", path)
    check_equal({s.labels["service"] for s in Profile.load(path).samples}, {"c-threads"}, "services")


@test
def a_command_from_its_first_instruction_to_its_exit():
    path = os.path.join(tempdir(), "f.pprof")
    done = once("--rate", "999", "--output", path, "--", target_path("c-shares-fp"), "2")
    truth = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][0])
    profile = Profile.load(path)
    own = [s for s in profile.samples if s.labels.get("pid") == truth["pid"]]
    expected = truth["total_ns"] / profile.period
    note(f"{total(own)} samples, {expected:.0f} expected")
    check_between(total(own) / expected, 0.93, 1.05, "samples by CPU time")
    check(any("alpha" in s.names for s in own), "alpha is not named")


@test_each([0, 3, 77])
def the_exit_status_of_the_command_is_passed_on(status):
    path = os.path.join(tempdir(), "f.pprof")
    done = once("--output", path, "--", "sh", "-c", f"i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit {status}", check_status=False)
    check_equal(done.returncode, status, "exit status")


@test
def a_command_killed_by_a_signal_gives_128_and_the_signal():
    path = os.path.join(tempdir(), "f.pprof")
    done = once("--output", path, "--", "sh", "-c", "kill -9 $$", check_status=False)
    check_equal(done.returncode, 137, "exit status")


@test
def output_and_input_are_those_of_the_command():
    path = os.path.join(tempdir(), "f.pprof")
    done = once("--output", path, "--", "sh", "-c", "cat; echo to stderr >&2", input="from stdin\n", stdin=None)
    check("from stdin" in done.stdout, f"stdout: {done.stdout!r}")
    check("to stderr" in done.stderr, f"stderr: {done.stderr!r}")


@test
def a_command_that_is_not_there_is_one_clear_message():
    path = os.path.join(tempdir(), "f.pprof")
    done = once("--output", path, "--", "/does/not/exist", check_status=False)
    check(done.returncode in (126, 127, 64, 71), f"exit status {done.returncode}")
    check("/does/not/exist" in done.stderr, done.stderr)
    check(not os.path.exists(path), "a file was written")


@test
def a_pid_that_is_not_there_is_one_clear_message():
    path = os.path.join(tempdir(), "f.pprof")
    done = once("--pid", "4194000", "--duration", "1s", "--output", path, check_status=False)
    check(done.returncode not in (0, 139, 134), f"exit status {done.returncode}")
    check("4194000" in done.stderr, f"the message does not name it: {done.stderr!r}")


@test
def files_belong_to_who_typed_sudo_and_so_does_the_command():
    directory = tempdir()
    os.chown(directory, 1234, 1234)
    path = os.path.join(directory, "f.pprof")
    done = once("--output", path, "--", "sh", "-c", "id -u; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done",
                env={**os.environ, "SUDO_UID": "1234", "SUDO_GID": "1234", "SUDO_USER": "nobody"})
    status = os.stat(path)
    check_equal((status.st_uid, status.st_gid), (1234, 1234), "owner of the file")
    check("1234" in done.stdout.split(), f"the command runs as {done.stdout!r}")


@test_each(["--pid 1 --all", "--pid x", "--rate 0 --all", "--rate 100000 --all", "--duration 5 --all", "--kind nothing --all"])
def a_wrong_command_line_is_64_and_a_line(arguments):
    done = once(*arguments.split(), check_status=False, cwd=tempdir(), timeout=30)
    check_equal(done.returncode, 64, f"exit status ({done.stderr.strip()!r})")
    check(1 <= len(done.stderr.strip().splitlines()) <= 3, f"stderr: {done.stderr!r}")


@test
def where_nothing_can_be_written_is_told_before_the_window():
    marker = os.path.join(tempdir(), "ran")
    start = time.monotonic()
    done = once("--duration", "20s", "--output", "/does/not/exist/f.pprof", "--", "touch", marker, check_status=False)
    check_equal(done.returncode, 73, "exit status")
    check("/does/not/exist/f.pprof" in done.stderr, done.stderr)
    check(time.monotonic() - start < 10, "the time was spent all the same")
    check(not os.path.exists(marker), "the command ran")


@test
def a_command_that_outlives_its_duration_is_waited_for():
    path = os.path.join(tempdir(), "f.pprof")
    done = once("--duration", "1s", "--output", path, "--", "sh", "-c", "sleep 3; exit 5", check_status=False)
    check_equal(done.returncode, 5, "exit status")
    check(Profile.load(path).duration_nsec < 2.5e9, "the window is as long as the command")


@test
def a_signal_is_passed_on_to_the_command():
    path = os.path.join(tempdir(), "f.pprof")
    process = subprocess.Popen([find_binary(), "--once", "--output", path, "--", "sh", "-c", "trap 'exit 9' TERM; while :; do :; done"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cleanup(lambda: (process.kill(), process.wait()))
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    check_equal(process.wait(20), 9, "exit status")
    check_measured(Profile.load(path).n_samples > 50, "it was not sampled")


@test
def interrupted_it_still_writes_what_it_has():
    directory = tempdir()
    target = Target("c-shares-fp", 30)
    path = os.path.join(directory, "f.pprof")
    process = subprocess.Popen([find_binary(), "--once", "--pid", str(target.pid), "--duration", "60s", "--output", path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cleanup(lambda: (process.kill(), process.wait()))
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    process.wait(20)
    profile = Profile.load(path)
    check_measured(profile.n_samples > 100, f"{profile.n_samples} samples")
    check(profile.duration_nsec < 5e9, "the profile says that it is longer than it was")


main()
