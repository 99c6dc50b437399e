/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Switches the profilers of Go runtimes on from outside, where the configuration asks for it, and off again: memory.go.enable, block.go_rate,
 * mutex.go_fraction. It is one number each that is written into a process (go_write.h says with what care), and only where the program has
 * it off, that is 0. All three are read by the runtime whenever it allocates, waits or unlocks, without a lock, and it notices:
 *
 *	MemProfileRate        until 1.23 by the next allocation, since the distance to the next sample is 0 while it is off; since 1.24
 *	                      because each mcache keeps the rate that its distance was drawn with (runtime/malloc.go nextSample(),
 *	                      mallocgc(); c.memProfRate). Either way the first allocation on each P is sampled whatever its size: of the
 *	                      samples GOMAXPROCS at most are too many. Nothing that was allocated before is known.
 *	blockprofilerate,
 *	mutexprofilerate      by the next wait, or unlock (runtime/mprof.go blockevent(), mutexevent(); runtime/sema.go)
 *
 * What is written is undone: when it is wished no more, when the process is no target any more, at the end, and after a death at the next
 * start: each number is in a file of the runtime directory before it is in the process. Undone is only what is still ours: where the
 * program changed it meanwhile, or another program runs there, nothing is written, and the journal says so. Each write is in the journal.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "go_rates.h"

struct config;
struct go_switch;
struct process_id;

struct go_switch_wish {
	int64_t values[GO_N_RATES];          /* as the runtime has them, see go_rates.h; 0: as the program has it; less: not known yet, as it is */
};

/* What runtime.SetBlockProfileRate() writes for a rate in nanoseconds; -1 when the clock must be known for that and is not. */
int64_t go_switch_block_rate(uint32_t rate_nsec, double cycles_per_second);
/* What the configuration asks for; cycles_per_second: of the process's report (go_reader.h), which has our own where the runtime has none; 0: not known. */
struct go_switch_wish go_switch_wish_of(const struct config *config, double cycles_per_second);

/*
 * `proc`: /proc. `directory`: where the state is kept, which nobody else writes to (runtime_directory()); negative: nowhere, then nothing
 * is ever written. Both are borrowed for life. 0 or -ENOMEM.
 */
int go_switch_new(int proc, int directory, struct go_switch **ret);
/* Undoes nothing. */
struct go_switch *go_switch_free(struct go_switch *sw);

/* What follows holds the caller up for some milliseconds for each process that is written to; for 2 s where one makes it last, once. */

/* At the start, before anything is set: undoes what one before us left. */
void go_switch_recover(struct go_switch *sw);

/*
 * Has a process as wished. `rates`: as they were just found. For each report of a target: it writes the first time when the process is a
 * second old, and when the wish changes, and notices when the program itself sets a rate, which then stays.
 */
void go_switch_set(struct go_switch *sw, const struct process_id *process, const struct go_rates *rates, const struct go_switch_wish *wish);
/* It is no target any more; it may have ended, or another program runs in it. */
void go_switch_release(struct go_switch *sw, const struct process_id *process);
/* At the end. What a process makes last longer than 10 s in all is left to the next start. */
void go_switch_restore_all(struct go_switch *sw);

/* Whether a rate is as it is by us; since when, CLOCK_MONOTONIC. */
bool go_switch_is_ours(const struct go_switch *sw, const struct process_id *process, enum go_rate_of which, uint64_t *ret_since_nsec);

struct go_switch_stats {
	uint64_t n_written, n_undone;        /* numbers; n_undone also of what one before us left */
	uint64_t n_changed;                  /* the program set it meanwhile */
	uint64_t n_failed;                   /* not written, or not undone */
	size_t n_now;                        /* that are ours now */
};
struct go_switch_stats go_switch_stats(const struct go_switch *sw);
