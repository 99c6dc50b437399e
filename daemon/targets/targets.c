/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told by the kernel (event_queue) is applied (follower) to the table of processes (programs); what is not told,
 * or only to be had from /proc, is read from there (inspector, proc_scan). Here is decided when, and for how long.
 *
 * Nothing is read from /proc for a process that lives less than settle_nsec and is in no sample. A program that has
 * ended stays until the windows it may be in are written: seen in a sample, until targets_release(); else for a
 * few seconds, since news of a sample may be on its way.
 */
#include "targets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "binaries.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "event_queue.h"
#include "follower.h"
#include "identities.h"
#include "image.h"
#include "image_make.h"
#include "inspector.h"
#include "perf_maps.h"
#include "proc_scan.h"
#include "programs.h"

enum {
	/* How often rings that did not fill are read: soon enough to open the files of what lives half a second. */
	READ_INTERVAL_MSEC = 100,
	FOLLOW_CPUS_INTERVAL = 10,           /* reads between two looks at which CPUs there are: 1 s */
	SCAN_INTERVAL_MSEC = 20,
	/* Programs looked at in one read: about 10 ms. */
	SETTLE_BATCH = 64,
	/* Perf maps looked for in one read: about 1 ms. */
	PERF_MAP_BATCH = 64,
	/* Programs that ended and were in no sample: 20,000 forks a second fill this in 1.6 s and 6 MB. */
	MAX_ENDED_UNSEEN = 32768,
	/* Seen ones, if nobody ever releases them. */
	MAX_ENDED_SEEN = 65536,
};
static const uint64_t settle_nsec = 100 * NSEC_PER_MSEC;
static const uint64_t unseen_nsec = 5 * NSEC_PER_SEC;

struct targets {
	sd_event *loop;
	const struct config *config;
	int proc;
	struct binaries *binaries;
	struct perf_maps *perf_maps;
	struct programs programs;
	struct inspector *inspector;
	struct follower follower;
	struct event_queue *queue;
	struct event_queue_losses losses;    /* those that are taken account of */
	struct proc_scan scan;
	sd_event_source *read_timer, *scan_timer;
	unsigned int n_reads;
};

/* ---- events ---- */

/* Losses mean that what we know may be wrong: mappings are read again when asked for, processes are counted anew. */
static void count_losses(struct targets *targets)
{
	struct event_queue_losses losses = event_queue_losses(targets->queue);

	if (losses.life > targets->losses.life)
		proc_scan_want(&targets->scan);
	targets->programs.lost_mappings += losses.sideband - targets->losses.sideband;
	targets->losses = losses;
}

static void on_event(const struct event *event, void *userdata)
{
	follower_apply(userdata, event);
}

static void read_events(struct targets *targets)
{
	event_queue_collect(targets->queue);
	count_losses(targets);
	event_queue_take(targets->queue, on_event, &targets->follower);
	targets->programs.losses = targets->programs.lost_mappings;
}

static void on_wake(void *userdata)
{
	read_events(userdata);
}

/* ---- what time brings ---- */

static void forget_unseen(struct targets *targets, uint64_t now)
{
	struct programs *programs = &targets->programs;
	struct program *program;

	while ((program = programs_first(programs, PROGRAM_LIST_ENDED_UNSEEN)) &&
	       (programs->n_in_list[PROGRAM_LIST_ENDED_UNSEEN] > MAX_ENDED_UNSEEN ||
		program->end_nsec + unseen_nsec < now))
		programs_drop(programs, program);
	while (programs->n_in_list[PROGRAM_LIST_ENDED_SEEN] > MAX_ENDED_SEEN)
		programs_drop(programs, programs_first(programs, PROGRAM_LIST_ENDED_SEEN));
}

/* Those that have lived for a while are worth a look: whose are they, and does the configuration want them? */
static void settle(struct targets *targets, uint64_t now)
{
	struct programs *programs = &targets->programs;
	struct program *program;

	for (int n = 0; n < SETTLE_BATCH && (program = programs_first(programs, PROGRAM_LIST_FRESH)) &&
			program->begin_nsec + settle_nsec <= now; n++) {
		programs_rest(programs, program);
		/* A fork is what its parent is, unless a sample makes us look. */
		if (program->identity && !program->is_new_program && program->is_read && !program->is_outdated)
			programs_tell(programs, program, program->identity->in_depth);
		else
			inspector_look(targets->inspector, program);
	}
}

/* A map may be gone when its process is: it is looked for while that lives. */
static void look_for_perf_maps(struct targets *targets, uint64_t now)
{
	struct program *program;
	int n = 0;

	TAILQ_FOREACH (program, &targets->programs.lists[PROGRAM_LIST_JIT], link) {
		if (!perf_map_is_due(&program->perf_map, now))
			continue;
		inspector_look_for_perf_map(targets->inspector, program);
		if (++n == PERF_MAP_BATCH)
			break;
	}
}

static int rearm(sd_event_source *timer, uint64_t interval_msec)
{
	int r = sd_event_source_set_time_relative(timer, interval_msec * 1000);

	return r < 0 ? r : sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static void follow_cpus(struct targets *targets)
{
	event_queue_follow_cpus(targets->queue, targets->follower.is_sideband_doubted);
	targets->follower.is_sideband_doubted = false;
}

static int on_read_timer(sd_event_source *timer, uint64_t usec, void *userdata)
{
	struct targets *targets = userdata;
	uint64_t now;

	read_events(targets);
	now = clock_monotonic_nsec();
	forget_unseen(targets, now);
	settle(targets, now);
	look_for_perf_maps(targets, now);
	if (++targets->n_reads % FOLLOW_CPUS_INTERVAL == 0)
		follow_cpus(targets);
	if (proc_scan_is_due(&targets->scan, now))
		rearm(targets->scan_timer, SCAN_INTERVAL_MSEC);
	return rearm(timer, READ_INTERVAL_MSEC);
}

static int on_scan_timer(sd_event_source *timer, uint64_t usec, void *userdata)
{
	struct targets *targets = userdata;

	read_events(targets);
	return proc_scan_step(&targets->scan) ? rearm(timer, SCAN_INTERVAL_MSEC) : 0;
}

/* ---- life of the room ---- */

static int add_timer(struct targets *targets, sd_event_source **timer, uint64_t msec, sd_event_time_handler_t handler)
{
	return sd_event_add_time_relative(targets->loop, timer, CLOCK_MONOTONIC, msec * 1000, 10000, handler, targets);
}

DEFINE_CLEANUP(struct targets, targets_free);

int targets_new(sd_event *loop, const struct config *config, targets_change_fn change, void *userdata,
		struct targets **ret)
{
	_cleanup_(targets_free_p) struct targets *targets = calloc(1, sizeof(*targets));
	int r;

	if (!targets)
		return -ENOMEM;
	targets->loop = sd_event_ref(loop);
	targets->config = config;
	targets->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = targets->proc < 0 ? -errno : 0;
	if (r >= 0)
		r = binaries_new(targets->proc, 0, &targets->binaries);
	if (r >= 0)
		r = perf_maps_new(targets->proc, 0, &targets->perf_maps);
	programs_init(&targets->programs, targets->binaries, targets->perf_maps, change, userdata);
	if (r >= 0)
		r = inspector_new(targets->proc, config, &targets->programs, &targets->inspector);
	targets->follower = (struct follower){ .programs = &targets->programs, .inspector = targets->inspector };
	targets->scan = (struct proc_scan){
		.proc = targets->proc,
		.programs = &targets->programs,
		.inspector = targets->inspector,
	};
	if (r >= 0)
		r = event_queue_new(loop, targets->proc, on_wake, targets, &targets->queue);
	if (r >= 0)
		r = add_timer(targets, &targets->read_timer, READ_INTERVAL_MSEC, on_read_timer);
	/* At once. */
	if (r >= 0)
		r = add_timer(targets, &targets->scan_timer, 0, on_scan_timer);
	if (r < 0)
		return r;
	*ret = TAKE(targets);
	return 0;
}

struct targets *targets_free(struct targets *targets)
{
	if (!targets)
		return NULL;
	sd_event_source_disable_unref(targets->read_timer);
	sd_event_source_disable_unref(targets->scan_timer);
	event_queue_free(targets->queue);
	proc_scan_deinit(&targets->scan);
	programs_deinit(&targets->programs);
	inspector_free(targets->inspector);
	perf_maps_free(targets->perf_maps);
	binaries_free(targets->binaries);
	close_fd(targets->proc);
	sd_event_unref(targets->loop);
	free(targets);
	return NULL;
}

int targets_set_config(struct targets *targets, const struct config *config)
{
	struct program *program;

	targets->config = config;
	inspector_set_config(targets->inspector, config);
	/* Matched a few at a time, as at the start. */
	for (size_t cursor = 0; (program = programs_next(&targets->programs, &cursor));) {
		if (!program->is_alive || program->is_kernel)
			continue;
		program->is_identified = false;
		program->is_outdated = true;
		programs_move(&targets->programs, program, PROGRAM_LIST_FRESH);
	}
	return 0;
}

/* Nothing new is to be learned of it. */
static bool is_known(const struct targets *targets, const struct program *program)
{
	return program->is_seen && !inspector_needs_mappings(targets->inspector, program) &&
	       (!program->is_alive || program->is_identified);
}

void targets_seen(struct targets *targets, const struct process_id *id)
{
	struct program *program = programs_find(&targets->programs, id);

	if (!program || !is_known(targets, program)) {
		/* Its mappings may be waiting: now its files can be opened, in 100 ms it may be gone. */
		read_events(targets);
		program = programs_find(&targets->programs, id);
	}
	if (!program && inspector_read_process(targets->inspector, id->pid, id, &program) != 0)
		return;
	program->is_seen = true;
	if (!program->is_alive) {
		if (program->list != PROGRAM_LIST_ENDED_SEEN)
			programs_move(&targets->programs, program, PROGRAM_LIST_ENDED_SEEN);
		return;
	}
	if (inspector_look(targets->inspector, program) == 0)
		programs_rest(&targets->programs, program);
	inspector_look_for_perf_map(targets->inspector, program);
}

int targets_follow(struct targets *targets, uint32_t pid)
{
	struct program *program;
	int r;

	read_events(targets);
	program = programs_running(&targets->programs, pid);
	if (!program) {
		r = inspector_read_process(targets->inspector, pid, NULL, &program);
		if (r)
			return r < 0 ? r : TARGETS_E_UNKNOWN;
	}
	program->is_followed = true;
	return 0;
}

int targets_catch_up(struct targets *targets)
{
	read_events(targets);
	return 0;
}

static int make_image(struct targets *targets, struct program *program, struct image **ret)
{
	int r = inspector_complete(targets->inspector, program);

	if (r < 0)
		return r;
	inspector_look_for_perf_map(targets->inspector, program);
	return image_make(&targets->programs, program, targets->config->jit.perf_map, ret);
}

int targets_image(struct targets *targets, const struct process_id *id, struct image **ret)
{
	struct program *program = programs_find(&targets->programs, id);

	return program ? make_image(targets, program, ret) : TARGETS_E_UNKNOWN;
}

/* The newest one of that pid, looked at now if it must be; NULL: there is no trace of it. */
static struct program *find_program(struct targets *targets, uint32_t pid)
{
	struct program *program = programs_newest(&targets->programs, pid);

	if (!program && inspector_read_process(targets->inspector, pid, NULL, &program) != 0)
		return NULL;
	return program;
}

int targets_image_of(struct targets *targets, uint32_t pid, struct image **ret)
{
	struct program *program = find_program(targets, pid);

	return program ? make_image(targets, program, ret) : TARGETS_E_UNKNOWN;
}

int targets_service(struct targets *targets, uint32_t pid, char **ret)
{
	struct program *program = find_program(targets, pid);
	int r;

	if (!program)
		return TARGETS_E_UNKNOWN;
	r = inspector_complete(targets->inspector, program);
	if (r < 0)
		return r;
	*ret = strdup(program->identity ? program->identity->service : program->comm);
	return *ret ? 0 : -ENOMEM;
}

void targets_renew_perf_map(struct targets *targets, struct image *image)
{
	struct program *program = programs_find(&targets->programs, &image->id);
	int fd;

	if (!program)
		return;
	inspector_look_for_perf_map(targets->inspector, program);
	fd = perf_maps_duplicate(targets->perf_maps, &program->perf_map);
	if (fd < 0)
		return;
	close_fd(image->perf_map_fd);
	image->perf_map_fd = fd;
}

static struct binary *find_known(struct targets *targets, const struct process_id *id, uint64_t address)
{
	struct program *program;
	struct binary *binary;

	targets_seen(targets, id);
	program = programs_find(&targets->programs, id);
	binary = program ? image_binary_at(targets->binaries, program, address) : NULL;
	if (binary || !program)
		return binary;
	/* Mapped just now, or told in an event that was lost. */
	read_events(targets);
	program = programs_find(&targets->programs, id);
	if (program && program->is_alive) {
		program->is_read = false;
		(void)inspector_look(targets->inspector, program);
	}
	return program ? image_binary_at(targets->binaries, program, address) : NULL;
}

struct binary *targets_find_binary(const struct process_id *id, uint64_t address, bool anew, void *userdata)
{
	struct targets *targets = userdata;
	struct program *program;

	if (!anew)
		return find_known(targets, id, address);
	program = programs_find(&targets->programs, id);

	return program && program->is_alive ? image_binary_anew(targets->binaries, program, address) : NULL;
}

int targets_find_hotspot(const struct process_id *id, uint64_t *ret_base, void *userdata)
{
	struct targets *targets = userdata;
	struct program *program;
	uint64_t base;

	targets_seen(targets, id);
	program = programs_find(&targets->programs, id);
	base = program && program->is_alive ? image_hotspot_base(program) : 0;
	if (!base)
		return TARGETS_E_UNKNOWN;
	*ret_base = base;
	return 0;
}

void targets_release(struct targets *targets, uint64_t before_nsec)
{
	struct program *program = programs_first(&targets->programs, PROGRAM_LIST_ENDED_SEEN), *next;

	for (; program; program = next) {
		next = TAILQ_NEXT(program, link);
		if (program->end_nsec < before_nsec)
			programs_drop(&targets->programs, program);
	}
}

struct targets_stats targets_stats(const struct targets *targets)
{
	struct binaries_stats binaries = binaries_stats(targets->binaries);

	return (struct targets_stats){
		.n_processes = targets->programs.n,
		.n_binaries = binaries.n_files,
		.forks = targets->follower.forks,
		.execs = targets->follower.execs,
		.exits = targets->follower.exits,
		.mappings = targets->follower.mappings,
		.lost_life = targets->losses.life + targets->follower.lost_life,
		.lost_mappings = targets->programs.lost_mappings,
		.binaries_unavailable = binaries.unavailable,
		.perf_maps_refused = perf_maps_refused(targets->perf_maps),
		.memory_bytes = event_queue_memory(targets->queue),
	};
}
