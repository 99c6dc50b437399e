/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <grp.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "fs.h"
#include "main.h"
#include "scratch.h"

static int put(struct store *store, const char *service, const char *trigger)
{
	return store_put(store, service, PROFILE_CPU, noon, trigger, "bytes", 5, NULL);
}

START_TEST(a_file_is_put_where_its_name_says)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	_cleanup_free_ char *path = NULL, *again = NULL, *data = NULL;
	struct stat st;
	size_t n;

	scratch_enter();
	umask(077);
	store = scratch_store();
	ck_assert_int_eq(store_put(store, "shop", PROFILE_CPU, noon + 61 * NSEC_PER_SEC, NULL, "bytes", 5, &path), 0);
	ck_assert_str_eq(path, "out/2026-11-24/shop/cpu-120101Z.pprof");
	ck_assert_int_eq(fs_read(AT_FDCWD, path, 100, &data, &n), 0);
	ck_assert_str_eq(data, "bytes");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(stat("out/2026-11-24", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0750);
	ck_assert_int_eq(store_put(store, "shop", PROFILE_CPU, noon + 61 * NSEC_PER_SEC, NULL, "other", 5, &again), 0);
	ck_assert_str_eq(again, "out/2026-11-24/shop/cpu-120101Z.2.pprof");
	ck_assert_uint_eq(scratch_files("out"), 2);
	ck_assert_uint_eq(store_stats(store)->files, 2);
	ck_assert_uint_eq(store_stats(store)->bytes, 10);
	scratch_leave();
}
END_TEST

START_TEST(hostile_names_stay_inside)
{
	_cleanup_(store_free_p) struct store *store = NULL;

	scratch_enter();
	store = scratch_store();
	ck_assert_int_eq(put(store, "../../etc/passwd", NULL), 0);
	ck_assert_int_eq(put(store, "..", NULL), 0);
	ck_assert_int_eq(put(store, "x", "../y"), -EINVAL);
	ck_assert_int_eq(put(store, "x", ""), -EINVAL);
	ck_assert(scratch_exists("out/2026-11-24/%2E.%2F..%2Fetc%2Fpasswd/cpu-120000Z.pprof"));
	ck_assert(scratch_exists("out/2026-11-24/%2E./cpu-120000Z.pprof"));
	ck_assert_uint_eq(scratch_files("."), 2);
	scratch_leave();
}
END_TEST

START_TEST(planted_links_and_files_are_refused_not_followed)
{
	_cleanup_(store_free_p) struct store *store = NULL;

	scratch_enter();
	store = scratch_store();
	ck_assert_int_eq(mkdir("elsewhere", 0755), 0);
	ck_assert_int_eq(symlink("../elsewhere", "out/2026-11-24"), 0);
	ck_assert_int_eq(put(store, "shop", NULL), -ENOTDIR);
	ck_assert_int_eq(unlink("out/2026-11-24"), 0);
	ck_assert_int_eq(mkdir("out/2026-11-24", 0750), 0);
	ck_assert_int_eq(symlink("../../elsewhere", "out/2026-11-24/shop"), 0);
	ck_assert_int_eq(put(store, "shop", NULL), -ENOTDIR);
	scratch_write("out/2026-11-24/file", "", 0);
	ck_assert_int_eq(put(store, "file", NULL), -ENOTDIR);
	/* A link at the place of the file itself: another name is taken. */
	ck_assert_int_eq(mkdir("out/2026-11-24/web", 0750), 0);
	ck_assert_int_eq(symlink("../../../elsewhere/target", "out/2026-11-24/web/cpu-120000Z.pprof"), 0);
	ck_assert_int_eq(put(store, "web", NULL), 0);
	ck_assert(scratch_exists("out/2026-11-24/web/cpu-120000Z.2.pprof"));
	ck_assert_uint_eq(scratch_files("elsewhere"), 0);
	ck_assert_uint_eq(store_stats(store)->failed, 3);
	scratch_leave();
}
END_TEST

START_TEST(a_directory_of_somebody_else_is_refused)
{
	_cleanup_(store_free_p) struct store *store = NULL;

	if (geteuid() != 0)
		return;
	scratch_enter();
	store = scratch_store();
	ck_assert_int_eq(mkdir("out/2026-11-24", 0777), 0);
	ck_assert_int_eq(chown("out/2026-11-24", 65534, 65534), 0);
	ck_assert_int_eq(put(store, "shop", NULL), -EPERM);
	ck_assert_uint_eq(scratch_files("out"), 0);
	scratch_leave();
}
END_TEST

START_TEST(files_belong_to_whom_the_options_say)
{
	struct store_options options = { .directory_mode = 0755, .file_mode = 0644, .uid = 1234, .gid = 4321 };
	_cleanup_(store_free_p) struct store *store = NULL;
	static const char *const paths[] = { "out", "out/2026-11-24", "out/2026-11-24/shop",
		"out/2026-11-24/shop/cpu-120000Z.pprof" };
	struct stat st;

	if (geteuid() != 0)
		return;
	scratch_enter();
	ck_assert_int_eq(store_new("out", &options, &store), 0);
	ck_assert_int_eq(put(store, "shop", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		ck_assert_int_eq(stat(paths[i], &st), 0);
		ck_assert_uint_eq(st.st_uid, 1234);
		ck_assert_uint_eq(st.st_gid, 4321);
		ck_assert_uint_eq(st.st_mode & 07777, i == 3 ? 0644 : 0755);
	}
	ck_assert_uint_eq(store_stats(store)->owner_failed, 0);
	scratch_leave();
}
END_TEST

START_TEST(a_group_that_cannot_be_set_is_counted_and_the_file_written)
{
	pid_t child;
	int status;

	if (geteuid() != 0)
		return;
	scratch_enter();
	ck_assert_int_eq(chmod(".", 0777), 0);
	child = fork();
	if (child == 0) {
		struct store_options options = { .uid = (uid_t)-1, .gid = 4321 };
		struct store *store;
		bool fine;

		fine = setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0 &&
				store_new("out", &options, &store) == 0 && put(store, "shop", NULL) == 0 &&
				store_stats(store)->owner_failed == 1;
		_exit(fine ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(scratch_files("out"), 1);
	scratch_leave();
}
END_TEST

START_TEST(a_removed_output_directory_comes_back)
{
	_cleanup_(store_free_p) struct store *store = NULL;

	scratch_enter();
	store = scratch_store();
	ck_assert_int_eq(put(store, "shop", NULL), 0);
	ck_assert_int_eq(system("rm -rf out"), 0);
	ck_assert_int_eq(put(store, "shop", NULL), 0);
	ck_assert_int_eq(system("rm -rf out/*"), 0);
	ck_assert_int_eq(put(store, "shop", NULL), 0);
	ck_assert_int_eq(rename("out", "away"), 0);
	ck_assert_int_eq(put(store, "shop", NULL), 0);
	ck_assert_uint_eq(scratch_files("out"), 1);
	ck_assert_uint_eq(scratch_files("away"), 1);
	ck_assert_uint_eq(store_stats(store)->recreated, 2);
	scratch_leave();
}
END_TEST

START_TEST(a_directory_that_cannot_be_made_is_told_by_every_put_until_it_can)
{
	_cleanup_(store_free_p) struct store *store = NULL;

	scratch_enter();
	scratch_write("out", "", 0);
	store = scratch_store();
	ck_assert_int_eq(store_check(store), -ENOTDIR);
	ck_assert_int_eq(put(store, "shop", NULL), -ENOTDIR);
	ck_assert_int_eq(unlink("out"), 0);
	ck_assert_int_eq(store_check(store), 0);
	ck_assert_int_eq(put(store, "shop", NULL), 0);
	ck_assert_uint_eq(scratch_files("out"), 1);
	scratch_leave();
}
END_TEST

START_TEST(left_over_temporaries_go_at_the_start_and_nothing_else_does)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	int busy;

	scratch_enter();
	ck_assert_int_eq(system("mkdir -p out/2026-11-24/shop out/other"), 0);
	scratch_write("out/.tmp-0123456789abcdef", "x", 1);
	scratch_write("out/2026-11-24/shop/.tmp-0123456789abcdef", "x", 1);
	scratch_write("out/2026-11-24/shop/.tmp-aaaaaaaaaaaaaaaa", "x", 1);
	scratch_write("out/2026-11-24/shop/.tmp-0123456789abcde", "x", 1);
	scratch_write("out/2026-11-24/shop/.tmp-other", "x", 1);
	scratch_write("out/other/.tmp-0123456789abcdef", "x", 1);
	ck_assert_int_eq(symlink("/etc/passwd", "out/2026-11-24/shop/.tmp-bbbbbbbbbbbbbbbb"), 0);
	busy = open("out/2026-11-24/shop/.tmp-aaaaaaaaaaaaaaaa", O_RDWR);
	ck_assert_int_eq(flock(busy, LOCK_EX), 0);
	usleep(20000); /* file times have the resolution of a tick */
	store = scratch_store();
	ck_assert_uint_eq(store_stats(store)->stale_removed, 2);
	ck_assert(!scratch_exists("out/2026-11-24/shop/.tmp-0123456789abcdef"));
	ck_assert(!scratch_exists("out/.tmp-0123456789abcdef"));
	ck_assert(scratch_exists("out/2026-11-24/shop/.tmp-aaaaaaaaaaaaaaaa"));
	ck_assert_uint_eq(scratch_files("out"), 5);
	close(busy);
	scratch_leave();
}
END_TEST

/* A file system of 1 MiB at ./out, seen by this process alone. */
static bool mount_small(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	ck_assert_int_eq(mkdir("out", 0755), 0);
	return mount("t", "out", "tmpfs", 0, "size=1m") == 0;
}

START_TEST(a_full_disk_is_told_leaves_nothing_half_and_is_used_again_when_it_has_room)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	_cleanup_free_ char *bytes = scratch_profile(200000);
	int r = 0, n_fitting = -1;

	scratch_enter();
	if (!mount_small()) {
		fprintf(stderr, "# skipped: a tmpfs cannot be mounted here\n");
		scratch_leave();
		return;
	}
	store = scratch_store();
	for (; r == 0 && n_fitting < 100; n_fitting++)
		r = store_put(store, "shop", PROFILE_CPU, noon, NULL, bytes, 200000, NULL);
	ck_assert_int_eq(r, -ENOSPC);
	ck_assert_int_gt(n_fitting, 2);
	ck_assert_int_eq(store_put(store, "new", PROFILE_CPU, noon, NULL, bytes, 200000, NULL), -ENOSPC);
	ck_assert_uint_eq(scratch_files("out"), n_fitting);
	ck_assert(!scratch_exists("out/2026-11-24/new"));
	ck_assert_int_eq(unlink("out/2026-11-24/shop/cpu-120000Z.pprof"), 0);
	ck_assert_int_eq(store_put(store, "new", PROFILE_CPU, noon, NULL, bytes, 200000, NULL), 0);
	ck_assert_int_eq(umount2("out", MNT_DETACH), 0);
	scratch_leave();
}
END_TEST

START_TEST(a_read_only_disk_is_told_and_used_again_when_it_can_be_written)
{
	_cleanup_(store_free_p) struct store *store = NULL;

	scratch_enter();
	if (!mount_small()) {
		fprintf(stderr, "# skipped: a tmpfs cannot be mounted here\n");
		scratch_leave();
		return;
	}
	store = scratch_store();
	ck_assert_int_eq(put(store, "shop", NULL), 0);
	ck_assert_int_eq(mount(NULL, "out", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	ck_assert_int_eq(put(store, "shop", NULL), -EROFS);
	ck_assert_int_eq(put(store, "new", NULL), -EROFS);
	ck_assert_int_eq(store_check(store), -EROFS);
	ck_assert_int_eq(mount(NULL, "out", NULL, MS_REMOUNT, NULL), 0);
	ck_assert_int_eq(put(store, "shop", NULL), 0);
	ck_assert_uint_eq(scratch_files("out"), 2);
	ck_assert_int_eq(umount2("out", MNT_DETACH), 0);
	scratch_leave();
}
END_TEST

START_TEST(a_process_killed_while_it_puts_leaves_only_whole_files)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	_cleanup_free_ char *bytes = scratch_profile(300000);
	size_t n_stale = 0;

	scratch_enter();
	for (unsigned int round = 0; round < 100; round++) {
		pid_t child = fork();

		if (child == 0) {
			for (store = scratch_store();;)
				store_put(store, "shop", PROFILE_CPU, noon + round * NSEC_PER_SEC, NULL, bytes, 300000, NULL);
		}
		usleep(500 + round * 97 % 5000);
		ck_assert_int_eq(kill(child, SIGKILL), 0);
		ck_assert_int_eq(waitpid(child, NULL, 0), child);
	}
	usleep(20000);
	store = scratch_store();
	n_stale = store_stats(store)->stale_removed;
	ck_assert_int_eq(system("test -z \"$(find out -name '.tmp*')\""), 0);
	ck_assert_int_eq(system("test -z \"$(find out -type f ! -size 300000c)\""), 0);
	fprintf(stderr, "# 100 kills: %zu whole files, %zu temporaries removed at the last start\n", scratch_files("out"), n_stale);
	ck_assert_uint_gt(scratch_files("out"), 0);
	scratch_leave();
}
END_TEST

UNIT_TESTS("store", a_file_is_put_where_its_name_says, hostile_names_stay_inside,
	planted_links_and_files_are_refused_not_followed, a_directory_of_somebody_else_is_refused,
	files_belong_to_whom_the_options_say, a_group_that_cannot_be_set_is_counted_and_the_file_written,
	a_removed_output_directory_comes_back, a_directory_that_cannot_be_made_is_told_by_every_put_until_it_can,
	left_over_temporaries_go_at_the_start_and_nothing_else_does,
	a_full_disk_is_told_leaves_nothing_half_and_is_used_again_when_it_has_room,
	a_read_only_disk_is_told_and_used_again_when_it_can_be_written,
	a_process_killed_while_it_puts_leaves_only_whole_files)
