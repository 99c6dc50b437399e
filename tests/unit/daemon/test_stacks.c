/* SPDX-License-Identifier: Apache-2.0 */
#include "stacks.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "main.h"
#include "stacks_builder.h"

static const struct stacks_limits roomy = { .n_frames = 100000, .n_stacks = 100, .n_samples = 100 };

struct record {
	struct sample_stack header;
	uint64_t frames[32];
};

static struct sample_key key_of(uint64_t stack, uint32_t pid, uint32_t tid)
{
	return (struct sample_key){
		.stack = stack,
		.process = { .start_nsec = 123456789, .pid = pid, .exec_id = 7 },
		.tid = tid,
	};
}

/* A record with n_user frames from 0x1000 + stack on. */
static struct record record_of(uint64_t stack, uint32_t pid, uint32_t tid, uint16_t n_user, uint32_t loose)
{
	struct record record = { .header = { .key = key_of(stack, pid, tid), .n_user = n_user, .loose = loose } };

	for (size_t i = 0; i < n_user; i++)
		record.frames[i] = 0x1000 + stack + i;
	memcpy(record.header.thread, "worker", 7);
	return record;
}

static int add(struct stacks_builder *builder, struct record record)
{
	const struct process_id *process = NULL;
	int r = stacks_builder_add_record(builder, &record,
			sizeof(record.header) + (record.header.n_kernel + record.header.n_user) * sizeof(uint64_t), &process);

	if (r == STACKS_BUILDER_NEW_PROCESS)
		ck_assert_uint_eq(process->pid, record.header.key.process.pid);
	return r;
}

static void count(struct stacks_builder *builder, uint64_t stack, uint32_t pid, uint32_t tid, uint64_t n)
{
	const struct sample_key key = key_of(stack, pid, tid);
	const struct sample_value value = { .count = n, .thread = "worker" };

	stacks_builder_add_entry(builder, &key, &value);
}

static struct stacks_builder *new_builder(const struct stacks_limits *limits)
{
	struct stacks_builder *builder;

	ck_assert_int_eq(stacks_builder_new(limits, &builder), 0);
	return builder;
}

START_TEST(an_empty_window_has_nothing)
{
	struct stacks *stacks = stacks_builder_finish_take(new_builder(&roomy));

	ck_assert_uint_eq(stacks->samples.n, 0);
	ck_assert_uint_eq(stacks_kept(stacks), 0);
	ck_assert_uint_eq(stacks->lost_frames, 0);
	stacks_free(stacks);
	ck_assert_ptr_null(stacks_free(NULL));
	ck_assert_ptr_null(stacks_builder_free(NULL));
}
END_TEST

START_TEST(counts_meet_their_frames)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	ck_assert_int_eq(add(builder, record_of(5, 10, 10, 3, 0)), STACKS_BUILDER_NEW_PROCESS);
	count(builder, 5, 10, 10, 4);
	count(builder, 5, 10, 11, 2);
	count(builder, 5, 10, 0, 99); /* a marker */
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->stacks.n, 1);
	ck_assert_uint_eq(stacks->samples.n, 2);
	ck_assert_uint_eq(stacks_kept(stacks), 6);
	ck_assert_uint_eq(stacks->stacks.at[0].n_user, 3);
	ck_assert_uint_eq(stacks->frames.at[stacks->stacks.at[0].first_frame + 2], 0x1007);
	ck_assert_str_eq(stacks->samples.at[1].thread, "worker");
	ck_assert_uint_eq(stacks->samples.at[1].tid, 11);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_process_is_told_once)
{
	struct stacks_builder *builder = new_builder(&roomy);

	ck_assert_int_eq(add(builder, record_of(1, 10, 10, 3, 0)), STACKS_BUILDER_NEW_PROCESS);
	ck_assert_int_eq(add(builder, record_of(2, 10, 10, 3, 0)), 0);
	ck_assert_int_eq(add(builder, record_of(2, 11, 11, 3, 0)), STACKS_BUILDER_NEW_PROCESS);
	stacks_builder_free(builder);
}
END_TEST

START_TEST(a_process_starts_at_a_whole_tick)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	add(builder, record_of(1, 10, 10, 3, 0));
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->processes.at[0].start_nsec, 120000000);
	ck_assert_uint_eq(stacks->processes.at[0].exec_id, 7);
	stacks_free(stacks);
}
END_TEST

START_TEST(the_same_stack_of_two_processes_is_two)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	add(builder, record_of(1, 10, 10, 3, 0));
	add(builder, record_of(1, 11, 11, 3, 0));
	count(builder, 1, 10, 10, 1);
	count(builder, 1, 11, 11, 1);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->stacks.n, 2);
	ck_assert_uint_ne(stacks->stacks.at[0].process, stacks->stacks.at[1].process);
	stacks_free(stacks);
}
END_TEST

START_TEST(frames_sent_twice_are_kept_once)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	add(builder, record_of(1, 10, 10, 3, 0));
	add(builder, record_of(1, 10, 11, 3, 0));
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->stacks.n, 1);
	ck_assert_uint_eq(stacks->frames.n, 3);
	stacks_free(stacks);
}
END_TEST

START_TEST(loose_samples_add_up_with_the_map)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	add(builder, record_of(1, 10, 10, 0, 1)); /* overtook its frames */
	add(builder, record_of(1, 10, 10, 3, 0));
	add(builder, record_of(1, 10, 10, 0, 1));
	add(builder, record_of(2, 10, 10, 4, 1));
	count(builder, 1, 10, 10, 5);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->samples.n, 2);
	ck_assert_uint_eq(stacks->samples.at[0].count, 7);
	ck_assert_uint_eq(stacks->samples.at[1].count, 1);
	ck_assert_uint_eq(stacks->lost_frames, 0);
	stacks_free(stacks);
}
END_TEST

START_TEST(counts_whose_frames_never_came_are_lost)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	count(builder, 1, 10, 10, 5);
	add(builder, record_of(2, 10, 10, 0, 1));
	add(builder, record_of(3, 10, 10, 2, 0));
	count(builder, 3, 10, 10, 2);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->samples.n, 1);
	ck_assert_uint_eq(stacks_kept(stacks), 2);
	ck_assert_uint_eq(stacks->lost_frames, 6);
	for (size_t i = 0; i < stacks->stacks.n; i++)
		ck_assert_uint_lt(stacks->stacks.at[i].verdict, SAMPLE_N_VERDICTS);
	stacks_free(stacks);
}
END_TEST

START_TEST(what_is_beyond_the_limits_is_counted)
{
	static const struct stacks_limits tight = { .n_frames = 5, .n_stacks = 3, .n_samples = 2 };
	struct stacks_builder *builder = new_builder(&tight);
	struct stacks *stacks;

	add(builder, record_of(1, 10, 10, 3, 1));
	add(builder, record_of(2, 10, 10, 3, 1)); /* frames */
	add(builder, record_of(3, 10, 10, 2, 1)); /* samples */
	add(builder, record_of(4, 10, 10, 2, 1)); /* stacks */
	count(builder, 4, 10, 10, 10);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks_kept(stacks), 1);
	ck_assert_uint_eq(stacks->lost_frames, 13);
	ck_assert_uint_le(stacks->frames.n, 5);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_malformed_record_is_refused)
{
	struct stacks_builder *builder = new_builder(&roomy);
	const struct process_id *process;
	struct record record = record_of(1, 10, 10, 3, 1);

	ck_assert_int_eq(stacks_builder_add_record(builder, &record, 10, &process), -EBADMSG);
	ck_assert_int_eq(stacks_builder_add_record(builder, &record, sizeof(record.header), &process), -EBADMSG);
	ck_assert_int_eq(stacks_builder_add_record(builder, &record, sizeof(record), &process), -EBADMSG);
	record.header.verdict = SAMPLE_N_VERDICTS;
	ck_assert_int_eq(add(builder, record), -EBADMSG);
	stacks_builder_free(builder);
}
END_TEST

struct deep_record {
	struct sample_stack header;
	uint64_t frames[2 + SAMPLE_MAX_USER_FRAMES];
};

/* As the walk writes a stack of 2 frames of the kernel and `depth` of the program, which are 1, 2, 3 ... from the leaf on. */
static struct deep_record deep_record_of(uint64_t stack, uint32_t depth)
{
	const uint32_t half = SAMPLE_MAX_USER_FRAMES / 2;
	struct deep_record record = { .header = { .key = key_of(stack, 10, 10), .n_kernel = 2, .loose = 1 } };

	for (uint32_t i = 0; i < depth; i++)
		record.frames[2 + (i < half ? i : half + (i - half) % half)] = i + 1;
	record.header.n_user = depth < SAMPLE_MAX_USER_FRAMES ? depth : SAMPLE_MAX_USER_FRAMES;
	record.header.n_elided = depth - record.header.n_user;
	record.header.verdict = record.header.n_elided ? SAMPLE_VERDICT_ELIDED : SAMPLE_VERDICT_COMPLETE;
	return record;
}

static int add_deep(struct stacks_builder *builder, const struct deep_record *record)
{
	const struct process_id *process;

	return stacks_builder_add_record(builder, record, sizeof(record->header) +
			(record->header.n_kernel + record->header.n_user) * sizeof(uint64_t), &process);
}

START_TEST(the_half_next_to_the_root_is_brought_in_order)
{
	static const uint32_t depths[] = { 1000, 1024, 1025, 1535, 1536, 1537, 3000, 8191, 8192 };

	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
		const struct deep_record record = deep_record_of(1, depths[i]);
		struct stacks_builder *builder = new_builder(&roomy);
		const struct stacks_stack *stack;
		struct stacks *stacks;
		const uint64_t *user;

		ck_assert_int_ge(add_deep(builder, &record), 0);
		stacks = stacks_builder_finish_take(builder);
		stack = &stacks->stacks.at[0];
		ck_assert_uint_eq(stack->n_elided, depths[i] > 1024 ? depths[i] - 1024 : 0);
		ck_assert_uint_eq(stack->n_kernel, 2);
		ck_assert_uint_eq(stacks->frames.n, 2 + stack->n_user);
		user = stacks->frames.at + stack->first_frame + 2;
		for (uint32_t j = 0; j < stack->n_user; j++)
			ck_assert_uint_eq(user[j], j + 1 + (j < STACKS_LEAF_HALF ? 0 : stack->n_elided));
		stacks_free(stacks);
	}
}
END_TEST

START_TEST(stacks_that_differ_only_in_what_was_left_out_are_two)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct deep_record record = deep_record_of(1, 2000);
	struct stacks *stacks;

	add_deep(builder, &record);
	record.header.key.stack = 2; /* the hash is of all frames walked */
	record.header.n_elided += 512;
	add_deep(builder, &record);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->stacks.n, 2);
	ck_assert_uint_eq(stacks->stacks.at[0].n_elided, 976);
	ck_assert_uint_eq(stacks->stacks.at[1].n_elided, 976 + 512);
	ck_assert_uint_eq(stacks_kept(stacks), 2);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_record_that_left_out_what_it_cannot_have_is_refused)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct deep_record record = deep_record_of(1, 8192);

	record.header.n_elided++;
	ck_assert_int_eq(add_deep(builder, &record), -EBADMSG);
	record.header.n_elided = 1;
	record.header.n_user--;
	ck_assert_int_eq(add_deep(builder, &record), -EBADMSG);
	/* Its frames were sent before. */
	record.header.n_user = record.header.n_kernel = 0;
	ck_assert_int_ge(add_deep(builder, &record), 0);
	stacks_builder_free(builder);
}
END_TEST

START_TEST(every_way_to_end_early_has_a_reason)
{
	for (uint32_t i = 0; i < SAMPLE_N_VERDICTS; i++)
		ck_assert_int_eq(!stacks_broken_reason(i),
				i == SAMPLE_VERDICT_COMPLETE || i == SAMPLE_VERDICT_ELIDED || i == SAMPLE_VERDICT_KERNEL);
	ck_assert_str_eq(stacks_broken_reason(SAMPLE_VERDICT_COMPAT), "32-bit program");
	ck_assert_ptr_null(stacks_broken_reason(SAMPLE_N_VERDICTS));
}
END_TEST

START_TEST(a_thread_name_without_an_end_gets_one)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct record record = record_of(1, 10, 10, 3, 1);
	struct stacks *stacks;

	memset(record.header.thread, 'x', sizeof(record.header.thread));
	add(builder, record);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(strlen(stacks->samples.at[0].thread), SAMPLE_COMM_LENGTH - 1);
	stacks_free(stacks);
}
END_TEST

/* Samples of a goroutine with these labels; 0: without. */
static void label(struct stacks_builder *builder, uint64_t labels, uint64_t goroutine, uint64_t n)
{
	struct sample_key key = key_of(1, 10, 10);
	const struct sample_value value = { .count = n, .thread = "worker" };

	key.labels = labels;
	key.goroutine = goroutine;
	stacks_builder_add_entry(builder, &key, &value);
}

static struct sample_go_labels labels_of(uint64_t hash, const char *value)
{
	struct sample_go_labels labels = { .key = key_of(0, 10, 0), .mark = SAMPLE_LABELS_MARK, .n = 1 };

	labels.key.labels = hash;
	labels.at[0].key_size = 8;
	memcpy(labels.at[0].key, "endpoint", 8);
	labels.at[0].value_size = (uint16_t)strlen(value);
	memcpy(labels.at[0].value, value, strlen(value));
	return labels;
}

static int add_labels(struct stacks_builder *builder, struct sample_go_labels labels)
{
	return stacks_builder_add_labels(builder, &labels, offsetof(struct sample_go_labels, at) + labels.n * sizeof(labels.at[0]));
}

START_TEST(goroutines_have_labels)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct record loose = record_of(1, 10, 10, 2, 3);
	const struct stacks_labels *found;
	struct stacks *stacks;
	uint64_t n = 0;

	add(builder, record_of(1, 10, 10, 2, 0));
	/* In no order; one that comes for two processes is the same. */
	ck_assert_int_eq(add_labels(builder, labels_of(900, "/orders")), 0);
	ck_assert_int_eq(add_labels(builder, labels_of(300, "/users")), 0);
	ck_assert_int_eq(add_labels(builder, labels_of(900, "/orders")), 0);
	label(builder, 900, 0, 5);
	label(builder, 300, 0, 7);
	label(builder, 0, 0, 11);
	label(builder, 300, 77, 13);
	label(builder, SAMPLE_LABELS_OTHER, 0, 17);
	label(builder, 555, 0, 19); /* whose labels never came */
	loose.header.key.labels = 900;
	add(builder, loose);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->labels.n, 2);
	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];

		n += sample->count;
		ck_assert(sample->labels == 0 || sample->labels == 300 || sample->labels == 900 || sample->labels == SAMPLE_LABELS_OTHER);
		if (sample->goroutine)
			ck_assert_uint_eq(sample->count, 13);
	}
	ck_assert_uint_eq(n, 5 + 7 + 11 + 13 + 17 + 19 + 3);
	ck_assert_uint_eq(stacks->labels_left_out, 19);
	found = stacks_find_labels(stacks, 900);
	ck_assert_ptr_nonnull(found);
	ck_assert_uint_eq(found->n, 1);
	ck_assert_int_eq(memcmp(found->at[0].value, "/orders", found->at[0].value_size), 0);
	ck_assert_ptr_null(stacks_find_labels(stacks, 555));
	stacks_free(stacks);
}
END_TEST

START_TEST(labels_of_no_sense_are_refused)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct sample_go_labels labels = labels_of(900, "/orders");
	size_t begin = offsetof(struct sample_go_labels, at);

	ck_assert_int_eq(stacks_builder_add_labels(builder, &labels, begin - 1), -EBADMSG);
	ck_assert_int_eq(stacks_builder_add_labels(builder, &labels, begin), -EBADMSG);
	ck_assert_int_eq(stacks_builder_add_labels(builder, &labels, begin + 2 * sizeof(labels.at[0])), -EBADMSG);
	labels.n = SAMPLE_MAX_LABELS + 1;
	ck_assert_int_eq(stacks_builder_add_labels(builder, &labels, sizeof(labels)), -EBADMSG);
	labels.n = 1;
	labels.at[0].value_size = SAMPLE_LABEL_VALUE + 1;
	ck_assert_int_eq(add_labels(builder, labels), -EBADMSG);
	labels.at[0].value_size = 0;
	labels.at[0].key_size = SAMPLE_LABEL_KEY + 1;
	ck_assert_int_eq(add_labels(builder, labels), -EBADMSG);
	stacks_free(stacks_builder_finish_take(builder));
}
END_TEST

/* An entry of waits. */
static void wait_for(struct stacks_builder *builder, uint64_t stack, uint32_t tid, uint64_t n, uint64_t nsec, bool is_open)
{
	struct sample_key key = key_of(stack, 10, tid);
	const struct sample_value value = { .count = n, .nsec = nsec, .longest_nsec = nsec, .is_open = is_open, .thread = "worker" };

	key.wait.reason = SAMPLE_SLEEP;
	stacks_builder_add_entry(builder, &key, &value);
}

START_TEST(waits_without_a_stack_need_no_frames)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	wait_for(builder, 0, 10, 4, 400, false);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks_kept(stacks), 4);
	ck_assert_uint_eq(stacks->samples.at[0].nsec, 400);
	ck_assert_uint_eq(stacks->stacks.at[stacks->samples.at[0].stack].verdict, SAMPLE_VERDICT_KERNEL);
	ck_assert_uint_eq(stacks->lost_frames, 0);
	stacks_free(stacks);
}
END_TEST

START_TEST(the_time_of_waits_that_are_lost_is_counted)
{
	const struct stacks_limits tight = { .n_frames = 100, .n_stacks = 100, .n_samples = 1 };
	struct stacks_builder *builder = new_builder(&tight);
	struct stacks *stacks;

	wait_for(builder, 0, 10, 2, 200, false);
	wait_for(builder, 0, 11, 3, 30, false); /* there is no room for it */
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks_kept(stacks), 2);
	ck_assert_uint_eq(stacks->lost_frames, 3);
	ck_assert_uint_eq(stacks->lost_nsec, 30);
	ck_assert_uint_eq(stacks_lost(stacks), 3);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_wait_whose_frames_never_came_is_told_with_a_stack_that_was_lost)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	wait_for(builder, 5, 10, 2, 200, true);
	wait_for(builder, SAMPLE_STACK_LOST, 10, 1, 10, false);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks_kept(stacks), 3);
	ck_assert_uint_eq(stacks_lost(stacks), 0);
	ck_assert_uint_eq(stacks->samples.at[0].nsec, 200);
	for (size_t i = 0; i < 2; i++) {
		ck_assert(stacks->stacks.at[stacks->samples.at[i].stack].hash == SAMPLE_STACK_LOST);
		ck_assert_uint_eq(stacks->stacks.at[stacks->samples.at[i].stack].verdict, SAMPLE_VERDICT_KERNEL);
	}
	stacks_free(stacks);
}
END_TEST

START_TEST(a_wait_that_goes_on_has_its_frames_in_the_next_window_and_the_one_after)
{
	struct stacks_builder *builder = new_builder(&roomy), *next = new_builder(&roomy), *third = new_builder(&roomy);
	struct stacks *first, *second, *last;

	add(builder, record_of(1, 10, 10, 3, 0));
	add(builder, record_of(2, 10, 11, 2, 0));
	wait_for(builder, 1, 10, 1, 100, true);
	wait_for(builder, 2, 11, 1, 100, false);
	first = stacks_builder_finish_take(builder);
	stacks_builder_carry(next, first);
	wait_for(next, 1, 10, 1, 1000, true);
	wait_for(next, 2, 11, 1, 7, false); /* nobody said that it goes on: its frames are not there */
	second = stacks_builder_finish_take(next);
	ck_assert_uint_eq(stacks_kept(second), 2);
	ck_assert(second->stacks.at[second->samples.at[1].stack].hash == SAMPLE_STACK_LOST);
	stacks_builder_carry(third, second);
	wait_for(third, 1, 10, 1, 50, false);
	last = stacks_builder_finish_take(third);
	ck_assert_uint_eq(stacks_kept(last), 1);
	ck_assert_uint_eq(last->samples.at[0].nsec, 50);
	ck_assert_uint_eq(last->stacks.at[last->samples.at[0].stack].n_user, 3);
	ck_assert_uint_eq(last->frames.at[last->stacks.at[last->samples.at[0].stack].first_frame], 0x1001);
	stacks_free(first);
	stacks_free(second);
	stacks_free(last);
}
END_TEST

/* A wait at `stack` of process 10 that ended by `other`. */
static void wait_by(struct stacks_builder *builder, uint64_t stack, uint64_t other, uint64_t n)
{
	struct sample_key key = key_of(stack, 10, 10);
	const struct sample_value value = { .count = n, .nsec = 10 * n, .thread = "worker" };

	key.wait.reason = SAMPLE_LOCK;
	key.other = other;
	stacks_builder_add_entry(builder, &key, &value);
}

static struct record other_of(uint64_t stack, uint32_t pid, uint64_t other, uint16_t n_user)
{
	struct record record = record_of(stack, pid, 0, n_user, 0);

	record.header.key.other = other;
	record.header.verdict = n_user ? SAMPLE_VERDICT_COMPLETE : SAMPLE_VERDICT_KERNEL;
	return record;
}

START_TEST(who_ended_a_wait_is_found_whatever_came_first)
{
	struct stacks_builder *builder = new_builder(&roomy);
	const struct stacks_stack *other;
	struct stacks *stacks;

	add(builder, record_of(1, 10, 10, 3, 0));
	wait_by(builder, 1, 100, 1);
	wait_by(builder, 1, 200, 1);
	/* The same frames in another process are another stack; the second one is one that waited, too. */
	ck_assert_int_eq(add(builder, other_of(1, 20, 100, 3)), STACKS_BUILDER_NEW_PROCESS);
	add(builder, other_of(1, 10, 200, 3));
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->samples.n, 2);
	ck_assert_uint_eq(stacks->stacks.n, 2);
	other = &stacks->stacks.at[stacks->samples.at[0].other - 1];
	ck_assert_uint_eq(stacks->processes.at[other->process].pid, 20);
	ck_assert_uint_eq(other->n_user, 3);
	ck_assert_uint_eq(stacks->samples.at[1].other - 1, stacks->samples.at[1].stack);
	ck_assert_uint_eq(stacks->lost_others, 0);
	stacks_free(stacks);
}
END_TEST

START_TEST(who_ended_a_wait_may_be_the_kernel_or_an_interrupt)
{
	struct stacks_builder *builder = new_builder(&roomy);
	const struct stacks_stack *other;
	struct record thread = other_of(9, 30, 300, 0);
	struct stacks *stacks;

	memcpy(thread.header.thread, "kworker/u8:2-abc", 16); /* without an end */
	add(builder, record_of(1, 10, 10, 3, 0));
	add(builder, thread);
	wait_by(builder, 1, 300, 1);
	wait_by(builder, 1, SAMPLE_OTHER_INTERRUPT, 1);
	wait_by(builder, 0, SAMPLE_OTHER_INTERRUPT, 1);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->samples.n, 3);
	other = &stacks->stacks.at[stacks->samples.at[0].other - 1];
	ck_assert_str_eq(other->thread, "kworker/u8:2-ab");
	ck_assert_uint_eq(other->n_kernel + other->n_user, 0);
	ck_assert_uint_eq(stacks->samples.at[1].other, stacks->samples.at[2].other);
	other = &stacks->stacks.at[stacks->samples.at[1].other - 1];
	ck_assert_str_eq(other->thread, "");
	ck_assert_uint_eq(other->n_kernel + other->n_user, 0);
	ck_assert_uint_lt(other->process, stacks->processes.n);
	stacks_free(stacks);
}
END_TEST

START_TEST(a_wait_whose_other_stack_was_lost_stays_and_is_counted)
{
	const struct stacks_limits tight = { .n_frames = 3, .n_stacks = 10, .n_samples = 10 };
	struct stacks_builder *builder = new_builder(&tight);
	struct stacks *stacks;

	add(builder, record_of(1, 10, 10, 3, 0));
	add(builder, other_of(2, 20, 200, 3)); /* no room for its frames */
	wait_by(builder, 1, 200, 4);
	wait_by(builder, 1, 300, 5);           /* they never come */
	wait_by(builder, 1, 0, 6);             /* nobody knows */
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks_kept(stacks), 15);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(stacks->samples.at[i].other, 0);
	ck_assert_uint_eq(stacks->lost_others, 9);
	ck_assert_uint_eq(stacks_lost(stacks), 0);
	stacks_free(stacks);
}
END_TEST

START_TEST(waits_whose_stack_was_lost_leave_the_others_theirs)
{
	struct stacks_builder *builder = new_builder(&roomy);
	struct stacks *stacks;

	add(builder, record_of(1, 10, 10, 3, 0));
	add(builder, other_of(2, 20, 200, 2));
	wait_by(builder, 5, 0, 1); /* its frames never come */
	wait_by(builder, 1, 200, 1);
	stacks = stacks_builder_finish_take(builder);
	ck_assert_uint_eq(stacks->samples.n, 2);
	ck_assert_uint_eq(stacks->samples.at[0].other, 0);
	ck_assert_uint_eq(stacks->stacks.at[stacks->samples.at[1].other - 1].n_user, 2);
	stacks_free(stacks);
}
END_TEST

START_TEST(every_reason_has_a_name)
{
	for (uint32_t i = 0; i < SAMPLE_N_REASONS; i++)
		ck_assert_str_ne(stacks_reason(i), "unknown");
	ck_assert_str_eq(stacks_reason(SAMPLE_N_REASONS), "unknown");
}
END_TEST

UNIT_TESTS("stacks", goroutines_have_labels, labels_of_no_sense_are_refused, an_empty_window_has_nothing, counts_meet_their_frames, a_process_is_told_once,
		a_process_starts_at_a_whole_tick, the_same_stack_of_two_processes_is_two, frames_sent_twice_are_kept_once,
		loose_samples_add_up_with_the_map, counts_whose_frames_never_came_are_lost, what_is_beyond_the_limits_is_counted,
		a_malformed_record_is_refused, the_half_next_to_the_root_is_brought_in_order,
		stacks_that_differ_only_in_what_was_left_out_are_two, a_record_that_left_out_what_it_cannot_have_is_refused,
		every_way_to_end_early_has_a_reason, a_thread_name_without_an_end_gets_one, waits_without_a_stack_need_no_frames,
		the_time_of_waits_that_are_lost_is_counted, a_wait_whose_frames_never_came_is_told_with_a_stack_that_was_lost,
		a_wait_that_goes_on_has_its_frames_in_the_next_window_and_the_one_after,
		who_ended_a_wait_is_found_whatever_came_first, who_ended_a_wait_may_be_the_kernel_or_an_interrupt,
		a_wait_whose_other_stack_was_lost_stays_and_is_counted, waits_whose_stack_was_lost_leave_the_others_theirs,
		every_reason_has_a_name)
