/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A profile as the bytes of a pprof file: profile.proto, gzip-compressed. The same profile gives the same bytes, whatever
 * the run or the machine (only another version of libdeflate may compress differently). docs/formats/pprof.md.
 */
#include <stdbool.h>
#include <stddef.h>

struct profile;

enum {
	PPROF_LEVEL_NONE = -1,               /* bare protobuf, without gzip and thus without our mark */
	PPROF_LEVEL_DEFAULT = 6,             /* what everybody uses; a third of the time of level 9 for 1 % more bytes */
};

/*
 * level: 1 to 12 as libdeflate counts, or one of the above. Frees with free().
 * Returns 0; -ENOMEM; -EINVAL for a level that does not exist; -E2BIG for a profile of 2 GiB or more (what protobuf allows).
 */
int pprof_encode(const struct profile *profile, int level, char **ret, size_t *ret_size);

/*
 * The first bytes of each compressed file of ours: a gzip header that carries the comment "tsprofd". Tells our files from
 * other people's profiles without inflating anything.
 */
#define PPROF_MARK_SIZE 18
bool pprof_has_mark(const void *bytes, size_t size);
