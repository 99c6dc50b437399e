/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The build id of an ELF file: found in its notes, compared, written as hexadecimal digits. */
#include <stdbool.h>
#include <stddef.h>

#include "location.h"
#include "reader.h"

#define BUILD_ID_HEX_SIZE (2 * sizeof(((struct build_id *)0)->bytes) + 1)

/*
 * Looks for NT_GNU_BUILD_ID in the bytes of a note section or segment whose notes are aligned to `align` (4 or 8).
 * False when there is none, or it is larger than the kernel takes (20 bytes) or empty; *ret is untouched then.
 */
bool build_id_from_notes(struct reader notes, size_t align, struct build_id *ret);

/* Whether both are known and the same. */
bool build_id_equal(const struct build_id *a, const struct build_id *b);

/* Lower-case digits, "" for an unknown one. Returns ret. */
char *build_id_to_hex(const struct build_id *id, char ret[static BUILD_ID_HEX_SIZE]);
