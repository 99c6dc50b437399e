/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlocks.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "futex_wait.h"
#include "map.h"
#include "stacks.h"

/* A wait that is open at the window's end, and long. */
struct waiter {
	const struct stacks_sample *sample;
	uint32_t process;                    /* index */
	uint32_t lock;                       /* index into search.locks */
	uint32_t own, owner;                 /* numbers of threads as their process counts: its own, and who has the lock; 0: no part */
	uint32_t mark;                       /* number of the walk that came by; 0: none */
	uint64_t n_switches;                 /* of the wait that was looked at */
};

/* In one process. */
struct search {
	const struct deadlocks_looks *looks;
	const struct process_id *process;
	struct waiter *waiters;
	size_t n;
	VEC(uint64_t) locks;                 /* that they wait for, each once */
	uint32_t *owners;                    /* of these */
	struct map by_own;                   /* number -> index into waiters */
};

void deadlock_deinit(struct deadlock *deadlock)
{
	vec_deinit(&deadlock->waits);
}

void deadlocks_deinit(struct deadlocks *deadlocks)
{
	for (size_t i = 0; i < deadlocks->circles.n; i++)
		deadlock_deinit(&deadlocks->circles.at[i]);
	vec_deinit(&deadlocks->circles);
}

/* --- Who waits --- */

static bool is_long(const struct stacks_sample *sample)
{
	return sample->wait.reason == SAMPLE_LOCK && sample->is_open && sample->count == 1 && sample->nsec >= DEADLOCKS_LEAST_NSEC;
}

static int find_locks(struct search *search)
{
	struct map numbers;
	int r = 0;

	map_init(&numbers, sizeof(uint64_t), sizeof(uint32_t));
	for (size_t i = 0; i < search->n && r >= 0; i++) {
		const uint64_t lock = search->waiters[i].sample->wait.object;
		void *value;

		r = map_put(&numbers, &lock, &value);
		if (r > 0) {
			*(uint32_t *)value = (uint32_t)search->locks.n;
			r = vec_push(&search->locks, lock);
		}
		if (r >= 0)
			search->waiters[i].lock = *(uint32_t *)value;
	}
	map_deinit(&numbers);
	return MIN(r, 0);
}

static int ask_owners(struct search *search, const uint64_t *locks, size_t n, uint32_t *ret)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = 0;
	return search->looks->owners(search->process, locks, n, ret, search->looks->userdata);
}

/* Whether the thread waits for this lock, now, and for good. */
static bool look_at(const struct search *search, const struct waiter *waiter, struct futex_wait *ret)
{
	return search->looks->wait(search->process, waiter->sample->tid, ret, search->looks->userdata) == 0 &&
	       ret->address && ret->address == waiter->sample->wait.object && !ret->is_timed;
}

/* An arrow from each thread to who has what it waits for. */
static int draw_arrows(struct search *search)
{
	for (uint32_t i = 0; i < search->n; i++) {
		struct waiter *waiter = &search->waiters[i];
		struct futex_wait wait;
		void *value;

		if (!search->owners[waiter->lock] || !look_at(search, waiter, &wait))
			continue;
		if (map_put(&search->by_own, &wait.namespace_tid, &value) < 0)
			return -ENOMEM;
		*(uint32_t *)value = i;
		waiter->own = wait.namespace_tid;
		waiter->n_switches = wait.n_switches;
		waiter->owner = search->owners[waiter->lock];
	}
	return 0;
}

/* Who has the lock that it waits for, if that one waits, too. */
static struct waiter *next_of(const struct search *search, const struct waiter *waiter)
{
	const uint32_t *index = waiter->owner ? map_get(&search->by_own, &waiter->owner) : NULL;

	return index ? &search->waiters[*index] : NULL;
}

/* --- Circles --- */

static struct waiter *first_of(const struct search *search, struct waiter *member)
{
	struct waiter *first = member;

	for (struct waiter *w = next_of(search, member); w != member; w = next_of(search, w))
		if (w->sample->tid < first->sample->tid)
			first = w;
	return first;
}

/*
 * The owners once more, and after that whether all are still in the wait in which they were before: between the two
 * nobody ran, so that these owners were owners at one and the same moment. 1: it holds; 0; -ENOMEM.
 */
static int holds(struct search *search, const struct waiter *first, struct deadlocks *ret)
{
	VEC(uint64_t) locks = { 0 };
	_cleanup_free_ uint32_t *owners = NULL;
	const struct waiter *at = first;
	size_t i = 0;
	int r;

	do {
		r = vec_push(&locks, at->sample->wait.object);
		at = next_of(search, at);
	} while (r >= 0 && at != first);
	owners = r >= 0 ? calloc(locks.n, sizeof(*owners)) : NULL;
	if (owners && ask_owners(search, locks.at, locks.n, owners) < 0)
		ret->n_left_out++;
	vec_deinit(&locks);
	if (!owners)
		return -ENOMEM;
	do {
		struct futex_wait wait;

		if (owners[i++] != at->owner || !look_at(search, at, &wait) || wait.n_switches != at->n_switches)
			return 0;
		at = next_of(search, at);
	} while (at != first);
	return 1;
}

static int add_circle(const struct search *search, const struct waiter *first, struct deadlocks *ret)
{
	struct deadlock circle = { .process = first->process };
	const struct waiter *at = first;
	int r;

	do {
		struct deadlock_wait wait = { .stack = at->sample->stack, .tid = at->sample->tid, .lock = at->sample->wait.object };

		memcpy(wait.thread, at->sample->thread, sizeof(wait.thread));
		r = vec_push(&circle.waits, wait);
		at = next_of(search, at);
	} while (r >= 0 && at != first);
	if (r >= 0)
		r = vec_push(&ret->circles, circle);
	if (r < 0)
		deadlock_deinit(&circle);
	return r;
}

static int check_circle(struct search *search, struct waiter *member, struct deadlocks *ret)
{
	const struct waiter *first = first_of(search, member);
	int r;

	if (ret->circles.n >= DEADLOCKS_MAX_CIRCLES) {
		ret->n_left_out++;
		return 0;
	}
	r = holds(search, first, ret);
	return r > 0 ? add_circle(search, first, ret) : r;
}

/* Everybody has one arrow at most: who is met twice in one walk is in a circle. */
static int find_circles(struct search *search, struct deadlocks *ret)
{
	int r = 0;

	for (uint32_t i = 0; i < search->n && r >= 0; i++) {
		struct waiter *at = &search->waiters[i];

		if (!at->owner)
			continue;
		while (at && !at->mark) {
			at->mark = i + 1;
			at = next_of(search, at);
		}
		if (at && at->mark == i + 1)
			r = check_circle(search, at, ret);
	}
	return r;
}

static int search_process(const struct stacks *stacks, const struct deadlocks_looks *looks, struct waiter *waiters, size_t n,
		struct deadlocks *ret)
{
	struct search search = {
		.looks = looks, .process = &stacks->processes.at[waiters->process], .waiters = waiters, .n = n,
	};
	int r;

	map_init(&search.by_own, sizeof(uint32_t), sizeof(uint32_t));
	r = find_locks(&search);
	if (r >= 0) {
		search.owners = calloc(search.locks.n, sizeof(*search.owners));
		r = search.owners ? 0 : -ENOMEM;
	}
	if (r >= 0) {
		if (ask_owners(&search, search.locks.at, search.locks.n, search.owners) < 0)
			ret->n_left_out += n;
		r = draw_arrows(&search);
	}
	if (r >= 0)
		r = find_circles(&search, ret);
	map_deinit(&search.by_own);
	vec_deinit(&search.locks);
	free(search.owners);
	return r;
}

/* --- A window --- */

static int compare_waiters(const void *a, const void *b)
{
	const struct waiter *x = a, *y = b;

	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	return (x->sample->tid > y->sample->tid) - (x->sample->tid < y->sample->tid);
}

int deadlocks_find(const struct stacks *stacks, const struct deadlocks_looks *looks, struct deadlocks *ret)
{
	VEC(struct waiter) waiters = { 0 };
	int r = 0;

	if (stacks->duration_nsec < DEADLOCKS_LEAST_NSEC)
		return 0;
	ret->has_looked = true;
	for (size_t i = 0; i < stacks->samples.n && r >= 0; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];

		if (!is_long(sample))
			continue;
		if (waiters.n == DEADLOCKS_MAX_WAITS)
			ret->n_left_out++;
		else
			r = vec_push(&waiters, ((struct waiter){ .sample = sample, .process = stacks->stacks.at[sample->stack].process }));
	}
	vec_sort(&waiters, compare_waiters);
	for (size_t begin = 0, end = 0; begin < waiters.n && r >= 0; begin = end) {
		while (end < waiters.n && waiters.at[end].process == waiters.at[begin].process)
			end++;
		r = search_process(stacks, looks, &waiters.at[begin], end - begin, ret);
	}
	vec_deinit(&waiters);
	return r;
}
