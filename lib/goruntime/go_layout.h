/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where the Go runtime keeps things in its structures, by version. Offsets in bytes, of amd64.
 *
 * Read from the DWARF of programs that Go 1.18.10, 1.19.13, 1.20.14, 1.21.13, 1.22.12, 1.23.12, 1.24.11, 1.25.5, 1.26.8 and 1.27.1
 * built; declared in runtime/runtime2.go (g, m, sudog, schedt), runtime/chan.go (hchan), runtime/mstats.go, runtime/mgcpacer.go
 * (gcControllerState) and runtime/mprof.go (bucket, memRecord, blockRecord: the same in all of these) of each version.
 */
#include <stdbool.h>
#include <stdint.h>

enum { GO_LAYOUT_NONE = UINT16_MAX };        /* the version has no such member */

struct go_layout {
	struct {
		uint16_t m, sched_sp, sched_pc, syscall_sp, syscall_pc, status, id, wait_since, wait_reason, locked_m, parent_id,
			go_pc, start_pc, waiting, labels, size, /* stack.lo is 0, stack.hi 8 */
			sequence;            /* trackingSeq, a byte: counts how often it stopped running */
	} g;
	struct {
		uint16_t thread, current_g, size; /* procid, curg; g0 is 0; size: of what is read of it */
	} m;
	struct {
		uint16_t elem, is_select, wait_link, channel; /* g is 0, next 8, prev 16 */
		bool has_semaphores;         /* g.waiting has what a goroutine waits for in sync, too */
	} sudog;
	struct {
		uint16_t receivers, senders; /* the head of either queue; qcount is 0, dataqsiz 8, closed 28 */
	} channel;
	struct {
		uint16_t n_gc, pause_total, pauses, pause_ends, cpu_fraction, last_gc; /* memstats: pause_ns[256], pause_end[256] */
		uint16_t stacks, stacks_stride; /* heapStats.stats[3].inStacks */
	} stats;
	uint16_t stats_enabled;              /* memstats.enablegc: behind all that moves from version to version */
	struct {
		uint16_t goal;               /* 1.18: heapGoal; since: gcPercentHeapGoal, sweepDistMinTrigger and triggered follow it */
		uint8_t limit_headroom_percent; /* memoryLimitHeapGoalHeadroomPercent; 0: none, the least is all there is */
		uint16_t percent, memory_limit, marked, live, heap_in_use, heap_released, heap_free, mapped_ready, total_alloc, total_free;
	} gc;
	uint16_t ticks_value;                /* runtime.ticks.val */
	bool labels_are_map;                 /* what g.labels points at: a map[string]string, else a slice of pairs */
	struct {
		uint16_t next;               /* the rest is the same: pcHeader 0, pclntable 104, text 176, data to enoptrbss 192 to 248 */
	} module;
};

struct go_version {
	uint16_t major, minor;
};

/* Of "go1.26.8", "go1.27rc1", "go1.26.8 X:boringcrypto", "devel go1.28-1234abcd Mon ...". */
bool go_version_parse(const char *text, struct go_version *ret);

/*
 * The row of a version, or NULL: before 1.18. A version later than all that we know has the newest row, *ret_is_guess
 * then: what it leads to must prove itself.
 */
const struct go_layout *go_layout_of(struct go_version version, bool *ret_is_guess);
