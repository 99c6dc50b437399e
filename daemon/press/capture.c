/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "image.h"
#include "sampler.h"
#include "stacks.h"
#include "targets.h"

struct capture *capture_free(struct capture *capture)
{
	if (!capture)
		return NULL;
	for (size_t i = 0; i < capture->images.n; i++)
		image_free(capture->images.at[i]);
	vec_deinit(&capture->images);
	stacks_free(capture->stacks);
	free(capture);
	return NULL;
}

static int find_images(struct capture *capture, struct targets *targets)
{
	size_t n = capture->stacks->processes.n;
	int r;

	r = vec_reserve(&capture->images, n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct image *image = NULL;

		/*
		 * A program of which nothing is known, or that cannot be looked at, keeps its samples; they only stay without
		 * names. It must not cost the others theirs.
		 */
		r = targets_image(targets, &capture->stacks->processes.at[i], &image);
		if (r == -ENOMEM)
			return r;
		capture->images.at[capture->images.n++] = image;
	}
	return 0;
}

int capture_window(struct sampler *sampler, struct targets *targets, enum profile_kind kind, const char *trigger,
		uint32_t next_rate, struct capture **ret)
{
	_cleanup_(capture_free_p) struct capture *capture = calloc(1, sizeof(*capture));
	int r;

	if (!capture)
		return -ENOMEM;
	capture->kind = kind;
	capture->trigger = trigger;
	r = sampler->ops->drain(sampler, next_rate, &capture->stacks);
	if (r < 0)
		return r;
	capture->end_nsec = clock_monotonic_nsec();
	/* What was mapped before the last sample was taken is known after this. */
	r = targets_catch_up(targets);
	if (r < 0)
		return r;
	r = find_images(capture, targets);
	if (r < 0)
		return r;
	targets_release(targets, capture->end_nsec);
	*ret = TAKE(capture);
	return 0;
}

void capture_select(struct capture *capture, bool (*keep)(const struct image *image, const void *userdata),
		const void *userdata)
{
	struct stacks *stacks = capture->stacks;
	size_t n = 0;

	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const struct stacks_stack *stack = &stacks->stacks.at[sample->stack];

		if (keep(capture->images.at[stack->process], userdata)) {
			stacks->samples.at[n++] = *sample;
			continue;
		}
		stacks->seen -= sample->count;
		/* The hash that tells stacks apart has the verdict in it; the bound is for the day when two hashes are equal. */
		stacks->verdicts[stack->verdict] -= MIN(stacks->verdicts[stack->verdict], sample->count);
	}
	stacks->samples.n = n;
	capture->is_selected = true;
}
