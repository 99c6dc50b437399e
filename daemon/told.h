/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What was told of processes and goes on: each thing once, when it is first seen, and once when it is over. In a look: told_miss(), told_see()
 * of all that is there, told_end().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct told_item {
	uint64_t id;                         /* the same thing has the same one */
	uint32_t pid;
	char *service, *what;                /* `what`: in words, may be NULL */
	unsigned int n_missed;               /* looks in a row that did not see it */
};

/* Zero-initialise. */
struct told {
	VEC(struct told_item) items;
};

enum { TOLD_MAX = 1024 };                    /* remembered; more are told when one of these is over */

void told_deinit(struct told *told);

/* A look at these processes was taken, which may not see all that goes on; NULL: at all. What goes on in others goes on. */
struct told_pids { const uint32_t *at; size_t n; };
void told_miss(struct told *told, const struct told_pids *looked_at);

/* It is there. True: for the first time, so it has to be told. False: it was told, or cannot be remembered: it is asked again at the next look. */
bool told_see(struct told *told, uint64_t id, uint32_t pid, const char *service, const char *what);

/* Forgets what was missed in so many looks in a row; `over` tells it. */
typedef void (*told_over_fn)(const struct told_item *item, const char *why);
void told_end(struct told *told, unsigned int n_missed, told_over_fn over, const char *why);

/* Forgets what was told of processes that are not in this set of pids (uint32_t). */
struct map;
void told_keep(struct told *told, const struct map *pids, told_over_fn over, const char *why);
