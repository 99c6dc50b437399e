/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"

#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t seed;

/* Before main(), hence before any thread. */
__attribute__((constructor)) static void draw_seed(void)
{
	/* Without randomness at hand maps still work; only the defence against chosen keys is gone. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0)
		seed = (uintptr_t)&seed;
}

uint64_t hash_bytes(const void *data, size_t size)
{
	return XXH3_64bits_withSeed(data, size, seed);
}
