/* SPDX-License-Identifier: Apache-2.0 */
/* Much of the time is spent in the vdso: below ask_clock and ask_time, 60:40, and what they call. `vdso [SECONDS]` */
#include "truth.h"

#include <sys/time.h>
#include <time.h>

__attribute__((noinline)) static void ask_clock(uint64_t n_rounds)
{
	struct timespec t;

	for (uint64_t i = 0; i < n_rounds; i += 16)
		clock_gettime(CLOCK_MONOTONIC, &t);
	__asm__ volatile("" : : "r"(&t) : "memory");
}

__attribute__((noinline)) static void ask_time(uint64_t n_rounds)
{
	struct timeval t;

	for (uint64_t i = 0; i < n_rounds; i += 16)
		gettimeofday(&t, NULL);
	__asm__ volatile("" : : "r"(&t) : "memory");
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	struct share shares[] = {
		{"ask_clock", 60, ask_clock, 0},
		{"ask_time", 40, ask_time, 0},
	};

	truth_spend(shares, 2, seconds);
	truth_print(shares, 2);
	return 0;
}
