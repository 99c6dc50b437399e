/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Middle level of what inlined.c inlines. */
#include "rotate.h"

__attribute__((always_inline)) static inline uint64_t scramble(uint64_t x)
{
	x ^= x >> 29;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	return rotate(x, 17) ^ x;
}
