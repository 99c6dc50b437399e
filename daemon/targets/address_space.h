/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The executable mappings of one program, followed while they change. A fork shares its parent's until one of them
 * maps something: 20,000 forks a second copy nothing.
 */
#include <stddef.h>
#include <stdint.h>

#include "binaries.h"
#include "image.h"
#include "vec.h"

struct address_range {
	uint64_t start, end;                 /* [start, end) */
	uint64_t file_offset;
	struct binaries_file *file;          /* a reference; NULL unless IMAGE_MAPPING_FILE */
	enum image_mapping_kind kind;
};

struct address_space {
	size_t n_references;
	VEC(struct address_range) ranges;    /* sorted by start, not overlapping */
};

/* A JIT that maps more than this is not worth more. */
enum { ADDRESS_SPACE_MAX_RANGES = 65536 };

struct address_space *address_space_new(void);
struct address_space *address_space_ref(struct address_space *space);
struct address_space *address_space_unref(struct binaries *binaries, struct address_space *space);

/*
 * Adds a mapping in place of all that it overlaps, and takes its reference to the file, even on failure. What others share is
 * copied first: *space may change. 0, -ENOMEM, or -E2BIG when there are too many.
 */
int address_space_add_take(struct binaries *binaries, struct address_space **space, const struct address_range *range);

/* The range that holds an address, or NULL. */
const struct address_range *address_space_find(const struct address_space *space, uint64_t address);
