/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A process that fork() makes for one errand, without an exec. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* ---- its own side: system calls only, since the daemon has threads ---- */

/*
 * The first thing that it does: closes all descriptors but these, since the daemon may end and begin anew while the helper
 * is at work, which must not keep its locks, events and files; and sees to its own end after so many seconds.
 */
void helper_begin(const int *kept, size_t n, unsigned int most_sec);

/* ---- the daemon's side ---- */

struct helper {
	pid_t pid;                           /* 0: there is none, or none any more */
	int fd;                              /* can be read from when it has ended; -1: none */
};

/* What a helper is before it is there, and may be given to helper_deinit(). */
#define HELPER_NONE ((struct helper){ .fd = -1 })

/* `pid`: from fork() just now, or negative, with errno. 0, or -errno: there is none, and what there was has been ended. */
int helper_watch(struct helper *helper, pid_t pid);
/* One that is still at work goes on, and is the zombie later that our own end removes. */
void helper_deinit(struct helper *helper);

/* Waits for its end, but not for longer than that; whether it has ended. */
bool helper_has_ended(const struct helper *helper, int most_msec);
/*
 * Ends it unless it has ended, and waits for that: whoever waits for a page can be killed. 0 or -errno as it called
 * _exit(0) or _exit(errno); -ETIMEDOUT: it had to be ended, here or by itself (helper_begin()); -EIO: something else did.
 */
int helper_finish(struct helper *helper);

/* The same without waiting, for who cannot: one that hangs in the kernel, which even a signal does not end, is a zombie later. */
void helper_kill(struct helper *helper);
/* It has ended, or nothing more is expected of it. */
void helper_leave(struct helper *helper);
