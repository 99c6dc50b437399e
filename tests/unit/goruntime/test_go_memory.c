/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../main.h"
#include "go_memory.h"

static int read_text(void *userdata, uint64_t address, void *to, size_t size)
{
	const char *text = userdata;

	if (address > strlen(text) || strlen(text) - address < size)
		return -EIO;
	memcpy(to, text + address, size);
	return 0;
}

START_TEST(only_so_much_is_read_in_all)
{
	struct go_memory memory = { .read = read_text, .userdata = (void *)"0123456789", .left_bytes = 12 };
	uint64_t value;
	uint32_t small;

	ck_assert_int_eq(go_memory_u64(&memory, 0, &value), 0);
	ck_assert_int_eq(memcmp(&value, "01234567", 8), 0);
	ck_assert_int_eq(go_memory_u64(&memory, 0, &value), -E2BIG);
	ck_assert_uint_eq(memory.left_bytes, 4);
	ck_assert_int_eq(go_memory_u32(&memory, 6, &small), 0);
	ck_assert_int_eq(memcmp(&small, "6789", 4), 0);
	ck_assert_int_eq(go_memory_u32(&memory, 0, &small), -E2BIG);
}
END_TEST

START_TEST(what_cannot_be_read_counts_too)
{
	struct go_memory memory = { .read = read_text, .userdata = (void *)"0123456789", .left_bytes = 12 };
	uint64_t value;

	ck_assert_int_eq(go_memory_u64(&memory, 5, &value), -EIO);
	ck_assert_uint_eq(memory.left_bytes, 4);
}
END_TEST

START_TEST(a_text_is_cut_to_its_room_and_ends)
{
	struct go_memory memory = { .read = read_text, .userdata = (void *)"0123456789", .left_bytes = 1000 };
	char text[5];

	ck_assert_int_eq(go_memory_string(&memory, 2, 3, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "234");
	ck_assert_int_eq(go_memory_string(&memory, 2, 8, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "2345");
	/* Nothing is asked of the memory for an empty one: its address may be anything. */
	ck_assert_int_eq(go_memory_string(&memory, UINT64_MAX, 0, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "");
	ck_assert_int_eq(go_memory_string(&memory, 0, GO_MEMORY_MAX_STRING + 1, text, sizeof(text)), -EINVAL);
	ck_assert_int_eq(go_memory_string(&memory, 9, 3, text, sizeof(text)), -EIO);
}
END_TEST

START_TEST(a_file_of_memory_is_read_where_the_address_says)
{
	static const char here[] = "what lies here";
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	struct go_memory memory = go_memory_of_file(&fd, 1000);
	char text[sizeof(here)];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(go_memory_read(&memory, (uintptr_t)here, text, sizeof(text)), 0);
	ck_assert_str_eq(text, here);
	ck_assert_int_lt(go_memory_read(&memory, 16, text, sizeof(text)), 0);
	ck_assert_int_lt(go_memory_read(&memory, UINT64_MAX - 4, text, sizeof(text)), 0);
	ck_assert_int_lt(go_memory_read(&memory, INT64_MAX - 4, text, sizeof(text)), 0);
	close(fd);
}
END_TEST

UNIT_TESTS("go_memory", only_so_much_is_read_in_all, what_cannot_be_read_counts_too, a_text_is_cut_to_its_room_and_ends,
	a_file_of_memory_is_read_where_the_address_says)
