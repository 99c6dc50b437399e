/* SPDX-License-Identifier: Apache-2.0 */
#include "go_schedule.h"

#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "schedule.h"

static uint32_t interval_kinds(const struct config *config, bool is_memory)
{
	if (!config->enabled)
		return 0;
	if (is_memory)
		return config->memory.enabled && config->memory.mode != CONFIG_MEMORY_OFF ? capture_kind_bit(PROFILE_HEAP) : 0;
	return config->goroutine.enabled ? capture_kind_bit(PROFILE_GOROUTINE) : 0;
}

/* The next boundary of each. */
static uint64_t find_due(const struct config *config, bool is_memory, uint64_t wall_nsec, uint64_t monotonic_nsec)
{
	const uint64_t interval_nsec = NSEC_PER_USEC *
			(is_memory ? config->memory.snapshot_interval_usec : config->goroutine.snapshot_interval_usec);
	const struct schedule schedule = { .interval_nsec = interval_nsec, .duration_nsec = interval_nsec, .rate = 1 };

	return interval_kinds(config, is_memory) ? schedule_window(&schedule, wall_nsec, monotonic_nsec).end_nsec : UINT64_MAX;
}

void go_schedule_init(struct go_schedule *schedule)
{
	*schedule = (struct go_schedule){ { UINT64_MAX, UINT64_MAX }, UINT64_MAX };
}

void go_schedule_set_config(struct go_schedule *schedule, const struct config *config, uint64_t wall_nsec, uint64_t monotonic_nsec)
{
	for (int i = 0; i < GO_SCHEDULE_N_INTERVALS; i++)
		schedule->due_nsec[i] = find_due(config, i, wall_nsec, monotonic_nsec);
}

uint32_t go_schedule_take(struct go_schedule *schedule, const struct config *config, uint64_t wall_nsec, uint64_t monotonic_nsec)
{
	uint32_t kinds = 0;

	for (int i = 0; i < GO_SCHEDULE_N_INTERVALS; i++) {
		if (schedule->due_nsec[i] > monotonic_nsec + GO_SCHEDULE_ACCURACY_NSEC)
			continue;
		kinds |= interval_kinds(config, i);
		schedule->due_nsec[i] = find_due(config, i, wall_nsec, monotonic_nsec);
	}
	return kinds;
}

bool go_schedule_wants_rates(const struct go_schedule *schedule, uint64_t monotonic_nsec)
{
	return schedule->rates_nsec <= monotonic_nsec + GO_SCHEDULE_ACCURACY_NSEC;
}

uint64_t go_schedule_next(const struct go_schedule *schedule)
{
	uint64_t next_nsec = schedule->rates_nsec;

	for (int i = 0; i < GO_SCHEDULE_N_INTERVALS; i++)
		next_nsec = MIN(next_nsec, schedule->due_nsec[i]);
	return next_nsec;
}
