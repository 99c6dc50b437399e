/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind_state.h"

#include <stddef.h>

#include "cleanup.h"

enum {
	RED_ZONE = 128,                      /* below rsp, kept: System V ABI, AMD64 supplement, 3.2.2 */
	FRESH = -8,                          /* rsp at a function's first instruction, from the CFA */
};

#define SP UNWIND_REGISTER_SP
#define BP UNWIND_REGISTER_BP
#define BX UNWIND_REGISTER_BX
#define NO_REGISTER UNWIND_INSTRUCTION_NO_REGISTER

_Static_assert(sizeof(struct unwind_state) == 160, "compared as bytes");

const struct unwind_state unwind_state_fresh = {
	.at = { [SP] = { UNWIND_VALUE_CFA, FRESH }, [BP] = { UNWIND_VALUE_ENTRY_BP, 0 }, [BX] = { UNWIND_VALUE_ENTRY_BX, 0 } },
};

static bool is_place(struct unwind_value v)
{
	return v.kind == UNWIND_VALUE_CFA || v.kind == UNWIND_VALUE_BASE;
}

static struct unwind_value plus(struct unwind_value v, int32_t n)
{
	if (!n)
		return v;
	if (!is_place(v) || __builtin_add_overflow(v.offset, n, &v.offset))
		return (struct unwind_value){ UNWIND_VALUE_UNKNOWN, 0 };
	return v;
}

static void forget_base(struct unwind_state *s)
{
	for (size_t i = 0; i < UNWIND_N_REGISTERS; i++)
		if (s->at[i].kind == UNWIND_VALUE_BASE)
			s->at[i] = (struct unwind_value){ 0 };
	if (s->bp.kind == UNWIND_VALUE_BASE)
		s->bp = (struct unwind_value){ 0 };
	if (s->bx.kind == UNWIND_VALUE_BASE)
		s->bx = (struct unwind_value){ 0 };
	s->cfa = (struct unwind_value){ 0 };
	s->cfa_offset = 0;
	s->base = 0;
}

/* What holds in both. */
void unwind_state_meet(struct unwind_state *s, struct unwind_state other)
{
	if (s->base != other.base) {
		forget_base(s);
		forget_base(&other);
	}
	for (size_t i = 0; i < UNWIND_N_REGISTERS; i++)
		if (!unwind_value_is_same(s->at[i], other.at[i]))
			s->at[i] = (struct unwind_value){ 0 };
	if (!unwind_value_is_same(s->bp, other.bp))
		s->bp = (struct unwind_value){ 0 };
	if (!unwind_value_is_same(s->bx, other.bx))
		s->bx = (struct unwind_value){ 0 };
	if (!unwind_value_is_same(s->cfa, other.cfa) || s->cfa_offset != other.cfa_offset) {
		s->cfa = (struct unwind_value){ 0 };
		s->cfa_offset = 0;
	}
}

/* What lies below rsp may be overwritten at any time, but for the red zone. */
static bool is_kept(const struct unwind_state *s, struct unwind_value place, int32_t red_zone)
{
	if (!is_place(place))
		return false;
	return place.kind != s->at[SP].kind || (int64_t)place.offset >= (int64_t)s->at[SP].offset - red_zone;
}

static void overwrite(struct unwind_value *place, struct unwind_value at, unsigned size, unsigned place_size)
{
	if (place->kind == at.kind && (int64_t)place->offset < (int64_t)at.offset + size &&
	    (int64_t)at.offset < (int64_t)place->offset + place_size)
		*place = (struct unwind_value){ 0 };
}

static void store(struct unwind_state *s, struct unwind_value to, struct unwind_value what, unsigned size)
{
	if (!is_place(to))
		return;
	/* The same once more is no change. */
	if (size == 8 && ((what.kind == UNWIND_VALUE_ENTRY_BP && unwind_value_is_same(to, s->bp)) ||
			  (what.kind == UNWIND_VALUE_ENTRY_BX && unwind_value_is_same(to, s->bx))))
		return;
	overwrite(&s->bp, to, size, 8);
	overwrite(&s->bx, to, size, 8);
	overwrite(&s->cfa, to, size, 8);
	if (size != 8)
		return;
	if (what.kind == UNWIND_VALUE_ENTRY_BP && !is_kept(s, s->bp, 0))
		s->bp = to;
	if (what.kind == UNWIND_VALUE_ENTRY_BX && !is_kept(s, s->bx, 0))
		s->bx = to;
	/* Elsewhere it is of no use: what is found by the CFA does not lead to it. */
	if (what.kind == UNWIND_VALUE_CFA && to.kind == UNWIND_VALUE_BASE && !is_kept(s, s->cfa, 0)) {
		s->cfa = to;
		s->cfa_offset = what.offset;
	}
}

static struct unwind_value load(const struct unwind_state *s, struct unwind_value from)
{
	if (!is_place(from))
		return (struct unwind_value){ 0 };
	if (unwind_value_is_same(from, s->bp))
		return (struct unwind_value){ UNWIND_VALUE_ENTRY_BP, 0 };
	if (unwind_value_is_same(from, s->bx))
		return (struct unwind_value){ UNWIND_VALUE_ENTRY_BX, 0 };
	if (unwind_value_is_same(from, s->cfa))
		return (struct unwind_value){ UNWIND_VALUE_CFA, s->cfa_offset };
	return (struct unwind_value){ 0 };
}

static void push(struct unwind_state *s, struct unwind_value what)
{
	s->at[SP] = plus(s->at[SP], -8);
	store(s, s->at[SP], what, 8);
}

static struct unwind_value pop(struct unwind_state *s)
{
	struct unwind_value what = load(s, s->at[SP]);

	s->at[SP] = plus(s->at[SP], 8);
	return what;
}

static void move_unknown(struct unwind_state *s, uint8_t reg, uint32_t instruction)
{
	bool was_place = is_place(s->at[reg]);

	s->at[reg] = (struct unwind_value){ 0 };
	/* One base at a time: what is found by rbp already needs no other. */
	if (!was_place || s->at[reg == SP ? BP : SP].kind == UNWIND_VALUE_BASE)
		return;
	forget_base(s);
	s->base = instruction + 1;
	s->at[reg] = (struct unwind_value){ UNWIND_VALUE_BASE, 0 };
}

/* Registers that a function need not restore, and what is below the stack pointer. */
static void call(struct unwind_state *s)
{
	static const uint8_t clobbered[] = { 0, 1, 2, 4, 5, 8, 9, 10, 11 };

	for (size_t i = 0; i < ARRAY_SIZE(clobbered); i++)
		s->at[clobbered[i]] = (struct unwind_value){ 0 };
	if (!is_kept(s, s->bp, 0))
		s->bp = (struct unwind_value){ 0 };
	if (!is_kept(s, s->bx, 0))
		s->bx = (struct unwind_value){ 0 };
	if (!is_kept(s, s->cfa, 0))
		s->cfa = (struct unwind_value){ 0 };
}

void unwind_state_apply(struct unwind_state *s, const struct unwind_instruction *i, uint32_t index)
{
	struct unwind_value reg = i->reg == NO_REGISTER ? (struct unwind_value){ 0 } : s->at[i->reg];
	struct unwind_value base = i->base == NO_REGISTER ? (struct unwind_value){ 0 } : s->at[i->base];

	switch (i->kind) {
	case UNWIND_INSTRUCTION_PUSH:
		push(s, reg);
		break;
	case UNWIND_INSTRUCTION_POP:
		reg = pop(s);
		if (i->reg != NO_REGISTER)
			s->at[i->reg] = reg;
		break;
	case UNWIND_INSTRUCTION_SET:
		s->at[i->reg] = plus(base, i->displacement);
		break;
	case UNWIND_INSTRUCTION_CONSTANT: case UNWIND_INSTRUCTION_ADD: case UNWIND_INSTRUCTION_TABLE:
		s->at[i->reg] = (struct unwind_value){ 0 };
		break;
	case UNWIND_INSTRUCTION_MOVE_UNKNOWN:
		move_unknown(s, i->reg, index);
		break;
	case UNWIND_INSTRUCTION_STORE:
		store(s, plus(base, i->displacement), reg, i->size);
		break;
	case UNWIND_INSTRUCTION_LOAD:
		s->at[i->reg] = load(s, plus(base, i->displacement));
		break;
	case UNWIND_INSTRUCTION_LEAVE:
		s->at[SP] = s->at[BP];
		s->at[BP] = pop(s);
		break;
	case UNWIND_INSTRUCTION_ENTER:
		push(s, s->at[BP]);
		s->at[BP] = s->at[SP];
		s->at[SP] = plus(s->at[SP], -i->displacement);
		break;
	case UNWIND_INSTRUCTION_EXCHANGE:
		s->at[i->reg] = base;
		s->at[i->base] = reg;
		break;
	case UNWIND_INSTRUCTION_CALL: case UNWIND_INSTRUCTION_CALL_INDIRECT:
		call(s);
		break;
	default:
		break;
	}
	for (uint16_t left = i->written; left; left &= (uint16_t)(left - 1))
		s->at[__builtin_ctz(left)] = (struct unwind_value){ 0 };
}

/* --- Rules of states --- */

/* How a rule says where a register was saved. */
static int8_t saved(const struct unwind_state *s, struct unwind_value place, struct unwind_value in_register, uint32_t entry)
{
	if (is_kept(s, place, in_register.kind == entry ? 0 : RED_ZONE) && place.offset % 8 == 0) {
		int32_t words = place.offset / 8;

		if (place.kind == UNWIND_VALUE_CFA && words <= -2 && words >= INT8_MIN)
			return (int8_t)words;
		if (place.kind == UNWIND_VALUE_BASE && s->at[BP].kind == UNWIND_VALUE_BASE) {
			words = s->at[BP].offset / 8 - words;
			if (s->at[BP].offset % 8 == 0 && words >= 0 && words < UNWIND_SAVED_NOWHERE - UNWIND_SAVED_AT_BP)
				return (int8_t)(UNWIND_SAVED_AT_BP + words);
		}
	}
	return in_register.kind == entry ? UNWIND_SAVED_SAME : UNWIND_SAVED_NOWHERE;
}

static bool by_register(const struct unwind_state *s, uint8_t reg, struct unwind_rule *rule)
{
	/* The return address is there still. */
	if (s->at[reg].kind != UNWIND_VALUE_CFA || (reg == SP && s->at[reg].offset > -8))
		return false;
	rule->cfa = UNWIND_CFA_REGISTER;
	rule->reg = reg;
	rule->offset = -s->at[reg].offset;
	return true;
}

/* By a copy of the CFA in memory. */
static bool by_memory(const struct unwind_state *s, uint8_t reg, struct unwind_rule *rule)
{
	int64_t inner = (int64_t)s->cfa.offset - s->at[reg].offset, addend = -(int64_t)s->cfa_offset;

	if (!is_kept(s, s->cfa, 0) || s->cfa.kind != s->at[reg].kind || inner != (int16_t)inner || addend != (int16_t)addend)
		return false;
	rule->cfa = UNWIND_CFA_DEREFERENCE;
	rule->reg = reg;
	rule->inner = (int16_t)inner;
	rule->addend = (int16_t)addend;
	return true;
}

static bool is_frame_pointer(const struct unwind_state *s)
{
	static const struct unwind_value at_frame = { UNWIND_VALUE_CFA, -16 };

	return unwind_value_is_same(s->at[BP], at_frame) && unwind_value_is_same(s->bp, at_frame);
}

struct unwind_rule unwind_state_rule(const struct unwind_state *s)
{
	struct unwind_rule rule = { 0 };
	bool found = is_frame_pointer(s) && by_register(s, BP, &rule);

	found = found || by_register(s, SP, &rule);
	/* Above the return address: that may be gone. */
	if (!found && s->at[SP].kind == UNWIND_VALUE_CFA)
		return (struct unwind_rule){ .cfa = UNWIND_CFA_UNKNOWN };
	found = found || by_register(s, BP, &rule) || by_memory(s, BP, &rule) || by_memory(s, SP, &rule);
	for (uint8_t reg = 0; reg < UNWIND_N_REGISTERS && !found; reg++)
		found = by_register(s, reg, &rule);
	if (!found)
		return (struct unwind_rule){ .cfa = UNWIND_CFA_UNKNOWN };
	rule.bp = saved(s, s->bp, s->at[BP], UNWIND_VALUE_ENTRY_BP);
	rule.bx = saved(s, s->bx, s->at[BX], UNWIND_VALUE_ENTRY_BX);
	return rule;
}
