/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A profile from the bytes of a pprof file, whoever wrote it: gzip (several members, too) or bare protobuf. Every byte is
 * taken for hostile; what is accepted is valid: all ids and string numbers resolve, each sample has all its values.
 */
#include <stddef.h>
#include <stdint.h>

struct diag;
struct profile;

enum {
	PPROF_E_INVALID = 1,                 /* no profile, or a broken one; diag tells why */
	PPROF_E_LIMIT,                       /* over a limit, which diag names */
};

struct pprof_limits {
	size_t file_bytes;                   /* as given */
	size_t inflated_bytes;
	size_t inflated_ratio;               /* inflated over compressed, looked at from ratio_from_bytes on */
	size_t ratio_from_bytes;
	size_t memory_bytes;                 /* inflated bytes and the profile made of them, together */
	size_t stack_depth;                  /* locations of one sample, and lines of one location */
};

/* For a user's tools, and (smaller) inside the daemon. */
extern const struct pprof_limits pprof_limits_tool;
extern const struct pprof_limits pprof_limits_daemon;

/*
 * file: for messages only. limits: NULL for those of tools. Equal samples of the file become one.
 * Returns 0, -ENOMEM, or PPROF_E_* with one message in diag.
 */
int pprof_decode(const void *data, size_t size, const char *file, const struct pprof_limits *limits, struct diag *diag,
	struct profile **ret);
