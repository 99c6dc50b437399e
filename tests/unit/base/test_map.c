/* SPDX-License-Identifier: Apache-2.0 */
#include "map.h"

#include "main.h"

START_TEST(a_new_map_holds_nothing)
{
	struct map map;
	uint64_t key = 1;

	map_init(&map, sizeof(key), 4);
	ck_assert_ptr_null(map_get(&map, &key));
	ck_assert(!map_remove(&map, &key));
	map_deinit(&map);
}
END_TEST

START_TEST(a_hundred_thousand_keys_keep_their_values)
{
	struct map map;
	void *value;

	map_init(&map, sizeof(uint32_t), sizeof(uint64_t));
	for (uint32_t i = 0; i < 100000; i++) {
		ck_assert_int_eq(map_put(&map, &i, &value), 1);
		ck_assert_uint_eq(*(uint64_t *)value, 0);
		*(uint64_t *)value = (uint64_t)i * i;
	}
	ck_assert_uint_eq(map.n, 100000);
	for (uint32_t i = 0; i < 100000; i++) {
		ck_assert_int_eq(map_put(&map, &i, &value), 0);
		ck_assert_uint_eq(*(uint64_t *)value, (uint64_t)i * i);
	}
	map_deinit(&map);
}
END_TEST

START_TEST(removed_keys_are_gone_and_their_room_is_used_again)
{
	struct map map;
	size_t n_slots;
	void *value;

	map_init(&map, sizeof(uint32_t), 0);
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert_int_eq(map_put(&map, &i, &value), 1);
	n_slots = map.n_slots;
	/* A churn of keys with a steady number of them must not make the table grow. */
	for (uint32_t i = 0; i < 100000; i++) {
		uint32_t fresh = i + 1000;

		ck_assert(map_remove(&map, &i));
		ck_assert_ptr_null(map_get(&map, &i));
		ck_assert_int_eq(map_put(&map, &fresh, &value), 1);
	}
	ck_assert_uint_eq(map.n, 1000);
	ck_assert_uint_le(map.n_slots, 2 * n_slots);
	map_deinit(&map);
}
END_TEST

START_TEST(a_walk_meets_each_entry_once_and_may_remove_it)
{
	struct map map;
	size_t cursor = 0, n = 0;
	const void *key;
	uint64_t sum = 0;
	void *value;

	map_init(&map, sizeof(uint32_t), sizeof(uint32_t));
	for (uint32_t i = 0; i < 1000; i++)
		map_put(&map, &i, &value);
	while (map_next(&map, &cursor, &key, &value)) {
		uint32_t k = *(const uint32_t *)key;

		sum += k;
		n++;
		ck_assert(map_remove(&map, &k));
	}
	ck_assert_uint_eq(n, 1000);
	ck_assert_uint_eq(sum, 999 * 1000 / 2);
	ck_assert_uint_eq(map.n, 0);
	map_clear(&map);
	map_deinit(&map);
}
END_TEST

UNIT_TESTS("map", a_new_map_holds_nothing, a_hundred_thousand_keys_keep_their_values,
		removed_keys_are_gone_and_their_room_is_used_again, a_walk_meets_each_entry_once_and_may_remove_it)
