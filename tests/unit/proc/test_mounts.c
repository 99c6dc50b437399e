/* SPDX-License-Identifier: Apache-2.0 */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "main.h"

static struct mounts parse(const char *text)
{
	struct mounts mounts = { 0 };

	ck_assert_int_eq(mounts_parse(text, strlen(text), &mounts), 0);
	return mounts;
}

/* "" when there is none. */
static const char *path_of(const struct mounts *mounts, unsigned int major, unsigned int minor, const char *inside)
{
	static char path[64];

	if (!mounts_path(mounts, makedev(major, minor), inside, path, sizeof(path)))
		path[0] = '\0';
	return path;
}

static const char example[] =
	"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
	"22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
	"23 22 0:21 / /proc rw - proc proc rw\n"
	"40 22 254:2 / /srv rw - xfs /dev/vda2 rw\n"
	"41 22 254:2 /data /var/lib/data rw - xfs /dev/vda2 rw\n";

START_TEST(a_path_is_that_below_where_its_device_is_mounted)
{
	struct mounts mounts = parse(example);

	ck_assert_uint_eq(mounts.all.n, 5);
	ck_assert_str_eq(path_of(&mounts, 254, 1, "/usr/lib/x"), "/usr/lib/x");
	ck_assert_str_eq(path_of(&mounts, 254, 1, "/"), "/");
	ck_assert_str_eq(path_of(&mounts, 254, 2, "/data/x"), "/srv/data/x");
	ck_assert_str_eq(path_of(&mounts, 254, 2, "/"), "/srv");
	ck_assert_str_eq(path_of(&mounts, 254, 3, "/x"), "");
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(the_root_of_a_bind_mount_is_taken_off)
{
	struct mounts mounts = parse(example);

	ck_assert_str_eq(path_of(&mounts, 98, 0, "/mnt1/a/b"), "/mnt2/a/b");
	ck_assert_str_eq(path_of(&mounts, 98, 0, "/mnt1"), "/mnt2");
	ck_assert_str_eq(path_of(&mounts, 98, 0, "/mnt10/a"), "");
	ck_assert_str_eq(path_of(&mounts, 98, 0, "/other"), "");
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(blanks_and_line_ends_in_a_path_forge_no_mount)
{
	struct mounts mounts = parse("1 2 8:1 / /a\\040b\\01230\\0402\\0408:2\\040/\\040/c rw - ext4 /dev/sda1 rw\n");

	ck_assert_uint_eq(mounts.all.n, 1);
	ck_assert_str_eq(mounts.all.at[0].point, "/a b\n30 2 8:2 / /c");
	mounts_deinit(&mounts);
	mounts = parse("1 2 8:1 / /a\\134040\\9\\40 rw - ext4 x rw");
	ck_assert_str_eq(mounts.all.at[0].point, "/a\\040\\9\\40");
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(lines_without_sense_are_passed_over)
{
	struct mounts mounts = parse("\n"
				     "1\n"
				     "1 2 8 / / rw\n"
				     "1 2 8: / / rw\n"
				     "1 2 :8 / / rw\n"
				     "1 2 8:1:2 / / rw\n"
				     "1 2 999999999999:1 / / rw\n"
				     "1 2 8:1 mnt:[4026531840] /run/ns rw\n"
				     "1 2 8:1 / relative rw\n"
				     "1  2 8:1 / / rw\n"
				     "1 2 8:1 /\n"
				     "1 2 8:3 / /kept");

	ck_assert_uint_eq(mounts.all.n, 1);
	ck_assert_str_eq(mounts.all.at[0].point, "/kept");
	ck_assert_uint_eq(mounts.all.at[0].device, makedev(8, 3));
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(the_type_and_the_source_come_behind_any_number_of_fields)
{
	struct mounts mounts = parse("1 2 8:1 / / rw - ext4 /dev/sda1 rw\n"
				     "1 2 8:2 / /- rw shared:1 master:2 new - fuse.sshfs me@there:/a\\040b rw - x\n"
				     "1 2 8:3 / / rw - tmpfs  rw\n"
				     "1 2 8:4 / / rw -\n"
				     "1 2 8:5 / / rw shared:1");

	ck_assert_uint_eq(mounts.all.n, 5);
	ck_assert_str_eq(mounts.all.at[0].type, "ext4");
	ck_assert_str_eq(mounts.all.at[0].source, "/dev/sda1");
	ck_assert_str_eq(mounts.all.at[1].point, "/-");
	ck_assert_str_eq(mounts.all.at[1].type, "fuse.sshfs");
	ck_assert_str_eq(mounts.all.at[1].source, "me@there:/a b");
	ck_assert_str_eq(mounts.all.at[2].type, "tmpfs");
	ck_assert_ptr_null(mounts.all.at[2].source);
	for (size_t i = 3; i < 5; i++) {
		ck_assert_ptr_null(mounts.all.at[i].type);
		ck_assert_ptr_null(mounts.all.at[i].source);
	}
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(a_path_that_is_too_long_is_none)
{
	struct mounts mounts = parse("1 2 8:1 / /0123456789012345678901234567890123456789 rw\n");

	ck_assert_str_eq(path_of(&mounts, 8, 1, "/0123456789"), "/0123456789012345678901234567890123456789/0123456789");
	ck_assert_str_eq(path_of(&mounts, 8, 1, "/0123456789012345678901234567890"), "");
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(more_mounts_than_the_bound_are_left_out)
{
	static const char line[] = "1 2 8:1 / / rw\n";
	size_t n = MOUNTS_MAX + 10, size = sizeof(line) - 1;
	char *text = malloc(n * size);
	struct mounts mounts = { 0 };

	for (size_t i = 0; i < n; i++)
		memcpy(text + i * size, line, size);
	ck_assert_int_eq(mounts_parse(text, n * size, &mounts), 0);
	ck_assert_uint_eq(mounts.all.n, MOUNTS_MAX);
	mounts_deinit(&mounts);
	free(text);
}
END_TEST

START_TEST(our_own_are_read)
{
	struct mounts mounts = { 0 };
	char path[64];
	struct stat st;

	ck_assert_int_eq(mounts_read(AT_FDCWD, "/proc/self/mountinfo", &mounts), 0);
	ck_assert_int_eq(stat("/proc", &st), 0);
	ck_assert(mounts_path(&mounts, st.st_dev, "/cpuinfo", path, sizeof(path)));
	ck_assert_int_eq(access(path, F_OK), 0);
	mounts_deinit(&mounts);
	ck_assert_int_eq(mounts_read(AT_FDCWD, "/nonexistent", &mounts), -ENOENT);
}
END_TEST

UNIT_TESTS("mounts", a_path_is_that_below_where_its_device_is_mounted, the_root_of_a_bind_mount_is_taken_off,
	blanks_and_line_ends_in_a_path_forge_no_mount, lines_without_sense_are_passed_over,
	the_type_and_the_source_come_behind_any_number_of_fields, a_path_that_is_too_long_is_none,
	more_mounts_than_the_bound_are_left_out, our_own_are_read)
