/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind_go.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "cleanup.h"
#include "elf_image.h"
#include "gopclntab.h"
#include "vec.h"

DEFINE_CLEANUP(struct gopclntab, gopclntab_free);

/* In a function rsp changes a few times; generated ones of a megabyte some thousand times. */
#define MAX_SPANS 65536U

/* Code in which rsp is `depth` below its value at the function's entry. Offsets from that entry. */
struct span {
	uint32_t start, end;
	int32_t depth;
};

struct function {
	struct gopclntab_function table;
	struct reader code;
	VEC(struct span) spans;
	/* What its first instructions say; offsets from the entry. */
	bool saves_bp;
	uint32_t saved_at;                   /* from here on rbp is saved at CFA - 16 */
	uint32_t set_at;                     /* from here on rbp points there */
	int8_t bx;                           /* called by C: where rbx is saved, as in unwind_rule; 0: it is not */
	uint32_t bx_at;                      /* from here on */
	bool is_injected;                    /* a signal handler lets other code look as if it called it */
};

struct builder {
	uint64_t text, text_end;             /* of the segment that the code is in: addresses, and its place in the file */
	uint64_t text_offset;
	uint64_t next;                       /* address: functions behind are still to come */
	int32_t cgocall_depth;               /* of runtime.cgocall where it calls asmcgocall; 0: unknown */
	/* A row that is not told yet, as the next one may continue it. */
	uint64_t start, end;
	struct unwind_rule rule;
	void (*add)(void *userdata, uint64_t start_offset, uint64_t end_offset, const struct unwind_rule *rule);
	void *userdata;
};

/* --- rows ----------------------------------------------------------------------------------------------------- */

static void flush(struct builder *b)
{
	if (b->start < b->end)
		b->add(b->userdata, b->start, b->end, &b->rule);
	b->start = b->end;
}

/* The rule of a part of a function. */
static void row(struct builder *b, const struct function *f, uint32_t start, uint32_t end, struct unwind_rule rule)
{
	uint64_t at = f->table.start - b->text + b->text_offset;

	if (start >= end)
		return;
	if (f->is_injected)
		rule.reg |= UNWIND_CALLER_INTERRUPTED;
	if (b->end == at + start && !memcmp(&b->rule, &rule, sizeof(rule))) {
		b->end = at + end;
		return;
	}
	flush(b);
	b->start = at + start;
	b->end = at + end;
	b->rule = rule;
}

static const struct unwind_rule rule_end = { .cfa = UNWIND_CFA_END };
static const struct unwind_rule rule_unknown = { .cfa = UNWIND_CFA_UNKNOWN };
static const struct unwind_rule rule_signal = { .cfa = UNWIND_CFA_SIGNAL };

/* Go code does not keep rbx for its callers; what C calls does. */
static int8_t rule_bx(const struct function *f, uint32_t at, int32_t depth)
{
	if (!f->bx)
		return UNWIND_SAVED_NOWHERE;
	return depth > 0 && at >= f->bx_at ? f->bx : UNWIND_SAVED_SAME;
}

/* rbp and rbx are those of the caller until they are saved. */
static struct unwind_rule rule_by_depth(const struct function *f, uint32_t at, int32_t depth)
{
	if (depth < 0 || depth > INT32_MAX - 8)
		return rule_unknown;
	return (struct unwind_rule){
		.cfa = UNWIND_CFA_REGISTER,
		.reg = UNWIND_REGISTER_SP,
		.bp = f->saves_bp && depth > 0 && at >= f->saved_at ? -2 : UNWIND_SAVED_SAME,
		.bx = rule_bx(f, at, depth),
		.offset = depth + 8,
	};
}

/* rbp points at where the caller's is saved, below the return address. */
static struct unwind_rule rule_by_frame(const struct function *f, uint32_t at)
{
	return (struct unwind_rule){
		.cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_BP, .bp = -2, .bx = rule_bx(f, at, 8), .offset = 16,
	};
}

/* [start, end) of the function by its depths. */
static void rows_by_depth(struct builder *b, const struct function *f, uint32_t start, uint32_t end)
{
	for (size_t i = 0; i < f->spans.n; i++) {
		const struct span *span = &f->spans.at[i];
		uint32_t from = MAX(span->start, start), to = MIN(span->end, end), bp, bx;

		if (from >= to)
			continue;
		/* Saved in this order. */
		bp = MIN(MAX(f->saved_at, from), to);
		bx = MIN(MAX(f->bx_at, bp), to);
		row(b, f, from, bp, rule_by_depth(f, from, span->depth));
		row(b, f, bp, bx, rule_by_depth(f, bp, span->depth));
		row(b, f, bx, to, rule_by_depth(f, bx, span->depth));
	}
}

/* --- code ----------------------------------------------------------------------------------------------------- */

static bool code_is(const struct function *f, uint32_t at, const void *bytes, size_t n)
{
	return at <= f->code.size && n <= f->code.size - at && !memcmp(f->code.data + at, bytes, n);
}

static uint32_t code_u32(const struct function *f, uint32_t at)
{
	struct reader r = f->code;

	reader_seek(&r, at);
	return reader_u32(&r);
}

/* The length of OPCODE offset(rsp), rbp, whose ModRM is 2c, 6c or ac, 24; 0 when there is another instruction. */
static uint32_t bp_with_slot(const struct function *f, uint32_t at, uint8_t opcode, int32_t offset)
{
	const uint8_t none[] = { 0x48, opcode, 0x2c, 0x24 }, byte[] = { 0x48, opcode, 0x6c, 0x24, (uint8_t)offset };
	const uint8_t word[] = { 0x48, opcode, 0xac, 0x24 };

	if (offset == 0 && code_is(f, at, none, sizeof(none)))
		return sizeof(none);
	if (offset < 128 && code_is(f, at, byte, sizeof(byte)))
		return sizeof(byte);
	if (code_is(f, at, word, sizeof(word)) && code_u32(f, at + 4) == (uint32_t)offset)
		return 8;
	return 0;
}

/* PUSH_REGS_HOST_TO_ABI0 of runtime/cgo/abi_amd64.h goes on MOVQ BX, 0(SP) when it has stored rbp at 40(SP). */
static void read_saved_bx(struct function *f, uint32_t at, int32_t depth)
{
	static const uint8_t store_bx[] = { 0x48, 0x89, 0x1c, 0x24 };

	if (!code_is(f, at, store_bx, sizeof(store_bx)))
		return;
	f->bx = -(depth + 8) / 8;
	f->bx_at = at + sizeof(store_bx);
}

/*
 * How the function saves rbp. Where rsp first changes there is either of
 *
 *	PUSHQ BP; MOVQ SP, BP                               since 1.21, and runtime.asyncPreempt
 *	SUBQ $n, SP; MOVQ BP, n-8(SP); LEAQ n-8(SP), BP     until 1.20, and PUSH_REGS_HOST_TO_ABI0 with n 48
 *
 * and a function in which there is neither leaves rbp alone. crosscall2 has both since 1.21.
 */
static void read_prologue(struct function *f)
{
	static const uint8_t push[] = { 0x55 }, move[] = { 0x48, 0x89, 0xe5 };
	uint32_t at, store, lea;
	int32_t depth;

	if (f->spans.n < 2 || f->spans.at[0].depth || f->spans.at[1].depth < 8)
		return;
	at = f->spans.at[1].start;
	depth = f->spans.at[1].depth;
	if (depth == 8 && code_is(f, at - 1, push, sizeof(push))) {
		f->saves_bp = true;
		f->saved_at = at;
		f->set_at = code_is(f, at, move, sizeof(move)) ? at + sizeof(move) : UINT32_MAX;
		if (f->spans.n < 3 || f->spans.at[2].depth != 8 + 48)
			return;
		at = f->spans.at[2].start;
		store = bp_with_slot(f, at, 0x89, 40);
		lea = bp_with_slot(f, at + store, 0x8d, 40);
		if (store && lea)
			read_saved_bx(f, at + store + lea, 8 + 48);
		return;
	}
	store = bp_with_slot(f, at, 0x89, depth - 8);
	if (!store)
		return;
	lea = bp_with_slot(f, at + store, 0x8d, depth - 8);
	f->saves_bp = true;
	f->saved_at = at + store;
	f->set_at = lea ? at + store + lea : UINT32_MAX;
	if (lea && depth == 48)
		read_saved_bx(f, f->set_at, depth);
}

/* The length of an instruction MOVQ ..., SP; 0 when there is another one. */
static uint32_t sets_sp(const struct function *f, uint32_t at)
{
	const uint8_t *code = f->code.data + at;
	uint32_t length;

	if (at > f->code.size || f->code.size - at < 8)
		return 0;
	/* From a register: 48 or 4c, 89, 11 rrr 100. */
	if ((code[0] & 0xfb) == 0x48 && code[1] == 0x89)
		return (code[2] & 0xc7) == 0xc4 ? 3 : 0;
	/* From memory: 48 or 49, 8b, mm 100 rrr, perhaps a SIB byte, an offset of 0, 1 or 4 bytes. */
	if ((code[0] & 0xfe) != 0x48 || code[1] != 0x8b || (code[2] & 0x38) != 0x20)
		return 0;
	length = 3 + ((code[2] & 0xc0) != 0xc0 && (code[2] & 7) == 4);
	switch (code[2] >> 6) {
	case 0:
		return length + ((code[2] & 7) == 5 ? 4 : 0);
	case 1:
		return length + 1;
	case 2:
		return length + 4;
	default:
		return length;
	}
}

/* Where the next MOVQ ..., SP at or behind `at` ends; `end` when there is none. These functions are small and known. */
static uint32_t after_switch(const struct function *f, uint32_t at, uint32_t end)
{
	for (; at < end; at++) {
		uint32_t length = sets_sp(f, at);

		if (length)
			return MIN(at + length, end);
	}
	return end;
}

static uint32_t find_code(const struct function *f, uint32_t at, uint32_t end, const void *bytes, size_t n)
{
	for (; at < end; at++)
		if (code_is(f, at, bytes, n))
			return at;
	return end;
}

static const uint8_t and_sp[] = { 0x48, 0x83, 0xe4, 0xf0 }; /* ANDQ $~15, SP */

/* --- functions that set rsp ----------------------------------------------------------------------------------- */

/* With a frame: by rbp from where it is set until it is the caller's again. */
static void rows_by_frame(struct builder *b, const struct function *f)
{
	for (size_t i = 0; i < f->spans.n; i++) {
		const struct span *span = &f->spans.at[i];
		uint32_t set = MIN(MAX(f->set_at, span->start), span->end), last = span->end;

		if (span->depth <= 0) {
			rows_by_depth(b, f, span->start, span->end);
			continue;
		}
		/* Until 1.20 rbp is loaded back before rsp is added to: that ADDQ is by depth. */
		if (i + 1 < f->spans.n && f->spans.at[i + 1].depth == 0) {
			const uint8_t add_byte[] = { 0x48, 0x83, 0xc4, (uint8_t)span->depth }, add_word[] = { 0x48, 0x81, 0xc4 };

			if (span->end - span->start > 4 && span->depth < 128 && code_is(f, span->end - 4, add_byte, sizeof(add_byte)))
				last = span->end - 4;
			else if (span->end - span->start > 7 && code_is(f, span->end - 7, add_word, sizeof(add_word)))
				last = span->end - 7;
		}
		last = MAX(last, set);
		if (set < f->bx_at)
			set = MIN(f->bx_at, last);
		rows_by_depth(b, f, span->start, set);
		row(b, f, set, last, rule_by_frame(f, set));
		rows_by_depth(b, f, last, span->end);
	}
}

/* The goroutine's stack is left, and nothing on the new one says where it was. */
static void rows_until_switch(struct builder *b, const struct function *f, uint32_t end)
{
	uint32_t at = after_switch(f, 0, end);

	rows_by_depth(b, f, 0, at);
	row(b, f, at, end, rule_end);
}

/* systemstack until 1.20: on the other stack there is only the rbp of the caller's frame: that frame is skipped. */
static void rows_of_systemstack(struct builder *b, const struct function *f, uint32_t end)
{
	uint32_t there = after_switch(f, 0, end), back = after_switch(f, there, end);

	rows_by_depth(b, f, 0, there);
	row(b, f, there, back, rule_by_frame(f, there));
	rows_by_depth(b, f, back, end);
}

/*
 * asmcgocall until 1.20. It switches from a goroutine's stack in its first half: who calls it there is runtime.cgocall, of
 * whose frame rbp and size are known. In the second half, on a system stack, it keeps the old rsp on the stack.
 */
static void rows_of_asmcgocall(struct builder *b, const struct function *f, uint32_t end)
{
	static const uint8_t keep[] = { 0x48, 0x89, 0x54, 0x24 }, keep_0[] = { 0x48, 0x89, 0x14, 0x24 }; /* MOVQ DX, n(SP) */
	uint32_t there = after_switch(f, 0, end), back = after_switch(f, there, end);
	uint32_t aligned = find_code(f, back, end, and_sp, sizeof(and_sp)), last = after_switch(f, aligned, end);
	uint32_t kept = find_code(f, aligned, last, keep, sizeof(keep)), offset = kept < last ? code_u32(f, kept + 4) & 0xff : 0;
	struct unwind_rule by_caller = {
		.cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_BP, .bx = UNWIND_SAVED_NOWHERE, .offset = 8 - b->cgocall_depth,
	};
	struct unwind_rule by_slot = {
		.cfa = UNWIND_CFA_DEREFERENCE, .reg = UNWIND_REGISTER_SP, .bx = UNWIND_SAVED_NOWHERE, .inner = offset, .addend = 8,
	};

	if (kept == last)
		kept = find_code(f, aligned, last, keep_0, sizeof(keep_0));
	rows_by_depth(b, f, 0, there);
	row(b, f, there, back, b->cgocall_depth ? by_caller : rule_by_frame(f, there));
	rows_by_depth(b, f, back, aligned);
	/* In between rsp is neither the old one nor is that kept: by the caller's frame. */
	row(b, f, aligned, kept, rule_by_frame(f, aligned));
	row(b, f, kept, last, by_slot);
	rows_by_depth(b, f, last, end);
}

/* Another one without a frame, which aligns rsp to call C (racecall, sigfwd until 1.20): in the call its caller is skipped. */
static void rows_around_call(struct builder *b, const struct function *f, uint32_t end)
{
	uint32_t aligned = find_code(f, 0, end, and_sp, sizeof(and_sp)), back = aligned, at;

	while ((at = after_switch(f, back, end)) < end)
		back = at;
	rows_by_depth(b, f, 0, aligned);
	row(b, f, aligned, back, rule_by_frame(f, aligned));
	rows_by_depth(b, f, back, end);
}

static bool name_is(const struct function *f, const char *name)
{
	return f->table.name && !strcmp(f->table.name, name);
}

static void rows_of_switch(struct builder *b, const struct function *f, uint32_t end)
{
	/* Who is called there never comes back to the goroutine; clone's switch is that of the new thread. */
	if (name_is(f, "runtime.mcall") || name_is(f, "runtime.morestack") || name_is(f, "runtime.gogo") || name_is(f, "gogo") ||
	    name_is(f, "runtime.clone"))
		rows_until_switch(b, f, end);
	else if (f->saves_bp && f->set_at != UINT32_MAX)
		rows_by_frame(b, f);
	else if (name_is(f, "runtime.systemstack"))
		rows_of_systemstack(b, f, end);
	else if (name_is(f, "runtime.asmcgocall"))
		rows_of_asmcgocall(b, f, end);
	else
		rows_around_call(b, f, end);
}

/* --- functions ------------------------------------------------------------------------------------------------ */

struct collected {
	struct function *f;
	int r;
};

static bool collect_span(void *userdata, uint64_t start, uint64_t end, int32_t depth)
{
	struct collected *collected = userdata;
	struct function *f = collected->f;
	struct span span = { .start = start - f->table.start, .end = end - f->table.start, .depth = depth };

	if (f->spans.n && f->spans.at[f->spans.n - 1].depth == depth) {
		f->spans.at[f->spans.n - 1].end = span.end;
		return true;
	}
	if (f->spans.n >= MAX_SPANS)
		return false;
	collected->r = vec_push(&f->spans, span);
	return !collected->r;
}

/* 0, -ENOMEM, or 1 when there is nothing to tell of it. */
static int function_read(const struct builder *b, const struct gopclntab *tab, const struct elf_image *image, size_t i,
		struct function *f)
{
	struct collected collected = { .f = f };

	f->spans.n = 0;
	f->saves_bp = false;
	f->saved_at = f->set_at = f->bx_at = 0;
	f->bx = 0;
	if (gopclntab_function(tab, i, &f->table) || f->table.start < b->next || f->table.end > b->text_end ||
	    f->table.start == f->table.end)
		return 1;
	f->code = elf_image_bytes_at(image, f->table.start, f->table.end - f->table.start);
	if (!reader_ok(&f->code))
		return 1;
	gopclntab_walk_depths(tab, &f->table, collect_span, &collected);
	if (collected.r)
		return collected.r;
	if (!f->spans.n)
		return 1;
	/* Padding is as what is in front of it. */
	f->spans.at[f->spans.n - 1].end = f->table.end - f->table.start;
	read_prologue(f);
	/* runtime/signal_unix.go doSigPreempt(), signal_amd64.go preparePanic(). */
	f->is_injected = name_is(f, "runtime.asyncPreempt") || name_is(f, "runtime.sigpanic") || name_is(f, "runtime.sigpanic0");
	return 0;
}

static bool is_signal_return(const struct function *f)
{
	return name_is(f, "runtime.sigreturn") || name_is(f, "runtime.sigreturn__sigaction");
}

/*
 * The kernel returns from a handler to its first byte, and who asks about the byte before a return address must find it,
 * too: it is padding, or the end of a function that returned.
 */
static void rows_of_signal_return(struct builder *b, const struct function *f, uint32_t end)
{
	uint64_t at = f->table.start - b->text + b->text_offset;

	if (at && b->end == at && b->start < b->end) {
		b->end--;
		flush(b);
		b->start = at - 1;
		b->end = at;
		b->rule = rule_signal;
	}
	row(b, f, 0, end, rule_signal);
}

static void rows_of_function(struct builder *b, const struct function *f)
{
	uint32_t end = f->table.end - f->table.start;

	/* Where the process begins there is no return address. sigtramp is on top for Go only: it is called by the kernel. */
	if ((f->table.is_top && !name_is(f, "runtime.sigtramp")) || name_is(f, "_rt0_amd64_linux") || name_is(f, "_rt0_amd64"))
		row(b, f, 0, end, rule_end);
	else if (is_signal_return(f))
		rows_of_signal_return(b, f, end);
	else if (f->table.writes_sp)
		rows_of_switch(b, f, end);
	else
		rows_by_depth(b, f, 0, end);
}

/* The deepest that runtime.cgocall is, which is where it calls; 0 when there is no such function. */
static int32_t find_cgocall_depth(const struct builder *b, const struct gopclntab *tab, const struct elf_image *image,
		struct function *f)
{
	int32_t depth = 0;

	for (size_t i = 0; i < gopclntab_n_functions(tab); i++) {
		if (gopclntab_function(tab, i, &f->table) || !name_is(f, "runtime.cgocall") ||
		    function_read(b, tab, image, i, f))
			continue;
		for (size_t j = 0; j < f->spans.n; j++)
			depth = MAX(depth, f->spans.at[j].depth);
		break;
	}
	return depth <= INT16_MAX ? depth : 0;
}

/* The segment that the table's code is in. */
static bool find_text(const struct elf_image *image, const struct gopclntab *tab, struct builder *b)
{
	const struct elf_segment *segments;
	uint64_t start, end;
	size_t n;

	gopclntab_range(tab, &start, &end);
	segments = elf_image_segments(image, &n);
	for (size_t i = 0; i < n; i++) {
		if (segments[i].type != PT_LOAD || !(segments[i].flags & PF_X) || start < segments[i].address ||
		    start - segments[i].address >= segments[i].file_size)
			continue;
		b->text = b->next = segments[i].address;
		b->text_end = segments[i].address + segments[i].file_size;
		b->text_offset = segments[i].offset;
		return b->text_end > b->text;
	}
	return false;
}

int unwind_go_rows(const struct elf_image *image,
	void (*add)(void *userdata, uint64_t start_offset, uint64_t end_offset, const struct unwind_rule *rule), void *userdata)
{
	_cleanup_(gopclntab_free_p) struct gopclntab *tab = NULL;
	struct builder b = { .add = add, .userdata = userdata };
	struct function f = {0};
	int r;

	r = gopclntab_open(image, &tab);
	if (r)
		return r < 0 ? r : UNWIND_GO_E_NONE;
	if (!find_text(image, tab, &b))
		return UNWIND_GO_E_NONE;
	b.cgocall_depth = find_cgocall_depth(&b, tab, image, &f);
	for (size_t i = 0; i < gopclntab_n_functions(tab) && r >= 0; i++) {
		r = function_read(&b, tab, image, i, &f);
		if (r)
			continue;
		rows_of_function(&b, &f);
		b.next = f.table.end;
	}
	flush(&b);
	vec_deinit(&f.spans);
	return MIN(r, 0);
}
