/* SPDX-License-Identifier: Apache-2.0 */
#include "binaries.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "hash.h"
#include "map.h"
#include "safe_open.h"
#include "vec.h"

enum {
	MAX_ROOTS = 256,                     /* containers on one machine; more of them only lose names of short-lived processes */
};
/* A file that can't be opened now may be reached through the next process that maps it, but not 600 times a second. */
static const uint64_t retry_nsec = NSEC_PER_SEC;

/*
 * What a file is found by. One file may have several: by build id and path, by the device that the kernel shows in
 * mappings, by the one that stat(2) shows (they differ on btrfs and overlayfs).
 *
 * The path is part of the first kind because anyone can write a build id into a file of his own: it must not become
 * everyone's C library.
 */
struct key {
	uint64_t path;                       /* hash; of inodes: 0 */
	uint64_t words[3];                   /* build id and its size, or device, inode, 0 */
};

struct binaries_file {
	size_t n_references;
	uint64_t serial;
	char *path;
	struct build_id build_id;
	struct binary *binary;               /* what was given away last, kept for its descriptor; NULL: not open */
	VEC(struct key) keys;
	/* Of the file as it was opened first: another one is never taken for it. */
	bool is_known;
	bool unverified;
	uint64_t device, inode, size, mtime_nsec;
	uint64_t next_attempt_nsec;
	bool is_counted;                     /* as unavailable */
	/* Files with an open descriptor, the one used last in front. */
	struct binaries_file *newer, *older;
};

struct binaries_root {
	size_t n_references;
	int fd;                              /* O_PATH */
	uint64_t key[3];                     /* mount namespace; device and inode of the directory: chroot makes another one */
};

struct binaries {
	int proc;
	size_t max_open, n_open;
	struct map files;                    /* struct key -> struct binaries_file * */
	struct map roots;                    /* key[3] -> struct binaries_root * */
	size_t n_files;
	struct binaries_file *newest, *oldest;
	uint64_t next_serial;
	uint64_t unavailable;
};

/* A file just opened. */
struct opened {
	int fd;
	bool unverified;
	uint64_t device, inode, size, mtime_nsec;
};

static struct key key_of_build_id(const struct build_id *id, const char *path)
{
	struct key key = { .path = hash_bytes(path, strlen(path)) };

	memcpy(key.words, id->bytes, id->size);
	key.words[2] |= (uint64_t)id->size << 56;
	return key;
}

static struct key key_of_inode(uint64_t device, uint64_t inode)
{
	return (struct key){ .words = { device, inode } };
}

static struct binaries_file *find(const struct binaries *binaries, struct key key)
{
	struct binaries_file **found = map_get(&binaries->files, &key);

	return found ? *found : NULL;
}

/* From now on the key leads to this file; one that it led to before keeps living without. */
static int add_key(struct binaries *binaries, struct binaries_file *file, struct key key)
{
	void *value;
	int r = vec_reserve(&file->keys, file->keys.n + 1);

	if (r >= 0)
		r = map_put(&binaries->files, &key, &value);
	if (r < 0)
		return r;
	if (*(struct binaries_file **)value == file)
		return 0;
	*(struct binaries_file **)value = file;
	file->keys.at[file->keys.n++] = key;
	return 0;
}

static void unlink_open(struct binaries *binaries, struct binaries_file *file)
{
	*(file->newer ? &file->newer->older : &binaries->newest) = file->older;
	*(file->older ? &file->older->newer : &binaries->oldest) = file->newer;
	file->newer = file->older = NULL;
	binaries->n_open--;
}

static void link_open(struct binaries *binaries, struct binaries_file *file)
{
	file->older = binaries->newest;
	*(file->older ? &file->older->newer : &binaries->oldest) = file;
	binaries->newest = file;
	binaries->n_open++;
}

static bool is_open(const struct binaries_file *file)
{
	return file->binary && file->binary->fd >= 0;
}

/* Lets go of the descriptor; images that were given it keep it open. */
static void forget_binary(struct binaries *binaries, struct binaries_file *file)
{
	if (is_open(file))
		unlink_open(binaries, file);
	file->binary = binary_unref(file->binary);
}

static void touch(struct binaries *binaries, struct binaries_file *file)
{
	if (!is_open(file) || binaries->newest == file)
		return;
	unlink_open(binaries, file);
	link_open(binaries, file);
}

int binaries_new(int proc, size_t max_open, struct binaries **ret)
{
	struct binaries *binaries = calloc(1, sizeof(*binaries));
	struct rlimit limit;

	if (!binaries)
		return -ENOMEM;
	if (!max_open && getrlimit(RLIMIT_NOFILE, &limit) == 0)
		max_open = limit.rlim_cur / 2;
	binaries->proc = proc;
	binaries->max_open = MAX(max_open, (size_t)1);
	map_init(&binaries->files, sizeof(struct key), sizeof(struct binaries_file *));
	map_init(&binaries->roots, sizeof(uint64_t[3]), sizeof(struct binaries_root *));
	*ret = binaries;
	return 0;
}

struct binaries *binaries_free(struct binaries *binaries)
{
	if (!binaries)
		return NULL;
	map_deinit(&binaries->files);
	map_deinit(&binaries->roots);
	free(binaries);
	return NULL;
}

static struct binaries_file *file_free(struct binaries *binaries, struct binaries_file *file)
{
	forget_binary(binaries, file);
	for (size_t i = 0; i < file->keys.n; i++)
		if (find(binaries, file->keys.at[i]) == file)
			map_remove(&binaries->files, &file->keys.at[i]);
	vec_deinit(&file->keys);
	binaries->n_files--;
	free(file->path);
	free(file);
	return NULL;
}

struct binaries_file *binaries_file_ref(struct binaries_file *file)
{
	file->n_references++;
	return file;
}

struct binaries_file *binaries_file_unref(struct binaries *binaries, struct binaries_file *file)
{
	if (!file || --file->n_references)
		return NULL;
	return file_free(binaries, file);
}

const char *binaries_file_path(const struct binaries_file *file)
{
	return file->path;
}

static uint64_t timestamp_nsec(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * NSEC_PER_SEC + (uint64_t)t->tv_nsec;
}

/* Wall time of a monotonic one. */
static uint64_t wall_nsec(uint64_t monotonic_nsec)
{
	return clock_wall_nsec() - (clock_monotonic_nsec() - monotonic_nsec);
}

/* The link of a mapping or of the program leads to the file itself, wherever it is and even if it was deleted. */
static int open_link(struct binaries *binaries, const struct binaries_query *query, const char *link, struct stat *ret_stat,
		bool *ret_same_path)
{
	_cleanup_close_ int path_fd = openat(binaries->proc, link, O_PATH | O_CLOEXEC);
	char path[PATH_MAX];
	size_t length = strlen(query->path);
	ssize_t n;

	if (path_fd < 0)
		return -errno;
	n = readlinkat(binaries->proc, link, path, sizeof(path));
	*ret_same_path = n >= 0 && (size_t)n >= length && !memcmp(path, query->path, length) &&
			((size_t)n == length || path[length] == ' ');
	return safe_open_regular(path_fd, ret_stat);
}

/*
 * Whether a file found through a process or by path is the one that was mapped, as far as the kernel's word for it
 * goes. A build id is in the file: only who parses it can tell.
 */
static bool is_the_file(const struct binaries_query *query, const struct stat *stat, bool process_lives)
{
	if (!query->inode)
		return true;
	if (stat->st_ino != query->inode)
		return false;
	if (stat->st_dev == query->device)
		/* The number may be another file's by now: that one was made after the mapping. */
		return process_lives || timestamp_nsec(&stat->st_ctim) <= wall_nsec(query->time_nsec);
	/* btrfs and overlayfs show one device in mappings and another in stat(2). */
	return process_lives;
}

static int open_query(struct binaries *binaries, const struct binaries_query *query, struct opened *ret)
{
	bool same_path = false, lives = true, by_path = false;
	char link[96];
	struct stat stat;
	int fd = -ESRCH;

	if (query->pid) {
		snprintf(link, sizeof(link), "%u/map_files/%" PRIx64 "-%" PRIx64, query->pid, query->start, query->end);
		fd = open_link(binaries, query, link, &stat, &same_path);
		if (fd < 0 && query->is_exe) {
			snprintf(link, sizeof(link), "%u/exe", query->pid);
			fd = open_link(binaries, query, link, &stat, &same_path);
		}
		if (fd < 0 && !query->deleted) {
			_cleanup_close_ int root = -1;

			snprintf(link, sizeof(link), "%u/root", query->pid);
			root = openat(binaries->proc, link, O_PATH | O_DIRECTORY | O_CLOEXEC);
			by_path = true;
			if (root >= 0)
				fd = safe_open_below(root, query->path, true, &stat);
		}
		if (fd >= 0 && !is_the_file(query, &stat, true))
			fd = close_fd(fd);
	}
	if (fd < 0 && query->root && !query->deleted) {
		by_path = true;
		lives = false;
		fd = safe_open_below(query->root->fd, query->path, true, &stat);
		if (fd >= 0 && !is_the_file(query, &stat, lives))
			fd = close_fd(fd);
	}
	if (fd < 0)
		return -ENOENT;
	*ret = (struct opened){
		.fd = fd,
		.unverified = !query->inode && (by_path || !same_path),
		.device = stat.st_dev,
		.inode = stat.st_ino,
		.size = stat.st_size,
		.mtime_nsec = timestamp_nsec(&stat.st_mtim),
	};
	return 0;
}

static bool is_same(const struct binaries_file *file, const struct opened *opened)
{
	return file->is_known && file->device == opened->device && file->inode == opened->inode &&
	       file->size == opened->size && file->mtime_nsec == opened->mtime_nsec;
}

/* The value to give away, with `fd`, which it takes even when it fails. */
static int make_binary(struct binaries *binaries, struct binaries_file *file, int fd)
{
	struct binary *binary = calloc(1, sizeof(*binary));
	char *path = strdup(file->path);

	if (!binary || !path) {
		free(binary);
		free(path);
		close_fd(fd);
		return -ENOMEM;
	}
	*binary = (struct binary){
		.n_references = 1,
		.fd = fd,
		.path = path,
		.build_id = file->build_id,
		.unverified = file->unverified,
		.device = file->device,
		.inode = file->inode,
		.size = file->size,
		.mtime_nsec = file->mtime_nsec,
		.serial = file->serial,
	};
	forget_binary(binaries, file);
	file->binary = binary;
	if (fd < 0)
		return 0;
	link_open(binaries, file);
	while (binaries->n_open > binaries->max_open)
		forget_binary(binaries, binaries->oldest);
	return 0;
}

static void count_unavailable(struct binaries *binaries, struct binaries_file *file)
{
	file->next_attempt_nsec = clock_monotonic_nsec() + retry_nsec;
	if (!file->is_counted)
		binaries->unavailable++;
	file->is_counted = true;
}

/* Gives the file its descriptor, which is taken even on failure. */
static int adopt(struct binaries *binaries, struct binaries_file *file, const struct opened *opened)
{
	int r;

	if (!file->is_known) {
		file->is_known = true;
		file->unverified = opened->unverified;
		file->device = opened->device;
		file->inode = opened->inode;
		file->size = opened->size;
		file->mtime_nsec = opened->mtime_nsec;
		r = add_key(binaries, file, key_of_inode(opened->device, opened->inode));
		if (r < 0) {
			close_fd(opened->fd);
			return r;
		}
	}
	return make_binary(binaries, file, opened->fd);
}

static int reopen(struct binaries *binaries, struct binaries_file *file, const struct binaries_query *query)
{
	struct opened opened;

	if (clock_monotonic_nsec() < file->next_attempt_nsec)
		return 0;
	if (open_query(binaries, query, &opened) < 0) {
		count_unavailable(binaries, file);
		return 0;
	}
	if (file->is_known && !is_same(file, &opened)) {
		close_fd(opened.fd);
		count_unavailable(binaries, file);
		return 0;
	}
	return adopt(binaries, file, &opened);
}

static int file_new(struct binaries *binaries, const struct binaries_query *query, struct binaries_file **ret)
{
	struct binaries_file *file = calloc(1, sizeof(*file));

	if (!file)
		return -ENOMEM;
	file->path = strdup(query->path);
	if (!file->path) {
		free(file);
		return -ENOMEM;
	}
	file->n_references = 1;
	file->serial = ++binaries->next_serial;
	file->build_id = query->build_id;
	binaries->n_files++;
	*ret = file;
	return 0;
}

/* A file that was found by another name, if that is what was opened. */
static struct binaries_file *find_opened(struct binaries *binaries, const struct binaries_query *query,
		const struct opened *opened)
{
	struct binaries_file *file = find(binaries, key_of_inode(opened->device, opened->inode));

	if (!file || !is_same(file, opened))
		return NULL;
	/* Two build ids in one inode: it was written over, and only the descriptors know which is which. */
	if (file->build_id.size && query->build_id.size &&
	    (file->build_id.size != query->build_id.size ||
	     memcmp(file->build_id.bytes, query->build_id.bytes, query->build_id.size) != 0))
		return NULL;
	return file;
}

/*
 * A file found without its build id now has one: told to those who ask from now on. Not if it was opened by its path
 * alone, whoever mapped what under that path: a wrong one would cost the file its names for everyone.
 */
static void learn_build_id(struct binaries *binaries, struct binaries_file *file, const struct binaries_query *query,
		const struct opened *opened)
{
	if (file->build_id.size || !query->build_id.size || opened->unverified)
		return;
	file->build_id = query->build_id;
	forget_binary(binaries, file);
}

/* The same for one that was found by its build id before, but could only be opened by its path then. */
static int confirm(struct binaries *binaries, struct binaries_file *file, const struct binaries_query *query)
{
	struct opened opened;

	if (clock_monotonic_nsec() < file->next_attempt_nsec)
		return 0;
	file->next_attempt_nsec = clock_monotonic_nsec() + retry_nsec;
	if (open_query(binaries, query, &opened) < 0)
		return 0;
	if (is_same(file, &opened))
		learn_build_id(binaries, file, query, &opened);
	if (is_open(file)) {
		close_fd(opened.fd);
		return 0;
	}
	return make_binary(binaries, file, opened.fd);
}

static int add(struct binaries *binaries, const struct binaries_query *query, struct key key, struct binaries_file **ret)
{
	struct binaries_file *file = NULL;
	struct opened opened = { .fd = -1 };
	bool is_opened = open_query(binaries, query, &opened) >= 0;
	int r = 0;

	if (is_opened)
		file = find_opened(binaries, query, &opened);
	if (file) {
		binaries_file_ref(file);
		learn_build_id(binaries, file, query, &opened);
	} else {
		r = file_new(binaries, query, &file);
		if (r < 0) {
			close_fd(opened.fd);
			return r;
		}
	}
	if (!is_opened)
		count_unavailable(binaries, file);
	else if (is_open(file))
		close_fd(opened.fd);
	else
		r = adopt(binaries, file, &opened);
	if (r >= 0)
		r = add_key(binaries, file, key);
	if (r < 0) {
		binaries_file_unref(binaries, file);
		return r;
	}
	*ret = file;
	return 0;
}

int binaries_get(struct binaries *binaries, const struct binaries_query *query, struct binaries_file **ret)
{
	struct key key = query->build_id.size ? key_of_build_id(&query->build_id, query->path) :
						key_of_inode(query->device, query->inode);
	struct binaries_file *file = find(binaries, key);
	int r;

	if (!file)
		return add(binaries, query, key, ret);
	touch(binaries, file);
	r = is_open(file) ? 0 : reopen(binaries, file, query);
	if (r >= 0 && is_open(file) && !file->build_id.size && query->build_id.size)
		r = confirm(binaries, file, query);
	if (r < 0)
		return r;
	*ret = binaries_file_ref(file);
	return 0;
}

struct binary *binaries_file_binary(struct binaries *binaries, struct binaries_file *file,
		const struct binaries_query *query)
{
	touch(binaries, file);
	if (!is_open(file) && query && reopen(binaries, file, query) < 0)
		return NULL;
	if (!file->binary && make_binary(binaries, file, -1) < 0)
		return NULL;
	return binary_ref(file->binary);
}

struct binary *binaries_open_anew(struct binaries *binaries, const struct binaries_query *query)
{
	struct binary *binary = calloc(1, sizeof(*binary));
	struct opened opened;

	if (!binary)
		return NULL;
	binary->path = strdup(query->path);
	if (!binary->path || !query->pid || open_query(binaries, query, &opened) < 0) {
		free(binary->path);
		free(binary);
		return NULL;
	}
	binary->n_references = 1;
	binary->fd = opened.fd;
	binary->unverified = opened.unverified;
	binary->device = opened.device;
	binary->inode = opened.inode;
	binary->size = opened.size;
	binary->mtime_nsec = opened.mtime_nsec;
	binary->serial = ++binaries->next_serial;
	return binary;
}

struct binaries_root *binaries_root_of(struct binaries *binaries, uint32_t pid)
{
	_cleanup_close_ int fd = -1;
	struct binaries_root *root, **slot;
	struct stat namespace, directory;
	char path[32];

	snprintf(path, sizeof(path), "%u/ns/mnt", pid);
	if (fstatat(binaries->proc, path, &namespace, 0) < 0)
		return NULL;
	snprintf(path, sizeof(path), "%u/root", pid);
	fd = openat(binaries->proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &directory) < 0)
		return NULL;

	const uint64_t key[3] = { namespace.st_ino, directory.st_dev, directory.st_ino };

	slot = map_get(&binaries->roots, key);
	if (slot)
		return binaries_root_ref(*slot);
	if (binaries->roots.n >= MAX_ROOTS)
		return NULL;
	root = calloc(1, sizeof(*root));
	if (!root || map_put(&binaries->roots, key, (void **)&slot) < 0) {
		free(root);
		return NULL;
	}
	root->n_references = 1;
	root->fd = take_fd(&fd);
	memcpy(root->key, key, sizeof(key));
	*slot = root;
	return root;
}

struct binaries_root *binaries_root_ref(struct binaries_root *root)
{
	if (root)
		root->n_references++;
	return root;
}

struct binaries_root *binaries_root_unref(struct binaries *binaries, struct binaries_root *root)
{
	if (!root || --root->n_references)
		return NULL;
	map_remove(&binaries->roots, root->key);
	close_fd(root->fd);
	free(root);
	return NULL;
}

int binaries_root_fd(const struct binaries_root *root)
{
	return root ? root->fd : -1;
}

struct binaries_stats binaries_stats(const struct binaries *binaries)
{
	return (struct binaries_stats){
		.n_files = binaries->n_files,
		.n_open = binaries->n_open,
		.n_roots = binaries->roots.n,
		.unavailable = binaries->unavailable,
	};
}
