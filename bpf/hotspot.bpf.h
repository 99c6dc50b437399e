/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Which rule leads to the caller of code that a Java process made: hotspot.h says what is known of the process, and the JVM's
 * own notes, read as they are at that moment, tell what an address is in. They may be wrong only for a stack that is amid a
 * change, since a method's code goes when no thread is in it.
 *
 *	the interpreter          keeps frame pointers; its caller's rsp is noted in its frame
 *	compiled methods, stubs  rsp + frame size; the return address and the caller's rbp are on top of the frame
 *	stubs without a size     keep frame pointers, or have no frame and do not call
 *
 * Where the thread is itself, a frame may be half made or half gone: the instruction there tells, and the ones beside it.
 * All that a compiled method is called from lies in the code heaps, too; so a return address can be told from what it is not.
 *
 * Sources: OpenJDK 17 and 25, src/hotspot: cpu/x86/x86_64.ad and macroAssembler_x86.cpp (MachPrologNode, MachEpilogNode,
 * verified_entry()), cpu/x86/c1_MacroAssembler_x86.cpp (build_frame(), remove_frame()), cpu/x86/frame_x86.hpp,
 * share/memory/heap.cpp (find_block_for()), share/code/codeBlob.hpp, cpu/x86/templateInterpreterGenerator_x86.cpp.
 */
#include "hotspot.h"
#include "sample.h"
#include "unwind_table.h"

enum {
	HOTSPOT_CODE_BEFORE = 16,        /* bytes that are looked at around where the thread is */
	HOTSPOT_CODE_AFTER = 24,
	HOTSPOT_MAX_FRAME_WORDS = 1 << 16,
	/* What code may have pushed beside its frame, and a return address is looked for in. */
	HOTSPOT_STRAY_WORDS = 8,
	HOTSPOT_MAX_INTERPRETER_FRAME = 1 << 20,
	HOTSPOT_MAX_STUB_FRAME = 1 << 16,
};

/* Scratch memory, and what is known of the process. */
struct hotspot_search {
	struct hotspot hotspot;
	__u64 blob[HOTSPOT_BLOB_SIZE / 8];
	__u64 words[HOTSPOT_STRAY_WORDS];
	__u8 code[HOTSPOT_CODE_BEFORE + HOTSPOT_CODE_AFTER];
};

/* What of a CodeBlob counts. */
struct hotspot_blob {
	__s64 frame_size;                /* words */
	__s64 frame_complete;
	__u64 code;
};

/*
 * 1 when an address is in a code heap (one that is not there has none), else 0; without a branch, which the verifier would follow
 * both ways for each word that is looked at.
 */
static __always_inline __u64 hotspot_is_code(const struct hotspot *hotspot, __u64 address)
{
	__u64 found = 0;

#ifdef __clang__
#pragma unroll
#endif
	for (__u32 i = 0; i < HOTSPOT_MAX_HEAPS; i++)
		found |= ~(address - hotspot->heaps[i].low) & (address - hotspot->heaps[i].high);
	found = (found & ~address) >> 63;
	asm volatile("" : "+r"(found));
	return found;
}

/* The first of the words that is in a code heap; HOTSPOT_STRAY_WORDS: none. */
static __always_inline __u64 hotspot_first_code(const struct hotspot_search *search)
{
	__u64 at = HOTSPOT_STRAY_WORDS;

#ifdef __clang__
#pragma unroll
#endif
	for (__u64 i = HOTSPOT_STRAY_WORDS; i-- > 0;)
		at ^= (at ^ i) & -hotspot_is_code(&search->hotspot, search->words[i]);
	return at;
}

/* A heap that is not there has high 0. */
static __always_inline const struct hotspot_heap *hotspot_heap_of(const struct hotspot *hotspot, __u64 address)
{
	for (__u32 i = 0; i < HOTSPOT_MAX_HEAPS; i++)
		if (address >= hotspot->heaps[i].low && address < hotspot->heaps[i].high)
			return &hotspot->heaps[i];
	return NULL;
}

/* Where the CodeBlob with this address is; 0: none. */
static __always_inline __u64 hotspot_find_blob(memory_owner owner, const struct hotspot *hotspot, __u64 address)
{
	const struct hotspot_heap *heap = hotspot_heap_of(hotspot, address);
	__u32 shift = hotspot->segment_shift & 31;
	__u64 segment;

	if (!heap)
		return 0;
	segment = (address - heap->low) >> shift;
	for (__u32 i = 0; i < HOTSPOT_MAX_HOPS; i++) {
		__u8 hop = HOTSPOT_SEGMENT_FREE;

		if (memory_read(owner, &hop, sizeof(hop), heap->segments + segment) < 0 || hop == HOTSPOT_SEGMENT_FREE)
			return 0;
		if (!hop)
			return heap->low + (segment << shift) + hotspot->block_size;
		segment -= hop;
	}
	return 0;
}

static __always_inline bool hotspot_read_blob(memory_owner owner, struct hotspot_search *search, __u64 address, struct hotspot_blob *ret)
{
	const struct hotspot *hotspot = &search->hotspot;
	__u64 blob = hotspot_find_blob(owner, hotspot, address);
	const __u32 *ints = (const __u32 *)search->blob;
	const __u16 *shorts = (const __u16 *)search->blob;

	if (!blob || memory_read(owner, search->blob, sizeof(search->blob), blob) < 0)
		return false;
	ret->frame_size = (__s32)ints[hotspot->frame_size / 4 & (HOTSPOT_BLOB_SIZE / 4 - 1)];
	ret->frame_complete = hotspot->is_frame_complete_short
			? (__s16)shorts[hotspot->frame_complete / 2 & (HOTSPOT_BLOB_SIZE / 2 - 1)]
			: (__s32)ints[hotspot->frame_complete / 4 & (HOTSPOT_BLOB_SIZE / 4 - 1)];
	ret->code = hotspot->is_code_relative ? blob + ints[hotspot->code / 4 & (HOTSPOT_BLOB_SIZE / 4 - 1)]
			: search->blob[hotspot->code / 8 & (HOTSPOT_BLOB_SIZE / 8 - 1)];
	return true;
}

/* --- rules --- */

static __always_inline void hotspot_rule(struct unwind_rule *ret, __u8 cfa, __u8 reg, __s64 offset, __s8 bp)
{
	ret->cfa = cfa;
	ret->reg = reg;
	ret->bp = bp;
	ret->bx = UNWIND_SAVED_NOWHERE;
	ret->offset = (__s32)offset;
}

static __always_inline void hotspot_rule_without_frame(struct unwind_rule *ret)
{
	hotspot_rule(ret, UNWIND_CFA_REGISTER, UNWIND_REGISTER_SP, 8, UNWIND_SAVED_SAME);
}

static __always_inline bool hotspot_is_code_at(memory_owner owner, struct hotspot_search *search, __u64 from)
{
	return memory_read(owner, search->words, sizeof(__u64), from) == 0 && hotspot_is_code(&search->hotspot, search->words[0]);
}

/* --- where the thread is --- */

/* How many of a frame's words are on the stack at an instruction of a compiled method. */
enum hotspot_progress {
	HOTSPOT_WHOLE,                   /* all */
	HOTSPOT_WHOLE_BP_LEFT,           /* all, but rbp is still the caller's and not saved */
	HOTSPOT_BP,                      /* the caller's rbp and the return address */
	HOTSPOT_RETURN,                  /* the return address */
	HOTSPOT_IN_DX,                   /* none: that is in rdx */
};

/* By the code around it: search->code[HOTSPOT_CODE_BEFORE] is at the address. */
#define HOTSPOT_BYTE(i) code[HOTSPOT_CODE_BEFORE + (i)]
#define HOTSPOT_IS2(i, a, b) (HOTSPOT_BYTE(i) == (a) && HOTSPOT_BYTE((i) + 1) == (b))
#define HOTSPOT_IS3(i, a, b, c) (HOTSPOT_IS2(i, a, b) && HOTSPOT_BYTE((i) + 2) == (c))
#define HOTSPOT_IS4(i, a, b, c, d) (HOTSPOT_IS3(i, a, b, c) && HOTSPOT_BYTE((i) + 3) == (d))

/* mov rbp, rsp: both encodings */
#define HOTSPOT_IS_MOV_BP(i) (HOTSPOT_IS3(i, 0x48, 0x8b, 0xec) || HOTSPOT_IS3(i, 0x48, 0x89, 0xe5))
/* sub rsp, imm8 or imm32 */
#define HOTSPOT_IS_SUB_SP(i) (HOTSPOT_IS3(i, 0x48, 0x83, 0xec) || HOTSPOT_IS3(i, 0x48, 0x81, 0xec))

/*
 * Until the frame is complete:
 *
 *	C1, C2 of methods that call   [mov [rsp - far], eax;] push rbp; [mov rbp, rsp;] sub rsp, size
 *	C2 of those that do not       sub rsp, imm32; mov [rsp + size], rbp; [mov rbp, rsp; add rbp, size]
 *	then, with some collectors    cmp [r15 + flag], value; jne slow
 *	before it, virtual methods    look whether the class is the one that the caller meant
 */
static __always_inline enum hotspot_progress hotspot_progress_in_prologue(const __u8 *code)
{
	if (HOTSPOT_IS_MOV_BP(0))
		return HOTSPOT_BYTE(-1) == 0x55 ? HOTSPOT_BP : HOTSPOT_WHOLE;
	if (HOTSPOT_IS3(0, 0x48, 0x83, 0xc5) || HOTSPOT_IS3(0, 0x48, 0x81, 0xc5))
		return HOTSPOT_WHOLE;
	if (HOTSPOT_IS_SUB_SP(0))
		return HOTSPOT_BYTE(-1) == 0x55 || HOTSPOT_IS_MOV_BP(-3) ? HOTSPOT_BP : HOTSPOT_RETURN;
	if (HOTSPOT_IS4(0, 0x48, 0x89, 0x6c, 0x24) || HOTSPOT_IS4(0, 0x48, 0x89, 0xac, 0x24))
		return HOTSPOT_WHOLE_BP_LEFT;
	/* Behind sub rsp, behind mov [rsp + size], rbp, behind the comparison. */
	if (HOTSPOT_IS3(-4, 0x48, 0x83, 0xec) || HOTSPOT_IS3(-7, 0x48, 0x81, 0xec) || HOTSPOT_IS4(-5, 0x48, 0x89, 0x6c, 0x24) ||
	    HOTSPOT_IS4(-8, 0x48, 0x89, 0xac, 0x24) || HOTSPOT_IS3(-8, 0x41, 0x81, 0x7f) || HOTSPOT_IS3(-11, 0x41, 0x81, 0xbf))
		return HOTSPOT_WHOLE;
	return HOTSPOT_RETURN;
}

/*
 *	[add rsp, size;] pop rbp; [cmp rsp, [r15 + poll]; ja slow;] ret
 *	                          [mov r10, [r15 + poll]; test [r10], eax; ret]    until JDK 15
 *	ExceptionBlob begins with push rdx; sub rsp, size; mov [rsp + ...], rbp    rdx is where the exception was thrown
 *	slow:                     mov r10, imm64, or lea r10, [rip + ...]; mov [r15 + pc], r10; jmp
 */
static __always_inline enum hotspot_progress hotspot_progress_in_body(const __u8 *code, __s64 frame_size, bool is_first)
{
	if (is_first && HOTSPOT_BYTE(0) == 0x52 && HOTSPOT_IS_SUB_SP(1))
		return HOTSPOT_IN_DX;
	if (HOTSPOT_IS_SUB_SP(0) && HOTSPOT_BYTE(-1) == 0x52)
		return HOTSPOT_RETURN;
	if (HOTSPOT_IS4(0, 0x48, 0x89, 0x6c, 0x24) && (HOTSPOT_IS3(-4, 0x48, 0x83, 0xec) || HOTSPOT_IS3(-7, 0x48, 0x81, 0xec)))
		return HOTSPOT_WHOLE_BP_LEFT;
	if (HOTSPOT_BYTE(0) == 0xc3 || HOTSPOT_BYTE(0) == 0xc2)
		return HOTSPOT_RETURN;
	if (HOTSPOT_BYTE(0) == 0x5d)
		return HOTSPOT_BP;
	if (HOTSPOT_IS3(0, 0x49, 0x3b, 0xa7) || HOTSPOT_IS3(0, 0x49, 0x3b, 0x67) || HOTSPOT_IS3(-7, 0x49, 0x3b, 0xa7) ||
	    (HOTSPOT_IS3(-4, 0x49, 0x3b, 0x67) && HOTSPOT_BYTE(0) == 0x0f))
		return HOTSPOT_RETURN;
	if (HOTSPOT_BYTE(-1) == 0x5d && (HOTSPOT_IS3(-5, 0x48, 0x83, 0xc4) || HOTSPOT_IS3(-8, 0x48, 0x81, 0xc4) || frame_size == 2))
		return HOTSPOT_RETURN;
	if (HOTSPOT_BYTE(-8) == 0x5d && HOTSPOT_IS3(-7, 0x4d, 0x8b, 0x97) && HOTSPOT_IS3(0, 0x41, 0x85, 0x02))
		return HOTSPOT_RETURN;
	if ((HOTSPOT_IS3(0, 0x4d, 0x89, 0x97) && HOTSPOT_BYTE(7) == 0xe9) || (HOTSPOT_IS3(-7, 0x4d, 0x89, 0x97) && HOTSPOT_BYTE(0) == 0xe9) ||
	    (HOTSPOT_IS2(0, 0x49, 0xba) && HOTSPOT_IS3(10, 0x4d, 0x89, 0x97) && HOTSPOT_BYTE(17) == 0xe9) ||
	    (HOTSPOT_IS3(0, 0x4c, 0x8d, 0x15) && HOTSPOT_IS3(7, 0x4d, 0x89, 0x97) && HOTSPOT_BYTE(14) == 0xe9))
		return HOTSPOT_RETURN;
	return HOTSPOT_WHOLE;
}

/* By search->code. Where the whole rule cannot be a global function this one is: the verifier looks at it once. */
#ifdef MEMORY_OF_OTHERS
__attribute__((noinline))
#else
static __always_inline
#endif
int hotspot_progress_of_code(const struct hotspot_search *search, __s64 frame_size, bool is_prologue, bool is_first)
{
	const __u8 *code;

	if (!search)
		return HOTSPOT_WHOLE;
	code = search->code;
	if (HOTSPOT_BYTE(0) == 0x55) /* push rbp: nothing else does that */
		return HOTSPOT_RETURN;
	return is_prologue ? hotspot_progress_in_prologue(code) : hotspot_progress_in_body(code, frame_size, is_first);
}

static __always_inline enum hotspot_progress hotspot_progress_at(memory_owner owner, struct hotspot_search *search,
		const struct hotspot_blob *blob, __u64 ip)
{
	if (memory_read(owner, search->code, sizeof(search->code), ip - HOTSPOT_CODE_BEFORE) < 0)
		return HOTSPOT_WHOLE;
	return hotspot_progress_of_code(search, blob->frame_size, (__s64)(ip - blob->code) < blob->frame_complete, ip == blob->code);
}

/* lea r14, [rsp + rcx * 8 - 8]: it has just taken the return address into rax. */
static __always_inline bool hotspot_is_at_locals(memory_owner owner, struct hotspot_search *search, __u64 ip)
{
	return memory_read(owner, search->code, 4, ip) == 0 && search->code[0] == 0x4c && search->code[1] == 0x8d &&
	       search->code[2] == 0x74 && search->code[3] == 0xcc;
}

/*
 * In the interpreter: when it enters a method there is no frame of it yet, when it returns there is none any more, and rbp is
 * the caller's. r14 points at the method's first local variable, above its frame: below rbp it is of another method than rbp.
 * The first instructions have not set it yet, but the return address is on top of the stack.
 */
static __always_inline void hotspot_interpreter_leaf(memory_owner owner, struct hotspot_search *search, const struct unwind_registers *registers,
		struct unwind_rule *ret)
{
	__u64 sp = registers->at[UNWIND_REGISTER_SP], bp = registers->at[UNWIND_REGISTER_BP], locals = registers->at[14];
	__u64 start = search->hotspot.entries_start, size = search->hotspot.entries_end - start;
	bool is_entry = registers->ip - start < size, is_on_top = hotspot_is_code_at(owner, search, sp);
	bool has_frame = bp >= sp && bp - sp < HOTSPOT_MAX_INTERPRETER_FRAME && locals > bp;

	/* It calls itself, too, where it enters methods: a method's caller is elsewhere. */
	if (is_entry && is_on_top && search->words[0] - start >= size)
		hotspot_rule_without_frame(ret);
	else if (is_entry && hotspot_is_code(&search->hotspot, registers->at[0]) && hotspot_is_at_locals(owner, search, registers->ip))
		hotspot_rule(ret, UNWIND_CFA_RETURN_REGISTER, 0, 0, UNWIND_SAVED_SAME);
	else if (has_frame)
		return;
	else if (is_on_top)
		hotspot_rule_without_frame(ret);
	else if (hotspot_is_code(&search->hotspot, registers->at[0]))
		hotspot_rule(ret, UNWIND_CFA_RETURN_REGISTER, 0, 0, UNWIND_SAVED_SAME);
	else if (hotspot_is_code(&search->hotspot, registers->at[13]))
		hotspot_rule(ret, UNWIND_CFA_RETURN_REGISTER, 13, 0, UNWIND_SAVED_SAME);
	else if (hotspot_is_code_at(owner, search, sp + 8))
		hotspot_rule(ret, UNWIND_CFA_REGISTER, UNWIND_REGISTER_SP, 16, -2);
}

static __always_inline void hotspot_whole_frame(memory_owner owner, struct hotspot_search *search, __u64 sp, __s64 frame_size,
		struct unwind_rule *ret)
{
	__u64 strays = HOTSPOT_STRAY_WORDS;

	if (memory_read(owner, search->words, sizeof(search->words), sp + 8 * (__u64)frame_size - 8) == 0)
		strays = hotspot_first_code(search);
	if (strays == HOTSPOT_STRAY_WORDS)
		strays = 0;
	hotspot_rule(ret, UNWIND_CFA_REGISTER, UNWIND_REGISTER_SP, 8 * (frame_size + (__s64)strays), -2);
}

/*
 * A stub whose frame has no known size. It has none at all, or begins with push rbp; mov rbp, rsp, or has pushed registers but
 * left rbp to its caller, where that is no frame pointer.
 */
static __always_inline void hotspot_stub_leaf(memory_owner owner, struct hotspot_search *search, const struct unwind_registers *registers,
		struct unwind_rule *ret)
{
	__u64 sp = registers->at[UNWIND_REGISTER_SP], bp = registers->at[UNWIND_REGISTER_BP];
	__u64 at;

	if (memory_read(owner, search->words, sizeof(search->words), sp) < 0)
		return;
	at = hotspot_first_code(search);
	if (!at)
		hotspot_rule_without_frame(ret);
	else if (at < HOTSPOT_STRAY_WORDS && (bp < sp || bp - sp > HOTSPOT_MAX_STUB_FRAME))
		hotspot_rule(ret, UNWIND_CFA_REGISTER, UNWIND_REGISTER_SP, 8 * (__s64)(at + 1), UNWIND_SAVED_SAME);
}

/*
 * The rule at the frame in `registers`. 0 with it, or -1 when the address is in nothing that the JVM knows. A global function,
 * which the verifier looks at once; such a one cannot be given a task.
 */
#if defined(UNWIND_NATIVE)
static inline
#elif defined(MEMORY_OF_OTHERS)
static __attribute__((noinline))
#else
__attribute__((noinline))
#endif
int hotspot_rule_at(memory_owner owner, struct hotspot_search *search, const struct unwind_registers *registers,
		struct unwind_rule *ret)
{
	enum hotspot_progress progress = HOTSPOT_WHOLE;
	struct hotspot_blob blob = {};
	__u64 ip, sp;

	if (!search || !registers || !ret)
		return -1;
	ip = registers->ip;
	sp = registers->at[UNWIND_REGISTER_SP];
	hotspot_rule(ret, UNWIND_CFA_FRAME_POINTER, 0, 0, UNWIND_SAVED_NOWHERE);
	if (ip >= search->hotspot.interpreter_start && ip < search->hotspot.interpreter_end) {
		ret->cfa = UNWIND_CFA_INTERPRETER;
		if (registers->is_exact)
			hotspot_interpreter_leaf(owner, search, registers, ret);
		return 0;
	}
	if (!hotspot_read_blob(owner, search, ip - !registers->is_exact, &blob))
		return -1;
	if (blob.frame_size <= 0 || blob.frame_size > HOTSPOT_MAX_FRAME_WORDS) {
		if (registers->is_exact)
			hotspot_stub_leaf(owner, search, registers, ret);
		return 0;
	}
	if (registers->is_exact)
		progress = hotspot_progress_at(owner, search, &blob, ip);
	switch (progress) {
	case HOTSPOT_RETURN:
		hotspot_rule_without_frame(ret);
		return 0;
	case HOTSPOT_BP:
		hotspot_rule(ret, UNWIND_CFA_REGISTER, UNWIND_REGISTER_SP, 16, -2);
		return 0;
	case HOTSPOT_WHOLE_BP_LEFT:
		hotspot_rule(ret, UNWIND_CFA_REGISTER, UNWIND_REGISTER_SP, 8 * blob.frame_size, UNWIND_SAVED_SAME);
		return 0;
	case HOTSPOT_IN_DX:
		hotspot_rule(ret, UNWIND_CFA_RETURN_REGISTER, 1, 0, UNWIND_SAVED_SAME);
		return 0;
	case HOTSPOT_WHOLE:
		break;
	}
	hotspot_whole_frame(owner, search, sp, blob.frame_size, ret);
	return 0;
}
