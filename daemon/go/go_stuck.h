/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Goroutines of one process that nobody will wake any more, as looks at it one after the other tell: who has not moved since, and, when some
 * have not for long, who could still wake them. That is asked for (GO_REPORT_REACH) no more often than what it takes allows.
 *
 * What was found holds as long as none of its goroutines moves, or another search says otherwise.
 */
#include <stdbool.h>
#include <stdint.h>

#include "goroutine_deadlocks.h"

struct go_report;
struct go_stuck;

/*
 * What is told: what cannot be reached from three searches on, which together are never wrong where one is in half of all cases, and of what
 * only looks so (goroutine_deadlocks.h: GOROUTINE_ASLEEP with timers) the more likely half.
 */
enum { GO_STUCK_LEAST_UNREACHABLE = 84, GO_STUCK_LEAST_OTHERS = 50 };

#define GO_STUCK_NSEC (UINT64_C(60) * 1000000000)
/* A search may take one part in so many of the time. */
enum { GO_STUCK_COST = 100 };

/* `least_nsec`: who has moved since is not looked at; 0: GO_STUCK_NSEC. NULL: out of memory. */
struct go_stuck *go_stuck_new(uint64_t least_nsec);
struct go_stuck *go_stuck_free(struct go_stuck *stuck);

/* One look more; without goroutines it says nothing. 0 or -ENOMEM: then all has to be learnt anew. */
int go_stuck_add(struct go_stuck *stuck, const struct go_report *report);
/* Whether the next look is to have GO_REPORT_REACH. */
bool go_stuck_wants_search(const struct go_stuck *stuck, uint64_t now_nsec);
/* What is known since the last look. Borrowed until the next one. */
const struct goroutine_deadlocks *go_stuck_found(const struct go_stuck *stuck);
/* Searches that were made, and nanoseconds that they took. */
uint64_t go_stuck_searches(const struct go_stuck *stuck, uint64_t *ret_took_nsec);
