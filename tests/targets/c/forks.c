/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forks children that never call exec, RATE a second (0: as many as can be): each burns USEC of CPU time in child_work,
 * below 12 frames of below_fork, and ends. `forks [SECONDS [RATE [USEC]]]`, by default 5 100 3000; `children` is how many.
 */
#include "truth.h"
#include "work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEPTH = 12, MAX_RUNNING = 16 };

static uint64_t *children_nsec; /* shared with them */

__attribute__((noinline)) static void child_work(uint64_t n_rounds)
{
	alpha(n_rounds);
	__asm__ volatile("");
}

__attribute__((noinline)) static unsigned below_fork(unsigned depth, uint64_t usec)
{
	unsigned below = 0;

	if (depth > 1) {
		below = below_fork(depth - 1, usec);
	} else {
		uint64_t start_nsec = truth_thread_nsec();

		while (truth_thread_nsec() - start_nsec < usec * 1000)
			child_work(20000);
		__atomic_fetch_add(children_nsec, truth_thread_nsec() - start_nsec, __ATOMIC_RELAXED);
	}
	__asm__ volatile("" : "+r"(below) : : "memory");
	return below + 1;
}

static void fork_child(uint64_t usec)
{
	pid_t pid = fork();

	if (pid < 0)
		exit(71);
	if (!pid) {
		below_fork(DEPTH, usec);
		_exit(0);
	}
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	int rate = argc > 2 ? atoi(argv[2]) : 100;
	uint64_t usec = argc > 3 ? strtoull(argv[3], NULL, 10) : 3000;
	uint64_t start_nsec = truth_monotonic_nsec(), end_nsec = start_nsec + (uint64_t)(seconds * 1e9), now_nsec, n = 0, ended = 0;
	struct share share = {"child_work", 100, NULL, 0};

	children_nsec = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (children_nsec == MAP_FAILED)
		return 71;
	while (!truth_stopped() && (now_nsec = truth_monotonic_nsec()) < end_nsec) {
		uint64_t due = rate ? (now_nsec - start_nsec) * (uint64_t)rate / 1000000000 : n + 1;

		if (n < due && n - ended < MAX_RUNNING) {
			fork_child(usec);
			n++;
		} else if (n < due) {
			ended += wait(NULL) > 0;
		} else {
			usleep(500);
		}
		while (n > ended && waitpid(-1, NULL, WNOHANG) > 0)
			ended++;
	}
	while (wait(NULL) > 0)
		;
	share.cpu_nsec = *children_nsec;
	truth_print_open(&share, 1);
	printf(",\"children\":%" PRIu64 "}\n", n);
	return 0;
}
