/* SPDX-License-Identifier: Apache-2.0 */
/* Unwind information as its owner may write it: an executable, which is its own debug file, or .eh_frame and .debug_frame alone. */
#include <stdlib.h>

#include "elf_image.h"
#include "unwind_cfi.h"
#include "unwind_image.h"
#include "unwind_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int add(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	if (start >= end || rule->cfa >= UNWIND_N_CFAS || rule->reg >= UNWIND_N_REGISTERS)
		abort();
	return 0;
}

static void check_rows(const struct unwind_rows *rows)
{
	if (!rows->rows.n || rows->rows.n > UNWIND_ROWS_MAX || rows->rules.n > UNWIND_MAX_RULES)
		abort();
	for (size_t i = 0; i < rows->rows.n; i++)
		if (rows->rows.at[i].rule >= rows->rules.n || (i && rows->rows.at[i - 1].offset >= rows->rows.at[i].offset))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct unwind_cfi cfi = { .bytes = reader_of(data, size), .address = 0x400000 };
	struct unwind_rows rows = { 0 };
	struct elf_image *image;
	void *bytes;

	unwind_cfi_read(&cfi, add, NULL, &rows.stats);
	cfi.is_debug_frame = true;
	unwind_cfi_read(&cfi, add, NULL, &rows.stats);
	if (elf_image_open_memory(data, size, &image) != 0)
		return 0;
	if (unwind_rows_build(image, image, &rows) == 0) {
		struct unwind_image table;

		check_rows(&rows);
		/* What we make of it must be what the core accepts. */
		if (unwind_image_encode(&rows, &bytes, &size) == 0) {
			if (unwind_image_open(bytes, size, &table) != 0)
				abort();
			free(bytes);
		}
	}
	unwind_rows_deinit(&rows);
	elf_image_free(image);
	return 0;
}
