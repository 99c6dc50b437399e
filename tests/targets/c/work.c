/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf functions that only compute: all their samples have them as the innermost frame. */
#include "work.h"

#ifdef __clang__
#define WORK __attribute__((noinline))
#else
#define WORK __attribute__((noinline, noclone))
#endif

/* Keeps a value alive, so that a loop is not optimized away, without touching memory. */
#define KEEP(value) __asm__ volatile("" : "+r"(value))

WORK void alpha(uint64_t n_rounds)
{
	uint64_t x = n_rounds;

	for (uint64_t i = 0; i < n_rounds; i++) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		KEEP(x);
	}
}

WORK void beta(uint64_t n_rounds)
{
	uint64_t x = n_rounds | 1;

	for (uint64_t i = 0; i < n_rounds; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		KEEP(x);
	}
}

WORK void gamma(uint64_t n_rounds)
{
	uint64_t x = n_rounds;

	for (uint64_t i = 0; i < n_rounds; i++) {
		x += x >> 3 ^ i;
		KEEP(x);
		x = x << 5 | x >> 59;
	}
	KEEP(x);
}
