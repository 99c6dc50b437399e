/* SPDX-License-Identifier: Apache-2.0 */
#include "running.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "map.h"
#include "stacks.h"

struct thread_key {
	struct process_id process;
	uint32_t tid;
	uint32_t zero;
};

struct adding {
	struct stacks *to;
	const struct stacks *burst;          /* NULL: none */
	struct map sample_of;                /* struct thread_key -> index into burst's samples: its best one */
	struct map process_of;               /* struct process_id -> index into to */
	struct map stack_of;                 /* index into burst's stacks -> index into to */
};

static int find_samples(struct adding *a)
{
	for (uint32_t i = 0; a->burst && i < a->burst->samples.n; i++) {
		const struct stacks_sample *sample = &a->burst->samples.at[i];
		const struct thread_key key = {
			.process = a->burst->processes.at[a->burst->stacks.at[sample->stack].process],
			.tid = sample->tid,
		};
		void *value;
		int r;

		r = map_put(&a->sample_of, &key, &value);
		if (r < 0)
			return r;
		if (r > 0 || a->burst->samples.at[*(uint32_t *)value].count < sample->count)
			*(uint32_t *)value = i;
	}
	return 0;
}

static int find_processes(struct adding *a)
{
	for (uint32_t i = 0; i < a->to->processes.n; i++) {
		void *value;

		if (map_put(&a->process_of, &a->to->processes.at[i], &value) < 0)
			return -ENOMEM;
		*(uint32_t *)value = i;
	}
	return 0;
}

static int find_process(struct adding *a, const struct process_id *id, uint32_t *ret)
{
	void *value;
	int r;

	r = map_put(&a->process_of, id, &value);
	if (r < 0)
		return r;
	if (r > 0) {
		if (vec_push(&a->to->processes, *id) < 0)
			return -ENOMEM;
		*(uint32_t *)value = (uint32_t)(a->to->processes.n - 1);
	}
	*ret = *(uint32_t *)value;
	return 0;
}

static int copy_stack(struct adding *a, uint32_t index, uint32_t process, uint32_t *ret)
{
	struct stacks_stack stack = a->burst->stacks.at[index];
	const uint64_t *frames = a->burst->frames.at + stack.first_frame;
	void *value;
	int r;

	r = map_put(&a->stack_of, &index, &value);
	if (r < 0)
		return r;
	if (r > 0) {
		stack.process = process;
		stack.first_frame = a->to->frames.n;
		if (vec_append(&a->to->frames, frames, (size_t)stack.n_kernel + stack.n_user) < 0 || vec_push(&a->to->stacks, stack) < 0)
			return -ENOMEM;
		*(uint32_t *)value = (uint32_t)(a->to->stacks.n - 1);
	}
	*ret = *(uint32_t *)value;
	return 0;
}

static int add_thread(struct adding *a, const struct running_thread *thread)
{
	const struct thread_key key = { .process = thread->process, .tid = thread->tid };
	const uint32_t *index = map_get(&a->sample_of, &key);
	struct stacks_sample sample = { .tid = thread->tid, .count = 1, .wait.reason = SAMPLE_RAN };
	uint32_t process;
	int r;

	memcpy(sample.thread, thread->thread, sizeof(sample.thread) - 1);
	r = find_process(a, &thread->process, &process);
	if (r < 0)
		return r;
	if (index) {
		r = copy_stack(a, a->burst->samples.at[*index].stack, process, &sample.stack);
	} else {
		r = vec_push(&a->to->stacks, ((struct stacks_stack){ .process = process, .verdict = SAMPLE_VERDICT_KERNEL }));
		sample.stack = (uint32_t)(a->to->stacks.n - 1);
	}
	return r < 0 ? r : vec_push(&a->to->samples, sample);
}

int running_add(struct stacks *snapshot, const struct running_thread *threads, size_t n, const struct stacks *burst)
{
	const size_t n_processes = snapshot->processes.n, n_stacks = snapshot->stacks.n, n_frames = snapshot->frames.n,
		n_samples = snapshot->samples.n;
	struct adding a = { .to = snapshot, .burst = burst };
	int r;

	map_init(&a.sample_of, sizeof(struct thread_key), sizeof(uint32_t));
	map_init(&a.process_of, sizeof(struct process_id), sizeof(uint32_t));
	map_init(&a.stack_of, sizeof(uint32_t), sizeof(uint32_t));
	r = find_samples(&a);
	if (r >= 0)
		r = find_processes(&a);
	for (size_t i = 0; i < n && r >= 0; i++)
		r = add_thread(&a, &threads[i]);
	if (r < 0) {
		snapshot->processes.n = n_processes;
		snapshot->stacks.n = n_stacks;
		snapshot->frames.n = n_frames;
		snapshot->samples.n = n_samples;
	}
	for (size_t i = n_samples; i < snapshot->samples.n; i++)
		snapshot->verdicts[snapshot->stacks.at[snapshot->samples.at[i].stack].verdict]++;
	map_deinit(&a.stack_of);
	map_deinit(&a.process_of);
	map_deinit(&a.sample_of);
	return MIN(r, 0);
}
