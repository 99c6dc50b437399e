/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that have nothing to wait for, by their wrappers in libc, which have no frame pointers: below in_read,
 * in_futex, in_poll, in_epoll and in_nanosleep, 20 % each. `syscalls [SECONDS]`
 */
#include "truth.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static int pipe_fds[2], epoll_fd;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

/* How many of a slice's rounds one call stands for. */
enum { ROUNDS = 200 };

__attribute__((noinline)) static void in_read(uint64_t n_rounds)
{
	char byte;

	for (uint64_t i = 0; i < n_rounds; i += ROUNDS)
		if (read(pipe_fds[0], &byte, 1) != -1 || errno != EAGAIN)
			exit(70);
}

/* A moment that is over: the kernel is asked all the same. */
__attribute__((noinline)) static void in_futex(uint64_t n_rounds)
{
	const struct timespec over = {.tv_sec = 1};

	pthread_mutex_lock(&mutex);
	for (uint64_t i = 0; i < n_rounds; i += 50 * ROUNDS) { /* it sleeps, for an instant, and wakes by a timer */
		int r = pthread_cond_timedwait(&condition, &mutex, &over);

		if (r && r != ETIMEDOUT) /* 0: it may wake for no reason */
			exit(70);
	}
	pthread_mutex_unlock(&mutex);
}

__attribute__((noinline)) static void in_poll(uint64_t n_rounds)
{
	struct pollfd fd = {.fd = pipe_fds[0], .events = POLLIN};

	for (uint64_t i = 0; i < n_rounds; i += ROUNDS)
		if (poll(&fd, 1, 0) && errno != EINTR) /* by the signal that ends it */
			exit(70);
}

__attribute__((noinline)) static void in_epoll(uint64_t n_rounds)
{
	struct epoll_event event;

	for (uint64_t i = 0; i < n_rounds; i += ROUNDS)
		if (epoll_wait(epoll_fd, &event, 1, 0) && errno != EINTR)
			exit(70);
}

__attribute__((noinline)) static void in_nanosleep(uint64_t n_rounds)
{
	const struct timespec over = {.tv_sec = 1};

	for (uint64_t i = 0; i < n_rounds; i += ROUNDS) {
		int r = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &over, NULL);

		if (r && r != EINTR)
			exit(70);
	}
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	struct epoll_event event = {.events = EPOLLIN};
	struct share shares[] = {
		{"in_read", 20, in_read, 0},   {"in_futex", 20, in_futex, 0},         {"in_poll", 20, in_poll, 0},
		{"in_epoll", 20, in_epoll, 0}, {"in_nanosleep", 20, in_nanosleep, 0},
	};

	epoll_fd = epoll_create1(0);
	if (pipe2(pipe_fds, O_NONBLOCK) < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_fds[0], &event) < 0)
		return 71;
	truth_spend(shares, 5, seconds);
	truth_print(shares, 5);
	return 0;
}
