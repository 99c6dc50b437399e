/* SPDX-License-Identifier: Apache-2.0 */
#include "go_targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "go_program.h"
#include "hash.h"
#include "image.h"
#include "map.h"
#include "targets.h"

struct go_targets {
	struct targets *targets;
	const struct go_tuner *tuner;
	struct map of_pid;                   /* pid -> struct go_target * */
};

/*
 * Which program a process runs, as a number: another one after an exec, from which its start is the same. (Not exec_id: that of a
 * program may become known later.)
 */
static uint64_t program_of(const struct image *image)
{
	return image->exe ? hash_bytes(image->exe, strlen(image->exe)) : 0;
}

static bool is_of_program(const struct go_target *target, const struct image *image)
{
	return target->id.start_nsec == image->id.start_nsec && target->program == program_of(image);
}

/* Another process has the number now, or it runs another program. */
static void begin(const struct go_targets *targets, struct go_target *target, const struct image *image)
{
	if (is_of_program(target, image))
		return;
	go_tuner_release(targets->tuner, &target->id);
	go_past_deinit(&target->past);
	*target = (struct go_target){ .pid = target->pid, .id = image->id, .program = program_of(image),
		.tuning.settle_nsec = target->tuning.settle_nsec };
}

static bool is_go_program(const struct image *image)
{
	for (size_t i = 0; image->exe && i < image->mappings.n; i++) {
		const struct binary *binary = image->mappings.at[i].binary;

		if (binary && binary->fd >= 0 && !strcmp(binary->path, image->exe))
			/* Of one that we cannot read it is told that we cannot. */
			return go_program_is(binary->fd) || go_program_is_of_32_bits(binary->fd);
	}
	return false;
}

struct image *go_targets_image(struct go_targets *targets, uint32_t pid)
{
	struct go_target *target;
	struct image *image;

	if (targets_image_of(targets->targets, pid, &image) != 0)
		return NULL;
	/* Who looks at it may find that it is no target any more: go_targets_remove() has been called then. */
	target = go_targets_get(targets, pid);
	if (!target)
		return image_free(image);
	if (target->is_known && is_of_program(target, image) && !target->is_go)
		return image_free(image);
	begin(targets, target, image);
	if (!target->is_known)
		target->is_go = is_go_program(image);
	target->is_known = image->mappings.n > 0;
	return target->is_go ? image : image_free(image);
}

struct go_target *go_targets_get(const struct go_targets *targets, uint32_t pid)
{
	struct go_target **target = map_get(&targets->of_pid, &pid);

	return target ? *target : NULL;
}

struct go_target *go_targets_of(const struct go_targets *targets, const struct image *image)
{
	struct go_target *target = go_targets_get(targets, image->id.pid);

	return target && is_of_program(target, image) ? target : NULL;
}

struct go_target *go_targets_next(const struct go_targets *targets, size_t *cursor)
{
	const void *pid;
	void *value;

	return map_next(&targets->of_pid, cursor, &pid, &value) ? *(struct go_target **)value : NULL;
}

int go_targets_add(struct go_targets *targets, uint32_t pid, struct go_target **ret)
{
	struct go_target **target;
	void *value;
	int r = map_put(&targets->of_pid, &pid, &value);

	if (r < 0)
		return r;
	target = value;
	if (r > 0) {
		*target = calloc(1, sizeof(**target));
		if (!*target) {
			map_remove(&targets->of_pid, &pid);
			return -ENOMEM;
		}
		(*target)->pid = pid;
	}
	*ret = *target;
	return r;
}

static void target_free(struct go_target *target)
{
	go_past_deinit(&target->past);
	free(target);
}

void go_targets_remove(struct go_targets *targets, uint32_t pid)
{
	struct go_target *target = go_targets_get(targets, pid);

	if (!target)
		return;
	go_tuner_release(targets->tuner, &target->id);
	target_free(target);
	map_remove(&targets->of_pid, &pid);
}

int go_targets_new(struct targets *targets, const struct go_tuner *tuner, struct go_targets **ret)
{
	struct go_targets *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->targets = targets;
	made->tuner = tuner;
	map_init(&made->of_pid, sizeof(uint32_t), sizeof(struct go_target *));
	*ret = made;
	return 0;
}

struct go_targets *go_targets_free(struct go_targets *targets)
{
	struct go_target *target;
	size_t cursor = 0;

	if (!targets)
		return NULL;
	while ((target = go_targets_next(targets, &cursor)))
		target_free(target);
	map_deinit(&targets->of_pid);
	free(targets);
	return NULL;
}
