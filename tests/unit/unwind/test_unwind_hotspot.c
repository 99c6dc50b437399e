/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "made_hotspot.h"
#include "main.h"
#include "unwind_hotspot.h"

static struct made made;
static size_t n_reads;

static int read_made(void *userdata, uint64_t address, void *to, size_t size)
{
	n_reads++;
	ck_assert_uint_le(address % 4096 + size, 4096);
	if (address < MADE_BASE || address + size > MADE_BASE + MADE_SIZE)
		return -EFAULT;
	memcpy(to, made.bytes + (address - MADE_BASE), size);
	return 0;
}

static int look(struct hotspot *ret)
{
	n_reads = 0;
	return unwind_hotspot_read(MADE_BASE, read_made, NULL, ret);
}

START_TEST(three_heaps_of_a_new_jdk_are_found)
{
	struct hotspot hotspot;

	for (int is_moved = 0; is_moved < 2; is_moved++) {
		made_hotspot(&made, false, is_moved);
		ck_assert_int_eq(look(&hotspot), 0);
		ck_assert_uint_eq(hotspot.state, HOTSPOT_KNOWN);
		ck_assert_uint_eq(hotspot.n_heaps, 3);
		for (uint64_t i = 0; i < 3; i++) {
			ck_assert_uint_eq(hotspot.heaps[i].low, MADE_HEAP + (i << 20));
			ck_assert_uint_eq(hotspot.heaps[i].high, MADE_HEAP + ((i + 1) << 20));
			ck_assert_uint_eq(hotspot.heaps[i].segments, MADE_HEAP + 0x10000000 + (i << 16));
		}
		ck_assert_uint_eq(hotspot.heaps[3].high, 0);
		ck_assert_uint_eq(hotspot.segment_shift, 7);
		ck_assert_uint_eq(hotspot.block_size, 16);
		ck_assert_uint_eq(hotspot.frame_size, 44);
		ck_assert_uint_eq(hotspot.frame_complete, 54);
		ck_assert_uint_eq(hotspot.is_frame_complete_short, 1);
		ck_assert_uint_eq(hotspot.code, 36);
		ck_assert_uint_eq(hotspot.is_code_relative, 1);
	}
}
END_TEST

START_TEST(the_one_heap_of_an_old_jdk_is_found)
{
	struct hotspot hotspot;

	made_hotspot(&made, true, true);
	ck_assert_int_eq(look(&hotspot), 0);
	ck_assert_uint_eq(hotspot.n_heaps, 1);
	ck_assert_uint_eq(hotspot.heaps[0].low, MADE_HEAP);
	ck_assert_uint_eq(hotspot.frame_complete, 20);
	ck_assert_uint_eq(hotspot.is_frame_complete_short, 0);
	ck_assert_uint_eq(hotspot.code, 32);
	ck_assert_uint_eq(hotspot.is_code_relative, 0);
}
END_TEST

START_TEST(the_interpreter_and_where_it_enters_methods_are_found)
{
	struct hotspot hotspot;
	const uint64_t start = MADE_BASE + MADE_OBJECTS + 0x800;

	made_hotspot(&made, false, true);
	ck_assert_int_eq(look(&hotspot), 0);
	ck_assert_uint_eq(hotspot.interpreter_start, start);
	ck_assert_uint_eq(hotspot.interpreter_end, start + 0x600);
	ck_assert_uint_eq(hotspot.entries_start, start + 0x80);
	ck_assert_uint_eq(hotspot.entries_end, start + 0x100);
}
END_TEST

START_TEST(what_is_not_made_yet_is_said_to_be)
{
	struct hotspot hotspot;

	made_hotspot(&made, false, true);
	made_u64(&made, MADE_OBJECTS + 8, 0);     /* the interpreter */
	ck_assert_int_eq(look(&hotspot), UNWIND_HOTSPOT_E_EARLY);
	made_hotspot(&made, false, true);
	made_u64(&made, MADE_OBJECTS, 0);         /* the array of heaps */
	ck_assert_int_eq(look(&hotspot), UNWIND_HOTSPOT_E_EARLY);
	made_hotspot(&made, false, true);
	made_u32(&made, MADE_OBJECTS + 0x200, 0); /* its length */
	ck_assert_int_eq(look(&hotspot), UNWIND_HOTSPOT_E_EARLY);
	made_hotspot(&made, false, true);
	made_u64(&made, MADE_OBJECTS + 0x300 + 48 + 16, 0);
	ck_assert_int_eq(look(&hotspot), UNWIND_HOTSPOT_E_EARLY);
}
END_TEST

START_TEST(numbers_that_cannot_be_are_refused)
{
	static const struct { size_t at; uint64_t value; } wrong[] = {
		{ MADE_OBJECTS + 0x300 + 8 + 16, MADE_HEAP + (2ULL << 32) },  /* begins behind its end */
		{ MADE_OBJECTS + 0x300 + 8 + 8, 0x8000000000000000 },         /* ends in the kernel */
		{ MADE_OBJECTS + 0x300 + 8 + 8, MADE_HEAP + (8ULL << 32) },   /* is larger than any */
		{ MADE_OBJECTS + 0x300 + 48 + 16, 0xffffffffffff0000 },       /* notes in the kernel */
		{ MADE_OBJECTS + 0x500 + 88, 40 },                            /* segments of 1 TiB */
		{ MADE_OBJECTS + 0x200, 5 },                                  /* more heaps than there are */
		{ MADE_OBJECTS + 0x108, 0xffffffffff000000 },                 /* the interpreter in the kernel */
		{ MADE_TYPES + 40 + 24, 7 },                                  /* HeapBlock */
		{ MADE_FIELDS + 6 * MADE_STRIDE + 32, 126 },                   /* a field of CodeBlob, in part beyond what is looked at */
	};
	struct hotspot hotspot;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		made_hotspot(&made, false, true);
		made_u64(&made, wrong[i].at, wrong[i].value);
		ck_assert_msg(look(&hotspot) == UNWIND_HOTSPOT_E_UNKNOWN, "wrong number %zu", i);
	}
}
END_TEST

START_TEST(memory_that_cannot_be_read_is_an_error)
{
	struct hotspot hotspot;

	made_hotspot(&made, false, true);
	made_u64(&made, MADE_OBJECTS, 0x1000);
	ck_assert_int_eq(look(&hotspot), -EFAULT);
	ck_assert_int_eq(unwind_hotspot_read(0x2000, read_made, NULL, &hotspot), -EFAULT);
	ck_assert_int_gt(unwind_hotspot_read(0, read_made, NULL, &hotspot), 0);
}
END_TEST

START_TEST(what_is_no_jvm_is_soon_known_to_be_none)
{
	struct hotspot hotspot;

	made_hotspot(&made, false, true);
	made.bytes[MADE_TEXT + 3] ^= 1;           /* the name of gHotSpotVMStructs */
	ck_assert_int_eq(look(&hotspot), UNWIND_HOTSPOT_E_UNKNOWN);
	made.bytes[0] = 0;
	ck_assert_int_eq(look(&hotspot), UNWIND_HOTSPOT_E_UNKNOWN);
	ck_assert_uint_le(n_reads, 1);
}
END_TEST

START_TEST(tables_and_chains_without_an_end_end)
{
	struct hotspot hotspot;

	/* Entries that lie in one another, for ever. */
	made_hotspot(&made, false, true);
	for (size_t i = 2; i < 5000; i++)
		made_u64(&made, MADE_FIELDS + 8 * (i % 300), MADE_BASE + MADE_TEXT + 1);
	look(&hotspot);
	ck_assert_uint_le(n_reads, 20000);
	made_hotspot(&made, false, true);
	memset(made.bytes + MADE_HASH + 28, 0, 256);
	look(&hotspot);
	ck_assert_uint_le(n_reads, 20000);
}
END_TEST

UNIT_TESTS("unwind_hotspot", three_heaps_of_a_new_jdk_are_found, the_one_heap_of_an_old_jdk_is_found,
		the_interpreter_and_where_it_enters_methods_are_found, what_is_not_made_yet_is_said_to_be,
		numbers_that_cannot_be_are_refused, memory_that_cannot_be_read_is_an_error,
		what_is_no_jvm_is_soon_known_to_be_none, tables_and_chains_without_an_end_end)
