/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A second reading of a DWARF line table, sequence by sequence. libdw merges all sequences of a unit into one sorted
 * list, and linkers leave those of functions they discarded (--gc-sections, second copies of templates) in the table,
 * starting at address 0: in a position independent program, whose code begins at 0x1000, the rows of a long discarded
 * function then lie among those of real ones. Here a sequence that does not start in code is left out whole.
 *
 * DWARF 2 to 5 §6.2. File numbers are those of the table, for dwarf_filesrc().
 */
#include <stdbool.h>
#include <stdint.h>

#include "reader.h"
#include "vec.h"

struct line_row {
	uint64_t address;
	uint32_t line, file;
	uint32_t order;                      /* in the table */
	bool end;                            /* of a sequence: no code from here on */
};

struct line_rows {
	VEC(struct line_row) rows;           /* by address; at one address the end of a sequence first, then as in the table */
};

void line_rows_deinit(struct line_rows *rows);

/*
 * Reads the table at an offset of .debug_line, and keeps the sequences for whose first address is_code(userdata, address)
 * holds. 0; LINE_ROWS_E_CORRUPT when it makes no sense to its end (*rows is empty); -ENOMEM.
 */
int line_rows_read(struct reader section, uint64_t offset, bool (*is_code)(const void *userdata, uint64_t address),
		const void *userdata, struct line_rows *rows);
enum { LINE_ROWS_E_CORRUPT = 1 };

/* The row that an address belongs to, or NULL. */
const struct line_row *line_rows_find(const struct line_rows *rows, uint64_t address);

/* Of one unit; a program in one unit (LTO) of 100 MiB of code has some 20 M, we then do without. */
#define LINE_ROWS_MAX (UINT32_C(8) << 20)
