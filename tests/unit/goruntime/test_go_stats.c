/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "../main.h"
#include "go_stats.h"
#include "made_process.h"

START_TEST(numbers_are_found_in_each_version)
{
	for (unsigned int minor = 18; minor <= 27; minor++) {
		struct made_process *made;
		struct go_stats stats;
		char version[16];

		snprintf(version, sizeof(version), "go1.%u", minor);
		made = made_process_new(version);
		ck_assert_int_eq(made_process_open(made, NULL), 0);
		ck_assert_int_eq(go_stats_read(made->process, &stats), 0);
		ck_assert_uint_eq(stats.n_gc, 3);
		ck_assert_uint_eq(stats.n_pauses, 3);
		ck_assert_uint_eq(stats.pauses_nsec[0], 3000);
		ck_assert_uint_eq(stats.pauses_nsec[2], 1000);
		ck_assert_uint_eq(stats.heap_live, 4 << 20);
		ck_assert_uint_eq(stats.gomaxprocs, 2);
		ck_assert_int_eq(stats.has_heap_bytes, minor >= 19);
		made_process_free(made);
	}
}
END_TEST

START_TEST(numbers_that_cannot_be_are_refused)
{
	struct made_process *made = made_process_new("go1.26.8");
	struct go_stats stats;

	ck_assert_int_eq(made_process_open(made, NULL), 0);
	made_put(made, made_variable(GO_STATS) + made->layout->stats.cpu_fraction, UINT64_C(0x7ff8000000000000)); /* NaN */
	ck_assert_int_eq(go_stats_read(made->process, &stats), GO_STATS_E_UNKNOWN);
	made_put(made, made_variable(GO_STATS) + made->layout->stats.cpu_fraction, 0);
	made_put(made, made_variable(GO_GOMAXPROCS), 0);
	ck_assert_int_eq(go_stats_read(made->process, &stats), GO_STATS_E_UNKNOWN);
	made_put(made, made_variable(GO_GOMAXPROCS), 2);
	/* More cycles than the ring has pauses. */
	made_put(made, made_variable(GO_STATS) + made->layout->stats.n_gc, UINT32_MAX);
	ck_assert_int_eq(go_stats_read(made->process, &stats), 0);
	ck_assert_uint_eq(stats.n_pauses, GO_STATS_PAUSES);
	made_process_free(made);
}
END_TEST

UNIT_TESTS("go_stats", numbers_are_found_in_each_version, numbers_that_cannot_be_are_refused)
