/* SPDX-License-Identifier: Apache-2.0 */
#include "safe_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

int safe_open_regular(int path_fd, struct stat *ret_stat)
{
	char path[32];
	struct stat stat;
	int fd;

	if (fstat(path_fd, &stat) < 0)
		return -errno;
	if (S_ISLNK(stat.st_mode))
		return -ELOOP;
	if (!S_ISREG(stat.st_mode))
		return -EBADF;
	/* The very file, not its name again. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	*ret_stat = stat;
	return fd;
}

int safe_open_below(int root, const char *path, bool follow, struct stat *ret_stat)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_close_ int path_fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

	if (path_fd < 0)
		return -errno;
	return safe_open_regular(path_fd, ret_stat);
}
