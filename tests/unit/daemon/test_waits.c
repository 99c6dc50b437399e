/* SPDX-License-Identifier: Apache-2.0 */
#include "waits.h"

#include <math.h>
#include <stdio.h>

#include "made_waits.h"
#include "main.h"
#include "stacks.h"

static uint64_t sum_nsec(const struct stacks *stacks, uint32_t tid, enum sample_reason reason)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < stacks->samples.n; i++)
		if (stacks->samples.at[i].tid == tid && stacks->samples.at[i].wait.reason == reason)
			sum += stacks->samples.at[i].nsec;
	return sum;
}

START_TEST(a_window_where_all_have_stacks_stays_as_it_is)
{
	struct stacks *stacks = stacks_new();
	uint32_t process = made_wait_process(stacks, 10, 1), a = made_wait_stack(stacks, process, 7), b = made_wait_stack(stacks, process, 8);

	made_wait(stacks, a, 10, SAMPLE_LOCK, 0, 3, 1000);
	made_wait(stacks, b, 10, SAMPLE_LOCK, 0, 5, 333);
	made_wait(stacks, b, 11, SAMPLE_SLEEP, 0, 1, 77);
	ck_assert_int_eq(waits_spread(stacks), 0);
	ck_assert_uint_eq(stacks->samples.n, 3);
	ck_assert_uint_eq(stacks->samples.at[0].nsec, 1000);
	ck_assert_uint_eq(stacks->samples.at[1].count, 5);
	ck_assert_uint_eq(stacks->samples.at[1].nsec, 333);
	ck_assert_uint_eq(stacks->samples.at[2].nsec, 77);
	ck_assert_uint_eq(stacks->waited_nsec, 1410);
	ck_assert_uint_eq(stacks->with_stack, 9);
	ck_assert_uint_eq(stacks->with_stack_nsec, 1410);
	stacks_free(stacks);
}
END_TEST

/* Wherever the ones without a stack stand among the others. */
START_TEST(what_has_no_stack_is_told_once_by_those_that_have)
{
	for (size_t place = 0; place < 3; place++) {
		struct stacks *stacks = stacks_new();
		uint32_t process = made_wait_process(stacks, 10, 1), none = made_wait_stack(stacks, process, 0);
		uint32_t a = made_wait_stack(stacks, process, 7), b = made_wait_stack(stacks, process, 8);

		for (size_t i = 0; i < 3; i++)
			if (i == place)
				made_wait(stacks, none, 10, SAMPLE_PIPE, 0, 70, 700001);
			else
				made_wait(stacks, i == (place == 0 ? 1 : 0) ? a : b, 10, SAMPLE_PIPE, i == (place == 0 ? 1 : 0) ? 1 : 2, 10, 1000);
		ck_assert_int_eq(waits_spread(stacks), 0);
		ck_assert_uint_eq(stacks->samples.n, 2);
		ck_assert_uint_eq(stacks_kept(stacks), stacks->seen);
		ck_assert_uint_eq(sum_nsec(stacks, 10, SAMPLE_PIPE), 702001);
		ck_assert_uint_eq(stacks->with_stack, 20);
		/* One in four weighs twice of one in two. */
		ck_assert_uint_eq(stacks->samples.at[0].nsec, 702001 / 3);
		stacks_free(stacks);
	}
}
END_TEST

START_TEST(threads_and_reasons_do_not_mix)
{
	struct stacks *stacks = stacks_new();
	uint32_t process = made_wait_process(stacks, 10, 1), none = made_wait_stack(stacks, process, 0), a = made_wait_stack(stacks, process, 7);

	made_wait(stacks, a, 10, SAMPLE_LOCK, 3, 1, 100);
	made_wait(stacks, none, 10, SAMPLE_LOCK, 0, 9, 900);
	made_wait(stacks, none, 10, SAMPLE_SLEEP, 0, 4, 5000);
	made_wait(stacks, none, 11, SAMPLE_LOCK, 0, 6, 70);
	ck_assert_int_eq(waits_spread(stacks), 0);
	ck_assert_uint_eq(stacks->samples.n, 3);
	ck_assert_uint_eq(sum_nsec(stacks, 10, SAMPLE_LOCK), 1000);
	ck_assert_uint_eq(sum_nsec(stacks, 10, SAMPLE_SLEEP), 5000);
	ck_assert_uint_eq(sum_nsec(stacks, 11, SAMPLE_LOCK), 70);
	ck_assert_uint_eq(stacks_kept(stacks), stacks->seen);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_wait_that_nobody_drew_for_is_not_given_to_others)
{
	struct stacks *stacks = stacks_new();
	uint32_t process = made_wait_process(stacks, 10, 1), none = made_wait_stack(stacks, process, 0), a = made_wait_stack(stacks, process, 7);

	made_wait(stacks, none, 10, SAMPLE_SLEEP, SAMPLE_SHIFT_NONE, 1, 1000000);
	made_wait(stacks, a, 10, SAMPLE_SLEEP, 0, 1, 50);
	ck_assert_int_eq(waits_spread(stacks), 0);
	ck_assert_uint_eq(stacks->samples.n, 2);
	ck_assert_uint_eq(stacks->samples.at[0].nsec, 1000000);
	ck_assert_uint_eq(stacks->samples.at[1].nsec, 50);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_wait_that_was_found_keeps_its_time_at_its_stack)
{
	struct stacks *stacks = stacks_new();
	uint32_t process = made_wait_process(stacks, 10, 1), none = made_wait_stack(stacks, process, 0), a = made_wait_stack(stacks, process, 7),
		b = made_wait_stack(stacks, process, 8);

	/* Found with stack 7; then 100 others of the thread, of which one was given stack 8. */
	made_wait(stacks, a, 10, SAMPLE_SLEEP, SAMPLE_SHIFT_NONE, 1, 1000000);
	made_wait(stacks, b, 10, SAMPLE_SLEEP, 7, 1, 60);
	made_wait(stacks, none, 10, SAMPLE_SLEEP, 0, 99, 6000);
	ck_assert_int_eq(waits_spread(stacks), 0);
	ck_assert_uint_eq(stacks->samples.n, 2);
	ck_assert_uint_eq(stacks->samples.at[0].stack, a);
	ck_assert_uint_eq(stacks->samples.at[0].count, 1);
	ck_assert_uint_eq(stacks->samples.at[0].nsec, 1000000);
	ck_assert_uint_eq(stacks->samples.at[1].stack, b);
	ck_assert_uint_eq(stacks->samples.at[1].count, 100);
	ck_assert_uint_eq(stacks->samples.at[1].nsec, 6060);
	ck_assert_uint_eq(stacks->with_stack_nsec, 1000060);
	stacks_free(stacks);
}
END_TEST

/* --- The estimator --- */

enum { N_STACKS = 4, N_WAITS = 40000, N_RUNS = 200 };

/* As in bpf/offcpu.bpf.c. */
enum { MAX_SHIFT = 12, MEAN_WEIGHT = 8, STACK_EVERY_NSEC = 100000 };

static uint64_t next_random(uint64_t *state)
{
	/* xorshift64*, Marsaglia and Vigna. */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545F4914F6CDD1D);
}

static double random_share(uint64_t *state)
{
	return (double)((next_random(state) >> 11) + 1) / 9007199254740993.0;
}

static uint32_t shift_of(uint64_t mean_nsec)
{
	uint32_t shift = 0;

	for (uint32_t i = 0; i < MAX_SHIFT; i++)
		shift += (mean_nsec << i) < STACK_EVERY_NSEC;
	return shift;
}

struct run {
	uint64_t true_nsec[N_STACKS];
	double told_nsec[N_STACKS];
	double deviation_nsec[N_STACKS];     /* as it would be estimated from what was drawn */
	double share_drawn;
};

/*
 * Waits at four stacks, long and short, in phases of which each prefers one of them, so that the shift goes up and down with what
 * is waited for: the drawing depends on the past, and the past on the stacks.
 */
static struct run simulate(uint64_t seed)
{
	static const double mean_nsec[N_STACKS] = { 3000, 12000, 40000, 250000 };
	static const double preferred[N_STACKS] = { 0.45, 0.3, 0.2, 0.05 };
	struct { double x; uint32_t stack, shift; } *drawn = calloc(N_WAITS, sizeof(*drawn));
	uint64_t nsec[N_STACKS + 1][MAX_SHIFT + 1] = { 0 }, count[N_STACKS + 1][MAX_SHIFT + 1] = { 0 };
	uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) | 1, mean = 0;
	struct stacks *stacks = stacks_new();
	struct run run = { 0 };
	size_t n_drawn = 0, phase = 0;
	double all = 0, weighted[N_STACKS] = { 0 }, weighted_all = 0;
	uint32_t process = made_wait_process(stacks, 10, 1);

	for (size_t i = 0; i < N_WAITS; i++) {
		uint32_t shift = shift_of(mean), stack = (uint32_t)phase;
		double share = random_share(&state);
		uint64_t x;

		if (i % 200 == 0)
			phase = next_random(&state) % N_STACKS;
		if (random_share(&state) < 0.4)
			for (stack = 0; stack < N_STACKS - 1 && share > preferred[stack]; stack++)
				share -= preferred[stack];
		x = (uint64_t)(-mean_nsec[stack] * log(random_share(&state))) + 1;
		run.true_nsec[stack] += x;
		all += (double)x;
		if (next_random(&state) >> 32 & ((UINT64_C(1) << shift) - 1)) {
			nsec[N_STACKS][0] += x;
			count[N_STACKS][0]++;
		} else {
			nsec[stack][shift] += x;
			count[stack][shift]++;
			drawn[n_drawn].x = (double)x;
			drawn[n_drawn].stack = stack;
			drawn[n_drawn++].shift = shift;
		}
		mean = mean - mean / MEAN_WEIGHT + x / MEAN_WEIGHT;
	}
	for (uint32_t s = 0; s <= N_STACKS; s++)
		for (uint16_t shift = 0; shift <= MAX_SHIFT; shift++)
			if (count[s][shift])
				made_wait(stacks, made_wait_stack(stacks, process, s < N_STACKS ? 100 + s : 0), 10, SAMPLE_CHANNEL, shift,
						count[s][shift], nsec[s][shift]);
	ck_assert_int_eq(waits_spread(stacks), 0);
	ck_assert_uint_eq(sum_nsec(stacks, 10, SAMPLE_CHANNEL), (uint64_t)all);
	ck_assert_uint_eq(stacks_kept(stacks), N_WAITS);
	for (size_t i = 0; i < stacks->samples.n; i++)
		run.told_nsec[stacks->stacks.at[stacks->samples.at[i].stack].hash - 100] += (double)stacks->samples.at[i].nsec;
	/* Of a ratio: that of x less what its stack has of all (Cochran, chapter 6). */
	for (size_t i = 0; i < n_drawn; i++)
		weighted[drawn[i].stack] += ldexp(drawn[i].x, (int)drawn[i].shift);
	for (size_t s = 0; s < N_STACKS; s++)
		weighted_all += weighted[s];
	for (size_t s = 0; s < N_STACKS; s++) {
		double variance = 0, ratio = weighted[s] / weighted_all;

		for (size_t i = 0; i < n_drawn; i++) {
			double p = ldexp(1, -(int)drawn[i].shift), z = drawn[i].x * ((drawn[i].stack == s) - ratio);

			variance += z * z * (1 - p) / (p * p);
		}
		run.deviation_nsec[s] = sqrt(variance) * all / weighted_all;
	}
	run.share_drawn = (double)n_drawn / N_WAITS;
	free(drawn);
	stacks_free(stacks);
	return run;
}

START_TEST(what_is_told_of_a_stack_is_right_on_average_and_its_interval_holds_the_truth)
{
	double error[N_STACKS] = { 0 }, square[N_STACKS] = { 0 }, truth[N_STACKS] = { 0 }, drawn = 0;
	unsigned n_held[N_STACKS] = { 0 }, all_held = 0;

	for (uint64_t seed = 1; seed <= N_RUNS; seed++) {
		struct run run = simulate(seed);

		for (size_t s = 0; s < N_STACKS; s++) {
			double e = run.told_nsec[s] - (double)run.true_nsec[s];

			error[s] += e / N_RUNS;
			square[s] += e * e / N_RUNS;
			truth[s] += (double)run.true_nsec[s] / N_RUNS;
			n_held[s] += fabs(e) <= 1.96 * run.deviation_nsec[s];
		}
		drawn += run.share_drawn / N_RUNS;
	}
	printf("# %d runs of %d waits; %.1f %% of them have a stack\n", N_RUNS, N_WAITS, 100 * drawn);
	for (size_t s = 0; s < N_STACKS; s++) {
		double deviation = sqrt(square[s] - error[s] * error[s]);

		printf("# stack %zu: %.1f ms; mean error %+.4f %%, standard deviation %.3f %% (with every stack taken: 0), truth within 95 %% interval: %.1f %%\n",
				s, truth[s] / 1e6, 100 * error[s] / truth[s], 100 * deviation / truth[s], 100.0 * n_held[s] / N_RUNS);
		/* 99.7 % of such means. */
		ck_assert_msg(fabs(error[s]) < 3 * deviation / sqrt(N_RUNS), "stack %zu: mean error %g, deviation %g", s, error[s], deviation);
		ck_assert_msg(n_held[s] >= 0.90 * N_RUNS && n_held[s] <= 0.99 * N_RUNS, "stack %zu: held %u times", s, n_held[s]);
		all_held += n_held[s];
	}
	ck_assert_msg(all_held >= 0.93 * N_RUNS * N_STACKS && all_held <= 0.97 * N_RUNS * N_STACKS, "held %u times", all_held);
}
END_TEST

UNIT_TESTS("waits", a_wait_that_was_found_keeps_its_time_at_its_stack, a_window_where_all_have_stacks_stays_as_it_is, what_has_no_stack_is_told_once_by_those_that_have,
		threads_and_reasons_do_not_mix, a_wait_that_nobody_drew_for_is_not_given_to_others,
		what_is_told_of_a_stack_is_right_on_average_and_its_interval_holds_the_truth)
