/* SPDX-License-Identifier: Apache-2.0 */
#include "go_history.h"

#include <stdlib.h>

#include "../main.h"
#include "clock.h"
#include "go_goroutines.h"

/* A goroutine that waits in a channel. */
static struct go_goroutine waiting(uint64_t id, uint64_t noted_nsec)
{
	return (struct go_goroutine){ .id = id, .address = 0xc000000000 + id * 512, .sp = 0x1000 * id, .status = GO_WAITING, .wait_reason = 14,
		.wait_since_nsec = noted_nsec };
}

/* How long the one goroutine of a snapshot has waited, in seconds. */
static uint64_t look(struct go_history *history, struct go_goroutine goroutine, uint64_t sec, uint32_t n_gc)
{
	struct go_goroutines goroutines = { .all = { .at = &goroutine, .n = 1 } };
	const struct go_history_moment moment = { sec * NSEC_PER_SEC, n_gc };
	uint64_t *nsec = NULL, waited_nsec;

	ck_assert_int_eq(go_history_add(history, &goroutines, &moment, &nsec), 0);
	waited_nsec = nsec[0];
	free(nsec);
	return waited_nsec / NSEC_PER_SEC;
}

START_TEST(a_wait_that_goes_on_is_as_long_as_it_was_seen)
{
	struct go_history *history = go_history_new();

	ck_assert_uint_eq(look(history, waiting(1, 0), 100, 5), 0);
	ck_assert_uint_eq(look(history, waiting(1, 0), 160, 5), 60);
	ck_assert_uint_eq(look(history, waiting(1, 0), 220, 6), 120);
	go_history_free(history);
}
END_TEST

START_TEST(what_the_runtime_noted_before_the_first_look_counts)
{
	struct go_history *history = go_history_new();

	ck_assert_uint_eq(look(history, waiting(1, 40 * NSEC_PER_SEC), 100, 5), 60);
	ck_assert_uint_eq(look(history, waiting(1, 40 * NSEC_PER_SEC), 160, 9), 120);
	go_history_free(history);
}
END_TEST

START_TEST(a_note_that_comes_after_the_first_look_does_not_shorten_the_wait)
{
	struct go_history *history = go_history_new();

	ck_assert_uint_eq(look(history, waiting(1, 0), 100, 5), 0);
	ck_assert_uint_eq(look(history, waiting(1, 130 * NSEC_PER_SEC), 160, 7), 60);
	ck_assert_uint_eq(look(history, waiting(1, 130 * NSEC_PER_SEC), 220, 8), 120);
	go_history_free(history);
}
END_TEST

START_TEST(who_ran_in_between_waits_anew)
{
	struct go_history *history = go_history_new();
	struct go_goroutine elsewhere = waiting(1, 0), other = waiting(1, 0);

	ck_assert_uint_eq(look(history, waiting(1, 0), 100, 5), 0);
	/* At another place, and again there. */
	elsewhere.sp += 64;
	ck_assert_uint_eq(look(history, elsewhere, 160, 5), 0);
	ck_assert_uint_eq(look(history, elsewhere, 220, 5), 60);
	/* Another goroutine has the same g. */
	other.id = 7;
	ck_assert_uint_eq(look(history, other, 280, 5), 0);
	go_history_free(history);
}
END_TEST

START_TEST(the_runtimes_note_tells_of_a_run_that_nobody_saw)
{
	struct go_history *history = go_history_new();

	ck_assert_uint_eq(look(history, waiting(1, 50 * NSEC_PER_SEC), 100, 5), 50);
	/* Noted later than it was: it has run. */
	ck_assert_uint_eq(look(history, waiting(1, 130 * NSEC_PER_SEC), 160, 7), 30);
	/* Two collections went by since, and none noted it. */
	ck_assert_uint_eq(look(history, waiting(1, 0), 220, 7), 0);
	ck_assert_uint_eq(look(history, waiting(1, 0), 280, 9), 0);
	go_history_free(history);
}
END_TEST

START_TEST(who_runs_does_not_wait_and_who_is_gone_is_forgotten)
{
	struct go_history *history = go_history_new();
	struct go_goroutine running = waiting(1, 0);

	running.status = GO_RUNNING;
	ck_assert_uint_eq(look(history, waiting(1, 0), 100, 5), 0);
	ck_assert_uint_eq(look(history, running, 160, 5), 0);
	ck_assert_uint_eq(look(history, waiting(1, 0), 220, 5), 0);
	/* It is the only one in each of them. */
	ck_assert_uint_eq(look(history, waiting(2, 0), 280, 5), 0);
	ck_assert_uint_eq(look(history, waiting(1, 0), 340, 5), 0);
	go_history_free(history);
}
END_TEST

START_TEST(a_note_from_the_future_is_none)
{
	struct go_history *history = go_history_new();

	ck_assert_uint_eq(look(history, waiting(1, 500 * NSEC_PER_SEC), 100, 5), 0);
	go_history_free(history);
}
END_TEST

UNIT_TESTS("go_history", a_wait_that_goes_on_is_as_long_as_it_was_seen, what_the_runtime_noted_before_the_first_look_counts,
		a_note_that_comes_after_the_first_look_does_not_shorten_the_wait, who_ran_in_between_waits_anew,
		the_runtimes_note_tells_of_a_run_that_nobody_saw, who_runs_does_not_wait_and_who_is_gone_is_forgotten,
		a_note_from_the_future_is_none)
