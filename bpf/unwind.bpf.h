/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Takes a stack: the kernel's part with the kernel's own unwinder, the program's part by our own walk, frame by frame.
 * Never BPF_F_USER_STACK: with uprobes on the machine it crashes kernels before 6.13 (commit b583ef82b671).
 *
 * The walk is one step repeated: unwind_step() takes the registers of a frame to those of its caller, by the rule that
 * holds where the frame is (rules.bpf.h). Of the registers that a callee preserves, rbp and rbx are followed: no others
 * are used to find frames; the leaf, and what a signal interrupted, has all. x86-64 only.
 *
 * It is the current thread's stack, or with MEMORY_OF_OTHERS (memory.bpf.h) that of any thread that does not run.
 *
 * It asks for rules, reads memory and loops only through unwind_rule_at(), memory_read() and unwind_loop():
 * tests/unit/bpf defines UNWIND_NATIVE and its own three, and runs the very same walk on stacks made by hand.
 */
#include <stdbool.h>

#include "sample.h"
#include "unwind_table.h"

#ifndef UNWIND_NATIVE
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "memory.bpf.h"
#include "rules.bpf.h"

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
	UNWIND_HALF = SAMPLE_MAX_USER_FRAMES / 2,
	UNWIND_GO_ON = SAMPLE_N_VERDICTS, /* beside enum sample_verdict: there is a caller */
	UNWIND_WORDS = 32,
	UNWIND_SAVED_WORDS = 8,          /* below the CFA: a return address, then at most rbp, rbx, r12 to r15 */
	UNWIND_KNOWN_ALL = (1 << UNWIND_N_REGISTERS) - 1,
	/*
	 * In the signal frame, as rsp points at it when the handler has returned: the ucontext's general registers
	 * (arch/x86/include/uapi/asm/sigcontext.h struct sigcontext_64; include/uapi/asm-generic/ucontext.h): r8 to r15,
	 * rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip.
	 */
	UNWIND_UCONTEXT_REGISTERS = 40,
	UNWIND_UCONTEXT_WORDS = 17,
};

struct unwind_registers {
	__u64 ip;
	__u64 at[UNWIND_N_REGISTERS];    /* by DWARF number */
	__u32 known;                     /* bits by DWARF number */
	__u32 is_exact;                  /* ip is where the thread is, not a return address */
};

#include "hotspot.bpf.h"

#ifndef UNWIND_NATIVE
enum { UNWIND_MAPPINGS = 4 };
#endif

/* One walk, too large for the BPF stack: in scratch memory of its CPU, one for each type of program. */
struct unwind {
	struct unwind_registers registers;
	__u64 hash;
	__u32 n;                         /* frames of the program so far */
	__u32 n_kernel;
	__u32 verdict;
	__u32 guess;                     /* verdict if the frame pointer, taken for want of better, leads nowhere */
	__u32 has_guessed;               /* for a table that is not made yet: where that led says nothing */
	__u32 was_not_called;            /* the last frame: its address is no return address behind a call */
	__u64 words[UNWIND_WORDS];       /* of the stack, being looked at */
#ifndef UNWIND_NATIVE
	struct mapping mappings[UNWIND_MAPPINGS]; /* met in this walk; */
	__u32 mapping, next_mapping;     /* the last one used; the next one to forget */
	struct mapping_search search;
	struct rules_cached cache[RULES_CACHED];
	__u32 has_hotspot, zero;         /* what is below was looked up in this walk */
	struct hotspot_search hotspot;
#endif
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

#ifdef UNWIND_NATIVE
static int unwind_rule_at(struct unwind *unwind, memory_owner owner, __u64 address, struct unwind_rule *ret);
#else
static __always_inline struct mapping *unwind_mapping_of(struct unwind *unwind, memory_owner owner, __u64 address)
{
	struct mapping *mapping = &unwind->mappings[unwind->mapping & (UNWIND_MAPPINGS - 1)];
	__u32 next;

	if (address >= mapping->start && address < mapping->end)
		return mapping;
#pragma unroll
	for (__u32 i = 0; i < UNWIND_MAPPINGS; i++) {
		mapping = &unwind->mappings[i];
		if (address >= mapping->start && address < mapping->end) {
			unwind->mapping = i;
			return mapping;
		}
	}
	next = unwind->next_mapping++ & (UNWIND_MAPPINGS - 1);
	mapping = &unwind->mappings[next];
	unwind->mapping = next;
	mapping_find(memory_task(owner)->mm, address, &unwind->search, mapping);
	rules_enter_mapping(mapping, &unwind->stack.key.process, address);
	return mapping;
}

/* Of code that the process made: by its JVM, or else frame pointers. `ret` is set to the latter. */
static __always_inline void unwind_rule_of_made(struct unwind *unwind, memory_owner owner, __u64 address, struct unwind_rule *ret)
{
	struct hotspot *hotspot = &unwind->hotspot.hotspot;

	if (!unwind->has_hotspot) {
		unwind->has_hotspot = 1;
		rules_enter_hotspot(&unwind->stack.key.process, address, hotspot);
	}
	if (hotspot->state == HOTSPOT_WANTED) {
		unwind->guess = SAMPLE_VERDICT_NO_TABLE;
		unwind->has_guessed = true;
	} else {
		unwind->guess = SAMPLE_VERDICT_NO_FRAME;
	}
	if (hotspot->state == HOTSPOT_KNOWN)
		hotspot_rule_at(owner, &unwind->hotspot, &unwind->registers, ret);
}

/*
 * The rule at an address; unwind->guess then tells whether it is only a guess. 0, or the verdict that ends the walk.
 */
static __always_inline int unwind_rule_at(struct unwind *unwind, memory_owner owner, __u64 address, struct unwind_rule *ret)
{
	struct rules_cached *cached;
	struct mapping *mapping;
	__u64 offset;
	int r;

	ret->cfa = UNWIND_CFA_FRAME_POINTER;
	ret->bx = UNWIND_SAVED_NOWHERE;
	unwind->guess = SAMPLE_VERDICT_BAD_FRAME;
	if (!has_tables || !mapping_can_be_found())
		return 0;
	mapping = unwind_mapping_of(unwind, owner, address);
	if (mapping->kind == MAPPING_NONE)
		return SAMPLE_VERDICT_NO_MAPPING;
	if (mapping->kind == MAPPING_ANONYMOUS) {
		unwind_rule_of_made(unwind, owner, address, ret);
		return 0;
	}
	if (mapping->state == UNWIND_FILE_WITHOUT) {
		unwind->guess = SAMPLE_VERDICT_NO_FRAME;
		return 0;
	}
	if (mapping->state == UNWIND_FILE_WANTED) {
		unwind->guess = SAMPLE_VERDICT_NO_TABLE;
		unwind->has_guessed = true;
		return 0;
	}
	offset = address - mapping->start + mapping->file_offset;
	cached = rules_cache_slot(unwind->cache, mapping->serial, offset);
	if ((cached->offset ^ offset) | (cached->serial ^ mapping->serial)) {
		cached->serial = 0;
		r = rules_of_table(mapping->state, offset, &cached->rule);
		if (r)
			return r;
		cached->offset = offset;
		cached->serial = mapping->serial;
	}
	*ret = cached->rule;
	return 0;
}
#endif

/*
 * By rbp, in code that nobody described, or that keeps it by convention. HotSpot's interpreter takes its arguments off the
 * caller's stack and may have got them moved: where the caller's rsp is to be it notes in its frame.
 */
static __always_inline int unwind_step_frame_pointer(struct unwind *unwind, memory_owner owner, bool is_interpreter)
{
	struct unwind_registers *registers = &unwind->registers;
	__u64 bp = registers->at[UNWIND_REGISTER_BP], sp = registers->at[UNWIND_REGISTER_SP], caller_sp;
	__u32 guess = unwind->guess;

	if (!(registers->known & 1 << UNWIND_REGISTER_BP))
		return guess == SAMPLE_VERDICT_BAD_FRAME ? SAMPLE_VERDICT_NO_RULE : guess;
	/* A thread begins in the C library or in Go, not in code that we know nothing of. */
	if (!bp)
		return guess == SAMPLE_VERDICT_BAD_FRAME ? SAMPLE_VERDICT_COMPLETE : guess;
	/*
	 * The caller's stack lies above, but where code changes stacks: runtime.systemstack and asmcgocall of Go keep
	 * the chain intact from the system stack into the goroutine's (asm_amd64.s, Go 1.21 and later), which may be below.
	 */
	if (bp & 7 || bp > UNWIND_USER_END - 2 * sizeof(__u64) || (bp < sp && !unwind_may_be_goroutine_stack(bp)))
		return guess;
	if (memory_read(owner, unwind->words, 2 * sizeof(__u64), bp) < 0)
		return guess == SAMPLE_VERDICT_BAD_FRAME ? SAMPLE_VERDICT_UNREADABLE : guess;
	if (!unwind->words[1])
		return unwind->words[0] || guess != SAMPLE_VERDICT_BAD_FRAME ? guess : SAMPLE_VERDICT_COMPLETE;
	if (unwind->words[1] >= UNWIND_USER_END)
		return guess;
	registers->ip = unwind->words[1];
	registers->at[UNWIND_REGISTER_BP] = unwind->words[0];
	sp = bp + 2 * sizeof(__u64);
	if (is_interpreter && memory_read(owner, &caller_sp, sizeof(caller_sp), bp - sizeof(__u64)) == 0 && !(caller_sp & 7) &&
	    caller_sp > sp && caller_sp - sp < HOTSPOT_MAX_INTERPRETER_FRAME)
		sp = caller_sp;
	registers->at[UNWIND_REGISTER_SP] = sp;
	registers->known = 1 << UNWIND_REGISTER_BP | 1 << UNWIND_REGISTER_SP;
	registers->is_exact = false;
	return UNWIND_GO_ON;
}

/* Out of a signal handler: all registers as they were when it was called. */
static __always_inline int unwind_step_signal(struct unwind *unwind, memory_owner owner)
{
	struct unwind_registers *registers = &unwind->registers;
	const __u64 *words = unwind->words;

	if (memory_read(owner, unwind->words, UNWIND_UCONTEXT_WORDS * sizeof(__u64),
			registers->at[UNWIND_REGISTER_SP] + UNWIND_UCONTEXT_REGISTERS) < 0)
		return SAMPLE_VERDICT_UNREADABLE;
	if (!words[16] || words[16] >= UNWIND_USER_END)
		return SAMPLE_VERDICT_BAD_FRAME;
	for (__u32 i = 0; i < 8; i++)
		registers->at[8 + i] = words[i];
	registers->at[5] = words[8];
	registers->at[4] = words[9];
	registers->at[UNWIND_REGISTER_BP] = words[10];
	registers->at[UNWIND_REGISTER_BX] = words[11];
	registers->at[1] = words[12];
	registers->at[0] = words[13];
	registers->at[2] = words[14];
	registers->at[UNWIND_REGISTER_SP] = words[15];
	registers->ip = words[16];
	registers->known = UNWIND_KNOWN_ALL;
	registers->is_exact = true;
	return UNWIND_GO_ON;
}

/* The caller's value of rbp or rbx; *known loses its bit when that can't be told. `bp` is the callee's rbp; 0: not known. */
static __always_inline void unwind_restore(struct unwind *unwind, memory_owner owner, __u32 reg, __s32 saved, __u64 cfa, __u64 n_words,
		__u64 bp, __u32 *known)
{
	struct unwind_registers *registers = &unwind->registers;
	__u64 value = 0, from = 0;

	if (saved == UNWIND_SAVED_SAME)
		return;
	if (saved < 0 && saved >= -UNWIND_SAVED_WORDS) {
		registers->at[reg] = unwind->words[(n_words + saved) & (UNWIND_SAVED_WORDS - 1)];
		*known |= 1 << reg;
		return;
	}
	if (saved < 0)
		from = cfa + 8 * (__s64)saved;
	else if (saved != UNWIND_SAVED_NOWHERE && bp)
		from = bp - 8 * (__u64)(saved - UNWIND_SAVED_AT_BP);
	*known &= ~(1 << reg);
	if (from && memory_read(owner, &value, sizeof(value), from) == 0) {
		registers->at[reg] = value;
		*known |= 1 << reg;
	}
}

/* From the CFA on: return address and saved registers are below it. */
static __always_inline int unwind_step_cfa(struct unwind *unwind, memory_owner owner, const struct unwind_rule *rule, __u64 cfa)
{
	struct unwind_registers *registers = &unwind->registers;
	__u32 known = registers->known & (1 << UNWIND_REGISTER_BX | 1 << UNWIND_REGISTER_BP | 1 << UNWIND_REGISTER_SP);
	__u64 sp = registers->at[UNWIND_REGISTER_SP], bp = 0, ip;
	__u64 n_words = 1;

	if (rule->bp < 0 && rule->bp >= -UNWIND_SAVED_WORDS)
		n_words = (__u64)-rule->bp;
	if (rule->bx < 0 && rule->bx >= -UNWIND_SAVED_WORDS && (__u64)-rule->bx > n_words)
		n_words = (__u64)-rule->bx;
	if (cfa & 7 || cfa < UNWIND_SAVED_WORDS * sizeof(__u64) || cfa > UNWIND_USER_END)
		return SAMPLE_VERDICT_BAD_FRAME;
	if (cfa <= sp && !unwind_may_be_goroutine_stack(cfa))
		return SAMPLE_VERDICT_BAD_FRAME;
	asm volatile("" : "+r"(n_words)); /* the compiler knows that it cannot be; the verifier must see the comparison */
	if (n_words > UNWIND_SAVED_WORDS)
		return SAMPLE_VERDICT_BAD_FRAME;
	if (memory_read(owner, unwind->words, (__u32)(n_words * sizeof(__u64)), cfa - n_words * sizeof(__u64)) < 0)
		return SAMPLE_VERDICT_UNREADABLE;
	ip = unwind->words[(n_words - 1) & (UNWIND_SAVED_WORDS - 1)];
	if (!ip)
		return SAMPLE_VERDICT_COMPLETE;
	if (ip >= UNWIND_USER_END)
		return SAMPLE_VERDICT_BAD_FRAME;
	if (known & 1 << UNWIND_REGISTER_BP)
		bp = registers->at[UNWIND_REGISTER_BP];
	unwind_restore(unwind, owner, UNWIND_REGISTER_BP, rule->bp, cfa, n_words, bp, &known);
	unwind_restore(unwind, owner, UNWIND_REGISTER_BX, rule->bx, cfa, n_words, bp, &known);
	registers->at[UNWIND_REGISTER_SP] = cfa;
	registers->ip = ip;
	registers->known = known;
	registers->is_exact = rule->reg & UNWIND_CALLER_INTERRUPTED;
	return UNWIND_GO_ON;
}

/* From a frame to its caller: UNWIND_GO_ON, or the verdict that ends the walk. */
static __always_inline int unwind_step(struct unwind *unwind, memory_owner owner)
{
	struct unwind_registers *registers = &unwind->registers;
	struct unwind_rule rule = {};
	__u64 base, cfa;
	__u32 reg;
	int r;

	/* A call that does not return may be the last instruction of its function: the byte before the return address is in it. */
	unwind->was_not_called = false;
	r = unwind_rule_at(unwind, owner, registers->ip - !registers->is_exact, &rule);
	if (r)
		return r;
	/* The kernel returns from a handler as if the trampoline had called it (arch/x86/kernel/signal_64.c). */
	unwind->was_not_called = rule.cfa == UNWIND_CFA_SIGNAL || (rule.cfa == UNWIND_CFA_END && rule.reg == UNWIND_END_NOT_CALLED);
	reg = rule.reg & (UNWIND_N_REGISTERS - 1);
	base = registers->at[reg];
	switch (rule.cfa) {
	case UNWIND_CFA_END:
		return SAMPLE_VERDICT_COMPLETE;
	case UNWIND_CFA_FRAME_POINTER:
	case UNWIND_CFA_INTERPRETER:
		return unwind_step_frame_pointer(unwind, owner, rule.cfa == UNWIND_CFA_INTERPRETER);
	case UNWIND_CFA_SIGNAL:
		return unwind_step_signal(unwind, owner);
	case UNWIND_CFA_RETURN_REGISTER:
		if (!(registers->known & 1U << reg))
			return SAMPLE_VERDICT_NO_RULE;
		if (!base || base >= UNWIND_USER_END)
			return SAMPLE_VERDICT_BAD_FRAME;
		registers->ip = base;
		registers->at[UNWIND_REGISTER_SP] += (__s64)rule.offset;
		registers->known &= 1 << UNWIND_REGISTER_BX | 1 << UNWIND_REGISTER_BP | 1 << UNWIND_REGISTER_SP;
		registers->is_exact = false;
		return UNWIND_GO_ON;
	case UNWIND_CFA_PLT:
		cfa = registers->at[UNWIND_REGISTER_SP] + 8;
		if ((registers->ip & 15) >= (__u64)(__s64)rule.offset)
			cfa += 8;
		break;
	case UNWIND_CFA_REGISTER:
		if (!(registers->known & 1U << reg))
			return SAMPLE_VERDICT_NO_RULE;
		cfa = base + (__s64)rule.offset;
		break;
	case UNWIND_CFA_DEREFERENCE:
		if (!(registers->known & 1U << reg))
			return SAMPLE_VERDICT_NO_RULE;
		if (memory_read(owner, unwind->words, sizeof(__u64), base + (__s64)rule.inner) < 0)
			return SAMPLE_VERDICT_UNREADABLE;
		cfa = unwind->words[0] + (__s64)rule.addend;
		break;
	default:
		return SAMPLE_VERDICT_NO_RULE;
	}
	return unwind_step_cfa(unwind, owner, &rule, cfa);
}

struct unwind_context {
	struct unwind *unwind;
	memory_owner owner;
	__u64 salt;
};

static long unwind_frame(__u32 index, void *data)
{
	struct unwind_context *context = data;
	struct unwind *unwind = context->unwind;
	__u64 frame = unwind->registers.ip;
	__u32 n = unwind->n, at = n;
	int r;

	if (n && unwind->registers.is_exact)
		frame |= SAMPLE_INTERRUPTED;
	/* The half next to the root goes round: what is behind is forgotten. */
	if (at >= UNWIND_HALF)
		at = UNWIND_HALF + (at & (UNWIND_HALF - 1));
	at += unwind->n_kernel;
	if (at >= UNWIND_MAX_FRAMES) /* cannot be: for the verifier */
		return 1;
	unwind->frames[at] = frame;
	unwind->n = n + 1;
	unwind->hash = unwind_mix(unwind->hash, frame, context->salt);
	r = unwind_step(unwind, context->owner);
	if (n && unwind->was_not_called)
		unwind->frames[at] = frame | SAMPLE_INTERRUPTED;
	if (r == UNWIND_GO_ON)
		return 0;
	unwind->verdict = (__u32)r;
	return 1;
}

/*
 * Walks the program's stack, leaf first, from unwind->registers on, which puts frames behind those of the kernel, and
 * sets n, hash and verdict. Before: n_kernel frames, at most SAMPLE_MAX_KERNEL_FRAMES, are there and in unwind->hash.
 */
static __always_inline void unwind_user(struct unwind *unwind, memory_owner owner, __u64 salt)
{
	struct unwind_context context = { .unwind = unwind, .owner = owner, .salt = salt };

	unwind->n = 0;
	unwind->has_guessed = false;
	unwind->verdict = SAMPLE_VERDICT_TOO_DEEP; /* unless a step says otherwise */
#ifndef UNWIND_NATIVE
#pragma unroll
	for (__u32 i = 0; i < UNWIND_MAPPINGS; i++)
		unwind->mappings[i].end = 0;
	unwind->next_mapping = 0;
	unwind->has_hotspot = 0;
#endif
	unwind_loop(SAMPLE_MAX_DEPTH, unwind_frame, &context);
	if (unwind->verdict != SAMPLE_VERDICT_COMPLETE && unwind->has_guessed)
		unwind->verdict = SAMPLE_VERDICT_NO_TABLE;
	if (unwind->verdict == SAMPLE_VERDICT_COMPLETE && unwind->n > SAMPLE_MAX_USER_FRAMES)
		unwind->verdict = SAMPLE_VERDICT_ELIDED;
}

/* Says in the record what the walk came to. */
static __always_inline void unwind_finish(struct unwind *unwind, __u64 salt)
{
	__u32 n = unwind->n < SAMPLE_MAX_USER_FRAMES ? unwind->n : SAMPLE_MAX_USER_FRAMES;

	/* The same frames may be split or end in another way. */
	unwind->hash = unwind_mix(unwind->hash, (__u64)unwind->n_kernel << 8 | unwind->verdict, salt);
	unwind->stack.n_kernel = (__u16)unwind->n_kernel;
	unwind->stack.n_user = (__u16)n;
	unwind->stack.n_elided = unwind->n - n;
	unwind->stack.verdict = unwind->verdict;
}

#ifndef UNWIND_NATIVE

enum {
	UNWIND_USER_CS = 0x33,           /* __USER_CS, arch/x86/include/asm/segment.h: 64-bit code */
};

/* The context's registers are read whole: the verifier refuses the narrower load that clang would make of a mask. */
#define unwind_register(regs, name) (*(const volatile __u64 *)&(regs)->name)

/* All sixteen, by DWARF number; `get(name)` is how one is read. */
#define unwind_set_registers(registers, get)                                                                           \
	do {                                                                                                           \
		(registers)->at[0] = get(ax);                                                                          \
		(registers)->at[1] = get(dx);                                                                          \
		(registers)->at[2] = get(cx);                                                                          \
		(registers)->at[UNWIND_REGISTER_BX] = get(bx);                                                         \
		(registers)->at[4] = get(si);                                                                          \
		(registers)->at[5] = get(di);                                                                          \
		(registers)->at[UNWIND_REGISTER_BP] = get(bp);                                                         \
		(registers)->at[UNWIND_REGISTER_SP] = get(sp);                                                         \
		(registers)->at[8] = get(r8);                                                                          \
		(registers)->at[9] = get(r9);                                                                          \
		(registers)->at[10] = get(r10);                                                                        \
		(registers)->at[11] = get(r11);                                                                        \
		(registers)->at[12] = get(r12);                                                                        \
		(registers)->at[13] = get(r13);                                                                        \
		(registers)->at[14] = get(r14);                                                                        \
		(registers)->at[15] = get(r15);                                                                        \
		(registers)->ip = get(ip);                                                                             \
		(registers)->known = UNWIND_KNOWN_ALL;                                                                 \
		(registers)->is_exact = true;                                                                          \
	} while (0)

/* From where `user`, what the thread was interrupted with in user mode, says. */
static __always_inline void unwind_from_user_mode(struct unwind *unwind, const struct pt_regs *user)
{
#define get(name) user->name
	unwind_set_registers(&unwind->registers, get);
#undef get
}

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
 * passed to the program; unwind->stack.key.process is filled in. Sets all but the key, epoch, loose and thread of
 * unwind->stack, and hash. There is always one frame at least.
 */
static __always_inline void unwind_task(struct unwind *unwind, void *context,
		const struct interrupted_registers *regs, struct task_struct *task, __u64 salt)
{
	struct unwind_context loop = { .unwind = unwind, .owner = memory_of(task), .salt = salt };
	__u64 cs = unwind_register(regs, cs) & 0xffff, ip = unwind_register(regs, ip);
	__u32 n_kernel = 0;
	long n_bytes;

	unwind->hash = salt;
	unwind->n = 0;
	unwind->registers.ip = 0;
	if ((cs & 3) == 3) { /* privilege level 3: in user mode */
#define get(name) unwind_register(regs, name)
		unwind_set_registers(&unwind->registers, get);
#undef get
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
			unwind_from_user_mode(unwind, user);
			cs = user->cs;
		}
	}
	if (n_kernel > SAMPLE_MAX_KERNEL_FRAMES)
		n_kernel = SAMPLE_MAX_KERNEL_FRAMES;
	unwind->n_kernel = n_kernel;
	if (!unwind->registers.ip) {
		unwind->verdict = SAMPLE_VERDICT_KERNEL;
	} else if (cs != UNWIND_USER_CS) {
		/* A 32-bit program: its frames are half as wide. Where it was is all we say. */
		unwind->frames[n_kernel] = unwind->registers.ip;
		unwind->hash = unwind_mix(unwind->hash, unwind->registers.ip, salt);
		unwind->n = 1;
		unwind->verdict = SAMPLE_VERDICT_COMPAT;
	} else {
		unwind_user(unwind, memory_of(task), salt);
	}
	unwind_finish(unwind, salt);
}

/* Appends what is below the kernel's frames, those `n_kernel` that are in place, of a thread that is not in user mode now. */
static __always_inline void unwind_below_kernel(struct unwind *unwind, struct task_struct *task, __u32 n_kernel, __u64 salt)
{
	struct pt_regs *user = (struct pt_regs *)bpf_task_pt_regs(task);

	unwind->n = 0;
	unwind->n_kernel = n_kernel;
	unwind_from_user_mode(unwind, user);
	if (!unwind->registers.ip || unwind_is_amid_exec(task)) {
		unwind->verdict = SAMPLE_VERDICT_KERNEL;
	} else if (user->cs != UNWIND_USER_CS) {
		unwind->frames[n_kernel] = unwind->registers.ip;
		unwind->hash = unwind_mix(unwind->hash, unwind->registers.ip, salt);
		unwind->n = 1;
		unwind->verdict = SAMPLE_VERDICT_COMPAT;
	} else {
		unwind_user(unwind, memory_of(task), salt);
	}
	unwind_finish(unwind, salt);
}

/*
 * Likewise of a thread that is not in user mode now, from there on: what it called in the kernel is left out. `task` has an
 * address space, and is the current one or, with MEMORY_OF_OTHERS, off its CPU. Without one frame at least when the kernel
 * made it for work of its own.
 */
static __always_inline void unwind_waiting_task(struct unwind *unwind, struct task_struct *task, __u64 salt)
{
	unwind->hash = salt;
	unwind_below_kernel(unwind, task, 0, salt);
}

#ifdef MEMORY_OF_OTHERS
/* The whole stack of a task that is off its CPU, the kernel's part too; kernel threads and dying ones have no other. */
static __always_inline void unwind_other_task(struct unwind *unwind, struct task_struct *task, __u64 salt)
{
	struct unwind_context loop = { .unwind = unwind, .owner = memory_of(task), .salt = salt };
	long n_bytes = bpf_get_task_stack(task, unwind->frames, SAMPLE_MAX_KERNEL_FRAMES * sizeof(__u64), 0);
	__u32 n_kernel = n_bytes > 0 ? (__u32)n_bytes / sizeof(__u64) : 0;

	if (n_kernel > SAMPLE_MAX_KERNEL_FRAMES)
		n_kernel = SAMPLE_MAX_KERNEL_FRAMES;
	unwind->hash = salt;
	unwind_loop(n_kernel, unwind_hash_kernel_frame, &loop);
	if (task->mm && !(task->flags & PF_KTHREAD)) {
		unwind_below_kernel(unwind, task, n_kernel, salt);
		return;
	}
	unwind->n = 0;
	unwind->n_kernel = n_kernel;
	unwind->verdict = SAMPLE_VERDICT_KERNEL;
	unwind_finish(unwind, salt);
}
#endif

#endif
