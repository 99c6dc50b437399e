/* SPDX-License-Identifier: Apache-2.0 */
#include "own_cost.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../main.h"
#include "clock.h"

#define MIB (UINT64_C(1) << 20)

static void burn(uint64_t msec)
{
	uint64_t end = clock_nsec(CLOCK_PROCESS_CPUTIME_ID) + msec * NSEC_PER_MSEC;

	while (clock_nsec(CLOCK_PROCESS_CPUTIME_ID) < end)
		;
}

/* A helper that uses this much, says so, and stays until it is killed. */
struct helper {
	uint64_t msec, bytes;
	pid_t pid;
};

static void become_helper(const struct helper *helper, int said)
{
	char *memory = mmap(NULL, helper->bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		_exit(1);
	memset(memory, 1, helper->bytes + 1);
	burn(helper->msec);
	if (write(said, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void *start(void *argument)
{
	struct helper *helper = argument;
	int ends[2];
	char byte;

	ck_assert_int_eq(pipe(ends), 0);
	helper->pid = fork();
	ck_assert_int_ge(helper->pid, 0);
	if (!helper->pid)
		become_helper(helper, ends[1]);
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	close(ends[1]);
	return NULL;
}

static void stop(const struct helper *helper)
{
	kill(helper->pid, SIGKILL);
	ck_assert_int_eq(waitpid(helper->pid, NULL, 0), helper->pid);
}

START_TEST(own_time_is_the_cores)
{
	struct own_cost cost = { 0 };
	struct own_cost_cpu before = own_cost_cpu(&cost), after;

	burn(50);
	after = own_cost_cpu(&cost);
	ck_assert_uint_ge(after.core_nsec - before.core_nsec, 50 * NSEC_PER_MSEC);
	ck_assert_uint_eq(after.helpers_nsec, 0);
	ck_assert_uint_eq(own_cost_cpu_sum(&after), after.core_nsec + after.bpf_nsec);
}
END_TEST

START_TEST(helpers_count_while_they_live_and_afterwards)
{
	struct own_cost cost = { 0 };
	struct helper a = { .msec = 60 }, b = { .msec = 30 };
	uint64_t alive, dead;

	start(&a);
	start(&b);
	alive = own_cost_cpu(&cost).helpers_nsec;
	ck_assert_uint_ge(alive, 90 * NSEC_PER_MSEC);
	stop(&a);
	dead = own_cost_cpu(&cost).helpers_nsec;
	ck_assert_uint_ge(dead, alive);
	stop(&b);
	dead = own_cost_cpu(&cost).helpers_nsec;
	ck_assert_uint_ge(dead, alive);
	/* Each once: what they do besides is little. */
	ck_assert_uint_lt(dead, 180 * NSEC_PER_MSEC);
}
END_TEST

START_TEST(helpers_of_another_thread_are_found)
{
	struct own_cost cost = { 0 };
	struct helper helper = { .msec = 40, .bytes = 32 * MIB };
	pthread_t thread;

	/* And it has ended by then. */
	ck_assert_int_eq(pthread_create(&thread, NULL, start, &helper), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_ge(own_cost_cpu(&cost).helpers_nsec, 40 * NSEC_PER_MSEC);
	ck_assert_uint_ge(own_cost_memory().helpers_bytes, 32 * MIB);
	stop(&helper);
	ck_assert_uint_eq(own_cost_memory().helpers_bytes, 0);
}
END_TEST

START_TEST(memory_is_what_is_resident)
{
	uint64_t before = own_cost_memory().core_bytes;
	char *memory = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	ck_assert_uint_lt(own_cost_memory().core_bytes, before + 32 * MIB);
	memset(memory, 1, 64 * MIB);
	ck_assert_uint_ge(own_cost_memory().core_bytes, before + 60 * MIB);
	munmap(memory, 64 * MIB);
	ck_assert_uint_lt(own_cost_memory().core_bytes, before + 32 * MIB);
}
END_TEST

START_TEST(time_of_programs_is_known_when_it_is_told)
{
	struct own_cost cost = { 0 };
	struct own_cost_cpu cpu;

	cpu = own_cost_cpu(&cost);
	ck_assert_uint_eq(cpu.bpf_nsec, 0);
	own_cost_add_bpf(&cost, 500);
	own_cost_add_bpf(&cost, 70);
	cpu = own_cost_cpu(&cost);
	ck_assert_uint_eq(cpu.bpf_nsec, 570);
	ck_assert_uint_eq(own_cost_cpu_sum(&cpu), cpu.core_nsec + cpu.helpers_nsec + 570);
}
END_TEST

UNIT_TESTS("own_cost", own_time_is_the_cores, helpers_count_while_they_live_and_afterwards,
		helpers_of_another_thread_are_found, memory_is_what_is_resident, time_of_programs_is_known_when_it_is_told)
