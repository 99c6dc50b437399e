/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_facts.h"

#include <errno.h>
#include <string.h>

#include "go_goroutines.h"
#include "go_reach.h"

static const char *reason_of(const struct go_goroutines *goroutines, const struct go_goroutine *g)
{
	if (g->status != GO_WAITING && g->status != GO_LEAKED)
		return NULL;
	return g->wait_reason < GO_WAIT_REASONS_MAX ? goroutines->wait_reasons[g->wait_reason] : "";
}

/* Before 1.20 whoever waits for any semaphore does so as "semacquire". */
static uint32_t kind_of(const struct go_wait *wait, const char *reason)
{
	if (wait->kind == GO_WAIT_CONDITION)
		return GOROUTINE_WAITS_OTHER;
	if (wait->kind != GO_WAIT_SEMAPHORE)
		return GOROUTINE_WAITS_CHANNEL;
	if (!reason || !strcmp(reason, "sync.WaitGroup.Wait"))
		return GOROUTINE_WAITS_OTHER;
	return GOROUTINE_WAITS_LOCK;
}

static int add_goroutine(struct goroutine_input *storage, const struct go_goroutines *goroutines, const struct go_goroutine *g, uint64_t still_nsec)
{
	struct goroutine_facts facts = {
		.id = g->id, .go_pc = g->go_pc, .reason = reason_of(goroutines, g), .still_nsec = still_nsec, .is_system = g->is_system,
		.first_wait = storage->waits.n, .n_waits = g->n_waits, .waits_for_more = g->n_waits >= GO_WAITS_MAX,
	};

	for (size_t i = 0; i < g->n_waits; i++) {
		const struct go_wait *wait = &goroutines->waits.all.at[g->first_wait + i];

		if (vec_push(&storage->waits, ((struct goroutine_wait){ wait->address, kind_of(wait, facts.reason) })) < 0)
			return -ENOMEM;
	}
	return vec_push(&storage->facts, facts);
}

static int compare_addresses(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Of what was not waited for yet when one of the searches was made, that one says nothing: anything may reach it. */
static int add_unknown(struct goroutine_input *storage, const struct go_reach *reach)
{
	for (size_t i = 0; i < storage->waits.n; i++) {
		uint64_t object = storage->waits.at[i].object;

		if (reach->objects.n && bsearch(&object, reach->objects.at, reach->objects.n, sizeof(object), compare_addresses))
			continue;
		if (vec_push(&storage->references, ((struct goroutine_reference){ .object = object })) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_ways(struct goroutine_input *storage, const struct go_reach *reach)
{
	int r = add_unknown(storage, reach);

	for (size_t i = 0; i < reach->ways.n && r >= 0; i++) {
		const struct go_reach_way *way = &reach->ways.at[i];

		if (vec_push(&storage->references, ((struct goroutine_reference){ way->object, way->goroutine, way->is_direct })) < 0)
			return -ENOMEM;
	}
	return r;
}

int goroutine_input_make(const struct go_goroutines *goroutines, const uint64_t *still_nsec,
		const struct go_reach *const *searches, size_t n_searches, struct goroutine_input *storage,
		struct goroutine_deadlocks_input *ret)
{
	int r = 0;

	for (size_t i = 0; i < goroutines->all.n && r >= 0; i++)
		r = add_goroutine(storage, goroutines, &goroutines->all.at[i], still_nsec[i]);
	for (size_t i = 0; i < n_searches && r >= 0; i++)
		r = add_ways(storage, searches[i]);
	if (r < 0)
		return r;
	*ret = (struct goroutine_deadlocks_input){
		.goroutines = storage->facts.at, .n_goroutines = storage->facts.n, .waits = storage->waits.at, .n_waits = storage->waits.n,
		.references = storage->references.at, .n_references = storage->references.n, .n_searches = (uint32_t)n_searches,
	};
	return 0;
}

void goroutine_input_deinit(struct goroutine_input *input)
{
	vec_deinit(&input->facts);
	vec_deinit(&input->waits);
	vec_deinit(&input->references);
}
