/* SPDX-License-Identifier: Apache-2.0 */
#include "once.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <systemd/sd-event.h>

#include "announce.h"
#include "capture.h"
#include "check_host.h"
#include "cleanup.h"
#include "clock.h"
#include "command.h"
#include "config.h"
#include "go_stuck.h"
#include "go_threads.h"
#include "go_thread.h"
#include "image.h"
#include "go_watch.h"
#include "java_maps.h"
#include "log.h"
#include "options.h"
#include "press.h"
#include "privileges.h"
#include "sampler_cpu.h"
#include "sampler_offcpu.h"
#include "sampler_thread.h"
#include "stacks.h"
#include "tables.h"
#include "targets.h"
#include "unwind_maps.h"

enum {
	UNWIND_BYTES = 32 << 20,
	WARM_UP_QUIET_MSEC = 150,            /* fifteen samples of a busy program */
	WARM_UP_MOST_MSEC = 1500,
	WARM_UP_MOST_SNAPSHOT_MSEC = 10000,  /* where nothing else takes time; on a machine that is full tables are slow to come */
	WARM_UP_STEP_USEC = 10000,
	/* Looks at goroutines of a window: twenty, which is many for what grows steadily, and as few as tell a burst from that in a long one. */
	LEARN_PARTS = 20,
	LEARN_LEAST_USEC = 200000, LEARN_MOST_USEC = 2000000,
	ALL_WAITS_ENTRIES = 1 << 17,         /* as many as sampler/collector.c keeps samples; they take memory when they are there */
};

struct once {
	const struct options_once *wanted;
	sd_event *loop;
	struct targets *targets;
	struct unwind_maps *unwind_maps;
	struct tables *tables;
	uint32_t kinds;                      /* of files: capture_kind_bit() */
	struct sampler *cpu, *offcpu, *thread; /* NULL: no kind wants it */
	struct go_watch *go;                 /* what Go processes know */
	sd_event_source *learn_timer;        /* of looks at goroutines within the window; NULL: there are none */
	struct go_threads *go_labels;         /* NULL: no CPU time of chosen programs is wanted, or no labels */
	bool go_ids, has_go_labels;          /* of the configuration */
	struct java_maps *java_maps;         /* NULL unless the configuration wants it */
	struct press *press;
	struct command *command;
	int command_code;                    /* exit code of the command, -1 while it runs */
	int n_signals;                       /* that asked for the end */
	int pid_fd;                          /* of the process asked for */
	bool go_kinds_seen;                  /* a Go process was looked at */
	bool go_kinds_read;                  /* and something could be read of one */
	bool is_empty;                       /* of all that was asked for there is nothing */
	bool has_ended;                      /* the window */
	bool failed;                         /* a file could not be written */
	bool wakers;                         /* of the configuration */
	bool is_quiet;                       /* standard output is the profile itself */
};

static void on_seen(const struct process_id *process, void *userdata)
{
	struct once *once = userdata;

	targets_seen(once->targets, process);
	if (once->go_labels)
		go_threads_seen(once->go_labels, process);
}

static bool wants(const struct once *once, enum profile_kind kind)
{
	return once->kinds & capture_kind_bit(kind);
}

static void on_go_process(uint32_t pid, const struct go_thread *process, void *userdata)
{
	struct once *once = userdata;
	struct go_thread wanted = { 0 };

	if (process) {
		wanted = *process;
		wanted.wants_id = once->go_ids;
		wanted.wants_running = wants(once, PROFILE_GOROUTINE);
		if (!once->has_go_labels)
			wanted.labels = GO_THREAD_LABELS_NONE;
	}
	if (once->cpu && sampler_cpu_set_go(once->cpu, pid, process ? &wanted : NULL) < 0)
		log_print(LOG_WARNING, "Process %u is sampled without labels of its goroutines.", pid);
}

/* Those that only the runtime of a Go process knows. */
#define GO_KINDS (capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP) | capture_kind_bit(PROFILE_ALLOCS))

/* Those of the off-CPU sampler. */
static uint32_t waiting_kinds(const struct once *once)
{
	return once->kinds & (capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX) | capture_kind_bit(PROFILE_WALL));
}

/* Files that were asked for and are not there have a reason, too. */
static void tell_missing(struct once *once, const struct press_result *result)
{
	uint32_t missing = result->kind == PROFILE_BLOCK ? waiting_kinds(once) : 0;

	if (result->kind == PROFILE_GOROUTINE || result->kind == PROFILE_HEAP) {
		once->go_kinds_seen = true;
		once->go_kinds_read |= result->n_go_read;
	}

	for (size_t i = 0; i < result->files.n; i++)
		missing &= ~capture_kind_bit(result->files.at[i].kind);
	for (int kind = 0; kind < PROFILE_N_KINDS && result->error >= 0; kind++)
		if (missing & capture_kind_bit(kind))
			log_print(LOG_WARNING, "There is no %s profile: nothing of the kind was seen.", profile_kind_info(kind)->name);
}

static void on_pressed(const struct press_result *result, void *userdata)
{
	struct once *once = userdata;
	FILE *f = once->is_quiet || once->wanted->command ? stderr : stdout;

	for (size_t i = 0; i < result->files.n; i++)
		once->failed |= !result->files.at[i].path;
	if (result->error < 0) {
		log_print(LOG_ERR, "The window came to nothing: %s.", strerror(-result->error));
		once->failed = true;
	}
	tell_missing(once, result);
	announce_result(result, f);
	announce_deadlocks(result, f);
	announce_goroutine_leaks(result, f);
	announce_goroutine_deadlocks(result, f);
	if (result->seen != result->kept)
		log_print(LOG_WARNING, "%llu of %llu samples were lost.", (unsigned long long)(result->seen - result->kept),
				(unsigned long long)result->seen);
}

static int end(sd_event_source *source)
{
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

/*
 * A command decides itself what a signal means to it: the first one is left to it, or passed on when the terminal did
 * not give it to both. The second one ends the window, whatever the command does.
 */
static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct once *once = userdata;

	if (!once->command || once->command_code >= 0 || once->n_signals++)
		return end(source);
	if (info->ssi_code != SI_KERNEL)
		kill(command_pid(once->command), info->ssi_signo);
	return 0;
}

static int finish(struct once *once);

/* The profile is there now; the exit code is that of the command, which may take longer. */
static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct once *once = userdata;
	int r = finish(once);

	return r < 0 || !once->command ? sd_event_exit(once->loop, r) : 0;
}

static int on_pid_exit(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	return end(source);
}

static int on_command_exit(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct once *once = userdata;

	once->command_code = command_exit_code(info->si_code, info->si_status);
	return end(source);
}

static int start_loop(struct once *once)
{
	sigset_t signals;
	int r;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(&once->loop);
	if (r >= 0)
		r = sd_event_add_signal(once->loop, NULL, SIGTERM, on_signal, once);
	if (r >= 0)
		r = sd_event_add_signal(once->loop, NULL, SIGINT, on_signal, once);
	return r;
}

/* Which goroutines leak only a series of looks tells: in the time that was asked for. */
static bool is_learning(const struct once *once)
{
	return once->kinds & capture_kind_bit(PROFILE_GOROUTINE) && once->wanted->has_duration;
}

/* Nobody has to wait for what is there. */
static bool is_snapshot(const struct once *once)
{
	return !(once->kinds & ~(capture_kind_bit(PROFILE_THREAD) | GO_KINDS)) && !once->command && !is_learning(once);
}

static int find_go_processes(struct once *once);

static int on_learn(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct once *once = userdata;
	uint64_t interval_usec = MIN(MAX(once->wanted->duration_usec / LEARN_PARTS, (uint64_t)LEARN_LEAST_USEC), (uint64_t)LEARN_MOST_USEC);
	int r;

	/* The command may go on after the window's end. */
	if (once->has_ended)
		return 0;
	r = find_go_processes(once);
	if (r < 0)
		return r;
	go_watch_learn(once->go);
	r = sd_event_source_set_time_relative(source, interval_usec);
	return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* A window is shorter than a daemon's life: it says what there is to say after a fourth of it, but never of a few seconds. */
static int start_learning(struct once *once)
{
	uint64_t half_nsec = once->wanted->duration_usec / 4 * NSEC_PER_USEC;

	if (!is_learning(once))
		return 0;
	go_watch_set_leak_half(once->go, MIN(MAX(half_nsec, 10 * NSEC_PER_SEC), 60 * NSEC_PER_SEC));
	/* Who has not moved for half of the window: that nobody can wake them is told by who reaches what, not by time. */
	go_watch_set_stuck(once->go, MIN(MAX(half_nsec * 2, NSEC_PER_SEC), (uint64_t)GO_STUCK_NSEC));
	return sd_event_add_time_relative(once->loop, &once->learn_timer, CLOCK_MONOTONIC, 0, 1000, on_learn, once);
}

/* The window ends with the time asked for, and with what it is about. */
static int set_end(struct once *once)
{
	int r = 0;

	if (is_snapshot(once))
		return sd_event_exit(once->loop, 0);
	r = start_learning(once);
	if (r >= 0 && once->wanted->duration_usec)
		r = sd_event_add_time_relative(once->loop, NULL, CLOCK_MONOTONIC, once->wanted->duration_usec, 1000, on_time,
				once);
	if (r >= 0 && once->command)
		r = sd_event_add_child(once->loop, NULL, command_pid(once->command), WEXITED, on_command_exit, once);
	return r;
}

static int watch_pid(struct once *once)
{
	if (once->pid_fd < 0)
		return 0;
	return sd_event_add_io(once->loop, NULL, once->pid_fd, EPOLLIN, on_pid_exit, once);
}

static bool is_directory(const char *path)
{
	struct stat st;

	return path[0] && (path[strlen(path) - 1] == '/' || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)));
}

static struct press_output output_of(const struct options_once *wanted)
{
	struct press_output output = { .store = STORE_OPTIONS_DEFAULT, .max_services = UINT32_MAX - 1 };

	/* Readable as any file of theirs: 0644 and 0755. */
	output.store.file_mode = 0644;
	output.store.directory_mode = 0755;
	privileges_owner(&output.store.uid, &output.store.gid);
	if (!wanted->output)
		output.directory = ".";
	else if (wanted->all || wanted->n_kinds > 1 || is_directory(wanted->output))
		output.directory = wanted->output;
	else
		output.path = wanted->output;
	output.debug = wanted->debug;
	return output;
}

/* Known before the time for a window is spent, and before a command is started. */
static int check_output(const struct options_once *wanted)
{
	const struct press_output output = output_of(wanted);
	int r = press_check_output(&output);

	if (r < 0)
		log_print(LOG_ERR, "Cannot write to %s: %s.", output.path ? output.path : output.directory, strerror(-r));
	return r < 0 ? EX_CANTCREAT : EX_OK;
}

static int start_press(struct once *once, const struct config *config)
{
	const struct press_options options = {
		.symbolizer.debug_directories = config->symbols.debug_directories.at,
	};
	int r;

	r = press_new(once->loop, &options, on_pressed, once, &once->press);
	if (r >= 0) {
		const struct press_output output = output_of(once->wanted);

		r = press_set_output(once->press, &output);
	}
	return r;
}

static int start_tables(struct once *once, const struct config *config)
{
	struct tables_options options = {
		.debug_directories = config->symbols.debug_directories.at,
		.find = targets_find_binary,
		.find_hotspot = targets_find_hotspot,
		.userdata = once->targets,
	};
	int r;

	r = unwind_maps_new(UNWIND_BYTES, &once->unwind_maps);
	if (r < 0)
		return r;
	options.maps = once->unwind_maps;
	return tables_new(once->loop, &options, &once->tables);
}

static bool is_wanted(const struct image *image, const void *userdata)
{
	const struct options_once *wanted = userdata;

	if (wanted->command)
		return image && image->is_followed;
	if (wanted->service)
		return image && !strcmp(image->service, wanted->service);
	return true;
}

static bool find_running(uint32_t pid, uint32_t thread, struct go_running *ret, void *userdata)
{
	struct once *once = userdata;

	return once->cpu && sampler_cpu_go_running(once->cpu, pid, thread, ret) == 0;
}

static int start_samplers(struct once *once, const struct config *config)
{
	const struct sampler_options options = {
		.rate = once->wanted->rate,
		/* Children of the command are known only once they are there: everything is sampled and then chosen from. */
		.all_processes = !once->wanted->pid,
		.unwind_maps = once->unwind_maps,
	};
	const struct go_threads_options labels = {
		.targets = once->targets, .wants = is_wanted, .wants_userdata = once->wanted, .tell = on_go_process, .userdata = once,
	};
	struct sampler_options waits = options;
	int r = 0;

	/* Each thread of the host that waits in each of its ways. What was asked for is not to be lost for that. */
	if (waits.all_processes)
		waits.n_entries = ALL_WAITS_ENTRIES;
	for (size_t i = 0; i < once->wanted->n_kinds; i++) {
		enum profile_kind kind;

		if (profile_kind_by_name(once->wanted->kinds[i], &kind) < 0)
			return -EINVAL;
		once->kinds |= capture_kind_bit(kind);
	}
	once->has_go_labels = config->cpu.go_labels;
	once->go_ids = config->cpu.go_ids;
	/* As in the daemon not of the whole host. */
	if (wants(once, PROFILE_CPU) && !once->wanted->all && (config->cpu.go_labels || config->cpu.go_ids || wants(once, PROFILE_GOROUTINE)))
		r = go_threads_new(once->loop, &labels, &once->go_labels);
	if (r >= 0 && (wants(once, PROFILE_CPU) || wants(once, PROFILE_WALL)))
		r = sampler_cpu_new(once->loop, &options, on_seen, once, &once->cpu);
	if (r >= 0 && waiting_kinds(once))
		r = sampler_offcpu_new(once->loop, &waits, on_seen, once, &once->offcpu);
	if (r >= 0 && once->offcpu)
		sampler_offcpu_set_wakers(once->offcpu, once->wakers);
	if (r >= 0 && wants(once, PROFILE_THREAD))
		r = sampler_thread_new(once->loop, &options, on_seen, once, &once->thread);
	if (r >= 0 && once->cpu && once->wanted->pid)
		r = once->cpu->ops->set_target(once->cpu, once->wanted->pid, true);
	if (r >= 0 && once->offcpu && once->wanted->pid)
		r = once->offcpu->ops->set_target(once->offcpu, once->wanted->pid, true);
	if (r >= 0 && once->thread && once->wanted->pid)
		r = once->thread->ops->set_target(once->thread, once->wanted->pid, true);
	return r;
}

/* What was sampled until now is thrown away. */
static int begin_anew(struct sampler *sampler, uint32_t rate)
{
	struct stacks *stacks;
	int r;

	if (!sampler)
		return 0;
	r = sampler->ops->drain(sampler, rate, &stacks);
	if (r >= 0)
		stacks_free(stacks);
	return r;
}

/* Nobody ticks for what waits: who looks meets the next library when the one before can be walked through. */
static int look_at_waiting(struct once *once)
{
	int r = begin_anew(once->thread, 0);

	return r < 0 ? r : begin_anew(once->offcpu, once->wanted->rate);
}

/*
 * The first sample of each file asks for its unwind table, and until it is made stacks end there. In a daemon that is a
 * part of the first window; here it would be a part of all there is. So we begin with samples that are thrown away, until
 * no table has been asked for in a while: the next library is met when the one before can be walked through.
 */
static int warm_up(struct once *once)
{
	uint64_t most_msec = is_snapshot(once) ? WARM_UP_MOST_SNAPSHOT_MSEC : WARM_UP_MOST_MSEC;
	uint64_t now = clock_monotonic_nsec(), most = now + most_msec * NSEC_PER_MSEC, quiet = now;
	uint64_t n_wanted = 0, n_looked = UINT64_MAX;
	int r = 0;

	while (r >= 0 && now < most && now < quiet + WARM_UP_QUIET_MSEC * NSEC_PER_MSEC) {
		struct tables_stats stats;

		r = sd_event_run(once->loop, WARM_UP_STEP_USEC);
		if (r < 0)
			return r;
		/* It ends: what was sampled until now is all there will be. */
		if (sd_event_get_state(once->loop) == SD_EVENT_FINISHED)
			return 0;
		now = clock_monotonic_nsec();
		stats = tables_stats(once->tables);
		if (stats.n_waiting || stats.wanted != n_wanted)
			quiet = now;
		n_wanted = stats.wanted;
		if (!stats.n_waiting && n_wanted != n_looked) {
			n_looked = n_wanted;
			r = look_at_waiting(once);
			/* What it asked for is to be read yet. */
			quiet = now = clock_monotonic_nsec();
		}
	}
	if (r >= 0)
		r = begin_anew(once->cpu, once->wanted->rate);
	return r < 0 ? r : begin_anew(once->offcpu, once->wanted->rate);
}

static void submit(struct capture *capture, void *userdata)
{
	struct once *once = userdata;
	int r = press_submit_take(once->press, capture);

	if (r < 0) {
		log_print(LOG_ERR, "The window came to nothing: %s.", strerror(-r));
		once->failed = true;
	}
}

static void ask_java(struct capture *capture, void *userdata)
{
	struct once *once = userdata;

	if (once->java_maps)
		java_maps_add_take(once->java_maps, capture);
	else
		submit(capture, once);
}

static void hand_over_take(struct once *once, struct capture *capture)
{
	if (capture->kind == PROFILE_BLOCK)
		go_watch_add_take(once->go, capture, 0);
	else
		ask_java(capture, once);
}

/* Go processes among those that are wanted. */
static int find_go_processes(struct once *once)
{
	struct dirent *entry;
	DIR *proc;
	int r = 0;

	if (once->wanted->pid)
		return go_watch_set_target(once->go, once->wanted->pid, true);
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while (r >= 0 && (entry = readdir(proc))) {
		char *end;
		unsigned long pid = strtoul(entry->d_name, &end, 10);
		struct image *image;

		if (!pid || *end || targets_image_of(once->targets, (uint32_t)pid, &image) != 0)
			continue;
		if (is_wanted(image, once->wanted))
			r = go_watch_set_target(once->go, (uint32_t)pid, true);
		image_free(image);
	}
	closedir(proc);
	return r;
}

/* What the runtimes know; with the waits of a window, if there is one, or by itself. */
static int look_at_go(struct once *once)
{
	uint32_t kinds = once->kinds & GO_KINDS;
	int r;

	go_watch_leave_loop(once->go);
	r = find_go_processes(once);
	return r >= 0 && kinds ? go_watch_look(once->go, kinds, "") : r;
}

static int end_window(struct once *once, struct sampler *sampler, const struct capture_request *request, struct capture **ret)
{
	struct capture *capture;
	int r;

	r = capture_window(sampler, once->targets, request, &capture);
	if (r < 0)
		return r;
	capture->facts.rate = once->wanted->rate;
	capture->facts.event = "cpu-clock";
	capture->facts.wakers = once->wakers;
	capture->facts.own_cpu_nsec = clock_nsec(CLOCK_PROCESS_CPUTIME_ID);
	capture_select(capture, is_wanted, once->wanted);
	*ret = capture;
	return 0;
}

/* A script that asked for nothing else is not to take that for a profile. */
static void tell_no_go(struct once *once)
{
	if (once->go_kinds_seen)
		log_print(LOG_WARNING, "No Go process could be read, for the reason above: there are no goroutines and no heap.");
	else
		log_print(LOG_WARNING, "No Go process was seen: there is no goroutine or heap profile.");
	once->is_empty = !(once->kinds & ~GO_KINDS);
}

static int finish(struct once *once)
{
	struct capture_request request = { .trigger = "", .all_processes = true };
	_cleanup_(capture_free_p) struct capture *cpu = NULL, *offcpu = NULL, *thread = NULL;
	int r = 0;

	once->has_ended = true;
	if (once->cpu) {
		request.kind = PROFILE_CPU;
		request.kinds = capture_kind_bit(PROFILE_CPU);
		r = end_window(once, once->cpu, &request, &cpu);
	}
	if (r >= 0 && once->offcpu) {
		request.kind = PROFILE_BLOCK;
		request.kinds = once->kinds & ~capture_kind_bit(PROFILE_CPU);
		request.ran = wants(once, PROFILE_WALL) ? cpu : NULL;
		r = end_window(once, once->offcpu, &request, &offcpu);
	}
	if (r >= 0 && once->thread) {
		request.kind = PROFILE_THREAD;
		request.kinds = capture_kind_bit(PROFILE_THREAD);
		request.ran = NULL;
		r = end_window(once, once->thread, &request, &thread);
	}
	if (r >= 0)
		r = look_at_go(once);
	if (r < 0)
		return r;
	if (cpu && !stacks_kept(cpu->stacks))
		log_print(LOG_WARNING, "Nothing was sampled: what was asked for used no CPU time.");
	if (offcpu && !stacks_kept(offcpu->stacks))
		log_print(LOG_WARNING, "No wait was seen: what was asked for had a CPU all the time, or ended before.");
	if (cpu && wants(once, PROFILE_CPU))
		hand_over_take(once, TAKE(cpu));
	if (offcpu)
		hand_over_take(once, TAKE(offcpu));
	if (thread && !stacks_kept(thread->stacks))
		log_print(LOG_WARNING, "No thread was seen: what was asked for has ended.");
	if (thread)
		hand_over_take(once, TAKE(thread));
	go_watch_finish(once->go);
	if (once->java_maps)
		java_maps_finish(once->java_maps);
	press_finish(once->press);
	if (once->kinds & GO_KINDS && !once->go_kinds_read)
		tell_no_go(once);
	return 0;
}

static int explain(int error, const char *doing)
{
	char text[512];
	int code = check_host_explain(error, doing, text, sizeof(text));

	log_print(LOG_ERR, "%s", text);
	return code;
}

/* In the order of what needs what. Returns the exit code. */
static int run(struct once *once, const struct config *config)
{
	int r;

	r = start_loop(once);
	if (r < 0)
		return explain(r, "start the event loop");
	if (once->wanted->command) {
		r = command_new(once->wanted->command, &once->command);
		if (r < 0)
			return explain(r, "start the command");
	}
	r = targets_new(once->loop, config, NULL, NULL, &once->targets);
	if (r < 0)
		return explain(r, "follow processes");
	if (once->command)
		targets_follow(once->targets, command_pid(once->command));
	r = start_press(once, config);
	if (r < 0)
		return explain(r, "start the symbolizer");
	if (config->jit.perf_map && config->jit.java_perfmap) {
		r = java_maps_new(once->loop, once->targets, submit, once, &once->java_maps);
		if (r < 0)
			return explain(r, "ask Java processes");
	}
	r = start_tables(once, config);
	if (r < 0)
		return explain(r, "keep unwind tables");
	r = go_watch_new(once->loop, once->targets, ask_java, once, &once->go);
	if (r < 0)
		return explain(r, "look at Go processes");
	go_watch_set_running(once->go, find_running, once);
	r = start_samplers(once, config);
	if (r < 0)
		return explain(r, "sample CPUs");
	r = watch_pid(once);
	if (r >= 0 && !once->command)
		r = warm_up(once);
	if (r >= 0 && once->wanted->pid && waiting_kinds(once)) {
		/* What its runtime has recorded of waits until now is not of the window. */
		r = go_watch_set_target(once->go, once->wanted->pid, true);
		go_watch_begin(once->go, once->kinds);
	}
	/* What was asked for may have ended meanwhile. */
	if (r >= 0 && sd_event_get_state(once->loop) != SD_EVENT_FINISHED)
		r = set_end(once);
	if (r >= 0 && once->command)
		r = command_begin(once->command);
	if (r > 0)
		return r;
	if (r >= 0 && sd_event_get_state(once->loop) != SD_EVENT_FINISHED)
		r = sd_event_loop(once->loop);
	if (r >= 0 && !once->has_ended)
		r = finish(once);
	if (r < 0)
		return explain(r, "profile");
	return once->failed ? EX_CANTCREAT : once->is_empty ? EX_UNAVAILABLE : EX_OK;
}

int once_run(const struct options *options, const struct config *config)
{
	struct once once = { .wanted = &options->once, .command_code = -1, .pid_fd = -1, .wakers = config->block.wakers };
	int code;

	once.is_quiet = once.wanted->output && !strcmp(once.wanted->output, "-");
	code = check_output(once.wanted);
	if (code)
		return code;
	if (once.wanted->pid) {
		once.pid_fd = syscall(SYS_pidfd_open, once.wanted->pid, 0);
		/* EINVAL, ENOENT: the number of a thread that is not the first of its process. */
		if (once.pid_fd < 0) {
			log_print(LOG_ERR, "There is no process %u%s%s.", once.wanted->pid, errno == ESRCH ? "" : ": ",
					errno == ESRCH ? "" : strerror(errno));
			return EX_UNAVAILABLE;
		}
	}
	code = run(&once, config);
	if (once.cpu)
		once.cpu->ops->free(once.cpu);
	go_threads_free(once.go_labels);
	if (once.offcpu)
		once.offcpu->ops->free(once.offcpu);
	if (once.thread)
		once.thread->ops->free(once.thread);
	sd_event_source_disable_unref(once.learn_timer);
	go_watch_free(once.go);
	java_maps_free(once.java_maps);
	press_free(once.press);
	tables_free(once.tables);
	unwind_maps_free(once.unwind_maps);
	targets_free(once.targets);
	command_free(once.command);
	close_fd(once.pid_fd);
	sd_event_unref(once.loop);
	return code == EX_OK && once.command_code >= 0 ? once.command_code : code;
}
