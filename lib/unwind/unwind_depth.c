/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function is read first: all instructions that its ways lead to, whatever the state there (read_function()). Then
 * states are carried along these ways, block by block, until nothing changes (follow()): at the first instruction rsp is
 * CFA - 8. Where ways meet, what they don't agree in is unknown from there on; so a state changes a few times at most.
 *
 * Positions are bytes of the gaps, one behind the other: bit maps and the rules that were found are by position.
 */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "map.h"
#include "unwind_depth.h"
#include "unwind_instruction.h"
#include "unwind_state.h"
#include "vec.h"

enum {
	MAX_INSTRUCTIONS = 65536,            /* of a function: the largest known, of generated code, have 20,000 */
	MAX_RESTARTS = 16,                   /* calls of a function that turn out not to return */
	MAX_TABLE = 1024,                    /* entries of a switch */
	MAX_SYMBOLS = 1 << 20,
	MAX_RULES = UINT16_MAX - 1,
	MAX_CALLED = 65536,                  /* functions whose calls are counted */
	MIN_LAST_CALLS = 2,
	MAX_PASSES = 3,                      /* what calls a function that does not return may not return either */
	STEPS_PER_BYTE = 4,                  /* of code: instructions gone through. Real ones need 0.4 to 1.9 */
	MIN_STEPS = 4096,
	STEPS_PER_FUNCTION = 8,              /* what it costs by itself */
	MAX_PADDING = 63,                    /* functions are aligned to 64 at most */
};

#define NOWHERE UINT32_MAX
#define SP UNWIND_REGISTER_SP
#define NO_REGISTER UNWIND_INSTRUCTION_NO_REGISTER

/* --- The code --- */

struct gap {
	uint32_t start, end;                 /* file offsets */
	uint32_t position;                   /* of start */
	uint64_t address;                    /* likewise */
};

/* An instruction of the function being followed. */
struct step {
	struct unwind_instruction i;
	uint32_t position;
	uint32_t next, to;                   /* indexes of steps, NOWHERE: out of the function, or it has none */
	uint32_t target;                     /* position of i.target, or NOWHERE */
	uint32_t first_target, n_targets;    /* of a switch: in function.targets */
	uint32_t block;                      /* that begins here, or NOWHERE */
	bool is_leader, is_target;           /* of a jump */
	bool is_padded;                      /* a call: next is behind padding */
	bool does_not_return;                /* a call */
};

struct block {
	uint32_t first;
	uint32_t parent;                     /* block whose call leads to the way on which this was reached first, or NOWHERE */
	struct unwind_value call_sp;                /* rsp at its call */
	bool is_reached, is_queued, is_pending;
	bool is_behind_call;                 /* reached in no other way so far */
	struct unwind_state in;
};

struct function {
	uint32_t start;                      /* position */
	bool is_guess;                       /* what was told before is not touched: there it ends */
	bool may_restart;
	struct unwind_state first;
	VEC(struct step) steps;
	VEC(struct block) blocks;
	VEC(uint32_t) targets;               /* of switches: positions, then indexes of steps */
	VEC(uint32_t) work;                  /* positions to read; then blocks to follow */
	VEC(uint32_t) pending;               /* blocks whose call's way on is not followed yet */
	size_t n_bad;                        /* ways that lead to what is no code */
	size_t n_disagree, n_unbalanced, n_ends;
	bool has_unknown_jump;               /* by a register or memory, where to is not known */
	struct unwind_state at_unknown_jump;
};

/* A function with a switch whose targets are not known. */
struct open_function {
	uint32_t start;
	struct unwind_state state;
};

/* Calls of one target: all, and those that padding follows up to where functions begin. */
struct calls {
	uint32_t n, n_last;
};

struct depth {
	const struct elf_image *image;
	struct reader file;
	VEC(struct gap) gaps;
	uint32_t n_positions;
	uint64_t n_steps;                    /* left */
	uint64_t *entries, *seen, *begun;    /* bits by position: begun where an instruction seems to begin */
	uint64_t *endless;                   /* functions that do not return */
	bool is_endless_new;                 /* one was found in this pass */
	uint16_t *rules;                     /* by position of an instruction: index + 1; 0: not reached */
	VEC(struct unwind_rule) all_rules;
	struct map rule_numbers;
	struct map calls;                    /* by address of the target */
	VEC(struct open_function) open;      /* sorted by start */
	struct function f;
};

static bool bit(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static void set_bit(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static void clear_bit(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static const struct gap *gap_of(const struct depth *d, uint32_t position)
{
	size_t low = 0, high = d->gaps.n;

	while (low + 1 < high) {
		size_t middle = low + (high - low) / 2;

		if (d->gaps.at[middle].position <= position)
			low = middle;
		else
			high = middle;
	}
	return &d->gaps.at[low];
}

static uint32_t end_of(const struct gap *g)
{
	return g->position + (g->end - g->start);
}

/* NOWHERE when the address is not in a gap. */
static uint32_t position_of(const struct depth *d, uint64_t address)
{
	size_t low = 0, high = d->gaps.n;
	uint64_t offset;

	if (!address || !elf_image_offset_of_address(d->image, address, &offset))
		return NOWHERE;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (d->gaps.at[middle].end <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == d->gaps.n || d->gaps.at[low].start > offset)
		return NOWHERE;
	return d->gaps.at[low].position + (uint32_t)(offset - d->gaps.at[low].start);
}

static struct reader bytes_from(const struct depth *d, const struct gap *g, uint32_t position)
{
	return reader_part(&d->file, g->start + (position - g->position), end_of(g) - position);
}

static uint64_t address_of(const struct gap *g, uint32_t position)
{
	return g->address + (position - g->position);
}

/* --- Where functions begin --- */

static void add_entry(struct depth *d, uint64_t address)
{
	uint32_t position = position_of(d, address);

	if (position != NOWHERE)
		set_bit(d->entries, position);
}

/* gcc and clang put what is seldom run elsewhere, and give it a name of its own: there the function goes on. */
static bool is_part(const char *name)
{
	const char *dot = name ? strstr(name, ".cold") : NULL;

	return dot && (!dot[5] || dot[5] == '.');
}

static void add_symbols(struct depth *d, const struct elf_image *image, uint32_t type)
{
	size_t n_sections;
	const struct elf_section *sections = elf_image_sections(image, &n_sections);

	for (size_t i = 0; i < n_sections; i++) {
		struct reader symbols, names = { .failed = true };

		if (sections[i].type != type)
			continue;
		symbols = elf_image_section_bytes(image, &sections[i]);
		if (sections[i].link < n_sections)
			names = elf_image_section_bytes(image, &sections[sections[i].link]);
		for (size_t k = 0; k < MAX_SYMBOLS && reader_left(&symbols) >= sizeof(Elf64_Sym); k++) {
			Elf64_Sym symbol;
			struct reader name = names;

			memcpy(&symbol, reader_bytes(&symbols, sizeof(symbol)), sizeof(symbol));
			if ((ELF64_ST_TYPE(symbol.st_info) != STT_FUNC && ELF64_ST_TYPE(symbol.st_info) != STT_GNU_IFUNC) ||
			    symbol.st_shndx == SHN_UNDEF)
				continue;
			reader_seek(&name, symbol.st_name);
			if (!reader_ok(&name) || !is_part(reader_string(&name)))
				add_entry(d, symbol.st_value);
		}
	}
}

static int count_call(struct depth *d, uint64_t target, struct calls **ret)
{
	int r = 0;

	*ret = map_get(&d->calls, &target);
	if (!*ret && d->calls.n < MAX_CALLED)
		r = map_put(&d->calls, &target, (void **)ret);
	if (*ret)
		(*ret)->n++;
	return r;
}

/* It is known to, or a third of its calls are the last instruction of their function. */
static bool never_returns(const struct depth *d, uint64_t target)
{
	const struct calls *calls = target ? map_get(&d->calls, &target) : NULL;
	uint32_t position = position_of(d, target);

	if (position != NOWHERE && bit(d->endless, position))
		return true;
	return calls && calls->n_last >= MIN_LAST_CALLS && calls->n_last >= calls->n / 3;
}

/* One instruction behind the other. Where data lies between them, this finds its way back after a few. */
static int add_targets_of_calls_in(struct depth *d, const struct gap *g)
{
	struct calls *last = NULL;           /* of the call just met, and padding at most */
	bool is_padded = false;

	for (uint32_t at = g->position; at < end_of(g);) {
		uint64_t address = address_of(g, at);
		struct unwind_instruction instruction;

		if (unwind_instruction_skim(bytes_from(d, g, at), address, &instruction))
			set_bit(d->begun, at);
		else
			instruction = (struct unwind_instruction){ .length = 1 };
		at += instruction.length;
		if (last && instruction.kind == UNWIND_INSTRUCTION_PADDING) {
			is_padded = true;
			continue;
		}
		if (last)
			last->n_last += is_padded && address % 16 == 0;
		last = NULL;
		is_padded = false;
		/* A call of what follows asks for its own address. */
		if (instruction.kind != UNWIND_INSTRUCTION_CALL || instruction.target == address + instruction.length)
			continue;
		add_entry(d, instruction.target);
		if (count_call(d, instruction.target, &last) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_targets_of_calls(struct depth *d)
{
	int r = 0;

	for (size_t i = 0; i < d->gaps.n && r >= 0; i++)
		r = add_targets_of_calls_in(d, &d->gaps.at[i]);
	return r;
}

/* --- Reading a function --- */

/* Constants and tables that registers hold, as far as one can say without states; what comes of it is checked. */
struct switches {
	uint64_t constants[UNWIND_N_REGISTERS], tables[UNWIND_N_REGISTERS];
};

/* The last at a position or before it; 0 when there is none. */
static uint32_t last_entry(const struct depth *d, uint32_t position)
{
	uint32_t word = position / 64;
	uint64_t left = d->entries[word] & UINT64_MAX >> (63 - position % 64);

	for (; !left && word; left = d->entries[word])
		word--;
	return left ? word * 64 + 63 - (uint32_t)__builtin_clzll(left) : 0;
}

static uint32_t next_entry(const struct depth *d, uint32_t position)
{
	uint32_t word = position / 64;
	uint64_t left = d->entries[word] & (UINT64_MAX - 1) << position % 64;

	for (; !left && word < d->n_positions / 64; left = d->entries[word])
		word++;
	return left ? word * 64 + (uint32_t)__builtin_ctzll(left) : d->n_positions;
}

/* Entries are distances from the table, or addresses. They end with the first that leads to no instruction of the function. */
static int read_switch(struct depth *d, struct step *step, uint64_t table, bool is_relative)
{
	struct function *f = &d->f;
	/* Which may not be where this function begins: it may have jumped there. */
	uint32_t start = last_entry(d, step->position), end = next_entry(d, step->position);
	size_t size = is_relative ? 4 : 8;
	uint64_t offset;
	struct reader r;

	if (!table || !elf_image_offset_of_address(d->image, table, &offset))
		return 0;
	r = elf_image_bytes_at(d->image, table, SIZE_MAX);
	step->first_target = (uint32_t)f->targets.n;
	for (size_t i = 0; i < MAX_TABLE && reader_left(&r) >= size && f->targets.n < MAX_INSTRUCTIONS; i++) {
		uint64_t address = is_relative ? table + (uint64_t)(int64_t)reader_i32(&r) : reader_u64(&r);
		uint32_t target = position_of(d, address);

		if (target == NOWHERE || target <= start || target >= end || !bit(d->begun, target))
			break;
		if (vec_push(&f->targets, target) < 0 || vec_push(&f->work, target) < 0)
			return -ENOMEM;
		step->n_targets++;
	}
	return 0;
}

static int learn(struct depth *d, struct switches *known, struct step *step)
{
	const struct unwind_instruction *i = &step->i;
	uint64_t table;

	for (uint16_t left = i->written; left; left &= (uint16_t)(left - 1))
		known->tables[__builtin_ctz(left)] = 0;
	switch (i->kind) {
	case UNWIND_INSTRUCTION_CONSTANT:
		known->constants[i->reg] = i->target;
		known->tables[i->reg] = 0;
		return 0;
	case UNWIND_INSTRUCTION_TABLE:
		known->tables[i->reg] = known->constants[i->base];
		return 0;
	case UNWIND_INSTRUCTION_ADD:
		if (!known->tables[i->reg])
			known->tables[i->reg] = known->tables[i->base];
		return 0;
	case UNWIND_INSTRUCTION_SET:
		known->constants[i->reg] = i->displacement ? 0 : known->constants[i->base];
		known->tables[i->reg] = i->displacement ? 0 : known->tables[i->base];
		return 0;
	case UNWIND_INSTRUCTION_LOAD:
		known->tables[i->reg] = 0;
		return 0;
	case UNWIND_INSTRUCTION_JUMP_INDIRECT:
		table = i->reg == NO_REGISTER ? 0 : known->tables[i->reg];
		return i->target ? read_switch(d, step, i->target, false) : read_switch(d, step, table, true);
	default:
		return 0;
	}
}

static bool ends_way(enum unwind_instruction_kind kind)
{
	return kind == UNWIND_INSTRUCTION_JUMP || kind == UNWIND_INSTRUCTION_JUMP_INDIRECT || kind == UNWIND_INSTRUCTION_RETURN ||
		kind == UNWIND_INSTRUCTION_STOP;
}

static bool is_call(enum unwind_instruction_kind kind)
{
	return kind == UNWIND_INSTRUCTION_CALL || kind == UNWIND_INSTRUCTION_CALL_INDIRECT;
}

/* Whether the function goes on there: not into another one, and a guess not into what is known. */
static bool is_inside(const struct depth *d, uint32_t position)
{
	return position == d->f.start || (!bit(d->entries, position) && !(d->f.is_guess && d->rules[position]));
}

/* Straight on from a position, up to where nothing follows or all has been read. */
static int read_way(struct depth *d, uint32_t at, struct switches *known)
{
	struct function *f = &d->f;
	const struct gap *g = gap_of(d, at);
	bool is_behind_call = false;

	while (at < end_of(g) && is_inside(d, at) && !bit(d->seen, at)) {
		struct step step = { .position = at, .next = NOWHERE, .to = NOWHERE, .target = NOWHERE, .block = NOWHERE };

		if (f->steps.n == MAX_INSTRUCTIONS || !d->n_steps)
			return -E2BIG;
		d->n_steps--;
		if (!unwind_instruction_decode(bytes_from(d, g, at), address_of(g, at), &step.i)) {
			f->n_bad += !is_behind_call;
			return 0;
		}
		set_bit(d->seen, at);
		if (step.i.kind == UNWIND_INSTRUCTION_CALL && step.i.target == address_of(g, at) + step.i.length) {
			step.i.kind = UNWIND_INSTRUCTION_PUSH;
			step.i.target = 0;
		}
		if (learn(d, known, &step) < 0)
			return -ENOMEM;
		if (step.i.kind == UNWIND_INSTRUCTION_JUMP || step.i.kind == UNWIND_INSTRUCTION_BRANCH)
			step.target = position_of(d, step.i.target);
		if (step.target != NOWHERE && is_inside(d, step.target) && vec_push(&f->work, step.target) < 0)
			return -ENOMEM;
		if (vec_push(&f->steps, step) < 0)
			return -ENOMEM;
		if (ends_way(step.i.kind))
			return 0;
		is_behind_call = is_call(step.i.kind);
		at += step.i.length;
	}
	f->n_bad += at >= end_of(g) && !is_behind_call;
	return 0;
}

static int compare_steps(const void *pa, const void *pb)
{
	const struct step *a = pa, *b = pb;

	return (a->position > b->position) - (a->position < b->position);
}

static uint32_t step_at(const struct function *f, uint32_t position)
{
	size_t low = 0, high = f->steps.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (f->steps.at[middle].position < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low < f->steps.n && f->steps.at[low].position == position ? (uint32_t)low : NOWHERE;
}

static uint32_t behind(const struct step *s)
{
	return s->position + s->i.length;
}

static void lead(struct function *f, uint32_t step, bool is_target)
{
	if (step == NOWHERE)
		return;
	f->steps.at[step].is_leader = true;
	f->steps.at[step].is_target |= is_target;
}

static void skip_padding_behind_call(struct function *f, struct step *call)
{
	while (call->next != NOWHERE && f->steps.at[call->next].i.kind == UNWIND_INSTRUCTION_PADDING) {
		call->next = f->steps.at[call->next].next;
		call->is_padded = true;
	}
}

/* From positions to steps, and blocks of them. */
static int link_steps(struct function *f)
{
	vec_sort(&f->steps, compare_steps);
	for (size_t i = 0; i < f->targets.n; i++) {
		f->targets.at[i] = step_at(f, f->targets.at[i]);
		lead(f, f->targets.at[i], true);
	}
	lead(f, step_at(f, f->start), true);
	for (size_t i = 0; i < f->steps.n; i++) {
		struct step *s = &f->steps.at[i];

		/* What runs into its beginning is another function: a call that does not return, and padding. */
		if (!ends_way(s->i.kind) && behind(s) != f->start)
			s->next = i + 1 < f->steps.n && s[1].position == behind(s) ? (uint32_t)i + 1 : step_at(f, behind(s));
		if (s->target != NOWHERE)
			s->to = step_at(f, s->target);
		lead(f, s->to, true);
		if (s->i.kind == UNWIND_INSTRUCTION_BRANCH)
			lead(f, s->next, false);
	}
	for (size_t i = 0; i < f->steps.n; i++)
		if (is_call(f->steps.at[i].i.kind)) {
			skip_padding_behind_call(f, &f->steps.at[i]);
			lead(f, f->steps.at[i].next, false);
		}
	for (size_t i = 0; i < f->steps.n; i++) {
		struct step *s = &f->steps.at[i];

		if (!s->is_leader)
			continue;
		s->block = (uint32_t)f->blocks.n;
		if (vec_push(&f->blocks, ((struct block){ .first = (uint32_t)i, .parent = NOWHERE })) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void begin_function(struct depth *d, uint32_t start, const struct unwind_state *first, bool is_guess)
{
	struct function *f = &d->f;

	f->start = start;
	f->is_guess = is_guess;
	f->first = *first;
	f->steps.n = f->blocks.n = f->targets.n = f->work.n = f->pending.n = 0;
	f->n_bad = 0;
}

/* -E2BIG: it is too large, or there has been too much already. */
static int read_function(struct depth *d)
{
	struct function *f = &d->f;
	struct switches known = { 0 };
	int r = vec_push(&f->work, f->start);

	while (r >= 0 && f->work.n)
		r = read_way(d, f->work.at[--f->work.n], &known);
	for (size_t i = 0; i < f->steps.n; i++)
		clear_bit(d->seen, f->steps.at[i].position);
	return r < 0 ? r : link_steps(f);
}

/* --- Following it --- */

/* Behind padding, nothing else leads to what follows, and it lies where functions do. */
static bool is_last_call(const struct depth *d, const struct step *call)
{
	const struct step *next;

	if (call->next == NOWHERE || never_returns(d, call->i.target))
		return true;
	next = &d->f.steps.at[call->next];
	return call->is_padded && !next->is_target && address_of(gap_of(d, next->position), next->position) % 16 == 0;
}

static int enter(struct function *f, uint32_t block, bool is_behind_call, uint32_t parent, const struct unwind_state *state)
{
	struct block *b = &f->blocks.at[block];

	b->in = *state;
	b->is_reached = b->is_queued = true;
	b->is_behind_call = is_behind_call;
	b->parent = parent;
	return vec_push(&f->work, block);
}

/* A way from one block to another; 0, -ENOMEM, or -EAGAIN: a call that was followed does not return. */
static int go(struct function *f, uint32_t from, uint32_t to, const struct unwind_state *state, struct step *behind_call)
{
	struct block *b = &f->blocks.at[to];
	bool are_different = false;
	struct unwind_state in;

	if (!b->is_reached)
		return enter(f, to, behind_call, behind_call ? from : f->blocks.at[from].parent, state);
	in = b->in;
	if (!unwind_value_is_same(in.at[SP], state->at[SP]) && in.at[SP].kind == UNWIND_VALUE_CFA &&
	    state->at[SP].kind == UNWIND_VALUE_CFA) {
		if (behind_call && b->parent != from) {
			behind_call->does_not_return = true;
			return 0;
		}
		if (!behind_call && b->is_behind_call && f->may_restart) {
			/* The only call that leads there. */
			for (uint32_t i = f->blocks.at[b->parent].first; i != NOWHERE; i = f->steps.at[i].next)
				if (f->steps.at[i].next == b->first && is_call(f->steps.at[i].i.kind)) {
					f->steps.at[i].does_not_return = true;
					return -EAGAIN;
				}
		}
		are_different = true;
	}
	if (!behind_call)
		b->is_behind_call = false;
	unwind_state_meet(&in, *state);
	f->n_disagree += are_different && unwind_state_rule(&in).cfa == UNWIND_CFA_UNKNOWN;
	if (!memcmp(&in, &b->in, sizeof(in)))
		return 0;
	b->in = in;
	if (b->is_queued)
		return 0;
	b->is_queued = true;
	return vec_push(&f->work, to);
}

static int go_to_step(struct function *f, uint32_t from, uint32_t step, const struct unwind_state *state)
{
	return step == NOWHERE ? 0 : go(f, from, f->steps.at[step].block, state, NULL);
}

/* Its last step; *state is then what is behind it. */
static uint32_t go_through(struct depth *d, uint32_t block, struct unwind_state *state)
{
	const struct function *f = &d->f;
	uint32_t i = f->blocks.at[block].first;

	*state = f->blocks.at[block].in;
	for (;;) {
		const struct step *s = &f->steps.at[i];

		d->n_steps -= d->n_steps > 0;
		unwind_state_apply(state, &s->i, i);
		if (ends_way(s->i.kind) || s->next == NOWHERE || f->steps.at[s->next].is_leader)
			return i;
		i = s->next;
	}
}

/*
 * A return that finds the stack as deep as it was at a call: what follows that call is another function, which leaves the
 * stack as it found it. The first such call.
 */
static int blame_call(struct function *f, uint32_t block, struct unwind_value sp)
{
	struct step *guilty = NULL;

	for (uint32_t b = f->blocks.at[block].parent; b != NOWHERE; b = f->blocks.at[b].parent)
		if (unwind_value_is_same(f->blocks.at[b].call_sp, sp))
			for (uint32_t i = f->blocks.at[b].first; i != NOWHERE; i = f->steps.at[i].next)
				if (is_call(f->steps.at[i].i.kind)) {
					guilty = &f->steps.at[i];
					break;
				}
	if (!guilty || !f->may_restart || guilty->does_not_return)
		return 0;
	guilty->does_not_return = true;
	return -EAGAIN;
}

static int go_back(struct function *f, uint32_t block, const struct unwind_state *state)
{
	if (unwind_value_is_same(state->at[SP], unwind_state_fresh.at[SP])) {
		f->n_ends++;
		return 0;
	}
	f->n_unbalanced++;
	return state->at[SP].kind == UNWIND_VALUE_CFA ? blame_call(f, block, state->at[SP]) : 0;
}

/* Out of the function by a jump: with the stack as it was, to another one. */
static void leave(struct depth *d, uint32_t target, const struct unwind_state *state)
{
	struct function *f = &d->f;
	bool is_back = unwind_value_is_same(state->at[SP], unwind_state_fresh.at[SP]);

	/* A guess that leads to what is known: they have to agree. */
	if (f->is_guess && target != NOWHERE && !bit(d->entries, target)) {
		struct unwind_rule rule = unwind_state_rule(state), known;

		if (!d->rules[target])
			return;
		known = d->all_rules.at[d->rules[target] - 1];
		is_back = known.cfa == rule.cfa && known.reg == rule.reg && known.offset == rule.offset;
	}
	if (is_back)
		f->n_ends++;
	else
		f->n_unbalanced++;
}

static int jump_indirectly(struct depth *d, uint32_t block, const struct step *s, const struct unwind_state *state)
{
	struct function *f = &d->f;
	int r = 0;

	for (uint32_t i = 0; i < s->n_targets && r >= 0; i++)
		r = go_to_step(f, block, f->targets.at[s->first_target + i], state);
	if (s->n_targets || r < 0)
		return r;
	if (f->has_unknown_jump)
		unwind_state_meet(&f->at_unknown_jump, *state);
	else
		f->at_unknown_jump = *state;
	f->has_unknown_jump = true;
	/* By a register: of a switch more often than to another function, when it is not known that this is one. */
	if (unwind_value_is_same(f->first.at[SP], unwind_state_fresh.at[SP]))
		f->n_ends += unwind_value_is_same(state->at[SP], unwind_state_fresh.at[SP]) && (!f->is_guess || s->i.reg == NO_REGISTER);
	else
		f->n_ends += unwind_value_is_same(state->at[SP], f->first.at[SP]);
	return 0;
}

static int follow_block(struct depth *d, uint32_t block)
{
	struct function *f = &d->f;
	struct block *b = &f->blocks.at[block];
	struct unwind_state state;
	uint32_t last;
	struct step *s;
	int r;

	b->is_queued = false;
	last = go_through(d, block, &state);
	s = &f->steps.at[last];
	switch (s->i.kind) {
	case UNWIND_INSTRUCTION_CALL: case UNWIND_INSTRUCTION_CALL_INDIRECT:
		b->call_sp = state.at[SP];
		if (b->is_pending || s->next == NOWHERE)
			return 0;
		b->is_pending = true;
		return vec_push(&f->pending, block);
	case UNWIND_INSTRUCTION_JUMP: case UNWIND_INSTRUCTION_BRANCH:
		if (s->to == NOWHERE)
			leave(d, s->target, &state);
		r = go_to_step(f, block, s->to, &state);
		return r < 0 ? r : go_to_step(f, block, s->next, &state);
	case UNWIND_INSTRUCTION_JUMP_INDIRECT:
		return jump_indirectly(d, block, s, &state);
	case UNWIND_INSTRUCTION_RETURN:
		return go_back(f, block, &state);
	case UNWIND_INSTRUCTION_STOP:
		return 0;
	default:
		if (s->next == NOWHERE)
			leave(d, behind(s), &state);
		return go_to_step(f, block, s->next, &state);
	}
}

static int follow_call(struct depth *d, uint32_t block)
{
	struct function *f = &d->f;
	struct unwind_state state;
	struct step *call;

	f->blocks.at[block].is_pending = false;
	call = &f->steps.at[go_through(d, block, &state)];
	if (call->does_not_return || is_last_call(d, call))
		return 0;
	return go(f, block, f->steps.at[call->next].block, &state, call);
}

/* What is behind calls comes last: then it is known which places are reached in other ways. */
static int follow_once(struct depth *d)
{
	struct function *f = &d->f;
	int r;

	for (size_t i = 0; i < f->blocks.n; i++)
		f->blocks.at[i] = (struct block){ .first = f->blocks.at[i].first, .parent = NOWHERE };
	f->work.n = f->pending.n = 0;
	f->n_disagree = f->n_unbalanced = f->n_ends = 0;
	f->has_unknown_jump = false;
	r = enter(f, f->steps.at[step_at(f, f->start)].block, false, NOWHERE, &f->first);
	while (r >= 0 && d->n_steps) {
		if (f->work.n)
			r = follow_block(d, f->work.at[--f->work.n]);
		else if (f->pending.n)
			r = follow_call(d, f->pending.at[--f->pending.n]);
		else
			return 0;
	}
	return r < 0 ? r : -E2BIG;
}

static int follow(struct depth *d)
{
	int r = -EAGAIN;

	for (unsigned i = 0; r == -EAGAIN; i++) {
		d->f.may_restart = i < MAX_RESTARTS;
		r = follow_once(d);
	}
	return r;
}

/* --- Telling --- */

/* Its number + 1, or -ENOMEM. */
static int number_rule(struct depth *d, const struct unwind_rule *rule)
{
	uint16_t *number;
	int r = map_put(&d->rule_numbers, rule, (void **)&number);

	if (r < 0)
		return r;
	if (r > 0) {
		if (d->all_rules.n == MAX_RULES) {
			map_remove(&d->rule_numbers, rule);
			return 1;
		}
		if (vec_push(&d->all_rules, *rule) < 0)
			return -ENOMEM;
		*number = (uint16_t)d->all_rules.n;
	}
	return *number;
}

/* Two functions that share code and find it at different depths leave it unknown. */
static int tell(struct depth *d)
{
	const struct function *f = &d->f;

	for (size_t b = 0; b < f->blocks.n; b++) {
		struct unwind_state state = f->blocks.at[b].in;

		if (!f->blocks.at[b].is_reached)
			continue;
		for (uint32_t i = f->blocks.at[b].first;;) {
			const struct step *s = &f->steps.at[i];
			struct unwind_rule rule = unwind_state_rule(&state);
			int number = number_rule(d, &rule);

			if (number < 0)
				return number;
			if (d->rules[s->position] && d->rules[s->position] != number)
				number = 1;
			d->rules[s->position] = (uint16_t)number;
			unwind_state_apply(&state, &s->i, i);
			i = s->next;
			if (i == NOWHERE || f->steps.at[i].is_leader)
				break;
		}
	}
	return 0;
}

/* What a function that needs its stack begins with; code amid a function seldom does. */
static bool begins_function(const struct unwind_instruction *i)
{
	return i->kind == UNWIND_INSTRUCTION_PUSH ||
		(i->kind == UNWIND_INSTRUCTION_SET && i->reg == SP && i->base == SP && i->displacement < 0);
}

/* One that ends nowhere only calls what does not return. */
static bool is_believed(const struct function *f)
{
	if (f->n_bad || f->n_disagree || f->n_unbalanced)
		return false;
	return f->n_ends || begins_function(&f->steps.at[step_at(f, f->start)].i);
}

static void note_endless(struct depth *d)
{
	const struct function *f = &d->f;

	if (f->is_guess || f->n_bad || f->n_ends || f->n_unbalanced || f->has_unknown_jump || bit(d->endless, f->start))
		return;
	set_bit(d->endless, f->start);
	d->is_endless_new = true;
}

/* 0 whether something was told or not, -ENOMEM. */
static int take_function(struct depth *d, uint32_t start, const struct unwind_state *first, bool is_guess)
{
	struct function *f = &d->f;
	int r;

	d->n_steps -= MIN(d->n_steps, (uint64_t)STEPS_PER_FUNCTION);
	begin_function(d, start, first, is_guess);
	r = read_function(d);
	if (!r && f->steps.n)
		r = follow(d);
	if (r || !f->steps.n || (is_guess && !is_believed(f)))
		return r == -ENOMEM ? r : 0;
	note_endless(d);
	if (f->has_unknown_jump && !is_guess && vec_push(&d->open, ((struct open_function){ start, f->at_unknown_jump })) < 0)
		return -ENOMEM;
	return tell(d);
}

static int take_entries_once(struct depth *d)
{
	for (uint32_t word = 0; word <= d->n_positions / 64; word++)
		for (uint64_t left = d->entries[word]; left; left &= left - 1) {
			int r = take_function(d, word * 64 + (uint32_t)__builtin_ctzll(left), &unwind_state_fresh, false);

			if (r < 0)
				return r;
		}
	return 0;
}

static int take_entries(struct depth *d)
{
	int r;

	for (unsigned i = 0;; i++) {
		d->is_endless_new = false;
		r = take_entries_once(d);
		if (r < 0 || !d->is_endless_new || i + 1 == MAX_PASSES)
			return r;
		memset(d->rules, 0, d->n_positions * sizeof(*d->rules));
		d->open.n = 0;
	}
}

/* --- What nothing leads to --- */

/* Behind the padding at `at`. */
static uint32_t skip_padding(const struct depth *d, const struct gap *g, uint32_t at)
{
	while (at < end_of(g) && !d->rules[at]) {
		struct reader bytes = bytes_from(d, g, at);
		struct unwind_instruction i;

		if (bytes.data[0] == 0)
			at++;
		else if (unwind_instruction_skim(bytes, address_of(g, at), &i) && i.kind == UNWIND_INSTRUCTION_PADDING)
			at += i.length;
		else
			break;
	}
	return at;
}

/* Behind the next jump or return. */
static uint32_t skip_way(const struct depth *d, const struct gap *g, uint32_t at)
{
	while (at < end_of(g) && !d->rules[at]) {
		struct unwind_instruction i;

		if (!unwind_instruction_skim(bytes_from(d, g, at), address_of(g, at), &i))
			i = (struct unwind_instruction){ .length = 1 };
		at += i.length;
		if (ends_way(i.kind) || i.kind == UNWIND_INSTRUCTION_PADDING)
			break;
	}
	return at;
}

static uint32_t skip_told(const struct depth *d, const struct gap *g, uint32_t at)
{
	struct unwind_instruction i;

	if (!unwind_instruction_skim(bytes_from(d, g, at), address_of(g, at), &i))
		return at + 1;
	return at + i.length;
}

/* In a function whose switch could not be read: what nothing else leads to belongs to it. */
static const struct open_function *find_open(const struct depth *d, uint32_t entry)
{
	size_t low = 0, high = d->open.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (d->open.at[middle].start < entry)
			low = middle + 1;
		else
			high = middle;
	}
	return low < d->open.n && d->open.at[low].start == entry ? &d->open.at[low] : NULL;
}

static int take_rest_of_gap(struct depth *d, const struct gap *g)
{
	struct open_function open;
	bool is_open = false;
	int r = 0;

	for (uint32_t at = g->position; at < end_of(g) && r >= 0 && d->n_steps;) {
		if (bit(d->entries, at)) {
			const struct open_function *found = find_open(d, at);

			is_open = found;
			if (found)
				open = *found;
		}
		if (d->rules[at]) {
			at = skip_told(d, g, at);
			continue;
		}
		at = skip_padding(d, g, at);
		if (at >= end_of(g) || d->rules[at])
			continue;
		if (is_open)
			r = take_function(d, at, &open.state, true);
		if (r >= 0 && !d->rules[at]) {
			r = take_function(d, at, &unwind_state_fresh, true);
			if (d->rules[at]) {
				is_open = d->f.has_unknown_jump;
				open.state = d->f.at_unknown_jump;
			}
		}
		if (r >= 0 && !d->rules[at])
			at = skip_way(d, g, at);
	}
	return r;
}

static int take_rest(struct depth *d)
{
	for (size_t i = 0; i < d->gaps.n; i++) {
		int r = take_rest_of_gap(d, &d->gaps.at[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

/* --- All of it --- */

static int take_gaps(struct depth *d, const struct unwind_depth_gap *gaps, size_t n)
{
	for (size_t i = 0; i < n && d->n_positions < UNWIND_DEPTH_MAX_BYTES; i++) {
		struct gap g = { gaps[i].start, gaps[i].end, d->n_positions, 0 };
		struct reader bytes;

		g.end = (uint32_t)MIN((uint64_t)g.end, (uint64_t)g.start + (UNWIND_DEPTH_MAX_BYTES - d->n_positions));
		bytes = reader_part(&d->file, g.start, g.end - g.start);
		if (g.start >= g.end || !reader_ok(&bytes) || !elf_image_address_of_offset(d->image, g.start, &g.address))
			continue;
		if (vec_push(&d->gaps, g) < 0)
			return -ENOMEM;
		d->n_positions += g.end - g.start;
	}
	return 0;
}

static int init(struct depth *d)
{
	static const struct unwind_rule unknown = { .cfa = UNWIND_CFA_UNKNOWN };
	size_t n_words = d->n_positions / 64 + 1;

	d->entries = calloc(n_words, sizeof(*d->entries));
	d->seen = calloc(n_words, sizeof(*d->seen));
	d->begun = calloc(n_words, sizeof(*d->begun));
	d->endless = calloc(n_words, sizeof(*d->endless));
	d->rules = calloc(d->n_positions + 1, sizeof(*d->rules));
	map_init(&d->rule_numbers, sizeof(struct unwind_rule), sizeof(uint16_t));
	map_init(&d->calls, sizeof(uint64_t), sizeof(struct calls));
	if (!d->entries || !d->seen || !d->begun || !d->endless || !d->rules)
		return -ENOMEM;
	return number_rule(d, &unknown) < 0 ? -ENOMEM : 0;
}

static void deinit(struct depth *d)
{
	vec_deinit(&d->gaps);
	vec_deinit(&d->all_rules);
	vec_deinit(&d->open);
	vec_deinit(&d->f.steps);
	vec_deinit(&d->f.blocks);
	vec_deinit(&d->f.targets);
	vec_deinit(&d->f.work);
	vec_deinit(&d->f.pending);
	map_deinit(&d->rule_numbers);
	map_deinit(&d->calls);
	free(d->entries);
	free(d->seen);
	free(d->begun);
	free(d->endless);
	free(d->rules);
}

/* Each instruction's rule holds for all of its bytes, and for padding up to the next one that has a rule. */
static int add_rows_of_gap(const struct depth *d, const struct gap *g, unwind_code_add add, void *userdata)
{
	uint32_t start = g->position;
	uint16_t rule = 0;
	int r;

	for (uint32_t at = g->position; at < end_of(g);) {
		if (d->rules[at] != rule) {
			uint32_t behind_padding = rule && !d->rules[at] ? skip_padding(d, g, at) : end_of(g);

			if (behind_padding < end_of(g) && behind_padding - at <= MAX_PADDING && d->rules[behind_padding]) {
				at = behind_padding;
				continue;
			}
			if (rule) {
				r = add(userdata, g->start + (start - g->position), g->start + (at - g->position), &d->all_rules.at[rule - 1]);
				if (r)
					return r;
			}
			rule = d->rules[at];
			start = at;
		}
		at = rule ? MIN(skip_told(d, g, at), end_of(g)) : at + 1;
	}
	if (!rule)
		return 0;
	return add(userdata, g->start + (start - g->position), g->end, &d->all_rules.at[rule - 1]);
}

static int add_rows(const struct depth *d, unwind_code_add add, void *userdata)
{
	for (size_t i = 0; i < d->gaps.n; i++) {
		int r = add_rows_of_gap(d, &d->gaps.at[i], add, userdata);

		if (r)
			return r;
	}
	return 0;
}

static int find_rules(struct depth *d, const struct elf_image *debug)
{
	int r = init(d);

	if (r < 0)
		return r;
	add_symbols(d, d->image, SHT_SYMTAB);
	add_symbols(d, d->image, SHT_DYNSYM);
	if (debug)
		add_symbols(d, debug, SHT_SYMTAB);
	r = add_targets_of_calls(d);
	if (r >= 0)
		r = take_entries(d);
	return r < 0 ? r : take_rest(d);
}

int unwind_depth_rows(const struct elf_image *image, const struct elf_image *debug, const struct unwind_depth_gap *gaps, size_t n_gaps,
		unwind_code_add add, void *userdata)
{
	struct depth d = { .image = image, .file = elf_image_bytes(image) };
	int r = take_gaps(&d, gaps, n_gaps);

	d.n_steps = MIN((uint64_t)d.n_positions * STEPS_PER_BYTE + MIN_STEPS, UNWIND_DEPTH_MAX_STEPS);
	if (!r && d.gaps.n)
		r = find_rules(&d, debug);
	if (!r && d.gaps.n)
		r = add_rows(&d, add, userdata);
	deinit(&d);
	return r;
}
