/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three named threads, each on its own piece of work for its own part of the time: "ingest" burns alpha half of the
 * time, "query" beta 30 %, "aggregate" gamma 20 %, and they sleep for the rest. Together they want one core.
 * `threads [SECONDS]`; the line it prints also has each thread's id, name and CPU time.
 */
#include "truth.h"
#include "work.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

struct worker {
	pthread_t thread;
	const char *name;
	struct share *share;
	uint64_t end_nsec;
	uint64_t cpu_nsec;
	int tid;
};

/* Sleeps until `cpu_nsec` is no more than this percentage of the time since the start. */
static void rest(uint64_t start_nsec, uint64_t cpu_nsec, unsigned percent)
{
	uint64_t due_nsec = start_nsec + cpu_nsec * 100 / percent;
	uint64_t now_nsec = truth_monotonic_nsec();

	if (due_nsec > now_nsec)
		usleep((useconds_t)((due_nsec - now_nsec) / 1000));
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;
	uint64_t start_nsec = truth_monotonic_nsec();
	uint64_t random = truth_seed() ^ (uintptr_t)w;

	w->tid = (int)syscall(SYS_gettid);
	pthread_setname_np(pthread_self(), w->name);
	while (!truth_stopped() && truth_monotonic_nsec() < w->end_nsec) {
		truth_slice(w->share, &random);
		rest(start_nsec, w->share->cpu_nsec, w->share->percent);
	}
	w->cpu_nsec = truth_thread_nsec();
	return NULL;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	struct share shares[] = {
		{"alpha", 50, alpha, 0},
		{"beta", 30, beta, 0},
		{"gamma", 20, gamma, 0},
	};
	struct worker workers[] = {
		{.name = "ingest", .share = &shares[0]},
		{.name = "query", .share = &shares[1]},
		{.name = "aggregate", .share = &shares[2]},
	};

	for (int i = 0; i < 3; i++) {
		workers[i].end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);
		if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]))
			return 71;
	}
	for (int i = 0; i < 3; i++)
		pthread_join(workers[i].thread, NULL);

	truth_print_open(shares, 3);
	printf(",\"threads\":[");
	for (int i = 0; i < 3; i++)
		printf("%s{\"name\":\"%s\",\"tid\":%d,\"cpu_ns\":%" PRIu64 "}", i ? "," : "", workers[i].name,
		       workers[i].tid, workers[i].cpu_nsec);
	printf("]}\n");
	return 0;
}
