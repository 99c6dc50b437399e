/* SPDX-License-Identifier: Apache-2.0 */
#include "follower.h"

#include <errno.h>
#include <stdio.h>

#include "address_space.h"
#include "binaries.h"
#include "event_queue.h"
#include "identities.h"
#include "inspector.h"
#include "programs.h"

static void apply_fork(struct follower *follower, const struct event *event)
{
	struct program *parent = programs_running(follower->programs, event->parent_pid);
	struct program *program = programs_running(follower->programs, event->pid);

	follower->forks++;
	if (!parent && event->parent_pid)
		inspector_read_process(follower->inspector, event->parent_pid, NULL, &parent);
	if (parent && !parent->has_exec_id && !parent->is_exec_pending) {
		parent->id.exec_id = event->exec_id;
		parent->has_exec_id = true;
	}
	/* A scan was faster. */
	if (program && program->id.start_nsec == event->start_nsec) {
		if (!program->has_exec_id && !program->is_exec_pending)
			program_set_exec_id(program, event->exec_id, event->start_nsec);
		return;
	}
	/* The end of the one before was lost. */
	if (program)
		programs_end_process(follower->programs, program, event->time_nsec);
	program = programs_add(follower->programs, event->pid, event->time_nsec);
	if (!program) {
		follower->lost_life++;
		return;
	}
	program_set_exec_id(program, event->exec_id, event->start_nsec);
	snprintf(program->comm, sizeof(program->comm), "%s", event->name);
	if (!parent)
		return;
	program->is_kernel = parent->is_kernel;
	program->is_read = parent->is_read;
	program->losses = parent->losses;
	program->is_new_program = parent->is_new_program;
	program->is_outdated = parent->is_outdated;
	program->is_followed = parent->is_followed;
	program->has_jit = parent->has_jit;
	program->space = parent->space ? address_space_ref(parent->space) : NULL;
	program->identity = identity_ref(parent->identity);
	program->root = binaries_root_ref(parent->root);
	program->exe = parent->exe ? binaries_file_ref(parent->exe) : NULL;
	if (program->is_kernel) {
		program->is_identified = true;
		programs_move(follower->programs, program, PROGRAM_LIST_NONE);
	}
}

/* The program that an exec begins in a process: it keeps the place of the one before, and nothing else of it. */
static struct program *begin_program(struct follower *follower, uint32_t pid, uint64_t time_nsec)
{
	struct program *before = programs_running(follower->programs, pid), *program;

	program = programs_add(follower->programs, pid, time_nsec);
	if (!program) {
		follower->lost_life++;
		return NULL;
	}
	program->is_new_program = true;
	if (!before)
		return program;
	program->id.start_nsec = before->id.start_nsec;
	program->has_exec_id = before->has_exec_id;
	program->id.exec_id = before->id.exec_id + 1;
	program->identity = identity_ref(before->identity);
	program->root = binaries_root_ref(before->root);
	program->is_followed = before->is_followed;
	/* Until it is known better, it is what was there before to those who were told. */
	program->is_told = before->is_told;
	before->is_told = false;
	programs_end(follower->programs, before, time_nsec);
	return program;
}

static void apply_comm(struct follower *follower, const struct event *event)
{
	struct program *program;

	if (event->kind == EVENT_COMM_EXEC) {
		program = begin_program(follower, event->pid, event->time_nsec);
		if (!program)
			return;
		program->is_exec_pending = true;
		program->is_read = true;
	} else {
		program = event->pid == event->tid ? programs_running(follower->programs, event->pid) : NULL;
	}
	if (program)
		snprintf(program->comm, sizeof(program->comm), "%s", event->name);
}

static void apply_exec(struct follower *follower, const struct event *event)
{
	struct program *program = programs_running(follower->programs, event->pid);

	follower->execs++;
	if (program && !program->is_exec_pending) {
		bool is_process = program->id.start_nsec == event->start_nsec;

		if (is_process && program->has_exec_id && program->id.exec_id == event->exec_id)
			return;
		/* Read from /proc after the exec, whose events came only now. */
		if (is_process && !program->has_exec_id && program->begin_nsec > event->time_nsec) {
			program_set_exec_id(program, event->exec_id, event->start_nsec);
			return;
		}
		program = NULL;
	}
	/* Its COMM was lost, and mappings with it: to be read if somebody asks while it lives. */
	if (!program) {
		follower->is_sideband_doubted = true;
		program = begin_program(follower, event->pid, event->time_nsec);
		if (!program)
			return;
		snprintf(program->comm, sizeof(program->comm), "%s", event->name);
	}
	program_set_exec_id(program, event->exec_id, event->start_nsec);
}

static void apply_exit(struct follower *follower, const struct event *event)
{
	struct program *program = programs_running(follower->programs, event->pid);

	follower->exits++;
	if (!program || (program->id.start_nsec && program->id.start_nsec != event->start_nsec))
		return;
	program->id.start_nsec = event->start_nsec;
	programs_end_process(follower->programs, program, event->time_nsec);
}

static void apply_mapping(struct follower *follower, const struct event *event)
{
	struct program *program = programs_running(follower->programs, event->pid);
	struct mapping mapping = {
		.start = event->start,
		.end = event->end,
		.file_offset = event->file_offset,
		.device = event->device,
		.inode = event->inode,
	};

	/* Not known yet: who reads it will find the mapping. */
	if (!program)
		return;
	follower->mappings++;
	mapping.kind = mapping_classify(event->name, &mapping.deleted);
	mapping.path = event->name;
	if (inspector_add_mapping(follower->inspector, program, &mapping, &event->build_id, event->time_nsec) == -ENOMEM)
		follower->programs->lost_mappings++;
}

void follower_apply(struct follower *follower, const struct event *event)
{
	switch (event->kind) {
	case EVENT_FORK:
		apply_fork(follower, event);
		break;
	case EVENT_EXEC:
		apply_exec(follower, event);
		break;
	case EVENT_EXIT:
		apply_exit(follower, event);
		break;
	case EVENT_MAPPING:
		apply_mapping(follower, event);
		break;
	case EVENT_COMM:
	case EVENT_COMM_EXEC:
		apply_comm(follower, event);
		break;
	}
}
