/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The table of files that processes execute, each opened once however many map it, while one of them lives; and the
 * root directories of their mount namespaces, through which the files of dead ones are found.
 *
 * Nothing is opened by a path of our own root, nothing but regular files is ever opened for reading, and no byte of
 * them is parsed here. All of it belongs to the event loop's thread, but for the struct binary it gives away.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "binary.h"
#include "location.h"

struct binaries;
/* A file; counted by binaries_file_ref() and _unref(). */
struct binaries_file;
/* The root directory of a mount namespace, counted likewise. */
struct binaries_root;

struct binaries_stats {
	uint64_t n_files, n_open, n_roots;   /* now */
	uint64_t unavailable;                /* files that could not be opened, or were others than what had been mapped; ever */
};

/* max_open: descriptors to hold at a time; 0: half of RLIMIT_NOFILE. */
int binaries_new(int proc, size_t max_open, struct binaries **ret);
/* All files and roots must have been given back. */
struct binaries *binaries_free(struct binaries *binaries);

/* A mapping of a file, and the ways to that file. */
struct binaries_query {
	uint32_t pid;                        /* that maps it; 0 when it is known to be gone */
	uint64_t start, end;                 /* the mapping, for /proc/PID/map_files */
	struct binaries_root *root;          /* of the process, when known; borrowed */
	const char *path;                    /* as the process sees it, without " (deleted)" */
	bool deleted;
	bool is_exe;                         /* /proc/PID/exe is this file: asked for when map_files is closed to us */
	struct build_id build_id;            /* from the kernel; size 0: not known */
	uint64_t device, inode;              /* 0: not known */
	uint64_t time_nsec;                  /* CLOCK_MONOTONIC, when it was mapped or seen to be */
};

/* Finds the file, or adds it; opens it if it is not open. -ENOMEM only: a file that can't be opened is still a file. */
int binaries_get(struct binaries *binaries, const struct binaries_query *query, struct binaries_file **ret);

struct binaries_file *binaries_file_ref(struct binaries_file *file);
/* Takes and returns NULL. */
struct binaries_file *binaries_file_unref(struct binaries *binaries, struct binaries_file *file);

/* As the first process that mapped it saw it. */
const char *binaries_file_path(const struct binaries_file *file);

/*
 * What to give away: a reference to an immutable value. `query` is another chance to open the file if it is not open;
 * NULL: none. NULL when out of memory.
 */
struct binary *binaries_file_binary(struct binaries *binaries, struct binaries_file *file,
		const struct binaries_query *query);

/*
 * The file that a living process maps now, opened for the caller alone, when that of the table is not the one that is
 * meant: equal bytes may lie in several inodes. NULL when it can't be opened.
 */
struct binary *binaries_open_anew(struct binaries *binaries, const struct binaries_query *query);

/* The root of a living process's mount namespace. NULL when it can't be had. */
struct binaries_root *binaries_root_of(struct binaries *binaries, uint32_t pid);
struct binaries_root *binaries_root_ref(struct binaries_root *root);
struct binaries_root *binaries_root_unref(struct binaries *binaries, struct binaries_root *root);
/* An O_PATH descriptor; borrowed; -1 for NULL. */
int binaries_root_fd(const struct binaries_root *root);

struct binaries_stats binaries_stats(const struct binaries *binaries);
