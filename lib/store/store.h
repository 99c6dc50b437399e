/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The profiles on disk: files that are there whole or not at all. Everything below the output directory is reached
 * through directory descriptors, one component at a time, and no link is ever followed.
 *
 * No failure is for ever: each store_put() tries anew, makes directories again that were removed, and works again as soon
 * as the disk has room or is writable.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cleanup.h"
#include "profile_kind.h"

struct store;

struct store_options {
	mode_t directory_mode, file_mode;    /* 0: 0750 and 0640; whatever the umask is */
	uid_t uid;                           /* owner of new files and directories; -1: who we are */
	gid_t gid;                           /* -1: as the system does it */
};

#define STORE_OPTIONS_DEFAULT ((struct store_options){ .uid = (uid_t)-1, .gid = (gid_t)-1 })

struct store_stats {
	uint64_t files, bytes;               /* put */
	uint64_t failed;                     /* puts that gave an error */
	uint64_t owner_failed;               /* files put whose owner or group could not be set; they are ours alone then */
	uint64_t recreated;                  /* the output directory was gone and is there again */
	uint64_t stale_removed;              /* temporary files of an earlier run */
};

/*
 * Opens the output directory, makes it (and its parents) when it is missing, and removes temporary files that an earlier
 * run left. The path itself is the administrator's and may hold links.
 * Returns 0 or -errno (-ENOMEM, -EINVAL: no store). When only the directory could not be made or opened, *ret is a store
 * all the same and 0 is returned: store_check() and each store_put() tell.
 */
int store_new(const char *directory, const struct store_options *options, struct store **ret);
struct store *store_free(struct store *store);
DEFINE_CLEANUP(struct store, store_free);

/* Whether a file could be put now, tried with a temporary one: 0, or -errno as store_put(). */
int store_check(struct store *store);

/*
 * Puts a file in place: temporary, fsync, rename, fsync of the directories. trigger: NULL for the schedule. A name that
 * exists gets a number. *ret_path (may be NULL; frees with free()): output directory, day, service, file.
 * Returns 0, -EINVAL for a bad trigger, -EEXIST when a thousand files have that name, or what the disk says: -ENOSPC,
 * -EDQUOT, -EROFS, -EACCES, -ELOOP or -ENOTDIR (a link or file where a directory belongs), -EPERM (a directory of
 * somebody else), -EIO. Nothing is left behind then.
 */
int store_put(struct store *store, const char *service, enum profile_kind kind, uint64_t start_wall_nsec,
	const char *trigger, const void *bytes, size_t size, char **ret_path);

/* What retention needs: the output directory as it is now (-errno, or a descriptor that belongs to the store), and ours. */
int store_open_root(struct store *store);
const struct store_owner *store_owner(const struct store *store);
struct store_clock *store_clock(struct store *store);

const struct store_stats *store_stats(const struct store *store);
const char *store_directory(const struct store *store);
