/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What was read of Go processes for one window, as stacks like those of any sampler, and beside each sample what only Go knows.
 * capture.go has it: then go_findings.samples.at[i] tells more of stacks->samples.at[i]. Samples of stacks that other samplers took
 * come first and have nothing here: GO_SAMPLE_NONE.
 *
 * Scaling and units are those of runtime/pprof (protomem.go, pprof.go printCountCycleProfile() of Go 1.26.8), so that values are
 * equal to net/http/pprof's to the last digit.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "go_goroutines.h"
#include "go_stats.h"
#include "goroutine_deadlocks.h"
#include "goroutine_leaks.h"
#include "sample.h"
#include "vec.h"

struct go_report;
struct process_id;
struct stacks;

enum go_sample_sort { GO_SAMPLE_NONE, GO_SAMPLE_GOROUTINE, GO_SAMPLE_MEMORY, GO_SAMPLE_BLOCK, GO_SAMPLE_MUTEX, GO_SAMPLE_TALLY, GO_SAMPLE_N_SORTS };

struct go_sample {
	enum go_sample_sort sort;
	union {
		/* stacks_sample.other: a stack of one frame, the go statement that made it. */
		struct {
			struct go_goroutine is;      /* indices in it are of no meaning here; but wait_reason: of go_findings */
			uint64_t waited_nsec;        /* as long as we have seen it so, or the runtime says; 0: it does not wait, or not known */
			uint32_t first_label, n_labels; /* of go_findings.labels.all */
		} goroutine;
		/* Scaled as Go scales. The four values of heap profiles: alloc objects, bytes, in-use objects, bytes. */
		struct {
			int64_t values[4];
			uint64_t object_size; /* of each: the runtime keeps stacks apart by it */
		} memory;
		/* Since the read before: contentions and nanoseconds. */
		struct {
			int64_t contentions, delay_nsec;
		} block;
		/* Of many snapshots: goroutines with this stack in this state; stacks_sample has how often one was seen so, and how long. */
		struct {
			uint32_t status;     /* enum go_status */
			uint32_t wait_reason; /* of go_findings */
			uint32_t n_least, n_most; /* at a time */
			bool is_block;       /* it waits, and the runtime records no waits */
		} tally;
	};
};

/* Goroutines that are made and never end, as a series of looks at their process has brought to light. */
struct go_leak {
	uint32_t process;                    /* index into stacks->processes */
	/* Stacks of one frame: its index plus one, 0: not known. The go statement that makes them; the first instruction of what they run. */
	uint32_t creator, function;
	uint64_t taken_nsec;                 /* CLOCK_MONOTONIC: when it was so */
	struct goroutine_leak is;            /* wait_reason is of no meaning here; `wait` says it in words */
};

enum { GO_LEAKS_MAX = 64 };                  /* of a process, those that are surest; all are counted */

/* Goroutines that nobody will wake any more, as a series of looks at their process has brought to light (go_stuck.h). */
struct go_deadlock_member {
	uint64_t id;
	uint64_t object;                     /* address of what it waits for; 0: nothing, or several */
	uint64_t waited_nsec;                /* as of go_sample */
	uint32_t wait_reason;                /* of go_findings */
	uint32_t stack, creator;             /* index plus one; 0: not known. The creator is a stack of one frame, the go statement */
};

struct go_deadlock {
	uint32_t process;                    /* index into stacks->processes */
	enum goroutine_deadlock_sort sort;
	uint32_t confidence;                 /* percent */
	bool is_unreachable;                 /* of a circle: that, too */
	uint64_t still_nsec;                 /* all have been seen not to move for so long */
	uint64_t n_members, n_behind;        /* others wait for those of a circle */
	uint64_t least_id;                   /* of all members */
	size_t first_member, n_told;         /* of go_findings.deadlock_members, the first of them in their order */
};

/* Of a process; members of each. All are counted. */
enum { GO_DEADLOCKS_MAX = 64, GO_DEADLOCK_MEMBERS_MAX = 32 };

/* What is told of one process as a whole: in the comments of its files, and as metrics. */
struct go_process_facts {
	uint32_t process;                    /* index into stacks->processes */
	char version[48];
	char refusal[160];                   /* "": it was read */
	bool is_unread;                      /* nothing of it was read: the refusal says why */
	bool is_gone;                        /* likewise, since it has ended */
	uint64_t taken_nsec, took_nsec;
	bool has_goroutines;
	uint64_t n_goroutines, n_system, n_retried, n_restless, n_unread, n_broken, n_unknown_labels;
	uint64_t n_met;                      /* that ran and have a stack all the same: go_running.h */
	uint64_t n_by_status[GO_N_STATUS];   /* without those of the system */
	bool has_leaks;                      /* they were looked for, with goroutines */
	uint64_t n_leaks;
	struct goroutine_leaks_stats leak_stats;
	bool has_deadlocks;                  /* they were looked for, with goroutines */
	uint64_t n_deadlocks, n_deadlocked; /* those found, and goroutines in them */
	uint64_t n_searches, searches_nsec;  /* for who could wake them, in all looks until now */
	bool has_memory;
	uint64_t memory_rate;                /* MemProfileRate; 0: the runtime samples no allocations */
	bool memory_is_off;                  /* that is 0 */
	bool memory_is_off_by_linker;        /* and was from the start: nothing in the program asks for heap profiles */
	uint64_t memory_since_wall_nsec;     /* it was 0 until we wrote it then; 0: it is the program's own */
	bool has_block, has_mutex;
	uint64_t block_rate, mutex_rate;     /* SetBlockProfileRate in cycles, SetMutexProfileFraction; 0: the runtime records none */
	bool records_block, records_mutex;   /* all of the window is told by the runtime's records */
	bool has_tally;
	struct {
		uint64_t n_snapshots, nsec, n_failed, cpu_nsec, lost_count, lost_nsec; /* as in struct go_tally */
	} tally;
	bool has_stats;
	struct go_stats stats;
};

/* What is counted of one sort: goroutines, stacks of allocations, contentions, goroutines as often as they were met. */
struct go_count {
	uint64_t seen, lost;                 /* seen = sum of samples[].count + lost, exactly */
	uint64_t verdicts[SAMPLE_N_VERDICTS];
};

struct go_findings {
	VEC(struct go_sample) samples;
	struct go_count counts[GO_SAMPLE_N_SORTS]; /* of all processes; all of them are among the numbers of `stacks`, too */
	struct go_labels labels;             /* of all processes; a stranger's bytes */
	VEC(struct go_process_facts) processes; /* each once */
	VEC(struct go_leak) leaks;           /* of one process after the other, the surest first */
	VEC(struct go_deadlock) deadlocks;   /* of one process after the other */
	VEC(struct go_deadlock_member) deadlock_members;
	/* Of all processes, each text once: versions of Go number them differently. "" is the first. */
	char wait_reasons[GO_WAIT_REASONS_MAX][GO_WAIT_REASON_LENGTH];
	size_t n_wait_reasons;
};

struct go_findings *go_findings_new(void);
struct go_findings *go_findings_free(struct go_findings *findings);
/* Of stacks->samples.at[i]; NULL when Go has nothing to say of it. `findings` may be NULL. */
const struct go_sample *go_findings_sample(const struct go_findings *findings, size_t i);

/* Of one sort, of all processes; `findings` may be NULL. */
const struct go_count *go_findings_count(const struct go_findings *findings, enum go_sample_sort sort);

/* Of a process, by its index into stacks->processes; NULL: nothing was added of it. `findings` may be NULL. Valid until the next addition. */
const struct go_process_facts *go_findings_process(const struct go_findings *findings, uint32_t process);

/*
 * Adds what a report has of a process: its stacks and samples to `stacks`, and as many to `findings`. `parts`: those of enum
 * go_report_part that are wanted, as bits. `before`: the report whose records of block and mutex are taken off; NULL: none
 * is, and nothing of block and mutex is added then. `waited_nsec`: of each goroutine of the report, or NULL. 0 or -ENOMEM; after a
 * failure both may only be freed.
 *
 * Several reports of one process may tell of different parts. A process that `stacks` has not yet is added to stacks->processes. What is counted is added to counts and to
 * stacks->seen and, if it cannot be told, to lost and lost_frames: goroutines, stacks of allocations, contentions.
 */
struct go_addition {
	const struct process_id *process;
	const struct go_report *report, *before;
	uint32_t parts;
	const uint64_t *waited_nsec;
	const struct goroutine_leaks *leaks; /* that the report's goroutines were added to; NULL: none are told */
	const struct go_stuck *stuck;        /* likewise */
	uint64_t memory_since_wall_nsec;     /* as of struct go_process_facts */
};
int go_findings_add(struct go_findings *findings, struct stacks *stacks, const struct go_addition *addition);
