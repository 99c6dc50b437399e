/* SPDX-License-Identifier: Apache-2.0 */
#include "stacks_builder.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "stacks.h"
#include "vec.h"

struct stack_key {
	uint64_t hash;
	uint64_t process;       /* index */
};

struct loose_key {
	uint32_t stack;         /* index */
	uint32_t tid;
	struct sample_wait wait;
	uint64_t labels, goroutine;
};

struct stacks_builder {
	struct stacks_limits limits;
	struct stacks *stacks;
	struct map processes;   /* struct process_id -> uint32_t index */
	struct map by_hash;     /* struct stack_key -> uint32_t index */
	struct map loose;       /* struct loose_key -> uint32_t index: samples of which more may come */
	struct map labels;      /* hash: those that are in stacks->labels */
	struct map others;      /* sample_key.other -> uint32_t index of a stack */
	VEC(uint64_t) other_of; /* of each sample: sample_key.other; its stack may come later */
};

static const uint32_t no_frames = UINT32_MAX; /* as verdict of a stack whose frames did not come yet */

struct stacks_builder *stacks_builder_free(struct stacks_builder *builder)
{
	if (!builder)
		return NULL;
	stacks_free(builder->stacks);
	map_deinit(&builder->processes);
	map_deinit(&builder->by_hash);
	map_deinit(&builder->loose);
	map_deinit(&builder->labels);
	map_deinit(&builder->others);
	vec_deinit(&builder->other_of);
	free(builder);
	return NULL;
}

int stacks_builder_new(const struct stacks_limits *limits, struct stacks_builder **ret)
{
	_cleanup_(stacks_builder_free_p) struct stacks_builder *builder = NULL;

	builder = calloc(1, sizeof(*builder));
	if (!builder)
		return -ENOMEM;
	builder->limits = *limits;
	map_init(&builder->processes, sizeof(struct process_id), sizeof(uint32_t));
	map_init(&builder->by_hash, sizeof(struct stack_key), sizeof(uint32_t));
	map_init(&builder->loose, sizeof(struct loose_key), sizeof(uint32_t));
	map_init(&builder->labels, sizeof(uint64_t), 0);
	map_init(&builder->others, sizeof(uint64_t), sizeof(uint32_t));
	builder->stacks = stacks_new();
	if (!builder->stacks)
		return -ENOMEM;
	*ret = TAKE(builder);
	return 0;
}

/* 1 when it is new, 0, -ENOMEM. */
static int find_process(struct stacks_builder *builder, const struct sample_process *process, uint32_t *ret)
{
	struct stacks *stacks = builder->stacks;
	struct process_id id = {
		.pid = process->pid,
		.exec_id = process->exec_id,
		.start_nsec = process->start_nsec / NSEC_PER_TICK * NSEC_PER_TICK,
	};
	void *value;
	int r;

	r = map_put(&builder->processes, &id, &value);
	if (r < 0)
		return r;
	if (r > 0) {
		if (vec_push(&stacks->processes, id) < 0) {
			map_remove(&builder->processes, &id);
			return -ENOMEM;
		}
		*(uint32_t *)value = (uint32_t)(stacks->processes.n - 1);
	}
	*ret = *(uint32_t *)value;
	return r;
}

/* 0, -ENOMEM, -ENOSPC. */
static int find_stack(struct stacks_builder *builder, uint64_t hash, uint32_t process, uint32_t *ret)
{
	const struct stack_key key = { .hash = hash, .process = process };
	struct stacks *stacks = builder->stacks;
	uint32_t *index = map_get(&builder->by_hash, &key);
	void *value;
	int r;

	if (index) {
		*ret = *index;
		return 0;
	}
	if (stacks->stacks.n >= builder->limits.n_stacks)
		return -ENOSPC;
	r = map_put(&builder->by_hash, &key, &value);
	if (r < 0)
		return r;
	r = vec_push(&stacks->stacks, ((struct stacks_stack){ .process = process, .hash = hash,
			.verdict = hash && hash != SAMPLE_STACK_LOST ? no_frames : SAMPLE_VERDICT_KERNEL }));
	if (r < 0) {
		map_remove(&builder->by_hash, &key);
		return r;
	}
	*ret = *(uint32_t *)value = (uint32_t)(stacks->stacks.n - 1);
	return 0;
}

static int take_frames(struct stacks_builder *builder, struct stacks_stack *stack, const struct sample_stack *header,
		const uint64_t *frames)
{
	struct stacks *stacks = builder->stacks;
	size_t n = (size_t)header->n_kernel + header->n_user, first = stacks->frames.n;
	size_t n_root = header->n_elided ? SAMPLE_MAX_USER_FRAMES - STACKS_LEAF_HALF : 0;
	/* Where the half next to the root begins: it was written round and round. */
	size_t begin = n_root ? header->n_elided % n_root : 0;
	const uint64_t *root = frames + n - n_root;
	int r;

	if (n > builder->limits.n_frames - first)
		return -ENOSPC;
	r = vec_reserve(&stacks->frames, first + n);
	if (r < 0)
		return r;
	vec_append(&stacks->frames, frames, n - n_root);
	vec_append(&stacks->frames, root + begin, n_root - begin);
	vec_append(&stacks->frames, root, begin);
	stack->first_frame = first;
	stack->n_kernel = header->n_kernel;
	stack->n_user = header->n_user;
	stack->n_elided = header->n_elided;
	stack->verdict = header->verdict;
	return 0;
}

/* Of a stack of another window, whose frames are in order. */
static int copy_frames(struct stacks_builder *builder, const struct stacks_stack *from, const struct stacks *of, struct stacks_stack *to)
{
	struct stacks *stacks = builder->stacks;
	size_t n = (size_t)from->n_kernel + from->n_user, first = stacks->frames.n;
	int r;

	if (n > builder->limits.n_frames - first)
		return -ENOSPC;
	r = vec_reserve(&stacks->frames, first + n);
	if (r < 0)
		return r;
	vec_append(&stacks->frames, of->frames.at + from->first_frame, n);
	to->first_frame = first;
	to->n_kernel = from->n_kernel;
	to->n_user = from->n_user;
	to->n_elided = from->n_elided;
	to->verdict = from->verdict;
	return 0;
}

static int push_sample(struct stacks_builder *builder, const struct stacks_sample *sample, uint64_t other, const char *thread)
{
	struct stacks_sample named = *sample;
	int r;

	if (builder->stacks->samples.n >= builder->limits.n_samples)
		return -ENOSPC;
	memcpy(named.thread, thread, SAMPLE_COMM_LENGTH - 1);
	r = vec_reserve(&builder->stacks->samples, builder->stacks->samples.n + 1);
	if (r >= 0)
		r = vec_push(&builder->other_of, other);
	return r < 0 ? r : vec_push(&builder->stacks->samples, named);
}

static int add_loose(struct stacks_builder *builder, uint32_t stack, const struct sample_stack *header)
{
	const struct loose_key key = { .stack = stack, .tid = header->key.tid, .wait = header->key.wait,
		.labels = header->key.labels, .goroutine = header->key.goroutine };
	const struct stacks_sample sample = { .stack = stack, .tid = header->key.tid, .count = header->loose, .nsec = header->loose_nsec,
		.longest_nsec = header->loose_nsec, .wait = header->key.wait, .labels = header->key.labels, .goroutine = header->key.goroutine };
	uint32_t *index = map_get(&builder->loose, &key);
	void *value;
	int r;

	if (index) {
		struct stacks_sample *before = &builder->stacks->samples.at[*index];

		before->count += header->loose;
		before->nsec += header->loose_nsec;
		before->longest_nsec = MAX(before->longest_nsec, header->loose_nsec);
		return 0;
	}
	r = push_sample(builder, &sample, 0, header->thread);
	if (r < 0)
		return r;
	/* Failing here costs a second sample of the same stack and thread, which is still right. */
	if (map_put(&builder->loose, &key, &value) >= 0)
		*(uint32_t *)value = (uint32_t)(builder->stacks->samples.n - 1);
	return 0;
}

/* Not remembered: who ended those waits is lost, which is counted when the builder finishes. */
static void add_other(struct stacks_builder *builder, uint32_t index, const struct sample_stack *header)
{
	struct stacks_stack *stack = &builder->stacks->stacks.at[index];
	void *value;

	if (map_put(&builder->others, &header->key.other, &value) < 0)
		return;
	*(uint32_t *)value = index;
	if (stack->verdict != no_frames || header->n_kernel + header->n_user)
		return;
	stack->verdict = SAMPLE_VERDICT_KERNEL;
	memcpy(stack->thread, header->thread, sizeof(stack->thread) - 1);
}

static bool is_well_formed(const struct sample_stack *header, size_t size)
{
	size_t n_frames = (size_t)header->n_kernel + header->n_user;

	if (size != sizeof(*header) + n_frames * sizeof(uint64_t) || header->n_kernel > SAMPLE_MAX_KERNEL_FRAMES ||
			header->n_user > SAMPLE_MAX_USER_FRAMES || header->verdict >= SAMPLE_N_VERDICTS ||
			header->n_elided > SAMPLE_MAX_DEPTH - SAMPLE_MAX_USER_FRAMES)
		return false;
	/* A record without frames speaks of those sent before. */
	return !header->n_elided || !n_frames || header->n_user == SAMPLE_MAX_USER_FRAMES;
}

int stacks_builder_add_record(struct stacks_builder *builder, const void *record, size_t size,
		const struct process_id **ret_process)
{
	struct stacks *stacks = builder->stacks;
	struct sample_stack header;
	uint32_t process, stack;
	size_t n_frames;
	int r, is_new;

	if (size < sizeof(header))
		return -EBADMSG;
	memcpy(&header, record, sizeof(header));
	if (!is_well_formed(&header, size))
		return -EBADMSG;
	n_frames = (size_t)header.n_kernel + header.n_user;
	is_new = r = find_process(builder, &header.key.process, &process);
	if (r < 0)
		goto lost;
	r = find_stack(builder, header.key.stack, process, &stack);
	if (r < 0)
		goto lost;
	/* No room for frames: the samples count as lost when the builder finishes. */
	if (n_frames && stacks->stacks.at[stack].verdict == no_frames)
		(void)take_frames(builder, &stacks->stacks.at[stack], &header,
				(const void *)((const char *)record + sizeof(header)));
	if (header.key.other)
		add_other(builder, stack, &header);
	if (header.loose) {
		r = add_loose(builder, stack, &header);
		if (r < 0)
			goto lost;
	}
	goto done;

lost:
	stacks->lost_frames += header.loose;
	stacks->lost_nsec += header.loose_nsec;
	if (is_new < 0)
		return 0;
done:
	if (!is_new)
		return 0;
	*ret_process = &stacks->processes.at[process];
	return STACKS_BUILDER_NEW_PROCESS;
}

static bool labels_are_well_formed(const struct sample_go_labels *header, const struct sample_go_label *labels, size_t size)
{
	size_t begin = offsetof(struct sample_go_labels, at);

	if (header->n > SAMPLE_MAX_LABELS || size != begin + header->n * sizeof(*labels))
		return false;
	for (size_t i = 0; i < header->n; i++)
		if (labels[i].key_size > SAMPLE_LABEL_KEY || labels[i].value_size > SAMPLE_LABEL_VALUE)
			return false;
	return true;
}

int stacks_builder_add_labels(struct stacks_builder *builder, const void *record, size_t size)
{
	const struct sample_go_labels *header = record;
	struct stacks_labels labels;
	void *value;
	int r;

	if (size < offsetof(struct sample_go_labels, at) || !labels_are_well_formed(header, header->at, size))
		return -EBADMSG;
	labels = (struct stacks_labels){ .hash = header->key.labels, .n = header->n };
	r = map_put(&builder->labels, &labels.hash, &value);
	if (r <= 0) /* out of memory; or another process has the same */
		return r;
	labels.at = reallocarray(NULL, labels.n + 1, sizeof(*labels.at));
	if (labels.at)
		memcpy(labels.at, header->at, labels.n * sizeof(*labels.at));
	if (labels.at && vec_push(&builder->stacks->labels, labels) >= 0)
		return 0;
	free(labels.at);
	map_remove(&builder->labels, &labels.hash);
	return -ENOMEM;
}

void stacks_builder_add_entry(struct stacks_builder *builder, const struct sample_key *key,
		const struct sample_value *value)
{
	struct stacks *stacks = builder->stacks;
	struct stacks_sample sample = { .tid = key->tid, .count = value->count, .nsec = value->nsec, .longest_nsec = value->longest_nsec,
		.wait = key->wait, .skip = key->skip, .labels = key->labels, .goroutine = key->goroutine, .is_open = value->is_open };
	uint32_t process, stack, *index;
	struct stacks_sample *before;

	if (!key->tid)
		return;
	if (find_process(builder, &key->process, &process) < 0 || find_stack(builder, key->stack, process, &stack) < 0) {
		stacks->lost_frames += value->count;
		stacks->lost_nsec += value->nsec;
		return;
	}
	sample.stack = stack;
	index = map_get(&builder->loose, &(struct loose_key){ .stack = stack, .tid = key->tid, .wait = key->wait, .labels = key->labels,
		.goroutine = key->goroutine });
	if (!index) {
		if (push_sample(builder, &sample, key->other, value->thread) < 0) {
			stacks->lost_frames += value->count;
			stacks->lost_nsec += value->nsec;
		}
		return;
	}
	before = &stacks->samples.at[*index];
	before->count += sample.count;
	before->nsec += sample.nsec;
	before->longest_nsec = MAX(before->longest_nsec, sample.longest_nsec);
	before->is_open |= sample.is_open;
}

void stacks_builder_carry(struct stacks_builder *builder, const struct stacks *before)
{
	struct stacks *stacks = builder->stacks;

	for (size_t i = 0; i < before->samples.n; i++) {
		const struct stacks_stack *from = &before->stacks.at[before->samples.at[i].stack];
		const struct process_id *id = &before->processes.at[from->process];
		const struct sample_process process = { .pid = id->pid, .exec_id = id->exec_id, .start_nsec = id->start_nsec };
		uint32_t number, stack;

		if (!before->samples.at[i].is_open || !from->hash || find_process(builder, &process, &number) < 0 ||
		    find_stack(builder, from->hash, number, &stack) < 0 || stacks->stacks.at[stack].verdict != no_frames)
			continue;
		if (copy_frames(builder, from, before, &stacks->stacks.at[stack]) < 0)
			continue; /* counted as lost when the builder finishes */
	}
}

/* The stack that stands for interrupts: -1 when there is no room for it. */
static int64_t find_interrupt(struct stacks_builder *builder, uint32_t process)
{
	struct stacks *stacks = builder->stacks;
	const uint64_t key = SAMPLE_OTHER_INTERRUPT;
	void *value;
	int r;

	r = map_put(&builder->others, &key, &value);
	if (r < 0)
		return -1;
	if (r > 0) {
		if (vec_push(&stacks->stacks, ((struct stacks_stack){ .process = process, .verdict = SAMPLE_VERDICT_KERNEL })) < 0) {
			map_remove(&builder->others, &key);
			return -1;
		}
		*(uint32_t *)value = (uint32_t)(stacks->stacks.n - 1);
	}
	return *(uint32_t *)value;
}

/* -1: its frames did not come. */
static int64_t find_other(struct stacks_builder *builder, uint64_t other, uint32_t process)
{
	const uint32_t *index;

	if (other == SAMPLE_OTHER_INTERRUPT)
		return find_interrupt(builder, process);
	index = map_get(&builder->others, &other);
	return index && builder->stacks->stacks.at[*index].verdict != no_frames ? (int64_t)*index : -1;
}

static void resolve_others(struct stacks_builder *builder)
{
	struct stacks *stacks = builder->stacks;

	for (size_t i = 0; i < stacks->samples.n; i++) {
		struct stacks_sample *sample = &stacks->samples.at[i];
		int64_t other;

		if (!builder->other_of.at[i])
			continue;
		other = find_other(builder, builder->other_of.at[i], stacks->stacks.at[sample->stack].process);
		sample->other = (uint32_t)(other + 1);
		if (other < 0)
			stacks->lost_others += sample->count;
	}
}

/*
 * Drops the samples of stacks whose frames never came; such a stack stays, without frames and samples. A wait is told all the
 * same, with a stack that was lost: how long it was and why is known.
 */
static void drop_incomplete(struct stacks_builder *builder, struct stacks *stacks)
{
	size_t n_kept = 0;

	for (size_t i = 0; i < stacks->samples.n; i++) {
		struct stacks_sample sample = stacks->samples.at[i];

		if (stacks->stacks.at[sample.stack].verdict == no_frames && sample.wait.reason != SAMPLE_RAN)
			(void)find_stack(builder, SAMPLE_STACK_LOST, stacks->stacks.at[sample.stack].process, &sample.stack);
		if (stacks->stacks.at[sample.stack].verdict != no_frames) {
			stacks->samples.at[n_kept++] = sample;
			continue;
		}
		stacks->lost_frames += sample.count;
		stacks->lost_nsec += sample.nsec;
	}
	stacks->samples.n = n_kept;
	for (size_t i = 0; i < stacks->stacks.n; i++)
		if (stacks->stacks.at[i].verdict == no_frames)
			stacks->stacks.at[i].verdict = SAMPLE_VERDICT_UNREADABLE;
}

static int compare_labels(const void *a, const void *b)
{
	const struct stacks_labels *x = a, *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

/* Labels that never came: who announced them found no room, and another CPU relied on it. */
static void resolve_labels(struct stacks *stacks)
{
	vec_sort(&stacks->labels, compare_labels);
	for (size_t i = 0; i < stacks->samples.n; i++) {
		struct stacks_sample *sample = &stacks->samples.at[i];

		if (sample->labels <= SAMPLE_LABELS_OTHER || stacks_find_labels(stacks, sample->labels))
			continue;
		sample->labels = SAMPLE_LABELS_OTHER;
		stacks->labels_left_out += sample->count;
	}
}

struct stacks *stacks_builder_finish_take(struct stacks_builder *builder)
{
	struct stacks *stacks = builder->stacks;

	resolve_others(builder);
	resolve_labels(stacks);
	drop_incomplete(builder, stacks);
	builder->stacks = NULL;
	stacks_builder_free(builder);
	return stacks;
}
