/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which waits of goroutines are for work, as sampler/idle.h tells it of threads. The rule, which docs/offcpu.md explains:
 *
 * A goroutine waits for work if it waits in a way in which work comes (no lock, no group, no send), and
 * - no function of the application is in its stack: the standard library waits by itself, for the next request of a connection, or
 * - it waits for a connection, or
 * - it is at home, and something says that it comes back there: it sleeps, others that began with the same function are seen
 *   deeper, several wait there at a time, or nobody came or went in the whole window.
 *
 * Home is the place at which goroutines that began with the same function wait in these ways with the fewest functions of the application in
 * their stack. If two places are equally deep, only who sleeps is at home. A read of a socket by the application is never idle: it
 * is as likely to be for an answer.
 */
#include <stdbool.h>
#include <stdint.h>

struct go_findings;
struct stacks;
struct stacks_stack;

/* What names say of a stack. */
struct go_idle_place {
	uint32_t depth;                      /* functions in it that are neither the runtime's nor the standard library's */
	uint64_t start;                      /* of the function that the goroutine began with, whatever it is called: equal for equal ones */
	bool accepts;                        /* it waits for a connection */
};

typedef struct go_idle_place (*go_idle_place_fn)(const struct stacks_stack *stack, const void *userdata);

/* Sets is_idle of the samples that are of many snapshots. 0 or -ENOMEM: then none is idle. `findings` may be NULL. */
int go_idle_find(struct stacks *stacks, const struct go_findings *findings, go_idle_place_fn place, const void *userdata);
