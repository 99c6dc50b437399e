/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include <errno.h>

#include "clock.h"
#include "main.h"
#include "make_profile.h"

static struct profile *profile_with_locations(size_t n)
{
	struct profile *p = profile_new();
	uint32_t id;

	ck_assert_int_eq(profile_set_kind(p, PROFILE_CPU, 10), 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(profile_add_location(p, 0, 0x1000 + i, NULL, 0, &id), 0);
	return p;
}

START_TEST(equal_samples_are_one_and_their_values_add_up)
{
	_cleanup_(profile_free_p) struct profile *p = profile_with_locations(3);
	const uint32_t stack[] = { 2, 1 };

	ck_assert_int_eq(profile_add_sample(p, stack, 2, (int64_t[]){ 1, 10 }, NULL, 0), 1);
	ck_assert_int_eq(profile_add_sample(p, stack, 2, (int64_t[]){ 2, 20 }, NULL, 0), 0);
	ck_assert_int_eq(profile_add_sample(p, stack, 1, (int64_t[]){ 4, 40 }, NULL, 0), 1);
	ck_assert_uint_eq(p->samples.n, 2);
	ck_assert_int_eq(profile_values(p, 0)[0], 3);
	ck_assert_int_eq(profile_values(p, 0)[1], 30);
	ck_assert_int_eq(profile_total(p, 0), 7);
	ck_assert_int_eq(profile_total(p, 1), 70);
}
END_TEST

START_TEST(labels_tell_samples_apart_but_their_order_does_not)
{
	_cleanup_(profile_free_p) struct profile *p = profile_with_locations(1);
	struct profile_label ab[2] = { 0 }, ba[2];

	ck_assert_int_eq(profile_string(p, "a", &ab[0].key), 0);
	ck_assert_int_eq(profile_string(p, "b", &ab[1].key), 0);
	ab[1].num = 7;
	ba[0] = ab[1];
	ba[1] = ab[0];
	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 1 }, 1, (int64_t[]){ 1, 1 }, ab, 2), 1);
	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 1 }, 1, (int64_t[]){ 1, 1 }, ba, 2), 0);
	ba[0].num = 8;
	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 1 }, 1, (int64_t[]){ 1, 1 }, ba, 2), 1);
	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 1 }, 1, (int64_t[]){ 1, 1 }, ba, 1), 1);
	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 1 }, 1, (int64_t[]){ 1, 1 }, NULL, 0), 1);
	ck_assert_uint_eq(p->samples.n, 4);
	ck_assert_uint_eq(p->labels.n, 2 + 2 + 1);
}
END_TEST

START_TEST(equal_functions_and_locations_have_one_id)
{
	_cleanup_(profile_free_p) struct profile *p = profile_new();
	struct profile_function f = { .start_line = 3 };
	uint32_t first, again, other, location[3];

	profile_string(p, "name", &f.name);
	ck_assert_int_eq(profile_add_function(p, &f, &first), 0);
	ck_assert_int_eq(profile_add_function(p, &f, &again), 0);
	f.start_line = 4;
	ck_assert_int_eq(profile_add_function(p, &f, &other), 0);
	ck_assert_uint_eq(first, 1);
	ck_assert_uint_eq(again, first);
	ck_assert_uint_eq(other, 2);

	ck_assert_int_eq(profile_add_location(p, 0, 16, &(struct profile_line){ first, 7, 0 }, 1, &location[0]), 0);
	ck_assert_int_eq(profile_add_location(p, 0, 16, &(struct profile_line){ first, 7, 0 }, 1, &location[1]), 0);
	ck_assert_int_eq(profile_add_location(p, 0, 16, &(struct profile_line){ first, 8, 0 }, 1, &location[2]), 0);
	ck_assert_uint_eq(location[0], location[1]);
	ck_assert_uint_ne(location[0], location[2]);
	ck_assert_uint_eq(p->lines.n, 2);
}
END_TEST

START_TEST(equal_mappings_join_what_is_known_of_them)
{
	_cleanup_(profile_free_p) struct profile *p = profile_new();
	struct profile_mapping m = { .start = 1, .limit = 2, .has_functions = true };
	uint32_t first, again;

	ck_assert_int_eq(profile_add_mapping(p, &m, &first), 0);
	m.has_functions = false;
	m.has_line_numbers = true;
	ck_assert_int_eq(profile_add_mapping(p, &m, &again), 0);
	ck_assert_uint_eq(first, again);
	ck_assert(p->mappings.at[0].has_functions && p->mappings.at[0].has_line_numbers);
	ck_assert(!p->mappings.at[0].has_filenames);
}
END_TEST

START_TEST(ids_that_do_not_exist_are_refused)
{
	_cleanup_(profile_free_p) struct profile *p = profile_with_locations(1);
	uint32_t id;

	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 2 }, 1, (int64_t[]){ 1, 1 }, NULL, 0), -EINVAL);
	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 0 }, 1, (int64_t[]){ 1, 1 }, NULL, 0), -EINVAL);
	ck_assert_int_eq(profile_add_location(p, 1, 0, NULL, 0, &id), -EINVAL);
	ck_assert_int_eq(profile_add_location(p, 0, 0, &(struct profile_line){ 1, 0, 0 }, 1, &id), -EINVAL);
	ck_assert_uint_eq(p->samples.n, 0);
	ck_assert_uint_eq(p->locations.n, 1);
}
END_TEST

START_TEST(a_sum_that_does_not_fit_changes_nothing)
{
	_cleanup_(profile_free_p) struct profile *p = profile_with_locations(1);

	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 1 }, 1, (int64_t[]){ 1, INT64_MAX }, NULL, 0), 1);
	ck_assert_int_eq(profile_add_sample(p, (uint32_t[]){ 1 }, 1, (int64_t[]){ 1, 1 }, NULL, 0), -EOVERFLOW);
	ck_assert_int_eq(profile_values(p, 0)[0], 1);
	ck_assert_int_eq(profile_values(p, 0)[1], INT64_MAX);
}
END_TEST

START_TEST(kinds_are_those_that_were_promised)
{
	static const char *const promised[] = {
		"cpu: samples/count cpu/nanoseconds; cpu/nanoseconds 0 -",
		"block: contentions/count delay/nanoseconds; contentions/count 1 -",
		"mutex: contentions/count delay/nanoseconds; contentions/count 1 -",
		"wall: samples/count time/nanoseconds; wallclock/nanoseconds 0 -",
		"heap: alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes; space/bytes 0 inuse_space",
		"allocs: alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes; space/bytes 0 alloc_space",
		"growth: growth_events/count growth_space/bytes; space/bytes 1 -",
		"goroutine: goroutine/count; goroutine/count 1 -",
		"thread: thread/count; thread/count 1 -",
	};

	ck_assert_uint_eq(ARRAY_SIZE(promised), PROFILE_N_KINDS);
	for (int kind = 0; kind < PROFILE_N_KINDS; kind++) {
		const struct profile_kind_info *info = profile_kind_info(kind);
		enum profile_kind found;
		char text[256];
		int n = snprintf(text, sizeof(text), "%s:", info->name);

		for (size_t i = 0; i < info->n_sample_types; i++)
			n += snprintf(text + n, sizeof(text) - n, " %s/%s", info->sample_types[i].type, info->sample_types[i].unit);
		snprintf(text + n, sizeof(text) - n, "; %s/%s %d %s", info->period_type.type, info->period_type.unit,
				(int)info->fixed_period, info->default_sample_type ? info->default_sample_type : "-");
		ck_assert_str_eq(text, promised[kind]);
		ck_assert_int_eq(profile_kind_by_name(info->name, &found), 0);
		ck_assert_int_eq(found, kind);
	}
	ck_assert_int_eq(profile_kind_by_name("threadcreate", &(enum profile_kind){ 0 }), -ENOENT);
}
END_TEST

START_TEST(sample_types_are_fixed_once_there_are_samples)
{
	_cleanup_(profile_free_p) struct profile *p = profile_with_locations(1);

	ck_assert_int_eq(profile_set_kind(p, PROFILE_HEAP, 1), -EBUSY);
	ck_assert_int_eq(profile_find_sample_type(p, "cpu"), 1);
	ck_assert_int_eq(profile_find_sample_type(p, "space"), -ENOENT);
	ck_assert_int_eq(profile_add_sample(p, NULL, 0, (int64_t[]){ 1, 1 }, NULL, 0), 1);
	ck_assert_int_eq(profile_add_sample_type(p, "more", "count"), -EBUSY);
}
END_TEST

START_TEST(a_profile_without_sample_types_takes_no_sample)
{
	_cleanup_(profile_free_p) struct profile *p = profile_new();

	ck_assert_int_eq(profile_add_sample(p, NULL, 0, NULL, NULL, 0), -EINVAL);
}
END_TEST

START_TEST(a_hundred_thousand_samples_of_thirty_frames_take_well_under_a_second)
{
	_cleanup_(profile_free_p) struct profile *p = profile_with_locations(5000);
	uint64_t state = 1, start = clock_monotonic_nsec(), spent;
	struct profile_label label = { 0 };
	uint32_t stack[30];

	profile_string(p, "pid", &label.key);
	for (size_t i = 0; i < 100000; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(stack); j++)
			stack[j] = 1 + random_below(&state, 5000);
		label.num = i % 1000;
		ck_assert_int_eq(profile_add_sample(p, stack, ARRAY_SIZE(stack), (int64_t[]){ 1, 10 }, &label, 1), 1);
	}
	spent = clock_monotonic_nsec() - start;
	fprintf(stderr, "# %llu ns a sample, %zu bytes a sample\n", (unsigned long long)spent / 100000,
			profile_memory(p) / 100000);
	ck_assert_uint_lt(spent, NSEC_PER_SEC);
	ck_assert_int_eq(profile_total(p, 0), 100000);
}
END_TEST

UNIT_TESTS("profile", equal_samples_are_one_and_their_values_add_up, labels_tell_samples_apart_but_their_order_does_not,
	equal_functions_and_locations_have_one_id, equal_mappings_join_what_is_known_of_them, ids_that_do_not_exist_are_refused,
	a_sum_that_does_not_fit_changes_nothing, kinds_are_those_that_were_promised,
	sample_types_are_fixed_once_there_are_samples, a_profile_without_sample_types_takes_no_sample,
	a_hundred_thousand_samples_of_thirty_frames_take_well_under_a_second)
