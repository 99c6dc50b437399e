/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Unwind tables of the files that samples meet: asked for by the kernel side (struct unwind_want), taken from the cache
 * on disk or made by a symbolizer process of this room's own, put into the kernel, and forgotten least recently used
 * when the budget is full. A thread makes them one after another, paced, so that a start on a busy machine is no spike.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct binary;
struct process_id;
struct tables;
struct unwind_maps;

struct tables_options {
	struct unwind_maps *maps;            /* borrowed */
	const char *cache_directory;         /* NULL: no cache on disk */
	const char *const *debug_directories;/* NULL-terminated; outlives tables */
	/*
	 * Which file has the code at this address of a process: a reference, or NULL when that is not known (any more).
	 * `anew`: what was found was another inode; what the process maps now is wanted.
	 */
	struct binary *(*find)(const struct process_id *process, uint64_t address, bool anew, void *userdata);
	/*
	 * Where libjvm.so begins in a process, if that is a JVM: 0, or something else when it is none (hotspots.h). NULL: none is.
	 */
	int (*find_hotspot)(const struct process_id *process, uint64_t *ret_base, void *userdata);
	void *userdata;
};

struct tables_stats {
	uint64_t wanted, made, cached, failed;   /* ever */
	uint64_t evicted;
	uint64_t n_waiting;                      /* now */
	uint64_t n_rows;                         /* of the tables in the kernel */
	uint64_t make_nsec, cpu_nsec;            /* time and CPU time that went into making them */
	uint64_t n_hotspots;                     /* now: Java processes that the walk knows */
	uint64_t hotspots_failed;                /* ever: Java processes that it could not be told of */
	uint64_t helper_memory_bytes;            /* of the process that makes them, now; 0: it has ended */
};

int tables_new(sd_event *loop, const struct tables_options *options, struct tables **ret);
struct tables *tables_free(struct tables *tables);

/*
 * From now on tables take at most so many bytes, which is meant to be less than before: all tables are removed, so that
 * whole chunks of kernel memory come free, and those that are in use are asked for again and come from the cache.
 */
void tables_set_limit(struct tables *tables, uint64_t max_bytes);

struct tables_stats tables_stats(const struct tables *tables);
