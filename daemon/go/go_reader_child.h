/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The life of the helper that reads one Go process, and what it and its owner (go_reader.h) say to each other. */
#include <stdbool.h>
#include <stdint.h>

#include "go_reach.h"

/* Its descriptors: adjacent, sandbox.h wants that. */
enum { GO_READER_SOCKET_FD = 3, GO_READER_PROGRAM_FD = 4, GO_READER_MEMORY_FD = 5, GO_READER_PAGEMAP_FD = 6 };

/* The owner sends one, as bytes: both are the same program. */
struct go_reader_task {
	/* One executable mapping of the program's file, from which follows where all of it is. */
	uint64_t start, end, file_offset;
	uint32_t parts, max_goroutines;
	bool is_urgent;                      /* not at idle priority: that was tried, or moments are wanted that nobody else chose */
	/* Of GO_REPORT_TALLY, which is asked for alone: mean time between two snapshots, and the most of a CPU that they may use. */
	uint64_t tally_period_nsec;
	uint32_t tally_ppm;
	/* Of GO_REPORT_REACH; as many struct go_reach_region as n_regions says follow, as bytes. */
	uint32_t n_regions;
	uint64_t max_reach_bytes, max_reach_nsec;
	bool has_pagemap;                    /* /proc/PID/pagemap, read-only; without it all is read */
};

/*
 * One that takes snapshots does so until the owner ends its side of the socket, or the process is no more.
 *
 * The answer is an int32_t, 0 or -errno, and after 0 a report (go_report.h), up to end of file. What is more than that
 * many bytes no sound helper sends: a goroutine has 114, so that is room for stacks of six frames and labels of which none
 * is like another.
 */
#define GO_READER_MAX_ANSWER(max_goroutines) ((UINT64_C(4) << 20) + UINT64_C(200) * (max_goroutines))
/* What fits into the socket before anybody reads. */
enum { GO_READER_MAX_REGIONS = 6144 };
/* GO_REPORT_REACH besides: 2 million spans, or 8 million pointers; and the most ways and objects that it may answer with. */
#define GO_READER_REACH_MEMORY (UINT64_C(384) << 20)
#define GO_READER_REACH_ANSWER (UINT64_C(26) << 20)
#define GO_READER_MAX_MEMORY(max_goroutines) ((UINT64_C(48) << 20) + UINT64_C(400) * (max_goroutines))

int go_reader_child_run(void);
