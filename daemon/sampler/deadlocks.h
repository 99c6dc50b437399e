/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Threads that wait for each other in a circle: each waits for a lock that the next one has. Told from one window of the
 * off-CPU sampler: a wait that took all of it was there at its beginning and at its end, and did not move in between;
 * a circle of such waits does not open by itself.
 *
 * Who has a lock is known of glibc's mutexes and of priority-inheriting futexes (bpf/reason.bpf.h). An owner's number is
 * as its own process counts threads: in a container those that the kernel tells us are others, and nothing is found.
 */
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct stacks;

struct deadlock_wait {
	uint32_t sample;                     /* index into stacks->samples */
	uint64_t lock;                       /* its address */
};

struct deadlock {
	uint32_t process;                    /* index into stacks->processes */
	VEC(struct deadlock_wait) waits;     /* each waits for the next one; the last one for the first; by the lowest thread id first */
};

struct deadlocks {
	VEC(struct deadlock) circles;
};

/* Zero-initialise `ret` before. 0 or -ENOMEM. A thread waits for one lock at a time, so that each is in one circle at most. */
int deadlocks_find(const struct stacks *stacks, struct deadlocks *ret);
void deadlocks_deinit(struct deadlocks *deadlocks);
