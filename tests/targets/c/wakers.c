// SPDX-License-Identifier: Apache-2.0
/*
 * Threads that wait for each other, so that it is known who ends each wait: `wakers [SECONDS]`. The line has
 * "threads":[{"name","tid","waited_ns"}]. With a second argument there is but one thread, which wants a CPU all the time.
 *
 * hold_a_lock() keeps a lock for 20 ms at a time; three threads want it in want_the_lock(), and let go of it at once.
 * A byte comes by produce_for_pipe() to who waits in read_the_pipe(), a signal by signal_the_condition() to who is in
 * await_the_condition(); sleep_a_while() is ended by a timer.
 */
#include "truth.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KEPT __attribute__((noinline, noclone))
#define UNUSED __attribute__((unused))

enum { HOLD_USEC = 20000, BETWEEN_USEC = 2000, PERIOD_USEC = 5000 };

struct role {
	const char *name;
	void (*run)(struct role *);
	pthread_t thread;
	int tid;
	uint64_t waited_nsec;
};

static volatile int ended;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, condition_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int pipe_fds[2];
static unsigned n_signals;
static volatile uint64_t sink;

static void pause_usec(long usec)
{
	const struct timespec moment = {.tv_nsec = usec * 1000};

	nanosleep(&moment, NULL);
}

KEPT void hold_a_lock(struct role *role UNUSED)
{
	pthread_mutex_lock(&lock);
	pause_usec(HOLD_USEC);
	pthread_mutex_unlock(&lock);
	sink++;
}

KEPT void want_the_lock(struct role *role)
{
	uint64_t before = truth_monotonic_nsec();

	pthread_mutex_lock(&lock);
	role->waited_nsec += truth_monotonic_nsec() - before;
	pthread_mutex_unlock(&lock);
	sink++;
}

KEPT void read_the_pipe(struct role *role UNUSED)
{
	char byte;

	if (read(pipe_fds[0], &byte, 1) != 1)
		ended = 1;
	sink++;
}

KEPT void produce_for_pipe(struct role *role UNUSED)
{
	if (write(pipe_fds[1], "", 1) != 1)
		ended = 1;
	sink++;
}

KEPT void await_the_condition(struct role *role UNUSED)
{
	unsigned before;

	pthread_mutex_lock(&condition_lock);
	before = n_signals;
	while (before == n_signals && !ended)
		pthread_cond_wait(&condition, &condition_lock);
	pthread_mutex_unlock(&condition_lock);
	sink++;
}

KEPT void signal_the_condition(struct role *role UNUSED)
{
	pthread_mutex_lock(&condition_lock);
	n_signals++;
	pthread_mutex_unlock(&condition_lock);
	pthread_cond_signal(&condition);
	sink++;
}

KEPT void sleep_a_while(struct role *role UNUSED)
{
	pause_usec(PERIOD_USEC);
	sink++;
}

KEPT void want_a_cpu(struct role *role UNUSED)
{
	for (unsigned i = 0; i < 1 << 16; i++)
		sink += i;
}

static void run_holder(struct role *role)
{
	hold_a_lock(role);
	pause_usec(BETWEEN_USEC);
}

/* All are behind the holder before it lets go, and it has the lock again before they come back. */
static void run_wanter(struct role *role)
{
	want_the_lock(role);
	pause_usec(2 * BETWEEN_USEC);
}

static void run_producer(struct role *role)
{
	pause_usec(PERIOD_USEC);
	produce_for_pipe(role);
}

static void run_signaller(struct role *role)
{
	pause_usec(PERIOD_USEC);
	signal_the_condition(role);
}

static struct role roles[] = {
	{.name = "holder", .run = run_holder},
	{.name = "wanter", .run = run_wanter},
	{.name = "wanter", .run = run_wanter},
	{.name = "wanter", .run = run_wanter},
	{.name = "reader", .run = read_the_pipe},
	{.name = "producer", .run = run_producer},
	{.name = "awaiter", .run = await_the_condition},
	{.name = "signaller", .run = run_signaller},
	{.name = "sleeper", .run = sleep_a_while},
};

static struct role starved[] = {
	{.name = "starved", .run = want_a_cpu},
};

static void *run(void *argument)
{
	struct role *role = argument;

	role->tid = (int)syscall(SYS_gettid);
	pthread_setname_np(pthread_self(), role->name);
	while (!ended)
		role->run(role);
	return NULL;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	struct role *all = argc > 2 ? starved : roles;
	size_t n = argc > 2 ? 1 : sizeof(roles) / sizeof(roles[0]);
	uint64_t end = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);

	if (pipe(pipe_fds) < 0)
		return 1;
	for (size_t i = 0; i < n; i++)
		if (pthread_create(&all[i].thread, NULL, run, &all[i]))
			return 1;
	/* Seldom: it would be one more that wants the CPU. */
	while (!truth_stopped() && truth_monotonic_nsec() < end)
		pause_usec(900000);
	ended = 1;
	/* The last one of a pair may wait for what does not come any more. */
	produce_for_pipe(&all[0]);
	signal_the_condition(&all[0]);
	for (size_t i = 0; i < n; i++)
		pthread_join(all[i].thread, NULL);
	truth_print_open(NULL, 0);
	printf(",\"threads\":[");
	for (size_t i = 0; i < n; i++)
		printf("%s{\"name\":\"%s\",\"tid\":%d,\"waited_ns\":%" PRIu64 "}", i ? "," : "", all[i].name, all[i].tid, all[i].waited_nsec);
	printf("]}\n");
	return 0;
}
