/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Programs compiled when the test runs, named by us and by addr2line. */
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "elf_image.h"
#include "main.h"
#include "symbolizer.h"

#define UNUSED __attribute__((unused))

static char scratch[] = "/tmp/test_symbol.XXXXXX";

/* Runs a shell command in the scratch directory; whether it succeeded. */
UNUSED __attribute__((format(printf, 1, 2))) static bool run(const char *format, ...)
{
	char command[4096];
	int n = snprintf(command, sizeof(command), "cd %s && ", scratch), status;
	va_list args;

	va_start(args, format);
	vsnprintf(command + n, sizeof(command) - (size_t)n, format, args);
	va_end(args);
	status = system(command);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

UNUSED static bool have(const char *tool)
{
	char command[128];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", tool);
	return system(command) == 0;
}

UNUSED static void scratch_begin(void)
{
	strcpy(scratch, "/tmp/test_symbol.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(scratch));
}

UNUSED static void scratch_end(void)
{
	ck_assert(run("rm -rf %s", scratch));
}

UNUSED static void write_file(const char *name, const char *text)
{
	char path[256];
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "%s/%s", scratch, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
}

UNUSED static int open_file(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", scratch, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

struct addresses {
	VEC(uint64_t) all;
};

/* Every 7th address of every function of the symbol table. */
UNUSED static struct addresses addresses_of(const char *name)
{
	_cleanup_close_ int fd = open_file(name);
	struct addresses addresses = { 0 };
	struct elf_image *image;
	const struct elf_section *section;
	struct reader symbols;

	ck_assert_int_eq(elf_image_open(fd, &image), 0);
	section = elf_image_section(image, ".symtab");
	ck_assert_ptr_nonnull(section);
	symbols = elf_image_section_bytes(image, section);
	while (reader_left(&symbols) >= sizeof(Elf64_Sym)) {
		Elf64_Sym s;

		memcpy(&s, reader_bytes(&symbols, sizeof(s)), sizeof(s));
		if (ELF64_ST_TYPE(s.st_info) == STT_FUNC && s.st_shndx != SHN_UNDEF)
			for (uint64_t at = s.st_value; at < s.st_value + s.st_size; at += 7)
				ck_assert_int_eq(vec_push(&addresses.all, at), 0);
	}
	elf_image_free(image);
	ck_assert_uint_gt(addresses.all.n, 0);
	return addresses;
}

/* Names addresses of a file; debug and supplement may be NULL. */
UNUSED static struct names *names_of(const char *name, const char *debug, const char *supplement, const struct addresses *addresses)
{
	_cleanup_close_ int fd = open_file(name);
	VEC(uint64_t) offsets = { 0 };
	struct elf_image *image;
	struct symbolizer *s;
	struct names *names;

	ck_assert_int_eq(elf_image_open(fd, &image), 0);
	for (size_t i = 0; i < addresses->all.n; i++) {
		uint64_t offset = UINT64_MAX;

		elf_image_offset_of_address(image, addresses->all.at[i], &offset);
		ck_assert_int_eq(vec_push(&offsets, offset), 0);
	}
	elf_image_free(image);
	ck_assert_int_eq(symbolizer_open(SYMBOLIZER_ELF, fd, &s), 0);
	if (debug) {
		_cleanup_close_ int debug_fd = open_file(debug);

		ck_assert_int_eq(symbolizer_add_debug_file(s, debug_fd), 0);
	}
	if (supplement) {
		_cleanup_close_ int supplement_fd = open_file(supplement);

		ck_assert_int_eq(symbolizer_add_supplement(s, supplement_fd), 0);
	}
	ck_assert_int_eq(symbolizer_resolve(s, offsets.at, offsets.n, &names), 0);
	ck_assert_uint_eq(names->locations.n, offsets.n);
	symbolizer_free(s);
	vec_deinit(&offsets);
	return names;
}

UNUSED static const char *text(const struct names *names, uint32_t id)
{
	return strtab_get(names->strings, id, NULL);
}

UNUSED static const struct names_frame *frame_at(const struct names *names, size_t location, uint32_t frame)
{
	ck_assert_uint_lt(location, names->locations.n);
	ck_assert_uint_lt(frame, names->locations.at[location].n_frames);
	return &names->frames.at[names->locations.at[location].first_frame + frame];
}

/* The address of a function by its linker's name. */
UNUSED static uint64_t address_of(const char *name, const char *symbol)
{
	char command[512];
	uint64_t address = 0;
	FILE *f;

	snprintf(command, sizeof(command), "nm %s/%s | awk '$3 == \"%s\" { print $1 }'", scratch, name, symbol);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_msg(fscanf(f, "%" SCNx64, &address) == 1, "no %s in %s", symbol, name);
	pclose(f);
	return address;
}

struct comparison {
	size_t same, different, inlined;
	char first_difference[1024];
};

/* Of "/a/b/../c.c:12 (discriminator 3)" the file, in place, and the line. */
static unsigned split_place(char *place)
{
	char *end = strstr(place, " (discriminator"), *colon;

	if (end)
		*end = '\0';
	place[strcspn(place, "\n")] = '\0';
	colon = strrchr(place, ':');
	ck_assert_ptr_nonnull(colon);
	*colon = '\0';
	return (unsigned)strtoul(colon + 1, NULL, 10);
}

/*
 * Whether frame k of a location is what addr2line says. Of functions of local types, whose DWARF has no linkage name, it
 * knows the symbol's name only as long as nothing is inlined at the address; and it takes the symbol's name for such a
 * function when it is inlined at the very start of that symbol. These two are no differences.
 */
static bool same_frame(const struct names *names, const struct names_location *l, uint32_t k, const char *name, const char *file,
		unsigned line)
{
	const struct names_frame *frame = &names->frames.at[l->first_frame + k], *last = &names->frames.at[l->first_frame + l->n_frames - 1];
	bool same = !strcmp(text(names, frame->system_name), name) || !strcmp(text(names, frame->name), name);

	if (!same && frame != last && strncmp(text(names, frame->system_name), "_Z", 2))
		same = !strcmp(text(names, last->system_name), name);
	if (!same && k > 0 && frame == last && strncmp(name, "_Z", 2))
		same = !strncmp(text(names, frame->system_name), "_Z", 2) &&
		       memmem(text(names, frame->system_name), strlen(text(names, frame->system_name)), name, strcspn(name, "<"));
	/* "?": it has no line there; of files without debug information it guesses from STT_FILE. */
	return same && (!strcmp(file, "??") || line == 0 || (!strcmp(text(names, frame->file), file) && frame->line == line));
}

/*
 * Asks addr2line twice about each address and takes the second answer: binutils 2.40 names a function without linkage
 * name by the nearest ELF symbol the first time it meets it (dwarf2.c, _bfd_dwarf2_find_nearest_line_with_alt), even one
 * inlined into that symbol.
 */
UNUSED static struct comparison compare_with_addr2line(const struct names *names, const char *reference)
{
	struct comparison c = { 0 };
	_cleanup_free_ char *line = NULL;
	char command[512], name[16384], place[4096];
	size_t size = 0, at = 0;
	FILE *f;

	snprintf(command, sizeof(command), "%s/asked", scratch);
	f = fopen(command, "w");
	ck_assert_ptr_nonnull(f);
	for (size_t i = 0; i < names->locations.n; i++)
		for (unsigned twice = 0; twice < 2; twice++)
			fprintf(f, "%" PRIx64 "\n", names->locations.at[i].address);
	fclose(f);
	snprintf(command, sizeof(command), "cd %s && addr2line -afie %s <asked", scratch, reference);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert(getline(&line, &size, f) > 0);
	while (at < 2 * names->locations.n) {
		const struct names_location *l = &names->locations.at[at / 2];
		uint32_t n = 0;
		bool same = true;

		ck_assert_uint_eq(strtoull(line, NULL, 16), l->address);
		while (getline(&line, &size, f) > 0 && strncmp(line, "0x", 2)) {
			unsigned number;

			line[strcspn(line, "\n")] = '\0';
			snprintf(name, sizeof(name), "%s", line);
			ck_assert(getline(&line, &size, f) > 0);
			snprintf(place, sizeof(place), "%s", line);
			number = split_place(place);
			same = same && n < l->n_frames && same_frame(names, l, n, name, place, number);
			if (!same && at % 2 && !*c.first_difference)
				snprintf(c.first_difference, sizeof(c.first_difference), "%#" PRIx64 " frame %" PRIu32 " of %" PRIu32 ": "
					 "%.200s %.200s:%u, ours %.200s %.200s:%u", l->address, n, l->n_frames, name, place, number,
					 n < l->n_frames ? text(names, names->frames.at[l->first_frame + n].system_name) : "-",
					 n < l->n_frames ? text(names, names->frames.at[l->first_frame + n].file) : "-",
					 n < l->n_frames ? names->frames.at[l->first_frame + n].line : 0);
			n++;
		}
		if (at++ % 2 == 0)
			continue;
		same = same && n == l->n_frames;
		c.same += same;
		c.different += !same;
		c.inlined += n > 1;
	}
	pclose(f);
	return c;
}

/* 99.9 % of the addresses, and of few all. */
UNUSED static void expect_agreement(const char *name, const char *debug, const char *supplement, const char *reference, bool inlined)
{
	struct addresses addresses = addresses_of(reference);
	struct names *names = names_of(name, debug, supplement, &addresses);
	struct comparison c = compare_with_addr2line(names, reference);

	ck_assert_msg(c.different * 1000 <= c.same, "%s: %zu of %zu differ: %s", name, c.different, c.same + c.different, c.first_difference);
	if (inlined)
		ck_assert_uint_gt(c.inlined, 10);
	ck_assert(names->has_functions && names->has_filenames && names->has_line_numbers && names->has_inline_frames);
	names_free(names);
	vec_deinit(&addresses.all);
}

/* Two levels of inlining in two functions that are not, in C. */
static const char program_c[] UNUSED =
	"#include <stdio.h>\n#include <stdlib.h>\n"
	"static inline int square(int x) { int s = 0; for (int i = 0; i < x; i++) s += i * rand(); return s; }\n"
	"static inline int cube(int x) { if (x > rand()) return square(x) * x; return square(x + 1) + 2; }\n"
	"__attribute__((noinline)) int outer(int x) { return cube(x) + cube(x * 3) + square(x); }\n"
	"__attribute__((noinline, cold)) static int rare(int x) { printf(\"%d\", x); return abs(cube(x)); }\n"
	"int main(int argc, char **argv) { int s = 0; for (int i = 0; i < argc * 100; i++) s += outer(i);\n"
	"	if (s == 12345) s += rare(s); printf(\"%d %s\", s, argv[0]); return 0; }\n";

static const char program_cpp[] UNUSED =
	"#include <algorithm>\n#include <cstdlib>\n#include <functional>\n#include <iostream>\n#include <map>\n#include <string>\n#include <vector>\n"
	"namespace outer { namespace inner {\n"
	"template <class T> struct Series { std::vector<T> points; Series(); ~Series(); void add(T t) { points.push_back(t); }\n"
	"	template <class F> T fold(F f) const { T s{}; for (auto &p : points) s = f(s, p); return s; } };\n"
	"template <class T> Series<T>::Series() { points.reserve(rand() % 100); }\n"
	"template <class T> Series<T>::~Series() { if (rand() % 7 == 0) std::cout << points.size(); }\n"
	"struct Base { virtual ~Base() {} virtual int get(int x) const { return x * rand(); } };\n"
	"struct Derived : Base { int get(int x) const override { return Base::get(x) + 1; } };\n"
	"static int helper(int n) { auto twice = [&](int k) { return k * rand() + n; }; return twice(n) + twice(n + 1); }\n"
	"} extern \"C\" int plain_name(int x) { return inner::helper(x); } }\n"
	"int main(int argc, char **) {\n"
	"	outer::inner::Series<double> d; outer::inner::Series<std::string> s; std::map<std::string, std::vector<int>> m;\n"
	"	for (int i = 0; i < argc * 9; i++) { d.add(rand()); s.add(std::to_string(i)); m[std::to_string(i % 3)].push_back(rand()); }\n"
	"	for (auto &entry : m) std::sort(entry.second.begin(), entry.second.end(), [](int a, int b) { return a % 10 < b % 10; });\n"
	"	std::function<int(int)> f = [&](int x) { return x + (int)d.points.size(); };\n"
	"	outer::inner::Base *b = argc > 1 ? new outer::inner::Base : new outer::inner::Derived;\n"
	"	std::cout << d.fold([](double a, double p) { return a + p; }) << s.fold([](const std::string &a, const std::string &p) { return a + p; })\n"
	"		<< f(3) << b->get(argc) << outer::plain_name(argc); delete b; return 0; }\n";

static const char program_rust[] UNUSED =
	"use std::collections::HashMap;\n"
	"trait Shape { fn area(&self) -> f64; }\nstruct Square(f64);\nimpl Shape for Square { fn area(&self) -> f64 { self.0 * self.0 } }\n"
	"mod inner { pub fn work<T: Ord + Clone>(v: &mut Vec<T>) { v.sort(); let mut w = v.clone(); w.dedup(); v.extend(w.into_iter()); } }\n"
	"fn main() { let n = std::env::args().count() as u64 * 100; let mut h = HashMap::new();\n"
	"	for i in 0..n { *h.entry(i % 13).or_insert(0u64) += i; }\n"
	"	let mut v: Vec<_> = h.keys().map(|k| format!(\"k{}\", k)).collect(); inner::work(&mut v);\n"
	"	let shapes: Vec<Box<dyn Shape>> = vec![Box::new(Square(n as f64))];\n"
	"	println!(\"{:?} {}\", v, shapes.iter().map(|s| s.area()).sum::<f64>()); }\n";
