/* SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "vec.h"

int fs_read_fd(int fd, size_t limit, char **ret_data, size_t *ret_size)
{
	VEC(char) data = { 0 };

	for (;;) {
		ssize_t n;

		if (vec_reserve(&data, data.n + 4096) < 0) {
			vec_deinit(&data);
			return -ENOMEM;
		}
		n = read(fd, data.at + data.n, data.n_allocated - data.n - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || data.n + (size_t)MAX(n, 0) > limit) {
			int r = n < 0 ? -errno : -EFBIG;

			vec_deinit(&data);
			return r;
		}
		if (n == 0)
			break;
		data.n += n;
	}
	data.at[data.n] = '\0';
	*ret_data = data.at;
	if (ret_size)
		*ret_size = data.n;
	return 0;
}

int fs_read(int dirfd, const char *path, size_t limit, char **ret_data, size_t *ret_size)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return fs_read_fd(fd, limit, ret_data, ret_size);
}

int fs_write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		size -= n;
	}
	return 0;
}

static int fill_temporary(int dirfd, const char *temporary, mode_t mode, const void *data, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = fs_write_all(fd, data, size);
	if (r < 0)
		return r;
	/* The mode asked for, whatever the umask is. */
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int fs_replace(int dirfd, const char *name, mode_t mode, const void *data, size_t size)
{
	char temporary[NAME_MAX + 1];
	int r;

	if ((size_t)snprintf(temporary, sizeof(temporary), ".tmp-%s", name) >= sizeof(temporary))
		return -ENAMETOOLONG;
	unlinkat(dirfd, temporary, 0);
	r = fill_temporary(dirfd, temporary, mode, data, size);
	if (r >= 0 && renameat(dirfd, temporary, dirfd, name) < 0)
		r = -errno;
	if (r >= 0 && fsync(dirfd) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dirfd, temporary, 0);
	return r;
}

int fs_make_directories(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (mkdir(copy, mode) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}
