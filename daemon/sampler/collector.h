/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What all samplers do alike with their programs (bpf/collect.bpf.h) and their maps (bpf/sample.h): how they are set up, two sets of counts in turns, the ring of stacks,
 * the counters, and how a window ends.
 *
 * The programs are told to count in the other set; then we wait until none of those that were running at that moment
 * still does (see fence() in collector.c), and what the first set holds is final.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "sampler.h"

struct bpf_map;
struct bpf_object;
struct collector;
struct stacks;

struct collector_options {
	const char *name;                    /* of the inner maps, for bpftool: at most 15 characters */
	int ring_fd, counts_fd, counters_fd; /* of the loaded object; borrowed, they outlive the collector */
	volatile uint32_t *epoch;            /* in the object's memory */
	uint32_t n_entries;                  /* of the map of counts; 0: default */
	sampler_seen_fn seen;                /* may be NULL */
	void *userdata;
};

/* What bpf/collect.bpf.h and what it includes want set before programs are loaded; borrowed from their skeleton. */
struct collector_programs {
	struct bpf_object *object;
	struct bpf_map *ring, *target_pids;
	__u64 *stack_salt;
	__u32 *pid_namespace;
	bool *all_processes, *has_tables;
};

/* Of a skeleton of bpftool's, opened and not loaded yet. */
#define COLLECTOR_PROGRAMS(skeleton) (struct collector_programs){ \
	.object = (skeleton)->obj, \
	.ring = (skeleton)->maps.ring, \
	.target_pids = (skeleton)->maps.target_pids, \
	.stack_salt = &(skeleton)->rodata->stack_salt, \
	.pid_namespace = &(skeleton)->rodata->pid_namespace, \
	.all_processes = &(skeleton)->rodata->all_processes, \
	.has_tables = &(skeleton)->rodata->has_tables, \
}

/* Sets them, and sizes and shares the maps. `ring_bytes`: 0: as many as is usual. 0 or -errno. */
int collector_prepare(const struct collector_programs *programs, const struct sampler_options *options, uint32_t ring_bytes);

/* The first window begins with collector_begin(). 0 or -errno. */
int collector_new(sd_event *loop, const struct collector_options *options, struct collector **ret);
struct collector *collector_free(struct collector *collector);

/* Begins the first window. `period_nsec`: what one count stands for. */
void collector_begin(struct collector *collector, uint64_t period_nsec);
/*
 * Ends the window, begins the next one with another period. What fails after the epochs have changed leaves all that was
 * not taken yet in the maps: it is counted in the window that ends when this epoch is drained again. Nothing is lost.
 */
int collector_turn(struct collector *collector, uint64_t period_nsec, struct stacks **ret);

/* Takes what is in the ring now: for who cannot go back to the event loop while it fills. */
void collector_read(struct collector *collector);

/* What the programs took in the kernel in the window that runs, as far as it is told; 0 when it cannot be read. */
uint64_t collector_bpf_nsec(const struct collector *collector);

/* Bytes of kernel memory that the maps of counts have now, as /proc tells: it goes with what is in them. */
uint64_t collector_memory(const struct collector *collector);
/* The same of the maps of a sampler's programs, without those of unwind_maps, which are not its alone. */
uint64_t collector_object_memory(const struct bpf_object *object);

/* Adds a process to the map `target_pids` of a sampler's programs, or takes it out. 1, 0 when it was so before, or -errno. */
int collector_set_target(const struct bpf_map *target_pids, uint32_t pid, bool is_target);

/* Bytes of a ring for the CPUs of this machine; a power of two. */
uint32_t collector_ring_bytes(void);
