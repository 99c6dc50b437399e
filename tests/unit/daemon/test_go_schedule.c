/* SPDX-License-Identifier: Apache-2.0 */
#include "go_schedule.h"

#include "capture.h"
#include "clock.h"
#include "config.h"
#include "main.h"

#define MINUTE (60 * NSEC_PER_SEC)

static const uint64_t aligned = UINT64_C(5666666) * 300 * NSEC_PER_SEC; /* some multiple of both intervals */
static const struct config both = {
	.enabled = true,
	.goroutine = { .enabled = true, .snapshot_interval_usec = MINUTE / NSEC_PER_USEC },
	.memory = { .enabled = true, .mode = CONFIG_MEMORY_OFF + 1, .snapshot_interval_usec = 5 * MINUTE / NSEC_PER_USEC },
};

/* At 20 s after the boundary, CLOCK_MONOTONIC being 1,000 s. */
static struct go_schedule scheduled(const struct config *config)
{
	struct go_schedule schedule;

	go_schedule_init(&schedule);
	go_schedule_set_config(&schedule, config, aligned + 20 * NSEC_PER_SEC, 1000 * NSEC_PER_SEC);
	return schedule;
}

START_TEST(nothing_is_due_before_there_is_a_configuration)
{
	struct go_schedule schedule;

	go_schedule_init(&schedule);
	ck_assert_uint_eq(go_schedule_next(&schedule), UINT64_MAX);
	ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned, UINT64_MAX / 2), 0);
	ck_assert(!go_schedule_wants_rates(&schedule, UINT64_MAX / 2));
}
END_TEST

START_TEST(snapshots_are_due_at_the_boundaries_of_their_intervals)
{
	struct go_schedule schedule = scheduled(&both);

	ck_assert_uint_eq(go_schedule_next(&schedule), 1040 * NSEC_PER_SEC);
	ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned + 59 * NSEC_PER_SEC, 1039 * NSEC_PER_SEC), 0);
	ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned + MINUTE, 1040 * NSEC_PER_SEC), capture_kind_bit(PROFILE_GOROUTINE));
	ck_assert_uint_eq(go_schedule_next(&schedule), 1100 * NSEC_PER_SEC);
	for (uint64_t i = 2; i < 5; i++)
		ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned + i * MINUTE, (980 + 60 * i) * NSEC_PER_SEC),
				capture_kind_bit(PROFILE_GOROUTINE));
	ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned + 5 * MINUTE, 1280 * NSEC_PER_SEC),
			capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP));
	ck_assert_uint_eq(go_schedule_next(&schedule), 1340 * NSEC_PER_SEC);
}
END_TEST

START_TEST(a_timer_that_fires_early_takes_a_boundary_once)
{
	struct go_schedule schedule = scheduled(&both);

	ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned + MINUTE - 900, 1040 * NSEC_PER_SEC - 900),
			capture_kind_bit(PROFILE_GOROUTINE));
	ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned + MINUTE + 100, 1040 * NSEC_PER_SEC + 100), 0);
	ck_assert_uint_eq(go_schedule_next(&schedule), 1100 * NSEC_PER_SEC);
}
END_TEST

START_TEST(one_that_fires_minutes_late_takes_what_it_missed_once)
{
	struct go_schedule schedule = scheduled(&both);

	ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned + 7 * MINUTE + NSEC_PER_SEC, 1401 * NSEC_PER_SEC),
			capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP));
	ck_assert_uint_eq(go_schedule_next(&schedule), 1460 * NSEC_PER_SEC);
}
END_TEST

START_TEST(what_is_switched_off_is_never_due)
{
	struct config config = both;

	config.memory.mode = CONFIG_MEMORY_OFF;
	ck_assert_uint_eq(scheduled(&config).due_nsec[1], UINT64_MAX);
	config.goroutine.enabled = false;
	ck_assert_uint_eq(scheduled(&config).due_nsec[0], UINT64_MAX);
	config = both;
	config.enabled = false;
	ck_assert_uint_eq(scheduled(&config).due_nsec[0], UINT64_MAX);
	ck_assert_uint_eq(scheduled(&config).due_nsec[1], UINT64_MAX);
}
END_TEST

START_TEST(rates_are_due_when_they_are_set_to_be_and_no_snapshot_with_them)
{
	struct go_schedule schedule = scheduled(&both);

	schedule.rates_nsec = 1001 * NSEC_PER_SEC;
	ck_assert_uint_eq(go_schedule_next(&schedule), 1001 * NSEC_PER_SEC);
	ck_assert(!go_schedule_wants_rates(&schedule, 1000 * NSEC_PER_SEC));
	ck_assert(go_schedule_wants_rates(&schedule, 1001 * NSEC_PER_SEC - 1000));
	ck_assert_uint_eq(go_schedule_take(&schedule, &both, aligned + 21 * NSEC_PER_SEC, 1001 * NSEC_PER_SEC), 0);
	schedule.rates_nsec = UINT64_MAX;
	ck_assert_uint_eq(go_schedule_next(&schedule), 1040 * NSEC_PER_SEC);
}
END_TEST

UNIT_TESTS("go_schedule", nothing_is_due_before_there_is_a_configuration, snapshots_are_due_at_the_boundaries_of_their_intervals,
	a_timer_that_fires_early_takes_a_boundary_once, one_that_fires_minutes_late_takes_what_it_missed_once, what_is_switched_off_is_never_due,
	rates_are_due_when_they_are_set_to_be_and_no_snapshot_with_them)
