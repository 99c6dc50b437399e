/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Rules for code that nothing describes, from its instructions: how far the stack pointer is from the CFA, and where the
 * caller's rbp and rbx are, before each of them. For static programs of musl, assembly without directives, and programs
 * whose .eh_frame was taken out.
 *
 * Each function is followed from its first instruction along all ways through it, tables of switches included. Where
 * functions begin: symbols of functions (.symtab, .dynsym, those of the debug file), targets of calls. What neither
 * reaches, functions that are only pointed at, is tried from where the code before ends, and believed if it is followed to
 * its end without a contradiction: each return finds the stack as it was at first.
 *
 * What comes of it, for each instruction:
 *
 *	a rule            the ways that lead there agree
 *	UNKNOWN           they do not, or the CFA cannot be told (rsp is loaded from somewhere, and rbp is no frame pointer)
 *	nothing said      it is not reached, or not believed: data, code made for other ends; beyond the limits. unwind_rows
 *	                  then takes frame pointers: what is no code does no harm, and where code is there is no better rule
 *
 * A call may not return: what is behind it is then no part of the function. It is taken not to return where another way
 * leads to the same place at another depth, where padding follows and then nothing that the function jumps to, where a
 * return would find the stack as deep as at that call, where the called function has no way to a return, and where a third
 * of all calls of the same function are followed by padding and a new function (abort@plt).
 *
 * Not followed: where exceptions land (only .eh_frame leads there); jumps by tables that were loaded from memory: what they
 * lead to is tried with the stack as it was at the jump. Functions of shared code at different depths are UNKNOWN.
 *
 * Linear in the size of the code, and bounded: MAX_BYTES of code, MAX_STEPS of instructions gone through.
 */
#include <stddef.h>
#include <stdint.h>

#include "unwind_code.h"

/* File offsets [start, end) of code that no other source speaks of. */
struct unwind_depth_gap {
	uint32_t start, end;
};

/*
 * `gaps` are sorted and disjoint. Calls add() with ascending ranges and their rules, REGISTER, DEREFERENCE or UNKNOWN, and
 * stops with what it returns when that is not 0. `debug` may be NULL. 0 or -ENOMEM else.
 */
int unwind_depth_rows(const struct elf_image *image, const struct elf_image *debug, const struct unwind_depth_gap *gaps, size_t n_gaps,
		unwind_code_add add, void *userdata);

#define UNWIND_DEPTH_MAX_BYTES (UINT32_C(16) << 20)  /* of code: 42 MiB of memory, 3 s. What is known has 6 MiB at most */
#define UNWIND_DEPTH_MAX_STEPS (UINT64_C(32) << 20)  /* instructions gone through; a real one is gone through three times */
