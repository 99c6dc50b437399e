/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process with N more mappings, half of them executable: pages of its own file, alternately r-x and r--, so that no
 * two become one. Then the work of shares.c below 20 frames of among_mappings. `mappings [SECONDS [N]]`, by default 5 50000
 */
#include "truth.h"
#include "work.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct share shares[] = {
	{"alpha", 50, alpha, 0},
	{"beta", 30, beta, 0},
	{"gamma", 20, gamma, 0},
};

__attribute__((noinline)) static unsigned among_mappings(unsigned depth, double seconds)
{
	unsigned below = 0;

	if (depth > 1)
		below = among_mappings(depth - 1, seconds);
	else
		truth_spend(shares, 3, seconds);
	__asm__ volatile("" : "+r"(below) : : "memory");
	return below + 1;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	int n = argc > 2 ? atoi(argv[2]) : 50000;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char *at = mmap(NULL, page * (size_t)n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (fd < 0 || at == MAP_FAILED)
		return 71;
	for (int i = 0; i < n; i++) {
		void *to = at + page * (size_t)i;

		if (mmap(to, page, i & 1 ? PROT_READ : PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED) {
			perror("mmap");
			return 71;
		}
	}
	/* For who waits until it is ready. */
	fprintf(stderr, "mapped\n");
	if (among_mappings(20, seconds) != 20)
		return 70;
	truth_print(shares, 3);
	return 0;
}
