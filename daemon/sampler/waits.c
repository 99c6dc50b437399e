/* SPDX-License-Identifier: Apache-2.0 */
#include "waits.h"

#include <errno.h>

#include "cleanup.h"
#include "map.h"
#include "stacks.h"

/* All waits of a thread that were not timed: what they took, and what those that were timed say that they did. */
struct untimed {
	uint64_t nsec;
	double estimate_nsec;
};

struct thread_key {
	uint32_t process, tid;
};

struct stratum_key {
	uint32_t process, tid;
	uint32_t reason, zero;
};

struct stratum {
	uint64_t count, nsec;                /* timed, each times 2^skip */
	double weighted_count, weighted_nsec; /* of those with a stack, each times 2^(skip + shift) */
	size_t n_left;                       /* samples with a stack that have no part yet */
	bool has_stacks;
};

static struct stratum_key key_of(const struct stacks *stacks, const struct stacks_sample *sample)
{
	return (struct stratum_key){
		.process = stacks->stacks.at[sample->stack].process,
		.tid = sample->tid,
		.reason = sample->wait.reason,
	};
}

/* Of waits that were found (SAMPLE_SHIFT_NONE) it was certain that we look at them: they have their own stack, and no other's time. */
static bool was_drawn(const struct stacks_sample *sample)
{
	return sample->wait.shift != SAMPLE_SHIFT_NONE;
}

/* What waits stand for of which not each was timed. */
static uint64_t scaled(const struct stacks_sample *sample, uint64_t value)
{
	return value << (sample->skip & 31);
}

static struct untimed *find_untimed(const struct map *threads, const struct stacks *stacks, const struct stacks_sample *sample)
{
	return map_get(threads, &(struct thread_key){ .process = stacks->stacks.at[sample->stack].process, .tid = sample->tid });
}

/* Takes out of the samples what is known of all waits that were not timed. */
static int take_untimed(struct stacks *stacks, struct map *ret)
{
	size_t n_kept = 0, n = 0;
	struct untimed *untimed;
	void *value;

	for (size_t i = 0; i < stacks->samples.n; i++)
		n += stacks->samples.at[i].skip == SAMPLE_SKIP_ALL;
	for (size_t i = 0; n && i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const struct thread_key key = { .process = stacks->stacks.at[sample->stack].process, .tid = sample->tid };

		if (!sample->skip)
			continue;
		if (map_put(ret, &key, &value) < 0)
			return -ENOMEM;
		untimed = value;
		if (sample->skip == SAMPLE_SKIP_ALL)
			untimed->nsec += sample->nsec;
		else
			untimed->estimate_nsec += (double)(scaled(sample, sample->nsec) - sample->nsec);
	}
	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample sample = stacks->samples.at[i];

		if (sample.skip != SAMPLE_SKIP_ALL) {
			stacks->samples.at[n_kept++] = sample;
			continue;
		}
		/* None of them was timed: nobody knows what they were for. */
		untimed = find_untimed(ret, stacks, &sample);
		if (untimed->estimate_nsec <= 0)
			stacks->lost_nsec += sample.nsec;
	}
	stacks->samples.n = n_kept;
	return 0;
}

/* The same for time; of all waits of the thread that were not timed the sum is known. */
static uint64_t scaled_nsec(const struct map *threads, const struct stacks *stacks, const struct stacks_sample *sample)
{
	const struct untimed *untimed = sample->skip ? find_untimed(threads, stacks, sample) : NULL;
	uint64_t nsec = scaled(sample, sample->nsec);

	if (!untimed || !untimed->nsec || untimed->estimate_nsec <= 0)
		return nsec;
	return sample->nsec + (uint64_t)((double)(nsec - sample->nsec) * ((double)untimed->nsec / untimed->estimate_nsec));
}

static double weight_of(const struct stacks_sample *sample)
{
	return (double)(UINT64_C(1) << ((sample->wait.shift & 31) + (sample->skip & 31)));
}

static int add(struct map *strata, const struct map *threads, const struct stacks *stacks, const struct stacks_sample *sample)
{
	const struct stratum_key key = key_of(stacks, sample);
	struct stratum *stratum;
	void *value;

	if (map_put(strata, &key, &value) < 0)
		return -ENOMEM;
	stratum = value;
	stratum->count += scaled(sample, sample->count);
	stratum->nsec += scaled_nsec(threads, stacks, sample);
	if (stacks->stacks.at[sample->stack].hash) {
		stratum->weighted_count += weight_of(sample) * (double)sample->count;
		stratum->weighted_nsec += weight_of(sample) * (double)sample->nsec;
		stratum->n_left++;
		stratum->has_stacks = true;
	}
	return 0;
}

/* The next part of what is left. */
static uint64_t part_of(double *left_weight, double weight, uint64_t *left)
{
	uint64_t part = *left_weight > 0 ? (uint64_t)((double)*left * MIN(weight / *left_weight, 1.0)) : 0;

	*left_weight -= weight;
	part = MIN(part, *left);
	*left -= part;
	return part;
}

static void spread(struct stratum *stratum, struct stacks_sample *sample)
{
	double weight = weight_of(sample);

	/* The last one has all that is left: parts add up to what was measured, whatever was rounded. */
	if (--stratum->n_left == 0) {
		sample->count = stratum->count;
		sample->nsec = stratum->nsec;
		return;
	}
	sample->count = part_of(&stratum->weighted_count, weight * (double)sample->count, &stratum->count);
	sample->nsec = part_of(&stratum->weighted_nsec, weight * (double)sample->nsec, &stratum->nsec);
}

/* It stands by itself: there is no stack to give it to, or it was certain that it has this one. */
static void scale(const struct map *threads, const struct stacks *stacks, struct stacks_sample *sample)
{
	sample->count = scaled(sample, sample->count);
	sample->nsec = scaled_nsec(threads, stacks, sample);
}

/* What is told of the window. */
static void sum_up(const struct map *threads, struct stacks *stacks)
{
	stacks->n_waits = stacks->waited_nsec = stacks->untimed = stacks->untimed_nsec = stacks->with_stack = stacks->with_stack_nsec = 0;
	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];

		stacks->n_waits += sample->count;
		stacks->waited_nsec += sample->nsec;
		stacks->untimed += scaled(sample, sample->count) - sample->count;
		stacks->untimed_nsec += scaled_nsec(threads, stacks, sample) - sample->nsec;
		if (!stacks->stacks.at[sample->stack].hash)
			continue;
		stacks->with_stack += sample->count;
		stacks->with_stack_nsec += sample->nsec;
	}
}

int waits_spread(struct stacks *stacks)
{
	struct map strata, threads;
	size_t n_kept = 0;
	int r = 0;

	map_init(&strata, sizeof(struct stratum_key), sizeof(struct stratum));
	map_init(&threads, sizeof(struct thread_key), sizeof(struct untimed));
	r = take_untimed(stacks, &threads);
	for (size_t i = 0; i < stacks->samples.n && !r; i++)
		r = was_drawn(&stacks->samples.at[i]) ? add(&strata, &threads, stacks, &stacks->samples.at[i]) : 0;
	if (!r)
		sum_up(&threads, stacks);
	for (size_t i = 0; i < stacks->samples.n && !r; i++) {
		struct stacks_sample sample = stacks->samples.at[i];
		const struct stratum_key key = key_of(stacks, &sample);
		struct stratum *stratum = was_drawn(&sample) ? map_get(&strata, &key) : NULL;

		if (stratum && stacks->stacks.at[sample.stack].hash)
			spread(stratum, &sample);
		else if (stratum && stratum->has_stacks)
			continue; /* the others take it over */
		else
			scale(&threads, stacks, &sample);
		stacks->samples.at[n_kept++] = sample;
	}
	if (!r)
		stacks->samples.n = n_kept;
	for (size_t i = 0; i < stacks->samples.n; i++)
		if (stacks->stacks.at[stacks->samples.at[i].stack].hash == SAMPLE_STACK_LOST)
			stacks->stack_lost_nsec += stacks->samples.at[i].nsec;
	map_deinit(&threads);
	map_deinit(&strata);
	return r;
}
