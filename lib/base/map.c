/* SPDX-License-Identifier: Apache-2.0 */
#include "map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

enum slot_state { SLOT_EMPTY, SLOT_REMOVED, SLOT_USED };

static const size_t key_offset = 8; /* behind the state; keeps keys and values aligned */

void map_init(struct map *map, size_t key_size, size_t value_size)
{
	*map = (struct map){ .key_size = key_size, .value_size = value_size };
	map->value_offset = key_offset + ((key_size + 7) & ~(size_t)7);
	map->slot_size = map->value_offset + ((value_size + 7) & ~(size_t)7);
}

void map_deinit(struct map *map)
{
	free(map->slots);
	map->slots = NULL;
	map->n_slots = map->n = map->n_removed = 0;
}

void map_clear(struct map *map)
{
	if (map->slots)
		memset(map->slots, 0, map->n_slots * map->slot_size);
	map->n = map->n_removed = 0;
}

static unsigned char *slot_at(const struct map *map, size_t i)
{
	return map->slots + i * map->slot_size;
}

static size_t first_slot(const struct map *map, const void *key)
{
	return hash_bytes(key, map->key_size) & (map->n_slots - 1);
}

static unsigned char *find(const struct map *map, const void *key)
{
	if (!map->n_slots)
		return NULL;
	for (size_t i = first_slot(map, key);; i = (i + 1) & (map->n_slots - 1)) {
		unsigned char *slot = slot_at(map, i);

		if (*slot == SLOT_EMPTY)
			return NULL;
		if (*slot == SLOT_USED && !memcmp(slot + key_offset, key, map->key_size))
			return slot;
	}
}

void *map_get(const struct map *map, const void *key)
{
	unsigned char *slot = find(map, key);

	return slot ? slot + map->value_offset : NULL;
}

/* A free slot for a key that is not in the map; there is always one, since the table is never full. */
static unsigned char *claim(struct map *map, const void *key)
{
	for (size_t i = first_slot(map, key);; i = (i + 1) & (map->n_slots - 1)) {
		unsigned char *slot = slot_at(map, i);

		if (*slot == SLOT_USED)
			continue;
		if (*slot == SLOT_REMOVED)
			map->n_removed--;
		*slot = SLOT_USED;
		memcpy(slot + key_offset, key, map->key_size);
		map->n++;
		return slot;
	}
}

static int rehash(struct map *map, size_t n_slots)
{
	struct map bigger = *map;

	bigger.slots = calloc(n_slots, map->slot_size);
	if (!bigger.slots)
		return -ENOMEM;
	bigger.n_slots = n_slots;
	bigger.n = bigger.n_removed = 0;
	for (size_t i = 0; i < map->n_slots; i++) {
		unsigned char *old = slot_at(map, i);

		if (*old == SLOT_USED)
			memcpy(claim(&bigger, old + key_offset) + map->value_offset, old + map->value_offset, map->value_size);
	}
	free(map->slots);
	*map = bigger;
	return 0;
}

int map_put(struct map *map, const void *key, void **ret_value)
{
	unsigned char *slot = find(map, key);
	int r;

	if (slot) {
		*ret_value = slot + map->value_offset;
		return 0;
	}
	/* At most three quarters used, removed slots counted: probe sequences stay short. */
	if ((map->n + map->n_removed + 1) * 4 > map->n_slots * 3) {
		size_t n_slots = 16;

		while ((map->n + 1) * 2 > n_slots)
			n_slots *= 2;
		r = rehash(map, n_slots);
		if (r < 0)
			return r;
	}
	slot = claim(map, key);
	memset(slot + map->value_offset, 0, map->value_size);
	*ret_value = slot + map->value_offset;
	return 1;
}

bool map_remove(struct map *map, const void *key)
{
	unsigned char *slot = find(map, key);

	if (!slot)
		return false;
	*slot = SLOT_REMOVED;
	map->n--;
	map->n_removed++;
	return true;
}

bool map_next(const struct map *map, size_t *cursor, const void **ret_key, void **ret_value)
{
	for (; *cursor < map->n_slots; (*cursor)++) {
		unsigned char *slot = slot_at(map, *cursor);

		if (*slot != SLOT_USED)
			continue;
		(*cursor)++;
		*ret_key = slot + key_offset;
		*ret_value = slot + map->value_offset;
		return true;
	}
	return false;
}
