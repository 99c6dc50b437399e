/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that wait for each other, or look as if they did: `deadlock WHAT [SECONDS [AFTER]]`. AFTER seconds after its start
 * (0) it begins; the line is printed when all is as it will stay, and the program ends after SECONDS (3600). The line has
 * "threads":[{"name","tid"}] and "locks":[address]: thread N has lock N and waits for lock N + 1, the last one for the first.
 *
 *	two, three      a circle of so many: "left", "middle", "right", each in hold_NAME() and want_NAME()
 *	self            "left" wants the lock that it has
 *	inherit         two, the second lock being priority-inheriting
 *	timed           two, but "left" gives up after an hour
 *	handed          no circle: "left" waits for a lock that "right" had when the wait began, and "right" for one of "left";
 *	                but the first one was handed on to "middle", who has it and works
 *	busy            1,000 threads take up to three of 24 locks each, always in the same order
 *	others          readers and writers of read-write locks, and producers and consumers with condition variables
 */
#include "truth.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { N_BUSY = 1000, N_LOCKS = 24, N_OTHERS = 16 };

struct arm {
	const char *name;
	pthread_mutex_t lock, *wanted;
	pthread_t thread;
	int tid, is_timed;
};

static struct arm arms[3] = {{.name = "left"}, {.name = "middle"}, {.name = "right"}};
static pthread_barrier_t all_hold;
static volatile int ended;

static void sleep_usec(uint64_t usec)
{
	const struct timespec moment = {.tv_sec = (time_t)(usec / 1000000), .tv_nsec = (long)(usec % 1000000) * 1000};

	nanosleep(&moment, NULL);
}

/* --- Circles --- */

/* Each thread in functions of its own, so that stacks tell them apart. Nothing here is a tail call. */
#define ARM(which)												\
	__attribute__((noinline)) static void want_##which(struct arm *arm)					\
	{													\
		struct timespec until = {.tv_sec = time(NULL) + 3600};						\
														\
		if (arm->is_timed)										\
			pthread_mutex_timedlock(arm->wanted, &until);						\
		else												\
			pthread_mutex_lock(arm->wanted);							\
		__asm__ volatile("");										\
	}													\
														\
	__attribute__((noinline)) static void hold_##which(struct arm *arm)					\
	{													\
		pthread_mutex_lock(&arm->lock);									\
		pthread_barrier_wait(&all_hold);								\
		want_##which(arm);										\
		__asm__ volatile("");										\
	}													\
														\
	static void *run_##which(void *argument)								\
	{													\
		struct arm *arm = argument;									\
														\
		arm->tid = (int)syscall(SYS_gettid);								\
		prctl(PR_SET_NAME, arm->name);									\
		hold_##which(arm);										\
		return NULL;											\
	}

ARM(left)
ARM(middle)
ARM(right)

static void *(*const runs[3])(void *) = {run_left, run_middle, run_right};

static void init_lock(pthread_mutex_t *lock, int protocol)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, protocol);
	pthread_mutex_init(lock, &attributes);
}

/* --- A lock that is handed on --- */

static volatile int step;
static struct arm *const left = &arms[0], *const middle = &arms[1], *const right = &arms[2];

static void wait_step(int wanted)
{
	while (step < wanted)
		sleep_usec(1000);
}

static void *handed_left(void *argument)
{
	left->tid = (int)syscall(SYS_gettid);
	prctl(PR_SET_NAME, left->name);
	pthread_mutex_lock(&left->lock);
	step = 1;
	/* "right" has its lock, and "middle" waits for it. */
	wait_step(3);
	step = 4;
	pthread_mutex_lock(&right->lock);
	return argument;
}

static void *handed_middle(void *argument)
{
	middle->tid = (int)syscall(SYS_gettid);
	prctl(PR_SET_NAME, middle->name);
	wait_step(2);
	step = 3;
	pthread_mutex_lock(&right->lock);
	step = 5;
	while (!ended)
		sleep_usec(50000);
	return argument;
}

static void *handed_right(void *argument)
{
	right->tid = (int)syscall(SYS_gettid);
	prctl(PR_SET_NAME, right->name);
	wait_step(1);
	pthread_mutex_lock(&right->lock);
	step = 2;
	wait_step(4);
	sleep_usec(200000);
	/* Who came first is woken: "middle". */
	pthread_mutex_unlock(&right->lock);
	wait_step(5);
	pthread_mutex_lock(&left->lock);
	return argument;
}

/* --- Many threads, and no circle --- */

static pthread_mutex_t ordered[N_LOCKS];
static _Atomic uint64_t n_taken;

static void *run_busy(void *argument)
{
	uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15ULL + 1;

	prctl(PR_SET_NAME, "busy");
	while (!ended) {
		size_t first = truth_random(&random) % (N_LOCKS - 2), second = first + 1 + truth_random(&random) % (N_LOCKS - first - 2),
		       third = second + 1 + truth_random(&random) % (N_LOCKS - second - 1);

		pthread_mutex_lock(&ordered[first]);
		pthread_mutex_lock(&ordered[second]);
		pthread_mutex_lock(&ordered[third]);
		sleep_usec(truth_random(&random) % 4000);
		pthread_mutex_unlock(&ordered[third]);
		pthread_mutex_unlock(&ordered[second]);
		sleep_usec(truth_random(&random) % 4000);
		pthread_mutex_unlock(&ordered[first]);
		atomic_fetch_add(&n_taken, 1);
	}
	return NULL;
}

static pthread_rwlock_t shared[2] = {PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER};
static pthread_mutex_t queue = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static int n_queued;

static void use_shared(uint64_t *random)
{
	int is_writer = truth_random(random) % 4 == 0;

	for (int i = 0; i < 2; i++)
		is_writer ? pthread_rwlock_wrlock(&shared[i]) : pthread_rwlock_rdlock(&shared[i]);
	sleep_usec(truth_random(random) % 20000);
	pthread_rwlock_unlock(&shared[1]);
	pthread_rwlock_unlock(&shared[0]);
}

static void produce(uint64_t *random)
{
	sleep_usec(truth_random(random) % 5000000);
	pthread_mutex_lock(&queue);
	n_queued++;
	pthread_cond_signal(&filled);
	pthread_mutex_unlock(&queue);
}

static void consume(void)
{
	pthread_mutex_lock(&queue);
	while (!n_queued && !ended)
		pthread_cond_wait(&filled, &queue);
	n_queued--;
	pthread_mutex_unlock(&queue);
}

static void *run_other(void *argument)
{
	uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15ULL + 1;
	size_t number = (uintptr_t)argument;

	prctl(PR_SET_NAME, "other");
	while (!ended) {
		if (number % 4 == 0)
			produce(&random);
		else if (number % 4 == 1)
			consume();
		else
			use_shared(&random);
		atomic_fetch_add(&n_taken, 1);
	}
	return NULL;
}

static void start_many(void *(*run)(void *), size_t n)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 << 10);
	for (size_t i = 0; i < N_LOCKS; i++)
		init_lock(&ordered[i], PTHREAD_PRIO_NONE);
	for (size_t i = 1; i <= n; i++)
		if (pthread_create(&thread, &attributes, run, (void *)i))
			exit(71);
}

/* --- */

/* Thread N has lock N and wants lock N + 1 of those that take part. */
static void start_circle(size_t n, int last_protocol, int is_timed)
{
	pthread_barrier_init(&all_hold, NULL, (unsigned)n);
	for (size_t i = 0; i < n; i++) {
		arms[i].wanted = &arms[(i + 1) % n].lock;
		init_lock(&arms[i].lock, i + 1 == n ? last_protocol : PTHREAD_PRIO_NONE);
	}
	arms[0].is_timed = is_timed;
	for (size_t i = 0; i < n; i++)
		if (pthread_create(&arms[i].thread, NULL, runs[i], &arms[i]))
			exit(71);
}

static void start_handed(void)
{
	static void *(*const functions[3])(void *) = {handed_left, handed_middle, handed_right};

	for (size_t i = 0; i < 3; i++) {
		init_lock(&arms[i].lock, PTHREAD_PRIO_NONE);
		if (pthread_create(&arms[i].thread, NULL, functions[i], NULL))
			exit(71);
	}
}

static size_t start(const char *what)
{
	if (!strcmp(what, "three"))
		return start_circle(3, PTHREAD_PRIO_NONE, 0), 3;
	if (!strcmp(what, "self"))
		return start_circle(1, PTHREAD_PRIO_NONE, 0), 1;
	if (!strcmp(what, "handed"))
		return start_handed(), 3;
	if (!strcmp(what, "busy"))
		return start_many(run_busy, N_BUSY), 0;
	if (!strcmp(what, "others"))
		return start_many(run_other, N_OTHERS), 0;
	/* In a circle of two it is "middle" that is the second one. */
	return start_circle(2, strcmp(what, "inherit") ? PTHREAD_PRIO_NONE : PTHREAD_PRIO_INHERIT, !strcmp(what, "timed")), 2;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "two", *separator = "";
	double seconds = truth_begin(argc - 1, argv + 1, 3600);
	size_t n;

	sleep_usec((uint64_t)((argc > 3 ? atof(argv[3]) : 0) * 1e6));
	n = start(what);
	sleep_usec(1000000);
	truth_print_open(NULL, 0);
	printf(",\"threads\":[");
	for (size_t i = 0; i < n; i++, separator = ",")
		printf("%s{\"name\":\"%s\",\"tid\":%d}", separator, arms[i].name, arms[i].tid);
	printf("],\"locks\":[");
	separator = "";
	for (size_t i = 0; i < n; i++, separator = ",")
		printf("%s%" PRIuPTR, separator, (uintptr_t)&arms[i].lock);
	printf("]}\n");
	fflush(stdout);
	for (uint64_t end = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9); truth_monotonic_nsec() < end && !truth_stopped();)
		sleep_usec(20000);
	fprintf(stderr, "%" PRIu64 " times\n", atomic_load(&n_taken));
	_exit(0);
}
