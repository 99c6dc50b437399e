/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One way to name an address: what resolve_{go,dwarf,elf,kernel,perfmap} have in common. A symbolizer asks its
 * resolvers in order until one knows.
 *
 * Each has a door of the form
 *
 *	int resolve_x_open(const struct elf_image *image, struct resolver *ret);
 *
 * that returns 0, RESOLVE_E_NONE when the image has nothing for it (expected: no Go in it), or -errno; *ret is
 * untouched unless 0. The image outlives the resolver. Costly work belongs into the first resolve(), not into open().
 */
#include <stddef.h>
#include <stdint.h>

#include "names.h"

enum {
	RESOLVE_E_NONE = 1,                  /* open: nothing here for this resolver */
	RESOLVE_E_UNKNOWN = 2,               /* resolve: no name for this address; ask the next one */
};

/* What an answer of a resolver can tell: becomes names.has_*, once it has told it. */
enum {
	RESOLVE_TELLS_FUNCTIONS = 1,
	RESOLVE_TELLS_FILENAMES = 2,
	RESOLVE_TELLS_LINE_NUMBERS = 4,
	RESOLVE_TELLS_INLINE_FRAMES = 8,     /* one that would have expanded inlined functions had there been any */
};

struct resolver_ops {
	const char *name;                    /* for tests and people: "go" */
	unsigned tells;
	/*
	 * Appends the frames of one address (as the file speaks of it, p_vaddr based; kernel, perf map: as sampled), innermost
	 * first, with names_add_frame(). 0; RESOLVE_E_UNKNOWN with nothing appended; -errno (what was appended is taken back).
	 * The last, outermost frame may lack its name: the next resolvers are asked for it. May set names->place_flags.
	 */
	int (*resolve)(void *state, uint64_t address, struct names *names);
	void (*free)(void *state);           /* takes NULL */
};

struct resolver {
	const struct resolver_ops *ops;
	void *state;
};

/* Longest chain of inlined functions told for one address; compilers stop far below, hostile input does not. */
#define RESOLVE_MAX_INLINE_DEPTH 128U
/* Longest name or path; C++ templates reach some 10 KiB. Longer ones are cut by names_add_frame(). */
#define RESOLVE_MAX_STRING 16384U
