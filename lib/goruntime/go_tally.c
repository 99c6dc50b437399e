/* SPDX-License-Identifier: Apache-2.0 */
#include "go_tally.h"

#include <errno.h>
#include <string.h>

#include "go_goroutines.h"
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
	if (tallied && memcmp(&tally->frames.at[tallied->first_frame], frames, key->n_frames * sizeof(*frames)) != 0)
		return NULL;
	return tallied;
}

static int add_new(struct go_tally *tally, const struct key *key, const uint64_t *frames, struct go_tallied **ret)
{
	size_t first_frame = tally->frames.n;
	void *value;
	int r;

	r = vec_append(&tally->frames, frames, key->n_frames);
	if (r >= 0)
		r = map_put(&tally->index, key, &value);
	if (r < 0)
		return r;
	*(uint32_t *)value = (uint32_t)tally->all.n;
	r = vec_push(&tally->all, ((struct go_tallied){ .first_frame = first_frame, .n_frames = key->n_frames, .status = key->status,
			.wait_reason = key->wait_reason, .verdict = key->verdict }));
	if (r < 0)
		map_remove(&tally->index, key);
	else
		*ret = &tally->all.at[tally->all.n - 1];
	return r;
}

int go_tally_add(struct go_tally *tally, const struct go_goroutines *goroutines, uint64_t nsec)
{
	int r = 0;

	for (size_t i = 0; i < goroutines->all.n && r >= 0; i++) {
		const struct go_goroutine *goroutine = &goroutines->all.at[i];
		const uint64_t *frames = &goroutines->frames.at[goroutine->first_frame];
		const struct key key = {
			.hash = hash_bytes(frames, goroutine->n_frames * sizeof(*frames)),
			.n_frames = (uint32_t)goroutine->n_frames,
			.status = goroutine->status,
			.wait_reason = goroutine->wait_reason,
			.verdict = goroutine->verdict,
		};
		struct go_tallied *tallied;

		if (goroutine->is_system)
			continue;
		tallied = find(tally, &key, frames);
		if (!tallied && tally->all.n < GO_TALLY_MAX && !map_get(&tally->index, &key))
			r = add_new(tally, &key, frames, &tallied);
		if (r < 0)
			break;
		if (!tallied) {
			tally->lost_nsec += nsec;
			continue;
		}
		tallied->nsec += nsec;
		tallied->count++;
	}
	tally->n_snapshots++;
	tally->nsec += nsec;
	return r;
}
