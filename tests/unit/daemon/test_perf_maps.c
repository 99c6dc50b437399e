/* SPDX-License-Identifier: Apache-2.0 */
#include "perf_maps.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "main.h"

static struct perf_maps *maps;
static char directory[64];
static struct perf_maps_query query;

static void begin(size_t max_open)
{
	snprintf(directory, sizeof(directory), "/tmp/test-perf-maps-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	query = (struct perf_maps_query){ .namespace_pid = 12, .has_uid = true, .uid = geteuid() };
	query.root = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(mkdirat(query.root, "tmp", 0755), 0);
	ck_assert_int_eq(perf_maps_new(-1, max_open, &maps), 0);
}

static void end(void)
{
	ck_assert_int_eq(unlinkat(query.root, "tmp", AT_REMOVEDIR), 0);
	ck_assert_int_eq(rmdir(directory), 0);
	close(query.root);
	maps = perf_maps_free(maps);
}

static void write_map(const char *path, const char *text)
{
	int fd = openat(query.root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* What one who is given the map reads; NULL: he is given none. */
static const char *text_of(struct perf_map *map)
{
	static char text[64];
	int fd = perf_maps_duplicate(maps, map);
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	text[MAX(n, 0)] = '\0';
	return text;
}

START_TEST(a_map_is_kept_after_its_file_is_gone)
{
	struct perf_map map;

	begin(0);
	perf_map_init(&map);
	perf_maps_look(maps, &map, &query);
	ck_assert_ptr_null(text_of(&map));
	write_map("tmp/perf-12.map", "first");
	perf_maps_look(maps, &map, &query);
	ck_assert_str_eq(text_of(&map), "first");
	unlinkat(query.root, "tmp/perf-12.map", 0);
	perf_maps_look(maps, &map, &query);
	ck_assert_str_eq(text_of(&map), "first");
	/* Another file under its name is the map from now on. */
	write_map("tmp/perf-12.map", "second");
	ck_assert_str_eq(text_of(&map), "first");
	perf_maps_look(maps, &map, &query);
	ck_assert_str_eq(text_of(&map), "second");
	unlinkat(query.root, "tmp/perf-12.map", 0);
	ck_assert_uint_eq(perf_maps_refused(maps), 0);
	perf_maps_forget(maps, &map);
	ck_assert_ptr_null(text_of(&map));
	end();
}
END_TEST

START_TEST(what_is_no_plain_file_of_the_process_is_refused_and_counted_once)
{
	struct perf_map map;

	begin(0);
	perf_map_init(&map);
	ck_assert_int_eq(mkfifoat(query.root, "tmp/perf-12.map", 0644), 0);
	perf_maps_look(maps, &map, &query);
	perf_maps_look(maps, &map, &query);
	ck_assert_ptr_null(text_of(&map));
	ck_assert_uint_eq(perf_maps_refused(maps), 1);
	unlinkat(query.root, "tmp/perf-12.map", 0);
	write_map("tmp/other", "other");
	ck_assert_int_eq(symlinkat("other", query.root, "tmp/perf-12.map"), 0);
	perf_maps_look(maps, &map, &query);
	ck_assert_ptr_null(text_of(&map));
	ck_assert_uint_eq(perf_maps_refused(maps), 2);
	unlinkat(query.root, "tmp/perf-12.map", 0);
	unlinkat(query.root, "tmp/other", 0);
	/* Whose process it is must be known. */
	write_map("tmp/perf-12.map", "map");
	query.has_uid = false;
	perf_maps_look(maps, &map, &query);
	ck_assert_ptr_null(text_of(&map));
	ck_assert_uint_eq(perf_maps_refused(maps), 3);
	query.has_uid = true;
	perf_maps_look(maps, &map, &query);
	ck_assert_str_eq(text_of(&map), "map");
	unlinkat(query.root, "tmp/perf-12.map", 0);
	ck_assert_uint_eq(perf_maps_refused(maps), 3);
	perf_maps_forget(maps, &map);
	end();
}
END_TEST

START_TEST(a_map_that_has_grown_too_large_is_not_given_away)
{
	struct perf_map map;
	int fd;

	begin(0);
	perf_map_init(&map);
	write_map("tmp/perf-12.map", "map");
	perf_maps_look(maps, &map, &query);
	fd = openat(query.root, "tmp/perf-12.map", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(ftruncate(fd, (64 << 20) + 1), 0);
	ck_assert_ptr_null(text_of(&map));
	ck_assert_uint_eq(perf_maps_refused(maps), 1);
	perf_maps_look(maps, &map, &query);
	ck_assert_uint_eq(perf_maps_refused(maps), 1);
	ck_assert_int_eq(ftruncate(fd, 3), 0);
	ck_assert_str_eq(text_of(&map), "map");
	close(fd);
	unlinkat(query.root, "tmp/perf-12.map", 0);
	perf_maps_forget(maps, &map);
	end();
}
END_TEST

START_TEST(a_dump_is_told_by_its_name)
{
	ck_assert(perf_maps_is_dump("/home/x/.debug/jit/llvm-1/jit-4711.dump"));
	ck_assert(perf_maps_is_dump("jit-1.dump"));
	ck_assert(!perf_maps_is_dump("/tmp/jit-.dump"));
	ck_assert(!perf_maps_is_dump("/tmp/jit-1.dump.so"));
	ck_assert(!perf_maps_is_dump("/tmp/ajit-1.dump"));
	ck_assert(!perf_maps_is_dump("/tmp/jit-1.dump/x"));
	ck_assert(!perf_maps_is_dump(""));
}
END_TEST

START_TEST(a_dump_of_another_user_or_too_large_is_refused_and_counted_once)
{
	int fd = memfd_create("jit-12.dump", MFD_CLOEXEC), given;
	struct perf_map map;

	begin(0);
	perf_map_init(&map);
	given = perf_maps_duplicate_dump(maps, &map, fd, true, geteuid());
	ck_assert_int_ge(given, 0);
	close(given);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(perf_maps_duplicate_dump(maps, &map, fd, false, geteuid()), -1);
		/* Root's may be anyone's. */
		if (geteuid() != 0)
			ck_assert_int_eq(perf_maps_duplicate_dump(maps, &map, fd, true, geteuid() + 1), -1);
	}
	ck_assert_uint_eq(perf_maps_refused(maps), 1);
	if (fchown(fd, 12345, 12345) == 0) {
		ck_assert_int_eq(perf_maps_duplicate_dump(maps, &map, fd, true, 54321), -1);
		ck_assert_int_eq(fchown(fd, geteuid(), getegid()), 0);
	}
	ck_assert_uint_eq(perf_maps_refused(maps), 1);
	ck_assert_int_eq(ftruncate(fd, (256 << 20) + 1), 0);
	ck_assert_int_eq(perf_maps_duplicate_dump(maps, &map, fd, true, geteuid()), -1);
	ck_assert_uint_eq(perf_maps_refused(maps), 2);
	close(fd);
	end();
}
END_TEST

START_TEST(the_number_of_descriptors_is_bounded)
{
	enum { N = 5, MAX_OPEN = 2 };
	struct perf_map map[N];
	char path[32];

	begin(MAX_OPEN);
	for (uint32_t i = 0; i < N; i++) {
		perf_map_init(&map[i]);
		query.namespace_pid = i;
		snprintf(path, sizeof(path), "tmp/perf-%u.map", i);
		write_map(path, path);
		perf_maps_look(maps, &map[i], &query);
		/* The first one is looked at again each time. */
		query.namespace_pid = 0;
		perf_maps_look(maps, &map[0], &query);
	}
	for (uint32_t i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "tmp/perf-%u.map", i);
		ck_assert_pstr_eq(text_of(&map[i]), i == 0 || i == N - 1 ? path : NULL);
		unlinkat(query.root, path, 0);
	}
	for (uint32_t i = 0; i < N; i++)
		perf_maps_forget(maps, &map[i]);
	end();
}
END_TEST

START_TEST(looks_become_seldom)
{
	struct perf_map map;
	uint64_t now;

	begin(0);
	perf_map_init(&map);
	ck_assert(perf_map_is_due(&map, clock_monotonic_nsec()));
	perf_maps_look(maps, &map, &query);
	now = clock_monotonic_nsec();
	ck_assert(!perf_map_is_due(&map, now));
	ck_assert(perf_map_is_due(&map, now + 100 * NSEC_PER_MSEC));
	for (int i = 0; i < 100; i++)
		perf_maps_look(maps, &map, &query);
	now = clock_monotonic_nsec();
	ck_assert(!perf_map_is_due(&map, now + 4 * NSEC_PER_SEC));
	ck_assert(perf_map_is_due(&map, now + 5 * NSEC_PER_SEC));
	end();
}
END_TEST

UNIT_TESTS("perf_maps", a_map_is_kept_after_its_file_is_gone,
	what_is_no_plain_file_of_the_process_is_refused_and_counted_once,
	a_map_that_has_grown_too_large_is_not_given_away, a_dump_is_told_by_its_name,
	a_dump_of_another_user_or_too_large_is_refused_and_counted_once, the_number_of_descriptors_is_bounded, looks_become_seldom)
