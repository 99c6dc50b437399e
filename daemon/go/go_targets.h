/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The targets that may be Go processes: which of them are, and what each one's past is. Another process of the same number, and
 * another program in the same process, has another past.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "go_past.h"
#include "go_tuner.h"
#include "location.h"

struct go_targets;
struct image;
struct targets;

struct go_target {
	uint32_t pid;
	bool is_go;                          /* as far as is known */
	struct process_id id;                /* as it was when it was seen first; zeros: it was not yet */
	struct go_tuning tuning;
	struct go_past past;
	/* Who it is, go_targets.c's own. */
	bool is_known;
	uint64_t program;
};

/* Both must live as long as it. 0 or -ENOMEM. */
int go_targets_new(struct targets *targets, const struct go_tuner *tuner, struct go_targets **ret);
/* Releases nothing. */
struct go_targets *go_targets_free(struct go_targets *targets);

/* The one of this number; *ret is new, and was 1 returned, or was there, 0. -ENOMEM. */
int go_targets_add(struct go_targets *targets, uint32_t pid, struct go_target **ret);
/* It is no target any more: go_tuner_release(). What is not there is left alone. */
void go_targets_remove(struct go_targets *targets, uint32_t pid);

/*
 * What is known of the program in it, the caller's; NULL: it is no Go program, or nothing is known of it any more, or it is no target
 * any more. Who looks at a process may find that it, or another one, is no target any more: go_targets_remove() may be called meanwhile.
 */
struct image *go_targets_image(struct go_targets *targets, uint32_t pid);

/* What follows is borrowed until the target is removed. */

/* Of this number; NULL: none. */
struct go_target *go_targets_get(const struct go_targets *targets, uint32_t pid);
/* That this image is of; NULL: it is none any more, or runs another program now. */
struct go_target *go_targets_of(const struct go_targets *targets, const struct image *image);
/* All, in no order, from *cursor = 0 on; NULL: there are no more. None may be added meanwhile. */
struct go_target *go_targets_next(const struct go_targets *targets, size_t *cursor);
