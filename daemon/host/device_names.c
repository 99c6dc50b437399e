/* SPDX-License-Identifier: Apache-2.0 */
#include "device_names.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"

/* Distinct ones that are remembered. */
static const size_t max_known = 256;

void device_names_init(struct device_names *names, int root)
{
	*names = (struct device_names){ .root = root };
}

void device_names_deinit(struct device_names *names)
{
	vec_deinit(&names->known);
	mounts_deinit(&names->mounts);
}

static const char *below_root(const struct device_names *names, const char *path)
{
	return names->root == AT_FDCWD ? path : path + 1;
}

static void set_name(char *name, const char *from)
{
	const char *slash = strrchr(from, '/');

	snprintf(name, DEVICE_NAME_LENGTH, "%.*s", DEVICE_NAME_LENGTH - 1, slash && slash[1] ? slash + 1 : from);
}

/* /sys/dev/block/8:1 leads to .../block/sda/sda1, which has a file `partition`. */
static bool find_disk(const struct device_names *names, uint32_t major, uint32_t minor, char *name)
{
	char path[128], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major, minor);
	n = readlinkat(names->root, below_root(names, path), target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = 0;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major, minor);
	if (faccessat(names->root, below_root(names, path), F_OK, 0) == 0 && strrchr(target, '/'))
		*strrchr(target, '/') = 0;
	set_name(name, target);
	return true;
}

static bool find_mount(struct device_names *names, uint32_t major, uint32_t minor, char *name)
{
	/* Without, devices are numbers. */
	if (!names->has_mounts)
		(void)mounts_read(names->root, below_root(names, "/proc/self/mountinfo"), &names->mounts);
	names->has_mounts = true;
	for (size_t i = 0; i < names->mounts.all.n; i++) {
		const struct mount *mount = &names->mounts.all.at[i];

		if (mount->device != makedev(major, minor) || !mount->type || !mount->source)
			continue;
		if (!strncmp(mount->source, "/dev/", 5))
			set_name(name, mount->source);
		else
			snprintf(name, DEVICE_NAME_LENGTH, "%.*s", DEVICE_NAME_LENGTH - 1,
					strcmp(mount->source, "none") ? mount->source : mount->type);
		return true;
	}
	return false;
}

static void find(struct device_names *names, struct device_name *device)
{
	uint32_t major = device->device >> 20, minor = device->device & ((1U << 20) - 1);

	if (!device->device)
		snprintf(device->name, sizeof(device->name), "unknown");
	else if (!find_disk(names, major, minor, device->name) && !find_mount(names, major, minor, device->name))
		snprintf(device->name, sizeof(device->name), "%u:%u", major, minor);
}

const char *device_names_get(struct device_names *names, uint32_t device)
{
	struct device_name added = { .device = device };

	for (size_t i = 0; i < names->known.n; i++)
		if (names->known.at[i].device == device)
			return names->known.at[i].name;
	if (names->known.n >= max_known)
		return "other";
	find(names, &added);
	return vec_push(&names->known, added) < 0 ? "other" : names->known.at[names->known.n - 1].name;
}
