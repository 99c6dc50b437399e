/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Turns captures into files, in a thread of its own, one after the other: names (through the symbolizer process), one
 * profile a service and kind, pprof bytes, the store, and then retention. The event loop hands a capture over whole and gets a
 * result back whole; nothing is shared in between.
 *
 * A profile that could not be written (disk full, read-only, directory gone) is kept, up to a bound, and written when it
 * can be.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "deadlock_text.h"
#include "goroutine_deadlock_text.h"
#include "goroutine_leak_text.h"
#include "names_cache.h"
#include "sample.h"
#include "service_waits.h"
#include "store.h"
#include "store_vacuum.h"
#include "symbolizer_process.h"
#include "vec.h"

struct capture;
struct press;
struct top;

struct press_options {
	struct symbolizer_options symbolizer;
	size_t names_bytes;                  /* bound of the cache of names; 0: default */
};

/* Where files go. */
struct press_output {
	const char *directory;               /* of a store */
	const char *path;                    /* else one file for all that is captured, services together; "-": standard output */
	int debug;                           /* of path: goroutines as text (goroutine_text.h), 1 or 2; 0: as a profile */
	struct store_options store;
	struct store_retention retention;
	uint32_t max_services;
};

struct press_file {
	char *path;                          /* NULL when it is not written (yet) */
	char *service;
	enum profile_kind kind;
	const char *trigger;                 /* static */
	bool is_late;                        /* of an earlier window: it was kept until now */
	bool is_text;                        /* no profile */
	int error;                           /* 0, or -errno of the store: kept for later */
	size_t n_bytes;
	uint64_t n_samples, nsec;            /* and what they stand for */
	struct top *top;                     /* the functions with the most samples; NULL for a late one */
};

struct press_result {
	enum profile_kind kind;              /* of the window's sampler */
	VEC(struct press_file) files;
	VEC(struct deadlock_text) deadlocks; /* at the window's end */
	bool has_looked_for_deadlocks;
	uint64_t deadlocks_left_out;         /* waits and circles that could not be looked at */
	uint64_t n_go_read;                  /* Go processes of which something was read */
	goroutine_leak_text_list leaks;      /* of goroutines, until now */
	VEC(uint32_t) leak_pids;             /* processes of which all leaks are in there, if they have any */
	goroutine_deadlock_text_list goroutine_deadlocks; /* as of this snapshot */
	VEC(uint32_t) goroutine_deadlock_pids; /* processes of which all are in there, if they have any */
	int error;                           /* -errno: the whole capture came to nothing */
	uint64_t duration_nsec;              /* of the window; 0 when this is only about files kept for later */
	uint64_t seen, kept, lost_ring, lost_namespace, lost_storage, lost_frames; /* of the window */
	uint64_t goroutines_seen, goroutines_lost; /* among these: of snapshots, whose duration is 0 */
	uint64_t allocations_seen, allocations_lost; /* likewise: their stacks */
	uint64_t waited_nsec, lost_nsec;     /* of waits */
	uint64_t short_waits, lost_others;
	uint64_t labels_unread, labels_cut, labels_left_out; /* as in struct stacks */
	struct service_waits waits;          /* by service; none of a window that came to nothing */
	uint64_t estimated_nsec;             /* part of waited_nsec: of waits that were not timed */
	uint64_t verdicts[SAMPLE_N_VERDICTS];
	uint64_t n_frames, n_unnamed, n_unmapped; /* as in struct service_profile */
	uint64_t symbolize_nsec;             /* building of profiles, names included */
	uint64_t latency_nsec;               /* from the window's end to the last file */
	uint64_t n_unsaved, unsaved_bytes;   /* kept for later, now */
	uint64_t n_discarded;                /* profiles given up, since start: no room to keep them */
	uint64_t discarded_samples[PROFILE_N_KINDS]; /* samples in these */
	struct names_cache_stats names;
	struct symbolizer_stats symbolizer;
	struct store_stats store;
	struct store_vacuum vacuum;          /* the latest; counts since start */
};

typedef void (*press_done_fn)(const struct press_result *result, void *userdata);

/* Starts the thread. `done` is called from `loop`. Strings of options are borrowed. */
int press_new(sd_event *loop, const struct press_options *options, press_done_fn done, void *userdata, struct press **ret);
/* Ends what is running after the capture in work; captures still queued are lost: call press_finish() first. */
struct press *press_free(struct press *press);

/* Whether a file could be written there now; makes the directory of a store. 0 or -errno. Any thread, no press needed. */
int press_check_output(const struct press_output *output);
/* From the next capture on. Strings are copied. */
int press_set_output(struct press *press, const struct press_output *output);
/* After what is in work: gives up all memory for what can be found out again. 0 or -ENOMEM. */
int press_drop_caches(struct press *press);
/* Consumes the capture, also on failure. -ENOBUFS when the press is too far behind: the window is lost, and to be counted. */
int press_submit_take(struct press *press, struct capture *capture);
/* Captures handed over whose result has not been delivered. */
size_t press_pending(const struct press *press);
/* Waits until everything handed over is done and delivers the results. */
void press_finish(struct press *press);
