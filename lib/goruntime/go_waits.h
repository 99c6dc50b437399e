/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a goroutine waits for: channels, locks and the like, by their addresses.
 *
 * runtime/runtime2.go (sudog), runtime/chan.go (hchan), runtime/select.go, runtime/sema.go (semaRoot, semtable, notifyListWait) of the
 * versions in go_layout.h. g.waiting has the channels in all versions, and since 1.26 semaphores and condition variables; the
 * semaphores of older ones are found in the runtime's table of them, condition variables not at all.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct go_process;

enum go_wait_kind {
	GO_WAIT_UNKNOWN,                     /* a channel; which of the two cannot be told */
	GO_WAIT_RECEIVE, GO_WAIT_SEND,       /* of a channel: address of its hchan */
	GO_WAIT_SEMAPHORE,                   /* its address: sync.Mutex.sema, of RWMutex readerSem or writerSem, WaitGroup.sema, ... */
	GO_WAIT_CONDITION,                   /* of sync.Cond.notify */
	GO_WAIT_N_KINDS,
};

struct go_wait {
	uint64_t address;
	uint32_t kind;                       /* enum go_wait_kind */
};

struct go_waits {
	VEC(struct go_wait) all;
	uint64_t n_cut;                      /* goroutines that wait for more than GO_WAITS_MAX, or than there is room for in all */
};

enum {
	GO_WAITS_MAX = 64,                   /* of one goroutine */
	GO_WAITS_MAX_ALL = 4 << 20,
};

struct go_waits_of {
	uint64_t goroutine;                  /* address of its g */
	uint64_t sudog;                      /* g.waiting; 0: nothing */
	enum go_wait_kind kind;              /* as its wait reason tells it; GO_WAIT_UNKNOWN: as its channels do (select), or a semaphore */
};

/* Appends what it waits for. What is no sudog of its own is nothing. 0, -ENOMEM, -E2BIG (go_memory.h). */
int go_waits_read(struct go_process *process, const struct go_waits_of *of, struct go_waits *waits, size_t *ret_first, size_t *ret_n);
void go_waits_deinit(struct go_waits *waits);

/* Whether semaphores are in the runtime's table alone. */
bool go_waits_has_table(const struct go_process *process);
/*
 * Calls `found` for each goroutine in the table with the address of its semaphore, of at most `max` of them. The table changes while it is
 * read: what is told may have ended. 0; what `found` returned if that was not 0; -ENOMEM, -E2BIG.
 */
int go_waits_table(struct go_process *process, size_t max, int (*found)(void *userdata, uint64_t goroutine, uint64_t semaphore), void *userdata);
