/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Raw addresses become profiles: a capture goes in, one profile for each service and kind comes out, every address with
 * its name. Used by the press alone.
 *
 * Here it is decided whose each sample is, and which services have a profile of their own. The rest is told by others:
 * where frames are by places.h, what waits were about and who ended them by wait_labels.h and rivals.h, what a row of a
 * profile has by service_profile.h, circles of threads by deadlock_text.h, goroutines that leak by goroutine_leak_text.h,
 * those that nobody will wake by goroutine_deadlock_text.h.
 */
#include <stdint.h>

#include "capture.h"
#include "deadlock_text.h"
#include "goroutine_deadlock_text.h"
#include "goroutine_leak_text.h"
#include "service_profile.h"
#include "vec.h"

struct names_cache;

struct service_profiles {
	/* Most samples first; "other" last. Of each service one of each kind that the capture is for, in the order of kinds. */
	VEC(struct service_profile) profiles;
	VEC(struct deadlock_text) deadlocks; /* of the capture */
	goroutine_leak_text_list leaks;      /* of the capture */
	goroutine_deadlock_text_list goroutine_deadlocks; /* of the capture */
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
