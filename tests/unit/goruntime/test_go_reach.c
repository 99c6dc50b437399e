/* SPDX-License-Identifier: Apache-2.0 */
#include "go_reach.h"

#include "../main.h"
#include "cleanup.h"
#include "clock.h"
#include "go_goroutines.h"
#include "made_process.h"

/* Where no test of others writes: a variable of the program. */
#define VARIABLE (MADE_MEMORY + 0xd000)

static const char *const versions[] = { "go1.18.1", "go1.21.1", "go1.26.1", "go1.27.1" };
static const struct go_reach_region regions[] = { { MADE_MEMORY, MADE_MEMORY + 0xe000 } };

/* A word of the stack of a goroutine that waits. */
static uint64_t stack_word(int goroutine)
{
	return MADE_MEMORY + MADE_STACKS_AT + (uint64_t)goroutine * MADE_STACK_SIZE + 0x108;
}

static int find_with(struct made_process *made, const uint64_t *objects, size_t n, struct go_memory *pagemap, struct go_reach *ret)
{
	struct go_goroutines goroutines = { 0 };
	struct go_reach_options options = { .goroutines = &goroutines, .objects = objects, .n_objects = n, .regions = regions, .n_regions = 1,
		.pagemap = pagemap };
	int r = made_process_open(made, NULL);

	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &goroutines), 0);
	made->n_reads = 0;
	r = go_reach_find(made->process, &options, ret);
	go_goroutines_deinit(&goroutines);
	return r;
}

static int find(struct made_process *made, const uint64_t *objects, size_t n, struct go_reach *ret)
{
	return find_with(made, objects, n, NULL, ret);
}

static size_t n_ways(const struct go_reach *reach, uint64_t object, uint64_t goroutine, bool is_direct)
{
	size_t n = 0;

	for (size_t i = 0; i < reach->ways.n; i++)
		n += reach->ways.at[i].object == object && reach->ways.at[i].goroutine == goroutine && reach->ways.at[i].is_direct == is_direct;
	return n;
}

static size_t n_ways_to(const struct go_reach *reach, uint64_t object)
{
	size_t n = 0;

	for (size_t i = 0; i < reach->ways.n; i++)
		n += reach->ways.at[i].object == object;
	return n;
}

static void check_ways(const char *version)
{
	struct made_process *made = made_process_new(version);
	const uint64_t objects[] = { made_channel(2), made_channel(0), made_channel(1), made_channel(3), made_channel(0) };
	struct go_reach reach = { 0 };

	/* By two objects, the second in the middle of the first. */
	made_put(made, stack_word(2), made_object(0) + 8);
	made_put(made, made_object(0) + 16, made_object(5));
	made_put(made, made_object(5), made_channel(0));
	made_put(made, VARIABLE, made_object(9));
	made_put(made, made_object(9) + 0x38, made_channel(1));
	/* A circle of objects that nobody has. */
	made_put(made, made_object(20), made_object(21));
	made_put(made, made_object(21), made_object(20));
	made_put(made, made_object(21) + 8, made_channel(2));
	/* On the stack itself; what has no pointers does not count. */
	made_put(made, stack_word(3), made_channel(3));
	made_put(made, MADE_MEMORY + MADE_BUCKETS_AT + 0x1000, made_channel(2));
	ck_assert_int_eq(find(made, objects, 5, &reach), 0);
	ck_assert_uint_eq(n_ways(&reach, made_channel(0), 3, false), 1);
	ck_assert_uint_eq(n_ways_to(&reach, made_channel(0)), 1);
	ck_assert_uint_eq(n_ways(&reach, made_channel(1), 0, false), 1);
	ck_assert_uint_eq(n_ways_to(&reach, made_channel(1)), 1);
	ck_assert_uint_eq(n_ways_to(&reach, made_channel(2)), 0);
	ck_assert_uint_eq(n_ways(&reach, made_channel(3), 4, true), 1);
	ck_assert_uint_eq(n_ways(&reach, made_channel(3), 4, false), 1);
	ck_assert_uint_eq(reach.objects.n, 4);
	ck_assert(!reach.is_cut);
	go_reach_deinit(&reach);
	made_process_free(made);
}

START_TEST(ways_lead_from_stacks_and_variables_through_objects)
{
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		check_ways(versions[i]);
}
END_TEST

/* --- pages that were never touched ----------------------------------------------------------------------------- */

#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)
#define PAGE_SIZE 4096

/* Of each page of the process's memory what /proc/PID/pagemap says; 0: it was never touched. */
struct made_pagemap {
	uint64_t entries[MADE_MEMORY_SIZE / PAGE_SIZE];
	int error;
};

static int read_pagemap(void *userdata, uint64_t offset, void *to, size_t size)
{
	const struct made_pagemap *pagemap = userdata;
	uint64_t *entries = to;

	if (pagemap->error)
		return pagemap->error;
	for (size_t i = 0; i < size / 8; i++) {
		uint64_t page = offset / 8 + i, number = page - MADE_MEMORY / PAGE_SIZE;

		entries[i] = page >= MADE_MEMORY / PAGE_SIZE && number < MADE_MEMORY_SIZE / PAGE_SIZE ? pagemap->entries[number] : 0;
	}
	return 0;
}

/* Ways from a variable to the channel, by an object, when the pages of both are as told and all others present. */
static size_t ways_with(uint64_t variable, uint64_t object, int error)
{
	struct made_process *made = made_process_new("go1.26.1");
	struct made_pagemap pagemap = { .error = error };
	struct go_memory memory = { .read = read_pagemap, .userdata = &pagemap, .left_bytes = UINT64_MAX };
	const uint64_t objects[] = { made_channel(1) };
	struct go_reach reach = { 0 };
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(pagemap.entries); i++)
		pagemap.entries[i] = PRESENT;
	pagemap.entries[(VARIABLE - MADE_MEMORY) / PAGE_SIZE] = variable;
	pagemap.entries[(made_object(9) - MADE_MEMORY) / PAGE_SIZE] = object;
	made_put(made, VARIABLE, made_object(9));
	made_put(made, made_object(9) + 0x38, made_channel(1));
	ck_assert_int_eq(find_with(made, objects, 1, &memory, &reach), 0);
	n = n_ways(&reach, made_channel(1), 0, false);
	ck_assert_uint_eq(n_ways_to(&reach, made_channel(1)), n);
	go_reach_deinit(&reach);
	made_process_free(made);
	return n;
}

START_TEST(pages_that_were_never_touched_are_not_searched)
{
	/* That it is shared, or of a file, is no matter. */
	const uint64_t others = UINT64_C(1) << 61 | UINT64_C(1) << 55;

	ck_assert_uint_eq(ways_with(PRESENT, PRESENT, 0), 1);
	ck_assert_uint_eq(ways_with(SWAPPED, PRESENT | others, 0), 1);
	ck_assert_uint_eq(ways_with(PRESENT, SWAPPED, 0), 1);
	ck_assert_uint_eq(ways_with(others, PRESENT, 0), 0);
	ck_assert_uint_eq(ways_with(PRESENT, others, 0), 0);
	/* Where it is not known all is searched. */
	ck_assert_uint_eq(ways_with(0, 0, -EIO), 1);
	ck_assert_uint_eq(ways_with(0, 0, -E2BIG), 1);
}
END_TEST

/* --- a heap that lies ------------------------------------------------------------------------------------------ */

static void no_list(struct made_process *made)
{
	made_put(made, MADE_MEMORY + MADE_ALL_SPANS_AT, 8);
}

static void long_list(struct made_process *made)
{
	made_put(made, MADE_MEMORY + MADE_ALL_SPANS_AT + 8, GO_REACH_MAX_SPANS);
	made_put(made, MADE_MEMORY + MADE_ALL_SPANS_AT + 16, GO_REACH_MAX_SPANS);
}

static void one_again_and_again(struct made_process *made)
{
	for (uint64_t i = 0; i < MADE_N_SPANS; i++)
		made_put(made, MADE_MEMORY + MADE_ALL_SPANS_AT + 0x100 + i * 8, made_span(3));
}

static void endless_span(struct made_process *made)
{
	made_span_is(made, 15, MADE_MEMORY + MADE_OBJECTS_AT, UINT32_MAX, 8, true);
}

static void span_at_the_end_of_all(struct made_process *made)
{
	made_span_is(made, 9, UINT64_MAX - 0x1fff, 2, 0x4000, true);
}

static void span_of_terabytes(struct made_process *made)
{
	made_span_is(made, 9, UINT64_C(1) << 46, 1 << 25, UINT64_C(1) << 38, true);
}

static void spans_overlap(struct made_process *made)
{
	made_span_is(made, 9, MADE_MEMORY + MADE_OBJECTS_AT, 1, 0x80, true);
}

static void element_of_nothing(struct made_process *made)
{
	made_span_is(made, 15, MADE_MEMORY + MADE_OBJECTS_AT, 1, 0, true);
}

static void goroutines_are_no_objects(struct made_process *made)
{
	made_span_is(made, 0, MADE_MEMORY + MADE_GS_AT, 1, 0x180, true);
}

static void objects_point_at_all_others(struct made_process *made)
{
	made_put(made, made_object(0), made_channel(0));
	for (int i = 0; i < 128; i++)
		for (int j = 1; j < 8; j++)
			made_put(made, made_object(i) + (uint64_t)j * 8, made_object((i * 7 + j) % 128));
}

/* Each stack has the same, a gigabyte of it. */
static void endless_stacks(struct made_process *made)
{
	for (int i = 0; i < MADE_N_GOROUTINES; i++)
		made_put(made, made_g(i) + 8, MADE_MEMORY + (UINT64_C(1) << 31));
}

static const struct {
	void (*damage)(struct made_process *made);
	int expected;
} lies[] = {
	{ no_list, GO_REACH_E_UNKNOWN }, { long_list, -EIO }, { one_again_and_again, GO_REACH_E_UNKNOWN }, { endless_span, GO_REACH_E_UNKNOWN },
	{ span_at_the_end_of_all, 0 }, { span_of_terabytes, -E2BIG }, { spans_overlap, GO_REACH_E_UNKNOWN }, { element_of_nothing, GO_REACH_E_UNKNOWN },
	{ goroutines_are_no_objects, GO_REACH_E_UNKNOWN }, { objects_point_at_all_others, 0 }, { endless_stacks, -E2BIG },
};

/* In bounded time, and nothing is believed that cannot be. */
START_TEST(a_heap_that_lies_is_refused_or_searched_within_bounds)
{
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct made_process *made = made_process_new("go1.26.1");
		const uint64_t objects[] = { made_channel(0), made_channel(1) };
		uint64_t start_nsec = clock_nsec(CLOCK_PROCESS_CPUTIME_ID);
		struct go_reach reach = { 0 };
		int r;

		lies[i].damage(made);
		r = find(made, objects, 2, &reach);
		ck_assert_msg(r == lies[i].expected, "lie %zu: %d", i, r);
		ck_assert_msg(made->n_reads < 200000, "lie %zu: %llu reads", i, (unsigned long long)made->n_reads);
		ck_assert_uint_lt(clock_nsec(CLOCK_PROCESS_CPUTIME_ID) - start_nsec, 5 * NSEC_PER_SEC);
		go_reach_deinit(&reach);
		made_process_free(made);
	}
}
END_TEST

UNIT_TESTS("go_reach", ways_lead_from_stacks_and_variables_through_objects, pages_that_were_never_touched_are_not_searched,
	a_heap_that_lies_is_refused_or_searched_within_bounds)
