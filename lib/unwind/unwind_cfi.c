/* SPDX-License-Identifier: Apache-2.0 */
#include <dwarf.h>
#include <elf.h>
#include <string.h>

#include "cleanup.h"
#include "unwind_cfi.h"

/* DWARF number of the return address: System V ABI, AMD64 supplement, figure 3.36. */
#define REGISTER_RETURN 16

/* GCC nests remember_state once or twice. */
#define MAX_REMEMBERED 16

/* Real augmentations have up to 5 characters ("zPLRS"); a bound, since a CIE may be read as often as it is named. */
#define MAX_AUGMENTATION 15

/* Bytes of those that we follow: 11 at most. A bound, since one may be asked for in each row. */
#define MAX_EXPRESSION 32

/*
 * An FDE names any CIE: few that are named by turns are kept read, and what is read in all is bounded by the section's
 * size times this. Real sections read each byte once or twice.
 */
#define CIE_SLOTS 64
#define MAX_READ_TIMES 16

/* Which registers' rules are kept. */
enum tracked {
	TRACKED_BX,
	TRACKED_BP,
	TRACKED_SP,
	TRACKED_RETURN,
	N_TRACKED,
};

enum how {
	SAVED_UNSPECIFIED,                   /* callee-saved registers: the same */
	SAVED_SAME,
	SAVED_UNDEFINED,
	SAVED_AT_OFFSET,                     /* from the CFA */
	SAVED_AT_EXPRESSION,
	SAVED_IN_REGISTER,
	SAVED_ELSEWHERE,                     /* computed */
};

struct saved {
	enum how how;
	int64_t offset;                      /* or number of the register */
	struct reader expression;
};

/* A row while it is made. */
struct state {
	bool cfa_is_expression;
	uint64_t cfa_register;
	int64_t cfa_offset;
	struct reader cfa_expression;
	struct saved saved[N_TRACKED];
};

struct cie {
	uint64_t offset;                     /* in the section */
	bool ok;
	bool has_augmentation_data;          /* "z": FDEs have some, too */
	uint8_t address_encoding;            /* DW_EH_PE_* */
	uint64_t code_align;
	int64_t data_align;
	struct state initial;
};

/* One entry's bytes. */
struct entry {
	uint64_t offset;
	struct reader bytes;                 /* the whole section up to the entry's end; `at` is behind the length */
	bool wide;                           /* 64-bit DWARF */
};

struct parser {
	const struct unwind_cfi *cfi;
	struct unwind_rows_stats *stats;
	int (*add)(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule);
	void *userdata;
	uint64_t n_left;                     /* bytes that may still be read */
	struct {
		bool used;
		struct cie cie;
	} slots[CIE_SLOTS];
};

/* The program of an entry while it runs. */
struct run {
	struct parser *parser;
	const struct cie *cie;               /* NULL: it is the CIE's own program, which makes no rows */
	uint64_t code_align;
	int64_t data_align;
	uint8_t address_encoding;
	uint64_t location, end;
	struct state state;
	struct state remembered[MAX_REMEMBERED];
	unsigned n_remembered;
	bool changed;                        /* since rule was made */
	struct unwind_rule rule;
};

/* --- Expressions --- */

/* What an expression may compute, as far as we follow: a number, a register plus one, or memory there plus another. */
struct value {
	enum { VALUE_CONSTANT, VALUE_REGISTER, VALUE_MEMORY } kind;
	uint64_t reg;
	int64_t inner, offset;
};

static int64_t add_wrapping(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}

static bool read_constant(uint8_t op, struct reader *r, int64_t *ret)
{
	switch (op) {
	case DW_OP_lit0 ... DW_OP_lit31:
		*ret = op - DW_OP_lit0;
		return true;
	case DW_OP_const1u:
		*ret = reader_u8(r);
		return true;
	case DW_OP_const1s:
		*ret = (int8_t)reader_u8(r);
		return true;
	case DW_OP_const2u:
		*ret = reader_u16(r);
		return true;
	case DW_OP_const2s:
		*ret = reader_i16(r);
		return true;
	case DW_OP_const4u:
		*ret = reader_u32(r);
		return true;
	case DW_OP_const4s:
		*ret = reader_i32(r);
		return true;
	case DW_OP_const8u:
	case DW_OP_const8s:
		*ret = (int64_t)reader_u64(r);
		return true;
	case DW_OP_constu:
		*ret = (int64_t)reader_uleb128(r);
		return true;
	case DW_OP_consts:
		*ret = reader_sleb128(r);
		return true;
	default:
		return false;
	}
}

/* One operation on a stack of two; false when it is none that we follow. */
static bool operate(uint8_t op, struct reader *r, struct value stack[2], unsigned *n)
{
	struct value *top = *n ? &stack[*n - 1] : NULL;
	struct value pushed = { VALUE_CONSTANT };

	if (op == DW_OP_nop)
		return true;
	if (op == DW_OP_plus_uconst) {
		if (top)
			top->offset = add_wrapping(top->offset, (int64_t)reader_uleb128(r));
		return top;
	}
	if (op == DW_OP_deref) {
		if (!top || top->kind != VALUE_REGISTER)
			return false;
		*top = (struct value){ VALUE_MEMORY, .reg = top->reg, .inner = top->offset };
		return true;
	}
	if (op == DW_OP_plus) {
		if (*n != 2 || (stack[0].kind != VALUE_CONSTANT && stack[1].kind != VALUE_CONSTANT))
			return false;
		if (stack[0].kind == VALUE_CONSTANT) {
			pushed = stack[0];
			stack[0] = stack[1];
			stack[1] = pushed;
		}
		stack[0].offset = add_wrapping(stack[0].offset, stack[1].offset);
		*n = 1;
		return true;
	}
	if (*n == 2)
		return false;
	if (op >= DW_OP_breg0 && op <= DW_OP_breg31) {
		pushed = (struct value){ VALUE_REGISTER, .reg = op - DW_OP_breg0, .offset = reader_sleb128(r) };
	} else if (op == DW_OP_bregx) {
		pushed = (struct value){ VALUE_REGISTER, .reg = reader_uleb128(r) };
		pushed.offset = reader_sleb128(r);
	} else if (!read_constant(op, r, &pushed.offset)) {
		return false;
	}
	stack[(*n)++] = pushed;
	return true;
}

static bool evaluate(struct reader expression, struct value *ret)
{
	struct value stack[2];
	unsigned n = 0;

	if (expression.size > MAX_EXPRESSION)
		return false;
	while (reader_left(&expression))
		if (!operate(reader_u8(&expression), &expression, stack, &n))
			return false;
	if (!reader_ok(&expression) || n != 1)
		return false;
	*ret = stack[0];
	return true;
}

/* Whether the expression is the sum of a register and a number. */
static bool is_register_plus(struct reader expression, uint64_t reg, int64_t offset)
{
	struct value v;

	return evaluate(expression, &v) && v.kind == VALUE_REGISTER && v.reg == reg && v.offset == offset;
}

/*
 * What linkers say of a PLT (elf_x86_64_eh_frame_plt in binutils' bfd/elf64-x86-64.c and its relatives):
 * rsp + 8 + (((rip & 15) >= N) << 3).
 */
static bool is_plt(struct reader expression, int32_t *ret_offset)
{
	static const uint8_t start[] = { DW_OP_breg7, 8, DW_OP_breg16, 0, DW_OP_lit15, DW_OP_and };
	static const uint8_t end[] = { DW_OP_ge, DW_OP_lit3, DW_OP_shl, DW_OP_plus };
	uint8_t n;

	if (expression.size != sizeof(start) + 1 + sizeof(end) || memcmp(expression.data, start, sizeof(start)) ||
	    memcmp(expression.data + sizeof(start) + 1, end, sizeof(end)))
		return false;
	n = expression.data[sizeof(start)];
	if (n < DW_OP_lit0 || n > DW_OP_lit15)
		return false;
	*ret_offset = n - DW_OP_lit0;
	return true;
}

/* --- From a row to a rule --- */

static bool is_saved_in_ucontext(const struct saved *saved, int64_t offset)
{
	return saved->how == SAVED_AT_EXPRESSION && is_register_plus(saved->expression, UNWIND_REGISTER_SP, offset);
}

/*
 * A signal trampoline: all registers are in the ucontext that the kernel put at rsp. Offsets are of struct ucontext with
 * struct sigcontext at 40: arch/x86/include/uapi/asm/{ucontext,sigcontext}.h.
 */
static bool is_signal_frame(const struct state *s, const struct value *cfa)
{
	return cfa->kind == VALUE_MEMORY && cfa->reg == UNWIND_REGISTER_SP && cfa->inner == 160 && cfa->offset == 0 &&
	       is_saved_in_ucontext(&s->saved[TRACKED_RETURN], 168) && is_saved_in_ucontext(&s->saved[TRACKED_BP], 120) &&
	       is_saved_in_ucontext(&s->saved[TRACKED_BX], 128) &&
	       (s->saved[TRACKED_SP].how == SAVED_UNSPECIFIED || is_saved_in_ucontext(&s->saved[TRACKED_SP], 160));
}

/* bp or bx of a rule. */
static int8_t place_of(const struct saved *saved, const struct value *cfa)
{
	int64_t offset = saved->offset;
	struct value v;

	switch (saved->how) {
	case SAVED_UNSPECIFIED:
	case SAVED_SAME:
		return UNWIND_SAVED_SAME;
	case SAVED_AT_EXPRESSION:
		if (!evaluate(saved->expression, &v) || v.kind != VALUE_REGISTER)
			return UNWIND_SAVED_NOWHERE;
		/* GCC aligns a stack so: the caller's rbp is where rbp points, and the CFA is known by memory only. */
		if (v.reg == UNWIND_REGISTER_BP && v.offset % 8 == 0 && v.offset <= 0 && v.offset > -125 * 8)
			return (int8_t)(UNWIND_SAVED_AT_BP - v.offset / 8);
		if (cfa->kind != VALUE_REGISTER || v.reg != cfa->reg || __builtin_sub_overflow(v.offset, cfa->offset, &offset))
			return UNWIND_SAVED_NOWHERE;
		break;
	case SAVED_AT_OFFSET:
		break;
	default:
		return UNWIND_SAVED_NOWHERE;
	}
	if (offset % 8 || offset > -8 || offset < -126 * 8)
		return UNWIND_SAVED_NOWHERE;
	return (int8_t)(offset / 8);
}

/* Only as long as the others keep their places. */
static struct unwind_rule return_register_rule(const struct state *s, const struct value *cfa)
{
	int64_t reg = s->saved[TRACKED_RETURN].offset;
	struct unwind_rule rule = { .cfa = UNWIND_CFA_RETURN_REGISTER, .reg = (uint8_t)reg, .offset = (int32_t)cfa->offset };

	if (cfa->kind != VALUE_REGISTER || cfa->reg != UNWIND_REGISTER_SP || rule.offset != cfa->offset || reg < 0 ||
	    reg >= UNWIND_N_REGISTERS || place_of(&s->saved[TRACKED_BP], cfa) != UNWIND_SAVED_SAME ||
	    place_of(&s->saved[TRACKED_BX], cfa) != UNWIND_SAVED_SAME)
		return (struct unwind_rule){ .cfa = UNWIND_CFA_UNKNOWN };
	return rule;
}

static struct unwind_rule make_rule(const struct state *s)
{
	const struct saved *back = &s->saved[TRACKED_RETURN];
	const struct unwind_rule unknown = { .cfa = UNWIND_CFA_UNKNOWN };
	struct unwind_rule rule = { 0 };
	struct value cfa = { VALUE_REGISTER, .reg = s->cfa_register, .offset = s->cfa_offset };
	bool plt = false;

	if (back->how == SAVED_UNDEFINED)
		return (struct unwind_rule){ .cfa = UNWIND_CFA_END };
	if (s->cfa_is_expression) {
		plt = is_plt(s->cfa_expression, &rule.offset);
		if (!plt && !evaluate(s->cfa_expression, &cfa))
			return unknown;
	}
	if (!plt && is_signal_frame(s, &cfa))
		return (struct unwind_rule){ .cfa = UNWIND_CFA_SIGNAL };
	if (back->how == SAVED_IN_REGISTER)
		return return_register_rule(s, &cfa);
	if (back->how != SAVED_AT_OFFSET || back->offset != -8 || cfa.kind == VALUE_CONSTANT || cfa.reg >= UNWIND_N_REGISTERS)
		return unknown;
	if (plt) {
		rule.cfa = UNWIND_CFA_PLT;
		rule.reg = UNWIND_REGISTER_SP;
	} else if (cfa.kind == VALUE_REGISTER) {
		rule.cfa = UNWIND_CFA_REGISTER;
		rule.reg = (uint8_t)cfa.reg;
		rule.offset = (int32_t)cfa.offset;
		if (rule.offset != cfa.offset)
			return unknown;
	} else {
		rule.cfa = UNWIND_CFA_DEREFERENCE;
		rule.reg = (uint8_t)cfa.reg;
		rule.inner = (int16_t)cfa.inner;
		rule.addend = (int16_t)cfa.offset;
		if (rule.inner != cfa.inner || rule.addend != cfa.offset)
			return unknown;
	}
	rule.bp = place_of(&s->saved[TRACKED_BP], &cfa);
	rule.bx = place_of(&s->saved[TRACKED_BX], &cfa);
	return rule;
}

/* --- Encoded addresses --- */

/*
 * Reads a pointer as DW_EH_PE_* says; `data` is what those relative to the data start at. What is relative to the text or
 * to a function has no known start here, what is indirect is not in the file.
 */
static uint64_t read_encoded(struct reader *r, uint8_t encoding, const struct unwind_cfi *cfi, const uint64_t *data)
{
	uint64_t place = cfi->address + r->at, value;

	switch (encoding & 0x0f) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
	case 0x08: /* DW_EH_PE_signed: as wide as a pointer */
		value = reader_u64(r);
		break;
	case DW_EH_PE_udata2:
		value = reader_u16(r);
		break;
	case DW_EH_PE_sdata2:
		value = (uint64_t)(int64_t)reader_i16(r);
		break;
	case DW_EH_PE_udata4:
		value = reader_u32(r);
		break;
	case DW_EH_PE_sdata4:
		value = (uint64_t)(int64_t)reader_i32(r);
		break;
	case DW_EH_PE_uleb128:
		value = reader_uleb128(r);
		break;
	case DW_EH_PE_sleb128:
		value = (uint64_t)reader_sleb128(r);
		break;
	default:
		reader_fail(r);
		return 0;
	}
	switch (encoding & 0xf0) {
	case DW_EH_PE_absptr:
		return value;
	case DW_EH_PE_pcrel:
		return value + place;
	case DW_EH_PE_datarel:
		if (data)
			return value + *data;
	}
	reader_fail(r);
	return 0;
}

static void skip_encoded(struct reader *r, uint8_t encoding, const struct unwind_cfi *cfi)
{
	if (encoding != DW_EH_PE_omit)
		read_encoded(r, encoding & 0x0f, cfi, NULL);
}

/* --- Programs --- */

static int tracked(uint64_t reg)
{
	switch (reg) {
	case UNWIND_REGISTER_BX:
		return TRACKED_BX;
	case UNWIND_REGISTER_BP:
		return TRACKED_BP;
	case UNWIND_REGISTER_SP:
		return TRACKED_SP;
	case REGISTER_RETURN:
		return TRACKED_RETURN;
	default:
		return -1;
	}
}

static void set_saved(struct run *run, uint64_t reg, struct saved saved)
{
	int i = tracked(reg);

	if (i < 0)
		return;
	run->state.saved[i] = saved;
	run->changed = true;
}

static void restore(struct run *run, uint64_t reg)
{
	int i = tracked(reg);

	if (i >= 0)
		set_saved(run, reg, run->cie ? run->cie->initial.saved[i] : (struct saved){ 0 });
}

static bool factor(const struct run *run, int64_t n, int64_t *ret)
{
	return !__builtin_mul_overflow(n, run->data_align, ret);
}

static bool set_saved_at(struct run *run, uint64_t reg, int64_t n)
{
	int64_t offset;

	if (!factor(run, n, &offset))
		return false;
	set_saved(run, reg, (struct saved){ SAVED_AT_OFFSET, .offset = offset });
	return true;
}

static struct reader read_block(struct reader *r)
{
	uint64_t size = reader_uleb128(r);
	const void *bytes = reader_bytes(r, size);

	return bytes ? reader_of(bytes, size) : (struct reader){ .failed = true };
}

static bool set_cfa(struct run *run, uint64_t reg, int64_t offset)
{
	run->state.cfa_is_expression = false;
	run->state.cfa_register = reg;
	run->state.cfa_offset = offset;
	run->changed = true;
	return true;
}

/*
 * A register or an offset told after an expression: DWARF forbids it, but the assembly of CRYPTOGAMS (OpenSSL, libgcrypt) does
 * so, counting on the unwinder of GCC (unwind-dw2.c), which keeps the offset from before the expression.
 */
static bool set_cfa_offset(struct run *run, int64_t offset)
{
	run->state.cfa_offset = offset;
	run->changed = true;
	return true;
}

/* What the row says holds up to `location`. */
static int go_to(struct run *run, uint64_t location)
{
	uint64_t start = run->location, end = MIN(location, run->end);

	if (end <= start)
		return 0;
	run->location = end;
	if (run->changed) {
		run->rule = make_rule(&run->state);
		run->changed = false;
	}
	if (run->rule.cfa == UNWIND_CFA_UNKNOWN)
		run->parser->stats->n_unsupported++;
	return run->parser->add(run->parser->userdata, start, end, &run->rule);
}

static int advance(struct run *run, uint64_t n)
{
	uint64_t bytes, location;

	if (__builtin_mul_overflow(n, run->code_align, &bytes) || __builtin_add_overflow(run->location, bytes, &location))
		location = UINT64_MAX;
	return go_to(run, location);
}

/* Instructions that change the row; false: none that exists, or it makes no sense. */
static bool change(struct run *run, uint8_t op, struct reader *r)
{
	uint64_t reg;
	int64_t offset;

	switch (op) {
	case DW_CFA_nop:
		return true;
	case DW_CFA_GNU_args_size:
		reader_uleb128(r);
		return true;
	case DW_CFA_offset_extended:
		reg = reader_uleb128(r);
		return set_saved_at(run, reg, (int64_t)reader_uleb128(r));
	case DW_CFA_offset_extended_sf:
		reg = reader_uleb128(r);
		return set_saved_at(run, reg, reader_sleb128(r));
	case DW_CFA_GNU_negative_offset_extended:
		reg = reader_uleb128(r);
		return set_saved_at(run, reg, (int64_t)(0 - reader_uleb128(r)));
	case DW_CFA_restore_extended:
		restore(run, reader_uleb128(r));
		return true;
	case DW_CFA_undefined:
		set_saved(run, reader_uleb128(r), (struct saved){ SAVED_UNDEFINED });
		return true;
	case DW_CFA_same_value:
		set_saved(run, reader_uleb128(r), (struct saved){ SAVED_SAME });
		return true;
	case DW_CFA_register:
		reg = reader_uleb128(r);
		set_saved(run, reg, (struct saved){ SAVED_IN_REGISTER, .offset = (int64_t)reader_uleb128(r) });
		return true;
	case DW_CFA_val_offset:
	case DW_CFA_val_offset_sf:
		reg = reader_uleb128(r);
		reader_uleb128(r); /* or signed: as long */
		set_saved(run, reg, (struct saved){ SAVED_ELSEWHERE });
		return true;
	case DW_CFA_expression:
		reg = reader_uleb128(r);
		set_saved(run, reg, (struct saved){ SAVED_AT_EXPRESSION, .expression = read_block(r) });
		return true;
	case DW_CFA_val_expression:
		reg = reader_uleb128(r);
		read_block(r);
		set_saved(run, reg, (struct saved){ SAVED_ELSEWHERE });
		return true;
	case DW_CFA_remember_state:
		if (run->n_remembered == MAX_REMEMBERED)
			return false;
		run->remembered[run->n_remembered++] = run->state;
		return true;
	case DW_CFA_restore_state:
		if (!run->n_remembered)
			return false;
		run->state = run->remembered[--run->n_remembered];
		run->changed = true;
		return true;
	case DW_CFA_def_cfa:
		reg = reader_uleb128(r);
		return set_cfa(run, reg, (int64_t)reader_uleb128(r));
	case DW_CFA_def_cfa_sf:
		reg = reader_uleb128(r);
		return factor(run, reader_sleb128(r), &offset) && set_cfa(run, reg, offset);
	case DW_CFA_def_cfa_register:
		return set_cfa(run, reader_uleb128(r), run->state.cfa_offset);
	case DW_CFA_def_cfa_offset:
		return set_cfa_offset(run, (int64_t)reader_uleb128(r));
	case DW_CFA_def_cfa_offset_sf:
		return factor(run, reader_sleb128(r), &offset) && set_cfa_offset(run, offset);
	case DW_CFA_def_cfa_expression:
		run->state.cfa_is_expression = true;
		run->state.cfa_expression = read_block(r);
		run->changed = true;
		return true;
	default:
		return false;
	}
}

enum { RUN_CORRUPT = -1 };

/* One instruction. 0, RUN_CORRUPT, or what add() returned. */
static int instruct(struct run *run, struct reader *r, int *ret_added)
{
	uint8_t op = reader_u8(r), low = op & 0x3f;
	uint64_t location;

	switch (op & 0xc0) {
	case DW_CFA_advance_loc:
		*ret_added = advance(run, low);
		return 0;
	case DW_CFA_offset:
		return set_saved_at(run, low, (int64_t)reader_uleb128(r)) ? 0 : RUN_CORRUPT;
	case DW_CFA_restore:
		restore(run, low);
		return 0;
	}
	switch (op) {
	case DW_CFA_set_loc:
		location = read_encoded(r, run->address_encoding, run->parser->cfi, NULL);
		if (location < run->location)
			return RUN_CORRUPT;
		*ret_added = go_to(run, location);
		return 0;
	case DW_CFA_advance_loc1:
		*ret_added = advance(run, reader_u8(r));
		return 0;
	case DW_CFA_advance_loc2:
		*ret_added = advance(run, reader_u16(r));
		return 0;
	case DW_CFA_advance_loc4:
		*ret_added = advance(run, reader_u32(r));
		return 0;
	default:
		return change(run, op, r) ? 0 : RUN_CORRUPT;
	}
}

/* All instructions up to the end of the entry or of the function. 0, RUN_CORRUPT; *ret_added is what add() returned. */
static int run_program(struct run *run, struct reader *program, int *ret_added)
{
	*ret_added = 0;
	while (reader_left(program) && (!run->cie || run->location < run->end)) {
		if (instruct(run, program, ret_added) || !reader_ok(program))
			return RUN_CORRUPT;
		if (*ret_added)
			return 0;
	}
	return 0;
}

/* --- Entries --- */

/* The entry at `offset`; false at the end of the section. ret->bytes has failed when it does not fit in. */
static bool read_entry(const struct parser *p, uint64_t offset, struct entry *ret)
{
	struct reader r = p->cfi->bytes;
	uint64_t length;

	reader_seek(&r, offset);
	if (reader_left(&r) < sizeof(uint32_t))
		return false;
	*ret = (struct entry){ .offset = offset };
	length = reader_u32(&r);
	if (length == UINT32_MAX) {
		ret->wide = true;
		length = reader_u64(&r);
	}
	if (length > reader_left(&r))
		reader_fail(&r);
	else
		r.size = r.at + length;
	ret->bytes = r;
	return true;
}

/*
 * Reads the number that tells CIEs from FDEs. For an FDE *ret_cie is where its CIE is: .debug_frame counts from the start
 * of the section, .eh_frame backwards from the number itself, which always has 4 bytes there.
 */
static bool read_is_cie(const struct parser *p, struct entry *e, uint64_t *ret_cie)
{
	uint64_t at = e->bytes.at, id;

	if (p->cfi->is_debug_frame) {
		id = e->wide ? reader_u64(&e->bytes) : reader_u32(&e->bytes);
		*ret_cie = id;
		return id == (e->wide ? UINT64_MAX : UINT32_MAX);
	}
	id = reader_u32(&e->bytes);
	*ret_cie = at - id; /* may wrap: no entry is there then */
	return id == 0;
}

/* What a letter of the augmentation announces; false: an unknown one, which may have any number of bytes. */
static bool read_letter(char letter, const struct unwind_cfi *cfi, struct reader *data, struct cie *cie)
{
	uint8_t encoding;

	switch (letter) {
	case 'R':
		cie->address_encoding = reader_u8(data);
		return true;
	case 'P':
		encoding = reader_u8(data);
		skip_encoded(data, encoding, cfi);
		return true;
	case 'L':
		reader_u8(data);
		return true;
	case 'S': /* a signal frame: what its rules say decides */
	case 'B': /* another processor's */
		return true;
	default:
		return false;
	}
}

static bool read_augmentation(const struct parser *p, const char *augmentation, struct reader *r, struct cie *cie)
{
	struct reader data;
	uint64_t size;

	if (augmentation[0] != 'z')
		return !augmentation[0];
	cie->has_augmentation_data = true;
	size = reader_uleb128(r);
	if (size > reader_left(r))
		return false;
	data = *r;
	data.size = r->at + size;
	for (const char *letter = augmentation + 1; *letter; letter++)
		if (!read_letter(*letter, p->cfi, &data, cie))
			break;
	reader_skip(r, size);
	return reader_ok(&data);
}

static bool read_cie(struct parser *p, uint64_t offset, struct cie *cie)
{
	struct run run = { .parser = p };
	struct entry e;
	uint64_t ignored, return_register;
	const char *augmentation;
	uint8_t version;
	int added;

	if (!read_entry(p, offset, &e) || !reader_ok(&e.bytes) || p->n_left < reader_left(&e.bytes))
		return false;
	p->n_left -= reader_left(&e.bytes);
	if (!read_is_cie(p, &e, &ignored))
		return false;
	version = reader_u8(&e.bytes);
	augmentation = reader_string(&e.bytes);
	if (!augmentation || strnlen(augmentation, MAX_AUGMENTATION + 1) > MAX_AUGMENTATION ||
	    (version != 1 && version != 3 && version != 4))
		return false;
	if (version == 4 && (reader_u8(&e.bytes) != 8 || reader_u8(&e.bytes) != 0)) /* size of addresses, of segments */
		return false;
	if (!strcmp(augmentation, "eh")) { /* GCC 2: a pointer to exception data */
		reader_skip(&e.bytes, sizeof(uint64_t));
		augmentation += 2;
	}
	cie->code_align = reader_uleb128(&e.bytes);
	cie->data_align = reader_sleb128(&e.bytes);
	return_register = version == 1 ? reader_u8(&e.bytes) : reader_uleb128(&e.bytes);
	if (return_register != REGISTER_RETURN || !read_augmentation(p, augmentation, &e.bytes, cie))
		return false;
	run.code_align = cie->code_align;
	run.data_align = cie->data_align;
	run.address_encoding = cie->address_encoding;
	if (run_program(&run, &e.bytes, &added))
		return false;
	cie->initial = run.state;
	return reader_ok(&e.bytes);
}

/* NULL when there is none at that offset. */
static const struct cie *get_cie(struct parser *p, uint64_t offset)
{
	uint64_t slot = (offset ^ offset >> 8) / 4 % CIE_SLOTS;
	struct cie *cie = &p->slots[slot].cie;

	if (!p->slots[slot].used || cie->offset != offset) {
		p->slots[slot].used = true;
		*cie = (struct cie){ .offset = offset };
		cie->ok = read_cie(p, offset, cie);
	}
	return cie->ok ? cie : NULL;
}

/* 0, RUN_CORRUPT; *ret_added is what add() returned. */
static int read_fde(struct parser *p, struct entry *e, uint64_t cie_offset, int *ret_added)
{
	const struct cie *cie = get_cie(p, cie_offset);
	struct run run;
	uint64_t size;

	if (!cie)
		return RUN_CORRUPT;
	run.parser = p;
	run.cie = cie;
	run.code_align = cie->code_align;
	run.data_align = cie->data_align;
	run.address_encoding = cie->address_encoding;
	run.location = read_encoded(&e->bytes, cie->address_encoding, p->cfi, NULL);
	size = read_encoded(&e->bytes, cie->address_encoding & 0x0f, p->cfi, NULL);
	if (cie->has_augmentation_data)
		reader_skip(&e->bytes, reader_uleb128(&e->bytes));
	if (!reader_ok(&e->bytes) || __builtin_add_overflow(run.location, size, &run.end))
		return RUN_CORRUPT;
	p->stats->n_functions++;
	run.state = cie->initial;
	run.n_remembered = 0;
	run.changed = true;
	if (run_program(&run, &e->bytes, ret_added))
		return RUN_CORRUPT;
	if (!*ret_added)
		*ret_added = go_to(&run, run.end);
	return 0;
}

int unwind_cfi_read(const struct unwind_cfi *cfi,
		int (*add)(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule), void *userdata,
		struct unwind_rows_stats *stats)
{
	_cleanup_free_ struct parser *p = calloc(1, sizeof(*p));
	uint64_t at = 0, cie_offset;
	struct entry e;

	if (!p)
		return -ENOMEM;
	p->cfi = cfi;
	p->stats = stats;
	p->add = add;
	p->userdata = userdata;
	p->n_left = (uint64_t)cfi->bytes.size * MAX_READ_TIMES;
	while (read_entry(p, at, &e)) {
		int added = 0;

		if (!reader_ok(&e.bytes)) { /* where the next one is, nobody knows */
			stats->n_corrupt++;
			return 0;
		}
		at = e.bytes.size;
		if (!reader_left(&e.bytes)) {
			if (cfi->ends_at_zero)
				return 0;
			continue; /* object files end so; more may follow */
		}
		if (read_is_cie(p, &e, &cie_offset))
			continue;
		if (read_fde(p, &e, cie_offset, &added))
			stats->n_corrupt++;
		if (added)
			return added;
	}
	return 0;
}

/* --- Where it is --- */

static bool find_by_segment(const struct elf_image *image, struct unwind_cfi *ret)
{
	size_t n;
	const struct elf_segment *segments = elf_image_segments(image, &n);

	for (size_t i = 0; i < n; i++) {
		struct unwind_cfi header = { .address = segments[i].address };
		uint8_t version, encoding;
		uint64_t address;

		if (segments[i].type != PT_GNU_EH_FRAME)
			continue;
		header.bytes = elf_image_bytes_at(image, segments[i].address, SIZE_MAX);
		version = reader_u8(&header.bytes);
		encoding = reader_u8(&header.bytes);
		reader_skip(&header.bytes, 2); /* encodings of the table that follows: we need not search */
		address = read_encoded(&header.bytes, encoding, &header, &header.address);
		if (!reader_ok(&header.bytes) || version != 1)
			return false;
		*ret = (struct unwind_cfi){
			.bytes = elf_image_bytes_at(image, address, SIZE_MAX), .address = address, .ends_at_zero = true,
		};
		return reader_ok(&ret->bytes);
	}
	return false;
}

bool unwind_cfi_find_eh_frame(const struct elf_image *image, struct unwind_cfi *ret)
{
	const struct elf_section *section = elf_image_section(image, ".eh_frame");
	struct reader bytes;

	if (section) {
		bytes = elf_image_section_bytes(image, section);
		if (reader_ok(&bytes) && bytes.size) {
			*ret = (struct unwind_cfi){ .bytes = bytes, .address = section->address };
			return true;
		}
	}
	return find_by_segment(image, ret);
}
