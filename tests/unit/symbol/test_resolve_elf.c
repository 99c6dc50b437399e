/* SPDX-License-Identifier: Apache-2.0 */
/* Names from symbol tables alone, and of the stubs of the procedure linkage table. */
#include "programs.h"
#include "resolve_elf.h"

static char *name_in(const char *name, uint64_t address)
{
	struct addresses addresses = { 0 };
	struct names *names;
	char *found;

	vec_push(&addresses.all, address);
	names = names_of(name, NULL, NULL, &addresses);
	found = strdup(names->locations.at[0].n_frames ? text(names, frame_at(names, 0, 0)->name) : "?");
	if (names->locations.at[0].n_frames) {
		ck_assert(names->has_functions);
		ck_assert(!names->has_filenames && !names->has_line_numbers && !names->has_inline_frames);
	}
	names_free(names);
	vec_deinit(&addresses.all);
	return found;
}

static void expect_name(const char *file, uint64_t address, const char *wanted)
{
	_cleanup_free_ char *found = name_in(file, address);

	ck_assert_msg(!strcmp(found, wanted), "%#" PRIx64 " of %s is %s, not %s", address, file, found, wanted);
}

START_TEST(without_debug_information_functions_have_their_symbols_names)
{
	scratch_begin();
	write_file("p.c", program_c);
	ck_assert(run("gcc -O2 p.c -o program"));
	expect_name("program", address_of("program", "outer") + 9, "outer");
	expect_name("program", address_of("program", "_start") + 4, "_start");
	scratch_end();
}
END_TEST

/* "name+offset", "?" */
static void expect_variable(const char *file, uint64_t address, const char *wanted)
{
	uint64_t offset = SYMBOLIZER_DATA | address;
	_cleanup_close_ int fd = open_file(file);
	char found[256] = "?";
	struct symbolizer *s;
	struct names *names;

	ck_assert_int_eq(symbolizer_open(SYMBOLIZER_ELF, fd, &s), 0);
	ck_assert_int_eq(symbolizer_resolve(s, &offset, 1, &names), 0);
	ck_assert_uint_eq(names->locations.n, 1);
	ck_assert_uint_eq(names->locations.at[0].offset, offset);
	if (names->locations.at[0].n_frames)
		snprintf(found, sizeof(found), "%s+%d", text(names, frame_at(names, 0, 0)->name), (int)(address - names->locations.at[0].address));
	else
		ck_assert_uint_eq(names->locations.at[0].address, offset);
	ck_assert_msg(!strcmp(found, wanted), "%#" PRIx64 " of %s is %s, not %s", address, file, found, wanted);
	names_free(names);
	symbolizer_free(s);
}

START_TEST(variables_are_named_by_their_symbols)
{
	static const char program[] = "static int zeros[100], ones[4] = { 1 }; __thread int own = 1; extern const int fixed; const int fixed = 4;\n"
				      "int table[8] = { 7 }; extern __typeof__(table) _again __attribute__((alias(\"table\")));\n"
				      "int main(int n, char **v) { own += n; return zeros[n]++ + ones[n & 3]++ + table[n & 7]++ + fixed + own; }\n";
	static const char *const ways[] = { "-fpie -pie", "-fno-pie -no-pie", "-fPIC -shared" };

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		uint64_t zeros, ones, table;

		scratch_begin();
		write_file("p.c", program);
		ck_assert(run("gcc -O0 %s p.c -o program && strip -s program -o stripped", ways[i]));
		zeros = address_of("program", "zeros");
		ones = address_of("program", "ones");
		table = address_of("program", "table");
		expect_variable("program", zeros, "zeros+0");
		expect_variable("program", zeros + 399, "zeros+399");
		expect_variable("program", zeros - (UINT64_C(1) << 40), "?");
		expect_variable("program", ones + 4, "ones+4");
		expect_variable("program", table + 8, "table+8");
		/* Code; what cannot be written; an offset in the storage of each thread; far behind all. */
		expect_variable("program", address_of("program", "main"), "?");
		expect_variable("program", address_of("program", "fixed"), "?");
		expect_variable("program", address_of("program", "own"), "?");
		expect_variable("program", zeros + (1 << 20), "?");
		expect_variable("stripped", zeros, "?");
		expect_variable("stripped", table + 8, i == 2 ? "table+8" : "?");
		scratch_end();
	}
}
END_TEST

START_TEST(variables_of_cpp_are_told_demangled)
{
	scratch_begin();
	write_file("p.cc", "namespace a { struct B { static int count; }; int B::count = 1; }\nint main(int n, char **) { return a::B::count += n; }\n");
	ck_assert(run("g++ -O0 p.cc -o program"));
	expect_variable("program", address_of("program", "_ZN1a1B5countE"), "a::B::count+0");
	scratch_end();
}
END_TEST

START_TEST(a_stripped_library_has_the_names_it_exports)
{
	uint64_t address;

	scratch_begin();
	write_file("p.c", "int exported(int x) { return x * 3; }\n");
	ck_assert(run("gcc -O2 -shared -fPIC p.c -o whole && strip -s whole -o program"));
	address = address_of("whole", "exported");
	expect_name("program", address, "exported");
	scratch_end();
}
END_TEST

START_TEST(mini_debug_information_names_a_stripped_program)
{
	uint64_t address;

	scratch_begin();
	if (have("xz")) {
		write_file("p.c", program_c);
		ck_assert(run("gcc -O2 p.c -o whole && strip -s whole -o program && objcopy -S --keep-symbol=outer whole mini 2>/dev/null;"
			      "objcopy --only-keep-debug whole mini && xz -k mini && objcopy --add-section .gnu_debugdata=mini.xz program"));
		address = address_of("whole", "outer") + 9;
		expect_name("program", address, "outer");
	}
	scratch_end();
}
END_TEST

START_TEST(mini_debug_information_that_is_a_bomb_is_left_out)
{
	uint64_t address;

	scratch_begin();
	if (have("xz")) {
		write_file("p.c", program_c);
		ck_assert(run("gcc -O2 p.c -o whole && strip -s whole -o program && head -c 200000000 /dev/zero | xz >mini.xz &&"
			      "objcopy --add-section .gnu_debugdata=mini.xz program"));
		address = address_of("whole", "outer") + 9;
		expect_name("program", address, "?");
	}
	scratch_end();
}
END_TEST

/* How many addresses of the program are named so. */
static size_t count_named(const char *file, const char *wanted)
{
	struct addresses addresses = { 0 };
	_cleanup_close_ int fd = open_file(file);
	struct elf_image *image;
	struct names *names;
	size_t n, found = 0;
	const struct elf_section *sections;

	ck_assert_int_eq(elf_image_open(fd, &image), 0);
	sections = elf_image_sections(image, &n);
	for (size_t i = 0; i < n; i++)
		if (!strncmp(sections[i].name, ".plt", 4))
			for (uint64_t at = 0; at < sections[i].size; at++)
				vec_push(&addresses.all, sections[i].address + at);
	elf_image_free(image);
	names = names_of(file, NULL, NULL, &addresses);
	for (size_t i = 0; i < names->locations.n; i++)
		found += names->locations.at[i].n_frames && !strcmp(text(names, frame_at(names, i, 0)->name), wanted);
	names_free(names);
	vec_deinit(&addresses.all);
	return found;
}

static void plt(const char *options, size_t bytes)
{
	scratch_begin();
	write_file("p.c", "#include <stdlib.h>\n#include <stdio.h>\nint main(void) { return puts(getenv(\"A\")); }\n");
	ck_assert(run("gcc -O2 %s p.c -o program", options));
	ck_assert_msg(count_named("program", "getenv@plt") == bytes, "%s: %zu", options, count_named("program", "getenv@plt"));
	ck_assert_uint_eq(count_named("program", "puts@plt"), bytes);
	scratch_end();
}

START_TEST(stubs_are_named_by_what_they_lead_to)
{
	plt("-fcf-protection=none -Wl,-z,noibtplt -Wl,-z,lazy", 16);
	plt("-fcf-protection=none -no-pie -Wl,-z,lazy", 16);
	/* .plt.sec, and the lazy half in .plt. */
	plt("-fcf-protection=full -Wl,-z,ibtplt -Wl,-z,lazy", 32);
	/* Bound at start: only .plt.got or .plt.sec. */
	plt("-fcf-protection=full -Wl,-z,ibtplt -Wl,-z,now", 32);
}
END_TEST

START_TEST(stubs_of_mangled_functions_are_told_demangled)
{
	scratch_begin();
	write_file("p.cc", "namespace n { int far_away(int); }\nint main() { return n::far_away(3); }\n");
	write_file("l.cc", "namespace n { int far_away(int x) { return x; } }\n");
	ck_assert(run("g++ -shared -fPIC l.cc -o libl.so && g++ -O2 p.cc -o program ./libl.so"));
	ck_assert_uint_gt(count_named("program", "n::far_away(int)@plt"), 0);
	scratch_end();
}
END_TEST

START_TEST(of_symbols_at_one_address_the_choice_is_the_best_for_people)
{
	uint64_t address;

	scratch_begin();
	write_file("a.s", ".text\n.globl name, _name, __name\n.type name, @function\n.type _name, @function\n.type __name, @function\n"
		   ".type local, @function\nlocal:\n__name:\n_name:\nname:\nlabel:\n\tnop\n\tnop\ninner:\n\tret\n"
		   ".size name, .-name\n.size _name, .-_name\n.size __name, .-__name\n.size local, .-local\n"
		   ".globl asm_label\nasm_label:\n\tnop\n\tret\n.section .note.GNU-stack,\"\",@progbits\n");
	write_file("p.c", "int main(void) { return 0; }\n");
	ck_assert(run("gcc p.c a.s -o program"));
	address = address_of("program", "_name");
	expect_name("program", address, "name");
	expect_name("program", address + 2, "name");
	expect_name("program", address_of("program", "asm_label") + 1, "asm_label");
	scratch_end();
}
END_TEST

START_TEST(the_vdso_has_names)
{
	uint64_t offsets[4096];
	struct symbolizer *s;
	struct names *names;
	bool found = false;

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
		offsets[i] = i;
	ck_assert_int_eq(symbolizer_open(SYMBOLIZER_VDSO, -1, &s), 0);
	ck_assert_int_eq(symbolizer_resolve(s, offsets, ARRAY_SIZE(offsets), &names), 0);
	for (size_t i = 0; i < names->locations.n && !found; i++)
		found = names->locations.at[i].n_frames && strstr(text(names, frame_at(names, i, 0)->name), "clock_gettime");
	ck_assert(found);
	names_free(names);
	symbolizer_free(s);
}
END_TEST

UNIT_TESTS("resolve_elf", without_debug_information_functions_have_their_symbols_names, a_stripped_library_has_the_names_it_exports,
	   variables_are_named_by_their_symbols, variables_of_cpp_are_told_demangled,
	   mini_debug_information_names_a_stripped_program, mini_debug_information_that_is_a_bomb_is_left_out,
	   stubs_are_named_by_what_they_lead_to, stubs_of_mangled_functions_are_told_demangled,
	   of_symbols_at_one_address_the_choice_is_the_best_for_people, the_vdso_has_names)
