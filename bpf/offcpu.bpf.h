/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* What the off-CPU sampler remembers of threads: offcpu.bpf.c and, of those that waited before it came, thread.bpf.c. */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "reason.bpf.h"
#include "sample.h"

/* Of a thread, as long as it lives. */
struct offcpu_thread {
	__u64 since_nsec;                /* it waits, and that is told up to here; 0: it runs */
	__u64 began_nsec;                /* as far as we know */
	__u64 woken_nsec;                /* 0: not yet */
	__u64 mean_nsec[2];              /* of its waits so far, the last ones most; those that began as waits for a CPU; 0: none yet */
	__u64 stack;                     /* hash; 0: none was taken */
	__u64 other;                     /* key.other of what it waited for, once it is woken */
	__u64 measured_nsec;             /* what this wait costs us stands for all, and was measured from then on; 0: it does not */
	struct sample_process process;
	__u32 generation;                /* of the targets, when it was known to belong to one; 0: not yet */
	__u32 tid;
	__u32 n_waits;                   /* from anywhere */
	__u32 ours_nsec;                 /* of a wait that stands for others: what we took of it when it was woken */
	__u16 shift[2];                  /* of its next wait, if each were timed; as mean_nsec */
	__u16 skip;                      /* one in 2^skip waits like this one is timed */
	__u16 wants_tables;              /* it was found waiting (SAMPLE_SHIFT_NONE), before the tables to follow its stack were there */
	__u16 is_throttled;              /* it became ready, and its cgroup had no CPU time left */
	struct sample_wait wait;
	struct reason_queue queue;       /* since it is ready */
	struct object_fault fault;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct offcpu_thread);
} threads SEC(".maps");

/* What nothing is known of when it begins. */
static __always_inline void start_wait(struct offcpu_thread *thread, __u64 start_nsec)
{
	thread->stack = 0;
	thread->other = 0;
	thread->skip = 0;
	thread->measured_nsec = 0;
	thread->ours_nsec = 0;
	thread->woken_nsec = 0;
	thread->began_nsec = start_nsec;
}

/* One that was woken is ready from then on. */
static __always_inline void begin_ready(struct task_struct *task, struct offcpu_thread *thread)
{
	thread->is_throttled = thread->wait.reason == SAMPLE_THROTTLED;
	thread->queue.address = 0;
	if (thread->wait.reason == SAMPLE_RUNQUEUE)
		reason_read_queue(task, &thread->queue);
}

/* On a machine with one CPU that is us. */
static __always_inline bool is_running(const struct task_struct *task)
{
	return bpf_core_field_exists(task->on_cpu) && task->on_cpu;
}

struct bpf_iter__task {
	void *meta;
	struct task_struct *task;
};
