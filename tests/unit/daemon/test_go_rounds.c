/* SPDX-License-Identifier: Apache-2.0 */
/* The helpers are real, and what they are to read is this program, which has no runtime of Go: each refuses. */
#include "go_rounds.h"

#include "cleanup.h"
#include "go_report.h"
#include "go_tallier.h"
#include "own_go.h"

#define GOROUTINES (1U << GO_REPORT_GOROUTINES)
#define REACH (1U << GO_REPORT_REACH)
#define TALLY (1U << GO_REPORT_TALLY)

/* What was told. */
static struct {
	size_t n_begun, n_read, n_ended, n_tallies, most_at_a_time;
	uint32_t add, asked, report_asked;   /* `add`: asked for besides */
	void *ended[4];                      /* in that order */
	char refusal[160];
	uint32_t pid;
} told;

static sd_event *loop;
static struct go_rounds *rounds;

static void on_begin(const struct go_reading *reading, struct go_request *request, void *userdata)
{
	size_t n = ++told.n_begun - (told.n_read - told.n_tallies);

	ck_assert_uint_eq(request->parts, reading->parts);
	told.most_at_a_time = MAX(told.most_at_a_time, n);
	request->parts |= told.add;
	request->is_urgent = true;
}

static void on_read(struct go_reading *reading, struct go_report *report, void *userdata)
{
	ck_assert_ptr_nonnull(report);
	told.n_read++;
	told.n_tallies += reading->is_tally;
	told.asked = reading->asked;
	told.report_asked = report->asked;
	told.pid = reading->image->id.pid;
	strcpy(told.refusal, report->refusal);
}

static void on_end(void *of, void *userdata)
{
	told.ended[told.n_ended++] = of;
}

static const struct go_rounds_ops ops = { on_begin, on_read, on_end };

static void begin(void)
{
	ck_assert_int_eq(sd_event_new(&loop), 0);
	ck_assert_int_eq(go_rounds_new(loop, &ops, NULL, &rounds), 0);
}

static void end(void)
{
	go_rounds_free(rounds);
	sd_event_unref(loop);
}

static void run_until(const size_t *what, size_t n)
{
	while (*what < n)
		ck_assert_int_gt(sd_event_run(loop, 30 * NSEC_PER_SEC / NSEC_PER_USEC), 0);
}

static struct image *made_image(void)
{
	struct image *image = calloc(1, sizeof(*image));

	ck_assert_ptr_nonnull(image);
	image->perf_map_fd = -1;
	return image;
}

START_TEST(a_round_of_nobody_ends_at_once)
{
	int of;

	begin();
	go_rounds_start(rounds, go_rounds_begin(rounds, &of, GOROUTINES));
	ck_assert_uint_eq(told.n_ended, 1);
	ck_assert_ptr_eq(told.ended[0], &of);
	ck_assert_ptr_null(go_rounds_next(rounds, NULL));
	end();
}
END_TEST

START_TEST(who_cannot_be_read_costs_a_round_what_it_would_have_said)
{
	struct go_round *round;

	begin();
	round = go_rounds_begin(rounds, NULL, GOROUTINES);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(go_rounds_add_take(rounds, round, made_image()), 0);
	ck_assert_uint_eq(told.n_begun, 0);
	told.add = REACH;
	go_rounds_start(rounds, round);
	ck_assert_uint_eq(told.n_read, 3);
	ck_assert_uint_eq(told.n_ended, 1);
	ck_assert_str_eq(told.refusal, "a program for another processor");
	ck_assert_uint_eq(told.asked, GOROUTINES | REACH);
	ck_assert_uint_eq(told.report_asked, GOROUTINES | REACH);
	ck_assert_uint_eq(go_rounds_stats(rounds).n_reads, 3);
	ck_assert_uint_eq(go_rounds_stats(rounds).n_failed, 3);
	end();
}
END_TEST

START_TEST(two_are_read_at_a_time)
{
	struct go_round *round;

	begin();
	round = go_rounds_begin(rounds, NULL, GOROUTINES);
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(go_rounds_add_take(rounds, round, own_go_image()), 0);
	go_rounds_start(rounds, round);
	ck_assert_uint_eq(told.n_begun, 2);
	ck_assert_uint_eq(told.n_read, 0);
	run_until(&told.n_ended, 1);
	ck_assert_uint_eq(told.n_read, 5);
	ck_assert_uint_eq(told.most_at_a_time, 2);
	ck_assert_uint_eq(told.pid, getpid());
	ck_assert_uint_eq(told.asked, GOROUTINES);
	/* It is what the helper says. */
	ck_assert_msg(strstr(told.refusal, "not understood"), "%s", told.refusal);
	end();
}
END_TEST

START_TEST(rounds_wait_for_each_other_and_end_without_the_loop)
{
	struct go_round *round;
	int of[2];

	begin();
	for (size_t i = 0; i < 2; i++) {
		round = go_rounds_begin(rounds, &of[i], GOROUTINES);
		for (size_t k = 0; k < 3; k++)
			ck_assert_int_eq(go_rounds_add_take(rounds, round, own_go_image()), 0);
		go_rounds_start(rounds, round);
	}
	ck_assert_ptr_eq(go_rounds_of(go_rounds_next(rounds, NULL)), &of[0]);
	ck_assert_ptr_eq(go_rounds_next(rounds, go_rounds_next(rounds, NULL)), round);
	ck_assert_ptr_null(go_rounds_next(rounds, round));
	go_rounds_leave_loop(rounds);
	go_rounds_finish(rounds);
	ck_assert_uint_eq(told.n_read, 6);
	ck_assert_uint_eq(told.n_ended, 2);
	ck_assert_ptr_eq(told.ended[0], &of[0]);
	ck_assert_ptr_eq(told.ended[1], &of[1]);
	ck_assert_uint_le(told.most_at_a_time, 2);
	end();
}
END_TEST

START_TEST(a_tally_that_is_stopped_is_one_of_the_round)
{
	struct go_tallier *tallier;
	struct go_round *round;

	begin();
	ck_assert_int_eq(go_tallier_new_take(loop, own_go_image(), 10000, &tallier), 0);
	ck_assert_uint_eq(go_tallier_image(tallier)->id.pid, getpid());
	round = go_rounds_begin(rounds, NULL, GOROUTINES);
	ck_assert_int_eq(go_rounds_add_tally_take(rounds, round, tallier), 0);
	ck_assert_uint_eq(told.n_read, 0);
	go_rounds_start(rounds, round);
	run_until(&told.n_ended, 1);
	ck_assert_uint_eq(told.n_read, 1);
	ck_assert_uint_eq(told.n_tallies, 1);
	ck_assert_uint_eq(told.n_begun, 0);
	ck_assert_uint_eq(told.report_asked, TALLY);
	ck_assert_uint_eq(told.pid, getpid());
	end();
}
END_TEST

START_TEST(one_that_ended_before_says_so_at_once)
{
	struct go_tallier *tallier;
	struct go_round *round;

	begin();
	ck_assert_int_eq(go_tallier_new_take(loop, own_go_image(), 10000, &tallier), 0);
	/* Until nothing comes any more. */
	for (uint64_t most_nsec = 30 * NSEC_PER_SEC; sd_event_run(loop, most_nsec / NSEC_PER_USEC) > 0; most_nsec = NSEC_PER_SEC)
		;
	round = go_rounds_begin(rounds, NULL, GOROUTINES);
	ck_assert_int_eq(go_rounds_add_tally_take(rounds, round, tallier), 0);
	ck_assert_uint_eq(told.n_tallies, 1);
	ck_assert_uint_eq(told.report_asked, TALLY);
	ck_assert_msg(strstr(told.refusal, "not understood"), "%s", told.refusal);
	/* Not before all are in it. */
	ck_assert_uint_eq(told.n_ended, 0);
	go_rounds_start(rounds, round);
	ck_assert_uint_eq(told.n_ended, 1);
	end();
}
END_TEST

START_TEST(a_tally_of_what_is_no_go_program_does_not_begin)
{
	struct go_tallier *tallier = NULL;

	begin();
	ck_assert_int_eq(go_tallier_new_take(loop, made_image(), 10000, &tallier), -ENOEXEC);
	ck_assert_ptr_null(tallier);
	end();
}
END_TEST

START_TEST(what_is_being_read_can_be_given_up)
{
	struct go_tallier *tallier;
	struct go_round *round;

	begin();
	round = go_rounds_begin(rounds, NULL, GOROUTINES);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(go_rounds_add_take(rounds, round, own_go_image()), 0);
	ck_assert_int_eq(go_tallier_new_take(loop, own_go_image(), 10000, &tallier), 0);
	ck_assert_int_eq(go_rounds_add_tally_take(rounds, round, tallier), 0);
	go_rounds_start(rounds, round);
	end();
	ck_assert_uint_eq(told.n_read, 0);
	ck_assert_uint_eq(told.n_ended, 0);
}
END_TEST

OWN_GO_TESTS("go_rounds", a_round_of_nobody_ends_at_once, who_cannot_be_read_costs_a_round_what_it_would_have_said, two_are_read_at_a_time,
	rounds_wait_for_each_other_and_end_without_the_loop, a_tally_that_is_stopped_is_one_of_the_round, one_that_ended_before_says_so_at_once,
	a_tally_of_what_is_no_go_program_does_not_begin, what_is_being_read_can_be_given_up)
