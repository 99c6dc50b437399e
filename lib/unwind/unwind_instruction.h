/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One instruction of x86-64, as far as it matters to who follows the stack: where it leads, and what it does to registers
 * and to the stack. Decoded by zydis; everything else it might do is left out.
 */
#include <stdbool.h>
#include <stdint.h>

#include "reader.h"

enum unwind_instruction_kind {
	UNWIND_INSTRUCTION_OTHER,        /* overwrites `written` */
	UNWIND_INSTRUCTION_PADDING,      /* does nothing: between functions, or before loops */
	UNWIND_INSTRUCTION_PUSH,         /* reg, or something else */
	UNWIND_INSTRUCTION_POP,          /* reg, or to somewhere else */
	UNWIND_INSTRUCTION_SET,          /* reg = base + displacement */
	UNWIND_INSTRUCTION_CONSTANT,     /* reg = the address `target` */
	UNWIND_INSTRUCTION_MOVE_UNKNOWN, /* reg goes by an unknown distance from where it is, or is aligned */
	UNWIND_INSTRUCTION_ADD,          /* reg += base */
	UNWIND_INSTRUCTION_TABLE,        /* reg = 32 bits from a table at base */
	UNWIND_INSTRUCTION_STORE,        /* `size` bytes at base + displacement = reg, or something else */
	UNWIND_INSTRUCTION_LOAD,         /* reg = 8 bytes at base + displacement */
	UNWIND_INSTRUCTION_LEAVE,
	UNWIND_INSTRUCTION_ENTER,        /* displacement: of how many bytes */
	UNWIND_INSTRUCTION_EXCHANGE,     /* reg and base */
	UNWIND_INSTRUCTION_JUMP,         /* to target */
	UNWIND_INSTRUCTION_BRANCH,       /* to target or on */
	UNWIND_INSTRUCTION_JUMP_INDIRECT,/* by reg, by a table of addresses at `target`, or otherwise (reg and target none) */
	UNWIND_INSTRUCTION_CALL,         /* target */
	UNWIND_INSTRUCTION_CALL_INDIRECT,
	UNWIND_INSTRUCTION_RETURN,
	UNWIND_INSTRUCTION_STOP,         /* traps, or goes where we don't follow */
};

enum { UNWIND_INSTRUCTION_NO_REGISTER = 255, UNWIND_INSTRUCTION_MAX_SIZE = 15 };

struct unwind_instruction {
	uint8_t kind;
	uint8_t length;
	uint8_t reg, base;                   /* DWARF numbers, as in unwind_table.h; or UNWIND_INSTRUCTION_NO_REGISTER */
	uint16_t written;                    /* bits: registers that it overwrites or changes in a way not told above */
	uint16_t size;
	int32_t displacement;
	uint64_t target;                     /* an address; 0: none */
};

/* Whether the bytes are an instruction; `address` is theirs. */
bool unwind_instruction_decode(struct reader bytes, uint64_t address, struct unwind_instruction *ret);
/* Only its length, kind PADDING, STOP, RETURN, JUMP or CALL (_INDIRECT) and target; other kinds are OTHER. Twice as fast. */
bool unwind_instruction_skim(struct reader bytes, uint64_t address, struct unwind_instruction *ret);
