/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program whose memory may not answer: its thread "stuck" waits, in pause(2), with its stack pointer in pages that nobody
 * brings (userfaultfd(2)). A thread "behind" sleeps. `stuck [SECONDS]`; prints "ready" when it
 * is so, "no" where it cannot be.
 */
#include "truth.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 1 << 20, PAUSE = 34 };

static char *memory;

static int make_memory(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || memory == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) < 0)
		return -1;
	range.range.start = (uintptr_t)memory;
	range.range.len = BYTES;
	return ioctl(fd, UFFDIO_REGISTER, &range);
}

__attribute__((noinline)) static void be_stuck(void)
{
	/* The system call itself needs no stack. */
	__asm__ volatile("mov %%rsp, %%rbx; mov %1, %%rsp; syscall; mov %%rbx, %%rsp"
			 :
			 : "a"(PAUSE), "r"(memory + BYTES / 2)
			 : "rbx", "rcx", "r11", "memory");
}

static void *begin(void *argument)
{
	pthread_setname_np(pthread_self(), "stuck");
	be_stuck();
	return argument;
}

static void *begin_behind(void *argument)
{
	const struct timespec long_time = { .tv_sec = 100000 };

	pthread_setname_np(pthread_self(), "behind");
	nanosleep(&long_time, NULL);
	return argument;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);
	const struct timespec settle = { .tv_nsec = 200000000 };
	pthread_t thread;
	int r = make_memory();

	if (!r && (pthread_create(&thread, NULL, begin, NULL) || pthread_create(&thread, NULL, begin_behind, NULL)))
		return 71;
	nanosleep(&settle, NULL);
	puts(r ? "no" : "ready");
	fflush(stdout);
	while (truth_monotonic_nsec() < end_nsec && !truth_stopped())
		nanosleep(&settle, NULL);
	truth_print(NULL, 0);
	fflush(stdout);
	_exit(0);
}
