/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../main.h"
#include "cleanup.h"
#include "unwind_image.h"
#include "unwind_rows.h"

/* The format, once more: what is in front of the table. */
enum { CHECKSUM_AT = 16, TABLE_AT = 24, PAGES_AT = TABLE_AT + sizeof(struct unwind_table) };

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void rules(struct unwind_rows *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (vec_push(&rows->rules, ((struct unwind_rule){
			.cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .bp = -2, .bx = UNWIND_SAVED_NOWHERE, .offset = i,
		})))
			ck_abort();
}

static void row(struct unwind_rows *rows, uint32_t offset, uint16_t rule)
{
	if (vec_push(&rows->rows, ((struct unwind_rows_row){ .offset = offset, .rule = rule })))
		ck_abort();
}

/* `n` rows with distances of up to `most`. */
static struct unwind_rows make(size_t n, size_t n_rules, uint32_t begin, uint32_t most, uint64_t seed)
{
	struct unwind_rows rows = {0};
	uint32_t offset = begin;

	rules(&rows, n_rules);
	for (size_t i = 0; i < n; i++) {
		row(&rows, offset, next_random(&seed) % n_rules);
		offset += 1 + next_random(&seed) % most;
	}
	rows.end = offset;
	return rows;
}

static void rows_deinit(struct unwind_rows *rows)
{
	vec_deinit(&rows->rows);
	vec_deinit(&rows->rules);
}

static void *encode(const struct unwind_rows *rows, size_t *ret_size, struct unwind_image *ret)
{
	void *data;

	ck_assert_int_eq(unwind_image_encode(rows, &data, ret_size), 0);
	ck_assert_uint_le(*ret_size, UNWIND_IMAGE_MAX_SIZE);
	ck_assert_int_eq(unwind_image_open(data, *ret_size, ret), 0);
	return data;
}

static void assert_rule(const struct unwind_image *image, const struct unwind_rows *rows, size_t i, uint64_t offset)
{
	const struct unwind_rule *rule = unwind_image_find(image, offset), *expected = &rows->rules.at[rows->rows.at[i].rule];

	/* An assertion of check costs a write, and these are millions. */
	if (!rule || memcmp(rule, expected, sizeof(*rule)))
		ck_abort_msg("offset %#lx, row %zu", (unsigned long)offset, i);
}

/* At the first and the last byte of each of the first n rows, and outside. */
static void assert_all(const struct unwind_image *image, const struct unwind_rows *rows, size_t n, uint32_t end)
{
	for (size_t i = 0; i < n; i++) {
		assert_rule(image, rows, i, rows->rows.at[i].offset);
		assert_rule(image, rows, i, (i + 1 < n ? rows->rows.at[i + 1].offset : end) - 1);
	}
	if (rows->rows.at[0].offset)
		ck_assert_ptr_null(unwind_image_find(image, rows->rows.at[0].offset - 1));
	ck_assert_ptr_null(unwind_image_find(image, end));
	ck_assert_ptr_null(unwind_image_find(image, UINT32_MAX));
	ck_assert_ptr_null(unwind_image_find(image, (uint64_t)end << 32 | (end - 1)));
	ck_assert_uint_eq(image->table.begin, rows->rows.at[0].offset);
	ck_assert_uint_eq(image->table.end, end);
}

START_TEST(every_boundary_has_the_rule_of_its_row)
{
	static const struct { size_t n, n_rules; uint32_t begin, most; } cases[] = {
		{ 1, 1, 0, 1 }, { 1, 1, 0x1000, 1 << 20 }, { 2, 2, 0, 1 }, { 511, 3, 0, 3 }, { 512, 3, 0, 3 }, { 513, 3, 0, 3 },
		{ 16384, 255, 0x1000, 40 }, { 16385, 256, 0x1000, 40 }, { 16384 + 512, 257, 0x1000, 40 },
		{ 3000, 4096, 0x1000, 100000 }, { 3000, 100, 0x400000, 65536 }, { 3000, 100, 0x400000, 1000 },
		{ 700000, 1213, 0x1000, 200 }, { 33, 7, 0, 1 << 26 }, { 31, 7, 0, 1 << 26 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct unwind_rows rows = make(cases[i].n, cases[i].n_rules, cases[i].begin, cases[i].most, i + 1);
		struct unwind_image image;
		size_t size;
		void *data = encode(&rows, &size, &image);

		ck_assert_uint_eq(image.table.n_rules, cases[i].n_rules);
		assert_all(&image, &rows, rows.rows.n, rows.end);
		free(data);
		rows_deinit(&rows);
	}
}
END_TEST

START_TEST(any_offset_has_the_rule_that_a_linear_search_finds)
{
	for (uint64_t seed = 1; seed < 200; seed++) {
		uint64_t random = seed;
		struct unwind_rows rows = make(1 + next_random(&random) % 2000, 1 + next_random(&random) % 600,
				next_random(&random) % 100000, 1 + next_random(&random) % 3000, seed);
		struct unwind_image image;
		size_t size;
		void *data = encode(&rows, &size, &image);

		for (size_t i = 0; i < 100; i++) {
			uint64_t offset = next_random(&random) % (rows.end + 100);
			size_t at = 0;

			while (at < rows.rows.n && rows.rows.at[at].offset <= offset)
				at++;
			if (at && offset < rows.end)
				assert_rule(&image, &rows, at - 1, offset);
			else
				ck_assert_ptr_null(unwind_image_find(&image, offset));
		}
		free(data);
		rows_deinit(&rows);
	}
}
END_TEST

START_TEST(a_page_ends_where_a_delta_would_not_fit)
{
	for (uint32_t distance = 65534; distance < 65538; distance++) {
		struct unwind_rows rows = {0};
		struct unwind_image image;
		size_t size;
		void *data;

		rules(&rows, 2);
		row(&rows, 0x1000, 0);
		row(&rows, 0x1000 + distance, 1);
		rows.end = 0x1000 + distance + 1;
		data = encode(&rows, &size, &image);
		ck_assert_uint_eq(image.n_pages, distance <= 65535 ? 2 : 3);
		assert_all(&image, &rows, 2, rows.end);
		free(data);
		rows_deinit(&rows);
	}
}
END_TEST

START_TEST(the_root_points_at_rows_while_it_can)
{
	for (size_t n = 31; n < 35; n++) {
		struct unwind_rows rows = make(n * UNWIND_ROW_ENTRIES, 5, 0, 2, n);
		struct unwind_image image;
		size_t size;
		void *data = encode(&rows, &size, &image);

		ck_assert_uint_eq(image.table.n_levels, n <= 32 ? 1 : 2);
		ck_assert_uint_eq(image.n_pages, 1 + n + (n > 32));
		free(data);
		rows_deinit(&rows);
	}
}
END_TEST

START_TEST(what_is_too_much_for_the_tree_is_cut_off)
{
	const size_t most = UNWIND_ROOT_ENTRIES * UNWIND_INDEX_ENTRIES;

	for (size_t n = most - 1; n < most + 3; n++) {
		struct unwind_rows rows = {0};
		struct unwind_image image;
		size_t size;
		void *data;

		/* A page each. */
		rules(&rows, 2);
		for (size_t i = 0; i < n; i++)
			row(&rows, 0x1000 + i * 65536, i % 2);
		rows.end = 0x1000 + n * 65536;
		data = encode(&rows, &size, &image);
		assert_all(&image, &rows, MIN(n, most), 0x1000 + MIN(n, most) * 65536);
		free(data);
		rows_deinit(&rows);
	}
}
END_TEST

START_TEST(the_last_offset_of_all_is_found)
{
	struct unwind_rows rows = {0};
	struct unwind_image image;
	size_t size;
	void *data;

	rules(&rows, 2);
	row(&rows, 0, 0);
	row(&rows, UINT32_MAX - 1, 1);
	rows.end = UINT32_MAX;
	data = encode(&rows, &size, &image);
	assert_all(&image, &rows, 2, UINT32_MAX);
	free(data);
	rows_deinit(&rows);
}
END_TEST

START_TEST(no_rows_make_no_image)
{
	struct unwind_rows rows = {0};
	size_t size;
	void *data;

	ck_assert_int_eq(unwind_image_encode(&rows, &data, &size), -EINVAL);
	rules(&rows, UNWIND_MAX_RULES + 1);
	ck_assert_int_eq(unwind_image_encode(&rows, &data, &size), -EINVAL);
	row(&rows, 0, 0);
	rows.end = 1;
	ck_assert_int_eq(unwind_image_encode(&rows, &data, &size), -EINVAL);
	rows_deinit(&rows);
}
END_TEST

/* Pages in another order and with gaps: the same answers. */
START_TEST(a_relocated_image_answers_as_before)
{
	for (size_t n = 2000; n < 100000; n *= 7) {
		struct unwind_rows rows = make(n, 600, 0x1000, 30, n);
		uint32_t numbers[512], n_places = 3000;
		struct unwind_image image, moved;
		uint8_t *pages, *places;
		size_t size;
		void *data = encode(&rows, &size, &image);

		ck_assert_uint_lt(image.n_pages, 512);
		pages = malloc(image.n_pages * UNWIND_PAGE_SIZE);
		memcpy(pages, image.pages, image.n_pages * UNWIND_PAGE_SIZE);
		moved.table = image.table;
		for (size_t i = 0; i < image.n_pages; i++)
			numbers[i] = n_places - 1 - i * 5;
		unwind_image_relocate(&moved.table, pages, image.n_pages, numbers);
		places = calloc(n_places, UNWIND_PAGE_SIZE);
		for (size_t i = 0; i < image.n_pages; i++)
			memcpy(places + (size_t)numbers[i] * UNWIND_PAGE_SIZE, pages + i * UNWIND_PAGE_SIZE, UNWIND_PAGE_SIZE);
		moved.pages = places;
		moved.n_pages = n_places;
		assert_all(&moved, &rows, rows.rows.n, rows.end);
		free(places);
		free(pages);
		free(data);
		rows_deinit(&rows);
	}
}
END_TEST

static void seal(uint8_t *data, size_t size)
{
	uint64_t checksum = XXH3_64bits(data + TABLE_AT, size - TABLE_AT);

	memcpy(data + CHECKSUM_AT, &checksum, sizeof(checksum));
}

/* Opens the image with some bytes changed and the check sum made right. */
static int open_damaged(const void *data, size_t size, size_t at, const void *bytes, size_t n)
{
	struct unwind_image image;
	uint8_t *copy = malloc(size);
	int r;

	ck_assert_uint_le(at + n, size);
	memcpy(copy, data, size);
	memcpy(copy + at, bytes, n);
	seal(copy, size);
	r = unwind_image_open(copy, size, &image);
	free(copy);
	return r;
}

static int open_with_u32(const void *data, size_t size, size_t at, uint32_t value)
{
	return open_damaged(data, size, at, &value, sizeof(value));
}

static int open_with_row(const void *data, size_t size, size_t page, size_t i, uint16_t delta, uint16_t rule)
{
	struct unwind_row changed = { .delta = delta, .rule = rule };

	return open_damaged(data, size, PAGES_AT + page * UNWIND_PAGE_SIZE + i * 4, &changed, sizeof(changed));
}

static int open_with_entry(const void *data, size_t size, size_t at, uint32_t offset, uint32_t page)
{
	struct unwind_index changed = { .offset = offset, .page = page };

	return open_damaged(data, size, at, &changed, sizeof(changed));
}

#define TABLE(field) (TABLE_AT + offsetof(struct unwind_table, field))
#define assert_corrupt(open) ck_assert_int_eq(open, UNWIND_IMAGE_E_CORRUPT)

/* Two rows 0x1000 and 0x1010 in one page, one row 0x20000 in the next: pages 0 rules, 1 and 2 rows. */
static void *small(size_t *ret_size)
{
	struct unwind_rows rows = {0};
	struct unwind_image image;
	void *data;

	rules(&rows, 2);
	row(&rows, 0x1000, 0);
	row(&rows, 0x1010, 1);
	row(&rows, 0x20000, 0);
	rows.end = 0x20001;
	data = encode(&rows, ret_size, &image);
	ck_assert_uint_eq(image.n_pages, 3);
	rows_deinit(&rows);
	return data;
}

START_TEST(a_table_that_leads_astray_is_refused)
{
	size_t size;
	void *data = small(&size);

	/* The test damages what it means to. */
	ck_assert_int_eq(open_with_u32(data, size, TABLE(end), 0x20002), 0);
	ck_assert_int_eq(open_with_entry(data, size, TABLE(root[1]), 0x1011, 2), 0);
	assert_corrupt(open_with_u32(data, size, TABLE(begin), 0xfff));
	assert_corrupt(open_with_u32(data, size, TABLE(begin), 0x1001));
	assert_corrupt(open_with_u32(data, size, TABLE(begin), 0x20001));
	assert_corrupt(open_with_u32(data, size, TABLE(end), 0x20000));
	assert_corrupt(open_with_u32(data, size, TABLE(end), 0));
	assert_corrupt(open_with_u32(data, size, TABLE(n_levels), 0));
	assert_corrupt(open_with_u32(data, size, TABLE(n_levels), 2));
	assert_corrupt(open_with_u32(data, size, TABLE(n_levels), 3));
	assert_corrupt(open_with_u32(data, size, TABLE(n_rules), 0));
	assert_corrupt(open_with_u32(data, size, TABLE(n_rules), 1));
	assert_corrupt(open_with_u32(data, size, TABLE(n_rules), 257));
	assert_corrupt(open_with_u32(data, size, TABLE(n_rules), UNWIND_MAX_RULES + 1));
	assert_corrupt(open_with_u32(data, size, TABLE(n_rules), UINT32_MAX));
	assert_corrupt(open_with_u32(data, size, TABLE(rule_pages[0]), 1));
	assert_corrupt(open_with_u32(data, size, TABLE(rule_pages[0]), 3));
	assert_corrupt(open_with_u32(data, size, TABLE(rule_pages[0]), UINT32_MAX));
	assert_corrupt(open_with_u32(data, size, TABLE(rule_pages[1]), 1));
	assert_corrupt(open_with_u32(data, size, TABLE(rule_pages[15]), 1));
	assert_corrupt(open_with_entry(data, size, TABLE(root[0]), UINT32_MAX, 0));
	assert_corrupt(open_with_entry(data, size, TABLE(root[0]), 0x1000, 0));
	assert_corrupt(open_with_entry(data, size, TABLE(root[0]), 0x1000, 2));
	assert_corrupt(open_with_entry(data, size, TABLE(root[1]), 0x1010, 2));
	assert_corrupt(open_with_entry(data, size, TABLE(root[1]), 0x1000, 2));
	assert_corrupt(open_with_entry(data, size, TABLE(root[1]), 0x20001, 2));
	assert_corrupt(open_with_entry(data, size, TABLE(root[1]), 0x20000, 3));
	assert_corrupt(open_with_entry(data, size, TABLE(root[1]), 0x20000, UINT32_MAX));
	assert_corrupt(open_with_entry(data, size, TABLE(root[1]), UINT32_MAX, 0));
	assert_corrupt(open_with_entry(data, size, TABLE(root[2]), 0x20000, 2));
	assert_corrupt(open_with_entry(data, size, TABLE(root[2]), UINT32_MAX, 2));
	assert_corrupt(open_with_entry(data, size, TABLE(root[31]), 0x20000, 2));
	free(data);
}
END_TEST

START_TEST(rows_that_contradict_each_other_are_refused)
{
	size_t size;
	void *data = small(&size);

	assert_corrupt(open_with_row(data, size, 1, 0, 1, 0));
	assert_corrupt(open_with_row(data, size, 1, 0, 0, 2));
	assert_corrupt(open_with_row(data, size, 1, 0, 0, UINT16_MAX));
	assert_corrupt(open_with_row(data, size, 1, 1, 0x10, 2));
	assert_corrupt(open_with_row(data, size, 1, 1, 0x11, 1));
	assert_corrupt(open_with_row(data, size, 1, 1, 0, 1));
	assert_corrupt(open_with_row(data, size, 1, 2, 0x10, 0));
	assert_corrupt(open_with_row(data, size, 1, 2, 0xf, 1));
	assert_corrupt(open_with_row(data, size, 1, 300, 0x20, 1));
	assert_corrupt(open_with_row(data, size, 2, UNWIND_ROW_ENTRIES - 1, 1, 0));
	/* Rows go on until the page ends: one there is right, one that reaches the next page is not. */
	ck_assert_int_eq(open_with_row(data, size, 1, UNWIND_ROW_ENTRIES - 1, 0x20, 1), UNWIND_IMAGE_E_CORRUPT);
	free(data);
}
END_TEST

START_TEST(rules_of_no_known_kind_are_refused)
{
	const struct unwind_rule good = { .cfa = UNWIND_N_CFAS - 1, .reg = 15 | UNWIND_CALLER_INTERRUPTED, .bp = -128, .bx = 127, .offset = INT32_MIN };
	const struct unwind_rule bad[] = {
		{ .cfa = UNWIND_N_CFAS }, { .cfa = 255 }, { .reg = 16 }, { .reg = 127 }, { .reg = 255 },
	};
	size_t size;
	void *data = small(&size);

	ck_assert_int_eq(open_damaged(data, size, PAGES_AT, &good, sizeof(good)), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_corrupt(open_damaged(data, size, PAGES_AT, &bad[i], sizeof(bad[i])));
		assert_corrupt(open_damaged(data, size, PAGES_AT + UNWIND_PAGE_SIZE - 8, &bad[i], sizeof(bad[i])));
	}
	free(data);
}
END_TEST

START_TEST(an_index_that_leads_astray_is_refused)
{
	struct unwind_rows rows = {0};
	struct unwind_image image;
	size_t size, index;
	void *data;

	/* A page each: 0 rules, 1 to 2 index, 3 to 302 rows. */
	rules(&rows, 1);
	for (size_t i = 0; i < 300; i++)
		row(&rows, i * 65536, 0);
	rows.end = 300 * 65536;
	data = encode(&rows, &size, &image);
	ck_assert_uint_eq(image.n_pages, 303);
	index = PAGES_AT + UNWIND_PAGE_SIZE;
	ck_assert_int_eq(open_with_entry(data, size, index + 8, 65537, 4), 0);
	assert_corrupt(open_with_entry(data, size, index, 1, 3));
	assert_corrupt(open_with_entry(data, size, index, UINT32_MAX, 0));
	assert_corrupt(open_with_entry(data, size, index + 8, 0, 4));
	assert_corrupt(open_with_entry(data, size, index + 8, 65536, 3));
	assert_corrupt(open_with_entry(data, size, index + 8, 65536, 1));
	assert_corrupt(open_with_entry(data, size, index + 8, 65536, 2));
	assert_corrupt(open_with_entry(data, size, index + 8, 65536, 303));
	assert_corrupt(open_with_entry(data, size, index + 8, 131072, 4));
	assert_corrupt(open_with_entry(data, size, index + 8, UINT32_MAX, 0));
	/* The last of the first index page reaches into the second one's part. */
	assert_corrupt(open_with_entry(data, size, index + 255 * 8, 256 * 65536, 258));
	assert_corrupt(open_with_entry(data, size, index + UNWIND_PAGE_SIZE + 44 * 8, UINT32_MAX, 1));
	assert_corrupt(open_with_entry(data, size, TABLE(root[1]), 256 * 65536 - 1, 2));
	assert_corrupt(open_with_entry(data, size, TABLE(root[1]), 256 * 65536, 1));
	free(data);
	rows_deinit(&rows);
}
END_TEST

START_TEST(bytes_that_are_not_whole_are_refused)
{
	struct unwind_image image;
	size_t size;
	uint8_t *data = small(&size), *longer;

	for (size_t cut = 0; cut < size; cut += cut < 1000 ? 1 : 97) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, data, cut);
		if (cut >= TABLE_AT)
			seal(copy, cut);
		assert_corrupt(unwind_image_open(copy, cut, &image));
		free(copy);
	}
	longer = calloc(1, size + UNWIND_PAGE_SIZE);
	memcpy(longer, data, size);
	seal(longer, size + UNWIND_PAGE_SIZE);
	assert_corrupt(unwind_image_open(longer, size + UNWIND_PAGE_SIZE, &image));
	/* Also when it counts the page that nothing points at. */
	memcpy(longer + 12, &(uint32_t){ 4 }, 4);
	assert_corrupt(unwind_image_open(longer, size + UNWIND_PAGE_SIZE, &image));
	memcpy(longer + 12, &(uint32_t){ 3 }, 4);
	assert_corrupt(unwind_image_open(longer + 1, size, &image));
	free(longer);
	/* Any one bit: the magic number, the version and the counts say so, else the check sum. */
	for (size_t bit = 0; bit < size * 8; bit += bit < TABLE_AT * 8 ? 1 : 331) {
		data[bit / 8] ^= 1 << bit % 8;
		assert_corrupt(unwind_image_open(data, size, &image));
		data[bit / 8] ^= 1 << bit % 8;
	}
	ck_assert_int_eq(unwind_image_open(data, size, &image), 0);
	free(data);
}
END_TEST

/* What is opened can be searched and moved, whatever it says. */
START_TEST(no_damage_makes_a_search_leave_the_image)
{
	size_t n_opened = 0;

	for (uint64_t seed = 1; seed < 4000; seed++) {
		static const uint32_t liked[] = { 0, 1, 2, 3, 255, 256, 65535, UINT32_MAX, UINT32_MAX - 1 };
		uint64_t random = seed * 0x9e3779b97f4a7c15u;
		struct unwind_rows rows = seed % 2 ? make(1500, 300, 0x1000, 30, seed) : make(40, 20, 0, 90000, seed);
		struct unwind_image image;
		size_t size;
		uint8_t *data = encode(&rows, &size, &image);

		for (unsigned i = 0; i <= seed % 3; i++) {
			/* Often where numbers of pages are. */
			size_t at = random % 2 ? TABLE_AT + next_random(&random) % sizeof(struct unwind_table)
				: TABLE_AT + next_random(&random) % (size - TABLE_AT);
			uint32_t value = next_random(&random) % 2 ? liked[next_random(&random) % 9] : next_random(&random);

			memcpy(data + (at & ~3u), &value, 4);
		}
		seal(data, size);
		if (!unwind_image_open(data, size, &image)) {
			uint32_t *numbers = calloc(image.n_pages, sizeof(*numbers));

			n_opened++;
			ck_assert_ptr_nonnull(unwind_image_find(&image, image.table.begin));
			ck_assert_ptr_nonnull(unwind_image_find(&image, image.table.end - 1));
			for (uint32_t i = 0; i < 200; i++) {
				uint64_t span = image.table.end - image.table.begin;

				if (!unwind_image_find(&image, image.table.begin + next_random(&random) % span))
					ck_abort();
				unwind_image_find(&image, next_random(&random));
			}
			unwind_image_relocate(&image.table, data + PAGES_AT, image.n_pages, numbers);
			free(numbers);
		}
		free(data);
		rows_deinit(&rows);
	}
	/* Some damages are to rules and to free space of theirs. */
	ck_assert_uint_gt(n_opened, 20);
}
END_TEST

UNIT_TESTS("unwind_image", every_boundary_has_the_rule_of_its_row, any_offset_has_the_rule_that_a_linear_search_finds,
	a_page_ends_where_a_delta_would_not_fit, the_root_points_at_rows_while_it_can, what_is_too_much_for_the_tree_is_cut_off,
	the_last_offset_of_all_is_found, no_rows_make_no_image, a_relocated_image_answers_as_before,
	a_table_that_leads_astray_is_refused, rows_that_contradict_each_other_are_refused, rules_of_no_known_kind_are_refused,
	an_index_that_leads_astray_is_refused, bytes_that_are_not_whole_are_refused,
	no_damage_makes_a_search_leave_the_image)
