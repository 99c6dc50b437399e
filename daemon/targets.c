/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sources tell of processes: the ring of bpf/life.bpf.c (fork, exec, exit) and perf's sideband (mappings, names). Both
 * carry CLOCK_MONOTONIC; what has arrived is sorted by it and applied in that order. An exec is seen as
 *
 *	COMM with its exec mark     begins a new program, without mappings
 *	MMAP2, several              its mappings
 *	LIFE_EXEC                   its number (exec_id) and start time
 *
 * Nothing is read from /proc for a process that lives less than settle_nsec and is in no sample. A program that has
 * ended stays until the windows it may be in are written: seen in a sample, until targets_release(); else for a
 * few seconds, since news of a sample may be on its way.
 */
#include "targets.h"

#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address_space.h"
#include "binaries.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "identities.h"
#include "image.h"
#include "life.skel.h"
#include "map.h"
#include "mappings.h"
#include "process.h"
#include "safe_open.h"
#include "sample.h"
#include "sideband.h"
#include "vec.h"

enum {
	/* How often rings that did not fill are read: soon enough to open the files of what lives half a second. */
	READ_INTERVAL_MSEC = 100,
	FOLLOW_CPUS_INTERVAL = 10,           /* reads between two looks at which CPUs there are: 1 s */
	/* 64 processes take about 10 ms to read; 2,000 of them are known after 1 s, and samples are never held up. */
	SCAN_BATCH = 64,
	SCAN_INTERVAL_MSEC = 20,
	/* Programs that ended and were in no sample: 20,000 forks a second fill this in 1.6 s and 6 MB. */
	MAX_ENDED_UNSEEN = 32768,
	/* Seen ones, if nobody ever releases them. */
	MAX_ENDED_SEEN = 65536,
	MAX_IDLE_EVENTS = 4096,              /* room kept for the next ones */
	/* perf maps: what a JIT writes is a few MB. */
	MAX_PERF_MAP = 64 << 20,
};
static const uint64_t settle_nsec = 100 * NSEC_PER_MSEC;
static const uint64_t unseen_nsec = 5 * NSEC_PER_SEC;
/* While life is lost again and again, how often all processes are counted anew: 2,000 take 40 ms. */
static const uint64_t rescan_nsec = 10 * NSEC_PER_SEC;

/* In which list a program is. */
enum program_list { LIST_NONE, LIST_FRESH, LIST_ENDED_UNSEEN, LIST_ENDED_SEEN, N_LISTS };

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
	char comm[PROCESS_COMM_LENGTH];
	uint32_t scan;                       /* number of the scan that met it last */
	uint64_t losses;                     /* of mappings, when they were read last */
	uint64_t begin_nsec, end_nsec;
	struct address_space *space;
	struct identity *identity;           /* NULL: nothing known */
	struct binaries_root *root;
	struct binaries_file *exe;           /* the first file mapped after the exec; NULL: not known */
	struct program *older, *newer;       /* of the same pid */
	enum program_list list;
	TAILQ_ENTRY(program) link;
};
TAILQ_HEAD(program_queue, program);

enum event_kind { EVENT_FORK, EVENT_EXEC, EVENT_EXIT, EVENT_MAPPING, EVENT_COMM, EVENT_COMM_EXEC };

struct event {
	uint64_t time_nsec;
	uint64_t number;                     /* order of arrival, for equal times */
	enum event_kind kind;
	uint32_t pid, tid;
	size_t name;                         /* into names */
	/* Life. */
	uint64_t start_nsec;
	uint32_t exec_id, parent_pid;
	/* Mappings. */
	struct build_id build_id;
	uint64_t start, end, file_offset, device, inode;
};

struct targets {
	sd_event *loop;
	const struct config *config;
	targets_change_fn change;
	void *userdata;
	int proc;

	struct life_bpf *life;
	struct ring_buffer *life_ring;
	struct sideband *sideband;
	sd_event_source *life_source, *read_timer, *scan_timer;
	unsigned int n_reads;

	struct binaries *binaries;
	struct identities *identities;
	struct identity *kernel;
	struct map pids;                     /* pid -> struct program *, the newest */
	struct program_queue lists[N_LISTS];
	size_t n_in_list[N_LISTS];
	size_t n_programs;

	VEC(struct event) events;            /* arrived, not yet applied */
	VEC(char) names;                     /* theirs */
	uint64_t n_events;

	DIR *scan;                           /* of /proc, NULL between two scans */
	uint32_t scan_number;
	uint64_t scan_begin_nsec;
	bool is_scan_wanted;
	bool is_sideband_doubted;            /* an exec came without what the sideband should have told of it */

	uint64_t losses;                     /* of mappings, before the events that are being applied */
	uint64_t lost_life_events, lost_sideband; /* in the kernel; the rest of stats.lost_* is for want of memory here */
	struct targets_stats stats;
};

/* ---- programs ---- */

static void list_remove(struct targets *targets, struct program *program)
{
	if (program->list == LIST_NONE)
		return;
	TAILQ_REMOVE(&targets->lists[program->list], program, link);
	targets->n_in_list[program->list]--;
	program->list = LIST_NONE;
}

static void list_append(struct targets *targets, struct program *program, enum program_list list)
{
	list_remove(targets, program);
	TAILQ_INSERT_TAIL(&targets->lists[list], program, link);
	targets->n_in_list[list]++;
	program->list = list;
}

static struct program *newest(const struct targets *targets, uint32_t pid)
{
	struct program **found = map_get(&targets->pids, &pid);

	return found ? *found : NULL;
}

/* The program that a process runs now. */
static struct program *running(const struct targets *targets, uint32_t pid)
{
	struct program *program = newest(targets, pid);

	return program && program->is_alive ? program : NULL;
}

static void program_free(struct targets *targets, struct program *program)
{
	list_remove(targets, program);
	address_space_unref(targets->binaries, program->space);
	identity_unref(program->identity);
	binaries_root_unref(targets->binaries, program->root);
	binaries_file_unref(targets->binaries, program->exe);
	targets->n_programs--;
	free(program);
}

static void program_drop(struct targets *targets, struct program *program)
{
	struct program **slot;

	if (program->older)
		program->older->newer = program->newer;
	if (program->newer) {
		program->newer->older = program->older;
	} else if (program->older) {
		slot = map_get(&targets->pids, &program->id.pid);
		*slot = program->older;
	} else {
		map_remove(&targets->pids, &program->id.pid);
	}
	program_free(targets, program);
}

static void tell(struct targets *targets, struct program *program, bool is_target)
{
	if (program->is_told == is_target)
		return;
	program->is_told = is_target;
	if (targets->change)
		targets->change(program->id.pid, is_target, targets->userdata);
}

static void program_end(struct targets *targets, struct program *program, uint64_t time_nsec)
{
	program->is_alive = false;
	program->end_nsec = time_nsec;
	list_append(targets, program, program->is_seen ? LIST_ENDED_SEEN : LIST_ENDED_UNSEEN);
}

/* A living program without anything, in front of all others of its pid; those have ended. NULL when out of memory. */
static struct program *program_new(struct targets *targets, uint32_t pid, uint64_t begin_nsec)
{
	struct program *program, *before;
	void *slot;

	if (map_put(&targets->pids, &pid, &slot) < 0)
		return NULL;
	before = *(struct program **)slot;
	program = calloc(1, sizeof(*program));
	if (!program) {
		if (!before)
			map_remove(&targets->pids, &pid);
		return NULL;
	}
	program->id.pid = pid;
	program->begin_nsec = begin_nsec;
	program->is_alive = true;
	/* What was lost among the events that are being applied may be a mapping of this one. */
	program->losses = targets->losses;
	program->older = before;
	if (before)
		before->newer = program;
	*(struct program **)slot = program;
	targets->n_programs++;
	list_append(targets, program, LIST_FRESH);
	return program;
}

static uint64_t whole_ticks(uint64_t nsec)
{
	return nsec / NSEC_PER_TICK * NSEC_PER_TICK;
}

/* Its number, and with it that of the program before, which nobody told. */
static void set_exec_id(struct program *program, uint32_t exec_id, uint64_t start_nsec)
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

/*
 * The program of a sample. One whose number is not known yet, because it was there before us, takes that of the
 * first sample that can only mean it.
 */
static struct program *find_program(struct targets *targets, const struct process_id *id)
{
	uint64_t start = whole_ticks(id->start_nsec);
	struct program *unnumbered = NULL;

	for (struct program *program = newest(targets, id->pid); program; program = program->older) {
		if (program->id.start_nsec && program->id.start_nsec != start)
			continue;
		if (program->has_exec_id && program->id.exec_id == id->exec_id)
			return program;
		if (!program->has_exec_id && !program->is_exec_pending && !unnumbered)
			unnumbered = program;
	}
	if (unnumbered)
		set_exec_id(unnumbered, id->exec_id, start);
	return unnumbered;
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

static int add_mapping(struct targets *targets, struct program *program, const struct mapping *mapping,
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
			.pid = program->is_alive ? program->id.pid : 0,
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
		r = binaries_get(targets->binaries, &query, &range.file);
		if (r < 0)
			return r;
		if (query.is_exe)
			program->exe = binaries_file_ref(range.file);
	}
	return address_space_add_take(targets->binaries, &program->space, &range);
}

struct read_mappings {
	struct targets *targets;
	struct program *program;
	uint64_t time_nsec;
};

static int on_mapping(const struct mapping *mapping, void *userdata)
{
	struct read_mappings *reading = userdata;
	static const struct build_id none;
	int r = add_mapping(reading->targets, reading->program, mapping, &none, reading->time_nsec);

	/* Of too many, those that are there are of use. */
	return r == -E2BIG ? 0 : r;
}

static bool is_process(const struct process_stat *stat, const struct program *program)
{
	return !program->id.start_nsec || stat->start_ticks * NSEC_PER_TICK == program->id.start_nsec;
}

/* Reads what a living process has mapped, over what is known already. Gone is no error. */
static int read_mappings(struct targets *targets, struct program *program)
{
	struct read_mappings reading = { targets, program, clock_monotonic_nsec() };
	int r = 0;

	if (!program->root)
		program->root = binaries_root_of(targets->binaries, program->id.pid);
	if (!program->is_kernel)
		r = mappings_read(targets->proc, program->id.pid, on_mapping, &reading);
	if (r == -ENOMEM)
		return r;
	if (r == 0 || r == MAPPINGS_E_TRUNCATED) {
		program->is_read = true;
		program->losses = targets->stats.lost_mappings;
	}
	return 0;
}

static bool needs_mappings(const struct targets *targets, const struct program *program)
{
	return program->is_alive && (!program->is_read || program->losses != targets->stats.lost_mappings);
}

/* ---- identity ---- */

static void set_identity_take(struct targets *targets, struct program *program, struct identity *identity)
{
	identity_unref(program->identity);
	program->identity = identity;
	program->is_identified = true;
	program->is_outdated = false;
	program->is_new_program = false;
	if (program->is_alive)
		tell(targets, program, identity->in_depth);
}

/* Asks /proc who a living process is. Gone is no error: it stays not identified. */
static int identify(struct targets *targets, struct program *program)
{
	struct identity *identity;
	struct binaries_root *root;
	int r;

	if (program->is_kernel) {
		set_identity_take(targets, program, identity_ref(targets->kernel));
		return 0;
	}
	r = identities_read(targets->identities, program->id.pid, program->comm, &identity);
	if (r)
		return r < 0 && r == -ENOMEM ? r : 0;
	set_identity_take(targets, program, identity);
	/* It may have gone to another mount namespace since its parent. */
	root = binaries_root_of(targets->binaries, program->id.pid);
	if (root) {
		binaries_root_unref(targets->binaries, program->root);
		program->root = root;
	}
	return 0;
}

static const char *program_path(const struct program *program)
{
	return program->exe ? binaries_file_path(program->exe) : NULL;
}

/* The identity of one that is gone: that of its parent, with what we saw of it. */
static int infer(struct targets *targets, struct program *program)
{
	const struct identity *origin = program->identity;
	const char *exe = program_path(program);
	struct identity *identity;
	int r;

	if (origin && !program->is_new_program)
		return 0;
	r = identities_infer(targets->identities, program->id.pid, program->comm, origin, exe, &identity);
	if (r < 0)
		return r;
	set_identity_take(targets, program, identity);
	return 0;
}

/* What there is to know of a living process that is worth it. */
static int look_at(struct targets *targets, struct program *program)
{
	struct process_stat stat;
	int r;

	if (!program->is_alive || (!needs_mappings(targets, program) && program->is_identified))
		return 0;
	/* It may have ended, and its pid be another's, without our having read of it. */
	if (process_read_stat(targets->proc, program->id.pid, &stat) != 0 || !is_process(&stat, program))
		return 0;
	if (needs_mappings(targets, program)) {
		r = read_mappings(targets, program);
		if (r < 0)
			return r;
	}
	return program->is_identified ? 0 : identify(targets, program);
}

/* A process that is there but was not told, or that another of its pid hides. `id` NULL: whichever there is now. */
static int read_process(struct targets *targets, uint32_t pid, const struct process_id *id, struct program **ret)
{
	struct program *program = running(targets, pid);
	struct process_stat stat;
	int r = process_read_stat(targets->proc, pid, &stat);

	if (r)
		return r;
	if (stat.is_zombie || (id && stat.start_ticks * NSEC_PER_TICK != whole_ticks(id->start_nsec)))
		return PROCESS_E_GONE;
	if (program && !id && is_process(&stat, program)) {
		program->scan = targets->scan_number;
		*ret = program;
		return 0;
	}
	if (program) {
		tell(targets, program, false);
		program_end(targets, program, clock_monotonic_nsec());
	}
	program = program_new(targets, pid, clock_monotonic_nsec());
	if (!program)
		return -ENOMEM;
	program->id.start_nsec = stat.start_ticks * NSEC_PER_TICK;
	program->is_kernel = stat.is_kernel_thread;
	program->scan = targets->scan_number;
	memcpy(program->comm, stat.comm, sizeof(program->comm));
	if (id) {
		program->id.exec_id = id->exec_id;
		program->has_exec_id = true;
	}
	/* The first executable mapping need not be the program: its identity reads the link of /proc. */
	r = read_mappings(targets, program);
	if (r >= 0)
		r = identify(targets, program);
	if (r < 0)
		return r;
	list_remove(targets, program);
	*ret = program;
	return 0;
}

/* ---- events ---- */

static void apply_fork(struct targets *targets, const struct event *event)
{
	struct program *parent = running(targets, event->parent_pid), *program = running(targets, event->pid);

	targets->stats.forks++;
	if (!parent && event->parent_pid)
		read_process(targets, event->parent_pid, NULL, &parent);
	if (parent && !parent->has_exec_id && !parent->is_exec_pending) {
		parent->id.exec_id = event->exec_id;
		parent->has_exec_id = true;
	}
	/* A scan was faster. */
	if (program && program->id.start_nsec == event->start_nsec) {
		if (!program->has_exec_id && !program->is_exec_pending)
			set_exec_id(program, event->exec_id, event->start_nsec);
		return;
	}
	/* The end of the one before was lost. */
	if (program) {
		tell(targets, program, false);
		program_end(targets, program, event->time_nsec);
	}
	program = program_new(targets, event->pid, event->time_nsec);
	if (!program) {
		targets->stats.lost_life++;
		return;
	}
	set_exec_id(program, event->exec_id, event->start_nsec);
	snprintf(program->comm, sizeof(program->comm), "%s", targets->names.at + event->name);
	if (!parent)
		return;
	program->is_kernel = parent->is_kernel;
	program->is_read = parent->is_read;
	program->losses = parent->losses;
	program->is_new_program = parent->is_new_program;
	program->is_outdated = parent->is_outdated;
	program->is_followed = parent->is_followed;
	program->space = parent->space ? address_space_ref(parent->space) : NULL;
	program->identity = identity_ref(parent->identity);
	program->root = binaries_root_ref(parent->root);
	program->exe = parent->exe ? binaries_file_ref(parent->exe) : NULL;
	if (program->is_kernel) {
		program->is_identified = true;
		list_remove(targets, program);
	}
}

/* The program that an exec begins in a process: it keeps the place of the one before, and nothing else of it. */
static struct program *begin_program(struct targets *targets, uint32_t pid, uint64_t time_nsec)
{
	struct program *before = running(targets, pid), *program;

	program = program_new(targets, pid, time_nsec);
	if (!program) {
		targets->stats.lost_life++;
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
	program_end(targets, before, time_nsec);
	return program;
}

static void apply_comm(struct targets *targets, const struct event *event)
{
	struct program *program;

	if (event->kind == EVENT_COMM_EXEC) {
		program = begin_program(targets, event->pid, event->time_nsec);
		if (!program)
			return;
		program->is_exec_pending = true;
		program->is_read = true;
	} else {
		program = event->pid == event->tid ? running(targets, event->pid) : NULL;
	}
	if (program)
		snprintf(program->comm, sizeof(program->comm), "%s", targets->names.at + event->name);
}

static void apply_exec(struct targets *targets, const struct event *event)
{
	struct program *program = running(targets, event->pid);

	targets->stats.execs++;
	if (program && !program->is_exec_pending) {
		if (program->has_exec_id && program->id.exec_id == event->exec_id && program->id.start_nsec == event->start_nsec)
			return;
		/* Read from /proc after the exec, whose events came only now. */
		if (!program->has_exec_id && program->begin_nsec > event->time_nsec && program->id.start_nsec == event->start_nsec) {
			set_exec_id(program, event->exec_id, event->start_nsec);
			return;
		}
		program = NULL;
	}
	/* Its COMM was lost, and mappings with it: to be read if somebody asks while it lives. */
	if (!program) {
		targets->is_sideband_doubted = true;
		program = begin_program(targets, event->pid, event->time_nsec);
		if (!program)
			return;
		snprintf(program->comm, sizeof(program->comm), "%s", targets->names.at + event->name);
	}
	set_exec_id(program, event->exec_id, event->start_nsec);
}

static void apply_exit(struct targets *targets, const struct event *event)
{
	struct program *program = running(targets, event->pid);

	targets->stats.exits++;
	if (!program || (program->id.start_nsec && program->id.start_nsec != event->start_nsec))
		return;
	program->id.start_nsec = event->start_nsec;
	tell(targets, program, false);
	program_end(targets, program, event->time_nsec);
}

static void apply_mapping(struct targets *targets, const struct event *event)
{
	struct program *program = running(targets, event->pid);
	struct mapping mapping = {
		.start = event->start,
		.end = event->end,
		.file_offset = event->file_offset,
		.device = event->device,
		.inode = event->inode,
	};
	char *path = targets->names.at + event->name;

	/* Not known yet: who reads it will find the mapping. */
	if (!program)
		return;
	targets->stats.mappings++;
	mapping.kind = mapping_classify(path, &mapping.deleted);
	mapping.path = path;
	if (add_mapping(targets, program, &mapping, &event->build_id, event->time_nsec) == -ENOMEM)
		targets->stats.lost_mappings++;
}

static void apply(struct targets *targets, const struct event *event)
{
	switch (event->kind) {
	case EVENT_FORK:
		apply_fork(targets, event);
		break;
	case EVENT_EXEC:
		apply_exec(targets, event);
		break;
	case EVENT_EXIT:
		apply_exit(targets, event);
		break;
	case EVENT_MAPPING:
		apply_mapping(targets, event);
		break;
	case EVENT_COMM:
	case EVENT_COMM_EXEC:
		apply_comm(targets, event);
		break;
	}
}

static int queue_event(struct targets *targets, struct event *event, const char *name, size_t length)
{
	event->name = targets->names.n;
	event->number = targets->n_events++;
	if (vec_reserve(&targets->names, targets->names.n + length + 1) < 0 || vec_push(&targets->events, *event) < 0)
		return -ENOMEM;
	memcpy(targets->names.at + targets->names.n, name, length);
	targets->names.at[targets->names.n + length] = '\0';
	targets->names.n += length + 1;
	return 0;
}

static int on_life(void *userdata, void *data, size_t size)
{
	static const enum event_kind kinds[] = {
		[LIFE_FORK] = EVENT_FORK, [LIFE_EXEC] = EVENT_EXEC, [LIFE_EXIT] = EVENT_EXIT,
	};
	struct targets *targets = userdata;
	const struct life_event *life = data;
	struct event event = { 0 };

	if (size < sizeof(*life) || life->kind >= ARRAY_SIZE(kinds))
		return 0;
	event.time_nsec = life->time_nsec;
	event.kind = kinds[life->kind];
	event.pid = life->process.pid;
	event.start_nsec = whole_ticks(life->process.start_nsec);
	event.exec_id = life->process.exec_id;
	event.parent_pid = life->parent_pid;
	if (queue_event(targets, &event, life->comm, strnlen(life->comm, sizeof(life->comm))) < 0)
		targets->stats.lost_life++;
	return 0;
}

static void on_sideband(const struct sideband_record *record, void *userdata)
{
	struct targets *targets = userdata;
	struct event event = {
		.time_nsec = record->time_nsec,
		.kind = record->kind == SIDEBAND_MAPPING ? EVENT_MAPPING : record->is_exec ? EVENT_COMM_EXEC : EVENT_COMM,
		.pid = record->pid,
		.tid = record->tid,
		.build_id = record->build_id,
		.start = record->start,
		.end = record->end,
		.file_offset = record->file_offset,
		.device = record->device,
		.inode = record->inode,
	};

	/* Outside our pid namespace, or gone before the kernel could say who it was. */
	if (!record->pid || record->pid == UINT32_MAX)
		return;
	if (queue_event(targets, &event, record->name, strlen(record->name)) < 0)
		targets->stats.lost_mappings++;
}

static int compare_events(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time_nsec != y->time_nsec)
		return x->time_nsec < y->time_nsec ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

/* Keeps the events from `first` on, and their names. */
static void forget_events(struct targets *targets, size_t first)
{
	size_t n_names = 0;

	memmove(targets->events.at, targets->events.at + first, (targets->events.n - first) * sizeof(*targets->events.at));
	targets->events.n -= first;
	if (!targets->events.n) {
		targets->names.n = 0;
		/* After a storm. */
		if (targets->events.n_allocated > MAX_IDLE_EVENTS) {
			vec_deinit(&targets->events);
			vec_deinit(&targets->names);
		}
		return;
	}
	/* Few: what came while the rings were read. Their names move down in the order in which they stand. */
	for (size_t at = 0; at < targets->names.n;) {
		size_t length = strlen(targets->names.at + at) + 1;

		for (size_t i = 0; i < targets->events.n; i++)
			if (targets->events.at[i].name == at) {
				memmove(targets->names.at + n_names, targets->names.at + at, length);
				targets->events.at[i].name = n_names;
				n_names += length;
				break;
			}
		at += length;
	}
	targets->names.n = n_names;
}

static void apply_events(struct targets *targets, uint64_t until_nsec)
{
	size_t n = 0;

	if (!targets->events.n)
		return;
	qsort(targets->events.at, targets->events.n, sizeof(*targets->events.at), compare_events);
	for (; n < targets->events.n && targets->events.at[n].time_nsec <= until_nsec; n++)
		apply(targets, &targets->events.at[n]);
	forget_events(targets, n);
}

/* Losses mean that what we know may be wrong: mappings are read again by whom somebody asks for, processes are counted anew. */
static void count_losses(struct targets *targets)
{
	uint64_t lost = __atomic_load_n(&targets->life->bss->n_lost, __ATOMIC_RELAXED);
	uint64_t lost_sideband = sideband_lost(targets->sideband);

	if (lost > targets->lost_life_events) {
		targets->stats.lost_life += lost - targets->lost_life_events;
		targets->lost_life_events = lost;
		targets->is_scan_wanted = true;
	}
	if (lost_sideband > targets->lost_sideband) {
		targets->stats.lost_mappings += lost_sideband - targets->lost_sideband;
		targets->lost_sideband = lost_sideband;
	}
}

static void read_events(struct targets *targets)
{
	/*
	 * What is stamped before this was in its ring before we look into the first one; of what comes while we look, an
	 * effect could be in a ring yet to be read and its cause in one just left. That waits for the next time.
	 */
	uint64_t now = clock_monotonic_nsec();

	ring_buffer__consume(targets->life_ring);
	sideband_read(targets->sideband, on_sideband, targets);
	count_losses(targets);
	apply_events(targets, now);
	targets->losses = targets->stats.lost_mappings;
}

/* ---- what time brings ---- */

static void forget_unseen(struct targets *targets, uint64_t now)
{
	struct program_queue *queue = &targets->lists[LIST_ENDED_UNSEEN];
	struct program *program;

	while ((program = TAILQ_FIRST(queue)) &&
	       (targets->n_in_list[LIST_ENDED_UNSEEN] > MAX_ENDED_UNSEEN || program->end_nsec + unseen_nsec < now))
		program_drop(targets, program);
	while (targets->n_in_list[LIST_ENDED_SEEN] > MAX_ENDED_SEEN)
		program_drop(targets, TAILQ_FIRST(&targets->lists[LIST_ENDED_SEEN]));
}

/* Those that have lived for a while are worth a look: whose are they, and does the configuration want them? */
static void settle(struct targets *targets, uint64_t now)
{
	struct program_queue *queue = &targets->lists[LIST_FRESH];
	struct program *program;

	for (int n = 0; n < SCAN_BATCH && (program = TAILQ_FIRST(queue)) && program->begin_nsec + settle_nsec <= now; n++) {
		list_remove(targets, program);
		/* A fork is what its parent is, unless a sample makes us look. */
		if (program->identity && !program->is_new_program && program->is_read && !program->is_outdated)
			tell(targets, program, program->identity->in_depth);
		else
			look_at(targets, program);
	}
}

static int on_life_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	read_events(userdata);
	return 0;
}

static void on_sideband_ready(void *userdata)
{
	read_events(userdata);
}

static int rearm(sd_event_source *timer, uint64_t interval_msec)
{
	int r = sd_event_source_set_time_relative(timer, interval_msec * 1000);

	return r < 0 ? r : sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static void follow_cpus(struct targets *targets)
{
	if (targets->is_sideband_doubted)
		sideband_revive(targets->sideband);
	else
		sideband_follow_cpus(targets->sideband);
	targets->is_sideband_doubted = false;
}

static int on_read_timer(sd_event_source *timer, uint64_t usec, void *userdata)
{
	struct targets *targets = userdata;
	uint64_t now;

	read_events(targets);
	now = clock_monotonic_nsec();
	forget_unseen(targets, now);
	settle(targets, now);
	if (++targets->n_reads % FOLLOW_CPUS_INTERVAL == 0)
		follow_cpus(targets);
	if (targets->is_scan_wanted && !targets->scan && targets->scan_begin_nsec + rescan_nsec < now)
		rearm(targets->scan_timer, SCAN_INTERVAL_MSEC);
	return rearm(timer, READ_INTERVAL_MSEC);
}

/* ---- the scan of /proc ---- */

/* Processes that were there before the scan and were not met by it have gone, and nobody told. */
static void end_unmet(struct targets *targets)
{
	VEC(struct program *) unmet = { 0 };
	struct process_stat stat;
	const void *pid;
	void *value;

	for (size_t cursor = 0; map_next(&targets->pids, &cursor, &pid, &value);) {
		struct program *program = *(struct program **)value;

		if (program->is_alive && program->scan != targets->scan_number &&
		    program->begin_nsec < targets->scan_begin_nsec)
			/* For want of memory it stays for the next scan. */
			(void)vec_push(&unmet, program);
	}
	for (size_t i = 0; i < unmet.n; i++) {
		struct program *program = unmet.at[i];

		if (process_read_stat(targets->proc, program->id.pid, &stat) == 0 && is_process(&stat, program))
			continue;
		tell(targets, program, false);
		program_end(targets, program, clock_monotonic_nsec());
	}
	vec_deinit(&unmet);
}

static int begin_scan(struct targets *targets)
{
	int fd = openat(targets->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	targets->scan = fdopendir(fd);
	if (!targets->scan) {
		close_fd(fd);
		return -ENOMEM;
	}
	targets->is_scan_wanted = false;
	targets->scan_number++;
	targets->scan_begin_nsec = clock_monotonic_nsec();
	return 0;
}

/* False at the end. */
static bool scan_next(struct targets *targets)
{
	struct dirent *entry = readdir(targets->scan);
	struct program *program;
	char *end;
	unsigned long pid;

	if (!entry)
		return false;
	pid = strtoul(entry->d_name, &end, 10);
	if (*end || !pid || pid > UINT32_MAX)
		return true;
	if (read_process(targets, pid, NULL, &program) == 0)
		look_at(targets, program);
	return true;
}

static int on_scan_timer(sd_event_source *timer, uint64_t usec, void *userdata)
{
	struct targets *targets = userdata;

	read_events(targets);
	if (!targets->scan && begin_scan(targets) < 0)
		return 0;
	for (int i = 0; i < SCAN_BATCH; i++)
		if (!scan_next(targets)) {
			closedir(targets->scan);
			targets->scan = NULL;
			end_unmet(targets);
			return 0;
		}
	return rearm(timer, SCAN_INTERVAL_MSEC);
}

/* ---- life of the room ---- */

static int open_life(struct targets *targets)
{
	struct stat namespace;
	int r;

	targets->life = life_bpf__open();
	if (!targets->life)
		return -errno;
	/* PROC_PID_INIT_INO, include/linux/proc_ns.h: the first namespace has a fixed inode. */
	if (fstatat(targets->proc, "self/ns/pid", &namespace, 0) == 0 && namespace.st_ino != 0xEFFFFFFCU)
		targets->life->rodata->pid_namespace = namespace.st_ino;
	r = life_bpf__load(targets->life);
	if (r < 0)
		return r;
	targets->life_ring = ring_buffer__new(bpf_map__fd(targets->life->maps.events), on_life, targets, NULL);
	if (!targets->life_ring)
		return -errno;
	r = life_bpf__attach(targets->life);
	if (r < 0)
		return r;
	return sd_event_add_io(targets->loop, &targets->life_source, ring_buffer__epoll_fd(targets->life_ring), EPOLLIN,
			on_life_ready, targets);
}

static int add_timer(struct targets *targets, sd_event_source **timer, uint64_t msec, sd_event_time_handler_t handler)
{
	return sd_event_add_time_relative(targets->loop, timer, CLOCK_MONOTONIC, msec * 1000, 10000, handler, targets);
}

DEFINE_CLEANUP(struct targets, targets_free);

int targets_new(sd_event *loop, const struct config *config, targets_change_fn change, void *userdata,
		struct targets **ret)
{
	_cleanup_(targets_free_p) struct targets *targets = calloc(1, sizeof(*targets));
	int r;

	if (!targets)
		return -ENOMEM;
	targets->loop = sd_event_ref(loop);
	targets->config = config;
	targets->change = change;
	targets->userdata = userdata;
	map_init(&targets->pids, sizeof(uint32_t), sizeof(struct program *));
	for (size_t i = 0; i < N_LISTS; i++)
		TAILQ_INIT(&targets->lists[i]);
	targets->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (targets->proc < 0)
		return -errno;
	r = binaries_new(targets->proc, 0, &targets->binaries);
	if (r >= 0)
		r = identities_new(targets->proc, config, &targets->identities);
	if (r >= 0)
		r = identities_kernel(&targets->kernel);
	/* Before the life of processes: what execs in between has its mappings. */
	if (r >= 0)
		r = sideband_new(loop, on_sideband_ready, targets, &targets->sideband);
	if (r >= 0)
		r = open_life(targets);
	if (r >= 0)
		r = add_timer(targets, &targets->read_timer, READ_INTERVAL_MSEC, on_read_timer);
	/* At once. */
	if (r >= 0)
		r = add_timer(targets, &targets->scan_timer, 0, on_scan_timer);
	if (r < 0)
		return r;
	*ret = TAKE(targets);
	return 0;
}

struct targets *targets_free(struct targets *targets)
{
	const void *pid;
	void *value;

	if (!targets)
		return NULL;
	sd_event_source_disable_unref(targets->life_source);
	sd_event_source_disable_unref(targets->read_timer);
	sd_event_source_disable_unref(targets->scan_timer);
	ring_buffer__free(targets->life_ring);
	life_bpf__destroy(targets->life);
	sideband_free(targets->sideband);
	if (targets->scan)
		closedir(targets->scan);
	for (size_t cursor = 0; map_next(&targets->pids, &cursor, &pid, &value);)
		for (struct program *program = *(struct program **)value, *older; program; program = older) {
			older = program->older;
			program_free(targets, program);
		}
	map_deinit(&targets->pids);
	vec_deinit(&targets->events);
	vec_deinit(&targets->names);
	identity_unref(targets->kernel);
	identities_free(targets->identities);
	binaries_free(targets->binaries);
	close_fd(targets->proc);
	sd_event_unref(targets->loop);
	free(targets);
	return NULL;
}

int targets_set_config(struct targets *targets, const struct config *config)
{
	const void *pid;
	void *value;

	targets->config = config;
	identities_set_config(targets->identities, config);
	/* Matched a few at a time, as at the start. */
	for (size_t cursor = 0; map_next(&targets->pids, &cursor, &pid, &value);) {
		struct program *program = *(struct program **)value;

		if (!program->is_alive || program->is_kernel)
			continue;
		program->is_identified = false;
		program->is_outdated = true;
		list_append(targets, program, LIST_FRESH);
	}
	return 0;
}

void targets_seen(struct targets *targets, const struct process_id *id)
{
	struct program *program = find_program(targets, id);

	if (program && program->is_seen && !needs_mappings(targets, program) &&
	    (!program->is_alive || program->is_identified))
		return;
	/* Its mappings may be waiting: now its files can be opened, in 100 ms it may be gone. */
	read_events(targets);
	program = find_program(targets, id);
	if (!program && read_process(targets, id->pid, id, &program) != 0)
		return;
	program->is_seen = true;
	if (program->is_alive) {
		if (look_at(targets, program) == 0)
			list_remove(targets, program);
	} else {
		list_append(targets, program, LIST_ENDED_SEEN);
	}
}

int targets_follow(struct targets *targets, uint32_t pid)
{
	struct program *program;
	int r;

	read_events(targets);
	program = running(targets, pid);
	if (!program) {
		r = read_process(targets, pid, NULL, &program);
		if (r)
			return r < 0 ? r : TARGETS_E_UNKNOWN;
	}
	program->is_followed = true;
	return 0;
}

int targets_catch_up(struct targets *targets)
{
	read_events(targets);
	return 0;
}

/* ---- images ---- */

static int open_perf_map(struct targets *targets, const struct program *program)
{
	_cleanup_close_ int root = -1;
	char path[64];
	struct stat stat;
	uint32_t pid = program->identity->namespace_pid ? program->identity->namespace_pid : program->id.pid;
	int fd, r;

	if (program->is_alive) {
		snprintf(path, sizeof(path), "%" PRIu32 "/root", program->id.pid);
		root = openat(targets->proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (root < 0 && !program->root)
		return -1;
	snprintf(path, sizeof(path), "tmp/perf-%" PRIu32 ".map", pid);
	fd = safe_open_below(root >= 0 ? root : binaries_root_fd(program->root), path, false, &stat);
	if (fd == -ENOENT)
		return -1;
	/* The owner is the process's or root: /tmp is open to everyone. */
	r = fd < 0 ? fd : 0;
	if (r >= 0 && (!program->identity->has_uid || (stat.st_uid != program->identity->uid && stat.st_uid != 0)))
		r = -EPERM;
	if (r >= 0 && stat.st_size > MAX_PERF_MAP)
		r = -EFBIG;
	if (r < 0) {
		targets->stats.perf_maps_refused++;
		return close_fd(fd);
	}
	return fd;
}

static int copy_mappings(struct targets *targets, const struct program *program, struct image *image, bool *ret_needs_perf_map)
{
	const struct address_space *space = program->space;

	*ret_needs_perf_map = false;
	for (size_t i = 0; space && i < space->ranges.n; i++) {
		const struct address_range *range = &space->ranges.at[i];
		struct image_mapping mapping = {
			.start = range->start,
			.end = range->end,
			.file_offset = range->file_offset,
			.kind = range->kind,
		};

		if (range->file) {
			const struct binaries_query query = {
				.pid = program->is_alive ? program->id.pid : 0,
				.start = range->start,
				.end = range->end,
				.root = program->root,
				.path = binaries_file_path(range->file),
				.time_nsec = program->is_alive ? clock_monotonic_nsec() : program->end_nsec,
			};

			mapping.binary = binaries_file_binary(targets->binaries, range->file, &query);
			if (!mapping.binary)
				return -ENOMEM;
		}
		if (vec_push(&image->mappings, mapping) < 0) {
			binary_unref(mapping.binary);
			return -ENOMEM;
		}
		*ret_needs_perf_map |= range->kind == IMAGE_MAPPING_ANONYMOUS;
	}
	return 0;
}

static int copy_string(const char *from, char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

DEFINE_CLEANUP(struct image, image_free);

int targets_image(struct targets *targets, const struct process_id *id, struct image **ret)
{
	_cleanup_(image_free_p) struct image *image = NULL;
	struct program *program = find_program(targets, id);
	const struct identity *identity;
	bool needs_perf_map;
	int r;

	if (!program)
		return TARGETS_E_UNKNOWN;
	r = look_at(targets, program);
	if (r >= 0 && !program->is_identified)
		r = infer(targets, program);
	if (r < 0)
		return r;
	identity = program->identity;
	image = calloc(1, sizeof(*image));
	if (!image)
		return -ENOMEM;
	image->id = program->id;
	image->perf_map_fd = -1;
	image->in_depth = identity->in_depth;
	image->is_followed = program->is_followed;
	if (copy_string(identity->service, &image->service) < 0 || copy_string(program->comm, &image->comm) < 0 ||
	    copy_string(identity->exe, &image->exe) < 0 || copy_string(identity->cgroup.unit, &image->unit) < 0 ||
	    copy_string(identity->cgroup.container, &image->container) < 0 ||
	    labels_copy(&identity->labels, &image->labels) < 0)
		return -ENOMEM;
	r = copy_mappings(targets, program, image, &needs_perf_map);
	if (r < 0)
		return r;
	if (needs_perf_map && targets->config->jit.perf_map)
		image->perf_map_fd = open_perf_map(targets, program);
	*ret = TAKE(image);
	return 0;
}

void targets_release(struct targets *targets, uint64_t window_end_nsec)
{
	struct program *program = TAILQ_FIRST(&targets->lists[LIST_ENDED_SEEN]), *next;

	for (; program; program = next) {
		next = TAILQ_NEXT(program, link);
		if (program->end_nsec < window_end_nsec)
			program_drop(targets, program);
	}
}

struct targets_stats targets_stats(const struct targets *targets)
{
	struct binaries_stats binaries = binaries_stats(targets->binaries);
	struct targets_stats stats = targets->stats;

	stats.n_processes = targets->n_programs;
	stats.n_binaries = binaries.n_files;
	stats.binaries_unavailable = binaries.unavailable;
	stats.memory_bytes = sideband_memory(targets->sideband) + bpf_map__max_entries(targets->life->maps.events);
	return stats;
}
