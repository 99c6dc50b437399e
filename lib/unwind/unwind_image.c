/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind_image.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "unwind_rows.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC UINT64_C(0x31646e6977756e75)   /* "unuwind1" */
#define VERSION 2
#define FREE UINT32_MAX                      /* the offset of an entry that is not used */

/* What is in front of the pages. */
struct front {
	uint64_t magic;
	uint32_t version;
	uint32_t n_pages;
	uint64_t checksum;                   /* XXH3-64 of all that follows */
	struct unwind_table table;
};

#define PAGES_AT sizeof(struct front)
#define CHECKED_AT offsetof(struct front, table)

_Static_assert(sizeof(struct front) == 24 + 344 && PAGES_AT % 8 == 0, "the format has no holes, and pages are aligned");
_Static_assert(PAGES_AT + (UNWIND_MAX_RULE_PAGES + UNWIND_ROOT_ENTRIES + UNWIND_ROOT_ENTRIES * UNWIND_INDEX_ENTRIES) *
	UNWIND_PAGE_SIZE <= UNWIND_IMAGE_MAX_SIZE, "the largest tree fits");

static void *page_at(void *pages, size_t i)
{
	return (uint8_t *)pages + i * UNWIND_PAGE_SIZE;
}

static const void *const_page_at(const void *pages, size_t i)
{
	return (const uint8_t *)pages + i * UNWIND_PAGE_SIZE;
}

static size_t pages_for(size_t n, size_t entries)
{
	return (n + entries - 1) / entries;
}

/* --- from rows ------------------------------------------------------------------------------------------------ */

/* How many rows the page that begins with this one holds: a page is full, or the next row is too far away for its delta. */
static size_t rows_of_page(const struct unwind_rows *rows, size_t first)
{
	size_t n = MIN(rows->rows.n - first, (size_t)UNWIND_ROW_ENTRIES);
	uint32_t offset = rows->rows.at[first].offset;

	while (n > 1 && rows->rows.at[first + n - 1].offset - offset > UINT16_MAX)
		n--;
	return n;
}

/* The pages of rows that there will be; where the tree ends, so do the rows: *ret_n of them are told. */
static size_t count_row_pages(const struct unwind_rows *rows, size_t *ret_n)
{
	size_t n = 0, first = 0;

	for (; first < rows->rows.n && n < UNWIND_ROOT_ENTRIES * UNWIND_INDEX_ENTRIES; n++)
		first += rows_of_page(rows, first);
	*ret_n = first;
	return n;
}

static void write_rows(const struct unwind_rows *rows, size_t first, size_t n, struct unwind_row *page)
{
	for (size_t i = 0; i < UNWIND_ROW_ENTRIES; i++) {
		const struct unwind_rows_row *row = &rows->rows.at[first + MIN(i, n - 1)];

		page[i] = (struct unwind_row){ .delta = row->offset - rows->rows.at[first].offset, .rule = row->rule };
	}
}

static void free_entries(struct unwind_index *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		entries[i] = (struct unwind_index){ .offset = FREE };
}

/* Pages: those of rules, then those of the index, then those of rows. */
static void write_pages(const struct unwind_rows *rows, size_t n_rule_pages, size_t n_index_pages, size_t n_row_pages,
		struct unwind_table *table, void *pages)
{
	size_t first = 0, page = n_rule_pages + n_index_pages;

	for (size_t i = 0; i < n_rule_pages; i++)
		table->rule_pages[i] = i;
	memcpy(pages, rows->rules.at, rows->rules.n * sizeof(*rows->rules.at));
	free_entries(table->root, UNWIND_ROOT_ENTRIES);
	for (size_t i = 0; i < n_index_pages; i++)
		free_entries(page_at(pages, n_rule_pages + i), UNWIND_INDEX_ENTRIES);
	for (size_t i = 0; i < n_row_pages; i++, page++) {
		struct unwind_index entry = { .offset = rows->rows.at[first].offset, .page = page };
		size_t n = rows_of_page(rows, first);

		write_rows(rows, first, n, page_at(pages, page));
		first += n;
		if (!n_index_pages) {
			table->root[i] = entry;
			continue;
		}
		((struct unwind_index *)page_at(pages, n_rule_pages + i / UNWIND_INDEX_ENTRIES))[i % UNWIND_INDEX_ENTRIES] = entry;
		if (i % UNWIND_INDEX_ENTRIES == 0)
			table->root[i / UNWIND_INDEX_ENTRIES] = (struct unwind_index){
				.offset = entry.offset, .page = n_rule_pages + i / UNWIND_INDEX_ENTRIES,
			};
	}
}

int unwind_image_encode(const struct unwind_rows *rows, void **ret, size_t *ret_size)
{
	size_t n_rows, n_row_pages, n_index_pages, n_rule_pages, n_pages, size;
	struct front *front;

	if (!rows->rows.n || !rows->rules.n || rows->rules.n > UNWIND_MAX_RULES)
		return -EINVAL;
	n_row_pages = count_row_pages(rows, &n_rows);
	n_index_pages = n_row_pages > UNWIND_ROOT_ENTRIES ? pages_for(n_row_pages, UNWIND_INDEX_ENTRIES) : 0;
	n_rule_pages = pages_for(rows->rules.n, UNWIND_RULE_ENTRIES);
	n_pages = n_rule_pages + n_index_pages + n_row_pages;
	size = PAGES_AT + n_pages * UNWIND_PAGE_SIZE;
	front = calloc(1, size);
	if (!front)
		return -ENOMEM;
	front->magic = MAGIC;
	front->version = VERSION;
	front->n_pages = n_pages;
	front->table = (struct unwind_table){
		.begin = rows->rows.at[0].offset,
		.end = n_rows < rows->rows.n ? rows->rows.at[n_rows].offset : rows->end,
		.n_levels = n_index_pages ? 2 : 1,
		.n_rules = rows->rules.n,
	};
	write_pages(rows, n_rule_pages, n_index_pages, n_row_pages, &front->table, front + 1);
	front->checksum = XXH3_64bits((uint8_t *)front + CHECKED_AT, size - CHECKED_AT);
	*ret = front;
	*ret_size = size;
	return 0;
}

/* --- from bytes ----------------------------------------------------------------------------------------------- */

/* The check of an image: pages are met in the order of the offsets they speak of. */
struct check {
	const struct unwind_image *image;
	uint8_t *used;                       /* by page: whether it was met */
	size_t n_used;
	uint64_t next;                       /* offsets to come are not below this one */
};

/* Each page has one place: what is changed through one of its roles must not be seen in another. */
static bool use_page(struct check *check, uint32_t page)
{
	if (page >= check->image->n_pages || check->used[page])
		return false;
	check->used[page] = 1;
	check->n_used++;
	return true;
}

static bool rule_is_sound(const struct unwind_rule *rule)
{
	/* Any bp and bx means something. */
	return rule->cfa < UNWIND_N_CFAS && (rule->reg & ~UNWIND_CALLER_INTERRUPTED) < UNWIND_N_REGISTERS;
}

/* All entries of a page are checked, also those behind n_rules: the kernel masks a number, it does not compare it. */
static bool check_rules(struct check *check)
{
	const struct unwind_table *table = &check->image->table;
	size_t n;

	if (!table->n_rules || table->n_rules > UNWIND_MAX_RULES)
		return false;
	n = pages_for(table->n_rules, UNWIND_RULE_ENTRIES);
	for (size_t i = 0; i < UNWIND_MAX_RULE_PAGES; i++) {
		const struct unwind_rule *rules;

		if (i >= n) {
			if (table->rule_pages[i])
				return false;
			continue;
		}
		if (!use_page(check, table->rule_pages[i]))
			return false;
		rules = const_page_at(check->image->pages, table->rule_pages[i]);
		for (size_t j = 0; j < UNWIND_RULE_ENTRIES; j++)
			if (!rule_is_sound(&rules[j]))
				return false;
	}
	return true;
}

static bool check_row_page(struct check *check, const struct unwind_index *entry)
{
	const struct unwind_row *rows;
	bool filled = false;

	if (!use_page(check, entry->page))
		return false;
	rows = const_page_at(check->image->pages, entry->page);
	if (rows[0].delta || rows[0].rule >= check->image->table.n_rules)
		return false;
	for (size_t i = 1; i < UNWIND_ROW_ENTRIES; i++) {
		if (rows[i].delta == rows[i - 1].delta && rows[i].rule == rows[i - 1].rule)
			filled = true;
		else if (filled || rows[i].delta <= rows[i - 1].delta || rows[i].rule >= check->image->table.n_rules)
			return false;
	}
	check->next = (uint64_t)entry->offset + rows[UNWIND_ROW_ENTRIES - 1].delta + 1;
	return check->next <= check->image->table.end;
}

/* The root or an index page: its pages in turn, then the free entries. */
static bool check_entries(struct check *check, const struct unwind_index *entries, size_t n, bool are_index_pages)
{
	size_t i;

	for (i = 0; i < n && entries[i].offset != FREE; i++) {
		const struct unwind_index *inner;

		if (entries[i].offset < check->next || entries[i].offset >= check->image->table.end)
			return false;
		if (!are_index_pages) {
			if (!check_row_page(check, &entries[i]))
				return false;
			continue;
		}
		if (!use_page(check, entries[i].page))
			return false;
		inner = const_page_at(check->image->pages, entries[i].page);
		/* What the root sends there must find something. */
		if (inner[0].offset != entries[i].offset || !check_entries(check, inner, UNWIND_INDEX_ENTRIES, false))
			return false;
	}
	if (!i)
		return false;
	for (; i < n; i++)
		if (entries[i].offset != FREE || entries[i].page)
			return false;
	return true;
}

static bool is_sound(const struct unwind_image *image, uint8_t *used)
{
	struct check check = { .image = image, .used = used, .next = image->table.begin };
	const struct unwind_table *table = &image->table;

	return table->begin < table->end && table->root[0].offset == table->begin &&
		(table->n_levels == 1 || table->n_levels == 2) && check_rules(&check) &&
		check_entries(&check, table->root, UNWIND_ROOT_ENTRIES, table->n_levels == 2) && check.n_used == image->n_pages;
}

int unwind_image_open(const void *data, size_t size, struct unwind_image *ret)
{
	_cleanup_free_ uint8_t *used = NULL;
	const uint8_t *bytes = data;
	struct unwind_image image;
	struct front front;

	if (size < PAGES_AT || size > UNWIND_IMAGE_MAX_SIZE || (size - PAGES_AT) % UNWIND_PAGE_SIZE || (uintptr_t)data % 8)
		return UNWIND_IMAGE_E_CORRUPT;
	memcpy(&front, bytes, sizeof(front));
	image.table = front.table;
	image.pages = bytes + PAGES_AT;
	image.n_pages = (size - PAGES_AT) / UNWIND_PAGE_SIZE;
	if (front.magic != MAGIC || front.version != VERSION || front.n_pages != image.n_pages ||
	    front.checksum != XXH3_64bits(bytes + CHECKED_AT, size - CHECKED_AT))
		return UNWIND_IMAGE_E_CORRUPT;
	used = calloc(image.n_pages + 1, 1);
	if (!used)
		return -ENOMEM;
	if (!is_sound(&image, used))
		return UNWIND_IMAGE_E_CORRUPT;
	*ret = image;
	return 0;
}

static void relocate_entries(struct unwind_index *entries, size_t n, const uint32_t *page_numbers)
{
	for (size_t i = 0; i < n && entries[i].offset != FREE; i++)
		entries[i].page = page_numbers[entries[i].page];
}

void unwind_image_relocate(struct unwind_table *table, void *pages, size_t n_pages, const uint32_t *page_numbers)
{
	for (size_t i = 0; i < pages_for(table->n_rules, UNWIND_RULE_ENTRIES); i++)
		table->rule_pages[i] = page_numbers[table->rule_pages[i]];
	for (size_t i = 0; table->n_levels == 2 && i < UNWIND_ROOT_ENTRIES && table->root[i].offset != FREE; i++)
		relocate_entries(page_at(pages, table->root[i].page), UNWIND_INDEX_ENTRIES, page_numbers);
	relocate_entries(table->root, UNWIND_ROOT_ENTRIES, page_numbers);
}

/* The last entry that does not begin behind the offset; n is a power of two, and the first one does not. */
static uint32_t search_entries(const struct unwind_index *entries, uint32_t n, uint32_t offset)
{
	uint32_t at = 0;

	for (uint32_t step = n / 2; step; step /= 2)
		if (entries[at + step].offset <= offset)
			at += step;
	return at;
}

const struct unwind_rule *unwind_image_find(const struct unwind_image *image, uint64_t offset)
{
	const struct unwind_table *table = &image->table;
	const struct unwind_index *entry;
	const struct unwind_rule *rules;
	const struct unwind_row *rows;
	uint32_t at = 0;

	if (offset < table->begin || offset >= table->end)
		return NULL;
	entry = &table->root[search_entries(table->root, UNWIND_ROOT_ENTRIES, offset)];
	if (table->n_levels == 2) {
		const struct unwind_index *entries = const_page_at(image->pages, entry->page);

		entry = &entries[search_entries(entries, UNWIND_INDEX_ENTRIES, offset)];
	}
	rows = const_page_at(image->pages, entry->page);
	for (uint32_t step = UNWIND_ROW_ENTRIES / 2; step; step /= 2)
		if (rows[at + step].delta <= offset - entry->offset)
			at += step;
	rules = const_page_at(image->pages, table->rule_pages[rows[at].rule / UNWIND_RULE_ENTRIES]);
	return &rules[rows[at].rule % UNWIND_RULE_ENTRIES];
}
