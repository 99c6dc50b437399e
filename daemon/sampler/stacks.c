/* SPDX-License-Identifier: Apache-2.0 */
#include "stacks.h"

#include <stdlib.h>

struct stacks *stacks_new(void)
{
	return calloc(1, sizeof(struct stacks));
}

struct stacks *stacks_free(struct stacks *stacks)
{
	if (!stacks)
		return NULL;
	vec_deinit(&stacks->processes);
	vec_deinit(&stacks->stacks);
	vec_deinit(&stacks->frames);
	vec_deinit(&stacks->samples);
	free(stacks);
	return NULL;
}

uint64_t stacks_kept(const struct stacks *stacks)
{
	uint64_t kept = 0;

	for (size_t i = 0; i < stacks->samples.n; i++)
		kept += stacks->samples.at[i].count;
	return kept;
}
