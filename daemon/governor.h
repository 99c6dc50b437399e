/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Keeps what profiling costs within budget.cpu and budget.memory: says by how much the sampling rates are to be lowered,
 * and when memory is to be given back. Pure: it is told what was measured and answers; the manager measures (own_cost) and
 * acts.
 *
 * CPU time is judged like a debt. What goes beyond the budget is owed, what stays below pays back. The rates are halved
 * when more is owed than the budget gives in two cycles of the schedule: a little too much is borne for long, much too
 * much for seconds, and the end of a window (when names are looked for) not noticed at all. No single span can owe
 * more than half of that. Time in the kernel is another matter, because it is not ours: whoever is looked at is slower by it
 * that very moment, whatever the average is. When it is four times what the budget gives, for two seconds in a row, the step
 * is made at once, in the first cycle, too. They are doubled again after a calm time, in which the average was well below the budget;
 * where that turns out to be too early, the next calm time must be twice as long. Else the first cycle is not judged: to start
 * costs more than to run, and nothing can be done about it.
 */
#include <stdbool.h>
#include <stdint.h>

enum { GOVERNOR_LEVELS = 4 };                /* full rates, 1/2, 1/4, 1/8 */

struct governor_options {
	uint32_t n_cpus;
	uint32_t cpu_ppm;                    /* of the machine's CPU time; never taken for less than 1 % of one CPU */
	uint64_t memory_bytes;
	uint64_t cycle_nsec;                 /* of the schedule: a scheduled window and what lies between it and the next */
};

/* What was used since the last measure, and what is held now. */
struct governor_measure {
	uint64_t duration_nsec;
	uint64_t cpu_nsec;
	uint64_t memory_bytes;
	uint64_t bpf_nsec;                   /* part of cpu_nsec: in the kernel, at the expense of what is looked at */
};

/* What to do for memory, one at a time; the next only when the one before did not help. */
enum governor_relief {
	GOVERNOR_RELIEF_NONE,
	GOVERNOR_RELIEF_CACHES,              /* give up what can be found out again */
	GOVERNOR_RELIEF_TABLES,              /* halve what unwind tables may take */
	GOVERNOR_RELIEF_TELL,                /* nothing is left to give up: people must know */
};

struct governor_decision {
	int step;                            /* of the level: 1 rates are halved, -1 doubled, 0 as they were */
	uint64_t cost_ppm;                   /* why, as governor_cost_ppm(); 0 without a step */
	enum governor_relief relief;
};

/* Embedded by its owner; not to be touched. */
struct governor {
	struct governor_options options;
	uint32_t level;
	uint64_t cost_ppm;                   /* at the last step down */

	struct governor_measure span;        /* what is not judged yet: too short */
	uint64_t age_nsec;                   /* no further than the first cycle */
	uint64_t debt_nsec;
	uint64_t debt_duration_nsec, debt_cpu_nsec; /* since there is one */
	uint64_t calm_duration_nsec, calm_cpu_nsec;
	uint64_t calm_factor;
	uint32_t n_rushes;                   /* spans in a row with far too much time in the kernel */
	uint64_t since_up_nsec;              /* time since the last step up */
	bool was_up;

	uint32_t n_memory_over;              /* spans in a row */
	uint64_t since_relief_nsec;
	bool has_dropped, has_told;          /* since memory was well below its budget */
	uint32_t n_tables_reliefs;           /* ever */
};

void governor_init(struct governor *governor, const struct governor_options *options);
/* Other limits from now on; the level stays what it is. */
void governor_set_options(struct governor *governor, const struct governor_options *options);

/* Any time; measures shorter than a second are put together first. */
struct governor_decision governor_add(struct governor *governor, const struct governor_measure *measure);

/* 0: full rates. */
uint32_t governor_level(const struct governor *governor);
/* What is sampled at where `rate` is configured: at least 1, but 0 stays 0. */
uint32_t governor_rate(const struct governor *governor, uint32_t rate);

/* Shares of the machine's CPU time, in millionths: what we cost when the rates were lowered last, and may cost. */
uint64_t governor_cost_ppm(const struct governor *governor);
uint64_t governor_budget_ppm(const struct governor *governor);
