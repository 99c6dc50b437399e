/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The kinds of profiles and what each one counts. Frozen: `-base` and merging need equal period and sample types, so that
 * types, units and their order never change once a version with them was released. Names are those that
 * `go tool pprof` has options for (-alloc_space, -contentions, ...).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum profile_kind {
	PROFILE_CPU,
	PROFILE_BLOCK,
	PROFILE_MUTEX,
	PROFILE_WALL,
	PROFILE_HEAP,
	PROFILE_ALLOCS,
	PROFILE_GROWTH,
	PROFILE_GOROUTINE,
	PROFILE_THREAD,
	PROFILE_N_KINDS,
};

struct profile_kind_type {
	const char *type, *unit;
};

#define PROFILE_KIND_MAX_TYPES 4

struct profile_kind_info {
	const char *name;                    /* as in file names */
	size_t n_sample_types;
	struct profile_kind_type sample_types[PROFILE_KIND_MAX_TYPES];
	const char *default_sample_type;     /* NULL: the last one */
	struct profile_kind_type period_type;
	int64_t fixed_period;                /* 0: the sampler's own */
};

/* Never NULL for a kind of the enumeration. Static data. */
const struct profile_kind_info *profile_kind_info(enum profile_kind kind);
/* 0, or -ENOENT. */
int profile_kind_by_name(const char *name, enum profile_kind *ret);
