/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hot calls into a shared library that do next to nothing there, so that a good part of the samples lies in the stubs
 * of the procedure linkage table: plt_add@plt below call_add, plt_xor@plt below call_xor, 60:40. How much of that is
 * stub depends on the processor; that all of it is below those two does not. `plt [SECONDS]`
 */
#include "truth.h"

uint64_t plt_add(uint64_t x);
uint64_t plt_xor(uint64_t x);

__attribute__((noinline)) static void call_add(uint64_t n_rounds)
{
	uint64_t x = n_rounds;

	for (uint64_t i = 0; i < n_rounds; i++)
		x = plt_add(x);
	__asm__ volatile("" : : "r"(x));
}

__attribute__((noinline)) static void call_xor(uint64_t n_rounds)
{
	uint64_t x = n_rounds;

	for (uint64_t i = 0; i < n_rounds; i++)
		x = plt_xor(x);
	__asm__ volatile("" : : "r"(x));
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	struct share shares[] = {
		{"call_add", 60, call_add, 0},
		{"call_xor", 40, call_xor, 0},
	};

#ifdef TAKE_ADDRESS
	/* A function whose address is wanted as well gets its stub in .plt.got. */
	__asm__ volatile("" : : "r"(plt_add), "r"(plt_xor));
#endif
	truth_spend(shares, 2, seconds);
	truth_print(shares, 2);
	return 0;
}
