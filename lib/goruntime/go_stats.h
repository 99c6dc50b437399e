/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a Go process's garbage collector and allocator say of themselves (memstats and gcController; runtime/mstats.go,
 * runtime/mgcpacer.go of the versions in go_layout.h). Each number is the runtime's own of this moment; they are not of one
 * and the same moment, as those of runtime/metrics are not either.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct go_process;

enum { GO_STATS_PAUSES = 256 };              /* the runtime keeps as many */

struct go_stats {
	uint32_t n_gc;                       /* cycles that were completed */
	uint64_t pause_total_nsec;
	uint64_t pauses_nsec[GO_STATS_PAUSES]; /* of the last n_pauses cycles, the newest first */
	size_t n_pauses;
	double gc_cpu_fraction;              /* of all CPU time since the process began */
	uint64_t last_gc_wall_nsec;          /* 0: none yet */
	int64_t gc_percent;                  /* GOGC; negative: off */
	uint64_t memory_limit;               /* GOMEMLIMIT; UINT64_MAX: none, or before 1.19 */
	uint64_t heap_live, heap_marked;     /* bytes: now, and what the last collection found */
	uint64_t heap_goal;                  /* the heap at which the next collection is to end (NextGC); UINT64_MAX: none, it is off */
	uint64_t stacks_in_use;              /* bytes of spans that are stacks of goroutines (StackInuse) */
	bool has_heap_bytes;                 /* since 1.19: */
	uint64_t heap_in_use, heap_free, heap_released, mapped, total_alloc, total_free;
	uint32_t gomaxprocs;
};

enum { GO_STATS_E_UNKNOWN = 1 };             /* not found, or numbers that cannot be */

/* 0, GO_STATS_E_UNKNOWN, -errno. */
int go_stats_read(struct go_process *process, struct go_stats *ret);
