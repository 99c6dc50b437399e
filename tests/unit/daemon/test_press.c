/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../main.h"
#include "clock.h"
#include "diag.h"
#include "fs.h"
#include "go_findings.h"
#include "made_capture.h"
#include "made_go_report.h"
#include "pprof_decode.h"
#include "press.h"
#include "profile.h"

static sd_event *loop;
static struct press *press;
static char folder[] = "/tmp/test-press-XXXXXX";
static char directory[64];

/* What the results said. */
static unsigned n_results, n_files, n_late, n_errors;
static char last_path[256], last_leak[64];
static size_t n_leaks, n_leak_pids;
static int last_error;
static uint64_t last_samples, last_unsaved, last_discarded;

static void on_done(const struct press_result *result, void *userdata)
{
	n_results++;
	ck_assert_uint_eq(result->seen, result->kept + result->lost_ring + result->lost_namespace + result->lost_frames);
	for (size_t i = 0; i < result->files.n; i++) {
		const struct press_file *file = &result->files.at[i];

		n_files += !!file->path;
		n_late += file->is_late;
		n_errors += !file->path;
		last_error = file->error;
		last_samples = file->n_samples;
		if (file->path)
			snprintf(last_path, sizeof(last_path), "%s", file->path);
	}
	n_leaks = result->leaks.n;
	n_leak_pids = result->leak_pids.n;
	snprintf(last_leak, sizeof(last_leak), "%s", result->leaks.n ? result->leaks.at[0].creator : "");
	last_unsaved = result->n_unsaved;
	last_discarded = result->n_discarded;
}

static void set_output(const char *name, const char *path)
{
	struct press_output output = { .store = STORE_OPTIONS_DEFAULT, .max_services = 8, .path = path };

	if (name) {
		snprintf(directory, sizeof(directory), "%s/%s", folder, name);
		output.directory = directory;
	}
	ck_assert_int_eq(press_set_output(press, &output), 0);
}

static void start(const char *name)
{
	const struct press_options options = { 0 };

	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_ge(sd_event_new(&loop), 0);
	ck_assert_int_eq(press_new(loop, &options, on_done, NULL, &press), 0);
	if (name)
		set_output(name, NULL);
}

static void finish(void)
{
	char command[128];

	press_free(press);
	sd_event_unref(loop);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static struct capture *small_capture(const char *service, uint64_t count)
{
	struct capture *capture = made_capture();
	uint64_t frame = 0x1000;

	made_sample(capture, made_process(capture, 5, NULL), service, count, 0, &frame, 1);
	capture->end_nsec = clock_monotonic_nsec();
	return capture;
}

static void press_one(const char *service)
{
	ck_assert_int_eq(press_submit_take(press, small_capture(service, 7)), 0);
	press_finish(press);
}

/* Runs the loop until `n` files are there, 10 s at most. */
static void wait_for_files(unsigned n)
{
	uint64_t end = clock_monotonic_nsec() + 10 * NSEC_PER_SEC;

	while (n_files < n && clock_monotonic_nsec() < end)
		sd_event_run(loop, 100000);
	ck_assert_uint_eq(n_files, n);
}

START_TEST(a_capture_becomes_a_file)
{
	struct profile *profile;
	struct diag *diag;
	char *bytes;
	size_t size;

	start("out");
	press_one("svc");
	ck_assert_uint_eq(n_results, 1);
	ck_assert_uint_eq(n_files, 1);
	ck_assert_uint_eq(last_samples, 7);
	ck_assert_uint_eq(press_pending(press), 0);
	ck_assert_msg(strstr(last_path, "/out/2023-11-14/svc/cpu-221320Z.pprof") != NULL, "%s", last_path);
	ck_assert_int_eq(fs_read(AT_FDCWD, last_path, 1 << 20, &bytes, &size), 0);
	diag = diag_new();
	ck_assert_int_eq(pprof_decode(bytes, size, last_path, NULL, diag, &profile), 0);
	ck_assert_uint_eq(profile->samples.n, 1);
	ck_assert_int_eq(profile->values.at[0], 7);
	ck_assert_uint_gt(profile->comments.n, 3);
	profile_free(profile);
	diag_free(diag);
	free(bytes);
	finish();
}
END_TEST

static struct profile *read_profile(const char *path)
{
	struct profile *profile;
	struct diag *diag = diag_new();
	char *bytes;
	size_t size;

	ck_assert_int_eq(fs_read(AT_FDCWD, path, 1 << 20, &bytes, &size), 0);
	ck_assert_int_eq(pprof_decode(bytes, size, path, NULL, diag, &profile), 0);
	diag_free(diag);
	free(bytes);
	return profile;
}

static void assert_comment(const struct profile *profile, const char *expected)
{
	for (size_t i = 0; i < profile->comments.n; i++)
		if (!strcmp(profile_get_string(profile, profile->comments.at[i]), expected))
			return;
	ck_abort_msg("no comment \"%s\"", expected);
}

START_TEST(a_file_says_how_whole_its_stacks_are_and_the_window_s)
{
	struct capture *capture = made_capture();
	uint32_t a = made_process(capture, 5, made_image("a")), b = made_process(capture, 6, NULL);
	uint64_t frame = 0x1000;
	struct profile *profile;

	start(NULL);
	snprintf(last_path, sizeof(last_path), "%s/f.pprof", folder);
	capture->end_nsec = clock_monotonic_nsec();
	made_mapping(capture->images.at[a], IMAGE_MAPPING_ANONYMOUS, 0x1000, 0x1000, 0, NULL);
	made_ended_sample(capture, a, "a", 6, 0, &frame, 1, SAMPLE_VERDICT_COMPLETE, 0);
	made_ended_sample(capture, a, "a", 1, 0, &frame, 1, SAMPLE_VERDICT_NO_TABLE, 0);
	made_ended_sample(capture, b, "b", 1, 0, &frame, 1, SAMPLE_VERDICT_NO_MAPPING, 0);
	made_ended_sample(capture, b, "b", 5, 1, &frame, 1, SAMPLE_VERDICT_KERNEL, 0);
	/* The frames of two never came. */
	capture->stacks->verdicts[SAMPLE_VERDICT_COMPLETE] += 2;
	capture->stacks->seen += 2;
	capture->stacks->lost_frames += 2;
	set_output(NULL, last_path);
	ck_assert_int_eq(press_submit_take(press, capture), 0);
	press_finish(press);
	profile = read_profile(last_path);
	assert_comment(profile, "user stacks of this file: complete 6 (75.00 %), elided 0, kernel only 5, "
			"broken 2 (no mapping 1, no unwind table yet 1)");
	assert_comment(profile, "user stacks of the host: complete 8 (80.00 %), elided 0, kernel only 5, "
			"broken 2 (no mapping 1, no unwind table yet 1)");
	assert_comment(profile, "frames without a name: 100.00 %, without mapping: 46.15 %");
	profile_free(profile);
	finish();
}
END_TEST

/* A file of block of one process: of 200 waits `lost` are. */
static struct profile *press_waits(uint64_t lost, uint64_t lost_nsec)
{
	struct capture *capture = made_capture();
	uint64_t frame = 0x1000;
	struct profile *profile;

	start(NULL);
	snprintf(last_path, sizeof(last_path), "%s/f.pprof", folder);
	capture->kind = PROFILE_BLOCK;
	capture->kinds = capture_kind_bit(PROFILE_BLOCK);
	made_sample(capture, made_process(capture, 5, made_image("a")), "a", 200 - lost, 0, &frame, 1);
	capture->stacks->samples.at[0].wait.reason = SAMPLE_DISK;
	capture->stacks->samples.at[0].nsec = capture->stacks->waited_nsec = 1000000;
	capture->stacks->n_waits = 200 - lost;
	capture->stacks->with_stack = (200 - lost) / 2;
	capture->stacks->with_stack_nsec = 900000;
	capture->stacks->seen = 200;
	capture->stacks->lost_ring = lost;
	capture->stacks->lost_nsec = lost_nsec;
	capture->stacks->short_waits = 7;
	capture->stacks->short_nsec = 1500;
	capture->facts.min_delay_nsec = 1000;
	capture->facts.stack_every_nsec = 200000;
	set_output(NULL, last_path);
	ck_assert_int_eq(press_submit_take(press, capture), 0);
	press_finish(press);
	profile = read_profile(last_path);
	finish();
	return profile;
}

static bool is_marked(const struct profile *profile)
{
	for (size_t i = 0; i < profile->comments.n; i++)
		if (!strncmp(profile_get_string(profile, profile->comments.at[i]), "INCOMPLETE", 10))
			return true;
	return false;
}

START_TEST(a_file_of_waits_says_what_was_timed_and_what_is_missing)
{
	struct profile *profile = press_waits(2, 0);

	assert_comment(profile, "timed: each wait, from leaving a CPU to having one again; a stack was taken for 50.00 % of them, 90.00 % of their "
			"time; window: 1.000 s, all of it covered");
	assert_comment(profile, "waits of all targets in this window: seen 200 = kept 198 + lost 2 (ring 2, namespace 0, frames 0, storage 0)");
	assert_comment(profile, "waits below min_delay (1.000 us), not in this file: 7, 0.000002 s");
	assert_comment(profile, "the governor takes fewer stacks, of waits below 200 us: own cost 0.000 % of the machine's CPU time, "
			"budget 0.000 %");
	ck_assert(!is_marked(profile));
	profile_free(profile);
}
END_TEST

START_TEST(a_file_that_lacks_more_than_one_in_a_hundred_waits_is_marked)
{
	struct profile *profile = press_waits(3, 10);

	assert_comment(profile, "INCOMPLETE: 1.50 % of the waits and 0.00 % of their time, where it is known, were lost");
	profile_free(profile);
}
END_TEST

START_TEST(a_file_that_lacks_more_than_a_hundredth_of_the_time_is_marked)
{
	struct profile *profile = press_waits(1, 20000);

	ck_assert(is_marked(profile));
	profile_free(profile);
}
END_TEST

START_TEST(a_file_says_when_and_why_its_rate_was_lowered)
{
	struct capture *capture = made_capture();
	uint64_t frame = 0x1000;
	struct profile *profile;

	start(NULL);
	snprintf(last_path, sizeof(last_path), "%s/f.pprof", folder);
	made_sample(capture, made_process(capture, 5, NULL), "a", 1, 0, &frame, 1);
	capture->facts.rate = 49;
	capture->facts.full_rate = 99;
	capture->facts.cost_ppm = 12345;
	capture->facts.budget_ppm = 5000;
	set_output(NULL, last_path);
	ck_assert_int_eq(press_submit_take(press, capture), 0);
	/* Whatever is forgotten in between. */
	ck_assert_int_eq(press_drop_caches(press), 0);
	press_finish(press);
	profile = read_profile(last_path);
	assert_comment(profile, "the governor lowered the rate from 99 to 49 Hz: own cost 1.234 % of the machine's CPU time, "
			"budget 0.500 %");
	profile_free(profile);
	ck_assert_uint_eq(press_pending(press), 0);
	finish();
}
END_TEST

START_TEST(results_come_through_the_loop_too)
{
	start("out");
	ck_assert_int_eq(press_submit_take(press, small_capture("svc", 1)), 0);
	ck_assert_uint_eq(press_pending(press), 1);
	wait_for_files(1);
	ck_assert_uint_eq(press_pending(press), 0);
	finish();
}
END_TEST

START_TEST(a_change_of_output_takes_its_turn)
{
	start("first");
	ck_assert_int_eq(press_submit_take(press, small_capture("a", 1)), 0);
	set_output("second", NULL);
	ck_assert_int_eq(press_submit_take(press, small_capture("b", 1)), 0);
	press_finish(press);
	ck_assert_uint_eq(n_files, 2);
	ck_assert_msg(strstr(last_path, "/second/2023-11-14/b/") != NULL, "%s", last_path);
	snprintf(last_path, sizeof(last_path), "%s/first/2023-11-14/a/cpu-221320Z.pprof", folder);
	ck_assert_int_eq(access(last_path, R_OK), 0);
	finish();
}
END_TEST

START_TEST(what_the_disk_refuses_is_kept_and_written_later_in_order)
{
	char path[128];

	start(NULL);
	snprintf(path, sizeof(path), "%s/out", folder);
	close(open(path, O_CREAT | O_WRONLY, 0644));
	set_output("out", NULL);
	for (unsigned i = 0; i < 3; i++)
		press_one("svc");
	ck_assert_uint_eq(n_files, 0);
	ck_assert_uint_eq(n_errors, 3);
	ck_assert_int_eq(last_error, -ENOTDIR);
	ck_assert_uint_eq(last_unsaved, 3);
	ck_assert_int_eq(unlink(path), 0);
	wait_for_files(3);
	ck_assert_uint_eq(n_late, 3);
	ck_assert_uint_eq(last_samples, 7);
	ck_assert_uint_eq(last_unsaved, 0);
	ck_assert_uint_eq(last_discarded, 0);
	ck_assert_msg(strstr(last_path, "cpu-221320Z.3.pprof") != NULL, "%s", last_path);
	finish();
}
END_TEST

START_TEST(one_service_without_a_folder_does_not_hold_up_the_others)
{
	char path[128];

	start("out");
	press_one("first");
	n_files = 0;
	snprintf(path, sizeof(path), "%s/out/2023-11-14/bad", folder);
	close(open(path, O_CREAT | O_WRONLY, 0644));
	press_one("bad");
	ck_assert_int_eq(last_error, -ENOTDIR);
	/* A whole day is refused for a while. */
	snprintf(path, sizeof(path), "mv %s/out/2023-11-14 %s/day && : > %s/out/2023-11-14", folder, folder, folder);
	ck_assert_int_eq(system(path), 0);
	press_one("good");
	ck_assert_uint_eq(last_unsaved, 2);
	snprintf(path, sizeof(path), "rm %s/out/2023-11-14 && mv %s/day %s/out/2023-11-14", folder, folder, folder);
	ck_assert_int_eq(system(path), 0);
	wait_for_files(1);
	ck_assert_msg(strstr(last_path, "/good/") != NULL, "%s", last_path);
	ck_assert_uint_eq(last_unsaved, 1);
	finish();
}
END_TEST

START_TEST(a_full_disk_loses_nothing)
{
	char mountpoint[64], path[128], block[4096] = { 0 };
	int fd;

	start(NULL);
	snprintf(mountpoint, sizeof(mountpoint), "%s/full", folder);
	mkdir(mountpoint, 0755);
	/* Not root: nothing to test with. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", mountpoint, "tmpfs", 0, "size=64k") < 0) {
		finish();
		return;
	}
	/* The thread was there before and sees the other mount namespace. */
	press_free(press);
	ck_assert_int_eq(press_new(loop, &(struct press_options){ 0 }, on_done, NULL, &press), 0);
	set_output("full", NULL);
	snprintf(path, sizeof(path), "%s/filler", mountpoint);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	while (write(fd, block, sizeof(block)) > 0)
		;
	close(fd);
	press_one("svc");
	ck_assert_int_eq(last_error, -ENOSPC);
	ck_assert_uint_eq(last_unsaved, 1);
	ck_assert_int_eq(unlink(path), 0);
	wait_for_files(1);
	ck_assert_uint_eq(last_unsaved, 0);
	ck_assert_int_eq(umount2(mountpoint, MNT_DETACH), 0);
	finish();
}
END_TEST

START_TEST(more_windows_than_may_wait_are_refused)
{
	char path[64];
	int fd, n = 0;

	start(NULL);
	snprintf(path, sizeof(path), "%s/pipe", folder);
	/* Nobody reads: the thread waits in open(). */
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	set_output(NULL, path);
	while (press_submit_take(press, small_capture("svc", 1)) == 0)
		ck_assert_int_lt(++n, 100);
	ck_assert_int_eq(press_submit_take(press, small_capture("svc", 1)), -ENOBUFS);
	ck_assert_uint_eq(press_pending(press), n);
	ck_assert_int_gt(n, 1);
	fd = open(path, O_RDWR | O_NONBLOCK);
	press_finish(press);
	ck_assert_uint_eq(n_results, n);
	ck_assert_uint_eq(n_files, n);
	ck_assert_uint_eq(press_pending(press), 0);
	close(fd);
	finish();
}
END_TEST

START_TEST(a_press_can_go_with_captures_and_profiles_left)
{
	start(NULL);
	set_output(NULL, NULL);
	/* No output at all: kept. */
	press_one("svc");
	ck_assert_uint_eq(last_unsaved, 1);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(press_submit_take(press, small_capture("svc", 1)), 0);
	finish();
}
END_TEST

START_TEST(a_device_is_written_to_and_not_replaced)
{
	char path[64];
	struct stat st;

	start(NULL);
	snprintf(path, sizeof(path), "%s/null", folder);
	/* Where no device can be made a link to one is as good. */
	if (mknod(path, S_IFCHR | 0666, 1 << 8 | 3) < 0)
		ck_assert_int_eq(symlink("/dev/null", path), 0);
	set_output(NULL, path);
	press_one("svc");
	ck_assert_uint_eq(n_files, 1);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISCHR(st.st_mode));
	finish();
}
END_TEST

START_TEST(one_file_is_replaced_whole_and_belongs_to_who_is_asked_for)
{
	char path[64];
	struct stat st;

	start(NULL);
	snprintf(path, sizeof(path), "%s/f.pprof", folder);
	set_output(NULL, path);
	press_one("svc");
	press_one("svc");
	ck_assert_uint_eq(n_files, 2);
	ck_assert_str_eq(last_path, path);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0644);
	finish();
}
END_TEST

static int check(const char *path, const char *store)
{
	const struct press_output output = { .path = path, .directory = store, .store = STORE_OPTIONS_DEFAULT };

	return press_check_output(&output);
}

static struct capture *capture_of_goroutines(void)
{
	const struct process_id id = { .pid = 7, .exec_id = 1, .start_nsec = 1000 };
	const uint64_t stack[] = { 0x1010, 0x2020 };
	struct go_report report = made_report("go1.26.8");
	const struct go_addition addition = { .process = &id, .report = &report, .parts = 1U << GO_REPORT_GOROUTINES };
	struct capture *capture = made_capture();

	capture->kind = PROFILE_GOROUTINE;
	capture->kinds = capture_kind_bit(PROFILE_GOROUTINE);
	capture->go = go_findings_new();
	made_goroutine(&report, 1, stack, 2);
	made_goroutine(&report, 12, stack, 2);
	report.goroutines.n_unread = 1;
	ck_assert_int_eq(go_findings_add(capture->go, capture->stacks, &addition), 0);
	ck_assert_int_eq(vec_push(&capture->images, made_image("shop")), 0);
	made_report_free(&report);
	return capture;
}

START_TEST(goroutines_are_a_profile_that_says_what_it_lacks)
{
	struct profile *profile;

	start("out");
	ck_assert_int_eq(press_submit_take(press, capture_of_goroutines()), 0);
	press_finish(press);
	ck_assert_uint_eq(n_files, 1);
	ck_assert_msg(strstr(last_path, "/shop/goroutine-221320Z.pprof") != NULL, "%s", last_path);
	profile = read_profile(last_path);
	ck_assert_int_eq(profile_total(profile, 0), 2);
	assert_comment(profile, "process 7 (go1.26.8): 2 goroutines: waiting 2; read in 2.000 ms, none was stopped");
	assert_comment(profile, "goroutines of all targets in this snapshot: seen 3 = kept 2 + lost 1 (ring 0, namespace 0, frames 1)");
	assert_comment(profile, "INCOMPLETE: 33.33 % of the goroutines were lost");
	profile_free(profile);
	finish();
}
END_TEST

/* What a process told, with 42 waits of threads where they are wanted, as files of those kinds; the one of `kind`. */
static struct profile *press_go(const struct go_report *before, const struct go_report *report, uint32_t kinds, enum profile_kind kind)
{
	const struct process_id id = { .pid = 7, .exec_id = 1, .start_nsec = 1000 };
	const struct go_addition addition = { .process = &id, .report = report, .before = before, .parts = (1U << GO_REPORT_N_PARTS) - 1 };
	struct capture *capture = made_capture();
	uint64_t frame = 0x1000;
	char *at;

	capture->kind = kinds & capture_kind_bit(PROFILE_GOROUTINE) ? PROFILE_GOROUTINE : PROFILE_BLOCK;
	capture->kinds = kinds;
	capture->go = go_findings_new();
	if (capture->kind == PROFILE_BLOCK) {
		made_sample(capture, made_process(capture, 5, made_image("shop")), "shop", 40, 0, &frame, 1);
		capture->stacks->lost_ring = 2;
		capture->stacks->seen += 2;
	}
	ck_assert_int_eq(go_findings_add(capture->go, capture->stacks, &addition), 0);
	ck_assert_int_eq(vec_push(&capture->images, made_image("shop")), 0);
	ck_assert_int_eq(press_submit_take(press, capture), 0);
	press_finish(press);
	at = strrchr(last_path, '/') + 1;
	snprintf(at, sizeof(last_path) - (size_t)(at - last_path), "%s-221320Z.pprof", profile_kind_info(kind)->name);
	return read_profile(last_path);
}

START_TEST(a_file_tells_what_was_seen_of_its_own_kind)
{
	const uint64_t stack[] = { 0x1010, 0x2020 };
	const uint32_t looks = capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP);
	const uint32_t waits = capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX);
	struct go_report report = made_report("go1.26.8"), before = made_report("go1.26.8");
	struct profile *profile;

	start("out");
	made_goroutine(&report, 1, stack, 2);
	made_goroutine(&report, 12, stack, 2);
	report.goroutines.n_unread = 1;
	report.memory.rate = 524288;
	made_allocations(&report, stack, 2, 64, 9, 4);
	made_allocations(&report, stack, 1, 64, 4, 9); /* more was freed than allocated */
	profile = press_go(NULL, &report, looks, PROFILE_GOROUTINE);
	assert_comment(profile, "goroutines of all targets in this snapshot: seen 3 = kept 2 + lost 1 (ring 0, namespace 0, frames 1)");
	assert_comment(profile, "user stacks of all targets: complete 2 (100.00 %), elided 0, kernel only 0, broken 0");
	assert_comment(profile, "INCOMPLETE: 33.33 % of the goroutines were lost");
	profile_free(profile);
	profile = press_go(NULL, &report, looks, PROFILE_HEAP);
	assert_comment(profile, "stacks of allocations of all targets in this snapshot: seen 2 = kept 1 + lost 1 (ring 0, namespace 0, frames 1)");
	assert_comment(profile, "user stacks of all targets: complete 1 (100.00 %), elided 0, kernel only 0, broken 0");
	assert_comment(profile, "INCOMPLETE: 50.00 % of the stacks of allocations were lost");
	profile_free(profile);
	made_report_free(&report);

	report = made_report("go1.26.8");
	made_has(&before, GO_REPORT_BLOCK);
	made_has(&before, GO_REPORT_MUTEX);
	made_contentions(&report, GO_REPORT_BLOCK, stack, 2, 7, 700);
	made_contentions(&report, GO_REPORT_BLOCK, stack, 1, -1, 700);
	made_contentions(&report, GO_REPORT_MUTEX, stack, 2, 3, 300);
	profile = press_go(&before, &report, waits, PROFILE_BLOCK);
	assert_comment(profile, "waits of all targets in this window: seen 42 = kept 40 + lost 2 (ring 2, namespace 0, frames 0, storage 0)");
	assert_comment(profile, "recorded waits of goroutines (source = go) of all targets in this window: seen 8 = kept 7 + lost 1");
	assert_comment(profile, "INCOMPLETE: 12.50 % of the recorded waits of goroutines (source = go) were lost");
	profile_free(profile);
	profile = press_go(&before, &report, waits, PROFILE_MUTEX);
	assert_comment(profile, "waits of all targets in this window: seen 42 = kept 40 + lost 2 (ring 2, namespace 0, frames 0, storage 0)");
	assert_comment(profile, "recorded contentions of goroutines (source = go) of all targets in this window: seen 3 = kept 3 + lost 0");
	profile_free(profile);
	made_report_free(&report);
	finish();
}
END_TEST

START_TEST(goroutines_are_text_where_that_is_wanted)
{
	struct press_output output = { .store = STORE_OPTIONS_DEFAULT, .max_services = 8, .path = last_path, .debug = 2 };
	char text[256] = "";
	FILE *f;

	start(NULL);
	snprintf(last_path, sizeof(last_path), "%s/f.txt", folder);
	ck_assert_int_eq(press_set_output(press, &output), 0);
	ck_assert_int_eq(press_submit_take(press, capture_of_goroutines()), 0);
	press_finish(press);
	ck_assert_uint_eq(n_files, 1);
	ck_assert_uint_eq(last_samples, 2);
	f = fopen(last_path, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, f), 0);
	fclose(f);
	ck_assert_msg(strstr(text, "goroutine 1 [chan receive]:\n[unknown]+0x100f(...)\n\t?:0\n[unknown]+0x201f(...)\n\t?:0\n\ngoroutine 12 [chan receive]:\n") == text, "%s", text);
	finish();
}
END_TEST

static struct capture *capture_of_a_leak(void)
{
	const struct process_id id = { .pid = 8, .exec_id = 1, .start_nsec = 1000 };
	const uint64_t stack[] = { 0x1010, 0x2020 };
	struct go_report report = made_report("go1.26.8");
	struct go_addition addition = { .process = &id, .report = &report, .parts = 1U << GO_REPORT_GOROUTINES };
	struct capture *capture = capture_of_goroutines();
	struct goroutine_leaks *leaks;

	for (uint64_t i = 0; i < 20; i++)
		made_goroutine(&report, i + 1, stack, 2)->go_pc = 0x3030;
	addition.leaks = leaks = made_leaks(&report);
	ck_assert_int_eq(go_findings_add(capture->go, capture->stacks, &addition), 0);
	ck_assert_int_eq(vec_push(&capture->images, made_image("leaky")), 0);
	goroutine_leaks_free(leaks);
	made_report_free(&report);
	return capture;
}

START_TEST(a_result_has_leaks_and_which_processes_were_looked_at)
{
	struct press_output output = { .store = STORE_OPTIONS_DEFAULT, .max_services = 8, .path = "/dev/null", .debug = 2 };

	start("out");
	ck_assert_int_eq(press_submit_take(press, capture_of_a_leak()), 0);
	press_finish(press);
	ck_assert_uint_eq(n_leaks, 1);
	ck_assert_uint_eq(n_leak_pids, 1);
	ck_assert_str_eq(last_leak, "[unknown]+0x302f");
	/* One that says nothing of them. */
	press_one("svc");
	ck_assert_uint_eq(n_leaks, 0);
	ck_assert_uint_eq(n_leak_pids, 0);
	/* As text, too. */
	ck_assert_int_eq(press_set_output(press, &output), 0);
	ck_assert_int_eq(press_submit_take(press, capture_of_a_leak()), 0);
	press_finish(press);
	ck_assert_uint_eq(n_leaks, 1);
	ck_assert_uint_eq(n_leak_pids, 1);
	ck_assert_str_eq(last_leak, "[unknown]+0x302f");
	finish();
}
END_TEST

START_TEST(where_nothing_can_be_written_is_known_before)
{
	char path[64], file[80];

	start(NULL);
	snprintf(path, sizeof(path), "%s/new", folder);
	snprintf(file, sizeof(file), "%s/f.pprof", path);
	ck_assert_int_eq(check(file, NULL), -ENOENT);
	ck_assert_int_eq(check(NULL, path), 0);
	ck_assert_int_eq(check(file, NULL), 0);
	ck_assert_int_ne(access(file, F_OK), 0);
	close(open(file, O_CREAT | O_WRONLY, 0644));
	ck_assert_int_eq(check(NULL, file), -ENOTDIR);
	ck_assert_int_eq(check("/dev/null", NULL), 0);
	ck_assert_int_eq(check("/dev/null/x", NULL), -ENOTDIR);
	finish();
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		a_capture_becomes_a_file, a_file_says_how_whole_its_stacks_are_and_the_window_s,
		a_file_of_waits_says_what_was_timed_and_what_is_missing, a_file_that_lacks_more_than_one_in_a_hundred_waits_is_marked,
		a_file_that_lacks_more_than_a_hundredth_of_the_time_is_marked, results_come_through_the_loop_too, a_change_of_output_takes_its_turn,
		what_the_disk_refuses_is_kept_and_written_later_in_order, one_service_without_a_folder_does_not_hold_up_the_others,
		a_full_disk_loses_nothing, more_windows_than_may_wait_are_refused, a_press_can_go_with_captures_and_profiles_left,
		a_device_is_written_to_and_not_replaced, one_file_is_replaced_whole_and_belongs_to_who_is_asked_for,
		goroutines_are_a_profile_that_says_what_it_lacks, a_file_tells_what_was_seen_of_its_own_kind, goroutines_are_text_where_that_is_wanted,
		a_result_has_leaks_and_which_processes_were_looked_at,
		where_nothing_can_be_written_is_known_before, a_file_says_when_and_why_its_rate_was_lowered,
	};

	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	return unit_main("press", tests, sizeof(tests) / sizeof(tests[0]));
}
