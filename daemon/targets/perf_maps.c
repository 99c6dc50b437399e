/* SPDX-License-Identifier: Apache-2.0 */
#include "perf_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "clock.h"
#include "safe_open.h"

enum {
	/* What a JIT writes is a few MB. */
	MAX_SIZE = 64 << 20,
	/* It has the code itself, too. */
	MAX_DUMP_SIZE = 256 << 20,
	/* Of programs that ran in the last windows; a machine has some dozens with a JIT. */
	MAX_OPEN = 256,
	/* The rest is for executables and for what windows in flight hold. */
	MAX_PART_OF_LIMIT = 8,
};
/* A JIT begins its map with the first method it compiles; one without a map costs 10 us each time. */
static const uint64_t first_interval_nsec = 100 * NSEC_PER_MSEC, last_interval_nsec = 5 * NSEC_PER_SEC;

struct perf_maps {
	int proc;
	size_t max_open, n_open;
	struct perf_map *newest, *oldest;
	uint64_t refused;
};

int perf_maps_new(int proc, size_t max_open, struct perf_maps **ret)
{
	struct perf_maps *maps = calloc(1, sizeof(*maps));
	struct rlimit limit;

	if (!maps)
		return -ENOMEM;
	if (!max_open) {
		max_open = MAX_OPEN;
		if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
			max_open = MIN(max_open, (size_t)limit.rlim_cur / MAX_PART_OF_LIMIT);
	}
	maps->proc = proc;
	maps->max_open = max_open;
	*ret = maps;
	return 0;
}

struct perf_maps *perf_maps_free(struct perf_maps *maps)
{
	free(maps);
	return NULL;
}

void perf_map_init(struct perf_map *map)
{
	*map = (struct perf_map){ .fd = -1 };
}

static void unlink_open(struct perf_maps *maps, struct perf_map *map)
{
	*(map->newer ? &map->newer->older : &maps->newest) = map->older;
	*(map->older ? &map->older->newer : &maps->oldest) = map->newer;
	map->newer = map->older = NULL;
	maps->n_open--;
}

static void link_open(struct perf_maps *maps, struct perf_map *map)
{
	map->older = maps->newest;
	*(map->older ? &map->older->newer : &maps->oldest) = map;
	maps->newest = map;
	maps->n_open++;
}

void perf_maps_forget(struct perf_maps *maps, struct perf_map *map)
{
	if (map->fd < 0)
		return;
	unlink_open(maps, map);
	map->fd = close_fd(map->fd);
}

/* A descriptor, -ENOENT when there is no map, or another -errno when there is one that is not to be read. */
static int open_map(const struct perf_maps *maps, const struct perf_maps_query *query)
{
	_cleanup_close_ int root = -1, fd = -1;
	struct stat stat;
	char path[64];

	if (query->pid) {
		snprintf(path, sizeof(path), "%" PRIu32 "/root", query->pid);
		root = openat(maps->proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (root < 0 && query->root < 0)
		return -ENOENT;
	snprintf(path, sizeof(path), "tmp/perf-%" PRIu32 ".map", query->namespace_pid);
	fd = safe_open_below(root >= 0 ? root : query->root, path, false, &stat);
	if (fd < 0)
		return fd;
	/* The owner is the process's or root: /tmp is open to everyone. */
	if (!query->has_uid || (stat.st_uid != query->uid && stat.st_uid != 0))
		return -EPERM;
	return stat.st_size > MAX_SIZE ? -EFBIG : take_fd(&fd);
}

static void refuse(struct perf_maps *maps, int *refusal, int reason)
{
	/* Looked at again and again: not to be counted as often. */
	if (*refusal != reason)
		maps->refused++;
	*refusal = reason;
}

void perf_maps_look(struct perf_maps *maps, struct perf_map *map, const struct perf_maps_query *query)
{
	int fd = open_map(maps, query);

	map->interval_nsec = map->interval_nsec ? MIN(2 * map->interval_nsec, last_interval_nsec) : first_interval_nsec;
	map->next_look_nsec = clock_monotonic_nsec() + map->interval_nsec;
	if (fd == -ENOENT)
		return;
	if (fd < 0) {
		refuse(maps, &map->refusal, fd);
		return;
	}
	map->refusal = 0;
	perf_maps_forget(maps, map);
	map->fd = fd;
	link_open(maps, map);
	while (maps->n_open > maps->max_open)
		perf_maps_forget(maps, maps->oldest);
}

bool perf_map_is_due(const struct perf_map *map, uint64_t now_nsec)
{
	return map->next_look_nsec <= now_nsec;
}

int perf_maps_duplicate(struct perf_maps *maps, struct perf_map *map)
{
	struct stat stat;

	if (map->fd < 0)
		return -1;
	/* It may have grown since. */
	if (fstat(map->fd, &stat) < 0 || stat.st_size > MAX_SIZE) {
		refuse(maps, &map->refusal, -EFBIG);
		return -1;
	}
	/* -1 when there are too many: then it is as if there were no map. */
	return fcntl(map->fd, F_DUPFD_CLOEXEC, 0);
}

bool perf_maps_is_dump(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t digits;

	if (strncmp(name, "jit-", 4) != 0)
		return false;
	digits = strspn(name + 4, "0123456789");
	return digits > 0 && !strcmp(name + 4 + digits, ".dump");
}

int perf_maps_duplicate_dump(struct perf_maps *maps, struct perf_map *map, int fd, bool has_uid, uid_t uid)
{
	struct stat stat;
	int reason = 0;

	if (fstat(fd, &stat) < 0)
		reason = -errno;
	else if (!has_uid || (stat.st_uid != uid && stat.st_uid != 0))
		reason = -EPERM;
	else if (stat.st_size > MAX_DUMP_SIZE)
		reason = -EFBIG;
	if (reason < 0) {
		refuse(maps, &map->dump_refusal, reason);
		return -1;
	}
	map->dump_refusal = 0;
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

uint64_t perf_maps_refused(const struct perf_maps *maps)
{
	return maps->refused;
}
