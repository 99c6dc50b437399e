/* SPDX-License-Identifier: Apache-2.0 */
#include "go_running.h"

#include "../main.h"
#include "clock.h"
#include "go_goroutines.h"
#include "go_thread.h"
#include "location.h"

enum { PID = 7, THREAD = 9, GOROUTINE = 20 };
#define TAKEN_NSEC (100 * NSEC_PER_SEC)

static const struct process_id process = { .pid = PID, .exec_id = 3, .start_nsec = 5 * NSEC_PER_SEC };

/* Of the one thread that was sampled. */
static bool find(uint32_t pid, uint32_t thread, struct go_running *ret, void *userdata)
{
	const struct go_running *sample = userdata;

	*ret = *sample;
	return pid == PID && thread == THREAD;
}

static struct go_running sampled(void)
{
	/* The kernel knows the start to the nanosecond, /proc does not. */
	return (struct go_running){ .time_nsec = TAKEN_NSEC - 10 * NSEC_PER_MSEC, .start_nsec = process.start_nsec + 1234567, .exec_id = 3, .n = 3,
		.goroutine = GOROUTINE, .frames = { 0x401000, 0x402000, 0x403000 } };
}

/* How many frames a goroutine that runs on THREAD is given. */
static size_t frames_given(struct go_running sample)
{
	struct go_goroutine goroutine = { .id = GOROUTINE, .thread = THREAD, .status = GO_RUNNING, .verdict = GO_GOROUTINE_RUNNING };
	struct go_goroutines goroutines = { 0 };
	size_t n;

	ck_assert_int_eq(vec_push(&goroutines.frames, 0x999), 0); /* another's */
	ck_assert_int_eq(vec_push(&goroutines.all, goroutine), 0);
	ck_assert_int_eq(go_running_fill(&goroutines, &process, TAKEN_NSEC, find, &sample), 0);
	n = goroutines.all.at[0].n_frames;
	if (n) {
		const uint64_t *frames = &goroutines.frames.at[goroutines.all.at[0].first_frame];

		ck_assert_uint_eq(frames[0], 0x401000 | GO_STACK_EXACT);
		ck_assert_uint_eq(frames[n - 1], sample.frames[n - 1]);
		ck_assert_uint_eq(goroutines.all.at[0].verdict, sample.is_cut ? GO_STACK_CUT : GO_GOROUTINE_RUNNING);
	}
	go_goroutines_deinit(&goroutines);
	return n;
}

START_TEST(who_was_sampled_a_moment_ago_has_that_stack)
{
	struct go_running sample = sampled();

	ck_assert_uint_eq(frames_given(sample), 3);
	sample.time_nsec = TAKEN_NSEC + NSEC_PER_MSEC; /* while it was read */
	ck_assert_uint_eq(frames_given(sample), 3);
	sample.is_cut = 1;
	sample.n = GO_RUNNING_FRAMES;
	ck_assert_uint_eq(frames_given(sample), GO_RUNNING_FRAMES);
}
END_TEST

START_TEST(a_sample_of_something_else_is_not_taken)
{
	struct go_running sample = sampled();

	sample.goroutine++;
	ck_assert_uint_eq(frames_given(sample), 0);
	sample = sampled();
	sample.exec_id++;
	ck_assert_uint_eq(frames_given(sample), 0);
	sample = sampled();
	sample.start_nsec += NSEC_PER_TICK;
	ck_assert_uint_eq(frames_given(sample), 0);
	sample = sampled();
	sample.time_nsec = TAKEN_NSEC - (GO_RUNNING_AGE_MSEC + 1) * NSEC_PER_MSEC;
	ck_assert_uint_eq(frames_given(sample), 0);
	sample = sampled();
	sample.n = GO_RUNNING_FRAMES + 1;
	ck_assert_uint_eq(frames_given(sample), 0);
}
END_TEST

START_TEST(who_waits_or_has_no_thread_keeps_what_it_has)
{
	struct go_goroutines goroutines = { 0 };
	struct go_running sample = sampled();

	ck_assert_int_eq(vec_push(&goroutines.all, ((struct go_goroutine){ .id = GOROUTINE, .thread = 0, .status = GO_RUNNING, .verdict = GO_GOROUTINE_RUNNING })), 0);
	ck_assert_int_eq(vec_push(&goroutines.all, ((struct go_goroutine){ .id = GOROUTINE, .thread = THREAD, .status = GO_SYSCALL })), 0);
	ck_assert_int_eq(go_running_fill(&goroutines, &process, TAKEN_NSEC, find, &sample), 0);
	ck_assert_uint_eq(goroutines.all.at[0].n_frames + goroutines.all.at[1].n_frames + goroutines.frames.n, 0);
	go_goroutines_deinit(&goroutines);
}
END_TEST

UNIT_TESTS("go_running", who_was_sampled_a_moment_ago_has_that_stack, a_sample_of_something_else_is_not_taken,
		who_waits_or_has_no_thread_keeps_what_it_has)
