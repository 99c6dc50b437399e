/* SPDX-License-Identifier: Apache-2.0 */
#include "go_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "go_findings.h"
#include "go_history.h"
#include "go_metrics.h"
#include "go_program.h"
#include "go_reader.h"
#include "go_report.h"
#include "go_stuck.h"
#include "goroutine_leaks.h"
#include "hash.h"
#include "go_switch.h"
#include "image.h"
#include "location.h"
#include "log.h"
#include "map.h"
#include "schedule.h"
#include "stacks.h"
#include "targets.h"
#include "vec.h"

enum {
	READERS_MAX = 2,
	TALLIES_PPM = 10000,                 /* of a CPU, that snapshots all through a window may take */
	/* Where goroutines come from, of one process: thousands are of no program, but of one that wants the loop to take seconds to judge them. */
	LEAK_SITES_MAX = 2000,
};

enum {
	WAITS_PARTS = 1 << GO_REPORT_BLOCK | 1 << GO_REPORT_MUTEX,
};

/* Taken by a timer. */
#define SNAPSHOT_KINDS (capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP))
/* go_switch leaves a process alone for its first second. */
static const uint64_t settle_nsec = NSEC_PER_SEC + 100 * NSEC_PER_MSEC;

/* What is remembered of a process. */
struct past {
	uint32_t pid;
	struct process_id id;                /* as it was when it was seen first */
	uint64_t program;                    /* program_of(); another one, or another process of this number, has another past */
	uint64_t settle_nsec;                /* CLOCK_MONOTONIC: then its rates are looked at, not before; 0: whenever it is read */
	uint64_t set_nsec;                   /* CLOCK_MONOTONIC: when go_switch_set() was called last */
	bool is_go, is_known;                /* is_go is known */
	bool has_refused, is_off_told;       /* and that was told; that its heap profiler is off */
	struct go_history *history;
	struct goroutine_leaks *leaks;
	struct go_stuck *stuck;
	bool is_searched;                    /* at this moment, for who could wake its goroutines */
	bool has_facts;
	char *service;
	struct go_process_facts facts;       /* as it was seen last; of goroutines when they were read last */
	bool has_rates, records_block;       /* the runtime records waits, when it was asked last */
	struct go_report *waits;             /* what was recorded of waits at the beginning of the window; NULL: not known */
};

/* A capture that waits, or none: a window begins. */
struct round {
	TAILQ_ENTRY(round) link;
	struct capture *capture;
	uint32_t parts;
	size_t n_open;                       /* readings that are not done */
};

struct reading {
	TAILQ_ENTRY(reading) link;
	struct go_watch *watch;
	struct round *round;
	struct image *image;
	struct go_reader *reader;            /* NULL: it has its turn yet */
	uint32_t parts;
	bool has_search;                     /* GO_REPORT_REACH is asked for */
	struct tally *tally;                 /* that it is the end of; NULL: one look */
};

/* Of one process in one window. */
struct tally {
	TAILQ_ENTRY(tally) link;             /* as long as its window goes on */
	struct go_watch *watch;
	struct image *image;
	struct go_reader *reader;            /* NULL: it has ended */
	struct go_report *report;            /* then: NULL: `error` */
	int error;
	struct reading *reading;             /* NULL: its window goes on */
};

enum due { DUE_GOROUTINES, DUE_MEMORY, DUE_RATES, N_DUE };

struct go_watch {
	sd_event *loop;                      /* NULL: it has ended, whoever is waited for is waited for */
	struct targets *targets;
	go_watch_ready_fn ready;
	void *userdata;
	struct map pasts;                    /* pid -> struct past * */
	TAILQ_HEAD(, round) rounds;
	TAILQ_HEAD(, reading) readings;      /* those that are read come first */
	size_t n_readers;
	TAILQ_HEAD(, tally) tallies;         /* of the window that goes on */
	size_t n_tallies;
	uint32_t window_kinds;               /* of that window of waits; 0: none goes on */
	struct go_metrics metrics;           /* its processes are put in when they are printed */
	const struct config *config;         /* NULL: snapshots are asked for */
	struct go_switch *sw;                /* NULL: nothing is ever written */
	go_running_fn find_running;          /* NULL: nobody samples CPU */
	void *find_running_userdata;
	uint64_t due_nsec[N_DUE];            /* CLOCK_MONOTONIC; UINT64_MAX: not wanted */
	sd_event_source *timer;              /* NULL likewise */
	struct goroutine_leaks_options leak_options;
	uint64_t stuck_nsec;                 /* 0: GO_STUCK_NSEC */
};

/* 0 would mean 250 ms. */
static const uint64_t timer_accuracy_usec = 1000;

/* --- Pasts --- */

static void forget(struct past *past)
{
	go_history_free(past->history);
	goroutine_leaks_free(past->leaks);
	go_stuck_free(past->stuck);
	if (past->waits)
		go_report_deinit(past->waits);
	free(past->waits);
	free(past->service);
}

static void past_free(struct past *past)
{
	forget(past);
	free(past);
}

/*
 * Which program a process runs, as a number: another one after an exec, from which its start is the same. (Not exec_id: that of a
 * program may become known later.)
 */
static uint64_t program_of(const struct image *image)
{
	return image->exe ? hash_bytes(image->exe, strlen(image->exe)) : 0;
}

static bool is_of_program(const struct past *past, const struct image *image)
{
	return past->id.start_nsec == image->id.start_nsec && past->program == program_of(image);
}

/* Nothing of ours is left in it; it may have ended. */
static void release(struct go_watch *watch, const struct past *past)
{
	if (watch->sw && past->id.pid)
		go_switch_release(watch->sw, &past->id);
}

/* Another process has the number now, or it runs another program. */
static void begin_past(struct go_watch *watch, struct past *past, const struct image *image)
{
	if (is_of_program(past, image))
		return;
	release(watch, past);
	forget(past);
	*past = (struct past){ .pid = past->pid, .id = image->id, .program = program_of(image), .settle_nsec = past->settle_nsec };
}

static bool is_go_program(const struct image *image)
{
	for (size_t i = 0; image->exe && i < image->mappings.n; i++) {
		const struct binary *binary = image->mappings.at[i].binary;

		if (binary && binary->fd >= 0 && !strcmp(binary->path, image->exe))
			/* Of one that we cannot read it is told that we cannot. */
			return go_program_is(binary->fd) || go_program_is_of_32_bits(binary->fd);
	}
	return false;
}

/* NULL: it is no Go program, or nothing is known of it any more, or it is no target any more. */
static struct image *find_go(struct go_watch *watch, uint32_t pid)
{
	struct image *image;
	struct past **found, *past;

	if (targets_image_of(watch->targets, pid, &image) != 0)
		return NULL;
	/* Who looks at it may find that it is no target any more: go_watch_set_target() has been called then. */
	found = map_get(&watch->pasts, &pid);
	if (!found)
		return image_free(image);
	past = *found;
	if (past->is_known && is_of_program(past, image) && !past->is_go)
		return image_free(image);
	begin_past(watch, past, image);
	if (!past->is_known)
		past->is_go = is_go_program(image);
	past->is_known = image->mappings.n > 0;
	return past->is_go ? image : image_free(image);
}

static struct past *past_of(const struct go_watch *watch, const struct image *image)
{
	struct past **past = map_get(&watch->pasts, &image->id.pid);

	return past && is_of_program(*past, image) ? *past : NULL;
}

/* --- What a process said --- */

static int add_process(struct capture *capture, struct image *image)
{
	/* The same process may have samples in it. */
	while (capture->images.n < capture->stacks->processes.n) {
		int r = vec_push(&capture->images, image);

		if (r < 0) {
			image_free(image);
			return r;
		}
		image = NULL;
	}
	image_free(image);
	return 0;
}

static void tell_refusal(struct past *past, const struct image *image, const struct go_report *report)
{
	if (!past || past->has_refused || !report->refusal[0])
		return;
	past->has_refused = true;
	log_event(LOG_WARNING, "go-runtime", image->service, NULL, "Process %u (%s): go: %s.", past->pid, image->service, report->refusal);
}

/* Once; where it is switched on that is told instead. */
static void tell_memory_is_off(const struct go_watch *watch, struct past *past, const struct image *image, const struct go_process_facts *facts)
{
	if (past->is_off_told || !facts->memory_is_off || (watch->config && watch->config->memory.go_enable))
		return;
	past->is_off_told = true;
	log_event(LOG_NOTICE, "go-memory-off", image->service, NULL, "Process %u (%s): Go's memory profiling is off in this program: %s. "
			"memory.go.enable switches it on, see profiling.yaml(5).", past->pid, image->service,
			facts->memory_is_off_by_linker ? "nothing in it asks for a profile, so the linker left it out" : "MemProfileRate is 0");
}

static bool wants_rates(const struct go_watch *watch)
{
	const struct go_switch_wish none = { 0 };
	struct go_switch_wish wish;

	if (!watch->sw || !watch->config)
		return false;
	wish = go_switch_wish_of(watch->config, 0);
	return memcmp(&wish, &none, sizeof(wish)) != 0;
}

static bool has_rates(const struct go_report *report)
{
	for (int i = 0; i < GO_N_RATES; i++)
		if (report->rates.of[i].address)
			return true;
	return false;
}

static void set_rates(struct go_watch *watch, struct past *past, const struct go_report *report)
{
	struct go_switch_wish wish;

	/* At the end all is undone: nothing is begun. */
	if (!watch->sw || !watch->config || !watch->loop || !has_rates(report) || past->settle_nsec > clock_monotonic_nsec())
		return;
	/* Two rounds may be under way: what was read before we wrote tells nothing of what is there now. */
	if (report->taken_nsec <= past->set_nsec)
		return;
	wish = go_switch_wish_of(watch->config, report->cycles_per_second);
	go_switch_set(watch->sw, &past->id, &report->rates, &wish);
	past->set_nsec = clock_monotonic_nsec();
}

/* By the wall clock; 0: the program has its heap profiler on by itself, or none. */
static uint64_t memory_is_ours_since(const struct go_watch *watch, const struct past *past, const struct go_report *report)
{
	uint64_t since_nsec;

	/* What is read of a moment before we wrote is without any samples. */
	if (!watch->sw || !go_switch_is_ours(watch->sw, &past->id, GO_RATE_MEMORY, &since_nsec) || since_nsec > report->taken_nsec)
		return 0;
	return clock_wall_nsec() - (clock_monotonic_nsec() - since_nsec);
}

/* For metrics. */
static void keep_facts(struct past *past, const struct image *image, const struct go_process_facts *facts)
{
	struct go_process_facts before = past->facts;

	if (!past->service)
		past->service = strdup(image->service);
	past->has_facts = past->service;
	past->facts = *facts;
	if (facts->has_goroutines)
		return;
	past->facts.has_goroutines = before.has_goroutines;
	past->facts.n_goroutines = before.n_goroutines;
	past->facts.has_leaks = before.has_leaks;
	past->facts.n_leaks = before.n_leaks;
	past->facts.has_deadlocks = before.has_deadlocks;
	past->facts.n_deadlocks = before.n_deadlocks;
	past->facts.n_deadlocked = before.n_deadlocked;
	past->facts.n_searches = before.n_searches;
	past->facts.searches_nsec = before.searches_nsec;
	memcpy(past->facts.n_by_status, before.n_by_status, sizeof(before.n_by_status));
}

/* What was recorded until now is what the next window begins with. */
static void keep_waits(struct past *past, struct go_report *report)
{
	struct go_report *kept;

	if ((report->has & WAITS_PARTS) != WAITS_PARTS)
		return;
	kept = calloc(1, sizeof(*kept));
	if (!kept)
		return;
	/* Its own now: the caller's report lives on without them. */
	kept->has = WAITS_PARTS;
	kept->block = report->block;
	kept->mutex = report->mutex;
	report->block = report->mutex = (struct go_buckets){ 0 };
	if (past->waits)
		go_report_deinit(past->waits);
	free(past->waits);
	past->waits = kept;
}

/* One look more. NULL when there is no room to remember it. */
static const struct goroutine_leaks *learn_leaks(const struct go_watch *watch, struct past *past, const struct go_report *report)
{
	int r;

	if (!past || !(report->has & 1U << GO_REPORT_GOROUTINES))
		return NULL;
	if (!past->leaks)
		past->leaks = goroutine_leaks_new(&watch->leak_options);
	r = past->leaks ? goroutine_leaks_add(past->leaks, &report->goroutines, report->taken_nsec) : -ENOMEM;
	if (r == -ENOMEM)
		log_print(LOG_WARNING, "Out of memory: whether goroutines of process %u leak is not known.", past->pid);
	/* One that was taken before the last one was, but was read later, says nothing new. */
	return r == -ENOMEM ? NULL : past->leaks;
}

/* What was just added. */
static const struct go_process_facts *find_facts(const struct capture *capture, const struct process_id *id)
{
	uint32_t process = 0;

	while (memcmp(&capture->stacks->processes.at[process], id, sizeof(*id)) != 0)
		process++;
	return go_findings_process(capture->go, process);
}

/* Who is stuck as of this look. NULL when there is no room to remember it. */
static const struct go_stuck *learn_stuck(const struct go_watch *watch, struct past *past, const struct go_report *report)
{
	int r;

	if (!past || !(report->asked & 1U << GO_REPORT_GOROUTINES))
		return NULL;
	if (!past->stuck)
		past->stuck = go_stuck_new(watch->stuck_nsec);
	r = past->stuck ? go_stuck_add(past->stuck, report) : -ENOMEM;
	if (r == -ENOMEM)
		log_print(LOG_WARNING, "Out of memory: whether goroutines of process %u are stuck is not known.", past->pid);
	return r < 0 ? NULL : past->stuck;
}

static int add_report(struct reading *reading, struct go_report *report)
{
	struct capture *capture = reading->round->capture;
	struct past *past = past_of(reading->watch, reading->image);
	_cleanup_free_ uint64_t *waited_nsec = NULL;
	struct go_addition addition = {
		.process = &reading->image->id,
		.report = report,
		.before = past ? past->waits : NULL,
		.parts = reading->parts,
	};
	int r = 0;

	if (past && report->rates.of[GO_RATE_BLOCK].address) {
		past->has_rates = true;
		past->records_block = report->rates.of[GO_RATE_BLOCK].value;
	}

	if (past && report->has & 1U << GO_REPORT_GOROUTINES) {
		const struct go_history_moment moment = {
			report->taken_nsec, report->has & 1U << GO_REPORT_STATS ? report->stats.n_gc : 0 };

		if (!past->history)
			past->history = go_history_new();
		r = past->history ? go_history_add(past->history, &report->goroutines, &moment, &waited_nsec) : -ENOMEM;
		addition.waited_nsec = waited_nsec;
	}
	addition.leaks = learn_leaks(reading->watch, past, report);
	addition.stuck = learn_stuck(reading->watch, past, report);
	tell_refusal(past, reading->image, report);
	if (past) {
		set_rates(reading->watch, past, report);
		addition.memory_since_wall_nsec = memory_is_ours_since(reading->watch, past, report);
	}
	if (r >= 0 && capture && reading->watch->find_running)
		r = go_running_fill(&report->goroutines, &reading->image->id, report->taken_nsec, reading->watch->find_running,
				reading->watch->find_running_userdata);
	if (r >= 0 && capture)
		r = go_findings_add(capture->go, capture->stacks, &addition);
	if (r >= 0 && capture && past && !reading->tally) {
		keep_facts(past, reading->image, find_facts(capture, &reading->image->id));
		tell_memory_is_off(reading->watch, past, reading->image, &past->facts);
	}
	if (r >= 0 && capture)
		r = add_process(capture, TAKE(reading->image));
	if (past)
		keep_waits(past, report);
	return r;
}

/* --- Rounds --- */

static void end_round(struct go_watch *watch, struct round *round)
{
	struct capture *capture = round->capture;

	TAILQ_REMOVE(&watch->rounds, round, link);
	free(round);
	/* Of nothing but Go there is nothing to be said without one. */
	if (capture && capture->stacks->processes.n)
		watch->ready(capture, watch->userdata);
	else
		capture_free(capture);
}

static void tally_free(struct tally *tally)
{
	struct go_watch *watch = tally->watch;

	if (!tally->reading) {
		TAILQ_REMOVE(&watch->tallies, tally, link);
		watch->n_tallies--;
	}
	go_reader_free(tally->reader);
	if (tally->report)
		go_report_deinit(tally->report);
	free(tally->report);
	image_free(tally->image);
	free(tally);
}

static void reading_free(struct reading *reading)
{
	struct go_watch *watch = reading->watch;

	TAILQ_REMOVE(&watch->readings, reading, link);
	if (reading->tally) {
		tally_free(reading->tally);
	} else if (reading->reader) {
		go_reader_free(reading->reader);
		watch->n_readers--;
	}
	image_free(reading->image);
	free(reading);
}

static void start_readers(struct go_watch *watch);
static void update_tally(struct go_watch *watch, uint32_t pid);

static const char *why_not(int error)
{
	switch (error) {
	case -ESRCH:
		return "it has ended";
	case -ETIMEDOUT:
		return "reading it took too long";
	case -EACCES:
		return "its memory may not be read";
	case -ENOEXEC:
		return "a program for another processor";
	default:
		return strerror(-error);
	}
}

static void end_search(const struct reading *reading)
{
	struct past *past = past_of(reading->watch, reading->image);

	if (past && reading->has_search)
		past->is_searched = false;
}

static void end_reading(struct reading *reading, struct go_report *report, int error)
{
	struct go_watch *watch = reading->watch;
	struct round *round = reading->round;
	struct past *past = past_of(watch, reading->image);
	bool tells_rates = !reading->tally && reading->parts & WAITS_PARTS;
	struct go_report none = { 0 };
	int r;

	if (!report) {
		report = &none;
		none.taken_nsec = clock_monotonic_nsec();
		none.asked = round->parts | (reading->has_search ? 1U << GO_REPORT_REACH : 0);
		snprintf(none.refusal, sizeof(none.refusal), "%s", why_not(error));
	}
	watch->metrics.n_reads++;
	watch->metrics.n_failed += !report->has || report->refusal[0];
	end_search(reading);
	r = add_report(reading, report);
	if (r < 0)
		log_print(LOG_WARNING, "What a Go process says is lost: %s.", strerror(-r));
	if (past && tells_rates)
		update_tally(watch, past->pid);
	reading_free(reading);
	if (!--round->n_open)
		end_round(watch, round);
}

static void on_read(struct go_report *report, int error, void *userdata)
{
	struct reading *reading = userdata;
	struct go_watch *watch = reading->watch;

	end_reading(reading, report, error);
	start_readers(watch);
}

/* Of a snapshot of goroutines, when some have not moved for long, who could still wake them, too. */
static uint32_t parts_of_reading(struct reading *reading)
{
	struct past *past = past_of(reading->watch, reading->image);
	uint32_t parts = reading->parts;

	if (!(parts & 1U << GO_REPORT_GOROUTINES) || !reading->round->capture || !past || past->is_searched || !past->stuck ||
	    !go_stuck_wants_search(past->stuck, clock_monotonic_nsec()))
		return parts;
	reading->has_search = past->is_searched = true;
	return parts | 1U << GO_REPORT_REACH;
}

static void start_readers(struct go_watch *watch)
{
	struct reading *reading, *next;

	for (reading = TAILQ_FIRST(&watch->readings); reading && watch->n_readers < READERS_MAX; reading = next) {
		struct go_request request = { .is_urgent = !watch->config };
		int r;

		next = TAILQ_NEXT(reading, link);
		if (reading->reader)
			continue;
		request.parts = parts_of_reading(reading);
		r = go_reader_new(watch->loop, reading->image, &request, on_read, reading, &reading->reader);
		if (r >= 0)
			watch->n_readers++;
		else
			end_reading(reading, NULL, r);
	}
}

static int add_reading(struct go_watch *watch, struct round *round, struct image *image)
{
	struct reading *reading = calloc(1, sizeof(*reading));

	if (!reading) {
		image_free(image);
		return -ENOMEM;
	}
	*reading = (struct reading){ .watch = watch, .round = round, .image = image, .parts = round->parts };
	TAILQ_INSERT_TAIL(&watch->readings, reading, link);
	round->n_open++;
	return 0;
}

/* --- Many looks in one window --- */

static struct tally *find_tally(const struct go_watch *watch, const struct past *past)
{
	struct tally *tally;

	TAILQ_FOREACH(tally, &watch->tallies, link)
		if (tally->image->id.pid == past->pid && tally->image->id.start_nsec == past->id.start_nsec)
			return tally;
	return NULL;
}

static bool wants_tally(const struct go_watch *watch, const struct past *past)
{
	if (!past->has_rates)
		return false;
	return watch->window_kinds & capture_kind_bit(PROFILE_WALL) ||
	       (watch->window_kinds & capture_kind_bit(PROFILE_BLOCK) && !past->records_block);
}

static void on_tally(struct go_report *report, int error, void *userdata)
{
	struct tally *tally = userdata;
	struct go_watch *watch = tally->watch;

	if (tally->reading) {
		end_reading(tally->reading, report, error);
		start_readers(watch);
		return;
	}
	/* The process ended before the window. */
	tally->reader = go_reader_free(tally->reader);
	tally->error = error;
	tally->report = report ? malloc(sizeof(*report)) : NULL;
	if (!tally->report) {
		tally->error = report ? -ENOMEM : error;
		return;
	}
	*tally->report = *report;
	*report = (struct go_report){ 0 };
}

/* So that all together use 1 % of a CPU. */
static uint32_t tally_ppm(const struct go_watch *watch)
{
	size_t cursor = 0, n = 0;
	const void *pid;
	void *value;

	while (map_next(&watch->pasts, &cursor, &pid, &value))
		n += (*(struct past **)value)->is_go;
	return (uint32_t)(TALLIES_PPM / MIN(MAX(n, (size_t)1), (size_t)GO_WATCH_TALLIES));
}

static int begin_tally(struct go_watch *watch, struct image *image)
{
	const struct go_request request = { .parts = 1U << GO_REPORT_TALLY, .tally_ppm = tally_ppm(watch) };
	struct tally *tally = calloc(1, sizeof(*tally));
	int r;

	if (!tally) {
		image_free(image);
		return -ENOMEM;
	}
	*tally = (struct tally){ .watch = watch, .image = image };
	TAILQ_INSERT_TAIL(&watch->tallies, tally, link);
	watch->n_tallies++;
	r = go_reader_new(watch->loop, image, &request, on_tally, tally, &tally->reader);
	if (r < 0)
		tally_free(tally);
	return r;
}

/* Begins one, or ends it, as the runtime and the window want. */
static void update_tally(struct go_watch *watch, uint32_t pid)
{
	struct past **past = map_get(&watch->pasts, &pid);
	struct tally *tally = past ? find_tally(watch, *past) : NULL;
	struct image *image;
	int r;

	if (tally && !wants_tally(watch, *past))
		tally_free(tally);
	if (!past || tally || !watch->loop || !wants_tally(watch, *past) || watch->n_tallies >= GO_WATCH_TALLIES)
		return;
	image = find_go(watch, pid);
	r = image ? begin_tally(watch, image) : 0;
	if (r < 0 && r != -ESRCH)
		log_print(LOG_WARNING, "Goroutines of process %u are not looked at in this window: %s.", pid, strerror(-r));
}

/* Those of the window that has ended become readings of its round. */
static void end_tallies(struct go_watch *watch, struct round *round)
{
	struct tally *tally;

	while ((tally = TAILQ_FIRST(&watch->tallies))) {
		struct reading *reading = calloc(1, sizeof(*reading));

		if (!reading) {
			log_print(LOG_WARNING, "Out of memory: what process %u waited for is lost.", tally->image->id.pid);
			tally_free(tally);
			continue;
		}
		TAILQ_REMOVE(&watch->tallies, tally, link);
		watch->n_tallies--;
		tally->reading = reading;
		*reading = (struct reading){
			.watch = watch, .round = round, .image = TAKE(tally->image), .parts = 1U << GO_REPORT_TALLY, .tally = tally, .reader = tally->reader,
		};
		/* Like others that are read: first. */
		TAILQ_INSERT_HEAD(&watch->readings, reading, link);
		round->n_open++;
		if (tally->reader)
			go_reader_stop(tally->reader);
		else
			end_reading(reading, tally->report, tally->error);
	}
}

/* --- Rounds of all --- */

static bool is_settled(struct past *past, uint64_t now_nsec)
{
	if (!past->settle_nsec || past->settle_nsec > now_nsec)
		return false;
	past->settle_nsec = 0;
	return true;
}

/* What a round is for. */
struct wanted {
	struct capture *capture;             /* NULL: what is read is remembered, no more */
	uint32_t parts;
	uint32_t next_kinds;                 /* of the window of waits that begins; 0: none does */
	bool is_for_rates;                   /* of processes whose rates are to be looked at alone */
};

/* All Go processes, or those; `ready` gets the capture, if there is one, when they have been read. */
static void begin_round(struct go_watch *watch, const struct wanted *wanted)
{
	struct capture *capture = wanted->capture;
	bool ends_window = capture && wanted->parts & WAITS_PARTS;
	uint64_t now_nsec = clock_monotonic_nsec() + timer_accuracy_usec * NSEC_PER_USEC;
	struct round *round = calloc(1, sizeof(*round));
	VEC(uint32_t) pids = { 0 };
	size_t cursor = 0;
	const void *pid;
	void *value;

	if (!round) {
		if (capture)
			watch->ready(capture, watch->userdata);
		return;
	}
	/* It does not end before all are in it. */
	*round = (struct round){ .capture = capture, .parts = wanted->parts | 1U << GO_REPORT_STATS, .n_open = 1 };
	TAILQ_INSERT_TAIL(&watch->rounds, round, link);
	if (ends_window) {
		end_tallies(watch, round);
		watch->window_kinds = wanted->next_kinds;
	}
	while (map_next(&watch->pasts, &cursor, &pid, &value)) {
		if ((!wanted->is_for_rates || is_settled(*(struct past **)value, now_nsec)) && vec_push(&pids, *(const uint32_t *)pid) < 0)
			log_print(LOG_WARNING, "Out of memory: process %u is not looked at.", *(const uint32_t *)pid);
	}
	/* Targets may come and go meanwhile. */
	for (size_t i = 0; i < pids.n; i++) {
		struct image *image;

		if (ends_window)
			update_tally(watch, pids.at[i]);
		image = find_go(watch, pids.at[i]);
		if (image && add_reading(watch, round, image) < 0)
			log_print(LOG_WARNING, "Out of memory: process %u is not looked at.", pids.at[i]);
	}
	vec_deinit(&pids);
	if (--round->n_open)
		start_readers(watch);
	else
		end_round(watch, round);
}

void go_watch_begin(struct go_watch *watch, uint32_t kinds)
{
	struct tally *tally;

	/* Of a window that came to nothing. */
	while ((tally = TAILQ_FIRST(&watch->tallies)))
		tally_free(tally);
	watch->window_kinds = kinds;
	if (kinds)
		begin_round(watch, &(struct wanted){ .parts = WAITS_PARTS });
}

void go_watch_learn(struct go_watch *watch)
{
	if (TAILQ_EMPTY(&watch->rounds))
		begin_round(watch, &(struct wanted){ .parts = 1U << GO_REPORT_GOROUTINES });
}

void go_watch_set_stuck(struct go_watch *watch, uint64_t nsec)
{
	watch->stuck_nsec = nsec;
}

void go_watch_set_leak_half(struct go_watch *watch, uint64_t half_nsec)
{
	watch->leak_options.half_nsec = half_nsec;
}

static bool has_findings(struct capture *capture)
{
	if (!capture->go)
		capture->go = go_findings_new();
	return capture->go;
}

void go_watch_add_take(struct go_watch *watch, struct capture *capture, uint32_t next_kinds)
{
	if (has_findings(capture))
		begin_round(watch, &(struct wanted){ .capture = capture, .parts = WAITS_PARTS, .next_kinds = next_kinds });
	else
		watch->ready(capture, watch->userdata);
}

static uint32_t parts_of(uint32_t kinds)
{
	uint32_t parts = 0;

	if (kinds & capture_kind_bit(PROFILE_GOROUTINE))
		parts |= 1U << GO_REPORT_GOROUTINES;
	if (kinds & (capture_kind_bit(PROFILE_HEAP) | capture_kind_bit(PROFILE_ALLOCS)))
		parts |= 1U << GO_REPORT_MEMORY;
	return parts;
}

int go_watch_look(struct go_watch *watch, uint32_t kinds, const char *trigger)
{
	_cleanup_(capture_free_p) struct capture *capture = calloc(1, sizeof(*capture));

	if (!capture)
		return -ENOMEM;
	capture->kind = kinds & capture_kind_bit(PROFILE_GOROUTINE) ? PROFILE_GOROUTINE : PROFILE_HEAP;
	capture->kinds = kinds;
	capture->trigger = trigger;
	capture->stacks = stacks_new();
	if (!capture->stacks || !has_findings(capture))
		return -ENOMEM;
	capture->stacks->start_wall_nsec = clock_wall_nsec();
	capture->stacks->period_nsec = 1;
	capture->begun_nsec = capture->end_nsec = clock_monotonic_nsec();
	begin_round(watch, &(struct wanted){ .capture = TAKE(capture), .parts = parts_of(kinds) });
	return 0;
}

void go_watch_finish(struct go_watch *watch)
{
	struct reading *reading;

	/* Those that are read come first; each one's end starts another. */
	while ((reading = TAILQ_FIRST(&watch->readings)))
		go_reader_wait(reading->reader);
}

void go_watch_leave_loop(struct go_watch *watch)
{
	watch->loop = NULL;
	watch->timer = sd_event_source_disable_unref(watch->timer);
}

/* --- When --- */

static uint32_t interval_kinds(const struct config *config, bool is_memory)
{
	if (!config->enabled)
		return 0;
	if (is_memory)
		return config->memory.enabled && config->memory.mode != CONFIG_MEMORY_OFF ? capture_kind_bit(PROFILE_HEAP) : 0;
	return config->goroutine.enabled ? capture_kind_bit(PROFILE_GOROUTINE) : 0;
}

/* The next boundary of each. */
static void find_due(struct go_watch *watch, const struct config *config, bool is_memory)
{
	const uint64_t interval_nsec = (is_memory ? config->memory.snapshot_interval_usec : config->goroutine.snapshot_interval_usec) * NSEC_PER_USEC;
	const struct schedule schedule = { .interval_nsec = interval_nsec, .duration_nsec = interval_nsec, .rate = 1 };

	watch->due_nsec[is_memory] = interval_kinds(config, is_memory)
			? schedule_window(&schedule, clock_wall_nsec(), clock_monotonic_nsec()).end_nsec : UINT64_MAX;
}

/* As soon as the rates of one are to be looked at. */
static void find_due_rates(struct go_watch *watch)
{
	size_t cursor = 0;
	const void *pid;
	void *value;

	watch->due_nsec[DUE_RATES] = UINT64_MAX;
	while (map_next(&watch->pasts, &cursor, &pid, &value)) {
		const struct past *past = *(struct past **)value;

		if (past->settle_nsec)
			watch->due_nsec[DUE_RATES] = MIN(watch->due_nsec[DUE_RATES], past->settle_nsec);
	}
}

static int arm(struct go_watch *watch)
{
	uint64_t due_nsec = MIN(MIN(watch->due_nsec[DUE_GOROUTINES], watch->due_nsec[DUE_MEMORY]), watch->due_nsec[DUE_RATES]);
	int r;

	if (due_nsec == UINT64_MAX)
		return sd_event_source_set_enabled(watch->timer, SD_EVENT_OFF);
	r = sd_event_source_set_time(watch->timer, due_nsec / NSEC_PER_USEC);
	return r < 0 ? r : sd_event_source_set_enabled(watch->timer, SD_EVENT_ONESHOT);
}

/* Snapshots that are not done yet: those that take longer than from one to the next would pile up. */
static uint32_t open_kinds(const struct go_watch *watch)
{
	const struct round *round;
	uint32_t kinds = 0;

	TAILQ_FOREACH(round, &watch->rounds, link)
		if (round->capture)
			kinds |= round->capture->kinds & SNAPSHOT_KINDS;
	return kinds;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct go_watch *watch = userdata;
	uint64_t now_nsec = clock_monotonic_nsec() + timer_accuracy_usec * NSEC_PER_USEC;
	uint32_t kinds = 0;

	for (int i = DUE_GOROUTINES; i <= DUE_MEMORY; i++) {
		if (watch->due_nsec[i] > now_nsec)
			continue;
		kinds |= interval_kinds(watch->config, i);
		find_due(watch, watch->config, i);
	}
	watch->metrics.n_left_out += (unsigned int)__builtin_popcount(kinds & open_kinds(watch));
	kinds &= ~open_kinds(watch);
	if (kinds && go_watch_look(watch, kinds, "") < 0)
		log_print(LOG_WARNING, "Out of memory: a snapshot of Go processes is left out.");
	if (watch->due_nsec[DUE_RATES] <= now_nsec) {
		begin_round(watch, &(struct wanted){ .is_for_rates = true });
		find_due_rates(watch);
	}
	return arm(watch);
}

/* What is wished now is, or what was wished before is undone, without waiting for the next snapshot. */
static void look_at_rates(struct go_watch *watch)
{
	uint64_t now_nsec = clock_monotonic_nsec();
	size_t cursor = 0;
	const void *pid;
	void *value;

	if (!wants_rates(watch) && !(watch->sw && go_switch_stats(watch->sw).n_now))
		return;
	while (map_next(&watch->pasts, &cursor, &pid, &value)) {
		struct past *past = *(struct past **)value;

		if (!past->settle_nsec)
			past->settle_nsec = now_nsec;
	}
	find_due_rates(watch);
}

int go_watch_set_config(struct go_watch *watch, const struct config *config)
{
	int r = 0;

	watch->config = config;
	watch->stuck_nsec = config->goroutine.deadlock_after_usec * NSEC_PER_USEC;
	find_due(watch, config, false);
	find_due(watch, config, true);
	look_at_rates(watch);
	if (!watch->timer)
		r = sd_event_add_time(watch->loop, &watch->timer, CLOCK_MONOTONIC, 0, timer_accuracy_usec, on_timer, watch);
	return r < 0 ? r : arm(watch);
}

void go_watch_set_running(struct go_watch *watch, go_running_fn find, void *userdata)
{
	watch->find_running = find;
	watch->find_running_userdata = userdata;
}

void go_watch_set_switch(struct go_watch *watch, struct go_switch *sw)
{
	watch->sw = sw;
}

/* --- Targets --- */

/* Its rates do not wait for the next snapshot. */
static int look_soon(struct go_watch *watch, struct past *past)
{
	past->settle_nsec = clock_monotonic_nsec() + settle_nsec;
	if (!wants_rates(watch) || !watch->timer)
		return 0;
	watch->due_nsec[DUE_RATES] = MIN(watch->due_nsec[DUE_RATES], past->settle_nsec);
	return arm(watch);
}

int go_watch_set_target(struct go_watch *watch, uint32_t pid, bool is_target)
{
	struct past **past = map_get(&watch->pasts, &pid);
	void *value;
	int r;

	if (!is_target) {
		if (past) {
			release(watch, *past);
			past_free(*past);
		}
		map_remove(&watch->pasts, &pid);
		return 0;
	}
	if (past)
		return 0;
	r = map_put(&watch->pasts, &pid, &value);
	if (r < 0)
		return r;
	*(struct past **)value = calloc(1, sizeof(struct past));
	if (!*(struct past **)value) {
		map_remove(&watch->pasts, &pid);
		return -ENOMEM;
	}
	(*(struct past **)value)->pid = pid;
	return look_soon(watch, *(struct past **)value);
}

void go_watch_print(struct go_watch *watch, FILE *f)
{
	size_t cursor = 0;
	const void *pid;
	void *value;

	while (map_next(&watch->pasts, &cursor, &pid, &value)) {
		const struct past *past = *(struct past **)value;

		if (past->has_facts && vec_push(&watch->metrics.processes, ((struct go_metrics_process){ past->service, &past->facts })) < 0)
			break;
	}
	watch->metrics.rates = watch->sw ? go_switch_stats(watch->sw) : (struct go_switch_stats){ 0 };
	go_metrics_print(&watch->metrics, f);
	watch->metrics.processes.n = 0;
}

/* --- Life --- */

int go_watch_new(sd_event *loop, struct targets *targets, go_watch_ready_fn ready, void *userdata, struct go_watch **ret)
{
	struct go_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->loop = loop;
	watch->targets = targets;
	watch->ready = ready;
	watch->userdata = userdata;
	watch->leak_options.max_sites = LEAK_SITES_MAX;
	for (size_t i = 0; i < N_DUE; i++)
		watch->due_nsec[i] = UINT64_MAX;
	map_init(&watch->pasts, sizeof(uint32_t), sizeof(struct past *));
	TAILQ_INIT(&watch->rounds);
	TAILQ_INIT(&watch->readings);
	TAILQ_INIT(&watch->tallies);
	*ret = watch;
	return 0;
}

struct go_watch *go_watch_free(struct go_watch *watch)
{
	struct reading *reading;
	struct tally *tally;
	struct round *round;
	size_t cursor = 0;
	const void *pid;
	void *value;

	if (!watch)
		return NULL;
	sd_event_source_disable_unref(watch->timer);
	while ((tally = TAILQ_FIRST(&watch->tallies)))
		tally_free(tally);
	while ((reading = TAILQ_FIRST(&watch->readings)))
		reading_free(reading);
	while ((round = TAILQ_FIRST(&watch->rounds))) {
		TAILQ_REMOVE(&watch->rounds, round, link);
		capture_free(round->capture);
		free(round);
	}
	while (map_next(&watch->pasts, &cursor, &pid, &value))
		past_free(*(struct past **)value);
	map_deinit(&watch->pasts);
	vec_deinit(&watch->metrics.processes);
	free(watch);
	return NULL;
}
