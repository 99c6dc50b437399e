/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../main.h"
#include "fs.h"
#include "runtime.h"

static char folder[] = "/tmp/test-runtime-XXXXXX";
static char path[64];

static void start(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/run/tsprofd", folder);
	setenv("RUNTIME_DIRECTORY", path, 1);
}

static void finish(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static char *content(const char *name)
{
	char file[128], *text = NULL;

	snprintf(file, sizeof(file), "%s/%s", path, name);
	return fs_read(AT_FDCWD, file, 4096, &text, NULL) < 0 ? NULL : text;
}

START_TEST(the_directory_is_made_and_files_are_there_whole_until_it_closes)
{
	struct runtime *runtime;
	char *text;

	start();
	ck_assert_int_eq(runtime_open(&runtime), 0);
	ck_assert_str_eq(runtime_path(runtime), path);
	ck_assert_int_eq(runtime_write(runtime, "metrics.prom", "one\n", 4), 0);
	ck_assert_int_eq(runtime_write(runtime, "metrics.prom", "three\n", 6), 0);
	text = content("metrics.prom");
	ck_assert_str_eq(text, "three\n");
	free(text);
	ck_assert_ptr_null(content(".tmp-metrics.prom"));
	runtime_close(runtime);
	ck_assert_ptr_null(content("metrics.prom"));
	finish();
}
END_TEST

START_TEST(a_second_one_is_told_who_has_the_lock_and_touches_nothing)
{
	struct runtime *first, *second;
	char *text;

	start();
	ck_assert_int_eq(runtime_open(&first), 0);
	ck_assert_int_eq(runtime_write(first, "metrics.prom", "first", 5), 0);
	ck_assert_int_eq(runtime_open(&second), RUNTIME_E_LOCKED);
	ck_assert_int_eq(runtime_holder(second), getpid());
	ck_assert_int_eq(runtime_write(second, "metrics.prom", "second", 6), -EBUSY);
	runtime_close(second);
	text = content("metrics.prom");
	ck_assert_str_eq(text, "first");
	free(text);
	runtime_close(first);
	ck_assert_int_eq(runtime_open(&second), 0);
	runtime_close(second);
	finish();
}
END_TEST

START_TEST(what_an_earlier_one_left_does_not_matter)
{
	struct runtime *runtime;
	char name[128], *text;
	int fd;

	start();
	ck_assert_int_eq(fs_make_directories(path, 0755), 0);
	snprintf(name, sizeof(name), "%s/tsprofd.pid", path);
	fd = open(name, O_CREAT | O_WRONLY, 0644);
	ck_assert_int_eq(write(fd, "123456789123456789\n", 19), 19);
	close(fd);
	ck_assert_int_eq(runtime_open(&runtime), 0);
	snprintf(name, sizeof(name), "%d\n", getpid());
	text = content("tsprofd.pid");
	ck_assert_str_eq(text, name);
	free(text);
	runtime_close(runtime);
	finish();
}
END_TEST

START_TEST(without_a_directory_each_write_tells_why)
{
	struct runtime *runtime;

	setenv("RUNTIME_DIRECTORY", "/dev/null/run", 1);
	ck_assert_int_eq(runtime_open(&runtime), -ENOTDIR);
	ck_assert_int_eq(runtime_write(runtime, "metrics.prom", "x", 1), -ENOTDIR);
	runtime_close(runtime);
	runtime_close(NULL);
	ck_assert_str_eq(runtime_path(NULL), "");
}
END_TEST

UNIT_TESTS("runtime", the_directory_is_made_and_files_are_there_whole_until_it_closes,
	a_second_one_is_told_who_has_the_lock_and_touches_nothing, what_an_earlier_one_left_does_not_matter,
	without_a_directory_each_write_tells_why)
