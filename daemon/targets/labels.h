/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Labels that the configuration wants on every sample of a process (`env_label`): a few pairs of key and text. The texts
 * come from the environment of strangers, so they are short, plain and valid UTF-8, as profile.proto wants strings.
 */
#include <stdbool.h>
#include <stddef.h>

#include "vec.h"

struct label {
	char *key, *value;                   /* neither NULL nor empty */
};

struct labels {
	VEC(struct label) pairs;             /* each key once */
};

enum {
	LABELS_MAX = 16,                     /* as many as a target may have in the configuration */
	LABELS_MAX_VALUE = 128,              /* bytes: a version or a region, not a list of flags */
};

/*
 * 0 or -ENOMEM. Of a longer value the first whole characters are kept; a control character or a byte that is not UTF-8
 * becomes '?'. Without effect, and 0: an empty value, a key that is there already or is reserved, a key too many.
 */
int labels_add(struct labels *labels, const char *key, const char *value);
/* Into `ret`, which must be empty and is to be freed even on failure. 0 or -ENOMEM. */
int labels_copy(const struct labels *from, struct labels *ret);
/* NULL when there is none of that key. */
const char *labels_get(const struct labels *labels, const char *key);
void labels_deinit(struct labels *labels);
