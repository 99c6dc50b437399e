/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_go_report --corpus FOLDER writes what fuzz_go_report begins with instead, by the encoder as it is: after a change of the form of
 * reports into tests/fuzz/corpus/go_report. A test sees to it that this is not forgotten.
 */
#include "go_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../main.h"

enum { ALL_PARTS = (1U << GO_REPORT_N_PARTS) - 1 };

struct bytes {
	char *at;
	size_t n;
};

static struct bytes written(const struct go_report *report)
{
	struct bytes bytes = { 0 };
	FILE *out = open_memstream(&bytes.at, &bytes.n);

	ck_assert_ptr_nonnull(out);
	go_report_write(report, out);
	ck_assert_int_eq(fclose(out), 0);
	return bytes;
}

/* From a copy of just that size on the heap, so that a sanitizer sees each byte too many. */
static int read_copy(const void *bytes, size_t size, struct go_report *ret)
{
	void *copy = malloc(size ? size : 1);
	int r;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, bytes, size);
	r = go_report_read(copy, size, ret);
	free(copy);
	return r;
}

static void add_bucket(struct go_buckets *buckets, bool is_memory, uint64_t seed)
{
	struct go_bucket bucket = { .first_frame = buckets->frames.n, .n_frames = seed % 3 };

	for (size_t i = 0; i < bucket.n_frames; i++)
		ck_assert_int_eq(vec_push(&buckets->frames, seed << 8 | i), 0);
	if (is_memory) {
		bucket.memory.allocs = seed;
		bucket.memory.frees = seed + 1;
		bucket.memory.alloc_bytes = UINT64_MAX - seed;
		bucket.memory.free_bytes = seed + 3;
	} else {
		bucket.block.count = (double)seed + 0.25;
		bucket.block.cycles = -(int64_t)seed;
	}
	ck_assert_int_eq(vec_push(&buckets->all, bucket), 0);
}

/* Each member has a value of its own, so that two that are mixed up show. Goroutines 0 and 2 share their stack. */
/* With its padding, which is zero, since goroutines are compared by their bytes. */
static void push(struct go_goroutines *goroutines, const struct go_goroutine *one)
{
	ck_assert_int_eq(vec_reserve(&goroutines->all, goroutines->all.n + 1), 0);
	memcpy(&goroutines->all.at[goroutines->all.n++], one, sizeof(*one));
}

static void add_tally(struct go_tally *tally)
{
	for (uint32_t i = 0; i < 3; i++) {
		struct go_tallied one = {
			.nsec = 501 + i, .count = 511 + i, .n_least = 521 + i, .n_most = 531 + i, .first_frame = i, .n_frames = 3 - i, .status = GO_WAITING,
			.wait_reason = i % 2, .verdict = i == 1 ? GO_GOROUTINE_RUNNING : GO_STACK_CUT,
		};

		ck_assert_int_eq(vec_push(&tally->all, one), 0);
		ck_assert_int_eq(vec_push(&tally->frames, 0x501000 + i), 0);
	}
	tally->n_snapshots = 541, tally->nsec = 542, tally->n_failed = 543, tally->cpu_nsec = 544, tally->lost_count = 545, tally->lost_nsec = 546;
	strcpy(tally->wait_reasons[1], "sleep");
	tally->n_wait_reasons = 2;
}

static struct go_report make_report(void)
{
	struct go_report report = {
		.version = "go1.26.8",
		.refusal = "runtime layout of go1.26.8 not understood: mutex",
		.asked = ALL_PARTS,
		.has = ALL_PARTS,
		.status = { 1, -2, 3, -4, 5, -6 },
		.taken_nsec = 1001,
		.took_nsec = 1002,
		.cycles_per_second = 2.3e9,
		.rates = { .of = { { 61, 62, 8 }, { 0, 0, 0 }, { 63, -64, 8 } }, .memory_is_off_by_linker = true },
	};
	struct go_goroutines *g = &report.goroutines;
	struct go_stats *stats = &report.stats;

	for (size_t i = 0; i < 3; i++) {
		struct go_goroutine one = {
			.id = 1 + i, .parent_id = 2 + i, .address = 0xc000000000 + i, .go_pc = 0x401000 + i, .start_pc = 0x402000 + i,
			.sp = 0xc000100000 + i, .wait_since_nsec = 7 + i, .channel = 8 + i, .label_set = 9 + i, .thread = (uint32_t)(10 + i),
			.status = GO_WAITING, .wait_reason = (uint32_t)i, .verdict = i == 1 ? GO_GOROUTINE_RUNNING : GO_STACK_COMPLETE,
			.is_locked = i == 1, .is_system = i == 2, .first_frame = 0, .n_frames = i == 1 ? 0 : 2,
			.first_label = 0, .n_labels = i == 1 ? 0 : 2, .first_wait = i, .n_waits = 2 - i,
		};

		push(g, &one);
	}
	for (uint64_t i = 0; i < 2; i++)
		ck_assert_int_eq(vec_push(&g->frames, 0x401000 + i), 0);
	ck_assert_int_eq(vec_append(&g->labels.text, "\0key\0value\0", 11), 0);
	ck_assert_int_eq(vec_push(&g->labels.all, ((struct go_label){ 1, 5 })), 0);
	ck_assert_int_eq(vec_push(&g->labels.all, ((struct go_label){ 5, 0 })), 0);
	g->labels.n_cut = 27;
	ck_assert_int_eq(vec_push(&g->waits.all, ((struct go_wait){ 0xc000200000, GO_WAIT_RECEIVE })), 0);
	ck_assert_int_eq(vec_push(&g->waits.all, ((struct go_wait){ 0xc000200100, GO_WAIT_SEMAPHORE })), 0);
	g->waits.n_cut = 28, g->n_unknown_labels = 29;
	strcpy(g->wait_reasons[1], "chan receive");
	strcpy(g->wait_reasons[2], "select");
	g->n_wait_reasons = 3;
	g->n_retried = 21, g->n_restless = 22, g->n_unread = 23, g->n_seen = 24, g->n_dead = 25, g->n_broken = 26;
	for (uint64_t i = 0; i < 5; i++) {
		add_bucket(&report.memory, true, 100 + i);
		add_bucket(&report.block, false, 200 + i);
		add_bucket(&report.mutex, false, 300 + i);
	}
	report.memory.rate = 524288, report.block.rate = 31, report.mutex.rate = 32;
	*stats = (struct go_stats){
		.n_gc = 41, .pause_total_nsec = 42, .n_pauses = 3, .pauses_nsec = { 43, 44, 45 }, .gc_cpu_fraction = 0.46, .last_gc_wall_nsec = 47,
		.gc_percent = -48, .memory_limit = 49, .heap_live = 50, .heap_marked = 51, .has_heap_bytes = true, .heap_in_use = 52, .heap_free = 53,
		.heap_released = 54, .mapped = 55, .total_alloc = 56, .total_free = 57, .gomaxprocs = 58,
		.heap_goal = 59, .stacks_in_use = 60,
	};
	add_tally(&report.tally);
	ck_assert_int_eq(vec_append(&report.reach.all.objects, ((uint64_t[]){ 0xc000200000, 0xc000200100 }), 2), 0);
	for (uint64_t i = 0; i < 3; i++)
		ck_assert_int_eq(vec_push(&report.reach.all.ways, ((struct go_reach_way){ 0xc000200000 + i / 2 * 0x100, i, i == 1 })), 0);
	report.reach.n_searches = 5, report.reach.took_nsec = 71, report.reach.all.n_bytes = 72, report.reach.all.n_nodes = 73;
	report.reach.all.n_rounds = 74, report.reach.all.is_cut = true;
	return report;
}

static void check_same_tally(const struct go_tally *a, const struct go_tally *b)
{
	ck_assert_uint_eq(a->all.n, b->all.n);
	for (size_t i = 0; i < a->all.n; i++) {
		const struct go_tallied *p = &a->all.at[i], *q = &b->all.at[i];

		ck_assert_uint_eq(p->nsec, q->nsec);
		ck_assert_uint_eq(p->count, q->count);
		ck_assert_uint_eq(p->n_least, q->n_least);
		ck_assert_uint_eq(p->n_most, q->n_most);
		ck_assert_uint_eq(p->first_frame, q->first_frame);
		ck_assert_uint_eq(p->n_frames, q->n_frames);
		ck_assert_uint_eq(p->status, q->status);
		ck_assert_uint_eq(p->wait_reason, q->wait_reason);
		ck_assert_uint_eq(p->verdict, q->verdict);
	}
	ck_assert_uint_eq(a->frames.n, b->frames.n);
	ck_assert_mem_eq(a->frames.at, b->frames.at, a->frames.n * sizeof(*a->frames.at));
	ck_assert_mem_eq(a->wait_reasons, b->wait_reasons, sizeof(a->wait_reasons));
	ck_assert_uint_eq(a->n_wait_reasons, b->n_wait_reasons);
	ck_assert_uint_eq(a->n_snapshots, b->n_snapshots);
	ck_assert_uint_eq(a->nsec, b->nsec);
	ck_assert_uint_eq(a->n_failed, b->n_failed);
	ck_assert_uint_eq(a->cpu_nsec, b->cpu_nsec);
	ck_assert_uint_eq(a->lost_count, b->lost_count);
	ck_assert_uint_eq(a->lost_nsec, b->lost_nsec);
}

static void check_same_buckets(const struct go_buckets *a, const struct go_buckets *b)
{
	ck_assert_uint_eq(a->rate, b->rate);
	ck_assert_uint_eq(a->all.n, b->all.n);
	ck_assert_uint_eq(a->frames.n, b->frames.n);
	ck_assert_mem_eq(a->frames.at, b->frames.at, a->frames.n * sizeof(*a->frames.at));
	ck_assert_mem_eq(a->all.at, b->all.at, a->all.n * sizeof(*a->all.at));
}

START_TEST(a_report_comes_back_as_it_was)
{
	struct go_report report = make_report(), back = { 0 };
	struct bytes bytes = written(&report);

	ck_assert_int_eq(read_copy(bytes.at, bytes.n, &back), 0);
	ck_assert_str_eq(back.version, report.version);
	ck_assert_str_eq(back.refusal, report.refusal);
	ck_assert_uint_eq(back.asked, report.asked);
	ck_assert_uint_eq(back.has, report.has);
	ck_assert_mem_eq(back.status, report.status, sizeof(back.status));
	ck_assert_uint_eq(back.taken_nsec, report.taken_nsec);
	ck_assert_uint_eq(back.took_nsec, report.took_nsec);
	ck_assert_mem_eq(&back.cycles_per_second, &report.cycles_per_second, sizeof(back.cycles_per_second));
	for (size_t i = 0; i < GO_N_RATES; i++) {
		ck_assert_uint_eq(back.rates.of[i].address, report.rates.of[i].address);
		ck_assert_int_eq(back.rates.of[i].value, report.rates.of[i].value);
		ck_assert_uint_eq(back.rates.of[i].size, report.rates.of[i].size);
	}
	ck_assert(back.rates.memory_is_off_by_linker);

	ck_assert_uint_eq(back.goroutines.all.n, 3);
	/* Their padding is zero in both. */
	ck_assert_mem_eq(back.goroutines.all.at, report.goroutines.all.at, 3 * sizeof(struct go_goroutine));
	ck_assert_uint_eq(back.goroutines.frames.n, 2);
	ck_assert_mem_eq(back.goroutines.frames.at, report.goroutines.frames.at, 2 * sizeof(uint64_t));
	ck_assert_mem_eq(back.goroutines.wait_reasons, report.goroutines.wait_reasons, sizeof(back.goroutines.wait_reasons));
	ck_assert_uint_eq(back.goroutines.n_wait_reasons, 3);
	ck_assert_uint_eq(back.goroutines.n_retried, 21);
	ck_assert_uint_eq(back.goroutines.n_restless, 22);
	ck_assert_uint_eq(back.goroutines.n_unread, 23);
	ck_assert_uint_eq(back.goroutines.n_seen, 24);
	ck_assert_uint_eq(back.goroutines.n_dead, 25);
	ck_assert_uint_eq(back.goroutines.n_broken, 26);
	ck_assert_uint_eq(back.goroutines.labels.n_cut, 27);
	ck_assert_uint_eq(back.goroutines.waits.n_cut, 28);
	ck_assert_uint_eq(back.goroutines.n_unknown_labels, 29);
	ck_assert_uint_eq(back.goroutines.labels.text.n, 11);
	ck_assert_mem_eq(back.goroutines.labels.text.at, report.goroutines.labels.text.at, 11);
	ck_assert_uint_eq(back.goroutines.labels.all.n, 2);
	ck_assert_mem_eq(back.goroutines.labels.all.at, report.goroutines.labels.all.at, 2 * sizeof(struct go_label));
	ck_assert_uint_eq(back.goroutines.waits.all.n, 2);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_eq(back.goroutines.waits.all.at[i].address, report.goroutines.waits.all.at[i].address);
		ck_assert_uint_eq(back.goroutines.waits.all.at[i].kind, report.goroutines.waits.all.at[i].kind);
	}
	check_same_buckets(&back.memory, &report.memory);
	check_same_buckets(&back.block, &report.block);
	check_same_buckets(&back.mutex, &report.mutex);
	ck_assert_mem_eq(&back.stats, &report.stats, sizeof(back.stats));
	check_same_tally(&back.tally, &report.tally);
	ck_assert_uint_eq(back.reach.n_searches, 5);
	ck_assert_uint_eq(back.reach.took_nsec, 71);
	ck_assert_uint_eq(back.reach.all.n_bytes, 72);
	ck_assert_uint_eq(back.reach.all.n_nodes, 73);
	ck_assert_uint_eq(back.reach.all.n_rounds, 74);
	ck_assert(back.reach.all.is_cut);
	ck_assert_uint_eq(back.reach.all.objects.n, 2);
	ck_assert_mem_eq(back.reach.all.objects.at, report.reach.all.objects.at, 2 * sizeof(uint64_t));
	ck_assert_uint_eq(back.reach.all.ways.n, 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(back.reach.all.ways.at[i].object, report.reach.all.ways.at[i].object);
		ck_assert_uint_eq(back.reach.all.ways.at[i].goroutine, i);
		ck_assert_int_eq(back.reach.all.ways.at[i].is_direct, i == 1);
	}
	free(bytes.at);
	go_report_deinit(&report);
	go_report_deinit(&back);
}
END_TEST

START_TEST(stacks_that_were_shared_still_are)
{
	struct go_report report = make_report(), back = { 0 };
	struct bytes bytes = written(&report);

	ck_assert_int_eq(read_copy(bytes.at, bytes.n, &back), 0);
	ck_assert_uint_eq(back.goroutines.all.at[0].first_frame, back.goroutines.all.at[2].first_frame);
	ck_assert_uint_eq(back.goroutines.frames.n, 2);
	free(bytes.at);
	go_report_deinit(&report);
	go_report_deinit(&back);
}
END_TEST

START_TEST(parts_that_were_not_read_are_empty)
{
	struct go_report report = { .asked = ALL_PARTS, .version = "go1.31", .refusal = "no" }, back = { 0 };
	struct bytes bytes;

	for (uint32_t has = 0; has <= ALL_PARTS; has++) {
		report.has = has;
		bytes = written(&report);
		ck_assert_int_eq(read_copy(bytes.at, bytes.n, &back), 0);
		ck_assert_uint_eq(back.has, has);
		ck_assert_uint_eq(back.goroutines.all.n + back.memory.all.n + back.block.all.n + back.mutex.all.n, 0);
		go_report_deinit(&back);
		free(bytes.at);
	}
}
END_TEST

START_TEST(a_report_that_was_cut_anywhere_is_malformed)
{
	struct go_report report = make_report();
	struct bytes bytes = written(&report);

	for (size_t n = 0; n < bytes.n; n++) {
		struct go_report back = { 0 };

		ck_assert_int_eq(read_copy(bytes.at, n, &back), GO_REPORT_E_MALFORMED);
		ck_assert_ptr_null(back.goroutines.all.at);
		ck_assert_ptr_null(back.goroutines.frames.at);
		ck_assert_ptr_null(back.memory.all.at);
		ck_assert_ptr_null(back.mutex.frames.at);
	}
	free(bytes.at);
	go_report_deinit(&report);
}
END_TEST

START_TEST(bytes_behind_a_report_are_malformed)
{
	struct go_report report = make_report(), back = { 0 };
	struct bytes bytes = written(&report);
	char *more = calloc(1, bytes.n + 1);

	memcpy(more, bytes.at, bytes.n);
	ck_assert_int_eq(read_copy(more, bytes.n + 1, &back), GO_REPORT_E_MALFORMED);
	free(more);
	free(bytes.at);
	go_report_deinit(&report);
}
END_TEST

/*
 * Wherever a number may lie, absurd ones are put: what is read is whole and inside of its bounds, or refused, and memory is
 * bounded. Among these places are all counts and lengths.
 */
START_TEST(an_absurd_number_anywhere_stays_in_bounds)
{
	static const uint64_t absurd[] = { 0, 1, UINT16_MAX, UINT32_MAX, (uint64_t)INT64_MAX, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 61 };
	struct go_report report = make_report();
	struct bytes bytes = written(&report);
	size_t n_refused = 0, n_read = 0;

	for (size_t at = 0; at + 8 <= bytes.n; at++) {
		for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
			for (size_t size = 1; size <= 8; size *= 2) {
				struct go_report back = { 0 };
				char kept[8];
				int r;

				memcpy(kept, bytes.at + at, size);
				memcpy(bytes.at + at, &absurd[i], size);
				r = read_copy(bytes.at, bytes.n, &back);
				memcpy(bytes.at + at, kept, size);
				ck_assert(r == 0 || r == GO_REPORT_E_MALFORMED);
				n_refused += r != 0;
				n_read += r == 0;
				for (size_t g = 0; g < back.goroutines.all.n; g++) {
					const struct go_goroutine *one = &back.goroutines.all.at[g];

					ck_assert(one->first_frame + one->n_frames <= back.goroutines.frames.n);
					ck_assert(one->first_label + one->n_labels <= back.goroutines.labels.all.n);
					ck_assert(one->first_wait + one->n_waits <= back.goroutines.waits.all.n);
					ck_assert(one->status < GO_N_STATUS);
					ck_assert(one->wait_reason == 0 || one->wait_reason < back.goroutines.n_wait_reasons);
				}
				for (size_t t = 0; t < back.tally.all.n; t++) {
					const struct go_tallied *one = &back.tally.all.at[t];

					ck_assert(one->first_frame + one->n_frames <= back.tally.frames.n);
					ck_assert(one->status < GO_N_STATUS);
					ck_assert(one->wait_reason == 0 || one->wait_reason < back.tally.n_wait_reasons);
				}
				ck_assert(isfinite(back.cycles_per_second) && isfinite(back.stats.gc_cpu_fraction));
				go_report_deinit(&back);
			}
		}
	}
	ck_assert_uint_gt(n_refused, 1000);
	ck_assert_uint_gt(n_read, 1000);
	free(bytes.at);
	go_report_deinit(&report);
}
END_TEST

/* What a sound reader never says, by what is changed before it is written. */
static int read_changed(void (*change)(struct go_report *report))
{
	struct go_report report = make_report(), back = { 0 };
	struct bytes bytes;
	int r;

	change(&report);
	bytes = written(&report);
	r = read_copy(bytes.at, bytes.n, &back);
	free(bytes.at);
	go_report_deinit(&report);
	go_report_deinit(&back);
	return r;
}

#define CHANGE(name, statement) static void name(struct go_report *r) { statement; }
CHANGE(nothing, (void)r)
CHANGE(frames_begin_behind, r->goroutines.all.at[0].first_frame = 3)
CHANGE(frames_end_behind, r->goroutines.all.at[2].n_frames = 3)
CHANGE(frames_wrap, (r->goroutines.all.at[0].first_frame = SIZE_MAX - 1, r->goroutines.all.at[0].n_frames = 3))
CHANGE(status_unknown, r->goroutines.all.at[1].status = GO_N_STATUS)
CHANGE(verdict_unknown, r->goroutines.all.at[1].verdict = GO_STACK_TOO_DEEP + 1)
CHANGE(reason_unknown, r->goroutines.all.at[1].wait_reason = 256)
CHANGE(memory_frames, r->memory.all.at[4].n_frames = 1000)
CHANGE(block_frames, r->block.all.at[4].first_frame = 1000)
CHANGE(mutex_frames, r->mutex.all.at[0].n_frames = SIZE_MAX)
CHANGE(infinite_count, r->block.all.at[0].block.count = HUGE_VAL)
CHANGE(no_number, r->stats.gc_cpu_fraction = NAN)
CHANGE(clock_runs_backwards, r->cycles_per_second = -1)
CHANGE(rate_has_four_bytes, r->rates.of[0].size = 4)
CHANGE(part_unknown, r->asked |= 1U << GO_REPORT_N_PARTS)
CHANGE(part_not_asked, r->asked = 0)
CHANGE(labels_behind, r->goroutines.all.at[0].first_label = 1)
CHANGE(waits_behind, r->goroutines.all.at[0].n_waits = 3)
CHANGE(wait_kind_unknown, r->goroutines.waits.all.at[0].kind = GO_WAIT_N_KINDS)
CHANGE(label_behind_texts, r->goroutines.labels.all.at[1].value = 11)
CHANGE(text_without_end, r->goroutines.labels.text.at[10] = 'x')
CHANGE(many_searches, r->reach.n_searches = GO_REPORT_MAX_SEARCHES + 1)
CHANGE(objects_unsorted, r->reach.all.objects.at[1] = r->reach.all.objects.at[0])
CHANGE(ways_unsorted, r->reach.all.ways.at[2].object = 1)
CHANGE(many_seen, r->goroutines.n_seen = UINT64_MAX)
CHANGE(tally_frames, r->tally.all.at[2].n_frames = 2)
CHANGE(tally_status, r->tally.all.at[0].status = GO_N_STATUS)
CHANGE(tally_verdict, r->tally.all.at[0].verdict = GO_STACK_TOO_DEEP + 1)
CHANGE(tally_time, r->tally.all.at[0].nsec = UINT64_MAX)
CHANGE(tally_sum, r->tally.all.at[0].nsec = r->tally.all.at[1].nsec = UINT64_C(1) << 60)
CHANGE(tally_least_above_most, r->tally.all.at[0].n_least = 1000)
CHANGE(tally_lost, r->tally.lost_count = UINT64_MAX)

START_TEST(what_no_reader_says_is_malformed)
{
	static void (*const changes[])(struct go_report *) = {
		frames_begin_behind, frames_end_behind, frames_wrap, status_unknown, verdict_unknown, reason_unknown, memory_frames, block_frames,
		mutex_frames, infinite_count, no_number, clock_runs_backwards, rate_has_four_bytes, part_unknown, part_not_asked, many_seen, labels_behind,
		waits_behind, wait_kind_unknown, label_behind_texts, text_without_end, tally_frames, tally_status, tally_verdict, tally_time,
		tally_sum, tally_least_above_most, tally_lost,
		waits_behind, wait_kind_unknown, label_behind_texts, text_without_end, many_searches, objects_unsorted, ways_unsorted,
	};

	ck_assert_int_eq(read_changed(nothing), 0);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		ck_assert_msg(read_changed(changes[i]) == GO_REPORT_E_MALFORMED, "change %zu", i);
}
END_TEST

START_TEST(texts_of_the_process_come_back_printable)
{
	struct go_report report = make_report(), back = { 0 };
	struct bytes bytes;

	strcpy(report.version, "go1\n\x1b[31m\xff.26");
	strcpy(report.goroutines.wait_reasons[1], "\tchan");
	bytes = written(&report);
	ck_assert_int_eq(read_copy(bytes.at, bytes.n, &back), 0);
	ck_assert_str_eq(back.version, "go1??[31m?.26");
	ck_assert_str_eq(back.goroutines.wait_reasons[1], "?chan");
	free(bytes.at);
	go_report_deinit(&report);
	go_report_deinit(&back);
}
END_TEST

START_TEST(a_wait_reason_without_text_is_none)
{
	struct go_report report = make_report(), back = { 0 };
	struct bytes bytes;

	report.goroutines.all.at[0].wait_reason = 200;
	bytes = written(&report);
	ck_assert_int_eq(read_copy(bytes.at, bytes.n, &back), 0);
	ck_assert_uint_eq(back.goroutines.all.at[0].wait_reason, 0);
	ck_assert_uint_eq(back.goroutines.all.at[1].wait_reason, 1);
	free(bytes.at);
	go_report_deinit(&report);
	go_report_deinit(&back);
}
END_TEST

/* More than what is buffered at once. */
START_TEST(large_reports_come_back)
{
	struct go_report report = make_report(), back = { 0 };
	struct bytes bytes;

	for (uint64_t i = 0; i < 20000; i++) {
		struct go_goroutine one;

		memset(&one, 0, sizeof(one));
		one.id = i, one.status = GO_RUNNABLE, one.n_frames = i % 3, one.verdict = i % 5, one.n_labels = i % 2, one.n_waits = i % 2;
		push(&report.goroutines, &one);
	}
	bytes = written(&report);
	ck_assert_int_eq(read_copy(bytes.at, bytes.n, &back), 0);
	ck_assert_uint_eq(back.goroutines.all.n, 20003);
	ck_assert_mem_eq(back.goroutines.all.at, report.goroutines.all.at, 20003 * sizeof(struct go_goroutine));
	free(bytes.at);
	go_report_deinit(&report);
	go_report_deinit(&back);
}
END_TEST

/* --- what the fuzzer begins with ------------------------------------------------------------------------------- */

static const struct corpus_file {
	const char *name;
	uint32_t parts;
} corpus[] = {
	{ "all", ALL_PARTS }, { "goroutines", 1U << GO_REPORT_GOROUTINES }, { "memory", 1U << GO_REPORT_MEMORY }, { "block", 1U << GO_REPORT_BLOCK },
	{ "mutex", 1U << GO_REPORT_MUTEX }, { "stats", 1U << GO_REPORT_STATS }, { "tally", 1U << GO_REPORT_TALLY },
	{ "reach", 1U << GO_REPORT_GOROUTINES | 1U << GO_REPORT_REACH }, { "refused", 0 },
};

static const char *corpus_folder;

/* A test, since what makes the report checks what it does. */
START_TEST(a_corpus_is_written)
{
	for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++) {
		struct go_report report = make_report();
		char path[4096];
		FILE *out;

		report.has = corpus[i].parts;
		snprintf(path, sizeof(path), "%s/%s", corpus_folder, corpus[i].name);
		out = fopen(path, "we");
		ck_assert_msg(out != NULL, "cannot write %s", path);
		go_report_write(&report, out);
		ck_assert_int_eq(fclose(out), 0);
		go_report_deinit(&report);
	}
}
END_TEST

START_TEST(what_the_fuzzer_begins_with_is_read_to_its_end)
{
	const char *root = getenv("SOURCE_ROOT");

	for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++) {
		struct go_report report = { 0 };
		char path[4096], bytes[65536];
		size_t n;
		FILE *in;

		snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/go_report/%s", root ? root : ".", corpus[i].name);
		in = fopen(path, "re");
		ck_assert_msg(in != NULL, "there is no %s", path);
		n = fread(bytes, 1, sizeof(bytes), in);
		fclose(in);
		ck_assert_msg(read_copy(bytes, n, &report) == 0, "%s is of another form of reports: test_go_report --corpus %s/tests/fuzz/corpus/go_report", path,
				root ? root : ".");
		ck_assert_uint_eq(report.has, corpus[i].parts);
		go_report_deinit(&report);
	}
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		a_report_comes_back_as_it_was, stacks_that_were_shared_still_are, parts_that_were_not_read_are_empty,
		a_report_that_was_cut_anywhere_is_malformed, bytes_behind_a_report_are_malformed, an_absurd_number_anywhere_stays_in_bounds,
		what_no_reader_says_is_malformed, texts_of_the_process_come_back_printable, a_wait_reason_without_text_is_none, large_reports_come_back,
		what_the_fuzzer_begins_with_is_read_to_its_end,
	};

	if (argc == 3 && !strcmp(argv[1], "--corpus")) {
		corpus_folder = argv[2];
		return unit_main("corpus of go_report", (const TTest *const[]){ a_corpus_is_written }, 1);
	}
	return unit_main("go_report", tests, sizeof(tests) / sizeof(tests[0]));
}
