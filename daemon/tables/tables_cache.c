/* SPDX-License-Identifier: Apache-2.0 */
#include "tables_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "build_id.h"
#include "cleanup.h"
#include "clock.h"
#include "fs.h"
#include "unwind_image.h"
#include "vec.h"

#define FORMAT 1                             /* of the file; the image in it has a version of its own */
#define MAGIC UINT64_C(0x656863616377756e)   /* "nuwcache" */
#define TOUCH_NSEC (24 * 3600 * NSEC_PER_SEC)/* the time of last use is told to the disk once a day */

/* In front of the image. */
struct front {
	uint64_t magic, format;
	/* Which daemon made it: another one may know better. Of its own file. */
	uint64_t maker_size, maker_mtime_nsec;
	struct tables_cache_key key;
};

struct tables_cache {
	int directory;
	uint64_t max_bytes, n_bytes;
	uint64_t maker_size, maker_mtime_nsec;
};

/* A file of ours, for who goes first. */
struct entry {
	uint64_t used_nsec, n_bytes;
	char name[NAME_MAX + 1];
};

_Static_assert(sizeof(struct tables_cache_key) == 64, "no holes");
_Static_assert(sizeof(struct front) % 8 == 0, "the image behind it is aligned as it was");

DEFINE_CLEANUP(struct tables_cache, tables_cache_free);

static uint64_t nsec_of(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * NSEC_PER_SEC + (uint64_t)time->tv_nsec;
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static const char suffix[] = ".unwind";

/* "BUILDID-INODE-USER.1.unwind": files that differ in nothing else take each other's place. */
static void name_of(const struct tables_cache_key *key, char ret[static NAME_MAX + 1])
{
	char hex[BUILD_ID_HEX_SIZE];

	snprintf(ret, NAME_MAX + 1, "%s-%" PRIx64 "-%" PRIu32 ".%d%s", build_id_to_hex(&key->build_id, hex), key->inode,
			key->user, FORMAT, suffix);
}

/* What fs_replace() left behind when the power went ends so, too. */
static bool is_ours(const char *name)
{
	size_t length = strlen(name);

	return length > sizeof(suffix) && !strcmp(name + length - (sizeof(suffix) - 1), suffix);
}

/* --- size ------------------------------------------------------------------------------------------------------ */

static int compare_use(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->used_nsec > y->used_nsec) - (x->used_nsec < y->used_nsec);
}

static int list(const struct tables_cache *cache, struct entry **ret, size_t *ret_n)
{
	VEC(struct entry) entries = {0};
	int fd = openat(cache->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *item;

	if (!directory) {
		int r = -errno;

		close_fd(fd);
		return r;
	}
	while ((item = readdir(directory))) {
		struct entry entry = {0};
		struct stat st;

		if (!is_ours(item->d_name) || fstatat(cache->directory, item->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		entry.used_nsec = nsec_of(&st.st_mtim);
		entry.n_bytes = (uint64_t)st.st_blocks * 512;
		snprintf(entry.name, sizeof(entry.name), "%s", item->d_name);
		/* Half-written ones first. */
		if (item->d_name[0] == '.')
			entry.used_nsec = 0;
		if (vec_push(&entries, entry) < 0)
			break;
	}
	closedir(directory);
	*ret = entries.at;
	*ret_n = entries.n;
	return 0;
}

/* Counts anew, and makes room for what comes when the bound is passed: a quarter, so that it is not done each time. */
static void clean(struct tables_cache *cache)
{
	_cleanup_free_ struct entry *entries = NULL;
	uint64_t sum = 0, bound;
	size_t n = 0;

	if (list(cache, &entries, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		sum += entries[i].n_bytes;
	bound = sum > cache->max_bytes ? cache->max_bytes / 4 * 3 : sum;
	if (n)
		qsort(entries, n, sizeof(*entries), compare_use);
	for (size_t i = 0; i < n; i++) {
		if (sum <= bound && entries[i].used_nsec)
			break;
		if (unlinkat(cache->directory, entries[i].name, 0) == 0)
			sum -= entries[i].n_bytes;
	}
	cache->n_bytes = sum;
}

/* --- life ------------------------------------------------------------------------------------------------------ */

/* The last part of its path may be no link, and what we put into it stays as we put it. */
static int open_directory(const char *path, int *ret)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	r = fs_make_directories(path, 0700);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR ? TABLES_CACHE_E_UNSAFE : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return TABLES_CACHE_E_UNSAFE;
	*ret = take_fd(&fd);
	return 0;
}

int tables_cache_new(const char *directory, uint64_t max_bytes, struct tables_cache **ret)
{
	_cleanup_(tables_cache_free_p) struct tables_cache *cache = calloc(1, sizeof(*cache));
	struct stat self;
	int r;

	if (!cache)
		return -ENOMEM;
	cache->directory = -1;
	cache->max_bytes = max_bytes;
	if (stat("/proc/self/exe", &self) < 0)
		return -errno;
	cache->maker_size = (uint64_t)self.st_size;
	cache->maker_mtime_nsec = nsec_of(&self.st_mtim);
	r = open_directory(directory, &cache->directory);
	if (r)
		return r;
	clean(cache);
	*ret = TAKE(cache);
	return 0;
}

struct tables_cache *tables_cache_free(struct tables_cache *cache)
{
	if (!cache)
		return NULL;
	close_fd(cache->directory);
	free(cache);
	return NULL;
}

/* --- tables ---------------------------------------------------------------------------------------------------- */

int tables_cache_key_of(int fd, const struct build_id *build_id, struct tables_cache_key *ret)
{
	struct tables_cache_key key;
	struct statvfs system;
	struct stat st;

	if (!build_id->size)
		return TABLES_CACHE_E_UNFIT;
	if (fstat(fd, &st) < 0 || fstatvfs(fd, &system) < 0)
		return -errno;
	if (system.f_flag & ST_NOSUID)
		return TABLES_CACHE_E_UNFIT;
	memset(&key, 0, sizeof(key));
	key.inode = st.st_ino;
	key.size = (uint64_t)st.st_size;
	key.mtime_nsec = nsec_of(&st.st_mtim);
	key.ctime_nsec = nsec_of(&st.st_ctim);
	key.user = st.st_uid;
	key.build_id = *build_id;
	*ret = key;
	return 0;
}

static struct front front_of(const struct tables_cache *cache, const struct tables_cache_key *key)
{
	return (struct front){
		.magic = MAGIC, .format = FORMAT,
		.maker_size = cache->maker_size, .maker_mtime_nsec = cache->maker_mtime_nsec,
		.key = *key,
	};
}

static int read_all(int fd, void *data, size_t size, off_t at)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pread(fd, (uint8_t *)data + done, size - done, at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* The image in a file that may be anything. */
static int read_image(const struct tables_cache *cache, int fd, const struct tables_cache_key *key, void **ret, size_t *ret_size)
{
	const struct front wanted = front_of(cache, key);
	_cleanup_free_ void *bytes = NULL;
	struct unwind_image image;
	struct front front;
	struct stat st;
	size_t size;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_size <= (off_t)sizeof(front) ||
	    st.st_size > (off_t)(sizeof(front) + UNWIND_IMAGE_MAX_SIZE))
		return TABLES_CACHE_E_MISSING;
	r = read_all(fd, &front, sizeof(front), 0);
	if (r < 0)
		return r;
	if (memcmp(&front, &wanted, sizeof(front)))
		return TABLES_CACHE_E_MISSING;
	size = (size_t)st.st_size - sizeof(front);
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	r = read_all(fd, bytes, size, sizeof(front));
	if (r < 0)
		return r;
	r = unwind_image_open(bytes, size, &image);
	if (r)
		return r < 0 ? r : TABLES_CACHE_E_MISSING;
	/* It is in use. */
	if (clock_wall_nsec() - nsec_of(&st.st_mtim) > TOUCH_NSEC)
		(void)!futimens(fd, NULL);
	*ret = TAKE(bytes);
	*ret_size = size;
	return 0;
}

int tables_cache_get(struct tables_cache *cache, const struct tables_cache_key *key, void **ret, size_t *ret_size)
{
	_cleanup_close_ int fd = -1;
	char name[NAME_MAX + 1];

	name_of(key, name);
	fd = openat(cache->directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ? TABLES_CACHE_E_MISSING : -errno;
	/* One that is not right is left: the new one takes its place. */
	return read_image(cache, fd, key, ret, ret_size);
}

int tables_cache_put(struct tables_cache *cache, const struct tables_cache_key *key, const void *data, size_t size)
{
	const struct front front = front_of(cache, key);
	_cleanup_free_ uint8_t *bytes = NULL;
	char name[NAME_MAX + 1];
	int r;

	bytes = malloc(sizeof(front) + size);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, &front, sizeof(front));
	memcpy(bytes + sizeof(front), data, size);
	name_of(key, name);
	r = fs_replace(cache->directory, name, 0600, bytes, sizeof(front) + size);
	if (r < 0)
		return r;
	/* What it replaced is counted twice until the next cleaning, which counts anew. */
	cache->n_bytes += sizeof(front) + size + 4096;
	if (cache->n_bytes > cache->max_bytes)
		clean(cache);
	return 0;
}
