/* SPDX-License-Identifier: Apache-2.0 */
#include "go_comments.h"

#include <stdio.h>
#include <time.h>

#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "go_findings.h"
#include "goroutine_deadlock_text.h"
#include "goroutine_leak_text.h"
#include "profile.h"
#include "service_profile.h"
#include "stacks.h"
#include "text.h"

/* Of a file: what more of them say is in the metrics. */
enum { MAX_PROCESSES = 64, MAX_LEAKS = 64 };

static double msec(uint64_t nsec)
{
	return (double)nsec / NSEC_PER_MSEC;
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static void add_states(struct profile *profile, const char *who, const struct go_process_facts *facts)
{
	static const char *const states[GO_N_STATUS] = {
		[GO_RUNNABLE] = "runnable", [GO_RUNNING] = "running", [GO_SYSCALL] = "syscall", [GO_WAITING] = "waiting", [GO_COPY_STACK] = "copystack",
		[GO_PREEMPTED] = "preempted", [GO_LEAKED] = "leaked",
	};
	char text[256] = "";
	size_t length = 0;

	for (size_t i = 0; i < GO_N_STATUS; i++)
		if (states[i] && facts->n_by_status[i] && length < sizeof(text))
			length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s %llu", length ? ", " : ": ", states[i],
					(unsigned long long)facts->n_by_status[i]);
	profile_add_comment_format(profile, "%s: %llu goroutines%s; read in %.3f ms, none was stopped", who, (unsigned long long)facts->n_goroutines, text,
			msec(facts->took_nsec));
	profile_add_comment_format(profile, "%s: goroutines of the runtime, not told: %llu; read again, for they moved: %llu; never stood still, told as running: %llu; "
			"could not be read: %llu; stacks without an end: %llu", who, (unsigned long long)facts->n_system,
			(unsigned long long)facts->n_retried, (unsigned long long)facts->n_restless, (unsigned long long)facts->n_unread,
			(unsigned long long)facts->n_broken);
	if (facts->n_met)
		profile_add_comment_format(profile, "%s: running goroutines that have the stack of their thread's latest CPU sample, at most a second before: %llu", who,
				(unsigned long long)facts->n_met);
	if (facts->n_unknown_labels)
		profile_add_comment_format(profile, "%s: goroutines whose labels could not be read: %llu", who, (unsigned long long)facts->n_unknown_labels);
}

/* How leaks were looked for. Which there are follows for all processes. */
static void add_leak_search(struct profile *profile, const char *who, const struct go_process_facts *facts)
{
	const struct goroutine_leaks_stats *stats = &facts->leak_stats;

	profile_add_comment_format(profile, "%s: goroutine leaks: %llu, by %llu looks until now; sites that goroutines come from: %llu; goroutines of too many sites, "
			"in all looks: %llu; of known age: %llu of %llu", who, (unsigned long long)facts->n_leaks, (unsigned long long)stats->n_looks,
			(unsigned long long)stats->n_sites, (unsigned long long)stats->n_left_out, (unsigned long long)stats->n_of_known_age,
			(unsigned long long)stats->n_goroutines);
}

static void add_leaks(const struct service_profile *service)
{
	size_t n = MIN(service->leaks.n, (size_t)MAX_LEAKS);

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *line = goroutine_leak_text_line(service->leaks.at[i]);

		if (line)
			profile_add_comment_format(service->profile, "goroutine leak (process %u): %s", service->leaks.at[i]->process.pid, line);
	}
	if (service->leaks.n > n)
		profile_add_comment_format(service->profile, "goroutine leaks that are not told of one by one: %zu", service->leaks.n - n);
}

/* How those that nobody will wake were looked for. */
static void add_deadlock_search(struct profile *profile, const char *who, const struct go_process_facts *facts)
{
	profile_add_comment_format(profile, "%s: goroutine deadlocks: %llu, of %llu goroutines; searches for who could wake them until now: %llu, in %.3f ms", who,
			(unsigned long long)facts->n_deadlocks, (unsigned long long)facts->n_deadlocked, (unsigned long long)facts->n_searches,
			msec(facts->searches_nsec));
}

static void add_deadlocks(const struct service_profile *service)
{
	for (size_t i = 0; i < service->goroutine_deadlocks.n; i++) {
		const struct goroutine_deadlock_text *text = service->goroutine_deadlocks.at[i];

		profile_add_comment_format(service->profile, "goroutine deadlock (process %u): %s", text->process.pid, text->head);
		for (size_t j = 0; j < text->members.n; j++)
			profile_add_comment_format(service->profile, "goroutine deadlock (process %u):   %s", text->process.pid, text->members.at[j]);
		if (text->n_members > text->members.n)
			profile_add_comment_format(service->profile, "goroutine deadlock (process %u):   goroutines that are not told of one by one: %llu",
					text->process.pid, (unsigned long long)(text->n_members - text->members.n));
	}
}

static void add_no_baseline(struct profile *profile, const char *who, uint64_t since_wall_nsec)
{
	time_t seconds = (time_t)(since_wall_nsec / NSEC_PER_SEC);
	char text[32] = "?";
	struct tm tm;

	if (gmtime_r(&seconds, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	profile_add_comment_format(profile, "%s: no baseline: memory profiling was switched on at %s, what was allocated before is not known", who, text);
}

static void add_memory(struct profile *profile, const char *who, const struct go_process_facts *facts)
{
	if (facts->memory_is_off)
		profile_add_comment_format(profile, "%s: memory profiling is off in this program: %s; memory.go.enable switches it on", who,
				facts->memory_is_off_by_linker ? "the linker left it out" : "MemProfileRate is 0");
	else if (facts->has_memory)
		profile_add_comment_format(profile, "%s: one allocation is sampled every %llu bytes, and scaled (MemProfileRate)", who,
				(unsigned long long)facts->memory_rate);
	if (facts->memory_since_wall_nsec)
		add_no_baseline(profile, who, facts->memory_since_wall_nsec);
}

/* What is told of snapshots is so often seen, and stands for so much time. */
static void add_tally(struct profile *profile, const char *who, const struct go_process_facts *facts)
{
	uint64_t n = facts->tally.n_snapshots;

	profile_add_comment_format(profile, "%s: goroutines: rows with source = go are of %llu snapshots in %.3f s, one each %.3f ms, that cost %.3f s of CPU time "
			"(%.3f %% of a CPU); could not be taken: %llu; not told, for want of room or since they could not be read: seen %llu times, %.6f s", who,
			(unsigned long long)n, (double)facts->tally.nsec / NSEC_PER_SEC, n ? msec(facts->tally.nsec) / (double)n : 0,
			(double)facts->tally.cpu_nsec / NSEC_PER_SEC, facts->tally.nsec ? 100 * (double)facts->tally.cpu_nsec / (double)facts->tally.nsec : 0,
			(unsigned long long)facts->tally.n_failed, (unsigned long long)facts->tally.lost_count, (double)facts->tally.lost_nsec / NSEC_PER_SEC);
}

static void add_contentions(struct profile *profile, enum profile_kind kind, const char *who, const struct go_process_facts *facts)
{
	if (facts->has_tally && (kind == PROFILE_WALL || (kind == PROFILE_BLOCK && !facts->block_rate)))
		add_tally(profile, who, facts);
	else if (kind == PROFILE_BLOCK && facts->has_block && !facts->block_rate)
		profile_add_comment_format(profile, "%s: the runtime records no waits (SetBlockProfileRate is 0): no rows with source = go", who);
	if (kind == PROFILE_MUTEX && facts->has_mutex && !facts->mutex_rate)
		profile_add_comment_format(profile, "%s: the runtime records no contended locks (SetMutexProfileFraction is 0): no rows with source = go", who);
}

static void add_gc(struct profile *profile, const char *who, const struct go_stats *stats)
{
	uint64_t longest = 0;
	char percent[32] = "off", limit[48] = "none", goal[48] = "none";

	for (size_t i = 0; i < MIN(stats->n_pauses, (size_t)GO_STATS_PAUSES); i++)
		longest = MAX(longest, stats->pauses_nsec[i]);
	if (stats->gc_percent >= 0)
		snprintf(percent, sizeof(percent), "%lld", (long long)stats->gc_percent);
	if (stats->memory_limit != UINT64_MAX)
		snprintf(limit, sizeof(limit), "%.1f MiB", mib(stats->memory_limit));
	if (stats->heap_goal != UINT64_MAX)
		snprintf(goal, sizeof(goal), "at %.3f MiB", mib(stats->heap_goal));
	profile_add_comment_format(profile, "%s: GC: heap live %.3f MiB, %.3f MiB after the last of %u collections; pauses: last %.3f ms, longest of the last %zu %.3f ms, "
			"all %.3f ms; %.3f %% of its CPU time since it began", who, mib(stats->heap_live), mib(stats->heap_marked), stats->n_gc,
			msec(stats->n_pauses ? stats->pauses_nsec[0] : 0), stats->n_pauses, msec(longest), msec(stats->pause_total_nsec),
			100 * stats->gc_cpu_fraction);
	profile_add_comment_format(profile, "%s: GC: next one: %s; stacks of goroutines: %.3f MiB", who, goal, mib(stats->stacks_in_use));
	profile_add_comment_format(profile, "%s: GOMAXPROCS %u, GOGC %s, memory limit %s", who, stats->gomaxprocs, percent, limit);
}

static void add_process(struct profile *profile, enum profile_kind kind, const struct capture *capture, const struct go_process_facts *facts)
{
	char who[96], version[sizeof(facts->version)], refusal[sizeof(facts->refusal)];

	text_clean(facts->version, version, sizeof(version));
	text_clean(facts->refusal, refusal, sizeof(refusal));
	snprintf(who, sizeof(who), "process %u (%s)", capture->stacks->processes.at[facts->process].pid, version[0] ? version : "Go of an unknown version");
	if (refusal[0])
		profile_add_comment_format(profile, "%s: go: %s", who, refusal);
	if (kind == PROFILE_GOROUTINE && facts->has_goroutines)
		add_states(profile, who, facts);
	if (kind == PROFILE_GOROUTINE && facts->has_leaks)
		add_leak_search(profile, who, facts);
	if (kind == PROFILE_GOROUTINE && facts->has_deadlocks)
		add_deadlock_search(profile, who, facts);
	if (kind == PROFILE_HEAP || kind == PROFILE_ALLOCS)
		add_memory(profile, who, facts);
	add_contentions(profile, kind, who, facts);
	if (facts->has_stats && kind != PROFILE_BLOCK && kind != PROFILE_MUTEX && kind != PROFILE_WALL)
		add_gc(profile, who, &facts->stats);
}

void go_comments_add(const struct capture *capture, const struct service_profile *service)
{
	size_t n = MIN(service->go_processes.n, (size_t)MAX_PROCESSES);

	for (size_t i = 0; i < n; i++)
		add_process(service->profile, service->kind, capture, &capture->go->processes.at[service->go_processes.at[i]]);
	if (service->n_left_out)
		profile_add_comment_format(service->profile,
				"parks of threads of Go's runtime, seen but not in this file, since its own records (source = go) tell who waited: %llu, %.6f s",
				(unsigned long long)service->n_left_out, (double)service->left_out_nsec / NSEC_PER_SEC);
	if (service->go_processes.n > n)
		profile_add_comment_format(service->profile, "processes of Go that are not told of one by one: %zu", service->go_processes.n - n);
	add_leaks(service);
	add_deadlocks(service);
}
