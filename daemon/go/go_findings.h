/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What was read of Go processes for one window, as stacks like those of any sampler, and beside each sample what only Go knows.
 * capture.go has it: then go_findings.samples.at[i] tells more of stacks->samples.at[i]. Samples of stacks that other samplers took
 * come first and have nothing here: GO_SAMPLE_NONE.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "go_goroutines.h"
#include "go_stats.h"
#include "vec.h"

struct go_report;
struct process_id;
struct stacks;

enum go_sample_sort { GO_SAMPLE_NONE, GO_SAMPLE_GOROUTINE, GO_SAMPLE_MEMORY, GO_SAMPLE_BLOCK, GO_SAMPLE_MUTEX };

struct go_sample {
	enum go_sample_sort sort;
	union {
		/* stacks_sample.other: a stack of one frame, the go statement that made it. */
		struct {
			struct go_goroutine is;      /* first_frame, n_frames: of no meaning here */
			uint64_t waited_nsec;        /* as long as we have seen it so, or the runtime says; 0: it does not wait, or not known */
			uint32_t first_label, n_labels; /* of go_findings.labels */
		} goroutine;
		/* Scaled as Go scales. The four values of heap profiles: alloc objects, bytes, in-use objects, bytes. */
		struct {
			int64_t values[4];
		} memory;
		/* Since the read before: contentions and nanoseconds. */
		struct {
			int64_t contentions, delay_nsec;
		} block;
	};
};

struct go_label {
	char *key, *value;                   /* a stranger's bytes, terminated */
};

/* What is told of one process as a whole: in the comments of its files, and as metrics. */
struct go_process_facts {
	uint32_t process;                    /* index into stacks->processes */
	char version[48];
	char refusal[160];                   /* "": it was read */
	uint64_t taken_nsec, took_nsec;
	bool has_goroutines;
	uint64_t n_goroutines, n_system, n_retried, n_restless, n_unread, n_broken;
	uint64_t n_by_status[GO_N_STATUS];   /* without those of the system */
	bool has_memory;
	uint64_t memory_rate;                /* MemProfileRate; 0: the runtime samples no allocations */
	bool memory_is_off;                  /* nothing in the program asks for heap profiles: the linker switched them off */
	bool has_stats;
	struct go_stats stats;
};

struct go_findings {
	VEC(struct go_sample) samples;
	VEC(struct go_label) labels;
	VEC(struct go_process_facts) processes;
	/* The texts of one process: of wait reasons, kept for all by first process that has them. */
	char wait_reasons[GO_WAIT_REASONS_MAX][GO_WAIT_REASON_LENGTH];
	size_t n_wait_reasons;
};

struct go_findings *go_findings_new(void);
struct go_findings *go_findings_free(struct go_findings *findings);

/*
 * Adds what a report has of a process: its stacks and samples to `stacks`, and as many to `findings`. `parts`: those of enum
 * go_report_part that are wanted, as bits. `before`: the report whose records of block and mutex are taken off; NULL: none
 * is, and nothing of block and mutex is added then. `waited_nsec`: of each goroutine of the report, or NULL. 0 or -ENOMEM; after a
 * failure both are as they were, or may be freed.
 */
struct go_addition {
	const struct process_id *process;
	const struct go_report *report, *before;
	uint32_t parts;
	const uint64_t *waited_nsec;
};
int go_findings_add(struct go_findings *findings, struct stacks *stacks, const struct go_addition *addition);
