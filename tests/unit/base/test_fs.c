/* SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "main.h"

static char directory[] = "/tmp/test-fs-XXXXXX";

static int scratch(void)
{
	strcpy(directory, "/tmp/test-fs-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	return open(directory, O_RDONLY | O_DIRECTORY);
}

START_TEST(a_replaced_file_is_read_back_whole)
{
	_cleanup_close_ int fd = scratch();
	_cleanup_free_ char *data = NULL;
	struct stat st;
	size_t size;

	ck_assert_int_eq(fs_replace(fd, "a", 0640, "old", 3), 0);
	ck_assert_int_eq(fs_replace(fd, "a", 0640, "newer", 5), 0);
	ck_assert_int_eq(fs_read(fd, "a", 100, &data, &size), 0);
	ck_assert_uint_eq(size, 5);
	ck_assert_str_eq(data, "newer");
	ck_assert_int_eq(fstatat(fd, "a", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(faccessat(fd, ".tmp-a", F_OK, 0), -1);
	unlinkat(fd, "a", 0);
	rmdir(directory);
}
END_TEST

START_TEST(a_file_above_the_limit_is_refused)
{
	_cleanup_close_ int fd = scratch();
	char *data = NULL;

	ck_assert_int_eq(fs_replace(fd, "a", 0600, "0123456789", 10), 0);
	ck_assert_int_eq(fs_read(fd, "a", 9, &data, NULL), -EFBIG);
	ck_assert_ptr_null(data);
	ck_assert_int_eq(fs_read(fd, "b", 9, &data, NULL), -ENOENT);
	unlinkat(fd, "a", 0);
	rmdir(directory);
}
END_TEST

START_TEST(missing_parents_are_made)
{
	_cleanup_close_ int fd = scratch();
	char path[128];

	snprintf(path, sizeof(path), "%s/x/y", directory);
	ck_assert_int_eq(fs_make_directories(path, 0750), 0);
	ck_assert_int_eq(fs_make_directories(path, 0750), 0);
	ck_assert_int_eq(unlinkat(fd, "x/y", AT_REMOVEDIR), 0);
	unlinkat(fd, "x", AT_REMOVEDIR);
	rmdir(directory);
}
END_TEST

UNIT_TESTS("fs", a_replaced_file_is_read_back_whole, a_file_above_the_limit_is_refused, missing_parents_are_made)
