/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One short life of churn.c: child_work() burns that many microseconds of CPU time, then the process tells what it
 * took, 8 bytes of nanoseconds on descriptor 3, and ends. `churn_child USEC`
 */
#include "truth.h"
#include "work.h"

#include <stdlib.h>
#include <unistd.h>

#define REPORT_FD 3

/* About 30 us: the clock is read 70 times in 2 ms, 1 % of them. */
#define STEP_ROUNDS UINT64_C(20000)

__attribute__((noinline)) static void child_work(uint64_t end_nsec)
{
	while (truth_thread_nsec() < end_nsec)
		alpha(STEP_ROUNDS);
}

int main(int argc, char **argv)
{
	uint64_t start_nsec = truth_thread_nsec();
	uint64_t took_nsec;

	if (argc != 2)
		return 64;
	child_work(start_nsec + strtoull(argv[1], NULL, 10) * 1000);
	took_nsec = truth_thread_nsec() - start_nsec;
	return write(REPORT_FD, &took_nsec, sizeof took_nsec) == sizeof took_nsec ? 0 : 74;
}
