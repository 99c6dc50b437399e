/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The walk of bpf/unwind.bpf.h, compiled for this machine. Who includes this gives it two of the three things that it asks for:
 * unwind_read(), declared here, and unwind_rule_at(), declared by the walk.
 */
#include <stdint.h>

static long unwind_read(void *to, uint32_t size, uint64_t from);

typedef uint64_t memory_owner;

static inline long memory_read(memory_owner owner, void *to, uint32_t size, uint64_t from)
{
	(void)owner;
	return unwind_read(to, size, from);
}

static inline long unwind_loop(uint32_t n, long (*fn)(uint32_t index, void *context), void *context)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (fn(i, context))
			return i + 1;
	return i;
}

#define UNWIND_NATIVE
#include "unwind.bpf.h"
