/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What waits were about, by name: what the off-CPU sampler's programs noted of files and sockets (struct sample_object)
 * becomes a path as an administrator writes it, or the address of a peer.
 *
 *	/var/lib/data.db                file, by a mount of its device that this process sees
 *	/tmp/x (deleted)
 *	[253:1]/lib/x                   no such mount: another mount namespace's; the path inside of its file system
 *	.../deep/x                      longer than what is kept of it
 *	[253:1]:1234                    device and inode: nothing else is known
 *	/dev/vda                        what the kernel reads of a device itself: where data is, names
 *	10.1.2.3:5432, [2001:db8::1]:443, unix, unix:/run/x, unix:@x
 */
#include <stdbool.h>
#include <stddef.h>

#include "sample.h"

struct mounts;
struct stacks;

/*
 * Reads the names of all objects of the window's samples from the map; one that is not there any more has its numbers for a
 * name. 0, or -ENOMEM.
 */
int objects_read(int map_fd, struct stacks *stacks);

/* The name of one. False: none worth telling, as of a socket that listens. `object` was written by the kernel, on hearsay. */
bool objects_name(const struct mounts *mounts, const struct sample_object_key *key, const struct sample_object *object, char *ret,
		size_t size);
