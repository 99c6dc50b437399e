/* SPDX-License-Identifier: Apache-2.0 */
#include "locks.h"

#include "main.h"
#include "made_waits.h"

static void add(struct stacks *stacks, uint32_t stack, uint32_t tid, uint64_t lock, uint32_t owner, uint64_t count, uint64_t nsec,
		uint64_t longest_nsec)
{
	made_wait(stacks, stack, tid, SAMPLE_LOCK, 0, count, nsec);
	stacks->samples.at[stacks->samples.n - 1].wait.object = lock;
	stacks->samples.at[stacks->samples.n - 1].wait.device = owner;
	stacks->samples.at[stacks->samples.n - 1].longest_nsec = longest_nsec;
}

static struct locks found(const struct stacks *stacks)
{
	struct locks locks = { 0 };

	ck_assert_int_eq(locks_find(stacks, &locks), 0);
	return locks;
}

START_TEST(all_waits_for_a_lock_are_added_up)
{
	struct stacks *stacks = stacks_new();
	uint32_t process = made_wait_process(stacks, 10, 0), a = made_wait_stack(stacks, process, 1), without = made_wait_stack(stacks, process, 0);
	struct locks locks;

	add(stacks, a, 11, 0x1000, 13, 2, 300, 200);
	add(stacks, without, 12, 0x1000, 13, 5, 50, 20);
	add(stacks, without, 11, 0x1000, 14, 1, 250, 250);
	add(stacks, a, 11, 0x1000, 0, 1, 1, 1);
	add(stacks, a, 12, 0x2000, 0, 1, 700, 700);
	made_wait(stacks, a, 12, SAMPLE_SLEEP, 0, 1, 5000);
	locks = found(stacks);
	ck_assert_uint_eq(locks.longest.n, 2);
	ck_assert_uint_eq(locks.longest.at[0].address, 0x2000);
	ck_assert_uint_eq(locks.longest.at[0].n_owners, 0);
	ck_assert_uint_eq(locks.longest.at[1].address, 0x1000);
	ck_assert_uint_eq(locks.longest.at[1].waits, 9);
	ck_assert_uint_eq(locks.longest.at[1].nsec, 601);
	ck_assert_uint_eq(locks.longest.at[1].longest_nsec, 250);
	ck_assert_uint_eq(locks.longest.at[1].n_threads, 2);
	ck_assert_uint_eq(locks.longest.at[1].n_owners, 2);
	ck_assert_uint_eq(locks.longest.at[1].owners[0], 13);
	ck_assert_uint_eq(locks.longest.at[1].owners[1], 14);
	ck_assert_str_eq(locks.longest.at[1].thread, "worker");
	ck_assert_uint_eq(locks.processes.n, 1);
	ck_assert_uint_eq(locks.processes.at[0].n, 2);
	ck_assert_uint_eq(locks.processes.at[0].nsec, 1301);
	ck_assert(!locks.longest.at[0].is_estimate && !locks.longest.at[1].is_estimate && !locks.processes.at[0].is_estimate);
	locks_deinit(&locks);
	stacks_free(stacks);
}
END_TEST

START_TEST(waits_of_which_a_share_was_timed_stand_for_all)
{
	struct stacks *stacks = stacks_new();
	uint32_t process = made_wait_process(stacks, 10, 0), a = made_wait_stack(stacks, process, 1);
	struct locks locks;

	add(stacks, a, 11, 0x1000, 0, 2, 300, 200);
	stacks->samples.at[0].skip = 3;
	locks = found(stacks);
	ck_assert_uint_eq(locks.longest.at[0].waits, 16);
	ck_assert_uint_eq(locks.longest.at[0].nsec, 2400);
	ck_assert(locks.longest.at[0].is_estimate && locks.processes.at[0].is_estimate);
	ck_assert_uint_eq(locks.longest.at[0].longest_nsec, 200);
	locks_deinit(&locks);
	stacks_free(stacks);
}
END_TEST

START_TEST(equal_addresses_in_two_processes_are_two_locks)
{
	struct stacks *stacks = stacks_new();
	uint32_t a = made_wait_stack(stacks, made_wait_process(stacks, 10, 0), 1), b = made_wait_stack(stacks, made_wait_process(stacks, 11, 0), 1);
	struct locks locks;

	add(stacks, a, 11, 0x1000, 0, 1, 300, 300);
	add(stacks, b, 12, 0x1000, 0, 1, 400, 400);
	locks = found(stacks);
	ck_assert_uint_eq(locks.longest.n, 2);
	ck_assert_uint_eq(locks.longest.at[0].process, 1);
	ck_assert_uint_eq(locks.processes.n, 2);
	locks_deinit(&locks);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_process_with_many_locks_does_not_push_out_those_of_another)
{
	struct stacks *stacks = stacks_new();
	uint32_t a = made_wait_stack(stacks, made_wait_process(stacks, 10, 0), 1), b = made_wait_stack(stacks, made_wait_process(stacks, 11, 0), 1);
	struct locks locks;

	for (uint32_t i = 0; i < 1000; i++)
		add(stacks, a, 11, 0x1000 + i, i, 1, 1000 + i, 1);
	add(stacks, b, 12, 0x1000, 0, 1, 4, 4);
	locks = found(stacks);
	ck_assert_uint_eq(locks.longest.n, LOCKS_MAX_SHOWN + 1);
	ck_assert_uint_eq(locks.longest.at[0].nsec, 1999);
	ck_assert_uint_eq(locks.longest.at[LOCKS_MAX_SHOWN - 1].nsec, 1980);
	ck_assert_uint_eq(locks.longest.at[LOCKS_MAX_SHOWN].process, 1);
	ck_assert_uint_eq(locks.processes.at[0].n, 1000);
	locks_deinit(&locks);
	stacks_free(stacks);
}
END_TEST

START_TEST(more_owners_than_are_named_are_counted)
{
	struct stacks *stacks = stacks_new();
	uint32_t a = made_wait_stack(stacks, made_wait_process(stacks, 10, 0), 1);
	struct locks locks;

	for (uint32_t i = 100; i > 0; i--)
		add(stacks, a, 11, 0x1000, i, 1, 1, 1);
	locks = found(stacks);
	ck_assert_uint_eq(locks.longest.at[0].n_owners, 100);
	ck_assert_uint_eq(locks.longest.at[0].owners[0], 1);
	ck_assert_uint_eq(locks.longest.at[0].owners[LOCKS_MAX_OWNERS - 1], LOCKS_MAX_OWNERS);
	ck_assert_uint_eq(locks.longest.at[0].n_threads, 1);
	locks_deinit(&locks);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_window_without_locks_has_none)
{
	struct stacks *stacks = stacks_new();
	struct locks locks = found(stacks);

	ck_assert_uint_eq(locks.longest.n, 0);
	ck_assert_uint_eq(locks.processes.n, 0);
	stacks_free(stacks);
}
END_TEST

UNIT_TESTS("locks", all_waits_for_a_lock_are_added_up, waits_of_which_a_share_was_timed_stand_for_all,
	equal_addresses_in_two_processes_are_two_locks, a_process_with_many_locks_does_not_push_out_those_of_another,
	more_owners_than_are_named_are_counted, a_window_without_locks_has_none)
