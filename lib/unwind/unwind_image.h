/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An unwind table as bytes: how it goes from the process that makes it to the core, and into the cache on disk. A struct
 * unwind_table whose page numbers count from 0, then its pages, UNWIND_PAGE_SIZE each; after a magic number, a version
 * and a check sum.
 *
 * Who reads one believes nothing in it: it comes from a process that has read what an attacker wrote.
 */
#include <stddef.h>
#include <stdint.h>

#include "unwind_table.h"

struct unwind_rows;

/* Borrows from the bytes that were given to unwind_image_open(). */
struct unwind_image {
	struct unwind_table table;           /* a copy; page numbers from 0 */
	const void *pages;                   /* n_pages * UNWIND_PAGE_SIZE bytes */
	size_t n_pages;
};

/*
 * 0 with bytes to free(3), -ENOMEM, or -EINVAL when there is no row or no rule, or more than UNWIND_MAX_RULES. A tree holds
 * UNWIND_ROOT_ENTRIES * UNWIND_INDEX_ENTRIES pages of rows (one is full, or 64 KiB from its first row to its last): code
 * behind them is cut off, and `end` is then where it begins.
 */
int unwind_image_encode(const struct unwind_rows *rows, void **ret, size_t *ret_size);

/*
 * 0 when the kernel may be given it: every page number, rule number and count is in bounds, each page is used once, offsets
 * rise, kinds of rules and registers exist. Else UNWIND_IMAGE_E_CORRUPT, or -ENOMEM. `data` is aligned to 8, as from malloc(3).
 */
int unwind_image_open(const void *data, size_t size, struct unwind_image *ret);
enum { UNWIND_IMAGE_E_CORRUPT = 1 };

/*
 * Puts the numbers that the pages have in their new place, page_numbers[i] for page i, in all that names a page. Works on
 * copies of an opened image's table and of its n_pages pages, aligned to 8.
 */
void unwind_image_relocate(struct unwind_table *table, void *pages, size_t n_pages, const uint32_t *page_numbers);

/* The rule at a file offset, searched as the kernel does it; NULL when there is none. For tests and tools. */
const struct unwind_rule *unwind_image_find(const struct unwind_image *image, uint64_t offset);

#define UNWIND_IMAGE_MAX_SIZE (UINT32_C(24) << 20)
