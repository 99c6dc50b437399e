/* SPDX-License-Identifier: Apache-2.0 */
#include "go_metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "cleanup.h"
#include "go_findings.h"
#include "prometheus.h"

/* As runtime/trace and the field name them. */
static const char *const states[GO_N_STATUS] = {
	[GO_IDLE] = "idle", [GO_RUNNABLE] = "runnable", [GO_RUNNING] = "running", [GO_SYSCALL] = "syscall", [GO_WAITING] = "waiting",
	[GO_COPY_STACK] = "copystack", [GO_PREEMPTED] = "preempted", [GO_LEAKED] = "leaked",
};

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct go_metrics_process *)a)->service, ((const struct go_metrics_process *)b)->service);
}

/* Of processes [first, end) of one service. */
struct group {
	const struct go_metrics_process *first, *end;
};

/* The next service, from `at` on: false when there are no more. The last one that is told has all that follow. */
static bool next_group(const struct go_metrics *metrics, struct group *group, size_t *n_groups)
{
	const struct go_metrics_process *end = metrics->processes.at + metrics->processes.n;

	group->first = *n_groups ? group->end : metrics->processes.at;
	if (group->first == end)
		return false;
	for (group->end = group->first + 1; group->end < end; group->end++)
		if (strcmp(group->end->service, group->first->service) != 0 && *n_groups + 1 < GO_METRICS_MAX_SERVICES)
			break;
	++*n_groups;
	return true;
}

static void print(FILE *f, const char *name, const char *suffix, const struct group *group, size_t n_groups, const char *labels, double value)
{
	fprintf(f, "%s%s{service=\"", name, suffix);
	prometheus_label_value(f, n_groups == GO_METRICS_MAX_SERVICES ? "other" : group->first->service);
	fprintf(f, "\"%s} %.17g\n", labels, value);
}

static void print_goroutines(const struct go_metrics *metrics, FILE *f)
{
	struct group group;

	prometheus_family(f, "tsiot_goroutines", "gauge", "Goroutines by state, without those of the runtime itself.");
	for (size_t n = 0; next_group(metrics, &group, &n);) {
		for (size_t state = 0; state < GO_N_STATUS; state++) {
			char labels[64];
			uint64_t sum = 0;

			for (const struct go_metrics_process *p = group.first; p < group.end; p++)
				sum += p->facts->n_by_status[state];
			if (!sum)
				continue;
			snprintf(labels, sizeof(labels), ",state=\"%s\"", states[state] ? states[state] : "other");
			print(f, "tsiot_goroutines", "", &group, n, labels, (double)sum);
		}
	}
}

static void print_leaks(const struct go_metrics *metrics, FILE *f)
{
	struct group group;

	prometheus_family(f, "tsprofd_goroutine_leaks", "gauge", "Places in the code whose goroutines are made and never end, as far as was seen until the last look.");
	for (size_t n = 0; next_group(metrics, &group, &n);) {
		bool is_known = false;
		uint64_t sum = 0;

		for (const struct go_metrics_process *p = group.first; p < group.end; p++) {
			is_known |= p->facts->has_leaks;
			sum += p->facts->n_leaks;
		}
		if (is_known)
			print(f, "tsprofd_goroutine_leaks", "", &group, n, "", (double)sum);
	}
}

enum how { SUM, MOST };

struct number {
	const char *name, *labels, *type, *help; /* help NULL: of the family before */
	double (*of)(const struct go_stats *stats); /* NAN: the process has none */
	enum how how;
};

static double heap_live(const struct go_stats *stats) { return (double)stats->heap_live; }
static double heap_marked(const struct go_stats *stats) { return (double)stats->heap_marked; }
static double heap_goal(const struct go_stats *stats) { return stats->heap_goal == UINT64_MAX ? NAN : (double)stats->heap_goal; }
static double heap_in_use(const struct go_stats *stats) { return stats->has_heap_bytes ? (double)stats->heap_in_use : NAN; }
static double heap_free(const struct go_stats *stats) { return stats->has_heap_bytes ? (double)stats->heap_free : NAN; }
static double heap_released(const struct go_stats *stats) { return stats->has_heap_bytes ? (double)stats->heap_released : NAN; }
static double allocated(const struct go_stats *stats) { return stats->has_heap_bytes ? (double)stats->total_alloc : NAN; }
static double mapped(const struct go_stats *stats) { return stats->has_heap_bytes ? (double)stats->mapped : NAN; }
static double stacks(const struct go_stats *stats) { return (double)stats->stacks_in_use; }
static double gc_cycles(const struct go_stats *stats) { return stats->n_gc; }
static double gc_fraction(const struct go_stats *stats) { return stats->gc_cpu_fraction; }
static double gc_percent(const struct go_stats *stats) { return (double)stats->gc_percent; }
static double procs(const struct go_stats *stats) { return stats->gomaxprocs; }
static double memory_limit(const struct go_stats *stats) { return stats->memory_limit == UINT64_MAX ? 0 : (double)stats->memory_limit; }

static const struct number numbers[] = {
	{ "tsiot_heap_bytes", ",part=\"live\"", "gauge", "Heap of Go processes: live now, found by the last collection, goal of the next, in use, free, given back.", heap_live, SUM },
	{ "tsiot_heap_bytes", ",part=\"marked\"", NULL, NULL, heap_marked, SUM },
	{ "tsiot_heap_bytes", ",part=\"goal\"", NULL, NULL, heap_goal, SUM },
	{ "tsiot_heap_bytes", ",part=\"in_use\"", NULL, NULL, heap_in_use, SUM },
	{ "tsiot_heap_bytes", ",part=\"free\"", NULL, NULL, heap_free, SUM },
	{ "tsiot_heap_bytes", ",part=\"released\"", NULL, NULL, heap_released, SUM },
	{ "tsiot_heap_allocated_bytes_total", "", "counter", "Bytes that Go processes ever allocated.", allocated, SUM },
	{ "tsiot_go_mapped_bytes", "", "gauge", "Memory that Go runtimes have from the system and did not give back.", mapped, SUM },
	{ "tsiot_go_stack_bytes", "", "gauge", "Memory of the stacks of goroutines.", stacks, SUM },
	{ "tsiot_gc_cycles_total", "", "counter", "Garbage collections that were completed.", gc_cycles, SUM },
	{ "tsiot_gc_cpu_fraction", "", "gauge", "Share of the CPU time of a Go process that its collector took since it began; of several the largest.", gc_fraction, MOST },
	{ "tsiot_gc_percent", "", "gauge", "GOGC; negative: off.", gc_percent, MOST },
	{ "tsiot_go_memory_limit_bytes", "", "gauge", "GOMEMLIMIT; 0: none.", memory_limit, SUM },
	{ "tsiot_go_maxprocs", "", "gauge", "GOMAXPROCS.", procs, SUM },
};

static void print_number(const struct go_metrics *metrics, const struct number *number, FILE *f)
{
	struct group group;

	if (number->help)
		prometheus_family(f, number->name, number->type, number->help);
	for (size_t n = 0; next_group(metrics, &group, &n);) {
		bool is_known = false;
		double value = 0;

		for (const struct go_metrics_process *p = group.first; p < group.end; p++) {
			double one = p->facts->has_stats ? number->of(&p->facts->stats) : 0;

			if (!p->facts->has_stats || isnan(one))
				continue;
			value = number->how == SUM ? value + one : is_known ? MAX(value, one) : one;
			is_known = true;
		}
		if (is_known)
			print(f, number->name, "", &group, n, number->labels, value);
	}
}

/* A summary of the pauses that the runtimes remember (the last 256 of each), as Go's own Prometheus client has it. */
static int compare_nsec(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_pauses_of(const struct group *group, size_t n_groups, FILE *f)
{
	static const struct { const char *labels; double share; } quantiles[] = {
		{ ",quantile=\"0.5\"", 0.5 }, { ",quantile=\"0.9\"", 0.9 }, { ",quantile=\"1\"", 1 },
	};
	VEC(uint64_t) nsec = { 0 };
	uint64_t sum_nsec = 0, n_gc = 0;
	bool is_known = false;

	for (const struct go_metrics_process *p = group->first; p < group->end; p++) {
		for (size_t i = 0; p->facts->has_stats && i < p->facts->stats.n_pauses; i++)
			if (vec_push(&nsec, p->facts->stats.pauses_nsec[i]) < 0)
				break;
		is_known |= p->facts->has_stats;
		sum_nsec += p->facts->has_stats ? p->facts->stats.pause_total_nsec : 0;
		n_gc += p->facts->has_stats ? p->facts->stats.n_gc : 0;
	}
	if (nsec.n) {
		vec_sort(&nsec, compare_nsec);
		for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
			print(f, "tsiot_gc_pause_seconds", "", group, n_groups, quantiles[i].labels,
					(double)nsec.at[(size_t)((double)(nsec.n - 1) * quantiles[i].share)] / NSEC_PER_SEC);
	}
	vec_deinit(&nsec);
	if (!is_known)
		return;
	print(f, "tsiot_gc_pause_seconds", "_sum", group, n_groups, "", (double)sum_nsec / NSEC_PER_SEC);
	print(f, "tsiot_gc_pause_seconds", "_count", group, n_groups, "", (double)n_gc);
}

static void print_pauses(const struct go_metrics *metrics, FILE *f)
{
	struct group group;

	prometheus_family(f, "tsiot_gc_pause_seconds", "summary", "Pauses of Go processes for garbage collection; quantiles of the last 256 of each.");
	for (size_t n = 0; next_group(metrics, &group, &n);)
		print_pauses_of(&group, n, f);
}

static void print_deadlocks(const struct go_metrics *metrics, FILE *f)
{
	struct group group;

	prometheus_family(f, "tsprofd_goroutine_deadlocks", "gauge", "Groups of goroutines that nobody will wake any more, as of the last look.");
	for (size_t n = 0; next_group(metrics, &group, &n);) {
		bool is_known = false;
		uint64_t sum = 0;

		for (const struct go_metrics_process *p = group.first; p < group.end; p++) {
			is_known |= p->facts->has_deadlocks;
			sum += p->facts->n_deadlocks;
		}
		if (is_known)
			print(f, "tsprofd_goroutine_deadlocks", "", &group, n, "", (double)sum);
	}
}

static void print_rates(const struct go_switch_stats *rates, FILE *f)
{
	prometheus_family(f, "tsprofd_go_rates_written_total", "counter", "Rates of Go's profilers that were written into programs, as the configuration asks.");
	prometheus_number(f, "tsprofd_go_rates_written_total", (double)rates->n_written);
	prometheus_family(f, "tsprofd_go_rates_undone_total", "counter", "Those that were undone.");
	prometheus_number(f, "tsprofd_go_rates_undone_total", (double)rates->n_undone);
	prometheus_family(f, "tsprofd_go_rates_failed_total", "counter", "Those that could not be written, or not be undone.");
	prometheus_number(f, "tsprofd_go_rates_failed_total", (double)rates->n_failed);
	prometheus_family(f, "tsprofd_go_rates", "gauge", "Those that are in programs now and are to be undone.");
	prometheus_number(f, "tsprofd_go_rates", (double)rates->n_now);
}

void go_metrics_print(struct go_metrics *metrics, FILE *f)
{
	if (metrics->n_reads || metrics->rates.n_undone || metrics->rates.n_failed)
		print_rates(&metrics->rates, f);
	if (!metrics->n_reads)
		return;
	prometheus_family(f, "tsprofd_go_reads_total", "counter", "Looks at Go processes.");
	prometheus_number(f, "tsprofd_go_reads_total", (double)metrics->n_reads);
	prometheus_family(f, "tsprofd_go_reads_failed_total", "counter", "Those that brought nothing, or not all that was asked for: it could not be read, or is not understood.");
	prometheus_number(f, "tsprofd_go_reads_failed_total", (double)metrics->n_failed);
	prometheus_family(f, "tsprofd_go_snapshots_left_out_total", "counter", "Snapshots that were due while the one before was not done yet.");
	prometheus_number(f, "tsprofd_go_snapshots_left_out_total", (double)metrics->n_left_out);
	if (!metrics->processes.n)
		return;
	vec_sort(&metrics->processes, compare);
	print_goroutines(metrics, f);
	print_leaks(metrics, f);
	print_deadlocks(metrics, f);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		print_number(metrics, &numbers[i], f);
	print_pauses(metrics, f);
}
