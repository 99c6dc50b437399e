/* SPDX-License-Identifier: Apache-2.0 */
/* The walk through code that HotSpot made, compiled for this machine: code heap, notes and stack are made by hand. */
#include <stdint.h>
#include <string.h>

#include "main.h"
#include "native.h"

/* A code heap of 64 segments of 128 bytes, its notes, and a stack. */
enum { SEGMENT = 128, N_SEGMENTS = 64, N_WORDS = 512 };
static const uint64_t heap_base = 0x7f1000000000, notes_base = 0x7f2000000000, stack_base = 0x7ffc00000000;
static uint8_t heap_bytes[SEGMENT * N_SEGMENTS], notes[N_SEGMENTS];
static uint64_t stack_words[N_WORDS];

static int read_piece(void *to, uint32_t size, uint64_t from, uint64_t base, const void *bytes, uint64_t n)
{
	if (from < base || from + size > base + n)
		return -14; /* EFAULT */
	memcpy(to, (const char *)bytes + (from - base), size);
	return 0;
}

static long unwind_read(void *to, uint32_t size, uint64_t from)
{
	if (read_piece(to, size, from, stack_base, stack_words, sizeof(stack_words)) == 0 ||
	    read_piece(to, size, from, notes_base, notes, sizeof(notes)) == 0)
		return 0;
	return read_piece(to, size, from, heap_base, heap_bytes, sizeof(heap_bytes));
}

/*
 * In segments: 0 to 3 the interpreter, 8 to 11 a method with 6 words of frame, 16 to 40 one that is long, 44 stubs without a size,
 * all else free. Blobs begin 16 bytes into their segment, their code 64 bytes behind that.
 */
enum { INTERPRETER = 0, METHOD = 8, LONG_METHOD = 16, STUBS = 44, CODE_AT = 80, FRAME_WORDS = 6, COMPLETE = 40 };
static struct hotspot_search search;
static struct unwind walk;

static void put_u32(size_t at, uint32_t value)
{
	memcpy(heap_bytes + at, &value, sizeof(value));
}

static void put_blob(size_t first, size_t n, int32_t frame_size)
{
	uint64_t code = heap_base + first * SEGMENT + CODE_AT;

	for (size_t i = 0; i < n; i++)
		notes[first + i] = (uint8_t)(i < 10 ? i : 10);
	put_u32(first * SEGMENT + 16 + 20, COMPLETE);
	put_u32(first * SEGMENT + 16 + 28, (uint32_t)frame_size);
	memcpy(heap_bytes + first * SEGMENT + 16 + 32, &code, sizeof(code));
}

static uint64_t code_of(size_t first, size_t offset)
{
	return heap_base + first * SEGMENT + CODE_AT + offset;
}

static void put_code(size_t first, size_t offset, const char *bytes, size_t n)
{
	memcpy(heap_bytes + first * SEGMENT + CODE_AT + offset, bytes, n);
}

static void make(void)
{
	memset(heap_bytes, 0x90, sizeof(heap_bytes));
	memset(notes, HOTSPOT_SEGMENT_FREE, sizeof(notes));
	memset(stack_words, 0, sizeof(stack_words));
	put_blob(INTERPRETER, 4, 0);
	put_blob(METHOD, 4, FRAME_WORDS);
	put_blob(LONG_METHOD, 25, FRAME_WORDS);
	put_blob(STUBS, 2, 0);
	search.hotspot = (struct hotspot){
		.state = HOTSPOT_KNOWN,
		.n_heaps = 1,
		.heaps = { { .low = heap_base, .high = heap_base + sizeof(heap_bytes), .segments = notes_base } },
		.interpreter_start = heap_base,
		.interpreter_end = heap_base + 4 * SEGMENT,
		.entries_start = heap_base + 3 * SEGMENT,
		.entries_end = heap_base + 4 * SEGMENT,
		.segment_shift = 7,
		.block_size = 16,
		.frame_size = 28,
		.frame_complete = 20,
		.code = 32,
	};
}

static int unwind_rule_at(struct unwind *unwind, memory_owner owner, __u64 address, struct unwind_rule *ret)
{
	unwind->guess = SAMPLE_VERDICT_NO_FRAME;
	*ret = (struct unwind_rule){ .cfa = UNWIND_CFA_END };
	if (address >= heap_base && address < heap_base + sizeof(heap_bytes))
		hotspot_rule_at(0, &search, &unwind->registers, ret);
	return 0;
}

static void start(uint64_t ip, size_t sp, uint64_t bp)
{
	memset(&walk, 0, sizeof(walk));
	walk.registers = (struct unwind_registers){ .ip = ip, .known = UNWIND_KNOWN_ALL, .is_exact = true };
	walk.registers.at[UNWIND_REGISTER_SP] = stack_base + sp * 8;
	walk.registers.at[UNWIND_REGISTER_BP] = bp;
}

enum { NOT_JAVA = 0x400000, GARBAGE = 0x1234567 };

/*
 * Frames from word 100 on: the leaf's return address at word `at` goes to LONG_METHOD, whose frame is behind it, and which
 * was called by what is not Java.
 */
static void put_callers(size_t at)
{
	stack_words[at] = code_of(LONG_METHOD, 3000);
	stack_words[at + FRAME_WORDS] = NOT_JAVA;
}

static void expect_callers(void)
{
	unwind_user(&walk, 0, 3);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_COMPLETE);
	ck_assert_uint_eq(walk.n, 3);
	ck_assert_uint_eq(walk.frames[1], code_of(LONG_METHOD, 3000));
	ck_assert_uint_eq(walk.frames[2], NOT_JAVA);
}

START_TEST(a_compiled_method_has_a_frame_of_its_size)
{
	make();
	put_callers(100 + FRAME_WORDS - 1);
	stack_words[100 + FRAME_WORDS - 2] = GARBAGE + 1;
	start(code_of(METHOD, 100), 100, GARBAGE);
	expect_callers();
}
END_TEST

START_TEST(what_it_pushed_beside_its_frame_is_stepped_over)
{
	make();
	put_callers(100 + FRAME_WORDS - 1 + 2);
	start(code_of(METHOD, 100), 100, GARBAGE);
	expect_callers();
}
END_TEST

/* `at`: the word of the return address, counted from rsp on. */
static void expect_at(size_t offset, size_t at)
{
	put_callers(100 + at);
	start(code_of(METHOD, offset), 100, GARBAGE);
	expect_callers();
	stack_words[100 + at] = stack_words[100 + at + FRAME_WORDS] = 0;
}

START_TEST(a_frame_that_is_being_made_is_known_by_the_instruction)
{
	static const char calls[] = "\x89\x84\x24\x00\xc0\xfe\xff" "\x55" "\x48\x8b\xec" "\x48\x83\xec\x20" "\x41\x81\x7f\x20\x01\x00\x00\x00"
				    "\x0f\x85\x00\x00\x00\x00";
	static const char leaf[] = "\x48\x81\xec\x28\x00\x00\x00" "\x48\x89\x6c\x24\x20" "\x48\x8b\xec" "\x48\x83\xc5\x20";

	make();
	put_code(METHOD, 8, calls, sizeof(calls) - 1);
	expect_at(0, 0);
	expect_at(8, 0);
	expect_at(15, 0);
	expect_at(16, 1);
	expect_at(19, 1);
	expect_at(23, FRAME_WORDS - 1);
	expect_at(31, FRAME_WORDS - 1);
	make();
	put_code(METHOD, 16, leaf, sizeof(leaf) - 1);
	expect_at(16, 0);
	expect_at(23, FRAME_WORDS - 1);
	expect_at(28, FRAME_WORDS - 1);
	expect_at(31, FRAME_WORDS - 1);
}
END_TEST

START_TEST(rbp_that_is_not_saved_yet_is_the_callers)
{
	static const char leaf[] = "\x48\x81\xec\x28\x00\x00\x00" "\x48\x89\x6c\x24\x20" "\x90";

	make();
	put_code(METHOD, 16, leaf, sizeof(leaf) - 1);
	start(code_of(METHOD, 23), 100, GARBAGE);
	stack_words[100 + FRAME_WORDS - 1] = NOT_JAVA;
	stack_words[100 + FRAME_WORDS - 2] = 77;
	ck_assert_int_eq(unwind_step(&walk, 0), UNWIND_GO_ON);
	ck_assert_uint_eq(walk.registers.at[UNWIND_REGISTER_BP], GARBAGE);
	start(code_of(METHOD, 28), 100, GARBAGE);
	ck_assert_int_eq(unwind_step(&walk, 0), UNWIND_GO_ON);
	ck_assert_uint_eq(walk.registers.at[UNWIND_REGISTER_BP], 77);
}
END_TEST

START_TEST(a_frame_that_is_being_left_is_known_by_the_instruction)
{
	static const char new_jdk[] = "\x48\x83\xc4\x20" "\x5d" "\x49\x3b\xa7\x48\x03\x00\x00" "\x0f\x87\x00\x00\x00\x00" "\xc3";
	static const char old_jdk[] = "\x48\x83\xc4\x20" "\x5d" "\x4d\x8b\x97\x08\x01\x00\x00" "\x41\x85\x02" "\xc3";

	make();
	put_code(METHOD, 100, new_jdk, sizeof(new_jdk) - 1);
	expect_at(100, FRAME_WORDS - 1);
	expect_at(104, 1);
	expect_at(105, 0);
	expect_at(112, 0);
	expect_at(118, 0);
	make();
	put_code(METHOD, 100, old_jdk, sizeof(old_jdk) - 1);
	expect_at(105, 0);
	expect_at(112, 0);
	expect_at(115, 0);
	make();
	put_code(METHOD, 100, "\x49\xba\x36\xb1\xec\x48\x49\x7f\x00\x00" "\x4d\x89\x97\x58\x03\x00\x00" "\xe9", 18);
	expect_at(100, 0);
	expect_at(110, 0);
	expect_at(117, 0);
}
END_TEST

START_TEST(what_handles_an_exception_has_its_return_address_in_rdx)
{
	make();
	put_code(METHOD, 0, "\x52\x48\x83\xec\x28\x48\x89\x6c\x24\x20", 10);
	put_u32(METHOD * SEGMENT + 16 + 20, UINT32_MAX); /* its frame is never said to be complete */
	stack_words[100 + FRAME_WORDS - 1] = NOT_JAVA;
	start(code_of(METHOD, 0), 100, GARBAGE);
	walk.registers.at[1] = code_of(LONG_METHOD, 3000);
	expect_callers();
	stack_words[100 + FRAME_WORDS - 1] = 0;
	expect_at(1, 0);
	expect_at(5, FRAME_WORDS - 1);
}
END_TEST

START_TEST(a_caller_is_amid_its_body_whatever_stands_there)
{
	make();
	put_code(LONG_METHOD, 3000, "\xc3\x5d", 2);
	put_callers(100 + FRAME_WORDS - 1);
	start(code_of(METHOD, 100), 100, GARBAGE);
	expect_callers();
}
END_TEST

START_TEST(a_stub_without_a_size_has_no_frame_or_keeps_frame_pointers)
{
	make();
	put_callers(100);
	start(code_of(STUBS, 20), 100, GARBAGE);
	expect_callers();
	make();
	put_callers(111);
	stack_words[110] = GARBAGE + 1;
	start(code_of(STUBS, 20), 100, stack_base + 110 * 8);
	expect_callers();
}
END_TEST

START_TEST(the_interpreter_notes_where_its_callers_stack_is)
{
	make();
	stack_words[109] = stack_base + 120 * 8;
	stack_words[110] = GARBAGE;
	stack_words[111] = code_of(LONG_METHOD, 3000);
	stack_words[120 + FRAME_WORDS - 1] = NOT_JAVA;
	start(heap_base + SEGMENT, 100, stack_base + 110 * 8);
	walk.registers.at[14] = stack_base + 118 * 8;
	expect_callers();
}
END_TEST

START_TEST(the_interpreter_has_no_frame_of_a_method_that_it_just_enters)
{
	/* The return address is on top, in rax, or on top again; r14 is of the method that called. */
	for (int i = 0; i < 2; i++) {
		make();
		put_code(INTERPRETER, 3 * SEGMENT, "\x4c\x8d\x74\xcc\xf8", 5);
		stack_words[100] = i ? 5 : heap_base + 2 * SEGMENT;
		stack_words[109] = stack_base + 120 * 8;
		stack_words[111] = code_of(LONG_METHOD, 3000);
		stack_words[120 + FRAME_WORDS - 1] = NOT_JAVA;
		start(i ? code_of(INTERPRETER, 3 * SEGMENT) : heap_base + 3 * SEGMENT, 100, stack_base + 110 * 8);
		walk.registers.at[14] = stack_base + 118 * 8;
		walk.registers.at[0] = i ? heap_base + 2 * SEGMENT : 5;
		unwind_user(&walk, 0, 3);
		ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_COMPLETE);
		ck_assert_uint_eq(walk.n, 4);
		ck_assert_uint_eq(walk.frames[1], heap_base + 2 * SEGMENT);
		ck_assert_uint_eq(walk.frames[2], code_of(LONG_METHOD, 3000));
	}
}
END_TEST

START_TEST(what_is_in_no_blob_is_taken_to_keep_frame_pointers)
{
	make();
	start(code_of(50, 0), 100, GARBAGE);
	unwind_user(&walk, 0, 3);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_NO_FRAME);
	ck_assert_uint_eq(walk.n, 1);
}
END_TEST

START_TEST(notes_that_lead_round_or_out_of_the_heap_end)
{
	make();
	notes[METHOD] = 0xfe;
	start(code_of(METHOD, 100), 100, GARBAGE);
	unwind_user(&walk, 0, 3);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_NO_FRAME);
	memset(notes, 1, sizeof(notes));
	start(code_of(60, 0), 100, GARBAGE);
	unwind_user(&walk, 0, 3);
	ck_assert_uint_eq(walk.verdict, SAMPLE_VERDICT_NO_FRAME);
}
END_TEST

START_TEST(a_frame_of_a_size_that_cannot_be_is_none)
{
	make();
	for (uint32_t i = 0; i < 64; i++) {
		put_u32(METHOD * SEGMENT + 16 + 28, UINT32_C(1) << (i & 31) | (i < 32 ? 0 : 0x80000000));
		start(code_of(METHOD, 100), 100, GARBAGE);
		unwind_user(&walk, 0, 3);
		ck_assert_uint_le(walk.n, 8);
	}
}
END_TEST

UNIT_TESTS("hotspot", a_compiled_method_has_a_frame_of_its_size, what_it_pushed_beside_its_frame_is_stepped_over,
		a_frame_that_is_being_made_is_known_by_the_instruction, rbp_that_is_not_saved_yet_is_the_callers,
		a_frame_that_is_being_left_is_known_by_the_instruction,
		what_handles_an_exception_has_its_return_address_in_rdx, a_caller_is_amid_its_body_whatever_stands_there,
		a_stub_without_a_size_has_no_frame_or_keeps_frame_pointers, the_interpreter_notes_where_its_callers_stack_is,
		the_interpreter_has_no_frame_of_a_method_that_it_just_enters, what_is_in_no_blob_is_taken_to_keep_frame_pointers,
		notes_that_lead_round_or_out_of_the_heap_end, a_frame_of_a_size_that_cannot_be_is_none)
