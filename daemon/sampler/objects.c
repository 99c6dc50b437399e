/* SPDX-License-Identifier: Apache-2.0 */
#include "objects.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "map.h"
#include "mounts.h"
#include "stacks.h"

/* More than the map of the programs remembers; each costs a system call. */
enum { MAX_OBJECTS = 8192 };

/* include/linux/kdev_t.h: of the kernel's own numbers. */
static unsigned int major_of(uint32_t device)
{
	return device >> 20;
}

static unsigned int minor_of(uint32_t device)
{
	return device & ((1U << 20) - 1);
}

/* --- files --- */

/* Components come leaf first. False: that is no path. */
static bool join(const struct sample_object *object, char *ret, size_t size)
{
	size_t left = MIN(object->path_size, sizeof(object->path)), at = 0, end = left;

	if (!left || object->path[left - 1] || left + sizeof("...") > size)
		return false;
	if (object->flags & SAMPLE_PATH_CUT) {
		memcpy(ret, "...", 3);
		at = 3;
	}
	while (end) {
		size_t from = end - 1;

		while (from && object->path[from - 1])
			from--;
		ret[at++] = '/';
		memcpy(ret + at, object->path + from, end - 1 - from);
		at += end - 1 - from;
		end = from;
	}
	ret[at] = '\0';
	return true;
}

static void name_device(uint32_t device, char *ret, size_t size)
{
	char link[64], target[PATH_MAX];
	const char *base;
	ssize_t n;

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major_of(device), minor_of(device));
	n = readlink(link, target, sizeof(target) - 1);
	target[MAX(n, 0)] = '\0';
	base = strrchr(target, '/');
	if (base && base[1])
		snprintf(ret, size, "/dev/%.64s", base + 1);
	else
		snprintf(ret, size, "[%u:%u]", major_of(device), minor_of(device));
}

static void name_file(const struct mounts *mounts, const struct sample_object_key *key, const struct sample_object *object, char *ret,
		size_t size)
{
	const char *deleted = object->flags & SAMPLE_PATH_DELETED ? " (deleted)" : "";
	char inside[SAMPLE_PATH_MAX + 8], path[PATH_MAX];
	bool is_root = object->flags & SAMPLE_PATH_ROOT;

	if (!join(object, inside, sizeof(inside)))
		snprintf(ret, size, "[%u:%u]:%llu", major_of(key->device), minor_of(key->device), (unsigned long long)key->object);
	else if (is_root && strcmp(inside, "//") != 0)
		snprintf(ret, size, "%s", inside + 1); /* memfd:x */
	else if (object->flags & SAMPLE_PATH_CUT)
		snprintf(ret, size, "%s%s", inside, deleted);
	else if (mounts_path(mounts, makedev(major_of(key->device), minor_of(key->device)), is_root ? "/" : inside, path, sizeof(path)))
		snprintf(ret, size, "%s%s", path, deleted);
	else
		snprintf(ret, size, "[%u:%u]%s%s", major_of(key->device), minor_of(key->device), is_root ? "/" : inside, deleted);
}

/* --- sockets --- */

static bool name_socket(const struct sample_object *object, char *ret, size_t size)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }; /* RFC 4291 2.5.5.2 */
	bool is_inet6 = object->family == AF_INET6 && memcmp(object->peer, mapped, sizeof(mapped)) != 0;
	const uint8_t *address = object->peer + (object->family == AF_INET6 && !is_inet6 ? sizeof(mapped) : 0);
	char text[INET6_ADDRSTRLEN];
	size_t n = MIN(object->path_size, sizeof(object->path));

	if (object->family == AF_UNIX) {
		snprintf(ret, size, n && !object->path[n - 1] ? "unix:%s" : "unix", object->path);
		return true;
	}
	if ((object->family != AF_INET && object->family != AF_INET6) || !object->peer_port ||
	    !inet_ntop(is_inet6 ? AF_INET6 : AF_INET, address, text, sizeof(text)))
		return false;
	snprintf(ret, size, is_inet6 ? "[%s]:%u" : "%s:%u", text, object->peer_port);
	return true;
}

bool objects_name(const struct mounts *mounts, const struct sample_object_key *key, const struct sample_object *object, char *ret,
		size_t size)
{
	switch ((enum sample_object_kind)object->kind) {
	case SAMPLE_OBJECT_FILE:
		name_file(mounts, key, object, ret, size);
		return true;
	case SAMPLE_OBJECT_BLOCK_DEVICE:
		name_device(object->device, ret, size);
		return true;
	case SAMPLE_OBJECT_SOCKET:
		return name_socket(object, ret, size);
	case SAMPLE_OBJECT_NONE:
		break;
	}
	return false;
}

/* --- a window's end --- */

static int read_one(int map_fd, const struct mounts *mounts, const struct sample_object_key *key, uint16_t reason, struct stacks *stacks)
{
	struct stacks_object found = { .object = key->object, .device = key->device };
	char name[PATH_MAX + sizeof(" (deleted)")];
	struct sample_object object;
	int r;

	if (bpf_map_lookup_elem(map_fd, key, &object) < 0) {
		if (reason == SAMPLE_NETWORK)
			return 0;
		object = (struct sample_object){ .kind = SAMPLE_OBJECT_FILE };
	}
	found.kind = object.kind;
	if (!objects_name(mounts, key, &object, name, sizeof(name)))
		return 0;
	found.name = strdup(name);
	r = found.name ? vec_push(&stacks->objects, found) : -ENOMEM;
	if (r < 0)
		free(found.name);
	return r;
}

int objects_read(int map_fd, struct stacks *stacks)
{
	struct mounts mounts = { 0 };
	bool has_mounts = false;
	struct map known;
	int r = 0;

	map_init(&known, sizeof(struct sample_object_key), 1);
	for (size_t i = 0; i < stacks->samples.n && r >= 0 && known.n < MAX_OBJECTS; i++) {
		const struct sample_wait *wait = &stacks->samples.at[i].wait;
		const struct sample_object_key key = { .object = wait->object, .device = wait->device };
		void *value;

		if (!wait->object || (wait->reason != SAMPLE_DISK && wait->reason != SAMPLE_FAULT && wait->reason != SAMPLE_NETWORK))
			continue;
		r = map_put(&known, &key, &value);
		if (r <= 0)
			continue;
		/* Without, paths are those inside of their file systems. */
		if (!has_mounts && mounts_read(AT_FDCWD, "/proc/self/mountinfo", &mounts) == -ENOMEM)
			r = -ENOMEM;
		has_mounts = true;
		if (r >= 0)
			r = read_one(map_fd, &mounts, &key, wait->reason, stacks);
	}
	map_deinit(&known);
	mounts_deinit(&mounts);
	stacks_sort_objects(stacks);
	return MIN(r, 0);
}
