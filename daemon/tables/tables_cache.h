/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Unwind tables on disk, so that a daemon that starts need not make them again. One file a table, in a directory that
 * nobody else may write to; what is read from it is checked as if it came from the process that makes tables.
 *
 * A build id is only what a file says of itself: a hostile one may claim that of libc, and must not become libc's table
 * for everybody. So an entry is of the build id and of what no unprivileged author of a file can choose: who owns it and
 * its ctime, which is the kernel's alone (mtime is not), besides inode number, size and mtime. The device is left out: on
 * overlayfs it is another one at each mount, and it tells nothing more. Who mounts a file system of his own may choose
 * all of them (FUSE, an image on a stick): such are mounted nosuid, and what lies on them is not cached. A hash of the
 * whole content would be as safe, and would read every executable of the host from disk.
 */
#include <stddef.h>
#include <stdint.h>

#include "location.h"

struct tables_cache;

/* Compared as bytes: without holes. */
struct tables_cache_key {
	uint64_t inode, size, mtime_nsec, ctime_nsec;
	uint32_t user;
	struct build_id build_id;
	uint8_t zero[7];
};

/*
 * Makes the directory (0700) if it is not there. 0; TABLES_CACHE_E_UNSAFE when it is not ours alone, or a link; -errno.
 * What the files take is at most max_bytes: the longest unused ones go.
 */
int tables_cache_new(const char *directory, uint64_t max_bytes, struct tables_cache **ret);
struct tables_cache *tables_cache_free(struct tables_cache *cache);
enum { TABLES_CACHE_E_UNSAFE = 1 };

/* How the cache knows a file. 0; TABLES_CACHE_E_UNFIT when it has no build id, or its file system may lie; -errno. */
int tables_cache_key_of(int fd, const struct build_id *build_id, struct tables_cache_key *ret);
enum { TABLES_CACHE_E_UNFIT = 1 };

/* 0 with bytes to free(3) that unwind_image_open() accepts; TABLES_CACHE_E_MISSING; -errno. */
int tables_cache_get(struct tables_cache *cache, const struct tables_cache_key *key, void **ret, size_t *ret_size);
enum { TABLES_CACHE_E_MISSING = 1 };

/* 0 or -errno: it is not there then. */
int tables_cache_put(struct tables_cache *cache, const struct tables_cache_key *key, const void *data, size_t size);
