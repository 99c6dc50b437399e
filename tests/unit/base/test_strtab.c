/* SPDX-License-Identifier: Apache-2.0 */
#include "strtab.h"

#include <stdio.h>

#include "main.h"

START_TEST(the_empty_string_is_number_0)
{
	struct strtab *strtab = strtab_new();
	uint32_t id = 7;

	ck_assert_int_eq(strtab_add_string(strtab, NULL, &id), 0);
	ck_assert_uint_eq(id, 0);
	ck_assert_uint_eq(strtab_count(strtab), 1);
	ck_assert_ptr_null(strtab_free(strtab));
}
END_TEST

START_TEST(equal_strings_get_equal_numbers)
{
	struct strtab *strtab = strtab_new();
	char name[32];
	uint32_t id;

	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 10000; i++) {
			snprintf(name, sizeof(name), "function_%u", i);
			ck_assert_int_eq(strtab_add_string(strtab, name, &id), 0);
			ck_assert_uint_eq(id, i + 1);
		}
	ck_assert_str_eq(strtab_get(strtab, 10000, NULL), "function_9999");
	ck_assert_str_eq(strtab_get(strtab, 10001, NULL), "");
	strtab_free(strtab);
}
END_TEST

START_TEST(strings_may_hold_zero_bytes)
{
	struct strtab *strtab = strtab_new();
	uint32_t a, b;
	size_t length;

	strtab_add(strtab, "a\0b", 3, &a);
	strtab_add(strtab, "a\0c", 3, &b);
	ck_assert_uint_ne(a, b);
	ck_assert_mem_eq(strtab_get(strtab, b, &length), "a\0c", 4);
	ck_assert_uint_eq(length, 3);
	strtab_free(strtab);
}
END_TEST

UNIT_TESTS("strtab", the_empty_string_is_number_0, equal_strings_get_equal_numbers, strings_may_hold_zero_bytes)
