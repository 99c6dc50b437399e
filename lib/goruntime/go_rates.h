/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How often the runtime's own profilers sample, and where that is written: the three variables that runtime.MemProfileRate,
 * runtime.SetBlockProfileRate() and runtime.SetMutexProfileFraction() are about (runtime/mprof.go of Go 1.18 to 1.27). Reading only.
 */
#include <stdbool.h>
#include <stdint.h>

struct go_process;

enum go_rate_of { GO_RATE_MEMORY, GO_RATE_BLOCK, GO_RATE_MUTEX, GO_N_RATES };

struct go_rate {
	uint64_t address;                    /* in the process's memory; 0: the program has none, or it was not found */
	/* Mean bytes between two samples; cycles of the runtime's clock of which one wait is sampled; one of so many contentions. 0: off. */
	int64_t value;
	uint8_t size;                        /* bytes of the variable: 8 */
};

struct go_rates {
	struct go_rate of[GO_N_RATES];
	/* Nothing in the program asks for heap profiles, so the linker switched them off (cmd/link/internal/ld/lib.go linksetup()). */
	bool memory_is_off_by_linker;
};

/* What cannot be read has the address 0. */
void go_rates_read(struct go_process *process, struct go_rates *ret);

/* "runtime.MemProfileRate". Static. */
const char *go_rate_name(enum go_rate_of which);
