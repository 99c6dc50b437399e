/* SPDX-License-Identifier: Apache-2.0 */
#include "go_rates.h"

#include "go_process.h"

static const enum go_variable variables[GO_N_RATES] = {
	[GO_RATE_MEMORY] = GO_MEMORY_RATE,
	[GO_RATE_BLOCK] = GO_BLOCK_RATE,
	[GO_RATE_MUTEX] = GO_MUTEX_RATE,
};

void go_rates_read(struct go_process *process, struct go_rates *ret)
{
	struct go_rates rates = { .memory_is_off_by_linker = !go_binary_has_memory_profile(go_process_program(process)) };

	for (int i = 0; i < GO_N_RATES; i++) {
		uint64_t address, value;

		if (go_process_variable(process, variables[i], &address) && go_memory_u64(go_process_memory(process), address, &value) >= 0)
			rates.of[i] = (struct go_rate){ .address = address, .value = (int64_t)value, .size = sizeof(value) };
	}
	*ret = rates;
}

const char *go_rate_name(enum go_rate_of which)
{
	return go_variable_name(variables[which]);
}
