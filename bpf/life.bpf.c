/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes that come, become another program, and go. Threads are not told.
 */
#include "target.bpf.h"

#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The reader looks every 100 ms, and is woken before the ring could fill: at 20,000 forks a second it does in 300 ms. */
const volatile __u64 wake_bytes = 256 << 10;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* Events that found no room: rare, so that one counter serves all CPUs, and mapped into the daemon, which looks often. */
__u64 n_lost = 0;

/* `task` is any thread of the process; `parent_pid` 0: not told. */
static __always_inline int tell(enum life_kind kind, struct task_struct *task, __u32 parent_pid)
{
	struct sample_process process;
	struct life_event *event;
	__u64 flags = BPF_RB_NO_WAKEUP;

	target_identify(task, &process);
	if (!process.pid)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&n_lost, 1);
		return 0;
	}
	event->time_nsec = bpf_ktime_get_ns();
	event->process = process;
	event->parent_pid = parent_pid;
	event->kind = kind;
	event->cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	bpf_probe_read_kernel(event->comm, sizeof(event->comm), task->comm);
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wake_bytes)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(event, flags);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(life_fork, struct task_struct *parent, struct task_struct *child)
{
	/* A new thread is in its creator's group: it does not lead one. */
	if (child->pid != child->tgid)
		return 0;
	return tell(LIFE_FORK, child, target_tid(parent->group_leader));
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(life_exec, struct task_struct *task)
{
	return tell(LIFE_EXEC, task, 0);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(life_exit, struct task_struct *task)
{
	/*
	 * The count of living threads is taken down before this tracepoint (kernel/exit.c do_exit()). Two threads that leave
	 * at the same time may both find 0: the process is told to be gone twice, which does no harm.
	 */
	if (task->signal->live.counter)
		return 0;
	return tell(LIFE_EXIT, task, 0);
}
