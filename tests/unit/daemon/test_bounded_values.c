/* SPDX-License-Identifier: Apache-2.0 */
#include "bounded_values.h"

#include <stdio.h>

#include "../main.h"

static uint32_t add(struct bounded_values *values, uint64_t group, const char *text, uint64_t nsec)
{
	uint32_t value;

	ck_assert_int_eq(bounded_values_add(values, group, text, nsec, &value), 0);
	return value;
}

START_TEST(those_with_the_most_time_are_told_and_the_rest_is_other)
{
	struct bounded_values *values = bounded_values_new(2);
	uint32_t a = add(values, 1, "a", 10), b = add(values, 1, "b", 5), c = add(values, 1, "c", 11);

	ck_assert_int_eq(bounded_values_rank(values), 0);
	ck_assert_str_eq(bounded_values_get(values, a), "a");
	ck_assert_str_eq(bounded_values_get(values, b), "other");
	ck_assert_str_eq(bounded_values_get(values, c), "c");
	bounded_values_free(values);
}
END_TEST

START_TEST(the_time_of_a_value_is_the_sum_of_its_times)
{
	struct bounded_values *values = bounded_values_new(1);
	uint32_t a = add(values, 1, "a", 10), b = add(values, 1, "b", 6);

	ck_assert_uint_eq(add(values, 1, "b", 6), b);
	ck_assert_int_eq(bounded_values_rank(values), 0);
	ck_assert_str_eq(bounded_values_get(values, a), "other");
	ck_assert_str_eq(bounded_values_get(values, b), "b");
	bounded_values_free(values);
}
END_TEST

START_TEST(each_group_has_its_own)
{
	struct bounded_values *values = bounded_values_new(1);
	uint64_t high = UINT64_C(1) << 32;
	uint32_t a = add(values, 1, "a", 1), b = add(values, high | 1, "b", 1000), c = add(values, 2, "a", 1), d = add(values, 2, "d", 2);

	ck_assert_int_eq(bounded_values_rank(values), 0);
	ck_assert_str_eq(bounded_values_get(values, a), "a");
	ck_assert_str_eq(bounded_values_get(values, b), "b");
	ck_assert_str_eq(bounded_values_get(values, c), "other");
	ck_assert_str_eq(bounded_values_get(values, d), "d");
	bounded_values_free(values);
}
END_TEST

START_TEST(equal_ones_are_told_by_their_text_in_whatever_order_they_came)
{
	for (unsigned int turn = 0; turn < 2; turn++) {
		struct bounded_values *values = bounded_values_new(10);
		uint32_t numbers[20];
		char text[16];

		for (unsigned int i = 0; i < 20; i++) {
			unsigned int which = turn ? 19 - i : i;

			snprintf(text, sizeof(text), "value %02u", which);
			numbers[which] = add(values, 0, text, 7);
		}
		ck_assert_int_eq(bounded_values_rank(values), 0);
		for (unsigned int i = 0; i < 20; i++) {
			snprintf(text, sizeof(text), "value %02u", i);
			ck_assert_str_eq(bounded_values_get(values, numbers[i]), i < 10 ? text : "other");
		}
		bounded_values_free(values);
	}
}
END_TEST

START_TEST(none_are_ranked_as_well)
{
	struct bounded_values *values = bounded_values_new(1);

	ck_assert_int_eq(bounded_values_rank(values), 0);
	bounded_values_free(values);
	bounded_values_free(NULL);
}
END_TEST

UNIT_TESTS("bounded_values", those_with_the_most_time_are_told_and_the_rest_is_other, the_time_of_a_value_is_the_sum_of_its_times,
	each_group_has_its_own, equal_ones_are_told_by_their_text_in_whatever_order_they_came, none_are_ranked_as_well)
