/* SPDX-License-Identifier: Apache-2.0 */
#include "sampling.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "governor.h"
#include "go_threads.h"
#include "go_thread.h"
#include "go_program.h"
#include "image.h"
#include "log.h"
#include "map.h"
#include "options.h"
#include "own_cost.h"
#include "sampler_cpu.h"
#include "sampler_offcpu.h"
#include "sampler_thread.h"
#include "schedule.h"
#include "stacks.h"
#include "stolen.h"
#include "targets.h"

/* In what the kinds differ. */
struct ways {
	enum profile_kind kind;
	bool (*is_wanted)(const struct sampling *sampling, const struct config *config);
	/* A sampler that is there. */
	bool (*fits)(const struct sampling *sampling, const struct config *config);
	struct schedule (*schedule)(const struct config *config);
	int (*open)(struct sampling *sampling, const struct config *config);
	/* What may change with each window. */
	void (*tune)(struct sampling *sampling, const struct config *config);
	/* Of the files of a window that ends; `with_cpu`: it is known what ran in it. */
	uint32_t (*kinds)(const struct config *config, bool with_cpu);
	/* It has no windows: at the end of one it looks, and a window cut short is none. */
	bool is_snapshot;
};

/* A snapshot that lacks unwind tables is taken again when they are made: each time it meets the next library. */
enum { SNAPSHOT_TRIES = 8 };
static const uint64_t snapshot_retry_nsec = 500 * NSEC_PER_MSEC;
/* Who is called for a window's end may be early by so much. */
static const uint64_t early_nsec = 10 * NSEC_PER_MSEC;

struct sampling {
	const struct ways *ways;
	struct sampling_surroundings at;
	struct sampler *sampler;             /* NULL: nothing is to be sampled */
	struct sampler_options options;      /* it was asked for with */
	bool uses_cycles;                    /* it could have them */
	struct schedule_window window;       /* the one that runs; without a sampler: that should */
	bool has_failed;                     /* the sampler could not be had: to be tried again at the window's end */
	uint64_t start_nsec;                 /* of it */
	uint32_t full_rate;                  /* configured for it */
	uint64_t cpu_nsec, lost_life, lost_mappings; /* our own CPU time, and what targets had lost, at its start */
	uint64_t stolen_nsec;                /* until then */
	uint64_t min_delay_nsec, stack_every_nsec, time_every_nsec; /* of waits in it */
	bool wakers;
	unsigned int n_tries;                /* of a snapshot, that were thrown away */
	struct go_threads *go_labels;         /* NULL: it tells no goroutines, or could not */
	bool wants_labels, wants_ids;        /* of goroutines */
	bool wants_running;                  /* what those did that ran last: sampling_go_running() */
	struct map seen;                     /* pid -> struct process_id: in samples of this window, but no in-depth targets until now */
};

static void on_seen(const struct process_id *process, void *userdata)
{
	struct sampling *sampling = userdata;

	void *value;

	targets_seen(sampling->at.targets, process);
	if (!sampling->go_labels)
		return;
	if (map_get(sampling->at.in_depth, &process->pid))
		go_threads_seen(sampling->go_labels, process);
	else if (map_put(&sampling->seen, &process->pid, &value) >= 0)
		*(struct process_id *)value = *process;
}

/* --- cpu --- */

static bool cpu_is_wanted(const struct sampling *sampling, const struct config *config)
{
	return config->enabled && config->cpu.enabled;
}

static bool cpu_fits(const struct sampling *sampling, const struct config *config)
{
	return sampling->options.all_processes == config->host.enabled &&
	       sampling->options.cycles == (config->cpu.event == CONFIG_EVENT_CYCLES) &&
	       sampling->wants_labels == config->cpu.go_labels && sampling->wants_ids == config->cpu.go_ids &&
	       sampling->wants_running == config->goroutine.enabled;
}

static struct schedule cpu_schedule(const struct config *config)
{
	return (struct schedule){
		.interval_nsec = config->cpu.interval_usec * NSEC_PER_USEC,
		.duration_nsec = config->cpu.duration_usec * NSEC_PER_USEC,
		.rate = config->cpu.rate,
		.background_rate = config->cpu.background_rate,
	};
}

static void on_go_process(uint32_t pid, const struct go_thread *process, void *userdata)
{
	struct sampling *sampling = userdata;
	struct go_thread wanted = { 0 };
	int r;

	if (process) {
		wanted = *process;
		wanted.wants_id = sampling->wants_ids;
		wanted.wants_running = sampling->wants_running;
		if (!sampling->wants_labels)
			wanted.labels = GO_THREAD_LABELS_NONE;
	}
	r = sampling->sampler ? sampler_cpu_set_go(sampling->sampler, pid, process ? &wanted : NULL) : 0;
	if (r < 0)
		log_print(LOG_WARNING, "Process %u is sampled without labels of its goroutines: %s.", pid, strerror(-r));
}

/* A profile without labels is better than none. */
static void open_go_labels(struct sampling *sampling, const struct config *config)
{
	const struct go_threads_options options = { .targets = sampling->at.targets, .tell = on_go_process, .userdata = sampling };
	int r = 0;

	sampling->wants_labels = config->cpu.go_labels;
	sampling->wants_ids = config->cpu.go_ids;
	sampling->wants_running = config->goroutine.enabled;
	map_clear(&sampling->seen);
	sampling->go_labels = go_threads_free(sampling->go_labels);
	if (sampling->wants_labels || sampling->wants_ids || sampling->wants_running)
		r = go_threads_new(sampling->at.loop, &options, &sampling->go_labels);
	if (r < 0)
		log_print(LOG_WARNING, "Goroutines are sampled without their labels: %s.", strerror(-r));
}

static int cpu_open(struct sampling *sampling, const struct config *config)
{
	struct sampler_options *options = &sampling->options;
	struct sampler_options by_clock;
	int r;

	options->all_processes = config->host.enabled;
	options->cycles = config->cpu.event == CONFIG_EVENT_CYCLES;
	sampling->uses_cycles = options->cycles;
	open_go_labels(sampling, config);
	r = sampler_cpu_new(sampling->at.loop, options, on_seen, sampling, &sampling->sampler);
	if (r >= 0 || !options->cycles)
		return r;
	log_print(LOG_WARNING, "Cannot sample by cycles (%s): by cpu-clock instead.", strerror(-r));
	by_clock = *options;
	by_clock.cycles = sampling->uses_cycles = false;
	return sampler_cpu_new(sampling->at.loop, &by_clock, on_seen, sampling, &sampling->sampler);
}

static void cpu_tune(struct sampling *sampling, const struct config *config)
{
}

static uint32_t cpu_kinds(const struct config *config, bool with_cpu)
{
	return capture_kind_bit(PROFILE_CPU);
}

/* --- off-CPU --- */

static bool waits_are_wanted(const struct config *config)
{
	return config->block.enabled || config->mutex.enabled;
}

static bool offcpu_is_wanted(const struct sampling *sampling, const struct config *config)
{
	return config->enabled && (waits_are_wanted(config) || config->wall.enabled) && sampling->at.in_depth->n;
}

static bool offcpu_fits(const struct sampling *sampling, const struct config *config)
{
	return true;
}

/* An event is an event, at any rate but 0: between the windows nothing is attached. */
static struct schedule offcpu_schedule(const struct config *config)
{
	bool by_block = waits_are_wanted(config);

	return (struct schedule){
		.interval_nsec = (by_block ? config->block.interval_usec : config->wall.interval_usec) * NSEC_PER_USEC,
		.duration_nsec = (by_block ? config->block.duration_usec : config->wall.duration_usec) * NSEC_PER_USEC,
		.rate = 1,
	};
}

static int offcpu_open(struct sampling *sampling, const struct config *config)
{
	/* Its window begins when it knows all targets: they are looked for then. */
	sampling->options.rate = 0;
	return sampler_offcpu_new(sampling->at.loop, &sampling->options, on_seen, sampling, &sampling->sampler);
}

static void offcpu_tune(struct sampling *sampling, const struct config *config)
{
	uint32_t level = governor_level(sampling->at.governor);

	sampling->min_delay_nsec = config->block.min_delay_usec * NSEC_PER_USEC;
	sampling->stack_every_nsec = (uint64_t)SAMPLER_OFFCPU_STACK_EVERY_NSEC << level;
	sampling->time_every_nsec = level ? (uint64_t)SAMPLER_OFFCPU_TIME_EVERY_NSEC << 2 * (level - 1) : 0;
	sampler_offcpu_set_min_delay(sampling->sampler, sampling->min_delay_nsec);
	sampler_offcpu_set_stack_every(sampling->sampler, sampling->stack_every_nsec);
	sampler_offcpu_set_time_every(sampling->sampler, sampling->time_every_nsec);
	sampling->wakers = config->block.wakers;
	sampler_offcpu_set_wakers(sampling->sampler, sampling->wakers);
}

static uint32_t offcpu_kinds(const struct config *config, bool with_cpu)
{
	return (config->block.enabled ? capture_kind_bit(PROFILE_BLOCK) : 0) | (config->mutex.enabled ? capture_kind_bit(PROFILE_MUTEX) : 0) |
	       (config->wall.enabled && with_cpu ? capture_kind_bit(PROFILE_WALL) : 0);
}

/* --- threads --- */

static bool thread_is_wanted(const struct sampling *sampling, const struct config *config)
{
	return config->enabled && config->goroutine.enabled && sampling->at.in_depth->n;
}

static bool thread_fits(const struct sampling *sampling, const struct config *config)
{
	return true;
}

static struct schedule thread_schedule(const struct config *config)
{
	uint64_t interval_nsec = config->goroutine.snapshot_interval_usec * NSEC_PER_USEC;

	return (struct schedule){ .interval_nsec = interval_nsec, .duration_nsec = interval_nsec, .rate = 1 };
}

static int thread_open(struct sampling *sampling, const struct config *config)
{
	return sampler_thread_new(sampling->at.loop, &sampling->options, on_seen, sampling, &sampling->sampler);
}

static void thread_tune(struct sampling *sampling, const struct config *config)
{
}

static uint32_t thread_kinds(const struct config *config, bool with_cpu)
{
	return capture_kind_bit(PROFILE_THREAD);
}

static const struct ways all_ways[SAMPLING_N_KINDS] = {
	[SAMPLING_CPU] = { PROFILE_CPU, cpu_is_wanted, cpu_fits, cpu_schedule, cpu_open, cpu_tune, cpu_kinds, .is_snapshot = false },
	[SAMPLING_OFFCPU] = { PROFILE_BLOCK, offcpu_is_wanted, offcpu_fits, offcpu_schedule, offcpu_open, offcpu_tune, offcpu_kinds,
			.is_snapshot = false },
	[SAMPLING_THREAD] = { PROFILE_THREAD, thread_is_wanted, thread_fits, thread_schedule, thread_open, thread_tune, thread_kinds,
			.is_snapshot = true },
};

/* --- A window's end --- */

static uint64_t own_cpu_nsec(const struct sampling *sampling)
{
	struct own_cost_cpu cpu = own_cost_cpu(sampling->at.own_cost);

	return own_cost_cpu_sum(&cpu);
}

static void remember_start(struct sampling *sampling)
{
	struct targets_stats targets = targets_stats(sampling->at.targets);

	sampling->cpu_nsec = own_cpu_nsec(sampling);
	sampling->stolen_nsec = stolen_nsec();
	sampling->lost_life = targets.lost_life;
	sampling->lost_mappings = targets.lost_mappings;
}

static struct capture_facts facts_of(const struct sampling *sampling)
{
	const struct governor *governor = sampling->at.governor;
	struct targets_stats targets = targets_stats(sampling->at.targets);
	uint64_t stolen = stolen_nsec();

	return (struct capture_facts){
		.rate = sampling->window.rate,
		.event = sampling->uses_cycles ? "cycles" : "cpu-clock",
		.min_delay_nsec = sampling->min_delay_nsec,
		.wakers = sampling->wakers,
		.stack_every_nsec = sampling->stack_every_nsec > SAMPLER_OFFCPU_STACK_EVERY_NSEC ? sampling->stack_every_nsec : 0,
		.time_every_nsec = sampling->time_every_nsec,
		.own_cpu_nsec = own_cpu_nsec(sampling) - sampling->cpu_nsec,
		.stolen_nsec = stolen > sampling->stolen_nsec ? stolen - sampling->stolen_nsec : 0,
		.n_cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
		.lost_life = targets.lost_life - sampling->lost_life,
		.lost_mappings = targets.lost_mappings - sampling->lost_mappings,
		.full_rate = sampling->full_rate > sampling->window.rate && governor_level(governor) ? sampling->full_rate : 0,
		.cost_ppm = governor_cost_ppm(governor),
		.budget_ppm = governor_budget_ppm(governor),
	};
}

/* What ran in the window that ends now, if it is the same one. */
static const struct capture *same_window(const struct sampling *sampling, const struct capture *cpu)
{
	return cpu && sampling->window.scheduled && cpu->begun_nsec == sampling->start_nsec ? cpu : NULL;
}

/* Ends the window and begins one with `rate`; 1 when it could not be read. */
static int end_window(struct sampling *sampling, const struct sampling_turn *turn, uint32_t rate, struct capture **ret)
{
	const struct capture *cpu = turn->config->wall.enabled ? same_window(sampling, turn->cpu) : NULL;
	const struct capture_request request = {
		.kind = sampling->ways->kind,
		.kinds = sampling->ways->kinds(turn->config, cpu),
		.trigger = sampling->window.scheduled ? "" : "background",
		.next_rate = rate,
		.ran = cpu,
	};
	_cleanup_(capture_free_p) struct capture *capture = NULL;
	int r;

	r = capture_window(sampling->sampler, sampling->at.targets, &request, &capture);
	if (r < 0) {
		log_print(LOG_ERR, "Cannot read the samples of a window: %s.", strerror(-r));
		return SAMPLING_E_LOST;
	}
	own_cost_add_bpf(sampling->at.own_cost, capture->stacks->bpf_nsec);
	capture->begun_nsec = sampling->start_nsec;
	capture->facts = facts_of(sampling);
	if (cpu) {
		capture->facts.rate = cpu->facts.rate;
		capture->facts.event = cpu->facts.event;
		capture->facts.full_rate = cpu->facts.full_rate;
	}
	/* Where nothing was sampled there is nothing to write. */
	if (sampling->window.rate && request.kinds)
		*ret = TAKE(capture);
	return 0;
}

/* --- A snapshot --- */

/* What the threads of a Go program do says little. */
static bool is_no_go_program(const struct image *image, const void *userdata)
{
	for (size_t i = 0; image && image->exe && i < image->mappings.n; i++) {
		const struct binary *binary = image->mappings.at[i].binary;

		if (binary && binary->fd >= 0 && !strcmp(binary->path, image->exe))
			return !go_program_is(binary->fd);
	}
	return true;
}

static bool is_early(const struct sampling *sampling, const struct sampling_turn *turn)
{
	return sampling->sampler && turn->now.monotonic_nsec + early_nsec < sampling->window.end_nsec;
}

/* Takes one. What is too early for its tables is tried again at *ret_retry_nsec, unless that is 0. */
static int take_snapshot(struct sampling *sampling, const struct sampling_turn *turn, struct capture **ret, uint64_t *ret_retry_nsec)
{
	int lost;

	remember_start(sampling); /* it costs when it is taken */
	lost = end_window(sampling, turn, sampling->window.rate, ret);
	if (!*ret)
		return lost;
	capture_select(*ret, is_no_go_program, NULL);
	if ((*ret)->stacks->verdicts[SAMPLE_VERDICT_NO_TABLE] && sampling->n_tries < SNAPSHOT_TRIES) {
		sampling->n_tries++;
		*ret_retry_nsec = turn->now.monotonic_nsec + snapshot_retry_nsec;
	} else {
		sampling->n_tries = 0;
	}
	/* Nothing but Go programs, or nothing to be kept. */
	if (*ret_retry_nsec || !(*ret)->stacks->seen)
		*ret = capture_free(*ret);
	return lost;
}

/* --- The next one --- */

static struct sampler *sampler_free(struct sampler *sampler)
{
	return sampler ? sampler->ops->free(sampler) : NULL;
}

static int replay_in_depth(struct sampling *sampling)
{
	size_t cursor = 0;
	const void *pid;
	void *value;
	int r;

	while (map_next(sampling->at.in_depth, &cursor, &pid, &value)) {
		r = sampling->sampler->ops->set_target(sampling->sampler, *(const uint32_t *)pid, true);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A sampler that was made without a rate. */
static int begin_window(struct sampling *sampling)
{
	struct stacks *before;
	int r;

	if (sampling->options.rate == sampling->window.rate)
		return 0;
	r = sampling->sampler->ops->drain(sampling->sampler, sampling->window.rate, &before);
	if (r >= 0)
		stacks_free(before);
	return r;
}

/* A turn may want another sampler, or none. 1: it is a new one. */
static int fit(struct sampling *sampling, const struct config *config)
{
	bool is_wanted = sampling->ways->is_wanted(sampling, config);
	int r;

	if (sampling->sampler && (!is_wanted || !sampling->ways->fits(sampling, config)))
		sampling->sampler = sampler_free(sampling->sampler);
	if (sampling->sampler || !is_wanted)
		return 0;
	sampling->options = (struct sampler_options){
		.rate = sampling->window.rate,
		.unwind_maps = sampling->at.unwind_maps,
		.n_entries = sampling->at.options->test_entries,
		.ring_bytes = sampling->at.options->test_ring_bytes,
	};
	(void)sd_notify(0, "WATCHDOG=1"); /* to load programs may take long, and others have been loaded before */
	r = sampling->ways->open(sampling, config);
	if (r >= 0)
		r = replay_in_depth(sampling);
	if (r >= 0)
		r = begin_window(sampling);
	if (r < 0)
		sampling->sampler = sampler_free(sampling->sampler);
	return r < 0 ? r : 1;
}

static struct schedule_window next_window(struct sampling *sampling, const struct config *config, const struct sampling_moment *now)
{
	struct schedule schedule = sampling->ways->schedule(config);
	struct schedule_window window = schedule_window(&schedule, now->wall_nsec, now->monotonic_nsec);

	sampling->full_rate = window.rate;
	window.rate = governor_rate(sampling->at.governor, window.rate);
	return window;
}

/* To load a sampler takes some tenths of a second: its window may be over by then, or nearly. */
static void look_again(struct sampling *sampling, const struct config *config)
{
	const struct sampling_moment now = { clock_wall_nsec(), clock_monotonic_nsec() };
	struct schedule_window window = next_window(sampling, config, &now);

	if (window.rate == sampling->window.rate)
		sampling->window = window;
}

int sampling_turn(struct sampling *sampling, const struct sampling_turn *turn, struct capture **ret)
{
	struct schedule_window next = next_window(sampling, turn->config, &turn->now);
	uint64_t retry_nsec = 0;
	int r, lost = 0;

	*ret = NULL;
	if (sampling->ways->is_snapshot && is_early(sampling, turn))
		return 0;
	if (sampling->sampler && sampling->ways->is_snapshot)
		lost = take_snapshot(sampling, turn, ret, &retry_nsec);
	else if (sampling->sampler)
		lost = end_window(sampling, turn, next.rate, ret);
	map_clear(&sampling->seen);
	sampling->window = next;
	if (retry_nsec)
		sampling->window.end_nsec = MIN(next.end_nsec, retry_nsec);
	sampling->start_nsec = turn->now.monotonic_nsec;
	r = fit(sampling, turn->config);
	sampling->has_failed = r < 0;
	if (r > 0)
		look_again(sampling, turn->config);
	if (sampling->sampler) {
		remember_start(sampling);
		sampling->ways->tune(sampling, turn->config);
	}
	return r < 0 ? r : lost;
}

int sampling_finish(struct sampling *sampling, const struct sampling_turn *turn, struct capture **ret)
{
	*ret = NULL;
	return sampling->sampler && !sampling->ways->is_snapshot ? end_window(sampling, turn, 0, ret) : 0;
}

uint64_t sampling_due_nsec(const struct sampling *sampling, const struct config *config)
{
	if (sampling->sampler)
		return sampling->window.end_nsec;
	if (!sampling->ways->is_wanted(sampling, config))
		return UINT64_MAX;
	return sampling->has_failed ? sampling->window.end_nsec : 0;
}

void sampling_set_target(struct sampling *sampling, uint32_t pid, bool is_target)
{
	const struct process_id *seen = sampling->go_labels ? map_get(&sampling->seen, &pid) : NULL;
	int r = sampling->sampler ? sampling->sampler->ops->set_target(sampling->sampler, pid, is_target) : 0;

	if (seen && is_target)
		go_threads_seen(sampling->go_labels, seen);
	if (sampling->go_labels && !is_target)
		on_go_process(pid, NULL, sampling);

	if (r < 0)
		log_print(LOG_WARNING, "Process %u is not sampled in depth: %s.", pid, strerror(-r));
}

/* --- Life --- */

struct sampling *sampling_new(enum sampling_kind kind, const struct sampling_surroundings *surroundings)
{
	struct sampling *sampling = calloc(1, sizeof(*sampling));

	if (!sampling)
		return NULL;
	sampling->ways = &all_ways[kind];
	sampling->at = *surroundings;
	map_init(&sampling->seen, sizeof(uint32_t), sizeof(struct process_id));
	return sampling;
}

struct sampling *sampling_free(struct sampling *sampling)
{
	if (!sampling)
		return NULL;
	go_threads_free(sampling->go_labels);
	map_deinit(&sampling->seen);
	sampler_free(sampling->sampler);
	free(sampling);
	return NULL;
}

bool sampling_go_running(uint32_t pid, uint32_t thread, struct go_running *ret, void *userdata)
{
	struct sampling *sampling = userdata;

	return sampling->sampler && sampler_cpu_go_running(sampling->sampler, pid, thread, ret) == 0;
}

uint64_t sampling_start_nsec(const struct sampling *sampling)
{
	return sampling->sampler ? sampling->start_nsec : UINT64_MAX;
}

enum profile_kind sampling_profile_kind(const struct sampling *sampling)
{
	return sampling->ways->kind;
}

uint32_t sampling_kinds(const struct sampling *sampling, const struct config *config)
{
	return sampling->ways->kinds(config, true);
}

uint32_t sampling_rate(const struct sampling *sampling)
{
	return sampling->sampler ? sampling->window.rate : 0;
}

uint64_t sampling_bpf_nsec(const struct sampling *sampling)
{
	return sampling->sampler ? sampling->sampler->ops->bpf_nsec(sampling->sampler) : 0;
}

uint64_t sampling_memory(const struct sampling *sampling)
{
	return sampling->sampler ? sampling->sampler->ops->memory(sampling->sampler) : 0;
}
