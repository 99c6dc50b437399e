/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Keeps the table of programs true to what the kernel tells. An exec is seen as
 *
 *	COMM with its exec mark     begins a new program, without mappings
 *	MMAP2, several              its mappings
 *	LIFE_EXEC                   its number (exec_id) and start time
 *
 * Nothing is read from /proc here, but of the parent of a fork when nobody told of it: most programs are in no sample.
 */
#include <stdbool.h>
#include <stdint.h>

struct event;
struct inspector;
struct programs;

/* Embedded and filled in by its owner. */
struct follower {
	struct programs *programs;
	struct inspector *inspector;
	uint64_t forks, execs, exits, mappings; /* events applied, ever */
	uint64_t lost_life;                  /* of those, for want of memory */
	bool is_sideband_doubted;            /* an exec came without what the sideband should have told of it */
};

/* In the order of their times. */
void follower_apply(struct follower *follower, const struct event *event);
