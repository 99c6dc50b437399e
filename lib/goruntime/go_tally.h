/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Many snapshots of the goroutines of one process, added up by stack and state: where the time of goroutines goes, waiting or
 * not. Each snapshot stands for the time since the one before, so that they need not be taken at equal distances; whoever takes
 * them may become slower when that costs too much.
 */
#include <stddef.h>
#include <stdint.h>

#include "map.h"
#include "vec.h"

struct go_goroutines;

enum { GO_TALLY_MAX = 1 << 16 };             /* stacks and states; the time of further ones is lost_nsec */

struct go_tallied {
	uint64_t nsec;                       /* of all goroutines that were so */
	uint64_t count;                      /* times that one was seen so */
	size_t first_frame, n_frames;        /* as go_stack.h has them */
	uint32_t status, wait_reason, verdict; /* as in struct go_goroutine */
};

struct go_tally {
	VEC(struct go_tallied) all;          /* without goroutines of the system */
	VEC(uint64_t) frames;
	uint64_t n_snapshots, nsec;          /* and the time that they stand for */
	uint64_t lost_nsec;                  /* of goroutines that are in none of these */
	struct map index;                    /* for go_tally.c */
};

void go_tally_init(struct go_tally *tally);
void go_tally_deinit(struct go_tally *tally);

/* Adds a snapshot that stands for so much time. 0 or -ENOMEM: a part of it may have been added then. */
int go_tally_add(struct go_tally *tally, const struct go_goroutines *goroutines, uint64_t nsec);
