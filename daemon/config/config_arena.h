/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Memory of a configuration: many small pieces that live and die together. */
#include <stddef.h>

#include "cleanup.h"

struct config_arena;

/* NULL when out of memory. */
struct config_arena *config_arena_new(void);
struct config_arena *config_arena_free(struct config_arena *arena);
DEFINE_CLEANUP(struct config_arena, config_arena_free);

/* Zeroed and aligned for anything; NULL when out of memory. Lives as long as the arena. */
void *config_arena_take(struct config_arena *arena, size_t size);
/* A terminated copy; text need not be terminated. */
char *config_arena_text(struct config_arena *arena, const char *text, size_t length);
