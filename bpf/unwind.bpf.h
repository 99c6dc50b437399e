/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Takes a stack: the kernel's part with the kernel's own unwinder, the program's part by our own walk, frame by frame.
 * Never BPF_F_USER_STACK: with uprobes on the machine it crashes kernels before 6.13 (commit b583ef82b671).
 *
 * The walk is one step repeated: unwind_step() takes the registers of a frame to those of its caller. Today it knows
 * frame pointers; tables will be another way to make the same step. x86-64 only.
 *
 * It reads memory and loops only through unwind_read() and unwind_loop(): tests/unit/bpf defines UNWIND_NATIVE and its
 * own two, and runs the very same walk on stacks made by hand.
 */
#include <stdbool.h>

#include "sample.h"

#ifndef UNWIND_NATIVE
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

static __always_inline long unwind_read(void *to, __u32 size, __u64 from)
{
	return bpf_probe_read_user(to, size, (const void *)from);
}

#define unwind_loop(n, fn, context) bpf_loop(n, fn, context, 0)
#endif

#define UNWIND_USER_END 0x7ffffffff000ULL /* TASK_SIZE_MAX with four levels of page tables, page_64_types.h */

/*
 * Where Go keeps the stacks of goroutines: its heap begins at 0xc000000000, from Go 1.26 on at a random place below 2^46
 * (runtime/malloc.go, mallocinit(), Go 1.27.1: randHeapAddrBits). Linux itself puts nothing there: programs, their heaps
 * and all mappings are near 2^46 + 2^44 or 2^47, but for a program at a fixed address, which lies with its heap below 2^32.
 */
#define UNWIND_GO_HEAP_START (1ULL << 32)
#define UNWIND_GO_HEAP_END   (1ULL << 46)

enum {
	UNWIND_MAX_FRAMES = SAMPLE_MAX_KERNEL_FRAMES + SAMPLE_MAX_USER_FRAMES,
	UNWIND_GO_ON = SAMPLE_N_VERDICTS, /* beside enum sample_verdict: there is a caller */
};

struct unwind_registers {
	__u64 ip, sp, bp;
};

/* One walk, too large for the BPF stack: in scratch memory of its CPU, one for each type of program. */
struct unwind {
	struct unwind_registers at;
	__u64 hash;
	__u32 n;                         /* frames so far */
	__u32 verdict;
	struct sample_stack stack;       /* sent as one with the frames */
	__u64 frames[UNWIND_MAX_FRAMES];
};

_Static_assert(__builtin_offsetof(struct unwind, frames) ==
		__builtin_offsetof(struct unwind, stack) + sizeof(struct sample_stack), "frames follow their header");

/*
 * `salt` is odd and drawn at start: no process can choose stacks whose hashes collide. (The key holds the process too, so
 * that it could only confuse its own stacks.)
 */
static __always_inline __u64 unwind_mix(__u64 hash, __u64 value, __u64 salt)
{
	hash = (hash ^ value) * salt;
	return hash ^ (hash >> 32);
}

static __always_inline bool unwind_may_be_goroutine_stack(__u64 address)
{
	return address >= UNWIND_GO_HEAP_START && address < UNWIND_GO_HEAP_END;
}

/*
 * From a frame to its caller: UNWIND_GO_ON, or the verdict that ends the walk; `at` is untouched then.
 *
 * The caller's stack lies above, but where code changes stacks: runtime.systemstack and asmcgocall of Go keep the chain
 * intact from the system stack into the goroutine's (asm_amd64.s, Go 1.21 and later), which may be below.
 */
static __always_inline int unwind_step(struct unwind_registers *at)
{
	struct {
		__u64 bp, ip;
	} saved;

	if (!at->bp)
		return SAMPLE_VERDICT_COMPLETE;
	if (at->bp & 7 || at->bp > UNWIND_USER_END - sizeof(saved))
		return SAMPLE_VERDICT_BAD_FRAME;
	if (at->bp < at->sp && !unwind_may_be_goroutine_stack(at->bp))
		return SAMPLE_VERDICT_BAD_FRAME;
	if (unwind_read(&saved, sizeof(saved), at->bp) < 0)
		return SAMPLE_VERDICT_UNREADABLE;
	if (!saved.ip && !saved.bp)
		return SAMPLE_VERDICT_COMPLETE;
	if (!saved.ip || saved.ip >= UNWIND_USER_END)
		return SAMPLE_VERDICT_BAD_FRAME;
	at->ip = saved.ip;
	at->sp = at->bp + sizeof(saved);
	at->bp = saved.bp;
	return UNWIND_GO_ON;
}

struct unwind_context {
	struct unwind *unwind;
	__u64 salt;
};

static long unwind_frame(__u32 index, void *data)
{
	struct unwind_context *context = data;
	struct unwind *unwind = context->unwind;
	__u32 n = unwind->n;
	int r;

	if (n >= UNWIND_MAX_FRAMES) /* cannot be: for the verifier */
		return 1;
	unwind->frames[n] = unwind->at.ip;
	unwind->n = n + 1;
	unwind->hash = unwind_mix(unwind->hash, unwind->at.ip, context->salt);
	r = unwind_step(&unwind->at);
	if (r == UNWIND_GO_ON)
		return 0;
	unwind->verdict = r;
	return 1;
}

/*
 * Appends the frames of the program, leaf first, from the registers in unwind->at on, and sets unwind->verdict.
 * Before: unwind->n frames of the kernel, at most SAMPLE_MAX_KERNEL_FRAMES, are there and in unwind->hash.
 */
static __always_inline void unwind_user(struct unwind *unwind, __u64 salt)
{
	struct unwind_context context = { .unwind = unwind, .salt = salt };

	unwind->verdict = SAMPLE_VERDICT_TOO_DEEP; /* unless a step says otherwise */
	unwind_loop(SAMPLE_MAX_USER_FRAMES, unwind_frame, &context);
}

#ifndef UNWIND_NATIVE

enum {
	UNWIND_USER_CS = 0x33,           /* __USER_CS, arch/x86/include/asm/segment.h: 64-bit code */
};

/* The context's registers are read whole: the verifier refuses the narrower load that clang would make of a mask. */
#define unwind_register(regs, name) (*(const volatile __u64 *)&(regs)->name)

static long unwind_hash_kernel_frame(__u32 index, void *data)
{
	struct unwind_context *context = data;
	struct unwind *unwind = context->unwind;

	if (index >= SAMPLE_MAX_KERNEL_FRAMES)
		return 1;
	unwind->hash = unwind_mix(unwind->hash, unwind->frames[index], context->salt);
	return 0;
}

/* Amid execve(2) the address space may be the new one already while the registers are still the old program's. */
static __always_inline bool unwind_is_amid_exec(struct task_struct *task)
{
	return bpf_core_field_exists(task->in_execve) && BPF_CORE_READ_BITFIELD(task, in_execve);
}

/*
 * The whole stack of the thread `task`, the current one, which was interrupted with `regs`; `context` is what the kernel
 * passed to the program. Fills stack.n_kernel, n_user and verdict, n and hash. There is always one frame at least.
 */
static __always_inline void unwind_task(struct unwind *unwind, void *context,
		const struct interrupted_registers *regs, struct task_struct *task, __u64 salt)
{
	struct unwind_context loop = { .unwind = unwind, .salt = salt };
	__u64 cs = unwind_register(regs, cs) & 0xffff, ip = unwind_register(regs, ip);
	__u32 n_kernel = 0;
	long n_bytes;

	unwind->hash = salt;
	unwind->at.ip = 0;
	if ((cs & 3) == 3) { /* privilege level 3: in user mode */
		unwind->at.ip = ip;
		unwind->at.sp = unwind_register(regs, sp);
		unwind->at.bp = unwind_register(regs, bp);
	} else {
		n_bytes = bpf_get_stack(context, unwind->frames, SAMPLE_MAX_KERNEL_FRAMES * sizeof(__u64), 0);
		if (n_bytes >= (long)sizeof(__u64)) {
			n_kernel = (__u32)n_bytes / sizeof(__u64);
		} else {
			unwind->frames[0] = ip;
			n_kernel = 1;
		}
		unwind_loop(n_kernel, unwind_hash_kernel_frame, &loop);
		if (!(task->flags & PF_KTHREAD) && task->mm && !unwind_is_amid_exec(task)) {
			struct pt_regs *user = (struct pt_regs *)bpf_task_pt_regs(task);

			/* io_uring's workers have an address space, but no program counter in it (copy_thread()): 0. */
			unwind->at.ip = user->ip;
			unwind->at.sp = user->sp;
			unwind->at.bp = user->bp;
			cs = user->cs;
		}
	}
	if (n_kernel > SAMPLE_MAX_KERNEL_FRAMES)
		n_kernel = SAMPLE_MAX_KERNEL_FRAMES;
	unwind->n = n_kernel;
	if (!unwind->at.ip) {
		unwind->verdict = SAMPLE_VERDICT_KERNEL;
	} else if (cs != UNWIND_USER_CS) {
		/* A 32-bit program: its frames are half as wide. Where it was is all we say. */
		unwind->frames[n_kernel] = unwind->at.ip;
		unwind->hash = unwind_mix(unwind->hash, unwind->at.ip, salt);
		unwind->n = n_kernel + 1;
		unwind->verdict = SAMPLE_VERDICT_BAD_FRAME;
	} else {
		unwind_user(unwind, salt);
	}
	/* The same frames may be split or end in another way. */
	unwind->hash = unwind_mix(unwind->hash, (__u64)n_kernel << 8 | unwind->verdict, salt);
	unwind->stack.n_kernel = (__u16)n_kernel;
	unwind->stack.n_user = (__u16)(unwind->n - n_kernel);
	unwind->stack.verdict = unwind->verdict;
}

#endif
