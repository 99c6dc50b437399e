/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Makes unwind tables, in a thread of its own and one after another: from the cache on disk, else by a confined process
 * (symbolizer_process). The event loop hands a job over whole and gets it back whole.
 *
 * It is paced by a token bucket of CPU time, its process's included: a second at once, so that the first samples of a
 * start find the tables of what runs most (a hundred libraries), then a fifth of one CPU; small files first, which most
 * processes share. What the cache has is not held back. Thread and process have nice 10.
 *
 * Memory: the process touches the pages of the file that speak of frames, and needs some 24 bytes a row; it ends when it
 * has had nothing to do for some seconds. Its peak was 5 MiB for libc, 17 for node, 82 for librustc_driver (the largest
 * that was met: 0.7 M rows), 4 for a sparse gigabyte, 68 for a gigabyte that claims to be all code. The core has an image
 * twice while it goes to the kernel, at most 24 MiB each: 1.3 for node.
 */
#include <stdbool.h>
#include <stdint.h>

#include "unwind_image.h"

struct binary;
struct tables_maker;

struct tables_maker_options {
	const char *cache_directory;         /* NULL: no cache on disk */
	const char *const *debug_directories;
};

struct tables_job {
	struct tables_job *next;             /* of whoever has it */
	struct unwind_file file;             /* the owner's: not looked at */
	struct binary *binary;               /* a reference; NULL: the vdso */

	/* The result. */
	int status;                          /* 0; TABLES_MAKER_E_NONE: nothing to be had from this file; -errno: this time */
	void *bytes;                         /* of the image */
	struct unwind_image image;
	size_t size;
	bool is_cached;                      /* it was on disk */
	uint64_t nsec, cpu_nsec;             /* that it took */
};
enum { TABLES_MAKER_E_NONE = 1 };

/* Takes and returns NULL; also what it holds. */
struct tables_job *tables_job_free(struct tables_job *job);

/* Strings are borrowed. */
int tables_maker_new(const struct tables_maker_options *options, struct tables_maker **ret);
/* Ends what is running soon. Jobs that are not done are lost. */
struct tables_maker *tables_maker_free(struct tables_maker *maker);

void tables_maker_submit_take(struct tables_maker *maker, struct tables_job *job);

/* An eventfd, readable when jobs are done. */
int tables_maker_fd(const struct tables_maker *maker);
/* The next one that is done; NULL: none now, and the eventfd is empty. */
struct tables_job *tables_maker_take_done(struct tables_maker *maker);

/* Resident memory of the process; 0: there is none. */
uint64_t tables_maker_helper_memory(const struct tables_maker *maker);
