/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Snapshots of threads: where each living thread of the targets is, whether it runs or waits, and why (bpf/thread.bpf.c).
 * Nothing is stopped; each thread is looked at once, in some microseconds, so that two threads are not seen at the same
 * moment. Kernel threads are not told.
 *
 * There are no windows: a drain takes a snapshot then and there, whatever its rate, and is done in some ten milliseconds.
 * In its stacks a sample is a thread; wait.reason is SAMPLE_RAN for one that was on a CPU. The duration is that of the
 * snapshot itself.
 */
#include "sampler.h"

/* Loads; nothing happens until a drain. 0, or -errno as sampler_cpu_new(). */
int sampler_thread_new(sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen, void *userdata,
		struct sampler **ret);
