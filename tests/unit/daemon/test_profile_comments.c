/* SPDX-License-Identifier: Apache-2.0 */
/* Those of samples, waits and goroutines, in files: test_press.c. */
#include "profile_comments.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "clock.h"
#include "made_capture.h"
#include "main.h"
#include "profile.h"
#include "service_profile.h"

static const struct utsname host = { .nodename = "machine", .release = "6.1.0" };
static const uint64_t frames[] = { 0x401000 };

static struct service_profile commented(const struct capture *capture, enum profile_kind kind, const struct lock *lock)
{
	struct service_profile service;

	ck_assert_int_eq(service_profile_init(&service, "a\nservice", kind, 1), 0);
	if (lock) {
		ck_assert_int_eq(vec_push(&service.locks, *lock), 0);
		service.n_locks = 3;
		service.locks_nsec = 2 * NSEC_PER_SEC;
	}
	profile_comments_add(capture, &service, &host);
	return service;
}

static bool has_comment(const struct service_profile *service, const char *beginning)
{
	const struct profile *profile = service->profile;

	for (size_t i = 0; i < profile->comments.n; i++)
		if (!strncmp(profile_get_string(profile, profile->comments.at[i]), beginning, strlen(beginning)))
			return true;
	return false;
}

START_TEST(who_made_the_file_of_what_is_told_and_when_it_was)
{
	struct capture *capture = made_capture();
	struct service_profile service = commented(capture, PROFILE_CPU, NULL);

	ck_assert(has_comment(&service, "tsprofd "));
	ck_assert(!has_comment(&service, "service: a\n"));
	ck_assert(has_comment(&service, "rate: 100 Hz a CPU, event: cpu-clock, window: 1.000 s, all of it covered"));
	ck_assert(!has_comment(&service, "stolen"));
	ck_assert_int_eq(service.profile->time_nsec, INT64_C(1700000000000000000));
	ck_assert_int_eq(service.profile->duration_nsec, INT64_C(1000000000));
	service_profile_deinit(&service);
	capture_free(capture);
}
END_TEST

START_TEST(time_that_the_hypervisor_kept_is_told)
{
	struct capture *capture = made_capture();
	struct service_profile service;

	capture->facts.n_cpus = 4;
	capture->facts.stolen_nsec = NSEC_PER_SEC;
	service = commented(capture, PROFILE_CPU, NULL);
	ck_assert(has_comment(&service, "stolen: the hypervisor gave 25.00 % of the machine's CPU time in this window to others (1.000 s)"));
	service_profile_deinit(&service);
	capture_free(capture);
}
END_TEST

START_TEST(a_snapshot_tells_how_many_threads_ran)
{
	struct capture *capture = made_capture();
	uint32_t process = made_process(capture, 42, made_image("service"));
	struct service_profile service;

	for (size_t i = 0; i < 3; i++) {
		made_sample(capture, process, "thread", 1, 0, frames, i ? 1 : 0);
		capture->stacks->samples.at[i].wait.reason = i < 2 ? SAMPLE_RAN : SAMPLE_SLEEP;
	}
	service = commented(capture, PROFILE_THREAD, NULL);
	ck_assert(has_comment(&service, "snapshot: each thread was looked at once, all within 1000.000 ms, and none was stopped; running: 2, of which 1 were met"));
	ck_assert(has_comment(&service, "threads of all targets in this snapshot: seen 3 = kept 3 + lost 0"));
	service_profile_deinit(&service);
	capture_free(capture);
}
END_TEST

START_TEST(a_lock_is_told_with_its_owners)
{
	struct capture *capture = made_capture();
	struct lock lock = { .address = 0x7000, .waits = 5, .nsec = NSEC_PER_SEC, .longest_nsec = NSEC_PER_SEC / 2, .n_threads = 2, .n_owners = 2,
		.owners = { 7, 8 } };
	struct service_profile service;

	lock.process = made_process(capture, 42, made_image("service"));
	service = commented(capture, PROFILE_MUTEX, &lock);
	ck_assert(has_comment(&service, "locks waited for: 3, 2.000000 s; those with the most time:"));
	ck_assert(has_comment(&service, "lock 0x7000 of process 42: 1.000000 s in 5 waits of 2 threads, longest 0.500000 s; owners seen: 2 (7, 8)"));
	ck_assert(has_comment(&service, "deadlocks: not looked for"));
	service_profile_deinit(&service);
	service = commented(capture, PROFILE_BLOCK, NULL);
	ck_assert(!has_comment(&service, "lock"));
	ck_assert(!has_comment(&service, "deadlocks"));
	service_profile_deinit(&service);
	capture_free(capture);
}
END_TEST

UNIT_TESTS("profile_comments", who_made_the_file_of_what_is_told_and_when_it_was, time_that_the_hypervisor_kept_is_told,
	a_snapshot_tells_how_many_threads_ran, a_lock_is_told_with_its_owners)
