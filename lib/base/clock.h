/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The two clocks: monotonic for everything inside, wall for file names and profiles. */
#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC  UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_USEC UINT64_C(1000)
#define USEC_PER_SEC  UINT64_C(1000000)

static inline uint64_t clock_nsec(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* What bpf_ktime_get_ns() counts too. */
static inline uint64_t clock_monotonic_nsec(void)
{
	return clock_nsec(CLOCK_MONOTONIC);
}

/* Since 1970, UTC. */
static inline uint64_t clock_wall_nsec(void)
{
	return clock_nsec(CLOCK_REALTIME);
}
