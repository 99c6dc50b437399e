/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reports of Go processes made by hand, as lib/goruntime would have made them. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "go_report.h"
#include "goroutine_leaks.h"

static inline void made_report_free(struct go_report *report)
{
	go_goroutines_deinit(&report->goroutines);
	go_buckets_deinit(&report->memory);
	go_buckets_deinit(&report->block);
	go_buckets_deinit(&report->mutex);
}

static inline struct go_report made_report(const char *version)
{
	struct go_report report = { .taken_nsec = UINT64_C(1000000000000), .took_nsec = 2000000, .cycles_per_second = 2e9 };

	snprintf(report.version, sizeof(report.version), "%s", version);
	strcpy(report.goroutines.wait_reasons[1], "chan receive");
	strcpy(report.goroutines.wait_reasons[2], "select");
	report.goroutines.n_wait_reasons = 3;
	return report;
}

static inline void made_has(struct go_report *report, enum go_report_part part)
{
	report->asked |= UINT32_C(1) << part;
	report->has |= UINT32_C(1) << part;
}

static inline size_t made_report_frames(struct go_report *report, const uint64_t *frames, size_t n)
{
	size_t first = report->goroutines.frames.n;

	ck_assert_int_eq(vec_append(&report->goroutines.frames, frames, n), 0);
	return first;
}

/* One that waits. The pointer is valid until the next one. */
static inline struct go_goroutine *made_goroutine(struct go_report *report, uint64_t id, const uint64_t *frames, size_t n)
{
	struct go_goroutine goroutine = { .id = id, .status = GO_WAITING, .wait_reason = 1, .verdict = GO_STACK_COMPLETE,
		.first_frame = made_report_frames(report, frames, n), .n_frames = n };

	made_has(report, GO_REPORT_GOROUTINES);
	ck_assert_int_eq(vec_push(&report->goroutines.all, goroutine), 0);
	return &report->goroutines.all.at[report->goroutines.all.n - 1];
}

static inline void made_goroutine_label(struct go_report *report, const char *key, const char *value)
{
	struct go_goroutine *goroutine = &report->goroutines.all.at[report->goroutines.all.n - 1];
	struct go_labels *labels = &report->goroutines.labels;
	struct go_label label = { .key = (uint32_t)labels->text.n };

	ck_assert_int_eq(vec_append(&labels->text, key, strlen(key) + 1), 0);
	label.value = (uint32_t)labels->text.n;
	ck_assert_int_eq(vec_append(&labels->text, value, strlen(value) + 1), 0);
	if (!goroutine->n_labels++)
		goroutine->first_label = labels->all.n;
	ck_assert_int_eq(vec_push(&labels->all, label), 0);
}

static inline struct go_bucket *made_bucket(struct go_report *report, enum go_report_part part, const uint64_t *frames, size_t n)
{
	struct go_buckets *buckets = part == GO_REPORT_MEMORY ? &report->memory : part == GO_REPORT_BLOCK ? &report->block : &report->mutex;
	struct go_bucket bucket = { .first_frame = buckets->frames.n, .n_frames = n };

	made_has(report, part);
	ck_assert_int_eq(vec_append(&buckets->frames, frames, n), 0);
	ck_assert_int_eq(vec_push(&buckets->all, bucket), 0);
	return &buckets->all.at[buckets->all.n - 1];
}

static inline void made_allocations(struct go_report *report, const uint64_t *frames, size_t n, uint64_t size, uint64_t allocs, uint64_t frees)
{
	struct go_bucket *bucket = made_bucket(report, GO_REPORT_MEMORY, frames, n);

	bucket->memory.allocs = allocs;
	bucket->memory.frees = frees;
	bucket->memory.alloc_bytes = allocs * size;
	bucket->memory.free_bytes = frees * size;
}

static inline void made_contentions(struct go_report *report, enum go_report_part part, const uint64_t *frames, size_t n, double count, int64_t cycles)
{
	struct go_bucket *bucket = made_bucket(report, part, frames, n);

	bucket->block.count = count;
	bucket->block.cycles = cycles;
}

/* Who looked twenty times, 10 s apart, the last time at `report`; each time there was one more, of ids that count up. All of it waits. */
static inline struct goroutine_leaks *made_leaks(const struct go_report *report)
{
	struct goroutine_leaks *leaks = goroutine_leaks_new(&(struct goroutine_leaks_options){ .half_nsec = UINT64_C(20000000000), .least_growth = 4 });
	struct go_goroutines part = report->goroutines;
	const size_t n = report->goroutines.all.n;

	for (uint64_t look = 0; look < 20; look++) {
		part.all.n = n * (look + 1) / 20;
		ck_assert_int_eq(goroutine_leaks_add(leaks, &part, report->taken_nsec - (19 - look) * UINT64_C(10000000000)), 0);
	}
	return leaks;
}
