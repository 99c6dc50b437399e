/* SPDX-License-Identifier: Apache-2.0 */
#include "go_past.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "go_history.h"
#include "go_report.h"
#include "go_stuck.h"
#include "image.h"
#include "location.h"
#include "log.h"

enum {
	WAITS_PARTS = 1 << GO_REPORT_BLOCK | 1 << GO_REPORT_MUTEX,
};

static void forget_waits(struct go_past *past)
{
	if (past->waits)
		go_report_deinit(past->waits);
	free(past->waits);
	past->waits = NULL;
}

void go_past_deinit(struct go_past *past)
{
	go_history_free(past->history);
	goroutine_leaks_free(past->leaks);
	go_stuck_free(past->stuck);
	forget_waits(past);
	free(past->service);
	*past = (struct go_past){ 0 };
}

/* --- One look more --- */

static int learn_history(struct go_past *past, const struct go_report *report, uint64_t **ret_waited_nsec)
{
	const struct go_history_moment moment = { report->taken_nsec, report->has & 1U << GO_REPORT_STATS ? report->stats.n_gc : 0 };

	if (!(report->has & 1U << GO_REPORT_GOROUTINES))
		return 0;
	if (!past->history)
		past->history = go_history_new();
	return past->history ? go_history_add(past->history, &report->goroutines, &moment, ret_waited_nsec) : -ENOMEM;
}

/* NULL when there is no room to remember it. */
static const struct goroutine_leaks *learn_leaks(struct go_past *past, const struct go_past_options *options,
		const struct go_addition *addition)
{
	const struct go_report *report = addition->report;
	int r;

	if (!(report->has & 1U << GO_REPORT_GOROUTINES))
		return NULL;
	if (!past->leaks)
		past->leaks = goroutine_leaks_new(&options->leaks);
	r = past->leaks ? goroutine_leaks_add(past->leaks, &report->goroutines, report->taken_nsec) : -ENOMEM;
	if (r == -ENOMEM)
		log_print(LOG_WARNING, "Out of memory: whether goroutines of process %u leak is not known.", addition->process->pid);
	/* One that was taken before the last one was, but was read later, says nothing new. */
	return r == -ENOMEM ? NULL : past->leaks;
}

/* Who is stuck as of this look. NULL when there is no room to remember it. */
static const struct go_stuck *learn_stuck(struct go_past *past, const struct go_past_options *options, const struct go_addition *addition)
{
	const struct go_report *report = addition->report;
	int r;

	if (!(report->asked & 1U << GO_REPORT_GOROUTINES))
		return NULL;
	if (!past->stuck)
		past->stuck = go_stuck_new(options->stuck_nsec);
	r = past->stuck ? go_stuck_add(past->stuck, report) : -ENOMEM;
	if (r == -ENOMEM)
		log_print(LOG_WARNING, "Out of memory: whether goroutines of process %u are stuck is not known.", addition->process->pid);
	return r < 0 ? NULL : past->stuck;
}

int go_past_learn(struct go_past *past, const struct go_past_options *options, struct go_addition *addition, uint64_t **ret_waited_nsec)
{
	const struct go_report *report = addition->report;
	uint64_t *waited_nsec = NULL;
	int r;

	if (report->rates.of[GO_RATE_BLOCK].address) {
		past->has_rates = true;
		past->records_block = report->rates.of[GO_RATE_BLOCK].value;
	}
	r = learn_history(past, report, &waited_nsec);
	addition->before = past->waits;
	addition->waited_nsec = *ret_waited_nsec = waited_nsec;
	addition->leaks = learn_leaks(past, options, addition);
	addition->stuck = learn_stuck(past, options, addition);
	return r;
}

void go_past_keep_waits(struct go_past *past, struct go_report *report)
{
	struct go_report *kept;

	if ((report->has & WAITS_PARTS) != WAITS_PARTS)
		return;
	kept = calloc(1, sizeof(*kept));
	if (!kept)
		return;
	/* Its own now: the caller's report lives on without them. */
	kept->has = WAITS_PARTS;
	kept->block = report->block;
	kept->mutex = report->mutex;
	report->block = report->mutex = (struct go_buckets){ 0 };
	forget_waits(past);
	past->waits = kept;
}

/* For metrics. */
void go_past_keep_facts(struct go_past *past, const struct image *image, const struct go_process_facts *facts)
{
	struct go_process_facts before = past->facts;

	if (!past->service)
		past->service = strdup(image->service);
	past->has_facts = past->service;
	past->facts = *facts;
	/* Of what is not understood any more nothing holds that was told before. */
	if (facts->has_goroutines || facts->is_unread)
		return;
	past->facts.has_goroutines = before.has_goroutines;
	past->facts.n_goroutines = before.n_goroutines;
	past->facts.has_leaks = before.has_leaks;
	past->facts.n_leaks = before.n_leaks;
	past->facts.has_deadlocks = before.has_deadlocks;
	past->facts.n_deadlocks = before.n_deadlocks;
	past->facts.n_deadlocked = before.n_deadlocked;
	past->facts.n_searches = before.n_searches;
	past->facts.searches_nsec = before.searches_nsec;
	memcpy(past->facts.n_by_status, before.n_by_status, sizeof(before.n_by_status));
}

/* --- Searches --- */

bool go_past_begin_search(struct go_past *past, uint64_t now_nsec)
{
	if (past->is_searched || !past->stuck || !go_stuck_wants_search(past->stuck, now_nsec))
		return false;
	past->is_searched = true;
	return true;
}

void go_past_end_search(struct go_past *past)
{
	past->is_searched = false;
}

/* --- What is told --- */

void go_past_tell_refusal(struct go_past *past, const struct image *image, const struct go_report *report)
{
	if (past->has_refused || !report->refusal[0])
		return;
	past->has_refused = true;
	log_event(LOG_WARNING, "go-runtime", image->service, NULL, "Process %u (%s): go: %s.", image->id.pid, image->service, report->refusal);
}

void go_past_tell_memory_is_off(struct go_past *past, const struct image *image)
{
	if (past->is_off_told || !past->facts.memory_is_off)
		return;
	past->is_off_told = true;
	log_event(LOG_NOTICE, "go-memory-off", image->service, NULL, "Process %u (%s): Go's memory profiling is off in this program: %s. "
			"memory.go.enable switches it on, see profiling.yaml(5).", image->id.pid, image->service,
			past->facts.memory_is_off_by_linker ? "nothing in it asks for a profile, so the linker left it out" : "MemProfileRate is 0");
}
