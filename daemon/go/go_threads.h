/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which processes are Go's, for the sampler of CPU time, and how it finds their goroutines (bpf/go_thread.h): found out once for
 * each program that a sample meets, by its file (go_file_reader), and told whoever samples in each window in which it is met.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct go_threads;
struct go_thread;
struct image;
struct process_id;
struct targets;

/* Of a process that runs a Go program; NULL: it is gone. wants_id is 0. */
typedef void (*go_threads_fn)(uint32_t pid, const struct go_thread *process, void *userdata);

struct go_threads_options {
	struct targets *targets;             /* borrowed */
	/* Which programs it is to be told of; NULL: all. */
	bool (*wants)(const struct image *image, const void *userdata);
	const void *wants_userdata;
	go_threads_fn tell;
	void *userdata;
};

/* 0 or -errno. */
int go_threads_new(sd_event *loop, const struct go_threads_options *options, struct go_threads **ret);
struct go_threads *go_threads_free(struct go_threads *labels);

/* A sample of a process, of which goroutines are to be told, has arrived: sampler_seen_fn. `targets` has been told before. */
void go_threads_seen(struct go_threads *labels, const struct process_id *process);
