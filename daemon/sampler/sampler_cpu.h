/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * On-CPU time: one cpu-clock event on each online CPU, stacks counted in the kernel by bpf/cpu.bpf.c.
 */
#include <stdbool.h>

#include "sampler.h"

struct go_running;
struct go_thread;

/*
 * Loads, attaches and begins the first window. Follows CPUs that come and go by itself, in `loop`.
 * 0, or -errno: what that means to a user is check_host's to say; -EOPNOTSUPP: this kernel is older than 5.17, it has no
 * bpf_loop().
 */
int sampler_cpu_new(sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen, void *userdata,
		struct sampler **ret);

/*
 * From now on samples of this process, which runs a Go program, tell the goroutine and its labels, as far as `process` asks for them
 * (bpf/go_thread.h); NULL: no longer. 0 or -errno: -E2BIG when there are GO_THREAD_MAX.
 */
int sampler_cpu_set_go(struct sampler *sampler, uint32_t pid, const struct go_thread *process);

/*
 * The latest sample in which a thread ran a goroutine (`thread`: as its process numbers it), of a process of which that is asked for
 * (go_thread.wants_running). 0; -ENOENT: there is none, or others took its place since; -errno.
 */
int sampler_cpu_go_running(struct sampler *sampler, uint32_t pid, uint32_t thread, struct go_running *ret);
