/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Off-CPU time: each interval in which a thread of a target waits, timed in the kernel by bpf/offcpu.bpf.c, with its
 * stack and the reason. A wait that is open at a window's end is counted up to there, and goes on in the next window; one that
 * is open when a window begins after a pause, or whose process became a target since, is timed from the window's beginning on,
 * with the stack that the thread is found with then (bpf/thread.bpf.c).
 */
#include "sampler.h"

/*
 * Loads, attaches and begins the first window, unless options->rate is 0: then nothing is attached until a drain says
 * otherwise. `rate` otherwise means nothing: a wait is an event. 0, or -errno as sampler_cpu_new().
 */
int sampler_offcpu_new(sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen, void *userdata,
		struct sampler **ret);

/* Shorter waits, from end to end, are counted (stacks.short_waits) and not told. Until then all are. */
void sampler_offcpu_set_min_delay(struct sampler *sampler, uint64_t nsec);

/* Who woke a thread, and who had the CPU that it waited for, is told with its stack (config `block.wakers`). Until then it is not. */
void sampler_offcpu_set_wakers(struct sampler *sampler, bool wakers);

enum { SAMPLER_OFFCPU_STACK_EVERY_NSEC = 100000 }; /* as below, at first */
/*
 * Waits that last so long, and longer ones, all have a stack; of shorter ones a share, which falls as they get shorter. The
 * governor raises it when stacks cost too much.
 */
void sampler_offcpu_set_stack_every(struct sampler *sampler, uint64_t nsec);

enum { SAMPLER_OFFCPU_TIME_EVERY_NSEC = 200000 }; /* as below, when the governor wants it */
/*
 * Waits that last so long, and longer ones, are all timed; of shorter ones a share, which falls as they get shorter, whatever
 * thread they are of. 0, as at first: all are. For the governor, when even the timing costs too much.
 */
void sampler_offcpu_set_time_every(struct sampler *sampler, uint64_t nsec);
