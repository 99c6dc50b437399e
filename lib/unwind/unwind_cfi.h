/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads call frame information: what a compiler says of how to find the caller's registers at each instruction. From
 * .eh_frame (Linux Standard Base 5.0, Core, 10.6; what is loaded for exceptions) or .debug_frame (DWARF 5, 6.4).
 * Each function has an entry (FDE) with a small program that makes rows; a row becomes one struct unwind_rule.
 *
 * What of all registers is kept is the CFA, the return address, rbp and rbx: the walk needs no other.
 */
#include <stdbool.h>
#include <stdint.h>

#include "elf_image.h"
#include "reader.h"
#include "unwind_rows.h"
#include "unwind_table.h"

/* Borrows its bytes. */
struct unwind_cfi {
	struct reader bytes;
	uint64_t address;                    /* of the first byte: encoded addresses are relative to where they lie */
	bool is_debug_frame;
	bool ends_at_zero;                   /* its size is not known: it ends where an entry has length 0 */
};

/* Where .eh_frame is: by its section, or by PT_GNU_EH_FRAME in files whose section headers were cut off. */
bool unwind_cfi_find_eh_frame(const struct elf_image *image, struct unwind_cfi *ret);

/*
 * Calls add() with addresses [start, end) of the file's own speech and their rule, in the order of the section; within a
 * function they rise. Stops with what add() returns when that is not 0. 0 otherwise; stats are added to.
 */
int unwind_cfi_read(const struct unwind_cfi *cfi,
		int (*add)(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule), void *userdata,
		struct unwind_rows_stats *stats);
