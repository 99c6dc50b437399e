/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Whether a program at a tracepoint runs in an interrupt, so that what happens has nothing to do with the thread that is the
 * current one.
 *
 * The counter that tells (`__preempt_count`, `pcpu_hot` in Linux 6.2 to 6.14) can be read only where the kernel has
 * CONFIG_KALLSYMS_ALL. But the program's arguments lie on the stack of who fired (kernel/trace/bpf_trace.c,
 * bpf_trace_run*()): if that is not the thread's own one it is that of interrupts, onto which x86-64 goes for each that meets
 * the kernel. One that meets user mode stays on the thread's stack, which is empty then (arch/x86/include/asm/irq_stack.h,
 * since Linux 5.8), and in which orig_ax says that it is no system call, as for any exception (arch/x86/entry/entry_64.S).
 *
 * So a thread that wakes another one from a page fault is taken for an interrupt, too, and so is what a system call leaves
 * to softirqs: a packet to a socket of this host is delivered by one.
 */
#include <stdbool.h>

#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* `context` is what the kernel passed to the program, of type tp_btf; `task` is the current one. */
static __always_inline bool interrupt_is_served(void *context, struct task_struct *task)
{
	const struct pt_regs *regs = (const struct pt_regs *)bpf_task_pt_regs(task); /* the top of its stack */
	__u64 at = 0;

	/* An idle CPU does nothing else. */
	if (!task->pid)
		return true;
	/* As a number, by a way on which the verifier does not follow. */
	bpf_probe_read_kernel(&at, sizeof(at), &context);
	if (at < (__u64)task->stack || at >= (__u64)regs)
		return true;
	return !(task->flags & PF_KTHREAD) && (__s64)regs->orig_ax < 0;
}
