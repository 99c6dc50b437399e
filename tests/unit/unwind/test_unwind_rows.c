/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>

#include <zlib.h>

#include "cleanup.h"
#include "elf_image.h"
#include "made_cfi.h"
#include "unwind_rows.h"

#define START (ADDRESS + CODE)

#define FRAME_POINTER ((struct unwind_rule){ .cfa = UNWIND_CFA_FRAME_POINTER })
#define UNKNOWN ((struct unwind_rule){ .cfa = UNWIND_CFA_UNKNOWN })
#define END ((struct unwind_rule){ .cfa = UNWIND_CFA_END })
#define SIGNAL ((struct unwind_rule){ .cfa = UNWIND_CFA_SIGNAL })
#define PLT(from) ((struct unwind_rule){ .cfa = UNWIND_CFA_PLT, .reg = 7, .offset = (from) })
#define RSP(plus, ...) ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = 7, .offset = (plus), ##__VA_ARGS__ })

static struct unwind_rows build_with(const struct made_file *file, const struct made_file *debug_file)
{
	struct made m = make_file(file), d = { 0 };
	struct elf_image *image, *debug = NULL;
	struct unwind_rows rows = { 0 };

	ck_assert_int_eq(elf_image_open_memory(m.b.at, m.b.n, &image), 0);
	if (debug_file) {
		d = make_file(debug_file);
		ck_assert_int_eq(elf_image_open_memory(d.b.at, d.b.n, &debug), 0);
	}
	ck_assert_int_eq(unwind_rows_build(image, debug, &rows), 0);
	elf_image_free(image);
	elf_image_free(debug);
	vec_deinit(&m.b);
	vec_deinit(&d.b);
	for (size_t i = 1; i < rows.rows.n; i++) {
		ck_assert_uint_lt(rows.rows.at[i - 1].offset, rows.rows.at[i].offset);
		ck_assert_uint_ne(rows.rows.at[i - 1].rule, rows.rows.at[i].rule);
	}
	return rows;
}

static struct unwind_rows build(const struct made_file *file)
{
	return build_with(file, NULL);
}

/* Offsets count from the code's first byte. */
static void check_row(const struct unwind_rows *rows, size_t i, uint32_t offset, struct unwind_rule rule)
{
	ck_assert_uint_lt(i, rows->rows.n);
	ck_assert_uint_eq(rows->rows.at[i].offset, CODE + offset);
	ck_assert_uint_lt(rows->rows.at[i].rule, rows->rules.n);
	ck_assert_mem_eq(&rows->rules.at[rows->rows.at[i].rule], &rule, sizeof(rule));
}

struct function {
	uint32_t start, size;                /* start counts from the code's first byte */
	struct program program;
};

/* .eh_frame has to be the file's first section. */
static struct made eh_frame_of(const struct made_file *file, size_t n, const struct function *functions)
{
	struct made m = { 0 };
	size_t cie = put_cie(&m, RELATIVE, PROGRAM(USUAL_RULES));

	for (size_t i = 0; i < n; i++)
		put_fde(&m, cie, first_section(file), START + functions[i].start, functions[i].size, functions[i].program);
	return m;
}

static struct made debug_frame_of(size_t n, const struct function *functions)
{
	struct made m = { 0 };
	size_t cie = put_debug_cie(&m, PROGRAM(USUAL_RULES));

	for (size_t i = 0; i < n; i++)
		put_debug_fde(&m, cie, START + functions[i].start, functions[i].size, functions[i].program);
	return m;
}

static void set_section(struct made_file *file, size_t i, const char *name, const struct made *m)
{
	file->sections[i] = (struct made_section){ .name = name, .bytes = m->b.at, .size = m->b.n };
}

START_TEST(code_without_description_has_frame_pointers)
{
	struct made_file file = { .code_size = 256 };
	struct unwind_rows rows = build(&file);

	ck_assert_uint_eq(rows.rows.n, 1);
	check_row(&rows, 0, 0, FRAME_POINTER);
	ck_assert_uint_eq(rows.end, CODE + 256);
	ck_assert_uint_eq(rows.rules.n, 2);
	unwind_rows_deinit(&rows);
}
END_TEST

START_TEST(code_without_description_is_followed_where_it_can_be)
{
	/* push %rbx; xor %ebx,%ebx; pop %rbx; ret. The second one is described, wrongly; the third is no function. */
	uint8_t code[64] = { 0x53, 0x31, 0xdb, 0x5b, 0xc3, [16] = 0x53, 0x31, 0xdb, 0x5b, 0xc3, [32] = 0x53, 0xc3 };
	struct made_file file = { .code_size = sizeof(code), .code = code };
	struct made eh = eh_frame_of(&file, 1, (struct function[]){ { 16, 16, PROGRAM(DW_CFA_def_cfa_offset, 80) } });
	struct unwind_rows rows;

	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	check_row(&rows, 0, 0, RSP(8));
	check_row(&rows, 1, 1, RSP(16, .bx = -2));
	check_row(&rows, 2, 4, RSP(8));
	check_row(&rows, 3, 16, RSP(80));
	check_row(&rows, 4, 32, FRAME_POINTER);
	ck_assert_uint_eq(rows.rows.n, 5);
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(padding_before_a_function_belongs_to_the_one_before)
{
	struct made_file file = { .code_size = 256 };
	struct made eh = eh_frame_of(&file, 4, (struct function[]){
		{ 0, 20, PROGRAM(DW_CFA_advance_loc | 1, DW_CFA_def_cfa_offset, 16) }, { 32, 10, NO_PROGRAM },
		{ 50, 14, NO_PROGRAM } /* 42 to 50 is not up to a multiple of 16 */, { 128, 28, NO_PROGRAM } });
	struct unwind_rows rows;

	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	ck_assert_uint_eq(rows.stats.n_functions, 4);
	check_row(&rows, 0, 0, RSP(8));
	check_row(&rows, 1, 1, RSP(16));
	check_row(&rows, 2, 32, RSP(8));
	check_row(&rows, 3, 42, FRAME_POINTER);
	check_row(&rows, 4, 50, RSP(8));
	check_row(&rows, 5, 64, FRAME_POINTER);
	check_row(&rows, 6, 128, RSP(8));
	check_row(&rows, 7, 156, FRAME_POINTER);
	ck_assert_uint_eq(rows.rows.n, 8);
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

/* The whole code is described, in an order that is not the addresses', and neighbours may be equal. */
START_TEST(functions_are_sorted_and_equal_neighbours_are_one)
{
	struct made_file file = { .code_size = 96 };
	struct made eh = eh_frame_of(&file, 3, (struct function[]){
		{ 64, 32, NO_PROGRAM }, { 0, 32, NO_PROGRAM }, { 32, 32, PROGRAM(DW_CFA_advance_loc | 10, DW_CFA_nop) } });
	struct unwind_rows rows;

	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	check_row(&rows, 0, 0, RSP(8));
	ck_assert_uint_eq(rows.rows.n, 1);
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(many_functions_in_any_order_are_sorted)
{
	enum { N = 3000, SIZE = 32 };
	struct made_file file = { .code_size = N * SIZE };
	struct made eh = { 0 };
	struct unwind_rows rows;
	size_t cie = put_cie(&eh, RELATIVE, PROGRAM(USUAL_RULES));

	for (uint32_t i = 0; i < N; i++) {
		uint32_t at = i * 7919 % N;

		/* Of two that begin at the same place the longer one is told first, whichever comes first. */
		put_fde(&eh, cie, first_section(&file), START + at * SIZE, SIZE / 2, PROGRAM(DW_CFA_def_cfa_offset, 8));
		put_fde(&eh, cie, first_section(&file), START + at * SIZE, SIZE,
			PROGRAM(DW_CFA_def_cfa_offset, (uint8_t)(16 + 8 * (at % 8))));
	}
	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	ck_assert_uint_eq(rows.rows.n, N);
	for (uint32_t i = 0; i < N; i++)
		check_row(&rows, i, i * SIZE, RSP(16 + 8 * (int32_t)(i % 8)));
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(only_executable_sections_are_followed)
{
	uint8_t code[64] = { 0x53, 0x5b, 0xc3, [32] = 0x53, 0x5b, 0xc3 };
	struct made_file file = { .code_size = sizeof(code), .code = code,
		.sections = { { .name = ".text", .offset = CODE, .size = 16, .flags = SHF_EXECINSTR },
			{ .name = ".strange", .offset = UINT64_MAX - 8, .size = 16, .flags = SHF_EXECINSTR } } };
	struct unwind_rows rows = build(&file);

	check_row(&rows, 0, 0, RSP(8));
	check_row(&rows, 1, 1, RSP(16, .bx = -2));
	check_row(&rows, 2, 2, RSP(8));
	check_row(&rows, 3, 3, FRAME_POINTER);
	ck_assert_uint_eq(rows.rows.n, 4);
	unwind_rows_deinit(&rows);
}
END_TEST

START_TEST(where_two_functions_overlap_the_first_stays)
{
	struct made_file file = { .code_size = 64 };
	struct made eh = eh_frame_of(&file, 2, (struct function[]){
		{ 0, 32, NO_PROGRAM }, { 16, 48, PROGRAM(DW_CFA_def_cfa_offset, 16, DW_CFA_advance_loc | 24, DW_CFA_def_cfa_offset, 24) } });
	struct unwind_rows rows;

	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	check_row(&rows, 0, 0, RSP(8));
	check_row(&rows, 1, 32, RSP(16));
	check_row(&rows, 2, 40, RSP(24));
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(an_earlier_source_wins)
{
	struct made_file file = { .code_size = 256 }, debug_file = { .code_size = 256 };
	struct made eh = eh_frame_of(&file, 2, (struct function[]){ { 0, 32, NO_PROGRAM }, { 64, 32, NO_PROGRAM } });
	struct made own = debug_frame_of(1, (struct function[]){ { 16, 64, PROGRAM(DW_CFA_def_cfa_offset, 16) } });
	struct made debug = debug_frame_of(1, (struct function[]){ { 0, 128, PROGRAM(DW_CFA_def_cfa_offset, 24) } });
	struct unwind_rows rows;

	set_section(&file, 0, ".eh_frame", &eh);
	set_section(&file, 1, ".debug_frame", &own);
	set_section(&debug_file, 0, ".debug_frame", &debug);
	rows = build_with(&file, &debug_file);
	check_row(&rows, 0, 0, RSP(8));
	check_row(&rows, 1, 32, RSP(16));
	check_row(&rows, 2, 64, RSP(8));
	check_row(&rows, 3, 96, RSP(24));
	check_row(&rows, 4, 128, FRAME_POINTER);
	ck_assert_uint_eq(rows.rows.n, 5);
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
	vec_deinit(&own.b);
	vec_deinit(&debug.b);
}
END_TEST

START_TEST(compressed_debug_frame_is_unpacked)
{
	struct made plain = debug_frame_of(1, (struct function[]){ { 0, 64, NO_PROGRAM } });
	Elf64_Chdr header = { .ch_type = ELFCOMPRESS_ZLIB, .ch_size = plain.b.n, .ch_addralign = 1 };
	uint8_t bytes[1024];
	uLongf n = sizeof(bytes);

	ck_assert_int_eq(compress(bytes, &n, plain.b.at, plain.b.n), Z_OK);
	for (unsigned way = 0; way < 6; way++) {
		struct made_file file = { .code_size = 64 };
		uint64_t size = htobe64(plain.b.n);
		struct made packed = { 0 };
		struct unwind_rows rows;

		header.ch_type = way == 2 ? 2 /* ELFCOMPRESS_ZSTD */ : ELFCOMPRESS_ZLIB;
		header.ch_size = way == 3 ? UINT64_C(1) << 40 : way == 4 ? plain.b.n - 1 : plain.b.n;
		if (way == 1) {
			put(&packed, "ZLIB", 4);
			put64(&packed, size);
		} else {
			put(&packed, &header, sizeof(header));
		}
		put(&packed, bytes, way == 5 ? n / 2 : n);
		set_section(&file, 0, way == 1 ? ".zdebug_frame" : ".debug_frame", &packed);
		file.sections[0].flags = way == 1 ? 0 : SHF_COMPRESSED;
		rows = build(&file);
		/* The last four cannot be unpacked, or claim too much. */
		check_row(&rows, 0, 0, way < 2 ? RSP(8) : FRAME_POINTER);
		ck_assert_uint_eq(rows.stats.n_corrupt, way >= 2);
		unwind_rows_deinit(&rows);
		vec_deinit(&packed.b);
	}
	vec_deinit(&plain.b);
}
END_TEST

START_TEST(a_file_without_section_headers_has_the_same_rows)
{
	struct made_file file = { .code_size = 64, .is_stripped = true };
	struct made eh = eh_frame_of(&file, 1, (struct function[]){ { 0, 64, PROGRAM(DW_CFA_advance_loc | 1, DW_CFA_def_cfa_offset, 16) } });
	struct unwind_rows rows;

	put32(&eh, 0);
	put32(&eh, 0x12345678); /* what lies behind it is something else */
	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	check_row(&rows, 0, 0, RSP(8));
	check_row(&rows, 1, 1, RSP(16));
	ck_assert_uint_eq(rows.stats.n_corrupt, 0);
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(functions_outside_of_code_are_ignored)
{
	struct made_file file = { .code_size = 64 };
	struct made debug = { 0 };
	size_t cie = put_debug_cie(&debug, PROGRAM(USUAL_RULES));
	struct unwind_rows rows;

	put_debug_fde(&debug, cie, 0, 0x10000000, NO_PROGRAM);             /* thrown away by the linker */
	put_debug_fde(&debug, cie, START + 64, 32, NO_PROGRAM);
	put_debug_fde(&debug, cie, START + 32, UINT32_MAX, NO_PROGRAM);    /* ends behind the code */
	put_debug_fde(&debug, cie, START, UINT64_MAX, NO_PROGRAM);         /* wraps around */
	set_section(&file, 0, ".debug_frame", &debug);
	rows = build(&file);
	check_row(&rows, 0, 0, FRAME_POINTER);
	check_row(&rows, 1, 32, RSP(8));
	ck_assert_uint_eq(rows.rows.n, 2);
	ck_assert_uint_eq(rows.end, CODE + 64);
	ck_assert_uint_eq(rows.stats.n_corrupt, 1);
	unwind_rows_deinit(&rows);
	vec_deinit(&debug.b);
}
END_TEST

START_TEST(a_file_without_code_has_no_rows)
{
	struct made_file file = { .code_size = 64, .is_data = true };
	struct made m = make_file(&file);
	struct unwind_rows rows = { 0 };
	struct elf_image *image;

	ck_assert_int_eq(elf_image_open_memory(m.b.at, m.b.n, &image), 0);
	ck_assert_int_eq(unwind_rows_build(image, NULL, &rows), UNWIND_ROWS_E_NONE);
	ck_assert_ptr_null(rows.rows.at);
	elf_image_free(image);
	vec_deinit(&m.b);
}
END_TEST

START_TEST(a_plt_that_nobody_describes_is_told_by_its_bytes)
{
	/* A lazy one: its header, then jmp *; push; jmp. */
	uint8_t code[256] = { [0] = 0xff, [1] = 0x35, [16] = 0xff, [17] = 0x25, [22] = 0x68,
		[64] = 0xf3, [65] = 0x0f, [66] = 0x1e, [67] = 0xfa, [68] = 0xf2, [69] = 0xff, [70] = 0x25 };
	struct made_file file = { .code_size = 256, .code = code, .sections = {
		{ .name = ".plt", .offset = CODE, .size = 64 }, { .name = ".plt.sec", .offset = CODE + 64, .size = 64 } } };
	struct unwind_rows rows = build(&file);

	check_row(&rows, 0, 0, RSP(16));
	check_row(&rows, 1, 6, RSP(24));
	check_row(&rows, 2, 16, PLT(11));
	check_row(&rows, 3, 64, RSP(8));
	check_row(&rows, 4, 128, FRAME_POINTER);
	unwind_rows_deinit(&rows);
	/* In two parts: endbr64; push; jmp. */
	memcpy(code + 16, (const uint8_t[]){ 0xf3, 0x0f, 0x1e, 0xfa, 0x68 }, 5);
	rows = build(&file);
	check_row(&rows, 2, 16, PLT(9));
	unwind_rows_deinit(&rows);
	/* A section that is said to be elsewhere does no harm. */
	memset(code, 0x55, sizeof(code));
	file.sections[0].offset = 0;
	file.sections[0].bytes = code;
	file.sections[1].offset = UINT64_MAX - 10;
	rows = build(&file);
	check_row(&rows, 0, 0, FRAME_POINTER);
	unwind_rows_deinit(&rows);
}
END_TEST

START_TEST(the_entry_point_has_no_caller)
{
	/* musl's: xor %rbp,%rbp; mov %rsp,%rdi; lea (%rip),%rsi; and $-16,%rsp; call */
	static const uint8_t start[] = { 0x48, 0x31, 0xed, 0x48, 0x89, 0xe7, 0x48, 0x8d, 0x35, 1, 2, 3, 4, 0x48, 0x83, 0xe4, 0xf0, 0xe8, 1, 0, 0, 0 };
	uint8_t code[256];
	struct made_file file = { .code_size = 256, .code = code, .entry = START + 64 };
	struct made eh;
	struct unwind_rows rows;

	memset(code, 0x55, sizeof(code));
	memcpy(code + 64, start, sizeof(start));
	rows = build(&file);
	check_row(&rows, 0, 0, FRAME_POINTER);
	check_row(&rows, 1, 64, END);
	check_row(&rows, 2, 64 + sizeof(start), FRAME_POINTER);
	unwind_rows_deinit(&rows);
	/* What it says itself counts. */
	eh = eh_frame_of(&file, 1, (struct function[]){ { 64, 64, NO_PROGRAM } });
	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	check_row(&rows, 1, 64, RSP(8));
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(signal_trampolines_and_starts_of_threads_are_found_in_undescribed_code)
{
	static const uint8_t mov_rax[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 }, mov_eax[] = { 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05 };
	static const uint8_t clone[] = { 0x31, 0xed, 0x5f, 0x41, 0xff, 0xd1, 0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05, 0xf4 };
	uint8_t code[256];
	struct made_file file = { .code_size = 256, .code = code };
	struct made eh;
	struct unwind_rows rows;

	memset(code, 0x90, sizeof(code));
	memcpy(code + 33, mov_rax, sizeof(mov_rax));
	memcpy(code + 81, mov_eax, sizeof(mov_eax));
	memcpy(code + 128, clone, sizeof(clone));
	memcpy(code + 249, mov_eax, 6); /* cut off */
	rows = build(&file);
	check_row(&rows, 0, 0, FRAME_POINTER);
	check_row(&rows, 1, 32, SIGNAL);
	check_row(&rows, 2, 42, FRAME_POINTER);
	check_row(&rows, 3, 80, SIGNAL);
	check_row(&rows, 4, 88, FRAME_POINTER);
	check_row(&rows, 5, 128, END);
	check_row(&rows, 6, 142, FRAME_POINTER);
	ck_assert_uint_eq(rows.rows.n, 7);
	unwind_rows_deinit(&rows);
	eh = eh_frame_of(&file, 1, (struct function[]){ { 64, 192, NO_PROGRAM } });
	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	check_row(&rows, 3, 64, RSP(8));
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(a_context_of_makecontext_has_no_caller_whatever_its_table_says)
{
	static const uint8_t start_context[] = { 0x48, 0x89, 0xdc, 0x48, 0x8b, 0x3c, 0x24, 0x48, 0x85, 0xff, 0x74, 0x08, 0xe8, 1, 2, 3, 4,
		0x48, 0x89, 0xc7, 0xe8, 1, 2, 3, 4, 0xf4 };
	uint8_t code[256];
	struct made_file file = { .code_size = 256, .code = code };
	struct made eh;
	struct unwind_rows rows;

	memset(code, 0x90, sizeof(code));
	memcpy(code + 64, start_context, sizeof(start_context));
	memcpy(code + 240, start_context, 16); /* cut off */
	eh = eh_frame_of(&file, 1, (struct function[]){ { 0, 256, NO_PROGRAM } });
	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	check_row(&rows, 0, 0, RSP(8));
	check_row(&rows, 1, 63, ((struct unwind_rule){ .cfa = UNWIND_CFA_END, .reg = UNWIND_END_NOT_CALLED }));
	check_row(&rows, 2, 64 + sizeof(start_context), RSP(8));
	ck_assert_uint_eq(rows.rows.n, 3);
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(of_too_many_rules_the_rarest_are_unknown)
{
	enum { N = UNWIND_MAX_RULES + 100 };
	struct made_file file = { .code_size = N * 16 };
	struct made eh = { 0 };
	size_t cie = put_cie(&eh, RELATIVE, PROGRAM(USUAL_RULES)), n_unknown = 0;
	struct unwind_rows rows;

	for (unsigned i = 0; i < N; i++) {
		struct made program = { 0 };

		put8(&program, DW_CFA_def_cfa_offset);
		put_uleb(&program, 8 * (i + 1));
		put_fde(&eh, cie, first_section(&file), START + i * 16, 16, (struct program){ program.b.at, program.b.n });
		vec_deinit(&program.b);
	}
	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	ck_assert_uint_eq(rows.rules.n, UNWIND_MAX_RULES);
	for (size_t i = 0; i < rows.rows.n; i++)
		n_unknown += rows.rules.at[rows.rows.at[i].rule].cfa == UNWIND_CFA_UNKNOWN;
	ck_assert_uint_gt(n_unknown, 0);
	ck_assert_uint_eq(rows.stats.n_unsupported, N - (UNWIND_MAX_RULES - 2));
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
}
END_TEST

START_TEST(of_too_many_rows_the_last_are_unknown)
{
	enum { BLOCK = 1024, N = UNWIND_ROWS_MAX + BLOCK };
	uint8_t block[BLOCK][3];
	struct made_file file = { .code_size = N };
	struct made eh = { 0 }, program = { 0 };
	size_t cie = put_cie(&eh, RELATIVE, PROGRAM(USUAL_RULES));
	struct unwind_rows rows;

	for (unsigned i = 0; i < BLOCK; i++)
		memcpy(block[i], (const uint8_t[]){ DW_CFA_advance_loc | 1, DW_CFA_def_cfa_offset, i % 2 ? 8 : 16 }, sizeof(block[i]));
	for (unsigned i = 0; i < N / BLOCK; i++)
		put(&program, block, sizeof(block));
	put_fde(&eh, cie, first_section(&file), START, N, (struct program){ program.b.at, program.b.n });
	set_section(&file, 0, ".eh_frame", &eh);
	rows = build(&file);
	ck_assert_uint_eq(rows.rows.n, UNWIND_ROWS_MAX);
	check_row(&rows, UNWIND_ROWS_MAX - 2, UNWIND_ROWS_MAX - 2, RSP(8));
	check_row(&rows, UNWIND_ROWS_MAX - 1, UNWIND_ROWS_MAX - 1, UNKNOWN);
	ck_assert_uint_ge(rows.stats.n_unsupported, 1000);
	unwind_rows_deinit(&rows);
	vec_deinit(&eh.b);
	vec_deinit(&program.b);
}
END_TEST

UNIT_TESTS("unwind_rows", code_without_description_has_frame_pointers, code_without_description_is_followed_where_it_can_be,
	padding_before_a_function_belongs_to_the_one_before,
	many_functions_in_any_order_are_sorted, only_executable_sections_are_followed,
	functions_are_sorted_and_equal_neighbours_are_one, where_two_functions_overlap_the_first_stays, an_earlier_source_wins,
	compressed_debug_frame_is_unpacked, a_file_without_section_headers_has_the_same_rows, functions_outside_of_code_are_ignored,
	a_file_without_code_has_no_rows, a_plt_that_nobody_describes_is_told_by_its_bytes, the_entry_point_has_no_caller,
	signal_trampolines_and_starts_of_threads_are_found_in_undescribed_code,
		a_context_of_makecontext_has_no_caller_whatever_its_table_says, of_too_many_rules_the_rarest_are_unknown,
	of_too_many_rows_the_last_are_unknown)
