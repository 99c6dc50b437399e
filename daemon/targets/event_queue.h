/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the kernel tells of the life of processes, in one order of time. There are two sources: the ring of
 * bpf/life.bpf.c (fork, exec, exit) and perf's sideband (mappings, names). Both carry CLOCK_MONOTONIC; what has arrived
 * is sorted by it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "location.h"

struct event_queue;

enum event_kind { EVENT_FORK, EVENT_EXEC, EVENT_EXIT, EVENT_MAPPING, EVENT_COMM, EVENT_COMM_EXEC };

struct event {
	uint64_t time_nsec;
	enum event_kind kind;
	uint32_t pid;
	char *name;                          /* of the thread, or path of the mapping; the callee's, during the call */
	/* Fork, exec, exit. */
	uint64_t start_nsec;                 /* whole ticks */
	uint32_t exec_id, parent_pid;
	/* Names. */
	uint32_t tid;
	/* Mappings. */
	struct build_id build_id;
	uint64_t start, end, file_offset, device, inode;
};

/* Events the kernel or we had no room for, ever. */
struct event_queue_losses {
	uint64_t life;                       /* forks, execs, exits */
	uint64_t sideband;                   /* mappings, names */
};

/* Called in the event loop when a ring has filled to a part worth reading. */
typedef void (*event_queue_wake_fn)(void *userdata);
typedef void (*event_queue_fn)(const struct event *event, void *userdata);

/* Begins at once. `proc` tells which pid namespace is ours. 0 or -errno of the BPF or perf system calls. */
int event_queue_new(sd_event *loop, int proc, event_queue_wake_fn wake, void *userdata, struct event_queue **ret);
struct event_queue *event_queue_free(struct event_queue *queue);

/* Takes in what is in the rings by now. */
void event_queue_collect(struct event_queue *queue);
/* Hands out what was collected, in the order in which it happened; what may have causes still in a ring stays. */
void event_queue_take(struct event_queue *queue, event_queue_fn fn, void *userdata);

/* Call it now and then: CPUs come and go. `is_doubted`: something that the sideband should have told was not. */
void event_queue_follow_cpus(struct event_queue *queue, bool is_doubted);

/* As of the last event_queue_collect(). */
struct event_queue_losses event_queue_losses(const struct event_queue *queue);
/* Of the kernel's rings, in bytes. */
uint64_t event_queue_memory(const struct event_queue *queue);
