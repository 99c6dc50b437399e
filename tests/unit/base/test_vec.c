/* SPDX-License-Identifier: Apache-2.0 */
#include "vec.h"

#include "main.h"

START_TEST(elements_keep_their_order_as_it_grows)
{
	VEC(int) v = { 0 };
	int more[] = { 1000, 1001 };

	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(vec_push(&v, i), 0);
	ck_assert_int_eq(vec_append(&v, more, 2), 0);
	ck_assert_uint_eq(v.n, 1002);
	for (int i = 0; i < 1002; i++)
		ck_assert_int_eq(v.at[i], i);
	vec_deinit(&v);
	ck_assert_ptr_null(v.at);
}
END_TEST

START_TEST(what_cannot_be_allocated_changes_nothing)
{
	VEC(uint64_t) v = { 0 };

	ck_assert_int_eq(vec_push(&v, 5), 0);
	ck_assert_int_eq(vec_reserve(&v, SIZE_MAX / 4), -ENOMEM);
	ck_assert_uint_eq(v.n, 1);
	ck_assert_uint_eq(v.at[0], 5);
	vec_deinit(&v);
}
END_TEST

UNIT_TESTS("vec", elements_keep_their_order_as_it_grows, what_cannot_be_allocated_changes_nothing)
