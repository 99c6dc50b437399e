/* SPDX-License-Identifier: Apache-2.0 */
#include "futex_wait.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "main.h"
#include "process.h"

#define STATUS(voluntary, nonvoluntary) \
	"Name:\tx\nNSpid:\t4242\t77\t5\nvoluntary_ctxt_switches:\t" voluntary "\nnonvoluntary_ctxt_switches:\t" nonvoluntary "\n"

static struct futex_wait parse(const char *syscall)
{
	struct futex_wait wait;

	ck_assert_int_eq(futex_wait_parse(STATUS("10", "3"), syscall, &wait), 0);
	return wait;
}

START_TEST(a_wait_for_a_futex_has_its_address)
{
	struct futex_wait wait = parse("202 0x7f0010 0x80 0x2 0x0 0x0 0x0 0x7ffe 0x7f11\n");

	ck_assert_uint_eq(wait.address, 0x7f0010);
	ck_assert(!wait.is_timed);
	ck_assert_uint_eq(wait.n_switches, 13);
	ck_assert_uint_eq(wait.namespace_tid, 5);
	/* FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, FUTEX_LOCK_PI2 */
	ck_assert_uint_eq(parse("202 0x10 0x86 0x1 0x0 0x0 0x0 0x1 0x2\n").address, 0x10);
	ck_assert_uint_eq(parse("202 0x10 0x8d 0x1 0x0 0x0 0x0 0x1 0x2\n").address, 0x10);
}
END_TEST

START_TEST(a_wait_with_a_timeout_is_timed)
{
	/* FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, as pthread_mutex_timedlock() has it */
	ck_assert(parse("202 0x7f0010 0x189 0x2 0x7ffe20 0x0 0xffffffff 0x7ffe 0x7f11\n").is_timed);
}
END_TEST

START_TEST(other_calls_are_no_wait_for_a_futex)
{
	ck_assert_uint_eq(parse("running\n").address, 0);
	ck_assert_uint_eq(parse("-1 0x7ffe 0x7f11\n").address, 0);
	ck_assert_uint_eq(parse("0 0x7f0010 0x80 0x2 0x0 0x0 0x0 0x7ffe 0x7f11\n").address, 0);
	/* FUTEX_WAKE */
	ck_assert_uint_eq(parse("202 0x7f0010 0x81 0x2 0x0 0x0 0x0 0x7ffe 0x7f11\n").address, 0);
	ck_assert_uint_eq(parse("").address, 0);
}
END_TEST

START_TEST(what_is_no_status_is_refused)
{
	struct futex_wait wait;

	ck_assert_int_eq(futex_wait_parse("", "running\n", &wait), -EBADMSG);
	ck_assert_int_eq(futex_wait_parse("NSpid:\t1\n", "running\n", &wait), -EBADMSG);
	ck_assert_int_eq(futex_wait_parse(STATUS("x", "1"), "running\n", &wait), -EBADMSG);
}
END_TEST

START_TEST(who_has_a_lock_is_in_its_words)
{
	const uint32_t contended[] = { 2, 0, 1234, 1, 0 }, free_now[] = { 0, 0, 1234, 1, 0 }, other[] = { 2, 0, 1234, 1, 100 },
		       unused[] = { 2, 0, 1234, 0, 0 }, inheriting[] = { 0x80000000 | 99, 0, 0, 0, 32 }, died[] = { 0xc0000000 | 99, 0, 0, 0, 0 };

	ck_assert_uint_eq(futex_owner(contended), 1234);
	ck_assert_uint_eq(futex_owner(free_now), 0);
	ck_assert_uint_eq(futex_owner(other), 0);
	ck_assert_uint_eq(futex_owner(unused), 0);
	ck_assert_uint_eq(futex_owner(inheriting), 99);
	ck_assert_uint_eq(futex_owner(died), 99);
}
END_TEST

/* --- Real locks --- */

struct locker {
	pthread_mutex_t mutex;
	struct timespec until;               /* 0: for good */
	volatile pid_t tid;
};

static void *lock_it(void *argument)
{
	struct locker *locker = argument;

	locker->tid = (pid_t)syscall(SYS_gettid);
	if (locker->until.tv_sec)
		pthread_mutex_timedlock(&locker->mutex, &locker->until);
	else
		pthread_mutex_lock(&locker->mutex);
	pthread_mutex_unlock(&locker->mutex);
	return NULL;
}

/* The wait of a thread that wants a lock that we have. */
static struct futex_wait look(struct locker *locker, int protocol)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY);
	struct futex_wait wait = { 0 }, again;
	pthread_mutexattr_t attributes;
	uint32_t owner = 0;
	pthread_t thread;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, protocol);
	pthread_mutex_init(&locker->mutex, &attributes);
	pthread_mutex_lock(&locker->mutex);
	ck_assert_int_eq(pthread_create(&thread, NULL, lock_it, locker), 0);
	while (!locker->tid || futex_wait_read(proc, (uint32_t)getpid(), (uint32_t)locker->tid, &wait) != 0 || !wait.address)
		sched_yield();
	/* It was seen on its way to wait, perhaps. */
	while (futex_wait_read(proc, (uint32_t)getpid(), (uint32_t)locker->tid, &again) == 0 && again.n_switches != wait.n_switches)
		wait = again;
	ck_assert_uint_eq(wait.address, (uintptr_t)&locker->mutex);
	ck_assert_uint_eq(wait.namespace_tid, locker->tid);
	ck_assert_uint_eq(again.n_switches, wait.n_switches);
	ck_assert_int_eq(futex_read_owner((uint32_t)getpid(), wait.address, &owner), 0);
	ck_assert_uint_eq(owner, getpid());
	pthread_mutex_unlock(&locker->mutex);
	pthread_join(thread, NULL);
	close(proc);
	return wait;
}

START_TEST(a_thread_that_waits_for_a_mutex_is_seen_with_its_owner)
{
	struct locker plain = { 0 }, inheriting = { 0 };

	ck_assert(!look(&plain, PTHREAD_PRIO_NONE).is_timed);
	ck_assert(!look(&inheriting, PTHREAD_PRIO_INHERIT).is_timed);
}
END_TEST

START_TEST(a_thread_that_waits_with_a_timeout_is_seen_to_do_so)
{
	struct locker locker = { .until.tv_sec = time(NULL) + 50 };

	ck_assert(look(&locker, PTHREAD_PRIO_NONE).is_timed);
}
END_TEST

START_TEST(who_is_gone_and_memory_that_is_not_there_are_told)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY);
	struct futex_wait wait;
	uint32_t owner = 7;

	ck_assert_int_eq(futex_wait_read(proc, (uint32_t)getpid(), 1 << 22, &wait), PROCESS_E_GONE);
	ck_assert_int_eq(futex_read_owner(1 << 22, 0x1000, &owner), PROCESS_E_GONE);
	ck_assert_int_eq(futex_read_owner((uint32_t)getpid(), 16, &owner), -EFAULT);
	ck_assert_uint_eq(owner, 7);
	close(proc);
}
END_TEST

UNIT_TESTS("futex_wait", a_wait_for_a_futex_has_its_address, a_wait_with_a_timeout_is_timed, other_calls_are_no_wait_for_a_futex,
	what_is_no_status_is_refused, who_has_a_lock_is_in_its_words, a_thread_that_waits_for_a_mutex_is_seen_with_its_owner,
	a_thread_that_waits_with_a_timeout_is_seen_to_do_so, who_is_gone_and_memory_that_is_not_there_are_told)
