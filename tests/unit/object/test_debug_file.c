/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "debug_file.h"
#include "main.h"

static const char *const directories[] = { "/usr/lib/debug", "/srv/debug", NULL };

/* All candidates, a line each. */
static const char *listed(int (*list)(const struct debug_file_wants *, const char *, const char *const *, struct debug_file_paths *),
		const struct debug_file_wants *wants, const char *path)
{
	static char all[8192];
	struct debug_file_paths paths = { 0 };

	ck_assert_int_eq(list(wants, path, directories, &paths), 0);
	all[0] = '\0';
	for (size_t i = 0; i < paths.paths.n; i++) {
		strcat(all, paths.paths.at[i]);
		strcat(all, "\n");
	}
	debug_file_paths_deinit(&paths);
	return all;
}

static struct debug_file_wants wants_link(const char *link)
{
	struct debug_file_wants wants = { .debug_file = true };

	snprintf(wants.link, sizeof(wants.link), "%s", link);
	return wants;
}

START_TEST(a_build_id_leads_into_each_directory)
{
	struct debug_file_wants wants = { .debug_file = true, .build_id = { .size = 3, .bytes = { 0xab, 0xcd, 0xef } } };

	ck_assert_str_eq(listed(debug_file_candidates, &wants, NULL), "/usr/lib/debug/.build-id/ab/cdef.debug\n/srv/debug/.build-id/ab/cdef.debug\n");
}
END_TEST

START_TEST(a_debug_link_leads_beside_the_file_and_into_each_directory)
{
	struct debug_file_wants wants = wants_link("ls.debug");

	ck_assert_str_eq(listed(debug_file_candidates, &wants, "/usr/bin/ls"), "/usr/bin/ls.debug\n/usr/bin/.debug/ls.debug\n"
			 "/usr/lib/debug/usr/bin/ls.debug\n/srv/debug/usr/bin/ls.debug\n");
	ck_assert_str_eq(listed(debug_file_candidates, &wants, "/ls"), "/ls.debug\n/.debug/ls.debug\n/usr/lib/debug/ls.debug\n/srv/debug/ls.debug\n");
}
END_TEST

START_TEST(a_debug_link_that_is_no_base_name_leads_nowhere)
{
	static const char *const names[] = { "../../etc/shadow", "/etc/shadow", "a/b", "..", ".", "" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct debug_file_wants wants = wants_link(names[i]);

		ck_assert_str_eq(listed(debug_file_candidates, &wants, "/usr/bin/ls"), "");
	}
}
END_TEST

START_TEST(a_debug_link_without_its_end_leads_nowhere)
{
	struct debug_file_wants wants = { .debug_file = true };

	memset(wants.link, 'x', sizeof(wants.link));
	ck_assert_str_eq(listed(debug_file_candidates, &wants, "/usr/bin/ls"), "");
}
END_TEST

START_TEST(a_path_that_is_not_absolute_or_leaves_the_root_leads_nowhere)
{
	struct debug_file_wants wants = wants_link("x");

	ck_assert_str_eq(listed(debug_file_candidates, &wants, NULL), "");
	ck_assert_str_eq(listed(debug_file_candidates, &wants, "bin/ls"), "");
	ck_assert_str_eq(listed(debug_file_candidates, &wants, "/a/../../ls"), "");
	ck_assert_str_eq(listed(debug_file_candidates, &wants, "[vdso]"), "");
}
END_TEST

START_TEST(who_wants_nothing_gets_nothing)
{
	struct debug_file_wants wants = { .build_id = { .size = 20 } };

	ck_assert_str_eq(listed(debug_file_candidates, &wants, "/bin/ls"), "");
	ck_assert_str_eq(listed(debug_file_supplement_candidates, &wants, "/bin/ls"), "");
}
END_TEST

static struct debug_file_wants wants_supplement(const char *path)
{
	struct debug_file_wants wants = { .supplement = true, .supplement_build_id = { .size = 2, .bytes = { 1, 0x2f } } };

	snprintf(wants.supplement_path, sizeof(wants.supplement_path), "%s", path);
	return wants;
}

START_TEST(a_supplement_is_looked_for_from_the_debug_file)
{
	/* As Debian's packages have it. */
	struct debug_file_wants wants = wants_supplement("../../.dwz/x86_64-linux-gnu/coreutils.debug");

	ck_assert_str_eq(listed(debug_file_supplement_candidates, &wants, "/usr/lib/debug/.build-id/ab/cdef.debug"),
			 "/usr/lib/debug/.build-id/01/2f.debug\n/srv/debug/.build-id/01/2f.debug\n"
			 "/usr/lib/debug/.dwz/x86_64-linux-gnu/coreutils.debug\n/usr/lib/debug/.dwz/coreutils.debug\n"
			 "/srv/debug/.dwz/x86_64-linux-gnu/coreutils.debug\n/srv/debug/.dwz/coreutils.debug\n");
}
END_TEST

START_TEST(an_absolute_supplement_is_taken_as_it_stands)
{
	struct debug_file_wants wants = wants_supplement("/usr//lib/./x/../debug/.dwz/a.debug");

	ck_assert_ptr_nonnull(strstr(listed(debug_file_supplement_candidates, &wants, "/bin/a"), "\n/usr/lib/debug/.dwz/a.debug\n"));
}
END_TEST

START_TEST(a_supplement_above_the_root_leads_nowhere)
{
	struct debug_file_wants wants = wants_supplement("../../../../../../..");

	ck_assert_str_eq(listed(debug_file_supplement_candidates, &wants, "/usr/bin/a"),
			 "/usr/lib/debug/.build-id/01/2f.debug\n/srv/debug/.build-id/01/2f.debug\n");
	/* Neither does one that climbs out of .dwz. */
	wants = wants_supplement("a/.dwz/../../../../etc/shadow");
	ck_assert_ptr_null(strstr(listed(debug_file_supplement_candidates, &wants, "/usr/bin/a"), ".."));
}
END_TEST

UNIT_TESTS("debug_file", a_build_id_leads_into_each_directory, a_debug_link_leads_beside_the_file_and_into_each_directory,
	   a_debug_link_that_is_no_base_name_leads_nowhere, a_debug_link_without_its_end_leads_nowhere,
	   a_path_that_is_not_absolute_or_leaves_the_root_leads_nowhere, who_wants_nothing_gets_nothing,
	   a_supplement_is_looked_for_from_the_debug_file, an_absolute_supplement_is_taken_as_it_stands,
	   a_supplement_above_the_root_leads_nowhere)
