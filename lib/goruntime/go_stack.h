/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Walks the stack of a goroutine that does not run, from a copy of it: as the runtime's own traceback does, by how far rsp is
 * below what it was at each function's entry (pcsp). Neither frame pointers nor DWARF are needed.
 *
 * runtime/traceback.go (unwinder.next(), resolveInternal()) of Go 1.18.10, 1.22.12, 1.26.8, 1.27.1.
 */
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct go_process;
struct go_stack;

/* In a frame's address: it is that of the instruction itself, not a return address: ask for its name there, not a byte before. */
#define GO_STACK_EXACT (UINT64_C(1) << 63)

enum go_stack_verdict {
	GO_STACK_COMPLETE,                   /* it ends in a function that the runtime calls outermost */
	GO_STACK_NOT_GO,                     /* an address that is no Go code */
	GO_STACK_SWITCHED,                   /* a function that sets rsp by hand: what is below it is elsewhere */
	GO_STACK_CUT,                        /* more than the copy has */
	GO_STACK_TOO_DEEP,                   /* more than GO_STACK_MAX_FRAMES */
};

enum { GO_STACK_MAX_FRAMES = 4096 };

/* What was learned of one address serves all walks. `process` is borrowed for life. NULL: out of memory. */
struct go_stack *go_stack_new(const struct go_process *process);
struct go_stack *go_stack_free(struct go_stack *stack);

struct go_stack_from {
	uint64_t pc, sp;
	const void *bytes;                   /* of the stack from sp on */
	size_t n_bytes;
};

struct go_stack_frames {
	VEC(uint64_t) at;                    /* innermost first: GO_STACK_EXACT or a return address */
};

/* Appends frames. A verdict, or -ENOMEM. */
int go_stack_walk(struct go_stack *stack, const struct go_stack_from *from, struct go_stack_frames *frames);
