/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../main.h"
#include "names_cache.h"
#include "own_program.h"

void known_one(void);
void known_two(void);
__attribute__((noinline)) void known_one(void)
{
	__asm__ volatile("nop; nop");
}
__attribute__((noinline)) void known_two(void)
{
	__asm__ volatile("nop; nop; nop");
}

static struct symbolizer_process *symbolizer;
static struct names_cache *cache;
static int own_fd;

static void start(size_t limit_bytes)
{
	const struct symbolizer_options options = { 0 };

	own_fd = own_open();
	ck_assert_int_eq(symbolizer_process_new(&options, &symbolizer), 0);
	ck_assert_int_eq(names_cache_new(symbolizer, limit_bytes, &cache), 0);
}

static void finish(void)
{
	names_cache_free(cache);
	symbolizer_process_free(symbolizer);
	close(own_fd);
}

static uint32_t source(int fd, uint64_t serial, enum symbol_source_kind kind)
{
	const struct symbol_source s = { .kind = kind, .fd = fd, .path = "/some/program" };
	uint32_t number;

	ck_assert_int_eq(names_cache_source(cache, &s, serial, &number), 0);
	return number;
}

static const char *name(uint32_t number, uint64_t offset)
{
	struct names_cache_name n;

	names_cache_get(cache, number, offset, &n);
	return n.n_frames ? strtab_get(n.strings, n.frames[0].name, NULL) : "";
}

/* One window that asks for one place of this program, as source `serial`. */
static void window(uint64_t serial, void (*function)(void), const char *expected)
{
	uint32_t number = source(own_fd, serial, SYMBOL_SOURCE_ELF);

	ck_assert_int_eq(names_cache_want(cache, number, own_offset(function)), 0);
	ck_assert_int_eq(names_cache_resolve(cache), 0);
	ck_assert_str_eq(name(number, own_offset(function)), expected);
	names_cache_end_window(cache);
}

START_TEST(each_place_is_asked_about_once)
{
	uint32_t number;

	start(1 << 20);
	number = source(own_fd, 1, SYMBOL_SOURCE_ELF);
	ck_assert_int_eq(names_cache_want(cache, number, own_offset(known_one)), 0);
	ck_assert_int_eq(names_cache_want(cache, number, own_offset(known_one)), 0);
	ck_assert_int_eq(names_cache_resolve(cache), 0);
	names_cache_end_window(cache);
	window(1, known_one, "known_one");
	ck_assert_uint_eq(names_cache_stats(cache).misses, 1);
	ck_assert_uint_eq(names_cache_stats(cache).hits, 2);
	ck_assert_uint_eq(symbolizer_process_stats(symbolizer).locations, 1);
	finish();
}
END_TEST

START_TEST(a_later_answer_joins_the_earlier_one)
{
	uint32_t number;

	start(1 << 20);
	window(1, known_one, "known_one");
	number = source(own_fd, 1, SYMBOL_SOURCE_ELF);
	names_cache_want(cache, number, own_offset(known_two));
	names_cache_want(cache, number, own_offset(known_one));
	ck_assert_int_eq(names_cache_resolve(cache), 0);
	ck_assert_str_eq(name(number, own_offset(known_one)), "known_one");
	ck_assert_str_eq(name(number, own_offset(known_two)), "known_two");
	ck_assert_ptr_nonnull(names_cache_tables(cache, number));
	ck_assert(names_cache_tables(cache, number)->has_functions);
	names_cache_end_window(cache);
	ck_assert_uint_eq(symbolizer_process_stats(symbolizer).locations, 2);
	finish();
}
END_TEST

START_TEST(beyond_its_bound_it_forgets_what_was_used_longest_ago)
{
	size_t one;

	start(1 << 20);
	window(1, known_one, "known_one");
	one = names_cache_stats(cache).bytes;
	ck_assert_uint_gt(one, 0);
	finish();
	start(one + one / 2);
	window(1, known_one, "known_one");
	window(2, known_one, "known_one");
	ck_assert_uint_eq(names_cache_stats(cache).evicted, 1);
	ck_assert_uint_eq(names_cache_stats(cache).bytes, one);
	window(2, known_one, "known_one");
	ck_assert_uint_eq(names_cache_stats(cache).hits, 1);
	window(1, known_one, "known_one");
	ck_assert_uint_eq(names_cache_stats(cache).misses, 3);
	finish();
}
END_TEST

START_TEST(with_room_for_nothing_a_window_is_named_all_the_same)
{
	start(1);
	for (unsigned i = 0; i < 3; i++)
		window(1, known_one, "known_one");
	ck_assert_uint_eq(names_cache_stats(cache).bytes, 0);
	ck_assert_uint_eq(names_cache_stats(cache).evicted, 3);
	finish();
}
END_TEST

START_TEST(many_files_over_many_windows_stay_within_the_bound)
{
	const size_t limit = 64 << 10;

	start(limit);
	for (uint64_t serial = 1; serial <= 200; serial++) {
		window(serial, known_one, "known_one");
		ck_assert_uint_le(names_cache_stats(cache).bytes, limit);
	}
	finish();
}
END_TEST

START_TEST(what_is_cleared_is_asked_about_again)
{
	start(1 << 20);
	window(1, known_one, "known_one");
	ck_assert_uint_gt(names_cache_stats(cache).bytes, 0);
	names_cache_clear(cache);
	ck_assert_uint_eq(names_cache_stats(cache).bytes, 0);
	ck_assert_uint_eq(names_cache_stats(cache).misses, 1);
	window(1, known_one, "known_one");
	ck_assert_uint_eq(names_cache_stats(cache).misses, 2);
	finish();
}
END_TEST

static const char *jit_name(const char *map)
{
	static char copy[64];
	int fd = memfd_create("map", MFD_CLOEXEC);
	uint32_t number;

	ck_assert_int_eq(write(fd, map, strlen(map)), (ssize_t)strlen(map));
	number = source(fd, 1, SYMBOL_SOURCE_PERF_MAP);
	ck_assert_int_eq(names_cache_want(cache, number, 0x7010), 0);
	ck_assert_int_eq(names_cache_resolve(cache), 0);
	snprintf(copy, sizeof(copy), "%s", name(number, 0x7010));
	names_cache_end_window(cache);
	close(fd);
	return copy;
}

START_TEST(a_perf_map_is_forgotten_with_its_window)
{
	start(1 << 20);
	ck_assert_str_eq(jit_name("7000 100 before\n"), "before");
	ck_assert_uint_eq(names_cache_stats(cache).bytes, 0);
	ck_assert_str_eq(jit_name("7000 100 after\n"), "after");
	finish();
}
END_TEST

START_TEST(a_file_without_an_answer_does_not_hurt_the_others)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	start(1 << 20);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t bad = source(fd, 7, SYMBOL_SOURCE_ELF), good = source(own_fd, 1, SYMBOL_SOURCE_ELF);
		struct names_cache_name n;

		names_cache_want(cache, bad, 0x10);
		names_cache_want(cache, good, own_offset(known_one));
		ck_assert_int_eq(names_cache_resolve(cache), 0);
		ck_assert_str_eq(name(good, own_offset(known_one)), "known_one");
		names_cache_get(cache, bad, 0x10, &n);
		ck_assert(!n.known);
		ck_assert_uint_eq(n.address, 0x10);
		ck_assert_ptr_null(names_cache_tables(cache, bad));
		names_cache_end_window(cache);
	}
	/* It is asked about again: only the symbolizer knows what is hopeless. */
	ck_assert_uint_eq(names_cache_stats(cache).misses, 3);
	ck_assert_uint_eq(names_cache_stats(cache).hits, 1);
	close(fd);
	finish();
}
END_TEST

START_TEST(a_descriptor_that_is_none_is_a_failure_of_that_file_alone)
{
	uint32_t bad, good;

	start(1 << 20);
	bad = source(1000, 7, SYMBOL_SOURCE_ELF);
	good = source(own_fd, 1, SYMBOL_SOURCE_ELF);
	names_cache_want(cache, bad, 0x10);
	names_cache_want(cache, good, own_offset(known_one));
	names_cache_resolve(cache);
	ck_assert_str_eq(name(bad, 0x10), "");
	ck_assert_str_eq(name(good, own_offset(known_one)), "known_one");
	names_cache_end_window(cache);
	finish();
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		each_place_is_asked_about_once, a_later_answer_joins_the_earlier_one,
		beyond_its_bound_it_forgets_what_was_used_longest_ago, with_room_for_nothing_a_window_is_named_all_the_same,
		many_files_over_many_windows_stay_within_the_bound, a_perf_map_is_forgotten_with_its_window,
		a_file_without_an_answer_does_not_hurt_the_others, a_descriptor_that_is_none_is_a_failure_of_that_file_alone,
		what_is_cleared_is_asked_about_again,
	};

	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	return unit_main("names_cache", tests, sizeof(tests) / sizeof(tests[0]));
}
