/* SPDX-License-Identifier: Apache-2.0 */
#include "idle.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "hash.h"
#include "map.h"
#include "stacks.h"

/* A thread that waits this share of a window once has not moved: windows begin some moments before their threads are found. */
enum { PARKED_PERCENT = 99 };

/* glibc's condition variables have a word for each of two groups of waiters, next to each other (struct __pthread_cond_s). */
static const uint64_t object_mask = ~UINT64_C(7);

struct site {
	struct idle_place place;
	uint64_t hash;                       /* of the frames from the application's innermost function on */
	bool is_known;
};

struct thread_key {
	uint32_t process, tid;
};

struct thread {
	uint32_t home_depth, deepest;
	uint64_t home;                       /* hash of the site */
	uint64_t home_count, home_nsec;
	bool has_home, is_ambiguous;         /* two sites are equally deep: nobody knows which is home */
};

struct place_key {
	uint64_t site, object;
	uint32_t process;
	uint32_t zero;
};

struct visitors {
	uint32_t tid;                        /* the first one */
	bool are_many;
};

struct idle {
	struct stacks *stacks;
	struct site *sites;                  /* of stacks->stacks */
	struct map threads;                  /* struct thread_key -> struct thread */
	struct map places;                   /* struct place_key -> struct visitors */
};

static bool is_whole(const struct stacks_stack *stack)
{
	return stack->n_user && (stack->verdict == SAMPLE_VERDICT_COMPLETE || stack->verdict == SAMPLE_VERDICT_ELIDED);
}

static void find_sites(struct idle *idle, idle_place_fn place, const void *userdata)
{
	const struct stacks *stacks = idle->stacks;

	for (size_t i = 0; i < stacks->stacks.n; i++) {
		const struct stacks_stack *stack = &stacks->stacks.at[i];
		struct site *site = &idle->sites[i];
		size_t n;

		if (!is_whole(stack))
			continue;
		site->place = place(stack, userdata);
		site->is_known = true;
		n = MIN(site->place.n_inner, stack->n_user);
		site->hash = hash_bytes(stacks->frames.at + stack->first_frame + stack->n_kernel + n, (stack->n_user - n) * sizeof(uint64_t));
	}
}

/* Whether work is waited for in this way at all. A read of a socket or a pipe is as likely to be for an answer. */
static bool may_be_idle(const struct stacks_sample *sample, const struct site *site)
{
	if (!site->is_known || site->place.contends)
		return false;
	switch ((enum sample_reason)sample->wait.reason) {
	case SAMPLE_CHANNEL:
	case SAMPLE_SELECT:
	case SAMPLE_SLEEP:
	case SAMPLE_CHILD:
	case SAMPLE_IO_URING:
		return true;
	case SAMPLE_NETWORK:
		return site->place.accepts;
	default:
		return false;
	}
}

static struct thread_key thread_key(const struct idle *idle, const struct stacks_sample *sample)
{
	return (struct thread_key){ .process = idle->stacks->stacks.at[sample->stack].process, .tid = sample->tid };
}

static void find_home(struct thread *thread, const struct stacks_sample *sample, const struct site *site)
{
	if (!thread->has_home || site->place.depth < thread->home_depth) {
		thread->has_home = true;
		thread->is_ambiguous = false;
		thread->home_depth = site->place.depth;
		thread->home = site->hash;
		thread->home_count = thread->home_nsec = 0;
	}
	if (site->place.depth > thread->home_depth)
		return;
	if (site->hash != thread->home) {
		thread->is_ambiguous = true;
		return;
	}
	thread->home_count += sample->count;
	thread->home_nsec += sample->nsec;
}

static int find_threads(struct idle *idle)
{
	for (size_t i = 0; i < idle->stacks->samples.n; i++) {
		const struct stacks_sample *sample = &idle->stacks->samples.at[i];
		const struct site *site = &idle->sites[sample->stack];
		const struct thread_key key = thread_key(idle, sample);
		struct thread *thread;
		void *value;

		if (!site->is_known)
			continue;
		if (map_put(&idle->threads, &key, &value) < 0)
			return -ENOMEM;
		thread = value;
		thread->deepest = MAX(thread->deepest, site->place.depth);
		if (may_be_idle(sample, site))
			find_home(thread, sample, site);
	}
	return 0;
}

static bool is_at_home(const struct thread *thread, const struct stacks_sample *sample, const struct site *site)
{
	/* The runtime's own places need not be one. */
	return may_be_idle(sample, site) && site->place.depth == thread->home_depth &&
	       (site->place.is_runtime || (!thread->is_ambiguous && site->hash == thread->home));
}

static struct place_key place_key(const struct idle *idle, const struct stacks_sample *sample)
{
	return (struct place_key){
		.process = idle->stacks->stacks.at[sample->stack].process,
		.site = idle->sites[sample->stack].hash,
		.object = sample->wait.reason == SAMPLE_CHANNEL ? sample->wait.object & object_mask : 0,
	};
}

/* Who is at home where. */
static int find_visitors(struct idle *idle)
{
	for (size_t i = 0; i < idle->stacks->samples.n; i++) {
		const struct stacks_sample *sample = &idle->stacks->samples.at[i];
		const struct thread_key key = thread_key(idle, sample);
		const struct place_key place = place_key(idle, sample);
		const struct thread *thread = map_get(&idle->threads, &key);
		struct visitors *visitors;
		void *value;
		int r;

		if (!thread || !is_at_home(thread, sample, &idle->sites[sample->stack]))
			continue;
		r = map_put(&idle->places, &place, &value);
		if (r < 0)
			return -ENOMEM;
		visitors = value;
		if (r > 0)
			visitors->tid = sample->tid;
		else if (visitors->tid != sample->tid)
			visitors->are_many = true;
	}
	return 0;
}

static bool has_company(const struct idle *idle, const struct stacks_sample *sample)
{
	const struct place_key place = place_key(idle, sample);
	const struct visitors *visitors = map_get(&idle->places, &place);

	return visitors && visitors->are_many;
}

static bool is_idle(const struct idle *idle, const struct stacks_sample *sample)
{
	const struct thread_key key = thread_key(idle, sample);
	const struct thread *thread = map_get(&idle->threads, &key);
	const struct site *site = &idle->sites[sample->stack];

	if (!thread || !is_at_home(thread, sample, site))
		return false;
	if (site->place.is_runtime)
		return true;
	if (thread->home_count <= 1 && thread->home_nsec >= idle->stacks->duration_nsec / 100 * PARKED_PERCENT)
		return true;
	if (site->place.is_opaque)
		return false;
	return site->place.accepts || sample->wait.reason == SAMPLE_SLEEP || sample->wait.reason == SAMPLE_CHILD ||
	       thread->deepest > thread->home_depth || has_company(idle, sample);
}

int idle_find(struct stacks *stacks, idle_place_fn place, const void *userdata)
{
	struct idle idle = { .stacks = stacks, .sites = calloc(stacks->stacks.n + 1, sizeof(*idle.sites)) };
	int r = idle.sites ? 0 : -ENOMEM;

	map_init(&idle.threads, sizeof(struct thread_key), sizeof(struct thread));
	map_init(&idle.places, sizeof(struct place_key), sizeof(struct visitors));
	if (r >= 0) {
		find_sites(&idle, place, userdata);
		r = find_threads(&idle);
	}
	if (r >= 0)
		r = find_visitors(&idle);
	for (size_t i = 0; i < stacks->samples.n; i++)
		stacks->samples.at[i].is_idle = r >= 0 && is_idle(&idle, &stacks->samples.at[i]);
	map_deinit(&idle.places);
	map_deinit(&idle.threads);
	free(idle.sites);
	return r;
}
