/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Gzip of unknown origin, inflated as a stream so that a bomb is noticed long before it has gone off. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct diag;
struct pprof_limits;

/* Whether it begins like gzip. */
bool pprof_is_gzip(const void *data, size_t size);

/* All members, behind each other. Frees with free(). Returns 0, -ENOMEM, or PPROF_E_* with a message in diag. */
int pprof_inflate(const void *data, size_t size, const char *file, const struct pprof_limits *limits, struct diag *diag,
	uint8_t **ret, size_t *ret_size);
