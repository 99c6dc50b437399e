/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlock_news.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "announce.h"
#include "deadlock_text.h"
#include "main.h"
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

static struct deadlock_text circle(uint64_t id, size_t n)
{
	struct deadlock_text text = { .service = strdup("a"), .process.pid = 7, .id = id, .n_waits = n };

	for (uint32_t i = 0; i < n && i < DEADLOCK_TEXT_MAX_WAITS; i++) {
		const struct deadlock_text_wait wait = { .tid = 10 + i, .owner_tid = 10 + (i + 1) % (uint32_t)n, .lock = 0x1000 + i, .thread = strdup("t"),
			.owner_thread = strdup("u"), .stack = strdup("want <- hold"), .whole_stack = strdup("futex <- want <- hold <- clone") };

		ck_assert_int_eq(vec_push(&text.waits, wait), 0);
	}
	return text;
}

/* A window in which these were found. */
static void add(struct deadlock_news *news, const uint64_t *ids, size_t n, size_t n_waits)
{
	struct press_result result = { .has_looked_for_deadlocks = true };

	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(vec_push(&result.deadlocks, circle(ids[i], n_waits)), 0);
	deadlock_news_add(news, &result);
	for (size_t i = 0; i < n; i++)
		deadlock_text_deinit(&result.deadlocks.at[i]);
	vec_deinit(&result.deadlocks);
}

START_TEST(a_deadlock_is_told_once_and_once_when_it_is_gone)
{
	struct deadlock_news *news = deadlock_news_new();
	const uint64_t ids[] = { 1, 2 };
	const char *text;

	catch_log();
	add(news, ids, 1, 2);
	text = said();
	ck_assert_uint_eq(count(text, "deadlock in a (process 7): 2 threads wait for each other."), 1);
	ck_assert_uint_eq(count(text, "thread 10 (t) waits for lock 0x1000, which thread 11 (u) has: want <- hold\n"), 1);
	ck_assert_uint_eq(count(text, "thread 11 (t) waits for lock 0x1001, which thread 10 (u) has: want <- hold\n"), 1);
	add(news, ids, 1, 2);
	ck_assert_str_eq(said(), "");
	add(news, ids, 2, 2);
	ck_assert_uint_eq(count(said(), "deadlock in a"), 1);
	add(news, ids + 1, 1, 2);
	ck_assert_str_eq(said(), "tsprofd: The deadlock in a (process 7) is gone.\n");
	add(news, ids, 1, 2);
	text = said();
	ck_assert_uint_eq(count(text, "is gone"), 1);
	ck_assert_uint_eq(count(text, "deadlock in a (process 7): 2"), 1);
	deadlock_news_free(news);
}
END_TEST

START_TEST(what_says_nothing_of_deadlocks_changes_nothing)
{
	struct deadlock_news *news = deadlock_news_new();
	const struct press_result other = { 0 }, blind = { .has_looked_for_deadlocks = true, .deadlocks_left_out = 1 };
	const uint64_t ids[] = { 1 };

	catch_log();
	add(news, ids, 1, 2);
	said();
	deadlock_news_add(news, &other);
	deadlock_news_add(news, &blind);
	ck_assert_str_eq(said(), "");
	deadlock_news_free(news);
}
END_TEST

START_TEST(of_a_long_circle_the_first_threads_are_told)
{
	struct deadlock_news *news = deadlock_news_new();
	const uint64_t ids[] = { 1 };
	const char *text;

	catch_log();
	add(news, ids, 1, 1000);
	text = said();
	ck_assert_uint_eq(count(text, "waits for lock"), 8);
	ck_assert_uint_eq(count(text, "1000 threads wait for each other, of which the first ones are told"), 1);
	ck_assert_uint_eq(count(text, "992 more threads"), 1);
	deadlock_news_free(news);
}
END_TEST

START_TEST(who_watches_a_terminal_sees_all_of_it)
{
	struct press_result result = { .has_looked_for_deadlocks = true };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_eq(vec_push(&result.deadlocks, circle(1, 1)), 0);
	announce_deadlocks(&result, f);
	fclose(f);
	ck_assert_str_eq(text, "deadlock in a (process 7): a thread waits for a lock that it has itself\n"
			"    thread 10 (t) waits for lock 0x1000, which it has itself: want <- hold\n");
	free(text);
	deadlock_text_deinit(&result.deadlocks.at[0]);
	vec_deinit(&result.deadlocks);
}
END_TEST

START_TEST(a_stack_of_hostile_names_is_cut_and_clean)
{
	struct deadlock_text_stack stack = { .max_size = 1024 };
	char name[5000];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(deadlock_text_add_frame(&stack, "a\033[2J\n"), 0);
	ck_assert_str_eq(stack.text, "a?[2J?");
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(deadlock_text_add_frame(&stack, name), 0);
	ck_assert_uint_lt(strlen(stack.text), 1024);
	ck_assert_str_eq(stack.text + strlen(stack.text) - 7, " <- ...");
	ck_assert_uint_eq(count(stack.text, "..."), 1);
	free(stack.text);
}
END_TEST

UNIT_TESTS("deadlock_news", a_deadlock_is_told_once_and_once_when_it_is_gone, what_says_nothing_of_deadlocks_changes_nothing,
	of_a_long_circle_the_first_threads_are_told, who_watches_a_terminal_sees_all_of_it, a_stack_of_hostile_names_is_cut_and_clean)
