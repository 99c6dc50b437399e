/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The table of programs. A process runs one program after another (each exec begins one); each stays here until the
 * windows it may be in are written. Also tells which of them are in-depth targets, as they come and go.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "location.h"
#include "map.h"
#include "perf_maps.h"
#include "process.h"

struct address_space;
struct binaries;
struct binaries_file;
struct binaries_root;
struct identity;

/* In which list a program is. */
enum program_list {
	PROGRAM_LIST_NONE,
	PROGRAM_LIST_FRESH,                  /* living, to be looked at when it has lived for a while */
	PROGRAM_LIST_JIT,                    /* living, in a sample, with code that no file has */
	PROGRAM_LIST_ENDED_UNSEEN,
	PROGRAM_LIST_ENDED_SEEN,
	N_PROGRAM_LISTS,
};

/* One program in one process. */
struct program {
	struct process_id id;                /* start_nsec is 0 until it is known */
	bool has_exec_id;
	bool is_exec_pending;                /* begun by COMM; LIFE_EXEC is still to come */
	bool is_alive;                       /* this program, in this process */
	bool is_kernel;
	bool is_seen;                        /* in a sample */
	bool is_read;                        /* its mappings were read or followed from the start: they are all there */
	bool is_identified;                  /* identity is its own, by the present configuration */
	bool is_new_program;                 /* identity is of what ran here before */
	bool is_outdated;                    /* identity is by a configuration before */
	bool is_told;                        /* to `change`, as a target */
	bool is_followed;                    /* targets_follow() named it, or the process it came from */
	bool has_jit;                        /* it has mapped memory without a file to execute */
	uint32_t thread;                     /* that /proc shows its memory by: process_living_thread() */
	char comm[PROCESS_COMM_LENGTH];
	uint32_t scan;                       /* number of the scan that met it last */
	uint64_t losses;                     /* of mappings, when they were read last */
	uint64_t begin_nsec, end_nsec;
	struct address_space *space;
	struct identity *identity;           /* NULL: nothing known */
	struct binaries_root *root;
	struct binaries_file *exe;           /* the first file mapped after the exec; NULL: not known */
	struct perf_map perf_map;
	struct program *older, *newer;       /* of the same pid */
	enum program_list list;
	TAILQ_ENTRY(program) link;
};
TAILQ_HEAD(program_queue, program);

/* As targets_change_fn. */
typedef void (*programs_change_fn)(uint32_t pid, bool is_target, void *userdata);

struct programs {
	struct binaries *binaries;
	struct perf_maps *perf_maps;
	programs_change_fn change;           /* may be NULL */
	void *userdata;
	struct map pids;                     /* pid -> struct program *, the newest */
	struct program_queue lists[N_PROGRAM_LISTS];
	size_t n_in_list[N_PROGRAM_LISTS];
	size_t n;
	uint64_t lost_mappings;              /* so far: what was mapped before must be read again to be complete */
	uint64_t losses;                     /* the same, before the events that are being applied */
};

/* `binaries` and `perf_maps` must live until programs_deinit(). */
void programs_init(struct programs *programs, struct binaries *binaries, struct perf_maps *perf_maps,
		programs_change_fn change, void *userdata);
void programs_deinit(struct programs *programs);

/* The last program of a pid that is here, whether or not it has ended, or NULL. */
struct program *programs_newest(const struct programs *programs, uint32_t pid);
/* The program that a process runs now, or NULL. */
struct program *programs_running(const struct programs *programs, uint32_t pid);
/*
 * The program of a sample, or NULL. One whose number is not known yet, because it was there before us, takes that of
 * the first sample that can only mean it.
 */
struct program *programs_find(struct programs *programs, const struct process_id *id);
/* Walks the newest program of each pid as map_next() does. */
struct program *programs_next(const struct programs *programs, size_t *cursor);

/* A living, fresh program without anything, before all others of its pid; those have ended. NULL when out of memory. */
struct program *programs_add(struct programs *programs, uint32_t pid, uint64_t begin_nsec);
/* Its number, and with it that of the program before, which nobody told. */
void program_set_exec_id(struct program *program, uint32_t exec_id, uint64_t start_nsec);
/* It ended, but may be in a sample. Whether it was a target stays told. */
void programs_end(struct programs *programs, struct program *program, uint64_t time_nsec);
/* The same when it was not an exec that ended it: tells that it is no target any more. */
void programs_end_process(struct programs *programs, struct program *program, uint64_t time_nsec);
void programs_drop(struct programs *programs, struct program *program);

/* Tells whether it is a target, if that is news. */
void programs_tell(struct programs *programs, struct program *program, bool is_target);

/* Puts it at the end of a list and out of the one it is in. */
void programs_move(struct programs *programs, struct program *program, enum program_list list);
/* Where one stays that needs no other attention. */
void programs_rest(struct programs *programs, struct program *program);
/* The first of a list, or NULL. */
struct program *programs_first(const struct programs *programs, enum program_list list);

/* Start times of samples and events are exact, those of /proc are in ticks: compared as these. */
uint64_t program_whole_ticks(uint64_t nsec);
