/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, the slices and the printed line of the truth programs: see truth.h. */
#include "truth.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Given by the build script; it also makes the build ids of variants of one source differ. */
#ifndef TARGET_NAME
#define TARGET_NAME "unnamed"
#endif

/* A round takes 1 to 2 ns: slices of 0.1 to 3 ms, so reading the clock around them costs well under 0.1 %. */
#define SLICE_MIN_ROUNDS UINT64_C(100000)
#define SLICE_MAX_ROUNDS UINT64_C(1500000)

static volatile sig_atomic_t stopped;
static uint64_t n_rounds_done;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

int truth_stopped(void)
{
	return stopped;
}

static uint64_t clock_nsec(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t truth_thread_nsec(void)
{
	return clock_nsec(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t truth_process_nsec(void)
{
	return clock_nsec(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t truth_monotonic_nsec(void)
{
	return clock_nsec(CLOCK_MONOTONIC);
}

uint64_t truth_seed(void)
{
	return (truth_monotonic_nsec() ^ (uint64_t)getpid() << 32) | 1;
}

/* xorshift64 */
uint64_t truth_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

double truth_begin(int argc, char **argv, double fallback)
{
	char *end;
	double seconds = fallback;

	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	if (argc < 2)
		return seconds;
	seconds = strtod(argv[1], &end);
	if (end == argv[1] || *end || !(seconds >= 0 && seconds <= 86400)) {
		fprintf(stderr, "%s: seconds from 0 to 86400, not '%s'\n", argv[0], argv[1]);
		exit(64);
	}
	return seconds;
}

uint64_t truth_slice(struct share *share, uint64_t *random)
{
	uint64_t n_rounds = SLICE_MIN_ROUNDS + truth_random(random) % (SLICE_MAX_ROUNDS - SLICE_MIN_ROUNDS);
	uint64_t start_nsec = truth_thread_nsec();
	uint64_t took_nsec;

	share->burn(n_rounds);
	took_nsec = truth_thread_nsec() - start_nsec;
	share->cpu_nsec += took_nsec;
	__atomic_fetch_add(&n_rounds_done, n_rounds, __ATOMIC_RELAXED);
	return took_nsec;
}

static struct share *furthest_behind(struct share *shares, size_t n_shares)
{
	struct share *behind = shares;

	for (size_t i = 1; i < n_shares; i++)
		if (shares[i].cpu_nsec * behind->percent < behind->cpu_nsec * shares[i].percent)
			behind = &shares[i];
	return behind;
}

void truth_spend(struct share *shares, size_t n_shares, double seconds)
{
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);
	uint64_t random = truth_seed();

	while (!stopped && truth_monotonic_nsec() < end_nsec)
		truth_slice(furthest_behind(shares, n_shares), &random);
}

void truth_print_open(const struct share *shares, size_t n_shares)
{
	printf("{\"target\":\"%s\",\"pid\":%d,\"cpu_ns\":{", TARGET_NAME, (int)getpid());
	for (size_t i = 0; i < n_shares; i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "", shares[i].name, shares[i].cpu_nsec);
	printf("},\"total_ns\":%" PRIu64 ",\"rounds\":%" PRIu64, truth_process_nsec(), n_rounds_done);
}

void truth_print(const struct share *shares, size_t n_shares)
{
	truth_print_open(shares, n_shares);
	printf("}\n");
	fflush(stdout);
}
