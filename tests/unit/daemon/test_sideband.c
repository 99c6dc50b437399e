/* SPDX-License-Identifier: Apache-2.0 */
#include "sideband.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "main.h"
#include "vec.h"

/* Records as include/uapi/linux/perf_event.h describes them. */
struct record {
	VEC(uint8_t) bytes;
};

static void put(struct record *record, const void *data, size_t size)
{
	ck_assert_int_eq(vec_append(&record->bytes, (const uint8_t *)data, size), 0);
}

static void put_u32(struct record *record, uint32_t value)
{
	put(record, &value, sizeof(value));
}

static void put_u64(struct record *record, uint64_t value)
{
	put(record, &value, sizeof(value));
}

static void put_text(struct record *record, const char *text)
{
	static const char zeroes[8];
	size_t size = strlen(text) + 1;

	put(record, text, size);
	put(record, zeroes, (8 - size % 8) % 8);
}

static struct record begin(uint32_t type, uint16_t misc)
{
	struct record record = { 0 };
	struct perf_event_header header = { .type = type, .misc = misc };

	put(&record, &header, sizeof(header));
	return record;
}

/* The trailer of attr.sample_id_all, and the size. */
static void finish(struct record *record, uint64_t time)
{
	uint16_t size;

	put_u32(record, 11);
	put_u32(record, 12);
	put_u64(record, time);
	size = record->bytes.n;
	memcpy(record->bytes.at + offsetof(struct perf_event_header, size), &size, sizeof(size));
}

static struct record mapping(uint16_t misc, uint32_t protection, const char *path)
{
	struct record record = begin(PERF_RECORD_MMAP2, misc);

	put_u32(&record, 11);
	put_u32(&record, 12);
	put_u64(&record, 0x7f0000001000);
	put_u64(&record, 0x2000);
	put_u64(&record, 0x5000);
	if (misc & PERF_RECORD_MISC_MMAP_BUILD_ID) {
		static const uint8_t id[24] = { 20, 0, 0, 0, 1, 2, 3, [23] = 20 };

		put(&record, id, sizeof(id));
	} else {
		put_u32(&record, 254);
		put_u32(&record, 1);
		put_u64(&record, 4711);
		put_u64(&record, 99);
	}
	put_u32(&record, protection);
	put_u32(&record, MAP_PRIVATE);
	put_text(&record, path);
	finish(&record, 123456789);
	return record;
}

START_TEST(a_mapping_has_its_place_its_file_and_its_time)
{
	struct record record = mapping(0, PROT_READ | PROT_EXEC, "/usr/lib/libx.so");
	struct sideband_record parsed;

	ck_assert_int_eq(sideband_parse(record.bytes.at, record.bytes.n, &parsed), 0);
	ck_assert_int_eq(parsed.kind, SIDEBAND_MAPPING);
	ck_assert_uint_eq(parsed.pid, 11);
	ck_assert_uint_eq(parsed.tid, 12);
	ck_assert_uint_eq(parsed.start, 0x7f0000001000);
	ck_assert_uint_eq(parsed.end, 0x7f0000003000);
	ck_assert_uint_eq(parsed.file_offset, 0x5000);
	ck_assert_uint_eq(parsed.device, makedev(254, 1));
	ck_assert_uint_eq(parsed.inode, 4711);
	ck_assert_uint_eq(parsed.build_id.size, 0);
	ck_assert_uint_eq(parsed.time_nsec, 123456789);
	ck_assert_str_eq(parsed.name, "/usr/lib/libx.so");
	vec_deinit(&record.bytes);
}
END_TEST

START_TEST(a_mapping_may_have_a_build_id_instead_of_an_inode)
{
	struct record record = mapping(PERF_RECORD_MISC_MMAP_BUILD_ID, PROT_EXEC, "/x");
	struct sideband_record parsed;

	ck_assert_int_eq(sideband_parse(record.bytes.at, record.bytes.n, &parsed), 0);
	ck_assert_uint_eq(parsed.build_id.size, 20);
	ck_assert_uint_eq(parsed.build_id.bytes[0], 1);
	ck_assert_uint_eq(parsed.build_id.bytes[19], 20);
	ck_assert_uint_eq(parsed.inode, 0);
	/* A size that none can have is none. */
	record.bytes.at[40] = 21;
	ck_assert_int_eq(sideband_parse(record.bytes.at, record.bytes.n, &parsed), 0);
	ck_assert_uint_eq(parsed.build_id.size, 0);
	vec_deinit(&record.bytes);
}
END_TEST

START_TEST(a_mapping_without_code_is_of_no_interest)
{
	struct record record = mapping(0, PROT_READ, "/x");
	struct sideband_record parsed;

	ck_assert_int_eq(sideband_parse(record.bytes.at, record.bytes.n, &parsed), 0);
	ck_assert_int_eq(parsed.kind, SIDEBAND_OTHER);
	vec_deinit(&record.bytes);
}
END_TEST

START_TEST(a_name_that_comes_with_an_exec_says_so)
{
	for (int is_exec = 0; is_exec < 2; is_exec++) {
		struct record record = begin(PERF_RECORD_COMM, is_exec ? PERF_RECORD_MISC_COMM_EXEC : 0);
		struct sideband_record parsed;

		put_u32(&record, 5);
		put_u32(&record, 6);
		put_text(&record, "worker");
		finish(&record, 7);
		ck_assert_int_eq(sideband_parse(record.bytes.at, record.bytes.n, &parsed), 0);
		ck_assert_int_eq(parsed.kind, SIDEBAND_COMM);
		ck_assert_int_eq(parsed.is_exec, is_exec);
		ck_assert_uint_eq(parsed.pid, 5);
		ck_assert_uint_eq(parsed.tid, 6);
		ck_assert_uint_eq(parsed.time_nsec, 7);
		ck_assert_str_eq(parsed.name, "worker");
		vec_deinit(&record.bytes);
	}
}
END_TEST

START_TEST(losses_are_told)
{
	struct record record = begin(PERF_RECORD_LOST, 0);
	struct sideband_record parsed;

	put_u64(&record, 1);
	put_u64(&record, 42);
	finish(&record, 7);
	ck_assert_int_eq(sideband_parse(record.bytes.at, record.bytes.n, &parsed), 0);
	ck_assert_int_eq(parsed.kind, SIDEBAND_LOST);
	ck_assert_uint_eq(parsed.n_lost, 42);
	vec_deinit(&record.bytes);
}
END_TEST

START_TEST(a_record_cut_short_anywhere_is_refused)
{
	struct record record = mapping(0, PROT_EXEC, "/usr/lib/libx.so");
	struct sideband_record parsed;

	for (size_t size = 0; size < record.bytes.n; size++) {
		/* Its own word for its size is true: the trailer is taken from what is left. */
		uint8_t *copy = malloc(size ? size : 1);
		uint16_t stated = size;

		memcpy(copy, record.bytes.at, size);
		if (size >= sizeof(struct perf_event_header))
			memcpy(copy + offsetof(struct perf_event_header, size), &stated, sizeof(stated));
		/* 16 bytes of the path may stand for the trailer; the path must end before them all the same. */
		if (sideband_parse(copy, size, &parsed) == 0)
			ck_assert_uint_gt(size, 72 + strlen("/usr/lib/libx.so"));
		free(copy);
	}
	/* And one that does not say its size. */
	ck_assert_int_eq(sideband_parse(record.bytes.at, record.bytes.n - 1, &parsed), -EBADMSG);
	vec_deinit(&record.bytes);
}
END_TEST

START_TEST(a_mapping_around_the_end_of_memory_is_refused)
{
	struct record record = mapping(0, PROT_EXEC, "/x");
	struct sideband_record parsed;
	uint64_t start = UINT64_MAX - 0x1000;

	memcpy(record.bytes.at + 16, &start, sizeof(start));
	ck_assert_int_eq(sideband_parse(record.bytes.at, record.bytes.n, &parsed), -EBADMSG);
	vec_deinit(&record.bytes);
}
END_TEST

UNIT_TESTS("sideband", a_mapping_has_its_place_its_file_and_its_time, a_mapping_may_have_a_build_id_instead_of_an_inode,
	a_mapping_without_code_is_of_no_interest, a_name_that_comes_with_an_exec_says_so, losses_are_told,
	a_record_cut_short_anywhere_is_refused, a_mapping_around_the_end_of_memory_is_refused)
