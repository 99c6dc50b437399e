/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "main.h"
#include "names.h"
#include "resolve.h"

static const char *added(struct names *names, const char *name)
{
	ck_assert_int_eq(names_add_frame(names, &(struct frame){ .name = name }), 0);
	return strtab_get(names->strings, names->frames.at[names->frames.n - 1].name, NULL);
}

START_TEST(a_frame_is_copied)
{
	struct names *names = names_new();
	char name[] = "n::f()", file[] = "/a.c";
	const struct names_frame *f;

	ck_assert_int_eq(names_add_frame(names, &(struct frame){ .name = name, .system_name = "_ZN1n1fEv", .file = file, .line = 3, .start_line = 2 }), 0);
	name[0] = file[1] = 'x';
	f = &names->frames.at[0];
	ck_assert_str_eq(strtab_get(names->strings, f->name, NULL), "n::f()");
	ck_assert_str_eq(strtab_get(names->strings, f->system_name, NULL), "_ZN1n1fEv");
	ck_assert_str_eq(strtab_get(names->strings, f->file, NULL), "/a.c");
	ck_assert_uint_eq(f->line, 3);
	ck_assert_uint_eq(f->start_line, 2);
	names_free(names);
}
END_TEST

START_TEST(what_is_absent_is_number_0)
{
	struct names *names = names_new();

	ck_assert_int_eq(names_add_frame(names, &(struct frame){ .line = 7 }), 0);
	ck_assert_uint_eq(names->frames.at[0].name, 0);
	ck_assert_uint_eq(names->frames.at[0].file, 0);
	ck_assert_str_eq(added(names, "same"), "same");
	ck_assert_uint_eq(names->frames.at[1].system_name, names->frames.at[1].name);
	names_free(names);
}
END_TEST

START_TEST(names_that_are_no_text_are_made_text)
{
	struct names *names = names_new();

	ck_assert_str_eq(added(names, "a\nb\x1b[2Jc\x7f"), "a?b?[2Jc?");
	ck_assert_str_eq(added(names, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x9a\x80"), "gr\xc3\xbc\xc3\x9f \xf0\x9f\x9a\x80");
	ck_assert_str_eq(added(names, "\xff\xc3"), "??");
	/* Too long a form of '/', a surrogate, beyond Unicode. */
	ck_assert_str_eq(added(names, "\xc0\xaf"), "??");
	ck_assert_str_eq(added(names, "\xed\xa0\x80"), "???");
	ck_assert_str_eq(added(names, "\xf4\x90\x80\x80"), "????");
	names_free(names);
}
END_TEST

START_TEST(a_name_that_is_too_long_is_cut)
{
	struct names *names = names_new();
	char *name = malloc(3 * RESOLVE_MAX_STRING);

	memset(name, 'x', 3 * RESOLVE_MAX_STRING - 1);
	name[3 * RESOLVE_MAX_STRING - 1] = '\0';
	ck_assert_uint_eq(strlen(added(names, name)), RESOLVE_MAX_STRING);
	free(name);
	names_free(names);
}
END_TEST

UNIT_TESTS("names", a_frame_is_copied, what_is_absent_is_number_0, names_that_are_no_text_are_made_text, a_name_that_is_too_long_is_cut)
