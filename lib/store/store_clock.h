/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Whether the wall clock has been steady: it is held against the boot clock, which nobody can set. A clock that ran for
 * a day without being set forward by more than a day is believed, whatever the files on disk say.
 */
#include <stdbool.h>
#include <stdint.h>

#define STORE_DAY_NSEC (UINT64_C(86400) * 1000000000)

struct store_clock {
	int64_t offset_nsec;                 /* wall minus boot clock, when last looked at */
	uint64_t steady_since_nsec;          /* boot clock */
	bool is_set;
};

/* A zeroed clock is new. Returns whether the wall clock has been steady for a day, as far as was looked. */
bool store_clock_is_steady(struct store_clock *clock, uint64_t wall_nsec, uint64_t boot_nsec);
