/* SPDX-License-Identifier: Apache-2.0 */
/* The walk of bpf/unwind.bpf.h, compiled for this machine, on stacks made by hand. */
#include <stdint.h>
#include <string.h>

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

static inline long unwind_read(void *to, uint32_t size, uint64_t from)
{
	if (read_piece(to, size, from, stack_base, stack_words) == 0)
		return 0;
	return read_piece(to, size, from, heap_base, heap_words);
}

static inline long unwind_loop(uint32_t n, long (*fn)(uint32_t index, void *context), void *context)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (fn(i, context))
			return i + 1;
	return i;
}

#define UNWIND_NATIVE
#include "unwind.bpf.h"

#include "main.h"

static struct unwind walk;
static const uint64_t salt = 0x9e3779b97f4a7c15;

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
	walk.at = (struct unwind_registers){ .ip = ip, .sp = sp, .bp = bp };
}

/* From a leaf whose frame is at word i, below which are three words more. */
static void run_from(size_t i)
{
	start(0x400000, stack_base + (i - 3) * 8, stack_base + i * 8);
	unwind_user(&walk, salt);
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
	unwind_user(&walk, salt);
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

START_TEST(the_deepest_stack_that_fits_is_complete)
{
	make_chain(SAMPLE_MAX_USER_FRAMES - 1, 2);
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_COMPLETE);
	ck_assert_uint_eq(walk.n, SAMPLE_MAX_USER_FRAMES);
}
END_TEST

START_TEST(a_deeper_stack_is_cut_and_says_so)
{
	make_chain(SAMPLE_MAX_USER_FRAMES, 2);
	run_from(8);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_TOO_DEEP);
	ck_assert_uint_eq(walk.n, SAMPLE_MAX_USER_FRAMES);
	ck_assert_uint_eq(walk.frames[SAMPLE_MAX_USER_FRAMES - 1], 0x400000 + SAMPLE_MAX_USER_FRAMES - 1);
}
END_TEST

START_TEST(frames_of_the_kernel_stay_in_front)
{
	make_chain(SAMPLE_MAX_USER_FRAMES, 2);
	start(0x400000, stack_base, stack_base + 8 * 8);
	for (size_t i = 0; i < SAMPLE_MAX_KERNEL_FRAMES; i++)
		walk.frames[i] = 0xffffffff81000000 + i;
	walk.n = SAMPLE_MAX_KERNEL_FRAMES;
	unwind_user(&walk, salt);
	ck_assert_uint_eq(walk.n, UNWIND_MAX_FRAMES);
	ck_assert_uint_eq(walk.frames[SAMPLE_MAX_KERNEL_FRAMES - 1], 0xffffffff81000000 + SAMPLE_MAX_KERNEL_FRAMES - 1);
	ck_assert_uint_eq(walk.frames[SAMPLE_MAX_KERNEL_FRAMES], 0x400000);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_TOO_DEEP);
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
	unwind_user(&walk, salt);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_TOO_DEEP);
	ck_assert_uint_eq(walk.n, SAMPLE_MAX_USER_FRAMES);
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
		the_deepest_stack_that_fits_is_complete, a_deeper_stack_is_cut_and_says_so, frames_of_the_kernel_stay_in_front,
		the_chain_goes_from_the_system_stack_to_the_goroutine,
		a_frame_pointer_into_the_heap_of_a_c_program_breaks_the_chain, a_ring_of_frames_in_a_go_heap_ends,
		the_hash_is_of_all_frames_in_their_order, similar_stacks_have_different_hashes)
