/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Goroutines of one process that nobody will wake any more. What can be concluded depends on what is known of who could:
 *
 * FOREVER        waits for a nil channel. Nobody can wake it; `select {}` is left out, it says that it wants that.
 * UNREACHABLE    all that could wake it must have the address of what it waits for, and nothing has that but goroutines
 *                that are as stuck. As Go 1.27's goroutineleak profile concludes (runtime/mgc.go findGoroutineLeaks()): what
 *                runs, sleeps, waits for the network or is in the kernel may reach all that its stack leads to; whoever waits
 *                for something that is so reached may be woken, and then reach more. Who is left is stuck. This needs
 *                complete references, of what go_reach.h or its like finds. The main goroutine, alone, is left out: programs
 *                wait so for ever while others serve.
 * CIRCLE         goroutines that each wait for a lock which the next one has. Go does not record who has a sync.Mutex: the
 *                evidence is that the stack of the next one, and of no goroutine that could go on, has the lock's address
 *                besides that of the one it waits for. Who has it may have lost the address, as of a lock that is a
 *                global variable: it is likely, not certain, unless the circle is unreachable, too.
 * ASLEEP         no goroutine of the process can go on by itself, and so it has been for long. The runtime itself ends such
 *                a program if it is sure; it is not where C, a signal handler or a timer may wake one, and neither is this:
 *                those who wait for a channel may wait for a timer's.
 *
 * A server that waits for clients is none of these: its goroutine waits for the network. All is by what two looks say did
 * not move in between; a goroutine is told once, by the first of CIRCLE, UNREACHABLE, FOREVER, ASLEEP that holds.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vec.h"

enum goroutine_wait_kind { GOROUTINE_WAITS_CHANNEL, GOROUTINE_WAITS_LOCK, GOROUTINE_WAITS_OTHER }; /* other: sync.Cond */

struct goroutine_wait {
	uint64_t object;                     /* its address */
	uint32_t kind;                       /* enum goroutine_wait_kind */
};

struct goroutine_facts {
	uint64_t id;
	uint64_t go_pc;                      /* those alone with their trouble are told by this */
	const char *reason;                  /* what it waits for, in the runtime's words; NULL: it does not wait, or is in the kernel */
	uint64_t still_nsec;                 /* as long as it is seen not to have moved */
	size_t first_wait, n_waits;          /* of `waits`; none although it waits for something: not known */
	bool waits_for_more;                 /* than these */
	bool is_system;                      /* one of the runtime's own */
};

/* `object` can be reached by goroutine `from`, 0: by anything else, or that is not known. */
struct goroutine_reference {
	uint64_t object, from;
	bool is_direct;                      /* the goroutine's own stack has the address */
};

struct goroutine_deadlocks_input {
	const struct goroutine_facts *goroutines;
	size_t n_goroutines;
	const struct goroutine_wait *waits;
	size_t n_waits;
	const struct goroutine_reference *references;
	size_t n_references;
	/*
	 * Whatever could reach something that is waited for is among the references, as so many searches found, one after the other, all
	 * together: what is reached in one of them is reached. 0: references are those of stacks, or none.
	 *
	 * One search takes as long as reading the memory, and the program goes on meanwhile: of a pointer that is handed on all the time
	 * it sees nothing if it was in a register, or went from what was still to be read to what had been. The confidence is 50 % of
	 * one search, 75 % of two, 90 % of five, 95 % of ten.
	 */
	uint32_t n_searches;
	uint64_t least_nsec;                 /* who has moved since is left out; 0: 5 s */
};

enum goroutine_deadlock_sort { GOROUTINE_CIRCLE, GOROUTINE_UNREACHABLE, GOROUTINE_FOREVER, GOROUTINE_ASLEEP };

struct goroutine_deadlock_member {
	uint64_t id;
	uint64_t object;                     /* it waits for; 0: nothing, or several: the first */
};

struct goroutine_deadlock {
	enum goroutine_deadlock_sort sort;
	uint32_t confidence;                 /* percent */
	bool is_unreachable;                 /* of a circle: that, too */
	uint64_t still_nsec;                 /* the least of all */
	uint64_t n_behind;                   /* others that wait for those of a circle */
	VEC(struct goroutine_deadlock_member) members; /* of a circle each waits for the next one, the last one for the first; else by id */
};

struct goroutine_deadlocks {
	VEC(struct goroutine_deadlock) all;
	uint64_t n_left_out;                 /* goroutines, of more than GOROUTINE_DEADLOCKS_MAX */
};
enum { GOROUTINE_DEADLOCKS_MAX = 256 };

/* Zero-initialise `ret`. 0 or -ENOMEM. */
int goroutine_deadlocks_find(const struct goroutine_deadlocks_input *input, struct goroutine_deadlocks *ret);
void goroutine_deadlocks_deinit(struct goroutine_deadlocks *deadlocks);

/* For people: a line, and one of each member, of at most twenty. */
void goroutine_deadlock_print(const struct goroutine_deadlock *deadlock, FILE *f);
