/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Address ranges of which a later one hides what it covers of the earlier ones: code made at run time, whose memory is
 * used again and again. Ranges are added in the order of time, flattened once, then searched.
 */
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct overlay_range {
	uint64_t start, end;                 /* [start, end) */
	uint64_t whole_start;                /* of the range before anything was cut off */
	uint32_t value;                      /* of the caller */
	uint32_t order;
};

/* A zeroed one is empty. */
struct overlay {
	VEC(struct overlay_range) all;       /* after overlay_flatten(): sorted and without overlap */
};

void overlay_deinit(struct overlay *overlay);

/* Adds one that is later than all others; an empty one, or one past the end of all addresses, is left out. 0 or -ENOMEM. */
int overlay_add(struct overlay *overlay, uint64_t start, uint64_t size, uint32_t value);
/* Cuts what overlaps, so that each address has one range, the latest; nothing is added afterwards. 0 or -ENOMEM. */
int overlay_flatten(struct overlay *overlay);
/* The range that holds an address, or NULL. */
const struct overlay_range *overlay_find(const struct overlay *overlay, uint64_t address);
