/* SPDX-License-Identifier: Apache-2.0 */
#include "cleanup.h"
#include "elf_image.h"
#include "made_cfi.h"
#include "unwind_depth.h"

/* What nothing is said of. */
#define SILENT ((struct unwind_rule){ .cfa = UNWIND_N_CFAS })
#define UNKNOWN ((struct unwind_rule){ .cfa = UNWIND_CFA_UNKNOWN })
#define RSP(plus, ...) ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .offset = (plus), ##__VA_ARGS__ })
#define RBP(plus, ...) ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_BP, .offset = (plus), ##__VA_ARGS__ })
#define FRAME(...) RBP(16, .bp = -2, ##__VA_ARGS__)

/* From this byte of the code on. */
struct row {
	uint32_t at;
	struct unwind_rule rule;
};

struct rows {
	VEC(struct row) v;
};

static int add(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct rows *rows = userdata;
	struct row *last = rows->v.n ? &rows->v.at[rows->v.n - 1] : NULL;

	ck_assert_uint_ge(start, CODE);
	ck_assert_uint_lt(start, end);
	/* The last one says where the one before ends. */
	if (last)
		ck_assert_uint_ge(start - CODE, last->at);
	if (last && last->at == start - CODE)
		rows->v.n--;
	ck_assert_int_ge(vec_push(&rows->v, ((struct row){ (uint32_t)(start - CODE), *rule })), 0);
	ck_assert_int_ge(vec_push(&rows->v, ((struct row){ (uint32_t)(end - CODE), SILENT })), 0);
	return 0;
}

static struct rows rows_of_file(const struct made_file *file)
{
	struct unwind_depth_gap gap = { CODE, (uint32_t)(CODE + file->code_size) };
	struct made m = make_file(file);
	struct rows rows = { 0 };
	struct elf_image *image;

	ck_assert_int_eq(elf_image_open_memory(m.b.at, m.b.n, &image), 0);
	ck_assert_int_eq(unwind_depth_rows(image, NULL, &gap, 1, add, &rows), 0);
	elf_image_free(image);
	vec_deinit(&m.b);
	return rows;
}

static void check_rows(const struct rows *rows, const struct row *wanted, size_t n)
{
	for (size_t i = 0; i < n && i < rows->v.n; i++) {
		const struct unwind_rule *rule = &rows->v.at[i].rule;

		ck_assert_msg(rows->v.at[i].at == wanted[i].at && !memcmp(rule, &wanted[i].rule, sizeof(*rule)),
			"row %zu is at 0x%x, wanted at 0x%x: cfa %u reg %u offset %d bp %d bx %d", i, rows->v.at[i].at, wanted[i].at,
			rule->cfa, rule->reg, rule->offset, rule->bp, rule->bx);
	}
	ck_assert_uint_eq(rows->v.n, n);
}

static void check_code(struct program code, const struct row *wanted, size_t n)
{
	struct rows rows = rows_of_file(&(struct made_file){ .code = code.bytes, .code_size = code.n });

	check_rows(&rows, wanted, n);
	vec_deinit(&rows.v);
}

#define WANTED(...) (struct row[]){ __VA_ARGS__ }, sizeof((struct row[]){ __VA_ARGS__ }) / sizeof(struct row)

/* A call of code at `to` from `at`, both within the code. */
#define CALL(at, to) 0xe8, (uint8_t)((to) - (at) - 5), (uint8_t)(((to) - (at) - 5) >> 8), (uint8_t)(((to) - (at) - 5) >> 16), (uint8_t)(((to) - (at) - 5) >> 24)
#define PUSH_RBX 0x53
#define PUSH_RBP 0x55
#define PUSH_R12 0x41, 0x54
#define POP_RBX 0x5b
#define POP_RBP 0x5d
#define POP_R12 0x41, 0x5c
#define SUB_RSP(n) 0x48, 0x83, 0xec, (n)
#define ADD_RSP(n) 0x48, 0x83, 0xc4, (n)
#define MOV_RSP_RBP 0x48, 0x89, 0xe5
#define XOR_EBX 0x31, 0xdb
#define XOR_EBP 0x31, 0xed
#define TEST_EDI 0x85, 0xff
#define JE(n) 0x74, (uint8_t)(n)
#define JMP(n) 0xeb, (uint8_t)(n)
#define LEAVE 0xc9
#define RET 0xc3
#define NOP 0x90
#define SYSCALL 0x0f, 0x05
#define UD2 0x0f, 0x0b

START_TEST(each_push_and_pop_counts)
{
	check_code(PROGRAM(PUSH_R12, PUSH_RBP, PUSH_RBX, SUB_RSP(16), XOR_EBX, XOR_EBP, ADD_RSP(16), POP_RBX, POP_RBP, POP_R12, RET),
		WANTED({ 0, RSP(8) }, { 2, RSP(16) }, { 3, RSP(24, .bp = -3) }, { 4, RSP(32, .bp = -3, .bx = -4) },
			{ 8, RSP(48, .bp = -3, .bx = -4) }, { 16, RSP(32, .bp = -3, .bx = -4) }, { 17, RSP(24, .bp = -3) },
			{ 18, RSP(16) }, { 20, RSP(8) }, { 21, SILENT }));
}
END_TEST

START_TEST(a_frame_pointer_is_used_once_it_is_set)
{
	check_code(PROGRAM(PUSH_RBP, MOV_RSP_RBP, SUB_RSP(32), 0x89, 0x7d, 0xfc /* mov %edi,-4(%rbp) */, LEAVE, RET),
		WANTED({ 0, RSP(8) }, { 1, RSP(16, .bp = -2) }, { 4, FRAME() }, { 12, RSP(8) }, { 13, SILENT }));
}
END_TEST

START_TEST(enter_is_push_and_mov_and_sub)
{
	check_code(PROGRAM(0xc8, 0x20, 0, 0, LEAVE, RET), WANTED({ 0, RSP(8) }, { 4, FRAME() }, { 5, RSP(8) }, { 6, SILENT }));
}
END_TEST

/* As gcc 4 did, into the red zone. */
START_TEST(registers_saved_by_mov_are_found)
{
	check_code(PROGRAM(0x48, 0x89, 0x5c, 0x24, 0xf0 /* mov %rbx,-16(%rsp) */, 0x48, 0x89, 0x6c, 0x24, 0xf8 /* mov %rbp,-8(%rsp) */,
			SUB_RSP(24), XOR_EBX, XOR_EBP, 0x48, 0x8b, 0x5c, 0x24, 0x08 /* mov 8(%rsp),%rbx */,
			0x48, 0x8b, 0x6c, 0x24, 0x10 /* mov 16(%rsp),%rbp */, ADD_RSP(24), RET),
		WANTED({ 0, RSP(8) }, { 14, RSP(32, .bp = -2, .bx = -3) }, { 32, RSP(8) }, { 33, SILENT }));
}
END_TEST

START_TEST(both_sides_of_a_branch_are_followed)
{
	/* test; je 1f; push rbx; pop rbx; ret; 1: push rax; pop rcx; ret */
	check_code(PROGRAM(TEST_EDI, JE(3), PUSH_RBX, POP_RBX, RET, 0x50, 0x59, RET),
		WANTED({ 0, RSP(8) }, { 5, RSP(16, .bx = -2) }, { 6, RSP(8) }, { 8, RSP(16) }, { 9, RSP(8) }, { 10, SILENT }));
}
END_TEST

START_TEST(a_loop_ends)
{
	/* push rbx; 1: test; je 2f; jmp 1b; 2: pop rbx; ret */
	check_code(PROGRAM(PUSH_RBX, TEST_EDI, JE(2), JMP(-6), POP_RBX, RET),
		WANTED({ 0, RSP(8) }, { 1, RSP(16, .bx = -2) }, { 8, RSP(8) }, { 9, SILENT }));
}
END_TEST

START_TEST(a_jump_to_another_function_ends_this_one)
{
	/* 0: call 16; jmp 16; 16: push rbx; pop rbx; ret */
	check_code(PROGRAM(PUSH_RBX, CALL(1, 16), POP_RBX, JMP(7), 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, PUSH_RBX, POP_RBX, RET),
		WANTED({ 0, RSP(8) }, { 1, RSP(16, .bx = -2) }, { 7, RSP(8) }, { 17, RSP(16, .bx = -2) }, { 18, RSP(8) }, { 19, SILENT }));
}
END_TEST

/* 0: sub; test; je 1f; call 32; 1 (at another depth): ... */
START_TEST(a_call_does_not_return_to_where_others_are_at_another_depth)
{
	check_code(PROGRAM(TEST_EDI, JE(9), SUB_RSP(8), CALL(8, 32), /* 13 */ PUSH_RBX, POP_RBX, RET, [31] = NOP, UD2),
		WANTED({ 0, RSP(8) }, { 8, RSP(16) }, { 13, RSP(8) }, { 14, RSP(16, .bx = -2) }, { 15, RSP(8) }, { 34, SILENT }));
}
END_TEST

/* What is behind the call is a function that nothing calls: its return would find 16 bytes too many. */
START_TEST(a_function_behind_a_call_is_not_its_callers)
{
	check_code(PROGRAM(PUSH_RBX, CALL(1, 32), /* 6 */ 0x50, 0x59, RET, [31] = NOP, 0x0f, 0x05, JMP(-4)),
		WANTED({ 0, RSP(8) }, { 1, RSP(16, .bx = -2) }, { 6, RSP(8) }, { 7, RSP(16) }, { 8, RSP(8) }, { 36, SILENT }));
}
END_TEST

START_TEST(alloca_is_followed_by_the_frame_pointer)
{
	check_code(PROGRAM(PUSH_RBP, MOV_RSP_RBP, PUSH_RBX, 0x48, 0x29, 0xc4 /* sub %rax,%rsp */, XOR_EBX, 0x48, 0x8b, 0x5d, 0xf8 /* mov -8(%rbp),%rbx */, LEAVE, RET),
		WANTED({ 0, RSP(8) }, { 1, RSP(16, .bp = -2) }, { 4, FRAME() }, { 5, FRAME(.bx = -3) }, { 15, RSP(8) }, { 16, SILENT }));
}
END_TEST

START_TEST(alloca_without_a_frame_pointer_is_unknown)
{
	/* 0: call 8; ret; 8: push rbx; sub rax,rsp; nop; ret, which nobody can follow */
	check_code(PROGRAM(0x50, CALL(1, 8), 0x59, RET, PUSH_RBX, 0x48, 0x29, 0xc4, NOP, RET),
		WANTED({ 0, RSP(8) }, { 1, RSP(16) }, { 7, RSP(8) }, { 9, RSP(16, .bx = -2) }, { 12, UNKNOWN }, { 14, SILENT }));
}
END_TEST

START_TEST(a_realigned_stack_is_found_by_the_frame_pointer)
{
	check_code(PROGRAM(PUSH_RBP, MOV_RSP_RBP, 0x48, 0x83, 0xe4, 0xe0 /* and $-32,%rsp */, SUB_RSP(32), LEAVE, RET),
		WANTED({ 0, RSP(8) }, { 1, RSP(16, .bp = -2) }, { 4, FRAME() }, { 13, RSP(8) }, { 14, SILENT }));
}
END_TEST

/* gcc's way of a realigned stack with arguments on it, or with alloca: the CFA is kept in the frame. */
START_TEST(a_realigned_stack_is_found_by_a_copy_of_the_cfa)
{
	static const struct unwind_rule by_rbp = { .cfa = UNWIND_CFA_DEREFERENCE, .reg = UNWIND_REGISTER_BP, .inner = -8, .bp = 1 };
	struct unwind_rule by_rbp_with_rbx = by_rbp;

	by_rbp_with_rbx.bx = 3;
	check_code(PROGRAM(0x4c, 0x8d, 0x54, 0x24, 8 /* lea 8(%rsp),%r10 */, 0x48, 0x83, 0xe4, 0xe0 /* and $-32,%rsp */,
			0x41, 0xff, 0x72, 0xf8 /* push -8(%r10) */, PUSH_RBP, MOV_RSP_RBP, 0x41, 0x52 /* push %r10 */, PUSH_RBX,
			/* 20 */ 0x48, 0x29, 0xc4 /* sub %rax,%rsp */, XOR_EBX, 0x48, 0x8d, 0x65, 0xf0 /* lea -16(%rbp),%rsp */, POP_RBX,
			/* 30 */ 0x41, 0x5a /* pop %r10 */, POP_RBP, 0x49, 0x8d, 0x62, 0xf8 /* lea -8(%r10),%rsp */, RET),
		WANTED({ 0, RSP(8) }, { 9, ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = 10 }) },
			/* At 14 rbp is pushed, but it does not lead there yet. */
			{ 17, ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = 10, .bp = 1 }) }, { 19, by_rbp }, { 20, by_rbp_with_rbx },
			{ 30, by_rbp }, { 32, ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = 10, .bp = 1 }) },
			{ 33, ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = 10 }) }, { 37, RSP(8) }, { 38, SILENT }));
}
END_TEST

START_TEST(where_ways_disagree_is_unknown)
{
	/* 0: call 8; ret; 8: test; je 1f; push rax; 1: nop; ret */
	check_code(PROGRAM(0x50, CALL(1, 8), 0x59, RET, TEST_EDI, JE(1), 0x50, NOP, RET),
		WANTED({ 0, RSP(8) }, { 1, RSP(16) }, { 7, RSP(8) }, { 13, UNKNOWN }, { 15, SILENT }));
}
END_TEST

START_TEST(where_ways_disagree_the_frame_pointer_holds)
{
	check_code(PROGRAM(PUSH_RBP, MOV_RSP_RBP, TEST_EDI, JE(1), 0x50, NOP, LEAVE, RET),
		WANTED({ 0, RSP(8) }, { 1, RSP(16, .bp = -2) }, { 4, FRAME() }, { 11, RSP(8) }, { 12, SILENT }));
}
END_TEST

START_TEST(a_stack_from_elsewhere_is_unknown)
{
	/* longjmp: mov (%rdi),%rsp; jmp *8(%rdi) */
	check_code(PROGRAM(0x50, CALL(1, 8), 0x59, RET, 0x48, 0x8b, 0x27, 0xff, 0x67, 8),
		WANTED({ 0, RSP(8) }, { 1, RSP(16) }, { 7, RSP(8) }, { 11, UNKNOWN }, { 14, SILENT }));
}
END_TEST

/* vfork(2) of musl: pop %rdx; syscall; push %rdx; ret */
START_TEST(a_return_address_that_was_taken_off_is_unknown)
{
	check_code(PROGRAM(0x5a, SYSCALL, 0x52, RET), WANTED({ 0, RSP(8) }, { 1, UNKNOWN }, { 4, RSP(8) }, { 5, SILENT }));
}
END_TEST

START_TEST(a_register_that_is_overwritten_unsaved_is_nowhere)
{
	check_code(PROGRAM(XOR_EBX, XOR_EBP, RET),
		WANTED({ 0, RSP(8) }, { 2, RSP(8, .bx = UNWIND_SAVED_NOWHERE) }, { 4, RSP(8, .bx = UNWIND_SAVED_NOWHERE, .bp = UNWIND_SAVED_NOWHERE) },
			{ 5, SILENT }));
}
END_TEST

START_TEST(what_does_not_return_the_stack_is_not_believed)
{
	/* Nothing leads there: data, perhaps. */
	check_code(PROGRAM(PUSH_RBX, PUSH_RBP, RET), NULL, 0);
	check_code(PROGRAM(0x06 /* no instruction */, RET), NULL, 0);
	check_code(PROGRAM(PUSH_RBX, PUSH_RBX, PUSH_RBX), NULL, 0);
}
END_TEST

/* lea table(%rip),%rax; movslq (%rax,%rdi,4),%rdx; add %rax,%rdx; jmp *%rdx */
START_TEST(the_cases_of_a_switch_are_followed)
{
	struct made_file file = { .code_size = 48 };
	uint64_t table = first_section(&file);
	int32_t to_table = (int32_t)(table - (ADDRESS + CODE + 8));
	uint8_t code[48] = { PUSH_RBX, 0x48, 0x8d, 0x05, 0, 0, 0, 0, /* 8 */ 0x48, 0x63, 0x14, 0xb8, 0x48, 0x01, 0xc2, 0xff, 0xe2, /* 17 */ 0xcc,
		/* 18 */ POP_RBX, RET, 0xcc, /* 21 */ NOP, POP_RBX, RET };
	int32_t entries[3] = { (int32_t)(ADDRESS + CODE + 18 - table), (int32_t)(ADDRESS + CODE + 21 - table), INT32_MAX };
	struct rows rows;

	memcpy(code + 4, &to_table, sizeof(to_table));
	file.code = code;
	file.sections[0] = (struct made_section){ .name = ".rodata", .bytes = entries, .size = sizeof(entries) };
	rows = rows_of_file(&file);
	check_rows(&rows, WANTED({ 0, RSP(8) }, { 1, RSP(16, .bx = -2) }, { 19, RSP(8) }, { 21, RSP(16, .bx = -2) }, { 23, RSP(8) },
		{ 24, SILENT }));
	vec_deinit(&rows.v);
}
END_TEST

START_TEST(symbols_say_where_functions_begin)
{
	/* The second one's return leaves a push behind: honest, when a symbol says that it is a function. */
	static const uint8_t code[] = { PUSH_RBX, POP_RBX, RET, /* 3 */ 0x50, RET };
	Elf64_Sym symbols[] = {
		{ 0 },
		{ .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = 1, .st_value = ADDRESS + CODE + 3 },
		{ .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), .st_shndx = 1, .st_value = ADDRESS + CODE + 1 },
		{ .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = 1, .st_value = UINT64_MAX },
	};
	struct made_file file = { .code = code, .code_size = sizeof(code),
		.sections = { { .name = ".symtab", .bytes = symbols, .size = sizeof(symbols), .type = SHT_SYMTAB } } };
	struct rows rows = rows_of_file(&file);

	check_rows(&rows, WANTED({ 0, RSP(8) }, { 1, RSP(16, .bx = -2) }, { 2, RSP(8) }, { 4, RSP(16) }, { 5, SILENT }));
	vec_deinit(&rows.v);
}
END_TEST

/* Each instruction's own bytes are left whole or cut; nothing is read behind them (sanitizers and valgrind would tell). */
START_TEST(damaged_code_is_survived)
{
	static const uint8_t code[] = { PUSH_RBP, MOV_RSP_RBP, PUSH_RBX, SUB_RSP(24), TEST_EDI, JE(7), CALL(13, 32), JMP(-9), 0x48, 0x8b, 0x5d, 0xf8,
		LEAVE, RET, NOP, NOP, NOP, NOP, NOP, PUSH_R12, POP_R12, RET };

	for (size_t n = 1; n <= sizeof(code); n++) {
		struct rows rows = rows_of_file(&(struct made_file){ .code = code, .code_size = n });

		vec_deinit(&rows.v);
	}
	for (size_t i = 0; i < sizeof(code); i++)
		for (unsigned value = 0; value < 256; value += 5) {
			uint8_t damaged[sizeof(code)];
			struct rows rows;

			memcpy(damaged, code, sizeof(code));
			damaged[i] = (uint8_t)value;
			rows = rows_of_file(&(struct made_file){ .code = damaged, .code_size = sizeof(damaged) });
			vec_deinit(&rows.v);
		}
}
END_TEST

START_TEST(no_more_code_is_looked_at_than_the_limit)
{
	size_t n = UNWIND_DEPTH_MAX_BYTES + 4096;
	_cleanup_free_ uint8_t *code = malloc(n);
	struct rows rows;

	ck_assert_ptr_nonnull(code);
	memset(code, 0xcc, n);
	code[0] = code[UNWIND_DEPTH_MAX_BYTES - 16] = code[UNWIND_DEPTH_MAX_BYTES] = RET;
	rows = rows_of_file(&(struct made_file){ .code = code, .code_size = n });
	check_rows(&rows, WANTED({ 0, RSP(8) }, { 1, SILENT }, { UNWIND_DEPTH_MAX_BYTES - 16, RSP(8) }, { UNWIND_DEPTH_MAX_BYTES - 15, SILENT }));
	vec_deinit(&rows.v);
}
END_TEST

START_TEST(padding_belongs_to_what_is_before_it_data_does_not)
{
	uint8_t code[512] = { PUSH_RBX, POP_RBX, RET, [16] = PUSH_RBX, POP_RBX, RET, [256] = RET };
	struct rows rows = rows_of_file(&(struct made_file){ .code = code, .code_size = sizeof(code) });

	check_rows(&rows, WANTED({ 0, RSP(8) }, { 1, RSP(16, .bx = -2) }, { 2, RSP(8) }, { 17, RSP(16, .bx = -2) }, { 18, RSP(8) }, { 19, SILENT },
		{ 256, RSP(8) }, { 257, SILENT }));
	vec_deinit(&rows.v);
}
END_TEST

START_TEST(gaps_are_looked_at_and_nothing_else)
{
	static const uint8_t code[] = { PUSH_RBX, POP_RBX, RET, 0xcc, PUSH_RBX, POP_RBX, RET, 0xcc, PUSH_RBX, POP_RBX, RET };
	struct unwind_depth_gap gaps[] = { { CODE, CODE + 4 }, { CODE + 8, CODE + 11 }, { UINT32_MAX - 2, UINT32_MAX } };
	struct made m = make_file(&(struct made_file){ .code = code, .code_size = sizeof(code) });
	struct rows rows = { 0 };
	struct elf_image *image;

	ck_assert_int_eq(elf_image_open_memory(m.b.at, m.b.n, &image), 0);
	ck_assert_int_eq(unwind_depth_rows(image, NULL, gaps, ARRAY_SIZE(gaps), add, &rows), 0);
	check_rows(&rows, WANTED({ 0, RSP(8) }, { 1, RSP(16, .bx = -2) }, { 2, RSP(8) }, { 3, SILENT }, { 8, RSP(8) }, { 9, RSP(16, .bx = -2) },
		{ 10, RSP(8) }, { 11, SILENT }));
	elf_image_free(image);
	vec_deinit(&rows.v);
	vec_deinit(&m.b);
}
END_TEST

UNIT_TESTS("unwind_depth",
	each_push_and_pop_counts, a_frame_pointer_is_used_once_it_is_set, enter_is_push_and_mov_and_sub, registers_saved_by_mov_are_found,
	both_sides_of_a_branch_are_followed, a_loop_ends, a_jump_to_another_function_ends_this_one,
	a_call_does_not_return_to_where_others_are_at_another_depth, a_function_behind_a_call_is_not_its_callers,
	alloca_is_followed_by_the_frame_pointer, alloca_without_a_frame_pointer_is_unknown,
	a_realigned_stack_is_found_by_the_frame_pointer, a_realigned_stack_is_found_by_a_copy_of_the_cfa,
	where_ways_disagree_is_unknown, where_ways_disagree_the_frame_pointer_holds, a_stack_from_elsewhere_is_unknown,
	a_return_address_that_was_taken_off_is_unknown, a_register_that_is_overwritten_unsaved_is_nowhere,
	what_does_not_return_the_stack_is_not_believed, the_cases_of_a_switch_are_followed, symbols_say_where_functions_begin,
	damaged_code_is_survived, no_more_code_is_looked_at_than_the_limit, padding_belongs_to_what_is_before_it_data_does_not,
	gaps_are_looked_at_and_nothing_else)
