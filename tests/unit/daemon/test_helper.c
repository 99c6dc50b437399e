/* SPDX-License-Identifier: Apache-2.0 */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../main.h"
#include "clock.h"

/* Of a helper that sleeps for ever, unless it ends itself, or at once with a status or by a signal. */
static struct helper begin(unsigned int most_sec, int status, int signal_number)
{
	struct helper helper;
	pid_t pid = fork();

	if (pid == 0) {
		helper_begin(NULL, 0, most_sec);
		if (signal_number)
			raise(signal_number);
		while (status < 0)
			pause();
		_exit(status);
	}
	ck_assert_int_eq(helper_watch(&helper, pid), 0);
	return helper;
}

static void nothing_is_left_behind(void)
{
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}

START_TEST(what_a_helper_ends_with_is_told)
{
	static const int statuses[] = { 0, ESRCH, EPERM };

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		struct helper helper = begin(60, statuses[i], 0);

		ck_assert(helper_has_ended(&helper, 20000));
		ck_assert_int_eq(helper_finish(&helper), -statuses[i]);
		ck_assert_int_eq(helper.pid, 0);
		helper_deinit(&helper);
	}
	nothing_is_left_behind();
}
END_TEST

START_TEST(one_that_takes_too_long_is_ended)
{
	struct helper helper = begin(60, -1, 0);
	uint64_t start_nsec = clock_monotonic_nsec();

	ck_assert(!helper_has_ended(&helper, 20));
	ck_assert_uint_ge(clock_monotonic_nsec() - start_nsec, 19 * NSEC_PER_MSEC);
	ck_assert_int_eq(helper_finish(&helper), -ETIMEDOUT);
	helper_deinit(&helper);
	nothing_is_left_behind();
}
END_TEST

START_TEST(one_that_nobody_ends_ends_itself)
{
	struct helper helper = begin(1, -1, 0);

	ck_assert(helper_has_ended(&helper, 20000));
	ck_assert_int_eq(helper_finish(&helper), -ETIMEDOUT);
	helper_deinit(&helper);
}
END_TEST

START_TEST(one_that_crashes_has_failed)
{
	struct helper helper = begin(60, 0, SIGKILL);

	ck_assert(helper_has_ended(&helper, 20000));
	ck_assert_int_eq(helper_finish(&helper), -EIO);
	helper_deinit(&helper);
}
END_TEST

START_TEST(nobody_waits_for_one_that_is_killed_or_left)
{
	struct helper helper = begin(60, -1, 0);
	pid_t pid = helper.pid;

	helper_leave(&helper);
	ck_assert_int_eq(helper.pid, 0);
	ck_assert(!helper_has_ended(&helper, 0));
	helper.pid = pid;
	helper_kill(&helper);
	ck_assert(helper_has_ended(&helper, 20000));
	helper_deinit(&helper);
	waitpid(pid, NULL, 0);
	nothing_is_left_behind();
}
END_TEST

START_TEST(one_that_could_not_be_made_is_none)
{
	struct helper helper;

	errno = EAGAIN;
	ck_assert_int_eq(helper_watch(&helper, -1), -EAGAIN);
	ck_assert(!helper_has_ended(&helper, 0));
	helper_kill(&helper);
	helper_deinit(&helper);
}
END_TEST

START_TEST(a_helper_has_only_the_descriptors_that_it_keeps)
{
	int kept[2], other = open("/dev/null", O_RDONLY), status;
	struct helper helper;
	pid_t pid;

	ck_assert_int_eq(pipe(kept), 0);
	pid = fork();
	if (pid == 0) {
		helper_begin(kept, 2, 60);
		_exit(fcntl(other, F_GETFD) < 0 && fcntl(kept[0], F_GETFD) >= 0 && fcntl(kept[1], F_GETFD) >= 0 ? 0 : 1);
	}
	ck_assert_int_eq(helper_watch(&helper, pid), 0);
	ck_assert(helper_has_ended(&helper, 20000));
	status = helper_finish(&helper);
	ck_assert_int_eq(status, 0);
	helper_deinit(&helper);
	close(kept[0]);
	close(kept[1]);
	close(other);
}
END_TEST

UNIT_TESTS("helper", what_a_helper_ends_with_is_told, one_that_takes_too_long_is_ended, one_that_nobody_ends_ends_itself,
	one_that_crashes_has_failed, nobody_waits_for_one_that_is_killed_or_left, one_that_could_not_be_made_is_none,
	a_helper_has_only_the_descriptors_that_it_keeps)
