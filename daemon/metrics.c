/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "map.h"
#include "sample.h"
#include "prometheus.h"
#include "stacks.h"
#include "strtab.h"
#include "vec.h"

/* Services that show a gauge of their own; the rest goes without, so that a hostile host cannot grow us. */
static const size_t max_services = 256;

/* One with a deadlock, now or before. */
struct deadlocked {
	char *service;
	uint64_t n;                          /* circles in the last window of waits */
};

/* Upper bounds of the histogram of how long naming and building takes, in seconds. */
static const double symbolize_bounds[] = { 0.01, 0.05, 0.1, 0.5, 1, 5, 30 };

enum { N_SYMBOLIZE_BOUNDS = sizeof(symbolize_bounds) / sizeof(symbolize_bounds[0]) };

struct kind_totals {
	uint64_t seen, lost_ring, lost_namespace, lost_storage, lost_frames, lost_windows;
	uint64_t written_schedule, written_background;
};

struct service {
	double cpu_percent;
	uint64_t window;
};

/* The waits of a service since it was first seen. */
struct waiter {
	struct service_wait sum;
	uint64_t window;                     /* in which it was seen last */
};

struct metrics {
	VEC(struct waiter) waiters;
	uint64_t n_wait_windows;
	struct kind_totals kinds[PROFILE_N_KINDS];
	uint64_t verdicts[SAMPLE_N_VERDICTS];
	uint64_t n_frames, n_unnamed, n_unmapped;
	uint64_t waited_nsec, estimated_nsec, waits_lost_nsec, short_waits, lost_others;
	uint64_t labels_unread, labels_cut, labels_left_out;
	uint64_t profile_bytes;
	uint64_t lost_windows[METRICS_N_LOSSES];
	uint64_t symbolize_counts[N_SYMBOLIZE_BOUNDS + 1];
	double symbolize_sum;
	double latency_seconds;
	bool reload_successful;
	uint64_t n_windows;
	struct press_result last;            /* only its statistics */
	struct strtab *service_names;
	VEC(struct deadlocked) deadlocked;   /* at most max_services */
	struct map services;                 /* string number -> struct service */
};

static void waiter_deinit(struct waiter *waiter)
{
	free(waiter->sum.service);
	vec_deinit(&waiter->sum.devices);
}

struct metrics *metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return NULL;
	for (size_t i = 0; i < metrics->waiters.n; i++)
		waiter_deinit(&metrics->waiters.at[i]);
	vec_deinit(&metrics->waiters);
	strtab_free(metrics->service_names);
	map_deinit(&metrics->services);
	for (size_t i = 0; i < metrics->deadlocked.n; i++)
		free(metrics->deadlocked.at[i].service);
	vec_deinit(&metrics->deadlocked);
	free(metrics);
	return NULL;
}

struct metrics *metrics_new(void)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return NULL;
	metrics->reload_successful = true;
	map_init(&metrics->services, sizeof(uint32_t), sizeof(struct service));
	metrics->service_names = strtab_new();
	return metrics->service_names ? metrics : metrics_free(metrics);
}

static int add_service(struct metrics *metrics, const struct press_file *file, uint64_t duration_nsec)
{
	uint32_t name;
	void *value;
	int r;

	r = strtab_add_string(metrics->service_names, file->service, &name);
	if (r >= 0)
		r = map_put(&metrics->services, &name, &value);
	if (r < 0)
		return r;
	*(struct service *)value = (struct service){
		.cpu_percent = 100.0 * file->nsec / duration_nsec,
		.window = metrics->n_windows,
	};
	return 0;
}

/*
 * Names come and go (containers, transient units): when there is no room, those of earlier windows are forgotten and the
 * services of this one, largest first, have it.
 */
static int make_room(struct metrics *metrics, size_t n_files)
{
	struct strtab *names;

	if (strtab_count(metrics->service_names) + n_files <= max_services)
		return 0;
	names = strtab_new();
	if (!names)
		return -ENOMEM;
	strtab_free(metrics->service_names);
	metrics->service_names = names;
	map_clear(&metrics->services);
	return 0;
}

/* Services that were not in the latest window used no CPU time in it. */
static void expire_services(struct metrics *metrics)
{
	size_t cursor = 0;
	const void *key;
	void *value;

	while (map_next(&metrics->services, &cursor, &key, &value)) {
		struct service *service = value;

		if (service->window != metrics->n_windows)
			service->cpu_percent = 0;
	}
}

/* Waits of services */

static struct waiter *find_waiter(struct metrics *metrics, const char *service)
{
	for (size_t i = 0; i < metrics->waiters.n; i++)
		if (!strcmp(metrics->waiters.at[i].sum.service, service))
			return &metrics->waiters.at[i];
	return NULL;
}

/* Who was not seen for longest goes: its counters begin anew should it come back, which rate() knows how to take. */
static struct waiter *oldest_waiter(struct metrics *metrics)
{
	struct waiter *oldest = &metrics->waiters.at[0];

	for (size_t i = 1; i < metrics->waiters.n; i++)
		if (metrics->waiters.at[i].window < oldest->window)
			oldest = &metrics->waiters.at[i];
	return oldest;
}

/* NULL: no memory. One window has no more than we keep, so that none of its own goes. */
static struct waiter *make_waiter(struct metrics *metrics, const char *service)
{
	struct waiter waiter = { .sum.service = strdup(service) };
	struct waiter *oldest;

	if (!waiter.sum.service)
		return NULL;
	if (metrics->waiters.n >= SERVICE_WAITS_MAX) {
		oldest = oldest_waiter(metrics);
		waiter_deinit(oldest);
		*oldest = waiter;
		return oldest;
	}
	if (vec_push(&metrics->waiters, waiter) < 0) {
		waiter_deinit(&waiter);
		return NULL;
	}
	return &metrics->waiters.at[metrics->waiters.n - 1];
}

static int add_wait(struct metrics *metrics, const struct service_wait *wait)
{
	struct waiter *waiter = find_waiter(metrics, wait->service);
	int r = 0;

	if (!waiter)
		waiter = make_waiter(metrics, wait->service);
	if (!waiter)
		return -ENOMEM;
	waiter->window = metrics->n_wait_windows;
	waiter->sum.observed_nsec += wait->observed_nsec;
	for (size_t i = 0; i < SAMPLE_N_REASONS; i++)
		waiter->sum.nsec[i] += wait->nsec[i];
	for (size_t i = 0; i < wait->devices.n && r >= 0; i++)
		r = service_wait_add_device(&waiter->sum, wait->devices.at[i].name, wait->devices.at[i].nsec);
	return r;
}

static int add_waits(struct metrics *metrics, const struct service_waits *waits)
{
	int r = 0;

	metrics->n_wait_windows += waits->services.n > 0;
	for (size_t i = 0; i < waits->services.n && r >= 0; i++)
		r = add_wait(metrics, &waits->services.at[i]);
	return r;
}

static void add_symbolize_time(struct metrics *metrics, double seconds)
{
	size_t i = 0;

	while (i < N_SYMBOLIZE_BOUNDS && seconds > symbolize_bounds[i])
		i++;
	metrics->symbolize_counts[i]++;
	metrics->symbolize_sum += seconds;
}

/* It tells what services used; others do not. */
static bool is_cpu_window(const struct press_result *result)
{
	return result->duration_nsec && result->kind == PROFILE_CPU;
}

static int add_files(struct metrics *metrics, const struct press_result *result)
{
	int r;

	r = is_cpu_window(result) ? make_room(metrics, result->files.n) : 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < result->files.n; i++) {
		const struct press_file *file = &result->files.at[i];
		struct kind_totals *kind = &metrics->kinds[file->kind];

		if (file->path) {
			metrics->profile_bytes += file->n_bytes;
			*(strcmp(file->trigger, "background") ? &kind->written_schedule : &kind->written_background) += 1;
		}
		if (!is_cpu_window(result) || file->is_late || strtab_count(metrics->service_names) > max_services)
			continue;
		r = add_service(metrics, file, result->duration_nsec);
		if (r < 0)
			return r;
	}
	return 0;
}

static struct deadlocked *find_deadlocked(struct metrics *metrics, const char *service)
{
	struct deadlocked fresh = { 0 };

	for (size_t i = 0; i < metrics->deadlocked.n; i++)
		if (!strcmp(metrics->deadlocked.at[i].service, service))
			return &metrics->deadlocked.at[i];
	fresh.service = metrics->deadlocked.n < max_services ? strdup(service) : NULL;
	if (!fresh.service || vec_push(&metrics->deadlocked, fresh) < 0) {
		free(fresh.service);
		return NULL;
	}
	return &metrics->deadlocked.at[metrics->deadlocked.n - 1];
}

static void add_deadlocks(struct metrics *metrics, const struct press_result *result)
{
	if (!result->has_looked_for_deadlocks)
		return;
	for (size_t i = 0; i < metrics->deadlocked.n; i++)
		metrics->deadlocked.at[i].n = 0;
	for (size_t i = 0; i < result->deadlocks.n; i++) {
		struct deadlocked *deadlocked = find_deadlocked(metrics, result->deadlocks.at[i].service);

		if (deadlocked)
			deadlocked->n++;
	}
}

/* Of what runtimes were asked for. */
static void add_looked_at(struct kind_totals *kind, uint64_t seen, uint64_t lost, int error)
{
	kind->seen += seen;
	kind->lost_frames += lost;
	if (error < 0)
		kind->lost_windows += seen - lost;
}

int metrics_add_result(struct metrics *metrics, const struct press_result *result)
{
	struct kind_totals *kind = &metrics->kinds[result->kind];

	metrics->last = *result;
	metrics->n_windows += is_cpu_window(result);
	add_deadlocks(metrics, result);
	add_looked_at(&metrics->kinds[PROFILE_GOROUTINE], result->goroutines_seen, result->goroutines_lost, result->error);
	add_looked_at(&metrics->kinds[PROFILE_HEAP], result->allocations_seen, result->allocations_lost, result->error);
	if (result->duration_nsec) {
		kind->seen += result->seen;
		kind->lost_ring += result->lost_ring;
		kind->lost_namespace += result->lost_namespace;
		kind->lost_storage += result->lost_storage;
		kind->lost_frames += result->lost_frames;
		metrics->waited_nsec += result->waited_nsec;
		metrics->estimated_nsec += result->estimated_nsec;
		metrics->waits_lost_nsec += result->lost_nsec;
		metrics->short_waits += result->short_waits;
		metrics->lost_others += result->lost_others;
		metrics->labels_unread += result->labels_unread;
		metrics->labels_cut += result->labels_cut;
		metrics->labels_left_out += result->labels_left_out;
		for (size_t i = 0; i < SAMPLE_N_VERDICTS; i++)
			metrics->verdicts[i] += result->verdicts[i];
		metrics->n_frames += result->n_frames;
		metrics->n_unnamed += result->n_unnamed;
		metrics->n_unmapped += result->n_unmapped;
		if (result->error < 0) {
			metrics->lost_windows[METRICS_LOSS_BUILD]++;
			kind->lost_windows += result->kept;
		}
		metrics->latency_seconds = (double)result->latency_nsec / NSEC_PER_SEC;
		add_symbolize_time(metrics, (double)result->symbolize_nsec / NSEC_PER_SEC);
	}
	if (add_files(metrics, result) < 0 || add_waits(metrics, &result->waits) < 0)
		return -ENOMEM;
	if (is_cpu_window(result))
		expire_services(metrics);
	return 0;
}

void metrics_add_lost_window(struct metrics *metrics, enum profile_kind kind, enum metrics_loss loss, uint64_t n_samples)
{
	metrics->lost_windows[loss]++;
	metrics->kinds[kind].seen += n_samples;
	metrics->kinds[kind].lost_windows += n_samples;
}

void metrics_set_reload(struct metrics *metrics, bool successful)
{
	metrics->reload_successful = successful;
}

uint64_t metrics_samples(const struct metrics *metrics)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < PROFILE_N_KINDS; i++)
		sum += metrics->kinds[i].seen;
	return sum;
}

uint64_t metrics_storage_bytes(const struct metrics *metrics)
{
	return metrics->last.vacuum.bytes;
}

/* Text */

static void print_kinds(const struct metrics *metrics, FILE *f)
{
	prometheus_family(f, "tsprofd_samples_total", "counter", "Events seen by the samplers; those lost included.");
	for (size_t i = 0; i < PROFILE_N_KINDS; i++)
		if (metrics->kinds[i].seen)
			prometheus_labelled(f, "tsprofd_samples_total", metrics->kinds[i].seen, "kind=\"%s\"", profile_kind_info(i)->name);
	prometheus_family(f, "tsprofd_samples_lost_total", "counter", "Events that are in no profile.");
	for (size_t i = 0; i < PROFILE_N_KINDS; i++) {
		const struct kind_totals *kind = &metrics->kinds[i];
		const char *name = profile_kind_info(i)->name;

		if (!kind->seen)
			continue;
		prometheus_labelled(f, "tsprofd_samples_lost_total", kind->lost_ring, "kind=\"%s\",reason=\"ring_full\"", name);
		prometheus_labelled(f, "tsprofd_samples_lost_total", kind->lost_namespace, "kind=\"%s\",reason=\"pid_namespace\"", name);
		if (i != PROFILE_CPU)
			prometheus_labelled(f, "tsprofd_samples_lost_total", kind->lost_storage, "kind=\"%s\",reason=\"no_storage\"", name);
		prometheus_labelled(f, "tsprofd_samples_lost_total", kind->lost_frames, "kind=\"%s\",reason=\"frames_lost\"", name);
		prometheus_labelled(f, "tsprofd_samples_lost_total", kind->lost_windows, "kind=\"%s\",reason=\"window_lost\"", name);
		prometheus_labelled(f, "tsprofd_samples_lost_total", metrics->last.discarded_samples[i],
				"kind=\"%s\",reason=\"profile_discarded\"", name);
	}
	if (metrics->kinds[PROFILE_CPU].seen) {
		prometheus_family(f, "tsprofd_go_labels_lost_total", "counter", "Samples of Go programs that are told without some of their goroutine's labels.");
		prometheus_labelled(f, "tsprofd_go_labels_lost_total", metrics->labels_unread, "reason=\"unread\"");
		prometheus_labelled(f, "tsprofd_go_labels_lost_total", metrics->labels_cut, "reason=\"too_long\"");
		prometheus_labelled(f, "tsprofd_go_labels_lost_total", metrics->labels_left_out, "reason=\"too_many\"");
	}
	prometheus_family(f, "tsprofd_profiles_written_total", "counter", "Profiles on disk.");
	for (size_t i = 0; i < PROFILE_N_KINDS; i++) {
		const struct kind_totals *kind = &metrics->kinds[i];
		const char *name = profile_kind_info(i)->name;

		if (!kind->seen && !kind->written_schedule && !kind->written_background)
			continue;
		prometheus_labelled(f, "tsprofd_profiles_written_total", kind->written_schedule, "kind=\"%s\",trigger=\"schedule\"", name);
		prometheus_labelled(f, "tsprofd_profiles_written_total", kind->written_background, "kind=\"%s\",trigger=\"background\"",
				name);
	}
}

static void print_stacks(const struct metrics *metrics, FILE *f)
{
	static const char *const verdicts[SAMPLE_N_VERDICTS] = {
		[SAMPLE_VERDICT_COMPLETE] = "complete",
		[SAMPLE_VERDICT_ELIDED] = "elided",
		[SAMPLE_VERDICT_KERNEL] = "kernel",
		[SAMPLE_VERDICT_NO_MAPPING] = "no_mapping",
		[SAMPLE_VERDICT_NO_TABLE] = "no_table",
		[SAMPLE_VERDICT_NO_ROW] = "no_row",
		[SAMPLE_VERDICT_NO_RULE] = "no_rule",
		[SAMPLE_VERDICT_NO_FRAME] = "no_frame",
		[SAMPLE_VERDICT_BAD_FRAME] = "bad_frame",
		[SAMPLE_VERDICT_UNREADABLE] = "unreadable",
		[SAMPLE_VERDICT_TOO_DEEP] = "too_deep",
		[SAMPLE_VERDICT_COMPAT] = "compat",
	};

	prometheus_family(f, "tsprofd_unwind_stacks_total", "counter", "User stacks by how their walk ended.");
	for (size_t i = 0; i < SAMPLE_N_VERDICTS; i++)
		prometheus_labelled(f, "tsprofd_unwind_stacks_total", metrics->verdicts[i], "result=\"%s\"", verdicts[i]);
	prometheus_family(f, "tsprofd_frames_total", "counter", "Frames of samples by whether they have a name.");
	prometheus_labelled(f, "tsprofd_frames_total", metrics->n_frames - metrics->n_unnamed, "named=\"true\"");
	prometheus_labelled(f, "tsprofd_frames_total", metrics->n_unnamed, "named=\"false\"");
	prometheus_family(f, "tsprofd_frames_without_mapping_total", "counter", "Frames of samples where nothing known is mapped.");
	prometheus_number(f, "tsprofd_frames_without_mapping_total", metrics->n_unmapped);
}

static void print_waits(const struct metrics *metrics, FILE *f)
{
	if (!metrics->kinds[PROFILE_BLOCK].seen)
		return;
	prometheus_family(f, "tsprofd_waits_seconds_total", "counter", "Time that threads of targets were seen waiting, and is in profiles.");
	prometheus_number(f, "tsprofd_waits_seconds_total", (double)metrics->waited_nsec / NSEC_PER_SEC);
	prometheus_family(f, "tsprofd_waits_estimated_seconds_total", "counter", "The part of it that was not timed, but estimated from waits that were.");
	prometheus_number(f, "tsprofd_waits_estimated_seconds_total", (double)metrics->estimated_nsec / NSEC_PER_SEC);
	prometheus_family(f, "tsprofd_waits_lost_seconds_total", "counter", "Time of waits that were timed and are in no profile.");
	prometheus_number(f, "tsprofd_waits_lost_seconds_total", (double)metrics->waits_lost_nsec / NSEC_PER_SEC);
	prometheus_family(f, "tsprofd_waits_short_total", "counter", "Waits below block.min_delay, which are in no profile.");
	prometheus_number(f, "tsprofd_waits_short_total", metrics->short_waits);
	prometheus_family(f, "tsprofd_waits_others_lost_total", "counter", "Waits of which it is not told who ended them, for want of room.");
	prometheus_number(f, "tsprofd_waits_others_lost_total", metrics->lost_others);
}

/* A line of a service; key NULL: without another label. */
static void waited(FILE *f, const char *name, const struct service_wait *wait, const char *key, const char *value, uint64_t nsec)
{
	fprintf(f, "%s{service=\"", name);
	prometheus_label_value(f, wait->service);
	if (key) {
		fprintf(f, "\",%s=\"", key);
		prometheus_label_value(f, value);
	}
	fprintf(f, "\"} %.17g\n", (double)nsec / NSEC_PER_SEC);
}

static void print_waiters(const struct metrics *metrics, FILE *f)
{
	if (!metrics->waiters.n)
		return;
	prometheus_family(f, "tsiot_wait_observed_seconds_total", "counter", "Length of the windows in which waits of a service were seen.");
	for (size_t i = 0; i < metrics->waiters.n; i++)
		waited(f, "tsiot_wait_observed_seconds_total", &metrics->waiters.at[i].sum, NULL, NULL,
				metrics->waiters.at[i].sum.observed_nsec);
	prometheus_family(f, "tsiot_wait_seconds_total", "counter", "Time that threads of a service waited in these windows.");
	for (size_t i = 0; i < metrics->waiters.n; i++)
		for (uint32_t reason = SAMPLE_RAN + 1; reason < SAMPLE_N_REASONS; reason++)
			if (metrics->waiters.at[i].sum.nsec[reason])
				waited(f, "tsiot_wait_seconds_total", &metrics->waiters.at[i].sum, "reason", stacks_reason(reason),
						metrics->waiters.at[i].sum.nsec[reason]);
	prometheus_family(f, "tsiot_io_wait_seconds_total", "counter", "Of these, for disks and page faults, by device.");
	for (size_t i = 0; i < metrics->waiters.n; i++) {
		const struct service_wait *sum = &metrics->waiters.at[i].sum;

		for (size_t j = 0; j < sum->devices.n; j++)
			waited(f, "tsiot_io_wait_seconds_total", sum, "device", sum->devices.at[j].name, sum->devices.at[j].nsec);
	}
}

static void print_deadlocks(const struct metrics *metrics, FILE *f)
{
	prometheus_family(f, "tsprofd_deadlocks", "gauge", "Circles of threads that wait for each other, at the end of the last window of waits.");
	for (size_t i = 0; i < metrics->deadlocked.n; i++) {
		fputs("tsprofd_deadlocks{service=\"", f);
		prometheus_label_value(f, metrics->deadlocked.at[i].service);
		fprintf(f, "\"} %llu\n", (unsigned long long)metrics->deadlocked.at[i].n);
	}
}

static void print_symbols(const struct metrics *metrics, FILE *f)
{
	const struct symbolizer_stats *symbolizer = &metrics->last.symbolizer;
	uint64_t count = 0;

	prometheus_family(f, "tsprofd_symbolize_seconds", "histogram", "Time to name and build the profiles of a window.");
	for (size_t i = 0; i < N_SYMBOLIZE_BOUNDS; i++) {
		count += metrics->symbolize_counts[i];
		prometheus_labelled(f, "tsprofd_symbolize_seconds_bucket", count, "le=\"%g\"", symbolize_bounds[i]);
	}
	count += metrics->symbolize_counts[N_SYMBOLIZE_BOUNDS];
	prometheus_labelled(f, "tsprofd_symbolize_seconds_bucket", count, "le=\"+Inf\"");
	prometheus_number(f, "tsprofd_symbolize_seconds_sum", metrics->symbolize_sum);
	prometheus_number(f, "tsprofd_symbolize_seconds_count", count);
	prometheus_family(f, "tsprofd_symbolizer_deaths_total", "counter", "Times the symbolizer process died or was ended.");
	prometheus_labelled(f, "tsprofd_symbolizer_deaths_total", symbolizer->deaths, "reason=\"died\"");
	prometheus_labelled(f, "tsprofd_symbolizer_deaths_total", symbolizer->timeouts, "reason=\"timeout\"");
	prometheus_family(f, "tsprofd_symbolizer_refused_total", "counter", "Questions about files known to be hopeless.");
	prometheus_number(f, "tsprofd_symbolizer_refused_total", symbolizer->files_refused);
	prometheus_family(f, "tsprofd_names_cache_total", "counter", "Distinct places of windows by whether their name was known.");
	prometheus_labelled(f, "tsprofd_names_cache_total", metrics->last.names.hits, "result=\"hit\"");
	prometheus_labelled(f, "tsprofd_names_cache_total", metrics->last.names.misses, "result=\"miss\"");
}

static void print_storage(const struct metrics *metrics, FILE *f)
{
	const struct store_vacuum *vacuum = &metrics->last.vacuum;

	prometheus_family(f, "tsprofd_profile_bytes_total", "counter", "Bytes of profiles written.");
	prometheus_number(f, "tsprofd_profile_bytes_total", metrics->profile_bytes);
	prometheus_family(f, "tsprofd_storage_bytes", "gauge", "Bytes of our files in the output directory.");
	prometheus_number(f, "tsprofd_storage_bytes", vacuum->bytes);
	prometheus_family(f, "tsprofd_storage_oldest_profile_timestamp_seconds", "gauge", "Start of the oldest profile.");
	prometheus_number(f, "tsprofd_storage_oldest_profile_timestamp_seconds", (double)vacuum->oldest_wall_nsec / NSEC_PER_SEC);
	prometheus_family(f, "tsprofd_retention_deleted_total", "counter", "Files removed by retention.");
	prometheus_labelled(f, "tsprofd_retention_deleted_total", vacuum->deleted_age, "reason=\"age\"");
	prometheus_labelled(f, "tsprofd_retention_deleted_total", vacuum->deleted_size, "reason=\"size\"");
	prometheus_labelled(f, "tsprofd_retention_deleted_total", vacuum->deleted_free, "reason=\"free\"");
	prometheus_family(f, "tsprofd_write_errors_total", "counter", "Failed attempts to write a profile.");
	prometheus_number(f, "tsprofd_write_errors_total", metrics->last.store.failed);
	prometheus_family(f, "tsprofd_profiles_unsaved", "gauge", "Profiles that wait for the disk.");
	prometheus_number(f, "tsprofd_profiles_unsaved", metrics->last.n_unsaved);
	prometheus_family(f, "tsprofd_profiles_discarded_total", "counter", "Profiles given up: the disk failed for too long.");
	prometheus_number(f, "tsprofd_profiles_discarded_total", metrics->last.n_discarded);
	prometheus_family(f, "tsprofd_windows_lost_total", "counter", "Windows whose samples came to nothing.");
	prometheus_labelled(f, "tsprofd_windows_lost_total", metrics->lost_windows[METRICS_LOSS_DRAIN], "reason=\"drain\"");
	prometheus_labelled(f, "tsprofd_windows_lost_total", metrics->lost_windows[METRICS_LOSS_PRESS], "reason=\"press\"");
	prometheus_labelled(f, "tsprofd_windows_lost_total", metrics->lost_windows[METRICS_LOSS_BUILD], "reason=\"build\"");
	prometheus_family(f, "tsprofd_window_latency_seconds", "gauge", "From the end of the last window to its last file.");
	prometheus_number(f, "tsprofd_window_latency_seconds", metrics->latency_seconds);
}

static void print_targets(const struct targets_stats *targets, FILE *f)
{
	prometheus_family(f, "tsprofd_processes", "gauge", "Programs that are known.");
	prometheus_number(f, "tsprofd_processes", targets->n_processes);
	prometheus_family(f, "tsprofd_binaries", "gauge", "Executable files that are held open.");
	prometheus_number(f, "tsprofd_binaries", targets->n_binaries);
	prometheus_family(f, "tsprofd_process_events_total", "counter", "What happened to processes.");
	prometheus_labelled(f, "tsprofd_process_events_total", targets->forks, "event=\"fork\"");
	prometheus_labelled(f, "tsprofd_process_events_total", targets->execs, "event=\"exec\"");
	prometheus_labelled(f, "tsprofd_process_events_total", targets->exits, "event=\"exit\"");
	prometheus_labelled(f, "tsprofd_process_events_total", targets->mappings, "event=\"mmap\"");
	prometheus_family(f, "tsprofd_process_events_lost_total", "counter", "Events that the kernel had no room for.");
	prometheus_labelled(f, "tsprofd_process_events_lost_total", targets->lost_life, "event=\"life\"");
	prometheus_labelled(f, "tsprofd_process_events_lost_total", targets->lost_mappings, "event=\"mmap\"");
	prometheus_family(f, "tsprofd_binaries_unavailable_total", "counter", "Files that could not be opened, or had changed.");
	prometheus_number(f, "tsprofd_binaries_unavailable_total", targets->binaries_unavailable);
	prometheus_family(f, "tsprofd_perf_maps_refused_total", "counter", "Perf maps that are no plain file of their process.");
	prometheus_number(f, "tsprofd_perf_maps_refused_total", targets->perf_maps_refused);
}

static void print_java_maps(const struct java_maps_stats *maps, FILE *f)
{
	prometheus_family(f, "tsprofd_java_perf_maps_total", "counter", "Perf maps that Java processes were asked for.");
	prometheus_labelled(f, "tsprofd_java_perf_maps_total", maps->written, "result=\"written\"");
	prometheus_labelled(f, "tsprofd_java_perf_maps_total", maps->failed, "result=\"failed\"");
	prometheus_family(f, "tsprofd_java_perf_maps_seconds_total", "counter", "Time that Java processes took to write them.");
	prometheus_number(f, "tsprofd_java_perf_maps_seconds_total", (double)maps->answer_nsec / NSEC_PER_SEC);
}

static void print_tables(const struct tables_stats *tables, const struct unwind_maps_stats *maps, FILE *f)
{
	prometheus_family(f, "tsprofd_unwind_tables", "gauge", "Unwind tables in the kernel.");
	prometheus_number(f, "tsprofd_unwind_tables", maps->n_tables);
	prometheus_family(f, "tsprofd_unwind_files", "gauge", "Files that the kernel side has a table for, or knows to have none.");
	prometheus_number(f, "tsprofd_unwind_files", maps->n_files);
	prometheus_family(f, "tsprofd_unwind_rows", "gauge", "Rows of the tables.");
	prometheus_number(f, "tsprofd_unwind_rows", tables->n_rows);
	prometheus_family(f, "tsprofd_unwind_tables_wanted_total", "counter", "Files met without a table.");
	prometheus_number(f, "tsprofd_unwind_tables_wanted_total", tables->wanted);
	prometheus_family(f, "tsprofd_unwind_tables_total", "counter", "What came of it.");
	prometheus_labelled(f, "tsprofd_unwind_tables_total", tables->made, "result=\"made\"");
	prometheus_labelled(f, "tsprofd_unwind_tables_total", tables->cached, "result=\"cached\"");
	prometheus_labelled(f, "tsprofd_unwind_tables_total", tables->failed, "result=\"failed\"");
	prometheus_labelled(f, "tsprofd_unwind_tables_total", tables->evicted, "result=\"evicted\"");
	prometheus_family(f, "tsprofd_unwind_tables_waiting", "gauge", "Tables that are still to be made.");
	prometheus_number(f, "tsprofd_unwind_tables_waiting", tables->n_waiting);
	prometheus_family(f, "tsprofd_unwind_jvms", "gauge", "Java processes whose code heaps the kernel side knows.");
	prometheus_number(f, "tsprofd_unwind_jvms", tables->n_hotspots);
	prometheus_family(f, "tsprofd_unwind_jvms_failed_total", "counter", "Looks at Java processes that came to nothing.");
	prometheus_number(f, "tsprofd_unwind_jvms_failed_total", tables->hotspots_failed);
	prometheus_family(f, "tsprofd_unwind_tables_seconds_total", "counter", "Time that making tables took.");
	prometheus_number(f, "tsprofd_unwind_tables_seconds_total", (double)tables->make_nsec / NSEC_PER_SEC);
}

static void print_cost(const struct metrics *metrics, const struct metrics_now *now, FILE *f)
{
	prometheus_family(f, "tsprofd_cpu_seconds_total", "counter", "CPU time of the daemon's processes.");
	prometheus_labelled(f, "tsprofd_cpu_seconds_total", (double)now->core_cpu_nsec / NSEC_PER_SEC, "process=\"core\"");
	prometheus_labelled(f, "tsprofd_cpu_seconds_total", (double)metrics->last.symbolizer.cpu_nsec / NSEC_PER_SEC,
			"process=\"symbolizer\"");
	prometheus_labelled(f, "tsprofd_cpu_seconds_total", (double)now->tables.cpu_nsec / NSEC_PER_SEC, "process=\"tables\"");
	prometheus_labelled(f, "tsprofd_cpu_seconds_total", (double)now->bpf_cpu_nsec / NSEC_PER_SEC, "process=\"bpf\"");
	prometheus_family(f, "tsprofd_budget_level", "gauge", "How often the rates are halved to stay in budget.cpu.");
	prometheus_number(f, "tsprofd_budget_level", now->budget_level);
	prometheus_family(f, "tsprofd_memory_bytes", "gauge", "Memory by who holds it.");
	prometheus_labelled(f, "tsprofd_memory_bytes", now->core_memory_bytes, "part=\"core\"");
	prometheus_labelled(f, "tsprofd_memory_bytes", metrics->last.symbolizer.memory_bytes, "part=\"symbolizer\"");
	prometheus_labelled(f, "tsprofd_memory_bytes", now->sampler_memory_bytes + now->targets.memory_bytes, "part=\"bpf\"");
	prometheus_labelled(f, "tsprofd_memory_bytes", now->unwind_maps.memory_bytes, "part=\"unwind\"");
	prometheus_labelled(f, "tsprofd_memory_bytes", now->tables.helper_memory_bytes, "part=\"tables\"");
	prometheus_labelled(f, "tsprofd_memory_bytes", metrics->last.names.bytes, "part=\"names\"");
}

/* Names of disks are the kernel's own: letters and digits, and '!' for a slash; anything else is not printed. */
static const char *block_labels(const struct block_io_series *series, char *text, size_t size)
{
	char device[BLOCK_IO_NAME_LENGTH];
	size_t n = 0;

	for (const char *c = series->device; *c && n + 1 < sizeof(device); c++)
		device[n++] = *c <= ' ' || *c >= 127 || *c == '"' || *c == '\\' ? '?' : *c;
	device[n] = 0;
	snprintf(text, size, "device=\"%s\",operation=\"%s\"", device, block_io_operation_name(series->operation));
	return text;
}

/* Cumulative, as histograms of Prometheus are. */
static void print_latencies(const struct block_io_series *series, const char *labels, FILE *f)
{
	const struct block_io_value *value = &series->value;
	uint64_t count = 0;

	for (uint32_t i = 0; i < BLOCK_IO_N_BOUNDS; i++) {
		count += value->buckets[i];
		prometheus_labelled(f, "tsprofd_block_io_seconds_bucket", count, "%s,le=\"%.9g\"", labels,
				(double)((uint64_t)BLOCK_IO_FIRST_BOUND_NSEC << i) / NSEC_PER_SEC);
	}
	count += value->buckets[BLOCK_IO_N_BOUNDS];
	prometheus_labelled(f, "tsprofd_block_io_seconds_bucket", count, "%s,le=\"+Inf\"", labels);
	prometheus_labelled(f, "tsprofd_block_io_seconds_sum", (double)value->nsec / NSEC_PER_SEC, "%s", labels);
	prometheus_labelled(f, "tsprofd_block_io_seconds_count", count, "%s", labels);
}

static void print_block_counter(const struct block_io_stats *stats, const char *name, const char *help, size_t member, double unit, FILE *f)
{
	char labels[128];

	prometheus_family(f, name, "counter", help);
	for (size_t i = 0; i < stats->series.n; i++) {
		const struct block_io_series *series = &stats->series.at[i];
		uint64_t value;

		memcpy(&value, (const char *)&series->value + member, sizeof(value));
		prometheus_labelled(f, name, (double)value / unit, "%s", block_labels(series, labels, sizeof(labels)));
	}
}

static void print_block_io(const struct block_io_stats *stats, FILE *f)
{
	char labels[128];

	if (!stats->series.n)
		return;
	prometheus_family(f, "tsprofd_block_io_seconds", "histogram", "Requests to block devices by how long they took, queues included.");
	for (size_t i = 0; i < stats->series.n; i++)
		print_latencies(&stats->series.at[i], block_labels(&stats->series.at[i], labels, sizeof(labels)), f);
	print_block_counter(stats, "tsprofd_block_io_queued_seconds_total", "Until the device was given them, where that is known.",
			offsetof(struct block_io_value, queued_nsec), NSEC_PER_SEC, f);
	print_block_counter(stats, "tsprofd_block_io_queued_total", "Requests of which that is known.",
			offsetof(struct block_io_value, n_queued), 1, f);
	print_block_counter(stats, "tsprofd_block_io_untimed_total", "Requests that the kernel put no time on: not in the histogram.",
			offsetof(struct block_io_value, n_untimed), 1, f);
	print_block_counter(stats, "tsprofd_block_io_bytes_total", "Bytes of requests.", offsetof(struct block_io_value, bytes), 1, f);
	prometheus_family(f, "tsprofd_block_io_lost_total", "counter", "Ends of requests that are in no histogram.");
	prometheus_labelled(f, "tsprofd_block_io_lost_total", stats->n_elsewhere, "reason=\"too_many_devices\"");
	prometheus_labelled(f, "tsprofd_block_io_lost_total", stats->n_missed, "reason=\"nested\"");
}

static void print_stolen(uint64_t nsec, FILE *f)
{
	prometheus_family(f, "tsprofd_stolen_cpu_seconds_total", "counter", "Time since boot that the hypervisor kept CPUs from this machine that it wanted.");
	prometheus_number(f, "tsprofd_stolen_cpu_seconds_total", (double)nsec / NSEC_PER_SEC);
}

static void print_services(const struct metrics *metrics, FILE *f)
{
	size_t cursor = 0;
	const void *key;
	void *value;

	prometheus_family(f, "tsiot_cpu_usage_percent", "gauge", "CPU time of a service in the last window; 100 is one CPU.");
	while (map_next(&metrics->services, &cursor, &key, &value)) {
		const struct service *service = value;

		fputs("tsiot_cpu_usage_percent{service=\"", f);
		prometheus_label_value(f, strtab_get(metrics->service_names, *(const uint32_t *)key, NULL));
		fprintf(f, "\"} %.17g\n", service->cpu_percent);
	}
}

void metrics_print(const struct metrics *metrics, const struct metrics_now *now, FILE *f)
{
	prometheus_family(f, "tsprofd_build_info", "gauge", "Always 1; what was built is in the labels.");
	prometheus_labelled(f, "tsprofd_build_info", 1, "version=\"%s\"", TSPROFD_VERSION);
	prometheus_family(f, "tsprofd_config_last_reload_successful", "gauge", "1 when the configuration in use is the one on disk.");
	prometheus_number(f, "tsprofd_config_last_reload_successful", metrics->reload_successful);
	print_kinds(metrics, f);
	print_stacks(metrics, f);
	print_waits(metrics, f);
	print_waiters(metrics, f);
	print_deadlocks(metrics, f);
	print_symbols(metrics, f);
	print_storage(metrics, f);
	print_targets(&now->targets, f);
	print_java_maps(&now->java_maps, f);
	print_tables(&now->tables, &now->unwind_maps, f);
	print_cost(metrics, now, f);
	print_block_io(&now->block_io, f);
	print_stolen(now->stolen_nsec, f);
	print_services(metrics, f);
}
