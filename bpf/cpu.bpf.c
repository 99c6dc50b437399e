// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The CPU sampler: runs at each tick of a CPU's clock event, takes the stack of the thread it interrupted and counts it.
 *
 * A stack already counted for its thread costs one lookup and one addition. A new one is first sent through the ring,
 * unless another thread of the process had it in this epoch, and only then entered: every entry has its frames, but for
 * the rare case that another CPU announced them and found the ring full. Such entries are found at the drain.
 *
 * The kernel skips us without a trace while this CPU is inside another BPF program or changes a BPF map (bpf_prog_active,
 * kernel/events/core.c bpf_overflow_handler()). Those samples are nowhere; they are microseconds of such programs.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "collect.bpf.h"
#include "go_labels.bpf.h"
#include "go_running.bpf.h"
#include "sample.h"
#include "target.bpf.h"
#include "unwind.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind);
} cpu_scratch SEC(".maps");

/* Of labels, that were told in each epoch; zeroed by the daemon when it has drained it. */
volatile __u32 n_label_sets[SAMPLE_EPOCHS] = {};

/* A sample for which the map has no room: the record itself is the sample. `n_frames`: 0: they have been sent. */
static __always_inline long send_loose(struct unwind *unwind, __u32 n_frames)
{
	if (n_frames > UNWIND_MAX_FRAMES)
		n_frames = UNWIND_MAX_FRAMES;
	if (!n_frames)
		unwind->stack.n_kernel = unwind->stack.n_user = 0;
	unwind->stack.loose = 1;
	return bpf_ringbuf_output(&ring, &unwind->stack, sizeof(unwind->stack) + n_frames * sizeof(__u64), 0);
}

/*
 * True when the sample is accounted for, in the map or in the ring. A function of its own, as others here: the stacks of those that
 * call one another may have 512 bytes together, and the walk has need of them.
 */
static __attribute__((noinline)) int enter(void *map, struct unwind *unwind)
{
	struct sample_key *key = &unwind->stack.key, marker = *key;
	struct sample_value first = { .count = 1 };
	bool is_sent;

	marker.tid = 0;
	marker.labels = marker.goroutine = 0;
	is_sent = collect_send_stack(map, &marker, unwind) >= 0;
	if (is_sent) {
		__builtin_memcpy(first.thread, unwind->stack.thread, sizeof(first.thread));
		if (bpf_map_update_elem(map, key, &first, BPF_NOEXIST) == 0)
			return true;
	}
	return send_loose(unwind, is_sent ? 0 : (__u32)unwind->stack.n_kernel + unwind->stack.n_user) >= 0;
}

/* Sends the labels unless that was done in this epoch. False: there is no room for them. */
static __attribute__((noinline)) int announce_labels(void *map, struct go_search *search, const struct sample_process *process, __u32 now)
{
	struct sample_go_labels *labels = &search->labels;
	struct sample_value nothing = {};
	__u32 n;
	long r;

	labels->key.process = *process;
	if (bpf_map_lookup_elem(map, &labels->key))
		return true;
	/* CPUs may be above the limit together, by one each. */
	if (n_label_sets[now & 1] >= SAMPLE_MAX_LABEL_SETS)
		return false;
	r = bpf_map_update_elem(map, &labels->key, &nothing, BPF_NOEXIST);
	if (r < 0)
		return r == -17 /* EEXIST */;
	__sync_fetch_and_add(&n_label_sets[now & 1], 1);
	labels->epoch = now;
	labels->mark = SAMPLE_LABELS_MARK;
	n = *(volatile __u16 *)&labels->n; /* compared where it is used: for the verifier */
	if (n <= SAMPLE_MAX_LABELS && bpf_ringbuf_output(&ring, labels, __builtin_offsetof(struct sample_go_labels, at) + n * sizeof(struct sample_go_label), 0) >= 0)
		return true;
	bpf_map_delete_elem(map, &labels->key);
	return false;
}

/* Which goroutine it is, in the key; its labels. NULL: it has none, or they are not wanted. */
static __attribute__((noinline)) struct go_search *find_goroutine(struct task_struct *task, struct unwind *unwind, struct counters *counter)
{
	struct sample_key *key = &unwind->stack.key;
	const struct go_thread *process;
	struct go_search *search;
	__u64 goroutine = 0;
	bool has_failed;

	key->labels = key->goroutine = 0;
	process = n_go_processes ? go_process_of(&key->process) : NULL;
	if (!process)
		return NULL;
	search = go_find_labels(task, process, stack_salt, &goroutine, &has_failed);
	if (has_failed)
		counter->at[SAMPLE_LABELS_UNREAD]++;
	if (process->wants_id)
		key->goroutine = goroutine;
	if (process->wants_running && goroutine)
		go_running_keep(task, unwind, goroutine);
	if (!search)
		return NULL;
	if (search->is_cut)
		counter->at[SAMPLE_LABELS_CUT]++;
	key->labels = search->labels.key.labels;
	return search;
}

static __always_inline void count_sample(struct bpf_perf_event_data *ctx, struct task_struct *task, __u32 now, struct counters *counter)
{
	struct sample_value *value;
	struct go_search *labels;
	struct unwind *unwind;
	struct sample_key *key;
	__u32 verdict, zero = 0;
	void *map;

	unwind = bpf_map_lookup_elem(&cpu_scratch, &zero);
	map = collect_counts_of(now);
	if (!unwind || !map) /* cannot be */
		return;

	key = &unwind->stack.key;
	if (!collect_is_asked_for(task, &key->process)) {
		counter->at[SAMPLE_NOT_TARGET]++;
		return;
	}
	counter->at[SAMPLE_SEEN]++;
	key->tid = target_tid(task);
	if (!key->process.pid || !key->tid) {
		counter->at[SAMPLE_LOST_NAMESPACE]++;
		return;
	}

	unwind_task(unwind, ctx, &ctx->regs, task, stack_salt);
	key->stack = unwind->hash;
	key->other = 0;
	key->skip = 0;
	verdict = unwind->verdict;
	if (verdict >= SAMPLE_N_VERDICTS) /* cannot be: for the verifier */
		return;
	labels = find_goroutine(task, unwind, counter);
	value = bpf_map_lookup_elem(map, key);
	if (!value && labels && !announce_labels(map, labels, &key->process, now)) {
		counter->at[SAMPLE_LABELS_LEFT_OUT]++;
		key->labels = SAMPLE_LABELS_OTHER;
		value = bpf_map_lookup_elem(map, key);
	}
	if (value) {
		__sync_fetch_and_add(&value->count, 1);
	} else {
		unwind->stack.epoch = now;
		bpf_get_current_comm(unwind->stack.thread, sizeof(unwind->stack.thread));
		if (!enter(map, unwind)) {
			counter->at[SAMPLE_LOST_RING]++;
			return;
		}
	}
	counter->at[SAMPLE_VERDICTS + verdict]++;
}

SEC("perf_event")
int sample_cpu(struct bpf_perf_event_data *ctx)
{
	__u64 start_nsec = bpf_ktime_get_ns();
	struct task_struct *task = bpf_get_current_task_btf();
	struct counters *counter;
	__u32 now = collect_epoch();

	if (!task->pid) /* idle; the event excludes it already */
		return 0;
	counter = collect_counters_of(now);
	if (!counter) /* cannot be */
		return 0;
	count_sample(ctx, task, now, counter);
	counter->at[SAMPLE_NSEC] += bpf_ktime_get_ns() - start_nsec;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
