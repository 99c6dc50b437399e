/* SPDX-License-Identifier: Apache-2.0 */
#include "stacks.h"

#include <stdlib.h>

#include "cleanup.h"

struct stacks *stacks_new(void)
{
	return calloc(1, sizeof(struct stacks));
}

struct stacks *stacks_free(struct stacks *stacks)
{
	if (!stacks)
		return NULL;
	vec_deinit(&stacks->processes);
	vec_deinit(&stacks->stacks);
	vec_deinit(&stacks->frames);
	vec_deinit(&stacks->samples);
	for (size_t i = 0; i < stacks->objects.n; i++)
		free(stacks->objects.at[i].name);
	vec_deinit(&stacks->objects);
	for (size_t i = 0; i < stacks->labels.n; i++)
		free(stacks->labels.at[i].at);
	vec_deinit(&stacks->labels);
	locks_deinit(&stacks->locks);
	free(stacks);
	return NULL;
}

bool stacks_is_counted(const struct stacks *stacks, const struct stacks_sample *sample)
{
	return sample->is_go || !stacks->has_ran || sample->wait.reason != SAMPLE_RAN;
}

uint64_t stacks_kept(const struct stacks *stacks)
{
	uint64_t kept = 0;

	for (size_t i = 0; i < stacks->samples.n; i++)
		if (stacks_is_counted(stacks, &stacks->samples.at[i]))
			kept += stacks->samples.at[i].count;
	return kept - MIN(kept, stacks->untimed);
}

uint64_t stacks_lost(const struct stacks *stacks)
{
	return stacks->lost_ring + stacks->lost_namespace + stacks->lost_storage + stacks->lost_frames;
}

static int compare_labels(const void *key, const void *labels)
{
	uint64_t x = *(const uint64_t *)key, y = ((const struct stacks_labels *)labels)->hash;

	return (x > y) - (x < y);
}

const struct stacks_labels *stacks_find_labels(const struct stacks *stacks, uint64_t hash)
{
	return stacks->labels.n ? bsearch(&hash, stacks->labels.at, stacks->labels.n, sizeof(stacks->labels.at[0]), compare_labels) : NULL;
}

static int compare_objects(const void *a, const void *b)
{
	const struct stacks_object *x = a, *y = b;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return (x->device > y->device) - (x->device < y->device);
}

void stacks_sort_objects(struct stacks *stacks)
{
	vec_sort(&stacks->objects, compare_objects);
}

const struct stacks_object *stacks_object(const struct stacks *stacks, const struct sample_wait *wait)
{
	const struct stacks_object key = { .object = wait->object, .device = wait->device };
	bool has_name = wait->reason == SAMPLE_DISK || wait->reason == SAMPLE_FAULT || wait->reason == SAMPLE_NETWORK;

	if (!has_name || !wait->object || !stacks->objects.n)
		return NULL;
	return bsearch(&key, stacks->objects.at, stacks->objects.n, sizeof(key), compare_objects);
}

const char *stacks_broken_reason(uint32_t verdict)
{
	static const char *const reasons[SAMPLE_N_VERDICTS] = {
		[SAMPLE_VERDICT_NO_MAPPING] = "no mapping",
		[SAMPLE_VERDICT_NO_TABLE] = "no unwind table yet",
		[SAMPLE_VERDICT_NO_ROW] = "no unwind row",
		[SAMPLE_VERDICT_NO_RULE] = "no unwind rule",
		[SAMPLE_VERDICT_NO_FRAME] = "no frame pointer",
		[SAMPLE_VERDICT_BAD_FRAME] = "bad frame",
		[SAMPLE_VERDICT_UNREADABLE] = "unreadable page",
		[SAMPLE_VERDICT_TOO_DEEP] = "too deep",
		[SAMPLE_VERDICT_COMPAT] = "32-bit program",
	};

	return verdict < SAMPLE_N_VERDICTS ? reasons[verdict] : NULL;
}

const char *stacks_reason(uint32_t reason)
{
	static const char *const names[SAMPLE_N_REASONS] = {
		[SAMPLE_RAN] = "ran", [SAMPLE_RUNQUEUE] = "runqueue", [SAMPLE_THROTTLED] = "throttled", [SAMPLE_LOCK] = "lock",
		[SAMPLE_CHANNEL] = "channel", [SAMPLE_SELECT] = "select", [SAMPLE_NETWORK] = "network", [SAMPLE_DISK] = "disk",
		[SAMPLE_PIPE] = "pipe", [SAMPLE_SLEEP] = "sleep", [SAMPLE_CHILD] = "child", [SAMPLE_FAULT] = "fault",
		[SAMPLE_RECLAIM] = "reclaim", [SAMPLE_IO_URING] = "io_uring", [SAMPLE_STOPPED] = "stopped",
		[SAMPLE_SYSCALL] = "syscall", [SAMPLE_KERNEL] = "kernel",
	};

	return reason < SAMPLE_N_REASONS ? names[reason] : "unknown";
}

const char *stacks_state(uint32_t reason)
{
	switch (reason) {
	case SAMPLE_RAN:
		return "running";
	case SAMPLE_RUNQUEUE:
	case SAMPLE_THROTTLED:
		return "runnable";
	default:
		return "blocked";
	}
}
