/* SPDX-License-Identifier: Apache-2.0 */
#include "go_metrics.h"

#include <stdlib.h>
#include <string.h>

#include "../main.h"
#include "go_findings.h"

START_TEST(leaks_of_the_processes_of_a_service_add_up_and_none_is_told_as_none)
{
	struct go_process_facts leaking = { .has_goroutines = true, .has_leaks = true, .n_leaks = 2 }, more = { .has_leaks = true, .n_leaks = 1 },
		healthy = { .has_leaks = true }, unknown = { .has_goroutines = true };
	struct go_metrics metrics = { .n_reads = 4 };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_eq(vec_push(&metrics.processes, ((struct go_metrics_process){ "b", &leaking })), 0);
	ck_assert_int_eq(vec_push(&metrics.processes, ((struct go_metrics_process){ "a", &healthy })), 0);
	ck_assert_int_eq(vec_push(&metrics.processes, ((struct go_metrics_process){ "b", &more })), 0);
	ck_assert_int_eq(vec_push(&metrics.processes, ((struct go_metrics_process){ "c", &unknown })), 0);
	go_metrics_print(&metrics, f);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "# TYPE tsprofd_goroutine_leaks gauge\n"
			"tsprofd_goroutine_leaks{service=\"a\"} 0\ntsprofd_goroutine_leaks{service=\"b\"} 3\n"));
	ck_assert_ptr_null(strstr(text, "tsprofd_goroutine_leaks{service=\"c\"}"));
	free(text);
	vec_deinit(&metrics.processes);
}
END_TEST

START_TEST(of_a_process_that_could_not_be_read_there_are_no_numbers)
{
	struct go_process_facts unread = { .is_unread = true }, read = { .has_stats = true, .stats = { .n_gc = 7, .pause_total_nsec = 500000000 } };
	struct go_metrics metrics = { .n_reads = 2, .n_failed = 1 };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_eq(vec_push(&metrics.processes, ((struct go_metrics_process){ "alone", &unread })), 0);
	ck_assert_int_eq(vec_push(&metrics.processes, ((struct go_metrics_process){ "other", &read })), 0);
	go_metrics_print(&metrics, f);
	fclose(f);
	ck_assert_ptr_null(strstr(text, "\"alone\""));
	ck_assert_ptr_nonnull(strstr(text, "tsiot_gc_pause_seconds_sum{service=\"other\"} 0.5\ntsiot_gc_pause_seconds_count{service=\"other\"} 7\n"));
	free(text);
	vec_deinit(&metrics.processes);
}
END_TEST

UNIT_TESTS("go_metrics", leaks_of_the_processes_of_a_service_add_up_and_none_is_told_as_none, of_a_process_that_could_not_be_read_there_are_no_numbers)
