/* SPDX-License-Identifier: Apache-2.0 */
#include "go_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "go_findings.h"
#include "go_metrics.h"
#include "go_reader.h"
#include "go_report.h"
#include "go_rounds.h"
#include "go_schedule.h"
#include "go_tallier.h"
#include "go_tallies.h"
#include "go_targets.h"
#include "image.h"
#include "location.h"
#include "log.h"
#include "stacks.h"
#include "vec.h"

enum {
	/* Where goroutines come from, of one process: thousands are of no program, but of one that wants the loop to take seconds to judge them. */
	LEAK_SITES_MAX = 2000,
};

enum {
	WAITS_PARTS = 1 << GO_REPORT_BLOCK | 1 << GO_REPORT_MUTEX,
};

/* Taken by a timer. */
#define SNAPSHOT_KINDS (capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP))

struct go_watch {
	sd_event *loop;
	go_watch_ready_fn ready;
	void *userdata;
	struct go_tuner tuner;
	struct go_targets *targets;
	struct go_tallies *tallies;          /* of the window that goes on */
	struct go_rounds *rounds;            /* of captures that wait; of none: what is read is remembered, no more */
	struct go_metrics metrics;           /* its processes are put in when they are printed */
	const struct config *config;         /* NULL: snapshots are asked for */
	struct go_schedule schedule;
	sd_event_source *timer;              /* NULL likewise, and when the loop has ended */
	struct go_past_options options;
	go_running_fn find_running;          /* NULL: nobody samples CPU */
	void *find_running_userdata;
};

DEFINE_CLEANUP(struct go_watch, go_watch_free);

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

/* What was just added. */
static const struct go_process_facts *find_facts(const struct capture *capture, const struct process_id *id)
{
	uint32_t process = 0;

	while (memcmp(&capture->stacks->processes.at[process], id, sizeof(*id)) != 0)
		process++;
	return go_findings_process(capture->go, process);
}

static void keep_facts(const struct go_watch *watch, struct go_past *past, const struct capture *capture, const struct image *image)
{
	go_past_keep_facts(past, image, find_facts(capture, &image->id));
	/* Where it is switched on that is told instead. */
	if (!watch->config || !watch->config->memory.go_enable)
		go_past_tell_memory_is_off(past, image);
}

static int add_report(struct go_watch *watch, struct go_reading *reading, struct go_report *report)
{
	struct capture *capture = reading->of;
	struct go_target *target = go_targets_of(watch->targets, reading->image);
	_cleanup_free_ uint64_t *waited_nsec = NULL;
	struct go_addition addition = { .process = &reading->image->id, .report = report, .parts = reading->parts };
	int r = 0;

	if (target) {
		r = go_past_learn(&target->past, &watch->options, &addition, &waited_nsec);
		go_past_tell_refusal(&target->past, reading->image, report);
		go_tuner_set(&watch->tuner, &target->tuning, &target->id, report);
		addition.memory_since_wall_nsec = go_tuner_memory_since(&watch->tuner, &target->id, report);
	}
	if (r >= 0 && capture && watch->find_running)
		r = go_running_fill(&report->goroutines, addition.process, report->taken_nsec, watch->find_running, watch->find_running_userdata);
	if (r >= 0 && capture)
		r = go_findings_add(capture->go, capture->stacks, &addition);
	if (r >= 0 && capture && target && !reading->is_tally)
		keep_facts(watch, &target->past, capture, reading->image);
	if (r >= 0 && capture)
		r = add_process(capture, TAKE(reading->image));
	if (target)
		go_past_keep_waits(&target->past, report);
	return r;
}

/* --- Rounds --- */

/* Of a snapshot of goroutines, when some have not moved for long, who could still wake them, too. */
static void on_begin(const struct go_reading *reading, struct go_request *request, void *userdata)
{
	struct go_watch *watch = userdata;
	struct go_target *target = go_targets_of(watch->targets, reading->image);

	request->is_urgent = !watch->config;
	if (reading->parts & 1U << GO_REPORT_GOROUTINES && reading->of && target && go_past_begin_search(&target->past, clock_monotonic_nsec()))
		request->parts |= 1U << GO_REPORT_REACH;
}

static void on_read(struct go_reading *reading, struct go_report *report, void *userdata)
{
	struct go_watch *watch = userdata;
	struct go_target *target = go_targets_of(watch->targets, reading->image);
	bool tells_rates = !reading->is_tally && reading->parts & WAITS_PARTS;
	int r;

	if (target && reading->asked & 1U << GO_REPORT_REACH)
		go_past_end_search(&target->past);
	r = add_report(watch, reading, report);
	if (r < 0)
		log_print(LOG_WARNING, "What a Go process says is lost: %s.", strerror(-r));
	if (target && tells_rates)
		go_tallies_update(watch->tallies, target->pid);
}

static void on_end(void *of, void *userdata)
{
	struct go_watch *watch = userdata;
	struct capture *capture = of;

	/* Of nothing but Go there is nothing to be said without one. */
	if (capture && capture->stacks->processes.n)
		watch->ready(capture, watch->userdata);
	else
		capture_free(capture);
}

static const struct go_rounds_ops rounds_ops = { on_begin, on_read, on_end };

/* Of a window with these kinds. */
static enum go_tallies_of tallies_of(uint32_t kinds)
{
	if (kinds & capture_kind_bit(PROFILE_WALL))
		return GO_TALLIES_ALL;
	return kinds & capture_kind_bit(PROFILE_BLOCK) ? GO_TALLIES_UNRECORDED : GO_TALLIES_NONE;
}

/* Those of the window that has ended become readings of its round. */
static void end_tallies(struct go_watch *watch, struct go_round *round)
{
	struct go_tallier *tallier;

	while ((tallier = go_tallies_take(watch->tallies))) {
		uint32_t pid = go_tallier_image(tallier)->id.pid;

		if (go_rounds_add_tally_take(watch->rounds, round, tallier) < 0)
			log_print(LOG_WARNING, "Out of memory: what process %u waited for is lost.", pid);
	}
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
	uint64_t now_nsec = clock_monotonic_nsec() + GO_SCHEDULE_ACCURACY_NSEC;
	struct go_round *round = go_rounds_begin(watch->rounds, capture, wanted->parts | 1U << GO_REPORT_STATS);
	VEC(uint32_t) pids = { 0 };
	struct go_target *target;
	size_t cursor = 0;

	if (!round) {
		if (capture)
			watch->ready(capture, watch->userdata);
		return;
	}
	if (ends_window) {
		end_tallies(watch, round);
		go_tallies_begin(watch->tallies, tallies_of(wanted->next_kinds));
	}
	while ((target = go_targets_next(watch->targets, &cursor))) {
		if ((!wanted->is_for_rates || go_tuner_take(&target->tuning, now_nsec)) && vec_push(&pids, target->pid) < 0)
			log_print(LOG_WARNING, "Out of memory: process %u is not looked at.", target->pid);
	}
	/* Targets may come and go meanwhile. */
	for (size_t i = 0; i < pids.n; i++) {
		struct image *image;

		if (ends_window)
			go_tallies_update(watch->tallies, pids.at[i]);
		image = go_targets_image(watch->targets, pids.at[i]);
		if (image && go_rounds_add_take(watch->rounds, round, image) < 0)
			log_print(LOG_WARNING, "Out of memory: process %u is not looked at.", pids.at[i]);
	}
	vec_deinit(&pids);
	go_rounds_start(watch->rounds, round);
}

void go_watch_begin(struct go_watch *watch, uint32_t kinds)
{
	go_tallies_begin(watch->tallies, tallies_of(kinds));
	if (kinds)
		begin_round(watch, &(struct wanted){ .parts = WAITS_PARTS });
}

void go_watch_learn(struct go_watch *watch)
{
	if (!go_rounds_next(watch->rounds, NULL))
		begin_round(watch, &(struct wanted){ .parts = 1U << GO_REPORT_GOROUTINES });
}

void go_watch_set_stuck(struct go_watch *watch, uint64_t nsec)
{
	watch->options.stuck_nsec = nsec;
}

void go_watch_set_leak_half(struct go_watch *watch, uint64_t half_nsec)
{
	watch->options.leaks.half_nsec = half_nsec;
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
	go_rounds_finish(watch->rounds);
}

void go_watch_leave_loop(struct go_watch *watch)
{
	watch->tuner.is_over = true;
	go_tallies_leave_loop(watch->tallies);
	go_rounds_leave_loop(watch->rounds);
	watch->timer = sd_event_source_disable_unref(watch->timer);
}

/* --- When --- */

static int arm(struct go_watch *watch)
{
	uint64_t next_nsec = go_schedule_next(&watch->schedule);
	int r;

	if (next_nsec == UINT64_MAX)
		return sd_event_source_set_enabled(watch->timer, SD_EVENT_OFF);
	r = sd_event_source_set_time(watch->timer, next_nsec / NSEC_PER_USEC);
	return r < 0 ? r : sd_event_source_set_enabled(watch->timer, SD_EVENT_ONESHOT);
}

/* As soon as the rates of one are to be looked at. */
static void find_due_rates(struct go_watch *watch)
{
	const struct go_target *target;
	size_t cursor = 0;

	watch->schedule.rates_nsec = UINT64_MAX;
	while ((target = go_targets_next(watch->targets, &cursor)))
		if (target->tuning.settle_nsec)
			watch->schedule.rates_nsec = MIN(watch->schedule.rates_nsec, target->tuning.settle_nsec);
}

/* Snapshots that are not done yet: those that take longer than from one to the next would pile up. */
static uint32_t open_kinds(const struct go_watch *watch)
{
	const struct go_round *round = NULL;
	uint32_t kinds = 0;

	while ((round = go_rounds_next(watch->rounds, round))) {
		const struct capture *capture = go_rounds_of(round);

		if (capture)
			kinds |= capture->kinds & SNAPSHOT_KINDS;
	}
	return kinds;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct go_watch *watch = userdata;
	uint64_t now_nsec = clock_monotonic_nsec();
	uint32_t kinds = go_schedule_take(&watch->schedule, watch->config, clock_wall_nsec(), now_nsec);

	watch->metrics.n_left_out += (unsigned int)__builtin_popcount(kinds & open_kinds(watch));
	kinds &= ~open_kinds(watch);
	if (kinds && go_watch_look(watch, kinds, "") < 0)
		log_print(LOG_WARNING, "Out of memory: a snapshot of Go processes is left out.");
	if (go_schedule_wants_rates(&watch->schedule, now_nsec)) {
		begin_round(watch, &(struct wanted){ .is_for_rates = true });
		find_due_rates(watch);
	}
	return arm(watch);
}

/* What is wished now is, or what was wished before is undone, without waiting for the next snapshot. */
static void look_at_rates(struct go_watch *watch)
{
	uint64_t now_nsec = clock_monotonic_nsec();
	struct go_target *target;
	size_t cursor = 0;

	if (!go_tuner_has_work(&watch->tuner))
		return;
	while ((target = go_targets_next(watch->targets, &cursor)))
		go_tuner_renew(&target->tuning, now_nsec);
	find_due_rates(watch);
}

int go_watch_set_config(struct go_watch *watch, const struct config *config)
{
	int r = 0;

	watch->config = watch->tuner.config = config;
	watch->options.stuck_nsec = config->goroutine.deadlock_after_usec * NSEC_PER_USEC;
	go_schedule_set_config(&watch->schedule, config, clock_wall_nsec(), clock_monotonic_nsec());
	look_at_rates(watch);
	if (!watch->timer)
		r = sd_event_add_time(watch->loop, &watch->timer, CLOCK_MONOTONIC, 0, GO_SCHEDULE_ACCURACY_NSEC / NSEC_PER_USEC, on_timer, watch);
	return r < 0 ? r : arm(watch);
}

void go_watch_set_switch(struct go_watch *watch, struct go_switch *sw)
{
	watch->tuner.sw = sw;
}

void go_watch_set_running(struct go_watch *watch, go_running_fn find, void *userdata)
{
	watch->find_running = find;
	watch->find_running_userdata = userdata;
}

/* --- Targets --- */

/* Its rates do not wait for the next snapshot. */
static int look_soon(struct go_watch *watch, struct go_tuning *tuning)
{
	go_tuner_begin(tuning, clock_monotonic_nsec());
	if (!go_tuner_wants(&watch->tuner) || !watch->timer)
		return 0;
	watch->schedule.rates_nsec = MIN(watch->schedule.rates_nsec, tuning->settle_nsec);
	return arm(watch);
}

int go_watch_set_target(struct go_watch *watch, uint32_t pid, bool is_target)
{
	struct go_target *target;
	int r;

	if (!is_target) {
		go_targets_remove(watch->targets, pid);
		return 0;
	}
	r = go_targets_add(watch->targets, pid, &target);
	return r > 0 ? look_soon(watch, &target->tuning) : r;
}

void go_watch_print(struct go_watch *watch, FILE *f)
{
	const struct go_rounds_stats stats = go_rounds_stats(watch->rounds);
	const struct go_target *target;
	size_t cursor = 0;

	while ((target = go_targets_next(watch->targets, &cursor))) {
		const struct go_past *past = &target->past;

		if (past->has_facts && vec_push(&watch->metrics.processes, ((struct go_metrics_process){ past->service, &past->facts })) < 0)
			break;
	}
	watch->metrics.n_reads = stats.n_reads;
	watch->metrics.n_failed = stats.n_failed;
	watch->metrics.rates = go_tuner_stats(&watch->tuner);
	go_metrics_print(&watch->metrics, f);
	watch->metrics.processes.n = 0;
}

/* --- Life --- */

int go_watch_new(sd_event *loop, struct targets *targets, go_watch_ready_fn ready, void *userdata, struct go_watch **ret)
{
	_cleanup_(go_watch_free_p) struct go_watch *watch = calloc(1, sizeof(*watch));
	int r;

	if (!watch)
		return -ENOMEM;
	watch->loop = loop;
	watch->ready = ready;
	watch->userdata = userdata;
	watch->options.leaks.max_sites = LEAK_SITES_MAX;
	go_schedule_init(&watch->schedule);
	r = go_targets_new(targets, &watch->tuner, &watch->targets);
	if (r >= 0)
		r = go_tallies_new(loop, watch->targets, &watch->tallies);
	if (r >= 0)
		r = go_rounds_new(loop, &rounds_ops, watch, &watch->rounds);
	if (r < 0)
		return r;
	*ret = TAKE(watch);
	return 0;
}

struct go_watch *go_watch_free(struct go_watch *watch)
{
	const struct go_round *round = NULL;

	if (!watch)
		return NULL;
	sd_event_source_disable_unref(watch->timer);
	go_tallies_free(watch->tallies);
	while (watch->rounds && (round = go_rounds_next(watch->rounds, round)))
		capture_free(go_rounds_of(round));
	go_rounds_free(watch->rounds);
	go_targets_free(watch->targets);
	vec_deinit(&watch->metrics.processes);
	free(watch);
	return NULL;
}
