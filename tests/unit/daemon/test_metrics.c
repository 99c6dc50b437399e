/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../main.h"
#include "clock.h"
#include "metrics.h"
#include "sample.h"

static char *print(const struct metrics *metrics)
{
	const struct metrics_now now = { .core_cpu_nsec = NSEC_PER_SEC / 2, .core_memory_bytes = 4096, .bpf_cpu_nsec = 7 * NSEC_PER_SEC,
		.budget_level = 2 };
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	metrics_print(metrics, &now, f);
	fclose(f);
	return text;
}

/* The value of the line that begins with `series`; -1 when there is none. */
static long long value(const struct metrics *metrics, const char *series)
{
	char *text = print(metrics);
	long long found = -1;

	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (!strncmp(line, series, strlen(series)) && line[strlen(series)] == ' ')
			found = atoll(line + strlen(series) + 1);
	free(text);
	return found;
}

static struct press_result window(void)
{
	return (struct press_result){ .duration_nsec = NSEC_PER_SEC, .seen = 100, .kept = 90, .lost_ring = 5, .lost_namespace = 3,
		.lost_frames = 2, .n_frames = 1000, .n_unnamed = 100, .n_unmapped = 7, .symbolize_nsec = NSEC_PER_SEC / 5 };
}

static void add(struct metrics *metrics, struct press_result *result, const struct press_file *files, size_t n)
{
	ck_assert_int_eq(vec_append(&result->files, files, n), 0);
	ck_assert_int_eq(metrics_add_result(metrics, result), 0);
	vec_deinit(&result->files);
}

static struct press_file file_of(const char *service, const char *trigger, uint64_t cpu_nsec)
{
	return (struct press_file){ .path = (char *)"/x", .service = (char *)service, .trigger = trigger, .n_bytes = 10, .nsec = cpu_nsec };
}

/* name{key="value",...} number; the name has a type, and the text behind the labels is a number. */
static void assert_sample(const char *text, const char *line, size_t length)
{
	char name[128], type[160];
	size_t n = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
	const char *at = line + n;
	char *end;

	ck_assert_uint_gt(n, 0);
	if (*at == '{') {
		at++;
		while (*at != '}') {
			size_t key = strspn(at, "abcdefghijklmnopqrstuvwxyz_");

			ck_assert_msg(key > 0 && at[key] == '=' && at[key + 1] == '"', "%.*s", (int)length, line);
			for (at += key + 2; *at != '"'; at++) {
				ck_assert_msg(*at >= ' ' && *at < 127, "%.*s", (int)length, line);
				if (*at == '\\') {
					at++;
					ck_assert_msg(strchr("\\\"n", *at) != NULL, "%.*s", (int)length, line);
				}
			}
			at++;
			at += *at == ',';
		}
		at++;
	}
	ck_assert_msg(*at == ' ', "%.*s", (int)length, line);
	strtod(at, &end);
	ck_assert_msg(end == line + length, "%.*s", (int)length, line);
	/* Those of a histogram have the type of the whole. */
	for (const char *const *suffix = (const char *const[]){ "_bucket", "_sum", "_count", NULL }; *suffix; suffix++)
		if ((!strncmp(line, "tsprofd_symbolize_seconds", 25) || !strncmp(line, "tsprofd_block_io_seconds", 24)) &&
		    n > strlen(*suffix) && !strncmp(line + n - strlen(*suffix), *suffix, strlen(*suffix)))
			n -= strlen(*suffix);
	snprintf(name, sizeof(name), "%.*s", (int)n, line);
	snprintf(type, sizeof(type), "\n# TYPE %s ", name);
	end = strstr(text, type);
	ck_assert_msg(end && end < line, "no type: %s", name);
	ck_assert_ptr_null(strstr(end + 1, type));
	snprintf(type, sizeof(type), "# HELP %s ", name);
	ck_assert_msg(strstr(text, type) && strstr(text, type) < line, "no help: %s", name);
}

static size_t assert_exposition(const char *text)
{
	size_t n = 0;

	ck_assert_uint_gt(strlen(text), 0);
	ck_assert_int_eq(text[strlen(text) - 1], '\n');
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		if (*line == '#')
			continue;
		assert_sample(text, line, strcspn(line, "\n"));
		n++;
	}
	return n;
}

START_TEST(what_we_cost_in_the_kernel_and_the_level_of_the_budget_are_told)
{
	struct metrics *metrics = metrics_new();

	ck_assert_int_eq(value(metrics, "tsprofd_cpu_seconds_total{process=\"bpf\"}"), 7);
	ck_assert_int_eq(value(metrics, "tsprofd_budget_level"), 2);
	metrics_free(metrics);
}
END_TEST

START_TEST(what_is_printed_is_prometheus_text_whatever_services_are_called)
{
	const struct press_file files[] = {
		file_of("plain", "", 5), file_of("quote\"back\\slash", "", 5), file_of("new\nline", "", 5), file_of("\xff\x01 {}=,", "", 5),
	};
	struct metrics *metrics = metrics_new();
	struct press_result result = window();
	char *text;

	text = print(metrics);
	ck_assert_uint_gt(assert_exposition(text), 30);
	free(text);
	add(metrics, &result, files, 4);
	text = print(metrics);
	assert_exposition(text);
	ck_assert_ptr_nonnull(strstr(text, "{service=\"quote\\\"back\\\\slash\"}"));
	free(text);
	metrics_free(metrics);
}
END_TEST

START_TEST(seen_is_kept_and_lost)
{
	struct metrics *metrics = metrics_new();
	uint64_t kept = 0;
	long long lost = 0;

	for (unsigned i = 0; i < 3; i++) {
		struct press_result result = window();

		kept += result.kept;
		add(metrics, &result, NULL, 0);
	}
	lost += value(metrics, "tsprofd_samples_lost_total{kind=\"cpu\",reason=\"ring_full\"}");
	lost += value(metrics, "tsprofd_samples_lost_total{kind=\"cpu\",reason=\"pid_namespace\"}");
	lost += value(metrics, "tsprofd_samples_lost_total{kind=\"cpu\",reason=\"frames_lost\"}");
	ck_assert_int_eq(value(metrics, "tsprofd_samples_total{kind=\"cpu\"}"), (long long)kept + lost);
	ck_assert_int_eq(lost, 30);
	ck_assert_uint_eq(metrics_samples(metrics), 300);
	ck_assert_int_eq(value(metrics, "tsprofd_frames_total{named=\"true\"}") + value(metrics, "tsprofd_frames_total{named=\"false\"}"),
			3000);
	ck_assert_int_eq(value(metrics, "tsprofd_frames_without_mapping_total"), 21);
	metrics_free(metrics);
}
END_TEST

START_TEST(what_runtimes_told_counts_by_its_own_kind)
{
	struct metrics *metrics = metrics_new();
	struct press_result look = { .kind = PROFILE_GOROUTINE, .seen = 30, .kept = 26, .lost_frames = 4, .goroutines_seen = 20, .goroutines_lost = 3,
		.allocations_seen = 10, .allocations_lost = 1 };

	add(metrics, &look, NULL, 0);
	look.error = -ENOMEM;
	add(metrics, &look, NULL, 0);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_total{kind=\"goroutine\"}"), 40);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_lost_total{kind=\"goroutine\",reason=\"frames_lost\"}"), 6);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_lost_total{kind=\"goroutine\",reason=\"window_lost\"}"), 17);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_total{kind=\"heap\"}"), 20);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_lost_total{kind=\"heap\",reason=\"frames_lost\"}"), 2);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_lost_total{kind=\"heap\",reason=\"window_lost\"}"), 9);
	metrics_free(metrics);
}
END_TEST

START_TEST(each_way_a_walk_ends_has_a_line_of_its_own)
{
	static const char *const results[SAMPLE_N_VERDICTS] = {
		"complete", "elided", "kernel", "no_mapping", "no_table", "no_row", "no_rule", "no_frame", "bad_frame", "unreadable",
		"too_deep", "compat",
	};
	struct metrics *metrics = metrics_new();
	struct press_result result = window();
	char series[64];

	for (unsigned i = 0; i < SAMPLE_N_VERDICTS; i++)
		result.verdicts[i] = 10 + i;
	add(metrics, &result, NULL, 0);
	for (unsigned i = 0; i < SAMPLE_N_VERDICTS; i++) {
		snprintf(series, sizeof(series), "tsprofd_unwind_stacks_total{result=\"%s\"}", results[i]);
		ck_assert_int_eq(value(metrics, series), 10 + i);
	}
	metrics_free(metrics);
}
END_TEST

START_TEST(profiles_count_by_their_own_trigger_and_when_they_are_on_disk)
{
	struct press_file files[] = {
		file_of("late", "background", 0), file_of("a", "", 5), file_of("b", "", 5), file_of("c", "", 5),
	};
	struct metrics *metrics = metrics_new();
	struct press_result result = window();

	files[0].is_late = true;
	files[3].path = NULL;
	add(metrics, &result, files, 4);
	ck_assert_int_eq(value(metrics, "tsprofd_profiles_written_total{kind=\"cpu\",trigger=\"schedule\"}"), 2);
	ck_assert_int_eq(value(metrics, "tsprofd_profiles_written_total{kind=\"cpu\",trigger=\"background\"}"), 1);
	ck_assert_int_eq(value(metrics, "tsprofd_profile_bytes_total"), 30);
	metrics_free(metrics);
}
END_TEST

START_TEST(services_show_the_cpu_time_of_the_last_window)
{
	struct press_file files[] = { file_of("a", "", NSEC_PER_SEC / 2), file_of("b", "", 2 * NSEC_PER_SEC) };
	struct press_file late = file_of("b", "", 0);
	struct metrics *metrics = metrics_new();
	struct press_result result = window(), next = window(), retried = { 0 };

	add(metrics, &result, files, 2);
	ck_assert_int_eq(value(metrics, "tsiot_cpu_usage_percent{service=\"a\"}"), 50);
	ck_assert_int_eq(value(metrics, "tsiot_cpu_usage_percent{service=\"b\"}"), 200);
	add(metrics, &next, files, 1);
	ck_assert_int_eq(value(metrics, "tsiot_cpu_usage_percent{service=\"b\"}"), 0);
	/* A file of an earlier window says nothing of this one. */
	late.is_late = true;
	late.service = (char *)"a";
	add(metrics, &retried, &late, 1);
	ck_assert_int_eq(value(metrics, "tsiot_cpu_usage_percent{service=\"a\"}"), 50);
	metrics_free(metrics);
}
END_TEST

START_TEST(names_that_come_and_go_for_days_neither_grow_it_nor_keep_new_ones_out)
{
	struct metrics *metrics = metrics_new();
	char name[32] = "", series[96], *text;
	size_t lines;

	for (unsigned i = 0; i < 2000; i++) {
		const struct press_file files[] = { file_of("always", "", NSEC_PER_SEC), file_of(name, "", NSEC_PER_SEC) };
		struct press_result result = window();

		snprintf(name, sizeof(name), "run-%u.scope", i);
		add(metrics, &result, files, 2);
	}
	snprintf(series, sizeof(series), "tsiot_cpu_usage_percent{service=\"%s\"}", name);
	ck_assert_int_eq(value(metrics, series), 100);
	ck_assert_int_eq(value(metrics, "tsiot_cpu_usage_percent{service=\"always\"}"), 100);
	text = print(metrics);
	lines = assert_exposition(text);
	ck_assert_uint_lt(lines, 400);
	free(text);
	metrics_free(metrics);
}
END_TEST

START_TEST(of_too_many_services_in_one_window_the_first_have_a_line)
{
	struct metrics *metrics = metrics_new();
	char names[1000][16];
	char *text;

	for (unsigned round = 0; round < 2; round++) {
		struct press_result result = window();

		for (unsigned i = 0; i < 1000; i++) {
			snprintf(names[i], sizeof(names[i]), "s%u", i);
			ck_assert_int_eq(vec_push(&result.files, file_of(names[i], "", NSEC_PER_SEC)), 0);
		}
		add(metrics, &result, NULL, 0);
	}
	ck_assert_int_eq(value(metrics, "tsiot_cpu_usage_percent{service=\"s0\"}"), 100);
	ck_assert_int_eq(value(metrics, "tsiot_cpu_usage_percent{service=\"s255\"}"), 100);
	ck_assert_int_eq(value(metrics, "tsiot_cpu_usage_percent{service=\"s999\"}"), -1);
	text = print(metrics);
	ck_assert_uint_lt(assert_exposition(text), 400);
	free(text);
	metrics_free(metrics);
}
END_TEST

START_TEST(lost_windows_and_reloads_are_counted)
{
	struct metrics *metrics = metrics_new();
	struct press_result failed = window();

	failed.error = -12;
	metrics_add_lost_window(metrics, PROFILE_CPU, METRICS_LOSS_PRESS, 40);
	failed.discarded_samples[PROFILE_CPU] = 7;
	add(metrics, &failed, NULL, 0);
	ck_assert_int_eq(value(metrics, "tsprofd_windows_lost_total{reason=\"press\"}"), 1);
	ck_assert_int_eq(value(metrics, "tsprofd_windows_lost_total{reason=\"build\"}"), 1);
	/* What was kept until it was lost as a whole, and what the disk refused for too long, is in no file either. */
	ck_assert_int_eq(value(metrics, "tsprofd_samples_total{kind=\"cpu\"}"), 140);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_lost_total{kind=\"cpu\",reason=\"window_lost\"}"), 40 + 90);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_lost_total{kind=\"cpu\",reason=\"profile_discarded\"}"), 7);
	ck_assert_int_eq(value(metrics, "tsprofd_config_last_reload_successful"), 1);
	metrics_set_reload(metrics, false);
	ck_assert_int_eq(value(metrics, "tsprofd_config_last_reload_successful"), 0);
	metrics_free(metrics);
}
END_TEST

START_TEST(the_histogram_adds_up)
{
	static const double seconds[] = { 0.001, 0.2, 0.2, 100 };
	struct metrics *metrics = metrics_new();

	for (unsigned i = 0; i < 4; i++) {
		struct press_result result = window();

		result.symbolize_nsec = seconds[i] * NSEC_PER_SEC;
		add(metrics, &result, NULL, 0);
	}
	ck_assert_int_eq(value(metrics, "tsprofd_symbolize_seconds_bucket{le=\"0.01\"}"), 1);
	ck_assert_int_eq(value(metrics, "tsprofd_symbolize_seconds_bucket{le=\"0.5\"}"), 3);
	ck_assert_int_eq(value(metrics, "tsprofd_symbolize_seconds_bucket{le=\"30\"}"), 3);
	ck_assert_int_eq(value(metrics, "tsprofd_symbolize_seconds_bucket{le=\"+Inf\"}"), 4);
	ck_assert_int_eq(value(metrics, "tsprofd_symbolize_seconds_count"), 4);
	metrics_free(metrics);
}
END_TEST

START_TEST(windows_of_waits_are_counted_as_such_and_say_nothing_of_cpu_time)
{
	struct press_file files[] = { file_of("a", "", NSEC_PER_SEC / 20), file_of("a", "", NSEC_PER_SEC / 2) };
	struct metrics *metrics = metrics_new();
	struct press_result cpu = window(), waits = window();

	add(metrics, &cpu, files, 1);
	ck_assert_int_eq(value(metrics, "tsprofd_waits_seconds_total"), -1);
	files[0].kind = waits.kind = PROFILE_BLOCK;
	files[1].kind = PROFILE_MUTEX;
	waits.lost_storage = 4;
	waits.waited_nsec = 7 * NSEC_PER_SEC;
	waits.lost_nsec = 2 * NSEC_PER_SEC;
	waits.short_waits = 11;
	waits.lost_others = 13;
	add(metrics, &waits, files, 2);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_total{kind=\"block\"}"), 100);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_total{kind=\"mutex\"}"), -1);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_lost_total{kind=\"block\",reason=\"no_storage\"}"), 4);
	ck_assert_int_eq(value(metrics, "tsprofd_samples_lost_total{kind=\"cpu\",reason=\"no_storage\"}"), -1);
	ck_assert_int_eq(value(metrics, "tsprofd_profiles_written_total{kind=\"mutex\",trigger=\"schedule\"}"), 1);
	ck_assert_int_eq(value(metrics, "tsprofd_waits_seconds_total"), 7);
	ck_assert_int_eq(value(metrics, "tsprofd_waits_lost_seconds_total"), 2);
	ck_assert_int_eq(value(metrics, "tsprofd_waits_short_total"), 11);
	ck_assert_int_eq(value(metrics, "tsprofd_waits_others_lost_total"), 13);
	/* A service that waited used the CPU time that it had in the window of cpu. */
	{
		char *text = print(metrics);

		ck_assert_ptr_nonnull(strstr(text, "tsiot_cpu_usage_percent{service=\"a\"} 5"));
		free(text);
	}
	metrics_free(metrics);
}
END_TEST

static struct service_wait wait_of(const char *service, uint64_t nsec)
{
	struct service_wait wait = { .service = (char *)service, .observed_nsec = 30 * NSEC_PER_SEC };

	wait.nsec[SAMPLE_LOCK] = nsec;
	wait.nsec[SAMPLE_DISK] = 3 * nsec;
	ck_assert_int_eq(service_wait_add_device(&wait, "vda", 2 * nsec), 0);
	ck_assert_int_eq(service_wait_add_device(&wait, "server:/\"x\"", nsec), 0);
	return wait;
}

static void add_waits_of(struct metrics *metrics, const char *service, uint64_t nsec)
{
	struct press_result result = window();
	struct service_wait wait = wait_of(service, nsec);

	result.kind = PROFILE_BLOCK;
	ck_assert_int_eq(vec_push(&result.waits.services, wait), 0);
	add(metrics, &result, NULL, 0);
	vec_deinit(&result.waits.services.at[0].devices);
	vec_deinit(&result.waits.services);
}

START_TEST(waits_of_services_add_up_with_the_time_in_which_they_were_seen)
{
	struct metrics *metrics = metrics_new();
	char *text;

	add_waits_of(metrics, "a", 2 * NSEC_PER_SEC);
	add_waits_of(metrics, "b", NSEC_PER_SEC);
	add_waits_of(metrics, "a", 5 * NSEC_PER_SEC);
	ck_assert_int_eq(value(metrics, "tsiot_wait_seconds_total{service=\"a\",reason=\"lock\"}"), 7);
	ck_assert_int_eq(value(metrics, "tsiot_wait_seconds_total{service=\"a\",reason=\"disk\"}"), 21);
	ck_assert_int_eq(value(metrics, "tsiot_wait_seconds_total{service=\"a\",reason=\"pipe\"}"), -1);
	ck_assert_int_eq(value(metrics, "tsiot_wait_seconds_total{service=\"b\",reason=\"lock\"}"), 1);
	ck_assert_int_eq(value(metrics, "tsiot_wait_observed_seconds_total{service=\"a\"}"), 60);
	ck_assert_int_eq(value(metrics, "tsiot_wait_observed_seconds_total{service=\"b\"}"), 30);
	ck_assert_int_eq(value(metrics, "tsiot_io_wait_seconds_total{service=\"a\",device=\"vda\"}"), 14);
	ck_assert_int_eq(value(metrics, "tsiot_io_wait_seconds_total{service=\"a\",device=\"server:/\\\"x\\\"\"}"), 7);
	text = print(metrics);
	assert_exposition(text);
	free(text);
	metrics_free(metrics);
}
END_TEST

START_TEST(deadlocks_of_the_last_window_of_waits_are_shown)
{
	struct metrics *metrics = metrics_new();
	struct deadlock_text circles[] = { { .service = (char *)"a" }, { .service = (char *)"a" }, { .service = (char *)"b" } };
	struct press_result waits = { .kind = PROFILE_BLOCK, .duration_nsec = NSEC_PER_SEC, .seen = 1, .kept = 1, .has_looked_for_deadlocks = true };
	struct press_result cpu = window();

	waits.deadlocks.at = circles;
	waits.deadlocks.n = 3;
	ck_assert_int_eq(metrics_add_result(metrics, &waits), 0);
	ck_assert_int_eq(value(metrics, "tsprofd_deadlocks{service=\"a\"}"), 2);
	ck_assert_int_eq(value(metrics, "tsprofd_deadlocks{service=\"b\"}"), 1);
	ck_assert_int_eq(metrics_add_result(metrics, &cpu), 0);
	ck_assert_int_eq(value(metrics, "tsprofd_deadlocks{service=\"a\"}"), 2);
	waits.deadlocks.n = 1;
	ck_assert_int_eq(metrics_add_result(metrics, &waits), 0);
	ck_assert_int_eq(value(metrics, "tsprofd_deadlocks{service=\"a\"}"), 1);
	ck_assert_int_eq(value(metrics, "tsprofd_deadlocks{service=\"b\"}"), 0);
	metrics_free(metrics);
}
END_TEST

START_TEST(services_that_wait_come_and_go_and_the_ones_that_stay_keep_their_counters)
{
	struct metrics *metrics = metrics_new();
	char name[32], *text;

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "run-%u.scope", i);
		add_waits_of(metrics, name, 1);
		add_waits_of(metrics, "always", NSEC_PER_SEC);
	}
	ck_assert_int_eq(value(metrics, "tsiot_wait_seconds_total{service=\"always\",reason=\"lock\"}"), 1000);
	ck_assert_int_eq(value(metrics, "tsiot_wait_observed_seconds_total{service=\"run-999.scope\"}"), 30);
	ck_assert_int_eq(value(metrics, "tsiot_wait_observed_seconds_total{service=\"run-0.scope\"}"), -1);
	text = print(metrics);
	ck_assert_uint_lt(assert_exposition(text), 256 * 5 + 200);
	free(text);
	metrics_free(metrics);
}
END_TEST

START_TEST(block_devices_have_histograms_and_what_is_not_in_them_is_counted)
{
	struct block_io_series series = { .device = "cciss!c0d0", .operation = BLOCK_IO_FLUSH };
	struct metrics_now now = { .block_io = { .n_elsewhere = 3, .n_missed = 4 }, .stolen_nsec = 5 * NSEC_PER_SEC / 2 };
	struct metrics *metrics = metrics_new();
	char *text = NULL;
	size_t size;
	FILE *f;

	series.value.buckets[0] = 5;
	series.value.buckets[2] = 1;
	series.value.buckets[BLOCK_IO_N_BOUNDS] = 2;
	series.value.nsec = 40 * NSEC_PER_SEC;
	series.value.n_untimed = 9;
	ck_assert_int_eq(vec_push(&now.block_io.series, series), 0);
	strcpy(series.device, "evil\"\n}");
	ck_assert_int_eq(vec_push(&now.block_io.series, series), 0);
	f = open_memstream(&text, &size);
	metrics_print(metrics, &now, f);
	fclose(f);
	assert_exposition(text);
	for (const char *const *line = (const char *const[]){
		     "tsprofd_block_io_seconds_bucket{device=\"cciss!c0d0\",operation=\"flush\",le=\"1.6e-05\"} 5\n",
		     "tsprofd_block_io_seconds_bucket{device=\"cciss!c0d0\",operation=\"flush\",le=\"3.2e-05\"} 5\n",
		     "tsprofd_block_io_seconds_bucket{device=\"cciss!c0d0\",operation=\"flush\",le=\"6.4e-05\"} 6\n",
		     "tsprofd_block_io_seconds_bucket{device=\"cciss!c0d0\",operation=\"flush\",le=\"16.777216\"} 6\n",
		     "tsprofd_block_io_seconds_bucket{device=\"cciss!c0d0\",operation=\"flush\",le=\"+Inf\"} 8\n",
		     "tsprofd_block_io_seconds_sum{device=\"cciss!c0d0\",operation=\"flush\"} 40\n",
		     "tsprofd_block_io_seconds_count{device=\"cciss!c0d0\",operation=\"flush\"} 8\n",
		     "tsprofd_block_io_untimed_total{device=\"cciss!c0d0\",operation=\"flush\"} 9\n",
		     "tsprofd_block_io_lost_total{reason=\"too_many_devices\"} 3\n", "tsprofd_block_io_lost_total{reason=\"nested\"} 4\n",
		     "tsprofd_stolen_cpu_seconds_total 2.5\n", "device=\"evil??}\"", NULL };
	     *line; line++)
		ck_assert_msg(strstr(text, *line) != NULL, "%s", *line);
	free(text);
	block_io_stats_deinit(&now.block_io);
	metrics_free(metrics);
}
END_TEST

UNIT_TESTS("metrics", deadlocks_of_the_last_window_of_waits_are_shown,
	waits_of_services_add_up_with_the_time_in_which_they_were_seen,
	services_that_wait_come_and_go_and_the_ones_that_stay_keep_their_counters, block_devices_have_histograms_and_what_is_not_in_them_is_counted,
	what_we_cost_in_the_kernel_and_the_level_of_the_budget_are_told,
		what_is_printed_is_prometheus_text_whatever_services_are_called, seen_is_kept_and_lost, what_runtimes_told_counts_by_its_own_kind,
	each_way_a_walk_ends_has_a_line_of_its_own, profiles_count_by_their_own_trigger_and_when_they_are_on_disk, services_show_the_cpu_time_of_the_last_window,
	names_that_come_and_go_for_days_neither_grow_it_nor_keep_new_ones_out,
	of_too_many_services_in_one_window_the_first_have_a_line, windows_of_waits_are_counted_as_such_and_say_nothing_of_cpu_time,
	lost_windows_and_reloads_are_counted, the_histogram_adds_up)
