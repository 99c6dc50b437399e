/* SPDX-License-Identifier: Apache-2.0 */
#include "inspector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address_space.h"
#include "binaries.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "identities.h"
#include "process.h"
#include "programs.h"

struct inspector {
	int proc;
	const struct config *config;
	struct programs *programs;
	struct identities *identities;
	struct identity *kernel;
};

DEFINE_CLEANUP(struct inspector, inspector_free);

int inspector_new(int proc, const struct config *config, struct programs *programs, struct inspector **ret)
{
	_cleanup_(inspector_free_p) struct inspector *inspector = calloc(1, sizeof(*inspector));
	int r;

	if (!inspector)
		return -ENOMEM;
	inspector->proc = proc;
	inspector->config = config;
	inspector->programs = programs;
	r = identities_new(proc, config, &inspector->identities);
	if (r >= 0)
		r = identities_kernel(&inspector->kernel);
	if (r < 0)
		return r;
	*ret = TAKE(inspector);
	return 0;
}

struct inspector *inspector_free(struct inspector *inspector)
{
	if (!inspector)
		return NULL;
	identity_unref(inspector->kernel);
	identities_free(inspector->identities);
	free(inspector);
	return NULL;
}

void inspector_set_config(struct inspector *inspector, const struct config *config)
{
	inspector->config = config;
	identities_set_config(inspector->identities, config);
}

/* ---- mappings ---- */

static bool is_file(enum mapping_kind kind, bool is_program)
{
	/* A program in a memfd (runc starts itself like that), or the memory of a JIT? The first is an ELF file. */
	return kind == MAPPING_FILE || (kind == MAPPING_MEMFD && is_program);
}

static int ensure_space(struct program *program)
{
	if (!program->space)
		program->space = address_space_new();
	return program->space ? 0 : -ENOMEM;
}

/* From now on its perf map is looked for, if it is in a sample. */
static void found_jit(struct inspector *inspector, struct program *program)
{
	if (program->has_jit)
		return;
	program->has_jit = true;
	if (program->list == PROGRAM_LIST_NONE)
		programs_rest(inspector->programs, program);
}

int inspector_add_mapping(struct inspector *inspector, struct program *program, const struct mapping *mapping,
		const struct build_id *build_id, uint64_t time_nsec)
{
	struct address_range range = { .start = mapping->start, .end = mapping->end, .kind = IMAGE_MAPPING_ANONYMOUS };
	int r;

	if (mapping->kind == MAPPING_OTHER)
		return 0;
	r = ensure_space(program);
	if (r < 0)
		return r;
	if (mapping->kind == MAPPING_VDSO) {
		range.kind = IMAGE_MAPPING_VDSO;
	} else if (is_file(mapping->kind, build_id->size || (!program->exe && program->is_new_program))) {
		const struct binaries_query query = {
			.pid = program->is_alive ? program->thread : 0,
			.start = mapping->start,
			.end = mapping->end,
			.root = program->root,
			.path = mapping->path,
			.deleted = mapping->deleted,
			.is_exe = !program->exe && program->is_new_program,
			.build_id = *build_id,
			.device = mapping->device,
			.inode = mapping->inode,
			.time_nsec = time_nsec,
		};

		range.kind = IMAGE_MAPPING_FILE;
		range.file_offset = mapping->file_offset;
		r = binaries_get(inspector->programs->binaries, &query, &range.file);
		if (r < 0)
			return r;
		if (query.is_exe)
			program->exe = binaries_file_ref(range.file);
	}
	if (range.kind == IMAGE_MAPPING_ANONYMOUS)
		found_jit(inspector, program);
	return address_space_add_take(inspector->programs->binaries, &program->space, &range);
}

struct read_mappings {
	struct inspector *inspector;
	struct program *program;
	uint64_t time_nsec;
};

static int on_mapping(const struct mapping *mapping, void *userdata)
{
	struct read_mappings *reading = userdata;
	static const struct build_id none;
	int r = inspector_add_mapping(reading->inspector, reading->program, mapping, &none, reading->time_nsec);

	/* Of too many, those that are there are of use. */
	return r == -E2BIG ? 0 : r;
}

static bool is_process(const struct process_stat *stat, const struct program *program)
{
	return !program->id.start_nsec || stat->start_ticks * NSEC_PER_TICK == program->id.start_nsec;
}

/* Reads what a living process has mapped, over what is known already. Gone is no error. */
static int read_mappings(struct inspector *inspector, struct program *program)
{
	struct read_mappings reading = { inspector, program, clock_monotonic_nsec() };
	int r = 0;

	if (!program->root)
		program->root = binaries_root_of(inspector->programs->binaries, program->thread);
	if (!program->is_kernel)
		r = mappings_read(inspector->proc, program->thread, on_mapping, &reading);
	if (r == -ENOMEM)
		return r;
	if (r == 0 || r == MAPPINGS_E_TRUNCATED) {
		program->is_read = true;
		program->losses = inspector->programs->lost_mappings;
	}
	return 0;
}

bool inspector_needs_mappings(const struct inspector *inspector, const struct program *program)
{
	return program->is_alive && (!program->is_read || program->losses != inspector->programs->lost_mappings);
}

/* ---- identity ---- */

static void set_identity_take(struct inspector *inspector, struct program *program, struct identity *identity)
{
	identity_unref(program->identity);
	program->identity = identity;
	program->is_identified = true;
	program->is_outdated = false;
	program->is_new_program = false;
	if (program->is_alive)
		programs_tell(inspector->programs, program, identity->in_depth);
}

/* Asks /proc who a living process is. Gone is no error: it stays not identified. */
static int identify(struct inspector *inspector, struct program *program)
{
	struct identity *identity;
	struct binaries_root *root;
	int r;

	if (program->is_kernel) {
		set_identity_take(inspector, program, identity_ref(inspector->kernel));
		return 0;
	}
	r = identities_read(inspector->identities, program->id.pid, program->thread, program->comm, &identity);
	if (r)
		return r < 0 && r == -ENOMEM ? r : 0;
	set_identity_take(inspector, program, identity);
	/* It may have gone to another mount namespace since its parent. */
	root = binaries_root_of(inspector->programs->binaries, program->thread);
	if (root) {
		binaries_root_unref(inspector->programs->binaries, program->root);
		program->root = root;
	}
	return 0;
}

static const char *program_path(const struct program *program)
{
	return program->exe ? binaries_file_path(program->exe) : NULL;
}

/* The identity of one that is gone: that of its parent, with what we saw of it. */
static int infer(struct inspector *inspector, struct program *program)
{
	const struct identity *origin = program->identity;
	const char *exe = program_path(program);
	struct identity *identity;
	int r;

	if (origin && !program->is_new_program)
		return 0;
	r = identities_infer(inspector->identities, program->id.pid, program->comm, origin, exe, &identity);
	if (r < 0)
		return r;
	set_identity_take(inspector, program, identity);
	return 0;
}

static bool read_stat(const struct inspector *inspector, const struct program *program, struct process_stat *ret)
{
	return process_read_stat(inspector->proc, program->id.pid, ret) == 0 && is_process(ret, program);
}

bool inspector_is_there(const struct inspector *inspector, const struct program *program)
{
	struct process_stat stat;

	return read_stat(inspector, program, &stat);
}

static void find_thread(struct inspector *inspector, struct program *program, const struct process_stat *stat)
{
	program->thread = stat->lost_leader ? process_living_thread(inspector->proc, program->id.pid) : program->id.pid;
}

int inspector_look(struct inspector *inspector, struct program *program)
{
	struct process_stat stat;
	int r;

	if (!program->is_alive || (!inspector_needs_mappings(inspector, program) && program->is_identified))
		return 0;
	/* It may have ended, and its pid be another's, without our having read of it. */
	if (!read_stat(inspector, program, &stat))
		return 0;
	find_thread(inspector, program, &stat);
	if (inspector_needs_mappings(inspector, program)) {
		r = read_mappings(inspector, program);
		if (r < 0)
			return r;
	}
	return program->is_identified ? 0 : identify(inspector, program);
}

int inspector_complete(struct inspector *inspector, struct program *program)
{
	int r = inspector_look(inspector, program);

	return r < 0 || program->is_identified ? r : infer(inspector, program);
}

void inspector_look_for_perf_map(struct inspector *inspector, struct program *program)
{
	const struct identity *identity = program->identity;
	const struct perf_maps_query query = {
		.pid = program->is_alive ? program->id.pid : 0,
		.namespace_pid = identity && identity->namespace_pid ? identity->namespace_pid : program->id.pid,
		.root = binaries_root_fd(program->root),
		.has_uid = identity && identity->has_uid,
		.uid = identity ? identity->uid : 0,
	};

	/* By now a file of that name may be another process's: what was kept while it lived is certain. */
	if (!program->is_alive && program->perf_map.fd >= 0)
		return;
	if (program->has_jit && inspector->config->jit.perf_map)
		perf_maps_look(inspector->programs->perf_maps, &program->perf_map, &query);
}

int inspector_read_process(struct inspector *inspector, uint32_t pid, const struct process_id *id, struct program **ret)
{
	struct program *program = programs_running(inspector->programs, pid);
	struct process_stat stat;
	int r = process_read_stat(inspector->proc, pid, &stat);

	if (r)
		return r;
	if (stat.is_zombie || (id && stat.start_ticks * NSEC_PER_TICK != program_whole_ticks(id->start_nsec)))
		return PROCESS_E_GONE;
	if (program && !id && is_process(&stat, program)) {
		*ret = program;
		return 0;
	}
	if (program)
		programs_end_process(inspector->programs, program, clock_monotonic_nsec());
	program = programs_add(inspector->programs, pid, clock_monotonic_nsec());
	if (!program)
		return -ENOMEM;
	program->id.start_nsec = stat.start_ticks * NSEC_PER_TICK;
	program->is_kernel = stat.is_kernel_thread;
	memcpy(program->comm, stat.comm, sizeof(program->comm));
	if (id) {
		program->id.exec_id = id->exec_id;
		program->has_exec_id = true;
	}
	find_thread(inspector, program, &stat);
	/* The first executable mapping need not be the program: its identity reads the link of /proc. */
	r = read_mappings(inspector, program);
	if (r >= 0)
		r = identify(inspector, program);
	if (r < 0)
		return r;
	programs_rest(inspector->programs, program);
	*ret = program;
	return 0;
}
