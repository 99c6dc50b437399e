/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../main.h"
#include "clock.h"
#include "fs.h"
#include "tables_cache.h"
#include "unwind_image.h"
#include "unwind_rows.h"

static char folder[64], directory[80];

static void enter(void)
{
	snprintf(folder, sizeof(folder), "/tmp/tsprof-test-cache-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(directory, sizeof(directory), "%s/a/b", folder);
}

static void leave(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static struct tables_cache *open_cache(uint64_t max_bytes)
{
	struct tables_cache *cache;

	ck_assert_int_eq(tables_cache_new(directory, max_bytes, &cache), 0);
	return cache;
}

/* The image of a table with n rows. */
static void *make_image(uint32_t n, size_t *ret_size)
{
	static const struct unwind_rule rules[2] = {
		{ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .offset = 8 },
		{ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .offset = 16 },
	};
	struct unwind_rows rows = { .end = 0x1000 + n };
	void *bytes;

	for (uint32_t i = 0; i < n; i++)
		ck_assert_int_eq(vec_push(&rows.rows, ((struct unwind_rows_row){ 0x1000 + i, i % 2 })), 0);
	ck_assert_int_eq(vec_append(&rows.rules, rules, 2), 0);
	ck_assert_int_eq(unwind_image_encode(&rows, &bytes, ret_size), 0);
	unwind_rows_deinit(&rows);
	return bytes;
}

static struct tables_cache_key make_key(void)
{
	return (struct tables_cache_key){
		.inode = 7, .size = 1000, .mtime_nsec = 5, .ctime_nsec = 6, .user = 0,
		.build_id = { .size = 20, .bytes = { 1, 2, 3, 0xff } },
	};
}

static bool has(struct tables_cache *cache, const struct tables_cache_key *key, const void *expected, size_t n_expected)
{
	void *got;
	size_t n;
	int r = tables_cache_get(cache, key, &got, &n);

	if (r) {
		ck_assert_int_eq(r, TABLES_CACHE_E_MISSING);
		return false;
	}
	ck_assert_uint_eq(n, n_expected);
	ck_assert(!memcmp(got, expected, n));
	free(got);
	return true;
}

/* The path of the only file; fails when there are more. */
static const char *only_file(void)
{
	static char path[600];
	DIR *opened = opendir(directory);
	struct dirent *entry;
	unsigned n = 0;

	while ((entry = readdir(opened)))
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
			n++;
		}
	closedir(opened);
	ck_assert_uint_eq(n, 1);
	return path;
}

START_TEST(a_table_comes_back_also_to_the_next_daemon)
{
	struct tables_cache_key key = make_key();
	struct tables_cache *cache;
	struct stat st;
	size_t size;
	void *image = make_image(100000, &size);

	enter();
	cache = open_cache(1 << 20);
	ck_assert(!has(cache, &key, image, size));
	ck_assert_int_eq(tables_cache_put(cache, &key, image, size), 0);
	ck_assert(has(cache, &key, image, size));
	tables_cache_free(cache);
	cache = open_cache(1 << 20);
	ck_assert(has(cache, &key, image, size));
	ck_assert_ptr_nonnull(strstr(only_file(), "/010203ff00000000000000000000000000000000-7-0.1.unwind"));
	ck_assert_int_eq(stat(directory, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
	ck_assert_int_eq(stat(only_file(), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	tables_cache_free(cache);
	free(image);
	leave();
}
END_TEST

START_TEST(a_file_that_only_claims_the_build_id_gets_nothing)
{
	const struct tables_cache_key key = make_key();
	struct tables_cache_key others[5] = { key, key, key, key, key };
	struct tables_cache *cache;
	size_t size;
	void *image = make_image(10, &size);

	enter();
	cache = open_cache(1 << 20);
	ck_assert_int_eq(tables_cache_put(cache, &key, image, size), 0);
	others[0].inode++;
	others[1].size++;
	others[2].mtime_nsec++;
	others[3].ctime_nsec++;
	others[4].user++;
	for (size_t i = 0; i < 5; i++)
		ck_assert_msg(!has(cache, &others[i], image, size), "%zu", i);
	ck_assert(has(cache, &key, image, size));
	tables_cache_free(cache);
	free(image);
	leave();
}
END_TEST

START_TEST(a_key_tells_a_file_from_what_its_author_can_imitate)
{
	const struct build_id id = { .size = 20, .bytes = { 9 } }, none = { .size = 0 };
	struct tables_cache_key before, after;
	struct timespec times[2];
	struct statvfs system_of;
	char path[100];
	struct stat st;
	int fd;

	enter();
	snprintf(path, sizeof(path), "%s/file", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	ck_assert_int_eq(fstatvfs(fd, &system_of), 0);
	ck_assert_int_eq(tables_cache_key_of(fd, &none, &before), TABLES_CACHE_E_UNFIT);
	if (!(system_of.f_flag & ST_NOSUID)) {
		ck_assert_int_eq(tables_cache_key_of(fd, &id, &before), 0);
		ck_assert_int_eq(fstat(fd, &st), 0);
		/* Other content of the same size, with the time of before. */
		usleep(20000);
		ck_assert_int_eq(write(fd, "x", 1), 1);
		ck_assert_int_eq(ftruncate(fd, 0), 0);
		times[0] = times[1] = st.st_mtim;
		ck_assert_int_eq(futimens(fd, times), 0);
		ck_assert_int_eq(tables_cache_key_of(fd, &id, &after), 0);
		ck_assert_uint_eq(before.mtime_nsec, after.mtime_nsec);
		ck_assert_uint_eq(before.size, after.size);
		ck_assert_uint_eq(before.inode, after.inode);
		ck_assert(memcmp(&before, &after, sizeof(before)));
	}
	close(fd);
	/* Who mounts what users made mounts it nosuid; so is /proc. */
	fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fstatvfs(fd, &system_of), 0);
	if (system_of.f_flag & ST_NOSUID)
		ck_assert_int_eq(tables_cache_key_of(fd, &id, &after), TABLES_CACHE_E_UNFIT);
	close(fd);
	leave();
}
END_TEST

START_TEST(a_directory_that_is_not_ours_alone_is_refused)
{
	struct tables_cache *cache;
	char path[100], target[100];

	enter();
	snprintf(path, sizeof(path), "%s/open", folder);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(chmod(path, 0770), 0);
	ck_assert_int_eq(tables_cache_new(path, 1 << 20, &cache), TABLES_CACHE_E_UNSAFE);
	ck_assert_int_eq(chmod(path, 0707), 0);
	ck_assert_int_eq(tables_cache_new(path, 1 << 20, &cache), TABLES_CACHE_E_UNSAFE);
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_int_eq(tables_cache_new(path, 1 << 20, &cache), 0);
	tables_cache_free(cache);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(path, 1000, 0), 0);
		ck_assert_int_eq(tables_cache_new(path, 1 << 20, &cache), TABLES_CACHE_E_UNSAFE);
		ck_assert_int_eq(chown(path, 0, 0), 0);
	}
	snprintf(target, sizeof(target), "%s/link", folder);
	ck_assert_int_eq(symlink(path, target), 0);
	ck_assert_int_eq(tables_cache_new(target, 1 << 20, &cache), TABLES_CACHE_E_UNSAFE);
	snprintf(path, sizeof(path), "%s/file", folder);
	ck_assert_int_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	ck_assert_int_lt(tables_cache_new(path, 1 << 20, &cache) == TABLES_CACHE_E_UNSAFE ? -1 : 1, 0);
	leave();
}
END_TEST

/* The file is as `damage` leaves it: then it is missing, and can be put again. */
static void assert_missing_after(void (*damage)(const char *path))
{
	struct tables_cache_key key = make_key();
	struct tables_cache *cache;
	size_t size;
	void *image = make_image(5000, &size);

	enter();
	cache = open_cache(1 << 20);
	ck_assert_int_eq(tables_cache_put(cache, &key, image, size), 0);
	damage(only_file());
	ck_assert(!has(cache, &key, image, size));
	ck_assert_int_eq(tables_cache_put(cache, &key, image, size), 0);
	ck_assert(has(cache, &key, image, size));
	tables_cache_free(cache);
	free(image);
	leave();
}

static off_t flipped;

static void flip(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	ck_assert_int_eq(pread(fd, &byte, 1, flipped), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, flipped), 1);
	close(fd);
}

static void cut(const char *path)
{
	ck_assert_int_eq(truncate(path, 3000), 0);
}

static void empty(const char *path)
{
	ck_assert_int_eq(truncate(path, 0), 0);
}

static void blow_up(const char *path)
{
	ck_assert_int_eq(truncate(path, INT64_C(1) << 40), 0);
}

static void plant_link(const char *path)
{
	char copy[700];

	snprintf(copy, sizeof(copy), "%s.copy", path);
	ck_assert_int_eq(rename(path, copy), 0);
	ck_assert_int_eq(symlink(copy, path), 0);
}

static void plant_pipe(const char *path)
{
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
}

START_TEST(what_is_not_as_it_was_written_is_missing)
{
	/* Magic, format, which daemon made it (two words), the key, the image's own. */
	static const off_t places[] = { 0, 8, 16, 24, 32, 70, 96, 130, 500, 4000, 12000 };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		flipped = places[i];
		assert_missing_after(flip);
	}
	assert_missing_after(cut);
	assert_missing_after(empty);
	assert_missing_after(blow_up);
	assert_missing_after(plant_link);
	assert_missing_after(plant_pipe);
}
END_TEST

START_TEST(the_longest_unused_go_when_it_is_full)
{
	struct tables_cache_key key = make_key();
	uint64_t max_bytes = 20 * 24576;
	struct tables_cache *cache;
	unsigned n_left = 0;
	char path[200];
	size_t size;
	void *image = make_image(4000, &size);  /* 20 KiB */

	enter();
	cache = open_cache(max_bytes);
	for (unsigned i = 0; i < 60; i++) {
		key.inode = i;
		ck_assert_int_eq(tables_cache_put(cache, &key, image, size), 0);
		usleep(2000);
	}
	for (unsigned i = 0; i < 60; i++) {
		bool is_there;

		key.inode = i;
		is_there = has(cache, &key, image, size);
		n_left += is_there;
		/* A gap would be a newer one gone before an older one. */
		ck_assert(!n_left || is_there);
	}
	ck_assert_uint_ge(n_left, 14);
	ck_assert_uint_le(n_left * size, max_bytes);
	tables_cache_free(cache);

	/* What a crash left behind goes at the next start, what others put there stays; less room is made use of. */
	snprintf(path, sizeof(path), "%s/.tmp-abc-1-0.1.unwind", directory);
	ck_assert_int_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	snprintf(path, sizeof(path), "%s/README", directory);
	ck_assert_int_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	cache = open_cache(2 * 24576);
	ck_assert_int_eq(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "%s/.tmp-abc-1-0.1.unwind", directory);
	ck_assert_int_lt(access(path, F_OK), 0);
	key.inode = 59;
	ck_assert(has(cache, &key, image, size));
	key.inode = 57;
	ck_assert(!has(cache, &key, image, size));
	tables_cache_free(cache);
	free(image);
	leave();
}
END_TEST

UNIT_TESTS("tables_cache", a_table_comes_back_also_to_the_next_daemon, a_file_that_only_claims_the_build_id_gets_nothing,
	a_key_tells_a_file_from_what_its_author_can_imitate, a_directory_that_is_not_ours_alone_is_refused,
	what_is_not_as_it_was_written_is_missing, the_longest_unused_go_when_it_is_full)
