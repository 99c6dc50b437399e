/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_deadlocks.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "main.h"

enum { MINUTES = 120 };

struct scene {
	VEC(struct goroutine_facts) goroutines;
	VEC(struct goroutine_wait) waits;
	VEC(struct goroutine_reference) references;
	struct goroutine_deadlocks found;
};

static void scene_deinit(struct scene *s)
{
	vec_deinit(&s->goroutines);
	vec_deinit(&s->waits);
	vec_deinit(&s->references);
	goroutine_deadlocks_deinit(&s->found);
}

static struct goroutine_facts *add(struct scene *s, uint64_t id, const char *reason)
{
	ck_assert_int_eq(vec_push(&s->goroutines, ((struct goroutine_facts){ .id = id, .go_pc = 0x1000 + id, .reason = reason,
		.still_nsec = MINUTES * NSEC_PER_SEC, .first_wait = s->waits.n })), 0);
	return &s->goroutines.at[s->goroutines.n - 1];
}

/* One that waits for an object, and knows it. */
static struct goroutine_facts *waits(struct scene *s, uint64_t id, const char *reason, uint64_t object)
{
	uint32_t kind = strncmp(reason, "sync.", 5) ? GOROUTINE_WAITS_CHANNEL : GOROUTINE_WAITS_LOCK;
	struct goroutine_facts *facts = add(s, id, reason);

	facts->n_waits = 1;
	ck_assert_int_eq(vec_push(&s->waits, ((struct goroutine_wait){ object, kind })), 0);
	ck_assert_int_eq(vec_push(&s->references, ((struct goroutine_reference){ object, id, true })), 0);
	return facts;
}

static void refers(struct scene *s, uint64_t id, uint64_t object)
{
	ck_assert_int_eq(vec_push(&s->references, ((struct goroutine_reference){ object, id, id != 0 })), 0);
}

static size_t find(struct scene *s, uint32_t n_searches)
{
	struct goroutine_deadlocks_input input = {
		.goroutines = s->goroutines.at, .n_goroutines = s->goroutines.n, .waits = s->waits.at, .n_waits = s->waits.n,
		.references = s->references.at, .n_references = s->references.n, .n_searches = n_searches,
	};

	goroutine_deadlocks_deinit(&s->found);
	ck_assert_int_eq(goroutine_deadlocks_find(&input, &s->found), 0);
	return s->found.all.n;
}

static void assert_members(const struct goroutine_deadlock *deadlock, const uint64_t *ids, size_t n)
{
	ck_assert_uint_eq(deadlock->members.n, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(deadlock->members.at[i].id, ids[i]);
}
#define ASSERT_MEMBERS(deadlock, ...) \
	assert_members(deadlock, (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

START_TEST(two_locks_taken_crosswise_are_a_circle)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	add(&s, 1, "IO wait");
	waits(&s, 7, "sync.Mutex.Lock", 0xa0);
	waits(&s, 9, "sync.Mutex.Lock", 0xb0);
	refers(&s, 7, 0xb0);
	refers(&s, 9, 0xa0);
	waits(&s, 11, "sync.Mutex.Lock", 0xa0);
	ck_assert_uint_eq(find(&s, 0), 1);
	ck_assert_int_eq(s.found.all.at[0].sort, GOROUTINE_CIRCLE);
	ASSERT_MEMBERS(&s.found.all.at[0], 7, 9);
	ck_assert_uint_eq(s.found.all.at[0].members.at[0].object, 0xa0);
	ck_assert_uint_eq(s.found.all.at[0].n_behind, 1);
	ck_assert_uint_eq(s.found.all.at[0].confidence, 85);

	/* Nobody else reaches them: that is as sure as it gets. */
	ck_assert_uint_ge(find(&s, 10), 1);
	ck_assert_int_eq(s.found.all.at[0].sort, GOROUTINE_CIRCLE);
	ck_assert(s.found.all.at[0].is_unreachable);
	ck_assert_uint_eq(s.found.all.at[0].confidence, 98);

	ck_assert_uint_ge(find(&s, 1), 1);
	ck_assert_uint_eq(s.found.all.at[0].confidence, 80);

	/* As one does. */
	refers(&s, 0, 0xa0);
	ck_assert_uint_eq(find(&s, 10), 1);
	ck_assert(!s.found.all.at[0].is_unreachable);
	ck_assert_uint_eq(s.found.all.at[0].confidence, 75);
}
END_TEST

START_TEST(a_ring_of_many_is_told_in_its_order)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };
	enum { N = 1000 };

	for (uint64_t i = 0; i < N; i++) {
		waits(&s, 10 + i, "sync.Mutex.Lock", 0x1000 + (i * 7 + 7) % N * 8);
		refers(&s, 10 + i, 0x1000 + i * 7 % N * 8);
	}
	ck_assert_uint_eq(find(&s, 0), 1);
	ck_assert_uint_eq(s.found.all.at[0].members.n, N);
	for (uint64_t i = 0; i < N; i++)
		ck_assert_uint_eq(s.found.all.at[0].members.at[i].id, 10 + i);
}
END_TEST

START_TEST(who_waits_for_a_lock_that_somebody_may_let_go_of_is_in_no_circle)
{
	static const char *const others[] = { NULL, "IO wait", "sleep", "chan receive" };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		_cleanup_(scene_deinit) struct scene s = { 0 };

		waits(&s, 7, "sync.Mutex.Lock", 0xa0);
		waits(&s, 9, "sync.Mutex.Lock", 0xb0);
		refers(&s, 7, 0xb0);
		refers(&s, 9, 0xa0);
		add(&s, 10, others[i]);
		ck_assert_uint_eq(find(&s, 0), 1);
		refers(&s, 10, 0xb0);
		ck_assert_uint_eq(find(&s, 0), 0);
	}
}
END_TEST

START_TEST(who_has_just_moved_is_stuck_in_nothing)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	waits(&s, 7, "sync.Mutex.Lock", 0xa0);
	waits(&s, 9, "sync.Mutex.Lock", 0xb0)->still_nsec = NSEC_PER_SEC;
	refers(&s, 7, 0xb0);
	refers(&s, 9, 0xa0);
	ck_assert_uint_eq(find(&s, 0), 0);
	ck_assert_uint_eq(find(&s, 10), 0);
}
END_TEST

START_TEST(a_forgotten_receiver_is_unreachable)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	add(&s, 1, "sleep");
	for (uint64_t i = 0; i < 50; i++)
		waits(&s, 20 + i, "chan receive", 0x1000 + i * 96)->go_pc = 0x77;
	waits(&s, 100, "chan receive", 0x9000);
	refers(&s, 0, 0x9000);
	ck_assert_uint_eq(find(&s, 10), 1);
	ck_assert_int_eq(s.found.all.at[0].sort, GOROUTINE_UNREACHABLE);
	ck_assert_uint_eq(s.found.all.at[0].members.n, 50);
	ck_assert_uint_eq(s.found.all.at[0].members.at[0].id, 20);
	ck_assert_uint_eq(s.found.all.at[0].confidence, 95);
	ck_assert_uint_eq(find(&s, 1), 1);
	ck_assert_uint_eq(s.found.all.at[0].confidence, 50);
	/* Of stacks alone nothing follows. */
	ck_assert_uint_eq(find(&s, 0), 0);
}
END_TEST

START_TEST(a_main_goroutine_that_waits_alone_means_to)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	add(&s, 6, "IO wait");
	waits(&s, 1, "chan receive", 0xa0);
	ck_assert_uint_eq(find(&s, 10), 0);
	/* Together with one that waits for the same it is as stuck as that. */
	waits(&s, 7, "chan receive", 0xa0);
	ck_assert_uint_eq(find(&s, 10), 1);
	ASSERT_MEMBERS(&s.found.all.at[0], 1, 7);
}
END_TEST

START_TEST(two_channels_that_wait_for_each_other_are_one_group)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	add(&s, 1, "IO wait");
	waits(&s, 5, "chan receive", 0xa0);
	waits(&s, 6, "chan receive", 0xb0);
	refers(&s, 5, 0xb0);
	refers(&s, 6, 0xa0);
	ck_assert_uint_eq(find(&s, 10), 1);
	ASSERT_MEMBERS(&s.found.all.at[0], 5, 6);
	refers(&s, 1, 0xb0);
	ck_assert_uint_eq(find(&s, 10), 0); /* 1 may wake 6, and that 5 */
}
END_TEST

START_TEST(who_can_be_woken_may_wake_others)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	for (uint64_t i = 0; i < 100; i++) {
		waits(&s, 10 + i, "chan send", 0x1000 + i * 96);
		if (i)
			refers(&s, 10 + i, 0x1000 + (i - 1) * 96);
	}
	ck_assert_uint_eq(find(&s, 10), 1);
	ck_assert_int_eq(s.found.all.at[0].sort, GOROUTINE_UNREACHABLE);
	ck_assert_uint_eq(s.found.all.at[0].members.n, 100);
	refers(&s, 0, 0x1000 + 99 * 96);
	ck_assert_uint_eq(find(&s, 10), 1);
	ck_assert_int_eq(s.found.all.at[0].sort, GOROUTINE_ASLEEP);
	add(&s, 1, "IO wait");
	ck_assert_uint_eq(find(&s, 10), 0);
}
END_TEST

START_TEST(what_is_not_known_is_no_deadlock)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	add(&s, 1, "IO wait");
	add(&s, 2, "select");                                  /* for what, could not be read */
	waits(&s, 3, "select", 0xa0)->waits_for_more = true;
	waits(&s, 4, "chan receive", 0xb0)->is_system = true;
	waits(&s, 5, "GC assist wait", 0xc0);
	waits(&s, 6, "coroutine", 0xd0);
	s.goroutines.at[5].first_wait = 1000;
	ck_assert_uint_eq(find(&s, 10), 0);
}
END_TEST

START_TEST(a_nil_channel_wakes_nobody_but_an_empty_select_is_meant)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	add(&s, 1, "select (no cases)");
	add(&s, 2, "IO wait");
	add(&s, 3, "chan receive (nil chan)")->go_pc = 0x50;
	add(&s, 4, "chan send (nil chan)")->go_pc = 0x50;
	ck_assert_uint_eq(find(&s, 0), 1);
	ck_assert_int_eq(s.found.all.at[0].sort, GOROUTINE_FOREVER);
	ASSERT_MEMBERS(&s.found.all.at[0], 3, 4);
	ck_assert_uint_eq(find(&s, 10), 1);
}
END_TEST

START_TEST(an_idle_server_and_an_idle_pool_are_no_deadlock)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	waits(&s, 1, "chan receive", 0x100);                   /* main waits for a signal */
	refers(&s, 0, 0x100);
	add(&s, 2, NULL);                                      /* os/signal.loop, in the kernel */
	add(&s, 3, "IO wait");                                 /* Accept() */
	for (uint64_t i = 0; i < 100; i++)
		waits(&s, 10 + i, "chan receive", 0x200);
	refers(&s, 3, 0x200);
	waits(&s, 200, "sync.WaitGroup.Wait", 0x300);
	refers(&s, 10, 0x300);
	ck_assert_uint_eq(find(&s, 0), 0);
	ck_assert_uint_eq(find(&s, 10), 0);
}
END_TEST

START_TEST(all_asleep_is_told_if_nothing_outside_could_help)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	waits(&s, 1, "sync.WaitGroup.Wait", 0x100);
	waits(&s, 2, "sync.Mutex.Lock", 0x200);
	add(&s, 3, "GC sweep wait")->is_system = true;
	ck_assert_uint_eq(find(&s, 0), 1);
	ck_assert_int_eq(s.found.all.at[0].sort, GOROUTINE_ASLEEP);
	ASSERT_MEMBERS(&s.found.all.at[0], 1, 2);
	ck_assert_uint_eq(s.found.all.at[0].confidence, 80);
	waits(&s, 4, "chan receive", 0x400);                   /* a timer's, perhaps */
	ck_assert_uint_eq(find(&s, 0), 1);
	ck_assert_uint_eq(s.found.all.at[0].confidence, 40);
	s.goroutines.at[0].still_nsec = 30 * NSEC_PER_SEC;
	ck_assert_uint_eq(find(&s, 0), 0);
	s.goroutines.at[0].still_nsec = MINUTES * NSEC_PER_SEC;
	add(&s, 5, "sleep");
	ck_assert_uint_eq(find(&s, 0), 0);
}
END_TEST

START_TEST(a_hundred_thousand_that_wait_for_one_lock_cost_little)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f;

	add(&s, 1, "IO wait");
	for (uint64_t i = 0; i < 100000; i++)
		waits(&s, 10 + i, "sync.Mutex.Lock", 0x100);
	ck_assert_uint_eq(find(&s, 0), 0);
	ck_assert_uint_eq(find(&s, 10), 1);
	ck_assert_uint_eq(s.found.all.at[0].members.n, 100000);
	f = open_memstream(&text, &size);
	goroutine_deadlock_print(&s.found.all.at[0], f);
	fclose(f);
	ck_assert_ptr_eq(strstr(text, "deadlock: 100000 goroutines wait for what no goroutine that can go on reaches, for 120.0 s, confidence 95%\n"
		"    goroutine 10 waits for 0x100\n"), text);
	ck_assert_ptr_nonnull(strstr(text, "    and 99980 more\n"));
}
END_TEST

START_TEST(more_than_can_be_told_is_counted)
{
	_cleanup_(scene_deinit) struct scene s = { 0 };

	for (uint64_t i = 0; i < 2 * (GOROUTINE_DEADLOCKS_MAX + 3); i += 2) {
		waits(&s, 10 + i, "sync.Mutex.Lock", 0x1000 + 16 * i);
		waits(&s, 11 + i, "sync.Mutex.Lock", 0x1008 + 16 * i);
		refers(&s, 10 + i, 0x1008 + 16 * i);
		refers(&s, 11 + i, 0x1000 + 16 * i);
	}
	ck_assert_uint_eq(find(&s, 0), GOROUTINE_DEADLOCKS_MAX);
	ck_assert_uint_eq(s.found.n_left_out, 6);
}
END_TEST

UNIT_TESTS("goroutine_deadlocks", two_locks_taken_crosswise_are_a_circle, a_ring_of_many_is_told_in_its_order,
	who_waits_for_a_lock_that_somebody_may_let_go_of_is_in_no_circle, who_has_just_moved_is_stuck_in_nothing,
	a_forgotten_receiver_is_unreachable, a_main_goroutine_that_waits_alone_means_to, two_channels_that_wait_for_each_other_are_one_group, who_can_be_woken_may_wake_others,
	what_is_not_known_is_no_deadlock, a_nil_channel_wakes_nobody_but_an_empty_select_is_meant,
	an_idle_server_and_an_idle_pool_are_no_deadlock, all_asleep_is_told_if_nothing_outside_could_help,
	a_hundred_thousand_that_wait_for_one_lock_cost_little, more_than_can_be_told_is_counted)
