/* SPDX-License-Identifier: Apache-2.0 */
#include "programs.h"

#include "binaries.h"
#include "clock.h"
#include "main.h"

static struct programs programs;
static struct binaries *binaries;
static struct perf_maps *perf_maps;
static int n_came, n_went;

static void on_change(uint32_t pid, bool is_target, void *userdata)
{
	*(is_target ? &n_came : &n_went) += 1;
}

static void begin(void)
{
	n_came = n_went = 0;
	ck_assert_int_eq(binaries_new(-1, 0, &binaries), 0);
	ck_assert_int_eq(perf_maps_new(-1, 0, &perf_maps), 0);
	programs_init(&programs, binaries, perf_maps, on_change, NULL);
}

static void end(void)
{
	programs_deinit(&programs);
	perf_maps_free(perf_maps);
	binaries_free(binaries);
}

static struct process_id id_of(uint32_t pid, uint32_t exec_id, uint64_t ticks)
{
	return (struct process_id){ .pid = pid, .exec_id = exec_id, .start_nsec = ticks * NSEC_PER_TICK };
}

static struct program *add_numbered(uint32_t pid, uint32_t exec_id, uint64_t ticks)
{
	struct program *program = programs_add(&programs, pid, 0);

	ck_assert_ptr_nonnull(program);
	program_set_exec_id(program, exec_id, ticks * NSEC_PER_TICK);
	return program;
}

START_TEST(programs_of_one_process_are_told_apart_by_their_number)
{
	struct program *first, *second;
	struct process_id id = id_of(7, 3, 100);

	begin();
	first = add_numbered(7, 3, 100);
	programs_end(&programs, first, 1);
	second = add_numbered(7, 4, 100);
	ck_assert_uint_eq(programs.n, 2);
	ck_assert_ptr_eq(programs_running(&programs, 7), second);
	ck_assert_ptr_eq(programs_find(&programs, &id), first);
	id.exec_id = 4;
	ck_assert_ptr_eq(programs_find(&programs, &id), second);
	id.exec_id = 5;
	ck_assert_ptr_null(programs_find(&programs, &id));
	id = id_of(7, 4, 101);
	ck_assert_ptr_null(programs_find(&programs, &id));
	ck_assert_ptr_null(programs_running(&programs, 8));
	end();
}
END_TEST

START_TEST(a_sample_is_exact_within_its_tick)
{
	struct process_id id = id_of(7, 3, 100);
	struct program *program;

	begin();
	program = add_numbered(7, 3, 100);
	id.start_nsec += NSEC_PER_TICK - 1;
	ck_assert_ptr_eq(programs_find(&programs, &id), program);
	id.start_nsec += 1;
	ck_assert_ptr_null(programs_find(&programs, &id));
	end();
}
END_TEST

START_TEST(a_program_without_a_number_takes_that_of_its_sample)
{
	struct process_id id = id_of(7, 9, 100);
	struct program *program;

	begin();
	program = programs_add(&programs, 7, 0);
	/* Its number is on the way. */
	program->is_exec_pending = true;
	ck_assert_ptr_null(programs_find(&programs, &id));
	program->is_exec_pending = false;
	ck_assert_ptr_eq(programs_find(&programs, &id), program);
	ck_assert_uint_eq(program->id.exec_id, 9);
	ck_assert_uint_eq(program->id.start_nsec, 100 * NSEC_PER_TICK);
	id.exec_id = 10;
	ck_assert_ptr_null(programs_find(&programs, &id));
	end();
}
END_TEST

START_TEST(an_exec_numbers_the_program_before_it)
{
	struct program *before, *after;

	begin();
	before = programs_add(&programs, 7, 0);
	programs_end(&programs, before, 1);
	after = programs_add(&programs, 7, 1);
	after->is_new_program = true;
	program_set_exec_id(after, 5, 100 * NSEC_PER_TICK);
	ck_assert(before->has_exec_id);
	ck_assert_uint_eq(before->id.exec_id, 4);
	ck_assert_uint_eq(before->id.start_nsec, 100 * NSEC_PER_TICK);
	end();
}
END_TEST

START_TEST(what_is_dropped_leaves_the_others_of_its_pid)
{
	struct program *at[3];
	size_t cursor = 0;

	begin();
	for (uint32_t i = 0; i < 3; i++) {
		at[i] = add_numbered(7, i, 100);
		if (i < 2)
			programs_end(&programs, at[i], i);
	}
	programs_drop(&programs, at[1]);
	ck_assert_ptr_eq(at[2]->older, at[0]);
	ck_assert_ptr_eq(at[0]->newer, at[2]);
	programs_drop(&programs, at[2]);
	ck_assert_ptr_null(programs_running(&programs, 7));
	ck_assert_ptr_eq(programs_next(&programs, &cursor), at[0]);
	ck_assert_ptr_null(programs_next(&programs, &cursor));
	programs_drop(&programs, at[0]);
	ck_assert_uint_eq(programs.n, 0);
	cursor = 0;
	ck_assert_ptr_null(programs_next(&programs, &cursor));
	end();
}
END_TEST

START_TEST(each_stays_where_it_is_found_when_its_time_comes)
{
	struct program *seen, *unseen;

	begin();
	seen = add_numbered(7, 0, 100);
	unseen = add_numbered(8, 0, 100);
	ck_assert_uint_eq(programs.n_in_list[PROGRAM_LIST_FRESH], 2);
	ck_assert_ptr_eq(programs_first(&programs, PROGRAM_LIST_FRESH), seen);
	seen->is_seen = seen->has_jit = unseen->has_jit = true;
	programs_rest(&programs, seen);
	programs_rest(&programs, unseen);
	ck_assert_ptr_eq(programs_first(&programs, PROGRAM_LIST_JIT), seen);
	ck_assert_uint_eq(programs.n_in_list[PROGRAM_LIST_JIT], 1);
	ck_assert_ptr_null(programs_first(&programs, PROGRAM_LIST_FRESH));
	programs_end(&programs, seen, 1);
	programs_end(&programs, unseen, 1);
	ck_assert_ptr_null(programs_first(&programs, PROGRAM_LIST_JIT));
	ck_assert_ptr_eq(programs_first(&programs, PROGRAM_LIST_ENDED_SEEN), seen);
	ck_assert_ptr_eq(programs_first(&programs, PROGRAM_LIST_ENDED_UNSEEN), unseen);
	end();
}
END_TEST

START_TEST(a_target_is_told_once_to_come_and_once_to_go)
{
	struct program *program;

	begin();
	program = add_numbered(7, 0, 100);
	programs_tell(&programs, program, false);
	ck_assert_int_eq(n_went, 0);
	programs_tell(&programs, program, true);
	programs_tell(&programs, program, true);
	ck_assert_int_eq(n_came, 1);
	programs_end_process(&programs, program, 1);
	ck_assert_int_eq(n_went, 1);
	ck_assert(!program->is_alive);
	end();
}
END_TEST

UNIT_TESTS("programs", programs_of_one_process_are_told_apart_by_their_number, a_sample_is_exact_within_its_tick,
	a_program_without_a_number_takes_that_of_its_sample, an_exec_numbers_the_program_before_it,
	what_is_dropped_leaves_the_others_of_its_pid, each_stays_where_it_is_found_when_its_time_comes,
	a_target_is_told_once_to_come_and_once_to_go)
