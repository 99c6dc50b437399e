/* SPDX-License-Identifier: Apache-2.0 */
/* The walk of bpf/unwind.bpf.h, compiled for this machine, on stacks made by hand. */
#include <stdint.h>
#include <string.h>

#include "main.h"
#include "native.h"

/* Two readable pieces of memory: a thread's stack, and a piece of a Go heap that may hold goroutines' stacks. */
enum { N_WORDS = 8192 };
static const uint64_t stack_base = 0x7ffc00000000;
static uint64_t heap_base = 0xc000100000;
static uint64_t stack_words[N_WORDS], heap_words[N_WORDS];

static long read_piece(void *to, uint32_t size, uint64_t from, uint64_t base, const uint64_t *words)
{
	if (from < base || from + size > base + N_WORDS * sizeof(*words))
		return -14; /* EFAULT */
	memcpy(to, (const char *)words + (from - base), size);
	return 0;
}

static long unwind_read(void *to, uint32_t size, uint64_t from)
{
	if (read_piece(to, size, from, stack_base, stack_words) == 0)
		return 0;
	return read_piece(to, size, from, heap_base, heap_words);
}

static struct unwind walk;
static const uint64_t salt = 0x9e3779b97f4a7c15;

/* Where code is described: at these addresses, in this way; elsewhere frame pointers are kept. */
enum { N_PLACES = 8 };
static struct {
	uint64_t start, end;
	struct unwind_rule rule;
	uint32_t guess, verdict;
} code[N_PLACES];
static size_t n_places;

static int unwind_rule_at(struct unwind *unwind, memory_owner owner, __u64 address, struct unwind_rule *ret)
{
	unwind->guess = SAMPLE_VERDICT_BAD_FRAME;
	*ret = (struct unwind_rule){ .cfa = UNWIND_CFA_FRAME_POINTER, .bx = UNWIND_SAVED_NOWHERE };
	for (size_t i = 0; i < n_places; i++) {
		if (address < code[i].start || address >= code[i].end)
			continue;
		*ret = code[i].rule;
		if (code[i].guess)
			unwind->guess = code[i].guess;
		return (int)code[i].verdict;
	}
	return 0;
}

static void put_place(uint64_t start, uint64_t end, struct unwind_rule rule)
{
	code[n_places].start = start;
	code[n_places].end = end;
	code[n_places].rule = rule;
	code[n_places].guess = code[n_places].verdict = 0;
	n_places++;
}

/* At word i of the stack: a frame whose caller's frame is at word `caller` (0: none), returning to `ip`. */
static void put_frame(size_t i, size_t caller, uint64_t ip)
{
	stack_words[i] = caller ? stack_base + caller * 8 : 0;
	stack_words[i + 1] = ip;
}

static void start(uint64_t ip, uint64_t sp, uint64_t bp)
{
	memset(&walk, 0, sizeof(walk));
	walk.hash = salt;
	walk.registers = (struct unwind_registers){ .ip = ip, .known = UNWIND_KNOWN_ALL, .is_exact = true };
	walk.registers.at[UNWIND_REGISTER_SP] = sp;
	walk.registers.at[UNWIND_REGISTER_BP] = bp;
}

/* From a leaf whose frame is at word i, below which are three words more. */
static void run_from(size_t i)
{
	start(0x400000, stack_base + (i - 3) * 8, stack_base + i * 8);
	unwind_user(&walk, 0, salt);
}

/* n frames beside the leaf, of `step` words each; the last one ends the chain. */
static void make_chain(size_t n, size_t step)
{
	memset(stack_words, 0, sizeof(stack_words));
	for (size_t i = 0; i < n; i++)
		put_frame(8 + i * step, i + 1 < n ? 8 + (i + 1) * step : 0, 0x400001 + i);
}

START_TEST(a_whole_chain_has_every_frame)
{
	make_chain(15, 6);
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_COMPLETE);
	ck_assert_uint_eq(walk.n, 16);
	for (size_t i = 0; i < 16; i++)
		ck_assert_uint_eq(walk.frames[i], 0x400000 + i);
}
END_TEST

START_TEST(a_leaf_without_a_frame_is_complete)
{
	start(0x400000, stack_base, 0);
	unwind_user(&walk, 0, salt);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_COMPLETE);
	ck_assert_uint_eq(walk.n, 1);
}
END_TEST

START_TEST(an_empty_last_frame_ends_the_chain)
{
	make_chain(3, 4);
	put_frame(8 + 2 * 4, 0, 0);
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_COMPLETE);
	ck_assert_uint_eq(walk.n, 3);
}
END_TEST

static void expect_broken_after(size_t n)
{
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_BAD_FRAME);
	ck_assert_uint_eq(walk.n, n);
}

START_TEST(a_frame_pointer_that_is_not_aligned_breaks_the_chain)
{
	make_chain(4, 4);
	stack_words[8 + 4] += 4;
	expect_broken_after(3);
}
END_TEST

START_TEST(a_frame_pointer_that_falls_breaks_the_chain)
{
	make_chain(4, 4);
	stack_words[8 + 4] = stack_base + 8 * 8;
	expect_broken_after(3);
}
END_TEST

START_TEST(a_frame_that_is_its_own_caller_breaks_the_chain)
{
	make_chain(4, 4);
	stack_words[8 + 4] = stack_base + (8 + 4) * 8;
	expect_broken_after(3);
}
END_TEST

START_TEST(a_small_number_is_no_frame_pointer)
{
	make_chain(2, 4);
	stack_words[8 + 4] = 1; /* what main() of a C library without frame pointers inherits */
	expect_broken_after(3);
	stack_words[8 + 4] = 8;
	expect_broken_after(3);
}
END_TEST

START_TEST(a_frame_pointer_in_the_kernel_breaks_the_chain)
{
	static const uint64_t wrong[] = { 0x7ffffffff000, 0x7fffffffeff8, 0x800000000000, 0xffff888000000000, UINT64_MAX - 7 };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		make_chain(2, 4);
		stack_words[8 + 4] = wrong[i];
		expect_broken_after(3);
	}
}
END_TEST

START_TEST(a_return_address_that_cannot_be_code_breaks_the_chain)
{
	static const uint64_t wrong[] = { 0, 0x7ffffffff000, 0xffffffff81000000 };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		make_chain(4, 4);
		stack_words[8 + 2 * 4 + 1] = wrong[i];
		expect_broken_after(3);
	}
}
END_TEST

START_TEST(a_page_that_cannot_be_read_is_told_apart)
{
	make_chain(4, 4);
	stack_words[8 + 4] = stack_base + N_WORDS * 8;
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_UNREADABLE);
	ck_assert_uint_eq(walk.n, 3);
}
END_TEST

START_TEST(a_frame_half_in_an_unreadable_page_is_unreadable)
{
	make_chain(2, 4);
	stack_words[8 + 4] = stack_base + (N_WORDS - 1) * 8;
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_UNREADABLE);
}
END_TEST

START_TEST(the_deepest_stack_that_is_kept_whole)
{
	make_chain(SAMPLE_MAX_USER_FRAMES - 1, 2);
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_COMPLETE);
	unwind_finish(&walk, salt);
	ck_assert_uint_eq(walk.stack.n_user, SAMPLE_MAX_USER_FRAMES);
	ck_assert_uint_eq(walk.stack.n_elided, 0);
	for (size_t i = 0; i < SAMPLE_MAX_USER_FRAMES; i++)
		ck_assert_uint_eq(walk.frames[i], 0x400000 + i);
}
END_TEST

START_TEST(of_a_deeper_stack_both_ends_are_kept)
{
	for (size_t more = 0; more < 3000; more += 599) {
		make_chain(SAMPLE_MAX_USER_FRAMES + more, 2);
		run_from(8);
		ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_ELIDED);
		unwind_finish(&walk, salt);
		ck_assert_uint_eq(walk.stack.n_user, SAMPLE_MAX_USER_FRAMES);
		ck_assert_uint_eq(walk.stack.n_elided, more + 1);
		for (size_t i = 0; i < UNWIND_HALF; i++)
			ck_assert_uint_eq(walk.frames[i], 0x400000 + i);
		/* As sample.h says. */
		for (size_t i = 0; i < UNWIND_HALF; i++)
			ck_assert_uint_eq(walk.frames[UNWIND_HALF + (walk.stack.n_elided + i) % UNWIND_HALF],
					0x400000 + UNWIND_HALF + walk.stack.n_elided + i);
	}
}
END_TEST

START_TEST(frames_of_the_kernel_stay_in_front)
{
	make_chain(2 * SAMPLE_MAX_USER_FRAMES, 2);
	start(0x400000, stack_base, stack_base + 8 * 8);
	for (size_t i = 0; i < SAMPLE_MAX_KERNEL_FRAMES; i++)
		walk.frames[i] = 0xffffffff81000000 + i;
	walk.n_kernel = SAMPLE_MAX_KERNEL_FRAMES;
	unwind_user(&walk, 0, salt);
	unwind_finish(&walk, salt);
	ck_assert_uint_eq(walk.stack.n_kernel, SAMPLE_MAX_KERNEL_FRAMES);
	ck_assert_uint_eq(walk.stack.n_user, SAMPLE_MAX_USER_FRAMES);
	for (size_t i = 0; i < SAMPLE_MAX_KERNEL_FRAMES; i++)
		ck_assert_uint_eq(walk.frames[i], 0xffffffff81000000 + i);
	ck_assert_uint_eq(walk.frames[SAMPLE_MAX_KERNEL_FRAMES], 0x400000);
}
END_TEST

/* runtime.systemstack: the system stack's first frame was called from the goroutine's stack, which is below. */
static void expect_goroutine_behind_system_stack(void)
{
	memset(heap_words, 0, sizeof(heap_words));
	make_chain(3, 4);
	stack_words[8 + 2 * 4] = heap_base + 100 * 8;
	heap_words[100] = heap_base + 110 * 8;
	heap_words[101] = 0x500001;
	heap_words[110] = 0;
	heap_words[111] = 0x500002;
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_COMPLETE);
	ck_assert_uint_eq(walk.n, 6);
	ck_assert_uint_eq(walk.frames[4], 0x500001);
	ck_assert_uint_eq(walk.frames[5], 0x500002);
}

START_TEST(the_chain_goes_from_the_system_stack_to_the_goroutine)
{
	expect_goroutine_behind_system_stack();
	heap_base = 0x2a5c31200000; /* random, as of Go 1.26 */
	expect_goroutine_behind_system_stack();
}
END_TEST

START_TEST(a_frame_pointer_into_the_heap_of_a_c_program_breaks_the_chain)
{
	static const uint64_t places[] = { 0x555555600000, 0x7f1234500000, 0x1c00000 };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		heap_base = places[i];
		make_chain(3, 4);
		stack_words[8 + 2 * 4] = heap_base + 100 * 8;
		heap_words[101] = 0x500001;
		run_from(8);
		ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_BAD_FRAME);
		ck_assert_uint_eq(walk.n, 4);
	}
}
END_TEST

START_TEST(a_ring_of_frames_in_a_go_heap_ends)
{
	memset(heap_words, 0, sizeof(heap_words));
	heap_words[100] = heap_base + 110 * 8;
	heap_words[101] = 0x500001;
	heap_words[110] = heap_base + 100 * 8;
	heap_words[111] = 0x500002;
	start(0x500000, heap_base, heap_base + 100 * 8);
	unwind_user(&walk, 0, salt);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_TOO_DEEP);
	ck_assert_uint_eq(walk.n, SAMPLE_MAX_DEPTH);
}
END_TEST

/* --- by rules ---------------------------------------------------------------------------------------------------- */

/* Three frames: the leaf, 2 words; its caller, 6 words with rbp and rbx among them; the first function. */
static void make_described(void)
{
	n_places = 0;
	memset(stack_words, 0, sizeof(stack_words));
	put_place(0x400000, 0x400100, (struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .offset = 16 });
	put_place(0x400100, 0x400200, (struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .offset = 48,
			.bp = -2, .bx = -3 });
	put_place(0x400200, 0x400300, (struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_BP, .offset = 16,
			.bp = -2, .bx = UNWIND_SAVED_NOWHERE });
	put_place(0x400300, 0x400400, (struct unwind_rule){ .cfa = UNWIND_CFA_END });
	stack_words[101] = 0x400150;
	stack_words[102 + 5] = 0x400250;
	stack_words[102 + 4] = stack_base + 120 * 8; /* rbp */
	stack_words[102 + 3] = 0xb0b;                /* rbx */
	stack_words[120] = 0xdead;
	stack_words[121] = 0x400350;
}

static void expect_frames(uint32_t verdict, size_t n, const uint64_t *frames)
{
	unwind_user(&walk, 0, salt);
	ck_assert_uint_eq(walk.verdict, verdict);
	ck_assert_uint_eq(walk.n, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(walk.frames[i], frames[i]);
}

START_TEST(rules_lead_to_the_first_function)
{
	static const uint64_t frames[] = { 0x400020, 0x400150, 0x400250, 0x400350 };

	make_described();
	start(0x400020, stack_base + 100 * 8, 0x777); /* no frame pointer */
	expect_frames(SAMPLE_VERDICT_COMPLETE, 4, frames);
	ck_assert_uint_eq(walk.registers.at[UNWIND_REGISTER_BP], 0xdead);
}
END_TEST

START_TEST(a_return_address_behind_a_function_is_in_it)
{
	static const uint64_t frames[] = { 0x400020, 0x400200 }; /* the call was the last instruction of the second function */

	make_described();
	stack_words[101] = 0x400200;
	stack_words[102 + 5] = 0;
	start(0x400020, stack_base + 100 * 8, 0x777);
	expect_frames(SAMPLE_VERDICT_COMPLETE, 2, frames);
}
END_TEST

START_TEST(a_register_that_nobody_saved_cannot_be_followed)
{
	static const uint64_t frames[] = { 0x400020, 0x400150 };

	make_described();
	code[1].rule = (struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = 10, .offset = 0 };
	start(0x400020, stack_base + 100 * 8, 0);
	expect_frames(SAMPLE_VERDICT_NO_RULE, 2, frames);
}
END_TEST

START_TEST(the_leaf_has_all_registers)
{
	static const uint64_t frames[] = { 0x400020, 0x400150, 0x400250, 0x400350 };

	make_described();
	code[0].rule = (struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = 10, .offset = -8 };
	start(0x400020, stack_base + 90 * 8, 0);
	walk.registers.at[10] = stack_base + 103 * 8;
	expect_frames(SAMPLE_VERDICT_COMPLETE, 4, frames);
}
END_TEST

START_TEST(a_realigned_frame_is_found_through_memory)
{
	static const uint64_t frames[] = { 0x400020, 0x400150, 0x400250, 0x400350 };

	make_described();
	code[0].rule = (struct unwind_rule){ .cfa = UNWIND_CFA_DEREFERENCE, .reg = UNWIND_REGISTER_BP, .inner = -8, .addend = 16 };
	stack_words[95] = stack_base + 100 * 8;
	start(0x400020, stack_base + 90 * 8, stack_base + 96 * 8);
	expect_frames(SAMPLE_VERDICT_COMPLETE, 4, frames);
}
END_TEST

START_TEST(half_of_a_plt_entry_has_pushed)
{
	static const uint64_t early[] = { 0x400005, 0x400250, 0x400350 }, late[] = { 0x40000b, 0x400250, 0x400350 };

	make_described();
	code[0].rule = (struct unwind_rule){ .cfa = UNWIND_CFA_PLT, .reg = UNWIND_REGISTER_SP, .offset = 11 };
	start(0x400005, stack_base + 107 * 8, stack_base + 120 * 8);
	expect_frames(SAMPLE_VERDICT_COMPLETE, 3, early);
	start(0x40000b, stack_base + 106 * 8, stack_base + 120 * 8);
	expect_frames(SAMPLE_VERDICT_COMPLETE, 3, late);
}
END_TEST

/* A handler on another stack, below; it returns to the trampoline, where rsp points at the ucontext. */
START_TEST(a_signal_leads_to_what_it_interrupted)
{
	static const uint64_t frames[] = { 0x400020, 0x400500 | SAMPLE_INTERRUPTED, 0x400100 | SAMPLE_INTERRUPTED, 0x400250, 0x400350 };
	uint64_t *ucontext = &heap_words[202 + UNWIND_UCONTEXT_REGISTERS / 8];

	make_described();
	put_place(0x4004ff, 0x400510, (struct unwind_rule){ .cfa = UNWIND_CFA_SIGNAL });
	heap_base = 0x555555600000; /* sigaltstack(2) */
	heap_words[201] = 0x400500;
	ucontext[10] = stack_base + 120 * 8;    /* rbp */
	ucontext[15] = stack_base + 102 * 8;    /* rsp */
	ucontext[16] = 0x400100;                /* the first byte of a function: not a return address */
	start(0x400020, heap_base + 200 * 8, 1);
	expect_frames(SAMPLE_VERDICT_COMPLETE, 5, frames);
}
END_TEST

START_TEST(what_is_only_guessed_is_said_to_be)
{
	static const uint64_t frames[] = { 0x400020, 0x400150 };
	static const struct unwind_rule frame_pointer = { .cfa = UNWIND_CFA_FRAME_POINTER, .bx = UNWIND_SAVED_NOWHERE };

	make_described();
	code[1].rule = frame_pointer;
	code[1].guess = SAMPLE_VERDICT_NO_TABLE;
	start(0x400020, stack_base + 100 * 8, 0x777);
	expect_frames(SAMPLE_VERDICT_NO_TABLE, 2, frames);
	/* 0 may be anything that was in the register. */
	start(0x400020, stack_base + 100 * 8, 0);
	expect_frames(SAMPLE_VERDICT_NO_TABLE, 2, frames);
}
END_TEST

START_TEST(a_place_without_a_rule_ends_the_walk_with_the_reason)
{
	static const uint64_t frames[] = { 0x400020, 0x400150 };
	static const uint32_t verdicts[] = { SAMPLE_VERDICT_NO_MAPPING, SAMPLE_VERDICT_NO_ROW, SAMPLE_VERDICT_NO_TABLE };

	make_described();
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		code[1].verdict = verdicts[i];
		start(0x400020, stack_base + 100 * 8, 0);
		expect_frames(verdicts[i], 2, frames);
	}
	code[1].verdict = 0;
	code[1].rule.cfa = UNWIND_CFA_UNKNOWN;
	start(0x400020, stack_base + 100 * 8, 0);
	expect_frames(SAMPLE_VERDICT_NO_RULE, 2, frames);
}
END_TEST

START_TEST(registers_saved_far_below_are_found_too)
{
	static const uint64_t frames[] = { 0x400020, 0x400150, 0x400250, 0x400350 };

	make_described();
	code[1].rule = (struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .offset = 48, .bp = -40, .bx = -41 };
	stack_words[108 - 40] = stack_base + 120 * 8;
	start(0x400020, stack_base + 100 * 8, 0);
	expect_frames(SAMPLE_VERDICT_COMPLETE, 4, frames);
}
END_TEST

START_TEST(registers_saved_below_rbp_are_found_by_the_callees)
{
	static const uint64_t frames[] = { 0x400020, 0x400150, 0x400250, 0x400350 };

	make_described();
	code[0].rule = (struct unwind_rule){ .cfa = UNWIND_CFA_DEREFERENCE, .reg = UNWIND_REGISTER_BP, .inner = -8,
			.bp = UNWIND_SAVED_AT_BP, .bx = UNWIND_SAVED_AT_BP + 2 };
	code[1].rule.bp = UNWIND_SAVED_SAME;
	stack_words[94] = 0xb0b;
	stack_words[95] = stack_base + 102 * 8;
	stack_words[96] = stack_base + 120 * 8;
	start(0x400020, stack_base + 90 * 8, stack_base + 96 * 8);
	expect_frames(SAMPLE_VERDICT_COMPLETE, 4, frames);
}
END_TEST

START_TEST(who_did_not_call_was_interrupted)
{
	static const uint64_t frames[] = { 0x400020, 0x400100 | SAMPLE_INTERRUPTED, 0x400250, 0x400350 };

	make_described();
	code[0].rule.reg |= UNWIND_CALLER_INTERRUPTED;
	stack_words[101] = 0x400100; /* the first byte of a function */
	start(0x400020, stack_base + 100 * 8, 0);
	expect_frames(SAMPLE_VERDICT_COMPLETE, 4, frames);
}
END_TEST

START_TEST(a_return_address_in_a_register_is_known_of_the_leaf_alone)
{
	static const uint64_t frames[] = { 0x400020, 0x400150, 0x400250, 0x400350 };

	make_described();
	code[0].rule = (struct unwind_rule){ .cfa = UNWIND_CFA_RETURN_REGISTER, .reg = 5 };
	start(0x400020, stack_base + 102 * 8, 0x777);
	walk.registers.at[5] = 0x400150;
	expect_frames(SAMPLE_VERDICT_COMPLETE, 4, frames);
	start(0x400020, stack_base + 102 * 8, 0x777);
	walk.registers.at[5] = 0;
	expect_frames(SAMPLE_VERDICT_BAD_FRAME, 1, frames);
	start(0x400020, stack_base + 102 * 8, 0x777);
	walk.registers.known = 1 << UNWIND_REGISTER_SP;
	expect_frames(SAMPLE_VERDICT_NO_RULE, 1, frames);
}
END_TEST

START_TEST(a_rule_that_does_not_rise_breaks_the_walk)
{
	static const uint64_t frames[] = { 0x400020 };
	static const int32_t offsets[] = { 0, -8, 12, INT32_MIN };

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		make_described();
		code[0].rule.offset = offsets[i];
		start(0x400020, stack_base + 100 * 8, 0);
		expect_frames(SAMPLE_VERDICT_BAD_FRAME, 1, frames);
	}
}
END_TEST

static uint64_t hash_of(const __u64 *frames, size_t n, uint64_t with_salt)
{
	uint64_t hash = with_salt;

	for (size_t i = 0; i < n; i++)
		hash = unwind_mix(hash, frames[i], with_salt);
	return hash;
}

START_TEST(the_hash_is_of_all_frames_in_their_order)
{
	uint64_t first;

	make_chain(5, 4);
	run_from(8);
	first = walk.hash;
	ck_assert_uint_eq(first, hash_of(walk.frames, walk.n, salt));
	run_from(8);
	ck_assert_uint_eq(walk.hash, first);
	stack_words[8 + 4 + 1]++;
	stack_words[8 + 2 * 4 + 1]--;
	run_from(8);
	ck_assert_uint_ne(walk.hash, first);
}
END_TEST

/* Stacks of a profile differ in few low bits: 2^16 of them must not meet, whatever the salt. */
START_TEST(similar_stacks_have_different_hashes)
{
	enum { N = 1 << 16 };
	static uint32_t buckets[1 << 20];
	unsigned int worst = 0, count;

	memset(buckets, 0, sizeof(buckets));
	for (uint64_t i = 0; i < N; i++) {
		const __u64 frames[] = { 0x400000 + (i & 0xff) * 4, 0x401000 + (i >> 8) * 4, 0x402000 };
		uint64_t hash = hash_of(frames, 3, salt);

		count = ++buckets[hash & ((1 << 20) - 1)];
		worst = count > worst ? count : worst;
		count = ++buckets[hash >> 44];
		worst = count > worst ? count : worst;
	}
	/* 131,072 balls in 1,048,576 urns: above 8 in one has a chance of about 1e-9. */
	ck_assert_uint_le(worst, 8);
}
END_TEST

UNIT_TESTS("unwind", a_whole_chain_has_every_frame, a_leaf_without_a_frame_is_complete, an_empty_last_frame_ends_the_chain,
		a_frame_pointer_that_is_not_aligned_breaks_the_chain, a_frame_pointer_that_falls_breaks_the_chain,
		a_frame_that_is_its_own_caller_breaks_the_chain, a_small_number_is_no_frame_pointer,
		a_frame_pointer_in_the_kernel_breaks_the_chain, a_return_address_that_cannot_be_code_breaks_the_chain,
		a_page_that_cannot_be_read_is_told_apart, a_frame_half_in_an_unreadable_page_is_unreadable,
		the_deepest_stack_that_is_kept_whole, of_a_deeper_stack_both_ends_are_kept, frames_of_the_kernel_stay_in_front,
		the_chain_goes_from_the_system_stack_to_the_goroutine,
		a_frame_pointer_into_the_heap_of_a_c_program_breaks_the_chain, a_ring_of_frames_in_a_go_heap_ends,
		rules_lead_to_the_first_function, a_return_address_behind_a_function_is_in_it,
		a_register_that_nobody_saved_cannot_be_followed, the_leaf_has_all_registers,
		a_realigned_frame_is_found_through_memory, half_of_a_plt_entry_has_pushed,
		a_signal_leads_to_what_it_interrupted, what_is_only_guessed_is_said_to_be,
		a_place_without_a_rule_ends_the_walk_with_the_reason, registers_saved_far_below_are_found_too,
		registers_saved_below_rbp_are_found_by_the_callees, who_did_not_call_was_interrupted,
		a_return_address_in_a_register_is_known_of_the_leaf_alone, a_rule_that_does_not_rise_breaks_the_walk,
		the_hash_is_of_all_frames_in_their_order, similar_stacks_have_different_hashes)
