/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "line_rows.h"
#include "main.h"

/* A line table under construction. */
struct bytes {
	uint8_t at[512];
	size_t n;
};

static void put(struct bytes *b, uint64_t value, size_t size)
{
	memcpy(b->at + b->n, &value, size);
	b->n += size;
}

static struct bytes header(uint16_t version)
{
	static const uint8_t lengths[] = { 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1 };
	struct bytes b = { 0 };
	size_t at;

	put(&b, 0, 4); /* unit_length: finish() */
	put(&b, version, 2);
	if (version == 5)
		put(&b, 8, 2);
	at = b.n;
	put(&b, 0, 4);
	put(&b, 1, 1);
	if (version >= 4)
		put(&b, 1, 1);
	put(&b, 1, 1);
	put(&b, (uint8_t)-5, 1);
	put(&b, 14, 1);
	put(&b, 13, 1);
	memcpy(b.at + b.n, lengths, sizeof(lengths));
	b.n += sizeof(lengths);
	put(&b, 0, 7); /* directories and files, which are not read */
	b.at[at] = (uint8_t)(b.n - at - 4);
	return b;
}

/* At an address three rows: line 10 at it, 12 four on, 20 in file 3 eight on; the end sixteen on. */
static void sequence(struct bytes *b, uint64_t address)
{
	put(b, 0x020900, 3);
	put(b, address, 8);
	put(b, 0x0903, 2);                        /* advance_line 9 */
	put(b, 0x01, 1);                          /* copy */
	put(b, 13 + 4 * 14 + 5 + 2, 1);           /* special: 4 on, 2 lines */
	put(b, 0x0304, 2);                        /* set_file 3 */
	put(b, 0x0803, 2);                        /* advance_line 8 */
	put(b, 0x0402, 2);                        /* advance_pc 4 */
	put(b, 0x01, 1);
	put(b, 0x0802, 2);
	put(b, 0x010100, 3);                      /* end_sequence */
}

static struct reader finish(struct bytes *b)
{
	b->at[0] = (uint8_t)(b->n - 4);
	b->at[1] = (uint8_t)((b->n - 4) >> 8);
	return reader_of(b->at, b->n);
}

static bool from_0x1000(const void *userdata, uint64_t address)
{
	return address >= 0x1000;
}

static uint32_t line_at(const struct line_rows *rows, uint64_t address)
{
	const struct line_row *row = line_rows_find(rows, address);

	return row ? row->line : 0;
}

START_TEST(rows_of_all_versions_are_read)
{
	for (uint16_t version = 2; version <= 5; version++) {
		struct bytes b = header(version);
		struct line_rows rows = { 0 };

		sequence(&b, 0x2000);
		sequence(&b, 0x1000);
		ck_assert_int_eq(line_rows_read(finish(&b), 0, from_0x1000, NULL, &rows), 0);
		ck_assert_uint_eq(rows.rows.n, 8);
		ck_assert_uint_eq(line_at(&rows, 0xfff), 0);
		ck_assert_uint_eq(line_at(&rows, 0x1000), 10);
		ck_assert_uint_eq(line_at(&rows, 0x1005), 12);
		ck_assert_uint_eq(line_at(&rows, 0x1008), 20);
		ck_assert_uint_eq(line_rows_find(&rows, 0x1008)->file, 3);
		ck_assert_uint_eq(line_rows_find(&rows, 0x1004)->file, 1);
		ck_assert_uint_eq(line_at(&rows, 0x100f), 20);
		ck_assert_uint_eq(line_at(&rows, 0x1010), 0);
		ck_assert_uint_eq(line_at(&rows, 0x2004), 12);
		line_rows_deinit(&rows);
	}
}
END_TEST

START_TEST(a_discarded_sequence_is_left_out_whole)
{
	struct bytes b = header(4);
	struct line_rows rows = { 0 };

	/* Begins before the code and ends among it. */
	sequence(&b, 0xff8);
	sequence(&b, 0x1000);
	ck_assert_int_eq(line_rows_read(finish(&b), 0, from_0x1000, NULL, &rows), 0);
	ck_assert_uint_eq(rows.rows.n, 4);
	ck_assert_uint_eq(line_at(&rows, 0x1000), 10);
	line_rows_deinit(&rows);
}
END_TEST

START_TEST(a_sequence_may_follow_another_without_a_gap)
{
	struct bytes b = header(5);
	struct line_rows rows = { 0 };

	sequence(&b, 0x1010);
	sequence(&b, 0x1000);
	ck_assert_int_eq(line_rows_read(finish(&b), 0, from_0x1000, NULL, &rows), 0);
	ck_assert_uint_eq(line_at(&rows, 0x1010), 10);
	line_rows_deinit(&rows);
}
END_TEST

START_TEST(a_damaged_table_has_no_rows)
{
	struct line_rows rows = { 0 };
	struct bytes b = header(4);

	sequence(&b, 0x1000);
	finish(&b);
	for (size_t i = 0; i < b.n; i++) {
		/* Its length tells more than there is. */
		ck_assert_int_eq(line_rows_read(reader_of(b.at, i), 0, from_0x1000, NULL, &rows), LINE_ROWS_E_CORRUPT);
		ck_assert_uint_eq(rows.rows.n, 0);
	}
	ck_assert_int_eq(line_rows_read(reader_of(b.at, b.n), 1000, from_0x1000, NULL, &rows), LINE_ROWS_E_CORRUPT);
	for (size_t i = 0; i < b.n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			b.at[i] ^= (uint8_t)(1 << bit);
			ck_assert_int_ge(line_rows_read(reader_of(b.at, b.n), 0, from_0x1000, NULL, &rows), 0);
			line_rows_deinit(&rows);
			b.at[i] ^= (uint8_t)(1 << bit);
		}
}
END_TEST

UNIT_TESTS("line_rows", rows_of_all_versions_are_read, a_discarded_sequence_is_left_out_whole, a_sequence_may_follow_another_without_a_gap,
	   a_damaged_table_has_no_rows)
