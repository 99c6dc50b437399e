/* SPDX-License-Identifier: Apache-2.0 */
#include "go_stats.h"

#include <math.h>
#include <string.h>

#include "cleanup.h"
#include "go_process.h"

enum {
	MAX_SIZE = 8192,                     /* of what is read of either structure */
	MAX_PROCESSORS = 1 << 20,
};

static uint64_t u64_at(const uint8_t *bytes, uint16_t offset)
{
	uint64_t value = 0;

	if (offset != GO_LAYOUT_NONE)
		memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

static uint32_t u32_at(const uint8_t *bytes, uint16_t offset)
{
	uint32_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

/* The ring: the pause of cycle n, counted from 1, is at (n + 255) % 256 (runtime/mgc.go gcMarkTermination()). */
static void read_pauses(const uint8_t *stats, const struct go_layout *layout, struct go_stats *ret)
{
	ret->n_pauses = MIN((size_t)ret->n_gc, (size_t)GO_STATS_PAUSES);
	for (size_t i = 0; i < ret->n_pauses; i++) {
		uint32_t at = (ret->n_gc - 1 - (uint32_t)i) % GO_STATS_PAUSES;

		ret->pauses_nsec[i] = u64_at(stats, (uint16_t)(layout->stats.pauses + at * sizeof(uint64_t)));
	}
}

static int read_stats(struct go_process *process, struct go_stats *ret)
{
	const struct go_layout *layout = go_process_layout(process);
	uint8_t bytes[MAX_SIZE];
	uint64_t variable, fraction;
	int r;

	if (!go_process_variable(process, GO_STATS, &variable))
		return GO_STATS_E_UNKNOWN;
	/* What is behind the structure is read, too: variables of the runtime. */
	r = go_memory_read(go_process_memory(process), variable, bytes, MAX((size_t)layout->stats.cpu_fraction, (size_t)layout->stats.n_gc) + 8);
	if (r < 0)
		return r;
	ret->n_gc = u32_at(bytes, layout->stats.n_gc);
	ret->pause_total_nsec = u64_at(bytes, layout->stats.pause_total);
	ret->last_gc_wall_nsec = u64_at(bytes, layout->stats.last_gc);
	fraction = u64_at(bytes, layout->stats.cpu_fraction);
	memcpy(&ret->gc_cpu_fraction, &fraction, sizeof(fraction));
	if (!isfinite(ret->gc_cpu_fraction) || ret->gc_cpu_fraction < 0 || ret->gc_cpu_fraction > 1)
		return GO_STATS_E_UNKNOWN;
	read_pauses(bytes, layout, ret);
	return 0;
}

static int read_controller(struct go_process *process, struct go_stats *ret)
{
	const struct go_layout *layout = go_process_layout(process);
	uint8_t bytes[512];
	uint64_t variable;
	int r;

	if (!go_process_variable(process, GO_GC, &variable))
		return GO_STATS_E_UNKNOWN;
	r = go_memory_read(go_process_memory(process), variable, bytes, 352); /* the smallest: of 1.18 */
	if (r < 0)
		return r;
	ret->gc_percent = (int32_t)u32_at(bytes, layout->gc.percent);
	ret->heap_live = u64_at(bytes, layout->gc.live);
	ret->heap_marked = u64_at(bytes, layout->gc.marked);
	ret->memory_limit = UINT64_MAX;
	if (layout->gc.memory_limit == GO_LAYOUT_NONE)
		return 0;
	ret->has_heap_bytes = true;
	/* math.MaxInt64: none. */
	if (u64_at(bytes, layout->gc.memory_limit) != INT64_MAX)
		ret->memory_limit = u64_at(bytes, layout->gc.memory_limit);
	ret->heap_in_use = u64_at(bytes, layout->gc.heap_in_use);
	ret->heap_free = u64_at(bytes, layout->gc.heap_free);
	ret->heap_released = u64_at(bytes, layout->gc.heap_released);
	ret->mapped = u64_at(bytes, layout->gc.mapped_ready);
	ret->total_alloc = u64_at(bytes, layout->gc.total_alloc);
	ret->total_free = u64_at(bytes, layout->gc.total_free);
	return 0;
}

int go_stats_read(struct go_process *process, struct go_stats *ret)
{
	struct go_stats stats = { 0 };
	uint64_t variable;
	int r;

	r = read_stats(process, &stats);
	if (!r)
		r = read_controller(process, &stats);
	if (r)
		return r;
	if (!go_process_variable(process, GO_GOMAXPROCS, &variable))
		return GO_STATS_E_UNKNOWN;
	r = go_memory_u32(go_process_memory(process), variable, &stats.gomaxprocs);
	if (r < 0)
		return r;
	if (!stats.gomaxprocs || stats.gomaxprocs > MAX_PROCESSORS)
		return GO_STATS_E_UNKNOWN;
	*ret = stats;
	return 0;
}
