/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_comments.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "deadlock_text.h"
#include "go_comments.h"
#include "go_findings.h"
#include "profile.h"
#include "service_profile.h"
#include "stacks.h"
#include "text.h"

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * part / whole : 0;
}

/* How the walks of user stacks ended, by sample. */
static void add_verdicts_comment(struct profile *profile, const char *whose, const uint64_t verdicts[SAMPLE_N_VERDICTS])
{
	uint64_t n_user = 0, n_broken = 0;
	char reasons[512] = "";
	size_t length = 0;

	for (uint32_t i = 0; i < SAMPLE_N_VERDICTS; i++) {
		const char *reason = stacks_broken_reason(i);

		if (i != SAMPLE_VERDICT_KERNEL)
			n_user += verdicts[i];
		if (!reason || !verdicts[i])
			continue;
		n_broken += verdicts[i];
		if (length < sizeof(reasons))
			length += snprintf(reasons + length, sizeof(reasons) - length, "%s%s %llu", length ? ", " : " (",
					reason, (unsigned long long)verdicts[i]);
	}
	profile_add_comment_format(profile,
			"user stacks of %s: complete %llu (%.2f %%), elided %llu, kernel only %llu, broken %llu%s%s", whose,
			(unsigned long long)verdicts[SAMPLE_VERDICT_COMPLETE],
			percent(verdicts[SAMPLE_VERDICT_COMPLETE], n_user),
			(unsigned long long)verdicts[SAMPLE_VERDICT_ELIDED],
			(unsigned long long)verdicts[SAMPLE_VERDICT_KERNEL], (unsigned long long)n_broken, reasons,
			n_broken ? ")" : "");
}

/* How a snapshot came to be. */
static void add_snapshot_comment(struct profile *profile, const struct stacks *s)
{
	uint64_t n_running = 0, n_caught = 0;

	for (size_t i = 0; i < s->samples.n; i++) {
		const struct stacks_stack *stack = &s->stacks.at[s->samples.at[i].stack];

		n_running += s->samples.at[i].wait.reason == SAMPLE_RAN;
		n_caught += s->samples.at[i].wait.reason == SAMPLE_RAN && stack->n_kernel + stack->n_user;
	}
	profile_add_comment_format(profile,
			"snapshot: each thread was looked at once, all within %.3f ms, and none was stopped; running: %llu, of which %llu were met by a clock",
			(double)s->duration_nsec / NSEC_PER_MSEC, (unsigned long long)n_running, (unsigned long long)n_caught);
}

/* How the samples of a file came to be. */
static void add_rate_comment(struct profile *profile, enum profile_kind kind, const struct capture *capture)
{
	const struct capture_facts *facts = &capture->facts;
	const struct stacks *s = capture->stacks;
	double seconds = (double)s->duration_nsec / NSEC_PER_SEC;

	if (kind == PROFILE_CPU || kind == PROFILE_WALL)
		profile_add_comment_format(profile, "rate: %u Hz a CPU, event: %s, window: %.3f s, all of it covered", facts->rate, facts->event,
				seconds);
	if (kind == PROFILE_WALL)
		profile_add_comment_format(profile, "time on CPU: what a thread did not wait, given to its samples in equal parts");
	if (kind == PROFILE_THREAD)
		add_snapshot_comment(profile, s);
	if (kind == PROFILE_CPU || kind == PROFILE_THREAD || capture_kind_is_of_runtime(kind))
		return;
	if (s->untimed)
		profile_add_comment_format(profile,
				"timed: %.3f %% of the waits, from leaving a CPU to having one again; the others are known by thread and sum of "
				"their time, and estimated from these in all else: %.6f s of %.6f s, standard error of that before it was made to fit the sums "
				"%.6f s (%.2f %% of all)",
				percent(s->n_waits, s->n_waits + s->untimed), (double)s->untimed_nsec / NSEC_PER_SEC,
				(double)(s->waited_nsec + s->untimed_nsec) / NSEC_PER_SEC, sqrt(s->untimed_variance) / NSEC_PER_SEC,
				100 * sqrt(s->untimed_variance) / (double)(s->waited_nsec + s->untimed_nsec));
	profile_add_comment_format(profile,
			"%s; a stack was taken for %.2f %% of them, %.2f %% of their time; window: %.3f s, all of it covered",
			s->untimed ? "of those that were timed" : "timed: each wait, from leaving a CPU to having one again",
			percent(s->with_stack, s->n_waits), percent(s->with_stack_nsec, s->waited_nsec), seconds);
	if (s->short_waits)
		profile_add_comment_format(profile, "waits below min_delay (%.3f us), not in this file: %llu, %.6f s", (double)facts->min_delay_nsec / 1e3,
				(unsigned long long)s->short_waits, (double)s->short_nsec / NSEC_PER_SEC);
}

static void add_governor_comment(struct profile *profile, enum profile_kind kind, const struct capture_facts *facts)
{
	double cost = (double)facts->cost_ppm / 10000, budget = (double)facts->budget_ppm / 10000;

	if (facts->full_rate && (kind == PROFILE_CPU || kind == PROFILE_WALL))
		profile_add_comment_format(profile,
				"the governor lowered the rate from %u to %u Hz: own cost %.3f %% of the machine's CPU time, budget %.3f %%",
				facts->full_rate, facts->rate, cost, budget);
	if (facts->stack_every_nsec && kind != PROFILE_CPU && kind != PROFILE_THREAD && !capture_kind_is_of_runtime(kind))
		profile_add_comment_format(profile,
				"the governor takes fewer stacks, of waits below %llu us: own cost %.3f %% of the machine's CPU time, budget %.3f %%",
				(unsigned long long)(facts->stack_every_nsec / NSEC_PER_USEC), cost, budget);
	if (facts->time_every_nsec && kind != PROFILE_CPU && kind != PROFILE_THREAD && !capture_kind_is_of_runtime(kind))
		profile_add_comment_format(profile,
				"the governor has not each wait below %llu us timed: own cost %.3f %% of the machine's CPU time, budget %.3f %%",
				(unsigned long long)(facts->time_every_nsec / NSEC_PER_USEC), cost, budget);
}

/* Of a window or a snapshot, what files of one kind are made of. */
struct seen {
	uint64_t seen, lost, lost_frames;
	uint64_t verdicts[SAMPLE_N_VERDICTS];
};

/* What threads were seen to do, and what each runtime told, is counted together: a file tells of its own alone. */
static struct seen seen_of(const struct capture *capture, enum profile_kind kind)
{
	const struct stacks *s = capture->stacks;
	struct seen seen = { .seen = s->seen, .lost = stacks_lost(s), .lost_frames = s->lost_frames };

	if (capture_kind_is_of_runtime(kind)) {
		const struct go_count *count = go_findings_count(capture->go, kind == PROFILE_GOROUTINE ? GO_SAMPLE_GOROUTINE : GO_SAMPLE_MEMORY);

		seen = (struct seen){ .seen = count->seen, .lost = count->lost, .lost_frames = count->lost };
		memcpy(seen.verdicts, count->verdicts, sizeof(seen.verdicts));
		return seen;
	}
	memcpy(seen.verdicts, s->verdicts, sizeof(seen.verdicts));
	for (int sort = GO_SAMPLE_NONE + 1; sort < GO_SAMPLE_N_SORTS; sort++) {
		const struct go_count *count = go_findings_count(capture->go, (enum go_sample_sort)sort);

		seen.seen -= count->seen;
		seen.lost -= count->lost;
		seen.lost_frames -= count->lost;
		for (size_t i = 0; i < SAMPLE_N_VERDICTS; i++)
			seen.verdicts[i] -= count->verdicts[i];
	}
	return seen;
}

static const char *what_is_seen(enum profile_kind kind, const struct stacks *s)
{
	switch (kind) {
	case PROFILE_CPU:
		return "samples";
	case PROFILE_THREAD:
		return "threads";
	case PROFILE_GOROUTINE:
		return "goroutines";
	case PROFILE_HEAP:
	case PROFILE_ALLOCS:
		return "stacks of allocations";
	default:
		return s->untimed ? "timed waits" : "waits";
	}
}

/* What a profile of waits or threads lacks by more than one in a hundred, by number or by time, is marked. */
static void add_lost_comment(struct profile *profile, enum profile_kind kind, const struct stacks *s, const struct seen *seen)
{
	uint64_t lost = seen->lost, waited_nsec = s->waited_nsec + s->untimed_nsec;

	if ((kind == PROFILE_THREAD || capture_kind_is_of_runtime(kind)) && lost * 100 > seen->seen)
		profile_add_comment_format(profile, "INCOMPLETE: %.2f %% of the %s were lost", percent(lost, seen->seen), what_is_seen(kind, s));
	if (kind == PROFILE_THREAD || capture_kind_is_of_runtime(kind))
		return;
	if (s->stack_lost_nsec)
		profile_add_comment_format(profile, "%s%.2f %% of the time waited has no stack, for there was no room for it",
				s->stack_lost_nsec * 100 > waited_nsec ? "INCOMPLETE: " : "", percent(s->stack_lost_nsec, waited_nsec));
	if (lost * 100 <= seen->seen && s->lost_nsec * 100 <= waited_nsec + s->lost_nsec)
		return;
	profile_add_comment_format(profile, "INCOMPLETE: %.2f %% of the waits and %.2f %% of their time, where it is known, were lost",
			percent(lost, seen->seen), percent(s->lost_nsec, waited_nsec + s->lost_nsec));
}

/* Rows with source = go: goroutines' waits, or goroutines, are no waits of threads. */
static void add_go_comment(struct profile *profile, const struct capture *capture, enum go_sample_sort sort, const char *what, const char *whose)
{
	const struct go_count *count = go_findings_count(capture->go, sort);

	if (!count->seen)
		return;
	profile_add_comment_format(profile, "%s (source = go) of %s in this window: seen %llu = kept %llu + lost %llu", what, whose,
			(unsigned long long)count->seen, (unsigned long long)(count->seen - count->lost), (unsigned long long)count->lost);
	if (count->lost * 100 > count->seen)
		profile_add_comment_format(profile, "INCOMPLETE: %.2f %% of the %s (source = go) were lost", percent(count->lost, count->seen), what);
	add_verdicts_comment(profile, what, count->verdicts);
}

static void add_go_comments(struct profile *profile, enum profile_kind kind, const struct capture *capture, const char *whose)
{
	if (kind == PROFILE_BLOCK)
		add_go_comment(profile, capture, GO_SAMPLE_BLOCK, "recorded waits of goroutines", whose);
	if (kind == PROFILE_MUTEX)
		add_go_comment(profile, capture, GO_SAMPLE_MUTEX, "recorded contentions of goroutines", whose);
	if (kind == PROFILE_BLOCK || kind == PROFILE_WALL)
		add_go_comment(profile, capture, GO_SAMPLE_TALLY, "goroutines as often as snapshots met them", whose);
}

static void add_window_comments(struct profile *profile, enum profile_kind kind, const struct capture *capture)
{
	const struct stacks *s = capture->stacks;
	const struct seen seen = seen_of(capture, kind);
	/* Nobody knows whose the lost ones were. */
	const char *whose = capture->is_selected ? "what was asked for" : kind == PROFILE_CPU ? "the host" : "all targets";
	char storage[64] = "";

	add_rate_comment(profile, kind, capture);
	add_governor_comment(profile, kind, &capture->facts);
	if (kind != PROFILE_CPU && !capture_kind_is_of_runtime(kind))
		snprintf(storage, sizeof(storage), ", storage %llu", (unsigned long long)s->lost_storage);
	profile_add_comment_format(profile,
			"%s of %s in this %s: seen %llu = kept %llu + lost %llu (ring %llu, namespace %llu, frames %llu%s)",
			what_is_seen(kind, s), whose, kind == PROFILE_THREAD || capture_kind_is_of_runtime(kind) ? "snapshot" : "window",
			(unsigned long long)seen.seen, (unsigned long long)(seen.seen - seen.lost), (unsigned long long)seen.lost,
			(unsigned long long)(capture_kind_is_of_runtime(kind) ? 0 : s->lost_ring),
			(unsigned long long)(capture_kind_is_of_runtime(kind) ? 0 : s->lost_namespace), (unsigned long long)seen.lost_frames, storage);
	if (kind != PROFILE_CPU)
		add_lost_comment(profile, kind, s, &seen);
	if (s->lost_others)
		profile_add_comment_format(profile, "waits of which it is not told who ended them, for want of room: %llu",
				(unsigned long long)s->lost_others);
	if (kind == PROFILE_CPU && s->labels_unread + s->labels_cut + s->labels_left_out)
		profile_add_comment_format(profile,
				"samples of goroutines with labels that are not all told: %llu without, for they could not be read; %llu with those that "
				"there is room for; %llu as `other`, for there were too many different ones",
				(unsigned long long)s->labels_unread, (unsigned long long)s->labels_cut, (unsigned long long)s->labels_left_out);
	add_verdicts_comment(profile, whose, seen.verdicts);
	add_go_comments(profile, kind, capture, whose);
	if (capture->facts.stolen_nsec && capture->facts.n_cpus)
		profile_add_comment_format(profile, "stolen: the hypervisor gave %.2f %% of the machine's CPU time in this window to others (%.3f s)",
				percent(capture->facts.stolen_nsec, s->duration_nsec * capture->facts.n_cpus),
				(double)capture->facts.stolen_nsec / NSEC_PER_SEC);
	if (capture->facts.lost_life || capture->facts.lost_mappings)
		profile_add_comment_format(profile, "events of processes lost: life %llu, mappings %llu",
				(unsigned long long)capture->facts.lost_life,
				(unsigned long long)capture->facts.lost_mappings);
	profile_add_comment_format(profile, "cost: tsprofd used %.3f s of CPU time in this window",
			(double)capture->facts.own_cpu_nsec / NSEC_PER_SEC);
}

static void add_lock_comment(struct profile *profile, const struct capture *capture, const struct lock *lock)
{
	char owners[LOCKS_MAX_OWNERS * 12] = "";
	size_t length = 0, n_named = MIN(lock->n_owners, (uint32_t)LOCKS_MAX_OWNERS);

	for (size_t i = 0; i < n_named; i++)
		length += (size_t)snprintf(owners + length, sizeof(owners) - length, "%s%u", i ? ", " : "", lock->owners[i]);
	profile_add_comment_format(profile, "lock 0x%llx of process %u: %.6f s in %llu waits of %u threads, longest %.6f s; owners seen: %u%s%s%s%s%s",
			(unsigned long long)lock->address, capture->stacks->processes.at[lock->process].pid, (double)lock->nsec / NSEC_PER_SEC,
			(unsigned long long)lock->waits, lock->n_threads, (double)lock->longest_nsec / NSEC_PER_SEC, lock->n_owners,
			n_named ? " (" : "", owners, lock->n_owners > n_named ? ", ..." : "", n_named ? ")" : "",
			lock->is_estimate ? "; estimated from those that were timed" : "");
}

static void add_lock_comments(struct profile *profile, const struct capture *capture, const struct service_profile *service)
{
	if (!service->n_locks)
		return;
	profile_add_comment_format(profile, "locks waited for: %llu, %.6f s%s; those with the most time:", (unsigned long long)service->n_locks,
			(double)service->locks_nsec / NSEC_PER_SEC, service->has_estimates ? ", estimated where not all waits were timed" : "");
	for (size_t i = 0; i < service->locks.n; i++)
		add_lock_comment(profile, capture, &service->locks.at[i]);
}

static void add_deadlock_comments(struct profile *profile, const struct capture *capture, const struct service_profile *service)
{
	const struct deadlocks *deadlocks = &capture->deadlocks;

	for (size_t i = 0; i < service->deadlocks.n; i++) {
		const struct deadlock_text *text = service->deadlocks.at[i];
		_cleanup_free_ char *head = deadlock_text_head(text);

		if (head)
			profile_add_comment_format(profile, "%s", head);
		for (size_t k = 0; k < text->waits.n; k++) {
			_cleanup_free_ char *line = deadlock_text_line(&text->waits.at[k], true);

			if (line)
				profile_add_comment_format(profile, "%s", line);
		}
	}
	if (!deadlocks->has_looked)
		profile_add_comment_format(profile, "deadlocks: not looked for, the window is too short or the machine had no room");
	else if (deadlocks->n_left_out)
		profile_add_comment_format(profile, "deadlocks: %llu waits or circles of all targets could not be looked at: too many, or not in time",
				(unsigned long long)deadlocks->n_left_out);
}

void profile_comments_add(const struct capture *capture, const struct service_profile *service, const struct utsname *host)
{
	struct profile *profile = service->profile;
	char name[256];

	profile->time_nsec = capture->stacks->start_wall_nsec;
	profile->duration_nsec = capture->stacks->duration_nsec;
	profile_add_comment_format(profile, "tsprofd " TSPROFD_VERSION ", host %s, kernel %s", host->nodename,
			host->release);
	text_clean(service->service, name, sizeof(name));
	profile_add_comment_format(profile, "service: %s, samples: %llu, trigger: %s", name,
			(unsigned long long)service->n_samples, capture->trigger[0] ? capture->trigger : "schedule");
	add_verdicts_comment(profile, "this file", service->verdicts);
	profile_add_comment_format(profile, "frames without a name: %.2f %%, without mapping: %.2f %%",
			percent(service->n_unnamed, service->n_frames), percent(service->n_unmapped, service->n_frames));
	if (service->kind == PROFILE_BLOCK || service->kind == PROFILE_WALL)
		profile_add_comment_format(profile, "idle, for want of work (label idle = 1): %llu waits, %.6f s, %.2f %% of the time of this file",
				(unsigned long long)service->n_idle, (double)service->idle_nsec / NSEC_PER_SEC,
				percent(service->idle_nsec, service->nsec));
	go_comments_add(capture, service);
	add_window_comments(profile, service->kind, capture);
	if (service->kind != PROFILE_MUTEX)
		return;
	add_deadlock_comments(profile, capture, service);
	add_lock_comments(profile, capture, service);
}
