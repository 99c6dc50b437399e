/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Places become locations of one profile, with their mappings, functions and lines.
 *
 * Locations have the addresses that the file itself speaks of (p_vaddr), which is what addr2line and `go tool pprof -disasm`
 * take; mappings are the executable segments of the files.
 */
#include <stdint.h>

struct locations;
struct place;
struct places;
struct profile;

/* Both are borrowed. 0 or -ENOMEM. */
int locations_new(const struct places *places, struct profile *profile, struct locations **ret);
struct locations *locations_free(struct locations *locations);

/* The id of the location of a place, added when it is new. 0 or -errno of the profile. */
int locations_find(struct locations *locations, const struct place *place, uint32_t *ret);
/* The same without the n innermost functions of its lines, which were inlined there; fewer than it has. */
int locations_find_outer(struct locations *locations, const struct place *place, uint32_t n, uint32_t *ret);
/* The same of a frame that is no code, as "[interrupt]": it has neither mapping nor address. */
int locations_find_pseudo(struct locations *locations, const char *name, uint32_t *ret);

/* Adds the mapping that a place is in before any location needs it. */
int locations_add_mapping(struct locations *locations, const struct place *place);
