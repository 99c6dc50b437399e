/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * When a window ends and the next one begins. Scheduled windows start at multiples of the interval of the wall clock
 * (so that the hosts of a fleet look at the same seconds); between them lies the background window. The two alternate
 * without gap or overlap: every second is in exactly one window, unless the background rate is 0.
 *
 * Pure: asked at each boundary with the clocks as they are, it answers with the next one. What is waited for is always
 * a monotonic time, so a jump of the wall clock moves later windows and never loses or doubles the running one.
 */
#include <stdbool.h>
#include <stdint.h>

struct schedule {
	uint64_t interval_nsec;              /* from one scheduled window to the next; not 0 */
	uint64_t duration_nsec;              /* of a scheduled window; at most the interval, equal to it: no background */
	uint32_t rate;                       /* samples a second in scheduled windows */
	uint32_t background_rate;            /* in between; 0: no samples are taken there */
};

struct schedule_window {
	bool scheduled;                      /* else background */
	uint32_t rate;
	uint64_t end_nsec;                   /* CLOCK_MONOTONIC */
};

/* The window that begins now. */
struct schedule_window schedule_window(const struct schedule *schedule, uint64_t wall_nsec, uint64_t monotonic_nsec);
