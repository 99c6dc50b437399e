/* SPDX-License-Identifier: Apache-2.0 */
#include "binaries.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "main.h"

static struct binaries *binaries;
static struct binaries_root *root;
static char directory[64];
static int proc;

static void begin(size_t max_open)
{
	snprintf(directory, sizeof(directory), "/tmp/test-binaries-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(binaries_new(proc, max_open, &binaries), 0);
	root = binaries_root_of(binaries, getpid());
	ck_assert_ptr_nonnull(root);
}

static void end(void)
{
	char command[128];

	binaries_root_unref(binaries, root);
	ck_assert_uint_eq(binaries_stats(binaries).n_files, 0);
	ck_assert_uint_eq(binaries_stats(binaries).n_open, 0);
	ck_assert_uint_eq(binaries_stats(binaries).n_roots, 0);
	binaries_free(binaries);
	close(proc);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static const char *write_file(const char *name, const char *text)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	return path;
}

/* As of a process that is gone: by path below the root. */
static struct binaries_query query_of(const char *path)
{
	struct stat stat_ = { 0 };

	stat(path, &stat_);
	return (struct binaries_query){
		.root = root,
		.path = path,
		.device = stat_.st_dev,
		.inode = stat_.st_ino,
		.time_nsec = clock_monotonic_nsec(),
	};
}

static struct binaries_file *get(const struct binaries_query *query)
{
	struct binaries_file *file = NULL;

	ck_assert_int_eq(binaries_get(binaries, query, &file), 0);
	return file;
}

static int fd_of(struct binaries_file *file, const struct binaries_query *query)
{
	struct binary *binary = binaries_file_binary(binaries, file, query);
	int fd = binary->fd;

	binary_unref(binary);
	return fd;
}

START_TEST(a_file_is_opened_once_for_all_who_map_it)
{
	struct binaries_query query;
	struct binaries_file *first, *second;

	begin(10);
	query = query_of(write_file("x", "x"));
	first = get(&query);
	second = get(&query);
	ck_assert_ptr_eq(first, second);
	ck_assert_uint_eq(binaries_stats(binaries).n_open, 1);
	ck_assert_int_ge(fd_of(first, NULL), 0);
	binaries_file_unref(binaries, first);
	ck_assert_uint_eq(binaries_stats(binaries).n_open, 1);
	binaries_file_unref(binaries, second);
	end();
}
END_TEST

START_TEST(what_is_not_the_inode_that_was_mapped_is_not_taken)
{
	struct binaries_query query;
	struct binaries_file *file;

	begin(10);
	query = query_of(write_file("x", "x"));
	query.inode++;
	file = get(&query);
	ck_assert_int_eq(fd_of(file, &query), -1);
	ck_assert_uint_eq(binaries_stats(binaries).unavailable, 1);
	binaries_file_unref(binaries, file);
	end();
}
END_TEST

START_TEST(an_inode_that_was_made_after_the_mapping_is_another_file)
{
	struct binaries_query query;
	struct binaries_file *file;

	begin(10);
	query = query_of(write_file("x", "x"));
	query.time_nsec -= NSEC_PER_SEC;
	file = get(&query);
	ck_assert_int_eq(fd_of(file, NULL), -1);
	binaries_file_unref(binaries, file);
	end();
}
END_TEST

START_TEST(a_build_id_and_a_path_are_believed_until_someone_reads_the_file)
{
	struct binaries_query query;
	struct binaries_file *file;
	struct binary *binary;

	begin(10);
	query = query_of(write_file("x", "x"));
	query.device = query.inode = 0;
	query.build_id = (struct build_id){ .size = 20, .bytes = { 1, 2, 3 } };
	file = get(&query);
	binary = binaries_file_binary(binaries, file, NULL);
	ck_assert_int_ge(binary->fd, 0);
	ck_assert(binary->unverified);
	ck_assert_uint_eq(binary->build_id.size, 20);
	/* The value lives on without the table. */
	binaries_file_unref(binaries, file);
	ck_assert_int_ge(fcntl(binary->fd, F_GETFD), 0);
	binary_unref(binary);
	end();
}
END_TEST

START_TEST(one_build_id_at_two_paths_is_two_files)
{
	struct binaries_query query;
	struct binaries_file *ours, *forged;
	char path[128];

	begin(10);
	snprintf(path, sizeof(path), "%s", write_file("libc.so", "ours"));
	query = query_of(path);
	query.device = query.inode = 0;
	query.build_id = (struct build_id){ .size = 20, .bytes = { 1, 2, 3 } };
	ours = get(&query);
	query.path = write_file("forged", "forged");
	forged = get(&query);
	ck_assert_ptr_ne(ours, forged);
	binaries_file_unref(binaries, ours);
	binaries_file_unref(binaries, forged);
	end();
}
END_TEST

START_TEST(only_so_many_files_are_open_at_a_time)
{
	enum { N = 8 };
	struct binaries_query queries[N];
	struct binaries_file *files[N];
	char paths[N][128];
	struct binary *held;

	begin(3);
	for (int i = 0; i < N; i++) {
		char name[2] = { (char)('a' + i), '\0' };

		snprintf(paths[i], sizeof(paths[i]), "%s", write_file(name, name));
		queries[i] = query_of(paths[i]);
		files[i] = get(&queries[i]);
	}
	ck_assert_uint_eq(binaries_stats(binaries).n_open, 3);
	ck_assert_uint_eq(binaries_stats(binaries).n_files, N);
	/* Those that were closed open again, and the value given away keeps its descriptor meanwhile. */
	held = binaries_file_binary(binaries, files[0], &queries[0]);
	ck_assert_int_ge(held->fd, 0);
	for (int i = 1; i < N; i++)
		ck_assert_int_ge(fd_of(files[i], &queries[i]), 0);
	ck_assert_uint_eq(binaries_stats(binaries).n_open, 3);
	ck_assert_int_ge(fcntl(held->fd, F_GETFD), 0);
	/* A file keeps its number. */
	ck_assert_uint_eq(held->serial, 1);
	binary_unref(held);
	/* Another file in its place is not it. */
	unlink(paths[0]);
	write_file("a", "something else");
	ck_assert_int_eq(fd_of(files[0], &queries[0]), -1);
	for (int i = 0; i < N; i++)
		binaries_file_unref(binaries, files[i]);
	end();
}
END_TEST

START_TEST(nothing_but_regular_files_is_opened)
{
	struct binaries_query query;
	struct binaries_file *file;
	char path[128];

	begin(10);
	snprintf(path, sizeof(path), "%s/fifo", directory);
	ck_assert_int_eq(mkfifo(path, 0644), 0);
	query = query_of(path);
	file = get(&query);
	ck_assert_int_eq(fd_of(file, &query), -1);
	binaries_file_unref(binaries, file);
	query = query_of("/dev/zero");
	file = get(&query);
	ck_assert_int_eq(fd_of(file, &query), -1);
	binaries_file_unref(binaries, file);
	end();
}
END_TEST

START_TEST(a_living_process_shows_its_deleted_program)
{
	struct binaries_query query = { .pid = getpid(), .is_exe = true, .deleted = true };
	struct binaries_file *file;
	struct stat stat_;
	char path[4096] = { 0 };

	begin(10);
	ck_assert_int_gt(readlink("/proc/self/exe", path, sizeof(path) - 1), 0);
	ck_assert_int_eq(stat("/proc/self/exe", &stat_), 0);
	query.path = path;
	query.device = stat_.st_dev;
	query.inode = stat_.st_ino;
	file = get(&query);
	ck_assert_int_ge(fd_of(file, NULL), 0);
	ck_assert_str_eq(binaries_file_path(file), path);
	binaries_file_unref(binaries, file);
	end();
}
END_TEST

UNIT_TESTS("binaries", a_file_is_opened_once_for_all_who_map_it, what_is_not_the_inode_that_was_mapped_is_not_taken,
	an_inode_that_was_made_after_the_mapping_is_another_file, a_build_id_and_a_path_are_believed_until_someone_reads_the_file,
	one_build_id_at_two_paths_is_two_files, only_so_many_files_are_open_at_a_time, nothing_but_regular_files_is_opened,
	a_living_process_shows_its_deleted_program)
