/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sample costs in the kernel, by depth of the stack: the run time of the program by the kernel's own statistics
 * (bpf_enable_stats), of a process that does nothing else, the median of some rounds (what other processes' samples
 * cost is estimated and taken off, which errs both ways: run it on a quiet machine). Then what it costs us to take in a window. Needs root.
 */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "sampler_cpu.h"
#include "stacks.h"

enum { RATE = 1999, ROUNDS = 5, ROUND_USEC = 500000 };

static volatile uint64_t sink;

__attribute__((noinline)) static void go_down(unsigned int depth)
{
	if (depth)
		go_down(depth - 1);
	else
		for (unsigned int i = 0; i < 1000000; i++)
			sink = sink * 3 + i;
	__asm__ volatile("" ::: "memory"); /* not a tail call */
}

static struct bpf_prog_info program_info(int fd)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		memset(&info, 0, sizeof(info));
	return info;
}

/* The newest of its name is ours. */
static int find_program(void)
{
	uint32_t id = 0;
	int found = -1;

	while (!bpf_prog_get_next_id(id, &id)) {
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (strcmp(program_info(fd).name, "sample_cpu")) {
			close(fd);
			continue;
		}
		if (found >= 0)
			close(found);
		found = fd;
	}
	return found;
}

static void run_for(sd_event *loop, uint64_t usec)
{
	uint64_t end = clock_monotonic_nsec() + usec * NSEC_PER_USEC, now;

	while ((now = clock_monotonic_nsec()) < end)
		if (sd_event_run(loop, (end - now) / NSEC_PER_USEC + 1) < 0)
			abort();
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int measure(sd_event *loop, unsigned int depth)
{
	const struct sampler_options options = { .rate = RATE };
	uint64_t costs[ROUNDS] = {0}, drain_cpu = 0, seen = 0, n_frames = 0, kept = 0;
	struct sampler *sampler;
	int r, fd;
	pid_t pid;

	r = sampler_cpu_new(loop, &options, NULL, NULL, &sampler);
	if (r < 0) {
		fprintf(stderr, "sampler_cpu_new: %s\n", strerror(-r));
		return r;
	}
	fd = find_program();
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			go_down(depth);
	}
	/* Everybody else leaves early and would be part of the mean: take the difference from a round without target. */
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct bpf_prog_info before, after;
		struct stacks *stacks;
		uint64_t others_nsec, others, nsec, runs, cpu;

		sampler->ops->set_target(sampler, (uint32_t)pid, false);
		before = program_info(fd);
		run_for(loop, ROUND_USEC / 5);
		after = program_info(fd);
		others_nsec = after.run_time_ns - before.run_time_ns;
		others = after.run_cnt - before.run_cnt;

		sampler->ops->set_target(sampler, (uint32_t)pid, true);
		if (sampler->ops->drain(sampler, RATE, &stacks) < 0)
			abort();
		stacks_free(stacks);
		before = program_info(fd);
		run_for(loop, ROUND_USEC);
		after = program_info(fd);
		cpu = clock_nsec(CLOCK_PROCESS_CPUTIME_ID);
		if (sampler->ops->drain(sampler, RATE, &stacks) < 0)
			abort();
		drain_cpu += clock_nsec(CLOCK_PROCESS_CPUTIME_ID) - cpu;
		nsec = after.run_time_ns - before.run_time_ns;
		runs = after.run_cnt - before.run_cnt;
		kept = stacks_kept(stacks);
		seen += stacks->seen;
		for (size_t j = 0; j < stacks->samples.n; j++) {
			const struct stacks_stack *stack = &stacks->stacks.at[stacks->samples.at[j].stack];

			n_frames = stack->n_user > n_frames ? stack->n_user : n_frames;
		}
		if (others && runs > kept)
			nsec -= (runs - kept) * others_nsec / others;
		costs[i] = kept ? nsec / kept : 0;
		stacks_free(stacks);
	}
	qsort(costs, ROUNDS, sizeof(costs[0]), compare);
	printf("%4lu frames: %5lu ns a sample in the kernel; a drain of %lu samples takes %lu us of CPU\n", n_frames, costs[ROUNDS / 2],
			seen / ROUNDS, drain_cpu / ROUNDS / NSEC_PER_USEC);
	close(fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	sampler->ops->free(sampler);
	return 0;
}

int main(void)
{
	static const unsigned int depths[] = { 0, 10, 45, 95, 500, 1000 };
	sd_event *loop;
	int stats;

	if (geteuid()) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (stats < 0 || sd_event_new(&loop) < 0) {
		perror("bpf_enable_stats");
		return 1;
	}
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++)
		if (measure(loop, depths[i]) < 0)
			return 1;
	sd_event_unref(loop);
	close(stats);
	return 0;
}
