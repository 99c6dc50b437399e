/* SPDX-License-Identifier: Apache-2.0 */
#include "address_space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

struct address_space *address_space_new(void)
{
	struct address_space *space = calloc(1, sizeof(*space));

	if (space)
		space->n_references = 1;
	return space;
}

struct address_space *address_space_ref(struct address_space *space)
{
	space->n_references++;
	return space;
}

struct address_space *address_space_unref(struct binaries *binaries, struct address_space *space)
{
	if (!space || --space->n_references)
		return NULL;
	for (size_t i = 0; i < space->ranges.n; i++)
		binaries_file_unref(binaries, space->ranges.at[i].file);
	vec_deinit(&space->ranges);
	free(space);
	return NULL;
}

static int make_own(struct binaries *binaries, struct address_space **space)
{
	struct address_space *copy;

	if ((*space)->n_references == 1)
		return 0;
	copy = address_space_new();
	if (!copy || vec_append(&copy->ranges, (*space)->ranges.at, (*space)->ranges.n) < 0) {
		address_space_unref(binaries, copy);
		return -ENOMEM;
	}
	for (size_t i = 0; i < copy->ranges.n; i++)
		if (copy->ranges.at[i].file)
			binaries_file_ref(copy->ranges.at[i].file);
	address_space_unref(binaries, *space);
	*space = copy;
	return 0;
}

/* The first range that ends behind an address. */
static size_t find_behind(const struct address_space *space, uint64_t address)
{
	size_t low = 0, high = space->ranges.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (space->ranges.at[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_equal(const struct address_range *a, const struct address_range *b)
{
	return a->start == b->start && a->end == b->end && a->file_offset == b->file_offset && a->file == b->file &&
	       a->kind == b->kind;
}

/* The part of a range from `start` on. */
static struct address_range tail_of(const struct address_range *range, uint64_t start)
{
	struct address_range tail = *range;

	tail.file_offset += range->file ? start - range->start : 0;
	tail.start = start;
	return tail;
}

/* A JIT's memory grows page by page, and each page is told: one range for all that touch. */
static void join_anonymous(const struct address_space *space, size_t *first, size_t *last, struct address_range *range)
{
	const struct address_range *at = space->ranges.at;

	if (range->kind != IMAGE_MAPPING_ANONYMOUS)
		return;
	if (*first > 0 && at[*first - 1].end == range->start && at[*first - 1].kind == IMAGE_MAPPING_ANONYMOUS)
		range->start = at[--*first].start;
	else if (*first < *last && at[*first].start < range->start && at[*first].kind == IMAGE_MAPPING_ANONYMOUS)
		range->start = at[*first].start;
	if (*last < space->ranges.n && at[*last].start == range->end && at[*last].kind == IMAGE_MAPPING_ANONYMOUS)
		range->end = at[(*last)++].end;
	else if (*last > *first && at[*last - 1].end > range->end && at[*last - 1].kind == IMAGE_MAPPING_ANONYMOUS)
		range->end = at[*last - 1].end;
}

int address_space_add_take(struct binaries *binaries, struct address_space **space, const struct address_range *added)
{
	struct address_range range = *added, parts[3];
	size_t first = find_behind(*space, range.start), last = first, n_parts = 0, n_kept;
	struct address_range *at;
	int r;

	/* Nothing new: mprotect(2) tells the same again and again in some JITs. */
	if (first < (*space)->ranges.n && is_equal(&(*space)->ranges.at[first], &range)) {
		binaries_file_unref(binaries, range.file);
		return 0;
	}
	r = (*space)->ranges.n >= ADDRESS_SPACE_MAX_RANGES ? -E2BIG : make_own(binaries, space);
	if (r >= 0)
		r = vec_reserve(&(*space)->ranges, (*space)->ranges.n + ARRAY_SIZE(parts));
	if (r < 0) {
		binaries_file_unref(binaries, range.file);
		return r;
	}
	at = (*space)->ranges.at;
	n_kept = (*space)->ranges.n;
	while (last < n_kept && at[last].start < range.end)
		last++;
	join_anonymous(*space, &first, &last, &range);

	/* [first, last) give way to what sticks out on the left, the new one, and what sticks out on the right. */
	if (first < last && at[first].start < range.start) {
		parts[n_parts] = at[first];
		parts[n_parts++].end = range.start;
	}
	parts[n_parts++] = range;
	if (first < last && at[last - 1].end > range.end)
		parts[n_parts++] = tail_of(&at[last - 1], range.end);
	for (size_t i = 0; i < n_parts; i++)
		if (parts[i].file && parts[i].start != range.start)
			binaries_file_ref(parts[i].file);
	for (size_t i = first; i < last; i++)
		binaries_file_unref(binaries, at[i].file);
	memmove(at + first + n_parts, at + last, (n_kept - last) * sizeof(*at));
	memcpy(at + first, parts, n_parts * sizeof(*at));
	(*space)->ranges.n = n_kept - (last - first) + n_parts;
	return 0;
}

const struct address_range *address_space_find(const struct address_space *space, uint64_t address)
{
	size_t i = find_behind(space, address);

	return i < space->ranges.n && space->ranges.at[i].start <= address ? &space->ranges.at[i] : NULL;
}
