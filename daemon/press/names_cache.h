/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What code is called: remembers the answers of the symbolizer, so that each place of a file is asked about once, and
 * asks for all that is missing in a window at once. Used by the press alone.
 *
 *	names_cache_source(cache, &source, serial, &number);        once a file and window
 *	names_cache_want(cache, number, offset);                    for each frame
 *	names_cache_resolve(cache);
 *	names_cache_get(cache, number, offset, &name);              for each frame
 *	names_cache_end_window(cache);
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "names.h"
#include "symbolizer_process.h"

struct names_cache;

struct names_cache_stats {
	uint64_t hits, misses;               /* distinct places of a window that were known, or had to be asked for */
	uint64_t evicted;                    /* files forgotten for want of room */
	uint64_t failures;                   /* files that the machine failed to ask about */
	size_t bytes;
};

/* What is known of one place. Valid until names_cache_end_window(). */
struct names_cache_name {
	uint64_t address;                    /* in the file's own terms; the offset itself when `known` is false */
	const struct names_frame *frames;    /* innermost first */
	uint32_t n_frames;                   /* 0: no name */
	uint32_t flags;                      /* NAMES_* */
	const struct strtab *strings;
	bool known;                          /* the symbolizer could read the file at all */
};

/* Forgets what was used longest ago when it holds more than limit_bytes. `process` is borrowed. */
int names_cache_new(struct symbolizer_process *process, size_t limit_bytes, struct names_cache **ret);
struct names_cache *names_cache_free(struct names_cache *cache);

/*
 * The number of a source in this window. `serial` tells sources of one kind apart (binary.serial; for a perf map, which
 * is forgotten at the end of the window since it changes, any number). What `source` points to is borrowed until
 * names_cache_resolve() returns.
 */
int names_cache_source(struct names_cache *cache, const struct symbol_source *source, uint64_t serial, uint32_t *ret);
int names_cache_want(struct names_cache *cache, uint32_t source, uint64_t offset);
/* Asks about everything wanted that is not known yet. A file that gives no answer stays without names: not an error. */
int names_cache_resolve(struct names_cache *cache);
/* What is known of a place that was wanted. */
void names_cache_get(const struct names_cache *cache, uint32_t source, uint64_t offset, struct names_cache_name *ret);
/* Tables of the file: its segments, build id and has_* flags; NULL when the symbolizer could not read it. */
const struct names *names_cache_tables(const struct names_cache *cache, uint32_t source);
void names_cache_end_window(struct names_cache *cache);
/* Forgets everything. Between windows. */
void names_cache_clear(struct names_cache *cache);

struct names_cache_stats names_cache_stats(const struct names_cache *cache);
