/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Threads that wait for each other in a circle: each waits for a lock that the next one has. Found at the end of a window of the
 * off-CPU sampler, in two steps:
 *
 *	1. A wait that goes on when the window ends, and of which DEADLOCKS_LEAST_NSEC or more are in the window, is there at
 *	   two looks so far apart and did not move in between. In a shorter window nothing is looked for.
 *	2. Who has these locks is asked now, of the memory of the process: whom it was when the wait began says nothing any
 *	   more, since a lock that others wait for, too, is handed on while this one waits. A circle is told if all its
 *	   threads still were in the same wait after all of them had been asked for, so that none of them can have let go of
 *	   its lock in between. Waits that end by themselves (pthread_mutex_timedlock) are no part of any.
 *
 * Who has a lock is known of glibc's mutexes and of priority-inheriting futexes (futex_wait.h). Not told are thus circles
 * with a lock of musl, Rust or Go, a robust or process-shared mutex or a read-write lock in them; with a thread that is
 * signalled all the time, which begins to wait anew each time; and circles of nothing but priority-inheriting mutexes:
 * the kernel finds these, and glibc then lets the last one wait for nothing, for good.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sample.h"
#include "vec.h"

struct futex_wait;
struct process_id;
struct stacks;

/* A second, less what windows of a second may lack. */
#define DEADLOCKS_LEAST_NSEC UINT64_C(900000000)

enum {
	DEADLOCKS_MAX_WAITS = 4096,          /* looked at in a window */
	DEADLOCKS_MAX_CIRCLES = 64,
};

struct deadlock_wait {
	uint32_t stack;                      /* index into stacks->stacks; it may have no frames */
	uint32_t tid;
	uint64_t lock;                       /* its address */
	char thread[SAMPLE_COMM_LENGTH];     /* terminated */
};

struct deadlock {
	uint32_t process;                    /* index into stacks->processes */
	VEC(struct deadlock_wait) waits;     /* each waits for the next one, the last one for the first; the lowest thread id first */
};

struct deadlocks {
	VEC(struct deadlock) circles;
	bool has_looked;                     /* false: the window was too short to tell anything */
	uint64_t n_left_out;                 /* waits, or circles, that could not be looked at: too many, or not in time */
};

/* How to look at processes, now. */
struct deadlocks_looks {
	/* Who has each of the locks, as the process counts threads; 0 where that is not to be told. -errno when not all could be read. */
	int (*owners)(const struct process_id *process, const uint64_t *locks, size_t n, uint32_t *ret_owners, void *userdata);
	/* 0, or anything else when nothing is known of the thread. */
	int (*wait)(const struct process_id *process, uint32_t tid, struct futex_wait *ret, void *userdata);
	void *userdata;
};

/* Zero-initialise `ret` before. 0 or -ENOMEM. A thread waits for one lock at a time, so that each is in one circle at most. */
int deadlocks_find(const struct stacks *stacks, const struct deadlocks_looks *looks, struct deadlocks *ret);
void deadlocks_deinit(struct deadlocks *deadlocks);
void deadlock_deinit(struct deadlock *deadlock);
