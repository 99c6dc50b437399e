/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Stacks of goroutines that run: in registers, where nobody reads them without stopping the thread. What the CPU sampler saw of that
 * thread a moment ago is the next best thing, if it ran this goroutine then (bpf/go_running.bpf.h).
 */
#include <stdbool.h>
#include <stdint.h>

struct go_goroutines;
struct go_running;
struct process_id;

/* A sample that is older tells nothing of what it does now. */
enum { GO_RUNNING_AGE_MSEC = 1000 };

/* The latest sample of a thread, which its process numbers so. False: there is none. */
typedef bool (*go_running_fn)(uint32_t pid, uint32_t thread, struct go_running *ret, void *userdata);

/* Gives goroutines that ran at `taken_nsec` (CLOCK_MONOTONIC) the frames of their thread's sample. 0 or -ENOMEM. */
int go_running_fill(struct go_goroutines *goroutines, const struct process_id *process, uint64_t taken_nsec, go_running_fn find, void *userdata);
