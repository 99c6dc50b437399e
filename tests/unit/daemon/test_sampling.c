/* SPDX-License-Identifier: Apache-2.0 */
/* When there is something to do; what it does then wants a kernel: tests/system/test_{gapless,block,reload}.py. */
#include "sampling.h"

#include "clock.h"
#include "config.h"
#include "governor.h"
#include "main.h"
#include "map.h"
#include "options.h"
#include "own_cost.h"

static const struct config wanted = {
	.enabled = true,
	.host = { .enabled = true },
	.cpu = { .enabled = true, .duration_usec = 30000000, .interval_usec = 300000000, .rate = 99, .background_rate = 19 },
	.block = { .enabled = true, .duration_usec = 30000000, .interval_usec = 300000000 },
	.wall = { .duration_usec = 30000000, .interval_usec = 300000000 },
	.goroutine = { .enabled = true, .snapshot_interval_usec = 60000000 },
};

struct room {
	struct options options;
	struct governor governor;
	struct own_cost own_cost;
	struct map in_depth;
	struct sampling *sampling;
};

static void room_init(struct room *room, enum sampling_kind kind)
{
	const struct governor_options options = { .n_cpus = 2, .cpu_ppm = 1000, .cycle_nsec = 300 * NSEC_PER_SEC };
	struct sampling_surroundings surroundings = {
		.options = &room->options, .in_depth = &room->in_depth, .governor = &room->governor, .own_cost = &room->own_cost,
	};

	*room = (struct room){ 0 };
	governor_init(&room->governor, &options);
	map_init(&room->in_depth, sizeof(uint32_t), 0);
	room->sampling = sampling_new(kind, &surroundings);
	ck_assert_ptr_nonnull(room->sampling);
}

static void room_deinit(struct room *room)
{
	ck_assert_ptr_null(sampling_free(room->sampling));
	map_deinit(&room->in_depth);
}

static void add_target(struct room *room, uint32_t pid)
{
	void *value;

	ck_assert_int_eq(map_put(&room->in_depth, &pid, &value), 1);
	sampling_set_target(room->sampling, pid, true);
}

START_TEST(what_is_wanted_is_due_at_once)
{
	struct config config = wanted;
	struct room room;

	room_init(&room, SAMPLING_CPU);
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &config), 0);
	config.cpu.enabled = false;
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &config), UINT64_MAX);
	config = wanted;
	config.enabled = false;
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &config), UINT64_MAX);
	room_deinit(&room);
}
END_TEST

START_TEST(waits_are_not_looked_at_before_there_is_a_target)
{
	struct room room;

	room_init(&room, SAMPLING_OFFCPU);
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &wanted), UINT64_MAX);
	add_target(&room, 10);
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &wanted), 0);
	room_deinit(&room);
}
END_TEST

START_TEST(each_of_block_mutex_and_wall_wants_them)
{
	struct config config = wanted;
	struct room room;

	room_init(&room, SAMPLING_OFFCPU);
	add_target(&room, 10);
	config.block.enabled = false;
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &config), UINT64_MAX);
	config.mutex.enabled = true;
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &config), 0);
	config.mutex.enabled = false;
	config.wall.enabled = true;
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &config), 0);
	room_deinit(&room);
}
END_TEST

START_TEST(a_turn_where_nothing_is_wanted_gives_nothing)
{
	const struct sampling_turn turn = { .config = &wanted, .now = { 1000 * NSEC_PER_SEC, 50 * NSEC_PER_SEC } };
	struct capture *capture = (void *)1;
	struct room room;

	room_init(&room, SAMPLING_OFFCPU);
	ck_assert_int_eq(sampling_turn(room.sampling, &turn, &capture), 0);
	ck_assert_ptr_null(capture);
	ck_assert_uint_eq(sampling_rate(room.sampling), 0);
	ck_assert_uint_eq(sampling_memory(room.sampling), 0);
	capture = (void *)1;
	ck_assert_int_eq(sampling_finish(room.sampling, &turn, &capture), 0);
	ck_assert_ptr_null(capture);
	ck_assert_int_eq(sampling_profile_kind(room.sampling), PROFILE_BLOCK);
	/* A target that comes in the middle of a window does not wait for the next one. */
	add_target(&room, 10);
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &wanted), 0);
	ck_assert_ptr_null(sampling_free(NULL));
	room_deinit(&room);
}
END_TEST

START_TEST(snapshots_want_a_target_and_are_not_taken_at_the_end)
{
	const struct sampling_turn turn = { .config = &wanted, .now = { 1000 * NSEC_PER_SEC, 50 * NSEC_PER_SEC } };
	struct capture *capture = (void *)1;
	struct config config = wanted;
	struct room room;

	room_init(&room, SAMPLING_THREAD);
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &wanted), UINT64_MAX);
	add_target(&room, 10);
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &wanted), 0);
	config.goroutine.enabled = false;
	ck_assert_uint_eq(sampling_due_nsec(room.sampling, &config), UINT64_MAX);
	ck_assert_int_eq(sampling_finish(room.sampling, &turn, &capture), 0);
	ck_assert_ptr_null(capture);
	ck_assert_int_eq(sampling_profile_kind(room.sampling), PROFILE_THREAD);
	room_deinit(&room);
}
END_TEST

UNIT_TESTS("sampling", snapshots_want_a_target_and_are_not_taken_at_the_end, what_is_wanted_is_due_at_once, waits_are_not_looked_at_before_there_is_a_target, each_of_block_mutex_and_wall_wants_them,
		a_turn_where_nothing_is_wanted_gives_nothing)
