/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * All counters of the daemon as Prometheus text (exposition format 0.0.4), under the names of docs/METRICS.md. The
 * manager adds up what each window brought; nothing here is a counter per process, so the number of lines is bounded.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "block_io.h"
#include "java_maps.h"
#include "press.h"
#include "tables.h"
#include "targets.h"
#include "unwind_maps.h"

/* What the manager adds up. */
struct metrics;

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *metrics);

/* One result of the press. 0 or -ENOMEM. */
int metrics_add_result(struct metrics *metrics, const struct press_result *result);
/* A window whose samples came to nothing. */
enum metrics_loss {
	METRICS_LOSS_DRAIN,                  /* the kernel's maps could not be read */
	METRICS_LOSS_PRESS,                  /* the press is too far behind */
	METRICS_LOSS_BUILD,                  /* the machine failed while profiles were built; counted by itself */
	METRICS_N_LOSSES,
};
/* n_samples: what is known to have been in it. */
void metrics_add_lost_window(struct metrics *metrics, enum profile_kind kind, enum metrics_loss loss, uint64_t n_samples);
void metrics_set_reload(struct metrics *metrics, bool successful);

/* What is asked for at the moment of writing. */
struct metrics_now {
	struct targets_stats targets;
	struct java_maps_stats java_maps;
	struct tables_stats tables;
	struct unwind_maps_stats unwind_maps;
	uint64_t core_cpu_nsec, core_memory_bytes; /* of this process */
	uint64_t bpf_cpu_nsec;                     /* in our programs in the kernel */
	uint32_t budget_level;                     /* of the governor; 0: full rates */
	uint64_t sampler_memory_bytes;             /* kernel maps and rings */
	struct block_io_stats block_io;            /* without series: nobody counts */
	uint64_t stolen_nsec;                      /* CPU time of all CPUs since boot that the hypervisor gave to others */
};

/* Sum of the samples of all windows so far; for STATUS=. */
uint64_t metrics_samples(const struct metrics *metrics);
uint64_t metrics_storage_bytes(const struct metrics *metrics);

void metrics_print(const struct metrics *metrics, const struct metrics_now *now, FILE *f);
