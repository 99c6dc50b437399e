/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Opens files whose names come from strangers. Only regular files are opened: a fifo would block, a device does things.
 */
#include <stdbool.h>
#include <sys/stat.h>

/* Opens for reading what an O_PATH descriptor names. A descriptor; -EBADF when it is no regular file; -errno. */
int safe_open_regular(int path_fd, struct stat *ret_stat);

/*
 * The same for a path below a root directory (O_PATH will do), which neither links nor ".." on the way can leave.
 * The last part may be a symbolic link only if `follow`; else -ELOOP.
 */
int safe_open_below(int root, const char *path, bool follow, struct stat *ret_stat);
