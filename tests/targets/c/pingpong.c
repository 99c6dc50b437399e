/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads on one CPU that hand a byte to and fro through pipes, as fast as they can: all that they do is to wait for each
 * other, a million times a second. `pingpong [SECONDS]`; the line has "trips" and "threads":[{"name","tid","cpu_ns"}].
 */
#include "truth.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

struct player {
	const char *name;
	int from, to;
	pthread_t thread;
	int tid;
	uint64_t n_trips, cpu_nsec;
};

/* Ends when the pipe does. */
__attribute__((noinline)) static void play(struct player *player)
{
	char byte;

	while (read(player->from, &byte, 1) == 1 && write(player->to, &byte, 1) == 1)
		player->n_trips++;
}

static void *run(void *argument)
{
	struct player *player = argument;

	pthread_setname_np(pthread_self(), player->name);
	player->tid = gettid();
	play(player);
	close(player->to);
	player->cpu_nsec = truth_thread_nsec();
	return NULL;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);
	struct player players[2] = { { .name = "ping" }, { .name = "pong" } };
	int there[2], back[2];
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0 || pipe(there) < 0 || pipe(back) < 0)
		return 1;
	players[0].from = there[0];
	players[0].to = back[1];
	players[1].from = back[0];
	players[1].to = there[1];
	if (pthread_create(&players[0].thread, NULL, run, &players[0]) || pthread_create(&players[1].thread, NULL, run, &players[1]))
		return 1;
	if (write(there[1], "", 1) != 1)
		return 1;
	while (truth_monotonic_nsec() < end_nsec && !truth_stopped())
		usleep(10000);
	/* Whoever reads next has nothing to read. */
	close(there[1]);
	pthread_join(players[0].thread, NULL);
	pthread_join(players[1].thread, NULL);
	truth_print_open(NULL, 0);
	printf(",\"trips\":%" PRIu64 ",\"threads\":[", players[0].n_trips);
	for (int i = 0; i < 2; i++)
		printf("%s{\"name\":\"%s\",\"tid\":%d,\"cpu_ns\":%" PRIu64 "}", i ? "," : "", players[i].name, players[i].tid, players[i].cpu_nsec);
	printf("]}\n");
	return 0;
}
