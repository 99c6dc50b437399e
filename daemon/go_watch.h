/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Looks at the Go processes among the targets. A capture that is to have what Go knows waits here until its processes have been read
 * (go/go_rounds.h); one that cannot be read costs the capture what it would have said, and says so there. Who is a Go process, and what
 * has to be remembered of it from one look to the next: go/go_targets.h; when it is looked at: go_schedule.h.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "go_running.h"

struct capture;
struct config;
struct go_switch;
struct go_watch;
struct targets;

/* Consumes the capture. */
typedef void (*go_watch_ready_fn)(struct capture *capture, void *userdata);

/* `targets` must live as long as it. 0 or -errno. */
int go_watch_new(sd_event *loop, struct targets *targets, go_watch_ready_fn ready, void *userdata, struct go_watch **ret);
/* Captures that wait are lost: call go_watch_finish() first. */
struct go_watch *go_watch_free(struct go_watch *watch);

/*
 * From now on the rates of the runtimes' profilers are as the configuration asks for: a second after a process has come, at once after
 * go_watch_set_config(). It must outlive the watch. Without this call nothing is ever written into a process.
 */
void go_watch_set_switch(struct go_watch *watch, struct go_switch *sw);
/* From now on goroutines that run have the stack that the CPU sampler saw last (go/go_running.h). */
void go_watch_set_running(struct go_watch *watch, go_running_fn find, void *userdata);

/*
 * This process is to be looked at, or no more, which may take as long as go_switch_release(). One that is no Go program is left
 * alone. 0 or -errno.
 */
int go_watch_set_target(struct go_watch *watch, uint32_t pid, bool is_target);

/*
 * A window of waits begins, of these kinds (bits, capture_kind_bit(); 0: there is none any more): what the runtimes have recorded until now is not of it. Where a runtime
 * records no waits (and for PROFILE_WALL) its goroutines are looked at many times until the window ends: block has those that wait,
 * wall has all (go/go_tallies.h); of a process that comes later only from the next window on.
 */
void go_watch_begin(struct go_watch *watch, uint32_t kinds);
/*
 * A window of waits has ended: adds to it what the runtimes recorded in it, and how goroutines were seen. `ready` gets the capture, perhaps at
 * once, at the latest after some seconds. `next_kinds`: of the window that began when this one ended; 0: none did.
 */
void go_watch_add_take(struct go_watch *watch, struct capture *capture, uint32_t next_kinds);
/*
 * Takes a snapshot: `ready` gets a capture of these kinds (bits, capture_kind_bit()): goroutine, heap, allocs. None when there is no
 * Go process. 0 or -ENOMEM.
 */
int go_watch_look(struct go_watch *watch, uint32_t kinds, const char *trigger);

/*
 * Looks at goroutines, to see later which grow in number; `ready` gets nothing. While somebody is being read already it does nothing.
 */
void go_watch_learn(struct go_watch *watch);
/* How sure growth is after what time (goroutine_leaks_options.half_nsec); of processes that are looked at for the first time from now on. */
void go_watch_set_leak_half(struct go_watch *watch, uint64_t half_nsec);
/* Who has not moved for so long may be stuck (go_stuck.h); of processes that are looked at for the first time from now on. 0: a minute. */
void go_watch_set_stuck(struct go_watch *watch, uint64_t nsec);

/* Snapshots are taken as the configuration says from now on. It must outlive the watch, or the next call. 0 or -errno. */
int go_watch_set_config(struct go_watch *watch, const struct config *config);

/* The loop ends: what is asked for from now on is there after go_watch_finish(). */
void go_watch_leave_loop(struct go_watch *watch);
/* Waits for all that are being read, without the loop; `ready` gets all captures. */
void go_watch_finish(struct go_watch *watch);

/* What was seen last, by service, as Prometheus text. */
void go_watch_print(struct go_watch *watch, FILE *f);
