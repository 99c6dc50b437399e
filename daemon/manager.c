/* SPDX-License-Identifier: Apache-2.0 */
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "announce.h"
#include "block_io.h"
#include "capture.h"
#include "check_host.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "deadlock_news.h"
#include "diag.h"
#include "go_switch.h"
#include "go_watch.h"
#include "goroutine_deadlock_news.h"
#include "goroutine_leak_news.h"
#include "governor.h"
#include "java_maps.h"
#include "log.h"
#include "map.h"
#include "metrics.h"
#include "options.h"
#include "own_cost.h"
#include "press.h"
#include "privileges.h"
#include "runtime.h"
#include "sampling.h"
#include "stacks.h"
#include "stolen.h"
#include "tables.h"
#include "targets.h"
#include "unwind_maps.h"

/* Scrapers look every 15 s or so. */
static const uint64_t metrics_every_usec = 15 * USEC_PER_SEC;
/* While waits are timed, which costs what the targets do, not what we decide: it may have to stop within seconds. */
static const uint64_t watch_every_usec = USEC_PER_SEC;
/* 0 would mean 250 ms. */
static const uint64_t timer_accuracy_usec = 1000;
/* One line about a repeated failure is news, the next ones are noise. */
static const uint64_t complain_every_nsec = 60 * NSEC_PER_SEC;

struct manager {
	const struct options *options;
	struct config *config;
	struct config *first_config;         /* the press borrows from it for life; equal to config until a reload */
	sd_event *loop;
	struct runtime *runtime;
	struct targets *targets;
	struct unwind_maps *unwind_maps;
	struct tables *tables;
	struct sampling *samplings[SAMPLING_N_KINDS];
	struct map in_depth;                 /* pids of in-depth targets */
	struct java_maps *java_maps;
	int proc;                            /* /proc */
	struct go_switch *go_switch;
	struct go_watch *go_watch;
	struct press *press;
	struct metrics *metrics;
	struct block_io *block_io;           /* NULL: not wanted, or not to be had */
	bool block_io_has_failed;            /* and that was told */
	struct deadlock_news *deadlock_news;
	struct goroutine_deadlock_news *goroutine_deadlock_news;
	struct goroutine_leak_news *leak_news;
	struct own_cost own_cost;
	struct governor governor;
	uint64_t governed_nsec, governed_cpu_nsec, governed_bpf_nsec; /* when it was asked last, and our cost until then */
	uint64_t unwind_bytes;               /* what unwind tables may take */

	sd_event_source *window_timer, *metrics_timer, *watch_timer;
	uint64_t last_complaint_nsec;
	uint64_t last_metrics_complaint_nsec;
	uint64_t n_unsaved;                  /* profiles that wait for the disk */
};

/* Own cost */

/* What the programs in the kernel have taken in windows that run is in it. */
static struct own_cost_cpu own_cpu(struct manager *manager)
{
	struct own_cost_cpu cpu = own_cost_cpu(&manager->own_cost);

	for (size_t i = 0; i < SAMPLING_N_KINDS; i++)
		cpu.bpf_nsec += manager->samplings[i] ? sampling_bpf_nsec(manager->samplings[i]) : 0;
	return cpu;
}

static uint64_t sampler_memory_bytes(const struct manager *manager)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < SAMPLING_N_KINDS; i++)
		bytes += manager->samplings[i] ? sampling_memory(manager->samplings[i]) : 0;
	return bytes;
}

static uint64_t own_memory_bytes(const struct manager *manager)
{
	struct own_cost_memory memory = own_cost_memory();

	return memory.core_bytes + memory.helpers_bytes + sampler_memory_bytes(manager) +
	       targets_stats(manager->targets).memory_bytes + unwind_maps_stats(manager->unwind_maps).memory_bytes;
}

/* Results of the press */

static void complain(struct manager *manager, const struct press_file *file)
{
	uint64_t now = clock_monotonic_nsec();

	if (manager->last_complaint_nsec && now - manager->last_complaint_nsec < complain_every_nsec)
		return;
	manager->last_complaint_nsec = now;
	log_event(LOG_ERR, "write-failed", file->service, NULL,
			"Cannot write profiles to %s: %s. They are kept in memory and written when that is over.",
			manager->config->output.directory, strerror(-file->error));
}

static void update_status(struct manager *manager)
{
	struct targets_stats targets = targets_stats(manager->targets);

	sd_notifyf(0, "STATUS=%llu programs, %u Hz, %llu samples so far, %.1f MiB of profiles",
			(unsigned long long)targets.n_processes, sampling_rate(manager->samplings[SAMPLING_CPU]),
			(unsigned long long)metrics_samples(manager->metrics),
			(double)metrics_storage_bytes(manager->metrics) / (1 << 20));
}

static void on_pressed(const struct press_result *result, void *userdata)
{
	struct manager *manager = userdata;

	if (metrics_add_result(manager->metrics, result) < 0)
		log_print(LOG_WARNING, "Out of memory; some metrics are not up to date.");
	manager->n_unsaved = result->n_unsaved;
	if (result->error < 0)
		log_print(LOG_ERR, "A window came to nothing: %s.", strerror(-result->error));
	for (size_t i = 0; i < result->files.n; i++) {
		const struct press_file *file = &result->files.at[i];

		if (file->path)
			log_event(LOG_DEBUG, "capture", file->service, file->path, "Wrote %s (%llu samples).", file->path,
					(unsigned long long)file->n_samples);
		else
			complain(manager, file);
	}
	deadlock_news_add(manager->deadlock_news, result);
	goroutine_leak_news_add(manager->leak_news, result, &manager->in_depth);
	goroutine_deadlock_news_add(manager->goroutine_deadlock_news, result, &manager->in_depth);
	if (manager->options->announce)
		announce_result(result, stdout);
	update_status(manager);
}

/* Windows */

static void submit(struct capture *capture, void *userdata)
{
	struct manager *manager = userdata;
	enum profile_kind kind = capture->kind;
	uint64_t n_samples = capture->stacks->seen;
	int r = press_submit_take(manager->press, capture);

	if (r < 0) {
		log_print(LOG_ERR, "A window is lost: %s.",
				r == -ENOBUFS ? "the ones before are not written yet" : strerror(-r));
		metrics_add_lost_window(manager->metrics, kind, METRICS_LOSS_PRESS, n_samples);
	}
}

/* Java processes are asked for names first, if that is wanted. */
static void ask_java(struct capture *capture, void *userdata)
{
	struct manager *manager = userdata;

	if (manager->config->jit.perf_map && manager->config->jit.java_perfmap)
		java_maps_add_take(manager->java_maps, capture);
	else
		submit(capture, manager);
}

/* A window of waits goes on. */
static bool is_waiting(const struct manager *manager)
{
	return sampling_rate(manager->samplings[SAMPLING_OFFCPU]);
}

/* The runtimes of Go processes know of waits that the kernel does not see. */
static void hand_over_take(struct manager *manager, struct capture *capture)
{
	if (capture->kind == PROFILE_BLOCK)
		go_watch_add_take(manager->go_watch, capture, is_waiting(manager) ? capture->kinds : 0);
	else
		ask_java(capture, manager);
}

/* From now on, or no more. */
static int watch(struct manager *manager)
{
	int r, enabled = SD_EVENT_OFF;

	if (!manager->watch_timer)
		return 0;
	r = sd_event_source_get_enabled(manager->watch_timer, &enabled);
	if (r < 0)
		return r;
	if (!sampling_rate(manager->samplings[SAMPLING_OFFCPU]))
		return enabled == SD_EVENT_OFF ? 0 : sd_event_source_set_enabled(manager->watch_timer, SD_EVENT_OFF);
	if (enabled != SD_EVENT_OFF)
		return 0;
	r = sd_event_source_set_time_relative(manager->watch_timer, watch_every_usec);
	return r < 0 ? r : sd_event_source_set_enabled(manager->watch_timer, SD_EVENT_ONESHOT);
}

static int arm(struct manager *manager)
{
	uint64_t due = UINT64_MAX;
	int r;

	for (size_t i = 0; i < SAMPLING_N_KINDS; i++)
		due = MIN(due, sampling_due_nsec(manager->samplings[i], manager->config));
	if (due == UINT64_MAX)
		return sd_event_source_set_enabled(manager->window_timer, SD_EVENT_OFF);
	r = watch(manager);
	if (r < 0)
		return r;
	r = sd_event_source_set_time(manager->window_timer, due / NSEC_PER_USEC);
	return r < 0 ? r : sd_event_source_set_enabled(manager->window_timer, SD_EVENT_ONESHOT);
}

typedef int (*turn_fn)(struct sampling *sampling, const struct sampling_turn *turn, struct capture **ret);

/* Programs that ended before all windows that run now began are in none of them. */
static void release_programs(struct manager *manager)
{
	uint64_t start_nsec = clock_monotonic_nsec();

	for (size_t i = 0; i < SAMPLING_N_KINDS; i++)
		start_nsec = MIN(start_nsec, sampling_start_nsec(manager->samplings[i]));
	targets_release(manager->targets, start_nsec);
}

/* All that are due until that moment, at the same instant. The last failure of a sampler. */
static int turn_samplings(struct manager *manager, turn_fn turn_one, uint64_t due_nsec)
{
	struct capture *captures[SAMPLING_N_KINDS] = { NULL };
	struct sampling_turn turn = { .config = manager->config, .now = { clock_wall_nsec(), clock_monotonic_nsec() } };
	bool waited = is_waiting(manager);
	int r, failed = 0;

	for (size_t i = 0; i < SAMPLING_N_KINDS; i++) {
		if (sampling_due_nsec(manager->samplings[i], manager->config) > due_nsec)
			continue;
		turn.cpu = captures[SAMPLING_CPU];
		r = turn_one(manager->samplings[i], &turn, &captures[i]);
		if (r == SAMPLING_E_LOST)
			metrics_add_lost_window(manager->metrics, sampling_profile_kind(manager->samplings[i]), METRICS_LOSS_DRAIN, 0);
		failed = MIN(r, failed);
	}
	release_programs(manager);
	for (size_t i = 0; i < SAMPLING_N_KINDS; i++)
		if (captures[i])
			hand_over_take(manager, captures[i]);
	/* What ends one window begins the next one, too. */
	if (waited != is_waiting(manager))
		go_watch_begin(manager->go_watch, waited ? 0 : sampling_kinds(manager->samplings[SAMPLING_OFFCPU], manager->config));
	return failed;
}

/* Windows that end by then are followed by the next ones. */
static int begin_next_windows(struct manager *manager, uint64_t due_nsec)
{
	int r = turn_samplings(manager, sampling_turn, due_nsec);

	if (r < 0)
		log_print(LOG_ERR, "Cannot sample: %s.", strerror(-r));
	update_status(manager);
	return arm(manager);
}

/* A fourth of what we may use. 8 MiB hold the tables of some 100 files, as many as a host runs at a time. */
static uint64_t unwind_bytes_of(const struct config *config)
{
	return MIN(MAX(config->budget.memory_bytes / 4, UINT64_C(8) << 20), UINT64_C(64) << 20);
}

/* Once for all samplers to come: a table is made once. */
static int open_tables(struct manager *manager)
{
	struct tables_options options = {
		.cache_directory = getenv("CACHE_DIRECTORY"), /* systemd.exec(5) CacheDirectory= */
		.debug_directories = manager->first_config->symbols.debug_directories.at,
		.find = targets_find_binary,
		.find_hotspot = targets_find_hotspot,
		.userdata = manager->targets,
	};
	int r;

	manager->unwind_bytes = unwind_bytes_of(manager->config);
	r = unwind_maps_new(manager->unwind_bytes, &manager->unwind_maps);
	if (r < 0)
		return r;
	options.maps = manager->unwind_maps;
	return tables_new(manager->loop, &options, &manager->tables);
}

static int make_samplings(struct manager *manager)
{
	const struct sampling_surroundings surroundings = {
		.loop = manager->loop,
		.options = manager->options,
		.targets = manager->targets,
		.unwind_maps = manager->unwind_maps,
		.in_depth = &manager->in_depth,
		.governor = &manager->governor,
		.own_cost = &manager->own_cost,
	};

	for (size_t i = 0; i < SAMPLING_N_KINDS; i++) {
		manager->samplings[i] = sampling_new(i, &surroundings);
		if (!manager->samplings[i])
			return -ENOMEM;
	}
	return turn_samplings(manager, sampling_turn, UINT64_MAX - 1);
}

/* Budget */

static void set_governor_options(struct manager *manager, void (*set)(struct governor *, const struct governor_options *))
{
	const struct governor_options options = {
		.n_cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN),
		.cpu_ppm = manager->config->budget.cpu_ppm,
		.memory_bytes = manager->config->budget.memory_bytes,
		.cycle_nsec = manager->config->cpu.interval_usec * NSEC_PER_USEC,
	};

	set(&manager->governor, &options);
}

static void tell_step(const struct manager *manager, const struct governor_decision *decision)
{
	const struct governor *governor = &manager->governor;
	const struct config_cpu *cpu = &manager->config->cpu;

	log_event(decision->step > 0 ? LOG_WARNING : LOG_INFO, "budget", NULL, NULL,
			"The governor %s the rate to %u Hz of %u (background %u of %u): own cost %.3f %% of the machine's CPU time, budget %.3f %%.",
			decision->step > 0 ? "lowered" : "raised", governor_rate(governor, cpu->rate), cpu->rate,
			governor_rate(governor, cpu->background_rate), cpu->background_rate,
			(double)decision->cost_ppm / 10000, (double)governor_budget_ppm(governor) / 10000);
}

static void relieve(struct manager *manager, enum governor_relief relief, uint64_t memory_bytes)
{
	double mib = (double)memory_bytes / (1 << 20), budget_mib = (double)manager->config->budget.memory_bytes / (1 << 20);

	switch (relief) {
	case GOVERNOR_RELIEF_CACHES:
		log_event(LOG_INFO, "budget", NULL, NULL, "Own memory is %.1f MiB, budget %.1f MiB: caches are given up.", mib,
				budget_mib);
		press_drop_caches(manager->press);
		return;
	case GOVERNOR_RELIEF_TABLES:
		manager->unwind_bytes /= 2;
		log_event(LOG_INFO, "budget", NULL, NULL,
				"Own memory is %.1f MiB, budget %.1f MiB: unwind tables may take %.1f MiB from now on.", mib, budget_mib,
				(double)manager->unwind_bytes / (1 << 20));
		tables_set_limit(manager->tables, manager->unwind_bytes);
		return;
	case GOVERNOR_RELIEF_TELL:
		log_event(LOG_WARNING, "budget", NULL, NULL,
				"Own memory is %.1f MiB, above profiling.budget.memory (%.1f MiB), and nothing is left to give up.", mib,
				budget_mib);
		return;
	case GOVERNOR_RELIEF_NONE:
	default:
		return;
	}
}

/* Measures what we cost. Whether the rates are others now. */
static bool govern(struct manager *manager)
{
	struct own_cost_cpu cost = own_cpu(manager);
	uint64_t now = clock_monotonic_nsec(), cpu = own_cost_cpu_sum(&cost);
	const struct governor_measure measure = {
		.duration_nsec = now - manager->governed_nsec,
		.cpu_nsec = cpu - MIN(manager->governed_cpu_nsec, cpu),
		.bpf_nsec = cost.bpf_nsec - MIN(manager->governed_bpf_nsec, cost.bpf_nsec),
		.memory_bytes = own_memory_bytes(manager),
	};
	struct governor_decision decision = governor_add(&manager->governor, &measure);

	manager->governed_nsec = now;
	manager->governed_cpu_nsec = cpu;
	manager->governed_bpf_nsec = cost.bpf_nsec;
	if (decision.step)
		tell_step(manager, &decision);
	relieve(manager, decision.relief, measure.memory_bytes);
	return decision.step != 0;
}

static void start_governor(struct manager *manager)
{
	struct own_cost_cpu cost = own_cpu(manager);

	set_governor_options(manager, governor_init);
	manager->governed_nsec = clock_monotonic_nsec();
	manager->governed_cpu_nsec = own_cost_cpu_sum(&cost);
	manager->governed_bpf_nsec = cost.bpf_nsec;
}

static int on_window_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	govern(userdata);
	/* Windows that end together are turned together, though a timer may be early by its accuracy. */
	return begin_next_windows(userdata, clock_monotonic_nsec() + timer_accuracy_usec * NSEC_PER_USEC);
}

/* Block devices */

/* As the configuration wants it; what cannot be had is told once and not missed. */
static void fit_block_io(struct manager *manager)
{
	bool is_wanted = manager->config->enabled && manager->config->block.enabled;
	int r;

	if (!is_wanted)
		manager->block_io = block_io_free(manager->block_io);
	if (!is_wanted || manager->block_io || manager->block_io_has_failed)
		return;
	r = block_io_new(&manager->block_io);
	if (r == 0)
		return;
	manager->block_io_has_failed = true;
	log_event(LOG_WARNING, "block-io", NULL, NULL, "Requests to block devices are not timed: %s. There are no metrics tsprofd_block_io_*.",
			r == BLOCK_IO_E_ABSENT ? "the kernel has no tracepoint block_rq_complete" : strerror(-r));
}

/* Metrics */

static void write_metrics(struct manager *manager)
{
	struct own_cost_cpu cpu = own_cpu(manager);
	struct metrics_now now = {
		.targets = targets_stats(manager->targets),
		.java_maps = java_maps_stats(manager->java_maps),
		.tables = tables_stats(manager->tables),
		.unwind_maps = unwind_maps_stats(manager->unwind_maps),
		.core_cpu_nsec = cpu.core_nsec,
		.bpf_cpu_nsec = cpu.bpf_nsec,
		.budget_level = governor_level(&manager->governor),
		.core_memory_bytes = own_cost_memory().core_bytes,
		.stolen_nsec = stolen_nsec(),
		.sampler_memory_bytes = sampler_memory_bytes(manager),
	};
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	int r;

	if (!f)
		return;
	if (manager->block_io && block_io_read(manager->block_io, &now.block_io) < 0)
		log_print(LOG_WARNING, "Out of memory; metrics of block devices are not complete.");
	now.sampler_memory_bytes += now.block_io.memory_bytes;
	metrics_print(manager->metrics, &now, f);
	block_io_stats_deinit(&now.block_io);
	go_watch_print(manager->go_watch, f);
	if (fclose(f) != 0)
		return;
	r = runtime_write(manager->runtime, "metrics.prom", text, size);
	if (r < 0 && clock_monotonic_nsec() - manager->last_metrics_complaint_nsec > complain_every_nsec) {
		manager->last_metrics_complaint_nsec = clock_monotonic_nsec();
		log_print(LOG_WARNING, "Cannot write %s/metrics.prom: %s.", runtime_path(manager->runtime),
				strerror(-r));
	}
}

/* Background windows are long: all are cut where a step is made, so that each window has one rate. */
static int govern_and_cut(struct manager *manager)
{
	return govern(manager) ? begin_next_windows(manager, UINT64_MAX - 1) : 0;
}

static int on_watch_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	int r = govern_and_cut(userdata);

	return r < 0 ? r : watch(userdata);
}

static int on_metrics_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	int r = govern_and_cut(userdata);

	if (r < 0)
		return r;
	write_metrics(userdata);
	r = sd_event_source_set_time(source, usec + metrics_every_usec);
	return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Configuration */

static int set_output(struct manager *manager)
{
	const struct config_output *output = &manager->config->output;
	struct press_output press = {
		.directory = output->directory,
		.store = STORE_OPTIONS_DEFAULT,
		.retention = {
			.age_nsec = output->retention_usec * NSEC_PER_USEC,
			.max_bytes = output->max_size_bytes,
			.keep_free_bytes = output->keep_free_bytes,
		},
		.max_services = manager->config->host.max_services,
	};
	const struct group *group = output->group[0] ? getgrnam(output->group) : NULL;

	/* Started through sudo the files belong to who typed it; as a service they are for a group to read. */
	if (!privileges_owner(&press.store.uid, &press.store.gid) && group)
		press.store.gid = group->gr_gid;
	return press_set_output(manager->press, &press);
}

static void log_diag(const struct diag *diag, int priority)
{
	for (size_t i = 0; i < diag_count(diag); i++)
		log_print(priority, "%s", diag_message(diag, i));
}

static int load_config(const struct options *options, struct config **ret)
{
	const struct config_source source = options_config_source(options);
	struct diag *diag = diag_new();
	int r;

	r = diag ? config_load(&source, diag, ret) : -ENOMEM;
	if (diag)
		log_diag(diag, r ? LOG_ERR : LOG_WARNING);
	diag_free(diag);
	return r;
}

static bool is_same_list(const char *const *a, const char *const *b)
{
	while (a && b && *a && *b && !strcmp(*a, *b))
		a++, b++;
	return (!a || !*a) && (!b || !*b);
}

/* All or nothing: what fails leaves the old configuration in use. */
static int reload(struct manager *manager)
{
	struct config *config = NULL, *old = manager->config;
	int r;

	r = load_config(manager->options, &config);
	if (r)
		return r;
	r = targets_set_config(manager->targets, config);
	if (r < 0) {
		config_free(config);
		return r;
	}
	manager->config = config;
	set_governor_options(manager, governor_set_options);
	fit_block_io(manager);
	r = go_watch_set_config(manager->go_watch, config);
	if (r < 0)
		log_print(LOG_WARNING, "Snapshots of Go processes are not taken: %s.", strerror(-r));
	if (old != manager->first_config)
		config_free(old);
	/* The symbolizer was started with those of the start. */
	if (!is_same_list(config->symbols.debug_directories.at, manager->first_config->symbols.debug_directories.at))
		log_print(LOG_WARNING, "symbols.debug_directories is in use as it was at the start: restart for the change.");
	r = set_output(manager);
	return r < 0 ? r : arm(manager); /* what is wanted now and was not begins at once */
}

static int on_sighup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct manager *manager = userdata;
	int r;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
			(unsigned long long)(clock_monotonic_nsec() / NSEC_PER_USEC));
	r = reload(manager);
	metrics_set_reload(manager->metrics, r == 0);
	if (r)
		log_event(LOG_ERR, "reload", NULL, NULL, "The configuration was not reloaded; the old one stays in use.");
	else
		log_event(LOG_INFO, "reload", NULL, NULL, "Configuration reloaded.");
	write_metrics(manager);
	sd_notify(0, "READY=1");
	return 0;
}

/* Targets */

static void on_target_change(uint32_t pid, bool is_target, void *userdata)
{
	struct manager *manager = userdata;
	void *value;

	if (is_target && map_put(&manager->in_depth, &pid, &value) < 0)
		log_print(LOG_WARNING, "Out of memory; process %u is not a target.", pid);
	if (!is_target) {
		map_remove(&manager->in_depth, &pid);
		goroutine_leak_news_keep(manager->leak_news, &manager->in_depth);
		goroutine_deadlock_news_keep(manager->goroutine_deadlock_news, &manager->in_depth);
	}
	if (go_watch_set_target(manager->go_watch, pid, is_target) < 0)
		log_print(LOG_WARNING, "Out of memory; what process %u knows, if it is a Go program, is left out.", pid);
	for (size_t i = 0; i < SAMPLING_N_KINDS; i++)
		if (manager->samplings[i])
			sampling_set_target(manager->samplings[i], pid, is_target);
	/* The first one may be what a sampler waited for. */
	if (manager->window_timer)
		arm(manager);
}

/* Life */

static int start_timers(struct manager *manager)
{
	uint64_t now = clock_monotonic_nsec() / NSEC_PER_USEC;
	int r;

	r = sd_event_add_time(manager->loop, &manager->watch_timer, CLOCK_MONOTONIC, 0, 100000, on_watch_timer, manager);
	if (r >= 0)
		r = sd_event_source_set_enabled(manager->watch_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(manager->loop, &manager->window_timer, CLOCK_MONOTONIC, 0, timer_accuracy_usec, on_window_end, manager);
	if (r >= 0)
		r = arm(manager);
	if (r < 0)
		return r;
	return sd_event_add_time(manager->loop, &manager->metrics_timer, CLOCK_MONOTONIC, now + metrics_every_usec, 100000,
			on_metrics_timer, manager);
}

static int on_end(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int start_loop(struct manager *manager)
{
	sigset_t signals;
	int r;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	/* Before there is a second thread, which inherits it. */
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(&manager->loop);
	if (r < 0)
		return r;
	r = sd_event_add_signal(manager->loop, NULL, SIGTERM, on_end, manager);
	if (r >= 0)
		r = sd_event_add_signal(manager->loop, NULL, SIGINT, on_end, manager);
	if (r >= 0)
		r = sd_event_add_signal(manager->loop, NULL, SIGHUP, on_sighup, manager);
	if (r >= 0)
		r = sd_event_set_watchdog(manager->loop, true);
	return r;
}

static int start_press(struct manager *manager)
{
	const struct press_options options = {
		.symbolizer.debug_directories = manager->first_config->symbols.debug_directories.at,
	};
	int r;

	r = press_new(manager->loop, &options, on_pressed, manager, &manager->press);
	return r < 0 ? r : set_output(manager);
}

/* What failed, for the user: returns the exit code. */
static int explain(int error, const char *doing)
{
	char text[512];
	int code = check_host_explain(error, doing, text, sizeof(text));

	log_print(LOG_ERR, "%s", text);
	return code;
}

/* And undoes what one before us left. */
static int open_go_switch(struct manager *manager)
{
	int r;

	manager->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (manager->proc < 0)
		return -errno;
	r = go_switch_new(manager->proc, runtime_directory(manager->runtime), &manager->go_switch);
	if (r == 0)
		go_switch_recover(manager->go_switch);
	return r;
}

static int start(struct manager *manager)
{
	int r;

	r = start_loop(manager);
	if (r < 0)
		return explain(r, "start the event loop");
	r = runtime_open(&manager->runtime);
	if (r == RUNTIME_E_LOCKED) {
		log_print(LOG_ERR, "Another tsprofd runs already, as process %d (%s).",
				runtime_holder(manager->runtime), runtime_path(manager->runtime));
		return EX_UNAVAILABLE;
	}
	if (r < 0)
		log_print(LOG_WARNING, "Cannot use %s: %s. There will be no metrics.prom.",
				runtime_path(manager->runtime), strerror(-r));
	r = open_go_switch(manager);
	if (r < 0)
		return explain(r, "open /proc");
	r = targets_new(manager->loop, manager->config, on_target_change, manager, &manager->targets);
	if (r < 0)
		return explain(r, "follow processes");
	r = go_watch_new(manager->loop, manager->targets, ask_java, manager, &manager->go_watch);
	if (r < 0)
		return explain(r, "look at Go processes");
	go_watch_set_switch(manager->go_watch, manager->go_switch);
	r = java_maps_new(manager->loop, manager->targets, submit, manager, &manager->java_maps);
	if (r < 0)
		return explain(r, "ask Java processes");
	r = go_watch_set_config(manager->go_watch, manager->config);
	if (r < 0)
		return explain(r, "look at Go processes");
	r = open_tables(manager);
	if (r < 0)
		return explain(r, "keep unwind tables");
	start_governor(manager);
	r = make_samplings(manager);
	if (r < 0)
		return explain(r, "sample CPUs");
	go_watch_set_running(manager->go_watch, sampling_go_running, manager->samplings[SAMPLING_CPU]);
	fit_block_io(manager);
	r = start_press(manager);
	if (r < 0)
		return explain(r, "start the symbolizer");
	r = start_timers(manager);
	return r < 0 ? explain(r, "start timers") : 0;
}

int manager_new(const struct options *options, struct config *config, struct manager **ret)
{
	struct manager *manager = calloc(1, sizeof(*manager));
	int code;

	if (!manager)
		return EX_OSERR;
	manager->options = options;
	manager->config = config;
	manager->proc = -1;
	map_init(&manager->in_depth, sizeof(uint32_t), 0);
	manager->metrics = metrics_new();
	manager->deadlock_news = deadlock_news_new();
	manager->leak_news = goroutine_leak_news_new();
	manager->goroutine_deadlock_news = goroutine_deadlock_news_new();
	manager->first_config = config;
	code = manager->metrics && manager->deadlock_news && manager->leak_news && manager->goroutine_deadlock_news ? start(manager) : EX_OSERR;
	if (code) {
		/* The caller keeps its config. */
		manager->first_config = manager->config = NULL;
		manager_free(manager);
		return code;
	}
	*ret = manager;
	return 0;
}

struct manager *manager_free(struct manager *manager)
{
	if (!manager)
		return NULL;
	for (size_t i = 0; i < SAMPLING_N_KINDS; i++)
		sampling_free(manager->samplings[i]);
	block_io_free(manager->block_io);
	go_watch_free(manager->go_watch);
	java_maps_free(manager->java_maps);
	press_free(manager->press);
	tables_free(manager->tables);
	unwind_maps_free(manager->unwind_maps);
	targets_free(manager->targets);
	go_switch_free(manager->go_switch);
	close_fd(manager->proc);
	sd_event_source_disable_unref(manager->window_timer);
	sd_event_source_disable_unref(manager->metrics_timer);
	sd_event_source_disable_unref(manager->watch_timer);
	runtime_close(manager->runtime);
	metrics_free(manager->metrics);
	deadlock_news_free(manager->deadlock_news);
	goroutine_leak_news_free(manager->leak_news);
	goroutine_deadlock_news_free(manager->goroutine_deadlock_news);
	map_deinit(&manager->in_depth);
	if (manager->config != manager->first_config)
		config_free(manager->config);
	config_free(manager->first_config);
	sd_event_unref(manager->loop);
	free(manager);
	return NULL;
}

int manager_run(struct manager *manager)
{
	int r;

	if (!manager->config->enabled)
		log_print(LOG_WARNING, "Profiling is off: profiling.enabled is false.");
	write_metrics(manager);
	update_status(manager);
	sd_notify(0, "READY=1");
	r = sd_event_loop(manager->loop);
	sd_notify(0, "STOPPING=1");
	/* What was sampled until now is not thrown away. */
	go_watch_leave_loop(manager->go_watch);
	turn_samplings(manager, sampling_finish, UINT64_MAX - 1);
	go_watch_finish(manager->go_watch);
	go_switch_restore_all(manager->go_switch);
	java_maps_finish(manager->java_maps);
	press_finish(manager->press);
	if (manager->n_unsaved)
		log_event(LOG_ERR, "profiles-lost", NULL, NULL, "%llu profiles are lost: they could not be written until now.",
				(unsigned long long)manager->n_unsaved);
	write_metrics(manager);
	if (r < 0) {
		log_print(LOG_ERR, "The event loop failed: %s.", strerror(-r));
		return EX_OSERR;
	}
	return EX_OK;
}
