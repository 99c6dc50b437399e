/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is known before an instruction of where the CFA and the caller's registers are: an abstract machine that goes through
 * instructions one by one (unwind_depth.c leads it along a function's ways), and the rule that follows from its state.
 */
#include <stdbool.h>
#include <stdint.h>

#include "unwind_instruction.h"
#include "unwind_table.h"

enum unwind_value_kind {
	UNWIND_VALUE_UNKNOWN,
	UNWIND_VALUE_CFA,                           /* the CFA and offset */
	UNWIND_VALUE_BASE,                          /* rsp as it was moved by an unknown distance (alloca, alignment), and offset */
	UNWIND_VALUE_ENTRY_BP, UNWIND_VALUE_ENTRY_BX,      /* the caller's */
};

struct unwind_value {
	uint32_t kind;
	int32_t offset;
};

/* Before an instruction. */
struct unwind_state {
	struct unwind_value at[UNWIND_N_REGISTERS];
	struct unwind_value bp, bx, cfa;            /* where these are in memory: UNWIND_VALUE_CFA, UNWIND_VALUE_BASE, or nowhere */
	int32_t cfa_offset;                  /* what is there is the CFA and that */
	uint32_t base;                       /* the instruction that moved rsp: index + 1 */
};


/* At the first instruction of a function. */
extern const struct unwind_state unwind_state_fresh;

static inline bool unwind_value_is_same(struct unwind_value a, struct unwind_value b)
{
	return a.kind == b.kind && a.offset == b.offset;
}

/* Only what holds in both. */
void unwind_state_meet(struct unwind_state *s, struct unwind_state other);
/* Behind the instruction; `index` tells it from others of the function. */
void unwind_state_apply(struct unwind_state *s, const struct unwind_instruction *i, uint32_t index);
/* UNWIND_CFA_UNKNOWN when the CFA is in no place that a rule can name. */
struct unwind_rule unwind_state_rule(const struct unwind_state *s);
