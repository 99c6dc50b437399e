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

static struct stacks_sample *last_wait(struct stacks *stacks)
{
	return &stacks->samples.at[stacks->samples.n - 1];
}

START_TEST(a_wait_that_stands_for_others_is_told_with_them)
{
	struct stacks *stacks = stacks_new();
	uint32_t process = made_wait_process(stacks, 10, 1), none = made_wait_stack(stacks, process, 0), a = made_wait_stack(stacks, process, 7);

	/* Timed each, one in 8, and one in 8 without a stack; and of another thread, of which no stack was taken. */
	made_wait(stacks, a, 10, SAMPLE_PIPE, 0, 3, 1000);
	made_wait(stacks, a, 10, SAMPLE_PIPE, 1, 2, 100);
	last_wait(stacks)->skip = 3;
	made_wait(stacks, none, 10, SAMPLE_PIPE, 0, 5, 300);
	last_wait(stacks)->skip = 3;
	made_wait(stacks, none, 11, SAMPLE_PIPE, 0, 1, 20);
	last_wait(stacks)->skip = 4;
	made_wait(stacks, none, 11, SAMPLE_SLEEP, SAMPLE_SHIFT_NONE, 1, 7000);
	ck_assert_int_eq(waits_spread(stacks), 0);
	ck_assert_uint_eq(sum_nsec(stacks, 10, SAMPLE_PIPE), 1000 + 8 * 400);
	ck_assert_uint_eq(sum_nsec(stacks, 11, SAMPLE_PIPE), 16 * 20);
	ck_assert_uint_eq(sum_nsec(stacks, 11, SAMPLE_SLEEP), 7000);
	ck_assert_uint_eq(stacks->waited_nsec, 1000 + 400 + 20 + 7000);
	ck_assert_uint_eq(stacks->untimed_nsec, 7 * 400 + 15 * 20);
	ck_assert_uint_eq(stacks->untimed, 7 * 7 + 15);
	/* Seen are those that were timed. */
	ck_assert_uint_eq(stacks->seen, 3 + 2 + 5 + 1 + 1);
	ck_assert_uint_eq(stacks_kept(stacks), stacks->seen);
	ck_assert_uint_eq(stacks->with_stack, 5);
	stacks_free(stacks);
}
END_TEST

START_TEST(what_is_known_of_waits_that_were_not_timed_is_what_is_told_of_them)
{
	struct stacks *stacks = stacks_new();
	uint32_t process = made_wait_process(stacks, 10, 1), none = made_wait_stack(stacks, process, 0), a = made_wait_stack(stacks, process, 7);

	made_wait(stacks, a, 10, SAMPLE_PIPE, 0, 1, 100);
	last_wait(stacks)->skip = 2;
	made_wait(stacks, none, 10, SAMPLE_LOCK, 0, 1, 50);
	last_wait(stacks)->skip = 3;
	made_wait(stacks, none, 10, SAMPLE_SLEEP, 0, 1, 9000);
	made_wait(stacks, none, 10, SAMPLE_RAN, 0, 0, 1300); /* 3 * 100 + 7 * 50, twice */
	last_wait(stacks)->skip = SAMPLE_SKIP_ALL;
	/* Another thread, of which none was drawn. */
	made_wait(stacks, none, 11, SAMPLE_RAN, 0, 0, 77);
	last_wait(stacks)->skip = SAMPLE_SKIP_ALL;
	ck_assert_int_eq(waits_spread(stacks), 0);
	ck_assert_uint_eq(stacks->samples.n, 3);
	ck_assert_uint_eq(sum_nsec(stacks, 10, SAMPLE_PIPE), 100 + 600);
	ck_assert_uint_eq(sum_nsec(stacks, 10, SAMPLE_LOCK), 50 + 700);
	ck_assert_uint_eq(sum_nsec(stacks, 10, SAMPLE_SLEEP), 9000);
	ck_assert_uint_eq(stacks->untimed_nsec, 1300);
	ck_assert_uint_eq(stacks->lost_nsec, 77);
	ck_assert_uint_eq(stacks_kept(stacks), stacks->seen);
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

/* --- The same when not all are timed --- */

/* As in bpf/offcpu.bpf.c. */
enum { MAX_SKIP = 10, TIME_EVERY_NSEC = 200000 };

struct skip_run {
	double true_nsec[2], told_nsec[2];   /* of two reasons */
	double true_count, told_count;
	double total_deviation_nsec, reason_deviation_nsec[2];
	double share_timed;
};

static uint32_t skip_of(uint64_t mean_nsec)
{
	uint32_t skip = 0;

	for (uint32_t i = 0; i < MAX_SKIP; i++)
		skip += (mean_nsec << i) < TIME_EVERY_NSEC;
	return mean_nsec < TIME_EVERY_NSEC ? skip : 0;
}

/*
 * Waits of a thread for a pipe, some us, and for a lock, in phases; one in 20,000 is long, some 20 ms. Such are told for
 * sure.
 */
static struct skip_run simulate_skips(uint64_t seed)
{
	uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) | 1, mean = 0;
	uint64_t nsec[2][MAX_SKIP + 1] = { 0 }, count[2][MAX_SKIP + 1] = { 0 };
	struct stacks *stacks = stacks_new();
	struct skip_run run = { 0 };
	uint32_t process = made_wait_process(stacks, 10, 1), none = made_wait_stack(stacks, process, 0), skip = 0;
	size_t n = 400000;

	for (size_t i = 0; i < n; i++) {
		uint32_t reason = i / 500 % 3 == 0, drawn_with = skip;
		double scale = reason ? 5000 : 1500;
		bool is_drawn, is_long;
		uint64_t x;

		if (next_random(&state) % 20000 == 0)
			scale = 20e6;
		x = (uint64_t)(-scale * log(random_share(&state))) + 1;
		run.true_nsec[reason] += (double)x;
		run.true_count++;
		is_drawn = !(next_random(&state) >> 32 & ((UINT64_C(1) << drawn_with) - 1));
		is_long = x >= TIME_EVERY_NSEC;
		if (!is_drawn && !is_long)
			continue;
		run.share_timed += 1.0 / (double)n;
		if (is_drawn && drawn_with && !is_long) {
			double variance = (double)x * (double)x * ldexp(1, (int)drawn_with) * (ldexp(1, (int)drawn_with) - 1);

			run.total_deviation_nsec += variance;
			run.reason_deviation_nsec[reason] += variance;
		}
		nsec[reason][is_long ? 0 : drawn_with] += x;
		count[reason][is_long ? 0 : drawn_with]++;
		mean = mean - mean / MEAN_WEIGHT + x / MEAN_WEIGHT;
		skip = skip_of(mean);
	}
	for (uint32_t reason = 0; reason < 2; reason++)
		for (uint32_t s = 0; s <= MAX_SKIP; s++) {
			if (!count[reason][s])
				continue;
			made_wait(stacks, none, 10, reason ? SAMPLE_LOCK : SAMPLE_PIPE, 0, count[reason][s], nsec[reason][s]);
			last_wait(stacks)->skip = s;
		}
	ck_assert_int_eq(waits_spread(stacks), 0);
	ck_assert_uint_eq(stacks_kept(stacks), stacks->seen);
	for (size_t i = 0; i < stacks->samples.n; i++)
		run.told_count += (double)stacks->samples.at[i].count;
	run.told_nsec[0] = (double)sum_nsec(stacks, 10, SAMPLE_PIPE);
	run.told_nsec[1] = (double)sum_nsec(stacks, 10, SAMPLE_LOCK);
	ck_assert_uint_eq(stacks->waited_nsec + stacks->untimed_nsec, (uint64_t)(run.told_nsec[0] + run.told_nsec[1]));
	run.total_deviation_nsec = sqrt(run.total_deviation_nsec);
	for (uint32_t reason = 0; reason < 2; reason++)
		run.reason_deviation_nsec[reason] = sqrt(run.reason_deviation_nsec[reason]);
	stacks_free(stacks);
	return run;
}

START_TEST(where_not_all_waits_are_timed_the_total_is_right_on_average_and_its_interval_holds_the_truth)
{
	static const char *const names[] = { "pipe", "lock", "all", "count" };
	double error[4] = { 0 }, square[4] = { 0 }, truth[4] = { 0 }, told_deviation[4] = { 0 }, share = 0;
	unsigned n_held[4] = { 0 };

	for (uint64_t seed = 1; seed <= N_RUNS; seed++) {
		struct skip_run run = simulate_skips(seed);
		const double told[4] = { run.told_nsec[0], run.told_nsec[1], run.told_nsec[0] + run.told_nsec[1], run.told_count };
		const double true_of[4] = { run.true_nsec[0], run.true_nsec[1], run.true_nsec[0] + run.true_nsec[1], run.true_count };
		const double deviation[4] = { run.reason_deviation_nsec[0], run.reason_deviation_nsec[1], run.total_deviation_nsec, 0 };

		for (size_t i = 0; i < 4; i++) {
			double e = told[i] - true_of[i];

			error[i] += e / N_RUNS;
			square[i] += e * e / N_RUNS;
			truth[i] += true_of[i] / N_RUNS;
			told_deviation[i] += deviation[i] / N_RUNS;
			n_held[i] += fabs(e) <= 1.96 * deviation[i];
		}
		share += run.share_timed / N_RUNS;
	}
	printf("# %d runs of 400000 waits; %.2f %% of them are timed\n", N_RUNS, 100 * share);
	ck_assert_msg(share < 0.1, "timed: %g", share);
	for (size_t i = 0; i < 4; i++) {
		double deviation = sqrt(square[i] - error[i] * error[i]);

		printf("# %s: mean error %+.4f %%, standard deviation %.3f %% (with each wait timed: 0; told: %.3f %%), truth within 95 %% "
		       "interval: %.1f %%\n", names[i], 100 * error[i] / truth[i], 100 * deviation / truth[i], 100 * told_deviation[i] / truth[i],
				100.0 * n_held[i] / N_RUNS);
		ck_assert_msg(fabs(error[i]) < 3 * deviation / sqrt(N_RUNS), "%s: mean error %g, deviation %g", names[i], error[i], deviation);
		if (i < 3)
			ck_assert_msg(n_held[i] >= 0.90 * N_RUNS && n_held[i] <= 0.99 * N_RUNS, "%s: held %u times", names[i], n_held[i]);
	}
}
END_TEST

UNIT_TESTS("waits", what_is_known_of_waits_that_were_not_timed_is_what_is_told_of_them, a_wait_that_stands_for_others_is_told_with_them,
		where_not_all_waits_are_timed_the_total_is_right_on_average_and_its_interval_holds_the_truth,
		a_wait_that_was_found_keeps_its_time_at_its_stack, a_window_where_all_have_stacks_stays_as_it_is,
		what_has_no_stack_is_told_once_by_those_that_have,
		threads_and_reasons_do_not_mix, a_wait_that_nobody_drew_for_is_not_given_to_others,
		what_is_told_of_a_stack_is_right_on_average_and_its_interval_holds_the_truth)
