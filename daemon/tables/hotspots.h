/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which processes that make code are Java's, for the walk: asked for by the kernel side when it meets such code in a
 * process for the first time (struct unwind_want), read once from those that map libjvm.so (hotspot_reader), told the kernel
 * side, and forgotten when they are gone. What is read holds for the life of a JVM: it reserves its code heaps when it
 * starts. One that is not far enough is looked at again soon; one that makes no sense, and what is no JVM yet, ever less often.
 */
#include <stdint.h>
#include <systemd/sd-event.h>

struct hotspots;
struct process_id;
struct unwind_maps;
struct unwind_want;

struct hotspots_stats {
	uint64_t n_processes, n_known;       /* now: those that make code; JVMs that the walk knows */
	uint64_t read, failed;               /* ever: of JVMs */
};

/* 0 with where libjvm.so begins in a process that is a JVM; else it is none. */
typedef int (*hotspots_find_fn)(const struct process_id *process, uint64_t *ret_base, void *userdata);

int hotspots_new(sd_event *loop, struct unwind_maps *maps, hotspots_find_fn find, void *userdata, struct hotspots **ret);
/* What is in the kernel stays there. */
struct hotspots *hotspots_free(struct hotspots *hotspots);

/* Code of its own making was met in a process that the kernel side knows nothing of. */
void hotspots_want(struct hotspots *hotspots, const struct unwind_want *want);

struct hotspots_stats hotspots_stats(const struct hotspots *hotspots);
