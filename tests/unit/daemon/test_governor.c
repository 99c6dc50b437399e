/* SPDX-License-Identifier: Apache-2.0 */
#include "governor.h"

#include "../main.h"
#include "clock.h"

#define MIB (UINT64_C(1) << 20)

/* Two CPUs: 0.1 % of the machine is less than 1 % of one CPU, which counts then: 10 ms a second. */
static const struct governor_options small_host = {
	.n_cpus = 2, .cpu_ppm = 1000, .memory_bytes = 128 * MIB, .cycle_nsec = 300 * NSEC_PER_SEC,
};

static struct governor new_governor(const struct governor_options *options)
{
	struct governor governor;

	governor_init(&governor, options);
	return governor;
}

/* Lets time go by in spans of a second that cost `msec` each; the sum of steps. */
static int run(struct governor *governor, unsigned int seconds, uint64_t msec)
{
	int steps = 0;

	for (unsigned int i = 0; i < seconds; i++) {
		const struct governor_measure measure = { NSEC_PER_SEC, msec * NSEC_PER_MSEC, MIB };

		steps += governor_add(governor, &measure).step;
	}
	return steps;
}

/* Seconds until a step is made; -1: not within an hour's multiple. */
static int run_until_step(struct governor *governor, uint64_t msec, int expected)
{
	for (int i = 1; i <= 10 * 3600; i++) {
		int step = run(governor, 1, msec);

		if (step) {
			ck_assert_int_eq(step, expected);
			return i;
		}
	}
	return -1;
}

static struct governor started(void)
{
	struct governor governor = new_governor(&small_host);

	ck_assert_int_eq(run(&governor, 300, 0), 0);
	return governor;
}

START_TEST(rates_are_halved_by_level_but_never_to_nothing)
{
	struct governor governor = started();

	ck_assert_uint_eq(governor_rate(&governor, 99), 99);
	ck_assert_uint_eq(governor_rate(&governor, 0), 0);
	run_until_step(&governor, 500, 1);
	ck_assert_uint_eq(governor_rate(&governor, 99), 49);
	run_until_step(&governor, 500, 1);
	run_until_step(&governor, 500, 1);
	ck_assert_uint_eq(governor_level(&governor), 3);
	ck_assert_uint_eq(governor_rate(&governor, 99), 12);
	ck_assert_uint_eq(governor_rate(&governor, 19), 2);
	ck_assert_uint_eq(governor_rate(&governor, 3), 1);
	ck_assert_uint_eq(governor_rate(&governor, 0), 0);
	/* There is no lower one. */
	ck_assert_int_eq(run(&governor, 3600, 500), 0);
}
END_TEST

START_TEST(the_start_is_not_judged)
{
	struct governor governor = new_governor(&small_host);

	ck_assert_int_eq(run(&governor, 300, 1000), 0);
	ck_assert_int_eq(run(&governor, 3600, 9), 0);
	ck_assert_uint_eq(governor_level(&governor), 0);
}
END_TEST

START_TEST(at_the_budget_nothing_happens)
{
	struct governor governor = started();

	ck_assert_int_eq(run(&governor, 48 * 3600, 10), 0);
}
END_TEST

START_TEST(the_more_too_much_the_sooner_the_step)
{
	struct governor a = started(), b = started();
	/* Owed may be 10 minutes of 10 ms: 6 s. */
	int slowly = run_until_step(&a, 20, 1), soon = run_until_step(&b, 510, 1);

	ck_assert_int_eq(slowly, 601);
	ck_assert_int_eq(soon, 13);
	ck_assert_uint_eq(governor_cost_ppm(&a), 10000);  /* 20 ms of 2 s */
	ck_assert_uint_eq(governor_budget_ppm(&a), 5000); /* 10 ms of 2 s */
	/* Why it was lowered, not why it was raised a little again. */
	run_until_step(&a, 20, 1);
	run_until_step(&a, 3, -1);
	ck_assert_uint_eq(governor_cost_ppm(&a), 10000);
}
END_TEST

START_TEST(one_noisy_span_decides_nothing)
{
	for (uint64_t seconds = 1; seconds <= 300; seconds++) {
		struct governor governor = started();
		const struct governor_measure noise = { seconds * NSEC_PER_SEC, 2 * seconds * NSEC_PER_SEC, MIB };

		ck_assert_int_eq(governor_add(&governor, &noise).step, 0);
		ck_assert_int_eq(run(&governor, 3600, 9), 0);
	}
}
END_TEST

/* 30 s at the full rate, 270 s in the background; names are looked for when each ends. */
START_TEST(what_the_end_of_a_window_costs_is_averaged_out)
{
	struct governor governor = started();

	for (unsigned int i = 0; i < 288; i++) {
		int steps = run(&governor, 1, 1300); /* the background before it */

		steps += run(&governor, 29, 12);
		steps += run(&governor, 1, 600);
		steps += run(&governor, 269, 2);
		ck_assert_int_eq(steps, 0);
	}
}
END_TEST

START_TEST(the_rates_come_back_when_it_is_calm)
{
	struct governor governor = started();

	run_until_step(&governor, 500, 1);
	run_until_step(&governor, 500, 1);
	ck_assert_int_eq(run_until_step(&governor, 3, -1), 900);
	ck_assert_int_eq(run_until_step(&governor, 3, -1), 900);
	ck_assert_uint_eq(governor_level(&governor), 0);
	ck_assert_int_eq(run(&governor, 3600, 3), 0);
}
END_TEST

START_TEST(between_calm_and_too_much_nothing_changes)
{
	struct governor governor = started();

	run_until_step(&governor, 500, 1);
	ck_assert_int_eq(run(&governor, 24 * 3600, 8), 0);
	ck_assert_uint_eq(governor_level(&governor), 1);
}
END_TEST

/* The worst case: all cost comes from the rate, and half of it is calm, and the whole is too much. */
START_TEST(it_does_not_swing)
{
	struct governor governor = started();
	unsigned int n_steps = 0, last_hours = 0;

	for (unsigned int second = 0; second < 48 * 3600; second++) {
		/* 11.9 ms at the full rate, so 5.95 at the half. */
		const struct governor_measure measure = { NSEC_PER_SEC, 11900 * NSEC_PER_USEC >> governor_level(&governor), MIB };
		bool stepped = governor_add(&governor, &measure).step != 0;

		n_steps += stepped;
		last_hours += stepped && second >= 36 * 3600;
	}
	ck_assert_uint_ge(n_steps, 2);
	/* It has learnt: at most a way up and down in 4 hours. */
	ck_assert_uint_le(last_hours, 7);
}
END_TEST

START_TEST(short_schedules_are_judged_by_tens_of_seconds)
{
	struct governor_options options = small_host;
	struct governor governor;

	options.cycle_nsec = NSEC_PER_SEC;
	governor = new_governor(&options);
	ck_assert_int_eq(run(&governor, 10, 500), 0);
	/* 20 s of 10 ms, of which one span owes no more than half. */
	ck_assert_int_eq(run_until_step(&governor, 500, 1), 3);
	ck_assert_int_eq(run_until_step(&governor, 2, -1), 30);
}
END_TEST

START_TEST(a_large_machine_may_cost_more)
{
	struct governor_options options = small_host;
	struct governor governor;

	options.n_cpus = 64;
	governor = new_governor(&options);
	/* 64 ms a second. */
	ck_assert_int_eq(run(&governor, 24 * 3600, 64), 0);
	ck_assert_int_eq(run_until_step(&governor, 128, 1), 601);
	ck_assert_uint_eq(governor_budget_ppm(&governor), 1000);
	ck_assert_uint_eq(governor_cost_ppm(&governor), 2000);
}
END_TEST

START_TEST(short_measures_are_put_together)
{
	struct governor a = started(), b = started();
	int steps = 0, seconds = 0;

	while (!steps) {
		for (int i = 0; i < 100; i++) {
			const struct governor_measure measure = { NSEC_PER_SEC / 100, (uint64_t)(i == 50) * 500 * NSEC_PER_MSEC, MIB };

			steps += governor_add(&a, &measure).step;
		}
		seconds++;
	}
	ck_assert_int_eq(seconds, run_until_step(&b, 500, 1));
}
END_TEST

/* Measures with this much memory; the reliefs asked for, as a number: 1 caches, 2 tables, 3 tell. */
static uint64_t hold(struct governor *governor, uint64_t bytes, unsigned int seconds)
{
	uint64_t reliefs = 0;

	for (unsigned int i = 0; i < seconds; i++) {
		const struct governor_measure measure = { NSEC_PER_SEC, 0, bytes };
		enum governor_relief relief = governor_add(governor, &measure).relief;

		if (relief)
			reliefs = 10 * reliefs + relief;
	}
	return reliefs;
}

START_TEST(memory_is_given_back_step_by_step_and_told_once)
{
	struct governor governor = new_governor(&small_host);

	ck_assert_uint_eq(hold(&governor, 128 * MIB, 3600), 0);
	ck_assert_uint_eq(hold(&governor, 129 * MIB, 1), 0);
	ck_assert_uint_eq(hold(&governor, 129 * MIB, 1), 1);
	ck_assert_uint_eq(hold(&governor, 129 * MIB, 299), 0);
	ck_assert_uint_eq(hold(&governor, 129 * MIB, 24 * 3600), 2223);
}
END_TEST

START_TEST(a_peak_of_memory_is_no_reason)
{
	struct governor governor = new_governor(&small_host);

	for (int i = 0; i < 100; i++) {
		ck_assert_uint_eq(hold(&governor, 500 * MIB, 1), 0);
		ck_assert_uint_eq(hold(&governor, 120 * MIB, 20), 0);
	}
}
END_TEST

START_TEST(caches_are_given_up_again_only_after_memory_had_recovered)
{
	struct governor governor = new_governor(&small_host);

	ck_assert_uint_eq(hold(&governor, 129 * MIB, 10), 1);
	ck_assert_uint_eq(hold(&governor, 120 * MIB, 3600), 0);
	ck_assert_uint_eq(hold(&governor, 129 * MIB, 10), 2);
	ck_assert_uint_eq(hold(&governor, 100 * MIB, 3600), 0);
	ck_assert_uint_eq(hold(&governor, 129 * MIB, 3600), 1223);
}
END_TEST

START_TEST(other_limits_are_in_use_at_once)
{
	struct governor_options options = small_host;
	struct governor governor = started();

	run_until_step(&governor, 500, 1);
	options.cpu_ppm = 1000000;
	governor_set_options(&governor, &options);
	ck_assert_uint_eq(governor_level(&governor), 1);
	ck_assert_int_eq(run_until_step(&governor, 500, -1), 900);
	ck_assert_int_eq(run(&governor, 3600, 500), 0);
}
END_TEST

UNIT_TESTS("governor", rates_are_halved_by_level_but_never_to_nothing, the_start_is_not_judged, at_the_budget_nothing_happens,
		the_more_too_much_the_sooner_the_step, one_noisy_span_decides_nothing,
		what_the_end_of_a_window_costs_is_averaged_out, the_rates_come_back_when_it_is_calm,
		between_calm_and_too_much_nothing_changes, it_does_not_swing, short_schedules_are_judged_by_tens_of_seconds,
		a_large_machine_may_cost_more, short_measures_are_put_together,
		memory_is_given_back_step_by_step_and_told_once, a_peak_of_memory_is_no_reason,
		caches_are_given_up_again_only_after_memory_had_recovered, other_limits_are_in_use_at_once)
