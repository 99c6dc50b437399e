/* SPDX-License-Identifier: Apache-2.0 */
#include "go_past.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "go_stuck.h"
#include "image.h"
#include "made_go_report.h"
#include "main.h"

static const uint64_t frames[] = { 0x401000, 0x402000 };
static const struct process_id process = { .pid = 42, .start_nsec = 1 };
static struct image image = { .id = { .pid = 42, .start_nsec = 1 }, .service = (char *)"server" };

/* Goroutines 1 and 2 wait, the second one for a channel. */
static struct go_report looked(uint64_t seconds)
{
	struct go_report report = made_report("go1.26.8");

	report.taken_nsec = seconds * NSEC_PER_SEC;
	made_goroutine(&report, 1, frames, 2);
	made_goroutine(&report, 2, frames, 2)->n_waits = 1;
	for (size_t i = 0; i < report.goroutines.all.n; i++)
		report.goroutines.all.at[i].address = 0xc000000000 + i * 512;
	ck_assert_int_eq(vec_push(&report.goroutines.waits.all, ((struct go_wait){ 0xc000100000, GO_WAIT_RECEIVE })), 0);
	return report;
}

static struct go_report recorded(double n_block)
{
	struct go_report report = made_report("go1.26.8");

	made_contentions(&report, GO_REPORT_BLOCK, frames, 2, n_block, 1000);
	made_contentions(&report, GO_REPORT_MUTEX, frames, 2, 1, 1000);
	return report;
}

/* Frees the report; the addition's `before`, `leaks`, `stuck` live on. How long the first goroutine has waited, in seconds. */
static uint64_t learn(struct go_past *past, const struct go_past_options *options, struct go_report report, struct go_addition *ret)
{
	uint64_t *waited_nsec = NULL, first_nsec;

	*ret = (struct go_addition){ .process = &process, .report = &report };
	ck_assert_int_eq(go_past_learn(past, options, ret, &waited_nsec), 0);
	ck_assert_ptr_eq(ret->waited_nsec, waited_nsec);
	first_nsec = waited_nsec ? waited_nsec[0] : 0;
	free(waited_nsec);
	made_report_free(&report);
	vec_deinit(&report.goroutines.waits.all);
	return first_nsec / NSEC_PER_SEC;
}

START_TEST(what_two_looks_tell_together_is_in_the_addition)
{
	const struct go_past_options options = { .stuck_nsec = 10 * NSEC_PER_SEC };
	struct go_past past = { 0 };
	struct go_addition addition;

	ck_assert_uint_eq(learn(&past, &options, looked(100), &addition), 0);
	ck_assert_uint_eq(learn(&past, &options, looked(130), &addition), 30);
	ck_assert_ptr_nonnull(addition.leaks);
	ck_assert_ptr_nonnull(addition.stuck);
	ck_assert_ptr_null(addition.before);
	go_past_deinit(&past);
	ck_assert_ptr_null(past.history);
}
END_TEST

START_TEST(a_look_without_goroutines_says_nothing_of_them)
{
	const struct go_past_options options = { 0 };
	struct go_past past = { 0 };
	struct go_addition addition;

	learn(&past, &options, looked(100), &addition);
	learn(&past, &options, recorded(3), &addition);
	ck_assert_ptr_null(addition.waited_nsec);
	ck_assert_ptr_null(addition.leaks);
	ck_assert_ptr_null(addition.stuck);
	go_past_deinit(&past);
}
END_TEST

START_TEST(records_of_waits_are_those_of_the_last_look_that_had_both)
{
	const struct go_past_options options = { 0 };
	struct go_past past = { 0 };
	struct go_addition addition;
	struct go_report first = recorded(3), half = made_report("go1.26.8");

	go_past_keep_waits(&past, &first);
	ck_assert_uint_eq(first.block.all.n, 0);
	made_contentions(&half, GO_REPORT_BLOCK, frames, 2, 7, 1000);
	go_past_keep_waits(&past, &half);
	ck_assert_uint_eq(half.block.all.n, 1);
	made_report_free(&half);
	learn(&past, &options, recorded(5), &addition);
	ck_assert_ptr_nonnull(addition.before);
	ck_assert_int_eq((int)addition.before->block.all.at[0].block.count, 3);
	ck_assert_uint_eq(addition.before->mutex.all.n, 1);
	first = recorded(5);
	go_past_keep_waits(&past, &first);
	learn(&past, &options, recorded(9), &addition);
	ck_assert_int_eq((int)addition.before->block.all.at[0].block.count, 5);
	go_past_deinit(&past);
}
END_TEST

START_TEST(whether_the_runtime_records_waits_is_as_it_was_read_last)
{
	const struct go_past_options options = { 0 };
	struct go_past past = { 0 };
	struct go_addition addition;
	struct go_report report = made_report("go1.26.8");

	learn(&past, &options, report, &addition);
	ck_assert(!past.has_rates);
	report.rates.of[GO_RATE_BLOCK] = (struct go_rate){ .address = 0x500000, .value = 1000, .size = 8 };
	learn(&past, &options, report, &addition);
	ck_assert(past.has_rates && past.records_block);
	/* One that could not be read says nothing of it. */
	learn(&past, &options, made_report(""), &addition);
	ck_assert(past.has_rates && past.records_block);
	report.rates.of[GO_RATE_BLOCK].value = 0;
	learn(&past, &options, report, &addition);
	ck_assert(past.has_rates && !past.records_block);
	go_past_deinit(&past);
}
END_TEST

START_TEST(of_goroutines_the_facts_are_those_of_the_last_look_at_them)
{
	struct go_past past = { 0 };

	go_past_keep_facts(&past, &image, &(struct go_process_facts){ .has_goroutines = true, .n_goroutines = 7, .has_leaks = true, .n_leaks = 2,
		.n_by_status[GO_WAITING] = 6, .n_searches = 3, .has_memory = true, .memory_rate = 512 });
	ck_assert(past.has_facts);
	ck_assert_str_eq(past.service, "server");
	go_past_keep_facts(&past, &image, &(struct go_process_facts){ .has_memory = true, .memory_rate = 1024 });
	ck_assert(past.facts.has_goroutines && past.facts.has_leaks);
	ck_assert_uint_eq(past.facts.n_goroutines, 7);
	ck_assert_uint_eq(past.facts.n_leaks, 2);
	ck_assert_uint_eq(past.facts.n_by_status[GO_WAITING], 6);
	ck_assert_uint_eq(past.facts.n_searches, 3);
	ck_assert_uint_eq(past.facts.memory_rate, 1024);
	go_past_keep_facts(&past, &image, &(struct go_process_facts){ .has_goroutines = true, .n_goroutines = 8 });
	ck_assert_uint_eq(past.facts.n_goroutines, 8);
	ck_assert_uint_eq(past.facts.n_leaks, 0);
	ck_assert(!past.facts.has_memory);
	go_past_deinit(&past);
}
END_TEST

START_TEST(one_search_is_made_at_a_time)
{
	const struct go_past_options options = { .stuck_nsec = 10 * NSEC_PER_SEC };
	struct go_past past = { 0 };
	struct go_addition addition;

	ck_assert(!go_past_begin_search(&past, 100 * NSEC_PER_SEC));
	learn(&past, &options, looked(100), &addition);
	ck_assert(!go_past_begin_search(&past, 100 * NSEC_PER_SEC));
	learn(&past, &options, looked(110), &addition);
	ck_assert(go_past_begin_search(&past, 110 * NSEC_PER_SEC));
	ck_assert(!go_past_begin_search(&past, 110 * NSEC_PER_SEC));
	go_past_end_search(&past);
	ck_assert(go_past_begin_search(&past, 110 * NSEC_PER_SEC));
	go_past_deinit(&past);
	ck_assert(!past.is_searched);
}
END_TEST

START_TEST(what_is_wrong_with_a_process_is_told_once)
{
	struct go_past past = { 0 };
	struct go_report report = made_report("go1.31");

	go_past_tell_refusal(&past, &image, &report);
	ck_assert(!past.has_refused);
	strcpy(report.refusal, "runtime layout of go1.31 not understood: allgs");
	go_past_tell_refusal(&past, &image, &report);
	ck_assert(past.has_refused);
	go_past_tell_memory_is_off(&past, &image);
	ck_assert(!past.is_off_told);
	go_past_keep_facts(&past, &image, &(struct go_process_facts){ .has_memory = true, .memory_is_off = true });
	go_past_tell_memory_is_off(&past, &image);
	ck_assert(past.is_off_told);
	go_past_deinit(&past);
}
END_TEST

UNIT_TESTS("go_past", what_two_looks_tell_together_is_in_the_addition, a_look_without_goroutines_says_nothing_of_them,
	records_of_waits_are_those_of_the_last_look_that_had_both, whether_the_runtime_records_waits_is_as_it_was_read_last,
	of_goroutines_the_facts_are_those_of_the_last_look_at_them, one_search_is_made_at_a_time, what_is_wrong_with_a_process_is_told_once)
