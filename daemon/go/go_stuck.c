/* SPDX-License-Identifier: Apache-2.0 */
#include "go_stuck.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "go_report.h"
#include "goroutine_facts.h"
#include "hash.h"
#include "map.h"

/* What tells one wait from another. */
struct stillness {
	uint64_t sp, waits;                  /* all that it waits for, as one number */
	uint64_t noted_nsec;                 /* by the runtime: wait_since_nsec; 0: not yet */
	uint64_t since_nsec;                 /* when it was seen first */
	uint64_t look;                       /* the last one that has it */
};

struct go_stuck {
	uint64_t least_nsec;
	struct map known;                    /* id -> struct stillness */
	uint64_t n_looks;
	bool has_candidates;                 /* at the last look */
	uint64_t next_search_nsec;           /* CLOCK_MONOTONIC */
	uint64_t n_searches, searches_nsec;
	uint64_t found_nsec;
	struct goroutine_deadlocks found;
};

struct go_stuck *go_stuck_new(uint64_t least_nsec)
{
	struct go_stuck *stuck = calloc(1, sizeof(*stuck));

	if (!stuck)
		return NULL;
	stuck->least_nsec = least_nsec ? least_nsec : GO_STUCK_NSEC;
	map_init(&stuck->known, sizeof(uint64_t), sizeof(struct stillness));
	return stuck;
}

static void forget_found(struct go_stuck *stuck)
{
	goroutine_deadlocks_deinit(&stuck->found);
	stuck->found = (struct goroutine_deadlocks){ 0 };
}

struct go_stuck *go_stuck_free(struct go_stuck *stuck)
{
	if (!stuck)
		return NULL;
	map_deinit(&stuck->known);
	forget_found(stuck);
	free(stuck);
	return NULL;
}

/* --- who has not moved ----------------------------------------------------------------------------------------- */

static bool is_waiting(const struct go_goroutine *g)
{
	return g->status == GO_WAITING || g->status == GO_LEAKED;
}

static uint64_t hash_waits(const struct go_goroutines *goroutines, const struct go_goroutine *g)
{
	uint64_t hash = g->channel ^ (uint64_t)g->wait_reason << 48 ^ g->n_waits;

	for (size_t i = 0; i < g->n_waits; i++) {
		const struct go_wait *wait = &goroutines->waits.all.at[g->first_wait + i];
		const uint64_t words[] = { hash, wait->address, wait->kind };

		hash = hash_bytes(words, sizeof(words));
	}
	return hash;
}

/* The garbage collector notes a wait that it meets, later than it began; one that it has noted otherwise is another one. */
static bool is_same(const struct stillness *before, const struct stillness *now)
{
	return before->sp == now->sp && before->waits == now->waits && (!before->noted_nsec || before->noted_nsec == now->noted_nsec);
}

static int note(struct go_stuck *stuck, const struct go_report *report, const struct go_goroutine *g, uint64_t *ret_still_nsec)
{
	struct stillness now = { .sp = g->sp, .waits = hash_waits(&report->goroutines, g), .noted_nsec = g->wait_since_nsec,
		.since_nsec = report->taken_nsec, .look = stuck->n_looks };
	struct stillness *known;
	void *value;
	int r = map_put(&stuck->known, &g->id, &value);

	if (r < 0)
		return r;
	known = value;
	if (r == 0 && is_waiting(g) && is_same(known, &now))
		now.since_nsec = MIN(known->since_nsec, report->taken_nsec);
	*known = now;
	*ret_still_nsec = is_waiting(g) ? report->taken_nsec - now.since_nsec : 0;
	return 0;
}

static void forget_gone(struct go_stuck *stuck)
{
	size_t cursor = 0;
	const void *id;
	void *value;

	while (map_next(&stuck->known, &cursor, &id, &value))
		if (((struct stillness *)value)->look != stuck->n_looks)
			map_remove(&stuck->known, id);
}

/* One that waits for a nil channel waits for nothing that has an address. */
static bool may_be_stuck(const struct go_goroutines *goroutines, const struct go_goroutine *g)
{
	if (g->is_system || !is_waiting(g))
		return false;
	return g->n_waits || (g->wait_reason < GO_WAIT_REASONS_MAX && strstr(goroutines->wait_reasons[g->wait_reason], "(nil chan)"));
}

static int note_all(struct go_stuck *stuck, const struct go_report *report, uint64_t *still_nsec)
{
	const struct go_goroutines *goroutines = &report->goroutines;
	int r = 0;

	stuck->n_looks++;
	stuck->has_candidates = false;
	for (size_t i = 0; i < goroutines->all.n && r >= 0; i++) {
		const struct go_goroutine *g = &goroutines->all.at[i];

		r = note(stuck, report, g, &still_nsec[i]);
		stuck->has_candidates |= r >= 0 && still_nsec[i] >= stuck->least_nsec && may_be_stuck(goroutines, g);
	}
	forget_gone(stuck);
	return r;
}

/* --- what follows ---------------------------------------------------------------------------------------------- */

static bool is_unmoved(const struct go_stuck *stuck, const struct goroutine_deadlock *deadlock)
{
	for (size_t i = 0; i < deadlock->members.n; i++) {
		const struct stillness *known = map_get(&stuck->known, &deadlock->members.at[i].id);

		if (!known || known->since_nsec > stuck->found_nsec)
			return false;
	}
	return true;
}

/* Keeps those of which `keep` says so. */
static void filter_found(struct go_stuck *stuck, bool (*keep)(const struct go_stuck *stuck, const struct goroutine_deadlock *deadlock))
{
	size_t n = 0;

	for (size_t i = 0; i < stuck->found.all.n; i++) {
		struct goroutine_deadlock *deadlock = &stuck->found.all.at[i];

		if (keep(stuck, deadlock))
			stuck->found.all.at[n++] = *deadlock;
		else
			vec_deinit(&deadlock->members);
	}
	stuck->found.all.n = n;
}

static bool is_sure(const struct go_stuck *stuck, const struct goroutine_deadlock *deadlock)
{
	return deadlock->confidence >= (deadlock->sort == GOROUTINE_UNREACHABLE ? GO_STUCK_LEAST_UNREACHABLE : GO_STUCK_LEAST_OTHERS);
}

static int conclude(struct go_stuck *stuck, const struct go_report *report, const uint64_t *still_nsec)
{
	const struct go_reach *searches[] = { &report->reach.all };
	struct goroutine_input storage = { 0 };
	struct goroutine_deadlocks_input input;
	int r;

	forget_found(stuck);
	r = goroutine_input_make(&report->goroutines, still_nsec, searches, 1, &storage, &input);
	if (r >= 0) {
		input.n_searches = report->reach.n_searches;
		input.least_nsec = stuck->least_nsec;
		r = goroutine_deadlocks_find(&input, &stuck->found);
	}
	goroutine_input_deinit(&storage);
	stuck->found_nsec = report->taken_nsec;
	filter_found(stuck, is_sure);
	return r;
}

/* One that came to nothing counts as one of a second: its time is not told. */
static void pay(struct go_stuck *stuck, const struct go_report *report)
{
	const bool has = report->has >> GO_REPORT_REACH & 1;
	const uint64_t took_nsec = has ? report->reach.took_nsec : UINT64_C(1000000000);

	stuck->n_searches += report->reach.n_searches;
	stuck->searches_nsec += report->reach.took_nsec;
	stuck->next_search_nsec = report->taken_nsec + GO_STUCK_COST * took_nsec;
}

int go_stuck_add(struct go_stuck *stuck, const struct go_report *report)
{
	_cleanup_free_ uint64_t *still_nsec = NULL;
	int r;

	if (report->asked >> GO_REPORT_REACH & 1)
		pay(stuck, report);
	if (!(report->has >> GO_REPORT_GOROUTINES & 1))
		return 0;
	still_nsec = calloc(report->goroutines.all.n + 1, sizeof(*still_nsec));
	r = still_nsec ? note_all(stuck, report, still_nsec) : -ENOMEM;
	if (r >= 0 && report->has >> GO_REPORT_REACH & 1)
		r = conclude(stuck, report, still_nsec);
	if (r < 0) {
		map_clear(&stuck->known);
		forget_found(stuck);
		stuck->has_candidates = false;
		return r;
	}
	filter_found(stuck, is_unmoved);
	return 0;
}

bool go_stuck_wants_search(const struct go_stuck *stuck, uint64_t now_nsec)
{
	return stuck->has_candidates && now_nsec >= stuck->next_search_nsec;
}

const struct goroutine_deadlocks *go_stuck_found(const struct go_stuck *stuck)
{
	return &stuck->found;
}

uint64_t go_stuck_searches(const struct go_stuck *stuck, uint64_t *ret_took_nsec)
{
	*ret_took_nsec = stuck->searches_nsec;
	return stuck->n_searches;
}
