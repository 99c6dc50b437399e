/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "ranges.h"

/* Steps outwards from one range: real nesting ends at some dozen; a list made to be walked in full is not walked. */
#define MAX_STEPS 512U

void ranges_deinit(struct ranges *ranges)
{
	vec_deinit(&ranges->all);
}

int ranges_add(struct ranges *ranges, uint64_t start, uint64_t end, uint32_t value, size_t limit)
{
	struct range range = { .start = start, .end = end, .value = value, .outer = RANGES_NONE };

	if (end <= start || ranges->all.n >= limit)
		return 0;
	return vec_push(&ranges->all, range);
}

static int compare(const void *pa, const void *pb)
{
	const struct range *a = pa, *b = pb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->end != b->end)
		return a->end > b->end ? -1 : 1;
	return (a->value > b->value) - (a->value < b->value);
}

void ranges_sort(struct ranges *ranges)
{
	struct range *all = ranges->all.at;
	uint32_t open = RANGES_NONE;

	if (!ranges->all.n)
		return;
	qsort(all, ranges->all.n, sizeof(*all), compare);
	/* The ranges that are open where the next starts form a chain by .outer; those that ended before are dropped from it. */
	for (uint32_t i = 0; i < ranges->all.n; i++) {
		while (open != RANGES_NONE && all[open].end <= all[i].start)
			open = all[open].outer;
		all[i].outer = open;
		open = i;
	}
}

/* The last range that starts at or before the address. */
static uint32_t last_before(const struct ranges *ranges, uint64_t address)
{
	size_t low = 0, high = ranges->all.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->all.at[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? (uint32_t)(low - 1) : RANGES_NONE;
}

const struct range *ranges_find(const struct ranges *ranges, uint64_t address)
{
	const struct range *best = NULL;
	uint32_t at = last_before(ranges, address);

	for (unsigned step = 0; at != RANGES_NONE && step < MAX_STEPS; step++) {
		const struct range *r = &ranges->all.at[at];

		if (address < r->end && (!best || r->end - r->start < best->end - best->start))
			best = r;
		at = r->outer;
	}
	return best;
}
