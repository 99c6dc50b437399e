/* SPDX-License-Identifier: Apache-2.0 */
#include "hotspots.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "clock.h"
#include "hotspot_reader.h"
#include "location.h"
#include "log.h"
#include "process.h"
#include "unwind_maps.h"

enum {
	MAX_AT_WORK = 4,                     /* helpers */
	MAX_DOUBLINGS = 16,
	/* Tries of a JVM before it is given up, 20 ms apart and twice as long each time: 20 s in all. */
	MAX_EARLY = 10,
	LEAST_SWEEP = 64,                    /* processes, before it is looked which are gone */
};
static const uint64_t early_nsec = 20 * NSEC_PER_MSEC, none_nsec = 60 * NSEC_PER_SEC, longest_nsec = 3600 * NSEC_PER_SEC;

/* One that the kernel side has in its map. */
struct process {
	struct hotspots *hotspots;
	struct sample_process id;
	struct hotspot_reader *reader;       /* while its memory is read */
	bool is_wanted;                      /* to be looked at, when there is room */
	bool is_known;
	bool is_told;                        /* to the journal, that it failed */
	uint32_t n_early, n_failures;
	uint64_t next_nsec;                  /* when it is looked at again; UINT64_MAX: never */
	TAILQ_ENTRY(process) link;
};

struct hotspots {
	sd_event *loop;
	struct unwind_maps *maps;
	hotspots_find_fn find;
	void *userdata;
	int proc;
	TAILQ_HEAD(, process) processes;
	size_t n_at_work, sweep_at;
	sd_event_source *timer;
	struct hotspots_stats stats;
};

/* ---- those that there are ---- */

static void drop(struct hotspots *hotspots, struct process *process)
{
	TAILQ_REMOVE(&hotspots->processes, process, link);
	hotspots->stats.n_processes--;
	hotspots->stats.n_known -= process->is_known;
	hotspots->n_at_work -= !!process->reader;
	unwind_maps_unset_hotspot(hotspots->maps, &process->id);
	hotspot_reader_free(process->reader);
	free(process);
}

static bool is_gone(const struct hotspots *hotspots, const struct process *process)
{
	struct process_stat stat;

	return process_read_stat(hotspots->proc, process->id.pid, &stat) != 0 ||
	       stat.start_ticks != process->id.start_nsec / NSEC_PER_TICK;
}

/* When there are twice as many as were left the last time: 1,000 that stay are looked at a few times in all. */
static void sweep(struct hotspots *hotspots)
{
	struct process *process, *next;

	if (hotspots->stats.n_processes < hotspots->sweep_at)
		return;
	for (process = TAILQ_FIRST(&hotspots->processes); process; process = next) {
		next = TAILQ_NEXT(process, link);
		if (is_gone(hotspots, process))
			drop(hotspots, process);
	}
	hotspots->sweep_at = MIN(MAX(2 * hotspots->stats.n_processes, (uint64_t)LEAST_SWEEP), (uint64_t)HOTSPOT_MAX_PROCESSES * 3 / 4);
}

/* The number is this one's now, whoever had it. */
static void drop_others(struct hotspots *hotspots, const struct sample_process *id)
{
	struct process *process, *next;

	for (process = TAILQ_FIRST(&hotspots->processes); process; process = next) {
		next = TAILQ_NEXT(process, link);
		if (process->id.pid == id->pid)
			drop(hotspots, process);
	}
}

/* ---- looking ---- */

static void arm(struct hotspots *hotspots)
{
	uint64_t next_nsec = UINT64_MAX;
	const struct process *process;

	TAILQ_FOREACH (process, &hotspots->processes, link)
		if (!process->reader && !process->is_wanted)
			next_nsec = MIN(next_nsec, process->next_nsec);
	sd_event_source_set_enabled(hotspots->timer, next_nsec != UINT64_MAX ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	if (next_nsec != UINT64_MAX)
		sd_event_source_set_time(hotspots->timer, next_nsec / NSEC_PER_USEC);
}

static void look_again(struct process *process, uint64_t nsec, uint32_t n_doublings)
{
	process->next_nsec = clock_monotonic_nsec() + MIN(nsec << MIN(n_doublings, (uint32_t)MAX_DOUBLINGS), longest_nsec);
}

/* The walk goes on without knowing anything of it. */
static void set_none(struct process *process)
{
	const struct hotspot none = { .state = HOTSPOT_NONE };

	unwind_maps_set_hotspot(process->hotspots->maps, &process->id, &none);
	look_again(process, none_nsec, process->n_failures++);
}

static void tell_failure(struct process *process, enum hotspot_reader_outcome outcome)
{
	process->hotspots->stats.failed++;
	if (process->is_told)
		return;
	process->is_told = true;
	log_print(LOG_INFO, "tables: the Java process %" PRIu32 " %s: its stacks are walked by frame pointers", process->id.pid,
			outcome == HOTSPOT_READER_FAILED ? "could not be read" : "is of no sort that is known");
}

static void look_at_wanted(struct hotspots *hotspots);

static void on_read(enum hotspot_reader_outcome outcome, const struct hotspot *hotspot, void *userdata)
{
	struct process *process = userdata;
	struct hotspots *hotspots = process->hotspots;

	process->reader = hotspot_reader_free(process->reader);
	hotspots->n_at_work--;
	if (outcome == HOTSPOT_READER_KNOWN && unwind_maps_set_hotspot(hotspots->maps, &process->id, hotspot) == 0) {
		process->is_known = true;
		process->next_nsec = UINT64_MAX;
		hotspots->stats.n_known++;
		hotspots->stats.read++;
	} else if (is_gone(hotspots, process)) {
		drop(hotspots, process);
	} else if (process->n_early < MAX_EARLY) {
		/* What makes no sense may be half made, what cannot be read half mapped. */
		look_again(process, early_nsec, process->n_early++);
	} else {
		tell_failure(process, outcome);
		set_none(process);
	}
	look_at_wanted(hotspots);
	arm(hotspots);
}

static void look(struct process *process)
{
	struct hotspots *hotspots = process->hotspots;
	const struct process_id id = {
		.pid = process->id.pid,
		.exec_id = process->id.exec_id,
		.start_nsec = process->id.start_nsec / NSEC_PER_TICK * NSEC_PER_TICK,
	};
	uint64_t base;
	int r;

	process->is_wanted = false;
	if (hotspots->find(&id, &base, hotspots->userdata) != 0) {
		set_none(process);
		return;
	}
	r = hotspot_reader_new(hotspots->loop, process->id.pid, base, on_read, process, &process->reader);
	if (r < 0) {
		log_print(LOG_DEBUG, "tables: no helper to read process %" PRIu32 ": %s", process->id.pid, strerror(-r));
		hotspots->stats.failed++;
		set_none(process);
		return;
	}
	hotspots->n_at_work++;
}

static void look_at_wanted(struct hotspots *hotspots)
{
	struct process *process;

	TAILQ_FOREACH (process, &hotspots->processes, link) {
		if (hotspots->n_at_work >= MAX_AT_WORK)
			return;
		if (process->is_wanted)
			look(process);
	}
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct hotspots *hotspots = userdata;
	uint64_t now = clock_monotonic_nsec();
	struct process *process, *next;

	for (process = TAILQ_FIRST(&hotspots->processes); process; process = next) {
		next = TAILQ_NEXT(process, link);
		if (process->reader || process->next_nsec > now)
			continue;
		if (is_gone(hotspots, process))
			drop(hotspots, process);
		else
			process->is_wanted = true;
	}
	look_at_wanted(hotspots);
	arm(hotspots);
	return 0;
}

void hotspots_want(struct hotspots *hotspots, const struct unwind_want *want)
{
	const struct sample_process id = {
		.start_nsec = want->process.start_nsec, .pid = want->process.pid, .exec_id = want->process.exec_id,
	};
	struct process *process;

	sweep(hotspots);
	drop_others(hotspots, &id);
	process = calloc(1, sizeof(*process));
	if (!process) {
		unwind_maps_unset_hotspot(hotspots->maps, &id);
		return;
	}
	process->hotspots = hotspots;
	process->id = id;
	process->is_wanted = true;
	TAILQ_INSERT_TAIL(&hotspots->processes, process, link);
	hotspots->stats.n_processes++;
	look_at_wanted(hotspots);
	arm(hotspots);
}

/* ---- life ---- */

DEFINE_CLEANUP(struct hotspots, hotspots_free);

int hotspots_new(sd_event *loop, struct unwind_maps *maps, hotspots_find_fn find, void *userdata, struct hotspots **ret)
{
	_cleanup_(hotspots_free_p) struct hotspots *hotspots = calloc(1, sizeof(*hotspots));
	int r;

	if (!hotspots)
		return -ENOMEM;
	TAILQ_INIT(&hotspots->processes);
	hotspots->loop = sd_event_ref(loop);
	hotspots->maps = maps;
	hotspots->find = find;
	hotspots->userdata = userdata;
	hotspots->sweep_at = LEAST_SWEEP;
	hotspots->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = hotspots->proc < 0 ? -errno
		: sd_event_add_time(loop, &hotspots->timer, CLOCK_MONOTONIC, UINT64_MAX, 5000, on_timer, hotspots);
	if (r < 0)
		return r;
	*ret = TAKE(hotspots);
	return 0;
}

struct hotspots *hotspots_free(struct hotspots *hotspots)
{
	struct process *process;

	if (!hotspots)
		return NULL;
	while ((process = TAILQ_FIRST(&hotspots->processes))) {
		TAILQ_REMOVE(&hotspots->processes, process, link);
		hotspot_reader_free(process->reader);
		free(process);
	}
	sd_event_source_disable_unref(hotspots->timer);
	close_fd(hotspots->proc);
	sd_event_unref(hotspots->loop);
	free(hotspots);
	return NULL;
}

struct hotspots_stats hotspots_stats(const struct hotspots *hotspots)
{
	return hotspots->stats;
}
