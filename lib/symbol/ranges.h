/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which of many address ranges holds an address: sorted once, then searched. Ranges may nest (functions inlined into
 * each other), overlap (hostile or folded code) and repeat.
 */
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct range {
	uint64_t start;
	uint64_t end;                        /* first address behind; a range with end <= start holds nothing */
	uint32_t value;                      /* of the caller */
	uint32_t outer;                      /* ranges_sort(): the nearest range before it that reaches into it, or RANGES_NONE */
};

#define RANGES_NONE UINT32_MAX

struct ranges {
	VEC(struct range) all;
};

void ranges_deinit(struct ranges *ranges);

/* Adds one; at most `limit` are kept, the rest is left out silently. 0 or -ENOMEM. ranges_sort() before the next search. */
int ranges_add(struct ranges *ranges, uint64_t start, uint64_t end, uint32_t value, size_t limit);
/* By start; of equal starts the longer first; of equal ranges that of the smaller value first. */
void ranges_sort(struct ranges *ranges);

/*
 * The shortest range that holds the address; of equally short ones that which ranges_sort() puts last. NULL: none.
 */
const struct range *ranges_find(const struct ranges *ranges, uint64_t address);
