/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Many profiles of one kind as one: values of equal samples are added, nothing else changes. The order of the inputs
 * decides the order of the output, not its content.
 *
 * Header, as `go tool pprof` has it when it is given several files: the earliest start, the sum of the durations, the longest period,
 * each different comment once; of what can't be added (default sample type, drop and keep frames, documentation) the first.
 */
#include <stddef.h>

struct diag;
struct profile;

enum {
	PROFILE_MERGE_E_TYPES = 1,           /* other period or sample types; diag tells which */
};

/*
 * Adds all of `from` to `into`, which takes its types when it is still empty (fresh from profile_new()).
 * name: of `from`, for the message. Returns 0; PROFILE_MERGE_E_TYPES with a message and nothing changed; -ENOMEM or
 * -EOVERFLOW, after which `into` holds a part and is only good to be freed.
 */
int profile_merge_into(struct profile *into, const struct profile *from, const char *name, struct diag *diag);

/* All n (at least one) at once. names: one for each profile. */
int profile_merge(const struct profile *const *profiles, const char *const *names, size_t n, struct diag *diag,
	struct profile **ret);
