/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_deadlock_news.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../main.h"
#include "announce.h"
#include "goroutine_deadlock_text.h"
#include "map.h"
#include "press.h"

/* What was said to standard error since the last time. */
static int log_fd = -1;

static const char *said(void)
{
	static char text[1 << 20];
	ssize_t n;

	fflush(stderr);
	n = pread(log_fd, text, sizeof(text) - 1, 0);
	ck_assert_int_ge(n, 0);
	ck_assert_int_lt(n, sizeof(text) - 1);
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

static struct goroutine_deadlock_text deadlock(uint64_t id, uint32_t pid, size_t n_told, uint64_t n_members)
{
	struct goroutine_deadlock_text text = { .service = strdup("a"), .process.pid = pid, .id = id, .head = strdup("2 goroutines wait for each other's locks"),
		.n_members = n_members };

	for (size_t i = 0; i < n_told; i++) {
		char *line = NULL;

		ck_assert_int_gt(asprintf(&line, "goroutine %zu waits", i + 18), 0);
		ck_assert_int_eq(vec_push(&text.members, line), 0);
	}
	return text;
}

static const uint32_t pid = 7, other_pid = 8;
static const uint64_t ids[] = { 1, 2 };

/* Of which things are told. */
static const struct map *targets;

/* A snapshot of both processes, or of the second one alone, that has these. */
static void add(struct goroutine_deadlock_news *news, const uint64_t *all, size_t n, bool is_read)
{
	struct press_result result = { 0 };

	if (is_read)
		ck_assert_int_eq(vec_push(&result.goroutine_deadlock_pids, pid), 0);
	ck_assert_int_eq(vec_push(&result.goroutine_deadlock_pids, other_pid), 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(vec_push(&result.goroutine_deadlocks, deadlock(all[i], pid, 2, 2)), 0);
	goroutine_deadlock_news_add(news, &result, targets);
	goroutine_deadlock_text_deinit(&result.goroutine_deadlocks);
	vec_deinit(&result.goroutine_deadlock_pids);
}

START_TEST(a_deadlock_is_told_once_and_once_when_it_is_over)
{
	struct goroutine_deadlock_news *news = goroutine_deadlock_news_new();

	catch_log();
	add(news, ids, 1, true);
	ck_assert_str_eq(said(), "tsprofd: goroutine deadlock in a (process 7): 2 goroutines wait for each other's locks.\n"
			"tsprofd: goroutine 18 waits\ntsprofd: goroutine 19 waits\n");
	add(news, ids, 1, true);
	ck_assert_str_eq(said(), "");
	add(news, ids, 2, true);
	ck_assert_uint_eq(count(said(), "goroutine deadlock in a"), 1);
	add(news, ids + 1, 1, true);
	ck_assert_str_eq(said(), "tsprofd: The goroutine deadlock in a (process 7) is gone: a goroutine has moved, or can be woken after all.\n");
	add(news, ids, 2, true);
	ck_assert_uint_eq(count(said(), "goroutine deadlock in a"), 1);
	add(news, NULL, 0, true);
	ck_assert_uint_eq(count(said(), "is gone"), 2);
	goroutine_deadlock_news_free(news);
}
END_TEST

START_TEST(of_many_goroutines_some_are_told_and_how_many_more_there_are)
{
	static const struct { size_t n_told; uint64_t n_members; size_t n_lines; const char *more; } cases[] = {
		{ 8, 8, 8, NULL }, { 9, 9, 8, "tsprofd: 1 more goroutines: " }, { 32, 1000, 8, "tsprofd: 992 more goroutines: " },
	};

	catch_log();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct goroutine_deadlock_news *news = goroutine_deadlock_news_new();
		struct press_result result = { 0 };
		const char *text;

		ck_assert_int_eq(vec_push(&result.goroutine_deadlocks, deadlock(1, pid, cases[i].n_told, cases[i].n_members)), 0);
		goroutine_deadlock_news_add(news, &result, NULL);
		text = said();
		ck_assert_uint_eq(count(text, " waits\n"), cases[i].n_lines);
		ck_assert_uint_eq(count(text, " more goroutines: "), !!cases[i].more);
		ck_assert(!cases[i].more || strstr(text, cases[i].more));
		goroutine_deadlock_text_deinit(&result.goroutine_deadlocks);
		goroutine_deadlock_news_free(news);
	}
}
END_TEST

START_TEST(of_a_process_that_could_not_be_read_nothing_is_over)
{
	struct goroutine_deadlock_news *news = goroutine_deadlock_news_new();
	const struct press_result other = { 0 };

	catch_log();
	add(news, ids, 1, true);
	said();
	for (int i = 0; i < 10; i++) {
		add(news, NULL, 0, false);
		goroutine_deadlock_news_add(news, &other, NULL);
	}
	add(news, ids, 1, true);
	ck_assert_str_eq(said(), "");
	goroutine_deadlock_news_free(news);
}
END_TEST

START_TEST(with_its_process_it_is_over)
{
	struct goroutine_deadlock_news *news = goroutine_deadlock_news_new();
	struct map pids;
	void *value;

	catch_log();
	map_init(&pids, sizeof(uint32_t), 0);
	ck_assert_int_eq(map_put(&pids, &pid, &value), 1);
	add(news, ids, 2, true);
	said();
	goroutine_deadlock_news_keep(news, &pids);
	ck_assert_str_eq(said(), "");
	map_remove(&pids, &pid);
	goroutine_deadlock_news_keep(news, &pids);
	ck_assert_uint_eq(count(said(), "in a (process 7) is gone: the process has ended or is no target any more.\n"), 2);
	goroutine_deadlock_news_keep(news, &pids);
	ck_assert_str_eq(said(), "");
	/* A snapshot of it that was on its way. */
	targets = &pids;
	add(news, ids, 2, true);
	ck_assert_str_eq(said(), "");
	map_deinit(&pids);
	goroutine_deadlock_news_free(news);
}
END_TEST

START_TEST(a_thousand_are_remembered_and_the_next_ones_told_when_there_is_room)
{
	struct goroutine_deadlock_news *news = goroutine_deadlock_news_new();
	uint64_t many[1200];

	catch_log();
	for (uint64_t i = 0; i < 1200; i++)
		many[i] = i + 1;
	add(news, many, 1200, true);
	ck_assert_uint_eq(count(said(), "goroutine deadlock in a"), 1024);
	add(news, many, 1200, true);
	ck_assert_str_eq(said(), "");
	/* Of the first hundred nothing is left: as many others have room at the next look. */
	add(news, many + 100, 1100, true);
	ck_assert_uint_eq(count(said(), "is gone"), 100);
	add(news, many + 100, 1100, true);
	ck_assert_uint_eq(count(said(), "goroutine deadlock in a"), 100);
	goroutine_deadlock_news_free(news);
}
END_TEST

START_TEST(who_watches_a_terminal_sees_all_of_it)
{
	struct press_result result = { 0 };
	struct goroutine_deadlock_text strange = deadlock(2, 9, 0, 0);
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	free(strange.service);
	strange.service = strdup("b\033[1m");
	ck_assert_int_eq(vec_push(&result.goroutine_deadlocks, deadlock(1, 7, 2, 5)), 0);
	ck_assert_int_eq(vec_push(&result.goroutine_deadlocks, strange), 0);
	announce_goroutine_deadlocks(&result, f);
	fclose(f);
	ck_assert_str_eq(text, "goroutine deadlock in a (process 7): 2 goroutines wait for each other's locks\n  goroutine 18 waits\n  goroutine 19 waits\n"
			"  3 more\ngoroutine deadlock in b?[1m (process 9): 2 goroutines wait for each other's locks\n");
	free(text);
	goroutine_deadlock_text_deinit(&result.goroutine_deadlocks);
}
END_TEST

UNIT_TESTS("goroutine_deadlock_news", a_deadlock_is_told_once_and_once_when_it_is_over, of_many_goroutines_some_are_told_and_how_many_more_there_are,
	of_a_process_that_could_not_be_read_nothing_is_over, with_its_process_it_is_over, a_thousand_are_remembered_and_the_next_ones_told_when_there_is_room,
	who_watches_a_terminal_sees_all_of_it)
