/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from the helper that reads Go processes, should an attacker have it: a report. What is read is written again, and read. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "go_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(size_t first, size_t n, size_t all)
{
	if (first > all || n > all - first)
		abort();
}

static void check_buckets(const struct go_buckets *buckets, enum go_buckets_kind kind)
{
	for (size_t i = 0; i < buckets->all.n; i++) {
		const struct go_bucket *bucket = &buckets->all.at[i];

		check_inside(bucket->first_frame, bucket->n_frames, buckets->frames.n);
		if (kind != GO_BUCKETS_MEMORY && !isfinite(bucket->block.count))
			abort();
	}
}

static void check(const struct go_report *report)
{
	const struct go_goroutines *goroutines = &report->goroutines;

	for (size_t i = 0; i < goroutines->all.n; i++) {
		const struct go_goroutine *g = &goroutines->all.at[i];

		check_inside(g->first_frame, g->n_frames, goroutines->frames.n);
		check_inside(g->first_label, g->n_labels, goroutines->labels.all.n);
		check_inside(g->first_wait, g->n_waits, goroutines->waits.all.n);
		if (g->status >= GO_N_STATUS || (g->wait_reason && g->wait_reason >= goroutines->n_wait_reasons))
			abort();
	}
	for (size_t i = 0; i < goroutines->labels.all.n; i++) {
		const struct go_label *label = &goroutines->labels.all.at[i];

		if (strlen(goroutines->labels.text.at + label->key) > goroutines->labels.text.n ||
		    strlen(goroutines->labels.text.at + label->value) > goroutines->labels.text.n)
			abort();
	}
	for (size_t i = 0; i < goroutines->waits.all.n; i++)
		if (goroutines->waits.all.at[i].kind >= GO_WAIT_N_KINDS)
			abort();
	if (goroutines->n_wait_reasons > GO_WAIT_REASONS_MAX || report->stats.n_pauses > GO_STATS_PAUSES)
		abort();
	if (!memchr(report->version, '\0', sizeof(report->version)) || !memchr(report->refusal, '\0', sizeof(report->refusal)))
		abort();
	if (report->reach.n_searches > GO_REPORT_MAX_SEARCHES || report->reach.all.ways.n > GO_REPORT_MAX_WAYS)
		abort();
	for (size_t i = 1; i < report->reach.all.objects.n; i++)
		if (report->reach.all.objects.at[i - 1] >= report->reach.all.objects.at[i])
			abort();
	check_buckets(&report->memory, GO_BUCKETS_MEMORY);
	check_buckets(&report->block, GO_BUCKETS_BLOCK);
	check_buckets(&report->mutex, GO_BUCKETS_MUTEX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct go_report report = { 0 }, again = { 0 };
	char *bytes = NULL;
	size_t n = 0;
	FILE *out;

	if (go_report_read(data, size, &report))
		return 0;
	check(&report);
	out = open_memstream(&bytes, &n);
	if (!out)
		abort();
	go_report_write(&report, out);
	/* As long as before: texts change their letters, not their length. */
	if (fclose(out) || n != size || go_report_read(bytes, n, &again))
		abort();
	check(&again);
	if (memcmp(again.version, report.version, sizeof(again.version)) != 0 || again.goroutines.all.n != report.goroutines.all.n)
		abort();
	free(bytes);
	go_report_deinit(&report);
	go_report_deinit(&again);
	return 0;
}
