/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Puts together what a sampler's programs say of one window (bpf/sample.h): frames from the ring, counts from the map,
 * in any order. What does not fit together or into memory is counted as lost_frames.
 */
#include <stddef.h>

#include "cleanup.h"
#include "location.h"
#include "sample.h"

struct stacks;
struct stacks_builder;

/* What a hostile program, which can make every stack a new and deep one, may cost us. */
struct stacks_limits {
	size_t n_frames, n_stacks, n_samples;
};

/* 0 or -ENOMEM. */
int stacks_builder_new(const struct stacks_limits *limits, struct stacks_builder **ret);
struct stacks_builder *stacks_builder_free(struct stacks_builder *builder);
DEFINE_CLEANUP(struct stacks_builder, stacks_builder_free);

/*
 * A record of the ring: struct sample_stack and its frames. 0; STACKS_BUILDER_NEW_PROCESS when it is the first one of
 * its process, which is given (valid until the next call); -EBADMSG when it is not well-formed: ignored then.
 */
int stacks_builder_add_record(struct stacks_builder *builder, const void *record, size_t size,
		const struct process_id **ret_process);
enum { STACKS_BUILDER_NEW_PROCESS = 1 };

/* Another record of the ring: struct sample_go_labels. 0, -EBADMSG, -ENOMEM. */
int stacks_builder_add_labels(struct stacks_builder *builder, const void *record, size_t size);

/* An entry of the map; markers (tid 0) are ignored. */
void stacks_builder_add_entry(struct stacks_builder *builder, const struct sample_key *key,
		const struct sample_value *value);

/*
 * From the window before: the frames of waits that were open at its end. They were sent when the waits began, and are not
 * sent again.
 */
void stacks_builder_carry(struct stacks_builder *builder, const struct stacks *before);

/* Hands over what has come together. All but lost_frames, lost_others and the arrays is left to the caller to fill in. */
struct stacks *stacks_builder_finish_take(struct stacks_builder *builder);
