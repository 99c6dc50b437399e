/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay.h"

#include "cleanup.h"

void overlay_deinit(struct overlay *overlay)
{
	vec_deinit(&overlay->all);
}

int overlay_add(struct overlay *overlay, uint64_t start, uint64_t size, uint32_t value)
{
	struct overlay_range range = {
		.start = start, .whole_start = start, .value = value, .order = (uint32_t)overlay->all.n,
	};

	if (!size || __builtin_add_overflow(start, size, &range.end))
		return 0;
	return vec_push(&overlay->all, range);
}

static int compare(const void *pa, const void *pb)
{
	const struct overlay_range *a = pa, *b = pb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

/* A heap of the ranges that hold the current address, the latest on top. */
struct open_ranges {
	VEC(struct overlay_range) heap;
};

static int open_push(struct open_ranges *open, struct overlay_range range)
{
	size_t i = open->heap.n;
	int r = vec_push(&open->heap, range);

	if (r < 0)
		return r;
	for (; i > 0 && open->heap.at[(i - 1) / 2].order < range.order; i = (i - 1) / 2)
		open->heap.at[i] = open->heap.at[(i - 1) / 2];
	open->heap.at[i] = range;
	return 0;
}

static void open_pop(struct open_ranges *open)
{
	struct overlay_range moved = open->heap.at[--open->heap.n];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= open->heap.n)
			break;
		if (child + 1 < open->heap.n && open->heap.at[child + 1].order > open->heap.at[child].order)
			child++;
		if (open->heap.at[child].order <= moved.order)
			break;
		open->heap.at[i] = open->heap.at[child];
		i = child;
	}
	open->heap.at[i] = moved;
}

/* Appends what of the open ranges lies in [*at, until), and moves *at there. */
static int emit_until(struct open_ranges *open, uint64_t *at, uint64_t until, struct overlay *flat)
{
	while (open->heap.n && *at < until) {
		struct overlay_range piece = open->heap.at[0];
		int r;

		if (piece.end <= *at) {
			open_pop(open);
			continue;
		}
		piece.start = *at;
		piece.end = MIN(piece.end, until);
		r = vec_push(&flat->all, piece);
		if (r < 0)
			return r;
		*at = piece.end;
	}
	*at = until;
	return 0;
}

/* A sweep over all starts. */
int overlay_flatten(struct overlay *overlay)
{
	struct open_ranges open = { 0 };
	struct overlay flat = { 0 };
	uint64_t at = 0;
	int r = 0;

	vec_sort(&overlay->all, compare);
	for (size_t i = 0; i < overlay->all.n && r >= 0; i++) {
		r = emit_until(&open, &at, overlay->all.at[i].start, &flat);
		if (r >= 0)
			r = open_push(&open, overlay->all.at[i]);
	}
	if (r >= 0)
		r = emit_until(&open, &at, UINT64_MAX, &flat);
	vec_deinit(&open.heap);
	if (r < 0) {
		vec_deinit(&flat.all);
		return r;
	}
	vec_deinit(&overlay->all);
	overlay->all.at = flat.all.at;
	overlay->all.n = flat.all.n;
	overlay->all.n_allocated = flat.all.n_allocated;
	return 0;
}

const struct overlay_range *overlay_find(const struct overlay *overlay, uint64_t address)
{
	size_t low = 0, high = overlay->all.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (overlay->all.at[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < overlay->all.n && address >= overlay->all.at[low].start ? &overlay->all.at[low] : NULL;
}
