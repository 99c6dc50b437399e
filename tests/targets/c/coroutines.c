/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three coroutines (makecontext, swapcontext), each on a stack of its own: alpha below climb_alpha, beta below
 * climb_beta, gamma below climb_gamma, each 9 frames deep. A coroutine begins in run_coroutine, which libc's
 * __start_context called, so to say. `coroutines [SECONDS]`
 */
#include "truth.h"
#include "work.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { N_COROUTINES = 3, DEPTH = 9, STACK_SIZE = 128 << 10 };

struct coroutine {
	ucontext_t context;
	struct share *share;
};

static struct share shares[] = {
	{"alpha", 50, alpha, 0},
	{"beta", 30, beta, 0},
	{"gamma", 20, gamma, 0},
};

static struct coroutine coroutines[N_COROUTINES];
static ucontext_t scheduler;
static uint64_t random_state;

/* Works a slice at a time, each time the scheduler comes back to it. */
__attribute__((noinline)) static void work_in_turns(struct coroutine *self)
{
	for (;;) {
		truth_slice(self->share, &random_state);
		swapcontext(&self->context, &scheduler);
	}
}

#define CLIMB(name)                                                                     \
	__attribute__((noinline)) static unsigned name(struct coroutine *self, unsigned depth) \
	{                                                                               \
		unsigned below = 0;                                                     \
											\
		if (depth > 1)                                                          \
			below = name(self, depth - 1);                                  \
		else                                                                    \
			work_in_turns(self);                                            \
		__asm__ volatile("" : "+r"(below) : : "memory");                        \
		return below + 1;                                                       \
	}

CLIMB(climb_alpha)
CLIMB(climb_beta)
CLIMB(climb_gamma)

__attribute__((noinline)) static void run_coroutine(int number)
{
	static unsigned (*const climbs[])(struct coroutine *, unsigned) = {climb_alpha, climb_beta, climb_gamma};

	climbs[number](&coroutines[number], DEPTH);
	__asm__ volatile("");
}

static void make(int number)
{
	struct coroutine *self = &coroutines[number];

	self->share = &shares[number];
	if (getcontext(&self->context) < 0)
		exit(71);
	self->context.uc_stack.ss_size = STACK_SIZE;
	self->context.uc_stack.ss_sp = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (self->context.uc_stack.ss_sp == MAP_FAILED)
		exit(71);
	self->context.uc_link = &scheduler;
	makecontext(&self->context, (void (*)(void))run_coroutine, 1, number);
}

static int furthest_behind(void)
{
	int behind = 0;

	for (int i = 1; i < N_COROUTINES; i++)
		if (shares[i].cpu_nsec * shares[behind].percent < shares[behind].cpu_nsec * shares[i].percent)
			behind = i;
	return behind;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);

	random_state = truth_seed();
	for (int i = 0; i < N_COROUTINES; i++)
		make(i);
	while (!truth_stopped() && truth_monotonic_nsec() < end_nsec)
		swapcontext(&scheduler, &coroutines[furthest_behind()].context);
	truth_print(shares, N_COROUTINES);
	return 0;
}
