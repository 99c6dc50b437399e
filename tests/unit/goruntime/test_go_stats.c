/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "../main.h"
#include "go_stats.h"
#include "made_process.h"

START_TEST(numbers_are_found_in_each_version)
{
	for (unsigned int minor = 18; minor <= 27; minor++) {
		struct made_process *made;
		struct go_stats stats;
		char version[16];

		snprintf(version, sizeof(version), "go1.%u", minor);
		made = made_process_new(version);
		ck_assert_int_eq(made_process_open(made, NULL), 0);
		ck_assert_int_eq(go_stats_read(made->process, &stats), 0);
		ck_assert_uint_eq(stats.n_gc, 3);
		ck_assert_uint_eq(stats.n_pauses, 3);
		ck_assert_uint_eq(stats.pauses_nsec[0], 3000);
		ck_assert_uint_eq(stats.pauses_nsec[2], 1000);
		ck_assert_uint_eq(stats.heap_live, 4 << 20);
		ck_assert_uint_eq(stats.gomaxprocs, 2);
		ck_assert_int_eq(stats.has_heap_bytes, minor >= 19);
		made_process_free(made);
	}
}
END_TEST

START_TEST(numbers_that_cannot_be_are_refused)
{
	struct made_process *made = made_process_new("go1.26.8");
	struct go_stats stats;

	ck_assert_int_eq(made_process_open(made, NULL), 0);
	made_put(made, made_variable(GO_STATS) + made->layout->stats.cpu_fraction, UINT64_C(0x7ff8000000000000)); /* NaN */
	ck_assert_int_eq(go_stats_read(made->process, &stats), GO_STATS_E_UNKNOWN);
	made_put(made, made_variable(GO_STATS) + made->layout->stats.cpu_fraction, 0);
	made_put(made, made_variable(GO_GOMAXPROCS), 0);
	ck_assert_int_eq(go_stats_read(made->process, &stats), GO_STATS_E_UNKNOWN);
	made_put(made, made_variable(GO_GOMAXPROCS), 2);
	/* More cycles than the ring has pauses. */
	made_put(made, made_variable(GO_STATS) + made->layout->stats.n_gc, UINT32_MAX);
	ck_assert_int_eq(go_stats_read(made->process, &stats), 0);
	ck_assert_uint_eq(stats.n_pauses, GO_STATS_PAUSES);
	made_process_free(made);
}
END_TEST

static struct go_stats stats_of(const struct made_process *made)
{
	struct go_stats stats;

	ck_assert_int_eq(go_stats_read(made->process, &stats), 0);
	return stats;
}

/* runtime/mgcpacer.go heapGoalInternal(), memoryLimitHeapGoal(). */
START_TEST(the_goal_is_what_the_pacer_would_say)
{
	for (unsigned int minor = 18; minor <= 27; minor++) {
		struct made_process *made;
		const struct go_layout *layout;
		char version[16];
		uint64_t gc;

		snprintf(version, sizeof(version), "go1.%u", minor);
		made = made_process_new(version);
		ck_assert_int_eq(made_process_open(made, NULL), 0);
		layout = made->layout;
		gc = made_variable(GO_GC);
		made_put(made, gc + layout->gc.goal, 64 << 20);
		if (minor == 18) {
			ck_assert_uint_eq(stats_of(made).heap_goal, 64 << 20);
			made_process_free(made);
			continue;
		}
		made_put(made, gc + layout->gc.memory_limit, INT64_MAX);
		made_put(made, gc + layout->gc.goal + 16, UINT64_MAX);
		ck_assert_uint_eq(stats_of(made).heap_goal, 64 << 20);
		/* What is not swept yet is made room for, and so is a collection that was begun. */
		made_put(made, gc + layout->gc.goal + 8, 65 << 20);
		ck_assert_uint_eq(stats_of(made).heap_goal, 65 << 20);
		made_put(made, gc + layout->gc.goal + 16, 66 << 20);
		ck_assert_uint_eq(stats_of(made).heap_goal, (66 << 20) + (64 << 10));
		/* A limit of 50 MiB: 10 are no heap, 3 % or 1 MiB are left. */
		made_put(made, gc + layout->gc.memory_limit, 50 << 20);
		made_put(made, gc + layout->gc.mapped_ready, 30 << 20);
		made_put(made, gc + layout->gc.heap_free, 5 << 20);
		made_put(made, gc + layout->gc.total_alloc, 40 << 20);
		made_put(made, gc + layout->gc.total_free, 25 << 20);
		ck_assert_uint_eq(stats_of(made).heap_goal, (40 << 20) - (minor <= 20 ? 1 << 20 : (40 << 20) / 100 * 3));
		/* What lives is more: no less than that. */
		made_put(made, gc + layout->gc.marked, 45 << 20);
		ck_assert_uint_eq(stats_of(made).heap_goal, 45 << 20);
		/* None at all. */
		made_put(made, gc + layout->gc.memory_limit, INT64_MAX);
		made_put(made, gc + layout->gc.goal, UINT64_MAX);
		ck_assert_uint_eq(stats_of(made).heap_goal, UINT64_MAX);
		made_process_free(made);
	}
}
END_TEST

START_TEST(stacks_are_the_sum_of_three_generations)
{
	static const char *const versions[] = { "go1.18.10", "go1.22.12", "go1.27.1" };

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct made_process *made = made_process_new(versions[i]);
		uint64_t first = made_variable(GO_STATS) + made->layout->stats.stacks, stride = made->layout->stats.stacks_stride;
		struct go_stats stats;

		ck_assert_int_eq(made_process_open(made, NULL), 0);
		made_put(made, first, 5 << 20);
		made_put(made, first + stride, (uint64_t)-(1 << 20)); /* what was freed since */
		made_put(made, first + 2 * stride, 1 << 15);
		ck_assert_uint_eq(stats_of(made).stacks_in_use, (4 << 20) + (1 << 15));
		/* Less than nothing. */
		made_put(made, first, 0);
		ck_assert_int_eq(go_stats_read(made->process, &stats), GO_STATS_E_UNKNOWN);
		made_process_free(made);
	}
}
END_TEST

UNIT_TESTS("go_stats", numbers_are_found_in_each_version, the_goal_is_what_the_pacer_would_say, stacks_are_the_sum_of_three_generations, numbers_that_cannot_be_are_refused)
