/* SPDX-License-Identifier: Apache-2.0 */
#include "idle.h"

#include "made_waits.h"
#include "main.h"
#include "stacks.h"

/* A stack's functions: its frames are their numbers, leaf first. Those below 100 are a library's, 900 is a runtime's. */
enum { LIBRARY = 100, RUNTIME = 900, OPAQUE = 901, ACCEPT = 1, MONITOR = 2, WINDOW_NSEC = 1000000 };

static struct stacks *stacks;
static uint32_t process;

static uint32_t stack_of(const uint64_t *frames, uint16_t n)
{
	uint32_t index = made_wait_stack(stacks, process, 0);
	struct stacks_stack *stack = &stacks->stacks.at[index];

	stack->hash = index + 1;
	stack->n_user = n;
	stack->first_frame = stacks->frames.n;
	stack->verdict = SAMPLE_VERDICT_COMPLETE;
	ck_assert_int_ge(vec_append(&stacks->frames, frames, n), 0);
	return index;
}

#define STACK(...) stack_of((const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

static struct idle_place place_of(const struct stacks_stack *stack, const void *userdata)
{
	struct idle_place place = { 0 };

	ck_assert_ptr_eq(userdata, &process);
	for (size_t i = 0; i < stack->n_user; i++) {
		uint64_t frame = stacks->frames.at[stack->first_frame + i];

		place.depth += frame >= LIBRARY && frame != RUNTIME;
		place.n_inner += !place.depth;
		place.is_runtime |= frame == RUNTIME;
		place.is_opaque |= frame == OPAQUE;
		place.accepts |= frame == ACCEPT;
		place.contends |= frame == MONITOR;
	}
	place.is_runtime &= !place.depth;
	return place;
}

static void begin(void)
{
	stacks = stacks_new();
	stacks->duration_nsec = WINDOW_NSEC;
	process = made_wait_process(stacks, 10, 1);
}

static size_t wait_at(uint32_t stack, uint32_t tid, enum sample_reason reason, uint64_t count, uint64_t nsec)
{
	made_wait(stacks, stack, tid, reason, 0, count, nsec);
	return stacks->samples.n - 1;
}

static size_t wait_for(uint32_t stack, uint32_t tid, uint64_t futex)
{
	size_t index = wait_at(stack, tid, SAMPLE_CHANNEL, 5, 1000);

	stacks->samples.at[index].wait.object = futex;
	return index;
}

static void find(void)
{
	ck_assert_int_eq(idle_find(stacks, place_of, &process), 0);
}

static bool is_idle(size_t index)
{
	return stacks->samples.at[index].is_idle;
}

START_TEST(a_worker_is_idle_where_it_takes_work_and_not_where_it_waits_for_an_answer)
{
	size_t home, answer, socket, lock;

	begin();
	/* The way into the library is longer at home: that counts for nothing. */
	home = wait_at(STACK(11, 12, 13, 14, 201, 200), 1, SAMPLE_CHANNEL, 9, 1000);
	answer = wait_at(STACK(15, 303, 302, 202, 200), 1, SAMPLE_CHANNEL, 9, 90000);
	socket = wait_at(STACK(16, 302, 202, 200), 1, SAMPLE_NETWORK, 9, 90000);
	lock = wait_at(STACK(17, 201, 200), 1, SAMPLE_LOCK, 9, 1000);
	find();
	ck_assert(is_idle(home));
	ck_assert(!is_idle(answer));
	ck_assert(!is_idle(socket));
	ck_assert(!is_idle(lock));
	stacks_free(stacks);
}
END_TEST

START_TEST(one_place_is_one_whatever_way_the_library_waits)
{
	size_t fast, slow;

	begin();
	fast = wait_at(STACK(11, 201, 200), 1, SAMPLE_CHANNEL, 9, 1000);
	slow = wait_at(STACK(11, 12, 201, 200), 1, SAMPLE_CHANNEL, 9, 1000);
	wait_at(STACK(302, 202, 200), 1, SAMPLE_RUNQUEUE, 1, 10);
	find();
	ck_assert(is_idle(fast));
	ck_assert(is_idle(slow));
	stacks_free(stacks);
}
END_TEST

START_TEST(of_two_places_that_are_equally_deep_none_is_home)
{
	size_t one, other;

	begin();
	one = wait_at(STACK(11, 201, 200), 1, SAMPLE_CHANNEL, 9, 1000);
	other = wait_at(STACK(11, 202, 200), 1, SAMPLE_CHANNEL, 9, 1000);
	wait_at(STACK(303, 302, 202, 200), 1, SAMPLE_RUNQUEUE, 1, 10);
	find();
	ck_assert(!is_idle(one));
	ck_assert(!is_idle(other));
	stacks_free(stacks);
}
END_TEST

START_TEST(threads_that_wait_for_the_same_thing_at_the_same_place_are_a_pool)
{
	uint32_t stack;
	size_t first, second, alone, its_own;

	begin();
	stack = STACK(11, 201, 200);
	first = wait_for(stack, 1, 0x1028);
	second = wait_for(stack, 2, 0x102c); /* the other group of the same condition variable */
	alone = wait_for(STACK(11, 301, 200), 3, 0x2000);
	its_own = wait_for(stack, 4, 0x3000);
	find();
	ck_assert(is_idle(first));
	ck_assert(is_idle(second));
	ck_assert(!is_idle(alone));
	ck_assert(!is_idle(its_own));
	stacks_free(stacks);
}
END_TEST

START_TEST(threads_of_two_processes_are_no_pool)
{
	size_t first, second;

	begin();
	first = wait_for(STACK(11, 201, 200), 1, 0x1000);
	process = made_wait_process(stacks, 11, 1);
	second = wait_for(STACK(11, 201, 200), 2, 0x1000);
	find();
	ck_assert(!is_idle(first));
	ck_assert(!is_idle(second));
	stacks_free(stacks);
}
END_TEST

START_TEST(who_never_moved_is_idle_unless_it_waits_for_a_lock_or_a_peer)
{
	size_t parked, moved, lock, peer, nearly;

	begin();
	parked = wait_at(STACK(11, 201, 200), 1, SAMPLE_CHANNEL, 1, WINDOW_NSEC - 1000);
	moved = wait_at(STACK(11, 202, 200), 2, SAMPLE_CHANNEL, 2, WINDOW_NSEC - 1000);
	lock = wait_at(STACK(11, 203, 200), 3, SAMPLE_LOCK, 1, WINDOW_NSEC);
	peer = wait_at(STACK(11, 204, 200), 4, SAMPLE_NETWORK, 1, WINDOW_NSEC);
	nearly = wait_at(STACK(11, 205, 200), 5, SAMPLE_SELECT, 1, WINDOW_NSEC / 10 * 9);
	find();
	ck_assert(is_idle(parked));
	ck_assert(!is_idle(moved));
	ck_assert(!is_idle(lock));
	ck_assert(!is_idle(peer));
	ck_assert(!is_idle(nearly));
	stacks_free(stacks);
}
END_TEST

START_TEST(a_timer_and_who_accepts_need_no_other_sign)
{
	size_t timer, acceptor, child, reader;

	begin();
	timer = wait_at(STACK(11, 201, 200), 1, SAMPLE_SLEEP, 50, 1000);
	acceptor = wait_at(STACK(ACCEPT, 202, 200), 2, SAMPLE_NETWORK, 50, 1000);
	child = wait_at(STACK(11, 203, 200), 3, SAMPLE_CHILD, 50, 1000);
	reader = wait_at(STACK(11, 204, 200), 4, SAMPLE_NETWORK, 50, 1000);
	find();
	ck_assert(is_idle(timer));
	ck_assert(is_idle(acceptor));
	ck_assert(is_idle(child));
	ck_assert(!is_idle(reader));
	stacks_free(stacks);
}
END_TEST

START_TEST(a_sleep_in_a_request_is_none_of_a_timer)
{
	size_t home, pause;

	begin();
	home = wait_at(STACK(11, 201, 200), 1, SAMPLE_SELECT, 50, 1000);
	pause = wait_at(STACK(11, 302, 202, 200), 1, SAMPLE_SLEEP, 50, 1000);
	find();
	ck_assert(is_idle(home));
	ck_assert(!is_idle(pause));
	stacks_free(stacks);
}
END_TEST

START_TEST(what_a_runtime_waits_for_by_itself_is_idle_and_what_a_program_waits_for_on_its_threads_is_not)
{
	size_t park, poll, call, lock;

	begin();
	park = wait_at(STACK(11, 12, RUNTIME), 1, SAMPLE_CHANNEL, 50, 1000);
	poll = wait_at(STACK(13, RUNTIME), 1, SAMPLE_SELECT, 50, 1000);
	call = wait_at(STACK(14, 301, RUNTIME), 1, SAMPLE_SELECT, 50, 1000);
	lock = wait_at(STACK(15, RUNTIME), 1, SAMPLE_LOCK, 50, 1000);
	find();
	ck_assert(is_idle(park));
	ck_assert(is_idle(poll));
	ck_assert(!is_idle(call));
	ck_assert(!is_idle(lock));
	stacks_free(stacks);
}
END_TEST

START_TEST(monitors_and_what_is_interpreted_are_not_trusted)
{
	size_t monitor, interpreted, parked;

	begin();
	monitor = wait_at(STACK(MONITOR, 201, 200), 1, SAMPLE_CHANNEL, 1, WINDOW_NSEC);
	interpreted = wait_at(STACK(11, OPAQUE, 200), 2, SAMPLE_CHANNEL, 50, 1000);
	wait_at(STACK(303, 302, 202, 200), 2, SAMPLE_RUNQUEUE, 1, 10);
	parked = wait_at(STACK(11, OPAQUE, 201, 200), 3, SAMPLE_CHANNEL, 1, WINDOW_NSEC);
	find();
	ck_assert(!is_idle(monitor));
	ck_assert(!is_idle(interpreted));
	ck_assert(is_idle(parked));
	stacks_free(stacks);
}
END_TEST

START_TEST(a_wait_whose_stack_is_broken_or_missing_is_not_idle)
{
	uint32_t broken;
	size_t without, in_broken, whole;

	begin();
	broken = STACK(11, 201, 200);
	stacks->stacks.at[broken].verdict = SAMPLE_VERDICT_NO_TABLE;
	in_broken = wait_at(broken, 1, SAMPLE_SLEEP, 1, WINDOW_NSEC);
	without = wait_at(made_wait_stack(stacks, process, 0), 1, SAMPLE_SLEEP, 1, WINDOW_NSEC);
	whole = wait_at(STACK(11, 302, 301, 200), 1, SAMPLE_SLEEP, 1, 1000);
	find();
	ck_assert(!is_idle(in_broken));
	ck_assert(!is_idle(without));
	ck_assert(is_idle(whole)); /* all that is known of it */
	stacks_free(stacks);
}
END_TEST

UNIT_TESTS("idle", a_worker_is_idle_where_it_takes_work_and_not_where_it_waits_for_an_answer,
		one_place_is_one_whatever_way_the_library_waits, of_two_places_that_are_equally_deep_none_is_home,
		threads_that_wait_for_the_same_thing_at_the_same_place_are_a_pool, threads_of_two_processes_are_no_pool,
		who_never_moved_is_idle_unless_it_waits_for_a_lock_or_a_peer, a_timer_and_who_accepts_need_no_other_sign,
		a_sleep_in_a_request_is_none_of_a_timer,
		what_a_runtime_waits_for_by_itself_is_idle_and_what_a_program_waits_for_on_its_threads_is_not,
		monitors_and_what_is_interpreted_are_not_trusted, a_wait_whose_stack_is_broken_or_missing_is_not_idle)
