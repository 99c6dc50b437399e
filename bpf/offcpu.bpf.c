// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The off-CPU sampler: times each interval in which a thread of a target does not run, from the moment it leaves its CPU
 * until it gets one again, and counts it where, why and for how long it waited.
 *
 * All waits are timed, as a rule; a stack costs five times as much and is taken for one in 2^shift of them, drawn at the beginning
 * of the wait. The shift follows from how long the thread's waits lasted before, so that it does not depend on this one's
 * length. What the others take is told without a stack, and spread over those with one (daemon/sampler/waits.h).
 *
 * When even the timing costs too much, the governor has only one in 2^skip waits timed, of threads that wait shortly and
 * often, drawn likewise; the others cost a few loads and no call of the kernel. docs/offcpu.md derives what is told then.
 *
 * A wait is told in the epoch in which it ends; offcpu_carry() cuts those that are open when an epoch ends. Threads whose
 * waits began before we looked are found by thread_find_waits() of thread.bpf.c.
 *
 * What ended a wait is the current thread when it does: who unlocks, who wakes, who had the CPU. Its stack is taken then and
 * there, of waits that have one themselves: their number is what the budget is for.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "collect.bpf.h"
#include "interrupt.bpf.h"
#include "offcpu.bpf.h"
#include "reason.bpf.h"
#include "sample.h"
#include "target.bpf.h"
#include "unwind.bpf.h"

/* Waits of this length, and longer ones, all have a stack. */
volatile __u64 stack_every_nsec = 100000;

/* Waits of this length, and longer ones, are all timed; 0: each is. */
volatile __u64 time_every_nsec = 0;

/* Changes whenever target_pids does. */
volatile __u32 target_generation = 1;

/* Odd while thread_find_waits() and then offcpu_carry() run. */
volatile __u32 pass = 0;

/* Shorter waits, from end to end, are counted and not told. */
volatile __u64 min_delay_nsec = 0;

/* Who woke, and who had the CPU, is told with its stack, and not only who had a lock. */
volatile bool wakers = false;

/* What is remembered from before is not to be trusted: nobody saw what came after it. */
volatile __u64 attached_nsec = 0;

enum {
	OFFCPU_MAX_SHIFT = 12,
	OFFCPU_MAX_SKIP = 10,
	OFFCPU_COST_EVERY = 64,          /* waits of a thread: one is measured for what it costs us, a power of two */
	OFFCPU_PACES = 4096,             /* threads that are not timed each time; a power of two */
	OFFCPU_MEAN_WEIGHT = 8,          /* of the waits before, against the last one */
	OFFCPU_BY_LEAST_NSEC = 100000,   /* who had the CPU is told of waits for it that are no accident: there are many who */
};

/* By the last bits of the number of a process in the initial pid namespace: most that are no target leave here. */
__u64 target_bits[SAMPLE_TARGET_BITS / 64];

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind);
} offcpu_scratch SEC(".maps");

/*
 * In an array, and not in the storage of the thread, which takes a call to find: by the last bits of its number; whoever finds
 * its place taken has all its waits timed. Zeroed by the daemon before the programs are attached.
 */
struct sample_pace paces[OFFCPU_PACES];

static __always_inline bool is_target(const struct task_struct *task)
{
	__u32 tgid = (__u32)task->tgid, bit = tgid & (SAMPLE_TARGET_BITS - 1);

	if (all_processes)
		return tgid; /* who is idle does not wait */
	return target_bits[bit / 64] & 1ULL << (bit & 63);
}

static __always_inline bool is_asked_for(struct task_struct *task, struct sample_process *process)
{
	return is_target(task) && collect_is_asked_for(task, process);
}

/* What is known of a thread of a target; NULL: it is none, or cannot be timed, and that is counted. */
static __always_inline struct offcpu_thread *find_target(struct task_struct *task)
{
	struct offcpu_thread *thread = bpf_task_storage_get(&threads, task, NULL, 0);
	__u32 generation = target_generation;
	struct sample_process process;
	struct counters *counter;

	if (thread && thread->generation == generation && thread->process.exec_id == (__u32)task->self_exec_id)
		return thread;
	if (!is_asked_for(task, &process))
		return NULL;
	counter = collect_counters();
	if (!counter) /* cannot be */
		return NULL;
	if (!process.pid) {
		counter->at[SAMPLE_SEEN]++;
		counter->at[SAMPLE_LOST_NAMESPACE]++;
		return NULL;
	}
	if (!thread)
		thread = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!thread) {
		counter->at[SAMPLE_SEEN]++;
		counter->at[SAMPLE_LOST_STORAGE]++;
		return NULL;
	}
	if (!thread->generation)
		thread->n_waits = bpf_get_prandom_u32();
	thread->process = process;
	thread->tid = target_tid(task);
	thread->generation = generation;
	return thread;
}

/* --- How often --- */

/* How far the kernel's monotonic clock is ahead of the scheduler's, as it was found last. */
volatile __u64 clock_ahead_nsec = 0;

/*
 * What the scheduler took for now when it chose who runs next, a moment ago: a load, where a clock of our own is a call of
 * 20 ns. `task` leaves this CPU, or comes to it.
 */
static __always_inline __u64 scheduler_clock(const struct task_struct *task)
{
	if (bpf_core_field_exists(task->se.cfs_rq) && bpf_core_field_exists(task->se.cfs_rq->rq) &&
	    bpf_core_field_exists(task->se.cfs_rq->rq->clock))
		return task->se.cfs_rq->rq->clock;
	return bpf_ktime_get_ns();
}

static __always_inline struct sample_pace *pace_of(const struct task_struct *task)
{
	return &paces[(__u32)task->pid & (OFFCPU_PACES - 1)];
}

/* Who is preempted often has short waits of that kind, which say nothing of the others. */
static __always_inline bool is_for_cpu(const struct offcpu_thread *thread)
{
	return thread->wait.reason == SAMPLE_RUNQUEUE || thread->wait.reason == SAMPLE_THROTTLED;
}

/*
 * The least k for which 2^k waits of this length last `every`. Not static: so the verifier looks at all these comparisons
 * once, and not again on each path that leads here and on from here.
 */
__attribute__((noinline)) int shift_of(__u64 mean_nsec, __u64 every_nsec)
{
	int shift = 0;

#pragma unroll
	for (__u32 i = 0; i < OFFCPU_MAX_SHIFT; i++)
		shift += (mean_nsec << i) < every_nsec;
	return shift;
}

/*
 * A wait of thread `pid` took `nsec`: how the next one like it is drawn follows from the mean. Not static, as shift_of().
 */
__attribute__((noinline)) int set_pace(struct offcpu_thread *thread, struct sample_pace *pace, __u32 pid, __u64 nsec)
{
	__u64 mean_nsec, time_nsec = time_every_nsec, stack_nsec = stack_every_nsec;
	__u32 skip = 0, shift;
	bool is_ready;

	if (!thread || !pace) /* cannot be */
		return 0;
	is_ready = is_for_cpu(thread);
	mean_nsec = is_ready ? thread->mean_nsec[1] : thread->mean_nsec[0];
	/* The first one counts in full; the least is 1. */
	mean_nsec = mean_nsec ? mean_nsec - mean_nsec / OFFCPU_MEAN_WEIGHT + nsec / OFFCPU_MEAN_WEIGHT : nsec;
	mean_nsec += !mean_nsec;
	shift = mean_nsec < stack_nsec ? (__u32)shift_of(mean_nsec, stack_nsec) : 0;
	if (is_ready) {
		thread->mean_nsec[1] = mean_nsec;
		thread->shift[1] = (__u16)shift;
	} else {
		thread->mean_nsec[0] = mean_nsec;
		thread->shift[0] = (__u16)shift;
	}
	if (mean_nsec < time_nsec)
		skip = (__u32)shift_of(mean_nsec, time_nsec);
	if (skip > OFFCPU_MAX_SKIP)
		skip = OFFCPU_MAX_SKIP;
	if (pace->pid != pid) {
		if (!skip || pace->pid || __sync_val_compare_and_swap(&pace->pid, 0, pid) != 0)
			return 0;
		pace->skip = 0;
		pace->skip_ready = 0;
	}
	if (is_ready)
		pace->skip_ready = (__u16)skip;
	else
		pace->skip = (__u16)skip;
	return 0;
}

/* Whether a wait that begins is not timed; `skip`: with which probability it would have been. */
static __always_inline bool is_skipped(const struct task_struct *task, bool is_preempted, unsigned int state, __u32 *skip)
{
	struct sample_pace *pace = pace_of(task);
	__u64 start_nsec = 0;
	__u32 random;

	*skip = 0;
	if (pace->pid != (__u32)task->pid)
		return false;
	if (is_preempted || !state)
		*skip = pace->skip_ready & 15;
	else
		*skip = pace->skip & 15;
	if (!*skip)
		return false;
	random = bpf_get_prandom_u32();
	if (!(random & ((1U << *skip) - 1)))
		return false;
	/* Other bits of it. */
	if (random >> 16 < 0x10000 / OFFCPU_COST_EVERY)
		start_nsec = bpf_ktime_get_ns();
	pace->state = state;
	pace->is_preempted = is_preempted;
	pace->pass = (__u16)pass;
	pace->since_nsec = scheduler_clock(task);
	if (start_nsec) {
		struct counters *counter = collect_counters();

		/* Its end costs about as much. */
		if (counter)
			counter->at[SAMPLE_NSEC] += 2 * OFFCPU_COST_EVERY * (bpf_ktime_get_ns() - start_nsec);
	}
	return true;
}

/*
 * What the waits took that were not timed: their share of the thread's time is known, if nothing else of them is. Not
 * static, as shift_of().
 */
__attribute__((noinline)) int tell_untimed(struct sample_pace *pace, const struct offcpu_thread *thread)
{
	struct counters *counter = collect_counters();
	struct sample_value first = {}, *value;
	struct sample_key key = {};
	void *map = collect_counts();

	if (!pace || !thread || !counter || !map)
		return 0;
	first.nsec = __sync_lock_test_and_set(&pace->untimed_nsec, 0);
	if (!first.nsec)
		return 0;
	key.process = thread->process;
	key.tid = thread->tid;
	key.skip = SAMPLE_SKIP_ALL;
	value = bpf_map_lookup_elem(map, &key);
	if (value)
		__sync_fetch_and_add(&value->nsec, first.nsec);
	else if (bpf_map_update_elem(map, &key, &first, BPF_NOEXIST) < 0)
		__sync_fetch_and_add(&counter->at[SAMPLE_LOST_NSEC], first.nsec);
	return 0;
}

/* Another thread may have its place. */
static __always_inline void leave_pace(struct task_struct *task, const struct offcpu_thread *thread)
{
	struct sample_pace *pace = pace_of(task);

	if (pace->pid != (__u32)task->pid)
		return;
	if (thread)
		tell_untimed(pace, thread);
	pace->untimed_nsec = 0;
	pace->since_nsec = 0;
	pace->skip = 0;
	pace->skip_ready = 0;
	pace->pid = 0;
}

/* --- The beginning of a wait --- */

/* The hash of another's stack, with whose it is: a wait's key has only that of who waits. */
static __always_inline __u64 mix_process(__u64 hash, const struct sample_process *process)
{
	hash = unwind_mix(hash, process->start_nsec, stack_salt);
	hash = unwind_mix(hash, (__u64)process->pid << 32 | process->exec_id, stack_salt);
	return hash | SAMPLE_OTHER_INTERRUPT << 1; /* none of those that have a meaning of their own */
}

/*
 * Takes the stack of the current thread. Returns the hash that a wait's key has as `stack`, or as `other` when it is another's: the
 * frames have been sent in this epoch. 0: it has none; SAMPLE_STACK_LOST, or 0 for another's: there was no room for them. Another's
 * without frames, that of a thread of the kernel, is sent all the same, with its name.
 *
 * Not inlined and global, so that the verifier looks at the walk once. Both tracepoints fire with interrupts off (of
 * sched_waking but when a thread wakes itself, which then does not wait), and nobody is woken from an NMI: no walk of this
 * CPU is ever amid another one, and one piece of scratch memory is enough.
 */
__attribute__((noinline)) __u64 take_stack(__u32 is_other)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 zero = 0, now = collect_epoch();
	struct counters *counter = collect_counters_of(now);
	void *map = collect_counts_of(now);
	struct sample_key *marker;
	struct unwind *unwind;

	unwind = bpf_map_lookup_elem(&offcpu_scratch, &zero);
	if (!unwind || !map || !counter) /* cannot be */
		return 0;
	marker = &unwind->stack.key;
	__builtin_memset(marker, 0, sizeof(*marker));
	target_identify(task, &marker->process);
	if (is_other && !marker->process.pid) /* outside our pid namespace */
		return 0;
	unwind_waiting_task(unwind, task, stack_salt);
	if (!unwind->n && !is_other)
		return 0;
	marker->stack = unwind->hash;
	if (is_other) {
		marker->other = mix_process(unwind->hash, &marker->process);
		bpf_probe_read_kernel(unwind->stack.thread, sizeof(unwind->stack.thread), task->comm);
	} else if (unwind->verdict < SAMPLE_N_VERDICTS) {
		counter->at[SAMPLE_VERDICTS + unwind->verdict]++;
	}
	unwind->stack.epoch = now;
	if (collect_send_stack(map, marker, unwind) >= 0)
		return is_other ? marker->other : marker->stack;
	if (is_other)
		counter->at[SAMPLE_LOST_OTHER]++;
	return is_other ? 0 : SAMPLE_STACK_LOST;
}

/*
 * The thread, whose wait is not told to anybody before start(); NULL when it is not to be timed. `start_nsec`: the time of
 * the switch, if it has been read; else 0.
 *
 * Not inlined, as end() below: the stack frames of functions that call each other have 512 bytes together, of which the walk
 * wants most. So whoever walks is called by the programs themselves.
 */
static __attribute__((noinline)) struct offcpu_thread *begin(struct task_struct *task, bool is_preempted, unsigned int state,
		__u64 start_nsec)
{
	struct offcpu_thread *thread;
	struct counters *counter;
	__u32 skip;

	if (state & REASON_TASK_DEAD) {
		leave_pace(task, bpf_task_storage_get(&threads, task, NULL, 0));
		return NULL;
	}
	if (!is_target(task) || is_skipped(task, is_preempted, state, &skip))
		return NULL;
	thread = find_target(task);
	if (!thread)
		return NULL;
	if (!start_nsec)
		start_nsec = bpf_ktime_get_ns();
	start_wait(thread, start_nsec);
	thread->skip = (__u16)skip;
	if (!(thread->n_waits++ & (OFFCPU_COST_EVERY - 1)))
		thread->measured_nsec = bpf_ktime_get_ns();
	if (skip)
		clock_ahead_nsec = start_nsec - scheduler_clock(task);
	reason_find(task, is_preempted, state, &thread->wait);
	object_of_fault(&thread->fault, task, &thread->wait);
	begin_ready(task, thread);
	counter = thread->measured_nsec ? collect_counters() : NULL;
	if (counter)
		counter->at[SAMPLE_NSEC] += OFFCPU_COST_EVERY * (bpf_ktime_get_ns() - thread->measured_nsec);
	return thread;
}

static __always_inline void start(struct offcpu_thread *thread)
{
	__u32 skip = thread->skip & 15, shift = thread->shift[is_for_cpu(thread)] & 15;
	struct counters *counter;
	__u64 stack_nsec;

	/* What was drawn already counts. */
	shift = shift > skip ? shift - skip : 0;
	if (!(bpf_get_prandom_u32() & ((1U << shift) - 1))) {
		stack_nsec = bpf_ktime_get_ns();
		thread->stack = take_stack(false);
		thread->wait.shift = thread->stack ? shift : 0;
		counter = collect_counters();
		if (counter)
			counter->at[SAMPLE_NSEC] += bpf_ktime_get_ns() - stack_nsec;
	}
	/* What we took ourselves, the others did not wait for which this one stands. */
	if (skip)
		thread->began_nsec = bpf_ktime_get_ns();
	__sync_lock_test_and_set(&thread->since_nsec, thread->began_nsec);
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

/* What is told of a part of a wait, beside whose it is. */
struct part {
	__u64 nsec;
	__u64 object;                    /* RUNQUEUE: who had the CPU; others have it in thread->wait */
	__u64 other;
	__u32 reason;
	__u32 is_open;
};

static __attribute__((noinline)) void add(struct counters *counter, const struct offcpu_thread *thread, const char *comm, const struct part *part)
{
	struct sample_key key = { .stack = thread->stack, .other = part->other, .process = thread->process, .tid = thread->tid,
		.skip = thread->skip, .wait = thread->wait };
	struct sample_value first = { .count = 1, .nsec = part->nsec, .longest_nsec = part->nsec, .is_open = part->is_open };
	struct sample_value *value;
	void *map = collect_counts();

	count(counter, SAMPLE_SEEN, 1, part->is_open);
	key.wait.reason = (__u16)part->reason;
	if (part->reason == SAMPLE_RUNQUEUE || part->reason == SAMPLE_THROTTLED) {
		key.wait.object = part->reason == SAMPLE_RUNQUEUE && part->nsec >= OFFCPU_BY_LEAST_NSEC ? part->object : 0;
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
		count(counter, SAMPLE_LOST_RING, 1, part->is_open);
		count(counter, SAMPLE_LOST_NSEC, part->nsec, part->is_open);
		return;
	}
	__sync_fetch_and_add(&value->count, 1);
	__sync_fetch_and_add(&value->nsec, part->nsec);
	if (part->nsec > value->longest_nsec)
		value->longest_nsec = part->nsec;
	if (part->is_open)
		value->is_open = 1;
}

/*
 * The part of a wait that ends at `end_nsec`, split where it was woken, and what it was ready for after that: others ran, or
 * its group might not. `by`: who had the CPU meanwhile, `by_stack`: where. One that lasts so long that it would have been told
 * anyhow stands for itself alone.
 */
static __always_inline void tell(struct offcpu_thread *thread, const char *comm, __u64 since_nsec, __u64 end_nsec, __u64 throttled_nsec,
		__u64 by, __u64 by_stack, bool is_open)
{
	__u64 total_nsec = end_nsec - since_nsec, blocked_nsec = total_nsec, woken_nsec = thread->woken_nsec;
	struct counters *counter = collect_counters();
	__u64 ready_nsec;
	__u32 reason = thread->wait.reason;
	struct part part = { .reason = reason, .is_open = is_open };

	if (!counter || end_nsec < since_nsec)
		return;
	/* One that goes on may become long enough. */
	if (!is_open && end_nsec - thread->began_nsec < min_delay_nsec) {
		counter->at[SAMPLE_SHORT] += 1;
		counter->at[SAMPLE_SHORT_NSEC] += total_nsec;
		return;
	}
	if (thread->skip) {
		__u32 skip = thread->skip & 15;

		if (end_nsec - thread->began_nsec >= time_every_nsec)
			thread->skip = 0;
		else
			count(counter, SAMPLE_SKIP_VARIANCE, (total_nsec * total_nsec >> SAMPLE_VARIANCE_SHIFT) * (((1ULL << skip) - 1) << skip),
					is_open);
	}
	if (reason == SAMPLE_RUNQUEUE || reason == SAMPLE_THROTTLED)
		blocked_nsec = 0;
	else if (woken_nsec)
		blocked_nsec = woken_nsec > since_nsec ? woken_nsec - since_nsec : 0;
	if (blocked_nsec > total_nsec)
		blocked_nsec = total_nsec;
	if (blocked_nsec) {
		part.nsec = blocked_nsec;
		part.other = thread->other;
		add(counter, thread, comm, &part);
	}
	ready_nsec = total_nsec - blocked_nsec;
	if (throttled_nsec > ready_nsec || thread->is_throttled)
		throttled_nsec = ready_nsec;
	part.other = 0;
	if (throttled_nsec) {
		part.nsec = throttled_nsec;
		part.reason = SAMPLE_THROTTLED;
		add(counter, thread, comm, &part);
	}
	if (ready_nsec > throttled_nsec) {
		part.nsec = ready_nsec - throttled_nsec;
		part.object = by;
		part.other = by_stack;
		part.reason = SAMPLE_RUNQUEUE;
		add(counter, thread, comm, &part);
	}
}

/* The stack of another one, which is the current thread; the time that it takes counts as ours. */
static __always_inline __u64 take_other(void)
{
	__u64 start_nsec = bpf_ktime_get_ns(), other = take_stack(true);
	struct counters *counter = collect_counters();

	if (counter)
		counter->at[SAMPLE_NSEC] += bpf_ktime_get_ns() - start_nsec;
	return other;
}

/* Where `previous`, the current thread, was when it had the CPU that `task` waited for until now. */
static __always_inline __u64 find_who_ran(struct task_struct *task, const struct task_struct *previous, __u64 now_nsec)
{
	const struct offcpu_thread *thread;
	__u64 ready_nsec;

	if (!wakers || !previous->pid || !is_target(task))
		return 0;
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	if (!thread || !thread->stack || !thread->since_nsec || thread->wait.reason == SAMPLE_THROTTLED)
		return 0;
	ready_nsec = thread->wait.reason == SAMPLE_RUNQUEUE ? thread->since_nsec : thread->woken_nsec;
	if (!ready_nsec || now_nsec - ready_nsec < OFFCPU_BY_LEAST_NSEC || now_nsec - ready_nsec < stack_every_nsec)
		return 0;
	return take_other();
}

enum end_of_skipped { END_IS_DONE, END_IS_TO_BE_TOLD, END_IS_TIMED };

/*
 * A wait that was not timed ends, after `nsec`. It is told if it was long, by the scheduler's clock and without a stack, or as
 * it was found meanwhile. END_IS_TIMED: offcpu_carry() was faster, it is told as those that were timed.
 */
static __always_inline enum end_of_skipped end_skipped(struct task_struct *task, struct sample_pace *pace, __u64 *nsec)
{
	__u64 since_nsec = pace->since_nsec, clock_nsec = scheduler_clock(task);
	bool is_found = pace->pass != (__u16)pass || pass & 1;
	struct offcpu_thread *thread;
	struct counters *counter;

	*nsec = clock_nsec > since_nsec ? clock_nsec - since_nsec : 0;
	if (*nsec < time_every_nsec) {
		pace->since_nsec = 0;
		thread = is_found ? bpf_task_storage_get(&threads, task, NULL, 0) : NULL;
		if (thread)
			thread->since_nsec = 0;
		if (*nsec >= min_delay_nsec) {
			__sync_fetch_and_add(&pace->untimed_nsec, *nsec);
			return END_IS_DONE;
		}
		counter = collect_counters();
		if (counter) {
			counter->at[SAMPLE_SHORT] += 1;
			counter->at[SAMPLE_SHORT_NSEC] += *nsec;
		}
		return END_IS_DONE;
	}
	if (__sync_val_compare_and_swap(&pace->since_nsec, since_nsec, 0) != since_nsec)
		return END_IS_TIMED;
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	if (!thread) /* cannot be */
		return END_IS_DONE;
	if (!__sync_lock_test_and_set(&thread->since_nsec, 0)) {
		start_wait(thread, 0);
		reason_find(task, pace->is_preempted, pace->state, &thread->wait);
		/* Whose lock it is stands in the memory of a process that is not the current one. */
		if (thread->wait.reason == SAMPLE_LOCK)
			thread->wait.device = 0;
		thread->is_throttled = thread->wait.reason == SAMPLE_THROTTLED;
		thread->queue.address = 0;
	}
	thread->skip = 0;
	thread->measured_nsec = 0;
	return END_IS_TO_BE_TOLD;
}

/*
 * The length of a wait that ends: of one that stands for others without what we took in finding out, until the scheduler says
 * that it ends.
 */
static __always_inline __u64 length_of(const struct task_struct *task, const struct offcpu_thread *thread, __u64 since_nsec, __u64 now_nsec)
{
	__u64 end_nsec = now_nsec;

	if (thread->skip)
		end_nsec = scheduler_clock(task) + clock_ahead_nsec - thread->ours_nsec;
	if (end_nsec > now_nsec || end_nsec < since_nsec)
		end_nsec = now_nsec;
	return end_nsec - since_nsec;
}

/* Returns the time of the switch; 0 when it was not needed. */
static __attribute__((noinline)) __u64 end(struct task_struct *task, struct task_struct *previous, __u64 now_nsec, __u64 by_stack)
{
	enum end_of_skipped skipped = END_IS_TIMED;
	struct offcpu_thread *thread;
	struct counters *counter;
	struct sample_pace *pace;
	__u64 since_nsec, nsec = 0, by;

	if (!is_target(task))
		return 0;
	pace = pace_of(task);
	if (pace->since_nsec && pace->pid == (__u32)task->pid)
		skipped = end_skipped(task, pace, &nsec);
	if (skipped == END_IS_DONE)
		return now_nsec;
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	if (!thread)
		return 0;
	since_nsec = __sync_lock_test_and_set(&thread->since_nsec, 0);
	if (skipped == END_IS_TIMED && (!since_nsec || since_nsec < attached_nsec))
		return now_nsec;
	if (!now_nsec)
		now_nsec = bpf_ktime_get_ns();
	if (skipped == END_IS_TO_BE_TOLD)
		thread->began_nsec = since_nsec = now_nsec - nsec;
	else
		nsec = length_of(task, thread, since_nsec, now_nsec);
	by = previous->pid ? target_tid(previous->group_leader) : 0;
	tell(thread, task->comm, since_nsec, since_nsec + nsec, reason_throttled_since(task, &thread->queue), by, by_stack, false);
	set_pace(thread, pace, (__u32)task->pid, nsec);
	counter = thread->measured_nsec ? collect_counters() : NULL;
	if (counter)
		counter->at[SAMPLE_NSEC] += OFFCPU_COST_EVERY * (bpf_ktime_get_ns() - now_nsec);
	return now_nsec;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(offcpu_switch, bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
{
	__u64 now_nsec = wakers ? bpf_ktime_get_ns() : 0, by_stack = find_who_ran(next, prev, now_nsec);
	struct offcpu_thread *thread;

	/*
	 * What we take is the next one's by the kernel's clocks, too, stacks and all. One moment for both: a wait that is shorter
	 * by what end() takes would be a tenth too short where there are a million of a microsecond.
	 */
	now_nsec = end(next, prev, now_nsec, by_stack);
	thread = begin(prev, preempt, prev_state, now_nsec);
	if (thread)
		start(thread);
	return 0;
}

/*
 * By the number of its system call (arch/x86/entry/syscalls/syscall_64.tbl): the kernel releases the robust locks of who ends.
 * Others end a wait for a lock, too: a signal, a timeout.
 */
static __always_inline bool is_unlocking(struct task_struct *task)
{
	const struct pt_regs *regs = (const struct pt_regs *)bpf_task_pt_regs(task);

	if (task->flags & PF_KTHREAD)
		return false;
	switch (regs->orig_ax) {
	case 60:  /* exit */
	case 202: /* futex */
	case 231: /* exit_group */
	case 454: /* futex_wake */
	case 456: /* futex_requeue */
		return true;
	}
	return false;
}

/*
 * A lock that many wait for is handed on: who has it for a moment wakes the next one, which waited for who had it before. So
 * what ended this thread's own wait for the same lock ended the other one's, if that is the greater part of it. (Its wait is
 * remembered until it waits anew.) 0: it is its own doing.
 */
static __always_inline __u64 find_who_had_it_before(const struct offcpu_thread *thread, struct task_struct *task)
{
	const struct offcpu_thread *mine = bpf_task_storage_get(&threads, task, NULL, 0);

	if (!mine || !mine->other || mine->wait.reason != SAMPLE_LOCK || mine->wait.object != thread->wait.object ||
	    mine->process.pid != thread->process.pid || mine->woken_nsec <= thread->began_nsec)
		return 0;
	return thread->woken_nsec - mine->woken_nsec < mine->woken_nsec - thread->began_nsec ? mine->other : 0;
}

/* Who ends the wait now: key.other. `context`: of the program. */
static __always_inline __u64 find_who_wakes(void *context, const struct offcpu_thread *thread)
{
	struct task_struct *task = bpf_get_current_task_btf();
	bool is_lock = thread->wait.reason == SAMPLE_LOCK;
	__u64 other;

	if (thread->wait.reason == SAMPLE_RUNQUEUE || thread->wait.reason == SAMPLE_THROTTLED || (!is_lock && !wakers))
		return 0;
	if (interrupt_is_served(context, task))
		return is_lock ? 0 : SAMPLE_OTHER_INTERRUPT;
	if (is_lock && !is_unlocking(task))
		return 0;
	other = is_lock ? find_who_had_it_before(thread, task) : 0;
	return other ? other : take_other();
}

SEC("tp_btf/sched_waking")
int BPF_PROG(offcpu_waking, struct task_struct *task)
{
	struct offcpu_thread *thread;
	struct sample_pace *pace;
	struct counters *counter;
	__u64 start_nsec = 0, end_nsec;

	if (!is_target(task))
		return 0;
	pace = pace_of(task);
	if (pace->pid == (__u32)task->pid) {
		if (pace->since_nsec)
			return 0;
		start_nsec = bpf_ktime_get_ns();
	}
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	if (!thread || !thread->since_nsec || thread->woken_nsec)
		return 0;
	thread->is_throttled = reason_is_throttled(task);
	reason_read_queue(task, &thread->queue);
	thread->woken_nsec = bpf_ktime_get_ns();
	if (thread->measured_nsec) {
		/* What came before costs as much as it does where it is not measured: two clocks and a look-up. */
		counter = collect_counters();
		end_nsec = bpf_ktime_get_ns();
		if (counter)
			counter->at[SAMPLE_NSEC] += OFFCPU_COST_EVERY * (end_nsec - (start_nsec ? start_nsec : thread->woken_nsec));
	}
	if (thread->stack && thread->since_nsec >= attached_nsec)
		thread->other = find_who_wakes(ctx, thread);
	if (start_nsec && thread->skip)
		thread->ours_nsec = (__u32)(bpf_ktime_get_ns() - start_nsec);
	return 0;
}

/* --- Which file a page fault is about --- */

static __always_inline int looks_for(struct address_space *mapping, bool is_fault)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct inode *inode = BPF_CORE_READ(mapping, host);
	struct offcpu_thread *thread;
	struct sample_process process;

	if (!inode || !is_target(task))
		return 0;
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	/* It has not waited yet, and is about to. */
	if (!thread && is_asked_for(task, &process))
		thread = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (thread)
		object_looks_for(&thread->fault, task, inode, is_fault);
	return 0;
}

/* Of a page that is not there, or is not mapped at least. Not in Linux 6.1. */
SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(offcpu_fault, struct address_space *mapping)
{
	return looks_for(mapping, true);
}

/* A page that was not there is about to be read. By this alone a fault that waits for another's reading says nothing. */
SEC("tp_btf/mm_filemap_add_to_page_cache")
int BPF_PROG(offcpu_read_in, struct folio *folio)
{
	return looks_for(BPF_CORE_READ(folio, mapping), false);
}

/* --- The end of an epoch --- */

/*
 * A wait that is not timed goes on, and was found: from then on it is timed, and what it took before is known. One that was
 * not found is told when it ends.
 */
static __always_inline void cut_skipped(struct sample_pace *pace, struct offcpu_thread *thread)
{
	__u64 since_nsec = pace->since_nsec, found_nsec = thread->since_nsec, nsec;

	if (!since_nsec || !found_nsec || found_nsec < attached_nsec)
		return;
	nsec = found_nsec - clock_ahead_nsec - since_nsec;
	if ((__s64)nsec < 0)
		nsec = 0;
	if (__sync_val_compare_and_swap(&pace->since_nsec, since_nsec, 0) != since_nsec)
		return;
	thread->began_nsec = found_nsec - nsec;
	if (nsec < time_every_nsec || __sync_val_compare_and_swap(&thread->since_nsec, found_nsec, found_nsec - nsec) != found_nsec)
		__sync_fetch_and_add(&pace->untimed_nsec, nsec);
}

/* What is open is told up to now; the rest of it belongs to the epoch that follows. */
SEC("iter/task")
int offcpu_carry(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct offcpu_thread *thread;
	struct sample_process process;
	struct sample_pace *pace;
	__u64 since_nsec, now_nsec;

	thread = task ? bpf_task_storage_get(&threads, task, NULL, 0) : NULL;
	if (!thread)
		return 0;
	/* Its waits are not seen any more, and it may be a target again some day. */
	if (!is_asked_for(task, &process)) {
		leave_pace(task, thread);
		thread->since_nsec = 0;
		return 0;
	}
	pace = pace_of(task);
	if (pace->pid == (__u32)task->pid) {
		/*
		 * On a CPU it does not wait: it leaves it this moment, and the rest is told in the next epoch; or thread_find_waits()
		 * took it for waiting at the very moment it got one.
		 */
		if (!is_running(task))
			cut_skipped(pace, thread);
		tell_untimed(pace, thread);
	}
	if (is_running(task))
		return 0;
	since_nsec = thread->since_nsec;
	now_nsec = bpf_ktime_get_ns();
	/* Or it ends this very moment, and is told there. */
	if (!since_nsec || since_nsec < attached_nsec || now_nsec <= since_nsec || __sync_val_compare_and_swap(&thread->since_nsec, since_nsec, now_nsec) != since_nsec)
		return 0;
	tell(thread, task->comm, since_nsec, now_nsec, reason_throttled_since(task, &thread->queue), 0, 0, true);
	/* All that is open is timed from now on. */
	thread->skip = 0;
	if (thread->queue.address)
		reason_read_queue(task, &thread->queue);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
