/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_leak_news.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "announce.h"
#include "clock.h"
#include "goroutine_leak_text.h"
#include "main.h"
#include "map.h"
#include "press.h"

/* What was said to standard error since the last time. */
static int log_fd = -1;

static const char *said(void)
{
	static char text[65536];
	ssize_t n;

	fflush(stderr);
	n = pread(log_fd, text, sizeof(text) - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	ck_assert_int_eq(ftruncate(log_fd, 0), 0);
	lseek(log_fd, 0, SEEK_SET);
	return text;
}

static void catch_log(void)
{
	log_fd = memfd_create("log", 0);
	ck_assert_int_ge(dup2(log_fd, STDERR_FILENO), 0);
}

static size_t count(const char *text, const char *word)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
		n++;
	return n;
}

static struct goroutine_leak_text leak(uint64_t id, uint32_t pid)
{
	return (struct goroutine_leak_text){ .service = strdup("a"), .process.pid = pid, .id = id, .function = strdup("main.worker"),
		.creator = strdup("main.handle (/src/a.go:12)"), .grows_nsec = 750 * NSEC_PER_SEC,
		.is = { .wait = "chan receive", .n = 18200, .per_hour = 1234567.6, .confidence = 77, .n_examples = 2,
			.examples = { { 123, 660 * NSEC_PER_SEC }, { 7, 119 * NSEC_PER_SEC } } } };
}

static const uint32_t pid = 7, other_pid = 8;

/* Of which things are told. */
static const struct map *targets;

/* A snapshot of both processes, or of the second one alone, that has these. */
static void add(struct goroutine_leak_news *news, const uint64_t *ids, size_t n, bool is_read)
{
	struct press_result result = { 0 };

	if (is_read)
		ck_assert_int_eq(vec_push(&result.leak_pids, pid), 0);
	ck_assert_int_eq(vec_push(&result.leak_pids, other_pid), 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(vec_push(&result.leaks, leak(ids[i], pid)), 0);
	goroutine_leak_news_add(news, &result, targets);
	goroutine_leak_text_deinit(&result.leaks);
	vec_deinit(&result.leak_pids);
}

static const uint64_t ids[] = { 1, 2 };

START_TEST(a_leak_is_told_once_and_once_when_it_is_over)
{
	struct goroutine_leak_news *news = goroutine_leak_news_new();

	catch_log();
	add(news, ids, 1, true);
	ck_assert_str_eq(said(), "tsprofd: goroutine leak in a (process 7): main.worker created by main.handle (/src/a.go:12), waits in chan receive: "
			"18,200 now, +1,234,568 an hour, confidence 77 %, seen growing for 12m, examples 123 (11m), 7 (119s).\n");
	add(news, ids, 1, true);
	ck_assert_str_eq(said(), "");
	add(news, ids, 2, true);
	ck_assert_uint_eq(count(said(), "goroutine leak in a"), 1);
	for (int i = 0; i < 2; i++)
		add(news, ids + 1, 1, true);
	ck_assert_str_eq(said(), "");
	add(news, ids + 1, 1, true);
	ck_assert_str_eq(said(), "tsprofd: The goroutine leak in a (process 7) is over, they grow no more: "
			"main.worker created by main.handle (/src/a.go:12), waits in chan receive.\n");
	add(news, ids, 2, true);
	ck_assert_uint_eq(count(said(), "goroutine leak in a"), 1);
	goroutine_leak_news_free(news);
}
END_TEST

START_TEST(one_that_comes_and_goes_is_told_once)
{
	struct goroutine_leak_news *news = goroutine_leak_news_new();

	catch_log();
	for (int i = 0; i < 30; i++)
		add(news, ids, i % 3 == 0, true);
	ck_assert_uint_eq(count(said(), "goroutine leak in a"), 1);
	goroutine_leak_news_free(news);
}
END_TEST

START_TEST(of_a_process_that_could_not_be_read_nothing_is_over)
{
	struct goroutine_leak_news *news = goroutine_leak_news_new();
	const struct press_result other = { 0 };

	catch_log();
	add(news, ids, 1, true);
	said();
	for (int i = 0; i < 10; i++) {
		add(news, NULL, 0, false);
		goroutine_leak_news_add(news, &other, NULL);
	}
	ck_assert_str_eq(said(), "");
	goroutine_leak_news_free(news);
}
END_TEST

START_TEST(with_its_process_it_is_over)
{
	struct goroutine_leak_news *news = goroutine_leak_news_new();
	struct map pids;
	void *value;

	catch_log();
	map_init(&pids, sizeof(uint32_t), 0);
	ck_assert_int_eq(map_put(&pids, &pid, &value), 1);
	add(news, ids, 2, true);
	said();
	goroutine_leak_news_keep(news, &pids);
	ck_assert_str_eq(said(), "");
	map_remove(&pids, &pid);
	goroutine_leak_news_keep(news, &pids);
	ck_assert_uint_eq(count(said(), "is over, their process has ended or is no target any more: main.worker"), 2);
	goroutine_leak_news_keep(news, &pids);
	ck_assert_str_eq(said(), "");
	/* A snapshot of it that was on its way. */
	targets = &pids;
	add(news, ids, 2, true);
	ck_assert_str_eq(said(), "");
	map_deinit(&pids);
	goroutine_leak_news_free(news);
}
END_TEST

START_TEST(a_thousand_are_remembered)
{
	struct goroutine_leak_news *news = goroutine_leak_news_new();
	uint64_t many[1200];

	catch_log();
	for (uint64_t i = 0; i < 1200; i++)
		many[i] = i + 1;
	for (int i = 0; i < 3; i++) {
		add(news, many, 1200, true);
		for (uint64_t k = 0; k < 10; k++) /* said() takes no more at once */
			said();
	}
	add(news, many, 1200, true);
	ck_assert_str_eq(said(), "");
	goroutine_leak_news_free(news);
}
END_TEST

START_TEST(who_watches_a_terminal_sees_all_of_it)
{
	struct press_result result = { 0 };
	struct goroutine_leak_text bare = { .service = strdup("b\033[1m"), .process.pid = 9, .is = { .wait = "a\nb", .n = 999, .per_hour = -3 } };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_eq(vec_push(&result.leaks, leak(1, 7)), 0);
	ck_assert_int_eq(vec_push(&result.leaks, bare), 0);
	announce_goroutine_leaks(&result, f);
	fclose(f);
	ck_assert_str_eq(text, "goroutine leak in a (process 7): main.worker created by main.handle (/src/a.go:12), waits in chan receive: 18,200 now, "
			"+1,234,568 an hour, confidence 77 %, seen growing for 12m, examples 123 (11m), 7 (119s)\n"
			"goroutine leak in b?[1m (process 9): [unknown], waits in a?b: 999 now, +0 an hour, confidence 0 %, seen growing for 0s\n");
	free(text);
	goroutine_leak_text_deinit(&result.leaks);
}
END_TEST

UNIT_TESTS("goroutine_leak_news", a_leak_is_told_once_and_once_when_it_is_over, one_that_comes_and_goes_is_told_once,
	of_a_process_that_could_not_be_read_nothing_is_over, with_its_process_it_is_over, a_thousand_are_remembered,
	who_watches_a_terminal_sees_all_of_it)
