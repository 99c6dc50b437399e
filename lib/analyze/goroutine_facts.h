/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What goroutine_deadlocks.h asks for, of what lib/goruntime reads. */
#include "goroutine_deadlocks.h"

struct go_goroutines;
struct go_reach;

struct goroutine_input {
	VEC(struct goroutine_facts) facts;
	VEC(struct goroutine_wait) waits;
	VEC(struct goroutine_reference) references;
};

/*
 * `still_nsec`: of each goroutine, as long as its sp, what it waits for and its wait_since_nsec were seen to stay: sp alone is the same each time
 * a worker waits for its next job. `searches`: who reaches what they wait for, as was found at this look and at some before, since when
 * they are still: what one search missed as it moved meanwhile is in another.
 * Zero-initialise `storage`: what `ret` points into; it borrows the words of `goroutines`, too. 0 or -ENOMEM.
 */
int goroutine_input_make(const struct go_goroutines *goroutines, const uint64_t *still_nsec,
		const struct go_reach *const *searches, size_t n_searches, struct goroutine_input *storage,
		struct goroutine_deadlocks_input *ret);
void goroutine_input_deinit(struct goroutine_input *input);
