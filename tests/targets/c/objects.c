/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that each wait for one thing, and say which: a file that is read around the page cache, one that is mapped, one that is
 * written and flushed, one that is opened for a moment, servers, locks.
 * `objects [SECONDS]`; the line has "threads":[{"name","tid","label","value","address"}]: what the label of its waits is to be;
 * of locks `value` is the variable, if there is one, and `address` where it is.
 */
#include "truth.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = 16 << 20, BLOCK = 4096, PERIOD_USEC = 3000 };

extern pthread_mutex_t objects_copied_lock;
pthread_mutex_t *objects_exported(void), *objects_hidden(void);

struct waiter {
	const char *name, *label;
	void (*wait)(struct waiter *);
	void (*prepare)(struct waiter *);
	char value[160];
	pthread_mutex_t *mutex;              /* the feeder keeps it most of the time */
	int fd, feed_fd;
	void *memory;
	uint64_t random;
	pthread_t thread;
	int tid;
};

static volatile int ended;
static char directory[] = "/var/tmp/tsprofd-objects-XXXXXX"; /* on a disk: $TMPDIR may be one in memory */

/* In .bss, in .data behind something else, and neither. */
static pthread_mutex_t lock_in_bss;
static struct {
	long number;
	pthread_mutex_t mutex;
} lock_in_data = {1, PTHREAD_MUTEX_INITIALIZER};

static void fail(const char *what)
{
	perror(what);
	exit(71);
}

static void pause_usec(long usec)
{
	const struct timespec moment = {.tv_nsec = usec * 1000};

	nanosleep(&moment, NULL);
}

/* --- files --- */

static void make_file(struct waiter *w, int flags)
{
	char *bytes = malloc(FILE_BYTES);
	int fd;

	snprintf(w->value, sizeof(w->value), "%s/some folder/%s", directory, w->name);
	fd = open(w->value, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || !bytes)
		fail(w->value);
	memset(bytes, 1, FILE_BYTES);
	if (write(fd, bytes, FILE_BYTES) != FILE_BYTES || fsync(fd) < 0)
		fail("write");
	/* It was written in large folios, of which no single page can be given up; what is read from now on comes by pages. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	free(bytes);
	w->fd = open(w->value, O_RDWR | flags);
	if (w->fd < 0)
		fail(w->value);
}

static off_t some_block(struct waiter *w)
{
	return (off_t)(truth_random(&w->random) % (FILE_BYTES / BLOCK) * BLOCK);
}

static void make_direct(struct waiter *w)
{
	make_file(w, O_DIRECT);
	w->memory = aligned_alloc(BLOCK, BLOCK);
}

__attribute__((noinline)) static void wait_direct(struct waiter *w)
{
	if (pread(w->fd, w->memory, BLOCK, some_block(w)) != BLOCK)
		fail("pread");
}

static void make_mapped(struct waiter *w)
{
	make_file(w, 0);
	w->memory = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, w->fd, 0);
	if (w->memory == MAP_FAILED)
		fail("mmap");
	madvise(w->memory, FILE_BYTES, MADV_RANDOM);
}

__attribute__((noinline)) static void wait_fault(struct waiter *w)
{
	off_t at = some_block(w);

	madvise((char *)w->memory + at, BLOCK, MADV_DONTNEED);
	posix_fadvise(w->fd, at, BLOCK, POSIX_FADV_DONTNEED);
	*(volatile char *)((char *)w->memory + at);
}

static void make_flushed(struct waiter *w)
{
	make_file(w, 0);
}

__attribute__((noinline)) static void wait_fsync(struct waiter *w)
{
	if (pwrite(w->fd, w, 1, some_block(w)) != 1 || fsync(w->fd) < 0)
		fail("fsync");
}

static void make_brief(struct waiter *w)
{
	make_direct(w);
	close(w->fd);
}

/* Closed long before a window ends. */
__attribute__((noinline)) static void wait_brief(struct waiter *w)
{
	w->fd = open(w->value, O_RDONLY | O_DIRECT);
	wait_direct(w);
	close(w->fd);
}

/* --- sockets --- */

static void connect_to(struct waiter *w, int family, void *address, socklen_t size)
{
	int listener = socket(family, SOCK_STREAM, 0);

	if (listener < 0 || bind(listener, address, size) < 0 || listen(listener, 1) < 0 || getsockname(listener, address, &size) < 0)
		fail(w->name);
	w->fd = socket(family, SOCK_STREAM, 0);
	if (w->fd < 0 || connect(w->fd, address, size) < 0)
		fail(w->name);
	w->feed_fd = accept(listener, NULL, NULL);
	if (w->feed_fd < 0)
		fail(w->name);
	close(listener);
}

static void make_tcp(struct waiter *w)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	connect_to(w, AF_INET, &address, sizeof(address));
	snprintf(w->value, sizeof(w->value), "127.0.0.1:%u", ntohs(address.sin_port));
}

static void make_tcp6(struct waiter *w)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	connect_to(w, AF_INET6, &address, sizeof(address));
	snprintf(w->value, sizeof(w->value), "[::1]:%u", ntohs(address.sin6_port));
}

static void make_unix(struct waiter *w)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
	connect_to(w, AF_UNIX, &address, sizeof(address));
	snprintf(w->value, sizeof(w->value), "unix:%s/socket", directory);
}

static void make_abstract(struct waiter *w)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "objects-%d", (int)getpid());
	connect_to(w, AF_UNIX, &address, (socklen_t)(sizeof(address.sun_family) + 1 + strlen(address.sun_path + 1)));
	snprintf(w->value, sizeof(w->value), "unix:@objects-%d", (int)getpid());
}

__attribute__((noinline)) static void wait_socket(struct waiter *w)
{
	char byte;

	if (read(w->fd, &byte, 1) < 0)
		fail("read");
}

/* --- locks --- */

static void make_bss(struct waiter *w)
{
	w->mutex = &lock_in_bss;
	strcpy(w->value, "lock_in_bss");
}

static void make_data(struct waiter *w)
{
	w->mutex = &lock_in_data.mutex;
	snprintf(w->value, sizeof(w->value), "lock_in_data+0x%zx", (size_t)((char *)&lock_in_data.mutex - (char *)&lock_in_data));
}

static void make_copied(struct waiter *w)
{
	w->mutex = &objects_copied_lock;
	strcpy(w->value, "objects_copied_lock");
}

static void make_exported(struct waiter *w)
{
	w->mutex = objects_exported();
	strcpy(w->value, "objects_exported_lock");
}

static void make_hidden(struct waiter *w)
{
	w->mutex = objects_hidden();
	strcpy(w->value, "hidden_lock");
}

static void make_heap(struct waiter *w)
{
	w->mutex = calloc(1, sizeof(*w->mutex));
	snprintf(w->value, sizeof(w->value), "%p", (void *)w->mutex);
}

__attribute__((noinline)) static void wait_lock(struct waiter *w)
{
	pthread_mutex_lock(w->mutex);
	pthread_mutex_unlock(w->mutex);
}

static struct waiter waiters[] = {
	{.name = "direct", .label = "file", .wait = wait_direct, .prepare = make_direct},
	{.name = "fault", .label = "file", .wait = wait_fault, .prepare = make_mapped},
	{.name = "fsync", .label = "file", .wait = wait_fsync, .prepare = make_flushed},
	{.name = "brief", .label = "file", .wait = wait_brief, .prepare = make_brief},
	{.name = "tcp", .label = "peer", .wait = wait_socket, .prepare = make_tcp},
	{.name = "tcp6", .label = "peer", .wait = wait_socket, .prepare = make_tcp6},
	{.name = "unix", .label = "peer", .wait = wait_socket, .prepare = make_unix},
	{.name = "abstract", .label = "peer", .wait = wait_socket, .prepare = make_abstract},
	{.name = "bss", .label = "lock", .wait = wait_lock, .prepare = make_bss},
	{.name = "data", .label = "lock", .wait = wait_lock, .prepare = make_data},
	{.name = "copied", .label = "lock", .wait = wait_lock, .prepare = make_copied},
	{.name = "exported", .label = "lock", .wait = wait_lock, .prepare = make_exported},
	{.name = "hidden", .label = "lock", .wait = wait_lock, .prepare = make_hidden},
	{.name = "heap", .label = "lock", .wait = wait_lock, .prepare = make_heap},
};

enum { N_WAITERS = sizeof(waiters) / sizeof(waiters[0]) };

__attribute__((noinline)) static void *run_waiter(void *argument)
{
	struct waiter *w = argument;

	w->tid = (int)syscall(SYS_gettid);
	pthread_setname_np(pthread_self(), w->name);
	while (!ended)
		w->wait(w);
	return NULL;
}

static void feed_all(double seconds)
{
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);

	pthread_setname_np(pthread_self(), "feeder");
	while (truth_monotonic_nsec() < end_nsec && !truth_stopped()) {
		for (size_t i = 0; i < N_WAITERS; i++)
			if (waiters[i].mutex)
				pthread_mutex_lock(waiters[i].mutex);
		pause_usec(PERIOD_USEC);
		for (size_t i = 0; i < N_WAITERS; i++) {
			if (waiters[i].mutex)
				pthread_mutex_unlock(waiters[i].mutex);
			if (waiters[i].feed_fd && write(waiters[i].feed_fd, "x", 1) != 1)
				fail("write");
		}
	}
}

static void clean_up(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	if (system(command))
		perror(command);
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	char folder[64];

	if (!mkdtemp(directory))
		fail(directory);
	snprintf(folder, sizeof(folder), "%s/some folder", directory);
	if (mkdir(folder, 0700) < 0)
		fail(folder);
	for (size_t i = 0; i < N_WAITERS; i++) {
		waiters[i].random = truth_seed();
		waiters[i].prepare(&waiters[i]);
	}
	for (size_t i = 0; i < N_WAITERS; i++)
		if (pthread_create(&waiters[i].thread, NULL, run_waiter, &waiters[i]))
			fail("pthread_create");
	feed_all(seconds);
	ended = 1;
	for (size_t i = 0; i < N_WAITERS; i++) {
		if (waiters[i].feed_fd && write(waiters[i].feed_fd, "x", 1) != 1)
			fail("write");
		pthread_join(waiters[i].thread, NULL);
	}
	clean_up();
	truth_print_open(NULL, 0);
	printf(",\"threads\":[");
	for (size_t i = 0; i < N_WAITERS; i++)
		printf("%s{\"name\":\"%s\",\"tid\":%d,\"label\":\"%s\",\"value\":\"%s\",\"address\":\"%p\"}", i ? "," : "", waiters[i].name,
				waiters[i].tid, waiters[i].label, waiters[i].value, (void *)waiters[i].mutex);
	printf("]}\n");
	return 0;
}
