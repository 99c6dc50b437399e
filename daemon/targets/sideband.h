/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the kernel's perf subsystem says beside samples: every new executable mapping on the machine (PERF_RECORD_MMAP2,
 * with the file's build id since Linux 5.12, commit 88a16a130933) and every new name of a thread (PERF_RECORD_COMM, which
 * also marks an exec). One event and one ring for each online CPU; CPUs that come later are followed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "location.h"

struct sideband;

enum sideband_kind {
	SIDEBAND_OTHER,                      /* nothing of interest */
	SIDEBAND_MAPPING,
	SIDEBAND_COMM,
	SIDEBAND_LOST,
};

/* One record; strings are valid during the call, at most 4 KiB long, and hold what the process likes. */
struct sideband_record {
	enum sideband_kind kind;
	uint64_t time_nsec;                  /* CLOCK_MONOTONIC */
	uint32_t pid, tid;                   /* in our pid namespace; pid 0: not in it */
	bool is_exec;                        /* COMM: this is an exec: the mappings that follow replace all others */
	const char *name;                    /* MAPPING: path; COMM: name of the thread */
	uint64_t start, end, file_offset;
	uint64_t device, inode;              /* 0 when there is a build id */
	struct build_id build_id;            /* size 0: none */
	uint64_t n_lost;
};

/*
 * One record as the kernel wrote it, header included. 0, or -EBADMSG when it is not whole. Mappings that are not
 * executable are SIDEBAND_OTHER.
 */
int sideband_parse(const void *data, size_t size, struct sideband_record *ret);

/* Called in the event loop when a ring has filled to a part worth reading. */
typedef void (*sideband_wake_fn)(void *userdata);
typedef void (*sideband_fn)(const struct sideband_record *record, void *userdata);

/* Needs CAP_PERFMON. 0 or -errno of perf_event_open(2) or mmap(2). */
int sideband_new(sd_event *loop, sideband_wake_fn wake, void *userdata, struct sideband **ret);
struct sideband *sideband_free(struct sideband *sideband);

/* Hands out all records that are in the rings by now, ring by ring: in order of time within each only. */
void sideband_read(struct sideband *sideband, sideband_fn fn, void *userdata);

/* Opens rings for CPUs that came online, frees those of CPUs that went (when they are empty). Call it now and then. */
void sideband_follow_cpus(struct sideband *sideband);

/*
 * Opens rings anew that stand still: their CPU went and came back between two looks, which leaves an event that only
 * looks alive. Counted as a loss. Interrupts every CPU: call it when something that should have been told was not.
 */
void sideband_revive(struct sideband *sideband);

/* Records that the kernel had no room for, at least. */
uint64_t sideband_lost(const struct sideband *sideband);
uint64_t sideband_memory(const struct sideband *sideband);
/* Whether the kernel gives build ids. */
bool sideband_has_build_ids(const struct sideband *sideband);
