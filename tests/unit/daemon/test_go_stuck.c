/* SPDX-License-Identifier: Apache-2.0 */
#include "go_stuck.h"

#include <string.h>

#include "../main.h"
#include "cleanup.h"
#include "clock.h"
#include "go_report.h"

#define LEAST (10 * NSEC_PER_SEC)
#define CHANNEL UINT64_C(0xc000100000)

enum { N = 3 }; /* 1 runs; 2 and 3 wait, each for a channel of its own */

/* Of what is to be searched for as many searches, of which none found anybody. */
static struct go_report make_report(uint64_t seconds, uint32_t n_searches)
{
	struct go_report report = { .taken_nsec = seconds * NSEC_PER_SEC, .asked = 1U << GO_REPORT_GOROUTINES | (n_searches ? 1U << GO_REPORT_REACH : 0) };

	report.has = report.asked;
	report.goroutines.n_wait_reasons = 2;
	strcpy(report.goroutines.wait_reasons[1], "chan receive");
	for (uint64_t i = 1; i <= N; i++) {
		struct go_goroutine g = { .id = i, .address = 0xc000000000 + i * 512, .sp = 0xc000200000 + i * 4096, .go_pc = 0x401000, .status = GO_RUNNING };

		if (i > 1) {
			g.status = GO_WAITING, g.wait_reason = 1, g.first_wait = report.goroutines.waits.all.n, g.n_waits = 1;
			ck_assert_int_eq(vec_push(&report.goroutines.waits.all, ((struct go_wait){ CHANNEL + i * 96, GO_WAIT_RECEIVE })), 0);
			if (n_searches)
				ck_assert_int_eq(vec_push(&report.reach.all.objects, CHANNEL + i * 96), 0);
		}
		ck_assert_int_eq(vec_push(&report.goroutines.all, g), 0);
	}
	report.reach.n_searches = n_searches;
	report.reach.took_nsec = n_searches ? NSEC_PER_SEC / 10 : 0;
	return report;
}

static void add(struct go_stuck *stuck, struct go_report report)
{
	ck_assert_int_eq(go_stuck_add(stuck, &report), 0);
	go_report_deinit(&report);
}

static size_t n_members(const struct go_stuck *stuck)
{
	const struct goroutine_deadlocks *found = go_stuck_found(stuck);
	size_t n = 0;

	for (size_t i = 0; i < found->all.n; i++)
		n += found->all.at[i].members.n;
	return n;
}

START_TEST(it_wants_a_search_when_some_have_been_still_for_long)
{
	struct go_stuck *stuck = go_stuck_new(LEAST);

	ck_assert(!go_stuck_wants_search(stuck, 0));
	add(stuck, make_report(100, 0));
	add(stuck, make_report(109, 0));
	ck_assert(!go_stuck_wants_search(stuck, 109 * NSEC_PER_SEC));
	add(stuck, make_report(110, 0));
	ck_assert(go_stuck_wants_search(stuck, 110 * NSEC_PER_SEC));
	go_stuck_free(stuck);
}
END_TEST

static void other_sp(struct go_goroutine *g, struct go_report *report)
{
	g->sp += 16;
}

static void other_channel(struct go_goroutine *g, struct go_report *report)
{
	report->goroutines.waits.all.at[g->first_wait].address += 96;
}

static void other_time(struct go_goroutine *g, struct go_report *report)
{
	g->wait_since_nsec = 2;
}

static void runs(struct go_goroutine *g, struct go_report *report)
{
	g->status = GO_RUNNABLE;
}

static void is_of_the_system(struct go_goroutine *g, struct go_report *report)
{
	g->is_system = true;
}

START_TEST(whoever_moved_has_not_been_still)
{
	static void (*const moves[])(struct go_goroutine *g, struct go_report *report) = { other_sp, other_channel, other_time, runs, is_of_the_system };

	for (size_t move = 0; move < ARRAY_SIZE(moves); move++) {
		struct go_stuck *stuck = go_stuck_new(LEAST);

		for (uint64_t look = 0; look < 2; look++) {
			struct go_report report = make_report(100 + look * 20, 0);

			for (size_t i = 1; i < N; i++)
				report.goroutines.all.at[i].wait_since_nsec = 1;
			for (size_t i = 1; i < N && look; i++)
				moves[move](&report.goroutines.all.at[i], &report);
			add(stuck, report);
		}
		ck_assert_msg(!go_stuck_wants_search(stuck, 120 * NSEC_PER_SEC), "move %zu", move);
		go_stuck_free(stuck);
	}
}
END_TEST

START_TEST(a_wait_that_is_noted_later_is_the_same)
{
	struct go_stuck *stuck = go_stuck_new(LEAST);
	struct go_report report = make_report(120, 0);

	add(stuck, make_report(100, 0));
	report.goroutines.all.at[1].wait_since_nsec = 105 * NSEC_PER_SEC;
	report.goroutines.all.at[2].status = GO_RUNNABLE;
	add(stuck, report);
	ck_assert(go_stuck_wants_search(stuck, 120 * NSEC_PER_SEC));
	go_stuck_free(stuck);
}
END_TEST

START_TEST(a_search_is_paid_for_with_a_hundred_times_its_time)
{
	struct go_stuck *stuck = go_stuck_new(LEAST);
	uint64_t took_nsec;

	add(stuck, make_report(100, 0));
	add(stuck, make_report(120, 3));
	/* It took a tenth of a second. */
	ck_assert(!go_stuck_wants_search(stuck, 129 * NSEC_PER_SEC));
	ck_assert(go_stuck_wants_search(stuck, 130 * NSEC_PER_SEC));
	ck_assert_uint_eq(go_stuck_searches(stuck, &took_nsec), 3);
	ck_assert_uint_eq(took_nsec, NSEC_PER_SEC / 10);
	go_stuck_free(stuck);
}
END_TEST

START_TEST(one_that_comes_to_nothing_is_paid_for_too)
{
	struct go_stuck *stuck = go_stuck_new(LEAST);
	struct go_report nothing = { .asked = 1U << GO_REPORT_GOROUTINES | 1U << GO_REPORT_REACH, .taken_nsec = 120 * NSEC_PER_SEC };

	add(stuck, make_report(100, 0));
	add(stuck, make_report(115, 0));
	ck_assert(go_stuck_wants_search(stuck, 120 * NSEC_PER_SEC));
	add(stuck, nothing);
	ck_assert(!go_stuck_wants_search(stuck, 130 * NSEC_PER_SEC));
	ck_assert(go_stuck_wants_search(stuck, 220 * NSEC_PER_SEC));
	go_stuck_free(stuck);
}
END_TEST

START_TEST(what_nobody_reaches_is_told_from_three_searches_on)
{
	for (uint32_t n = 1; n <= 5; n++) {
		struct go_stuck *stuck = go_stuck_new(LEAST);

		add(stuck, make_report(100, 0));
		add(stuck, make_report(120, n));
		ck_assert_msg(n_members(stuck) == (n >= 3 ? 2 : 0), "%u searches: %zu", n, n_members(stuck));
		go_stuck_free(stuck);
	}
}
END_TEST

START_TEST(what_anybody_reaches_is_not_told)
{
	struct go_stuck *stuck = go_stuck_new(LEAST);
	struct go_report report = make_report(120, 5);

	/* One by a variable, the other one by who runs. */
	ck_assert_int_eq(vec_push(&report.reach.all.ways, ((struct go_reach_way){ CHANNEL + 2 * 96, 0, false })), 0);
	ck_assert_int_eq(vec_push(&report.reach.all.ways, ((struct go_reach_way){ CHANNEL + 3 * 96, 1, false })), 0);
	add(stuck, make_report(100, 0));
	add(stuck, report);
	ck_assert_uint_eq(n_members(stuck), 0);
	go_stuck_free(stuck);
}
END_TEST

START_TEST(what_was_not_searched_for_is_not_told)
{
	struct go_stuck *stuck = go_stuck_new(LEAST);
	struct go_report report = make_report(120, 5);

	report.reach.all.objects.n = 0;
	add(stuck, make_report(100, 0));
	add(stuck, report);
	ck_assert_uint_eq(n_members(stuck), 0);
	go_stuck_free(stuck);
}
END_TEST

START_TEST(it_holds_until_one_of_them_moves)
{
	struct go_stuck *stuck = go_stuck_new(LEAST);
	struct go_report report = make_report(150, 0);
	size_t n;

	add(stuck, make_report(100, 0));
	add(stuck, make_report(120, 5));
	add(stuck, make_report(140, 0));
	ck_assert_uint_eq(n_members(stuck), 2);
	n = go_stuck_found(stuck)->all.n;
	report.goroutines.all.at[1].sp += 16;
	add(stuck, report);
	ck_assert_uint_eq(go_stuck_found(stuck)->all.n, n - 1);
	go_stuck_free(stuck);
}
END_TEST

UNIT_TESTS("go_stuck", it_wants_a_search_when_some_have_been_still_for_long, whoever_moved_has_not_been_still, a_wait_that_is_noted_later_is_the_same,
	a_search_is_paid_for_with_a_hundred_times_its_time, one_that_comes_to_nothing_is_paid_for_too, what_nobody_reaches_is_told_from_three_searches_on,
	what_anybody_reaches_is_not_told, what_was_not_searched_for_is_not_told, it_holds_until_one_of_them_moves)
