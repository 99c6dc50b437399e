/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Reads the memory of a program; a memory_owner says of which. There are two ways, and a program of ours is compiled with one:
 *
 *	by default          that of the current one: from any context, and only what is resident
 *	MEMORY_OF_OTHERS    that of any task: by bpf_copy_from_user_task() (Linux 5.18, commit 376040e47334), which may sleep, so
 *	                    from sleepable programs alone. A page that is not resident is brought back, and its owner may make us
 *	                    wait for it (a disk, FUSE; not userfaultfd, which is refused): who starts such a program must be able to end it.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#ifdef MEMORY_OF_OTHERS
typedef struct task_struct *memory_owner;

#define memory_of(task) (task)

static __always_inline struct task_struct *memory_task(memory_owner owner)
{
	return owner;
}

/* 0, or negative: nothing was read then. */
static __always_inline long memory_read(memory_owner owner, void *to, __u32 size, __u64 from)
{
	return bpf_copy_from_user_task(to, size, (const void *)from, owner, 0);
}
#else
/* A number, which functions that the verifier looks at once can be given. */
typedef __u64 memory_owner;

#define memory_of(task) 0

static __always_inline struct task_struct *memory_task(memory_owner owner)
{
	return bpf_get_current_task_btf();
}

static __always_inline long memory_read(memory_owner owner, void *to, __u32 size, __u64 from)
{
	return bpf_probe_read_user(to, size, (const void *)from);
}
#endif
