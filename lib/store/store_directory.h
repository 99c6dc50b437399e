/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Directories of the store, reached by descriptor, one name at a time. A single name opened with O_NOFOLLOW can neither
 * be a link nor lead elsewhere, which is all that openat2() with RESOLVE_NO_SYMLINKS and RESOLVE_BENEATH would add.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Who things belong to, in the eyes of the store. */
struct store_owner {
	uid_t uid;                           /* of the options; -1: who we are */
	gid_t gid;
	mode_t directory_mode, file_mode;
};

/* Whether a file of this user is one that we made. */
bool store_owner_is_us(const struct store_owner *owner, uid_t uid);

/*
 * The descriptor of a directory that is ours (or root's), or -errno: -ENOENT, -ENOTDIR (a link or a file),
 * -EPERM (a directory of somebody else), ...
 */
int store_directory_open(int parent, const char *name, const struct store_owner *owner);
/* The same, making it when it is missing; *ret_made tells whether it was (and the parent has to be synced). */
int store_directory_make(int parent, const char *name, const struct store_owner *owner, bool *ret_made);

/*
 * Calls `entry` for each name in it but "." and "..", until one returns not 0, which is returned then. The descriptor
 * stays open. -errno when it cannot be read.
 */
typedef int (*store_entry_fn)(int directory, const char *name, void *userdata);
int store_directory_each(int directory, store_entry_fn entry, void *userdata);
