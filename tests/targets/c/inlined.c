/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inlined work: alpha, beta and gamma are real functions, all below them is inlined, three levels deep and from three
 * files (spin.h, scramble.h, rotate.h), the same helpers at several places. `inlined [SECONDS]`
 */
#include "spin.h"
#include "truth.h"

#define WORK __attribute__((noinline))

WORK static void alpha(uint64_t n_rounds)
{
	spin_scrambling(n_rounds);
}

WORK static void beta(uint64_t n_rounds)
{
	spin_rotating(n_rounds / 2);
	spin_scrambling(n_rounds / 2);
}

WORK static void gamma(uint64_t n_rounds)
{
	spin_rotating(n_rounds);
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	struct share shares[] = {
		{"alpha", 50, alpha, 0},
		{"beta", 30, beta, 0},
		{"gamma", 20, gamma, 0},
	};

	truth_spend(shares, 3, seconds);
	truth_print(shares, 3);
	return 0;
}
