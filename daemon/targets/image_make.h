/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Makes an image of a program: what is known of it in the table, as a value of its own that outlives it there. */

#include <stdbool.h>
#include <stdint.h>

struct binaries;
struct binary;
struct image;
struct program;
struct programs;

/*
 * `program` must have its identity (inspector_complete()). Its perf map is given away if `with_perf_map`.
 * 0 or -ENOMEM.
 */
int image_make(struct programs *programs, struct program *program, bool with_perf_map, struct image **ret);

/* A reference to the file whose code a program has at `address`; NULL when that is in no file, or not known. */
struct binary *image_binary_at(struct binaries *binaries, const struct program *program, uint64_t address);
/* The same as binaries_open_anew(). */
struct binary *image_binary_anew(struct binaries *binaries, const struct program *program, uint64_t address);

/* Where the file libjvm.so begins in its memory, if that is HotSpot's; 0: it maps none. */
uint64_t image_hotspot_base(const struct program *program);
