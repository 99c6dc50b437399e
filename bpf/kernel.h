/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * The members of kernel structures that our programs read, and no others. libbpf finds their true offsets when a
 * program is loaded (CO-RE), so order and size here mean nothing but in the structures of section "exact layout".
 *
 * Programs were loaded and run with it on 6.1, 6.12, 6.18 and 7.3.
 */
#include <linux/types.h>
#include <stdbool.h>

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

struct super_block {
	unsigned int s_dev;
};

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
	unsigned int i_nlink;
	unsigned int i_rdev;         /* of a block device's: the device that it is */
	unsigned int i_generation;
	struct super_block *i_sb;
	struct hlist_head i_dentry;  /* of dentry.d_alias: its names */
	/* Linux 6.11, commit 3aa63a569c64; the two before are flavours of it, as libbpf calls them. */
	__s64 i_mtime_sec;
	unsigned int i_mtime_nsec;
};

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};

struct inode___linux_6_7 {
	struct timespec64 __i_mtime;
};

struct inode___before {
	struct timespec64 i_mtime;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;     /* itself: the root of its file system, or a file without a name in one */
	struct qstr d_name;
	struct hlist_node d_alias;   /* Linux 7; in a union without a name. One of it before: */
};

struct dentry___before {
	union {
		struct hlist_node d_alias;
	} d_u;
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct inode *f_inode;
	struct path f_path;
	void *private_data;          /* of a socket: struct socket */
};

struct address_space {
	struct inode *host;
};

struct folio {
	struct address_space *mapping;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__u32 skc_daddr;             /* big-endian, as the next one */
	__u16 skc_dport;
	__u16 skc_num;               /* our port */
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
};

struct sock {
	struct sock_common __sk_common;
};

struct socket {
	struct sock *sk;
};

struct sockaddr_un {
	char sun_path[108];
};

struct unix_address {
	int len;                     /* of name, its family included */
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

struct vm_area_struct {
	unsigned long vm_start, vm_end; /* [vm_start, vm_end) */
	unsigned long vm_flags;
	unsigned long vm_pgoff;         /* pages */
	struct file *vm_file;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct rq {
	__u64 clock;                 /* sched_clock(), read when the scheduler begins to choose who runs next */
};

struct cfs_rq {
	int throttle_count;          /* CONFIG_CFS_BANDWIDTH */
	__u64 throttled_clock_pelt_time; /* ns for which that was above 0, those before the last time */
	struct rq *rq;               /* CONFIG_FAIR_GROUP_SCHED */
};

struct sched_entity {
	struct cfs_rq *cfs_rq;       /* CONFIG_FAIR_GROUP_SCHED */
};

struct maple_tree {
	void *ma_root;
};

struct mm_context {
	void *vdso;
};

struct mm_struct {
	struct maple_tree mm_mt;        /* Linux 6.1, commit d4af56c5c7c6 */
	struct mm_context context;
};

struct thread_struct {
	unsigned long fsbase;        /* as it was set last by a system call, or when the thread last left its CPU */
};

struct task_struct {
	unsigned int __state;
	unsigned int on_cpu;         /* CONFIG_SMP; unsigned, because it is a byte since Linux 7 */
	unsigned int flags;
	int pid;                     /* thread, in the initial pid namespace */
	int tgid;                    /* process */
	unsigned in_execve : 1;
	unsigned in_iowait : 1;
	unsigned in_memstall : 1;    /* CONFIG_PSI: reclaiming, or waiting for who does */
	bool throttled;              /* Linux 6.18 */
	struct sched_entity se;
	unsigned long nvcsw, nivcsw; /* how often it left its CPU: of its own will, and not */
	unsigned long min_flt, maj_flt; /* faults that are over */
	__u64 start_boottime;        /* ns */
	__u64 self_exec_id;
	struct mm_struct *mm;
	void *stack;                 /* its lowest address */
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct signal_struct *signal;
	struct pid *thread_pid;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct files_struct *files;
	char comm[16];
	struct thread_struct thread;
};

struct gendisk {
	int major;
	int first_minor;
	char disk_name[32];
};

struct request_queue {
	struct gendisk *disk;        /* Linux 5.15, commit d152c682f03c */
};

struct request {
	struct request_queue *q;
	__u32 cmd_flags;
	__u32 rq_flags;
	unsigned int __data_len;     /* bytes that are left */
	__u64 start_time_ns;
	__u64 io_start_time_ns;      /* 0 where nobody measures the device */
};

struct linux_binprm {
	const char *filename;
	const char *interp;
};

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx;
	unsigned long r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax;       /* number of the system call; negative: none */
	unsigned long ip, sp;
	unsigned short cs; /* once a long; beside it FRED keeps other things now (Linux 6.9) */
};

#pragma clang attribute pop

/*
 * What a program of type perf_event is given (include/uapi/linux/bpf_perf_event.h, arch/x86/include/uapi/asm/ptrace.h).
 * Exact layout, which never changes, and not to be relocated: the verifier wants whole registers to be read.
 */
struct interrupted_registers {
	__u64 r15, r14, r13, r12, bp, bx;
	__u64 r11, r10, r9, r8, ax, cx, dx, si, di;
	__u64 orig_ax;
	__u64 ip, cs, flags, sp, ss;
};

struct bpf_perf_event_data {
	struct interrupted_registers regs;
	__u64 sample_period;
	__u64 addr;
};
