/* SPDX-License-Identifier: Apache-2.0 */
#include "wall.h"

#include "made_waits.h"
#include "main.h"
#include "stacks.h"

enum { WINDOW = 1000000, PERIOD = 10000 };

static const bool all[] = { true, true, true };

/* All live all the time, but for thread 66, which is gone, and 77, which came late. */
static uint64_t lived(const struct process_id *process, uint32_t tid, void *userdata)
{
	return tid == 66 ? WALL_UNKNOWN : tid == 77 ? WINDOW / 4 : WINDOW;
}

static struct stacks *new_window(void)
{
	struct stacks *stacks = stacks_new();

	stacks->duration_nsec = WINDOW;
	stacks->period_nsec = 1;
	return stacks;
}

static struct stacks *new_ran(void)
{
	struct stacks *ran = new_window();

	ran->period_nsec = PERIOD;
	return ran;
}

static uint64_t sum(const struct stacks *stacks, uint32_t tid)
{
	uint64_t nsec = 0;

	for (size_t i = 0; i < stacks->samples.n; i++)
		nsec += stacks->samples.at[i].tid == tid ? stacks->samples.at[i].nsec : 0;
	return nsec;
}

static const struct stacks_sample *last(const struct stacks *stacks)
{
	return &stacks->samples.at[stacks->samples.n - 1];
}

static void end(struct stacks *waits, struct stacks *ran)
{
	stacks_free(waits);
	stacks_free(ran);
}

START_TEST(time_on_cpu_is_the_rest_of_the_window_by_samples)
{
	struct stacks *waits = new_window(), *ran = new_ran();
	uint32_t w = made_wait_process(waits, 10, 1), other = made_wait_process(ran, 9, 1), r = made_wait_process(ran, 10, 1);

	made_wait(waits, made_wait_stack(waits, w, 7), 10, SAMPLE_SLEEP, 0, 1, 400000);
	made_wait(ran, made_wait_stack(ran, other, 5), 9, SAMPLE_RAN, 0, 50, 0);
	made_wait(ran, made_wait_stack(ran, r, 8), 10, SAMPLE_RAN, 0, 2, 0);
	made_wait(ran, made_wait_stack(ran, r, 9), 10, SAMPLE_RAN, 0, 1, 0);
	ck_assert_int_eq(wall_add(waits, ran, (const bool[]){ false, true }, lived, NULL), 0);
	ck_assert_uint_eq(waits->samples.n, 3);
	ck_assert_uint_eq(waits->samples.at[1].nsec, 400000);
	ck_assert_uint_eq(waits->samples.at[2].nsec, 200000);
	ck_assert_uint_eq(waits->frames.at[waits->stacks.at[waits->samples.at[1].stack].first_frame], 8);
	ck_assert_uint_eq(waits->stacks.at[waits->samples.at[1].stack].process, w);
	ck_assert_uint_eq(waits->processes.n, 1);
	ck_assert_uint_eq(sum(waits, 10), WINDOW);
	ck_assert_uint_eq(waits->period_nsec, PERIOD);
	/* What was seen of waits is what it was. */
	ck_assert_uint_eq(stacks_kept(waits), 1);
	ck_assert_uint_eq(waits->seen, 1);
	end(waits, ran);
}
END_TEST

START_TEST(a_thread_that_no_sample_met_has_time_without_a_stack)
{
	struct stacks *waits = new_window(), *ran = new_ran();
	uint32_t w = made_wait_process(waits, 10, 1), stack = made_wait_stack(waits, w, 7);

	made_wait(waits, stack, 10, SAMPLE_SLEEP, 0, 5, 900000);
	made_wait(waits, stack, 11, SAMPLE_SLEEP, 0, 5, 999999);
	made_wait(waits, stack, 12, SAMPLE_SLEEP, 0, 5, WINDOW);
	ck_assert_int_eq(wall_add(waits, ran, all, lived, NULL), 0);
	ck_assert_uint_eq(waits->samples.n, 5);
	ck_assert_uint_eq(last(waits)->nsec, 1);
	ck_assert_uint_eq(last(waits)->wait.reason, SAMPLE_RAN);
	ck_assert_str_eq(last(waits)->thread, "worker");
	ck_assert_uint_eq(waits->stacks.at[last(waits)->stack].n_user, 0);
	for (uint32_t tid = 10; tid <= 12; tid++)
		ck_assert_uint_eq(sum(waits, tid), WINDOW);
	end(waits, ran);
}
END_TEST

START_TEST(a_thread_that_never_waited_ran_all_the_time)
{
	struct stacks *waits = new_window(), *ran = new_ran();
	uint32_t r = made_wait_process(ran, 10, 1);

	made_wait(ran, made_wait_stack(ran, r, 8), 10, SAMPLE_RAN, 0, 97, 0);
	ck_assert_int_eq(wall_add(waits, ran, all, lived, NULL), 0);
	ck_assert_uint_eq(waits->processes.n, 1);
	ck_assert_uint_eq(sum(waits, 10), WINDOW);
	end(waits, ran);
}
END_TEST

START_TEST(who_came_late_has_what_it_lived_and_who_is_gone_what_its_samples_stand_for)
{
	struct stacks *waits = new_window(), *ran = new_ran();
	uint32_t w = made_wait_process(waits, 10, 1), r = made_wait_process(ran, 10, 1), stack = made_wait_stack(waits, w, 7);
	uint32_t ran_stack = made_wait_stack(ran, r, 8);

	made_wait(waits, stack, 77, SAMPLE_SLEEP, 0, 1, 100000);
	made_wait(waits, stack, 66, SAMPLE_SLEEP, 0, 1, 100000);
	made_wait(ran, ran_stack, 77, SAMPLE_RAN, 0, 1, 0);
	made_wait(ran, ran_stack, 66, SAMPLE_RAN, 0, 3, 0);
	ck_assert_int_eq(wall_add(waits, ran, all, lived, NULL), 0);
	ck_assert_uint_eq(sum(waits, 77), WINDOW / 4);
	ck_assert_uint_eq(sum(waits, 66), 100000 + 3 * PERIOD);
	end(waits, ran);
}
END_TEST

START_TEST(waits_longer_than_the_window_leave_nothing)
{
	struct stacks *waits = new_window(), *ran = new_ran();
	uint32_t w = made_wait_process(waits, 10, 1), r = made_wait_process(ran, 10, 1);

	made_wait(waits, made_wait_stack(waits, w, 7), 10, SAMPLE_SLEEP, 0, 1, WINDOW + 5);
	made_wait(ran, made_wait_stack(ran, r, 8), 10, SAMPLE_RAN, 0, 3, 0);
	ck_assert_int_eq(wall_add(waits, ran, all, lived, NULL), 0);
	ck_assert_uint_eq(sum(waits, 10), WINDOW + 5);
	end(waits, ran);
}
END_TEST

START_TEST(an_exec_does_not_double_the_time_of_its_thread)
{
	struct stacks *waits = new_window(), *ran = new_ran();
	uint32_t before = made_wait_process(waits, 10, 1), after = made_wait_process(ran, 10, 2);

	made_wait(waits, made_wait_stack(waits, before, 7), 10, SAMPLE_SLEEP, 0, 1, 300000);
	made_wait(ran, made_wait_stack(ran, after, 8), 10, SAMPLE_RAN, 0, 4, 0);
	ck_assert_int_eq(wall_add(waits, ran, all, lived, NULL), 0);
	ck_assert_uint_eq(waits->processes.n, 2);
	ck_assert_uint_eq(sum(waits, 10), WINDOW);
	end(waits, ran);
}
END_TEST

UNIT_TESTS("wall", time_on_cpu_is_the_rest_of_the_window_by_samples, a_thread_that_no_sample_met_has_time_without_a_stack,
		a_thread_that_never_waited_ran_all_the_time, who_came_late_has_what_it_lived_and_who_is_gone_what_its_samples_stand_for,
		waits_longer_than_the_window_leave_nothing, an_exec_does_not_double_the_time_of_its_thread)
