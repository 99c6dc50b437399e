/* SPDX-License-Identifier: Apache-2.0 */
#include "programs.h"

static void perfmap(const char *content, struct symbolizer **ret)
{
	scratch_begin();
	write_file("perf.map", content);
	{
		_cleanup_close_ int fd = open_file("perf.map");

		ck_assert_int_eq(symbolizer_open(SYMBOLIZER_PERF_MAP, fd, ret), 0);
	}
	scratch_end();
}

static void expect(struct symbolizer *s, uint64_t address, const char *wanted)
{
	struct names *names;

	ck_assert_int_eq(symbolizer_resolve(s, &address, 1, &names), 0);
	ck_assert_str_eq(names->locations.at[0].n_frames ? text(names, frame_at(names, 0, 0)->name) : "?", wanted);
	ck_assert_uint_eq(names->segments.n, 0);
	names_free(names);
}

START_TEST(names_keep_their_spaces)
{
	struct symbolizer *s;

	perfmap("7f0000001000 10 LazyCompile:*run /srv/a b.js:12\n7f0000001010 20 Lcom/x/Main;::run\r\n0x7f0000002000 0x10 prefixed\n", &s);
	expect(s, 0x7f0000001000, "LazyCompile:*run /srv/a b.js:12");
	expect(s, 0x7f000000100f, "LazyCompile:*run /srv/a b.js:12");
	expect(s, 0x7f0000001010, "Lcom/x/Main;::run");
	expect(s, 0x7f0000001030, "?");
	expect(s, 0x7f0000000fff, "?");
	expect(s, 0x7f0000002001, "prefixed");
	symbolizer_free(s);
}
END_TEST

START_TEST(of_overlapping_entries_the_later_line_tells)
{
	struct symbolizer *s;

	perfmap("1000 100 old\n1040 20 new\n2000 10 first\n2000 10 second\n3000 10 small\n2f00 400 large\n", &s);
	expect(s, 0x1000, "old");
	expect(s, 0x103f, "old");
	expect(s, 0x1040, "new");
	expect(s, 0x105f, "new");
	expect(s, 0x1060, "old");
	expect(s, 0x2005, "second");
	expect(s, 0x3005, "large");
	symbolizer_free(s);
}
END_TEST

START_TEST(a_last_line_without_its_end_is_not_there_yet)
{
	struct symbolizer *s;

	perfmap("1000 10 whole\n2000 10 trunc", &s);
	expect(s, 0x1000, "whole");
	expect(s, 0x2000, "?");
	symbolizer_free(s);
}
END_TEST

START_TEST(lines_that_make_no_sense_are_left_out)
{
	_cleanup_free_ char *content = malloc(20000);
	struct symbolizer *s;
	size_t n;

	strcpy(content, "\nnonsense\n-1000 10 minus\n1000 0 empty\nffffffffffffffff 10 wraps\n11112222333344445 10 too large\n1000 10\n1000 10 \n ");
	strcat(content, "1000 10 indented\n1000 10 ");
	n = strlen(content);
	memset(content + n, 'x', 5000);
	strcpy(content + n + 5000, "\n5000 10 good\n");
	perfmap(content, &s);
	expect(s, 0x1000, "?");
	expect(s, 0x5000, "good");
	symbolizer_free(s);
}
END_TEST

START_TEST(an_empty_map_has_no_names)
{
	struct symbolizer *s;

	perfmap("", &s);
	expect(s, 0x1000, "?");
	symbolizer_free(s);
}
END_TEST

START_TEST(of_a_million_and_more_lines_the_latest_are_known)
{
	struct symbolizer *s;

	scratch_begin();
	ck_assert(run("seq 0 1199999 | awk '{ printf \"%%x 10 function_%%d\\n\", 1048576 + $1 * 16, $1 }' >perf.map"));
	{
		_cleanup_close_ int fd = open_file("perf.map");

		ck_assert_int_eq(symbolizer_open(SYMBOLIZER_PERF_MAP, fd, &s), 0);
	}
	scratch_end();
	expect(s, 1048576 + 1199999 * 16 + 3, "function_1199999");
	expect(s, 1048576 + 200000 * 16 + 3, "function_200000");
	expect(s, 1048576 + 3, "?");
	symbolizer_free(s);
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
	_cleanup_close_ int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct symbolizer *s;

	ck_assert_int_eq(symbolizer_open(SYMBOLIZER_PERF_MAP, fd, &s), -EINVAL);
}
END_TEST

UNIT_TESTS("resolve_perfmap", names_keep_their_spaces, of_overlapping_entries_the_later_line_tells, a_last_line_without_its_end_is_not_there_yet,
	   lines_that_make_no_sense_are_left_out, an_empty_map_has_no_names, of_a_million_and_more_lines_the_latest_are_known,
	   what_is_no_regular_file_is_refused)
