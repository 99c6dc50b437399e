/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
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

/* Two pages and 100 bytes, whose addresses are their numbers; how often it was asked. */
struct counted {
	unsigned int n;
	uint8_t add;
};

static int read_counted(void *userdata, uint64_t address, void *to, size_t size)
{
	struct counted *counted = userdata;

	counted->n++;
	if (address > 8292 || 8292 - address < size)
		return -EIO;
	for (size_t i = 0; i < size; i++)
		((uint8_t *)to)[i] = (uint8_t)(((address + i) * 37 >> 3) + counted->add);
	return 0;
}

static bool is_at(const uint8_t *bytes, size_t size, uint64_t address, uint8_t add)
{
	uint8_t expected[8292];

	read_counted(&(struct counted){ .add = add }, address, expected, size);
	return !memcmp(bytes, expected, size);
}

START_TEST(what_is_held_is_read_once)
{
	struct counted counted = { 0 };
	struct go_memory memory = { .read = read_counted, .userdata = &counted, .left_bytes = 100000 };
	struct go_memory_pages *pages = go_memory_pages_new();
	uint8_t bytes[8292];

	ck_assert_ptr_nonnull(pages);
	go_memory_hold(&memory, pages);
	for (uint64_t address = 0; address < 4096; address += 64) {
		ck_assert_int_eq(go_memory_read(&memory, address, bytes, 60), 0);
		ck_assert(is_at(bytes, 60, address, 0));
	}
	ck_assert_uint_eq(counted.n, 1);
	ck_assert_uint_eq(memory.left_bytes, 100000 - 64 * 60);
	/* Of two pages, one of them new. */
	ck_assert_int_eq(go_memory_read(&memory, 4000, bytes, 4096), 0);
	ck_assert(is_at(bytes, 4096, 4000, 0));
	ck_assert_uint_eq(counted.n, 2);
	/* It is as it was, until it is held anew; what is large, or no longer held, is read as it is. */
	counted.add = 1;
	ck_assert_int_eq(go_memory_read(&memory, 10, bytes, 8), 0);
	ck_assert(is_at(bytes, 8, 10, 0));
	ck_assert_int_eq(go_memory_read(&memory, 10, bytes, 8192), 0);
	ck_assert(is_at(bytes, 8192, 10, 1));
	go_memory_release(&memory);
	ck_assert_int_eq(go_memory_read(&memory, 10, bytes, 8), 0);
	ck_assert(is_at(bytes, 8, 10, 1));
	counted.add = 2;
	go_memory_hold(&memory, pages);
	ck_assert_int_eq(go_memory_read(&memory, 10, bytes, 8), 0);
	ck_assert(is_at(bytes, 8, 10, 2));
	go_memory_pages_free(pages);
}
END_TEST

START_TEST(what_lies_in_no_whole_page_is_read_nevertheless)
{
	struct counted counted = { 0 };
	struct go_memory memory = { .read = read_counted, .userdata = &counted, .left_bytes = 100000 };
	struct go_memory_pages *pages = go_memory_pages_new();
	uint8_t bytes[200];

	ck_assert_ptr_nonnull(pages);
	go_memory_hold(&memory, pages);
	ck_assert_int_eq(go_memory_read(&memory, 8192, bytes, 100), 0);
	ck_assert(is_at(bytes, 100, 8192, 0));
	ck_assert_int_eq(go_memory_read(&memory, 8100, bytes, 192), 0);
	ck_assert(is_at(bytes, 192, 8100, 0));
	ck_assert_int_eq(go_memory_read(&memory, 8200, bytes, 100), -EIO);
	ck_assert_int_eq(go_memory_read(&memory, UINT64_MAX - 3, bytes, 4), -EIO);
	ck_assert_int_eq(go_memory_read(&memory, UINT64_MAX - 3, bytes, 100), -EIO);
	ck_assert_int_eq(go_memory_read(&memory, 0, bytes, 0), 0);
	go_memory_pages_free(pages);
}
END_TEST

UNIT_TESTS("go_memory", what_is_held_is_read_once, what_lies_in_no_whole_page_is_read_nevertheless, only_so_much_is_read_in_all, what_cannot_be_read_counts_too, a_text_is_cut_to_its_room_and_ends,
	a_file_of_memory_is_read_where_the_address_says)
