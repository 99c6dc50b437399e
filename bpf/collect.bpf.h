/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * What the programs of all samplers have alike: whom to sample, where to count, and how a stack's
 * frames are sent. Of the daemon it is daemon/sampler/collector.h that does the same.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "sample.h"
#include "target.bpf.h"
#include "unwind.bpf.h"

/* Set before loading. */
const volatile bool all_processes = false;
const volatile __u64 stack_salt = 1;        /* of the hashes of stacks, drawn anew in each run */

/* Where samples are counted now: written by the daemon at a window's end. */
volatile __u32 epoch = 0;

struct counters {
	__u64 at[SAMPLE_N_COUNTERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SAMPLE_EPOCHS);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/*
 * By epoch; the daemon makes the inner maps, in the size that it wants. (Sizes instead of types: clang 14 leaves a type
 * that is used only here a forward declaration.)
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SAMPLE_EPOCHS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(struct sample_key));
		__uint(value_size, sizeof(struct sample_value));
	});
} counts SEC(".maps");

/* The processes to sample, unless it is all. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8);
} target_pids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

/* Changes at any moment: who wants the same one for more than one thing asks once. */
static __always_inline __u32 collect_epoch(void)
{
	return epoch & 1;
}

/* Of an epoch. NULL cannot be. */
static __always_inline struct counters *collect_counters_of(__u32 which)
{
	return bpf_map_lookup_elem(&counters, &which);
}

static __always_inline void *collect_counts_of(__u32 which)
{
	return bpf_map_lookup_elem(&counts, &which);
}

static __always_inline struct counters *collect_counters(void)
{
	return collect_counters_of(collect_epoch());
}

static __always_inline void *collect_counts(void)
{
	return collect_counts_of(collect_epoch());
}

/* Whether the process of `task` is to be sampled; which one it is. pid is 0 when it is outside the daemon's pid namespace. */
static __always_inline bool collect_is_asked_for(struct task_struct *task, struct sample_process *process)
{
	target_identify(task, process);
	return all_processes || (process->pid && bpf_map_lookup_elem(&target_pids, &process->pid));
}

/* Of a marker. Not on the stack, of which a walk wants a lot. */
static const volatile struct sample_value no_value;

/*
 * Sends the frames of a stack, or that it has none, unless that was done in its epoch, which is that of `map`. 0, or negative:
 * neither ring nor map has room. Whatever has the stack is counted only after that; so every entry has its frames.
 */
static __always_inline long collect_send_stack(void *map, const struct sample_key *marker, struct unwind *unwind)
{
	__u32 n = (__u32)unwind->stack.n_kernel + unwind->stack.n_user;
	long r;

	r = bpf_map_update_elem(map, marker, (const void *)&no_value, BPF_NOEXIST);
	if (r == -17 /* EEXIST */)
		return 0;
	if (r < 0)
		return r;
	unwind->stack.loose = 0;
	unwind->stack.loose_nsec = 0;
	if (n > UNWIND_MAX_FRAMES)
		n = UNWIND_MAX_FRAMES;
	/* Wakes the reader only when it has read all before: at most once for each time that it looks. */
	r = bpf_ringbuf_output(&ring, &unwind->stack, sizeof(unwind->stack) + n * sizeof(__u64), 0);
	if (r < 0)
		bpf_map_delete_elem(map, marker); /* whoever comes next tries again */
	return r;
}
