/* SPDX-License-Identifier: Apache-2.0 */
#include "go_tally.h"

#include <string.h>

#include "../main.h"

static struct go_goroutines snapshot(void)
{
	struct go_goroutines goroutines = { .n_wait_reasons = 3 };

	strcpy(goroutines.wait_reasons[1], "chan receive");
	strcpy(goroutines.wait_reasons[2], "select");
	return goroutines;
}

/* One that waits, with two frames from `frame` on. Valid until the next one. */
static struct go_goroutine *add(struct go_goroutines *goroutines, uint64_t frame)
{
	struct go_goroutine one = { .id = goroutines->all.n + 1, .status = GO_WAITING, .wait_reason = 1, .first_frame = goroutines->frames.n, .n_frames = 2 };

	ck_assert_int_eq(vec_push(&goroutines->frames, frame), 0);
	ck_assert_int_eq(vec_push(&goroutines->frames, frame + 1), 0);
	ck_assert_int_eq(vec_push(&goroutines->all, one), 0);
	return &goroutines->all.at[goroutines->all.n - 1];
}

static const struct go_tallied *find(const struct go_tally *tally, uint64_t frame, uint32_t status)
{
	for (size_t i = 0; i < tally->all.n; i++) {
		const struct go_tallied *one = &tally->all.at[i];

		if (one->status == status && (frame ? one->n_frames && tally->frames.at[one->first_frame] == frame : !one->n_frames))
			return one;
	}
	ck_abort_msg("%llx in state %u is not there", (unsigned long long)frame, status);
}

START_TEST(each_snapshot_stands_for_its_time)
{
	struct go_goroutines first = snapshot(), second = snapshot();
	struct go_tally tally;

	go_tally_init(&tally);
	add(&first, 0x1000);
	add(&first, 0x1000);
	add(&first, 0x2000);
	add(&second, 0x1000);
	ck_assert_int_eq(go_tally_add(&tally, &first, 50), 0);
	ck_assert_int_eq(go_tally_add(&tally, &second, 70), 0);
	ck_assert_uint_eq(tally.all.n, 2);
	ck_assert_uint_eq(find(&tally, 0x1000, GO_WAITING)->nsec, 50 + 50 + 70);
	ck_assert_uint_eq(find(&tally, 0x1000, GO_WAITING)->count, 3);
	ck_assert_uint_eq(find(&tally, 0x2000, GO_WAITING)->nsec, 50);
	ck_assert_uint_eq(tally.n_snapshots, 2);
	ck_assert_uint_eq(tally.nsec, 120);
	ck_assert_uint_eq(tally.lost_nsec, 0);
	ck_assert_str_eq(tally.wait_reasons[find(&tally, 0x1000, GO_WAITING)->wait_reason], "chan receive");
	go_goroutines_deinit(&first);
	go_goroutines_deinit(&second);
	go_tally_deinit(&tally);
}
END_TEST

START_TEST(how_many_are_there_at_a_time_is_known)
{
	struct go_goroutines first = snapshot(), second = snapshot();
	struct go_tally tally;

	go_tally_init(&tally);
	add(&first, 0x1000);
	add(&first, 0x1000);
	add(&first, 0x2000);
	add(&second, 0x1000);
	add(&second, 0x3000);
	go_tally_add(&tally, &first, 1);
	go_tally_add(&tally, &second, 1);
	go_tally_add(&tally, &first, 1);
	ck_assert_uint_eq(find(&tally, 0x1000, GO_WAITING)->n_least, 1);
	ck_assert_uint_eq(find(&tally, 0x1000, GO_WAITING)->n_most, 2);
	ck_assert_uint_eq(find(&tally, 0x2000, GO_WAITING)->n_least, 0);
	ck_assert_uint_eq(find(&tally, 0x2000, GO_WAITING)->n_most, 1);
	/* It was not there at first. */
	ck_assert_uint_eq(find(&tally, 0x3000, GO_WAITING)->n_least, 0);
	go_goroutines_deinit(&first);
	go_goroutines_deinit(&second);
	go_tally_deinit(&tally);
}
END_TEST

START_TEST(states_and_reasons_are_kept_apart_and_old_reasons_are_none)
{
	struct go_goroutines goroutines = snapshot();
	struct go_tally tally;

	go_tally_init(&tally);
	add(&goroutines, 0x1000);
	add(&goroutines, 0x1000)->wait_reason = 2;
	add(&goroutines, 0x1000)->status = GO_RUNNABLE;
	add(&goroutines, 0x1000)->status = GO_RUNNABLE;
	goroutines.all.at[3].wait_reason = 2;
	add(&goroutines, 0x1000)->verdict = GO_STACK_CUT;
	ck_assert_int_eq(go_tally_add(&tally, &goroutines, 10), 0);
	ck_assert_uint_eq(tally.all.n, 4);
	ck_assert_uint_eq(find(&tally, 0x1000, GO_RUNNABLE)->count, 2);
	ck_assert_uint_eq(find(&tally, 0x1000, GO_RUNNABLE)->wait_reason, 0);
	go_goroutines_deinit(&goroutines);
	go_tally_deinit(&tally);
}
END_TEST

START_TEST(those_of_the_system_are_left_out_and_those_that_run_have_no_stack)
{
	struct go_goroutines goroutines = snapshot();
	struct go_tally tally;

	go_tally_init(&tally);
	add(&goroutines, 0x1000)->is_system = true;
	*add(&goroutines, 0x2000) = (struct go_goroutine){ .status = GO_RUNNING, .verdict = GO_GOROUTINE_RUNNING };
	ck_assert_int_eq(go_tally_add(&tally, &goroutines, 10), 0);
	ck_assert_uint_eq(tally.all.n, 1);
	ck_assert_uint_eq(find(&tally, 0, GO_RUNNING)->nsec, 10);
	go_goroutines_deinit(&goroutines);
	go_tally_deinit(&tally);
}
END_TEST

START_TEST(snapshots_can_stand_for_more_time)
{
	struct go_goroutines first = snapshot(), second = snapshot();
	struct go_tally tally;

	go_tally_init(&tally);
	go_tally_stretch(&tally, 100);
	ck_assert_uint_eq(tally.nsec, 0);
	add(&first, 0x1000);
	add(&second, 0x2000);
	second.n_unread = 1;
	go_tally_add(&tally, &first, UINT64_C(10) << 50);
	go_tally_add(&tally, &second, UINT64_C(30) << 50);
	go_tally_stretch(&tally, UINT64_C(40) << 50);
	ck_assert_uint_eq(find(&tally, 0x1000, GO_WAITING)->nsec, UINT64_C(20) << 50);
	ck_assert_uint_eq(find(&tally, 0x2000, GO_WAITING)->nsec, UINT64_C(60) << 50);
	ck_assert_uint_eq(find(&tally, 0x2000, GO_WAITING)->count, 1);
	ck_assert_uint_eq(tally.lost_nsec, UINT64_C(60) << 50);
	ck_assert_uint_eq(tally.nsec, UINT64_C(80) << 50);
	go_goroutines_deinit(&first);
	go_goroutines_deinit(&second);
	go_tally_deinit(&tally);
}
END_TEST

START_TEST(what_could_not_be_read_is_lost)
{
	struct go_goroutines goroutines = snapshot();
	struct go_tally tally;

	go_tally_init(&tally);
	goroutines.n_unread = 3;
	ck_assert_int_eq(go_tally_add(&tally, &goroutines, 10), 0);
	ck_assert_uint_eq(tally.lost_count, 3);
	ck_assert_uint_eq(tally.lost_nsec, 30);
	go_tally_deinit(&tally);
}
END_TEST

START_TEST(stacks_without_end_are_bounded_and_the_rest_is_lost)
{
	struct go_goroutines goroutines = snapshot();
	struct go_tally tally;

	go_tally_init(&tally);
	for (uint64_t i = 0; i < GO_TALLY_MAX + 5; i++)
		add(&goroutines, 0x100000 + 16 * i);
	ck_assert_int_eq(go_tally_add(&tally, &goroutines, 10), 0);
	ck_assert_int_eq(go_tally_add(&tally, &goroutines, 10), 0);
	ck_assert_uint_eq(tally.all.n, GO_TALLY_MAX);
	ck_assert_uint_eq(tally.lost_count, 10);
	ck_assert_uint_eq(tally.lost_nsec, 100);
	for (size_t i = 0; i < tally.all.n; i++)
		ck_assert_uint_eq(tally.all.at[i].count, 2);
	go_goroutines_deinit(&goroutines);
	go_tally_deinit(&tally);
}
END_TEST

START_TEST(deep_stacks_are_bounded_together)
{
	struct go_goroutines goroutines = snapshot();
	struct go_tally tally;
	size_t n = GO_TALLY_MAX_FRAMES / GO_STACK_MAX_FRAMES;

	go_tally_init(&tally);
	for (uint64_t i = 0; i < GO_STACK_MAX_FRAMES + 2 * n; i++)
		ck_assert_int_eq(vec_push(&goroutines.frames, 0x1000 + i), 0);
	for (size_t i = 0; i < n + 2; i++)
		ck_assert_int_eq(vec_push(&goroutines.all, ((struct go_goroutine){ .status = GO_WAITING, .first_frame = i, .n_frames = GO_STACK_MAX_FRAMES })), 0);
	ck_assert_int_eq(go_tally_add(&tally, &goroutines, 10), 0);
	ck_assert_uint_eq(tally.all.n, n);
	ck_assert_uint_le(tally.frames.n, GO_TALLY_MAX_FRAMES);
	ck_assert_uint_eq(tally.lost_count, 2);
	go_goroutines_deinit(&goroutines);
	go_tally_deinit(&tally);
}
END_TEST

UNIT_TESTS("go_tally", each_snapshot_stands_for_its_time, how_many_are_there_at_a_time_is_known, states_and_reasons_are_kept_apart_and_old_reasons_are_none,
	those_of_the_system_are_left_out_and_those_that_run_have_no_stack, what_could_not_be_read_is_lost, snapshots_can_stand_for_more_time,
	stacks_without_end_are_bounded_and_the_rest_is_lost, deep_stacks_are_bounded_together)
