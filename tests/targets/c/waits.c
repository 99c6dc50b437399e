/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that wait, each in its own way, and measure with their own clocks how long they did not run: wall time less CPU time.
 * `waits [SECONDS]`; the line has "threads":[{"name","tid","reason","waits","wall_ns","cpu_ns","waited_ns"}], where
 * waited_ns is what the waiting calls took, CPU time of the calls included, and wall_ns - cpu_ns all the time in which the
 * thread did not run.
 */
#include "truth.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 16 << 20, BLOCK = 4096, PERIOD_USEC = 5000 };

struct waiter {
	const char *name, *reason;
	void (*wait)(struct waiter *);
	int (*prepare)(struct waiter *);     /* 0; else it does not exist here */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t condition;
	int fds[2], other_fd;
	void *memory;
	uint64_t position, random;
	int tid, is_there;
	uint64_t n_waits, wall_nsec, cpu_nsec, waited_nsec;
};

static volatile int ended;

static void pause_usec(long usec)
{
	const struct timespec moment = {.tv_nsec = usec * 1000};

	nanosleep(&moment, NULL);
}

/* --- What is waited for --- */

static int make_pipe(struct waiter *w)
{
	return pipe(w->fds);
}

static int make_unix(struct waiter *w)
{
	return socketpair(AF_UNIX, SOCK_STREAM, 0, w->fds);
}

static int make_tcp(struct waiter *w)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) < 0)
		return -1;
	w->fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	if (w->fds[1] < 0 || connect(w->fds[1], (struct sockaddr *)&address, size) < 0)
		return -1;
	w->fds[0] = accept(listener, NULL, NULL);
	close(listener);
	return w->fds[0] < 0 ? -1 : 0;
}

static int make_epoll(struct waiter *w)
{
	struct epoll_event event = {.events = EPOLLIN};

	w->other_fd = epoll_create1(0);
	return make_pipe(w) < 0 || w->other_fd < 0 || epoll_ctl(w->other_fd, EPOLL_CTL_ADD, w->fds[0], &event) < 0 ? -1 : 0;
}

/* On a disk: $TMPDIR may be one in memory. */
static int make_file(struct waiter *w, int flags)
{
	char path[] = "/var/tmp/tsprofd-waits-XXXXXX", *bytes = malloc(FILE_BYTES);
	int fd = mkstemp(path);

	if (fd < 0 || !bytes)
		return -1;
	memset(bytes, 1, FILE_BYTES);
	if (write(fd, bytes, FILE_BYTES) != FILE_BYTES || fsync(fd) < 0)
		return -1;
	close(fd);
	free(bytes);
	w->other_fd = open(path, O_RDWR | flags);
	unlink(path);
	return w->other_fd < 0 ? -1 : 0;
}

static int make_plain_file(struct waiter *w)
{
	return make_file(w, 0);
}

static int make_direct_file(struct waiter *w)
{
	w->memory = aligned_alloc(BLOCK, BLOCK);
	return make_file(w, O_DIRECT);
}

static int make_mapped_file(struct waiter *w)
{
	if (make_file(w, 0) < 0)
		return -1;
	w->memory = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, w->other_fd, 0);
	if (w->memory == MAP_FAILED)
		return -1;
	madvise(w->memory, FILE_BYTES, MADV_RANDOM);
	/* It was written in large folios, of which no single page can be given up; what is read from now on comes by pages. */
	posix_fadvise(w->other_fd, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

struct uring {
	uint8_t *rings;
	struct io_uring_sqe *entries;
	struct io_uring_params parameters;
};

static int make_uring(struct waiter *w)
{
	struct uring *u = calloc(1, sizeof(*u));
	size_t size;

	w->memory = u;
	w->other_fd = (int)syscall(SYS_io_uring_setup, 4, &u->parameters);
	if (w->other_fd < 0)
		return -1;
	size = u->parameters.cq_off.cqes + u->parameters.cq_entries * sizeof(struct io_uring_cqe);
	u->rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, w->other_fd, IORING_OFF_SQ_RING);
	u->entries = mmap(NULL, u->parameters.sq_entries * sizeof(*u->entries), PROT_READ | PROT_WRITE, MAP_SHARED, w->other_fd,
			IORING_OFF_SQES);
	return (void *)u->rings == MAP_FAILED || (void *)u->entries == MAP_FAILED ? -1 : 0;
}

/* --- Waiting --- */

static void take_byte(struct waiter *w)
{
	char byte;

	if (read(w->fds[0], &byte, 1) < 0)
		exit(70);
}

__attribute__((noinline)) static void wait_sleep(struct waiter *w)
{
	(void)w;
	pause_usec(PERIOD_USEC);
	__asm__ volatile("");
}

/* The feeder has it most of the time. */
__attribute__((noinline)) static void wait_mutex(struct waiter *w)
{
	pthread_mutex_lock(&w->mutex);
	pthread_mutex_unlock(&w->mutex);
}

__attribute__((noinline)) static void wait_condition(struct waiter *w)
{
	pthread_mutex_lock(&w->mutex);
	if (!ended)
		pthread_cond_wait(&w->condition, &w->mutex);
	pthread_mutex_unlock(&w->mutex);
}

__attribute__((noinline)) static void wait_poll(struct waiter *w)
{
	struct pollfd fd = {.fd = w->fds[0], .events = POLLIN};

	if (poll(&fd, 1, -1) == 1)
		take_byte(w);
}

__attribute__((noinline)) static void wait_select(struct waiter *w)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(w->fds[0], &set);
	if (select(w->fds[0] + 1, &set, NULL, NULL, NULL) == 1)
		take_byte(w);
}

__attribute__((noinline)) static void wait_epoll(struct waiter *w)
{
	struct epoll_event event;

	if (epoll_wait(w->other_fd, &event, 1, -1) == 1)
		take_byte(w);
}

__attribute__((noinline)) static void wait_pipe(struct waiter *w)
{
	take_byte(w);
	__asm__ volatile("");
}

__attribute__((noinline)) static void wait_unix(struct waiter *w)
{
	char byte;

	if (recv(w->fds[0], &byte, 1, 0) < 0)
		exit(70);
}

__attribute__((noinline)) static void wait_tcp(struct waiter *w)
{
	take_byte(w);
	__asm__ volatile("");
}

__attribute__((noinline)) static void wait_child(struct waiter *w)
{
	pid_t pid = fork();

	(void)w;
	if (!pid) {
		pause_usec(PERIOD_USEC);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	__asm__ volatile("");
}

__attribute__((noinline)) static void wait_fsync(struct waiter *w)
{
	char byte = (char)w->n_waits;

	if (pwrite(w->other_fd, &byte, 1, (off_t)(w->n_waits * BLOCK % FILE_BYTES)) != 1 || fsync(w->other_fd) < 0)
		exit(70);
}

__attribute__((noinline)) static void wait_direct(struct waiter *w)
{
	off_t at = (off_t)(truth_random(&w->random) % (FILE_BYTES / BLOCK) * BLOCK);

	if (pread(w->other_fd, w->memory, BLOCK, at) != BLOCK)
		exit(70);
}

__attribute__((noinline)) static void wait_fault(struct waiter *w)
{
	size_t at = truth_random(&w->random) % (FILE_BYTES / BLOCK) * BLOCK;

	/* Out of memory, so that it has to be read again. */
	madvise((char *)w->memory + at, BLOCK, MADV_DONTNEED);
	posix_fadvise(w->other_fd, (off_t)at, BLOCK, POSIX_FADV_DONTNEED);
	*(volatile char *)((char *)w->memory + at);
}

/* Two of these have one CPU. */
__attribute__((noinline)) static void wait_starved(struct waiter *w)
{
	uint64_t end = truth_thread_nsec() + 2000000;

	(void)w;
	while (truth_thread_nsec() < end)
		;
}

__attribute__((noinline)) static void wait_uring(struct waiter *w)
{
	struct uring *u = w->memory;
	struct __kernel_timespec timeout = {.tv_nsec = PERIOD_USEC * 1000};
	unsigned *tail = (unsigned *)(u->rings + u->parameters.sq_off.tail), *mask = (unsigned *)(u->rings + u->parameters.sq_off.ring_mask);
	unsigned *array = (unsigned *)(u->rings + u->parameters.sq_off.array), *head = (unsigned *)(u->rings + u->parameters.cq_off.head);
	unsigned *done = (unsigned *)(u->rings + u->parameters.cq_off.tail), index = *tail & *mask;

	memset(&u->entries[index], 0, sizeof(u->entries[index]));
	u->entries[index].opcode = IORING_OP_TIMEOUT;
	u->entries[index].addr = (uint64_t)(uintptr_t)&timeout;
	u->entries[index].len = 1;
	array[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, w->other_fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		exit(70);
	__atomic_store_n(head, __atomic_load_n(done, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}

static struct waiter waiters[] = {
	{.name = "sleep", .reason = "sleep", .wait = wait_sleep},
	{.name = "mutex", .reason = "lock", .wait = wait_mutex},
	{.name = "condition", .reason = "channel", .wait = wait_condition},
	{.name = "poll", .reason = "select", .wait = wait_poll, .prepare = make_pipe},
	{.name = "select", .reason = "select", .wait = wait_select, .prepare = make_pipe},
	{.name = "epoll", .reason = "select", .wait = wait_epoll, .prepare = make_epoll},
	{.name = "pipe", .reason = "pipe", .wait = wait_pipe, .prepare = make_pipe},
	{.name = "unix", .reason = "network", .wait = wait_unix, .prepare = make_unix},
	{.name = "tcp", .reason = "network", .wait = wait_tcp, .prepare = make_tcp},
	{.name = "child", .reason = "child", .wait = wait_child},
	{.name = "fsync", .reason = "disk", .wait = wait_fsync, .prepare = make_plain_file},
	{.name = "direct", .reason = "disk", .wait = wait_direct, .prepare = make_direct_file},
	{.name = "fault", .reason = "fault", .wait = wait_fault, .prepare = make_mapped_file},
	{.name = "starved", .reason = "runqueue", .wait = wait_starved},
	{.name = "starved", .reason = "runqueue", .wait = wait_starved},
	{.name = "uring", .reason = "io_uring", .wait = wait_uring, .prepare = make_uring},
};

enum { N_WAITERS = sizeof(waiters) / sizeof(waiters[0]) };

__attribute__((noinline)) static void *run_waiter(void *argument)
{
	struct waiter *w = argument;
	uint64_t start_nsec = truth_monotonic_nsec(), start_cpu_nsec = truth_thread_nsec();

	w->tid = (int)syscall(SYS_gettid);
	pthread_setname_np(pthread_self(), w->name);
	if (w->wait == wait_starved) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(0, &one);
		sched_setaffinity(0, sizeof(one), &one);
	}
	while (!ended) {
		uint64_t begin_nsec = truth_monotonic_nsec();

		w->wait(w);
		w->waited_nsec += truth_monotonic_nsec() - begin_nsec;
		w->n_waits++;
	}
	w->wall_nsec = truth_monotonic_nsec() - start_nsec;
	w->cpu_nsec = truth_thread_nsec() - start_cpu_nsec;
	return NULL;
}

static void start(struct waiter *w)
{
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->condition, NULL);
	w->random = truth_seed();
	if (w->prepare && w->prepare(w) < 0)
		return; /* not on this machine */
	if (w->fds[1] && fcntl(w->fds[1], F_SETFL, O_NONBLOCK) < 0)
		exit(71);
	if (pthread_create(&w->thread, NULL, run_waiter, w))
		exit(71);
	w->is_there = 1;
}

static void feed(struct waiter *w)
{
	/* A full pipe is enough. */
	if (w->fds[1] && write(w->fds[1], "x", 1) < 0)
		return;
	pthread_mutex_lock(&w->mutex);
	pthread_cond_signal(&w->condition);
	pthread_mutex_unlock(&w->mutex);
}

/* Keeps the one mutex for a while, lets it go for a moment, and wakes all others. */
static void feed_all(double seconds)
{
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);
	struct waiter *mutex = &waiters[1];

	pthread_setname_np(pthread_self(), "feeder");
	while (truth_monotonic_nsec() < end_nsec && !truth_stopped()) {
		pthread_mutex_lock(&mutex->mutex);
		pause_usec(PERIOD_USEC);
		pthread_mutex_unlock(&mutex->mutex);
		for (size_t i = 0; i < N_WAITERS; i++)
			if (i != 1)
				feed(&waiters[i]);
	}
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	const char *separator = "";

	for (size_t i = 0; i < N_WAITERS; i++)
		start(&waiters[i]);
	feed_all(seconds);
	ended = 1;
	for (size_t i = 0; i < N_WAITERS; i++)
		feed(&waiters[i]);
	for (size_t i = 0; i < N_WAITERS; i++)
		if (waiters[i].is_there)
			pthread_join(waiters[i].thread, NULL);
	truth_print_open(NULL, 0);
	printf(",\"threads\":[");
	for (size_t i = 0; i < N_WAITERS; i++) {
		const struct waiter *w = &waiters[i];

		if (!w->is_there)
			continue;
		printf("%s{\"name\":\"%s\",\"tid\":%d,\"reason\":\"%s\",\"waits\":%" PRIu64 ",\"wall_ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64
				",\"waited_ns\":%" PRIu64 "}", separator, w->name, w->tid, w->reason, w->n_waits, w->wall_nsec, w->cpu_nsec,
				w->waited_nsec);
		separator = ",";
	}
	printf("]}\n");
	return 0;
}
