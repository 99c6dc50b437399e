/* SPDX-License-Identifier: Apache-2.0 */
#include "programs.h"

#include <stdlib.h>

#include "address_space.h"
#include "binaries.h"
#include "clock.h"
#include "identities.h"

void programs_init(struct programs *programs, struct binaries *binaries, struct perf_maps *perf_maps,
		programs_change_fn change, void *userdata)
{
	*programs = (struct programs){
		.binaries = binaries,
		.perf_maps = perf_maps,
		.change = change,
		.userdata = userdata,
	};
	map_init(&programs->pids, sizeof(uint32_t), sizeof(struct program *));
	for (size_t i = 0; i < N_PROGRAM_LISTS; i++)
		TAILQ_INIT(&programs->lists[i]);
}

void programs_move(struct programs *programs, struct program *program, enum program_list list)
{
	if (program->list != PROGRAM_LIST_NONE) {
		TAILQ_REMOVE(&programs->lists[program->list], program, link);
		programs->n_in_list[program->list]--;
	}
	program->list = list;
	if (list == PROGRAM_LIST_NONE)
		return;
	TAILQ_INSERT_TAIL(&programs->lists[list], program, link);
	programs->n_in_list[list]++;
}

void programs_rest(struct programs *programs, struct program *program)
{
	programs_move(programs, program, program->is_seen && program->has_jit ? PROGRAM_LIST_JIT : PROGRAM_LIST_NONE);
}

struct program *programs_first(const struct programs *programs, enum program_list list)
{
	return TAILQ_FIRST(&programs->lists[list]);
}

static void program_free(struct programs *programs, struct program *program)
{
	programs_move(programs, program, PROGRAM_LIST_NONE);
	address_space_unref(programs->binaries, program->space);
	identity_unref(program->identity);
	binaries_root_unref(programs->binaries, program->root);
	binaries_file_unref(programs->binaries, program->exe);
	perf_maps_forget(programs->perf_maps, &program->perf_map);
	programs->n--;
	free(program);
}

struct program *programs_next(const struct programs *programs, size_t *cursor)
{
	const void *pid;
	void *value;

	return map_next(&programs->pids, cursor, &pid, &value) ? *(struct program **)value : NULL;
}

void programs_deinit(struct programs *programs)
{
	struct program *newest;

	for (size_t cursor = 0; (newest = programs_next(programs, &cursor));)
		for (struct program *program = newest, *older; program; program = older) {
			older = program->older;
			program_free(programs, program);
		}
	map_deinit(&programs->pids);
}

struct program *programs_newest(const struct programs *programs, uint32_t pid)
{
	struct program **found = map_get(&programs->pids, &pid);

	return found ? *found : NULL;
}

struct program *programs_running(const struct programs *programs, uint32_t pid)
{
	struct program *program = programs_newest(programs, pid);

	return program && program->is_alive ? program : NULL;
}

struct program *programs_add(struct programs *programs, uint32_t pid, uint64_t begin_nsec)
{
	struct program *program, *before;
	void *slot;

	if (map_put(&programs->pids, &pid, &slot) < 0)
		return NULL;
	before = *(struct program **)slot;
	program = calloc(1, sizeof(*program));
	if (!program) {
		if (!before)
			map_remove(&programs->pids, &pid);
		return NULL;
	}
	program->id.pid = program->thread = pid;
	program->begin_nsec = begin_nsec;
	program->is_alive = true;
	/* What was lost among the events that are being applied may be a mapping of this one. */
	program->losses = programs->losses;
	perf_map_init(&program->perf_map);
	program->older = before;
	if (before)
		before->newer = program;
	*(struct program **)slot = program;
	programs->n++;
	programs_move(programs, program, PROGRAM_LIST_FRESH);
	return program;
}

void programs_drop(struct programs *programs, struct program *program)
{
	struct program **slot;

	if (program->older)
		program->older->newer = program->newer;
	if (program->newer) {
		program->newer->older = program->older;
	} else if (program->older) {
		slot = map_get(&programs->pids, &program->id.pid);
		*slot = program->older;
	} else {
		map_remove(&programs->pids, &program->id.pid);
	}
	program_free(programs, program);
}

void programs_tell(struct programs *programs, struct program *program, bool is_target)
{
	if (program->is_told == is_target)
		return;
	program->is_told = is_target;
	if (programs->change)
		programs->change(program->id.pid, is_target, programs->userdata);
}

void programs_end(struct programs *programs, struct program *program, uint64_t time_nsec)
{
	program->is_alive = false;
	program->end_nsec = time_nsec;
	programs_move(programs, program, program->is_seen ? PROGRAM_LIST_ENDED_SEEN : PROGRAM_LIST_ENDED_UNSEEN);
}

void programs_end_process(struct programs *programs, struct program *program, uint64_t time_nsec)
{
	programs_tell(programs, program, false);
	programs_end(programs, program, time_nsec);
}

uint64_t program_whole_ticks(uint64_t nsec)
{
	return nsec / NSEC_PER_TICK * NSEC_PER_TICK;
}

void program_set_exec_id(struct program *program, uint32_t exec_id, uint64_t start_nsec)
{
	struct program *older = program->older;

	program->id.exec_id = exec_id;
	program->has_exec_id = true;
	program->is_exec_pending = false;
	program->id.start_nsec = start_nsec;
	if (older && !older->has_exec_id && !older->is_exec_pending &&
	    (!older->id.start_nsec || older->id.start_nsec == start_nsec) && program->is_new_program) {
		older->id.exec_id = exec_id - 1;
		older->has_exec_id = true;
		older->id.start_nsec = start_nsec;
	}
}

struct program *programs_find(struct programs *programs, const struct process_id *id)
{
	uint64_t start = program_whole_ticks(id->start_nsec);
	struct program *unnumbered = NULL;

	for (struct program *program = programs_newest(programs, id->pid); program; program = program->older) {
		if (program->id.start_nsec && program->id.start_nsec != start)
			continue;
		if (program->has_exec_id && program->id.exec_id == id->exec_id)
			return program;
		if (!program->has_exec_id && !program->is_exec_pending && !unnumbered)
			unnumbered = program;
	}
	if (unnumbered)
		program_set_exec_id(unnumbered, id->exec_id, start);
	return unnumbered;
}
