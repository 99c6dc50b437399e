/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_leaks.h"

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "main.h"

/* A process that is looked at: goroutines of some sites come, move and go. */
enum { CHANNEL = 1, IO, SELECT, SLEEP, MUTEX };
enum { LEAKED = 0x1000, SERVED = 0x2000, POOLED = 0x3000, JOB = 0x4000 };

struct world {
	struct go_goroutines all;
	struct goroutine_leaks *leaks;
	uint64_t now, next_id, random;
	uint64_t step;
	bool has_stamps;                     /* the garbage collector runs between looks */
};

static void world_init(struct world *w, uint64_t step_seconds, const struct goroutine_leaks_options *options)
{
	static const char *const waits[] = { "", "chan receive", "IO wait", "select", "sleep", "sync.Mutex.Lock" };

	memset(w, 0, sizeof(*w));
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++)
		strcpy(w->all.wait_reasons[i], waits[i]);
	w->leaks = goroutine_leaks_new(options ? options : &(struct goroutine_leaks_options){ 0 });
	ck_assert_ptr_nonnull(w->leaks);
	w->now = 1000 * NSEC_PER_SEC;
	w->next_id = 1;
	w->random = 88172645463325252;
	w->step = step_seconds * NSEC_PER_SEC;
}

static void world_deinit(struct world *w)
{
	goroutine_leaks_free(w->leaks);
	vec_deinit(&w->all.all);
}

static uint64_t below(struct world *w, uint64_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return n ? w->random % n : 0;
}

static void come(struct world *w, uint64_t site, uint32_t wait, uint64_t n)
{
	for (; n; n--) {
		struct go_goroutine g = { .id = w->next_id++, .go_pc = site + 1, .start_pc = site, .status = GO_WAITING, .wait_reason = wait,
			.sp = 0xc000000000 + w->next_id * 0x800, .wait_since_nsec = 0 };

		ck_assert_int_eq(vec_push(&w->all.all, g), 0);
	}
}

static uint64_t count(const struct world *w, uint64_t site)
{
	uint64_t n = 0;

	for (size_t i = 0; i < w->all.all.n; i++)
		n += w->all.all.at[i].start_pc == site;
	return n;
}

/* Each of the site goes with a chance of `chance` in a thousand. */
static void go_by_chance(struct world *w, uint64_t site, uint64_t chance)
{
	size_t n = 0;

	for (size_t i = 0; i < w->all.all.n; i++)
		if (w->all.all.at[i].start_pc != site || below(w, 1000) >= chance)
			w->all.all.at[n++] = w->all.all.at[i];
	w->all.all.n = n;
}

/* The same of those whose parent has that number. */
static void go_by_parent(struct world *w, uint64_t parent, uint64_t chance)
{
	size_t n = 0;

	for (size_t i = 0; i < w->all.all.n; i++)
		if (w->all.all.at[i].parent_id != parent || below(w, 1000) >= chance)
			w->all.all.at[n++] = w->all.all.at[i];
	w->all.all.n = n;
}

/* The site has `n` from now on: those that go are any. */
static void become(struct world *w, uint64_t site, uint32_t wait, uint64_t n)
{
	uint64_t is = count(w, site);

	while (is > n) {
		size_t i = below(w, w->all.all.n);

		if (w->all.all.at[i].start_pc != site)
			continue;
		w->all.all.at[i] = w->all.all.at[--w->all.all.n];
		is--;
	}
	if (n > is)
		come(w, site, wait, n - is);
}

static void move(struct world *w, uint64_t site)
{
	for (size_t i = 0; i < w->all.all.n; i++)
		if (w->all.all.at[i].start_pc == site)
			w->all.all.at[i].wait_since_nsec = 0;
}

static void look(struct world *w)
{
	w->now += w->step;
	for (size_t i = 0; w->has_stamps && i < w->all.all.n; i++)
		if (!w->all.all.at[i].wait_since_nsec)
			w->all.all.at[i].wait_since_nsec = w->now - w->step / 2;
	ck_assert_int_eq(goroutine_leaks_add(w->leaks, &w->all, w->now), 0);
}

static size_t n_told(const struct world *w)
{
	goroutine_leak_list found = { 0 };
	size_t n;

	ck_assert_int_eq(goroutine_leaks_get(w->leaks, &found), 0);
	n = found.n;
	vec_deinit(&found);
	return n;
}

/* After each look nothing is told. */
static void look_in_peace(struct world *w)
{
	look(w);
	ck_assert_uint_eq(n_told(w), 0);
}

static struct goroutine_leak the_one(const struct world *w)
{
	goroutine_leak_list found = { 0 };
	struct goroutine_leak leak;

	ck_assert_int_eq(goroutine_leaks_get(w->leaks, &found), 0);
	ck_assert_uint_eq(found.n, 1);
	leak = found.at[0];
	vec_deinit(&found);
	return leak;
}

START_TEST(a_leak_is_told_with_its_site_its_rate_and_its_oldest)
{
	_cleanup_(world_deinit) struct world w;
	struct goroutine_leak leak;

	world_init(&w, 10, NULL);
	come(&w, SERVED, IO, 50);
	look(&w);
	for (int i = 0; i < 20; i++) {
		come(&w, LEAKED, CHANNEL, 10);
		look(&w);
	}
	leak = the_one(&w);
	ck_assert_uint_eq(leak.start_pc, LEAKED);
	ck_assert_uint_eq(leak.go_pc, LEAKED + 1);
	ck_assert_uint_eq(leak.wait_reason, CHANNEL);
	ck_assert_str_eq(leak.wait, "chan receive");
	ck_assert_uint_eq(leak.n, 200);
	ck_assert(leak.per_hour > 3599 && leak.per_hour < 3601);
	ck_assert_uint_ge(leak.confidence, 65);
	ck_assert_uint_eq(leak.monotony, 100);
	ck_assert_uint_eq(leak.first_seen_nsec, 1020 * NSEC_PER_SEC);
	ck_assert_uint_eq(leak.n_examples, GOROUTINE_LEAKS_EXAMPLES);
	ck_assert_uint_eq(leak.examples[0].id, 61); /* those of the first look have no known age */
	ck_assert_uint_eq(leak.examples[0].age_nsec, 180 * NSEC_PER_SEC);
}
END_TEST

START_TEST(a_leak_is_surer_the_longer_it_goes_on)
{
	_cleanup_(world_deinit) struct world w;
	uint32_t before = 0;

	world_init(&w, 10, NULL);
	for (int i = 0; i < 2000; i++) {
		come(&w, LEAKED, MUTEX, 1);
		look(&w);
		if (i == 30 || i == 120 || i == 1999) {
			ck_assert_uint_gt(the_one(&w).confidence, before);
			before = the_one(&w).confidence;
		}
	}
	ck_assert_uint_ge(before, 95);
}
END_TEST

START_TEST(a_slow_leak_is_told_when_it_is_ten)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 60, NULL);
	come(&w, POOLED, CHANNEL, 30);
	for (int i = 0; i < 150; i++) {
		if (i % 10 == 0)
			come(&w, LEAKED, CHANNEL, 1);
		look(&w);
		if (i < 90)
			ck_assert_uint_eq(n_told(&w), 0);
	}
	ck_assert_uint_eq(the_one(&w).start_pc, LEAKED);
	ck_assert(the_one(&w).per_hour > 5 && the_one(&w).per_hour < 7);
}
END_TEST

/* Of a hundred requests one stays; the others are at the same place for a moment, more or fewer of them. */
START_TEST(a_leak_among_many_that_come_and_go_is_told)
{
	_cleanup_(world_deinit) struct world w;
	goroutine_leak_list found = { 0 };

	world_init(&w, 10, NULL);
	for (int i = 0; i < 100; i++) {
		size_t n = w.all.all.n + 2;
		uint64_t passing = 60 + below(&w, 80);

		come(&w, LEAKED, CHANNEL, 2 + passing);
		look(&w);
		w.all.all.n = n;
	}
	ck_assert_int_eq(goroutine_leaks_get(w.leaks, &found), 0);
	ck_assert_uint_eq(found.n, 1);
	ck_assert(found.at[0].per_hour > 600 && found.at[0].per_hour < 840);
	vec_deinit(&found);
}
END_TEST

START_TEST(a_leak_with_noise_above_it_is_told)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 10, NULL);
	for (int i = 0; i < 120; i++) {
		come(&w, LEAKED, SELECT, 5);
		/* Some of the same site that stay for about four looks: told apart here by their parent, which nothing looks at. */
		for (uint64_t extra = below(&w, 40); extra; extra--) {
			come(&w, LEAKED, SELECT, 1);
			w.all.all.at[w.all.all.n - 1].parent_id = JOB;
		}
		go_by_parent(&w, JOB, 250);
		look(&w);
	}
	ck_assert_uint_eq(the_one(&w).start_pc, LEAKED);
	ck_assert(the_one(&w).per_hour > 1500 && the_one(&w).per_hour < 2100);
}
END_TEST

START_TEST(an_idle_server_leaks_nothing)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 10, NULL);
	come(&w, SERVED, IO, 3);
	come(&w, POOLED, CHANNEL, 100);
	for (int i = 0; i < 500; i++)
		look_in_peace(&w);
}
END_TEST

/* Clients: 200 +- 100 by a slow wave, each for some 5 minutes; each with a goroutine that reads and one that writes. */
static void serve(struct world *w, uint32_t i, uint32_t period)
{
	uint32_t phase = i % period, half = period / 2;
	uint64_t n = 100 + 200 * (uint64_t)(phase < half ? phase : period - phase) / half;

	go_by_chance(w, SERVED, 33);
	become(w, SERVED, IO, n);
	go_by_chance(w, JOB, 33);
	become(w, JOB, SELECT, n);
}

START_TEST(a_healthy_server_under_load_leaks_nothing)
{
	static const uint32_t periods[] = { 12, 60, 360, 2000 };

	for (size_t p = 0; p < ARRAY_SIZE(periods); p++) {
		_cleanup_(world_deinit) struct world w;

		world_init(&w, 10, NULL);
		for (uint32_t i = 0; i < 3000; i++) {
			serve(&w, i, periods[p]);
			if (i % 10)
				look(&w);
			else
				look_in_peace(&w);
		}
	}
}
END_TEST

/* Their number goes up and down by chance, without any that it comes back to. */
START_TEST(a_random_walk_of_clients_is_no_leak)
{
	_cleanup_(world_deinit) struct world w;
	uint64_t n = 500;

	world_init(&w, 10, NULL);
	for (uint32_t i = 0; i < 4000; i++) {
		n = n + below(&w, 21) - 10;
		n = n < 100 ? 100 : n;
		go_by_chance(&w, JOB, 50);
		become(&w, JOB, SELECT, n);
		if (i % 7)
			look(&w);
		else
			look_in_peace(&w);
	}
}
END_TEST

START_TEST(clients_that_come_and_stay_all_morning_are_no_leak)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 60, NULL);
	for (uint32_t i = 0; i < 8 * 60; i++) {
		come(&w, SERVED, IO, 3);
		come(&w, JOB, SELECT, 3);
		look_in_peace(&w);
	}
}
END_TEST

/* A broker that sends to all of them, or asks all of them whether they live: those who read for a client do not wait just then. */
START_TEST(clients_that_come_and_stay_are_no_leak_when_all_are_served_at_once)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 1, NULL);
	for (uint32_t i = 0; i < 600; i++) {
		bool are_busy = i % 10 >= 8;

		come(&w, SERVED, IO, i % 4 == 0);
		come(&w, JOB, SELECT, i % 4 == 0);
		for (size_t j = 0; j < w.all.all.n; j++)
			if (w.all.all.at[j].start_pc == SERVED)
				w.all.all.at[j].status = are_busy ? GO_RUNNABLE : GO_WAITING;
		look_in_peace(&w);
	}
}
END_TEST

START_TEST(but_connections_that_grow_for_more_than_a_day_are)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 600, NULL);
	for (uint32_t i = 0; i < 40 * 6; i++) {
		come(&w, SERVED, IO, 3);
		look(&w);
	}
	ck_assert_str_eq(the_one(&w).wait, "IO wait");
}
END_TEST

START_TEST(a_pool_that_fills_and_stays_is_no_leak)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 10, NULL);
	for (uint32_t i = 0; i < 600; i++) {
		if (count(&w, POOLED) < 256)
			come(&w, POOLED, CHANNEL, 40);
		look_in_peace(&w);
	}
}
END_TEST

/* Full after ten minutes: may be suspected while it fills, is not afterwards. */
START_TEST(a_pool_that_filled_slowly_is_not_told_any_more)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 10, NULL);
	w.has_stamps = true;
	for (uint32_t i = 0; i < 60; i++) {
		come(&w, POOLED, CHANNEL, 4);
		move(&w, POOLED);
		look(&w);
	}
	for (uint32_t i = 0; i < 60; i++)
		look(&w);
	for (uint32_t i = 0; i < 600; i++)
		look_in_peace(&w);
}
END_TEST

START_TEST(bursts_are_no_leak)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 10, NULL);
	for (uint32_t i = 0; i < 2000; i++) {
		if (i % 30 == 0)
			come(&w, JOB, MUTEX, 500);
		if (i % 30 == 5)
			become(&w, JOB, MUTEX, 0);
		look_in_peace(&w);
	}
}
END_TEST

/* Jobs that gather until somebody takes them all. The first rise cannot be told from a leak; no later one is taken for one. */
START_TEST(a_sawtooth_is_no_leak_once_it_fell)
{
	static const uint32_t periods[] = { 8, 30, 100, 500 };

	for (size_t p = 0; p < ARRAY_SIZE(periods); p++) {
		_cleanup_(world_deinit) struct world w;

		world_init(&w, 10, NULL);
		for (uint32_t i = 0; i < 10 * periods[p]; i++) {
			if (i % periods[p] == 0)
				become(&w, JOB, CHANNEL, 0);
			come(&w, JOB, CHANNEL, 3);
			look(&w);
			if (i > periods[p] || periods[p] <= 8)
				ck_assert_uint_eq(n_told(&w), 0);
		}
	}
}
END_TEST

START_TEST(workers_that_move_are_less_sure)
{
	uint32_t confidences[2];

	for (int moves = 0; moves < 2; moves++) {
		_cleanup_(world_deinit) struct world w;

		world_init(&w, 10, NULL);
		w.has_stamps = true;
		for (uint32_t i = 0; i < 30; i++) {
			come(&w, LEAKED, CHANNEL, 10);
			if (moves)
				move(&w, LEAKED);
			look(&w);
		}
		confidences[moves] = n_told(&w) ? the_one(&w).confidence : 0;
	}
	ck_assert_uint_ge(confidences[0], confidences[1] + 20);
}
END_TEST

START_TEST(a_leak_that_begins_after_days_of_peace_is_told_soon)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 60, NULL);
	come(&w, LEAKED, CHANNEL, 5);
	come(&w, POOLED, CHANNEL, 5);
	for (uint32_t i = 0; i < 5 * 1440; i++)
		look(&w);
	ck_assert_uint_eq(n_told(&w), 0);
	for (uint32_t i = 0; i < 40; i++) {
		come(&w, LEAKED, CHANNEL, 2);
		look(&w);
	}
	ck_assert_uint_eq(the_one(&w).start_pc, LEAKED);
	ck_assert(the_one(&w).per_hour > 110 && the_one(&w).per_hour < 130);
}
END_TEST

START_TEST(too_many_goroutines_are_still_counted_and_found)
{
	_cleanup_(world_deinit) struct world w;
	struct goroutine_leaks_stats stats;
	struct goroutine_leak leak;

	world_init(&w, 10, &(struct goroutine_leaks_options){ .max_goroutines = 2000 });
	for (int i = 0; i < 30; i++) {
		come(&w, LEAKED, CHANNEL, 500);
		look(&w);
	}
	stats = goroutine_leaks_stats(w.leaks);
	ck_assert_uint_eq(stats.n_goroutines, 15000);
	ck_assert_uint_le(stats.n_of_known_age, 2000);
	leak = the_one(&w);
	ck_assert_uint_eq(leak.n, 15000);
	ck_assert(leak.per_hour > 160000 && leak.per_hour < 200000);
}
END_TEST

START_TEST(too_many_sites_are_left_out_and_counted_until_there_is_room)
{
	_cleanup_(world_deinit) struct world w;

	world_init(&w, 10, &(struct goroutine_leaks_options){ .max_sites = 10 });
	for (uint64_t i = 0; i < 25; i++)
		come(&w, 0x10000 + i * 16, CHANNEL, 1);
	look(&w);
	ck_assert_uint_eq(goroutine_leaks_stats(w.leaks).n_sites, 10);
	ck_assert_uint_eq(goroutine_leaks_stats(w.leaks).n_left_out, 15);
	w.all.all.n = 0;
	come(&w, POOLED, CHANNEL, 7);
	look(&w);
	look(&w);
	ck_assert_uint_eq(goroutine_leaks_stats(w.leaks).n_sites, 1);
	for (int i = 0; i < 30; i++) {
		come(&w, LEAKED, CHANNEL, 7);
		look(&w);
	}
	ck_assert_uint_eq(the_one(&w).start_pc, LEAKED);
	ck_assert_int_eq(goroutine_leaks_add(w.leaks, &w.all, w.now), -EINVAL);
}
END_TEST

START_TEST(three_looks_are_not_enough_and_the_text_says_what_is_known)
{
	_cleanup_(world_deinit) struct world w;
	_cleanup_free_ char *text = NULL;
	struct goroutine_leak leak;
	size_t size;
	FILE *f;

	world_init(&w, 120, NULL);
	for (int i = 0; i < 4; i++) {
		come(&w, LEAKED, CHANNEL, 60);
		look_in_peace(&w);
	}
	for (int i = 0; i < 16; i++) {
		come(&w, LEAKED, CHANNEL, 60);
		look(&w);
	}
	leak = the_one(&w);
	leak.n_cohorts = 2;
	leak.n_examples = 1;
	f = open_memstream(&text, &size);
	goroutine_leak_print(&leak, NULL, NULL, f);
	fclose(f);
	ck_assert_ptr_eq(strstr(text, "leak: 1200 goroutines of 0x1000 created by 0x1001 wait (chan receive), 1800 more an hour, confidence "), text);
	ck_assert_ptr_nonnull(strstr(text, "oldest: goroutine 121 (2040.0 s)\n"));
}
END_TEST

UNIT_TESTS("goroutine_leaks", a_leak_is_told_with_its_site_its_rate_and_its_oldest, a_leak_is_surer_the_longer_it_goes_on,
	a_slow_leak_is_told_when_it_is_ten, a_leak_among_many_that_come_and_go_is_told, a_leak_with_noise_above_it_is_told,
	an_idle_server_leaks_nothing, a_healthy_server_under_load_leaks_nothing, a_random_walk_of_clients_is_no_leak,
	clients_that_come_and_stay_all_morning_are_no_leak, clients_that_come_and_stay_are_no_leak_when_all_are_served_at_once,
	but_connections_that_grow_for_more_than_a_day_are,
	a_pool_that_fills_and_stays_is_no_leak, a_pool_that_filled_slowly_is_not_told_any_more, bursts_are_no_leak,
	a_sawtooth_is_no_leak_once_it_fell, workers_that_move_are_less_sure, a_leak_that_begins_after_days_of_peace_is_told_soon,
	too_many_goroutines_are_still_counted_and_found, too_many_sites_are_left_out_and_counted_until_there_is_room,
	three_looks_are_not_enough_and_the_text_says_what_is_known)
