/* SPDX-License-Identifier: Apache-2.0 */
#include "go_stats.h"

#include <math.h>
#include <string.h>

#include "cleanup.h"
#include "go_process.h"

enum {
	MAX_SIZE = 8192,                     /* of what is read of either structure */
	MAX_PROCESSORS = 1 << 20,
	N_GENERATIONS = 3,                   /* consistentHeapStats.stats */
	MAX_STRIDE = 2048,                   /* of one of them */
	ATTEMPTS = 4,
	MIN_HEADROOM = 1 << 20,              /* memoryLimitMinHeapGoalHeadroom */
	MIN_RUNWAY = 64 << 10,
};

static const uint64_t MAX_STACKS = UINT64_C(1) << 47; /* no more addresses */

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

/*
 * Each generation has what was added while it was the current one: all of it is their sum (runtime/mstats.go unsafeRead()). When the
 * runtime moves one into another between our two of them the sum is wrong for a moment, and mostly no size.
 */
static int read_stacks(struct go_process *process, struct go_stats *ret)
{
	const struct go_layout *layout = go_process_layout(process);
	uint8_t bytes[(N_GENERATIONS - 1) * MAX_STRIDE + sizeof(uint64_t)], again[sizeof(bytes)];
	size_t size = (N_GENERATIONS - 1) * (size_t)layout->stats.stacks_stride + sizeof(uint64_t);
	uint64_t variable;

	if (!go_process_variable(process, GO_STATS, &variable) || layout->stats.stacks_stride > MAX_STRIDE)
		return GO_STATS_E_UNKNOWN;
	for (int i = 0; i < ATTEMPTS; i++) {
		uint64_t sum = 0, sum_again = 0;
		int r = go_memory_read(go_process_memory(process), variable + layout->stats.stacks, bytes, size);

		if (r >= 0)
			r = go_memory_read(go_process_memory(process), variable + layout->stats.stacks, again, size);
		if (r < 0)
			return r;
		for (int generation = 0; generation < N_GENERATIONS; generation++) {
			sum += u64_at(bytes, (uint16_t)(generation * layout->stats.stacks_stride));
			sum_again += u64_at(again, (uint16_t)(generation * layout->stats.stacks_stride));
		}
		ret->stacks_in_use = sum;
		if (sum == sum_again && sum < MAX_STACKS)
			return 0;
	}
	/* One that grows all the time: between two reads, not between two words. */
	return ret->stacks_in_use < MAX_STACKS ? 0 : GO_STATS_E_UNKNOWN;
}

/* What GOMEMLIMIT leaves to the heap (runtime/mgcpacer.go memoryLimitHeapGoal()). */
static uint64_t limit_goal(const struct go_stats *stats, const struct go_layout *layout)
{
	uint64_t live = stats->heap_free + stats->total_alloc - stats->total_free;
	/* They are not of one moment: the runtime reads them again until they are. */
	uint64_t other = stats->mapped > live ? stats->mapped - live : 0;
	uint64_t overage = stats->mapped > stats->memory_limit ? stats->mapped - stats->memory_limit : 0;
	uint64_t goal, headroom;

	if (other + overage >= stats->memory_limit)
		return stats->heap_marked;
	goal = stats->memory_limit - (other + overage);
	headroom = MAX(goal / 100 * layout->gc.limit_headroom_percent, (uint64_t)MIN_HEADROOM);
	goal = goal < headroom || goal - headroom < headroom ? headroom : goal - headroom;
	return MAX(goal, stats->heap_marked);
}

/* runtime/mgcpacer.go heapGoalInternal(). */
static uint64_t find_goal(const uint8_t *controller, const struct go_layout *layout, const struct go_stats *stats)
{
	uint64_t goal = u64_at(controller, layout->gc.goal), by_limit, sweep, triggered;

	if (layout->gc.memory_limit == GO_LAYOUT_NONE)
		return goal;
	by_limit = stats->memory_limit == UINT64_MAX ? UINT64_MAX : limit_goal(stats, layout);
	if (by_limit < goal)
		return by_limit;
	sweep = u64_at(controller, layout->gc.goal + sizeof(uint64_t));
	triggered = u64_at(controller, layout->gc.goal + 2 * sizeof(uint64_t));
	goal = MAX(goal, sweep);
	/* UINT64_MAX: none is under way. */
	return triggered < UINT64_MAX - MIN_RUNWAY ? MAX(goal, triggered + MIN_RUNWAY) : goal;
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
	if (layout->gc.memory_limit == GO_LAYOUT_NONE) {
		ret->heap_goal = find_goal(bytes, layout, ret);
		return 0;
	}
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
	ret->heap_goal = find_goal(bytes, layout, ret);
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
	if (!r)
		r = read_stacks(process, &stats);
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
