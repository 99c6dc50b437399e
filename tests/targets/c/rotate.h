/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Innermost level of what inlined.c inlines. */
#include <stdint.h>

__attribute__((always_inline)) static inline uint64_t rotate(uint64_t x, unsigned n_bits)
{
	return x << n_bits |
	       x >> (64 - n_bits);
}
