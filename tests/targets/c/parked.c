/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that each stay where they are: six that wait, in six ways, two that have each locked what the other one wants, two that
 * always run, and one that may only run when no other one wants to. `parked [SECONDS [SLEEPERS [CHURNERS]]]`: that many
 * more threads sleep, named "sleeper" and deep in calls, and so many others start and end threads all the time. A line "ready"
 * is printed when all are there.
 */
#include "truth.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 20, MAX_MORE = 10000, STACK_BYTES = 128 << 10 };

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, quiet = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t dead_first = PTHREAD_MUTEX_INITIALIZER, dead_second = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t dead;
static int fds[2];
static volatile uint64_t sink;

#define WAY __attribute__((noinline)) static void

WAY wait_sleep(void)
{
	const struct timespec long_time = { .tv_sec = 100000 };

	nanosleep(&long_time, NULL);
	sink++;
}

WAY wait_mutex(void)
{
	pthread_mutex_lock(&held);
	sink++;
}

WAY wait_condition(void)
{
	pthread_mutex_lock(&quiet);
	for (;;)
		pthread_cond_wait(&never, &quiet);
}

WAY wait_poll(void)
{
	struct pollfd fd = { .fd = fds[0], .events = POLLIN };

	poll(&fd, 1, -1);
	sink++;
}

WAY wait_pipe(void)
{
	char byte;

	sink += (uint64_t)read(fds[0], &byte, 1);
}

WAY wait_child(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(STDOUT_FILENO);
		pause();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	sink++;
}

WAY wait_dead_first(void)
{
	pthread_mutex_lock(&dead_first);
	pthread_barrier_wait(&dead);
	pthread_mutex_lock(&dead_second);
	sink++;
}

WAY wait_dead_second(void)
{
	pthread_mutex_lock(&dead_second);
	pthread_barrier_wait(&dead);
	pthread_mutex_lock(&dead_first);
	sink++;
}

WAY run_always(void)
{
	for (;;)
		sink = sink * 3 + 1;
}

static void pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* On the CPU of the first one that always runs. */
WAY run_if_may(void)
{
	const struct sched_param parameter = { 0 };

	pin(0);
	sched_setscheduler(0, SCHED_IDLE, &parameter);
	for (;;)
		sink = sink * 5 + 1;
}

WAY run_on_first(void)
{
	pin(0);
	run_always();
}

static const struct way {
	const char *name;
	void (*run)(void);
} ways[] = {
	{ "sleep", wait_sleep }, { "mutex", wait_mutex }, { "condition", wait_condition }, { "poll", wait_poll }, { "pipe", wait_pipe },
	{ "child", wait_child }, { "dead_first", wait_dead_first }, { "dead_second", wait_dead_second }, { "busy", run_on_first },
	{ "busy", run_always }, { "idle", run_if_may },
};

static void *begin(void *argument)
{
	const struct way *way = argument;

	pthread_setname_np(pthread_self(), way->name);
	way->run();
	return NULL;
}

__attribute__((noinline)) static void sleep_deep(unsigned depth)
{
	if (depth)
		sleep_deep(depth - 1);
	else
		wait_sleep();
	sink++;
}

static void *begin_sleeper(void *argument)
{
	pthread_setname_np(pthread_self(), "sleeper");
	sleep_deep(DEPTH);
	return argument;
}

static void *begin_moment(void *argument)
{
	const struct timespec moment = { .tv_nsec = 200000 };

	pthread_setname_np(pthread_self(), "moment");
	nanosleep(&moment, NULL);
	return argument;
}

static void *begin_churner(void *argument)
{
	pthread_t thread;

	pthread_setname_np(pthread_self(), "churner");
	for (;;)
		if (!pthread_create(&thread, NULL, begin_moment, NULL))
			pthread_join(thread, NULL);
	return argument;
}

static void start_more(int n, void *(*run)(void *))
{
	pthread_attr_t small;
	pthread_t thread;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	for (int i = 0; i < n && i < MAX_MORE; i++)
		if (pthread_create(&thread, &small, run, NULL))
			exit(71);
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);
	const struct timespec settle = { .tv_nsec = 200000000 };

	if (pipe(fds) < 0 || pthread_barrier_init(&dead, NULL, 2))
		return 71;
	pthread_mutex_lock(&held);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, begin, (void *)&ways[i]))
			return 71;
	}
	start_more(argc > 2 ? atoi(argv[2]) : 0, begin_sleeper);
	start_more(argc > 3 ? atoi(argv[3]) : 0, begin_churner);
	nanosleep(&settle, NULL);
	puts("ready");
	fflush(stdout);
	while (truth_monotonic_nsec() < end_nsec && !truth_stopped())
		nanosleep(&settle, NULL);
	truth_print(NULL, 0);
	fflush(stdout);
	_exit(0); /* nobody can be joined */
}
