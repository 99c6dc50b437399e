/* SPDX-License-Identifier: Apache-2.0 */
/* What a symbolizer asks for and accepts, and that no damaged file harms it. */
#include <sys/mman.h>

#include "build_id.h"
#include "fs.h"
#include "programs.h"

static struct symbolizer *opened(const char *name)
{
	_cleanup_close_ int fd = open_file(name);
	struct symbolizer *s;

	ck_assert_int_eq(symbolizer_open(SYMBOLIZER_ELF, fd, &s), 0);
	return s;
}

static int add_debug(struct symbolizer *s, const char *name)
{
	_cleanup_close_ int fd = open_file(name);

	return symbolizer_add_debug_file(s, fd);
}

static int add_supplement(struct symbolizer *s, const char *name)
{
	_cleanup_close_ int fd = open_file(name);

	return symbolizer_add_supplement(s, fd);
}

START_TEST(a_file_with_dwarf_wants_nothing)
{
	struct debug_file_wants wants;
	struct symbolizer *s;

	scratch_begin();
	write_file("p.c", program_c);
	ck_assert(run("gcc -O2 -g p.c -o program"));
	s = opened("program");
	symbolizer_wants(s, &wants);
	ck_assert(!wants.debug_file && !wants.supplement);
	ck_assert_int_eq(add_debug(s, "program"), SYMBOLIZER_E_USELESS);
	symbolizer_free(s);
	scratch_end();
}
END_TEST

START_TEST(a_debug_file_is_accepted_by_its_build_id)
{
	struct debug_file_wants wants;
	struct symbolizer *s;

	scratch_begin();
	write_file("p.c", program_c);
	ck_assert(run("gcc -O2 -g p.c -o whole && objcopy --only-keep-debug whole right && strip -s whole -o program &&"
		      "gcc -O1 -g p.c -o wrong && strip -s whole -o empty"));
	s = opened("program");
	symbolizer_wants(s, &wants);
	ck_assert(wants.debug_file && wants.build_id.size == 20 && !wants.link[0]);
	ck_assert_int_eq(add_debug(s, "wrong"), SYMBOLIZER_E_MISMATCH);
	ck_assert_int_eq(add_debug(s, "p.c"), SYMBOLIZER_E_NOT_ELF);
	ck_assert_int_eq(add_debug(s, "empty"), SYMBOLIZER_E_USELESS);
	ck_assert_int_eq(add_debug(s, "right"), 0);
	symbolizer_wants(s, &wants);
	ck_assert(!wants.debug_file);
	symbolizer_free(s);
	scratch_end();
}
END_TEST

START_TEST(without_build_ids_a_debug_file_is_accepted_by_its_checksum)
{
	struct debug_file_wants wants;
	struct symbolizer *s;

	scratch_begin();
	write_file("p.c", program_c);
	ck_assert(run("gcc -O2 -g -Wl,--build-id=none p.c -o whole && objcopy --only-keep-debug whole a.debug &&"
		      "objcopy --strip-all --add-gnu-debuglink=a.debug whole program && cp a.debug b.debug && printf x >>b.debug"));
	s = opened("program");
	symbolizer_wants(s, &wants);
	ck_assert(wants.debug_file && !wants.build_id.size);
	ck_assert_str_eq(wants.link, "a.debug");
	ck_assert_int_eq(add_debug(s, "b.debug"), SYMBOLIZER_E_MISMATCH);
	ck_assert_int_eq(add_debug(s, "a.debug"), 0);
	symbolizer_free(s);
	scratch_end();
}
END_TEST

START_TEST(a_supplement_is_accepted_by_its_build_id)
{
	struct debug_file_wants wants;
	struct symbolizer *s;

	scratch_begin();
	if (have("dwz")) {
		write_file("p.cc", program_cpp);
		ck_assert(run("g++ -O2 -g p.cc -o a && cp a b && dwz -m sub.debug a b"));
		s = opened("a");
		symbolizer_wants(s, &wants);
		ck_assert(wants.supplement && !wants.debug_file);
		ck_assert_str_eq(wants.supplement_path, "sub.debug");
		ck_assert_int_eq(add_supplement(s, "b"), SYMBOLIZER_E_MISMATCH);
		ck_assert_int_eq(add_supplement(s, "sub.debug"), 0);
		symbolizer_wants(s, &wants);
		ck_assert(!wants.supplement);
		symbolizer_free(s);
	}
	scratch_end();
}
END_TEST

START_TEST(names_survive_that_a_debug_file_comes_later)
{
	uint64_t offset = 0x1000;
	struct symbolizer *s;
	struct names *names;

	scratch_begin();
	write_file("p.c", program_c);
	ck_assert(run("gcc -O2 -g -no-pie p.c -o whole && objcopy --only-keep-debug whole debug && strip -s whole -o program"));
	s = opened("program");
	offset = address_of("whole", "outer") - 0x400000 + 12;
	ck_assert_int_eq(symbolizer_resolve(s, &offset, 1, &names), 0);
	ck_assert_uint_eq(names->locations.at[0].n_frames, 0);
	ck_assert_uint_eq(names->locations.at[0].address, offset + 0x400000);
	ck_assert_uint_gt(names->segments.n, 0);
	ck_assert_uint_eq(names->build_id.size, 20);
	ck_assert(!names->has_functions);
	names_free(names);
	ck_assert_int_eq(add_debug(s, "debug"), 0);
	ck_assert_int_eq(symbolizer_resolve(s, &offset, 1, &names), 0);
	ck_assert_uint_ge(names->locations.at[0].n_frames, 1);
	ck_assert_str_eq(text(names, frame_at(names, 0, names->locations.at[0].n_frames - 1)->name), "outer");
	names_free(names);
	symbolizer_free(s);
	scratch_end();
}
END_TEST

START_TEST(what_is_no_executable_is_told_apart)
{
	struct symbolizer *s;
	static const struct {
		const char *name;
		int outcome;
	} files[] = {
		{ "empty", SYMBOLIZER_E_NOT_ELF }, { "script", SYMBOLIZER_E_NOT_ELF }, { "short", SYMBOLIZER_E_CORRUPT },
		{ "p.o", SYMBOLIZER_E_UNSUPPORTED }, { "small", SYMBOLIZER_E_UNSUPPORTED }, { "cut", SYMBOLIZER_E_CORRUPT },
	};

	scratch_begin();
	write_file("p.c", "int main(void) { return 0; }\n");
	/* small: 32 bit; cut: program headers beyond the end. */
	ck_assert(run("touch empty && echo '#!/bin/sh' >script && gcc p.c -o program && gcc -c p.c -o p.o && head -c 40 program >short &&"
		      "cp program small && printf '\\001' | dd of=small bs=1 seek=4 conv=notrunc status=none && head -c 100 program >cut"));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_close_ int fd = open_file(files[i].name);
		int r = symbolizer_open(SYMBOLIZER_ELF, fd, &s);

		ck_assert_msg(r == files[i].outcome, "%s: %d", files[i].name, r);
	}
	scratch_end();
}
END_TEST

/* Symbolizes bytes as a file and its debug file at once; only that it ends matters. */
static void symbolize_bytes(const char *bytes, size_t size, const uint64_t *offsets, size_t n)
{
	_cleanup_close_ int fd = memfd_create("damaged", MFD_CLOEXEC);
	struct symbolizer *s;
	struct names *names;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_write_all(fd, bytes, size), 0);
	if (symbolizer_open(SYMBOLIZER_ELF, fd, &s) != 0)
		return;
	if (symbolizer_resolve(s, offsets, n, &names) == 0)
		names_free(names);
	symbolizer_free(s);
}

static void flip_bits_of(const char *compile, const char *source, unsigned rounds)
{
	_cleanup_free_ char *whole = NULL, *damaged = NULL;
	uint64_t offsets[64];
	unsigned state = 1;
	size_t size;

	scratch_begin();
	write_file("p.c", source);
	ck_assert(run("%s p.c -o program", compile));
	{
		_cleanup_close_ int fd = open_file("program");

		ck_assert_int_eq(fs_read_fd(fd, 64 << 20, &whole, &size), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
		offsets[i] = 0x1000 + i * 16;
	damaged = malloc(size);
	for (unsigned round = 0; round < rounds; round++) {
		unsigned flips = 1 + rand_r(&state) % 16;

		memcpy(damaged, whole, size);
		while (flips--)
			damaged[(size_t)rand_r(&state) % size] ^= (char)(1 << rand_r(&state) % 8);
		/* Every fourth is cut short, too. */
		symbolize_bytes(damaged, round % 4 ? size : (size_t)rand_r(&state) % size, offsets, ARRAY_SIZE(offsets));
	}
	scratch_end();
}

START_TEST(damaged_files_with_dwarf_5_do_no_harm)
{
	flip_bits_of("gcc -O2 -gdwarf-5", program_c, 1500);
}
END_TEST

START_TEST(damaged_files_with_dwarf_4_do_no_harm)
{
	flip_bits_of("gcc -O2 -gdwarf-4", program_c, 1500);
}
END_TEST

START_TEST(damaged_files_with_compressed_sections_do_no_harm)
{
	flip_bits_of("gcc -O2 -g -gz=zlib", program_c, 1000);
}
END_TEST

UNIT_TESTS("symbolizer", a_file_with_dwarf_wants_nothing, a_debug_file_is_accepted_by_its_build_id,
	   without_build_ids_a_debug_file_is_accepted_by_its_checksum, a_supplement_is_accepted_by_its_build_id,
	   names_survive_that_a_debug_file_comes_later, what_is_no_executable_is_told_apart, damaged_files_with_dwarf_5_do_no_harm,
	   damaged_files_with_dwarf_4_do_no_harm, damaged_files_with_compressed_sections_do_no_harm)
