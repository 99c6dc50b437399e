/* SPDX-License-Identifier: Apache-2.0 */
#include "rivals.h"

#include <errno.h>
#include <stdlib.h>

#include "bounded_values.h"
#include "capture.h"
#include "cleanup.h"
#include "stacks.h"

struct rivals {
	struct bounded_values *names;        /* by profile */
	uint32_t *of_sample;                 /* number of names plus 1; 0: none */
};

DEFINE_CLEANUP(struct rivals, rivals_free);

static int add_waits(struct rivals *rivals, const struct capture *capture, const uint32_t *profiles)
{
	const struct stacks *stacks = capture->stacks;
	int r = 0;

	for (size_t i = 0; i < stacks->samples.n && r >= 0; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const char *by = NULL;

		if (sample->wait.reason == SAMPLE_RUNQUEUE && sample->wait.object)
			by = capture_neighbour(capture, (uint32_t)sample->wait.object);
		if (by)
			r = bounded_values_add(rivals->names, profiles[i], by, sample->nsec, &rivals->of_sample[i]);
		rivals->of_sample[i] += !!by;
	}
	return r;
}

int rivals_new(const struct capture *capture, const uint32_t *profiles, struct rivals **ret)
{
	_cleanup_(rivals_free_p) struct rivals *rivals = calloc(1, sizeof(*rivals));
	int r;

	if (!rivals)
		return -ENOMEM;
	rivals->names = bounded_values_new(RIVALS_MAX);
	rivals->of_sample = calloc(capture->stacks->samples.n + 1, sizeof(*rivals->of_sample));
	if (!rivals->names || !rivals->of_sample)
		return -ENOMEM;
	r = add_waits(rivals, capture, profiles);
	if (r >= 0)
		r = bounded_values_rank(rivals->names);
	if (r < 0)
		return r;
	*ret = TAKE(rivals);
	return 0;
}

struct rivals *rivals_free(struct rivals *rivals)
{
	if (!rivals)
		return NULL;
	bounded_values_free(rivals->names);
	free(rivals->of_sample);
	free(rivals);
	return NULL;
}

const char *rivals_by(const struct rivals *rivals, size_t sample)
{
	uint32_t of_sample = rivals->of_sample[sample];

	return of_sample ? bounded_values_get(rivals->names, of_sample - 1) : NULL;
}
