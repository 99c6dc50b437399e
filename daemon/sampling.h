/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One sampler at work: there while the configuration wants it and there is something to look at, its windows as the
 * schedule says, its rates as the governor allows. The owner asks when the next boundary is, and turns it then; it turns
 * several at the same instant, so that windows of equal schedules are the same.
 *
 *	cpu         all programs, or in-depth targets if the rest of the host is not wanted; background windows between
 *	            the scheduled ones
 *	off-CPU     in-depth targets; files of block and mutex, and of wall when the window is the one of cpu. It is loaded
 *	            when the first target comes, and removed at the end of a window in which none is left.
 *	threads     in-depth targets that are no Go programs: a snapshot at the end of each interval, and at no other boundary
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "profile_kind.h"

struct capture;
struct config;
struct go_running;
struct governor;
struct map;
struct options;
struct own_cost;
struct sampling;
struct targets;
struct unwind_maps;

enum sampling_kind { SAMPLING_CPU, SAMPLING_OFFCPU, SAMPLING_THREAD, SAMPLING_N_KINDS };

/* Borrowed for life. */
struct sampling_surroundings {
	sd_event *loop;
	const struct options *options;
	struct targets *targets;
	const struct unwind_maps *unwind_maps;
	const struct map *in_depth;          /* pids of in-depth targets */
	const struct governor *governor;
	struct own_cost *own_cost;
};

/* Nothing is sampled before the first turn. NULL: out of memory. */
struct sampling *sampling_new(enum sampling_kind kind, const struct sampling_surroundings *surroundings);
/* What its window has is lost. */
struct sampling *sampling_free(struct sampling *sampling);

struct sampling_moment {
	uint64_t wall_nsec, monotonic_nsec;
};

/* When it wants to be turned next (CLOCK_MONOTONIC; may have passed); UINT64_MAX: not as things are. */
uint64_t sampling_due_nsec(const struct sampling *sampling, const struct config *config);

struct sampling_turn {
	const struct config *config;
	struct sampling_moment now;
	/* What sampling of CPU gave in the same turn, or NULL: a part of wall profiles. */
	const struct capture *cpu;
};

/*
 * Ends the window, if one runs, and begins the next one, with another sampler or none when the configuration wants that. What was
 * sampled is given, or NULL when nothing was. 0; SAMPLING_E_LOST: the window could not be read; -errno: there is no
 * sampler until the end of the window that should have begun, when that is tried again. Failures of the samplers are
 * told by whoever gets them.
 */
int sampling_turn(struct sampling *sampling, const struct sampling_turn *turn, struct capture **ret);
enum { SAMPLING_E_LOST = 1 };
/* Ends the window, and nothing begins. */
int sampling_finish(struct sampling *sampling, const struct sampling_turn *turn, struct capture **ret);

/* A process became an in-depth target, or is none any more. */
void sampling_set_target(struct sampling *sampling, uint32_t pid, bool is_target);

/* Of sampling of CPU: go_running_fn. */
bool sampling_go_running(uint32_t pid, uint32_t thread, struct go_running *ret, void *sampling);

/* When the window that runs began, CLOCK_MONOTONIC; UINT64_MAX without one. What ended before is of no use to it. */
uint64_t sampling_start_nsec(const struct sampling *sampling);

/* Under which samples of it are counted. */
enum profile_kind sampling_profile_kind(const struct sampling *sampling);
/* Of the files of its windows, as bits: capture_kind_bit(). */
uint32_t sampling_kinds(const struct sampling *sampling, const struct config *config);
/* Of the window that runs: samples a second and CPU; 0: nothing is sampled. */
uint32_t sampling_rate(const struct sampling *sampling);
/* What its programs took in the kernel in the window that runs, which own_cost is told at its end. */
uint64_t sampling_bpf_nsec(const struct sampling *sampling);
/* Bytes of kernel memory. */
uint64_t sampling_memory(const struct sampling *sampling);
