/* SPDX-License-Identifier: Apache-2.0 */
#include "config_arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* Some hundred values fit in one; a file of 1 MiB takes a few dozen. */
static const size_t block_bytes = 64 * 1024;

struct block {
	struct block *next;
	size_t used, size;
	alignas(max_align_t) char bytes[];
};

struct config_arena {
	struct block *blocks;
};

struct config_arena *config_arena_new(void)
{
	return calloc(1, sizeof(struct config_arena));
}

struct config_arena *config_arena_free(struct config_arena *arena)
{
	struct block *next;

	if (!arena)
		return NULL;
	for (struct block *block = arena->blocks; block; block = next) {
		next = block->next;
		free(block);
	}
	free(arena);
	return NULL;
}

void *config_arena_take(struct config_arena *arena, size_t size)
{
	struct block *block = arena->blocks;
	size_t aligned = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	void *piece;

	if (aligned < size)
		return NULL;
	if (!block || block->size - block->used < aligned) {
		size_t bytes = MAX(aligned, block_bytes);

		block = calloc(1, sizeof(*block) + bytes);
		if (!block)
			return NULL;
		block->size = bytes;
		block->next = arena->blocks;
		arena->blocks = block;
	}
	piece = block->bytes + block->used;
	block->used += aligned;
	return piece;
}

char *config_arena_text(struct config_arena *arena, const char *text, size_t length)
{
	char *copy = config_arena_take(arena, length + 1);

	if (copy)
		memcpy(copy, text, length);
	return copy;
}
