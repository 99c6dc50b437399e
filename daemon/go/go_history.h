/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Since when the goroutines of one process have waited, remembered from one snapshot to the next: the runtime itself notes it
 * only when its garbage collector comes by (g.waitsince, runtime/mgcmark.go markroot() of Go 1.18 to 1.27), and forgets it when
 * the goroutine runs (runtime/proc.go execute()).
 *
 * Two snapshots that show a goroutine waiting at the same place may have a run in between, of a loop that came back. Where
 * the runtime's own note tells so, it is believed; else it is taken for one wait.
 */
#include <stddef.h>
#include <stdint.h>

struct go_goroutines;
struct go_history;

/* NULL: out of memory. */
struct go_history *go_history_new(void);
struct go_history *go_history_free(struct go_history *history);

struct go_history_moment {
	uint64_t time_nsec;                  /* of the snapshot, CLOCK_MONOTONIC */
	uint32_t n_gc;                       /* garbage collections that were completed by then */
};

/*
 * Adds a snapshot. *ret_waited_nsec, to be freed: for each of its goroutines how long it has been seen waiting, at least;
 * 0: it does not wait, or is seen so for the first time and the runtime has no note. 0 or -ENOMEM: the history is empty then.
 */
int go_history_add(struct go_history *history, const struct go_goroutines *goroutines, const struct go_history_moment *moment,
		uint64_t **ret_waited_nsec);
