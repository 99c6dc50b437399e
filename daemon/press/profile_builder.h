/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Raw addresses become profiles: a capture goes in, one profile for each service and kind comes out, every address with
 * its name. Used by the press alone.
 *
 * Locations have the addresses that the file itself speaks of (p_vaddr), which is what
 * addr2line and `go tool pprof -disasm` take; mappings are the executable segments of the files.
 */
#include <stddef.h>
#include <stdint.h>

#include "capture.h"
#include "deadlock_text.h"
#include "locks.h"
#include "sample.h"
#include "vec.h"

struct names_cache;
struct profile;

struct service_profile {
	char *service;
	enum profile_kind kind;
	struct profile *profile;
	uint64_t n_samples;                  /* events, not distinct stacks */
	uint64_t nsec;                       /* what they stand for */
	uint64_t n_idle, idle_nsec;          /* those of them that waited for work (idle.h) */
	uint64_t n_frames;                   /* of its samples; pseudo frames (docs/formats/pprof.md) do not count */
	uint64_t n_unnamed, n_unmapped;      /* those without a name; those where nothing known is mapped */
	uint64_t verdicts[SAMPLE_N_VERDICTS]; /* samples by how the walk of their user stack ended */

	/* Of PROFILE_MUTEX. */
	VEC(struct lock) locks;              /* the LOCKS_MAX_SHOWN that were waited for longest */
	uint64_t n_locks, locks_nsec;        /* all that were waited for */
	bool has_estimates;                  /* among these */
	VEC(const struct deadlock_text *) deadlocks; /* of service_profiles.deadlocks */
};

struct service_profiles {
	/* Most samples first; "other" last. Of each service one of each kind that the capture is for, in the order of kinds. */
	VEC(struct service_profile) profiles;
	VEC(struct deadlock_text) deadlocks; /* of the capture */
};

void service_profiles_deinit(struct service_profiles *profiles);

/* Instead of a number of services: all in one profile, under the name of the service with the most samples. */
#define PROFILE_BUILDER_TOGETHER UINT32_MAX

/*
 * At most max_services services have a profile of their own, those with the most samples; in-depth ones always do. The
 * rest is together in the service "other". PROFILE_BUILDER_TOGETHER gives one profile of each kind even when nothing was sampled.
 * 0 or -errno.
 */
int profile_builder_run(const struct capture *capture, struct names_cache *cache, uint32_t max_services,
		struct service_profiles *ret);
