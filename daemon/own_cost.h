/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What we cost: CPU time and memory of the daemon and of its helpers, and the time of its programs in the kernel, which
 * no process is charged with: it lengthens whatever was interrupted. Helpers are all children of this process, dead ones
 * included, whichever room has started them.
 *
 * Time in the kernel is told by the programs themselves, at the end of each window. (The kernel's own statistics,
 * kernel.bpf_stats_enabled, would be as exact, but to enable them takes CAP_SYS_ADMIN, which the service has not, and
 * charges every program of the machine.) Not in it: one microsecond for each fork, exec and exit (life.bpf.c).
 */
#include <stdint.h>

/* Since start; none ever goes back. */
struct own_cost_cpu {
	uint64_t core_nsec, helpers_nsec;
	uint64_t bpf_nsec;
};

/* Resident, now. Kernel maps are known by those who made them. */
struct own_cost_memory {
	uint64_t core_bytes, helpers_bytes;
};

struct own_cost {
	uint64_t helpers_nsec;               /* the most that was ever found */
	uint64_t bpf_nsec;
};

/* A program was found to have used so much more. */
void own_cost_add_bpf(struct own_cost *cost, uint64_t nsec);

/* What can't be read counts as nothing. Costs some 50 us. */
struct own_cost_cpu own_cost_cpu(struct own_cost *cost);
struct own_cost_memory own_cost_memory(void);

static inline uint64_t own_cost_cpu_sum(const struct own_cost_cpu *cpu)
{
	return cpu->core_nsec + cpu->helpers_nsec + cpu->bpf_nsec;
}
