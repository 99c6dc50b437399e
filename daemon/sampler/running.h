/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Threads that ran when a snapshot came by: their registers are on a CPU, where only an interrupt can read them. So a short
 * burst of a CPU sampler follows the snapshot, and each of them is told with what that saw of it. One that it did not see
 * is told without a stack.
 */
#include <stddef.h>
#include <stdint.h>

#include "location.h"
#include "sample.h"

struct stacks;

struct running_thread {
	struct process_id process;
	uint32_t tid;
	char thread[SAMPLE_COMM_LENGTH];
};

/*
 * Adds each thread once to a snapshot, as one that ran, with the stack that it has most samples of in the burst (NULL: there was
 * none). The verdicts are added too, `seen` is not. 0, or -ENOMEM: nothing was changed then.
 */
int running_add(struct stacks *snapshot, const struct running_thread *threads, size_t n, const struct stacks *burst);
