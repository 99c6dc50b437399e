/* SPDX-License-Identifier: Apache-2.0 */
/* What is waited for, and a thread that ends each wait once in 5 ms. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, beside_condition = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static unsigned n_signals;
static int for_read[2], for_poll[2];

static void pause_period(void)
{
	const struct timespec period = {.tv_nsec = 5000000};

	nanosleep(&period, NULL);
}

int c_begin(const char *name)
{
	pthread_setname_np(pthread_self(), name);
	return (int)syscall(SYS_gettid);
}

uint64_t c_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void take_byte(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		exit(71);
}

void c_in_mutex(void)
{
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
}

void c_in_condition(void)
{
	unsigned before;

	pthread_mutex_lock(&beside_condition);
	before = n_signals;
	while (n_signals == before)
		pthread_cond_wait(&condition, &beside_condition);
	pthread_mutex_unlock(&beside_condition);
}

void c_in_read(void)
{
	take_byte(for_read[0]);
	__asm__ volatile("");
}

void c_in_poll(void)
{
	struct pollfd fd = {.fd = for_poll[0], .events = POLLIN};

	if (poll(&fd, 1, -1) == 1)
		take_byte(for_poll[0]);
}

void c_in_sleep(void)
{
	pause_period();
	__asm__ volatile("");
}

static void *feed(void *argument)
{
	pthread_setname_np(pthread_self(), "feeder");
	for (;;) {
		pthread_mutex_lock(&mutex);
		pause_period();
		pthread_mutex_unlock(&mutex);
		pthread_mutex_lock(&beside_condition);
		n_signals++;
		pthread_mutex_unlock(&beside_condition);
		pthread_cond_signal(&condition);
		if (write(for_read[1], "x", 1) != 1 || write(for_poll[1], "x", 1) != 1)
			exit(71);
	}
	return argument;
}

void c_start_feeder(void)
{
	pthread_t thread;

	if (pipe(for_read) < 0 || pipe(for_poll) < 0 || pthread_create(&thread, NULL, feed, NULL))
		exit(71);
}
