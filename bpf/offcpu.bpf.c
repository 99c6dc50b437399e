// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The off-CPU sampler: times each interval in which a thread of a target does not run, from the moment it leaves its CPU
 * until it gets one again, and counts it where, why and for how long it waited.
 *
 * All waits are timed; a stack costs five times as much and is taken for one in 2^shift of them, drawn at the beginning
 * of the wait. The shift follows from how long the thread's waits lasted before, so that it does not depend on this one's
 * length. What the others take is told without a stack, and spread over those with one (daemon/sampler/waits.h).
 *
 * A wait is told in the epoch in which it ends; offcpu_carry() cuts those that are open when an epoch ends.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "reason.bpf.h"
#include "sample.h"
#include "target.bpf.h"
#include "unwind.bpf.h"

/* Set before loading. */
const volatile bool all_processes = false;
const volatile __u64 salt = 1;

/* Written by the daemon at a window's end. */
volatile __u32 epoch = 0;

/* Waits of this length, and longer ones, all have a stack. */
volatile __u64 stack_every_nsec = 100000;

/* Shorter waits, from end to end, are counted and not told. */
volatile __u64 min_delay_nsec = 0;

/* What is remembered from before is not to be trusted: nobody saw what came after it. */
volatile __u64 attached_nsec = 0;

enum {
	OFFCPU_MAX_SHIFT = 12,
	OFFCPU_MEAN_WEIGHT = 8,          /* of the waits before, against the last one */
	OFFCPU_BY_LEAST_NSEC = 100000,   /* who had the CPU is told of waits for it that are no accident: there are many who */
};

/* By the last bits of the number of a process in the initial pid namespace: most that are no target leave here. */
__u64 target_bits[SAMPLE_TARGET_BITS / 64];

struct counters {
	__u64 at[SAMPLE_N_COUNTERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SAMPLE_EPOCHS);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* As in cpu.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SAMPLE_EPOCHS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(struct sample_key));
		__uint(value_size, sizeof(struct sample_value));
	});
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8);
} target_pids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind);
} offcpu_scratch SEC(".maps");

/* Of a thread, as long as it lives. */
struct offcpu_thread {
	__u64 since_nsec;                /* it waits, and that is told up to here; 0: it runs */
	__u64 began_nsec;                /* as far as we know */
	__u64 woken_nsec;                /* 0: not yet */
	__u64 mean_nsec[2];              /* of its waits so far, the last ones most; those that began as waits for a CPU; 0: none yet */
	__u64 stack;                     /* hash; 0: none was taken */
	struct sample_process process;
	__u32 tid;
	__u32 is_throttled;              /* it became ready, and its cgroup had no CPU time left */
	struct sample_wait wait;
	struct reason_queue queue;       /* since it is ready */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct offcpu_thread);
} threads SEC(".maps");

static __always_inline bool is_target(const struct task_struct *task, struct sample_process *process)
{
	__u32 tgid = (__u32)task->tgid, bit = tgid & (SAMPLE_TARGET_BITS - 1);

	if (all_processes)
		return tgid; /* who is idle does not wait */
	return target_bits[bit / 64] & 1ULL << (bit & 63);
}

static __always_inline bool is_asked_for(struct task_struct *task, struct sample_process *process)
{
	if (!is_target(task, process))
		return false;
	target_identify(task, process);
	return all_processes || (process->pid && bpf_map_lookup_elem(&target_pids, &process->pid));
}

static __always_inline struct counters *counters_now(void)
{
	__u32 now = epoch & 1;

	return bpf_map_lookup_elem(&counters, &now);
}

static __always_inline void *counts_now(void)
{
	__u32 now = epoch & 1;

	return bpf_map_lookup_elem(&counts, &now);
}

/* --- The beginning of a wait --- */

/* Who is preempted often has short waits of that kind, which say nothing of the others. */
static __always_inline bool is_for_cpu(const struct offcpu_thread *thread)
{
	return thread->wait.reason == SAMPLE_RUNQUEUE || thread->wait.reason == SAMPLE_THROTTLED;
}

/* Of each 2^shift waits one has a stack. */
static __always_inline __u32 shift_of(__u64 mean_nsec)
{
	__u32 shift = 0;

	if (!mean_nsec) /* its first wait */
		return 0;
#pragma unroll
	for (__u32 i = 0; i < OFFCPU_MAX_SHIFT; i++)
		shift += (mean_nsec << i) < stack_every_nsec;
	return shift;
}

/* The hash of the stack, whose frames have been sent in this epoch; SAMPLE_STACK_LOST: there was no room for them; 0: there is none. */
static __always_inline __u64 take_stack(struct task_struct *task, const struct offcpu_thread *thread, struct counters *counter)
{
	struct sample_value nothing = {};
	struct sample_key *marker;
	struct unwind *unwind;
	__u32 zero = 0, n;
	void *map = counts_now();
	long r;

	unwind = bpf_map_lookup_elem(&offcpu_scratch, &zero);
	if (!unwind || !map) /* cannot be */
		return 0;
	marker = &unwind->stack.key;
	__builtin_memset(marker, 0, sizeof(*marker));
	marker->process = thread->process;
	unwind_waiting_task(unwind, task, salt);
	if (!unwind->n)
		return 0;
	if (unwind->verdict < SAMPLE_N_VERDICTS)
		counter->at[SAMPLE_VERDICTS + unwind->verdict]++;
	marker->stack = unwind->hash;
	r = bpf_map_update_elem(map, marker, &nothing, BPF_NOEXIST);
	if (r == -17 /* EEXIST */)
		return marker->stack;
	if (r < 0)
		return SAMPLE_STACK_LOST;
	unwind->stack.epoch = epoch & 1;
	unwind->stack.loose = 0;
	unwind->stack.loose_nsec = 0;
	n = unwind->stack.n_user;
	if (n > SAMPLE_MAX_USER_FRAMES)
		n = SAMPLE_MAX_USER_FRAMES;
	if (bpf_ringbuf_output(&ring, &unwind->stack, sizeof(unwind->stack) + n * sizeof(__u64), 0) < 0) {
		bpf_map_delete_elem(map, marker);
		return SAMPLE_STACK_LOST;
	}
	return marker->stack;
}

/* One that was woken is ready from then on. */
static __always_inline void begin_ready(struct task_struct *task, struct offcpu_thread *thread)
{
	thread->is_throttled = thread->wait.reason == SAMPLE_THROTTLED;
	thread->queue.address = 0;
	if (thread->wait.reason == SAMPLE_RUNQUEUE)
		reason_read_queue(task, &thread->queue);
}

/* `start_nsec`: the time of the switch, if it has been read; else 0. */
static __always_inline void begin(struct task_struct *task, bool is_preempted, unsigned int state, __u64 start_nsec)
{
	struct offcpu_thread *thread;
	struct sample_process process;
	struct counters *counter;
	__u64 stack_nsec;
	__u32 shift;

	if (state & REASON_TASK_DEAD || !is_asked_for(task, &process))
		return;
	if (!start_nsec)
		start_nsec = bpf_ktime_get_ns();
	counter = counters_now();
	if (!counter) /* cannot be */
		return;
	if (!process.pid) {
		counter->at[SAMPLE_SEEN]++;
		counter->at[SAMPLE_LOST_NAMESPACE]++;
		return;
	}
	thread = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!thread) {
		counter->at[SAMPLE_SEEN]++;
		counter->at[SAMPLE_LOST_STORAGE]++;
		return;
	}
	thread->process = process;
	thread->tid = target_tid(task);
	reason_find(task, is_preempted, state, &thread->wait);
	thread->stack = 0;
	thread->woken_nsec = 0;
	thread->began_nsec = start_nsec;
	begin_ready(task, thread);
	shift = shift_of(thread->mean_nsec[is_for_cpu(thread)]);
	if (!(bpf_get_prandom_u32() & ((1U << shift) - 1))) {
		stack_nsec = bpf_ktime_get_ns();
		thread->stack = take_stack(task, thread, counter);
		thread->wait.shift = thread->stack ? shift : 0;
		counter->at[SAMPLE_NSEC] += bpf_ktime_get_ns() - stack_nsec;
	}
	__sync_lock_test_and_set(&thread->since_nsec, start_nsec);
}

/* --- Its end --- */

/* A task iterator can be interrupted by a switch between reading a counter and writing it; the switch itself by nothing. */
static __always_inline void count(struct counters *counter, __u32 which, __u64 n, bool is_iterator)
{
	if (is_iterator)
		__sync_fetch_and_add(&counter->at[which], n);
	else
		counter->at[which] += n;
}

static __always_inline void add(struct counters *counter, const struct offcpu_thread *thread, const char *comm, __u32 reason, __u64 object,
		__u64 nsec, bool is_open)
{
	struct sample_key key = { .stack = thread->stack, .process = thread->process, .tid = thread->tid, .wait = thread->wait };
	struct sample_value first = { .count = 1, .nsec = nsec, .longest_nsec = nsec, .is_open = is_open };
	struct sample_value *value;
	void *map = counts_now();

	count(counter, SAMPLE_SEEN, 1, is_open);
	key.wait.reason = (__u16)reason;
	if (reason == SAMPLE_RUNQUEUE || reason == SAMPLE_THROTTLED) {
		key.wait.object = reason == SAMPLE_RUNQUEUE && nsec >= OFFCPU_BY_LEAST_NSEC ? object : 0;
		key.wait.device = 0;
	}
	if (!map) /* cannot be */
		return;
	value = bpf_map_lookup_elem(map, &key);
	if (!value) {
		bpf_probe_read_kernel(first.thread, sizeof(first.thread), comm);
		if (bpf_map_update_elem(map, &key, &first, BPF_NOEXIST) == 0)
			return;
		value = bpf_map_lookup_elem(map, &key); /* another CPU was faster, or there is no room */
	}
	/* The stack is given up before the wait: it stays with those that were drawn, and others are not told in its place. */
	if (!value && key.stack && key.stack != SAMPLE_STACK_LOST) {
		key.stack = SAMPLE_STACK_LOST;
		value = bpf_map_lookup_elem(map, &key);
		if (!value && bpf_map_update_elem(map, &key, &first, BPF_NOEXIST) == 0)
			return;
	}
	if (!value) {
		count(counter, SAMPLE_LOST_RING, 1, is_open);
		count(counter, SAMPLE_LOST_NSEC, nsec, is_open);
		return;
	}
	__sync_fetch_and_add(&value->count, 1);
	__sync_fetch_and_add(&value->nsec, nsec);
	if (nsec > value->longest_nsec)
		value->longest_nsec = nsec;
	if (is_open)
		value->is_open = 1;
}

/* A part in which it was ready: because others ran, or because its group might not. */
static __always_inline void add_ready(struct counters *counter, const struct offcpu_thread *thread, const char *comm, __u64 nsec,
		__u64 throttled_nsec, __u64 by, bool is_open)
{
	if (throttled_nsec > nsec || thread->is_throttled)
		throttled_nsec = nsec;
	if (throttled_nsec)
		add(counter, thread, comm, SAMPLE_THROTTLED, 0, throttled_nsec, is_open);
	if (nsec > throttled_nsec)
		add(counter, thread, comm, SAMPLE_RUNQUEUE, by, nsec - throttled_nsec, is_open);
}

/* The part of a wait that ends at `end_nsec`, split where it was woken. `by`: who had the CPU meanwhile. */
static __always_inline void tell(struct offcpu_thread *thread, const char *comm, __u64 since_nsec, __u64 end_nsec, __u64 throttled_nsec,
		__u64 by, bool is_open)
{
	__u64 total_nsec = end_nsec - since_nsec, blocked_nsec = total_nsec, woken_nsec = thread->woken_nsec;
	struct counters *counter = counters_now();
	__u32 reason = thread->wait.reason;

	if (!counter || end_nsec < since_nsec)
		return;
	/* One that goes on may become long enough. */
	if (!is_open && end_nsec - thread->began_nsec < min_delay_nsec) {
		counter->at[SAMPLE_SHORT] += 1;
		counter->at[SAMPLE_SHORT_NSEC] += total_nsec;
		return;
	}
	if (reason == SAMPLE_RUNQUEUE || reason == SAMPLE_THROTTLED) {
		add_ready(counter, thread, comm, total_nsec, throttled_nsec, by, is_open);
		return;
	}
	if (woken_nsec)
		blocked_nsec = woken_nsec > since_nsec ? woken_nsec - since_nsec : 0;
	if (blocked_nsec > total_nsec)
		blocked_nsec = total_nsec;
	if (blocked_nsec)
		add(counter, thread, comm, reason, 0, blocked_nsec, is_open);
	if (total_nsec > blocked_nsec)
		add_ready(counter, thread, comm, total_nsec - blocked_nsec, throttled_nsec, by, is_open);
}

/* Returns the time of the switch; 0 when it was not needed. */
static __always_inline __u64 end(struct task_struct *task, struct task_struct *previous)
{
	struct offcpu_thread *thread;
	struct sample_process process;
	__u64 since_nsec, now_nsec, nsec, by, *mean_nsec;

	if (!is_target(task, &process))
		return 0;
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	if (!thread)
		return 0;
	since_nsec = __sync_lock_test_and_set(&thread->since_nsec, 0);
	if (!since_nsec || since_nsec < attached_nsec)
		return 0;
	now_nsec = bpf_ktime_get_ns();
	nsec = now_nsec - since_nsec;
	by = previous->pid ? target_tid(previous->group_leader) : 0;
	tell(thread, task->comm, since_nsec, now_nsec, reason_throttled_since(task, &thread->queue), by, false);
	mean_nsec = is_for_cpu(thread) ? &thread->mean_nsec[1] : &thread->mean_nsec[0];
	/* The first one counts in full; the least is 1. */
	*mean_nsec = *mean_nsec ? *mean_nsec - *mean_nsec / OFFCPU_MEAN_WEIGHT + nsec / OFFCPU_MEAN_WEIGHT : nsec;
	*mean_nsec += !*mean_nsec;
	return now_nsec;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(offcpu_switch, bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
{
	/*
	 * What we take is the next one's by the kernel's clocks, too, stacks and all. One moment for both: a wait that is shorter
	 * by what end() takes would be a tenth too short where there are a million of a microsecond.
	 */
	begin(prev, preempt, prev_state, end(next, prev));
	return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(offcpu_waking, struct task_struct *task)
{
	struct offcpu_thread *thread;
	struct sample_process process;

	if (!is_target(task, &process))
		return 0;
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	if (thread && thread->since_nsec && !thread->woken_nsec) {
		thread->is_throttled = reason_is_throttled(task);
		reason_read_queue(task, &thread->queue);
		thread->woken_nsec = bpf_ktime_get_ns();
	}
	return 0;
}

/* --- The end of an epoch --- */

/* On a machine with one CPU that is us. */
static __always_inline bool is_running(const struct task_struct *task)
{
	return bpf_core_field_exists(task->on_cpu) && task->on_cpu;
}

struct bpf_iter__task {
	void *meta;
	struct task_struct *task;
};

/* What is open is told up to now; the rest of it belongs to the epoch that follows. */
SEC("iter/task")
int offcpu_carry(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct offcpu_thread *thread;
	struct sample_process process;
	__u64 since_nsec, now_nsec;

	/*
	 * On a CPU it does not wait: it leaves it this moment, and the rest is told in the next epoch; or offcpu_find() took it for
	 * waiting at the very moment it got one.
	 */
	if (!task || is_running(task))
		return 0;
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	if (!thread)
		return 0;
	/* Its waits are not seen any more, and it may be a target again some day. */
	if (!is_asked_for(task, &process)) {
		thread->since_nsec = 0;
		return 0;
	}
	since_nsec = thread->since_nsec;
	now_nsec = bpf_ktime_get_ns();
	/* Or it ends this very moment, and is told there. */
	if (!since_nsec || since_nsec < attached_nsec || now_nsec <= since_nsec || __sync_val_compare_and_swap(&thread->since_nsec, since_nsec, now_nsec) != since_nsec)
		return 0;
	tell(thread, task->comm, since_nsec, now_nsec, reason_throttled_since(task, &thread->queue), 0, true);
	if (thread->queue.address)
		reason_read_queue(task, &thread->queue);
	return 0;
}

/* --- The beginning of an epoch --- */

/*
 * Threads whose wait began before we looked: from now on it is timed, and told without a stack, which only a thread itself
 * could take.
 */
SEC("iter/task")
int offcpu_find(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct sample_process process;
	struct offcpu_thread *thread;
	struct counters *counter = counters_now();
	__u64 since_nsec, now_nsec;
	unsigned int state;

	if (!task || !counter || is_running(task))
		return 0;
	state = task->__state;
	if (state & REASON_TASK_DEAD || !is_asked_for(task, &process) || !process.pid)
		return 0;
	thread = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!thread) {
		count(counter, SAMPLE_SEEN, 1, true);
		count(counter, SAMPLE_LOST_STORAGE, 1, true);
		return 0;
	}
	since_nsec = thread->since_nsec;
	if (since_nsec && since_nsec >= attached_nsec)
		return 0; /* it is known */
	now_nsec = bpf_ktime_get_ns();
	thread->process = process;
	thread->tid = target_tid(task);
	reason_find(task, false, state, &thread->wait);
	thread->wait.shift = SAMPLE_SHIFT_NONE;
	thread->stack = 0;
	thread->woken_nsec = 0;
	thread->began_nsec = now_nsec;
	begin_ready(task, thread);
	__sync_val_compare_and_swap(&thread->since_nsec, since_nsec, now_nsec);
	/* It was faster. */
	if (is_running(task))
		__sync_val_compare_and_swap(&thread->since_nsec, now_nsec, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
