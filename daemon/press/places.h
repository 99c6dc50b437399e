/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where the frames of a window are, and what is there: raw addresses become places. Used by the press alone.
 *
 * A place in code is (file, offset) whatever process ran it, so that a library mapped by a hundred processes is named
 * once and is one location. Of frames that called others it is the call, not what comes after it.
 */
#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "names_cache.h"

struct capture;
struct image_mapping;
struct places;
struct stacks_stack;

/* Canonical kernel addresses of x86-64 have the upper half to themselves; they are offsets of places themselves. */
#define PLACES_KERNEL_START UINT64_C(0xffff800000000000)

/* Equal places of a window are equal bytes. */
struct place {
	uint64_t offset;                     /* in its file; where there is none, the address */
	uint32_t origin;                     /* a number of this window */
	uint32_t zero;
};

/* A file that code came from, in this window. */
struct place_origin {
	const struct image_mapping *mapping; /* the first one met, of the capture; NULL: kernel, or nothing is mapped there */
	const char *file;                    /* of the mapping in a profile; NULL: nothing is mapped there */
	const char *title;                   /* of binaries the last part of their path */
	bool is_jit;                         /* made at run time: an offset would say nothing */
	uint32_t source;                     /* number of the names cache, if it has one */
};

/*
 * Finds the places of all frames, and asks the cache for their names. Both are borrowed; what the functions below return
 * lives until names_cache_end_window(). 0 or -errno; what could not be asked about has no name, which is no error.
 */
int places_new(const struct capture *capture, struct names_cache *cache, struct places **ret);
struct places *places_free(struct places *places);
DEFINE_CLEANUP(struct places, places_free);

/* Of the frames of a stack of the capture, in their order: n_kernel, then n_user. */
const struct place *places_of(const struct places *places, const struct stacks_stack *stack);

const struct place_origin *places_origin(const struct places *places, const struct place *place);
struct names_cache_name places_name(const struct places *places, const struct place *place);
/* As names_cache_tables(); NULL, too, of what is no file. */
const struct names *places_tables(const struct places *places, const struct place *place);

/* What a place without a name is called: "libc.so.6+0x1234", "[jit]". The caller frees it; NULL: out of memory. */
char *places_title(const struct places *places, const struct place *place);
