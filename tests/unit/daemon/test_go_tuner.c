/* SPDX-License-Identifier: Apache-2.0 */
/* The state has no folder, so that nothing is written. What is: tests/system/test_go_daemon_rates.py. */
#include "go_tuner.h"

#include <fcntl.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "go_report.h"
#include "location.h"
#include "main.h"

static const struct config none = { .enabled = true, .block.enabled = true, .mutex.enabled = true, .memory.enabled = true };
static const struct config fraction = { .enabled = true, .mutex = { .enabled = true, .go_fraction = 5 } };

START_TEST(nothing_is_wished_unless_the_configuration_asks_for_it)
{
	struct go_tuner tuner = { 0 };
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	ck_assert(!go_tuner_wants(&tuner));
	ck_assert_int_eq(go_switch_new(proc, -1, &tuner.sw), 0);
	ck_assert(!go_tuner_wants(&tuner));
	tuner.config = &none;
	ck_assert(!go_tuner_wants(&tuner));
	ck_assert(!go_tuner_has_work(&tuner));
	tuner.config = &fraction;
	ck_assert(go_tuner_wants(&tuner));
	ck_assert(go_tuner_has_work(&tuner));
	tuner.sw = go_switch_free(tuner.sw);
	ck_assert(!go_tuner_wants(&tuner));
}
END_TEST

START_TEST(a_process_is_looked_at_a_second_after_it_came_and_once)
{
	struct go_tuning tuning = { 0 };

	ck_assert(!go_tuner_take(&tuning, 100 * NSEC_PER_SEC));
	go_tuner_begin(&tuning, 100 * NSEC_PER_SEC);
	/* What is wished changes meanwhile: it is too young all the same. */
	go_tuner_renew(&tuning, 100 * NSEC_PER_SEC + NSEC_PER_MSEC);
	ck_assert(!go_tuner_take(&tuning, 101 * NSEC_PER_SEC));
	ck_assert(go_tuner_take(&tuning, 102 * NSEC_PER_SEC));
	ck_assert(!go_tuner_take(&tuning, 103 * NSEC_PER_SEC));
}
END_TEST

START_TEST(when_what_is_wished_changes_it_is_looked_at_now)
{
	struct go_tuning tuning = { 0 };

	go_tuner_renew(&tuning, 200 * NSEC_PER_SEC);
	ck_assert_uint_eq(tuning.settle_nsec, 200 * NSEC_PER_SEC);
	ck_assert(go_tuner_take(&tuning, 200 * NSEC_PER_SEC));
}
END_TEST

START_TEST(only_what_was_read_after_the_last_time_counts)
{
	const struct process_id process = { .pid = (uint32_t)getpid() };
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct go_report report = { .taken_nsec = clock_monotonic_nsec(), .rates.of[GO_RATE_MUTEX] = { .address = 0x500000, .size = 8 } };
	struct go_tuner tuner = { .config = &fraction };
	struct go_tuning tuning = { 0 };
	uint64_t set_nsec;

	go_tuner_set(&tuner, &tuning, &process, &report);
	ck_assert_uint_eq(tuning.set_nsec, 0);
	ck_assert_int_eq(go_switch_new(proc, -1, &tuner.sw), 0);
	/* Too young; nothing was read of its rates. */
	tuning.settle_nsec = report.taken_nsec + 100 * NSEC_PER_SEC;
	go_tuner_set(&tuner, &tuning, &process, &report);
	ck_assert_uint_eq(tuning.set_nsec, 0);
	tuning.settle_nsec = 0;
	go_tuner_set(&tuner, &tuning, &process, &(struct go_report){ .taken_nsec = report.taken_nsec });
	ck_assert_uint_eq(tuning.set_nsec, 0);

	go_tuner_set(&tuner, &tuning, &process, &report);
	set_nsec = tuning.set_nsec;
	ck_assert_uint_ge(set_nsec, report.taken_nsec);
	go_tuner_set(&tuner, &tuning, &process, &report);
	ck_assert_uint_eq(tuning.set_nsec, set_nsec);
	report.taken_nsec = clock_monotonic_nsec() + 1;
	tuner.is_over = true;
	go_tuner_set(&tuner, &tuning, &process, &report);
	ck_assert_uint_eq(tuning.set_nsec, set_nsec);
	tuner.is_over = false;
	go_tuner_set(&tuner, &tuning, &process, &report);
	ck_assert_uint_gt(tuning.set_nsec, set_nsec);
	ck_assert_uint_eq(go_tuner_stats(&tuner).n_written, 0);
	ck_assert_uint_eq(go_tuner_memory_since(&tuner, &process, &report), 0);
	go_tuner_release(&tuner, &process);
	go_switch_free(tuner.sw);
}
END_TEST

UNIT_TESTS("go_tuner", nothing_is_wished_unless_the_configuration_asks_for_it, a_process_is_looked_at_a_second_after_it_came_and_once,
	when_what_is_wished_changes_it_is_looked_at_now, only_what_was_read_after_the_last_time_counts)
