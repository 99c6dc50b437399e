/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Who can reach what goroutines wait for: which goroutines' stacks lead to it, through whatever objects of the heap, and whether
 * anything else does. It goes backwards, round by round: all memory that may have pointers is searched for those to the
 * objects that are asked for, then for those to the objects in which these were found, until nothing new is found.
 *
 * Conservative: each word that could be a pointer is one, inner and stale ones, too. But the process goes on: what seems out of
 * reach is so, or its only pointer, or one on each way to it, was in a register, moved from what was still to be read to what had been,
 * or was on the stack of a goroutine that is not among `goroutines`. Nothing follows from one search of a busy process; of
 * several together (goroutine_deadlocks.h) it does, the more the surer.
 *
 * What bounds a search is what its owner lets it read (`memory.left_bytes` of the process, and whatever its read function refuses: the helper
 * gives it bytes and time, that is CPU time, too, at idle priority); rounds are bounded only so that a list which is as long as the
 * heap is not followed for all of that. Ways of servers that were seen took up to 45.
 *
 * Pages that the process never touched (neither present nor swapped, by /proc/PID/pagemap: Documentation/admin-guide/mm/pagemap.rst) are not
 * read: of private memory they hold zeros, or what a file has, which no pointer to an object of the heap is in. Reading would
 * have the kernel make page tables for them. What is touched right after it was looked up is met by the next search.
 *
 * Not followed are the runtime's own ways to those who wait: sudogs, and from a g to what it waits for. What runs on the
 * runtime's own stacks is nothing of the program's. Objects without pointers have none (GC bitmaps: span class).
 *
 * runtime/mheap.go (mheap.allspans, mspan), runtime/runtime2.go (sudog: g is first), runtime/mgc.go (findGoroutineLeaks) of Go 1.18.10 to
 * 1.27.1; mspan.startAddr 24, npages 32, spanclass 98, state 99, elemsize 104 by the DWARF of all of these but 1.21, where the
 * last three are 8 further on.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct go_goroutines;
struct go_memory;
struct go_process;

/* [start, end) of private memory that may be written to, of /proc/PID/maps: sorted, all of them. */
struct go_reach_region {
	uint64_t start, end;
};

struct go_reach_options {
	const struct go_goroutines *goroutines;
	const uint64_t *objects;             /* addresses that are waited for: of hchans, semaphores, condition variables */
	size_t n_objects;
	const struct go_reach_region *regions;
	size_t n_regions;
	struct go_memory *pagemap;           /* /proc/PID/pagemap, by offsets in that file; NULL: all is read, as it is where it cannot be */
	unsigned int max_rounds;             /* 0: 64; each reads all memory that may have pointers once more */
	const char **why;                    /* may be NULL; static: of GO_REACH_E_UNKNOWN */
};

struct go_reach_way {
	uint64_t object;
	uint64_t goroutine;                  /* its id; 0: anything else, or it was not found out */
	bool is_direct;                      /* the goroutine's stack has the very address, not only one that leads to it */
};

struct go_reach {
	VEC(struct go_reach_way) ways;
	VEC(uint64_t) objects;               /* those that were asked for, sorted, once each */
	uint64_t n_bytes;                    /* read, in all rounds */
	uint32_t n_rounds;
	bool is_cut;                         /* rounds, or nodes, were not enough: what was not found out is among the ways as such */
	uint64_t n_nodes;                    /* objects of the heap on the ways */
};

enum { GO_REACH_E_UNKNOWN = 1 };             /* what is there is no heap as we know it */
enum { GO_REACH_MAX_NODES = 1 << 19, GO_REACH_MAX_SPANS = 1 << 21 };

/* Zero-initialise `ret`. 0, GO_REACH_E_UNKNOWN, -errno; -E2BIG: more would have to be read than the process's memory allows. */
int go_reach_find(struct go_process *process, const struct go_reach_options *options, struct go_reach *ret);
void go_reach_deinit(struct go_reach *reach);
