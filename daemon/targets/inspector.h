/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Finds out about programs: what each has mapped, whose it is, and where its JIT's perf map is. Asks /proc only about
 * those that somebody wants to know of, since a machine may start 20,000 processes a second.
 */
#include <stdbool.h>
#include <stdint.h>

#include "location.h"
#include "mappings.h"

struct config;
struct inspector;
struct program;
struct programs;

/* `proc`, `config` and `programs` must live as long as it; `config` until inspector_set_config(). */
int inspector_new(int proc, const struct config *config, struct programs *programs, struct inspector **ret);
struct inspector *inspector_free(struct inspector *inspector);
/* The programs that are to be matched anew are the caller's to choose. */
void inspector_set_config(struct inspector *inspector, const struct config *config);

/* A program mapped something to execute. 0, -ENOMEM, or -E2BIG when it has mapped too much. */
int inspector_add_mapping(struct inspector *inspector, struct program *program, const struct mapping *mapping,
		const struct build_id *build_id, uint64_t time_nsec);

/* Whether there may be mappings that we do not know of, and a way to learn them. */
bool inspector_needs_mappings(const struct inspector *inspector, const struct program *program);
/* Reads what is to be known of a living process, and is not known yet. Gone is no error. 0 or -ENOMEM. */
int inspector_look(struct inspector *inspector, struct program *program);
/* The same for one that may be gone: what cannot be read is inferred from its parent, so that it has an identity. */
int inspector_complete(struct inspector *inspector, struct program *program);
/* Looks for the perf map of a program, if it has a JIT and the configuration wants perf maps. */
void inspector_look_for_perf_map(struct inspector *inspector, struct program *program);

/*
 * A process that is there but was not told, or that another of its pid hides. `id` NULL: whichever there is now.
 * 0, PROCESS_E_GONE, -errno.
 */
int inspector_read_process(struct inspector *inspector, uint32_t pid, const struct process_id *id,
		struct program **ret);
/* Whether the process of a program is still there: its end may have been lost. */
bool inspector_is_there(const struct inspector *inspector, const struct program *program);
