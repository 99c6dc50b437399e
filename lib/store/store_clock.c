/* SPDX-License-Identifier: Apache-2.0 */
#include "store_clock.h"

bool store_clock_is_steady(struct store_clock *clock, uint64_t wall_nsec, uint64_t boot_nsec)
{
	int64_t offset_nsec = (int64_t)(wall_nsec - boot_nsec);

	if (!clock->is_set || offset_nsec > clock->offset_nsec + (int64_t)STORE_DAY_NSEC)
		clock->steady_since_nsec = boot_nsec;
	clock->is_set = true;
	clock->offset_nsec = offset_nsec;
	return boot_nsec - clock->steady_since_nsec >= STORE_DAY_NSEC;
}
