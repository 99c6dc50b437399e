/* SPDX-License-Identifier: Apache-2.0 */
#include "go_history.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "go_goroutines.h"
#include "map.h"

/* What tells one wait from another. */
struct wait {
	uint64_t id, sp, channel;
	uint32_t status, reason;
	uint64_t noted_nsec;                 /* by the runtime; 0: not yet */
	uint64_t seen_nsec;                  /* when it was seen first */
	uint32_t seen_n_gc, zero;
};

struct go_history {
	struct map waits;                    /* address of the g -> struct wait */
};

struct go_history *go_history_new(void)
{
	struct go_history *history = calloc(1, sizeof(*history));

	if (history)
		map_init(&history->waits, sizeof(uint64_t), sizeof(struct wait));
	return history;
}

struct go_history *go_history_free(struct go_history *history)
{
	if (!history)
		return NULL;
	map_deinit(&history->waits);
	free(history);
	return NULL;
}

static bool waits(const struct go_goroutine *goroutine)
{
	return goroutine->status == GO_WAITING || goroutine->status == GO_SYSCALL || goroutine->status == GO_LEAKED;
}

static struct wait wait_of(const struct go_goroutine *goroutine, const struct go_history_moment *moment)
{
	return (struct wait){
		.id = goroutine->id,
		.sp = goroutine->sp,
		.channel = goroutine->channel,
		.status = goroutine->status,
		.reason = goroutine->wait_reason,
		.noted_nsec = goroutine->wait_since_nsec <= moment->time_nsec ? goroutine->wait_since_nsec : 0,
		.seen_nsec = moment->time_nsec,
		.seen_n_gc = moment->n_gc,
	};
}

static bool is_same(const struct wait *before, const struct wait *now)
{
	if (before->id != now->id || before->sp != now->sp || before->channel != now->channel || before->status != now->status ||
	    before->reason != now->reason)
		return false;
	if (before->noted_nsec)
		return before->noted_nsec == now->noted_nsec;
	/* A collection that began and ended since would have noted it: it is noted, or it has run after that. */
	return now->noted_nsec || now->seen_n_gc - before->seen_n_gc < 2;
}

/* How long it has waited at least, and what is remembered of that. */
static uint64_t waited(const struct wait *before, struct wait *now, uint64_t time_nsec)
{
	uint64_t since_nsec = time_nsec;

	if (before && is_same(before, now)) {
		now->seen_nsec = before->seen_nsec;
		/* Of a wait that is not noted yet the first look counts. */
		now->seen_n_gc = before->seen_n_gc;
		since_nsec = before->seen_nsec;
	}
	if (now->noted_nsec)
		since_nsec = MIN(since_nsec, now->noted_nsec);
	return time_nsec - since_nsec;
}

int go_history_add(struct go_history *history, const struct go_goroutines *goroutines, const struct go_history_moment *moment,
		uint64_t **ret_waited_nsec)
{
	_cleanup_free_ uint64_t *nsec = calloc(goroutines->all.n + 1, sizeof(*nsec));
	struct map next;
	int r = nsec ? 0 : -ENOMEM;

	map_init(&next, sizeof(uint64_t), sizeof(struct wait));
	for (size_t i = 0; i < goroutines->all.n && r >= 0; i++) {
		const struct go_goroutine *goroutine = &goroutines->all.at[i];
		struct wait now = wait_of(goroutine, moment);
		void *value;

		if (!waits(goroutine))
			continue;
		nsec[i] = waited(map_get(&history->waits, &goroutine->address), &now, moment->time_nsec);
		r = map_put(&next, &goroutine->address, &value);
		if (r >= 0)
			*(struct wait *)value = now;
	}
	map_deinit(&history->waits);
	if (r < 0) {
		map_deinit(&next);
		map_init(&history->waits, sizeof(uint64_t), sizeof(struct wait));
		return r;
	}
	history->waits = next;
	*ret_waited_nsec = TAKE(nsec);
	return 0;
}
