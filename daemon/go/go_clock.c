/* SPDX-License-Identifier: Apache-2.0 */
#include "go_clock.h"

#include <stdint.h>
#include <time.h>
#include <x86intrin.h>

#include "clock.h"

/* One look at both clocks: the counter between two looks at the other, of a few tries the closest. */
struct clocks {
	uint64_t cycles, nsec, asleep_nsec;
};

#define MEASURE_NSEC (20 * NSEC_PER_MSEC)    /* 100 ns off at either end: 0.001 % */
#define MAX_SLEPT_NSEC (NSEC_PER_MSEC)       /* or read late: then it is begun anew */
#define MAX_TRIES 4

static struct clocks first;
static double known;

static struct clocks read_clocks(void)
{
	struct clocks best = { 0 };
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < 5; i++) {
		uint64_t before = clock_monotonic_nsec(), cycles = __rdtsc(), after = clock_monotonic_nsec();
		uint64_t since_boot = clock_nsec(CLOCK_BOOTTIME);

		if (after - before >= least)
			continue;
		least = after - before;
		best = (struct clocks){ cycles, before + least / 2, since_boot - after };
	}
	return best;
}

static void sleep_until(uint64_t nsec)
{
	const struct timespec end = { (time_t)(nsec / NSEC_PER_SEC), (long)(nsec % NSEC_PER_SEC) };

	/* A signal ends it; the next try sleeps for what is left. */
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}

void go_clock_begin(void)
{
	if (!first.nsec)
		first = read_clocks();
}

double go_clock_cycles_per_second(void)
{
	go_clock_begin();
	for (unsigned int i = 0; i < MAX_TRIES && !(known > 0); i++) {
		struct clocks now;

		sleep_until(first.nsec + MEASURE_NSEC);
		now = read_clocks();
		/* Asleep, one of the clocks stops and the other may go on; moved to another machine, the counter may go back. */
		if (now.asleep_nsec > first.asleep_nsec + MAX_SLEPT_NSEC || now.cycles <= first.cycles)
			first = now;
		else if (now.nsec - first.nsec >= MEASURE_NSEC)
			known = (double)(now.cycles - first.cycles) * (double)NSEC_PER_SEC / (double)(now.nsec - first.nsec);
	}
	return known;
}
