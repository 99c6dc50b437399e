/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What locks cost: of each process the locks that its threads waited for longest in a window. Counted before the time of
 * waits without a stack is spread over those with one (waits.h): of a lock it is known exactly, not on average, but where only one in
 * 2^skip waits was timed.
 */
#include <stdbool.h>
#include <stdint.h>

#include "sample.h"
#include "vec.h"

struct stacks;

enum {
	LOCKS_MAX_SHOWN = 20,                /* of a process, and of a service in a profile's comments */
	LOCKS_MAX_OWNERS = 4,                /* named, of each */
};

struct lock {
	uint64_t address;
	uint64_t waits, nsec;                /* a wait that goes on from window to window is one in each */
	uint64_t longest_nsec;               /* in this window */
	uint32_t process;                    /* index into stacks->processes */
	uint32_t n_threads;                  /* that waited */
	bool is_estimate;                    /* not all of its waits were timed */
	uint32_t n_owners;                   /* that were seen to have it when a wait began */
	uint32_t owners[LOCKS_MAX_OWNERS];   /* as the process counts threads; lowest first */
	char thread[SAMPLE_COMM_LENGTH];     /* one that waited */
};

struct locks_process {
	uint32_t process;                    /* index */
	char thread[SAMPLE_COMM_LENGTH];     /* one that waited */
	uint64_t n, nsec;                    /* all locks that were waited for */
	bool is_estimate;                    /* as of a lock */
};

struct locks {
	VEC(struct lock) longest;            /* most time first; at most LOCKS_MAX_SHOWN of each process */
	VEC(struct locks_process) processes; /* by index; those that waited for one */
};

/* Zero-initialise `ret` before. 0 or -ENOMEM. */
int locks_find(const struct stacks *stacks, struct locks *ret);
void locks_deinit(struct locks *locks);
