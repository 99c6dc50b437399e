/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Captures made by hand, as a sampler and targets would have made them. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "binary.h"
#include "capture.h"
#include "image.h"
#include "stacks.h"

static const uint64_t made_period_nsec = 10000000;

static inline struct capture *made_capture(void)
{
	struct capture *capture = calloc(1, sizeof(*capture));

	capture->kind = PROFILE_CPU;
	capture->kinds = capture_kind_bit(PROFILE_CPU);
	capture->trigger = "";
	capture->stacks = stacks_new();
	capture->stacks->period_nsec = made_period_nsec;
	capture->stacks->duration_nsec = 1000000000;
	capture->stacks->start_wall_nsec = UINT64_C(1700000000000000000);
	capture->facts.rate = 100;
	capture->facts.event = "cpu-clock";
	return capture;
}

/* fd -1: could not be had. Takes the descriptor. */
static inline struct binary *made_binary(const char *path, uint64_t serial, int fd)
{
	struct binary *binary = calloc(1, sizeof(*binary));

	binary->n_references = 1;
	binary->path = strdup(path);
	binary->serial = serial;
	binary->fd = fd;
	return binary;
}

static inline struct image *made_image(const char *service)
{
	struct image *image = calloc(1, sizeof(*image));

	image->service = strdup(service);
	image->comm = strdup(service);
	image->perf_map_fd = -1;
	return image;
}

/* Takes the reference. */
static inline void made_mapping(struct image *image, enum image_mapping_kind kind, uint64_t start, uint64_t size,
		uint64_t file_offset, struct binary *binary)
{
	const struct image_mapping mapping = { start, start + size, file_offset, binary, kind };

	ck_assert_int_ge(vec_push(&image->mappings, mapping), 0);
}

/* Takes the image; NULL: nothing is known of it. */
static inline uint32_t made_process(struct capture *capture, uint32_t pid, struct image *image)
{
	const struct process_id id = { .pid = pid, .exec_id = 1, .start_nsec = 1000 };

	ck_assert_int_ge(vec_push(&capture->stacks->processes, id), 0);
	ck_assert_int_ge(vec_push(&capture->images, image), 0);
	return capture->stacks->processes.n - 1;
}

/* `count` samples of one stack in the first thread of a process. Leaf first, frames of the kernel before those of the user. */
static inline void made_ended_sample(struct capture *capture, uint32_t process, const char *thread, uint64_t count,
		size_t n_kernel, const uint64_t *frames, size_t n_frames, enum sample_verdict verdict, uint32_t n_elided)
{
	struct stacks *stacks = capture->stacks;
	const struct stacks_stack stack = {
		.process = process, .n_kernel = n_kernel, .n_user = n_frames - n_kernel, .first_frame = stacks->frames.n,
		.verdict = verdict, .n_elided = n_elided,
	};
	struct stacks_sample sample = { .stack = stacks->stacks.n, .tid = stacks->processes.at[process].pid, .count = count };

	strncpy(sample.thread, thread, sizeof(sample.thread) - 1);
	ck_assert_int_ge(vec_append(&stacks->frames, frames, n_frames), 0);
	ck_assert_int_ge(vec_push(&stacks->stacks, stack), 0);
	ck_assert_int_ge(vec_push(&stacks->samples, sample), 0);
	stacks->seen += count;
	stacks->verdicts[stack.verdict] += count;
}

static inline void made_sample(struct capture *capture, uint32_t process, const char *thread, uint64_t count,
		size_t n_kernel, const uint64_t *frames, size_t n_frames)
{
	made_ended_sample(capture, process, thread, count, n_kernel, frames, n_frames,
			n_frames > n_kernel ? SAMPLE_VERDICT_COMPLETE : SAMPLE_VERDICT_KERNEL, 0);
}
