/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One profile of one service: samples of a window become its rows. Of each the stack, with frames that are no code where
 * something is missing or another thread is told of (docs/formats/pprof.md); the labels; and what is counted of them.
 */
#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "locks.h"
#include "profile_kind.h"
#include "sample.h"
#include "vec.h"

struct capture;
struct deadlock_text;
struct goroutine_deadlock_text;
struct goroutine_leak_text;
struct places;
struct profile;
struct rivals;
struct stacks_sample;
struct wait_labels;

struct service_profile {
	char *service;
	enum profile_kind kind;
	struct profile *profile;
	uint64_t n_samples;                  /* events, not distinct stacks */
	uint64_t nsec;                       /* what they stand for */
	uint64_t n_idle, idle_nsec;          /* those of them that waited for work (idle.h) */
	uint64_t n_frames;                   /* of its samples; pseudo frames (docs/formats/pprof.md) do not count */
	uint64_t n_unnamed, n_unmapped;      /* those without a name; those where nothing known is mapped */
	uint64_t verdicts[SAMPLE_N_VERDICTS]; /* samples by how the walk of their user stack ended */

	/* Of PROFILE_MUTEX; the caller adds them. */
	VEC(struct lock) locks;              /* the LOCKS_MAX_SHOWN that were waited for longest */
	uint64_t n_locks, locks_nsec;        /* all that were waited for */
	bool has_estimates;                  /* among these */
	VEC(const struct deadlock_text *) deadlocks; /* borrowed; those of the service */

	/* Parks of threads of Go's runtime, whose own records tell who waited: not among its samples. */
	uint64_t n_left_out, left_out_nsec;

	/* Of kinds that Go has a part in; the caller adds them. */
	VEC(uint32_t) go_processes;          /* those of the service, as index into capture->go->processes */
	bool tells_unread;                   /* of one of these nothing could be read: its comments are worth a file without samples */
	VEC(const struct goroutine_leak_text *) leaks; /* borrowed; those of the service; of PROFILE_GOROUTINE */
	VEC(const struct goroutine_deadlock_text *) goroutine_deadlocks; /* likewise */
};

/* 0 or -ENOMEM; service_profile_deinit() is the caller's either way. */
int service_profile_init(struct service_profile *profile, const char *service, enum profile_kind kind, uint64_t period_nsec);
void service_profile_deinit(struct service_profile *profile);

/* What is known of the window that samples are of; the caller's. */
struct service_profile_window {
	const struct capture *capture;
	struct places *places;
	struct wait_labels *wait_labels;
	struct rivals *rivals;
};

/* What it takes to add samples to a profile. Both are borrowed, and must not move. 0 or -ENOMEM. */
struct service_profile_writer;
int service_profile_writer_new(const struct service_profile_window *window, struct service_profile *profile,
		struct service_profile_writer **ret);
struct service_profile_writer *service_profile_writer_free(struct service_profile_writer *writer);
DEFINE_CLEANUP(struct service_profile_writer, service_profile_writer_free);

/*
 * pprof takes the first mapping for the main program and shows its name: it must not be the kernel or libc, only because
 * a sample met it first. Call this for all samples, until one of them is in its program, before the first is added.
 */
int service_profile_add_main_mapping(struct service_profile_writer *writer, const struct stacks_sample *sample);
/* Adds a sample of the window's stacks, unless it is none of this kind: a profile of locks has no other waits. 0 or -errno. */
int service_profile_add(struct service_profile_writer *writer, const struct stacks_sample *sample);
