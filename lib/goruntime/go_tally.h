/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Many snapshots of the goroutines of one process, added up by stack and state: where the time of goroutines goes, waiting or
 * not. Each snapshot stands for the time since the one before, so that they need not be taken at equal distances; whoever takes
 * them may become slower when that costs too much.
 */
#include <stddef.h>
#include <stdint.h>

#include "go_goroutines.h"
#include "map.h"
#include "vec.h"

/* Stacks and states, and the frames that they have together: the time of further ones is lost_nsec. */
enum { GO_TALLY_MAX = 1 << 16, GO_TALLY_MAX_FRAMES = 1 << 20 };

struct go_tallied {
	uint64_t nsec;                       /* of all goroutines that were so */
	uint64_t count;                      /* times that one was seen so */
	uint32_t n_least, n_most;            /* in one snapshot; equal: nobody came or went while it was looked */
	size_t first_frame, n_frames;        /* as go_stack.h has them */
	uint32_t status, wait_reason, verdict; /* as in struct go_goroutine */
	uint32_t n_now;                      /* for go_tally.c */
};

struct go_tally {
	VEC(struct go_tallied) all;          /* without goroutines of the system */
	VEC(uint64_t) frames;
	char wait_reasons[GO_WAIT_REASONS_MAX][GO_WAIT_REASON_LENGTH]; /* read from the process; "" where there is none */
	size_t n_wait_reasons;
	uint64_t n_snapshots, nsec;          /* and the time that they stand for */
	uint64_t n_failed;                   /* snapshots that could not be taken: the next one stands for their time, too */
	uint64_t cpu_nsec;                   /* what taking them cost: for whoever takes them to say */
	uint64_t lost_count, lost_nsec;      /* of goroutines that are in none of these: no room, or they could not be read */
	struct map index;                    /* for go_tally.c: not that of one that was read from bytes */
};

/* One that is all zero may be freed as well. */
void go_tally_init(struct go_tally *tally);
void go_tally_deinit(struct go_tally *tally);

/* Adds a snapshot that stands for so much time. 0 or -ENOMEM: a part of it may have been added then. */
int go_tally_add(struct go_tally *tally, const struct go_goroutines *goroutines, uint64_t nsec);
/* Those that were added stand for so much more time together, each for its part of that. Without one nothing is changed. */
void go_tally_stretch(struct go_tally *tally, uint64_t nsec);
