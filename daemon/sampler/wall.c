/* SPDX-License-Identifier: Apache-2.0 */
#include "wall.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "map.h"
#include "stacks.h"

/* An exec makes another program of a process, but not of a thread another one. */
struct thread_key {
	uint64_t start_nsec;
	uint32_t pid, tid;
};

struct thread {
	uint32_t process;                    /* index into waits: the program that it was last */
	uint32_t tid;
	uint64_t waited_nsec, estimated_nsec; /* the second is the part of waits that not all were timed of */
	uint64_t too_much_nsec;              /* waited longer than it lived: an error of the estimate */
	uint64_t n_left, left_nsec;          /* samples of it, and its time on CPU, that are not told yet */
	char name[SAMPLE_COMM_LENGTH];
};

struct wall {
	struct stacks *waits;
	const struct stacks *ran;
	const bool *is_wanted;
	VEC(struct thread) threads;          /* in the order in which they are met: equal windows give equal files */
	struct map thread_of;                /* struct thread_key -> index */
	struct map process_of;               /* struct process_id -> index into waits */
	struct map stack_of;                 /* index into ran -> index into waits */
	struct map stackless_of;             /* process -> index into waits: the stack without frames */
	size_t n_processes, n_stacks, n_frames, n_samples; /* of waits, as they were */
};

static int find_process(struct wall *wall, const struct process_id *id, uint32_t *ret)
{
	struct stacks *waits = wall->waits;
	void *value;
	int r;

	r = map_put(&wall->process_of, id, &value);
	if (r < 0)
		return r;
	if (r > 0) {
		if (vec_push(&waits->processes, *id) < 0)
			return -ENOMEM;
		*(uint32_t *)value = (uint32_t)(waits->processes.n - 1);
	}
	*ret = *(uint32_t *)value;
	return 0;
}

static int find_thread(struct wall *wall, uint32_t process, const struct stacks_sample *sample, struct thread **ret)
{
	const struct process_id *id = &wall->waits->processes.at[process];
	const struct thread_key key = { .start_nsec = id->start_nsec, .pid = id->pid, .tid = sample->tid };
	struct thread thread = { .process = process, .tid = sample->tid };
	void *value;
	int r;

	r = map_put(&wall->thread_of, &key, &value);
	if (r < 0)
		return r;
	if (r > 0) {
		memcpy(thread.name, sample->thread, sizeof(thread.name));
		if (vec_push(&wall->threads, thread) < 0)
			return -ENOMEM;
		*(uint32_t *)value = (uint32_t)(wall->threads.n - 1);
	}
	*ret = &wall->threads.at[*(uint32_t *)value];
	return 0;
}

static uint32_t ran_process(const struct wall *wall, const struct stacks_sample *sample)
{
	return wall->ran->stacks.at[sample->stack].process;
}

/* What each thread waited, and how often it was seen running. */
static int find_threads(struct wall *wall)
{
	const struct stacks *waits = wall->waits, *ran = wall->ran;
	struct thread *thread;
	uint32_t process;
	int r;

	for (uint32_t i = 0; i < waits->processes.n; i++) {
		void *value;

		if (map_put(&wall->process_of, &waits->processes.at[i], &value) < 0)
			return -ENOMEM;
		*(uint32_t *)value = i;
	}
	for (size_t i = 0; i < waits->samples.n; i++) {
		r = find_thread(wall, waits->stacks.at[waits->samples.at[i].stack].process, &waits->samples.at[i], &thread);
		if (r < 0)
			return r;
		thread->waited_nsec += waits->samples.at[i].nsec;
		thread->estimated_nsec += waits->samples.at[i].skip ? waits->samples.at[i].nsec : 0;
	}
	for (size_t i = 0; i < ran->samples.n; i++) {
		const struct stacks_sample *sample = &ran->samples.at[i];

		if (!wall->is_wanted[ran_process(wall, sample)])
			continue;
		r = find_process(wall, &ran->processes.at[ran_process(wall, sample)], &process);
		if (r >= 0)
			r = find_thread(wall, process, sample, &thread);
		if (r < 0)
			return r;
		thread->n_left += sample->count;
	}
	return 0;
}

static void find_time(struct wall *wall, struct thread *thread, wall_lived_fn lived, void *userdata)
{
	uint64_t window_nsec = wall->waits->duration_nsec;
	uint64_t nsec = lived(&wall->waits->processes.at[thread->process], thread->tid, userdata);
	uint64_t rest_nsec = window_nsec - MIN(window_nsec, thread->waited_nsec);

	if (thread->waited_nsec > window_nsec)
		thread->too_much_nsec = MIN(thread->waited_nsec - window_nsec, thread->estimated_nsec);
	if (nsec == WALL_UNKNOWN)
		thread->left_nsec = MIN(thread->n_left * wall->ran->period_nsec, rest_nsec);
	else
		thread->left_nsec = MIN(nsec, window_nsec) - MIN(MIN(nsec, window_nsec), thread->waited_nsec);
}

static int copy_stack(struct wall *wall, uint32_t index, uint32_t *ret)
{
	struct stacks *waits = wall->waits;
	struct stacks_stack stack = wall->ran->stacks.at[index];
	const uint64_t *frames = wall->ran->frames.at + stack.first_frame;
	void *value;
	int r;

	r = map_put(&wall->stack_of, &index, &value);
	if (r < 0)
		return r;
	if (r > 0) {
		r = find_process(wall, &wall->ran->processes.at[stack.process], &stack.process);
		if (r < 0)
			return r;
		stack.first_frame = waits->frames.n;
		stack.hash = 0;
		if (vec_append(&waits->frames, frames, (size_t)stack.n_kernel + stack.n_user) < 0 || vec_push(&waits->stacks, stack) < 0)
			return -ENOMEM;
		*(uint32_t *)value = (uint32_t)(waits->stacks.n - 1);
	}
	*ret = *(uint32_t *)value;
	return 0;
}

static int find_stackless(struct wall *wall, uint32_t process, uint32_t *ret)
{
	void *value;
	int r;

	r = map_put(&wall->stackless_of, &process, &value);
	if (r < 0)
		return r;
	if (r > 0) {
		if (vec_push(&wall->waits->stacks, ((struct stacks_stack){ .process = process, .verdict = SAMPLE_VERDICT_KERNEL })) < 0)
			return -ENOMEM;
		*(uint32_t *)value = (uint32_t)(wall->waits->stacks.n - 1);
	}
	*ret = *(uint32_t *)value;
	return 0;
}

/* The next part of what is left, so that all parts add up to it. */
static uint64_t take_part(struct thread *thread, uint64_t count)
{
	uint64_t part = thread->n_left > count ? (uint64_t)((double)thread->left_nsec * ((double)count / (double)thread->n_left))
					       : thread->left_nsec;

	part = MIN(part, thread->left_nsec);
	thread->n_left -= MIN(thread->n_left, count);
	thread->left_nsec -= part;
	return part;
}

static int add_samples(struct wall *wall)
{
	for (size_t i = 0; i < wall->ran->samples.n; i++) {
		struct stacks_sample sample = wall->ran->samples.at[i];
		struct thread *thread;
		uint32_t process;
		int r;

		if (!wall->is_wanted[ran_process(wall, &sample)])
			continue;
		r = find_process(wall, &wall->ran->processes.at[ran_process(wall, &sample)], &process);
		if (r >= 0)
			r = find_thread(wall, process, &sample, &thread);
		if (r >= 0)
			r = copy_stack(wall, sample.stack, &sample.stack);
		if (r < 0)
			return r;
		sample.nsec = take_part(thread, sample.count);
		sample.labels = sample.goroutine = 0; /* what waited has none */
		if (vec_push(&wall->waits->samples, sample) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* What ran, and was never met by a sample. */
static int add_rest(struct wall *wall, const struct thread *thread)
{
	struct stacks_sample sample = { .tid = thread->tid, .nsec = thread->left_nsec };
	int r;

	if (!thread->left_nsec)
		return 0;
	memcpy(sample.thread, thread->name, sizeof(sample.thread));
	r = find_stackless(wall, thread->process, &sample.stack);
	return r < 0 ? r : vec_push(&wall->waits->samples, sample);
}

/*
 * Estimates that make a thread wait longer than the window was are cut, all by the same share: what was timed each time stays. Less
 * than the truth on average, then, but nearer to it each time.
 */
static void cut_estimates(struct wall *wall)
{
	struct stacks *waits = wall->waits;

	for (size_t i = 0; i < wall->n_samples; i++) {
		struct stacks_sample *sample = &waits->samples.at[i];
		const struct process_id *id = &waits->processes.at[waits->stacks.at[sample->stack].process];
		const uint32_t *index = map_get(&wall->thread_of, &(struct thread_key){ .start_nsec = id->start_nsec, .pid = id->pid, .tid = sample->tid });
		struct thread *thread = index ? &wall->threads.at[*index] : NULL;
		uint64_t part;

		if (!thread || !sample->skip || !thread->too_much_nsec)
			continue;
		part = (uint64_t)((double)thread->too_much_nsec * ((double)sample->nsec / (double)thread->estimated_nsec));
		part = MIN(MIN(part, sample->nsec), waits->untimed_nsec);
		thread->estimated_nsec -= sample->nsec;
		thread->too_much_nsec -= MIN(part, thread->too_much_nsec);
		sample->nsec -= part;
		waits->untimed_nsec -= part;
	}
}

static int add_all(struct wall *wall, wall_lived_fn lived, void *userdata)
{
	int r;

	r = find_threads(wall);
	for (size_t i = 0; r >= 0 && i < wall->threads.n; i++)
		find_time(wall, &wall->threads.at[i], lived, userdata);
	if (r >= 0)
		r = add_samples(wall);
	for (size_t i = 0; r >= 0 && i < wall->threads.n; i++)
		r = add_rest(wall, &wall->threads.at[i]);
	if (r >= 0)
		cut_estimates(wall);
	return MIN(r, 0);
}

int wall_add(struct stacks *waits, const struct stacks *ran, const bool *is_wanted, wall_lived_fn lived, void *userdata)
{
	struct wall wall = {
		.waits = waits,
		.ran = ran,
		.is_wanted = is_wanted,
		.n_processes = waits->processes.n,
		.n_stacks = waits->stacks.n,
		.n_frames = waits->frames.n,
		.n_samples = waits->samples.n,
	};
	int r;

	map_init(&wall.thread_of, sizeof(struct thread_key), sizeof(uint32_t));
	map_init(&wall.process_of, sizeof(struct process_id), sizeof(uint32_t));
	map_init(&wall.stack_of, sizeof(uint32_t), sizeof(uint32_t));
	map_init(&wall.stackless_of, sizeof(uint32_t), sizeof(uint32_t));
	r = add_all(&wall, lived, userdata);
	if (r < 0) {
		waits->processes.n = wall.n_processes;
		waits->stacks.n = wall.n_stacks;
		waits->frames.n = wall.n_frames;
		waits->samples.n = wall.n_samples;
	} else {
		waits->period_nsec = ran->period_nsec;
		waits->has_ran = true;
	}
	map_deinit(&wall.stackless_of);
	map_deinit(&wall.stack_of);
	map_deinit(&wall.process_of);
	map_deinit(&wall.thread_of);
	vec_deinit(&wall.threads);
	return r;
}
