/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What one sampler collected in one window: raw addresses and counts. Written by the sampler alone, then handed over whole.
 */
#include <stdbool.h>
#include <stdint.h>

#include "location.h"
#include "locks.h"
#include "sample.h"
#include "vec.h"

enum { STACKS_LEAF_HALF = SAMPLE_MAX_USER_FRAMES / 2 };

struct stacks_stack {
	uint32_t process;                    /* index into processes */
	uint32_t verdict;                    /* enum sample_verdict */
	uint16_t n_kernel, n_user;
	uint32_t n_elided;                   /* frames left out between the first STACKS_LEAF_HALF of the user and the rest */
	size_t first_frame;                  /* index into frames: n_kernel of the kernel, then n_user, leaf first */
	uint64_t hash;                       /* by which the sampler knows it; 0: waits that were not given a stack; or SAMPLE_STACK_LOST */
	/* Of another's stack without frames: the thread of the kernel that it is, terminated; "": an interrupt. */
	char thread[SAMPLE_COMM_LENGTH];
};

struct stacks_sample {
	uint32_t stack;                      /* index into stacks */
	uint32_t tid;
	uint64_t count;
	uint64_t nsec, longest_nsec;         /* of waits; 0 where it ran, unless wall_add() says what that took */
	struct sample_wait wait;
	uint32_t other;                      /* index into stacks, plus 1, of who woke it, had the lock or had the CPU; 0: not known */
	uint32_t skip;                       /* one in 2^skip such waits was timed */
	bool is_idle;                        /* it waited for work: set by idle_find() once names are known */
	uint64_t labels;                     /* as sample_key: stacks_find_labels() */
	uint64_t goroutine;                  /* that it ran; 0: not known, or not asked for */
	bool is_open;                        /* the last of the waits goes on in the next window */
	bool is_go;                          /* the runtime of Go told it (daemon/go/go_findings.h): neither a wait nor a run of a thread */
	char thread[SAMPLE_COMM_LENGTH];     /* terminated */
};

/* What a wait was about: a file by its path, a socket by its peer. */
struct stacks_object {
	uint64_t object;                     /* as in sample_wait */
	uint32_t device;
	uint32_t kind;                       /* enum sample_object_kind */
	char *name;                          /* its bytes are a stranger's: any but 0 */
};

/* A set of labels that goroutines have. */
struct stacks_labels {
	uint64_t hash;
	uint32_t n;
	struct sample_go_label *at;          /* bytes are a stranger's; sizes are checked */
};

struct stacks {
	VEC(struct process_id) processes;    /* each once */
	VEC(struct stacks_stack) stacks;     /* each once by process, frames and verdict; one without frames has no samples */
	VEC(uint64_t) frames;                /* those of the user may have SAMPLE_INTERRUPTED */
	VEC(struct stacks_sample) samples;
	VEC(struct stacks_object) objects;   /* of waits, those that have a name; sorted as stacks_object() wants them */

	VEC(struct stacks_labels) labels;    /* sorted by hash */

	uint64_t start_wall_nsec;            /* of the window */
	uint64_t duration_nsec;
	uint64_t period_nsec;                /* what one count stands for */
	uint64_t bpf_nsec;                   /* what taking them took in the kernel, which no process is charged with */

	/*
	 * seen = sum of samples[].count - untimed + lost_*, exactly; what wall_add() added does not count. Of waits it is those that
	 * were timed, and they are two where a thread had to wait for a CPU after it was woken.
	 */
	uint64_t seen;
	uint64_t lost_ring;                  /* neither map nor ring had room */
	uint64_t lost_namespace;             /* processes outside our pid namespace */
	uint64_t lost_storage;               /* waits whose beginning could not be remembered */
	uint64_t lost_nsec;                  /* of waits that are among lost_ring and lost_frames */
	uint64_t lost_frames;                /* counted, but the frames never arrived, or were more than we keep */
	uint64_t verdicts[SAMPLE_N_VERDICTS]; /* sum: seen less lost_ring and lost_namespace; of waits: stacks that were taken */

	/* Samples of goroutines that are told without their labels, since these could not be read; with fewer or shorter ones; as `other`. */
	uint64_t labels_unread, labels_cut, labels_left_out;

	/* Of waits. */
	uint64_t n_waits, waited_nsec;       /* timed; sums of samples[].count and .nsec less untimed{,_nsec}, before capture_select() */
	uint64_t untimed, untimed_nsec;      /* what is told for those that were not timed: an estimate (waits.h) */
	double untimed_variance;             /* of untimed_nsec, as estimated: the square of its standard error */
	uint64_t with_stack, with_stack_nsec; /* waits that a stack was taken for, before they were spread (waits.h) */
	uint64_t stack_lost_nsec;            /* of samples whose stack is SAMPLE_STACK_LOST, as they are told */
	uint64_t lost_others;                /* waits that are told without who ended them: its stack was lost */
	uint64_t short_waits, short_nsec;    /* below the least length that is told: not seen */
	struct locks locks;                  /* that were waited for */
	bool has_ran;                        /* wall_add() was here: samples with SAMPLE_RAN are another sampler's */
};

struct stacks *stacks_new(void);
struct stacks *stacks_free(struct stacks *stacks);

/* Of samples[].count, without what wall_add() added and what is estimated. */
uint64_t stacks_kept(const struct stacks *stacks);
/* Of all lost_*, but lost_nsec. */
uint64_t stacks_lost(const struct stacks *stacks);
/* Whether the sample is among `seen`. */
bool stacks_is_counted(const struct stacks *stacks, const struct stacks_sample *sample);

/* Of stacks_sample.labels; NULL: there are none, or (SAMPLE_LABELS_OTHER) they are not told. */
const struct stacks_labels *stacks_find_labels(const struct stacks *stacks, uint64_t hash);

/* Sorts what was added to objects. */
void stacks_sort_objects(struct stacks *stacks);
/* What is known of the object of a wait, by its kind of wait; NULL: nothing. */
const struct stacks_object *stacks_object(const struct stacks *stacks, const struct sample_wait *wait);

/*
 * Why a stack with this verdict (enum sample_verdict) does not reach the start of its thread, in a few words for people;
 * NULL when it does, or when there is none. Static.
 */
const char *stacks_broken_reason(uint32_t verdict);

/* Why a thread waited (enum sample_reason), as the label `reason` of profiles has it. Static. */
const char *stacks_reason(uint32_t reason);

/* What a thread of a snapshot with this reason (enum sample_reason) does, as the label `state` has it: running, runnable, blocked. Static. */
const char *stacks_state(uint32_t reason);
