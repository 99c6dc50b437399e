/* SPDX-License-Identifier: Apache-2.0 */
/* The format itself, on sections made here. What real files say is compared with elfutils by compare_cfi.c. */
#include <time.h>

#include "cleanup.h"
#include "made_cfi.h"
#include "unwind_cfi.h"

#define SECTION UINT64_C(0x500000)
#define START UINT64_C(0x401000)

enum { EH_FRAME, DEBUG_FRAME };

struct row {
	uint64_t start, end;
	struct unwind_rule rule;
};

struct result {
	VEC(struct row) rows;
	struct unwind_rows_stats stats;
};

static int add(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct result *result = userdata;

	ck_assert_uint_lt(start, end);
	return vec_push(&result->rows, ((struct row){ start, end, *rule }));
}

/* Reads a section and frees its bytes. */
static struct result read_section(struct made *m, bool is_debug_frame)
{
	/* On the heap, of exactly that size. */
	_cleanup_free_ void *bytes = malloc(m->b.n);
	struct unwind_cfi cfi = { reader_of(bytes, m->b.n), SECTION, is_debug_frame, false };
	struct result result = { 0 };

	ck_assert_ptr_nonnull(bytes);
	memcpy(bytes, m->b.at, m->b.n);
	ck_assert_int_eq(unwind_cfi_read(&cfi, add, &result, &result.stats), 0);
	vec_deinit(&m->b);
	return result;
}

/* One function of 100 bytes with that program, behind a usual CIE. */
static struct result read_program(struct program program)
{
	struct made m = { 0 };
	size_t cie = put_cie(&m, RELATIVE, PROGRAM(USUAL_RULES));

	put_fde(&m, cie, SECTION, START, 100, program);
	return read_section(&m, EH_FRAME);
}

static void check_row(const struct result *result, size_t i, uint64_t start, uint64_t end, struct unwind_rule rule)
{
	ck_assert_uint_lt(i, result->rows.n);
	ck_assert_uint_eq(result->rows.at[i].start, START + start);
	ck_assert_uint_eq(result->rows.at[i].end, START + end);
	ck_assert_mem_eq(&result->rows.at[i].rule, &rule, sizeof(rule));
}

static void check_only_rule(struct program program, struct unwind_rule rule)
{
	struct result result = read_program(program);

	ck_assert_uint_eq(result.rows.n, 1);
	check_row(&result, 0, 0, 100, rule);
	ck_assert_uint_eq(result.stats.n_functions, 1);
	ck_assert_uint_eq(result.stats.n_unsupported, rule.cfa == UNWIND_CFA_UNKNOWN);
	ck_assert_uint_eq(result.stats.n_corrupt, 0);
	vec_deinit(&result.rows);
}

/* The first n_rows are told; the rest of the function is not. */
static void check_corrupt(struct program program, size_t n_rows)
{
	struct result result = read_program(program);

	ck_assert_uint_eq(result.rows.n, n_rows);
	ck_assert_uint_eq(result.stats.n_corrupt, 1);
	vec_deinit(&result.rows);
}

#define RSP(plus, ...) ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = 7, .offset = (plus), ##__VA_ARGS__ })
#define UNKNOWN ((struct unwind_rule){ .cfa = UNWIND_CFA_UNKNOWN })

START_TEST(a_function_has_a_row_for_each_push)
{
	/* push %rbp; push %rbx; sub $24,%rsp; ...; ret */
	struct result r = read_program(PROGRAM(DW_CFA_advance_loc | 1, DW_CFA_def_cfa_offset, 16, DW_CFA_offset | 6, 2,
		DW_CFA_advance_loc | 1, DW_CFA_def_cfa_offset, 24, DW_CFA_offset | 3, 3, DW_CFA_advance_loc1, 4, DW_CFA_def_cfa_offset, 48,
		DW_CFA_advance_loc2, 80, 0, DW_CFA_def_cfa_offset, 8, DW_CFA_restore | 3, DW_CFA_restore_extended, 6, DW_CFA_nop));

	ck_assert_uint_eq(r.rows.n, 5);
	check_row(&r, 0, 0, 1, RSP(8));
	check_row(&r, 1, 1, 2, RSP(16, .bp = -2));
	check_row(&r, 2, 2, 6, RSP(24, .bp = -2, .bx = -3));
	check_row(&r, 3, 6, 86, RSP(48, .bp = -2, .bx = -3));
	check_row(&r, 4, 86, 100, RSP(8));
	vec_deinit(&r.rows);
}
END_TEST

START_TEST(a_frame_pointer_is_a_register_like_any)
{
	check_only_rule(PROGRAM(DW_CFA_def_cfa, 6, 16, DW_CFA_offset | 6, 2), (struct unwind_rule){ UNWIND_CFA_REGISTER, 6, -2, 0, { 16 } });
	check_only_rule(PROGRAM(DW_CFA_def_cfa, 10, 0), (struct unwind_rule){ UNWIND_CFA_REGISTER, 10, 0, 0, { 0 } });
	check_only_rule(PROGRAM(DW_CFA_def_cfa_register, 15), (struct unwind_rule){ UNWIND_CFA_REGISTER, 15, 0, 0, { 8 } });
	/* Signed ones are in units of the CIE's factor, -8. */
	check_only_rule(PROGRAM(DW_CFA_def_cfa_sf, 7, 0x7e), RSP(16));
	check_only_rule(PROGRAM(DW_CFA_def_cfa_offset_sf, 0x7c), RSP(32));
	/* What is no register of ours, or too far. */
	check_only_rule(PROGRAM(DW_CFA_def_cfa, 16, 8), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_def_cfa_offset, 0x80, 0x80, 0x80, 0x80, 0x08), UNKNOWN);
}
END_TEST

START_TEST(where_registers_are_kept_is_told_in_words_below_the_cfa)
{
	check_only_rule(PROGRAM(DW_CFA_offset_extended, 6, 126), RSP(8, .bp = -126));
	check_only_rule(PROGRAM(DW_CFA_offset_extended_sf, 3, 4), RSP(8, .bx = -4));
	check_only_rule(PROGRAM(DW_CFA_GNU_negative_offset_extended, 3, 0x7b), RSP(8, .bx = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_same_value, 6), RSP(8));
	check_only_rule(PROGRAM(DW_CFA_expression, 6, 2, DW_OP_breg7, 0x70), RSP(8, .bp = -3));
	check_only_rule(PROGRAM(DW_CFA_offset | 12, 5, DW_CFA_GNU_args_size, 16), RSP(8));
}
END_TEST

START_TEST(what_is_kept_elsewhere_is_nowhere)
{
	check_only_rule(PROGRAM(DW_CFA_offset_extended, 6, 0x7f), RSP(8, .bp = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_undefined, 6), RSP(8, .bp = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_register, 3, 12), RSP(8, .bx = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_val_offset, 6, 2), RSP(8, .bp = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_val_offset_sf, 6, 2), RSP(8, .bp = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_expression, 6, 2, DW_OP_breg6, 8), RSP(8, .bp = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_expression, 6, 2, DW_OP_breg3, 0), RSP(8, .bp = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_val_expression, 3, 2, DW_OP_breg7, 0), RSP(8, .bx = UNWIND_SAVED_NOWHERE));
	/* Above the CFA, and between words. */
	check_only_rule(PROGRAM(DW_CFA_offset_extended_sf, 6, 0x7f), RSP(8, .bp = UNWIND_SAVED_NOWHERE));
	check_only_rule(PROGRAM(DW_CFA_expression, 6, 2, DW_OP_breg7, 0x74), RSP(8, .bp = UNWIND_SAVED_NOWHERE));
}
END_TEST

START_TEST(functions_that_align_their_stack_save_below_rbp)
{
	check_only_rule(PROGRAM(DW_CFA_expression, 6, 2, DW_OP_breg6, 0), RSP(8, .bp = UNWIND_SAVED_AT_BP));
	check_only_rule(PROGRAM(DW_CFA_expression, 3, 2, DW_OP_breg6, 0x68 /* -24 */), RSP(8, .bx = UNWIND_SAVED_AT_BP + 3));
}
END_TEST

START_TEST(without_a_return_address_the_stack_ends)
{
	check_only_rule(PROGRAM(DW_CFA_undefined, 16), (struct unwind_rule){ .cfa = UNWIND_CFA_END });
}
END_TEST

START_TEST(a_return_address_elsewhere_is_not_followed)
{
	check_only_rule(PROGRAM(DW_CFA_offset | 16, 2), UNKNOWN);
	/* As vfork() of glibc has it; not if more than the return address has moved. */
	check_only_rule(PROGRAM(DW_CFA_def_cfa_offset, 0, DW_CFA_register, 16, 5),
			(struct unwind_rule){ UNWIND_CFA_RETURN_REGISTER, 5, 0, 0, { 0 } });
	check_only_rule(PROGRAM(DW_CFA_register, 16, 5, DW_CFA_offset | 3, 2), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_register, 16, 17), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_same_value, 16), UNKNOWN);
}
END_TEST

START_TEST(a_plt_is_recognised)
{
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 11, DW_OP_breg7, 8, DW_OP_breg16, 0, DW_OP_lit15, DW_OP_and, DW_OP_lit11,
		DW_OP_ge, DW_OP_lit3, DW_OP_shl, DW_OP_plus), (struct unwind_rule){ UNWIND_CFA_PLT, 7, 0, 0, { 11 } });
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 11, DW_OP_breg7, 8, DW_OP_breg16, 0, DW_OP_lit15, DW_OP_and, DW_OP_lit9,
		DW_OP_ge, DW_OP_lit3, DW_OP_shl, DW_OP_plus), (struct unwind_rule){ UNWIND_CFA_PLT, 7, 0, 0, { 9 } });
	/* A word more for each bit: nobody does that. */
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 11, DW_OP_breg7, 8, DW_OP_breg16, 0, DW_OP_lit15, DW_OP_and, DW_OP_lit11,
		DW_OP_ge, DW_OP_lit4, DW_OP_shl, DW_OP_plus), UNKNOWN);
}
END_TEST

START_TEST(a_cfa_in_memory_is_followed)
{
	/* GCC's realigned stacks, and those of hand-written assembly. */
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 3, DW_OP_breg6, 0x78, DW_OP_deref),
		(struct unwind_rule){ .cfa = UNWIND_CFA_DEREFERENCE, .reg = 6, .inner = -8 });
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 6, DW_OP_breg7, 0x98, 0x04, DW_OP_deref, DW_OP_plus_uconst, 56),
		(struct unwind_rule){ .cfa = UNWIND_CFA_DEREFERENCE, .reg = 7, .inner = 536, .addend = 56 });
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 5, DW_OP_breg7, 40, DW_OP_deref, DW_OP_lit8, DW_OP_plus),
		(struct unwind_rule){ .cfa = UNWIND_CFA_DEREFERENCE, .reg = 7, .inner = 40, .addend = 8 });
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 2, DW_OP_breg7, 40), RSP(40));
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 6, DW_OP_bregx, 12, 8, DW_OP_const1s, 0xf0, DW_OP_plus),
		(struct unwind_rule){ UNWIND_CFA_REGISTER, 12, 0, 0, { -8 } });
	/* Memory in memory, an offset beyond 16 bits, the sum of two registers, a number, nothing, half an operation. */
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 4, DW_OP_breg6, 8, DW_OP_deref, DW_OP_deref), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 5, DW_OP_breg6, 0x80, 0x80, 0x02, DW_OP_deref), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 5, DW_OP_breg6, 8, DW_OP_breg7, 8, DW_OP_plus), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 1, DW_OP_lit8), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 0), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 2, DW_OP_breg6, 0x80), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 1, DW_OP_plus), UNKNOWN);
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 1, DW_OP_plus_uconst), UNKNOWN);
}
END_TEST

/* As glibc writes it for __restore_rt (sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c): rsp last, where the test changes it. */
#define IN_UCONTEXT(reg, low, high) DW_CFA_expression, reg, 3, DW_OP_breg7, low, high
#define SIGNAL_PROGRAM(bp, sp) PROGRAM(DW_CFA_def_cfa_expression, 4, DW_OP_breg7, 0xa0, 0x01, DW_OP_deref, \
	IN_UCONTEXT(6, bp, 0x00), IN_UCONTEXT(3, 0x80, 0x01), IN_UCONTEXT(16, 0xa8, 0x01), IN_UCONTEXT(7, sp, 0x01))

START_TEST(a_signal_frame_is_recognised_by_all_its_registers)
{
	check_only_rule(SIGNAL_PROGRAM(0xf8, 0xa0), (struct unwind_rule){ .cfa = UNWIND_CFA_SIGNAL });
	check_only_rule(SIGNAL_PROGRAM(0xf0, 0xa0), UNKNOWN);
	check_only_rule(SIGNAL_PROGRAM(0xf8, 0xa8), UNKNOWN);
	/* The return address where it usually is. */
	check_only_rule(PROGRAM(DW_CFA_def_cfa_expression, 4, DW_OP_breg7, 0xa0, 0x01, DW_OP_deref),
		(struct unwind_rule){ .cfa = UNWIND_CFA_DEREFERENCE, .reg = 7, .inner = 160 });
}
END_TEST

START_TEST(a_remembered_row_comes_back)
{
	struct result r = read_program(PROGRAM(DW_CFA_advance_loc | 1, DW_CFA_def_cfa_offset, 16, DW_CFA_offset | 6, 2,
		DW_CFA_remember_state, DW_CFA_advance_loc | 9, DW_CFA_def_cfa_offset, 8, DW_CFA_restore | 6, DW_CFA_advance_loc | 1,
		DW_CFA_restore_state));

	ck_assert_uint_eq(r.rows.n, 4);
	check_row(&r, 2, 10, 11, RSP(8));
	check_row(&r, 3, 11, 100, RSP(16, .bp = -2));
	vec_deinit(&r.rows);
}
END_TEST

START_TEST(programs_that_make_no_sense_end_there)
{
	uint8_t deep[100];

	check_corrupt(PROGRAM(DW_CFA_advance_loc | 1, DW_CFA_restore_state), 1);
	check_corrupt(PROGRAM(DW_CFA_advance_loc | 1, DW_CFA_advance_loc | 1, 0x3f), 2);
	check_corrupt(PROGRAM(DW_CFA_def_cfa_expression, 20, DW_OP_breg7), 0);
	check_corrupt(PROGRAM(DW_CFA_advance_loc4, 1, 0), 0);
	memset(deep, DW_CFA_remember_state, sizeof(deep));
	check_corrupt((struct program){ deep, sizeof(deep) }, 0);
}
END_TEST

START_TEST(a_register_told_after_an_expression_keeps_the_offset_before_it)
{
	struct result r = read_program(PROGRAM(DW_CFA_def_cfa, 0, 56, DW_CFA_def_cfa_expression, 6, DW_OP_breg7, 0x98, 0x04,
		DW_OP_deref, DW_OP_plus_uconst, 56, DW_CFA_advance_loc | 5, DW_CFA_def_cfa_register, 7));

	ck_assert_uint_eq(r.rows.n, 2);
	check_row(&r, 1, 5, 100, RSP(56));
	vec_deinit(&r.rows);
}
END_TEST

START_TEST(rows_end_with_their_function)
{
	struct result r = read_program(PROGRAM(DW_CFA_advance_loc4, 99, 0, 0, 0, DW_CFA_def_cfa_offset, 16, DW_CFA_advance_loc4, 0xff, 0xff,
		0xff, 0xff, DW_CFA_def_cfa_offset, 24, DW_CFA_restore_state));

	ck_assert_uint_eq(r.rows.n, 2);
	check_row(&r, 0, 0, 99, RSP(8));
	check_row(&r, 1, 99, 100, RSP(16));
	ck_assert_uint_eq(r.stats.n_corrupt, 0);
	vec_deinit(&r.rows);
}
END_TEST

START_TEST(addresses_are_encoded_in_many_ways)
{
	static const uint8_t encodings[] = {
		DW_EH_PE_absptr, DW_EH_PE_udata4, DW_EH_PE_sdata4, DW_EH_PE_udata8, DW_EH_PE_sdata8, DW_EH_PE_uleb128,
		DW_EH_PE_pcrel | DW_EH_PE_sdata4, DW_EH_PE_pcrel | DW_EH_PE_sdata8, DW_EH_PE_pcrel | DW_EH_PE_absptr,
	};

	for (size_t i = 0; i < ARRAY_SIZE(encodings); i++) {
		struct made m = { 0 };
		size_t cie = put_cie(&m, encodings[i], PROGRAM(USUAL_RULES)), at = entry_begin(&m);
		unsigned form = encodings[i] & 0x0f;
		uint64_t start;
		struct result r;

		put32(&m, (uint32_t)(m.b.n - cie));
		start = encodings[i] & DW_EH_PE_pcrel ? START - (SECTION + m.b.n) : START;
		if (form == DW_EH_PE_uleb128)
			put_uleb(&m, start);
		else
			put(&m, &start, form == DW_EH_PE_udata4 || form == DW_EH_PE_sdata4 ? 4 : 8);
		if (form == DW_EH_PE_uleb128)
			put_uleb(&m, 100);
		else
			put(&m, &(uint64_t){ 100 }, form == DW_EH_PE_udata4 || form == DW_EH_PE_sdata4 ? 4 : 8);
		put8(&m, 0);
		entry_end(&m, at);
		r = read_section(&m, EH_FRAME);
		ck_assert_uint_eq(r.rows.n, 1);
		check_row(&r, 0, 0, 100, RSP(8));
		vec_deinit(&r.rows);
	}
}
END_TEST

START_TEST(addresses_that_are_not_in_the_file_are_refused)
{
	static const uint8_t encodings[] = { DW_EH_PE_indirect | RELATIVE, DW_EH_PE_textrel | DW_EH_PE_sdata4, DW_EH_PE_datarel | DW_EH_PE_sdata4,
		DW_EH_PE_funcrel | DW_EH_PE_sdata4, DW_EH_PE_omit, 0x0d };

	for (size_t i = 0; i < ARRAY_SIZE(encodings); i++) {
		struct made m = { 0 };
		size_t cie = put_cie(&m, encodings[i], PROGRAM(USUAL_RULES));
		struct result r;

		put_fde(&m, cie, SECTION, START, 100, NO_PROGRAM);
		r = read_section(&m, EH_FRAME);
		ck_assert_uint_eq(r.rows.n, 0);
		ck_assert_uint_eq(r.stats.n_corrupt, 1);
	}
}
END_TEST

/* A CIE with that augmentation, whose data is given, and a function; returns how many rows there are. */
static size_t rows_with_augmentation(const char *augmentation, struct program data, bool has_size)
{
	struct made m = { 0 };
	size_t at = entry_begin(&m), n;
	struct result r;

	put32(&m, 0);
	put8(&m, 1);
	put(&m, augmentation, strlen(augmentation) + 1);
	if (!strcmp(augmentation, "eh"))
		put64(&m, 0x1234);
	put(&m, (const uint8_t[]){ 1, 0x78, 16 }, 3);
	if (has_size)
		put8(&m, (uint8_t)data.n);
	put(&m, data.bytes, data.n);
	put(&m, (const uint8_t[]){ USUAL_RULES }, 5);
	entry_end(&m, at);
	at = entry_begin(&m);
	put32(&m, (uint32_t)m.b.n);
	if (has_size && strchr(augmentation, 'R')) {
		put32(&m, (uint32_t)(START - (SECTION + m.b.n)));
		put32(&m, 100);
	} else {
		put64(&m, START);
		put64(&m, 100);
	}
	if (has_size)
		put8(&m, 0);
	entry_end(&m, at);
	r = read_section(&m, EH_FRAME);
	if (r.rows.n)
		check_row(&r, 0, 0, 100, RSP(8));
	n = r.rows.n;
	ck_assert_uint_eq(r.stats.n_corrupt, !n);
	vec_deinit(&r.rows);
	return n;
}

START_TEST(augmentations_are_read_or_skipped)
{
	ck_assert_uint_eq(rows_with_augmentation("", NO_PROGRAM, false), 1);
	ck_assert_uint_eq(rows_with_augmentation("eh", NO_PROGRAM, false), 1);
	ck_assert_uint_eq(rows_with_augmentation("z", NO_PROGRAM, true), 1);
	ck_assert_uint_eq(rows_with_augmentation("zR", PROGRAM(RELATIVE), true), 1);
	ck_assert_uint_eq(rows_with_augmentation("zRS", PROGRAM(RELATIVE), true), 1);
	ck_assert_uint_eq(rows_with_augmentation("zPLR", PROGRAM(0x9b, 1, 2, 3, 4, 0x1b, RELATIVE), true), 1);
	ck_assert_uint_eq(rows_with_augmentation("zPR", PROGRAM(DW_EH_PE_omit, RELATIVE), true), 1);
	ck_assert_uint_eq(rows_with_augmentation("zRx", PROGRAM(RELATIVE, 1, 2, 3), true), 1);
	/* Unknown without a size; a size that is not there. */
	ck_assert_uint_eq(rows_with_augmentation("x", NO_PROGRAM, false), 0);
	ck_assert_uint_eq(rows_with_augmentation("zP", PROGRAM(DW_EH_PE_absptr, 1), true), 0);
	ck_assert_uint_eq(rows_with_augmentation("zxxxxxxxxxxxxxxxxxxxxxxx", NO_PROGRAM, true), 0);
}
END_TEST

START_TEST(debug_frame_has_its_own_header)
{
	struct made m = { 0 };
	struct result r;
	size_t cie;

	put_debug_fde(&m, 24, START, 10, NO_PROGRAM); /* its CIE comes behind it */
	cie = put_debug_cie(&m, PROGRAM(USUAL_RULES));
	ck_assert_uint_eq(cie, 24);
	put_debug_fde(&m, cie, START + 10, 10, PROGRAM(DW_CFA_set_loc, 15, 0x10, 0x40, 0, 0, 0, 0, 0, DW_CFA_def_cfa_offset, 16));
	/* Version 4 in 64-bit form. */
	cie = m.b.n;
	put32(&m, UINT32_MAX);
	put64(&m, 8 + 7 + 5);
	put64(&m, UINT64_MAX);
	put(&m, (const uint8_t[]){ 4, 0, 8, 0, 1, 0x78, 16, USUAL_RULES }, 12);
	put32(&m, UINT32_MAX);
	put64(&m, 24);
	put64(&m, cie);
	put64(&m, START + 20);
	put64(&m, 80);
	r = read_section(&m, DEBUG_FRAME);
	ck_assert_uint_eq(r.stats.n_corrupt, 0);
	ck_assert_uint_eq(r.rows.n, 4);
	check_row(&r, 0, 0, 10, RSP(8));
	check_row(&r, 1, 10, 15, RSP(8));
	check_row(&r, 2, 15, 20, RSP(16));
	check_row(&r, 3, 20, 100, RSP(8));
	vec_deinit(&r.rows);
}
END_TEST

START_TEST(an_empty_entry_ends_what_has_no_size)
{
	struct made m = { 0 };
	size_t cie = put_cie(&m, RELATIVE, PROGRAM(USUAL_RULES));
	struct unwind_cfi cfi = { .address = SECTION };
	struct result r = { 0 };

	put_fde(&m, cie, SECTION, START, 50, NO_PROGRAM);
	put32(&m, 0);
	put_fde(&m, cie, SECTION, START + 50, 50, NO_PROGRAM);
	cfi.bytes = reader_of(m.b.at, m.b.n);
	cfi.ends_at_zero = true;
	ck_assert_int_eq(unwind_cfi_read(&cfi, add, &r, &r.stats), 0);
	ck_assert_uint_eq(r.rows.n, 1);
	vec_deinit(&r.rows);
	r = read_section(&m, EH_FRAME);
	ck_assert_uint_eq(r.rows.n, 2);
	vec_deinit(&r.rows);
}
END_TEST

START_TEST(an_entry_longer_than_the_section_is_the_last)
{
	struct made m = { 0 };
	size_t cie = put_cie(&m, RELATIVE, PROGRAM(USUAL_RULES));
	struct result r;

	put_fde(&m, cie, SECTION, START, 100, NO_PROGRAM);
	put32(&m, 100);
	r = read_section(&m, EH_FRAME);
	ck_assert_uint_eq(r.rows.n, 1);
	ck_assert_uint_eq(r.stats.n_corrupt, 1);
	vec_deinit(&r.rows);
}
END_TEST

START_TEST(a_function_without_its_cie_is_left_out)
{
	struct made m = { 0 };
	size_t cie = put_cie(&m, RELATIVE, PROGRAM(USUAL_RULES));
	struct result r;

	put_fde(&m, cie + 4, SECTION, START, 100, NO_PROGRAM);         /* amid the CIE */
	put_fde(&m, 10000, SECTION, START, 100, NO_PROGRAM);           /* behind the end */
	put_fde(&m, m.b.n, SECTION, START, 100, NO_PROGRAM);           /* itself */
	put_fde(&m, cie, SECTION, START, 100, NO_PROGRAM);
	r = read_section(&m, EH_FRAME);
	ck_assert_uint_eq(r.rows.n, 1);
	ck_assert_uint_eq(r.stats.n_corrupt, 3);
	vec_deinit(&r.rows);
}
END_TEST

static int stop(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	return ++*(int *)userdata == 2 ? -ENOMEM : 0;
}

START_TEST(it_stops_when_told_to)
{
	struct made m = { 0 };
	size_t cie = put_cie(&m, RELATIVE, PROGRAM(USUAL_RULES));
	struct unwind_rows_stats stats = { 0 };
	struct unwind_cfi cfi = { .address = SECTION };
	int calls = 0;

	put_fde(&m, cie, SECTION, START, 100, PROGRAM(DW_CFA_advance_loc | 1, DW_CFA_advance_loc | 1, DW_CFA_advance_loc | 1));
	cfi.bytes = reader_of(m.b.at, m.b.n);
	ck_assert_int_eq(unwind_cfi_read(&cfi, stop, &calls, &stats), -ENOMEM);
	ck_assert_int_eq(calls, 2);
	vec_deinit(&m.b);
}
END_TEST

START_TEST(long_cies_named_by_turns_take_bounded_time)
{
	/* 100 of 20 KiB, more than are kept, each named 500 times: 1 GB if each were read again. */
	enum { N_CIES = 100, N_TURNS = 500 };
	_cleanup_free_ uint8_t *nops = calloc(1, 20000);
	struct made m = { 0 };
	size_t cies[N_CIES];
	clock_t start;
	struct result r;

	for (unsigned i = 0; i < N_CIES; i++)
		cies[i] = put_cie(&m, RELATIVE, (struct program){ nops, 20000 });
	for (unsigned i = 0; i < N_TURNS * N_CIES; i++)
		put_fde(&m, cies[i % N_CIES], SECTION, START, 100, NO_PROGRAM);
	start = clock();
	r = read_section(&m, EH_FRAME);
	ck_assert_int_lt((clock() - start) / CLOCKS_PER_SEC, 3);
	ck_assert_uint_gt(r.stats.n_corrupt, 0);
	ck_assert_uint_eq(r.stats.n_corrupt + r.rows.n, N_TURNS * N_CIES);
	vec_deinit(&r.rows);
}
END_TEST

UNIT_TESTS("unwind_cfi", a_function_has_a_row_for_each_push, a_frame_pointer_is_a_register_like_any,
	where_registers_are_kept_is_told_in_words_below_the_cfa, what_is_kept_elsewhere_is_nowhere,
	functions_that_align_their_stack_save_below_rbp,
	without_a_return_address_the_stack_ends, a_return_address_elsewhere_is_not_followed, a_plt_is_recognised,
	a_cfa_in_memory_is_followed, a_signal_frame_is_recognised_by_all_its_registers, a_remembered_row_comes_back,
	programs_that_make_no_sense_end_there, a_register_told_after_an_expression_keeps_the_offset_before_it,
	rows_end_with_their_function, addresses_are_encoded_in_many_ways, addresses_that_are_not_in_the_file_are_refused,
	augmentations_are_read_or_skipped, debug_frame_has_its_own_header, an_empty_entry_ends_what_has_no_size,
	an_entry_longer_than_the_section_is_the_last, a_function_without_its_cie_is_left_out, it_stops_when_told_to,
	long_cies_named_by_turns_take_bounded_time)
