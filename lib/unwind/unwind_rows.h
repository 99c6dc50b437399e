/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What an executable says of how to find a caller's registers, brought into one form: rows sorted by file offset, and the
 * rules that they name (bpf/unwind_table.h). Sources, the earlier one winning where two speak of the same code: Go's own
 * tables, .eh_frame, .debug_frame of the file or of its separate debug file, what is known without being told (PLT,
 * _start, signal trampolines of C libraries without CFI), what can be followed of the code itself (unwind_depth.h); what is
 * left of executable segments is taken to have frame pointers.
 *
 * Foreign input, bounded in size and time: for the confined process.
 */
#include <stddef.h>
#include <stdint.h>

#include "unwind_table.h"
#include "vec.h"

struct elf_image;

/* From this file offset on, up to the next row. */
struct unwind_rows_row {
	uint32_t offset;
	uint16_t rule;                       /* index into rules */
};

struct unwind_rows_stats {
	size_t n_functions;                  /* FDEs that were read */
	size_t n_unsupported;                /* places whose rule we cannot follow: rule UNWIND_CFA_UNKNOWN */
	size_t n_corrupt;                    /* entries that make no sense: left out */
};

/* Zero-initialise before first use. */
struct unwind_rows {
	VEC(struct unwind_rows_row) rows;    /* sorted, distinct offsets, neighbours differ in their rule */
	VEC(struct unwind_rule) rules;       /* at most UNWIND_MAX_RULES, each once */
	uint32_t end;                        /* file offset behind the last row's code */
	struct unwind_rows_stats stats;
};

enum {
	UNWIND_ROWS_E_NONE = 1,              /* no executable segment that can be spoken of (file offsets beyond 4 GiB) */
};

/*
 * `debug` is the separate debug file (only its .debug_frame is of interest), or NULL. 0, UNWIND_ROWS_E_NONE, -ENOMEM.
 * What is corrupt or beyond limits is left out and counted; its code has what other sources say.
 */
int unwind_rows_build(const struct elf_image *image, const struct elf_image *debug, struct unwind_rows *ret);
void unwind_rows_deinit(struct unwind_rows *rows);

#define UNWIND_ROWS_MAX (UINT32_C(4) << 20)     /* 16 MiB; librustc_driver has 0.7 M, node 0.3 M */
