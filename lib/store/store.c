/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "store_clock.h"
#include "store_directory.h"
#include "store_name.h"

struct store {
	char *directory;
	int root;                            /* -1: not open */
	bool was_open;
	uint64_t start_wall_nsec;
	struct store_owner owner;
	struct store_clock clock;
	struct store_stats stats;
};

/* ".tmp-" and 16 hexadecimal digits: no other program's, and not the grammar of profiles. */
#define TEMPORARY_PREFIX ".tmp-"
#define TEMPORARY_SIZE   (sizeof(TEMPORARY_PREFIX) + 16)

/* Files of one second, service, kind and trigger; more than that is a bug or an attack. */
static const uint32_t max_equal_names = 1000;

static int temporary_name(char ret[static TEMPORARY_SIZE])
{
	unsigned long long number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	snprintf(ret, TEMPORARY_SIZE, TEMPORARY_PREFIX "%016llx", number);
	return 0;
}

static bool is_temporary_name(const char *name)
{
	const size_t prefix = strlen(TEMPORARY_PREFIX);

	return strlen(name) == TEMPORARY_SIZE - 1 && !strncmp(name, TEMPORARY_PREFIX, prefix) &&
			strspn(name + prefix, "0123456789abcdef") == 16;
}

/* Opens the output directory if that is not done, or if another one is at its path by now. */
static int open_root(struct store *store)
{
	struct stat here, there;
	int r;

	if (store->root >= 0 && fstat(store->root, &here) == 0 && stat(store->directory, &there) == 0 &&
			here.st_dev == there.st_dev && here.st_ino == there.st_ino)
		return store->root;
	store->root = close_fd(store->root);
	store->root = open(store->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->root < 0 && errno != ENOENT)
		return -errno;
	if (store->root < 0) {
		r = fs_make_directories(store->directory, store->owner.directory_mode);
		if (r < 0)
			return r;
		store->root = open(store->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (store->root < 0)
			return -errno;
		if ((store->owner.uid != (uid_t)-1 || store->owner.gid != (gid_t)-1) &&
				fchown(store->root, store->owner.uid, store->owner.gid) < 0 && errno != EPERM)
			return -errno;
		if (fchmod(store->root, store->owner.directory_mode) < 0)
			return -errno;
		store->stats.recreated += store->was_open;
	}
	store->was_open = true;
	return store->root;
}

int store_open_root(struct store *store)
{
	return open_root(store);
}

/* A temporary file that nobody writes any more: older than this run, ours, and not locked by a living writer. */
static int remove_stale(int directory, const char *name, void *userdata)
{
	struct store *store = userdata;
	_cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
			!store_owner_is_us(&store->owner, st.st_uid))
		return 0;
	if ((uint64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec >= store->start_wall_nsec ||
			flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	if (unlinkat(directory, name, 0) == 0)
		store->stats.stale_removed++;
	return 0;
}

static int clean_service(int directory, const char *name, void *userdata)
{
	return is_temporary_name(name) ? remove_stale(directory, name, userdata) : 0;
}

static int clean_day(int directory, const char *name, void *userdata)
{
	struct store *store = userdata;
	_cleanup_close_ int service = -1;

	if (!store_service_is_valid(name))
		return 0;
	service = store_directory_open(directory, name, &store->owner);
	if (service >= 0)
		store_directory_each(service, clean_service, store);
	return 0;
}

static int clean_root(int directory, const char *name, void *userdata)
{
	struct store *store = userdata;
	_cleanup_close_ int day = -1;
	uint64_t wall_nsec;

	if (is_temporary_name(name))
		return remove_stale(directory, name, store);
	if (!store_day_parse(name, &wall_nsec))
		return 0;
	day = store_directory_open(directory, name, &store->owner);
	if (day >= 0)
		store_directory_each(day, clean_day, store);
	return 0;
}

int store_new(const char *directory, const struct store_options *options, struct store **ret)
{
	_cleanup_(store_free_p) struct store *store = calloc(1, sizeof(*store));

	if (!directory[0])
		return -EINVAL;
	if (!store)
		return -ENOMEM;
	store->root = -1;
	store->start_wall_nsec = clock_wall_nsec();
	store->owner = (struct store_owner){ options->uid, options->gid, options->directory_mode, options->file_mode };
	if (!store->owner.directory_mode)
		store->owner.directory_mode = 0750;
	if (!store->owner.file_mode)
		store->owner.file_mode = 0640;
	store->directory = strdup(directory);
	if (!store->directory)
		return -ENOMEM;
	if (open_root(store) >= 0)
		store_directory_each(store->root, clean_root, store);
	*ret = TAKE(store);
	return 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	close_fd(store->root);
	free(store->directory);
	free(store);
	return NULL;
}

/* Fills a new file, which is locked while it grows so that no other run takes it for left over. */
static int fill(struct store *store, int fd, const void *bytes, size_t size, bool *ret_owned)
{
	int r;

	flock(fd, LOCK_EX | LOCK_NB);
	r = fs_write_all(fd, bytes, size);
	if (r < 0)
		return r;
	*ret_owned = (store->owner.uid == (uid_t)-1 && store->owner.gid == (gid_t)-1) ||
			fchown(fd, store->owner.uid, store->owner.gid) == 0;
	if (fchmod(fd, store->owner.file_mode) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int rename_new(int directory, const char *from, const char *to)
{
	if (renameat2(directory, from, directory, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system without it (NFS, some FUSE): a link never replaces either. */
	if (linkat(directory, from, directory, to, 0) < 0)
		return -errno;
	unlinkat(directory, from, 0);
	return 0;
}

/* Gives the temporary the first name that is free. */
static int name_file(int directory, const char *temporary, struct store_name *name, char ret_file[static STORE_FILE_SIZE])
{
	int r;

	for (name->number = 1; name->number <= max_equal_names; name->number++) {
		r = store_name_format(name, ret_file);
		if (r < 0)
			return r;
		r = rename_new(directory, temporary, ret_file);
		if (r != -EEXIST)
			return r;
	}
	return -EEXIST;
}

static int put_into(struct store *store, int directory, struct store_name *name, const void *bytes, size_t size,
		char ret_file[static STORE_FILE_SIZE])
{
	_cleanup_close_ int fd = -1;
	char temporary[TEMPORARY_SIZE];
	bool owned = false;
	int r;

	r = temporary_name(temporary);
	if (r < 0)
		return r;
	fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = fill(store, fd, bytes, size, &owned);
	if (r >= 0)
		r = name_file(directory, temporary, name, ret_file);
	if (r < 0) {
		unlinkat(directory, temporary, 0);
		return r;
	}
	store->stats.owner_failed += !owned;
	return 0;
}

struct place {
	char day[STORE_DAY_LENGTH + 1], service[STORE_SERVICE_LENGTH + 1], file[STORE_FILE_SIZE];
	struct store_name name;
};

static int put_once(struct store *store, struct place *place, const void *bytes, size_t size)
{
	_cleanup_close_ int day = -1, service = -1;
	bool made_day, made_service;
	int root, r;

	root = open_root(store);
	if (root < 0)
		return root;
	day = store_directory_make(root, place->day, &store->owner, &made_day);
	if (day < 0)
		return day;
	service = store_directory_make(day, place->service, &store->owner, &made_service);
	if (service < 0)
		return service;
	r = put_into(store, service, &place->name, bytes, size, place->file);
	if (r >= 0 && (fsync(service) < 0 || (made_service && fsync(day) < 0) || (made_day && fsync(root) < 0))) {
		r = -errno;
		/* The caller may well try again: what might not outlive a power cut must not be there twice. */
		unlinkat(service, place->file, 0);
	}
	if (r < 0) {
		if (made_service)
			unlinkat(day, place->service, AT_REMOVEDIR);
		if (made_day)
			unlinkat(root, place->day, AT_REMOVEDIR);
	}
	return r;
}

static int put(struct store *store, const char *service, enum profile_kind kind, uint64_t start_wall_nsec,
		const char *trigger, const void *bytes, size_t size, char **ret_path)
{
	struct place place = { .name.kind = kind,
		.name.second = start_wall_nsec % STORE_DAY_NSEC / NSEC_PER_SEC };
	int r;

	if (trigger && !store_trigger_is_valid(trigger))
		return -EINVAL;
	if (trigger)
		snprintf(place.name.trigger, sizeof(place.name.trigger), "%s", trigger);
	r = store_day_format(start_wall_nsec, place.day);
	if (r < 0)
		return r;
	store_service_format(service, place.service);
	r = put_once(store, &place, bytes, size);
	/* Somebody removed a directory at the very moment. */
	if (r == -ENOENT)
		r = put_once(store, &place, bytes, size);
	if (r < 0)
		return r;
	if (ret_path && asprintf(ret_path, "%s/%s/%s/%s", store->directory, place.day, place.service, place.file) < 0)
		return -ENOMEM;
	return 0;
}

int store_put(struct store *store, const char *service, enum profile_kind kind, uint64_t start_wall_nsec,
		const char *trigger, const void *bytes, size_t size, char **ret_path)
{
	int r = put(store, service, kind, start_wall_nsec, trigger, bytes, size, ret_path);

	if (r < 0) {
		store->stats.failed++;
		return r;
	}
	store->stats.files++;
	store->stats.bytes += size;
	return 0;
}

int store_check(struct store *store)
{
	_cleanup_close_ int fd = -1;
	char temporary[TEMPORARY_SIZE];
	bool owned;
	int root, r;

	root = open_root(store);
	if (root < 0)
		return root;
	r = temporary_name(temporary);
	if (r < 0)
		return r;
	fd = openat(root, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* A directory entry may fit where no data does. */
	r = fill(store, fd, "tsprofd", 7, &owned);
	unlinkat(root, temporary, 0);
	return r;
}

const struct store_stats *store_stats(const struct store *store)
{
	return &store->stats;
}

const char *store_directory(const struct store *store)
{
	return store->directory;
}

const struct store_owner *store_owner(const struct store *store)
{
	return &store->owner;
}

struct store_clock *store_clock(struct store *store)
{
	return &store->clock;
}
