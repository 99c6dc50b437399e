/* SPDX-License-Identifier: Apache-2.0 */
#include "../main.h"
#include "made_capture.h"

static bool is_service(const struct image *image, const void *userdata)
{
	return image && !strcmp(image->service, userdata);
}

static bool is_unknown(const struct image *image, const void *userdata)
{
	return !image;
}

/* 2 samples of a, 3 of b, 4 of a program that nothing is known of; 5 were lost. */
static struct capture *three_programs(void)
{
	struct capture *capture = made_capture();
	uint64_t frame = 0x1000;

	made_sample(capture, made_process(capture, 1, made_image("a")), "a", 2, 0, &frame, 1);
	made_sample(capture, made_process(capture, 2, made_image("b")), "b", 3, 0, &frame, 1);
	made_sample(capture, made_process(capture, 3, NULL), "c", 4, 0, &frame, 1);
	capture->stacks->lost_ring = 5;
	capture->stacks->seen += 5;
	return capture;
}

START_TEST(what_is_left_out_does_not_count)
{
	struct capture *capture = three_programs();

	capture_select(capture, is_service, "b");
	ck_assert_uint_eq(capture->stacks->samples.n, 1);
	ck_assert_uint_eq(stacks_kept(capture->stacks), 3);
	ck_assert_uint_eq(capture->stacks->seen, 3 + 5);
	ck_assert_uint_eq(capture->stacks->verdicts[SAMPLE_VERDICT_COMPLETE], 3);
	ck_assert(capture->is_selected);
	capture_free(capture);
}
END_TEST

START_TEST(programs_that_nothing_is_known_of_can_be_chosen_too)
{
	struct capture *capture = three_programs();

	capture_select(capture, is_unknown, NULL);
	ck_assert_uint_eq(stacks_kept(capture->stacks), 4);
	capture_free(capture);
}
END_TEST

START_TEST(nothing_may_be_left)
{
	struct capture *capture = three_programs();

	capture_select(capture, is_service, "z");
	ck_assert_uint_eq(stacks_kept(capture->stacks), 0);
	ck_assert_uint_eq(capture->stacks->seen, capture->stacks->lost_ring);
	capture_free(capture);
	capture_free(NULL);
}
END_TEST

START_TEST(verdicts_are_those_of_what_is_left_whatever_they_are)
{
	struct capture *capture = made_capture();
	uint32_t a = made_process(capture, 1, made_image("a")), b = made_process(capture, 2, made_image("b"));
	uint64_t frames[SAMPLE_MAX_USER_FRAMES] = { 0x1000 }, sum = 0;

	for (uint32_t verdict = 0; verdict < SAMPLE_N_VERDICTS; verdict++)
		for (uint32_t process = a; process <= b; process++)
			made_ended_sample(capture, process, "x", 1 + 10 * verdict + process, 0, frames,
					verdict == SAMPLE_VERDICT_ELIDED ? SAMPLE_MAX_USER_FRAMES : 1, verdict,
					verdict == SAMPLE_VERDICT_ELIDED ? 7 : 0);
	capture->stacks->seen += 4;
	capture->stacks->lost_ring = 4;
	capture_select(capture, is_service, "b");
	for (uint32_t verdict = 0; verdict < SAMPLE_N_VERDICTS; verdict++) {
		ck_assert_uint_eq(capture->stacks->verdicts[verdict], 1 + 10 * verdict + b);
		sum += capture->stacks->verdicts[verdict];
	}
	ck_assert_uint_eq(sum, stacks_kept(capture->stacks));
	ck_assert_uint_eq(sum, capture->stacks->seen - capture->stacks->lost_ring);
	capture_free(capture);
}
END_TEST

START_TEST(a_stack_that_ended_in_two_ways_takes_no_more_verdicts_than_there_are)
{
	struct capture *capture = three_programs();

	capture->stacks->verdicts[SAMPLE_VERDICT_COMPLETE] = 1;
	capture_select(capture, is_service, "z");
	ck_assert_uint_eq(capture->stacks->verdicts[SAMPLE_VERDICT_COMPLETE], 0);
	capture_free(capture);
}
END_TEST

START_TEST(a_neighbour_is_found_by_its_pid)
{
	struct capture *capture = made_capture();

	ck_assert_ptr_null(capture_neighbour(capture, 3));
	for (uint32_t pid = 3; pid < 9; pid += 2)
		ck_assert_int_ge(vec_push(&capture->neighbours, ((struct capture_neighbour){ .pid = pid, .service = pid < 7 ? strdup("hog") : NULL })), 0);
	ck_assert_str_eq(capture_neighbour(capture, 3), "hog");
	ck_assert_str_eq(capture_neighbour(capture, 5), "hog");
	ck_assert_str_eq(capture_neighbour(capture, 7), "other");
	ck_assert_ptr_null(capture_neighbour(capture, 4));
	capture_free(capture);
}
END_TEST

UNIT_TESTS("capture", a_neighbour_is_found_by_its_pid, what_is_left_out_does_not_count, programs_that_nothing_is_known_of_can_be_chosen_too,
	nothing_may_be_left, verdicts_are_those_of_what_is_left_whatever_they_are,
	a_stack_that_ended_in_two_ways_takes_no_more_verdicts_than_there_are)
