/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One executable file that processes map, opened once however many do. Immutable after it is made and counted
 * atomically, so that the press thread may hold on to what the event loop found.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "location.h"

struct binary {
	uint32_t n_references;               /* use binary_ref() and binary_unref() */
	int fd;                              /* O_RDONLY; -1 when the file could not be had: its addresses stay numbers */
	char *path;                          /* as the process sees it */
	struct build_id build_id;            /* from the kernel or the file; size 0: none */
	/*
	 * Opened by its path after the process had gone, with nothing but build_id to tell whether it is still the same
	 * file: who reads it compares the note with build_id first, and takes nothing from it when they differ.
	 */
	bool unverified;
	uint64_t device, inode, size, mtime_nsec;
	uint64_t serial;                     /* number of this binary in this run: distinct files have distinct serials */
};

struct binary *binary_ref(struct binary *binary);
/* Takes and returns NULL. The last reference closes the file. */
struct binary *binary_unref(struct binary *binary);
