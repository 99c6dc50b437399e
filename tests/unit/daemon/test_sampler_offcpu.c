/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The off-CPU sampler and the collector under it, on the real kernel: a thread of ours waits in a known way and for a known
 * time, and that comes out, in each window and once. Prints TAP; exit 77 when this kernel or user may not.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "sampler_offcpu.h"
#include "stacks.h"

static int n_failed, n_passed;

static void check(bool ok, const char *what, double figure)
{
	printf("%s - %s (%.4g)\n", ok ? "ok" : "not ok", what, figure);
	if (ok)
		n_passed++;
	else
		n_failed++;
}

static atomic_bool ended;
static _Atomic uint32_t sleeper_tid;

static void *sleep_often(void *argument)
{
	sleeper_tid = (uint32_t)syscall(SYS_gettid);
	while (!ended)
		usleep(20000);
	return argument;
}

static struct stacks *drain(struct sampler *sampler, uint32_t rate)
{
	struct stacks *stacks;
	int r = sampler->ops->drain(sampler, rate, &stacks);

	if (r < 0) {
		printf("Bail out! drain: %s\n", strerror(-r));
		exit(1);
	}
	return stacks;
}

struct told {
	uint64_t nsec, with_stack_nsec, sleep_nsec;
};

static struct told of_sleeper(const struct stacks *stacks)
{
	struct told told = {0};

	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const struct stacks_stack *stack = &stacks->stacks.at[sample->stack];

		if (sample->tid != sleeper_tid)
			continue;
		told.nsec += sample->nsec;
		told.sleep_nsec += sample->wait.reason == SAMPLE_SLEEP ? sample->nsec : 0;
		told.with_stack_nsec += stack->n_user ? sample->nsec : 0;
	}
	return told;
}

static bool adds_up(const struct stacks *stacks)
{
	uint64_t nsec = 0;

	for (size_t i = 0; i < stacks->samples.n; i++)
		nsec += stacks->samples.at[i].nsec;
	return stacks->seen == stacks_kept(stacks) + stacks_lost(stacks) && stacks->waited_nsec == nsec;
}

static struct sampler *new_sampler(sd_event *loop, uint32_t n_entries)
{
	const struct sampler_options options = { .rate = 0, .n_entries = n_entries };
	struct sampler *sampler;
	int r = sampler_offcpu_new(loop, &options, NULL, NULL, &sampler);

	if (r == -EPERM || r == -EOPNOTSUPP) {
		printf("1..0 # SKIP sampler_offcpu_new: %s\n", strerror(-r));
		exit(77);
	}
	if (r < 0 || sampler->ops->set_target(sampler, (uint32_t)getpid(), true) < 0) {
		printf("Bail out! sampler_offcpu_new: %s\n", strerror(-r));
		exit(1);
	}
	return sampler;
}

static void each_window_has_its_part(sd_event *loop)
{
	struct sampler *sampler = new_sampler(loop, 0);
	uint64_t nsec = 0, duration_nsec = 0;
	struct stacks *stacks;

	stacks_free(drain(sampler, 1));
	for (int i = 0; i < 5; i++) {
		struct told told;
		double share;

		usleep(300000);
		stacks = drain(sampler, i < 4);
		told = of_sleeper(stacks);
		share = (double)told.nsec / (double)stacks->duration_nsec;
		nsec += told.nsec;
		duration_nsec += stacks->duration_nsec;
		/* Open waits are cut some moments before the window ends, or many where we have no CPU just then. */
		check(share > 0.85 && share < 1.15, "a thread that sleeps waits all the window", share);
		check((double)told.sleep_nsec > 0.1 * (double)told.nsec, "for its alarm, if not for a CPU", (double)told.sleep_nsec / (double)told.nsec);
		check((double)told.with_stack_nsec > (i ? 0.97 : 0.8) * (double)told.nsec, "with a stack, but for the wait that it began before",
				(double)told.with_stack_nsec / (double)told.nsec);
		check(adds_up(stacks) && !stacks_lost(stacks), "all that is seen is kept", (double)stacks->seen);
		stacks_free(stacks);
	}
	check((double)nsec > 0.97 * (double)duration_nsec && (double)nsec < 1.02 * (double)duration_nsec, "and all windows",
			(double)nsec / (double)duration_nsec);
	usleep(100000);
	stacks = drain(sampler, 0);
	check(!of_sleeper(stacks).nsec, "nothing is told of a pause", (double)of_sleeper(stacks).nsec);
	stacks_free(stacks);
	sampler->ops->free(sampler);
}

static void what_has_no_room_is_counted(sd_event *loop)
{
	struct sampler *sampler = new_sampler(loop, 1);
	struct stacks *stacks;

	stacks_free(drain(sampler, 1));
	usleep(300000);
	stacks = drain(sampler, 0);
	check(adds_up(stacks), "a map of one entry: seen = kept + lost", (double)stacks->seen);
	check(stacks_lost(stacks) > 0 && stacks->lost_nsec > 0, "by number and time", (double)stacks->lost_nsec);
	check(stacks->waited_nsec <= stacks->duration_nsec * 2, "never more than there is", (double)stacks->waited_nsec);
	stacks_free(stacks);
	sampler->ops->free(sampler);
}

int main(void)
{
	pthread_t thread;
	sd_event *loop;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		return 77;
	}
	if (sd_event_new(&loop) < 0 || pthread_create(&thread, NULL, sleep_often, NULL))
		return 1;
	while (!sleeper_tid)
		usleep(1000);
	each_window_has_its_part(loop);
	what_has_no_room_is_counted(loop);
	ended = true;
	pthread_join(thread, NULL);
	sd_event_unref(loop);
	printf("1..%d\n", n_passed + n_failed);
	return n_failed ? 1 : 0;
}
