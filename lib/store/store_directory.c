/* SPDX-License-Identifier: Apache-2.0 */
#include "store_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

static const int open_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

bool store_owner_is_us(const struct store_owner *owner, uid_t uid)
{
	return uid == geteuid() || (owner->uid != (uid_t)-1 && uid == owner->uid);
}

int store_directory_open(int parent, const char *name, const struct store_owner *owner)
{
	_cleanup_close_ int fd = openat(parent, name, open_flags);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* Whoever owns a directory decides what its names mean. */
	if (!store_owner_is_us(owner, st.st_uid) && st.st_uid != 0)
		return -EPERM;
	return take_fd(&fd);
}

int store_directory_make(int parent, const char *name, const struct store_owner *owner, bool *ret_made)
{
	_cleanup_close_ int fd = store_directory_open(parent, name, owner);

	*ret_made = false;
	if (fd != -ENOENT)
		return take_fd(&fd);
	if (mkdirat(parent, name, 0700) < 0) {
		if (errno != EEXIST)
			return -errno;
		return store_directory_open(parent, name, owner);
	}
	*ret_made = true;
	fd = store_directory_open(parent, name, owner);
	if (fd < 0)
		return fd;
	/* A group that cannot be set leaves the directory to us alone; store_put() counts that for the file in it. */
	if ((owner->uid != (uid_t)-1 || owner->gid != (gid_t)-1) && fchown(fd, owner->uid, owner->gid) < 0 && errno != EPERM)
		return -errno;
	if (fchmod(fd, owner->directory_mode) < 0)
		return -errno;
	return take_fd(&fd);
}

static void closedir_p(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

int store_directory_each(int directory, store_entry_fn entry, void *userdata)
{
	/* Opened anew: a duplicate would share its place with every other reader of the descriptor. */
	_cleanup_close_ int fd = openat(directory, ".", open_flags);
	_cleanup_(closedir_p) DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *found;
	int r;

	if (!stream)
		return -errno;
	take_fd(&fd);
	for (;;) {
		errno = 0;
		found = readdir(stream);
		if (!found)
			return -errno;
		if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, ".."))
			continue;
		r = entry(directory, found->d_name, userdata);
		if (r != 0)
			return r;
	}
}
