/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of unusual shapes: in turns one of a size that is known only when it is made (with_alloca), one aligned to 64
 * bytes (with_alignment), one with both (with_both), one that realigns whatever its caller did (with_realignment; all of them
 * when built with -mstackrealign). DEPTH frames in all, below main(), which has aligned variables itself; then the work
 * of shares.c. `realigned [SECONDS [DEPTH]]`
 */
#include "truth.h"
#include "work.h"

#include <alloca.h>
#include <stdlib.h>
#include <string.h>

static struct share shares[] = {
	{"alpha", 50, alpha, 0},
	{"beta", 30, beta, 0},
	{"gamma", 20, gamma, 0},
};

static double n_seconds;

#define USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

static unsigned next(unsigned depth);

__attribute__((noinline)) static unsigned with_alloca(unsigned depth)
{
	char *block = alloca(16 + depth * 7 % 200);
	unsigned below;

	block[0] = (char)depth;
	USED(block);
	below = next(depth);
	USED(block);
	return below + 1;
}

__attribute__((noinline)) static unsigned with_alignment(unsigned depth)
{
	char block[96] __attribute__((aligned(64)));
	unsigned below;

	USED(block);
	below = next(depth);
	USED(block);
	return below + 1;
}

__attribute__((noinline)) static unsigned with_both(unsigned depth)
{
	char aligned[32] __attribute__((aligned(32))), *block = alloca(24 + depth % 64);
	unsigned below;

	block[0] = (char)depth;
	USED(block);
	USED(aligned);
	below = next(depth);
	USED(aligned);
	return below + 1;
}

#ifdef __clang__
__attribute__((noinline))
#else
__attribute__((noinline, force_align_arg_pointer))
#endif
static unsigned with_realignment(unsigned depth)
{
	unsigned below = next(depth);

	USED(&below);
	return below + 1;
}

__attribute__((always_inline)) static inline unsigned next(unsigned depth)
{
	static unsigned (*const shapes[])(unsigned) = {with_alloca, with_alignment, with_both, with_realignment};

	if (depth <= 1) {
		truth_spend(shares, 3, n_seconds);
		return 0;
	}
	return shapes[(depth - 1) % 4](depth - 1);
}

int main(int argc, char **argv)
{
	char block[64] __attribute__((aligned(32)));
	unsigned depth;

	n_seconds = truth_begin(argc, argv, 5);
	depth = argc > 2 ? (unsigned)atoi(argv[2]) : 40;
	memset(block, 0, sizeof(block));
	USED(block);
	if (depth < 1 || depth > 20000 || with_alloca(depth) != depth)
		return 64;
	truth_print(shares, 3);
	return 0;
}
