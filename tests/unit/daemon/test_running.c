/* SPDX-License-Identifier: Apache-2.0 */
#include "running.h"

#include "main.h"
#include "made_waits.h"

static const struct process_id first = { .pid = 10, .exec_id = 1, .start_nsec = 50000000 };
static const struct process_id second = { .pid = 20, .exec_id = 1, .start_nsec = 50000000 };

static struct running_thread thread_of(const struct process_id *process, uint32_t tid)
{
	return (struct running_thread){ .process = *process, .tid = tid, .thread = "worker" };
}

START_TEST(a_thread_that_the_burst_met_has_the_stack_it_was_met_in_most)
{
	struct stacks *snapshot = stacks_new(), *burst = stacks_new();
	const struct running_thread threads[] = { thread_of(&first, 11) };
	uint32_t process = made_wait_process(burst, 10, 1);

	made_wait(burst, made_wait_stack(burst, process, 0x100), 11, SAMPLE_RAN, 0, 3, 0);
	made_wait(burst, made_wait_stack(burst, process, 0x200), 11, SAMPLE_RAN, 0, 9, 0);
	made_wait(burst, made_wait_stack(burst, process, 0x300), 12, SAMPLE_RAN, 0, 20, 0);
	made_wait_stack(snapshot, made_wait_process(snapshot, 20, 1), 0x900);
	ck_assert_int_eq(running_add(snapshot, threads, 1, burst), 0);
	ck_assert_uint_eq(snapshot->samples.n, 1);
	ck_assert_uint_eq(snapshot->samples.at[0].tid, 11);
	ck_assert_uint_eq(snapshot->samples.at[0].count, 1);
	ck_assert_uint_eq(snapshot->samples.at[0].wait.reason, SAMPLE_RAN);
	ck_assert_str_eq(snapshot->samples.at[0].thread, "worker");
	ck_assert_uint_eq(snapshot->stacks.n, 2);
	ck_assert_uint_eq(snapshot->processes.n, 2);
	ck_assert_uint_eq(snapshot->processes.at[snapshot->stacks.at[1].process].pid, 10);
	ck_assert_uint_eq(snapshot->frames.at[snapshot->stacks.at[1].first_frame], 0x200);
	ck_assert_uint_eq(snapshot->verdicts[SAMPLE_VERDICT_COMPLETE], 1);
	stacks_free(snapshot);
	stacks_free(burst);
}
END_TEST

START_TEST(a_thread_that_it_did_not_meet_is_told_without_frames)
{
	struct stacks *snapshot = stacks_new(), *burst = stacks_new();
	const struct running_thread threads[] = { thread_of(&first, 11), thread_of(&second, 11) };

	/* The same number in another process. */
	made_wait(burst, made_wait_stack(burst, made_wait_process(burst, 20, 2), 0x100), 11, SAMPLE_RAN, 0, 3, 0);
	ck_assert_int_eq(running_add(snapshot, threads, 2, burst), 0);
	ck_assert_int_eq(running_add(snapshot, threads, 1, NULL), 0);
	ck_assert_uint_eq(snapshot->samples.n, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct stacks_stack *stack = &snapshot->stacks.at[snapshot->samples.at[i].stack];

		ck_assert_uint_eq(stack->n_kernel + stack->n_user, 0);
		ck_assert_uint_eq(stack->hash, 0);
		ck_assert_uint_eq(snapshot->processes.at[stack->process].pid, i == 1 ? 20 : 10);
	}
	ck_assert_uint_eq(snapshot->processes.n, 2);
	stacks_free(snapshot);
	stacks_free(burst);
}
END_TEST

START_TEST(threads_of_one_stack_share_it)
{
	struct stacks *snapshot = stacks_new(), *burst = stacks_new();
	const struct running_thread threads[] = { thread_of(&first, 11), thread_of(&first, 12) };
	uint32_t process = made_wait_process(burst, 10, 1), stack = made_wait_stack(burst, process, 0x100);

	made_wait(burst, stack, 11, SAMPLE_RAN, 0, 1, 0);
	made_wait(burst, stack, 12, SAMPLE_RAN, 0, 1, 0);
	ck_assert_int_eq(running_add(snapshot, threads, 2, burst), 0);
	ck_assert_uint_eq(snapshot->stacks.n, 1);
	ck_assert_uint_eq(snapshot->samples.n, 2);
	ck_assert_uint_eq(snapshot->samples.at[0].stack, snapshot->samples.at[1].stack);
	ck_assert_int_eq(running_add(snapshot, NULL, 0, burst), 0);
	ck_assert_uint_eq(snapshot->samples.n, 2);
	stacks_free(snapshot);
	stacks_free(burst);
}
END_TEST

UNIT_TESTS("running", a_thread_that_the_burst_met_has_the_stack_it_was_met_in_most, a_thread_that_it_did_not_meet_is_told_without_frames,
		threads_of_one_stack_share_it)
