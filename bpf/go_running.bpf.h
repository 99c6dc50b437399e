/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * What threads that run goroutines did when they were sampled last. A goroutine that runs has its stack in registers, which
 * nobody can read from outside without stopping it; but the sampler has seen it a moment ago.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "go_thread.h"
#include "sample.h"
#include "unwind.bpf.h"

/* Written in place: no map is changed, which another program on this CPU may be about when an NMI brings us here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GO_RUNNING_SLOTS);
	__type(key, __u32);
	__type(value, struct go_running);
} go_running SEC(".maps");

/* The number of the thread in the innermost of its namespaces: what gettid() says to it. */
static __always_inline __u32 go_running_thread(struct task_struct *task)
{
	struct pid *pid = task->thread_pid;
	unsigned int level = BPF_CORE_READ(pid, level);
	struct upid upid = {};

	if (level > TARGET_MAX_NAMESPACE_LEVEL)
		return 0;
	bpf_probe_read_kernel(&upid, sizeof(upid), (void *)&pid->numbers + level * sizeof(upid));
	return (__u32)upid.nr;
}

/* Of the current thread, whose stack is in `unwind`. 0: kept. Whoever reads meanwhile reads again (sampler_cpu.c). */
static __attribute__((noinline)) int go_running_keep(struct task_struct *task, struct unwind *unwind, __u64 goroutine)
{
	const struct sample_process *process = &unwind->stack.key.process;
	__u32 n = unwind->stack.n_user, n_kernel = unwind->stack.n_kernel, thread = go_running_thread(task), slot = go_running_slot(thread);
	struct go_running *now = bpf_map_lookup_elem(&go_running, &slot);

	if (!now || (unwind->verdict != SAMPLE_VERDICT_COMPLETE && unwind->verdict != SAMPLE_VERDICT_ELIDED))
		return 1;
	now->time_nsec = 0;
	now->start_nsec = process->start_nsec;
	now->pid = process->pid;
	now->thread = thread;
	now->exec_id = process->exec_id;
	now->goroutine = goroutine;
	now->is_cut = n > GO_RUNNING_FRAMES;
	if (n > GO_RUNNING_FRAMES)
		n = GO_RUNNING_FRAMES;
	asm volatile("" : "+r"(n), "+r"(n_kernel)); /* the verifier must see the comparisons below */
	if (!n || n > GO_RUNNING_FRAMES || n_kernel > SAMPLE_MAX_KERNEL_FRAMES)
		return 1;
	now->n = n;
	if (bpf_probe_read_kernel(now->frames, n * sizeof(__u64), &unwind->frames[n_kernel]) < 0)
		return 1;
	now->time_nsec = bpf_ktime_get_ns();
	return 0;
}
