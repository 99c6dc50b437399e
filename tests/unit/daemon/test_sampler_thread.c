/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads looked at from outside, on the real kernel: two with a deadlock are told with who has the lock that each waits for, by
 * snapshots and by the off-CPU sampler, which comes when they wait already. A program of its own (no libcheck), so that it also
 * runs alone in a machine with another kernel. Prints TAP; exit 77 when this user may not.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "sampler_offcpu.h"
#include "sampler_thread.h"
#include "stacks.h"

static int n_failed, n_tests;

__attribute__((format(printf, 2, 3))) static bool check(bool ok, const char *format, ...)
{
	va_list arguments;

	printf("%s %d - ", ok ? "ok" : "not ok", ++n_tests);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	n_failed += !ok;
	return ok;
}

/* --- The deadlock --- */

static pthread_mutex_t locks[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER };
static pthread_barrier_t both;
static volatile uint32_t tids[2];

static void *lock_both(void *argument)
{
	size_t first = argument ? 1 : 0;

	tids[first] = (uint32_t)syscall(SYS_gettid);
	pthread_mutex_lock(&locks[first]);
	pthread_barrier_wait(&both);
	pthread_mutex_lock(&locks[!first]);
	return NULL;
}

static void start_deadlock(void)
{
	pthread_t thread;

	pthread_barrier_init(&both, NULL, 2);
	pthread_create(&thread, NULL, lock_both, NULL);
	pthread_create(&thread, NULL, lock_both, &both);
	usleep(300000);
}

static const struct stacks_sample *sample_of(const struct stacks *stacks, uint32_t tid, size_t *ret_n)
{
	const struct stacks_sample *found = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < stacks->samples.n; i++) {
		if (stacks->samples.at[i].tid != tid)
			continue;
		found = &stacks->samples.at[i];
		++*ret_n;
	}
	return found;
}

static void check_deadlock(const struct stacks *stacks, const char *whose)
{
	for (size_t i = 0; i < 2; i++) {
		size_t n;
		const struct stacks_sample *sample = sample_of(stacks, tids[i], &n);

		if (!check(n == 1, "%s: thread %zu is there once", whose, i))
			continue;
		check(sample->wait.reason == SAMPLE_LOCK, "%s: it waits for a lock (%s)", whose, stacks_reason(sample->wait.reason));
		check(sample->wait.object == (uintptr_t)&locks[!i], "%s: for that one", whose);
		check(sample->wait.device == tids[!i], "%s: which the other one has (%u, %u)", whose, sample->wait.device, tids[!i]);
		check(stacks->stacks.at[sample->stack].n_user > 0, "%s: it has a stack", whose);
	}
}

static void snapshot(sd_event *loop, bool all_processes)
{
	const struct sampler_options options = { .all_processes = all_processes };
	const char *whose = all_processes ? "snapshot of all" : "snapshot";
	struct sampler *sampler;
	struct stacks *stacks;
	uint64_t sum = 0;
	size_t n;
	int r = sampler_thread_new(loop, &options, NULL, NULL, &sampler);

	if (!check(r == 0, "%s: loads (%d)", whose, r))
		return;
	if (!all_processes)
		check(sampler->ops->set_target(sampler, (uint32_t)getpid(), true) == 0, "%s: has a target", whose);
	r = sampler->ops->drain(sampler, 1, &stacks);
	if (check(r == 0, "%s: is taken (%d)", whose, r)) {
		check_deadlock(stacks, whose);
		/* We wait for the child that looks. */
		check(sample_of(stacks, (uint32_t)getpid(), &n) && n == 1, "%s: so are we", whose);
		check(stacks->seen == stacks_kept(stacks) + stacks_lost(stacks), "%s: seen %llu = kept + lost %llu", whose,
				(unsigned long long)stacks->seen, (unsigned long long)stacks_lost(stacks));
		for (size_t i = 0; i < SAMPLE_N_VERDICTS; i++)
			sum += stacks->verdicts[i];
		check(sum == stacks_kept(stacks), "%s: each has a verdict", whose);
		if (!all_processes)
			check(stacks->seen == 3, "%s: there are three threads (%llu)", whose, (unsigned long long)stacks->seen);
		stacks_free(stacks);
	}
	/* Nothing is left of one in the next. */
	r = sampler->ops->drain(sampler, 1, &stacks);
	if (check(r == 0, "%s: is taken again (%d)", whose, r)) {
		check_deadlock(stacks, whose);
		stacks_free(stacks);
	}
	sampler->ops->free(sampler);
}

static volatile bool holds_up;

static void in_child(void)
{
	while (holds_up)
		pause();
}

/* As by a page that does not come. */
static void held_up(sd_event *loop)
{
	const struct sampler_options options = { .rate = 0 };
	struct sampler *sampler;
	struct stacks *stacks;
	uint64_t start_nsec, nsec;
	int r = sampler_thread_new(loop, &options, NULL, NULL, &sampler);

	if (!check(r == 0, "held up: loads (%d)", r))
		return;
	sampler->ops->set_target(sampler, (uint32_t)getpid(), true);
	pthread_atfork(NULL, NULL, in_child);
	holds_up = true;
	start_nsec = clock_monotonic_nsec();
	r = sampler->ops->drain(sampler, 1, &stacks);
	nsec = clock_monotonic_nsec() - start_nsec;
	holds_up = false;
	check(nsec >= NSEC_PER_SEC && nsec < 5 * NSEC_PER_SEC, "held up: given up after a second (%.3f s)", (double)nsec / 1e9);
	check(waitpid(-1, NULL, WNOHANG) < 0, "held up: nobody is left behind");
	if (check(r == 0, "held up: is taken all the same (%d)", r)) {
		check(stacks->seen == 0, "held up: nobody was looked at");
		stacks_free(stacks);
	}
	r = sampler->ops->drain(sampler, 1, &stacks);
	if (check(r == 0, "held up: the next one is taken (%d)", r)) {
		check_deadlock(stacks, "held up: the next one");
		stacks_free(stacks);
	}
	sampler->ops->free(sampler);
}

static void waits(sd_event *loop)
{
	const struct sampler_options options = { .rate = 0 };
	struct sampler *sampler;
	struct stacks *stacks;
	int r = sampler_offcpu_new(loop, &options, NULL, NULL, &sampler);

	if (!check(r == 0, "waits: loads (%d)", r))
		return;
	sampler->ops->set_target(sampler, (uint32_t)getpid(), true);
	r = sampler->ops->drain(sampler, 1, &stacks);
	if (check(r == 0, "waits: begins (%d)", r))
		stacks_free(stacks);
	usleep(1000000);
	r = sampler->ops->drain(sampler, 0, &stacks);
	if (check(r == 0, "waits: ends (%d)", r)) {
		check_deadlock(stacks, "waits");
		stacks_free(stacks);
	}
	sampler->ops->free(sampler);
}

int main(void)
{
	struct utsname name;
	sd_event *loop;

	setvbuf(stdout, NULL, _IOLBF, 0);
	uname(&name);
	printf("# Linux %s\n", name.release);
	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		return 77;
	}
	if (sd_event_new(&loop) < 0)
		return 1;
	start_deadlock();
	snapshot(loop, false);
	snapshot(loop, true);
	waits(loop);
	held_up(loop);
	sd_event_unref(loop);
	printf("1..%d\n", n_tests);
	fflush(stdout);
	_exit(n_failed ? 1 : 0); /* two threads cannot be joined */
}
