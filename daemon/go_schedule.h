/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * When Go processes are looked at: at the boundaries of the intervals that the configuration has for snapshots, and whenever the rates
 * of one's profilers are to be. Pure: it is told the clocks as they are, and waits for nothing.
 */
#include <stdbool.h>
#include <stdint.h>

struct config;

enum { GO_SCHEDULE_N_INTERVALS = 2 };        /* of goroutines, of memory */

/* CLOCK_MONOTONIC; UINT64_MAX: never. */
struct go_schedule {
	uint64_t due_nsec[GO_SCHEDULE_N_INTERVALS];
	uint64_t rates_nsec;
};

/* A timer may fire so much later than it was set for; what is due until then is taken with it. */
#define GO_SCHEDULE_ACCURACY_NSEC UINT64_C(1000000)

/* Nothing is ever due. */
void go_schedule_init(struct go_schedule *schedule);
/* Snapshots are taken as this says from now on: at the next boundary of each interval. */
void go_schedule_set_config(struct go_schedule *schedule, const struct config *config, uint64_t wall_nsec, uint64_t monotonic_nsec);
/* The kinds that a snapshot is to be taken of now (bits, capture_kind_bit()): heap, goroutine. Due again at their next boundary. */
uint32_t go_schedule_take(struct go_schedule *schedule, const struct config *config, uint64_t wall_nsec, uint64_t monotonic_nsec);
/* Whether rates are due. They stay so until rates_nsec is set. */
bool go_schedule_wants_rates(const struct go_schedule *schedule, uint64_t monotonic_nsec);
/* The first of all. */
uint64_t go_schedule_next(const struct go_schedule *schedule);
