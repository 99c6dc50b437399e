/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the runtime's own profilers have collected: sampled allocations, waits of goroutines, contended locks. Cumulative
 * since the process began, of those stacks that were met at all.
 *
 * runtime/mprof.go (bucket, memRecord, blockRecord, memProfileInternal, copyBlockProfileRecord), internal/profilerecord, of Go 1.18.10, 1.22.12,
 * 1.26.8 and 1.27.1.
 */
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct go_process;

enum go_buckets_kind { GO_BUCKETS_MEMORY = 1, GO_BUCKETS_BLOCK = 2, GO_BUCKETS_MUTEX = 3 }; /* runtime/mprof.go bucketType */

struct go_bucket {
	size_t first_frame, n_frames;        /* return addresses, innermost first; inlined calls have none of their own */
	union {
		struct {
			uint64_t allocs, frees, alloc_bytes, free_bytes; /* of those that were sampled; nothing is scaled */
		} memory;
		struct {
			double count;        /* contentions, as the runtime scaled them up */
			int64_t cycles;      /* of the processor's time stamp counter */
		} block;
	};
};

struct go_buckets {
	VEC(struct go_bucket) all;
	VEC(uint64_t) frames;
	uint64_t rate;                       /* MemProfileRate, blockprofilerate, mutexprofilerate; 0: the runtime samples nothing */
};

enum {
	GO_BUCKETS_E_NONE = 1,               /* the program has no such profile: what fills it was not linked in */
	GO_BUCKETS_E_UNKNOWN = 2,            /* what is there are no buckets as we know them */
	GO_BUCKETS_E_RESTLESS = 3,           /* the garbage collector went on with each try */
};

/* Zero-initialise `ret`. 0, GO_BUCKETS_E_*, -errno. */
int go_buckets_read(struct go_process *process, enum go_buckets_kind kind, struct go_buckets *ret);
/*
 * What the runtime found out of its clock, as runtime/pprof writes it on top of these profiles. 0: it never had to (it does for blockprofilerate of
 * more than 1, and when it writes such a profile), or it is not known; the clock is the processor's time stamp counter.
 */
double go_buckets_cycles_per_second(struct go_process *process);
void go_buckets_deinit(struct go_buckets *buckets);

/*
 * What one sampled allocation of a stack stands for: runtime/pprof/protomem.go scaleHeapSample(), to the last bit. `count`
 * and `size` (all bytes) in and out.
 */
void go_buckets_scale(uint64_t rate, int64_t *count, int64_t *size);
