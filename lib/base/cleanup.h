/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Guards: a local marked _cleanup_(fn) is released when it goes out of scope, on every path.
 * Ownership leaves a guard with TAKE(p).
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Defines fn_p(), the guard of an x_free() that takes and returns a pointer. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
	static inline void fn##_p(type **p) { *p = fn(*p); }                                       \
	struct fn##_semicolon

/* The value of a pointer variable, which is NULL afterwards: hands over ownership. */
#define TAKE(p)                                                                                    \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

/* The same for a file descriptor, which is -1 afterwards. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Closes a descriptor unless it is negative; returns -1, so that `fd = close_fd(fd)` leaves no stale number. */
static inline int close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
	return -1;
}

static inline void free_p(void *p)
{
	free(*(void **)p);
}

static inline void close_fd_p(int *fd)
{
	close_fd(*fd);
}

static inline void fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_ _cleanup_(free_p)
#define _cleanup_close_ _cleanup_(close_fd_p)
#define _cleanup_fclose_ _cleanup_(fclose_p)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
