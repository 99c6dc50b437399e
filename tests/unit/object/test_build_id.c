/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <string.h>

#include "build_id.h"
#include "main.h"

/* A note at `at`; returns its end. */
static size_t note(uint8_t *at, size_t used, uint32_t type, const char *name, const void *data, uint32_t size, uint32_t align)
{
	Elf64_Nhdr header = { .n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = size, .n_type = type };

	memcpy(at + used, &header, sizeof(header));
	used += sizeof(header);
	memcpy(at + used, name, header.n_namesz);
	used += (header.n_namesz + align - 1) / align * align;
	memcpy(at + used, data, size);
	return used + (size + align - 1) / align * align;
}

static const uint8_t bytes_20[20] = { 0xab, 0xcd, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0xf0 };

START_TEST(the_note_is_found_among_others)
{
	uint8_t notes[256] = { 0 };
	struct build_id id;
	size_t n = note(notes, 0, NT_GNU_ABI_TAG, "GNU", "0123456789abcdef", 16, 4);

	n = note(notes, n, NT_GNU_BUILD_ID, "Go", "not it", 6, 4);
	n = note(notes, n, NT_GNU_BUILD_ID, "GNU", bytes_20, 20, 4);
	ck_assert(build_id_from_notes(reader_of(notes, n), 4, &id));
	ck_assert_uint_eq(id.size, 20);
	ck_assert_mem_eq(id.bytes, bytes_20, 20);
}
END_TEST

START_TEST(notes_that_end_too_early_have_none)
{
	uint8_t notes[256] = { 0 };
	struct build_id id = { .size = 7 };
	size_t n = note(notes, 0, NT_GNU_BUILD_ID, "GNU", bytes_20, 20, 4);

	for (size_t i = 0; i < n; i++)
		ck_assert(!build_id_from_notes(reader_of(notes, i), 4, &id));
	ck_assert_uint_eq(id.size, 7);
	memset(notes, 0xff, sizeof(notes));
	ck_assert(!build_id_from_notes(reader_of(notes, sizeof(notes)), 4, &id));
}
END_TEST

START_TEST(an_id_larger_than_the_kernels_limit_is_none)
{
	uint8_t notes[256] = { 0 }, large[21] = { 1 };
	struct build_id id;

	ck_assert(!build_id_from_notes(reader_of(notes, note(notes, 0, NT_GNU_BUILD_ID, "GNU", large, 21, 4)), 4, &id));
	ck_assert(!build_id_from_notes(reader_of(notes, note(notes, 0, NT_GNU_BUILD_ID, "GNU", large, 0, 4)), 4, &id));
}
END_TEST

START_TEST(unknown_ids_are_never_equal)
{
	struct build_id a = { 0 }, b = { 0 };

	ck_assert(!build_id_equal(&a, &b));
	a = b = (struct build_id){ .size = 2, .bytes = { 1, 2 } };
	ck_assert(build_id_equal(&a, &b));
	b.bytes[1] = 3;
	ck_assert(!build_id_equal(&a, &b));
	/* What crossed a process boundary may lie about its size. */
	a = b = (struct build_id){ .size = 255 };
	ck_assert(!build_id_equal(&a, &b));
}
END_TEST

START_TEST(an_id_is_written_in_lower_case_digits)
{
	struct build_id id = { .size = 3, .bytes = { 0xab, 0x0c, 0xff } };
	char hex[BUILD_ID_HEX_SIZE];

	ck_assert_str_eq(build_id_to_hex(&id, hex), "ab0cff");
	id.size = 0;
	ck_assert_str_eq(build_id_to_hex(&id, hex), "");
	id.size = 200;
	ck_assert_str_eq(build_id_to_hex(&id, hex), "");
}
END_TEST

UNIT_TESTS("build_id", the_note_is_found_among_others, notes_that_end_too_early_have_none, an_id_larger_than_the_kernels_limit_is_none,
	   unknown_ids_are_never_equal, an_id_is_written_in_lower_case_digits)
