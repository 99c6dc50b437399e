/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is remembered of one Go process from one look at it to the next: since when its goroutines wait, which of them grow in number or
 * do not move any more, what the runtime's cumulative records of waits were at the beginning of a window, what it said of itself last.
 */
#include <stdbool.h>
#include <stdint.h>

#include "go_findings.h"
#include "goroutine_leaks.h"

struct go_report;
struct image;

/* Zeros: nothing is known yet. Only `facts` and what follows are for others to read. */
struct go_past {
	struct go_history *history;
	struct goroutine_leaks *leaks;
	struct go_stuck *stuck;
	struct go_report *waits;             /* what was recorded of waits at the beginning of the window; NULL: not known */
	bool is_searched;                    /* at this moment, for who could wake its goroutines */
	bool has_refused, is_off_told;       /* and that was told; that its heap profiler is off */
	bool has_facts;
	char *service;                       /* NULL without facts */
	struct go_process_facts facts;       /* as it was seen last; of goroutines when they were read last */
	bool has_rates, records_block;       /* the runtime records waits, when it was asked last */
};

/* How it learns; of a process that is looked at for the first time. */
struct go_past_options {
	struct goroutine_leaks_options leaks;
	uint64_t stuck_nsec;                 /* 0: GO_STUCK_NSEC */
};

/* Zeros afterwards. */
void go_past_deinit(struct go_past *past);

/*
 * One look more: addition->report of addition->process. Puts into the addition what there is to say beside the report: `before`,
 * `leaks`, `stuck` (borrowed until the next call for this past, `before` until go_past_keep_waits()) and waited_nsec, which is
 * *ret_waited_nsec, to be freed, or NULL. 0 or -ENOMEM: it can say nothing of how long goroutines wait then. What else there is no
 * room for is left out, and told.
 */
int go_past_learn(struct go_past *past, const struct go_past_options *options, struct go_addition *addition, uint64_t **ret_waited_nsec);
/* What was recorded until now is what the next window begins with: takes it out of the report. Without both, or room for them, nothing. */
void go_past_keep_waits(struct go_past *past, struct go_report *report);
/* `facts`: of this look, whose goroutines may not have been read. */
void go_past_keep_facts(struct go_past *past, const struct image *image, const struct go_process_facts *facts);

/* Whether a look at goroutines that begins now is to have GO_REPORT_REACH; true: until go_past_end_search() no other one is. */
bool go_past_begin_search(struct go_past *past, uint64_t now_nsec);
void go_past_end_search(struct go_past *past);

/* These tell the journal, once each: that something cannot be read; that the heap profiler is off. */
void go_past_tell_refusal(struct go_past *past, const struct image *image, const struct go_report *report);
void go_past_tell_memory_is_off(struct go_past *past, const struct image *image);
