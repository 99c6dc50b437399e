/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process whose first thread ends at once: two threads go on with the work of shares.c, below leaderless_work, and the
 * last one prints. `leaderless [SECONDS]`
 */
#include "truth.h"
#include "work.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { N_THREADS = 2 };

static struct share shares[N_THREADS][3];
static pthread_barrier_t barrier;
static double n_seconds;

__attribute__((noinline)) static void leaderless_work(struct share *own)
{
	truth_spend(own, 3, n_seconds);
	__asm__ volatile("");
}

static void *run(void *own)
{
	leaderless_work(own);
	if (pthread_barrier_wait(&barrier) != PTHREAD_BARRIER_SERIAL_THREAD)
		return NULL;
	for (int i = 0; i < 3; i++)
		shares[0][i].cpu_nsec += shares[1][i].cpu_nsec;
	truth_print(shares[0], 3);
	exit(0);
}

int main(int argc, char **argv)
{
	const struct share all[] = {{"alpha", 50, alpha, 0}, {"beta", 30, beta, 0}, {"gamma", 20, gamma, 0}};

	n_seconds = truth_begin(argc, argv, 5);
	pthread_barrier_init(&barrier, NULL, N_THREADS);
	for (int i = 0; i < N_THREADS; i++) {
		pthread_t thread;

		for (int j = 0; j < 3; j++)
			shares[i][j] = all[j];
		if (pthread_create(&thread, NULL, run, shares[i]))
			return 71;
	}
	pthread_exit(NULL);
}
