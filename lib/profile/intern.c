/* SPDX-License-Identifier: Apache-2.0 */
#include "intern.h"

#include <errno.h>
#include <stdlib.h>

struct intern_slot {
	uint32_t hash;                       /* low bits: places it again when the table grows, and spares most compares */
	uint32_t index_plus_one;             /* 0: free */
};

void intern_deinit(struct intern *intern)
{
	free(intern->slots);
	*intern = (struct intern){ 0 };
}

size_t intern_memory(const struct intern *intern)
{
	return intern->n_slots * sizeof(*intern->slots);
}

static struct intern_slot *free_slot(struct intern_slot *slots, size_t n_slots, uint32_t hash)
{
	size_t i = hash & (n_slots - 1);

	while (slots[i].index_plus_one)
		i = (i + 1) & (n_slots - 1);
	return &slots[i];
}

int intern_reserve(struct intern *intern)
{
	size_t n_slots = intern->n_slots ? intern->n_slots * 2 : 64;
	struct intern_slot *slots;

	/* At most half full: probe sequences stay short. */
	if ((intern->n + 1) * 2 <= intern->n_slots)
		return 0;
	if (n_slots > UINT32_MAX)
		return -ENOMEM;
	slots = calloc(n_slots, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < intern->n_slots; i++)
		if (intern->slots[i].index_plus_one)
			*free_slot(slots, n_slots, intern->slots[i].hash) = intern->slots[i];
	free(intern->slots);
	intern->slots = slots;
	intern->n_slots = n_slots;
	return 0;
}

bool intern_find(const struct intern *intern, uint64_t hash, intern_equal_fn equal, const void *owner, const void *wanted,
		uint32_t *ret_index)
{
	if (!intern->n_slots)
		return false;
	for (size_t i = hash & (intern->n_slots - 1);; i = (i + 1) & (intern->n_slots - 1)) {
		const struct intern_slot *slot = &intern->slots[i];

		if (!slot->index_plus_one)
			return false;
		if (slot->hash == (uint32_t)hash && equal(owner, slot->index_plus_one - 1, wanted)) {
			*ret_index = slot->index_plus_one - 1;
			return true;
		}
	}
}

void intern_add(struct intern *intern, uint64_t hash, uint32_t index)
{
	*free_slot(intern->slots, intern->n_slots, hash) =
			(struct intern_slot){ .hash = hash, .index_plus_one = index + 1 };
	intern->n++;
}
