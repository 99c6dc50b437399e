/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Files as a whole: there or not there, never half. */
#include <stddef.h>
#include <sys/types.h>

/* Reads all of a file of at most `limit` bytes (-EFBIG above). The bytes are followed by a 0 that is not counted. Frees with free(). */
int fs_read(int dirfd, const char *path, size_t limit, char **ret_data, size_t *ret_size);
int fs_read_fd(int fd, size_t limit, char **ret_data, size_t *ret_size);

/* Writes all bytes, however many calls that takes; 0 or -errno. */
int fs_write_all(int fd, const void *data, size_t size);

/*
 * Puts a file in place whole: temporary name ".tmp-…" beside it, write, fsync, rename over `name`, fsync of the directory.
 * On failure `name` is as it was and the temporary is gone.
 */
int fs_replace(int dirfd, const char *name, mode_t mode, const void *data, size_t size);

/* Makes a directory and its missing parents with this mode; an existing one is fine. 0 or -errno. */
int fs_make_directories(const char *path, mode_t mode);
