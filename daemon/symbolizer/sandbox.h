/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Takes everything from a helper process that it does not need to work on descriptors it is given: its other
 * descriptors, privileges, files, network, other processes, and endless memory. It must be called by a process with one
 * thread, before it reads its first foreign byte; there is no way back.
 *
 * Layers, each of which would do for most attacks: no capability and no new privileges (prctl(2)), user nobody when
 * started as root, Landlock that allows nothing (landlock(7)), a list of some thirty system calls (seccomp(2)), limits
 * (setrlimit(2)).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sandbox_options {
	int keep_fd;                         /* descriptors above this one are closed; those below 3 become /dev/null */
	uint64_t max_memory;                 /* bytes of heap and private memory (RLIMIT_DATA) */
	uint64_t max_address_space;          /* bytes in all, mapped files included (RLIMIT_AS) */
	uint32_t max_descriptors;
};

/* What holds now. Capabilities, no_new_privs and the list of system calls always do: without them there is no sandbox. */
struct sandbox {
	uint32_t landlock_abi;               /* 0: this kernel has none, or a filter of a container denies it */
	bool limited;                        /* all limits are set */
	bool unprivileged_user;              /* not root: neither before nor now */
};

/* 0 or -errno: the process is in an undefined state between and must exit. */
int sandbox_enter(const struct sandbox_options *options, struct sandbox *ret);
