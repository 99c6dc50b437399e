// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Looks at threads that do not run now, one after the other, and takes their stacks from outside. Nothing is stopped, and
 * nobody waits for us: a thread that is off its CPU has left its registers on its kernel stack. Whether it stayed there
 * while we looked, its switches tell, counted by the kernel; one that ran meanwhile counts as running, and its stack is
 * thrown away.
 *
 *	thread_snapshot      each thread of the targets, once
 *	thread_find_waits    for the off-CPU sampler: threads whose waits began before it looked. With its maps for ours.
 *
 * Iterators, run by a read(2) of the daemon's, and sleepable: the stack of another process cannot be read otherwise. Only
 * one instance runs at a time.
 */
#define MEMORY_OF_OTHERS
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "collect.bpf.h"
#include "offcpu.bpf.h"
#include "reason.bpf.h"
#include "sample.h"
#include "target.bpf.h"
#include "thread.h"
#include "unwind.bpf.h"

/* Written by the daemon before a pass. */
volatile __u32 pass = 0;                 /* enum thread_pass */
volatile __u64 attached_nsec = 0;        /* as in offcpu.bpf.c */

/* Grows with each thread of a target: while it does we are not held up. */
volatile __u64 n_looked = 0;

/* Threads that ran when we came by. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct thread_key);
	__type(value, struct thread_name);
} running SEC(".maps");

/* Not of each CPU: we may be moved to another one while we sleep, and are alone. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind);
} thread_scratch SEC(".maps");

/* include/linux/sched.h */
enum {
	THREAD_TASK_WAKING = 0x200,
	THREAD_TASK_NEW = 0x800,
};

/* We can be interrupted by other programs that count here. */
static __always_inline void count(__u32 which)
{
	struct counters *counter = collect_counters();

	if (counter && which < SAMPLE_N_COUNTERS)
		__sync_fetch_and_add(&counter->at[which], 1);
}

/* It grows when a thread leaves its CPU, before another one can have it. */
static __always_inline __u64 switches_of(const struct task_struct *task)
{
	return task->nvcsw + task->nivcsw;
}

/* Of a thread that is off its CPU. */
static __always_inline void find_reason(struct task_struct *task, struct sample_wait *ret)
{
	unsigned int state = task->__state;

	if (state & (THREAD_TASK_WAKING | THREAD_TASK_NEW))
		state = 0; /* ready */
	reason_find(task, false, state, ret);
}

/*
 * Sends the frames of a stack, unless that was done in this epoch. The stack's hash; 0 when it has no frames, and
 * THREAD_LOST when there is no room for them. (Functions of their own, beside the walk, for the sake of the BPF stack.)
 */
enum { THREAD_LOST = 1 };

static __attribute__((noinline)) __u64 announce(struct unwind *unwind, void *map)
{
	struct sample_key *marker = &unwind->stack.key;

	if (unwind->verdict < SAMPLE_N_VERDICTS)
		count(SAMPLE_VERDICTS + unwind->verdict);
	if (!unwind->stack.n_kernel && !unwind->stack.n_user)
		return 0;
	marker->stack = unwind->hash;
	unwind->stack.epoch = collect_epoch();
	return collect_send_stack(map, marker, unwind) < 0 ? THREAD_LOST : marker->stack;
}

static __always_inline void begin_stack(struct unwind *unwind, const struct sample_process *process)
{
	__builtin_memset(&unwind->stack.key, 0, sizeof(unwind->stack.key));
	unwind->stack.key.process = *process;
}

/* --- All threads --- */

static __attribute__((noinline)) bool tell(struct unwind *unwind, void *map, const struct thread_key *thread, const struct sample_wait *wait,
		struct task_struct *task)
{
	struct sample_value first = { .count = 1 };
	struct sample_key key = { .process = thread->process, .tid = thread->tid, .wait = *wait };

	key.stack = announce(unwind, map);
	if (key.stack == THREAD_LOST)
		return false;
	bpf_probe_read_kernel(first.thread, sizeof(first.thread), task->comm);
	return bpf_map_update_elem(map, &key, &first, BPF_NOEXIST) == 0;
}

static __always_inline void remember_running(struct task_struct *task, const struct thread_key *thread)
{
	struct thread_name name = {};

	bpf_probe_read_kernel(name.thread, sizeof(name.thread), task->comm);
	if (bpf_map_update_elem(&running, thread, &name, BPF_ANY) < 0)
		count(SAMPLE_LOST_STORAGE);
}

SEC("iter.s/task")
int thread_snapshot(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct thread_key thread = {};
	struct sample_wait wait = {};
	struct unwind *unwind;
	__u32 zero = 0;
	__u64 switches;
	void *map;

	if (!task || task->__state & REASON_TASK_DEAD || task->flags & PF_KTHREAD || !collect_is_asked_for(task, &thread.process))
		return 0;
	unwind = bpf_map_lookup_elem(&thread_scratch, &zero);
	map = collect_counts();
	if (!unwind || !map) /* cannot be */
		return 0;
	n_looked++;
	thread.tid = target_tid(task);
	if (pass == THREAD_PASS_ALL) {
		count(SAMPLE_SEEN);
		if (!thread.process.pid || !thread.tid) {
			count(SAMPLE_LOST_NAMESPACE);
			return 0;
		}
	} else if (!bpf_map_lookup_elem(&running, &thread)) {
		return 0;
	}
	switches = switches_of(task);
	if (!is_running(task)) {
		begin_stack(unwind, &thread.process);
		unwind_other_task(unwind, task, stack_salt);
		find_reason(task, &wait);
	}
	if (is_running(task) || switches_of(task) != switches) {
		if (pass == THREAD_PASS_ALL)
			remember_running(task, &thread);
		return 0;
	}
	if (!tell(unwind, map, &thread, &wait, task))
		count(SAMPLE_LOST_RING);
	if (pass != THREAD_PASS_ALL)
		bpf_map_delete_elem(&running, &thread);
	return 0;
}

/* --- For the off-CPU sampler --- */

/*
 * A wait that began before we looked: from now on it is timed, and told with the stack that is there. One that is known and was
 * not drawn has a stack from now on, too; so all waits that are open at a window's end have one, drawn or not, and each stands
 * for itself alone. Where the thread leaves its CPU itself while we write, in the nanoseconds after its switches were
 * compared, its next wait may be told with this one's stack.
 */
SEC("iter.s/task")
int thread_find_waits(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct sample_process process;
	struct offcpu_thread *thread;
	struct sample_wait wait = {};
	struct unwind *unwind;
	__u64 since_nsec, now_nsec, switches, stack = 0;
	__u32 zero = 0;
	bool is_known;
	void *map;

	if (!task || task->__state & REASON_TASK_DEAD || is_running(task) || !collect_is_asked_for(task, &process))
		return 0;
	unwind = bpf_map_lookup_elem(&thread_scratch, &zero);
	map = collect_counts();
	if (!unwind || !map) /* cannot be */
		return 0;
	n_looked++;
	thread = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!thread) {
		count(SAMPLE_SEEN);
		count(SAMPLE_LOST_STORAGE);
		return 0;
	}
	since_nsec = thread->since_nsec;
	is_known = since_nsec && since_nsec >= attached_nsec;
	if (is_known && thread->stack && thread->stack != SAMPLE_STACK_LOST && !thread->wants_tables) {
		thread->wait.shift = SAMPLE_SHIFT_NONE;
		return 0;
	}
	switches = switches_of(task);
	now_nsec = bpf_ktime_get_ns();
	if (is_running(task))
		return 0;
	if (task->mm) {
		begin_stack(unwind, &process);
		unwind_waiting_task(unwind, task, stack_salt);
		if (is_running(task) || switches_of(task) != switches)
			return 0;
		stack = announce(unwind, map);
		if (stack == THREAD_LOST)
			stack = SAMPLE_STACK_LOST;
	}
	find_reason(task, &wait);
	if (is_running(task) || switches_of(task) != switches)
		return 0;
	if (!is_known)
		start_wait(thread, now_nsec);
	thread->stack = stack;
	thread->wants_tables = stack && unwind->verdict == SAMPLE_VERDICT_NO_TABLE;
	if (is_known) {
		thread->wait.shift = SAMPLE_SHIFT_NONE;
		return 0;
	}
	thread->process = process;
	thread->tid = target_tid(task);
	thread->wait = wait;
	thread->wait.shift = SAMPLE_SHIFT_NONE;
	begin_ready(task, thread);
	__sync_val_compare_and_swap(&thread->since_nsec, since_nsec, now_nsec);
	/* It was faster. */
	if (is_running(task) || switches_of(task) != switches)
		__sync_val_compare_and_swap(&thread->since_nsec, now_nsec, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
