/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which Go processes are looked at many times while a window of waits goes on (go_tallier.h), because their runtime does not record what is
 * wanted. All together use 1 % of a CPU.
 */
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct go_tallies;
struct go_tallier;
struct go_targets;

enum { GO_TALLIES_MAX = 8 };

enum go_tallies_of {
	GO_TALLIES_NONE,
	GO_TALLIES_UNRECORDED,               /* of processes whose runtime records no waits */
	GO_TALLIES_ALL,
};

/* `targets` must live as long as it. 0 or -ENOMEM. */
int go_tallies_new(sd_event *loop, struct go_targets *targets, struct go_tallies **ret);
struct go_tallies *go_tallies_free(struct go_tallies *tallies);

/* A window begins: what was not taken of the one before comes to nothing. */
void go_tallies_begin(struct go_tallies *tallies, enum go_tallies_of of);
/*
 * Begins to look at a process, or ends it for nothing, as the window and its runtime want; where there is none of this number, or too many
 * are looked at, nothing happens. Targets may go meanwhile (go_targets_image()).
 */
void go_tallies_update(struct go_tallies *tallies, uint32_t pid);
/* The window has ended: one after the other, the caller's; NULL: those were all. */
struct go_tallier *go_tallies_take(struct go_tallies *tallies);

/* None is begun any more. */
void go_tallies_leave_loop(struct go_tallies *tallies);

/* Of a CPU, for each when there are so many Go processes. */
uint32_t go_tallies_ppm(size_t n_processes);
