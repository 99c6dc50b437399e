/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One way to look at processes. All samplers have the same life: new (loads), start, then a drain at the end of each
 * window, free (detaches). A drain ends one window and begins the next at the same instant: no sample is in none or in two.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct process_id;
struct sampler;
struct stacks;
struct unwind_maps;

struct sampler_options {
	uint32_t rate;                       /* samples a second and CPU */
	bool cycles;                         /* sampler_cpu: by the processor's counter instead of a clock */
	bool all_processes;                  /* else only those named by sampler_set_target() */
	const struct unwind_maps *unwind_maps;/* borrowed while it is made; NULL: stacks by frame pointers alone */
	uint32_t n_entries;                  /* of the map of counts; 0: default. Small ones are for tests. */
	uint32_t ring_bytes;                 /* power of two; 0: default */
};

/*
 * A process was seen in a sample for the first time in this epoch; called from the event loop soon after the first
 * sample. Tells targets to look at the process now, while it lives, and that it is worth keeping.
 */
typedef void (*sampler_seen_fn)(const struct process_id *process, void *userdata);

/* What a kind of sampler implements. */
struct sampler_ops {
	const char *kind;                    /* profile kind, as in file names: "cpu" */
	/* Ends the window, begins the next one with `rate`. */
	int (*drain)(struct sampler *sampler, uint32_t rate, struct stacks **ret);
	int (*set_target)(struct sampler *sampler, uint32_t pid, bool is_target);
	/* What the window that runs took in the kernel until now: what stacks.bpf_nsec will be. */
	uint64_t (*bpf_nsec)(const struct sampler *sampler);
	/* Bytes of kernel memory held by its maps and rings. */
	uint64_t (*memory)(const struct sampler *sampler);
	struct sampler *(*free)(struct sampler *sampler);
};

struct sampler {
	const struct sampler_ops *ops;
};
