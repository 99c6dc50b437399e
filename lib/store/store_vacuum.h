/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * All of retention: removes files that are too old, or too many for the space they may take; oldest first, captures of
 * alerts last, pinned ones (an empty FILE.pin beside them) never.
 *
 * Only what is certainly ours is removed: a regular file, not linked elsewhere, of our owner, in a directory of ours,
 * whose name parses and whose first bytes carry our mark. Everything else in the output directory is left alone, but
 * counted. Directories of days and services go when they are empty.
 *
 * The clock: age means nothing when the clock was set forward. Files are written all the time while we run; so a gap of
 * more than a day between the times two files were written (or between the last one and now) says that the machine was
 * off, or that the clock is wrong. Until a day has passed behind the gap nothing is removed by age, and the last day
 * before the gap is as protected as the newest one. This needs no memory and so survives a restart. A clock that was
 * seen to be steady for a day (store_clock.h) is believed all the same, so that age works where nothing is written any more.
 * Files of the future (more than a day) are never too old, but are the first to go for want of space.
 */
#include <stdbool.h>
#include <stdint.h>

struct store;

struct store_retention {
	uint64_t age_nsec;                   /* 0: for ever */
	uint64_t max_bytes;                  /* sum of our files; 0: any */
	uint64_t keep_free_bytes;            /* free space of the file system; never empties the newest 24 h; 0: none */
};

struct store_vacuum {
	uint64_t deleted_age, deleted_size, deleted_free; /* files */
	uint64_t deleted_bytes;
	uint64_t files, bytes;               /* what is left that is ours by name, owner and type */
	uint64_t pinned;                     /* of these */
	uint64_t foreign;                    /* entries left alone because they are not ours */
	uint64_t failed;                     /* files that should have gone and could not be removed */
	uint64_t oldest_wall_nsec;           /* start of the oldest file left; 0: none */
	bool clock_suspect;                  /* age was not looked at; never set when no age is given */
};

/*
 * Reads the whole tree and one small block of each file to be removed: 100,000 files take some tenths of a second and
 * 10 MiB, so call it some times an hour, not per file.
 * Returns 0 or -errno (the output directory cannot be read: -ENOENT, -EACCES, ...).
 */
int store_vacuum(struct store *store, const struct store_retention *retention, uint64_t now_wall_nsec,
	struct store_vacuum *ret);
