// SPDX-License-Identifier: Apache-2.0
// The C side of main.go.
#include <stdint.h>

#include "_cgo_export.h"

void c_beta(uint64_t n_rounds);
void c_call_back(uint64_t n_rounds);

__attribute__((noinline)) void c_beta(uint64_t n_rounds)
{
	uint64_t x = n_rounds | 1;

	for (uint64_t i = 0; i < n_rounds; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		__asm__ volatile("" : "+r"(x));
	}
}

__attribute__((noinline)) void c_call_back(uint64_t n_rounds)
{
	goCalledBack(n_rounds);
	__asm__ volatile(""); // no tail call: the frame shall be seen
}
