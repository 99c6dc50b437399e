/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule.h"

#include "cleanup.h"
#include "clock.h"

/*
 * A timer may fire a little before the boundary that it was set for (the clocks differ in rate), and a daemon may start
 * just before one: a rest this short belongs to the window behind the boundary.
 */
static uint64_t shortest_rest(const struct schedule *schedule)
{
	return MIN(NSEC_PER_SEC, schedule->duration_nsec / 10);
}

struct schedule_window schedule_window(const struct schedule *schedule, uint64_t wall_nsec, uint64_t monotonic_nsec)
{
	uint64_t interval = schedule->interval_nsec;
	uint64_t duration = MIN(schedule->duration_nsec, interval);
	uint64_t phase = wall_nsec % interval;
	bool scheduled = phase < duration;
	uint64_t rest = (scheduled ? duration : interval) - phase;

	if (rest < shortest_rest(schedule)) {
		if (scheduled && duration < interval) {
			scheduled = false;
			rest += interval - duration;
		} else {
			scheduled = true;
			rest += duration;
		}
	}
	return (struct schedule_window){
		.scheduled = scheduled,
		.rate = scheduled ? schedule->rate : schedule->background_rate,
		.end_nsec = monotonic_nsec + rest,
	};
}
