/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../main.h"
#include "command.h"
#include "descriptors.h"

static char *shell[] = { (char *)"sh", (char *)"-c", NULL, NULL };

static int wait_for(const struct command *command)
{
	siginfo_t info;

	ck_assert_int_eq(waitid(P_PID, command_pid(command), &info, WEXITED), 0);
	return command_exit_code(info.si_code, info.si_status);
}

/* The exit code of a shell's script. */
static int run(const char *script)
{
	struct command *command;
	int code;

	shell[2] = (char *)script;
	ck_assert_int_eq(command_new(shell, &command), 0);
	ck_assert_int_eq(command_begin(command), 0);
	code = wait_for(command);
	command_free(command);
	return code;
}

/* What command_begin() says of what cannot run. */
static int begin(const char *program)
{
	char *argv[] = { (char *)program, NULL };
	struct command *command;
	int code;

	ck_assert_int_eq(command_new(argv, &command), 0);
	code = command_begin(command);
	ck_assert_int_eq(wait_for(command), code);
	command_free(command);
	return code;
}

START_TEST(its_status_is_that_of_a_shell)
{
	ck_assert_int_eq(run("exit 0"), 0);
	ck_assert_int_eq(run("exit 3"), 3);
	ck_assert_int_eq(run("kill -9 $$"), 137);
	ck_assert_int_eq(run("kill -SEGV $$"), 128 + SIGSEGV);
}
END_TEST

START_TEST(what_cannot_run_is_told_at_once)
{
	ck_assert_int_eq(begin("/does/not/exist"), COMMAND_EXIT_NOT_FOUND);
	ck_assert_int_eq(begin("no-such-program-anywhere"), COMMAND_EXIT_NOT_FOUND);
	ck_assert_int_eq(begin("/etc/passwd"), COMMAND_EXIT_NOT_RUN);
	ck_assert_int_eq(begin("/tmp"), COMMAND_EXIT_NOT_RUN);
}
END_TEST

START_TEST(it_is_there_and_waits_until_it_may_begin)
{
	char name[] = "/tmp/test-command-XXXXXX", script[128];
	struct command *command;

	close(mkstemp(name));
	snprintf(script, sizeof(script), "rm %s", name);
	shell[2] = script;
	ck_assert_int_eq(command_new(shell, &command), 0);
	ck_assert_int_eq(kill(command_pid(command), 0), 0);
	usleep(100000);
	ck_assert_int_eq(access(name, F_OK), 0);
	ck_assert_int_eq(command_begin(command), 0);
	ck_assert_int_eq(wait_for(command), 0);
	ck_assert_int_ne(access(name, F_OK), 0);
	command_free(command);
}
END_TEST

START_TEST(one_that_never_began_goes_away)
{
	struct command *command;
	siginfo_t info;
	pid_t pid;

	shell[2] = (char *)"exit 0";
	ck_assert_int_eq(command_new(shell, &command), 0);
	pid = command_pid(command);
	command_free(command);
	ck_assert_int_eq(waitid(P_PID, pid, &info, WEXITED), 0);
	ck_assert_int_eq(info.si_status, EXIT_FAILURE);
	command_free(NULL);
}
END_TEST

START_TEST(one_that_is_killed_before_it_begins_is_no_error)
{
	struct command *command;
	siginfo_t info;

	shell[2] = (char *)"exit 0";
	ck_assert_int_eq(command_new(shell, &command), 0);
	kill(command_pid(command), SIGKILL);
	ck_assert_int_eq(waitid(P_PID, command_pid(command), &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(command_begin(command), 0);
	ck_assert_int_eq(wait_for(command), 137);
	command_free(command);
}
END_TEST

START_TEST(signals_and_limits_are_as_they_would_be_without_us)
{
	char script[128];
	struct rlimit before, after;
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(run("kill -TERM $$; exit 0"), 128 + SIGTERM);
	ck_assert_int_eq(run("kill -PIPE $$; exit 0"), 128 + SIGPIPE);

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	before.rlim_cur = 77;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	descriptors_raise_limit();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &after), 0);
	ck_assert_uint_eq(after.rlim_cur, before.rlim_max);
	snprintf(script, sizeof(script), "test $(ulimit -Sn) = 77");
	ck_assert_int_eq(run(script), 0);
}
END_TEST

START_TEST(standard_descriptors_that_were_closed_are_not_given_to_files)
{
	int fd;

	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	descriptors_fill_standard();
	fd = open("/dev/null", O_RDWR);
	ck_assert_int_gt(fd, STDERR_FILENO);
	ck_assert_int_eq(write(STDOUT_FILENO, "x", 1), -1);
	ck_assert_int_eq(errno, EBADF);
}
END_TEST

UNIT_TESTS("command", its_status_is_that_of_a_shell, what_cannot_run_is_told_at_once,
	it_is_there_and_waits_until_it_may_begin, one_that_never_began_goes_away,
	one_that_is_killed_before_it_begins_is_no_error, signals_and_limits_are_as_they_would_be_without_us,
	standard_descriptors_that_were_closed_are_not_given_to_files)
