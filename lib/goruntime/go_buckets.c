/* SPDX-License-Identifier: Apache-2.0 */
#include "go_buckets.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "cleanup.h"
#include "go_process.h"
#include "gopclntab.h"
#include "map.h"

enum {
	MAX_BUCKETS = 1 << 20,
	MAX_ALL_WORDS = 4 << 20,             /* a large server has some ten thousand buckets of some dozen frames, and 16 for the record */
	MAX_FRAMES = 1024,                   /* of one bucket: runtime/mprof.go maxProfStackDepth, which GODEBUG=profstackdepth sets */
	HEADER_SIZE = 48,                    /* struct bucket: next, allnext, typ, hash, size, nstk */
	MEMORY_CYCLES = 4,                   /* memRecord: active, future[3] */
	MEMORY_COUNTERS = 4,                 /* of each until 1.26: allocs, frees, alloc_bytes, free_bytes; since 1.27 the first two */
	MEMORY_RECORD_WORDS = MEMORY_CYCLES * MEMORY_COUNTERS,
	BLOCK_RECORD_WORDS = 2,              /* blockRecord */
	TRIES = 8,
	MAX_INLINED = 64,
};
static const uint64_t max_cycles_per_second = UINT64_C(1) << 40;

/* In front of a stack whose inlined calls have entries of their own already (runtime/mprof.go logicalStackSentinel). */
static const uint64_t logical_stack_sentinel = UINT64_MAX;

static const struct {
	enum go_variable list, rate;
} variables[] = {
	[GO_BUCKETS_MEMORY] = { GO_MEMORY_BUCKETS, GO_MEMORY_RATE },
	[GO_BUCKETS_BLOCK] = { GO_BLOCK_BUCKETS, GO_BLOCK_RATE },
	[GO_BUCKETS_MUTEX] = { GO_MUTEX_BUCKETS, GO_MUTEX_RATE },
};

/* A bucket as it was read: what it means is found out when the runtime may go on. */
struct raw {
	uint64_t object_size;
	size_t first_word, n_stack;
};

/* The functions that an address is in, innermost first; 0: no Go code. */
struct functions {
	size_t first_name, n;
};

struct reading {
	struct go_process *process;
	struct go_memory *memory;
	struct go_buckets *ret;
	enum go_buckets_kind kind;
	size_t n_counters;                   /* of a cycle in memory */
	uint32_t cycle;
	struct go_memory_pages *pages;
	VEC(struct raw) raw;
	VEC(uint64_t) words;                 /* of all raw: stack, record */
	struct map functions;                /* address -> struct functions */
	VEC(const char *) names;
	bool is_empty;                       /* no record of an allocation has got its numbers: there was no garbage collection */
	VEC(uint64_t) futures;               /* of each bucket, four sums of its three futures */
};

/* --- one bucket ----------------------------------------------------------------------------------------------- */

static int find_functions(struct reading *reading, uint64_t address, struct functions *ret)
{
	const struct functions *known = map_get(&reading->functions, &address);
	struct gopclntab_frame frames[MAX_INLINED];
	const struct gopclntab *functions;
	uint64_t in_file;
	void *value;
	int r = 0;

	if (known) {
		*ret = *known;
		return 0;
	}
	*ret = (struct functions){ .first_name = reading->names.n };
	functions = go_process_functions_at(reading->process, address - 1, &in_file);
	if (functions && gopclntab_lookup(functions, in_file, frames, MAX_INLINED, &ret->n))
		ret->n = 0;
	for (size_t i = 0; i < ret->n && r >= 0; i++)
		r = vec_push(&reading->names, frames[i].name);
	if (r >= 0)
		r = map_put(&reading->functions, &address, &value);
	if (r >= 0)
		*(struct functions *)value = *ret;
	return r < 0 ? r : 0;
}

static bool is_suffix(const struct reading *reading, const struct functions *all, const struct functions *last)
{
	for (size_t i = 0; i < last->n; i++)
		/* The same string: both are in the table's. */
		if (reading->names.at[all->first_name + all->n - last->n + i] != reading->names.at[last->first_name + i])
			return false;
	return true;
}

/*
 * Stacks have an entry for each inlined call since Go 1.21; the last address of an inlined call tells those around it,
 * too, by itself. What it tells already is left out.
 */
static int add_frames(struct reading *reading, const uint64_t *words, size_t n)
{
	struct functions told = { 0 }, functions;
	size_t n_left = 0;

	for (size_t i = 0; i < n; i++) {
		int r = find_functions(reading, words[i], &functions);

		if (r < 0)
			return r;
		if (n_left && functions.n == n_left && is_suffix(reading, &told, &functions)) {
			n_left--;
			continue;
		}
		r = vec_push(&reading->ret->frames, words[i]);
		if (r < 0)
			return r;
		told = functions;
		n_left = functions.n ? functions.n - 1 : 0;
	}
	return 0;
}

static void set_counters(struct go_bucket *bucket, const uint64_t *counters)
{
	bucket->memory.allocs = counters[0];
	bucket->memory.frees = counters[1];
	bucket->memory.alloc_bytes = counters[2];
	bucket->memory.free_bytes = counters[3];
}

/* `object_size`: of all allocations of the bucket. */
static void set_memory(struct reading *reading, const uint64_t *record, uint64_t object_size, struct go_bucket *bucket)
{
	uint64_t sums[MEMORY_COUNTERS] = { 0 }, all[MEMORY_COUNTERS] = { 0 };
	size_t n = reading->n_counters;

	for (size_t i = 0; i < n; i++) {
		sums[i] = record[i] + record[n + n * (reading->cycle % 3) + i];
		for (size_t cycle = 0; cycle < MEMORY_CYCLES; cycle++)
			all[i] += record[n * cycle + i];
	}
	for (size_t i = n; i < MEMORY_COUNTERS; i++) {
		sums[i] = sums[i - n] * object_size;
		all[i] = all[i - n] * object_size;
	}
	set_counters(bucket, sums);
	if (sums[0] || sums[1])
		reading->is_empty = false;
	/* Failing costs those of a process that never collected garbage. */
	(void)vec_append(&reading->futures, all, MEMORY_COUNTERS);
}

/* 0, GO_BUCKETS_E_UNKNOWN, -errno. */
static int read_bucket(struct reading *reading, uint64_t address, uint64_t *ret_next)
{
	uint64_t header[HEADER_SIZE / sizeof(uint64_t)], words[MAX_FRAMES + MEMORY_RECORD_WORDS];
	size_t n_record = reading->kind == GO_BUCKETS_MEMORY ? MEMORY_CYCLES * reading->n_counters : BLOCK_RECORD_WORDS, n;
	int r;

	r = go_memory_read(reading->memory, address, header, sizeof(header));
	if (r < 0)
		return r;
	n = header[5];
	if (header[2] != (uint64_t)reading->kind || !n || n > MAX_FRAMES)
		return GO_BUCKETS_E_UNKNOWN;
	r = go_memory_read(reading->memory, address + HEADER_SIZE, words, (n + n_record) * sizeof(words[0]));
	if (r >= 0)
		r = vec_push(&reading->raw, ((struct raw){ .object_size = header[4], .first_word = reading->words.n, .n_stack = n }));
	if (r >= 0)
		r = vec_append(&reading->words, words, n + n_record);
	*ret_next = header[1];
	return r;
}

static int take_bucket(struct reading *reading, const struct raw *raw)
{
	const uint64_t *stack = &reading->words.at[raw->first_word], *record = stack + raw->n_stack;
	struct go_bucket bucket = { .first_frame = reading->ret->frames.n };
	size_t n = raw->n_stack;
	int r;

	if (stack[0] == logical_stack_sentinel) {
		stack++;
		n--;
	}
	r = add_frames(reading, stack, n);
	if (r < 0)
		return r;
	bucket.n_frames = reading->ret->frames.n - bucket.first_frame;
	if (reading->kind == GO_BUCKETS_MEMORY) {
		set_memory(reading, record, raw->object_size, &bucket);
	} else {
		memcpy(&bucket.block.count, &record[0], sizeof(bucket.block.count));
		bucket.block.cycles = (int64_t)record[1];
	}
	return vec_push(&reading->ret->all, bucket);
}

/* --- all ------------------------------------------------------------------------------------------------------ */

static int read_list(struct reading *reading, uint64_t list)
{
	uint64_t address, met = 0;
	size_t next_met = 1;
	int r;

	reading->raw.n = reading->words.n = 0;
	r = go_memory_u64(reading->memory, list, &address);
	for (size_t i = 0; r >= 0 && address; i++) {
		/* New ones are put in front: a list that comes back to where it was is none (Brent's way of finding circles). */
		if (i >= MAX_BUCKETS || reading->words.n > MAX_ALL_WORDS || address == met)
			return GO_BUCKETS_E_UNKNOWN;
		if (i == next_met) {
			met = address;
			next_met *= 2;
		}
		r = read_bucket(reading, address, &address);
		if (r)
			return r;
	}
	return r;
}

/* One behind the other, as they were made, by 64 KiB: by whole pages. A bucket is linked when it is there: who is met was there before. */
static int walk(struct reading *reading, uint64_t list)
{
	int r;

	go_memory_hold(reading->memory, reading->pages);
	r = read_list(reading, list);
	go_memory_release(reading->memory);
	return r;
}

static int take_buckets(struct reading *reading)
{
	int r = 0;

	reading->is_empty = true;
	for (size_t i = 0; i < reading->raw.n && r >= 0; i++)
		r = take_bucket(reading, &reading->raw.at[i]);
	return r < 0 ? r : 0;
}

/* memProfileInternal(): "absolutely no data, suggesting that a garbage collection has not yet happened". */
static void take_futures(struct reading *reading)
{
	if (!reading->is_empty || reading->futures.n != MEMORY_COUNTERS * reading->ret->all.n)
		return;
	for (size_t i = 0; i < reading->ret->all.n; i++)
		set_counters(&reading->ret->all.at[i], &reading->futures.at[MEMORY_COUNTERS * i]);
}

/*
 * The cycle tells which of the futures is final. mProfCycle has its number times 2 since 1.19, the lowest bit says whether
 * this one has been flushed; it moves with each garbage collection, and then what was read is of two cycles.
 */
static int read_memory(struct reading *reading, uint64_t list)
{
	bool is_118 = go_process_version(reading->process).minor == 18;
	uint64_t variable;
	uint32_t before, after;
	int r;

	if (!go_process_variable(reading->process, GO_MEMORY_CYCLE, &variable))
		return GO_BUCKETS_E_NONE;
	for (unsigned int i = 0; i < TRIES; i++) {
		r = go_memory_u32(reading->memory, variable, &before);
		if (r < 0)
			return r;
		reading->cycle = is_118 ? before : before >> 1;
		r = walk(reading, list);
		if (r)
			return r;
		r = go_memory_u32(reading->memory, variable, &after);
		if (r < 0)
			return r;
		if (after == before)
			return 0;
	}
	return GO_BUCKETS_E_RESTLESS;
}

int go_buckets_read(struct go_process *process, enum go_buckets_kind kind, struct go_buckets *ret)
{
	struct reading reading = { .process = process, .memory = go_process_memory(process), .ret = ret, .kind = kind,
		.n_counters = go_process_version(process).minor < 27 ? MEMORY_COUNTERS : 2 };
	uint64_t list, rate;
	int r;

	if (!go_process_variable(process, variables[kind].list, &list) || !go_process_variable(process, variables[kind].rate, &rate))
		return GO_BUCKETS_E_NONE;
	reading.pages = go_memory_pages_new();
	if (!reading.pages)
		return -ENOMEM;
	map_init(&reading.functions, sizeof(uint64_t), sizeof(struct functions));
	r = go_memory_u64(reading.memory, rate, &ret->rate);
	if (r >= 0)
		r = kind == GO_BUCKETS_MEMORY ? read_memory(&reading, list) : walk(&reading, list);
	if (r == 0)
		r = take_buckets(&reading);
	if (r == 0)
		take_futures(&reading);
	go_memory_pages_free(reading.pages);
	map_deinit(&reading.functions);
	vec_deinit(&reading.names);
	vec_deinit(&reading.raw);
	vec_deinit(&reading.words);
	vec_deinit(&reading.futures);
	if (r)
		go_buckets_deinit(ret);
	return r;
}

double go_buckets_cycles_per_second(struct go_process *process)
{
	uint64_t variable, value;

	if (!go_process_variable(process, GO_TICKS, &variable) ||
	    go_memory_u64(go_process_memory(process), variable + go_process_layout(process)->ticks_value, &value) < 0 || value > max_cycles_per_second)
		return 0;
	return (double)value;
}

void go_buckets_deinit(struct go_buckets *buckets)
{
	vec_deinit(&buckets->all);
	vec_deinit(&buckets->frames);
}

void go_buckets_scale(uint64_t rate, int64_t *count, int64_t *size)
{
	double average, scale;

	if (!*count || !*size) {
		*count = *size = 0;
		return;
	}
	if (rate <= 1)
		return;
	average = (double)*size / (double)*count;
	scale = 1 / (1 - exp(-average / (double)rate));
	*count = (int64_t)((double)*count * scale);
	*size = (int64_t)((double)*size * scale);
}
