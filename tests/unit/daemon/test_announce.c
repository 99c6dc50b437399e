/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "../main.h"
#include "announce.h"
#include "press.h"
#include "top.h"

static char *text_of(const struct press_file *files, size_t n)
{
	struct press_result result = { 0 };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_eq(vec_append(&result.files, files, n), 0);
	announce_result(&result, f);
	fclose(f);
	vec_deinit(&result.files);
	return text;
}

START_TEST(a_file_is_a_line_with_its_largest_functions_and_once_how_to_open_it)
{
	struct top_row rows[] = { { .name = "hot", .flat = 2000000000 }, { .name = "warm", .flat = 1000000000 }, { .name = "cold" } };
	struct top top = { .rows = rows, .n_rows = 3, .unit = (char *)"nanoseconds" };
	struct press_file file = { .path = (char *)"/p/a.pprof", .service = (char *)"a", .n_samples = 300, .top = &top };
	char *text = text_of(&file, 1);

	ck_assert_msg(strstr(text, "/p/a.pprof  300 samples  2s hot, 1s warm\n") == text, "%s", text);
	ck_assert_ptr_nonnull(strstr(text, "go tool pprof -http=: /p/a.pprof\n"));
	ck_assert_ptr_null(strstr(text, "cold"));
	free(text);
	text = text_of(&file, 1);
	ck_assert_ptr_null(strstr(text, "go tool pprof"));
	free(text);
}
END_TEST

START_TEST(a_file_that_could_not_be_written_tells_why)
{
	struct press_file file = { .service = (char *)"a", .error = -ENOSPC };
	char *text = text_of(&file, 1);

	ck_assert_str_eq(text, "a: not written: No space left on device\n");
	free(text);
}
END_TEST

START_TEST(a_late_file_says_so)
{
	struct press_file file = { .path = (char *)"/p/a.pprof", .service = (char *)"a", .n_samples = 7, .is_late = true };
	char *text = text_of(&file, 1);

	ck_assert_msg(strstr(text, "/p/a.pprof  7 samples (kept") == text, "%s", text);
	free(text);
}
END_TEST

START_TEST(nobody_reading_is_no_harm)
{
	struct press_file file = { .path = (char *)"/p/a.pprof", .service = (char *)"a", .n_samples = 7 };
	struct press_result result = { 0 };
	int fds[2];
	FILE *f;

	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe(fds), 0);
	close(fds[0]);
	f = fdopen(fds[1], "w");
	ck_assert_int_eq(vec_push(&result.files, file), 0);
	for (unsigned i = 0; i < 100; i++)
		announce_result(&result, f);
	fclose(f);
	vec_deinit(&result.files);
}
END_TEST

UNIT_TESTS("announce", a_file_is_a_line_with_its_largest_functions_and_once_how_to_open_it,
	a_file_that_could_not_be_written_tells_why, a_late_file_says_so, nobody_reading_is_no_harm)
