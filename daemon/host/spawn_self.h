/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Starts a helper that is a program of its own: our own executable under another name (argv[0]), by which main() knows what it is
 * to be. It begins with nothing of ours but the descriptors it is given, and confines itself then (sandbox.h).
 */
#include <stddef.h>
#include <sys/types.h>

enum { SPAWN_SELF_FIRST_FD = 3, SPAWN_SELF_MAX_FDS = 4 };

struct spawn_self {
	const char *name;
	const char *argument;                /* for ps(1); NULL: none */
	const int *fds;                      /* borrowed; in the helper they are 3, 4, ... */
	size_t n_fds;                        /* at most SPAWN_SELF_MAX_FDS */
};

/* SIGINT, SIGTERM and SIGHUP are blocked in it: what ends us (Ctrl-C goes to both) must not end it first. 0 or -errno. */
int spawn_self(const struct spawn_self *what, pid_t *ret);
