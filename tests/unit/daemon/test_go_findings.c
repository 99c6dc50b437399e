/* SPDX-License-Identifier: Apache-2.0 */
#include "go_findings.h"

#include <errno.h>

#include "../main.h"
#include "location.h"
#include "made_go_report.h"
#include "stacks.h"

static const uint32_t all_parts = (1U << GO_REPORT_N_PARTS) - 1;

struct made {
	struct stacks *stacks;
	struct go_findings *findings;
};

static struct made made(void)
{
	return (struct made){ stacks_new(), go_findings_new() };
}

static void done(struct made *m)
{
	/* What every addition has to leave behind. */
	ck_assert_uint_eq(m->stacks->seen, stacks_kept(m->stacks) + stacks_lost(m->stacks));
	stacks_free(m->stacks);
	go_findings_free(m->findings);
}

static void add(struct made *m, uint32_t pid, const struct go_report *report, const struct go_report *before, const uint64_t *waited_nsec)
{
	const struct process_id id = { .pid = pid, .exec_id = 1, .start_nsec = 10 };
	const struct go_addition addition = { .process = &id, .report = report, .before = before, .parts = all_parts, .waited_nsec = waited_nsec };

	ck_assert_int_eq(go_findings_add(m->findings, m->stacks, &addition), 0);
}

static const struct stacks_stack *stack_of(const struct made *m, size_t sample)
{
	return &m->stacks->stacks.at[m->stacks->samples.at[sample].stack];
}

static uint64_t frame_of(const struct made *m, size_t sample, size_t frame)
{
	return m->stacks->frames.at[stack_of(m, sample)->first_frame + frame];
}

START_TEST(a_leaf_lies_in_the_call_and_callers_stay_return_addresses)
{
	const uint64_t parked[] = { 0x1010, 0x2020, 0x3030 }, begun[] = { 0x1000 | GO_STACK_EXACT, 0x3030 },
		faulted[] = { 0x1010, 0x2020 | GO_STACK_EXACT, 0x3030 };
	struct go_report report = made_report("go1.26.8");
	struct made m = made();

	made_goroutine(&report, 1, parked, 3);
	made_goroutine(&report, 2, begun, 2);
	made_goroutine(&report, 3, faulted, 3);
	add(&m, 7, &report, NULL, NULL);
	ck_assert_uint_eq(m.stacks->samples.n, 3);
	ck_assert_uint_eq(stack_of(&m, 0)->n_user, 3);
	ck_assert_uint_eq(stack_of(&m, 0)->n_kernel, 0);
	ck_assert_uint_eq(frame_of(&m, 0, 0), 0x100f);
	ck_assert_uint_eq(frame_of(&m, 0, 1), 0x2020);
	ck_assert_uint_eq(frame_of(&m, 0, 2), 0x3030);
	ck_assert_uint_eq(frame_of(&m, 1, 0), 0x1000);
	ck_assert_uint_eq(frame_of(&m, 2, 1), 0x2020 | SAMPLE_INTERRUPTED);
	ck_assert_uint_eq(m.stacks->processes.at[stack_of(&m, 0)->process].pid, 7);
	made_report_free(&report);
	done(&m);
}
END_TEST

START_TEST(equal_stacks_and_creators_are_one)
{
	const uint64_t stack[] = { 0x1010, 0x2020 }, other[] = { 0x1010, 0x2021 };
	struct go_report report = made_report("go1.26.8");
	struct made m = made();

	made_goroutine(&report, 1, stack, 2);
	made_goroutine(&report, 2, stack, 2)->go_pc = 0x5050;
	made_goroutine(&report, 3, other, 2)->go_pc = 0x5050;
	made_goroutine(&report, 4, stack, 2)->verdict = GO_STACK_SWITCHED;
	add(&m, 7, &report, NULL, NULL);
	ck_assert_uint_eq(m.stacks->samples.at[0].stack, m.stacks->samples.at[1].stack);
	ck_assert_uint_ne(m.stacks->samples.at[0].stack, m.stacks->samples.at[2].stack);
	ck_assert_uint_ne(m.stacks->samples.at[0].stack, m.stacks->samples.at[3].stack);
	ck_assert_uint_eq(m.stacks->samples.at[0].other, 0);
	ck_assert_uint_ne(m.stacks->samples.at[1].other, 0);
	ck_assert_uint_eq(m.stacks->samples.at[1].other, m.stacks->samples.at[2].other);
	ck_assert_uint_eq(m.stacks->frames.at[m.stacks->stacks.at[m.stacks->samples.at[1].other - 1].first_frame], 0x504f);
	ck_assert_uint_eq(m.stacks->stacks.n, 4);
	ck_assert_uint_eq(m.stacks->verdicts[SAMPLE_VERDICT_COMPLETE], 3);
	ck_assert_uint_eq(m.stacks->verdicts[SAMPLE_VERDICT_NO_RULE], 1);
	made_report_free(&report);
	done(&m);
}
END_TEST

START_TEST(goroutines_of_the_runtime_are_counted_and_not_told)
{
	const uint64_t stack[] = { 0x1010 };
	struct go_report report = made_report("go1.26.8");
	struct made m = made();

	made_goroutine(&report, 1, stack, 1);
	made_goroutine(&report, 2, stack, 1)->is_system = true;
	made_goroutine(&report, 3, NULL, 0)->verdict = GO_GOROUTINE_RUNNING;
	report.goroutines.all.at[2].status = GO_RUNNING;
	report.goroutines.n_unread = 2;
	report.goroutines.n_retried = 5;
	add(&m, 7, &report, NULL, NULL);
	ck_assert_uint_eq(m.stacks->samples.n, 2);
	ck_assert_uint_eq(m.stacks->seen, 4);
	ck_assert_uint_eq(m.stacks->lost_frames, 2);
	ck_assert_uint_eq(stack_of(&m, 1)->n_user, 0);
	ck_assert_uint_eq(stack_of(&m, 1)->verdict, SAMPLE_VERDICT_KERNEL);
	ck_assert_uint_eq(m.findings->processes.at[0].n_goroutines, 2);
	ck_assert_uint_eq(m.findings->processes.at[0].n_system, 1);
	ck_assert_uint_eq(m.findings->processes.at[0].n_unread, 2);
	ck_assert_uint_eq(m.findings->processes.at[0].n_retried, 5);
	ck_assert_uint_eq(m.findings->processes.at[0].n_by_status[GO_WAITING], 1);
	ck_assert_uint_eq(m.findings->processes.at[0].n_by_status[GO_RUNNING], 1);
	made_report_free(&report);
	done(&m);
}
END_TEST

START_TEST(wait_reasons_of_versions_that_number_them_differently_keep_their_texts)
{
	const uint64_t stack[] = { 0x1010 };
	struct go_report old = made_report("go1.20.14"), new = made_report("go1.26.8");
	struct made m = made();

	strcpy(new.goroutines.wait_reasons[1], "GC worker (idle)");
	strcpy(new.goroutines.wait_reasons[2], "chan receive");
	made_goroutine(&old, 1, stack, 1);
	made_goroutine(&new, 1, stack, 1);
	made_goroutine(&new, 2, stack, 1)->wait_reason = 2;
	made_goroutine(&new, 3, stack, 1)->wait_reason = 100; /* there is none */
	made_goroutine(&new, 4, stack, 1)->status = GO_RUNNABLE;
	add(&m, 7, &old, NULL, NULL);
	add(&m, 8, &new, NULL, NULL);
	ck_assert_str_eq(m.findings->wait_reasons[m.findings->samples.at[0].goroutine.is.wait_reason], "chan receive");
	ck_assert_str_eq(m.findings->wait_reasons[m.findings->samples.at[1].goroutine.is.wait_reason], "GC worker (idle)");
	ck_assert_str_eq(m.findings->wait_reasons[m.findings->samples.at[2].goroutine.is.wait_reason], "chan receive");
	ck_assert_str_eq(m.findings->wait_reasons[m.findings->samples.at[3].goroutine.is.wait_reason], "");
	ck_assert_str_eq(m.findings->wait_reasons[m.findings->samples.at[4].goroutine.is.wait_reason], "");
	ck_assert_uint_eq(m.stacks->processes.n, 2);
	made_report_free(&old);
	made_report_free(&new);
	done(&m);
}
END_TEST

START_TEST(the_longest_wait_that_anyone_knows_of_is_told)
{
	const uint64_t stack[] = { 0x1010 }, seen[] = { 5, 70, 0, 30 };
	struct go_report report = made_report("go1.26.8");
	struct made m = made();

	made_goroutine(&report, 1, stack, 1)->wait_since_nsec = report.taken_nsec - 50;
	made_goroutine(&report, 2, stack, 1)->wait_since_nsec = report.taken_nsec - 50;
	made_goroutine(&report, 3, stack, 1)->wait_since_nsec = report.taken_nsec + 50; /* it began after we did */
	made_goroutine(&report, 4, stack, 1);
	add(&m, 7, &report, NULL, seen);
	ck_assert_uint_eq(m.findings->samples.at[0].goroutine.waited_nsec, 50);
	ck_assert_uint_eq(m.findings->samples.at[1].goroutine.waited_nsec, 70);
	ck_assert_uint_eq(m.findings->samples.at[2].goroutine.waited_nsec, 0);
	ck_assert_uint_eq(m.findings->samples.at[3].goroutine.waited_nsec, 30);
	made_report_free(&report);
	done(&m);
}
END_TEST

static void assert_label(const struct go_findings *findings, size_t sample, const char *key, const char *value)
{
	const struct go_sample *go = &findings->samples.at[sample];
	const struct go_label *label = &findings->labels.all.at[go->goroutine.first_label];

	ck_assert_uint_eq(go->goroutine.n_labels, 1);
	ck_assert_str_eq(findings->labels.text.at + label->key, key);
	ck_assert_str_eq(findings->labels.text.at + label->value, value);
}

START_TEST(labels_of_several_processes_stay_with_their_goroutines)
{
	const uint64_t stack[] = { 0x1010 };
	struct go_report one = made_report("go1.26.8"), two = made_report("go1.26.8");
	struct made m = made();

	made_goroutine(&one, 1, stack, 1);
	made_goroutine_label(&one, "tenant", "a");
	made_goroutine(&two, 1, stack, 1);
	made_goroutine(&two, 2, stack, 1);
	made_goroutine_label(&two, "request", "slow");
	add(&m, 7, &one, NULL, NULL);
	add(&m, 8, &two, NULL, NULL);
	assert_label(m.findings, 0, "tenant", "a");
	ck_assert_uint_eq(m.findings->samples.at[1].goroutine.n_labels, 0);
	assert_label(m.findings, 2, "request", "slow");
	made_report_free(&one);
	made_report_free(&two);
	done(&m);
}
END_TEST

START_TEST(allocations_are_scaled_as_go_scales_them)
{
	const uint64_t stack[] = { 0x1010, 0x2020 };
	struct go_report report = made_report("go1.26.8");
	struct made m = made();

	report.memory.rate = 524288;
	made_allocations(&report, stack, 2, 1024, 3, 1);
	made_allocations(&report, stack, 2, 1 << 20, 1, 1);
	made_allocations(&report, stack, 1, 64, 0, 0); /* not told by the runtime yet */
	add(&m, 7, &report, NULL, NULL);
	/* scaleHeapSample() of runtime/pprof/protomem.go. */
	ck_assert_int_eq(m.findings->samples.at[0].memory.values[0], 1537);
	ck_assert_int_eq(m.findings->samples.at[0].memory.values[1], 1574400);
	ck_assert_int_eq(m.findings->samples.at[0].memory.values[2], 1025);
	ck_assert_int_eq(m.findings->samples.at[0].memory.values[3], 1049600);
	ck_assert_uint_eq(m.findings->samples.at[0].memory.object_size, 1024);
	ck_assert_int_eq(m.findings->samples.at[1].memory.values[0], 1);
	ck_assert_int_eq(m.findings->samples.at[1].memory.values[1], 1212696);
	ck_assert_int_eq(m.findings->samples.at[1].memory.values[2], 0);
	ck_assert_int_eq(m.findings->samples.at[1].memory.values[3], 0);
	ck_assert_uint_eq(m.stacks->samples.n, 2);
	ck_assert_uint_eq(m.stacks->samples.at[0].stack, m.stacks->samples.at[1].stack);
	ck_assert_uint_eq(frame_of(&m, 0, 0), 0x100f);
	ck_assert(m.findings->processes.at[0].has_memory);
	ck_assert_uint_eq(m.findings->processes.at[0].memory_rate, 524288);
	ck_assert(!m.findings->processes.at[0].memory_is_off);
	made_report_free(&report);
	done(&m);
}
END_TEST

START_TEST(memory_profiling_that_is_off_is_told)
{
	struct go_report off = made_report("go1.26.8"), none = made_report("go1.26.8"), on = made_report("go1.26.8"), failed = made_report("go1.26.8");
	struct made m = made();

	made_has(&off, GO_REPORT_MEMORY);
	none.asked = on.asked = failed.asked = 1U << GO_REPORT_MEMORY;
	none.status[GO_REPORT_MEMORY] = GO_BUCKETS_E_NONE;
	made_has(&on, GO_REPORT_MEMORY);
	on.memory.rate = 1;
	failed.status[GO_REPORT_MEMORY] = GO_BUCKETS_E_RESTLESS;
	none.rates.memory_is_off_by_linker = on.rates.memory_is_off_by_linker = failed.rates.memory_is_off_by_linker = true;
	add(&m, 1, &off, NULL, NULL);
	add(&m, 2, &none, NULL, NULL);
	add(&m, 3, &on, NULL, NULL);
	add(&m, 4, &failed, NULL, NULL);
	ck_assert(m.findings->processes.at[0].memory_is_off);
	ck_assert(m.findings->processes.at[1].memory_is_off);
	ck_assert(!m.findings->processes.at[2].memory_is_off);
	ck_assert(!m.findings->processes.at[3].memory_is_off);
	for (size_t i = 0; i < 4; i++)
		ck_assert(m.findings->processes.at[i].memory_is_off_by_linker == (i == 1));
	done(&m);
}
END_TEST

START_TEST(numbers_that_cannot_be_are_lost_and_counted)
{
	const uint64_t stack[] = { 0x1010 };
	const double nan = 0.0 / 0.0;
	struct go_report report = made_report("go1.26.8"), before = made_report("go1.26.8");
	struct made m = made();
	struct go_bucket *bucket;

	report.memory.rate = 524288;
	made_allocations(&report, stack, 1, 16, 5, 6);               /* more freed than allocated */
	made_allocations(&report, stack, 1, 16, UINT64_C(1) << 50, 0); /* scaled it would not fit */
	bucket = made_bucket(&report, GO_REPORT_MEMORY, stack, 1);
	bucket->memory.allocs = 5;                                   /* of no bytes */
	bucket = made_bucket(&report, GO_REPORT_MEMORY, stack, 1);
	bucket->memory.allocs = 1;
	bucket->memory.alloc_bytes = UINT64_MAX;
	made_contentions(&report, GO_REPORT_BLOCK, stack, 1, -1, 100);
	made_contentions(&report, GO_REPORT_BLOCK, stack, 1, nan, 100);
	made_contentions(&report, GO_REPORT_BLOCK, stack, 1, 1e300, 100);
	made_contentions(&report, GO_REPORT_BLOCK, stack, 1, 1, -100);
	made_has(&before, GO_REPORT_BLOCK);
	add(&m, 7, &report, &before, NULL);
	ck_assert_uint_eq(m.stacks->samples.n, 0);
	ck_assert_uint_eq(m.stacks->lost_frames, 8);
	made_report_free(&report);
	done(&m);
}
END_TEST

START_TEST(block_and_mutex_have_what_came_since_the_report_before)
{
	const uint64_t same[] = { 0x1010 }, more[] = { 0x2020, 0x3030 }, new[] = { 0x4040 }, less[] = { 0x5050 };
	struct go_report before = made_report("go1.26.8"), now = made_report("go1.26.8");
	struct made m = made();

	made_contentions(&before, GO_REPORT_BLOCK, same, 1, 3, 300);
	made_contentions(&before, GO_REPORT_BLOCK, more, 2, 3.9, 3000);
	made_contentions(&before, GO_REPORT_BLOCK, less, 1, 9, 9000);
	made_contentions(&before, GO_REPORT_MUTEX, more, 2, 1, 20);
	made_contentions(&now, GO_REPORT_BLOCK, same, 1, 3, 300);
	made_contentions(&now, GO_REPORT_BLOCK, more, 2, 7.2, 7001);
	made_contentions(&now, GO_REPORT_BLOCK, new, 1, 0.4, 5000); /* Go tells of none as of one */
	made_contentions(&now, GO_REPORT_BLOCK, less, 1, 4, 400);
	made_contentions(&now, GO_REPORT_MUTEX, more, 2, 2, 200);
	add(&m, 7, &now, &before, NULL);
	ck_assert_uint_eq(m.stacks->samples.n, 3);
	ck_assert_int_eq(m.findings->samples.at[0].sort, GO_SAMPLE_BLOCK);
	ck_assert_int_eq(m.findings->samples.at[0].block.contentions, 4);
	ck_assert_int_eq(m.findings->samples.at[0].block.delay_nsec, 2000); /* 3500 of 7001 cycles at 2 GHz, less 1500 */
	ck_assert_int_eq(m.findings->samples.at[1].block.contentions, 1);
	ck_assert_int_eq(m.findings->samples.at[1].block.delay_nsec, 2500);
	ck_assert_uint_eq(frame_of(&m, 1, 0), 0x403f);
	ck_assert_int_eq(m.findings->samples.at[2].sort, GO_SAMPLE_MUTEX);
	ck_assert_int_eq(m.findings->samples.at[2].block.contentions, 1);
	ck_assert_int_eq(m.findings->samples.at[2].block.delay_nsec, 90);
	ck_assert_uint_eq(m.stacks->samples.at[0].nsec, 2000);
	ck_assert_uint_eq(m.stacks->seen, 6);
	made_report_free(&before);
	made_report_free(&now);
	done(&m);
}
END_TEST

START_TEST(without_a_report_before_or_a_clock_nothing_is_told_of_block_and_mutex)
{
	const uint64_t stack[] = { 0x1010 };
	struct go_report before = made_report("go1.26.8"), now = made_report("go1.26.8");
	struct made m = made();

	made_contentions(&now, GO_REPORT_BLOCK, stack, 1, 3, 300);
	add(&m, 7, &now, NULL, NULL);
	add(&m, 7, &now, &before, NULL); /* it has no such part */
	ck_assert_str_eq(m.findings->processes.at[0].refusal, "");
	made_has(&before, GO_REPORT_BLOCK);
	now.cycles_per_second = 0;
	add(&m, 7, &now, &before, NULL);
	ck_assert_uint_eq(m.findings->processes.n, 1);
	ck_assert_str_ne(m.findings->processes.at[0].refusal, "");
	ck_assert_uint_eq(m.stacks->samples.n, 0);
	ck_assert_uint_eq(m.stacks->processes.n, 1);
	made_report_free(&now);
	done(&m);
}
END_TEST

START_TEST(who_could_not_be_read_is_told_from_who_has_ended)
{
	struct go_report unread = { .asked = 1U << GO_REPORT_GOROUTINES | 1U << GO_REPORT_STATS, .version = "go1.31", .refusal = "runtime layout" };
	struct go_report gone = unread, read = made_report("go1.26.8");
	struct made m = made();

	unread.status[GO_REPORT_GOROUTINES] = GO_GOROUTINES_E_UNKNOWN;
	unread.status[GO_REPORT_STATS] = GO_STATS_E_UNKNOWN;
	gone.status[GO_REPORT_GOROUTINES] = gone.status[GO_REPORT_STATS] = -ESRCH;
	made_has(&read, GO_REPORT_STATS);
	add(&m, 7, &unread, NULL, NULL);
	add(&m, 8, &gone, NULL, NULL);
	add(&m, 9, &read, NULL, NULL);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(m.findings->processes.at[i].is_unread, i < 2);
		ck_assert_int_eq(m.findings->processes.at[i].is_gone, i == 1);
		ck_assert_int_eq(m.findings->processes.at[i].has_stats, i == 2);
	}
	made_report_free(&read);
	done(&m);
}
END_TEST

static void add_tallied(struct go_report *report, uint64_t frame, uint32_t status, uint32_t reason, uint64_t count, uint64_t nsec)
{
	struct go_tally *tally = &report->tally;
	struct go_tallied one = { .nsec = nsec, .count = count, .n_most = 1, .first_frame = tally->frames.n, .n_frames = frame != 0, .status = status,
		.wait_reason = reason, .verdict = frame ? GO_STACK_COMPLETE : GO_GOROUTINE_RUNNING };

	made_has(report, GO_REPORT_TALLY);
	strcpy(tally->wait_reasons[1], "select");
	strcpy(tally->wait_reasons[2], "IO wait");
	tally->n_wait_reasons = 3;
	if (frame)
		ck_assert_int_eq(vec_push(&tally->frames, frame), 0);
	ck_assert_int_eq(vec_push(&tally->all, one), 0);
}

static void add_part(struct made *m, enum go_report_part part, const struct go_report *report, const struct go_report *before)
{
	const struct process_id id = { .pid = 7, .exec_id = 1, .start_nsec = 10 };
	const struct go_addition addition = { .process = &id, .report = report, .before = before, .parts = 1U << part };

	ck_assert_int_eq(go_findings_add(m->findings, m->stacks, &addition), 0);
}

START_TEST(many_snapshots_are_told_by_state_and_stack)
{
	struct go_report report = made_report("go1.26.8");
	struct made m = made();

	add_tallied(&report, 0x1010, GO_WAITING, 2, 5, 500);
	add_tallied(&report, 0x1010, GO_RUNNABLE, 0, 2, 200);
	add_tallied(&report, 0, GO_RUNNING, 0, 1, 100);
	report.tally.n_snapshots = 8, report.tally.lost_count = 3, report.tally.lost_nsec = 300;
	add_part(&m, GO_REPORT_TALLY, &report, NULL);
	ck_assert_uint_eq(m.stacks->samples.n, 3);
	ck_assert_int_eq(m.findings->samples.at[0].sort, GO_SAMPLE_TALLY);
	ck_assert(m.findings->samples.at[0].tally.is_block);
	ck_assert_str_eq(m.findings->wait_reasons[m.findings->samples.at[0].tally.wait_reason], "IO wait");
	ck_assert_uint_eq(m.stacks->samples.at[0].count, 5);
	ck_assert_uint_eq(m.stacks->samples.at[0].nsec, 500);
	ck_assert_uint_eq(frame_of(&m, 0, 0), 0x100f);
	ck_assert(!m.findings->samples.at[1].tally.is_block);
	ck_assert_uint_eq(m.findings->samples.at[1].tally.wait_reason, 0);
	ck_assert_uint_eq(stack_of(&m, 2)->n_user, 0);
	ck_assert_uint_eq(stack_of(&m, 2)->verdict, SAMPLE_VERDICT_KERNEL);
	ck_assert_uint_eq(m.stacks->lost_frames, 3);
	ck_assert_uint_eq(m.stacks->seen, 5 + 2 + 1 + 3);
	made_report_free(&report);
	go_tally_deinit(&report.tally);
	done(&m);
}
END_TEST

START_TEST(where_the_runtime_records_waits_snapshots_are_not_told_as_such)
{
	struct go_report report = made_report("go1.26.8");
	struct made m = made();

	report.rates.of[GO_RATE_BLOCK] = (struct go_rate){ .address = 0x2000, .value = 1, .size = 8 };
	add_tallied(&report, 0x1010, GO_WAITING, 2, 5, 500);
	add_part(&m, GO_REPORT_TALLY, &report, NULL);
	ck_assert(!m.findings->samples.at[0].tally.is_block);
	made_report_free(&report);
	go_tally_deinit(&report.tally);
	done(&m);
}
END_TEST

/* In either order. */
START_TEST(records_and_snapshots_of_a_process_are_one_tale)
{
	for (int tally_is_first = 0; tally_is_first < 2; tally_is_first++) {
		struct go_report report = made_report("go1.26.8"), tally = made_report("go1.26.8"), before = made_report("go1.26.8");
		struct made m = made();
		const struct go_process_facts *facts;

		made_has(&before, GO_REPORT_BLOCK);
		made_has(&report, GO_REPORT_BLOCK);
		before.block.rate = report.block.rate = 3;
		add_tallied(&tally, 0x1010, GO_WAITING, 2, 5, 500);
		tally.tally.n_snapshots = 9;
		if (tally_is_first)
			add_part(&m, GO_REPORT_TALLY, &tally, NULL);
		add_part(&m, GO_REPORT_BLOCK, &report, &before);
		if (!tally_is_first)
			add_part(&m, GO_REPORT_TALLY, &tally, NULL);
		ck_assert_uint_eq(m.findings->processes.n, 1);
		facts = go_findings_process(m.findings, 0);
		ck_assert(facts->has_tally && facts->has_block && facts->records_block && !facts->records_mutex);
		ck_assert_uint_eq(facts->tally.n_snapshots, 9);
		ck_assert_uint_eq(facts->block_rate, 3);
		ck_assert_ptr_null(go_findings_process(m.findings, 1));
		ck_assert_ptr_null(go_findings_process(NULL, 0));
		made_report_free(&report);
		made_report_free(&tally);
		go_tally_deinit(&tally.tally);
		made_report_free(&before);
		done(&m);
	}
}
END_TEST

START_TEST(records_tell_all_of_a_window_only_if_they_were_on_at_both_ends)
{
	for (uint64_t i = 0; i < 4; i++) {
		struct go_report before = made_report("go1.26.8"), now = made_report("go1.26.8");
		struct made m = made();

		made_has(&before, GO_REPORT_MUTEX);
		made_has(&now, GO_REPORT_MUTEX);
		before.mutex.rate = i & 1;
		now.mutex.rate = i >> 1;
		add_part(&m, GO_REPORT_MUTEX, &now, &before);
		ck_assert(go_findings_process(m.findings, 0)->records_mutex == (i == 3));
		add_part(&m, GO_REPORT_MUTEX, &now, NULL);
		ck_assert(!go_findings_process(m.findings, 0)->records_mutex);
		made_report_free(&before);
		made_report_free(&now);
		done(&m);
	}
}
END_TEST

START_TEST(samples_that_were_there_before_have_nothing_here)
{
	const uint64_t stack[] = { 0x1010 };
	struct go_report report = made_report("go1.26.8");
	struct made m = made();

	ck_assert_int_eq(vec_push(&m.stacks->processes, ((struct process_id){ .pid = 3 })), 0);
	ck_assert_int_eq(vec_push(&m.stacks->stacks, ((struct stacks_stack){ .verdict = SAMPLE_VERDICT_KERNEL })), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(vec_push(&m.stacks->samples, ((struct stacks_sample){ .count = 5 })), 0);
	m.stacks->seen = 10;
	made_goroutine(&report, 1, stack, 1);
	add(&m, 7, &report, NULL, NULL);
	ck_assert_uint_eq(m.findings->samples.n, 3);
	ck_assert_ptr_null(go_findings_sample(m.findings, 0));
	ck_assert_ptr_null(go_findings_sample(m.findings, 1));
	ck_assert_ptr_nonnull(go_findings_sample(m.findings, 2));
	ck_assert_ptr_null(go_findings_sample(m.findings, 3));
	ck_assert_ptr_null(go_findings_sample(NULL, 0));
	ck_assert(!m.stacks->samples.at[1].is_go);
	ck_assert(m.stacks->samples.at[2].is_go);
	ck_assert_uint_eq(stack_of(&m, 2)->process, 1);
	/* Where another sampler's samples of what ran are not counted, these are. */
	m.stacks->has_ran = true;
	m.stacks->seen = 1;
	made_report_free(&report);
	done(&m);
}
END_TEST

START_TEST(leaks_have_the_places_of_their_goroutines_and_all_are_counted)
{
	const uint64_t stack[] = { 0x1010, 0x2020 };
	const struct process_id id = { .pid = 7, .exec_id = 1, .start_nsec = 10 };
	struct go_report report = made_report("go1.26.8");
	const struct process_id other = { .pid = 99 };
	struct go_addition addition = { .process = &id, .report = &report, .parts = all_parts };
	struct goroutine_leaks *leaks;
	struct made m = made();

	/* Of seventy places, in turns; of one nobody knows who made them. */
	for (uint64_t i = 0; i < 70 * 20; i++) {
		struct go_goroutine *goroutine = made_goroutine(&report, i + 1, stack, 2);

		goroutine->go_pc = i % 70 ? 0x5000 + i % 70 : 0;
		goroutine->start_pc = 0x6000 + i % 70;
	}
	add(&m, 6, &report, NULL, NULL);
	ck_assert(!m.findings->processes.at[0].has_leaks);
	addition.leaks = leaks = made_leaks(&report);
	ck_assert_int_eq(go_findings_add(m.findings, m.stacks, &addition), 0);
	ck_assert(m.findings->processes.at[1].has_leaks);
	ck_assert_uint_eq(m.findings->processes.at[1].n_leaks, 70);
	ck_assert_uint_eq(m.findings->processes.at[1].leak_stats.n_looks, 20);
	ck_assert_uint_eq(m.findings->leaks.n, GO_LEAKS_MAX);
	for (size_t i = 0; i < m.findings->leaks.n; i++) {
		const struct go_leak *leak = &m.findings->leaks.at[i];
		const struct stacks_stack *function = &m.stacks->stacks.at[leak->function - 1];

		ck_assert_uint_eq(leak->process, 1);
		ck_assert_uint_eq(leak->taken_nsec, report.taken_nsec);
		ck_assert_uint_eq(leak->is.n, 20);
		ck_assert_str_eq(leak->is.wait, "chan receive");
		ck_assert_uint_eq(function->process, 1);
		ck_assert_uint_eq(function->n_user, 1);
		ck_assert_uint_eq(m.stacks->frames.at[function->first_frame], leak->is.start_pc);
		ck_assert_uint_eq(!leak->creator, !leak->is.go_pc);
		if (leak->creator)
			ck_assert_uint_eq(m.stacks->frames.at[m.stacks->stacks.at[leak->creator - 1].first_frame], leak->is.go_pc - 1);
	}
	/* Who did not ask for goroutines has not looked at them. */
	addition.parts = 1U << GO_REPORT_STATS;
	addition.process = &other;
	ck_assert_int_eq(go_findings_add(m.findings, m.stacks, &addition), 0);
	ck_assert(!m.findings->processes.at[2].has_leaks);
	ck_assert_uint_eq(m.findings->leaks.n, GO_LEAKS_MAX);
	goroutine_leaks_free(leaks);
	made_report_free(&report);
	done(&m);
}
END_TEST

UNIT_TESTS("go_findings", leaks_have_the_places_of_their_goroutines_and_all_are_counted, a_leaf_lies_in_the_call_and_callers_stay_return_addresses, equal_stacks_and_creators_are_one,
	goroutines_of_the_runtime_are_counted_and_not_told, wait_reasons_of_versions_that_number_them_differently_keep_their_texts,
	the_longest_wait_that_anyone_knows_of_is_told, labels_of_several_processes_stay_with_their_goroutines,
	allocations_are_scaled_as_go_scales_them, memory_profiling_that_is_off_is_told, numbers_that_cannot_be_are_lost_and_counted,
	block_and_mutex_have_what_came_since_the_report_before, without_a_report_before_or_a_clock_nothing_is_told_of_block_and_mutex, who_could_not_be_read_is_told_from_who_has_ended,
	many_snapshots_are_told_by_state_and_stack, where_the_runtime_records_waits_snapshots_are_not_told_as_such,
	records_and_snapshots_of_a_process_are_one_tale, records_tell_all_of_a_window_only_if_they_were_on_at_both_ends,
	samples_that_were_there_before_have_nothing_here)
