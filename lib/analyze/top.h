/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which functions a profile is about: for each the value of the samples it is the leaf of (flat) and of those it is
 * anywhere in (cum, once a sample however often it recurs), as `go tool pprof -top` counts. Functions of one name are one.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cleanup.h"

struct profile;
struct strtab;

enum top_order {
	TOP_FLAT,
	TOP_CUM,
};

struct top_row {
	const char *name;                    /* of the function; without one: binary+0xoffset, or 0xaddress */
	int64_t flat, cum;
};

struct top {
	struct top_row *rows;                /* largest first; equal ones by name */
	size_t n_rows;
	size_t n_functions;                  /* of the whole profile */
	int64_t total;                       /* of all samples */
	char *type, *unit;                   /* of the sample type */
	struct strtab *names;
};

/*
 * sample_type: an index; -1 for the default one of the profile. limit: rows at most, 0 for all.
 * Returns 0, -EINVAL when there is no such sample type, -ENOMEM. The profile may go, the result stays.
 */
int top_new(const struct profile *profile, int sample_type, enum top_order order, size_t limit, struct top **ret);
struct top *top_free(struct top *top);
DEFINE_CLEANUP(struct top, top_free);

/* A table for people: flat, flat%, sum%, cum, cum%, name. Control characters in names are shown as '?'. */
void top_print(const struct top *top, FILE *f);
/* A value with its unit as a person reads it: "1.50s", "30ms", "12.50MiB", "42". */
#define TOP_VALUE_SIZE 32
void top_format_value(int64_t value, const char *unit, char ret[static TOP_VALUE_SIZE]);
