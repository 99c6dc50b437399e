/* SPDX-License-Identifier: Apache-2.0 */
#include "main.h"
#include "ranges.h"

static uint32_t value_at(const struct ranges *ranges, uint64_t address)
{
	const struct range *r = ranges_find(ranges, address);

	return r ? r->value : RANGES_NONE;
}

START_TEST(of_nested_ranges_the_innermost_is_found)
{
	struct ranges ranges = { 0 };

	ranges_add(&ranges, 100, 200, 1, 100);
	ranges_add(&ranges, 120, 180, 2, 100);
	ranges_add(&ranges, 130, 140, 3, 100);
	ranges_add(&ranges, 150, 160, 4, 100);
	ranges_sort(&ranges);
	ck_assert_uint_eq(value_at(&ranges, 99), RANGES_NONE);
	ck_assert_uint_eq(value_at(&ranges, 100), 1);
	ck_assert_uint_eq(value_at(&ranges, 135), 3);
	ck_assert_uint_eq(value_at(&ranges, 140), 2);
	ck_assert_uint_eq(value_at(&ranges, 159), 4);
	ck_assert_uint_eq(value_at(&ranges, 199), 1);
	ck_assert_uint_eq(value_at(&ranges, 200), RANGES_NONE);
	ranges_deinit(&ranges);
}
END_TEST

START_TEST(equal_ranges_are_told_by_the_larger_value)
{
	struct ranges ranges = { 0 };

	ranges_add(&ranges, 10, 20, 2, 100);
	ranges_add(&ranges, 10, 20, 1, 100);
	ranges_sort(&ranges);
	/* The one inside is added later: it is what was inlined. */
	ck_assert_uint_eq(value_at(&ranges, 15), 2);
	ranges_deinit(&ranges);
}
END_TEST

START_TEST(overlapping_ranges_are_each_found)
{
	struct ranges ranges = { 0 };

	ranges_add(&ranges, 0, 30, 1, 100);
	ranges_add(&ranges, 10, 20, 2, 100);
	ranges_add(&ranges, 15, 25, 3, 100);
	ranges_sort(&ranges);
	ck_assert_uint_eq(value_at(&ranges, 12), 2);
	ck_assert_uint_eq(value_at(&ranges, 22), 3);
	ck_assert_uint_eq(value_at(&ranges, 27), 1);
	ranges_deinit(&ranges);
}
END_TEST

START_TEST(no_more_ranges_are_kept_than_allowed_and_empty_ones_never)
{
	struct ranges ranges = { 0 };

	ck_assert_int_eq(ranges_add(&ranges, 20, 10, 1, 2), 0);
	ck_assert_int_eq(ranges_add(&ranges, 20, 20, 1, 2), 0);
	ck_assert_uint_eq(ranges.all.n, 0);
	for (uint32_t i = 0; i < 5; i++)
		ck_assert_int_eq(ranges_add(&ranges, 1, 2, i, 2), 0);
	ck_assert_uint_eq(ranges.all.n, 2);
	ranges_deinit(&ranges);
	ranges_sort(&ranges);
	ck_assert_ptr_null(ranges_find(&ranges, 1));
}
END_TEST

UNIT_TESTS("ranges", of_nested_ranges_the_innermost_is_found, equal_ranges_are_told_by_the_larger_value, overlapping_ranges_are_each_found,
	   no_more_ranges_are_kept_than_allowed_and_empty_ones_never)
