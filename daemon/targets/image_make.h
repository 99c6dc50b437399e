/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Makes an image of a program: what is known of it in the table, as a value of its own that outlives it there. */

#include <stdbool.h>

struct image;
struct program;
struct programs;

/*
 * `program` must have its identity (inspector_complete()). Its perf map is given away if `with_perf_map`.
 * 0 or -ENOMEM.
 */
int image_make(struct programs *programs, struct program *program, bool with_perf_map, struct image **ret);
