/* SPDX-License-Identifier: Apache-2.0 */
#include "store_vacuum.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "main.h"
#include "scratch.h"
#include "store_clock.h"
#include "store_name.h"

#define HOUR (UINT64_C(3600) * NSEC_PER_SEC)
#define DAY  (24 * HOUR)

static const size_t profile_bytes = 1000;

/* Sets the times of a file as if it had been written then. */
static void set_written(const char *path, uint64_t wall_nsec)
{
	const struct timespec t = { .tv_sec = (time_t)(wall_nsec / NSEC_PER_SEC) };

	ck_assert_int_eq(utimensat(AT_FDCWD, path, (struct timespec[]){ t, t }, AT_SYMLINK_NOFOLLOW), 0);
}

/* A profile whose window began then, written at its end. */
static char *put(struct store *store, const char *service, uint64_t start, const char *trigger)
{
	_cleanup_free_ char *bytes = scratch_profile(profile_bytes);
	char *path;

	ck_assert_int_eq(store_put(store, service, PROFILE_CPU, start, trigger, bytes, profile_bytes, &path), 0);
	set_written(path, start + 30 * NSEC_PER_SEC);
	return path;
}

/* One file an hour from `from` to before `to`. */
static void put_hourly(struct store *store, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += HOUR)
		free(put(store, "shop", at, NULL));
}

static struct store_vacuum vacuum(struct store *store, struct store_retention retention, uint64_t now)
{
	struct store_vacuum result;

	ck_assert_int_eq(store_vacuum(store, &retention, now, &result), 0);
	return result;
}

START_TEST(what_is_older_than_the_retention_goes_with_its_directories)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	struct store_vacuum v;

	scratch_enter();
	store = scratch_store();
	put_hourly(store, noon - 10 * DAY, noon);
	v = vacuum(store, (struct store_retention){ .age_nsec = 7 * DAY }, noon);
	ck_assert_uint_eq(v.deleted_age, 3 * 24);
	ck_assert_uint_eq(v.deleted_bytes, 3 * 24 * profile_bytes);
	ck_assert_uint_eq(v.files, 7 * 24);
	ck_assert_uint_eq(v.bytes, 7 * 24 * profile_bytes);
	ck_assert_uint_eq(v.oldest_wall_nsec, noon - 7 * DAY);
	ck_assert(!v.clock_suspect);
	ck_assert(!scratch_exists("out/2026-11-14"));
	ck_assert(!scratch_exists("out/2026-11-16"));
	ck_assert(scratch_exists("out/2026-11-17/shop/cpu-120000Z.pprof"));
	v = vacuum(store, (struct store_retention){ .age_nsec = 7 * DAY }, noon);
	ck_assert_uint_eq(v.deleted_age + v.deleted_size + v.deleted_free, 0);
	scratch_leave();
}
END_TEST

START_TEST(the_oldest_go_until_the_sum_fits)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	struct store_vacuum v;

	scratch_enter();
	store = scratch_store();
	put_hourly(store, noon - 2 * DAY, noon);
	v = vacuum(store, (struct store_retention){ .max_bytes = 10 * profile_bytes + 500 }, noon);
	ck_assert_uint_eq(v.deleted_size, 38);
	ck_assert_uint_eq(v.files, 10);
	ck_assert_uint_eq(v.oldest_wall_nsec, noon - 10 * HOUR);
	scratch_leave();
}
END_TEST

START_TEST(captures_of_alerts_go_last_and_pinned_ones_never)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	_cleanup_free_ char *alert = NULL, *api = NULL, *background = NULL, *pinned = NULL, *pin = NULL;
	struct store_vacuum v;

	scratch_enter();
	store = scratch_store();
	alert = put(store, "shop", noon - 9 * HOUR, "HighCPUUsage");
	pinned = put(store, "shop", noon - 8 * HOUR, NULL);
	background = put(store, "shop", noon - 7 * HOUR, "background");
	api = put(store, "shop", noon - 6 * HOUR, "api");
	put_hourly(store, noon - 5 * HOUR, noon);
	ck_assert_int_gt(asprintf(&pin, "%s.pin", pinned), 0);
	scratch_write(pin, "", 0);
	v = vacuum(store, (struct store_retention){ .max_bytes = 2 * profile_bytes }, noon);
	ck_assert_uint_eq(v.deleted_size, 7);
	ck_assert_uint_eq(v.files, 2);
	ck_assert_uint_eq(v.pinned, 1);
	ck_assert(scratch_exists(alert) && scratch_exists(pinned));
	ck_assert(!scratch_exists(background) && !scratch_exists(api));
	v = vacuum(store, (struct store_retention){ .age_nsec = HOUR, .max_bytes = 1 }, noon);
	ck_assert(!scratch_exists(alert) && scratch_exists(pinned) && scratch_exists(pin));
	ck_assert_uint_eq(v.oldest_wall_nsec, noon - 8 * HOUR);
	scratch_leave();
}
END_TEST

START_TEST(nothing_foreign_is_ever_removed)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	_cleanup_free_ char *bytes = scratch_profile(profile_bytes);
	struct store_vacuum v;
	char path[PATH_MAX];
	const struct store_retention harshest = { .age_nsec = 1, .max_bytes = 1, .keep_free_bytes = UINT64_MAX };

	scratch_enter();
	store = scratch_store();
	ck_assert_int_eq(system("mkdir -p out/2020-01-01/shop out/2020-01-01/.git out/lost+found out/2020-02-30/shop "
			"out/2020-01-01/shop/cpu-000001Z.pprof elsewhere/2020-01-01/shop out/2020-01-02 out/2020-01-03"), 0);
	for (int i = 0; i < 1000; i++) { /* names of others, contents of ours */
		static const char *const around[][2] = { { "out/2020-01-01/shop/notes-", "" }, { "out/2020-01-01/", "" },
			{ "out/lost+found/", "" }, { "out/", ".pprof" }, { "out/2020-01-01/shop/cpu-000000Z.pprof.", "" },
			{ "out/2020-01-01/shop/cpu-", "z.pprof" }, { "out/2020-02-30/shop/cpu-", "Z.pprof" },
			{ "out/2020-01-01/.git/cpu-", "Z.pprof" } };

		snprintf(path, sizeof(path), "%s%06d%s", around[i % 8][0], i, around[i % 8][1]);
		scratch_write(path, bytes, profile_bytes);
	}
	/* Names of ours, contents of others: nothing, little, other gzip, text. */
	scratch_write("out/2020-01-01/shop/cpu-010000Z.pprof", "", 0);
	scratch_write("out/2020-01-01/shop/cpu-010001Z.pprof", bytes, PPROF_MARK_SIZE - 1);
	scratch_write("out/2020-01-01/shop/cpu-010002Z.pprof", "\x1f\x8b\x08\0\0\0\0\0\0\xff more than 18 bytes", 30);
	scratch_write("out/2020-01-01/shop/cpu-010003Z-alert.2.pprof", "to whom it may concern: do not delete this", 42);
	/* All as ours, but elsewhere or not a plain file. */
	scratch_write("elsewhere/2020-01-01/shop/cpu-020000Z.pprof", bytes, profile_bytes);
	scratch_write("elsewhere/linked", bytes, profile_bytes);
	ck_assert_int_eq(symlink("../../../elsewhere/linked", "out/2020-01-01/shop/cpu-020001Z.pprof"), 0);
	ck_assert_int_eq(link("elsewhere/linked", "out/2020-01-01/shop/cpu-020002Z.pprof"), 0);
	ck_assert_int_eq(mkfifo("out/2020-01-01/shop/cpu-020003Z.pprof", 0644), 0);
	ck_assert_int_eq(symlink("../elsewhere/2020-01-01", "out/2020-01-04"), 0);
	ck_assert_int_eq(symlink("../../elsewhere/2020-01-01/shop", "out/2020-01-01/web"), 0);
	if (geteuid() == 0) {
		scratch_write("out/2020-01-01/shop/cpu-030000Z.pprof", bytes, profile_bytes);
		ck_assert_int_eq(chown("out/2020-01-01/shop/cpu-030000Z.pprof", 65534, 65534), 0);
		ck_assert_int_eq(system("mkdir -p out/2020-01-05/shop"), 0);
		scratch_write("out/2020-01-05/shop/cpu-030000Z.pprof", bytes, profile_bytes);
		ck_assert_int_eq(chown("out/2020-01-05", 65534, 65534), 0);
		ck_assert_int_eq(mkdir("out/2020-01-06", 0755), 0);
		ck_assert_int_eq(chown("out/2020-01-06", 65534, 65534), 0);
	}
	size_t n_out = scratch_files("out"), n_elsewhere = scratch_files("elsewhere");

	/* All of it was written now, so now it has to be. */
	free(put(store, "shop", clock_wall_nsec() - 3 * HOUR, NULL));
	v = vacuum(store, harshest, clock_wall_nsec());
	ck_assert_uint_eq(v.deleted_age, 1);
	ck_assert_uint_eq(v.deleted_size + v.deleted_free, 0);
	ck_assert_uint_eq(v.failed, 0);
	ck_assert_uint_eq(scratch_files("out"), n_out);
	ck_assert_uint_eq(scratch_files("elsewhere"), n_elsewhere);
	ck_assert(scratch_exists("out/2020-01-01/shop/cpu-000001Z.pprof"));
	ck_assert(!scratch_exists("out/2020-01-02"));
	ck_assert(geteuid() != 0 || scratch_exists("out/2020-01-06"));
	ck_assert_uint_gt(v.foreign, 100);
	ck_assert_uint_eq(v.files, 0);
	scratch_leave();
}
END_TEST

START_TEST(a_clock_set_forward_removes_nothing_by_age_for_a_day)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	const struct store_retention week = { .age_nsec = 7 * DAY };
	const uint64_t year = noon + 365 * DAY;
	struct store_vacuum v;

	scratch_enter();
	store = scratch_store();
	put_hourly(store, noon - 3 * DAY, noon);
	v = vacuum(store, week, noon);
	ck_assert(!v.clock_suspect);
	v = vacuum(store, week, year);
	ck_assert(v.clock_suspect);
	put_hourly(store, year, year + 20 * HOUR);
	v = vacuum(store, week, year + 20 * HOUR);
	ck_assert(v.clock_suspect);
	/* Another run of the daemon knows no better. */
	store = store_free(store);
	store = scratch_store();
	v = vacuum(store, week, year + 20 * HOUR);
	ck_assert(v.clock_suspect);
	ck_assert_uint_eq(v.files, 72 + 20);
	/* After a day the clock is believed. */
	put_hourly(store, year + 20 * HOUR, year + 26 * HOUR);
	v = vacuum(store, week, year + 26 * HOUR);
	ck_assert(!v.clock_suspect);
	ck_assert_uint_eq(v.deleted_age, 72);
	ck_assert_uint_eq(v.files, 26);
	scratch_leave();
}
END_TEST

START_TEST(an_old_window_written_just_now_is_no_sign_of_a_wrong_clock)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	_cleanup_free_ char *path = NULL;
	struct store_vacuum v;

	scratch_enter();
	store = scratch_store();
	path = put(store, "shop", noon - 30 * DAY, NULL);
	set_written(path, noon - HOUR);
	v = vacuum(store, (struct store_retention){ .age_nsec = 7 * DAY }, noon);
	ck_assert_uint_eq(v.deleted_age, 1);
	scratch_leave();
}
END_TEST

START_TEST(a_clock_that_was_steady_for_a_day_is_believed)
{
	struct store_clock clock = { 0 };

	ck_assert(!store_clock_is_steady(&clock, noon, HOUR));
	ck_assert(!store_clock_is_steady(&clock, noon + 23 * HOUR, 24 * HOUR));
	ck_assert(store_clock_is_steady(&clock, noon + 24 * HOUR, 25 * HOUR));
	/* Corrections of hours are none. */
	ck_assert(store_clock_is_steady(&clock, noon + 30 * HOUR, 26 * HOUR));
	ck_assert(!store_clock_is_steady(&clock, noon + 400 * DAY, 27 * HOUR));
	ck_assert(!store_clock_is_steady(&clock, noon + 400 * DAY + 23 * HOUR, 50 * HOUR));
	ck_assert(store_clock_is_steady(&clock, noon + 401 * DAY, 51 * HOUR));
	/* Set back: younger files remain, no harm. */
	ck_assert(store_clock_is_steady(&clock, noon, 52 * HOUR));
}
END_TEST

START_TEST(files_of_the_future_are_never_too_old_but_make_room_first)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	struct store_vacuum v;

	scratch_enter();
	store = scratch_store();
	put_hourly(store, noon + 300 * DAY, noon + 300 * DAY + 5 * HOUR);
	put_hourly(store, noon - 5 * HOUR, noon);
	v = vacuum(store, (struct store_retention){ .age_nsec = HOUR * 24 }, noon);
	ck_assert_uint_eq(v.files, 10);
	v = vacuum(store, (struct store_retention){ .max_bytes = 5 * profile_bytes }, noon);
	ck_assert_uint_eq(v.deleted_size, 5);
	ck_assert(scratch_exists("out/2026-11-24/shop/cpu-070000Z.pprof"));
	ck_assert(!scratch_exists("out/2027-09-20"));
	scratch_leave();
}
END_TEST

START_TEST(free_space_is_kept_but_the_newest_day_stays)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	struct store_vacuum v;
	struct statvfs vfs;

	scratch_enter();
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			mkdir("out", 0755) < 0 || mount("t", "out", "tmpfs", 0, "size=1m") < 0) {
		fprintf(stderr, "# skipped: a tmpfs cannot be mounted here\n");
		scratch_leave();
		return;
	}
	store = scratch_store();
	put_hourly(store, noon - 3 * DAY, noon);
	ck_assert_int_eq(statvfs("out", &vfs), 0);
	v = vacuum(store, (struct store_retention){ .keep_free_bytes = (vfs.f_bavail + 5) * vfs.f_frsize }, noon);
	ck_assert_uint_eq(v.deleted_free, 5);
	v = vacuum(store, (struct store_retention){ .keep_free_bytes = UINT64_MAX }, noon);
	ck_assert_uint_eq(v.deleted_free, 3 * 24 - 5 - 25);
	ck_assert_uint_eq(v.files, 25);
	ck_assert_uint_eq(v.oldest_wall_nsec, noon - 25 * HOUR);
	ck_assert_int_eq(umount2("out", MNT_DETACH), 0);
	scratch_leave();
}
END_TEST

START_TEST(a_missing_output_directory_is_made_again_and_empty)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	struct store_vacuum v;

	scratch_enter();
	store = scratch_store();
	ck_assert_int_eq(rmdir("out"), 0);
	v = vacuum(store, (struct store_retention){ .age_nsec = 1 }, noon);
	ck_assert_uint_eq(v.files + v.foreign, 0);
	scratch_leave();
}
END_TEST

START_TEST(twenty_thousand_files_are_looked_through_quickly)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	_cleanup_free_ char *bytes = scratch_profile(profile_bytes);
	const struct store_retention retention = { .age_nsec = 7 * DAY, .max_bytes = 19000 * profile_bytes };
	struct store_vacuum v;
	struct rusage usage;
	uint64_t start, spent;
	char directory[64];
	int fd;

	scratch_enter();
	store = scratch_store();
	for (unsigned int i = 0; i < 70; i++) {
		snprintf(directory, sizeof(directory), "out/2026-11-%02u", 18 + i / 10);
		mkdir(directory, 0750);
		snprintf(directory, sizeof(directory), "out/2026-11-%02u/service%u", 18 + i / 10, i % 10);
		ck_assert_int_eq(mkdir(directory, 0750), 0);
		fd = open(directory, O_RDONLY | O_DIRECTORY);
		for (uint32_t j = 0; j < 286; j++) {
			struct store_name name = { PROFILE_HEAP, j * 60, 1, "" };
			char file[STORE_FILE_SIZE];

			ck_assert_int_eq(store_name_format(&name, file), 0);
			int out = openat(fd, file, O_WRONLY | O_CREAT, 0640);
			ck_assert_int_eq(write(out, bytes, profile_bytes), profile_bytes);
			close(out);
		}
		close(fd);
	}
	start = clock_monotonic_nsec();
	v = vacuum(store, retention, noon + 12 * HOUR);
	spent = clock_monotonic_nsec() - start;
	getrusage(RUSAGE_SELF, &usage);
	fprintf(stderr, "# %llu ms for 20020 files of which %llu went, peak %ld MiB\n",
			(unsigned long long)(spent / NSEC_PER_MSEC), (unsigned long long)(v.deleted_age + v.deleted_size),
			usage.ru_maxrss >> 10);
	ck_assert_uint_eq(v.files, 19000);
	ck_assert_uint_eq(v.deleted_size + v.deleted_age, 1020);
	ck_assert_uint_lt(spent, 2 * NSEC_PER_SEC);
	scratch_leave();
}
END_TEST

UNIT_TESTS("store_vacuum", what_is_older_than_the_retention_goes_with_its_directories, the_oldest_go_until_the_sum_fits,
	captures_of_alerts_go_last_and_pinned_ones_never, nothing_foreign_is_ever_removed,
	a_clock_set_forward_removes_nothing_by_age_for_a_day, an_old_window_written_just_now_is_no_sign_of_a_wrong_clock,
	a_clock_that_was_steady_for_a_day_is_believed, files_of_the_future_are_never_too_old_but_make_room_first,
	free_space_is_kept_but_the_newest_day_stays, a_missing_output_directory_is_made_again_and_empty,
	twenty_thousand_files_are_looked_through_quickly)
