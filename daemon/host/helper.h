/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A process that fork() makes for one errand, without an exec: system calls only, since the daemon has threads. */
#include <stddef.h>

/*
 * The first thing that it does: closes all descriptors but these, since the daemon may end and begin anew while the helper
 * is at work, which must not keep its locks, events and files; and sees to its own end after so many seconds.
 */
void helper_begin(const int *kept, size_t n, unsigned int most_sec);
