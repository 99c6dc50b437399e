/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * All goroutines of a process at one moment, or nearly: each is told as it was at some moment while the snapshot was taken,
 * never as a mixture of two. The process goes on meanwhile: each goroutine is read, then its stack, then it again; when it
 * moved in between it is read once more, alone, and if it never stands still it is told as running.
 *
 * runtime/runtime2.go (g, m, sudog), runtime/proc.go (allgs), runtime/traceback.go, of the versions in go_layout.h.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "go_labels.h"
#include "go_stack.h"
#include "go_waits.h"
#include "vec.h"

struct go_process;

/* runtime/runtime2.go: _Gidle and so on, without _Gscan. */
enum go_status {
	GO_IDLE = 0, GO_RUNNABLE = 1, GO_RUNNING = 2, GO_SYSCALL = 3, GO_WAITING = 4, GO_DEAD = 6, GO_COPY_STACK = 8, GO_PREEMPTED = 9,
	GO_LEAKED = 10,                      /* 1.26: waits for what nobody can reach, as the garbage collector found */
	GO_DEAD_EXTRA = 11,                  /* 1.26: for a thread of C that may call Go */
	GO_N_STATUS = 12,
};

enum { GO_WAIT_REASONS_MAX = 128, GO_WAIT_REASON_LENGTH = 64 };

struct go_goroutine {
	uint64_t id, parent_id;              /* 0: not known */
	uint64_t address;                    /* of its g: the same for as long as it lives; used again afterwards */
	uint64_t go_pc, start_pc;            /* of the go statement, behind it; its function */
	uint64_t sp;                         /* of what is waiting: the same as long as nobody moved */
	uint64_t wait_since_nsec;            /* the runtime's nanotime (CLOCK_MONOTONIC), stamped by the garbage collector alone, in syscalls, too; 0: not yet */
	uint64_t channel;                    /* it waits for: address of the hchan; 0: none, or more than one (select) */
	uint64_t label_set;                  /* address of what pprof.Do() set; 0: none */
	uint32_t thread;                     /* that runs it, as its own pid namespace numbers it; 0: none does */
	uint32_t status;                     /* enum go_status */
	uint32_t wait_reason;                /* index into wait_reasons */
	uint32_t verdict;                    /* enum go_stack_verdict; of one that runs: GO_GOROUTINE_RUNNING */
	bool is_locked;                      /* to a thread (runtime.LockOSThread) */
	bool is_system;                      /* one of the runtime's own, which it hides: all but those that do something for the program (finalizers) */
	size_t first_frame, n_frames;        /* of frames: equal stacks share them */
	size_t first_label, n_labels;        /* of labels.all: equal sets share them */
	size_t first_wait, n_waits;          /* of waits.all: what it waits for; a select may wait for several channels */
};
enum { GO_GOROUTINE_RUNNING = 100 };

struct go_goroutines {
	VEC(struct go_goroutine) all;        /* that live, in the order in which they were made */
	VEC(uint64_t) frames;                /* as go_stack.h has them */
	struct go_labels labels;
	struct go_waits waits;
	char wait_reasons[GO_WAIT_REASONS_MAX][GO_WAIT_REASON_LENGTH]; /* read from the process; "" where there is none */
	size_t n_wait_reasons;
	uint64_t n_retried;                  /* torn at first */
	uint64_t n_restless;                 /* moved each time they were looked at: told as running */
	uint64_t n_unread;                   /* could not be read at all; n_seen = all.n + n_unread + the dead */
	uint64_t n_seen, n_dead;
	uint64_t n_unknown_labels;           /* sets of labels that could not be understood: goroutines that are told without */
	uint64_t n_broken;                   /* stacks that do not end in an outermost function */
};

enum {
	GO_GOROUTINES_E_NONE = 1,            /* the runtime has not begun: no goroutine yet */
	GO_GOROUTINES_E_UNKNOWN = 2,         /* what is there are no goroutines as we know them: *why, if asked for */
	GO_GOROUTINES_E_MANY = 3,            /* more than `max` */
};

struct go_goroutines_options {
	size_t max;                          /* goroutines; 0: GO_GOROUTINES_MAX */
	const char **why;                    /* may be NULL; static */
};
#define GO_GOROUTINES_MAX (2U << 20)

/* Zero-initialise `ret`. 0, GO_GOROUTINES_E_*, -errno (-E2BIG: more than go_memory.h allows, or more frames than we keep; -ESRCH, -EIO, -EFAULT: it is gone, or reading is not allowed). */
int go_goroutines_read(struct go_process *process, const struct go_goroutines_options *options, struct go_goroutines *ret);
void go_goroutines_deinit(struct go_goroutines *goroutines);
