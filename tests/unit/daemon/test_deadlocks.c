/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlocks.h"

#include "cleanup.h"
#include "clock.h"
#include "main.h"
#include "stacks.h"

static struct stacks *stacks;
static struct deadlocks found;

static void setup(void)
{
	stacks = stacks_new();
	stacks->duration_nsec = NSEC_PER_SEC;
	ck_assert_int_eq(vec_push(&stacks->stacks, ((struct stacks_stack){ .process = 0, .hash = 1 })), 0);
	ck_assert_int_eq(vec_push(&stacks->stacks, ((struct stacks_stack){ .process = 1, .hash = 2 })), 0);
	found = (struct deadlocks){ 0 };
}

static void teardown(void)
{
	deadlocks_deinit(&found);
	stacks_free(stacks);
}

static struct stacks_sample *wait_for(uint32_t process, uint32_t tid, uint64_t lock, uint32_t owner)
{
	const struct stacks_sample sample = { .stack = process, .tid = tid, .count = 1, .nsec = NSEC_PER_SEC, .is_open = true,
		.wait = { .reason = SAMPLE_LOCK, .object = lock, .device = owner } };

	ck_assert_int_eq(vec_push(&stacks->samples, sample), 0);
	return &stacks->samples.at[stacks->samples.n - 1];
}

static size_t n_circles(void)
{
	ck_assert_int_eq(deadlocks_find(stacks, &found), 0);
	return found.circles.n;
}

START_TEST(two_threads_that_wait_for_each_other_are_found)
{
	setup();
	wait_for(0, 12, 0x1000, 11);
	wait_for(0, 11, 0x2000, 12);
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.circles.at[0].waits.n, 2);
	ck_assert_uint_eq(found.circles.at[0].waits.at[0].sample, 1);
	ck_assert_uint_eq(found.circles.at[0].waits.at[0].lock, 0x2000);
	ck_assert_uint_eq(found.circles.at[0].waits.at[1].lock, 0x1000);
	teardown();
}
END_TEST

START_TEST(who_waits_for_the_circle_is_not_in_it)
{
	setup();
	wait_for(0, 9, 0x1000, 11);
	wait_for(0, 12, 0x1000, 11);
	wait_for(0, 8, 0x3000, 9);
	wait_for(0, 11, 0x2000, 13);
	wait_for(0, 13, 0x4000, 12);
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.circles.at[0].waits.n, 3);
	teardown();
}
END_TEST

START_TEST(a_thread_that_waits_for_its_own_lock_is_a_circle)
{
	setup();
	wait_for(0, 5, 0x1000, 5);
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.circles.at[0].waits.n, 1);
	teardown();
}
END_TEST

START_TEST(equal_numbers_in_two_processes_are_two_threads)
{
	setup();
	wait_for(0, 12, 0x1000, 11);
	wait_for(1, 11, 0x2000, 12);
	ck_assert_uint_eq(n_circles(), 0);
	teardown();
}
END_TEST

START_TEST(what_moves_is_no_deadlock)
{
	setup();
	wait_for(0, 12, 0x1000, 11);
	wait_for(0, 11, 0x2000, 12)->is_open = false;
	ck_assert_uint_eq(n_circles(), 0);
	stacks->samples.at[1].is_open = true;
	stacks->samples.at[1].nsec = NSEC_PER_SEC / 2;
	ck_assert_uint_eq(n_circles(), 0);
	stacks->samples.at[1].nsec = NSEC_PER_SEC;
	stacks->samples.at[1].count = 2;
	ck_assert_uint_eq(n_circles(), 0);
	stacks->samples.at[1].count = 1;
	stacks->samples.at[1].wait.reason = SAMPLE_CHANNEL;
	ck_assert_uint_eq(n_circles(), 0);
	stacks->samples.at[1].wait.reason = SAMPLE_LOCK;
	stacks->samples.at[1].wait.device = 0;
	ck_assert_uint_eq(n_circles(), 0);
	stacks->samples.at[1].wait.device = 12;
	ck_assert_uint_eq(n_circles(), 1);
	teardown();
}
END_TEST

START_TEST(a_long_queue_is_walked_once)
{
	setup();
	for (uint32_t i = 1; i <= 50000; i++)
		wait_for(0, i, 0x1000, i + 1);
	ck_assert_uint_eq(n_circles(), 0);
	wait_for(0, 50001, 0x1000, 1);
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.circles.at[0].waits.n, 50001);
	teardown();
}
END_TEST

UNIT_TESTS("deadlocks", two_threads_that_wait_for_each_other_are_found, who_waits_for_the_circle_is_not_in_it,
	a_thread_that_waits_for_its_own_lock_is_a_circle, equal_numbers_in_two_processes_are_two_threads,
	what_moves_is_no_deadlock, a_long_queue_is_walked_once)
