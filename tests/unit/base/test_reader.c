/* SPDX-License-Identifier: Apache-2.0 */
#include "reader.h"

#include "main.h"

START_TEST(numbers_are_little_endian)
{
	const uint8_t data[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	struct reader r = reader_of(data, sizeof(data));

	ck_assert_uint_eq(reader_u8(&r), 1);
	ck_assert_uint_eq(reader_u16(&r), 0x0302);
	ck_assert_uint_eq(reader_u32(&r), 0x07060504);
	ck_assert_uint_eq(reader_u64(&r), 0x0f0e0d0c0b0a0908);
	ck_assert(reader_ok(&r));
	ck_assert_uint_eq(reader_left(&r), 0);
}
END_TEST

START_TEST(a_read_past_the_end_fails_and_stays_failed)
{
	const uint8_t data[] = { 1, 2, 3 };
	struct reader r = reader_of(data, sizeof(data));

	ck_assert_uint_eq(reader_u32(&r), 0);
	ck_assert(!reader_ok(&r));
	ck_assert_uint_eq(reader_u8(&r), 0);
	ck_assert_ptr_null(reader_bytes(&r, 0 + 1));
}
END_TEST

START_TEST(leb128_takes_64_bits_and_no_more)
{
	const uint8_t max[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 };
	const uint8_t over[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };
	const uint8_t minus_two[] = { 0x7e };
	const uint8_t unfinished[] = { 0x80, 0x80 };
	struct reader r = reader_of(max, sizeof(max));

	ck_assert_uint_eq(reader_uleb128(&r), UINT64_MAX);
	ck_assert(reader_ok(&r));
	r = reader_of(over, sizeof(over));
	reader_uleb128(&r);
	ck_assert(!reader_ok(&r));
	r = reader_of(minus_two, sizeof(minus_two));
	ck_assert_int_eq(reader_sleb128(&r), -2);
	r = reader_of(unfinished, sizeof(unfinished));
	reader_uleb128(&r);
	ck_assert(!reader_ok(&r));
}
END_TEST

START_TEST(a_string_needs_its_terminator)
{
	struct reader r = reader_of("ab\0cd", 5);

	ck_assert_str_eq(reader_string(&r), "ab");
	ck_assert_ptr_null(reader_string(&r));
	ck_assert(!reader_ok(&r));
}
END_TEST

START_TEST(a_part_is_inside_or_failed)
{
	struct reader r = reader_of("abcdef", 6);
	struct reader part = reader_part(&r, 2, 3);

	ck_assert_uint_eq(reader_u8(&part), 'c');
	ck_assert_uint_eq(reader_left(&part), 2);
	part = reader_part(&r, 2, 5);
	ck_assert(!reader_ok(&part));
	part = reader_part(&r, UINT64_MAX, 2);
	ck_assert(!reader_ok(&part));
	reader_seek(&r, 7);
	ck_assert(!reader_ok(&r));
}
END_TEST

UNIT_TESTS("reader", numbers_are_little_endian, a_read_past_the_end_fails_and_stays_failed,
		leb128_takes_64_bits_and_no_more, a_string_needs_its_terminator, a_part_is_inside_or_failed)
