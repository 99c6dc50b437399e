/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Values of a label that are as many as strangers like: files, peers, neighbours. Of each group of samples `max` are told, those
 * with the most time, and all others are "other". Of equal ones the order is that of their text: equal windows give equal files.
 */
#include <stddef.h>
#include <stdint.h>

struct bounded_values;

/* NULL when out of memory. */
struct bounded_values *bounded_values_new(size_t max);
struct bounded_values *bounded_values_free(struct bounded_values *values);

/* A value that a group has for so long; `ret` is what to ask for it by. `text` is copied. 0 or -errno, as strtab_add() and map_put(). */
int bounded_values_add(struct bounded_values *values, uint64_t group, const char *text, uint64_t nsec, uint32_t *ret);
/* After the last one was added. 0 or -ENOMEM. */
int bounded_values_rank(struct bounded_values *values);
/* Once they are ranked: its text, or "other". Lives as long as the values. */
const char *bounded_values_get(const struct bounded_values *values, uint32_t value);
