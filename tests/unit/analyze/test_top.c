/* SPDX-License-Identifier: Apache-2.0 */
#include "top.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "main.h"
#include "profile.h"

struct sketch {
	struct profile *profile;
	uint32_t mapping;
};

static struct sketch sketch_new(enum profile_kind kind)
{
	struct sketch s = { .profile = profile_new() };
	struct profile_mapping mapping = { 0x400000, 0x500000, 0x1000 };

	ck_assert_int_eq(profile_set_kind(s.profile, kind, 1), 0);
	profile_string(s.profile, "/usr/bin/shop", &mapping.file);
	profile_add_mapping(s.profile, &mapping, &s.mapping);
	return s;
}

/* A location at address; names, innermost first and ended by NULL, are its functions. */
static uint32_t at(struct sketch *s, uint64_t address, const char *const *names)
{
	struct profile_line lines[4];
	size_t n = 0;
	uint32_t id;

	for (; names && names[n]; n++) {
		struct profile_function function = { .start_line = (int64_t)(address & 0xff) };

		profile_string(s->profile, names[n], &function.name);
		ck_assert_int_eq(profile_add_function(s->profile, &function, &lines[n].function), 0);
		lines[n].line = lines[n].column = 0;
	}
	ck_assert_int_eq(profile_add_location(s->profile, address < 0x400000 ? 0 : s->mapping, address, lines, n, &id), 0);
	return id;
}

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void sample(struct sketch *s, const uint32_t *stack, size_t n, int64_t value)
{
	int64_t values[PROFILE_KIND_MAX_TYPES] = { 1, value, 1, value };

	ck_assert_int_ge(profile_add_sample(s->profile, stack, n, values, NULL, 0), 0);
}

#define SAMPLE(s, value, ...) sample(s, (uint32_t[]){ __VA_ARGS__ }, sizeof((uint32_t[]){ __VA_ARGS__ }) / 4, value)

static void assert_row(const struct top *top, size_t i, const char *name, int64_t flat, int64_t cum)
{
	ck_assert_uint_lt(i, top->n_rows);
	ck_assert_str_eq(top->rows[i].name, name);
	ck_assert_int_eq(top->rows[i].flat, flat);
	ck_assert_int_eq(top->rows[i].cum, cum);
}

START_TEST(flat_is_the_leaf_and_cum_the_whole_stack)
{
	struct sketch s = sketch_new(PROFILE_CPU);
	uint32_t leaf = at(&s, 0x401001, NAMES("leaf")), other = at(&s, 0x401002, NAMES("other")),
		 entry = at(&s, 0x401003, NAMES("main"));
	_cleanup_(top_free_p) struct top *top = NULL, *cum = NULL;

	SAMPLE(&s, 30, leaf, entry);
	SAMPLE(&s, 50, other, leaf, entry);
	SAMPLE(&s, 5, entry);
	ck_assert_int_eq(top_new(s.profile, -1, TOP_FLAT, 0, &top), 0);
	ck_assert_int_eq(top_new(s.profile, -1, TOP_CUM, 2, &cum), 0);
	profile_free(s.profile);
	ck_assert_str_eq(top->type, "cpu");
	ck_assert_int_eq(top->total, 85);
	ck_assert_uint_eq(top->n_rows, 3);
	assert_row(top, 0, "other", 50, 50);
	assert_row(top, 1, "leaf", 30, 80);
	assert_row(top, 2, "main", 5, 85);
	ck_assert_uint_eq(cum->n_rows, 2);
	ck_assert_uint_eq(cum->n_functions, 3);
	assert_row(cum, 0, "main", 5, 85);
	assert_row(cum, 1, "leaf", 30, 80);
}
END_TEST

START_TEST(recursion_counts_once_and_inlined_functions_count_by_themselves)
{
	struct sketch s = sketch_new(PROFILE_CPU);
	uint32_t inlined = at(&s, 0x401001, NAMES("inner", "outer")), again = at(&s, 0x401002, NAMES("outer"));
	_cleanup_(top_free_p) struct top *top = NULL;

	SAMPLE(&s, 10, inlined, again, inlined, again);
	ck_assert_int_eq(top_new(s.profile, 1, TOP_FLAT, 0, &top), 0);
	assert_row(top, 0, "inner", 10, 10);
	assert_row(top, 1, "outer", 0, 10);
	ck_assert_uint_eq(top->n_rows, 2); /* functions of one name and two start lines are one */
	profile_free(s.profile);
}
END_TEST

START_TEST(what_has_no_name_is_called_by_its_place)
{
	struct sketch s = sketch_new(PROFILE_CPU);
	_cleanup_(top_free_p) struct top *top = NULL;

	SAMPLE(&s, 10, at(&s, 0x401234, NULL));
	SAMPLE(&s, 7, at(&s, 0x1234, NULL));
	sample(&s, NULL, 0, 3);
	ck_assert_int_eq(top_new(s.profile, 1, TOP_FLAT, 0, &top), 0);
	assert_row(top, 0, "shop+0x2234", 10, 10);
	assert_row(top, 1, "0x1234", 7, 7);
	ck_assert_int_eq(top->total, 20);
	profile_free(s.profile);
}
END_TEST

START_TEST(the_sample_type_is_the_one_asked_for_or_the_default_one)
{
	struct sketch s = sketch_new(PROFILE_ALLOCS);
	_cleanup_(top_free_p) struct top *asked = NULL, *standard = NULL, *none = NULL;

	ck_assert_int_eq(top_new(s.profile, 0, TOP_FLAT, 0, &asked), 0);
	ck_assert_int_eq(top_new(s.profile, -1, TOP_FLAT, 0, &standard), 0);
	ck_assert_str_eq(asked->type, "alloc_objects");
	ck_assert_str_eq(standard->type, "alloc_space");
	ck_assert_int_eq(top_new(s.profile, 4, TOP_FLAT, 0, &none), -EINVAL);
	profile_free(s.profile);
	s.profile = profile_new();
	ck_assert_int_eq(top_new(s.profile, -1, TOP_FLAT, 0, &none), -EINVAL);
	profile_free(s.profile);
}
END_TEST

START_TEST(a_table_for_people_keeps_their_terminal_safe)
{
	struct sketch s = sketch_new(PROFILE_CPU);
	_cleanup_(top_free_p) struct top *top = NULL;
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	SAMPLE(&s, 1500000000, at(&s, 0x401001, NAMES("evil\x1b[2J\n\xc2\x9bz\xc3\xa4")));
	SAMPLE(&s, 500000000, at(&s, 0x401002, NAMES("good")));
	ck_assert_int_eq(top_new(s.profile, 1, TOP_FLAT, 0, &top), 0);
	top_print(top, f);
	fclose(f);
	ck_assert_str_eq(text, "cpu: 2s in all, 2 of 2 functions\n"
			       "      flat  flat%   sum%        cum   cum%\n"
			       "     1.50s  75.0%  75.0%      1.50s  75.0%  evil?[2J??z\xc3\xa4\n"
			       "     500ms  25.0% 100.0%      500ms  25.0%  good\n");
	profile_free(s.profile);
}
END_TEST

START_TEST(values_read_well)
{
	static const struct {
		int64_t value;
		const char *unit, *text;
	} cases[] = {
		{ 0, "nanoseconds", "0ns" }, { 999, "nanoseconds", "999ns" }, { 1500, "nanoseconds", "1.50us" },
		{ 30000000, "nanoseconds", "30ms" }, { -2500000000, "nanoseconds", "-2.50s" }, { 1023, "bytes", "1023B" },
		{ 13107200, "bytes", "12.50MiB" }, { INT64_MIN, "bytes", "-8388608TiB" }, { 42, "count", "42" },
		{ INT64_MAX, "count", "9223372036854775807" },
	};
	char text[TOP_VALUE_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		top_format_value(cases[i].value, cases[i].unit, text);
		ck_assert_str_eq(text, cases[i].text);
	}
}
END_TEST

UNIT_TESTS("top", flat_is_the_leaf_and_cum_the_whole_stack, recursion_counts_once_and_inlined_functions_count_by_themselves,
	what_has_no_name_is_called_by_its_place, the_sample_type_is_the_one_asked_for_or_the_default_one,
	a_table_for_people_keeps_their_terminal_safe, values_read_well)
