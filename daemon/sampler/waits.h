/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * From what was timed to what is told: all waits of a thread are timed, but only a share of the short ones has a stack
 * (bpf/offcpu.bpf.c). What the others took is spread over the stacks.
 *
 * Where the governor has only one in 2^skip waits timed, each of those stands for 2^skip, and what all waits took is an
 * estimate itself, but for the sum over all reasons of a thread, to which it is scaled (SAMPLE_SKIP_ALL); else it is known
 * exactly.
 *
 * Within a thread and a reason, let T be what all waits took. A wait with a stack was drawn with
 * probability 1 / 2^(skip + shift), so that its length times 2^(skip + shift) is, on average, what the waits at that stack took
 * (Horvitz and Thompson 1952), and H, the sum of these, is T on average. Each stack is given its part of H, of T: a ratio
 * estimator, which sums up to what was measured whatever was drawn. Its bias is of the order of 1 / n, n being the
 * number of stacks drawn, and its variance is what is left of the first one's when the error common to all stacks is gone
 * (Cochran, Sampling Techniques, 3rd edition, chapter 6). docs/offcpu.md has the figures.
 */

struct stacks;

/*
 * Spreads, and sums up (waited_nsec, untimed, with_stack). Waits that began before we looked, and have the stack that was found then
 * (SAMPLE_SHIFT_NONE), stay by themselves. Waits of a thread and reason that have no stack at all keep their sample without
 * frames (hash 0). 0 or -ENOMEM: nothing was changed then.
 */
int waits_spread(struct stacks *stacks);
