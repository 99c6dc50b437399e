/* SPDX-License-Identifier: Apache-2.0 */
#include "go_idle.h"

#include "../main.h"
#include "go_findings.h"
#include "made_go_report.h"
#include "stacks.h"

/* A stack's functions: its frames are their numbers, leaf first; those below 100 are the library's. The last one is where it began. */
enum { LIBRARY = 100, ACCEPT = 1, SERVE = 2, PARK = 3, WORKER = 101, HANDLER = 102, DEEPER = 103, OTHER = 104 };

enum { RECEIVE = 1, SELECT = 2, READ = 3, SLEEP = 4, LOCK = 5 };

static struct stacks *stacks;
static struct go_findings *findings;
static struct go_report report;

static struct go_idle_place place_of(const struct stacks_stack *stack, const void *userdata)
{
	struct go_idle_place place = { 0 };

	ck_assert_ptr_eq(userdata, &report);
	for (size_t i = 0; i < stack->n_user; i++) {
		uint64_t frame = stacks->frames.at[stack->first_frame + i] & ~SAMPLE_INTERRUPTED;

		place.depth += frame >= LIBRARY;
		place.accepts |= frame == ACCEPT;
		place.start = frame;
	}
	return place;
}

static void begin(void)
{
	static const char *const reasons[] = { "", "chan receive", "select", "IO wait", "sleep", "sync.Mutex.Lock" };

	stacks = stacks_new();
	findings = go_findings_new();
	report = (struct go_report){ .version = "go1.26.8", .asked = 1 << GO_REPORT_TALLY, .has = 1 << GO_REPORT_TALLY };
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		strcpy(report.tally.wait_reasons[i], reasons[i]);
	report.tally.n_wait_reasons = sizeof(reasons) / sizeof(reasons[0]);
}

/* Of one goroutine that comes and goes. */
static size_t wait_at(uint32_t reason, const uint64_t *frames, size_t n)
{
	struct go_tally *tally = &report.tally;
	struct go_tallied row = { .nsec = 1000, .count = 3, .n_most = 1, .first_frame = tally->frames.n, .n_frames = n, .status = GO_WAITING, .wait_reason = reason };

	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(vec_push(&tally->frames, frames[i] | GO_STACK_EXACT), 0);
	ck_assert_int_eq(vec_push(&tally->all, row), 0);
	return tally->all.n - 1;
}

#define WAIT(reason, ...) wait_at(reason, (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

static void find(void)
{
	const struct process_id id = { .pid = 7, .exec_id = 1, .start_nsec = 10 };
	const struct go_addition addition = { .process = &id, .report = &report, .parts = 1 << GO_REPORT_TALLY };

	ck_assert_int_eq(go_findings_add(findings, stacks, &addition), 0);
	ck_assert_int_eq(go_idle_find(stacks, findings, place_of, &report), 0);
}

static bool is_idle(size_t index)
{
	return stacks->samples.at[index].is_idle;
}

static void end(void)
{
	stacks_free(stacks);
	go_findings_free(findings);
	go_report_deinit(&report);
}

START_TEST(what_the_library_waits_for_by_itself_is_idle)
{
	size_t next_request, accepting, of_a_lock;

	begin();
	next_request = WAIT(READ, PARK, SERVE);
	accepting = WAIT(READ, PARK, ACCEPT, WORKER);
	of_a_lock = WAIT(LOCK, PARK, SERVE);
	find();
	ck_assert(is_idle(next_request));
	ck_assert(is_idle(accepting));
	ck_assert(!is_idle(of_a_lock));
	end();
}
END_TEST

START_TEST(a_worker_is_idle_where_it_takes_work_and_not_where_it_waits_for_an_answer)
{
	size_t work, answer, lock;

	begin();
	work = WAIT(RECEIVE, PARK, WORKER);
	answer = WAIT(RECEIVE, PARK, DEEPER, WORKER);
	lock = WAIT(LOCK, PARK + 1, WORKER);
	find();
	ck_assert(is_idle(work));
	ck_assert(!is_idle(answer));
	ck_assert(!is_idle(lock));
	end();
}
END_TEST

START_TEST(who_was_seen_at_one_place_alone_has_to_stay_or_to_have_company)
{
	size_t comes, stays, many;

	begin();
	report.tally.n_snapshots = 10;
	comes = WAIT(SELECT, PARK, WORKER);
	stays = WAIT(SELECT, PARK, HANDLER);
	report.tally.all.at[stays].n_least = 1;
	many = WAIT(SELECT, PARK, OTHER);
	report.tally.all.at[many].n_most = 2;
	find();
	ck_assert(!is_idle(comes));
	ck_assert(is_idle(stays));
	ck_assert(is_idle(many));
	end();
}
END_TEST

START_TEST(who_stayed_for_a_few_snapshots_may_have_come_and_gone)
{
	size_t stays;

	begin();
	report.tally.n_snapshots = 9;
	stays = WAIT(SELECT, PARK, HANDLER);
	report.tally.all.at[stays].n_least = 1;
	find();
	ck_assert(!is_idle(stays));
	end();
}
END_TEST

START_TEST(of_two_places_that_are_equally_deep_only_a_sleep_is_idle)
{
	size_t one, two, sleep;

	begin();
	one = WAIT(RECEIVE, PARK, WORKER);
	two = WAIT(SELECT, PARK + 1, WORKER);
	sleep = WAIT(SLEEP, PARK + 2, WORKER);
	find();
	ck_assert(!is_idle(one));
	ck_assert(!is_idle(two));
	ck_assert(is_idle(sleep));
	end();
}
END_TEST

/* Whose home is where the server waits for the next request. */
START_TEST(a_handler_that_sleeps_or_reads_is_not_idle)
{
	size_t sleep, read;

	begin();
	WAIT(READ, PARK, SERVE);
	sleep = WAIT(SLEEP, PARK, HANDLER, SERVE);
	read = WAIT(READ, PARK, HANDLER, SERVE);
	find();
	ck_assert(!is_idle(sleep));
	ck_assert(!is_idle(read));
	end();
}
END_TEST

START_TEST(who_runs_or_has_no_whole_stack_is_not_idle)
{
	size_t runs, broken, nothing;

	begin();
	runs = WAIT(0, SERVE);
	report.tally.all.at[runs].status = GO_RUNNABLE;
	broken = WAIT(SELECT, PARK, SERVE);
	report.tally.all.at[broken].verdict = GO_STACK_NOT_GO;
	nothing = wait_at(SELECT, NULL, 0);
	find();
	ck_assert(!is_idle(runs));
	ck_assert(!is_idle(broken));
	ck_assert(!is_idle(nothing));
	end();
}
END_TEST

START_TEST(without_findings_nothing_is_touched)
{
	begin();
	ck_assert_int_eq(go_idle_find(stacks, NULL, place_of, &report), 0);
	ck_assert_int_eq(go_idle_find(stacks, findings, place_of, &report), 0);
	end();
}
END_TEST

UNIT_TESTS("go_idle", what_the_library_waits_for_by_itself_is_idle, a_worker_is_idle_where_it_takes_work_and_not_where_it_waits_for_an_answer,
	who_was_seen_at_one_place_alone_has_to_stay_or_to_have_company, who_stayed_for_a_few_snapshots_may_have_come_and_gone,
	of_two_places_that_are_equally_deep_only_a_sleep_is_idle,
	a_handler_that_sleeps_or_reads_is_not_idle, who_runs_or_has_no_whole_stack_is_not_idle, without_findings_nothing_is_touched)
