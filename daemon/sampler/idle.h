/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which waits are for work: a thread of a pool, an event loop, a timer. The rule, which docs/offcpu.md explains:
 *
 * A thread's home is the one place at which it waits with the fewest functions of the application in its stack. What it
 * waits for there is idle if something says that it comes back to it: it was seen deeper elsewhere, another thread waits at
 * the same place for the same thing, it stayed there for the whole window, or it sleeps, accepts or awaits a child. What
 * the runtime of a language waits for without any function of the application (Go's parked threads, the JVM's collectors) is
 * idle. A lock, a disk, a peer's answer, a CPU and what is deeper than home never are; nor is a wait whose stack is not known
 * down to its root.
 */
#include <stdbool.h>
#include <stdint.h>

struct stacks;
struct stacks_stack;

/* What names and files say of a stack. */
struct idle_place {
	uint32_t depth;                      /* functions of the application in it, those inlined too */
	uint32_t n_inner;                    /* frames of the user before the first of these: how libraries wait */
	bool is_runtime;                     /* the language's runtime alone is there: no function of the application */
	bool accepts;                        /* it waits for a connection */
	bool contends;                       /* for a lock that the kernel sees as something else: a monitor of Java */
	bool is_opaque;                      /* functions of an interpreter or a JIT: depth means little, and all places look alike */
};

typedef struct idle_place (*idle_place_fn)(const struct stacks_stack *stack, const void *userdata);

/* Sets is_idle of all samples. `place` is asked once for each stack whose root is known. 0 or -ENOMEM: then none is idle. */
int idle_find(struct stacks *stacks, idle_place_fn place, const void *userdata);
