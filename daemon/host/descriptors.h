/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The file descriptors that a process starts with and how many it may have. */

/*
 * Started with standard input, output or error closed, the next files opened would take their numbers, and what is
 * printed would go there. Writing to one that was closed gives EBADF still.
 */
void descriptors_fill_standard(void);

/* Each binary that processes map is a descriptor; the default soft limit of 1024 is for programs that use select(). */
void descriptors_raise_limit(void);
/* As it was before: for a command that we start. Nothing when it was not raised. */
void descriptors_restore_limit(void);
