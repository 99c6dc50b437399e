/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What one look at a Go process brought, and its form as bytes: a confined helper reads the process (go_reader.h in daemon/)
 * and sends a report, the core takes it apart again and believes nothing: each count, index and length is checked.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "go_buckets.h"
#include "go_goroutines.h"
#include "go_rates.h"
#include "go_reach.h"
#include "go_stats.h"
#include "go_tally.h"

enum go_report_part {
	GO_REPORT_GOROUTINES, GO_REPORT_MEMORY, GO_REPORT_BLOCK, GO_REPORT_MUTEX, GO_REPORT_STATS,
	GO_REPORT_TALLY,                     /* not one look but many, for as long as they are wanted */
	GO_REPORT_REACH,                     /* who reaches what goroutines wait for; with GO_REPORT_GOROUTINES alone */
	GO_REPORT_N_PARTS,
};

/*
 * Several searches (go_reach.h) one after the other for what was waited for before the first one, and whatever any of them found, once each.
 * The report's goroutines were read after the last one: who has not moved until then waited all the while.
 */
struct go_report_reach {
	struct go_reach all;                 /* ways are sorted by object, goroutine; n_bytes, n_nodes are those of all; n_rounds the most */
	uint32_t n_searches;
	uint64_t took_nsec;
};
enum { GO_REPORT_MAX_SEARCHES = 16, GO_REPORT_MAX_WAYS = 1 << 20, GO_REPORT_MAX_REACH_OBJECTS = 1 << 20 };

struct go_report {
	char version[48];                    /* "go1.26.8"; "" when it is not known */
	/*
	 * Why nothing, or a part of it, was read, in words: "runtime layout of go1.31 not understood: allgs"; "": all is well. Of a layout
	 * that is not understood there is nothing at all, no rates either.
	 */
	char refusal[160];
	uint32_t asked, has;                 /* bits of parts: what was to be read, and what is here */
	int32_t status[GO_REPORT_N_PARTS];   /* of what was asked for and is not here: GO_*_E_* of its room, or -errno */
	uint64_t taken_nsec;                 /* CLOCK_MONOTONIC, when reading began */
	uint64_t took_nsec;                  /* and how long it took */
	double cycles_per_second;            /* of the runtime's clock (runtime.cputicks), for block and mutex; 0: not known */
	struct go_rates rates;               /* in any report of a process whose runtime was understood */
	struct go_goroutines goroutines;
	struct go_buckets memory, block, mutex;
	struct go_stats stats;
	struct go_tally tally;
	struct go_report_reach reach;
};

void go_report_deinit(struct go_report *report);

/* Whether it could be written, `out` tells. */
void go_report_write(const struct go_report *report, FILE *out);

enum { GO_REPORT_E_MALFORMED = 1 };
/* Of most: 2 million goroutines of 4 frames. */
#define GO_REPORT_MAX_SIZE (UINT64_C(512) << 20)
/*
 * Zero-initialise `ret`. 0, GO_REPORT_E_MALFORMED, -ENOMEM: `ret` is all zero then. Memory: at most three times `size`.
 * What holds afterwards: frames of each goroutine, bucket and row of a tally are inside of the frames; status is one of enum go_status, wait_reason
 * below n_wait_reasons or 0; doubles are finite; texts are terminated and printable; what is not in `has` is all zero.
 */
int go_report_read(const void *bytes, size_t size, struct go_report *ret);
