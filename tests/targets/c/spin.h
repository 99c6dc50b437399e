/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Outermost level of what inlined.c inlines: the loops. */
#include "scramble.h"

#define KEEP(value) __asm__ volatile("" : "+r"(value))

__attribute__((always_inline)) static inline void spin_scrambling(uint64_t n_rounds)
{
	uint64_t x = n_rounds | 1;

	for (uint64_t i = 0; i < n_rounds; i++) {
		x = scramble(x);
		KEEP(x);
	}
}

__attribute__((always_inline)) static inline void spin_rotating(uint64_t n_rounds)
{
	uint64_t x = n_rounds | 1;

	for (uint64_t i = 0; i < n_rounds; i++) {
		x = rotate(x, 9) * 3;
		KEEP(x);
		x = rotate(x ^ i, 23);
		KEEP(x);
	}
}
