/* SPDX-License-Identifier: Apache-2.0 */
#include "rivals.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "capture.h"
#include "cleanup.h"
#include "map.h"
#include "stacks.h"
#include "strtab.h"

struct rival_key {
	uint32_t profile;                    /* whose samples waited */
	uint32_t name;                       /* number of rivals.names */
};

struct rival {
	struct rival_key key;
	uint64_t nsec;
	bool is_told;
};

struct rivals {
	struct strtab *names;
	VEC(struct rival) all;
	struct map index_of;                 /* struct rival_key -> index */
	uint32_t *of_sample;                 /* index plus 1; 0: none */
};

DEFINE_CLEANUP(struct rivals, rivals_free);

static int add_wait(struct rivals *rivals, uint32_t profile, const char *name, uint64_t nsec, uint32_t *ret)
{
	struct rival_key key = { .profile = profile };
	void *value;
	int r;

	r = strtab_add_string(rivals->names, name, &key.name);
	if (r >= 0)
		r = map_put(&rivals->index_of, &key, &value);
	if (r < 0)
		return r;
	if (r > 0) {
		*(uint32_t *)value = (uint32_t)rivals->all.n;
		if (vec_push(&rivals->all, ((struct rival){ .key = key })) < 0)
			return -ENOMEM;
	}
	rivals->all.at[*(uint32_t *)value].nsec += nsec;
	*ret = *(uint32_t *)value + 1;
	return 0;
}

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
			r = add_wait(rivals, profiles[i], by, sample->nsec, &rivals->of_sample[i]);
	}
	return r;
}

/* Those of one profile together, the longest first; names have the order in which they were met. */
static int compare_rivals(const void *a, const void *b)
{
	const struct rival *x = *(const struct rival *const *)a, *y = *(const struct rival *const *)b;

	if (x->key.profile != y->key.profile)
		return x->key.profile < y->key.profile ? -1 : 1;
	if (x->nsec != y->nsec)
		return x->nsec < y->nsec ? 1 : -1;
	return x->key.name < y->key.name ? -1 : x->key.name > y->key.name;
}

static int rank(struct rivals *rivals)
{
	_cleanup_free_ struct rival **order = calloc(rivals->all.n + 1, sizeof(*order));
	uint32_t n_told = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < rivals->all.n; i++)
		order[i] = &rivals->all.at[i];
	qsort(order, rivals->all.n, sizeof(*order), compare_rivals);
	for (size_t i = 0; i < rivals->all.n; i++) {
		if (i && order[i]->key.profile != order[i - 1]->key.profile)
			n_told = 0;
		order[i]->is_told = n_told++ < RIVALS_MAX;
	}
	return 0;
}

int rivals_new(const struct capture *capture, const uint32_t *profiles, struct rivals **ret)
{
	_cleanup_(rivals_free_p) struct rivals *rivals = calloc(1, sizeof(*rivals));
	int r;

	if (!rivals)
		return -ENOMEM;
	map_init(&rivals->index_of, sizeof(struct rival_key), sizeof(uint32_t));
	rivals->names = strtab_new();
	rivals->of_sample = calloc(capture->stacks->samples.n + 1, sizeof(*rivals->of_sample));
	if (!rivals->names || !rivals->of_sample)
		return -ENOMEM;
	r = add_waits(rivals, capture, profiles);
	if (r >= 0)
		r = rank(rivals);
	if (r < 0)
		return r;
	*ret = TAKE(rivals);
	return 0;
}

struct rivals *rivals_free(struct rivals *rivals)
{
	if (!rivals)
		return NULL;
	strtab_free(rivals->names);
	vec_deinit(&rivals->all);
	map_deinit(&rivals->index_of);
	free(rivals->of_sample);
	free(rivals);
	return NULL;
}

const char *rivals_by(const struct rivals *rivals, size_t sample)
{
	const struct rival *rival;

	if (!rivals->of_sample[sample])
		return NULL;
	rival = &rivals->all.at[rivals->of_sample[sample] - 1];
	return rival->is_told ? strtab_get(rivals->names, rival->key.name, NULL) : "other";
}
