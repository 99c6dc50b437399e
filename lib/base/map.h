/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A hash map from keys of one fixed size to values of one fixed size, both held inside it (open addressing, XXH3 with
 * a seed drawn at start, so that hostile keys cannot be chosen to collide). Keys are compared as bytes: zero their padding.
 *
 * A pointer to a value is valid until the next map_put() or map_remove().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map {
	unsigned char *slots; /* n_slots times: state, key, value */
	size_t n_slots, n, n_removed;
	uint32_t key_size, value_size;
	uint32_t value_offset, slot_size;
};

/* No allocation happens before the first map_put(). */
void map_init(struct map *map, size_t key_size, size_t value_size);
void map_deinit(struct map *map);
/* Empties the map and keeps its memory. */
void map_clear(struct map *map);

/* The value of key, or NULL. */
void *map_get(const struct map *map, const void *key);
/*
 * Finds key, or adds it with a zeroed value.
 * Returns 1 when it was added, 0 when it was there, -ENOMEM with nothing changed.
 */
int map_put(struct map *map, const void *key, void **ret_value);
/* Whether key was there. */
bool map_remove(struct map *map, const void *key);

/*
 * Walks all entries in no special order: start with *cursor = 0; false when there are no more.
 * The entry just returned may be removed; nothing may be added during a walk.
 */
bool map_next(const struct map *map, size_t *cursor, const void **ret_key, void **ret_value);
