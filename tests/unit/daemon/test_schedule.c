/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule.h"

#include "clock.h"
#include "main.h"

static const struct schedule every_five_minutes = {
	.interval_nsec = 300 * NSEC_PER_SEC,
	.duration_nsec = 30 * NSEC_PER_SEC,
	.rate = 99,
	.background_rate = 19,
};

static const uint64_t aligned = 5666666 * 300 * NSEC_PER_SEC; /* some multiple of the interval */

START_TEST(a_scheduled_window_starts_at_a_multiple_of_the_interval)
{
	struct schedule_window w = schedule_window(&every_five_minutes, aligned, 1000);

	ck_assert(w.scheduled);
	ck_assert_uint_eq(w.rate, 99);
	ck_assert_uint_eq(w.end_nsec, 1000 + 30 * NSEC_PER_SEC);
}
END_TEST

START_TEST(the_background_reaches_to_the_next_scheduled_window)
{
	struct schedule_window w = schedule_window(&every_five_minutes, aligned + 30 * NSEC_PER_SEC, 0);

	ck_assert(!w.scheduled);
	ck_assert_uint_eq(w.rate, 19);
	ck_assert_uint_eq(w.end_nsec, 270 * NSEC_PER_SEC);
}
END_TEST

START_TEST(a_timer_that_fires_early_does_not_make_a_sliver)
{
	struct schedule_window w = schedule_window(&every_five_minutes, aligned - 1000, 0);

	ck_assert(w.scheduled);
	ck_assert_uint_eq(w.end_nsec, 30 * NSEC_PER_SEC + 1000);
	w = schedule_window(&every_five_minutes, aligned + 30 * NSEC_PER_SEC - 1000, 0);
	ck_assert(!w.scheduled);
	ck_assert_uint_eq(w.end_nsec, 270 * NSEC_PER_SEC + 1000);
}
END_TEST

START_TEST(equal_duration_and_interval_leave_no_background)
{
	struct schedule gapless = { 10 * NSEC_PER_SEC, 10 * NSEC_PER_SEC, 99, 19 };

	for (uint64_t wall = aligned; wall < aligned + 20 * NSEC_PER_SEC; wall += 10 * NSEC_PER_MSEC) {
		struct schedule_window w = schedule_window(&gapless, wall, 0);

		ck_assert(w.scheduled);
		ck_assert_uint_eq((wall + w.end_nsec) % (10 * NSEC_PER_SEC), 0);
	}
}
END_TEST

/* Follows the schedule for a day with timers that fire up to 20 ms late or 1 ms early, and a wall clock that jumps. */
START_TEST(windows_cover_all_time_whatever_the_clocks_do)
{
	uint64_t monotonic = 77, wall = aligned + 123456789, end = monotonic + 24 * 3600 * NSEC_PER_SEC;
	uint64_t n_scheduled = 0;

	srandom(1);
	while (monotonic < end) {
		struct schedule_window w = schedule_window(&every_five_minutes, wall, monotonic);
		uint64_t late = (uint64_t)random() % (21 * NSEC_PER_MSEC);
		uint64_t next = w.end_nsec + late - NSEC_PER_MSEC;

		ck_assert_uint_gt(w.end_nsec, monotonic);
		ck_assert_uint_le(w.end_nsec - monotonic, 301 * NSEC_PER_SEC);
		n_scheduled += w.scheduled;
		wall += next - monotonic;
		monotonic = next;
		if (random() % 50 == 0)
			wall += (uint64_t)(random() % 7200 - 3600) * NSEC_PER_SEC;
	}
	/* 288 in a day, and a few more or less for the jumps. */
	ck_assert_uint_ge(n_scheduled, 270);
	ck_assert_uint_le(n_scheduled, 310);
}
END_TEST

UNIT_TESTS("schedule", a_scheduled_window_starts_at_a_multiple_of_the_interval,
		the_background_reaches_to_the_next_scheduled_window, a_timer_that_fires_early_does_not_make_a_sliver,
		equal_duration_and_interval_leave_no_background, windows_cover_all_time_whatever_the_clocks_do)
