/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that wait inside libc, thousands of times a second, and spend their CPU time on going to sleep and waking:
 * thread "mutex" in wait_mutex, "cond" in wait_cond, "read" in wait_read, "poll", "epoll", "nanosleep" likewise; "feeder"
 * wakes them. `blocked [SECONDS]`; the line it prints also has each thread's id, name, CPU time and number of waits.
 */
#include "truth.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct waiter {
	const char *name;
	void (*wait)(struct waiter *);
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t condition;
	int fds[2], epoll_fd;
	int tid;
	uint64_t n_waits, cpu_nsec;
};

static volatile int ended;

static void take_byte(struct waiter *w)
{
	char byte;

	if (read(w->fds[0], &byte, 1) < 0)
		exit(70);
}

/* The feeder has it most of the time. */
__attribute__((noinline)) static void wait_mutex(struct waiter *w)
{
	pthread_mutex_lock(&w->mutex);
	pthread_mutex_unlock(&w->mutex);
}

__attribute__((noinline)) static void wait_cond(struct waiter *w)
{
	pthread_mutex_lock(&w->mutex);
	if (!ended)
		pthread_cond_wait(&w->condition, &w->mutex);
	pthread_mutex_unlock(&w->mutex);
}

__attribute__((noinline)) static void wait_read(struct waiter *w)
{
	take_byte(w);
	__asm__ volatile("");
}

__attribute__((noinline)) static void wait_poll(struct waiter *w)
{
	struct pollfd fd = {.fd = w->fds[0], .events = POLLIN};

	if (poll(&fd, 1, -1) == 1)
		take_byte(w);
}

__attribute__((noinline)) static void wait_epoll(struct waiter *w)
{
	struct epoll_event event;

	if (epoll_wait(w->epoll_fd, &event, 1, -1) == 1)
		take_byte(w);
}

__attribute__((noinline)) static void wait_nanosleep(struct waiter *w)
{
	const struct timespec moment = {.tv_nsec = 1};

	(void)w;
	nanosleep(&moment, NULL);
	__asm__ volatile("");
}

static struct waiter waiters[] = {
	{.name = "mutex", .wait = wait_mutex}, {.name = "cond", .wait = wait_cond},
	{.name = "read", .wait = wait_read},   {.name = "poll", .wait = wait_poll},
	{.name = "epoll", .wait = wait_epoll}, {.name = "nanosleep", .wait = wait_nanosleep},
};

enum { MUTEX, COND, READ, POLL, EPOLL, NANOSLEEP, N_WAITERS };

__attribute__((noinline)) static void *run_waiter(void *argument)
{
	struct waiter *w = argument;

	w->tid = (int)syscall(SYS_gettid);
	pthread_setname_np(pthread_self(), w->name);
	while (!ended) {
		w->wait(w);
		w->n_waits++;
	}
	w->cpu_nsec = truth_thread_nsec();
	return NULL;
}

static void start(struct waiter *w)
{
	struct epoll_event event = {.events = EPOLLIN};

	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->condition, NULL);
	w->epoll_fd = epoll_create1(0);
	if (pipe(w->fds) < 0 || w->epoll_fd < 0 || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->fds[0], &event) < 0)
		exit(71);
	if (fcntl(w->fds[1], F_SETFL, O_NONBLOCK) < 0 || pthread_create(&w->thread, NULL, run_waiter, w))
		exit(71);
}

__attribute__((noinline)) static void feed(const struct timespec *pause)
{
	for (int i = READ; i <= EPOLL; i++)
		if (write(waiters[i].fds[1], "x", 1) < 0)
			continue; /* it is full: whoever reads it is not waiting */
	pthread_mutex_lock(&waiters[COND].mutex);
	pthread_cond_signal(&waiters[COND].condition);
	pthread_mutex_unlock(&waiters[COND].mutex);
	pthread_mutex_lock(&waiters[MUTEX].mutex);
	nanosleep(pause, NULL);
	pthread_mutex_unlock(&waiters[MUTEX].mutex);
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);
	const struct timespec pause = {.tv_nsec = 100000};

	pthread_setname_np(pthread_self(), "feeder");
	for (int i = 0; i < N_WAITERS; i++)
		start(&waiters[i]);
	while (!truth_stopped() && truth_monotonic_nsec() < end_nsec)
		feed(&pause);
	ended = 1;
	feed(&pause);
	for (int i = 0; i < N_WAITERS; i++)
		pthread_join(waiters[i].thread, NULL);

	truth_print_open(NULL, 0);
	printf(",\"threads\":[");
	for (int i = 0; i < N_WAITERS; i++)
		printf("%s{\"name\":\"%s\",\"tid\":%d,\"cpu_ns\":%" PRIu64 ",\"waits\":%" PRIu64 "}", i ? "," : "", waiters[i].name,
		       waiters[i].tid, waiters[i].cpu_nsec, waiters[i].n_waits);
	printf("]}\n");
	return 0;
}
