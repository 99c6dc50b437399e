/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The runtime directory (/run/tsprofd, or what systemd says in RUNTIME_DIRECTORY): small files that others read, and the
 * lock that keeps a second daemon away.
 */
#include <stddef.h>

struct runtime;

/*
 * Makes the directory when it is missing, and takes the lock. 0; RUNTIME_E_LOCKED when another process has it; -errno
 * when the directory cannot be used. runtime_write() gives an error then. *ret is set in any case but -ENOMEM.
 */
int runtime_open(struct runtime **ret);
enum { RUNTIME_E_LOCKED = 1 };
/* Removes what was written and gives the lock back. NULL is fine. */
void runtime_close(struct runtime *runtime);

/* Puts a file there, whole, readable by all. 0 or -errno. */
int runtime_write(struct runtime *runtime, const char *name, const void *data, size_t size);

/*
 * A descriptor of the directory, borrowed, for who keeps there what has to outlive this process; -errno when it cannot be used or is
 * another's, as runtime_write() has it.
 */
int runtime_directory(const struct runtime *runtime);

/* "" for NULL. */
const char *runtime_path(const struct runtime *runtime);
/* The process that has the lock; 0 when it does not say. */
int runtime_holder(const struct runtime *runtime);
