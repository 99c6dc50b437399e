/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the user wants: profiling.yaml, its drop-ins and the command line as one immutable value. All of it was checked
 * when it was loaded, so nobody has to check again; keys that were not written have their defaults.
 *
 * All strings and arrays live as long as the config. Durations are microseconds, sizes bytes, shares parts per million.
 * What the file looks like: profiling.yaml(5). How it is read: config_field.c has the table of all keys.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cleanup.h"

struct diag;

struct config_strings {
	const char *const *at; /* NULL-terminated as well; never NULL */
	size_t n;
};

/* `host`: everything on the machine that is no in-depth target. */
struct config_host {
	bool enabled;
	uint32_t max_services; /* files a window and kind; the others go together into "other" */
};

enum config_event {
	CONFIG_EVENT_CPU_CLOCK,
	CONFIG_EVENT_CYCLES,                   /* the processor's counter, where there is one; untested */
};

struct config_cpu {
	bool enabled;
	uint32_t event;                        /* enum config_event */
	uint64_t duration_usec, interval_usec; /* 1 s <= duration <= interval; equal: gapless */
	uint32_t rate;                         /* samples a second and CPU: 1 to 9999 */
	uint32_t background_rate;              /* the same between the windows; 0: nothing */
	bool go_labels, go_ids;                /* samples of Go in-depth targets have their goroutine's labels; its number */
};

enum config_memory_mode {
	CONFIG_MEMORY_AUTO,
	CONFIG_MEMORY_GROWTH,
	CONFIG_MEMORY_PRELOAD,
	CONFIG_MEMORY_PROBE,
	CONFIG_MEMORY_OFF,
};

struct config_memory {
	bool enabled;
	uint64_t snapshot_interval_usec;
	uint32_t mode;                         /* enum config_memory_mode */
	uint64_t sample_size_bytes;            /* mean distance of two samples */
	bool go_enable;                        /* write runtime.MemProfileRate where it is 0 */
	bool jvm_jfr;
};

/* Snapshots of what in-depth targets do: goroutines of Go programs, threads of all others. */
struct config_goroutine {
	bool enabled;
	uint64_t snapshot_interval_usec;
	uint64_t deadlock_after_usec;          /* goroutines that have not moved for so long may be deadlocked */
	bool stop_running;
};

/* Of in-depth targets; block and mutex have the same windows, those of block. */
struct config_block {
	bool enabled;
	uint64_t duration_usec, interval_usec;
	uint64_t min_delay_usec;               /* shorter waits are counted, but in no profile */
	bool wakers;
	uint32_t go_rate;                      /* nanoseconds, as of runtime.SetBlockProfileRate(); 0: leave it */
};

struct config_mutex {
	bool enabled;
	uint32_t go_fraction;                  /* runtime.SetMutexProfileFraction(); 0: leave it */
};

struct config_wall {
	bool enabled;                          /* then cpu is, too */
	uint64_t duration_usec, interval_usec; /* those of cpu, and of block if that (or mutex) is enabled */
};

struct config_jit {
	bool perf_map;                         /* read /tmp/perf-PID.map of targets */
	bool java_perfmap;
};

struct config_trace {
	bool enabled;
	uint64_t duration_usec, interval_usec;
	uint32_t sample_ppm;
};

enum config_format {
	CONFIG_FORMAT_PPROF,
};

struct config_output {
	const char *directory;                 /* absolute, unless it was given on the command line */
	uint32_t format;                       /* enum config_format */
	uint64_t retention_usec;
	uint64_t max_size_bytes;
	uint64_t keep_free_bytes;              /* 0: do not look */
	const char *group;                     /* who may read; "": leave it. A name that may not exist on this machine */
};

struct config_budget {
	uint32_t cpu_ppm;                      /* of the machine's CPU time */
	uint64_t memory_bytes;
};

struct config_symbols {
	struct config_strings debug_directories; /* absolute */
	bool debuginfod;
};

struct config_http {
	struct config_strings listen;          /* "ADDRESS:PORT" or "unix:PATH" */
	const char *dashboard;                 /* "ADDRESS:PORT"; "": none */
	const char *token_file;                /* "": none */
	bool allow_remote;
};

/*
 * Globs as in fnmatch(3); NULL: not asked for. All that are given must match. An `exe` pattern without a slash is
 * compared with the last part of the path, one with a slash with all of it; `*` matches slashes, too.
 */
struct config_match {
	const char *unit, *exe, *comm, *cmdline, *cgroup, *container;
	const char *user;                      /* name or number */
	const char *pid;
};

struct config_env_label {
	const char *variable, *label;
};

/* An in-depth target. The first one that matches a process decides. */
struct config_target {
	const char *service;                   /* NULL: named by unit, container or executable */
	struct config_match match;
	const struct config_env_label *env_labels;
	size_t n_env_labels;
	/* The settings in effect for this target: those of `profiling` with what the target overrides. */
	struct config_cpu cpu;
	struct config_memory memory;
	struct config_goroutine goroutine;
	struct config_block block;
	struct config_mutex mutex;
	struct config_wall wall;
};

/* In the file: capture_KIND_profile. */
enum config_action {
	CONFIG_CAPTURE_CPU,
	CONFIG_CAPTURE_MEMORY,
	CONFIG_CAPTURE_HEAP,
	CONFIG_CAPTURE_ALLOCS,
	CONFIG_CAPTURE_GROWTH,
	CONFIG_CAPTURE_GOROUTINE,
	CONFIG_CAPTURE_THREAD,
	CONFIG_CAPTURE_BLOCK,
	CONFIG_CAPTURE_MUTEX,
	CONFIG_CAPTURE_WALL,
};

struct config_alert {
	const char *name;                      /* [A-Za-z0-9_]{1,64} */
	const char *condition;                 /* METRIC OPERATOR NUMBER, one blank between them */
	uint64_t duration_usec;
	uint32_t action;                       /* enum config_action */
};

struct config {
	bool enabled;
	struct config_host host;
	struct config_cpu cpu;
	struct config_memory memory;
	struct config_goroutine goroutine;
	struct config_block block;
	struct config_mutex mutex;
	struct config_wall wall;
	struct config_jit jit;
	struct config_trace trace;
	struct config_output output;
	struct config_budget budget;
	struct config_symbols symbols;
	struct config_http http;
	/* Without `targets` in the file: whatever is called tsiot-*, by unit, executable or thread name. */
	const struct config_target *targets;
	size_t n_targets;
	const struct config_alert *alerts;
	size_t n_alerts;
};

/* Whether every sample has this label from the daemon itself (service, pid, tid, ...): `env_label` may not give it. */
bool config_label_is_reserved(const char *label);

#define CONFIG_PATH "/etc/tsiot/profiling.yaml"

/* A value given on the command line. It goes before what the files say. */
struct config_override {
	const char *option;                    /* how the user wrote it, for messages: "-profiling-interval" */
	const char *key;                       /* "profiling.cpu.interval" */
	const char *value;                     /* one scalar; a list gets this as its only element */
};

struct config_source {
	const char *path;                      /* the file; NULL: defaults and overrides alone */
	bool may_be_absent;                    /* a warning then, not an error */
	const struct config_override *overrides;
	size_t n_overrides;
};

/*
 * Reads the file, then each PATH.d/xx.yaml in the order of their names (key by key over what was there, lists whole),
 * then the overrides. 0 with *ret set: free it with config_free(); CONFIG_E_INVALID when diag has at least one error;
 * -ENOMEM. Warnings may be added in any case.
 */
int config_load(const struct config_source *source, struct diag *diag, struct config **ret);
enum { CONFIG_E_INVALID = 1 };

/* Takes and returns NULL. */
struct config *config_free(struct config *config);
DEFINE_CLEANUP(struct config, config_free);

/* Writes all of it as YAML that loads to the same configuration. 0 or -errno of the stream. */
int config_print(const struct config *config, FILE *f);
