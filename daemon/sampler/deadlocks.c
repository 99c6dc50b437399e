/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlocks.h"

#include <errno.h>

#include "cleanup.h"
#include "map.h"
#include "stacks.h"

struct thread_key {
	uint32_t process, tid;
};

struct waiter {
	uint32_t sample;
	uint32_t mark;                       /* number of the search that came by; 0: none */
};

void deadlocks_deinit(struct deadlocks *deadlocks)
{
	for (size_t i = 0; i < deadlocks->circles.n; i++)
		vec_deinit(&deadlocks->circles.at[i].waits);
	vec_deinit(&deadlocks->circles);
}

static struct thread_key key_of(const struct stacks *stacks, const struct stacks_sample *sample, uint32_t tid)
{
	return (struct thread_key){ .process = stacks->stacks.at[sample->stack].process, .tid = tid };
}

/* Within the time that a window takes to end, a few milliseconds, other threads are told later or earlier. */
static bool took_all(const struct stacks *stacks, const struct stacks_sample *sample)
{
	return sample->wait.reason == SAMPLE_LOCK && sample->wait.device && sample->is_open && sample->count == 1 &&
	       sample->nsec >= stacks->duration_nsec - stacks->duration_nsec / 50;
}

static int find_waiters(const struct stacks *stacks, struct map *waiters)
{
	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const struct thread_key key = key_of(stacks, sample, sample->tid);
		void *value;

		if (!took_all(stacks, sample))
			continue;
		if (map_put(waiters, &key, &value) < 0)
			return -ENOMEM;
		*(struct waiter *)value = (struct waiter){ .sample = (uint32_t)i };
	}
	return 0;
}

/* Who has the lock that it waits for, if that one waits, too. */
static struct waiter *next_of(const struct stacks *stacks, const struct map *waiters, const struct waiter *waiter)
{
	const struct stacks_sample *sample = &stacks->samples.at[waiter->sample];
	const struct thread_key key = key_of(stacks, sample, sample->wait.device);

	return map_get(waiters, &key);
}

static int add_circle(const struct stacks *stacks, const struct map *waiters, struct waiter *member, struct deadlocks *ret)
{
	struct waiter *first = member;
	struct deadlock circle = { .process = stacks->stacks.at[stacks->samples.at[member->sample].stack].process };

	for (struct waiter *w = next_of(stacks, waiters, member); w != member; w = next_of(stacks, waiters, w))
		if (stacks->samples.at[w->sample].tid < stacks->samples.at[first->sample].tid)
			first = w;
	member = first;
	do {
		const struct deadlock_wait wait = { .sample = member->sample, .lock = stacks->samples.at[member->sample].wait.object };

		if (vec_push(&circle.waits, wait) < 0) {
			vec_deinit(&circle.waits);
			return -ENOMEM;
		}
		member = next_of(stacks, waiters, member);
	} while (member != first);
	if (vec_push(&ret->circles, circle) < 0) {
		vec_deinit(&circle.waits);
		return -ENOMEM;
	}
	return 0;
}

int deadlocks_find(const struct stacks *stacks, struct deadlocks *ret)
{
	struct map waiters;
	uint32_t mark = 0;
	size_t cursor = 0;
	const void *key;
	void *value;
	int r;

	map_init(&waiters, sizeof(struct thread_key), sizeof(struct waiter));
	r = find_waiters(stacks, &waiters);
	/* Everybody has one arrow at most: who is met twice in one search is in a circle. */
	while (!r && map_next(&waiters, &cursor, &key, &value)) {
		struct waiter *at = value;

		mark++;
		while (at && !at->mark) {
			at->mark = mark;
			at = next_of(stacks, &waiters, at);
		}
		if (at && at->mark == mark)
			r = add_circle(stacks, &waiters, at, ret);
	}
	map_deinit(&waiters);
	return r;
}
