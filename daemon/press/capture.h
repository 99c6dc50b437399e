/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A window that has ended, on its way to files: what was sampled and what is known of the programs it was sampled in.
 * Made in the event loop at the window's end, handed over whole to the press, and independent of everything else.
 */
#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "deadlocks.h"
#include "profile_kind.h"
#include "vec.h"

struct go_findings;
struct image;
struct sampler;
struct stacks;
struct targets;

/* Of the window, whatever service: for the comments of its files and the metrics. */
struct capture_facts {
	uint32_t rate;                       /* of the CPU sampler */
	const char *event;                   /* static: what it sampled by */
	uint64_t min_delay_nsec;             /* of waits; shorter ones are left out */
	bool wakers;                         /* `block` has the stacks of who ended waits */
	uint64_t stack_every_nsec;           /* what the governor has made of SAMPLER_OFFCPU_STACK_EVERY_NSEC; 0: nothing */
	uint64_t time_every_nsec;            /* waits of this length are all timed; 0: each is */
	uint64_t own_cpu_nsec;               /* what the daemon and its helpers used while the window lasted */
	uint64_t stolen_nsec;                /* CPU time that the hypervisor kept from the machine meanwhile */
	uint32_t n_cpus;                     /* of it; 0: not known */
	uint64_t lost_life, lost_mappings;   /* events about processes that the kernel had no room for */
	uint32_t full_rate;                  /* what is configured, where we cost too much for that; else 0 */
	uint64_t cost_ppm, budget_ppm;       /* why: of the machine's CPU time */
};

/* A process that had a CPU while others waited for it. */
struct capture_neighbour {
	uint32_t pid;
	char *service;                       /* or what there is to say of it; NULL: there were too many */
};

struct capture {
	enum profile_kind kind;              /* of the sampler: PROFILE_CPU, PROFILE_BLOCK; what was seen is counted under it */
	uint32_t kinds;                      /* of the files to make of it, as bits: capture_kind_bit() */
	const char *trigger;                 /* static: "" for the schedule, "background" */
	struct stacks *stacks;
	struct deadlocks deadlocks;          /* of a window of waits */
	struct go_findings *go;              /* what only Go knows of some samples and processes; NULL: nothing was read of a runtime */
	VEC(struct image *) images;          /* of stacks->processes, in that order; NULL: nothing is known of it */
	VEC(struct capture_neighbour) neighbours; /* of samples with SAMPLE_RUNQUEUE, by pid */
	uint64_t begun_nsec;                 /* CLOCK_MONOTONIC; windows of which it is equal began as one */
	uint64_t end_nsec;
	struct capture_facts facts;
	bool is_selected;                    /* capture_select() left something out, or could have */
};

static inline uint32_t capture_kind_bit(enum profile_kind kind)
{
	return UINT32_C(1) << kind;
}

/* What was read out of a runtime; the rest are windows, whose samples and waits were seen as they came, or threads. */
static inline bool capture_kind_is_of_runtime(enum profile_kind kind)
{
	return kind == PROFILE_GOROUTINE || kind == PROFILE_HEAP || kind == PROFILE_ALLOCS;
}

struct capture_request {
	enum profile_kind kind;
	uint32_t kinds;
	const char *trigger;
	uint32_t next_rate;                  /* of the next window; 0: pause */
	/* What ran in the same window, for PROFILE_WALL; else NULL. Borrowed. */
	const struct capture *ran;
	bool all_processes;                  /* of it; else in-depth targets */
};

/*
 * Ends the sampler's window, begins the next one, and finds out what is known of all programs in it: when no other window
 * is open that they may be in, targets_release() is the caller's. -errno; nothing was ended then, or what was drained is lost
 * and counted by the sampler.
 */
int capture_window(struct sampler *sampler, struct targets *targets, const struct capture_request *request, struct capture **ret);

/*
 * Leaves out the samples of programs that `keep` says no to (image: NULL when nothing is known of it); they do not count
 * as seen any more, nor among the verdicts.
 */
void capture_select(struct capture *capture, bool (*keep)(const struct image *image, const void *userdata),
		const void *userdata);

/*
 * Whose a sample of a process is, that is index into stacks->processes. A program that nothing is known of lived and died
 * between two looks; the name of its thread is all there is. Valid as long as the capture and `thread`.
 */
const char *capture_service(const struct capture *capture, uint32_t process, const char *thread);

/* What a neighbour is called, or NULL when there is none of this pid; valid as long as the capture. */
const char *capture_neighbour(const struct capture *capture, uint32_t pid);

/* Gives back what its samples take, when profiles have been made of them: what is told of the window as a whole stays. */
void capture_drop_samples(struct capture *capture);

struct capture *capture_free(struct capture *capture);
DEFINE_CLEANUP(struct capture, capture_free);
