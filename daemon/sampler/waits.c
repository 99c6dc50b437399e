/* SPDX-License-Identifier: Apache-2.0 */
#include "waits.h"

#include <errno.h>

#include "cleanup.h"
#include "map.h"
#include "stacks.h"

struct stratum_key {
	uint32_t process, tid;
	uint32_t reason, zero;
};

struct stratum {
	uint64_t count, nsec;                /* timed */
	double weighted_count, weighted_nsec; /* of those with a stack, each times 2^shift */
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

static double weight_of(const struct stacks_sample *sample)
{
	return (double)(UINT64_C(1) << (sample->wait.shift & 31));
}

static int add(struct map *strata, const struct stacks *stacks, const struct stacks_sample *sample)
{
	const struct stratum_key key = key_of(stacks, sample);
	struct stratum *stratum;
	void *value;

	if (map_put(strata, &key, &value) < 0)
		return -ENOMEM;
	stratum = value;
	stratum->count += sample->count;
	stratum->nsec += sample->nsec;
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

/* What is told of the window. */
static void sum_up(struct stacks *stacks)
{
	stacks->n_waits = stacks->waited_nsec = stacks->with_stack = stacks->with_stack_nsec = 0;
	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];

		stacks->n_waits += sample->count;
		stacks->waited_nsec += sample->nsec;
		if (!stacks->stacks.at[sample->stack].hash)
			continue;
		stacks->with_stack += sample->count;
		stacks->with_stack_nsec += sample->nsec;
	}
}

int waits_spread(struct stacks *stacks)
{
	struct map strata;
	size_t n_kept = 0;
	int r = 0;

	sum_up(stacks);
	map_init(&strata, sizeof(struct stratum_key), sizeof(struct stratum));
	for (size_t i = 0; i < stacks->samples.n && !r; i++)
		r = was_drawn(&stacks->samples.at[i]) ? add(&strata, stacks, &stacks->samples.at[i]) : 0;
	for (size_t i = 0; i < stacks->samples.n && !r; i++) {
		struct stacks_sample sample = stacks->samples.at[i];
		const struct stratum_key key = key_of(stacks, &sample);
		struct stratum *stratum = was_drawn(&sample) ? map_get(&strata, &key) : NULL;

		if (stratum && stacks->stacks.at[sample.stack].hash)
			spread(stratum, &sample);
		else if (stratum && stratum->has_stacks)
			continue; /* the others take it over */
		stacks->samples.at[n_kept++] = sample;
	}
	if (!r)
		stacks->samples.n = n_kept;
	for (size_t i = 0; i < stacks->samples.n; i++)
		if (stacks->stacks.at[stacks->samples.at[i].stack].hash == SAMPLE_STACK_LOST)
			stacks->stack_lost_nsec += stacks->samples.at[i].nsec;
	map_deinit(&strata);
	return r;
}
