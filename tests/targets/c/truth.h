/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What every truth program shares: it spends CPU time on named pieces of work in given shares, measures with its own
 * clock what each piece really took, and prints that as one line of JSON.
 *
 * A slice of work has a random length, so that slices never beat against a profiler's sampling period.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct share {
	const char *name;
	unsigned percent;
	void (*burn)(uint64_t n_rounds); /* CPU time in proportion to n_rounds */
	uint64_t cpu_nsec;               /* what it took so far */
};

/* The number of seconds given as first argument; without one `fallback`. Also lets SIGINT and SIGTERM end the run early. */
double truth_begin(int argc, char **argv, double fallback);

/* Works for that many seconds of wall time, always on the piece that is furthest behind its share. */
void truth_spend(struct share *shares, size_t n_shares, double seconds);

/* Works one slice of random length on a piece. `random` is the caller's state, not 0. Returns the CPU time it took. */
uint64_t truth_slice(struct share *share, uint64_t *random);

/* {"target":..,"pid":..,"cpu_ns":{name:..},"total_ns":..}: the total is that of the process, start-up included. */
void truth_print(const struct share *shares, size_t n_shares);

/* The parts of that line, for programs with more to say: everything up to the closing brace, which is the caller's. */
void truth_print_open(const struct share *shares, size_t n_shares);

uint64_t truth_thread_nsec(void);    /* CPU time of this thread */
uint64_t truth_process_nsec(void);   /* CPU time of this process */
uint64_t truth_monotonic_nsec(void);
uint64_t truth_seed(void);
uint64_t truth_random(uint64_t *state);
int truth_stopped(void);             /* a signal asked for the end */

#ifdef __cplusplus
}
#endif
