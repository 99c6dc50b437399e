/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * The members of kernel structures that our programs read, and no others. libbpf finds their true offsets when a
 * program is loaded (CO-RE), so order and size here mean nothing but in the structures of section "exact layout".
 *
 * Newest facts checked against the BTF of 5.10, 6.1, 6.12, 6.18 and 7.3.
 */
#include <linux/types.h>

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct pid_namespace {
	unsigned int level;
	struct ns_common ns;
};

struct nsproxy {
	struct pid_namespace *pid_ns_for_children;
};

/* Exact layout: elements of an array that we index. */
struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1]; /* level + 1 of them: the number in the initial namespace first */
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp; /* in the default (v2) hierarchy */
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live; /* threads that did not exit yet */
};

struct mm_struct {
	unsigned long task_size;
};

struct task_struct {
	unsigned int flags;
	int pid;                     /* thread, in the initial pid namespace */
	int tgid;                    /* process */
	unsigned in_execve : 1;
	__u64 start_boottime;        /* ns */
	__u64 self_exec_id;
	struct mm_struct *mm;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct signal_struct *signal;
	struct pid *thread_pid;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	char comm[16];
};

struct linux_binprm {
	const char *filename;
	const char *interp;
};

/* Exact layout: user interface of the kernel (arch/x86/include/asm/ptrace.h), never changes. */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx;
	unsigned long r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax;
	unsigned long ip, cs, flags, sp, ss;
};

/* What a program of type perf_event is given: include/uapi/linux/bpf_perf_event.h. */
struct bpf_perf_event_data {
	struct pt_regs regs;
	__u64 sample_period;
	__u64 addr;
};

#pragma clang attribute pop
