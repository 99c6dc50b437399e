/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>

#include "made_jitdump.h"
#include "programs.h"

static struct made_jitdump dump;

/* Through the door that perf maps go: the first bytes tell what it is. */
static struct symbolizer *open_dump(size_t size)
{
	_cleanup_close_ int fd = memfd_create("jit-1.dump", MFD_CLOEXEC);
	struct symbolizer *s;

	ck_assert_int_eq(write(fd, dump.bytes, size), (ssize_t)size);
	ck_assert_int_eq(symbolizer_open(SYMBOLIZER_PERF_MAP, fd, &s), 0);
	return s;
}

/* "name", "name file:line", or "?". */
static void expect(struct symbolizer *s, uint64_t address, const char *wanted)
{
	char got[128] = "?";
	struct names *names;

	ck_assert_int_eq(symbolizer_resolve(s, &address, 1, &names), 0);
	if (names->locations.at[0].n_frames) {
		const struct names_frame *frame = &names->frames.at[names->locations.at[0].first_frame];

		snprintf(got, sizeof(got), "%s", strtab_get(names->strings, frame->name, NULL));
		if (frame->line)
			snprintf(got + strlen(got), sizeof(got) - strlen(got), " %s:%u",
					strtab_get(names->strings, frame->file, NULL), frame->line);
	}
	ck_assert_str_eq(got, wanted);
	names_free(names);
}

START_TEST(code_has_the_name_that_it_was_loaded_with)
{
	struct symbolizer *s;

	made_jit_begin(&dump, 0);
	made_jit_load(&dump, 1, 0x7f0000001000, 16, "JS:*alpha /srv/a b.js:1");
	made_jit_empty(&dump, MADE_JIT_UNWINDING);
	made_jit_load(&dump, 2, 0x7f0000001010, 0, "empty");
	made_jit_load(&dump, 3, 0x7f0000002000, 3, "");
	made_jit_load(&dump, 4, 0x7f0000003000, 5, "beta");
	s = open_dump(dump.size);
	expect(s, 0x7f0000001000, "JS:*alpha /srv/a b.js:1");
	expect(s, 0x7f000000100f, "JS:*alpha /srv/a b.js:1");
	expect(s, 0x7f0000001010, "?");
	expect(s, 0x7f0000002000, "?");
	expect(s, 0x7f0000003004, "beta");
	symbolizer_free(s);
}
END_TEST

START_TEST(of_code_that_was_loaded_over_other_code_the_later_tells)
{
	struct symbolizer *s;

	made_jit_begin(&dump, 0);
	made_jit_load(&dump, 1, 0x1000, 0x100, "old");
	made_jit_load(&dump, 2, 0x1040, 0x20, "new");
	s = open_dump(dump.size);
	expect(s, 0x1000, "old");
	expect(s, 0x1040, "new");
	expect(s, 0x1060, "old");
	symbolizer_free(s);
}
END_TEST

START_TEST(code_that_moved_is_known_at_both_places_until_the_old_one_is_used_again)
{
	static const struct made_jit_line lines[] = { { 0x1000, 7, "a.js" }, { 0x1008, 8, "a.js" } };
	struct symbolizer *s;

	made_jit_begin(&dump, 0);
	made_jit_lines(&dump, 0x1000, lines, 2);
	made_jit_load(&dump, 1, 0x1000, 0x10, "alpha");
	made_jit_move(&dump, 1, 0x1000, 0x5000, 0x10);
	made_jit_move(&dump, 99, 0x1000, 0x6000, 0x10);
	made_jit_load(&dump, 2, 0x1000, 8, "beta");
	s = open_dump(dump.size);
	expect(s, 0x5000, "alpha a.js:7");
	expect(s, 0x5009, "alpha a.js:8");
	expect(s, 0x6000, "?");
	expect(s, 0x1000, "beta");
	expect(s, 0x1008, "alpha a.js:8");
	symbolizer_free(s);
}
END_TEST

START_TEST(lines_belong_to_the_code_loaded_next)
{
	static const struct made_jit_line lines[] = {
		{ 0x1002, 10, "/srv/a.js" }, { 0x1004, 11, "\xff" }, { 0x1008, 3, "/srv/b.js" },
	};
	struct symbolizer *s;

	made_jit_begin(&dump, 0);
	made_jit_lines(&dump, 0x1000, lines, 3);
	made_jit_load(&dump, 1, 0x1000, 0x10, "alpha");
	made_jit_load(&dump, 2, 0x2000, 0x10, "beta");
	made_jit_lines(&dump, 0x1000, lines, 3);
	made_jit_load(&dump, 3, 0x3000, 0x10, "gamma");
	s = open_dump(dump.size);
	expect(s, 0x1000, "alpha");
	expect(s, 0x1002, "alpha /srv/a.js:10");
	expect(s, 0x1007, "alpha /srv/a.js:11");
	expect(s, 0x100f, "alpha /srv/b.js:3");
	expect(s, 0x2004, "beta");
	expect(s, 0x3004, "gamma");
	symbolizer_free(s);
}
END_TEST

START_TEST(lines_of_v8_are_told_behind_a_header_that_is_not_there)
{
	static const struct made_jit_line lines[] = { { 0x1040, 10, "a.js" }, { 0x1048, 11, "a.js" } };
	struct symbolizer *s;

	made_jit_begin(&dump, 0xdeadbeef);
	made_jit_lines(&dump, 0x1000, lines, 2);
	made_jit_load(&dump, 1, 0x1000, 0x10, "alpha");
	s = open_dump(dump.size);
	expect(s, 0x1000, "alpha a.js:10");
	expect(s, 0x1008, "alpha a.js:11");
	symbolizer_free(s);
}
END_TEST

START_TEST(a_table_of_lines_that_does_not_add_up_is_none)
{
	static const struct made_jit_line lines[] = { { 0x1000, 10, "abcdefghijkl" }, { 0x1008, 11, "abcdefghijkl" } };
	struct symbolizer *s;

	made_jit_begin(&dump, 0);
	made_jit_lines(&dump, 0x1000, lines, 2);
	/* A zero in the first name, as Node.js 20 has it: 40 of the header, 16 and 16 of the record, 16 of the line. */
	dump.bytes[40 + 16 + 16 + 16 + 3] = 0;
	made_jit_load(&dump, 1, 0x1000, 0x10, "alpha");
	s = open_dump(dump.size);
	expect(s, 0x1008, "alpha");
	symbolizer_free(s);
}
END_TEST

START_TEST(what_is_cut_off_or_behind_the_end_is_not_there)
{
	struct symbolizer *s;
	size_t first, second;

	made_jit_begin(&dump, 0);
	made_jit_load(&dump, 1, 0x1000, 0x10, "alpha");
	first = dump.size;
	made_jit_load(&dump, 2, 0x2000, 0x10, "beta");
	second = dump.size;
	made_jit_empty(&dump, MADE_JIT_CLOSE);
	made_jit_load(&dump, 3, 0x3000, 0x10, "gamma");
	for (size_t size = first; size <= dump.size; size++) {
		s = open_dump(size);
		expect(s, 0x1000, "alpha");
		expect(s, 0x2000, size < second ? "?" : "beta");
		expect(s, 0x3000, "?");
		symbolizer_free(s);
	}
	/* Nothing but a part of its first record. */
	for (size_t size = 0; size < first; size++) {
		s = open_dump(size);
		expect(s, 0x1000, "?");
		symbolizer_free(s);
	}
}
END_TEST

START_TEST(a_record_that_leads_nowhere_ends_it)
{
	struct symbolizer *s;

	made_jit_begin(&dump, 0);
	made_jit_load(&dump, 1, 0x1000, 0x10, "alpha");
	made_jit_u32(&dump, MADE_JIT_LOAD);
	made_jit_u32(&dump, 0);
	made_jit_u64(&dump, 0);
	made_jit_load(&dump, 2, 0x2000, 0x10, "beta");
	s = open_dump(dump.size);
	expect(s, 0x1000, "alpha");
	expect(s, 0x2000, "?");
	symbolizer_free(s);
}
END_TEST

START_TEST(a_file_of_another_machine_or_version_names_nothing)
{
	for (size_t word = 0; word < 4; word++) {
		struct symbolizer *s;

		made_jit_begin(&dump, 0);
		made_jit_load(&dump, 1, 0x1000, 0x10, "alpha");
		dump.bytes[4 * word] ^= 0x20;
		s = open_dump(dump.size);
		expect(s, 0x1000, "?");
		symbolizer_free(s);
	}
}
END_TEST

/* The interpreter of this machine, when it can. */
START_TEST(what_node_writes_is_read)
{
	_cleanup_close_ int fd = -1;
	struct symbolizer *s;

	if (!have("node"))
		return;
	scratch_begin();
	write_file("a.js", "function alpha(n) { let s = 0; for (let i = 0; i < n; i++) s += i % 7; return s; }\n"
			"for (let i = 0; i < 3000; i++) alpha(10000);\n");
	ck_assert(run("node --perf-prof a.js && mv jit-*.dump dump && "
			"test -n \"$(grep -c alpha dump)\""));
	fd = open_file("dump");
	ck_assert_int_eq(symbolizer_open(SYMBOLIZER_PERF_MAP, fd, &s), 0);
	{
		/* Its own code is somewhere: find it by asking where the records say that it is. */
		static uint8_t bytes[16 << 20];
		ssize_t size = pread(fd, bytes, sizeof(bytes), 0);
		bool found = false;

		for (size_t at = 40; at + 56 < (size_t)size;) {
			uint32_t type, length;
			uint64_t address;

			memcpy(&type, bytes + at, 4);
			memcpy(&length, bytes + at + 4, 4);
			memcpy(&address, bytes + at + 32, 8);
			if (type == MADE_JIT_LOAD && strstr((char *)bytes + at + 56, "alpha")) {
				struct names *names;

				ck_assert_int_eq(symbolizer_resolve(s, &address, 1, &names), 0);
				ck_assert_uint_eq(names->locations.at[0].n_frames, 1);
				found |= strstr(strtab_get(names->strings, names->frames.at[0].name, NULL), "alpha") != NULL;
				names_free(names);
			}
			at += length;
		}
		ck_assert(found);
	}
	symbolizer_free(s);
	scratch_end();
}
END_TEST

UNIT_TESTS("resolve_jitdump", code_has_the_name_that_it_was_loaded_with, of_code_that_was_loaded_over_other_code_the_later_tells,
	   code_that_moved_is_known_at_both_places_until_the_old_one_is_used_again, lines_belong_to_the_code_loaded_next,
	   lines_of_v8_are_told_behind_a_header_that_is_not_there, a_table_of_lines_that_does_not_add_up_is_none,
	   what_is_cut_off_or_behind_the_end_is_not_there, a_record_that_leads_nowhere_ends_it,
	   a_file_of_another_machine_or_version_names_nothing, what_node_writes_is_read)
