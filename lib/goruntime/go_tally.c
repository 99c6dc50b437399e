/* SPDX-License-Identifier: Apache-2.0 */
#include "go_tally.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "hash.h"

struct key {
	uint64_t hash;                       /* of the frames */
	uint32_t n_frames, status, wait_reason, verdict;
};

void go_tally_init(struct go_tally *tally)
{
	*tally = (struct go_tally){ 0 };
	map_init(&tally->index, sizeof(struct key), sizeof(uint32_t));
}

void go_tally_deinit(struct go_tally *tally)
{
	vec_deinit(&tally->all);
	vec_deinit(&tally->frames);
	map_deinit(&tally->index);
}

static struct go_tallied *find(struct go_tally *tally, const struct key *key, const uint64_t *frames)
{
	const uint32_t *at = map_get(&tally->index, key);
	struct go_tallied *tallied = at ? &tally->all.at[*at] : NULL;

	/* Two stacks of the same hash: the later one is not told apart from none. */
	if (tallied && key->n_frames && memcmp(&tally->frames.at[tallied->first_frame], frames, key->n_frames * sizeof(*frames)) != 0)
		return NULL;
	return tallied;
}

static int add_new(struct go_tally *tally, const struct key *key, const uint64_t *frames, struct go_tallied **ret)
{
	size_t first_frame = tally->frames.n;
	void *value;
	int r = 0;

	if (key->n_frames)
		r = vec_append(&tally->frames, frames, key->n_frames);
	if (r >= 0)
		r = map_put(&tally->index, key, &value);
	if (r < 0)
		return r;
	*(uint32_t *)value = (uint32_t)tally->all.n;
	r = vec_push(&tally->all, ((struct go_tallied){ .first_frame = first_frame, .n_frames = key->n_frames, .status = key->status,
			.wait_reason = key->wait_reason, .verdict = key->verdict, .n_least = tally->n_snapshots ? 0 : UINT32_MAX }));
	if (r < 0)
		map_remove(&tally->index, key);
	else
		*ret = &tally->all.at[tally->all.n - 1];
	return r;
}

static bool waits(const struct go_goroutine *goroutine)
{
	return goroutine->status == GO_WAITING || goroutine->status == GO_LEAKED;
}

static void count_lost(struct go_tally *tally, uint64_t n, uint64_t nsec)
{
	tally->lost_count += n;
	tally->lost_nsec += n * nsec;
}

static bool has_room(const struct go_tally *tally, const struct key *key)
{
	return tally->all.n < GO_TALLY_MAX && tally->frames.n + key->n_frames <= GO_TALLY_MAX_FRAMES && !map_get(&tally->index, key);
}

static void end_snapshot(struct go_tally *tally, uint64_t nsec)
{
	for (size_t i = 0; i < tally->all.n; i++) {
		struct go_tallied *tallied = &tally->all.at[i];

		tallied->n_least = MIN(tallied->n_least, tallied->n_now);
		tallied->n_most = MAX(tallied->n_most, tallied->n_now);
		tallied->n_now = 0;
	}
	tally->n_snapshots++;
	tally->nsec += nsec;
}

int go_tally_add(struct go_tally *tally, const struct go_goroutines *goroutines, uint64_t nsec)
{
	int r = 0;

	/* The same in each snapshot of a process. */
	tally->n_wait_reasons = goroutines->n_wait_reasons;
	memcpy(tally->wait_reasons, goroutines->wait_reasons, sizeof(tally->wait_reasons));
	count_lost(tally, goroutines->n_unread, nsec);

	for (size_t i = 0; i < goroutines->all.n && r >= 0; i++) {
		const struct go_goroutine *goroutine = &goroutines->all.at[i];
		const uint64_t *frames = goroutine->n_frames ? &goroutines->frames.at[goroutine->first_frame] : NULL;
		const struct key key = {
			.hash = frames ? hash_bytes(frames, goroutine->n_frames * sizeof(*frames)) : 0,
			.n_frames = (uint32_t)goroutine->n_frames,
			.status = goroutine->status,
			/* The runtime leaves that of the last wait. */
			.wait_reason = waits(goroutine) ? goroutine->wait_reason : 0,
			.verdict = goroutine->verdict,
		};
		struct go_tallied *tallied;

		if (goroutine->is_system)
			continue;
		tallied = find(tally, &key, frames);
		if (!tallied && has_room(tally, &key))
			r = add_new(tally, &key, frames, &tallied);
		if (r < 0)
			break;
		if (!tallied) {
			count_lost(tally, 1, nsec);
			continue;
		}
		tallied->nsec += nsec;
		tallied->count++;
		tallied->n_now++;
	}
	end_snapshot(tally, nsec);
	return r;
}

static uint64_t stretched(uint64_t nsec, uint64_t from, uint64_t to)
{
	return (uint64_t)((unsigned __int128)nsec * to / from);
}

void go_tally_stretch(struct go_tally *tally, uint64_t nsec)
{
	uint64_t from = tally->nsec, to = from + nsec;

	if (!from)
		return;
	for (size_t i = 0; i < tally->all.n; i++)
		tally->all.at[i].nsec = stretched(tally->all.at[i].nsec, from, to);
	tally->lost_nsec = stretched(tally->lost_nsec, from, to);
	tally->nsec = to;
}
