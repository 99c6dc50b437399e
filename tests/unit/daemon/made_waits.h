/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Windows of waits made by hand, as the off-CPU sampler would have made them. */
#include <check.h>
#include <stdint.h>

#include "stacks.h"

static inline uint32_t made_wait_process(struct stacks *stacks, uint32_t pid, uint32_t exec_id)
{
	const struct process_id id = { .pid = pid, .exec_id = exec_id, .start_nsec = 50000000 };

	ck_assert_int_ge(vec_push(&stacks->processes, id), 0);
	return (uint32_t)(stacks->processes.n - 1);
}

/* hash 0: no stack was taken. The stack has one frame, which is the hash. */
static inline uint32_t made_wait_stack(struct stacks *stacks, uint32_t process, uint64_t hash)
{
	const struct stacks_stack stack = {
		.process = process,
		.hash = hash,
		.n_user = hash ? 1 : 0,
		.first_frame = stacks->frames.n,
		.verdict = hash ? SAMPLE_VERDICT_COMPLETE : SAMPLE_VERDICT_KERNEL,
	};

	ck_assert_int_ge(vec_push(&stacks->stacks, stack), 0);
	if (hash)
		ck_assert_int_ge(vec_push(&stacks->frames, hash), 0);
	return (uint32_t)(stacks->stacks.n - 1);
}

static inline void made_wait(struct stacks *stacks, uint32_t stack, uint32_t tid, enum sample_reason reason, uint16_t shift, uint64_t count,
		uint64_t nsec)
{
	const struct stacks_sample sample = {
		.stack = stack, .tid = tid, .count = count, .nsec = nsec, .wait = { .reason = (uint16_t)reason, .shift = shift }, .thread = "worker",
	};

	ck_assert_int_ge(vec_push(&stacks->samples, sample), 0);
	stacks->seen += count;
}
