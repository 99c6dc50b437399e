/* SPDX-License-Identifier: Apache-2.0 */
/* Deep stacks: the work of shares.c is done below DEPTH frames of descend(). `deep [SECONDS [DEPTH]]` */
#include "truth.h"
#include "work.h"

#include <stdlib.h>

static struct share shares[] = {
	{"alpha", 50, alpha, 0},
	{"beta", 30, beta, 0},
	{"gamma", 20, gamma, 0},
};

/* Returns how many frames of it there were; adding up after the call keeps it from becoming a jump. */
__attribute__((noinline)) static unsigned descend(unsigned depth, double seconds)
{
	unsigned below = 0;

	if (depth > 1)
		below = descend(depth - 1, seconds);
	else
		truth_spend(shares, 3, seconds);
	__asm__ volatile("" : "+r"(below) : : "memory");
	return below + 1;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	int depth = argc > 2 ? atoi(argv[2]) : 60;

	if (depth < 1 || depth > 50000)
		return 64;
	if (descend((unsigned)depth, seconds) != (unsigned)depth)
		return 70;
	truth_print(shares, 3);
	return 0;
}
