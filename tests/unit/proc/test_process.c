/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "location.h"
#include "main.h"

static int parse(const char *text, struct process_stat *stat)
{
	return process_parse_stat(text, strlen(text), stat);
}

#define TAIL "0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 100 200"

START_TEST(a_name_may_hold_what_looks_like_fields)
{
	struct process_stat stat;

	ck_assert_int_eq(parse("7 (a) R 9 (b)) S 3 1 1 " TAIL "\n", &stat), 0);
	ck_assert_str_eq(stat.comm, "a) R 9 (b)");
	ck_assert_uint_eq(stat.parent_pid, 3);
	ck_assert_uint_eq(stat.start_ticks, 4242);
	ck_assert(!stat.is_kernel_thread);
	ck_assert(!stat.is_zombie);
}
END_TEST

START_TEST(the_program_is_known_by_where_its_code_and_stack_begin)
{
	struct process_stat stat;

	ck_assert_int_eq(parse("7 (a) R 3 1 1 " TAIL " 9 4096 8192 140737488345000 0 0\n", &stat), 0);
	ck_assert_uint_eq(stat.start_code, 4096);
	ck_assert_uint_eq(stat.start_stack, 140737488345000);
	ck_assert_int_eq(parse("7 (a) R 3 1 1 " TAIL "\n", &stat), 0);
	ck_assert_uint_eq(stat.start_stack, 0);
}
END_TEST

START_TEST(a_kernel_thread_and_a_zombie_are_known_by_their_fields)
{
	struct process_stat stat;

	ck_assert_int_eq(parse("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 12 0 0\n", &stat), 0);
	ck_assert(stat.is_kernel_thread);
	ck_assert_int_eq(parse("2 (x) Z 0 0 0 " TAIL "\n", &stat), 0);
	ck_assert(stat.is_zombie);
	ck_assert(!stat.lost_leader);
	/* Others of its threads live. */
	ck_assert_int_eq(parse("2 (x) Z 0 0 0 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 4242 100 200\n", &stat), 0);
	ck_assert(!stat.is_zombie);
	ck_assert(stat.lost_leader);
}
END_TEST

START_TEST(a_long_name_is_cut)
{
	struct process_stat stat;

	ck_assert_int_eq(parse("2 (kworker/0:1-events_freezable) S 0 0 0 " TAIL "\n", &stat), 0);
	ck_assert_str_eq(stat.comm, "kworker/0:1-eve");
}
END_TEST

START_TEST(what_is_no_stat_is_refused)
{
	struct process_stat stat;

	ck_assert_int_eq(parse("", &stat), -EBADMSG);
	ck_assert_int_eq(parse("7 (a", &stat), -EBADMSG);
	ck_assert_int_eq(parse(") 7 (", &stat), -EBADMSG);
	ck_assert_int_eq(parse("7 (a) S 1 2 3", &stat), -EBADMSG);
}
END_TEST

START_TEST(the_innermost_pid_and_the_effective_user_are_read)
{
	static const char text[] = "Name:\tx\nUmask:\t0022\nPid:\t900\nUid:\t1000\t1001\t1002\t1003\nGid:\t1\t2\t3\t4\n"
				   "NSpid:\t900\t31\t7\nThreads:\t1\n";
	struct process_status status;

	ck_assert_int_eq(process_parse_status(text, sizeof(text) - 1, &status), 0);
	ck_assert_uint_eq(status.effective_uid, 1001);
	ck_assert_uint_eq(status.effective_gid, 2);
	ck_assert_uint_eq(status.namespace_pid, 7);
	ck_assert_int_eq(process_parse_status("Uid:\t1\t2\n", 9, &status), -EBADMSG);
	ck_assert_int_eq(process_parse_status("\nUid:\nNSpid:\n", 13, &status), -EBADMSG);
}
END_TEST

static bool catches(const char *text, int signal)
{
	return process_catches(text, strlen(text), signal);
}

START_TEST(a_signal_counts_as_caught_only_when_the_kernel_says_so)
{
	static const char status[] = "Name:\tjava\nSigIgn:\t0000000000000004\nSigCgt:\t8000000181005ccf\nCapInh:\t0\n";

	ck_assert(catches(status, SIGQUIT));
	ck_assert(catches(status, SIGHUP));
	ck_assert(catches(status, 64));
	ck_assert(!catches(status, SIGTRAP));
	ck_assert(!catches(status, 0));
	ck_assert(!catches(status, 65));
	ck_assert(!catches("Name:\tx\nSigIgn:\t0000000000000004\nSigCgt:\t0000000000000000\n", SIGQUIT));
	/* Cut off, not there, or something else. */
	ck_assert(!process_catches(status, sizeof("Name:\tjava\nSigIgn:\t0000000000000004\nSigCgt:\t8000000181005ccf") - 1,
			SIGQUIT));
	ck_assert(!catches("", SIGQUIT));
	ck_assert(!catches("SigCgt:\t0000000000000004\n", SIGQUIT));
	ck_assert(!catches("\nSigCgt:\t00000000000000004\n", SIGQUIT));
	ck_assert(!catches("\nSigCgt:\t4\n", SIGQUIT));
	ck_assert(!catches("\nSigCgt:\t-000000000000004\n", SIGQUIT));
}
END_TEST

START_TEST(we_read_ourselves)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct process_stat stat;
	struct process_status status;
	char *exe, link[4096] = { 0 }, *line, *value;
	uint64_t now = clock_nsec(CLOCK_BOOTTIME);

	prctl(PR_SET_NAME, "a (b) c");
	ck_assert_int_eq(process_read_stat(proc, getpid(), &stat), 0);
	ck_assert_str_eq(stat.comm, "a (b) c");
	ck_assert_uint_eq(stat.parent_pid, getppid());
	ck_assert_uint_le(stat.start_ticks * NSEC_PER_TICK, now);
	ck_assert_uint_gt(stat.start_ticks * NSEC_PER_TICK + 60 * NSEC_PER_SEC, now);
	ck_assert_int_eq(process_read_status(proc, getpid(), &status), 0);
	ck_assert_uint_eq(status.effective_uid, geteuid());
	ck_assert_uint_eq(status.namespace_pid, getpid());
	ck_assert_int_gt(readlink("/proc/self/exe", link, sizeof(link) - 1), 0);
	ck_assert_int_eq(process_read_exe(proc, getpid(), &exe), 0);
	ck_assert_str_eq(exe, link);
	free(exe);
	ck_assert_int_eq(process_read_command_line(proc, getpid(), &line), 0);
	ck_assert_ptr_nonnull(strstr(line, "test_process"));
	free(line);
	ck_assert_int_eq(process_read_variable(proc, getpid(), "CK_NO_SUCH", &value), 0);
	ck_assert_ptr_null(value);
	close(proc);
}
END_TEST

START_TEST(a_variable_of_the_environment_is_found_by_its_whole_name)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *const environment[] = { (char *)"VERSION_X=wrong", (char *)"VERSION=1.2=3", (char *)"EMPTY=", NULL };
	char *const arguments[] = { (char *)"sleep", (char *)"100", NULL };
	pid_t pid = fork();
	char *value = NULL, *line;

	if (pid == 0) {
		execve("/bin/sleep", arguments, environment);
		_exit(1);
	}
	for (int i = 0; i < 1000 && !value; i++) {
		usleep(1000);
		ck_assert_int_eq(process_read_variable(proc, pid, "VERSION", &value), 0);
	}
	ck_assert_str_eq(value, "1.2=3");
	free(value);
	ck_assert_int_eq(process_read_variable(proc, pid, "EMPTY", &value), 0);
	ck_assert_str_eq(value, "");
	free(value);
	ck_assert_int_eq(process_read_command_line(proc, pid, &line), 0);
	ck_assert_str_eq(line, "sleep 100");
	free(line);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(proc);
}
END_TEST

START_TEST(a_dead_pid_reports_gone)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct process_stat stat;
	char *text;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	ck_assert_int_eq(process_read_stat(proc, pid, &stat), PROCESS_E_GONE);
	ck_assert_int_eq(process_read_exe(proc, pid, &text), PROCESS_E_GONE);
	ck_assert_int_eq(process_read_command_line(proc, pid, &text), PROCESS_E_GONE);
	close(proc);
}
END_TEST

START_TEST(only_the_mark_at_the_end_says_that_a_file_is_deleted)
{
	char marked[] = "/bin/x (deleted)", inside[] = "/bin/x (deleted) y", alone[] = " (deleted)";

	ck_assert(process_cut_deleted(marked));
	ck_assert_str_eq(marked, "/bin/x");
	ck_assert(!process_cut_deleted(inside));
	ck_assert(!process_cut_deleted(alone));
}
END_TEST

UNIT_TESTS("process", the_program_is_known_by_where_its_code_and_stack_begin, a_name_may_hold_what_looks_like_fields,
	a_kernel_thread_and_a_zombie_are_known_by_their_fields,
	a_long_name_is_cut, what_is_no_stat_is_refused, the_innermost_pid_and_the_effective_user_are_read,
	a_signal_counts_as_caught_only_when_the_kernel_says_so, we_read_ourselves,
	a_variable_of_the_environment_is_found_by_its_whole_name, a_dead_pid_reports_gone,
	only_the_mark_at_the_end_says_that_a_file_is_deleted)
