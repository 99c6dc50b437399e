/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "cleanup.h"
#include "fs.h"
#include "vec.h"

struct runtime {
	char *path;
	int fd, lock_fd;
	int error;                           /* why the directory cannot be used: as runtime_open() returns it */
	int holder;
	VEC(char *) names;                   /* of files that were written */
};

static const char lock_name[] = "tsprofd.pid";

static const char *directory_path(void)
{
	const char *path = getenv("RUNTIME_DIRECTORY");

	return path && path[0] ? path : "/run/tsprofd";
}

static int open_directory(struct runtime *runtime)
{
	int r = fs_make_directories(runtime->path, 0755);

	if (r < 0)
		return r;
	runtime->fd = open(runtime->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return runtime->fd < 0 ? -errno : 0;
}

/*
 * A daemon that was killed while it started its symbolizer leaves a child that holds the lock until its exec, a moment
 * later: the lock is tried for 300 ms.
 */
static int lock_patiently(int fd)
{
	for (int left = 30; flock(fd, LOCK_EX | LOCK_NB) < 0; left--) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (!left)
			return RUNTIME_E_LOCKED;
		usleep(10000);
	}
	return 0;
}

static int take_lock(struct runtime *runtime)
{
	_cleanup_free_ char *text = NULL;
	char pid[16];
	int n, r;

	runtime->lock_fd = openat(runtime->fd, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (runtime->lock_fd < 0)
		return -errno;
	r = lock_patiently(runtime->lock_fd);
	if (r == RUNTIME_E_LOCKED && fs_read_fd(runtime->lock_fd, 64, &text, NULL) >= 0)
		runtime->holder = atoi(text);
	if (r)
		return r;
	n = snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(runtime->lock_fd, 0) < 0)
		return -errno;
	return fs_write_all(runtime->lock_fd, pid, n);
}

int runtime_open(struct runtime **ret)
{
	struct runtime *runtime = calloc(1, sizeof(*runtime));

	if (!runtime)
		return -ENOMEM;
	runtime->fd = runtime->lock_fd = -1;
	runtime->path = strdup(directory_path());
	if (!runtime->path) {
		runtime_close(runtime);
		return -ENOMEM;
	}
	*ret = runtime;
	runtime->error = open_directory(runtime);
	if (runtime->error >= 0)
		runtime->error = take_lock(runtime);
	return runtime->error;
}

void runtime_close(struct runtime *runtime)
{
	if (!runtime)
		return;
	for (size_t i = 0; i < runtime->names.n; i++) {
		unlinkat(runtime->fd, runtime->names.at[i], 0);
		free(runtime->names.at[i]);
	}
	vec_deinit(&runtime->names);
	/* The lock goes with its descriptor; the file stays, since removing it would race with who takes it next. */
	close_fd(runtime->lock_fd);
	close_fd(runtime->fd);
	free(runtime->path);
	free(runtime);
}

static int remember(struct runtime *runtime, const char *name)
{
	char *copy;

	for (size_t i = 0; i < runtime->names.n; i++)
		if (!strcmp(runtime->names.at[i], name))
			return 0;
	copy = strdup(name);
	if (!copy || vec_push(&runtime->names, copy) < 0) {
		free(copy);
		return -ENOMEM;
	}
	return 0;
}

int runtime_directory(const struct runtime *runtime)
{
	if (!runtime)
		return -ENOMEM;
	/* What is there belongs to who has the lock. */
	if (runtime->error)
		return runtime->error < 0 ? runtime->error : -EBUSY;
	return runtime->fd;
}

int runtime_write(struct runtime *runtime, const char *name, const void *data, size_t size)
{
	int r = runtime_directory(runtime);

	if (r < 0)
		return r;
	r = remember(runtime, name);
	return r < 0 ? r : fs_replace(runtime->fd, name, 0644, data, size);
}

const char *runtime_path(const struct runtime *runtime)
{
	return runtime ? runtime->path : "";
}

int runtime_holder(const struct runtime *runtime)
{
	return runtime->holder;
}
