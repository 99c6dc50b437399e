/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How Go code is unwound: from Go's function table, which says at each instruction how far rsp is below what it was at the
 * function's entry (pcsp), as the runtime's own traceback does it. What the table does not say is where the caller's rbp
 * is, and what assembly does that moves to another stack; that is known here:
 *
 *   - A function with a frame saves rbp at CFA - 16 with its first change of rsp (cmd/internal/obj/x86/obj6.go preprocess:
 *     push since 1.21, a store before). One without has the caller's.
 *   - Functions that set rsp by hand are flagged (SPWRITE): runtime.systemstack, asmcgocall, cgocallback, and those that
 *     call into the vdso. With a frame, their rbp is kept while rsp is elsewhere, and leads from the system stack
 *     back to the goroutine's, and through C to the Go code below it. Until 1.20 the first two have no frame: there
 *     rbp is the caller's, which is skipped (systemstack), or found by the size of its frame (runtime.cgocall).
 *   - Stacks end in functions that the runtime calls outermost (TOPFRAME: goexit, mstart, rt0_go), and where a goroutine
 *     is left for good or for later, as in the runtime's traceback: mcall, morestack, gogo after their switch.
 *
 * Go 1.18 to 1.27, amd64: runtime/{asm,sys_linux,rt0_linux}_amd64.s, runtime/cgo/{asm,abi}_amd64.* of 1.18.10, 1.20.14,
 * 1.22.12, 1.26.8, 1.27.1; runtime/traceback.go (unwinder.resolveInternal).
 */
#include <stdint.h>

#include "unwind_table.h"

struct elf_image;

enum {
	UNWIND_GO_E_NONE = 1,                /* no Go program, or a table that gopclntab.h does not read */
};

/*
 * Calls `add` for each stretch of code, with file offsets [start, end), rising and without overlaps; equal neighbours come
 * as one. What Go's table does not describe is left out (C in a program of Go). 0, UNWIND_GO_E_NONE, -ENOMEM. Foreign input:
 * takes time in proportion to the size of the file.
 */
int unwind_go_rows(const struct elf_image *image,
	void (*add)(void *userdata, uint64_t start_offset, uint64_t end_offset, const struct unwind_rule *rule), void *userdata);
