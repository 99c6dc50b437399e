/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Which process is it, and is it ours? The daemon sets the constants before it loads the program.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "sample.h"

/* Inode of the daemon's pid namespace (stat of /proc/self/ns/pid); 0: it is the initial one, nothing to translate. */
const volatile __u32 pid_namespace = 0;

enum { TARGET_MAX_NAMESPACE_LEVEL = 32 /* MAX_PID_NS_LEVEL, include/linux/pid_namespace.h */ };

/* The number of a pid in the daemon's namespace; 0: it has none there. */
static __always_inline __u32 target_translate(struct pid *pid)
{
	unsigned int level = BPF_CORE_READ(pid, level);

	for (unsigned int i = 0; i <= TARGET_MAX_NAMESPACE_LEVEL; i++) {
		struct upid upid = {};

		if (i > level)
			break;
		bpf_probe_read_kernel(&upid, sizeof(upid), (void *)&pid->numbers + i * sizeof(upid));
		if (BPF_CORE_READ(upid.ns, ns.inum) == pid_namespace)
			return upid.nr;
	}
	return 0;
}

/* Thread number as the daemon sees it; 0: outside its pid namespace. */
static __always_inline __u32 target_tid(struct task_struct *task)
{
	return pid_namespace ? target_translate(task->thread_pid) : (__u32)task->pid;
}

/* The program image that `task`, any of its threads, runs. pid is 0 when it is outside the daemon's pid namespace. */
static __always_inline void target_identify(struct task_struct *task, struct sample_process *ret)
{
	struct task_struct *leader = task->group_leader;

	ret->pid = pid_namespace ? target_translate(leader->thread_pid) : (__u32)task->tgid;
	ret->start_nsec = leader->start_boottime;
	/* Per thread, but all threads of a process have the same: they inherit it, and exec leaves only one alive. */
	ret->exec_id = (__u32)task->self_exec_id;
}
