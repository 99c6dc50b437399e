/* SPDX-License-Identifier: Apache-2.0 */
#include "go_reader_child.h"

#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "elf_image.h"
#include "go_goroutines.h"
#include "go_process.h"
#include "go_reach.h"
#include "go_reader.h"
#include "go_report.h"
#include "sandbox.h"

/* Read in all: what a g and its stack have, and each of them again. */
#define MAX_BYTES(max_goroutines) ((UINT64_C(256) << 20) + (UINT64_C(16) << 10) * (max_goroutines))
#define MAX_DESCRIPTORS 16
#define URGENT_NICE 5
#define N_SEARCHES 5                         /* 90 % (goroutine_deadlocks.h); fewer where the time is not enough */
#define IDLE_NICE 19                         /* where SCHED_IDLE is not allowed */

struct child {
	struct go_reader_task task;
	struct elf_image *image;
	struct go_binary *binary;
	struct go_memory memory;
	int memory_fd, pagemap_fd;
	struct go_memory pagemap;            /* while who reaches what is searched for */
	struct go_process *process;
	struct go_report report;
	bool is_misread;                     /* the layout of its runtime is not what we take it for: none of the report holds */
	VEC(struct go_reach_region) regions;
	struct go_memory plain;              /* while reads are bounded in time */
	uint64_t reach_end_nsec;             /* CLOCK_MONOTONIC */
};

/* --- refusals -------------------------------------------------------------------------------------------------- */

static bool is_asked(const struct child *child, enum go_report_part part)
{
	return child->task.parts >> part & 1;
}

/* The first one is the one that is told. */
__attribute__((format(printf, 2, 3))) static void refuse(struct child *child, const char *format, ...)
{
	va_list arguments;

	if (child->report.refusal[0])
		return;
	va_start(arguments, format);
	vsnprintf(child->report.refusal, sizeof(child->report.refusal), format, arguments);
	va_end(arguments);
}

/* Told before all else: what else was refused, was by the same layout. */
static void refuse_layout(struct child *child, const char *why)
{
	if (!child->is_misread)
		child->report.refusal[0] = '\0';
	child->is_misread = true;
	refuse(child, "runtime layout of %s not understood: %s", child->report.version, why);
}

/* None of it: the numbers are those of the rooms that would have said it. */
static void refuse_all(struct child *child, bool has_not_begun)
{
	static const int32_t unknown[GO_REPORT_N_PARTS] = {
		[GO_REPORT_GOROUTINES] = GO_GOROUTINES_E_UNKNOWN, [GO_REPORT_MEMORY] = GO_BUCKETS_E_UNKNOWN,
		[GO_REPORT_BLOCK] = GO_BUCKETS_E_UNKNOWN, [GO_REPORT_MUTEX] = GO_BUCKETS_E_UNKNOWN, [GO_REPORT_STATS] = GO_STATS_E_UNKNOWN,
		[GO_REPORT_TALLY] = GO_GOROUTINES_E_UNKNOWN,
		[GO_REPORT_REACH] = GO_REACH_E_UNKNOWN,
	};
	static const int32_t none[GO_REPORT_N_PARTS] = {
		[GO_REPORT_GOROUTINES] = GO_GOROUTINES_E_NONE, [GO_REPORT_MEMORY] = GO_BUCKETS_E_NONE,
		[GO_REPORT_BLOCK] = GO_BUCKETS_E_NONE, [GO_REPORT_MUTEX] = GO_BUCKETS_E_NONE, [GO_REPORT_STATS] = GO_STATS_E_UNKNOWN,
		[GO_REPORT_TALLY] = GO_GOROUTINES_E_NONE,
		[GO_REPORT_REACH] = GO_REACH_E_UNKNOWN,
	};

	for (size_t i = 0; i < GO_REPORT_N_PARTS; i++)
		if (is_asked(child, (enum go_report_part)i))
			child->report.status[i] = has_not_begun ? none[i] : unknown[i];
}

/* --- the program ----------------------------------------------------------------------------------------------- */

/* By how much the kernel moved the program: an executable segment that is in the mapping tells. */
static bool find_bias(const struct child *child, uint64_t *ret)
{
	const struct go_reader_task *task = &child->task;
	const struct elf_segment *segments;
	size_t n;

	segments = elf_image_segments(child->image, &n);
	for (size_t i = 0; i < n; i++) {
		const struct elf_segment *s = &segments[i];

		/* Mapped from the page on in which it begins. */
		if (s->type != PT_LOAD || !(s->flags & PF_X) || s->offset >= task->file_offset + (task->end - task->start) ||
		    s->offset + s->file_size <= task->file_offset)
			continue;
		*ret = task->start - task->file_offset + s->offset - s->address;
		return true;
	}
	return false;
}

/* 0: child->process is there, or report.refusal tells why not; -errno. */
static int open_program(struct child *child)
{
	int r = elf_image_open(GO_READER_PROGRAM_FD, &child->image);

	if (r > 0) {
		refuse(child, r == ELF_IMAGE_E_UNSUPPORTED ? "a program for another processor" : "its file is no executable that we understand");
		refuse_all(child, false);
		return 0;
	}
	if (r == 0)
		r = go_binary_open(child->image, &(struct go_binary_options){ 0 }, &child->binary);
	if (r > 0) {
		refuse(child, r == GO_BINARY_E_VERSION ? "made by a Go before 1.18, or by one that does not say which it is" :
			"its function table is not understood");
		refuse_all(child, false);
		return 0;
	}
	if (r == 0)
		snprintf(child->report.version, sizeof(child->report.version), "%s", go_binary_version_text(child->binary));
	return r;
}

static int open_process(struct child *child)
{
	struct go_process_options options = { .program = child->binary, .memory = &child->memory };
	const char *why = "";
	int r;

	options.why = &why;
	if (!find_bias(child, &options.bias)) {
		refuse(child, "its file is not what is mapped");
		refuse_all(child, false);
		return 0;
	}
	r = go_process_new(&options, &child->process);
	if (r == GO_PROCESS_E_UNKNOWN)
		refuse_layout(child, why);
	else if (r == GO_PROCESS_E_EARLY)
		refuse(child, "its runtime has not begun yet");
	if (r > 0)
		refuse_all(child, r == GO_PROCESS_E_EARLY);
	return r < 0 ? r : 0;
}

/* --- its parts ------------------------------------------------------------------------------------------------- */

static const char *const part_names[GO_REPORT_N_PARTS] = {
	"goroutines", "the memory profile", "the block profile", "the mutex profile", "statistics of the garbage collector",
	"goroutines",
	"who reaches what goroutines wait for",
};

static void has_not(struct child *child, enum go_report_part part, int r)
{
	child->report.status[part] = r;
	if (r == -E2BIG)
		refuse(child, "%s: more memory to be read than is allowed", part_names[part]);
	else if (r < 0)
		refuse(child, "%s: %s", part_names[part], strerror(-r));
}

static void refuse_goroutines(struct child *child, int r, const char *why)
{
	if (r == GO_GOROUTINES_E_NONE)
		refuse(child, "its runtime has not begun yet");
	else if (r == GO_GOROUTINES_E_UNKNOWN)
		refuse_layout(child, why);
	else if (r == GO_GOROUTINES_E_MANY)
		refuse(child, "more than %u goroutines", child->task.max_goroutines);
}

static void read_goroutines(struct child *child)
{
	const char *why = "";
	const struct go_goroutines_options options = { .max = child->task.max_goroutines, .why = &why };
	int r = go_goroutines_read(child->process, &options, &child->report.goroutines);

	refuse_goroutines(child, r, why);
	if (r)
		has_not(child, GO_REPORT_GOROUTINES, r);
	else
		child->report.has |= 1U << GO_REPORT_GOROUTINES;
}

/* A profile that the program does not have is no failure: its status says so. */
static void read_buckets(struct child *child, enum go_report_part part, enum go_buckets_kind kind, struct go_buckets *ret)
{
	int r = go_buckets_read(child->process, kind, ret);

	if (r == GO_BUCKETS_E_UNKNOWN)
		refuse_layout(child, part_names[part]);
	else if (r == GO_BUCKETS_E_RESTLESS)
		refuse(child, "%s: the garbage collector went on with each try", part_names[part]);
	if (r)
		has_not(child, part, r);
	else
		child->report.has |= 1U << part;
}

static void read_stats(struct child *child)
{
	int r = go_stats_read(child->process, &child->report.stats);

	if (r == GO_STATS_E_UNKNOWN)
		refuse_layout(child, part_names[GO_REPORT_STATS]);
	if (r)
		has_not(child, GO_REPORT_STATS, r);
	else
		child->report.has |= 1U << GO_REPORT_STATS;
}

/* The process ended, or is another program: its memory has nothing at all then, which is not the same as a hole in it (fs/proc/base.c mem_rw()). */
static bool is_gone(const struct child *child)
{
	char byte;

	return pread(GO_READER_MEMORY_FD, &byte, 1, (off_t)child->task.start) == 0;
}

/* --- many snapshots -------------------------------------------------------------------------------------------- */

struct tallying {
	uint64_t begun_cpu_nsec, begun_nsec;
	uint64_t told_nsec;                  /* up to where the snapshots that were taken stand for the time */
	uint64_t random;
};

static uint64_t cpu_nsec(void)
{
	return clock_nsec(CLOCK_PROCESS_CPUTIME_ID);
}

/* xorshift: what happens at equal distances must not be met each time, or never. */
static uint64_t random_below(struct tallying *t, uint64_t limit)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return limit ? t->random % limit : 0;
}

/* When what was used is no more than what may be. */
static uint64_t paid_nsec(const struct child *child, const struct tallying *t)
{
	return t->begun_nsec + (cpu_nsec() - t->begun_cpu_nsec) * 1000000 / MAX(child->task.tally_ppm, 1U);
}

/* From half of the period to one and a half; later while more was used than may be. */
static uint64_t next_nsec(const struct child *child, struct tallying *t)
{
	const struct go_reader_task *task = &child->task;
	uint64_t half_nsec = task->tally_period_nsec / 2;
	uint64_t due_nsec = clock_monotonic_nsec() + half_nsec + random_below(t, task->tally_period_nsec);

	return MAX(due_nsec, paid_nsec(child, t) + random_below(t, half_nsec));
}

/* Whether the owner wants it to go on. */
static bool wait_until(uint64_t nsec)
{
	struct pollfd p = { .fd = GO_READER_SOCKET_FD, .events = POLLIN };

	for (;;) {
		uint64_t now_nsec = clock_monotonic_nsec(), left_nsec = nsec - MIN(nsec, now_nsec);
		const struct timespec left = { (time_t)(left_nsec / NSEC_PER_SEC), (long)(left_nsec % NSEC_PER_SEC) };
		int r = ppoll(&p, 1, &left, NULL);

		if (r == 0)
			return true;
		if (r > 0 || errno != EINTR)
			return false;
	}
}

/* 0, or why not: GO_GOROUTINES_E_* or -errno. It stands for the time until it is begun. */
static int add_snapshot(struct child *child, struct tallying *t)
{
	struct go_tally *tally = &child->report.tally;
	struct go_goroutines goroutines = { 0 };
	const char *why = "";
	const struct go_goroutines_options options = { .max = child->task.max_goroutines, .why = &why };
	uint64_t now_nsec = clock_monotonic_nsec();
	int r;

	/* Each may read as much as one that is alone. */
	child->memory.left_bytes = MAX_BYTES(child->task.max_goroutines);
	r = go_goroutines_read(child->process, &options, &goroutines);
	if (r) {
		tally->n_failed++;
		if (!tally->n_snapshots)
			refuse_goroutines(child, r, why);
		return r;
	}
	r = go_tally_add(tally, &goroutines, now_nsec - t->told_nsec);
	t->told_nsec = now_nsec;
	go_goroutines_deinit(&goroutines);
	return r;
}

/* What was on at either end was on. */
static void read_rates_again(struct child *child)
{
	struct go_rates *rates = &child->report.rates, now;

	go_rates_read(child->process, &now);
	for (size_t i = 0; i < GO_N_RATES; i++)
		if (now.of[i].address && now.of[i].value)
			rates->of[i] = now.of[i];
}

static void take_tally(struct child *child)
{
	struct go_report *report = &child->report;
	struct tallying t = { .begun_cpu_nsec = cpu_nsec(), .begun_nsec = clock_monotonic_nsec() };
	uint64_t due_nsec;
	bool goes_on = true;
	int r = 0;

	t.told_nsec = t.begun_nsec;
	t.random = t.begun_nsec | 1;
	go_tally_init(&report->tally);
	due_nsec = t.begun_nsec + random_below(&t, child->task.tally_period_nsec);
	while (goes_on) {
		goes_on = wait_until(due_nsec);
		/* The last one stands for the rest of the time, or, where they are that dear, all of them. */
		if (!goes_on && report->tally.n_snapshots && clock_monotonic_nsec() < paid_nsec(child, &t)) {
			go_tally_stretch(&report->tally, clock_monotonic_nsec() - t.told_nsec);
			break;
		}
		r = add_snapshot(child, &t);
		if (r == -ENOMEM || is_gone(child))
			break;
		due_nsec = next_nsec(child, &t);
	}
	report->tally.cpu_nsec = cpu_nsec() - t.begun_cpu_nsec;
	if (!report->tally.n_snapshots) {
		has_not(child, GO_REPORT_TALLY, r);
		return;
	}
	report->has |= 1U << GO_REPORT_TALLY;
	read_rates_again(child);
}

/* --- who reaches what ------------------------------------------------------------------------------------------ */

/* A search has no end but that of memory: this is how it is told that its time is over. */
static int read_in_time(void *userdata, uint64_t address, void *to, size_t size)
{
	struct child *child = userdata;

	if (clock_monotonic_nsec() >= child->reach_end_nsec) {
		child->memory.left_bytes = 0;
		return -E2BIG;
	}
	return child->plain.read(child->plain.userdata, address, to, size);
}

/* Where nothing but pages that were never touched is met, its time is over, too. */
static int read_pagemap_in_time(void *userdata, uint64_t offset, void *to, size_t size)
{
	struct child *child = userdata;
	const struct go_memory file = go_memory_of_file(&child->pagemap_fd, 0);

	if (clock_monotonic_nsec() >= child->reach_end_nsec) {
		child->memory.left_bytes = 0;
		return -E2BIG;
	}
	return file.read(file.userdata, offset, to, size);
}

static int compare_ways(const void *left, const void *right)
{
	const struct go_reach_way *a = left, *b = right;

	if (a->object != b->object)
		return a->object < b->object ? -1 : 1;
	if (a->goroutine != b->goroutine)
		return a->goroutine < b->goroutine ? -1 : 1;
	return a->is_direct - b->is_direct;
}

/* What one more search found. -E2BIG: more than a report may have. */
static int merge_search(struct go_report_reach *reach, struct go_reach *one)
{
	struct go_reach *all = &reach->all;
	size_t n = 0;

	if (vec_append(&all->ways, one->ways.at, one->ways.n) < 0)
		return -ENOMEM;
	vec_sort(&all->ways, compare_ways);
	for (size_t i = 0; i < all->ways.n; i++)
		if (!n || compare_ways(&all->ways.at[i], &all->ways.at[n - 1]) != 0)
			all->ways.at[n++] = all->ways.at[i];
	all->ways.n = n;
	/* Each search has looked for the same. */
	if (!reach->n_searches && vec_append(&all->objects, one->objects.at, one->objects.n) < 0)
		return -ENOMEM;
	all->n_bytes += one->n_bytes;
	all->n_nodes += one->n_nodes;
	all->n_rounds = MAX(all->n_rounds, one->n_rounds);
	all->is_cut |= one->is_cut;
	reach->n_searches++;
	return n > GO_REPORT_MAX_WAYS || all->objects.n > GO_REPORT_MAX_REACH_OBJECTS ? -E2BIG : 0;
}

/* With goroutines as they are now: one that is new has a stack, too. */
static int search_once(struct child *child, const struct go_reach_options *like, struct go_report_reach *reach)
{
	struct go_goroutines now = { 0 };
	struct go_reach_options options = *like;
	struct go_reach one = { 0 };
	int r = go_goroutines_read(child->process, &(struct go_goroutines_options){ .max = child->task.max_goroutines, .why = like->why }, &now);

	options.goroutines = &now;
	if (!r)
		r = go_reach_find(child->process, &options, &one);
	if (!r)
		r = merge_search(reach, &one);
	go_reach_deinit(&one);
	go_goroutines_deinit(&now);
	return r;
}

static int search_for(struct child *child, const uint64_t *objects, size_t n, const char **why)
{
	const struct go_reach_options options = {
		.objects = objects, .n_objects = n, .regions = child->regions.at, .n_regions = child->regions.n,
		.pagemap = child->task.has_pagemap ? &child->pagemap : NULL, .why = why,
	};
	struct go_report_reach *reach = &child->report.reach;
	uint64_t start_nsec = clock_monotonic_nsec();
	int r = 0;

	/* One that takes as much time as is left would come to nothing. */
	while (!r && reach->n_searches < N_SEARCHES) {
		uint64_t now_nsec = clock_monotonic_nsec();

		if (reach->n_searches && (now_nsec - start_nsec) / reach->n_searches > child->reach_end_nsec - MIN(child->reach_end_nsec, now_nsec))
			break;
		r = search_once(child, &options, reach);
	}
	reach->took_nsec = clock_monotonic_nsec() - start_nsec;
	return r;
}

static int search(struct child *child, const char **why)
{
	VEC(uint64_t) objects = { 0 };
	struct go_goroutines before = { 0 };
	int r = go_goroutines_read(child->process, &(struct go_goroutines_options){ .max = child->task.max_goroutines, .why = why }, &before);

	for (size_t i = 0; i < before.waits.all.n && !r; i++)
		r = vec_push(&objects, before.waits.all.at[i].address);
	go_goroutines_deinit(&before);
	child->plain = child->memory;
	child->reach_end_nsec = clock_monotonic_nsec() + child->task.max_reach_nsec;
	child->memory = (struct go_memory){ .read = read_in_time, .userdata = child, .left_bytes = child->task.max_reach_bytes };
	/* It has 8 bytes for each 4096 of memory. */
	child->pagemap = (struct go_memory){ .read = read_pagemap_in_time, .userdata = child, .left_bytes = child->task.max_reach_bytes };
	if (!r)
		r = search_for(child, objects.at, objects.n, why);
	child->memory = child->plain;
	vec_deinit(&objects);
	return r;
}

static void read_reach(struct child *child)
{
	struct go_report_reach *reach = &child->report.reach;
	const char *why = "";
	int r = 0;

	if (!child->regions.n) {
		refuse(child, "%s: its mappings could not be read, or are too many", part_names[GO_REPORT_REACH]);
		r = -E2BIG;
	}
	if (!r)
		r = search(child, &why);
	/*
	 * What was found until then holds; the search that met the end of its time or bytes is left out, and one that met a heap which
	 * changed under it.
	 */
	if (!r || ((r == -E2BIG || r == GO_REACH_E_UNKNOWN) && reach->n_searches && reach->all.ways.n <= GO_REPORT_MAX_WAYS && reach->all.objects.n <= GO_REPORT_MAX_REACH_OBJECTS)) {
		child->report.has |= 1U << GO_REPORT_REACH;
		return;
	}
	go_reach_deinit(&reach->all);
	*reach = (struct go_report_reach){ 0 };
	if (r == -E2BIG)
		refuse(child, "%s: more than there is time or memory for", part_names[GO_REPORT_REACH]);
	else if (r > 0 && why[0])
		/* A heap that is odd says nothing of what was read without it. */
		refuse(child, "%s: %s", part_names[GO_REPORT_REACH], why);
	has_not(child, GO_REPORT_REACH, r);
}

/* Of a version later than all that we know the layout is a guess, which goroutines prove: they are looked at whatever is asked for. */
static void check_guess(struct child *child)
{
	const char *why = "";
	const struct go_goroutines_options options = { .max = child->task.max_goroutines, .why = &why };
	struct go_goroutines goroutines = { 0 };
	bool is_guess = false;
	int r;

	go_layout_of(go_process_version(child->process), &is_guess);
	if (!is_guess || is_asked(child, GO_REPORT_GOROUTINES) || is_asked(child, GO_REPORT_TALLY))
		return;
	r = go_goroutines_read(child->process, &options, &goroutines);
	go_goroutines_deinit(&goroutines);
	refuse_goroutines(child, r, why);
	if (r < 0)
		refuse(child, "%s: %s", part_names[GO_REPORT_GOROUTINES], strerror(-r));
	child->is_misread |= r != 0;
}

/* What only looked right is not told: each part was read by the same layout, and numbers of statistics may be anything. */
static void drop_all(struct child *child)
{
	struct go_report *report = &child->report;
	struct go_report left = { .asked = report->asked, .taken_nsec = report->taken_nsec, .took_nsec = report->took_nsec };

	memcpy(left.version, report->version, sizeof(left.version));
	memcpy(left.refusal, report->refusal, sizeof(left.refusal));
	go_report_deinit(report);
	*report = left;
	refuse_all(child, false);
}

static void read_parts(struct child *child)
{
	struct go_report *report = &child->report;

	go_rates_read(child->process, &report->rates);
	check_guess(child);
	if (is_asked(child, GO_REPORT_TALLY))
		take_tally(child);
	/* First: who has not moved until goroutines are read waited all the while. */
	if (is_asked(child, GO_REPORT_REACH))
		read_reach(child);
	child->report.taken_nsec = clock_monotonic_nsec();
	if (is_asked(child, GO_REPORT_GOROUTINES))
		read_goroutines(child);
	if (is_asked(child, GO_REPORT_MEMORY))
		read_buckets(child, GO_REPORT_MEMORY, GO_BUCKETS_MEMORY, &report->memory);
	if (is_asked(child, GO_REPORT_BLOCK))
		read_buckets(child, GO_REPORT_BLOCK, GO_BUCKETS_BLOCK, &report->block);
	if (is_asked(child, GO_REPORT_MUTEX))
		read_buckets(child, GO_REPORT_MUTEX, GO_BUCKETS_MUTEX, &report->mutex);
	if (is_asked(child, GO_REPORT_STATS))
		read_stats(child);
	report->cycles_per_second = go_buckets_cycles_per_second(child->process);
	if (child->is_misread)
		drop_all(child);
}

/* 0 and a report, or -errno. */
static int read_process(struct child *child)
{
	int r;

	child->report.asked = child->task.parts;
	r = open_program(child);
	if (r < 0 || child->report.refusal[0])
		return r;
	child->report.taken_nsec = clock_monotonic_nsec();
	r = open_process(child);
	if (r == 0 && child->process)
		read_parts(child);
	child->report.took_nsec = clock_monotonic_nsec() - child->report.taken_nsec;
	/* What was whole before it went is worth something. */
	if (!child->report.has && is_gone(child))
		return -ESRCH;
	return r;
}

/* --- its life -------------------------------------------------------------------------------------------------- */

static void lower_priority(const struct child *child)
{
	if (child->task.is_urgent) {
		setpriority(PRIO_PROCESS, 0, URGENT_NICE);
		return;
	}
	/* A service's filter of system calls may deny either. */
	setpriority(PRIO_PROCESS, 0, IDLE_NICE);
	sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 });
}

static int confine(const struct child *child)
{
	const uint64_t max_memory = GO_READER_MAX_MEMORY(child->task.max_goroutines) + (is_asked(child, GO_REPORT_REACH) ? GO_READER_REACH_MEMORY : 0);
	const struct sandbox_options options = {
		.keep_fd = child->task.has_pagemap ? GO_READER_PAGEMAP_FD : GO_READER_MEMORY_FD,
		.max_memory = max_memory,
		.max_address_space = max_memory + ELF_IMAGE_MAX_SIZE,
		.max_descriptors = MAX_DESCRIPTORS,
	};
	struct sandbox sandbox;

	/* Started through /proc/self/exe: its name would be "exe". */
	prctl(PR_SET_NAME, GO_READER_NAME);
	return sandbox_enter(&options, &sandbox);
}

static int answer(struct child *child, int32_t error)
{
	FILE *out = fdopen(GO_READER_SOCKET_FD, "w");

	if (!out)
		return -errno;
	fwrite(&error, sizeof(error), 1, out);
	if (!error)
		go_report_write(&child->report, out);
	return fclose(out) ? -EIO : 0;
}

static int read_regions(struct child *child)
{
	const size_t size = child->task.n_regions * sizeof(*child->regions.at);

	if (child->task.n_regions > GO_READER_MAX_REGIONS || (size && vec_reserve(&child->regions, child->task.n_regions) < 0))
		return -EINVAL;
	/* It was all there before we began. */
	if (size && recv(GO_READER_SOCKET_FD, child->regions.at, size, MSG_WAITALL) != (ssize_t)size)
		return -EIO;
	child->regions.n = child->task.n_regions;
	return 0;
}

int go_reader_child_run(void)
{
	static struct child child = { .memory_fd = GO_READER_MEMORY_FD, .pagemap_fd = GO_READER_PAGEMAP_FD };
	int r;

	if (read(GO_READER_SOCKET_FD, &child.task, sizeof(child.task)) != (ssize_t)sizeof(child.task) || read_regions(&child) < 0)
		return EXIT_FAILURE;
	lower_priority(&child);
	r = confine(&child);
	if (r < 0)
		return EXIT_FAILURE;
	child.memory = go_memory_of_file(&child.memory_fd, MAX_BYTES(child.task.max_goroutines));
	r = read_process(&child);
	r = answer(&child, r);
	go_report_deinit(&child.report);
	vec_deinit(&child.regions);
	go_process_free(child.process);
	go_binary_free(child.binary);
	elf_image_free(child.image);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
