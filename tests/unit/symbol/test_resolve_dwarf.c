/* SPDX-License-Identifier: Apache-2.0 */
/* Names, files, lines and inlined functions, compared with addr2line of binutils. */
#include "programs.h"

static void agree(const char *source, const char *text_of_it, const char *compile, bool inlined)
{
	scratch_begin();
	write_file(source, text_of_it);
	ck_assert(run("%s %s -o program", compile, source));
	expect_agreement("program", NULL, NULL, "program", inlined);
	scratch_end();
}

START_TEST(c_with_dwarf_4_agrees_with_addr2line)
{
	agree("p.c", program_c, "gcc -O2 -gdwarf-4", true);
}
END_TEST

START_TEST(c_with_dwarf_5_agrees_with_addr2line)
{
	agree("p.c", program_c, "gcc -O2 -gdwarf-5", true);
}
END_TEST

START_TEST(c_without_optimization_agrees_with_addr2line)
{
	agree("p.c", program_c, "gcc -O0 -g", false);
}
END_TEST

START_TEST(c_of_clang_without_aranges_agrees_with_addr2line)
{
	/* Version 4: binutils 2.40 misses inlined functions in clang's version 5. */
	if (have("clang"))
		agree("p.c", program_c, "clang -O2 -gdwarf-4", true);
}
END_TEST

START_TEST(compressed_sections_agree_with_addr2line)
{
	agree("p.c", program_c, "gcc -O2 -g -gz=zlib", true);
	agree("p.c", program_c, "gcc -O2 -gdwarf-4 -gz=zlib-gnu", true);
}
END_TEST

START_TEST(cpp_with_dwarf_4_agrees_with_addr2line)
{
	agree("p.cc", program_cpp, "g++ -O2 -gdwarf-4", true);
}
END_TEST

START_TEST(cpp_with_dwarf_5_agrees_with_addr2line)
{
	agree("p.cc", program_cpp, "g++ -O2 -gdwarf-5", true);
}
END_TEST

START_TEST(cpp_with_link_time_optimization_agrees_with_addr2line)
{
	agree("p.cc", program_cpp, "g++ -O2 -gdwarf-4 -flto=1", true);
}
END_TEST

START_TEST(rust_agrees_with_addr2line)
{
	if (have("rustc"))
		agree("p.rs", program_rust, "rustc -O -g", true);
}
END_TEST

START_TEST(a_separate_debug_file_tells_the_same)
{
	scratch_begin();
	write_file("p.c", program_c);
	ck_assert(run("gcc -O2 -g p.c -o whole && objcopy --only-keep-debug whole program.debug &&"
		      "objcopy --strip-all --add-gnu-debuglink=program.debug whole program"));
	expect_agreement("program", "program.debug", NULL, "whole", true);
	scratch_end();
}
END_TEST

START_TEST(a_dwz_supplement_tells_the_same)
{
	scratch_begin();
	if (have("dwz")) {
		write_file("p.cc", program_cpp);
		ck_assert(run("g++ -O2 -g p.cc -o whole && cp whole a && cp whole b && dwz -m common.debug a b"));
		expect_agreement("a", NULL, "common.debug", "whole", true);
	}
	scratch_end();
}
END_TEST

START_TEST(a_missing_supplement_costs_inlined_names_only)
{
	struct addresses addresses;
	struct names *names;

	scratch_begin();
	if (have("dwz")) {
		write_file("p.cc", program_cpp);
		ck_assert(run("g++ -O2 -g p.cc -o whole && cp whole a && cp whole b && dwz -m common.debug a b"));
		addresses = addresses_of("a");
		names = names_of("a", NULL, NULL, &addresses);
		for (size_t i = 0; i < names->locations.n; i++) {
			ck_assert_uint_ge(names->locations.at[i].n_frames, 1);
			for (uint32_t k = 0; k < names->locations.at[i].n_frames; k++)
				ck_assert_str_ne(text(names, frame_at(names, i, k)->name), "");
		}
		names_free(names);
		vec_deinit(&addresses.all);
	}
	scratch_end();
}
END_TEST

START_TEST(functions_tell_where_they_begin)
{
	struct addresses addresses = { 0 };
	struct names *names;

	scratch_begin();
	write_file("p.c", "int x;\n\nint second(void)\n{\n\treturn x;\n}\n\n\nint main(void)\n{\n\treturn second();\n}\n");
	ck_assert(run("gcc -O0 -g p.c -o program"));
	vec_push(&addresses.all, address_of("program", "second") + 4);
	vec_push(&addresses.all, address_of("program", "main") + 4);
	names = names_of("program", NULL, NULL, &addresses);
	ck_assert_str_eq(text(names, frame_at(names, 0, 0)->name), "second");
	ck_assert_uint_eq(frame_at(names, 0, 0)->start_line, 3);
	ck_assert_uint_eq(frame_at(names, 0, 0)->line, 5);
	ck_assert_uint_eq(frame_at(names, 1, 0)->start_line, 9);
	ck_assert_uint_eq(frame_at(names, 1, 0)->line, 11);
	ck_assert_int_eq(text(names, frame_at(names, 0, 0)->file)[0], '/');
	ck_assert_uint_eq(frame_at(names, 0, 0)->name, frame_at(names, 0, 0)->system_name);
	names_free(names);
	vec_deinit(&addresses.all);
	scratch_end();
}
END_TEST

START_TEST(an_inlined_lambda_is_told_with_its_scopes)
{
	struct addresses addresses;
	struct names *names;
	bool found = false;

	scratch_begin();
	write_file("p.cc", program_cpp);
	ck_assert(run("g++ -O2 -g p.cc -o program"));
	addresses = addresses_of("program");
	names = names_of("program", NULL, NULL, &addresses);
	for (size_t i = 0; i < names->frames.n && !found; i++)
		found = !strcmp(text(names, names->frames.at[i].name), "main::{lambda}::operator()") &&
			!strcmp(text(names, names->frames.at[i].system_name), "operator()");
	ck_assert(found);
	names_free(names);
	vec_deinit(&addresses.all);
	scratch_end();
}
END_TEST

START_TEST(assembly_has_its_name_from_the_symbol_and_its_line_from_dwarf)
{
	struct addresses addresses = { 0 };
	struct names *names;

	scratch_begin();
	write_file("a.s", ".text\n.globl spin\n.type spin, @function\nspin:\n\tnop\n\tnop\n\tret\n.size spin, .-spin\n.section .note.GNU-stack,\"\",@progbits\n");
	write_file("p.c", "void spin(void); int main(void) { spin(); return 0; }\n");
	ck_assert(run("gcc -g p.c -Wa,-g a.s -o program"));
	vec_push(&addresses.all, address_of("program", "spin") + 1);
	names = names_of("program", NULL, NULL, &addresses);
	ck_assert_uint_eq(names->locations.at[0].n_frames, 1);
	ck_assert_str_eq(text(names, frame_at(names, 0, 0)->name), "spin");
	ck_assert_uint_eq(frame_at(names, 0, 0)->line, 6);
	names_free(names);
	vec_deinit(&addresses.all);
	scratch_end();
}
END_TEST

/* A function of many lines, then many of few. */
static void write_many_functions(const char *name)
{
	static char source[400000];
	size_t n = 0;

	n += (size_t)sprintf(source + n, "volatile int g;\nint dead(int x) {\n");
	for (unsigned i = 0; i < 2000; i++)
		n += (size_t)sprintf(source + n, "g += %u * x; if (g == %u) g *= 3;\n", i, i);
	n += (size_t)sprintf(source + n, "return g; }\n");
	for (unsigned k = 0; k < 40; k++) {
		n += (size_t)sprintf(source + n, "__attribute__((noinline)) int live%u(int x) {\n", k);
		for (unsigned i = 0; i < 20; i++)
			n += (size_t)sprintf(source + n, "g += %u * x; if (g == %u) g *= 3;\n", i, i);
		n += (size_t)sprintf(source + n, "return g; }\n");
	}
	n += (size_t)sprintf(source + n, "int main(int c, char **v) { return 0");
	for (unsigned k = 0; k < 40; k++)
		n += (size_t)sprintf(source + n, " + live%u(c)", k);
	sprintf(source + n, "; }\n");
	write_file(name, source);
}

START_TEST(lines_of_discarded_functions_are_not_mixed_up_with_real_ones)
{
	struct addresses addresses;
	struct names *names;
	size_t n = 0;

	scratch_begin();
	write_many_functions("p.c");
	ck_assert(run("gcc -O0 -g -ffunction-sections -Wl,--gc-sections p.c -o program"));
	addresses = addresses_of("program");
	names = names_of("program", NULL, NULL, &addresses);
	for (size_t i = 0; i < names->locations.n; i++) {
		const struct names_frame *f;

		if (!names->locations.at[i].n_frames || strncmp(text(names, (f = frame_at(names, i, 0))->name), "live", 4))
			continue;
		/* Each has 22 lines; all of `dead` are before them. */
		ck_assert_msg(f->line >= f->start_line && f->line < f->start_line + 22, "%s begins at %u and has line %u",
			      text(names, f->name), f->start_line, f->line);
		n++;
	}
	ck_assert_uint_gt(n, 1000);
	names_free(names);
	vec_deinit(&addresses.all);
	scratch_end();
}
END_TEST

UNIT_TESTS("resolve_dwarf", lines_of_discarded_functions_are_not_mixed_up_with_real_ones, c_with_dwarf_4_agrees_with_addr2line, c_with_dwarf_5_agrees_with_addr2line,
	   c_without_optimization_agrees_with_addr2line, c_of_clang_without_aranges_agrees_with_addr2line,
	   compressed_sections_agree_with_addr2line, cpp_with_dwarf_4_agrees_with_addr2line, cpp_with_dwarf_5_agrees_with_addr2line,
	   cpp_with_link_time_optimization_agrees_with_addr2line, rust_agrees_with_addr2line, a_separate_debug_file_tells_the_same,
	   a_dwz_supplement_tells_the_same, a_missing_supplement_costs_inlined_names_only, functions_tell_where_they_begin,
	   an_inlined_lambda_is_told_with_its_scopes, assembly_has_its_name_from_the_symbol_and_its_line_from_dwarf)
