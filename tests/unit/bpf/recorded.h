/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A stack of a real program as record_stack wrote it down: registers, what the walk read of memory and of unwind tables,
 * and the frames that are right. Text, a line each, all numbers hexadecimal:
 *
 *	# anything
 *	registers IP 0 1 ... 15              by DWARF number
 *	memory ADDRESS BYTES
 *	rule START END CFA REG BP BX OFFSET GUESS VERDICT    of addresses; struct unwind_rule, enum sample_verdict
 *	frame ADDRESS                        with SAMPLE_INTERRUPTED where that is so
 *	verdict VERDICT
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "native.h"
#include "vec.h"

struct recorded_memory {
	uint64_t start, size;
	uint8_t bytes[UNWIND_WORDS * 8];
};

struct recorded_rule {
	uint64_t start, end;                 /* end 0: nothing */
	struct unwind_rule rule;
	uint32_t guess, verdict;
};

struct recorded {
	struct unwind_registers registers;
	VEC(struct recorded_memory) memory;
	VEC(struct recorded_rule) rules;
	VEC(uint64_t) frames;
	uint32_t verdict;
};

static inline void recorded_deinit(struct recorded *recorded)
{
	vec_deinit(&recorded->memory);
	vec_deinit(&recorded->rules);
	vec_deinit(&recorded->frames);
}

/* As recorded: all that is asked for was read in one piece then. */
static inline long recorded_read(const struct recorded *recorded, void *to, uint32_t size, uint64_t from)
{
	for (size_t i = 0; i < recorded->memory.n; i++) {
		const struct recorded_memory *memory = &recorded->memory.at[i];

		if (from < memory->start || from - memory->start > memory->size || size > memory->size - (from - memory->start))
			continue;
		memcpy(to, memory->bytes + (from - memory->start), size);
		return 0;
	}
	return -14; /* EFAULT */
}

static inline const struct recorded_rule *recorded_rule_at(const struct recorded *recorded, uint64_t address)
{
	for (size_t i = 0; i < recorded->rules.n; i++)
		if (address >= recorded->rules.at[i].start && address < recorded->rules.at[i].end)
			return &recorded->rules.at[i];
	return NULL;
}
