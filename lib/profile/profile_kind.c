/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_kind.h"

#include <errno.h>
#include <string.h>

#define SPACE_TYPES                                                                                                    \
	{                                                                                                              \
		{ "alloc_objects", "count" }, { "alloc_space", "bytes" }, { "inuse_objects", "count" },                \
				{ "inuse_space", "bytes" },                                                            \
	}

static const struct profile_kind_info kinds[PROFILE_N_KINDS] = {
	[PROFILE_CPU] = { "cpu", 2, { { "samples", "count" }, { "cpu", "nanoseconds" } }, NULL, { "cpu", "nanoseconds" }, 0 },
	[PROFILE_BLOCK] = { "block", 2, { { "contentions", "count" }, { "delay", "nanoseconds" } }, NULL,
			{ "contentions", "count" }, 1 },
	[PROFILE_MUTEX] = { "mutex", 2, { { "contentions", "count" }, { "delay", "nanoseconds" } }, NULL,
			{ "contentions", "count" }, 1 },
	[PROFILE_WALL] = { "wall", 2, { { "samples", "count" }, { "time", "nanoseconds" } }, NULL,
			{ "wallclock", "nanoseconds" }, 0 },
	[PROFILE_HEAP] = { "heap", 4, SPACE_TYPES, "inuse_space", { "space", "bytes" }, 0 },
	[PROFILE_ALLOCS] = { "allocs", 4, SPACE_TYPES, "alloc_space", { "space", "bytes" }, 0 },
	[PROFILE_GROWTH] = { "growth", 2, { { "growth_events", "count" }, { "growth_space", "bytes" } }, NULL,
			{ "space", "bytes" }, 1 },
	[PROFILE_GOROUTINE] = { "goroutine", 1, { { "goroutine", "count" } }, NULL, { "goroutine", "count" }, 1 },
	[PROFILE_THREAD] = { "thread", 1, { { "thread", "count" } }, NULL, { "thread", "count" }, 1 },
};

const struct profile_kind_info *profile_kind_info(enum profile_kind kind)
{
	return &kinds[kind];
}

int profile_kind_by_name(const char *name, enum profile_kind *ret)
{
	for (int kind = 0; kind < PROFILE_N_KINDS; kind++)
		if (!strcmp(kinds[kind].name, name)) {
			*ret = kind;
			return 0;
		}
	return -ENOENT;
}
