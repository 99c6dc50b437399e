/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which processes there are now, what code each has mapped, and whose they are. Follows every process from its fork or
 * exec on (bpf/life.bpf.c and the kernel's MMAP2 records), so that one that lived 2 ms can still be named.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "location.h"

struct targets;
struct binary;
struct config;
struct image;

struct targets_stats {
	uint64_t n_processes, n_binaries;        /* now */
	uint64_t forks, execs, exits, mappings;  /* events taken, ever */
	uint64_t lost_life, lost_mappings;       /* events the kernel had no room for */
	uint64_t binaries_unavailable;           /* files that could not be opened or were no longer the same */
	uint64_t perf_maps_refused;              /* not a plain file, wrong owner, too large */
	uint64_t memory_bytes;                   /* kernel rings */
};

/* An in-depth process (config `targets:`) came (true) or went (false); only these are told. */
typedef void (*targets_change_fn)(uint32_t pid, bool is_target, void *userdata);

/*
 * Begins to follow processes in `loop`; those that are there already are looked at a few at a time, and at once when a
 * sample names them. `config` must live until targets_free() or the next targets_set_config().
 */
int targets_new(sd_event *loop, const struct config *config, targets_change_fn change, void *userdata,
		struct targets **ret);
struct targets *targets_free(struct targets *targets);

/* Matches all processes against another configuration. */
int targets_set_config(struct targets *targets, const struct config *config);

/* A sample of this process arrived: look at it now if it is not known, and keep it until the window is written. */
void targets_seen(struct targets *targets, const struct process_id *process);

/*
 * From now on images of this process, and of what it forks and execs, have is_followed set.
 * 0, TARGETS_E_UNKNOWN when there is no such process, -errno.
 */
int targets_follow(struct targets *targets, uint32_t pid);

/* Takes in all events that have arrived by now. Call it before asking for images at a window's end. */
int targets_catch_up(struct targets *targets);

/* What is known of a program; TARGETS_E_UNKNOWN when nothing is. The caller frees it. */
int targets_image(struct targets *targets, const struct process_id *process, struct image **ret);
enum { TARGETS_E_UNKNOWN = 1 };

/* The same of the process that has a pid now; of one that nobody asked about before, too. */
int targets_image_of(struct targets *targets, uint32_t pid, struct image **ret);

/*
 * The service of the process that has a pid, or had it last; of one that nobody asked about before, too. The string is the
 * caller's. TARGETS_E_UNKNOWN when there is no trace of it.
 */
int targets_service(struct targets *targets, uint32_t pid, char **ret);

/* Takes the perf map of a program as it is now into its image: it has just been written. What is gone stays as it was. */
void targets_renew_perf_map(struct targets *targets, struct image *image);

/* These two are what tables_options asks for; `targets` is a struct targets. */

/*
 * The file whose code a program has at an address: a reference, or NULL. An address that is not known is looked up in
 * the process once more, if it lives: call it as seldom as that may cost. `anew`: what is mapped there now, when that was
 * not it, opened once more; NULL when the process is gone.
 */
struct binary *targets_find_binary(const struct process_id *process, uint64_t address, bool anew, void *targets);

/*
 * Whether the program is a Java virtual machine, HotSpot or made of it: it maps libjvm.so, and not OpenJ9's libj9vm*.so. 0
 * with where the first byte of libjvm.so is mapped, going by its code; TARGETS_E_UNKNOWN when it is none, or not known.
 */
int targets_find_hotspot(const struct process_id *process, uint64_t *ret_base, void *targets);

/* All windows that were open before this monotonic time have their images: what exited before may be forgotten. */
void targets_release(struct targets *targets, uint64_t before_nsec);

struct targets_stats targets_stats(const struct targets *targets);
