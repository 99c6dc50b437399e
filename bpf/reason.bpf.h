/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Why a thread leaves its CPU, told by what sched_switch sees anyway: its state, the system call it is in and its
 * arguments, the file behind the descriptor. No other probe is needed.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "memory.bpf.h"
#include "object.bpf.h"
#include "sample.h"

/* include/linux/sched.h */
enum {
	REASON_TASK_STOPPED = 0x4 | 0x8, /* __TASK_STOPPED, __TASK_TRACED */
	REASON_TASK_DEAD = 0x80,
	REASON_TASK_FROZEN = 0x8000,
};

/* include/uapi/linux/stat.h */
enum {
	REASON_S_IFMT = 0170000,
	REASON_S_IFSOCK = 0140000,
	REASON_S_IFREG = 0100000,
	REASON_S_IFBLK = 0060000,
	REASON_S_IFDIR = 0040000,
	REASON_S_IFIFO = 0010000,
};

/* include/uapi/linux/futex.h */
enum {
	REASON_FUTEX_CMD_MASK = ~(128 | 256), /* FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME */
	REASON_FUTEX_WAIT = 0,
	REASON_FUTEX_LOCK_PI = 6,
	REASON_FUTEX_WAIT_BITSET = 9,
	REASON_FUTEX_LOCK_PI2 = 13,
	REASON_FUTEX_TID_MASK = 0x3fffffff,
};

#define REASON_PF_MEMALLOC 0x00000800 /* include/linux/sched.h: reclaiming memory */

static __always_inline __u32 reason_word(memory_owner owner, __u64 address)
{
	__u32 word = 0;

	memory_read(owner, &word, sizeof(word), address);
	return word;
}

/*
 * Who has a mutex of glibc: struct __pthread_mutex_s (sysdeps/nptl/bits/struct_mutex.h, x86-64, since 2.3): __lock, __count,
 * __owner, __nusers, __kind. Other locks have other things there: their kind, the fifth word, is hardly one of glibc's four
 * plain ones, of which the process-shared and robust ones are not.
 */
static __always_inline __u32 reason_owner(memory_owner owner, __u64 address)
{
	__u32 words[5] = {};

	if (memory_read(owner, words, sizeof(words), address) < 0 || words[4] > 3 || !words[3])
		return 0;
	return words[2];
}

enum {
	/* glibc nptl/pthread_rwlock_common.c, sysdeps/nptl/internaltypes.h: of __readers, and what is waited for */
	REASON_RWLOCK_WRITE_PHASE = 1,
	REASON_RWLOCK_WRITE_LOCKED = 2,
	REASON_RWLOCK_READER_SHIFT = 3,
	REASON_RWLOCK_TAKEN = 1 | 2,     /* 1, and PTHREAD_RWLOCK_FUTEX_USED */
	/* Rust library/std/src/sys/sync/rwlock/futex.rs: of the state, whose other bits are 0 when nobody has it */
	REASON_RUST_READERS_WAITING = 1U << 30,
	REASON_RUST_WRITERS_WAITING = 1U << 31,
	/* libstdc++ bits/atomic_futex.h: a future that is not ready, and somebody waits */
	REASON_LIBSTDCXX_FUTURE = 1U << 31,
	/* Of pthread_cond_timedwait() and what it calls; there are some 200 bytes. */
	REASON_MUSL_FRAMES = 1024,
};

/*
 * Reader-writer locks. Of glibc's (struct __pthread_rwlock_arch_t, sysdeps/x86/nptl/bits/struct_rwlock.h): __readers,
 * __writers, __wrphase_futex, which readers wait on, __writers_futex, which writers wait on, two words, __cur_writer. Rust's
 * have a state, which readers wait on, and next to it a count, which writers wait on. musl's locks have the last bit set
 * while somebody waits (src/thread/{__lock,pthread_mutex_timedlock,pthread_rwlock_timedrdlock}.c). -1 is no lock: parked
 * threads of Rust and semaphores of musl wait for it, though readers of musl's and now and then of Rust's do, too.
 */
static __always_inline bool reason_is_rwlock(memory_owner owner, __u64 address, __u32 value)
{
	__u32 words[4] = {};                 /* the last one is that at the address */

	if (value & (REASON_RUST_READERS_WAITING | REASON_RUST_WRITERS_WAITING))
		return value != (__u32)-1 && value != REASON_LIBSTDCXX_FUTURE;
	if (memory_read(owner, words, sizeof(words), address - 3 * sizeof(__u32)) < 0)
		return false;
	if (value == REASON_RWLOCK_TAKEN && ((words[1] & REASON_RWLOCK_WRITE_PHASE && words[1] >> REASON_RWLOCK_READER_SHIFT) ||
			(words[0] & REASON_RWLOCK_WRITE_LOCKED && words[1])))
		return true;
	return words[2] & REASON_RUST_WRITERS_WAITING && words[2] << 2 && words[2] != (__u32)-1;
}

/*
 * Who waits for a condition variable of musl (src/thread/pthread_cond_timedwait.c) has a struct waiter on its stack, not far
 * up: two pointers, state, barrier, which is 2 as if it were a lock, and a pointer. State and pointer are 0 as long as it waits.
 */
static __always_inline bool reason_is_musl_condition(memory_owner owner, const struct pt_regs *regs)
{
	__u32 words[4] = {};

	if ((regs->di & 7) != 4 || regs->di - regs->sp > REASON_MUSL_FRAMES)
		return false;
	return memory_read(owner, words, sizeof(words), regs->di - sizeof(__u32)) == 0 && !words[0] && !words[2] && !words[3];
}

/*
 * A lock or something else? Locks of glibc, Rust, Go's runtime and libstdc++ wait for a word that says
 * "locked, and somebody waits", which is 2 in all of them (glibc nptl/lowlevellock.h; Rust library/std/src/sys/sync/mutex/
 * futex.rs; Go runtime/lock_futex.go, mutex_sleeping). Condition variables wait for a count, parked threads for 0.
 */
static __always_inline void reason_of_futex(memory_owner owner, const struct pt_regs *regs, struct sample_wait *ret)
{
	__u32 operation = (__u32)regs->si & REASON_FUTEX_CMD_MASK, value = (__u32)regs->dx;

	ret->object = regs->di;
	ret->reason = SAMPLE_CHANNEL;
	if (operation == REASON_FUTEX_LOCK_PI || operation == REASON_FUTEX_LOCK_PI2) {
		ret->reason = SAMPLE_LOCK;
		ret->device = reason_word(owner, regs->di) & REASON_FUTEX_TID_MASK;
	} else if (operation != REASON_FUTEX_WAIT && operation != REASON_FUTEX_WAIT_BITSET) {
		return;
	} else if (value == 2 && !reason_is_musl_condition(owner, regs)) {
		ret->reason = SAMPLE_LOCK;
		ret->device = reason_owner(owner, regs->di);
	} else if (reason_is_rwlock(owner, regs->di, value)) {
		ret->reason = SAMPLE_LOCK;
	}
}

/* The file behind a descriptor of the task. */
static __always_inline void reason_of_file(struct task_struct *task, __u64 number, struct sample_wait *ret)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct inode *inode;
	struct file **files, *file = NULL;

	ret->reason = SAMPLE_SYSCALL;
	if ((__u32)number >= BPF_CORE_READ(table, max_fds))
		return;
	files = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), files + (__u32)number) < 0 || !file)
		return;
	inode = BPF_CORE_READ(file, f_inode);
	switch (BPF_CORE_READ(inode, i_mode) & REASON_S_IFMT) {
	case REASON_S_IFSOCK:
		ret->reason = SAMPLE_NETWORK;
		break;
	case REASON_S_IFIFO:
		ret->reason = SAMPLE_PIPE;
		break;
	case REASON_S_IFREG:
	case REASON_S_IFDIR:
	case REASON_S_IFBLK:
		ret->reason = SAMPLE_DISK;
		break;
	default: /* a terminal, eventfd, inotify, ... */
		return;
	}
	ret->object = BPF_CORE_READ(inode, i_ino);
	ret->device = BPF_CORE_READ(inode, i_sb, s_dev);
	if (ret->reason != SAMPLE_PIPE)
		object_remember((__u64)inode, (__u64)file, ret->reason == SAMPLE_NETWORK, object_slot(task));
}

/* By the number of the system call (arch/x86/entry/syscalls/syscall_64.tbl). */
static __always_inline void reason_of_syscall(struct task_struct *task, const struct pt_regs *regs, bool is_io, struct sample_wait *ret)
{
	__u32 number = (__u32)regs->orig_ax;

	switch (number) {
	case 202: /* futex */
		reason_of_futex(memory_of(task), regs, ret);
		return;
	case 449: /* futex_waitv */
	case 455: /* futex_wait */
		ret->object = regs->di;
		ret->reason = SAMPLE_CHANNEL;
		return;
	case 7:   /* poll */
	case 23:  /* select */
	case 232: /* epoll_wait */
	case 270: /* pselect6 */
	case 271: /* ppoll */
	case 281: /* epoll_pwait */
	case 441: /* epoll_pwait2 */
		ret->reason = SAMPLE_SELECT;
		return;
	case 34:  /* pause */
	case 35:  /* nanosleep */
	case 128: /* rt_sigtimedwait */
	case 130: /* rt_sigsuspend */
	case 230: /* clock_nanosleep */
		ret->reason = SAMPLE_SLEEP;
		return;
	case 61:  /* wait4 */
	case 247: /* waitid */
		ret->reason = SAMPLE_CHILD;
		return;
	case 426: /* io_uring_enter */
		ret->reason = SAMPLE_IO_URING;
		return;
	case 0:   /* read */
	case 1:   /* write */
	case 17:  /* pread64 */
	case 18:  /* pwrite64 */
	case 19:  /* readv */
	case 20:  /* writev */
	case 40:  /* sendfile */
	case 42:  /* connect */
	case 43:  /* accept */
	case 44:  /* sendto */
	case 45:  /* recvfrom */
	case 46:  /* sendmsg */
	case 47:  /* recvmsg */
	case 73:  /* flock */
	case 74:  /* fsync */
	case 75:  /* fdatasync */
	case 77:  /* ftruncate */
	case 78:  /* getdents */
	case 217: /* getdents64 */
	case 275: /* splice */
	case 277: /* sync_file_range */
	case 285: /* fallocate */
	case 288: /* accept4 */
	case 295: /* preadv */
	case 296: /* pwritev */
	case 299: /* recvmmsg */
	case 306: /* syncfs */
	case 307: /* sendmmsg */
	case 327: /* preadv2 */
	case 328: /* pwritev2 */
		reason_of_file(task, regs->di, ret);
		break;
	default:
		ret->reason = SAMPLE_SYSCALL;
	}
	/* Not by what it is called, but by what it does. */
	if (is_io)
		ret->reason = SAMPLE_DISK;
}

static __always_inline bool reason_is_throttled(struct task_struct *task)
{
	/* Since Linux 6.18 it is threads that are throttled, on their way to user mode (commit e1fad12dcb66). */
	if (bpf_core_field_exists(task->throttled))
		return task->throttled;
	if (bpf_core_field_exists(task->se.cfs_rq) && bpf_core_field_exists(((struct cfs_rq *)NULL)->throttle_count))
		return BPF_CORE_READ(task, se.cfs_rq, throttle_count) > 0;
	return false;
}

/* How long a run queue had no time left, until a thread became ready on it. */
struct reason_queue {
	__u64 address;                   /* 0: not known, or not needed */
	__u64 throttled_nsec;
};

static __always_inline void reason_read_queue(struct task_struct *task, struct reason_queue *ret)
{
	ret->address = 0;
	ret->throttled_nsec = 0;
	if (bpf_core_field_exists(task->throttled) || !bpf_core_field_exists(task->se.cfs_rq) ||
	    !bpf_core_field_exists(((struct cfs_rq *)NULL)->throttled_clock_pelt_time))
		return;
	ret->address = (__u64)BPF_CORE_READ(task, se.cfs_rq);
	ret->throttled_nsec = BPF_CORE_READ(task, se.cfs_rq, throttled_clock_pelt_time);
}

/* How long it had none since then. 0, too, when the thread is on another queue now. */
static __always_inline __u64 reason_throttled_since(struct task_struct *task, const struct reason_queue *before)
{
	struct reason_queue now;

	if (!before->address)
		return 0;
	reason_read_queue(task, &now);
	return now.address == before->address && now.throttled_nsec > before->throttled_nsec ? now.throttled_nsec - before->throttled_nsec : 0;
}

/*
 * Of `task`, the current one, which leaves its CPU in `state`, or with MEMORY_OF_OTHERS any that is off its CPU in it;
 * `is_preempted`: it did not want to.
 */
static __always_inline void reason_find(struct task_struct *task, bool is_preempted, unsigned int state, struct sample_wait *ret)
{
	const struct pt_regs *regs;
	bool is_io;

	ret->object = 0;
	ret->device = 0;
	ret->shift = 0;
	if (is_preempted || !state) {
		ret->reason = reason_is_throttled(task) ? SAMPLE_THROTTLED : SAMPLE_RUNQUEUE;
		return;
	}
	if (state & (REASON_TASK_STOPPED | REASON_TASK_FROZEN)) {
		ret->reason = SAMPLE_STOPPED;
		return;
	}
	if (task->flags & PF_KTHREAD || !task->mm) {
		ret->reason = SAMPLE_KERNEL;
		return;
	}
	if (task->flags & REASON_PF_MEMALLOC || (bpf_core_field_exists(task->in_memstall) && BPF_CORE_READ_BITFIELD(task, in_memstall))) {
		ret->reason = SAMPLE_RECLAIM;
		return;
	}
	regs = (const struct pt_regs *)bpf_task_pt_regs(task);
	is_io = BPF_CORE_READ_BITFIELD(task, in_iowait);
	if ((__s32)regs->orig_ax < 0) {
		ret->reason = SAMPLE_FAULT; /* no system call: an exception, hence a page that is not there */
		return;
	}
	reason_of_syscall(task, regs, is_io, ret);
}
