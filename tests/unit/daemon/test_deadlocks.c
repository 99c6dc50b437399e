/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlocks.h"

#include <errno.h>

#include "cleanup.h"
#include "clock.h"
#include "futex_wait.h"
#include "location.h"
#include "main.h"
#include "map.h"
#include "stacks.h"

/* What is so at the end of the window, of both processes. */
struct now {
	uint32_t pid, tid;                   /* of a thread */
	struct futex_wait wait;
	uint32_t n_looks;
	uint32_t moves_after;                /* so many looks; 0: never */
};

struct owner {
	uint64_t lock;
	uint32_t pid, owner;
};

static struct stacks *stacks;
static struct deadlocks found;
static VEC(struct now) threads;
static VEC(struct owner) owners;
static bool cannot_read;                     /* whose memory it is makes that last */
static uint32_t n_asked;                     /* for owners */
static uint32_t owners_change_after;         /* so many times; 0: never */

static void setup(void)
{
	stacks = stacks_new();
	stacks->duration_nsec = NSEC_PER_SEC;
	for (uint32_t i = 0; i < 2; i++) {
		ck_assert_int_eq(vec_push(&stacks->processes, ((struct process_id){ .pid = 1000 + i })), 0);
		ck_assert_int_eq(vec_push(&stacks->stacks, ((struct stacks_stack){ .process = i, .hash = i + 1 })), 0);
	}
	found = (struct deadlocks){ 0 };
	n_asked = owners_change_after = 0;
}

static void teardown(void)
{
	deadlocks_deinit(&found);
	stacks_free(stacks);
	vec_deinit(&threads);
	vec_deinit(&owners);
}

/* A thread waits for a lock that another one has: in the window, and now. */
static struct stacks_sample *wait_for(uint32_t process, uint32_t tid, uint64_t lock, uint32_t owner)
{
	const struct stacks_sample sample = { .stack = process, .tid = tid, .count = 1, .nsec = NSEC_PER_SEC, .is_open = true,
		.wait = { .reason = SAMPLE_LOCK, .object = lock }, .thread = "worker" };
	const struct now now = { .pid = 1000 + process, .tid = tid, .wait = { .address = lock, .n_switches = 7, .namespace_tid = tid } };

	ck_assert_int_eq(vec_push(&stacks->samples, sample), 0);
	ck_assert_int_eq(vec_push(&threads, now), 0);
	ck_assert_int_eq(vec_push(&owners, ((struct owner){ lock, 1000 + process, owner })), 0);
	return &stacks->samples.at[stacks->samples.n - 1];
}

static int ask_owners(const struct process_id *process, const uint64_t *locks, size_t n, uint32_t *ret_owners, void *userdata)
{
	n_asked++;
	if (cannot_read)
		return -ETIMEDOUT;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < owners.n; j++)
			if (owners.at[j].pid == process->pid && owners.at[j].lock == locks[i])
				ret_owners[i] = owners_change_after && n_asked > owners_change_after ? 1 : owners.at[j].owner;
	return 0;
}

static int ask_wait(const struct process_id *process, uint32_t tid, struct futex_wait *ret, void *userdata)
{
	for (size_t i = 0; i < threads.n; i++) {
		struct now *now = &threads.at[i];

		if (now->pid != process->pid || now->tid != tid)
			continue;
		*ret = now->wait;
		now->n_looks++;
		ret->n_switches += now->moves_after && now->n_looks > now->moves_after;
		return 0;
	}
	return 1;
}

static size_t n_circles(void)
{
	const struct deadlocks_looks looks = { .owners = ask_owners, .wait = ask_wait };

	deadlocks_deinit(&found);
	found = (struct deadlocks){ 0 };
	ck_assert_int_eq(deadlocks_find(stacks, &looks, &found), 0);
	return found.circles.n;
}

START_TEST(two_threads_that_wait_for_each_other_are_found)
{
	setup();
	wait_for(0, 12, 0x1000, 11);
	wait_for(0, 11, 0x2000, 12);
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert(found.has_looked);
	ck_assert_uint_eq(found.circles.at[0].waits.n, 2);
	ck_assert_uint_eq(found.circles.at[0].waits.at[0].tid, 11);
	ck_assert_uint_eq(found.circles.at[0].waits.at[0].lock, 0x2000);
	ck_assert_uint_eq(found.circles.at[0].waits.at[1].tid, 12);
	ck_assert_uint_eq(found.circles.at[0].waits.at[1].lock, 0x1000);
	ck_assert_str_eq(found.circles.at[0].waits.at[1].thread, "worker");
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
	wait_for(1, 12, 0x3000, 11);
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.circles.at[0].process, 1);
	teardown();
}
END_TEST

START_TEST(threads_of_a_container_are_known_by_their_own_numbers)
{
	setup();
	wait_for(0, 5012, 0x1000, 11);
	wait_for(0, 5011, 0x2000, 12);
	threads.at[0].wait.namespace_tid = 12;
	threads.at[1].wait.namespace_tid = 11;
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.circles.at[0].waits.at[0].tid, 5011);
	teardown();
}
END_TEST

START_TEST(what_moved_in_the_window_is_no_deadlock)
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
	ck_assert_uint_eq(n_circles(), 1);
	teardown();
}
END_TEST

START_TEST(what_is_not_so_any_more_at_the_end_is_no_deadlock)
{
	setup();
	wait_for(0, 12, 0x1000, 11);
	wait_for(0, 11, 0x2000, 12);
	threads.at[1].wait.address = 0x3000;
	ck_assert_uint_eq(n_circles(), 0);
	threads.at[1].wait.address = 0;
	ck_assert_uint_eq(n_circles(), 0);
	threads.at[1].wait.address = 0x2000;
	owners.at[0].owner = 0;
	ck_assert_uint_eq(n_circles(), 0);
	/* The lock was handed on to somebody who works. */
	owners.at[0].owner = 99;
	ck_assert_uint_eq(n_circles(), 0);
	owners.at[0].owner = 11;
	ck_assert_uint_eq(n_circles(), 1);
	/* It is gone. */
	threads.n = 1;
	ck_assert_uint_eq(n_circles(), 0);
	teardown();
}
END_TEST

START_TEST(what_moves_while_it_is_looked_at_is_no_deadlock)
{
	setup();
	wait_for(0, 12, 0x1000, 11);
	wait_for(0, 11, 0x2000, 12);
	threads.at[0].moves_after = 1;
	ck_assert_uint_eq(n_circles(), 0);
	threads.at[0].moves_after = 0;
	n_asked = 0;
	owners_change_after = 1;
	ck_assert_uint_eq(n_circles(), 0);
	owners_change_after = 0;
	ck_assert_uint_eq(n_circles(), 1);
	teardown();
}
END_TEST

START_TEST(a_wait_that_ends_by_itself_is_in_no_circle)
{
	setup();
	wait_for(0, 12, 0x1000, 11);
	wait_for(0, 11, 0x2000, 12);
	threads.at[0].wait.is_timed = true;
	ck_assert_uint_eq(n_circles(), 0);
	teardown();
}
END_TEST

START_TEST(what_cannot_be_read_is_counted)
{
	setup();
	wait_for(0, 12, 0x1000, 11);
	wait_for(0, 11, 0x2000, 12);
	cannot_read = true;
	ck_assert_uint_eq(n_circles(), 0);
	ck_assert_uint_eq(found.n_left_out, 2);
	cannot_read = false;
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.n_left_out, 0);
	teardown();
}
END_TEST

START_TEST(a_window_below_a_second_says_nothing)
{
	setup();
	wait_for(0, 5, 0x1000, 5);
	stacks->duration_nsec = NSEC_PER_SEC / 2;
	ck_assert_uint_eq(n_circles(), 0);
	ck_assert(!found.has_looked);
	teardown();
}
END_TEST

START_TEST(a_long_circle_is_walked_once)
{
	setup();
	for (uint32_t i = 1; i < DEADLOCKS_MAX_WAITS; i++)
		wait_for(0, i, 0x1000 + i, i + 1);
	ck_assert_uint_eq(n_circles(), 0);
	wait_for(0, DEADLOCKS_MAX_WAITS, 0x1000, 1);
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.circles.at[0].waits.n, DEADLOCKS_MAX_WAITS);
	ck_assert_uint_eq(found.n_left_out, 0);
	wait_for(0, DEADLOCKS_MAX_WAITS + 1, 0x1000, 1);
	ck_assert_uint_eq(n_circles(), 1);
	ck_assert_uint_eq(found.n_left_out, 1);
	teardown();
}
END_TEST

START_TEST(more_circles_than_are_told_are_counted)
{
	setup();
	for (uint32_t i = 1; i <= DEADLOCKS_MAX_CIRCLES + 3; i++)
		wait_for(0, i, 0x1000 + i, i);
	ck_assert_uint_eq(n_circles(), DEADLOCKS_MAX_CIRCLES);
	ck_assert_uint_eq(found.n_left_out, 3);
	teardown();
}
END_TEST

UNIT_TESTS("deadlocks", two_threads_that_wait_for_each_other_are_found, who_waits_for_the_circle_is_not_in_it,
	a_thread_that_waits_for_its_own_lock_is_a_circle, equal_numbers_in_two_processes_are_two_threads,
	threads_of_a_container_are_known_by_their_own_numbers, what_moved_in_the_window_is_no_deadlock,
	what_is_not_so_any_more_at_the_end_is_no_deadlock, what_moves_while_it_is_looked_at_is_no_deadlock,
	a_wait_that_ends_by_itself_is_in_no_circle, a_window_below_a_second_says_nothing, a_long_circle_is_walked_once,
	more_circles_than_are_told_are_counted, what_cannot_be_read_is_counted)
