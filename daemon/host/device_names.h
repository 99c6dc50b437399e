/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What devices of file systems are called: the whole disk as /proc/diskstats has it (vda, nvme0n1, dm-0), and for file systems that
 * have no device of their own (overlay, btrfs, NFS) what they were mounted from. Remembered for as long as the object lives: keep it
 * for one window, as numbers are given anew.
 */
#include <stdbool.h>
#include <stdint.h>

#include "mounts.h"
#include "vec.h"

enum { DEVICE_NAME_LENGTH = 64 };

struct device_name {
	uint32_t device;
	char name[DEVICE_NAME_LENGTH];
};

struct device_names {
	int root;                            /* of /sys and /proc: a directory, or AT_FDCWD for the real one */
	VEC(struct device_name) known;
	bool has_mounts;                     /* they were read, when the first device was asked for that has none of its own */
	struct mounts mounts;
};

void device_names_init(struct device_names *names, int root);
void device_names_deinit(struct device_names *names);

/*
 * `device` is as the kernel has it: major << 20 | minor. One that nothing is known of is called "major:minor", 0 "unknown".
 * Never NULL; valid until the next call.
 */
const char *device_names_get(struct device_names *names, uint32_t device);
