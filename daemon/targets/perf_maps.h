/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The perf maps that JIT compilers write (/tmp/perf-PID.map, as its process sees it), opened while they are there: many
 * a JIT removes its map when it exits, which is before the window with its samples ends. Jitdump files serve the same end;
 * they may be anywhere, but their process maps them to be found, so that binaries.h has them open already.
 *
 * Anyone may write anything to /tmp: only a plain file of the process's own user or of root is taken, and nothing of it
 * is read here. The number of descriptors kept is bounded; the one looked at longest ago goes first.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct perf_maps;

/* The map of one program. Embedded; only perf_maps_*() write to it. */
struct perf_map {
	int fd;                              /* -1: none (yet) */
	int refusal, dump_refusal;           /* why the last one that was found was not taken; 0 */
	uint64_t interval_nsec, next_look_nsec;
	struct perf_map *newer, *older;      /* those with a descriptor, the one looked at last in front */
};

/* Of whom, and by which way. */
struct perf_maps_query {
	uint32_t pid;                        /* as we see it; 0 when it is known to be gone */
	uint32_t namespace_pid;              /* as it sees itself: it names the file */
	int root;                            /* of its mount namespace, for want of a living process; -1: not known */
	bool has_uid;
	uid_t uid;
};

/* max_open: descriptors to keep at a time; 0: as many as a daemon may. */
int perf_maps_new(int proc, size_t max_open, struct perf_maps **ret);
/* All maps must have been forgotten. */
struct perf_maps *perf_maps_free(struct perf_maps *maps);

void perf_map_init(struct perf_map *map);
void perf_maps_forget(struct perf_maps *maps, struct perf_map *map);

/*
 * Looks for the map of a program now. What is found takes the place of what was kept (it may have been written anew);
 * when nothing is there, what was kept stays.
 */
void perf_maps_look(struct perf_maps *maps, struct perf_map *map, const struct perf_maps_query *query);
/* Whether it is time for another look: soon for a program just seen, then more and more seldom. */
bool perf_map_is_due(const struct perf_map *map, uint64_t now_nsec);

/* A descriptor to give away, or -1 when there is none or the file has become too large. */
int perf_maps_duplicate(struct perf_maps *maps, struct perf_map *map);

/* Whether a mapped file is called as jitdump files are: jit-PID.dump. */
bool perf_maps_is_dump(const char *path);
/*
 * A descriptor of such a file, which is open as `fd` (borrowed), to give away; -1 when it is too large, or not of the
 * process's user (as that of the query) or of root.
 */
int perf_maps_duplicate_dump(struct perf_maps *maps, struct perf_map *map, int fd, bool has_uid, uid_t uid);

/* Maps and dumps not taken, ever: no plain file, wrong owner, too large. Each program's once for each reason in a row. */
uint64_t perf_maps_refused(const struct perf_maps *maps);
