/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Wall time: what a thread waited and what it ran in one window, which together are the window.
 *
 * Waits are timed, so that the rest of a thread's time is known to be on CPU, exactly; where it was spent the samples of
 * the CPU sampler tell. The rest is given to them in equal parts. A thread with a rest but without a sample has one without a
 * stack. Where waits are estimates (waits.h), no thread waits longer than the window: they are cut. Of a thread that ended within the window nobody knows how long it lived: its samples stand for their period.
 */
#include <stdbool.h>
#include <stdint.h>

struct process_id;
struct stacks;

/* What a thread lived of the window, in ns; WALL_UNKNOWN when it is gone. */
typedef uint64_t (*wall_lived_fn)(const struct process_id *process, uint32_t tid, void *userdata);
#define WALL_UNKNOWN UINT64_MAX

/*
 * Adds to the waits of a window the samples of what ran in it, with their time: those of processes of `ran` that are wanted
 * (by index). Afterwards waits->period_nsec is that of `ran`. 0 or -ENOMEM: nothing was changed then.
 */
int wall_add(struct stacks *waits, const struct stacks *ran, const bool *is_wanted, wall_lived_fn lived, void *userdata);
