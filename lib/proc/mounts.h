/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * /proc/PID/mountinfo as data: where file systems are mounted, so that a path inside of one becomes a path to be typed.
 * Whoever may mount, in a container too, chooses names: any byte but 0. Format: Documentation/filesystems/proc.rst 3.5;
 * fs/proc_namespace.c show_mountinfo(), which writes blanks, line ends and backslashes as \ooo.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

/* Bounds on one file: a machine with a thousand containers has some ten thousand mounts. */
enum { MOUNTS_MAX = 16384, MOUNTS_MAX_BYTES = 8 << 20 };

struct mount {
	uint64_t device;                     /* as makedev(3) has it */
	char *root;                          /* the folder of the file system that is mounted there: "/", mostly */
	char *point;                         /* where */
	char *type, *source;                 /* "ext4", "/dev/vda1"; the source is any text, "none" in place of none. NULL: not told */
};

struct mounts {
	VEC(struct mount) all;               /* in the order of the file: a later one may hide an earlier one */
};

/* Lines that make no sense, and what is over the bound, are passed over. 0 or -ENOMEM. */
int mounts_parse(const char *text, size_t size, struct mounts *ret);
/* The same with a file, of a folder as openat(2) has it. -errno; -EFBIG above the bound. */
int mounts_read(int folder, const char *path, struct mounts *ret);
void mounts_deinit(struct mounts *mounts);

/*
 * The path of a file whose path inside of its file system is `inside`, by a mount that shows it; one that shows the whole
 * file system first. False: none does. A path longer than `size` is none.
 */
bool mounts_path(const struct mounts *mounts, uint64_t device, const char *inside, char *ret, size_t size);
