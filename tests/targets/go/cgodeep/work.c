// SPDX-License-Identifier: Apache-2.0
// The C side of main.go.
#include <stdint.h>

#include "_cgo_export.h"

enum { DEPTH = 30 };

void c_alpha(uint64_t n_rounds);
void c_beta(uint64_t n_rounds);
void c_gamma(uint64_t n_rounds);

__attribute__((noinline)) static void c_burn(uint64_t n_rounds)
{
	uint64_t x = n_rounds | 1;

	for (uint64_t i = 0; i < n_rounds; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		__asm__ volatile("" : "+r"(x));
	}
}

__attribute__((noinline)) static unsigned c_descend(unsigned depth, void (*then)(uint64_t), uint64_t n_rounds)
{
	unsigned below = 0;

	if (depth > 1)
		below = c_descend(depth - 1, then, n_rounds);
	else
		then(n_rounds);
	__asm__ volatile("" : "+r"(below) : : "memory");
	return below + 1;
}

static void call_go_beta(uint64_t n_rounds)
{
	goBeta(n_rounds);
	__asm__ volatile("");
}

static void call_go_gamma(uint64_t n_rounds)
{
	goGamma(n_rounds);
	__asm__ volatile("");
}

void c_alpha(uint64_t n_rounds)
{
	c_descend(DEPTH, c_burn, n_rounds);
	__asm__ volatile("");
}

void c_beta(uint64_t n_rounds)
{
	c_descend(DEPTH, call_go_beta, n_rounds);
	__asm__ volatile("");
}

void c_gamma(uint64_t n_rounds)
{
	c_descend(DEPTH, call_go_gamma, n_rounds);
	__asm__ volatile("");
}
