/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * What the sampler has to know of a Go process to tell which goroutine a thread runs, and what labels that has (pprof.Do(),
 * runtime/pprof): where the thread keeps its g, and where things are in the runtime's structures (lib/goruntime finds both out).
 */
#include <linux/types.h>

enum { GO_THREAD_MAX = 1024 };

enum go_process_labels {
	GO_THREAD_LABELS_NONE,          /* not asked for */
	GO_THREAD_LABELS_MAP,           /* g.labels is a *map[string]string: until Go 1.23 */
	GO_THREAD_LABELS_LIST,          /* a *[]struct{ key, value string }: LabelSet, since 1.24 */
};

/* Value of the map by pid, as the daemon sees it. Holds for the program that began then, and no other of that pid. */
struct go_thread {
	__u64 start_ticks;               /* of 10 ms, since boot, in whole ones */
	__u32 exec_id;
	__s32 g;                         /* where a thread has the address of its g, from its thread pointer (FS) on */
	__u16 g_m, g_id, g_labels;       /* offsets in g: m, goid, labels */
	__u16 m_current_g;               /* in m: curg */
	__u16 labels;                    /* enum go_process_labels */
	__u16 wants_running;             /* struct go_running is to be kept of its threads */
	__u32 wants_id;
};

enum {
	GO_RUNNING_SLOTS = 16,           /* of each CPU, which alone writes them */
	GO_RUNNING_FRAMES = 128,         /* next to the leaf */
};

/* The latest sample of a thread in which it ran a goroutine: what that goroutine does if it is still running there. */
struct go_running {
	__u64 time_nsec;                 /* CLOCK_MONOTONIC; 0: there is none */
	__u64 start_nsec;                /* start_boottime of the group leader */
	__u32 pid;                       /* as the daemon sees it */
	__u32 thread;                    /* as its process numbers threads: g.m.procid */
	__u32 exec_id;
	__u32 is_cut;                    /* there are more frames, next to the root */
	__u64 n;                         /* frames, as in struct sample_stack: leaf first, none of the kernel's */
	__u64 goroutine;                 /* its number */
	__u64 frames[GO_RUNNING_FRAMES];
};

/* Where on a CPU that of a thread is, unless another one's is there. */
static inline __u32 go_running_slot(__u32 thread)
{
	return thread % GO_RUNNING_SLOTS;
}
