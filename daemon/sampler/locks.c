/* SPDX-License-Identifier: Apache-2.0 */
#include "locks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "stacks.h"

/* One sample: a thread, and who had the lock. */
struct entry {
	const struct stacks_sample *sample;
	uint32_t process;
};

void locks_deinit(struct locks *locks)
{
	vec_deinit(&locks->longest);
	vec_deinit(&locks->processes);
}

static int compare(uint64_t x, uint64_t y)
{
	return (x > y) - (x < y);
}

static int compare_locks(const struct entry *x, const struct entry *y)
{
	int order = compare(x->process, y->process);

	return order ? order : compare(x->sample->wait.object, y->sample->wait.object);
}

static int by_thread(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = compare_locks(x, y);

	return order ? order : compare(x->sample->tid, y->sample->tid);
}

static int by_owner(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return compare(x->sample->wait.device, y->sample->wait.device);
}

/* Of one lock; the entries are by thread, and by owner afterwards. */
static struct lock sum_up(struct entry *entries, size_t n)
{
	struct lock lock = { .address = entries->sample->wait.object, .process = entries->process };

	memcpy(lock.thread, entries->sample->thread, sizeof(lock.thread));
	for (size_t i = 0; i < n; i++) {
		const struct stacks_sample *sample = entries[i].sample;
		uint32_t skip = MIN(sample->skip, 32U);

		lock.waits += sample->count << skip;
		lock.nsec += sample->nsec << skip;
		lock.longest_nsec = MAX(lock.longest_nsec, sample->longest_nsec);
		lock.is_estimate |= skip > 0;
		lock.n_threads += !i || sample->tid != entries[i - 1].sample->tid;
	}
	qsort(entries, n, sizeof(*entries), by_owner);
	for (size_t i = 0; i < n; i++) {
		uint32_t owner = entries[i].sample->wait.device;

		if (!owner || (i && owner == entries[i - 1].sample->wait.device))
			continue;
		if (lock.n_owners < LOCKS_MAX_OWNERS)
			lock.owners[lock.n_owners] = owner;
		lock.n_owners++;
	}
	return lock;
}

static int by_process_and_time(const void *a, const void *b)
{
	const struct lock *x = a, *y = b;
	int order = compare(x->process, y->process);

	order = order ? order : compare(y->nsec, x->nsec);
	return order ? order : compare(x->address, y->address);
}

static int by_time(const void *a, const void *b)
{
	const struct lock *x = a, *y = b;
	int order = compare(y->nsec, x->nsec);

	return order ? order : by_process_and_time(a, b);
}

/* Keeps the first ones of each process, and counts all. */
static int choose(struct locks *locks)
{
	size_t n_kept = 0;

	vec_sort(&locks->longest, by_process_and_time);
	for (size_t i = 0; i < locks->longest.n; i++) {
		const struct lock lock = locks->longest.at[i];
		struct locks_process *process = locks->processes.n ? &locks->processes.at[locks->processes.n - 1] : NULL;

		if (!process || lock.process != process->process) {
			struct locks_process next = { .process = lock.process };

			memcpy(next.thread, lock.thread, sizeof(next.thread));
			if (vec_push(&locks->processes, next) < 0)
				return -ENOMEM;
			process = &locks->processes.at[locks->processes.n - 1];
		}
		process->nsec += lock.nsec;
		process->is_estimate |= lock.is_estimate;
		if (process->n++ < LOCKS_MAX_SHOWN)
			locks->longest.at[n_kept++] = lock;
	}
	locks->longest.n = n_kept;
	vec_sort(&locks->longest, by_time);
	return 0;
}

int locks_find(const struct stacks *stacks, struct locks *ret)
{
	VEC(struct entry) entries = { 0 };
	struct locks locks = { 0 };
	int r = 0;

	for (size_t i = 0; i < stacks->samples.n && r >= 0; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];

		if (sample->wait.reason == SAMPLE_LOCK)
			r = vec_push(&entries, ((struct entry){ sample, stacks->stacks.at[sample->stack].process }));
	}
	vec_sort(&entries, by_thread);
	for (size_t begin = 0, end = 0; begin < entries.n && r >= 0; begin = end) {
		while (end < entries.n && compare_locks(&entries.at[begin], &entries.at[end]) == 0)
			end++;
		r = vec_push(&locks.longest, sum_up(&entries.at[begin], end - begin));
	}
	vec_deinit(&entries);
	if (r >= 0 && locks.longest.n)
		r = choose(&locks);
	if (r < 0)
		locks_deinit(&locks);
	else
		*ret = locks;
	return r;
}
