/* SPDX-License-Identifier: Apache-2.0 */
#include "address_space.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "main.h"

static struct binaries *binaries;
static struct binaries_file *file;
static int proc;

/* A file that cannot be had counts its references like any other. */
static void begin(void)
{
	const struct binaries_query query = { .path = "/nowhere", .inode = 7, .device = 1 };

	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(binaries_new(proc, 4, &binaries), 0);
	ck_assert_int_eq(binaries_get(binaries, &query, &file), 0);
	ck_assert_uint_eq(binaries_stats(binaries).unavailable, 1);
}

static void end(void)
{
	binaries_file_unref(binaries, file);
	/* All references were given back. */
	ck_assert_uint_eq(binaries_stats(binaries).n_files, 0);
	binaries_free(binaries);
	close(proc);
}

static void add(struct address_space **space, uint64_t start, uint64_t end_, uint64_t offset, enum image_mapping_kind kind)
{
	struct address_range range = { .start = start, .end = end_, .file_offset = offset, .kind = kind };

	if (kind == IMAGE_MAPPING_FILE)
		range.file = binaries_file_ref(file);
	ck_assert_int_eq(address_space_add_take(binaries, space, &range), 0);
}

static void assert_range(const struct address_space *space, size_t i, uint64_t start, uint64_t end_, uint64_t offset)
{
	ck_assert_uint_lt(i, space->ranges.n);
	ck_assert_uint_eq(space->ranges.at[i].start, start);
	ck_assert_uint_eq(space->ranges.at[i].end, end_);
	ck_assert_uint_eq(space->ranges.at[i].file_offset, offset);
}

START_TEST(a_mapping_over_another_leaves_what_sticks_out)
{
	struct address_space *space = address_space_new();

	begin();
	add(&space, 0x1000, 0x9000, 0x10000, IMAGE_MAPPING_FILE);
	add(&space, 0x3000, 0x5000, 0, IMAGE_MAPPING_FILE);
	ck_assert_uint_eq(space->ranges.n, 3);
	assert_range(space, 0, 0x1000, 0x3000, 0x10000);
	assert_range(space, 1, 0x3000, 0x5000, 0);
	assert_range(space, 2, 0x5000, 0x9000, 0x14000);
	/* Over two borders at once, and over all. */
	add(&space, 0x2000, 0x6000, 0x100, IMAGE_MAPPING_FILE);
	ck_assert_uint_eq(space->ranges.n, 3);
	assert_range(space, 0, 0x1000, 0x2000, 0x10000);
	assert_range(space, 1, 0x2000, 0x6000, 0x100);
	assert_range(space, 2, 0x6000, 0x9000, 0x15000);
	add(&space, 0, 0x10000, 0, IMAGE_MAPPING_FILE);
	ck_assert_uint_eq(space->ranges.n, 1);
	/* The same again changes nothing. */
	add(&space, 0, 0x10000, 0, IMAGE_MAPPING_FILE);
	ck_assert_uint_eq(space->ranges.n, 1);
	address_space_unref(binaries, space);
	end();
}
END_TEST

START_TEST(memory_of_a_jit_is_one_range_however_it_grows)
{
	struct address_space *space = address_space_new();

	begin();
	for (uint64_t page = 0; page < 1000; page += 2)
		add(&space, 0x100000 + page * 0x1000, 0x101000 + page * 0x1000, 0, IMAGE_MAPPING_ANONYMOUS);
	ck_assert_uint_eq(space->ranges.n, 500);
	for (uint64_t page = 1; page < 1000; page += 2)
		add(&space, 0x100000 + page * 0x1000, 0x101000 + page * 0x1000, 0, IMAGE_MAPPING_ANONYMOUS);
	ck_assert_uint_eq(space->ranges.n, 1);
	assert_range(space, 0, 0x100000, 0x100000 + 1000 * 0x1000, 0);
	/* A page of it written anew. */
	add(&space, 0x105000, 0x106000, 0, IMAGE_MAPPING_ANONYMOUS);
	ck_assert_uint_eq(space->ranges.n, 1);
	assert_range(space, 0, 0x100000, 0x100000 + 1000 * 0x1000, 0);
	address_space_unref(binaries, space);
	end();
}
END_TEST

START_TEST(a_fork_shares_until_one_of_them_maps)
{
	struct address_space *parent = address_space_new(), *child;

	begin();
	add(&parent, 0x1000, 0x2000, 0, IMAGE_MAPPING_FILE);
	child = address_space_ref(parent);
	add(&child, 0x1000, 0x2000, 0, IMAGE_MAPPING_FILE);
	ck_assert_ptr_eq(child, parent);
	add(&child, 0x5000, 0x6000, 0, IMAGE_MAPPING_FILE);
	ck_assert_ptr_ne(child, parent);
	ck_assert_uint_eq(parent->ranges.n, 1);
	ck_assert_uint_eq(child->ranges.n, 2);
	address_space_unref(binaries, parent);
	address_space_unref(binaries, child);
	end();
}
END_TEST

/* What is where, by the simplest means: a number for each of 64 pages. */
START_TEST(it_is_what_a_table_of_pages_says)
{
	enum { PAGES = 64 };
	unsigned int seed = 1;

	begin();
	for (int round = 0; round < 2000; round++) {
		struct address_space *space = address_space_new();
		uint64_t offsets[PAGES] = { 0 };
		bool is_mapped[PAGES] = { false };

		for (int step = 0; step < 12; step++) {
			uint64_t a = rand_r(&seed) % PAGES, b = a + 1 + rand_r(&seed) % (PAGES - a);
			uint64_t offset = (rand_r(&seed) % 1000) << 20;

			add(&space, a << 12, b << 12, offset, IMAGE_MAPPING_FILE);
			for (uint64_t page = a; page < b; page++) {
				is_mapped[page] = true;
				offsets[page] = offset + ((page - a) << 12);
			}
		}
		for (uint64_t page = 0, i = 0; page < PAGES; page++) {
			while (i < space->ranges.n && space->ranges.at[i].end <= page << 12)
				i++;
			if (i > 0 && i < space->ranges.n)
				ck_assert_uint_le(space->ranges.at[i - 1].end, space->ranges.at[i].start);
			ck_assert_int_eq(i < space->ranges.n && space->ranges.at[i].start <= page << 12, is_mapped[page]);
			if (is_mapped[page])
				ck_assert_uint_eq(space->ranges.at[i].file_offset + (page << 12) - space->ranges.at[i].start,
						offsets[page]);
		}
		address_space_unref(binaries, space);
	}
	end();
}
END_TEST

UNIT_TESTS("address_space", a_mapping_over_another_leaves_what_sticks_out, memory_of_a_jit_is_one_range_however_it_grows,
	a_fork_shares_until_one_of_them_maps, it_is_what_a_table_of_pages_says)
