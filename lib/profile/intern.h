/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Finds equal things that lie in an array of their owner's: a hash table of indices, for things of any shape (lib/base's
 * map wants keys of one size, held inside). The owner hashes and compares.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intern {
	struct intern_slot *slots;
	size_t n_slots, n;
};

/* Whether the thing looked for equals number `index` of the owner's array. */
typedef bool (*intern_equal_fn)(const void *owner, uint32_t index, const void *wanted);

/* A zeroed intern is empty and valid. */
void intern_deinit(struct intern *intern);
/* Bytes of memory that it takes. */
size_t intern_memory(const struct intern *intern);

/* Makes room for one more, so that the next intern_add() cannot fail; 0 or -ENOMEM. */
int intern_reserve(struct intern *intern);
/* Whether there is one; *ret_index is its index then. */
bool intern_find(const struct intern *intern, uint64_t hash, intern_equal_fn equal, const void *owner, const void *wanted,
	uint32_t *ret_index);
/* Adds an index that intern_find() did not find, after intern_reserve(). */
void intern_add(struct intern *intern, uint64_t hash, uint32_t index);
