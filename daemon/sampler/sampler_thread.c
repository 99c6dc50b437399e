/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler_thread.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "collector.h"
#include "log.h"
#include "running.h"
#include "sampler_cpu.h"
#include "stacks.h"
#include "thread.h"
#include "thread.skel.h"
#include "thread_iterator.h"
#include "unwind_maps.h"

enum {
	MAX_RUNNING = 4096,                  /* no more threads run at a time than there are CPUs; but the passes take a while */
	ENTRIES = 8192,                      /* of the threads and stacks of in-depth targets; all programs: what is usual */
	/* Of the burst. At this rate a thread that runs is met within 20 ms for certain if it goes on, and likely if it does half the time. */
	BURST_RATE = 999,
	BURST_ENTRIES = 2048,
	BURST_RING_BYTES = 256 << 10,
	BURST_USEC = 25000,
};

struct sampler_thread {
	struct sampler sampler; /* first */
	struct thread_bpf *bpf;
	struct collector *collector;
	struct sampler *clock;               /* of the burst; paused otherwise */
	bool all_processes;
	bool was_held_up;                    /* once, and we said so */
	uint64_t object_memory_bytes;
};

/* Those that ran when a snapshot came by. */
struct running_threads {
	VEC(struct running_thread) threads;
};

static void running_threads_deinit(struct running_threads *running)
{
	vec_deinit(&running->threads);
}

DEFINE_CLEANUP(struct stacks, stacks_free);

static const struct sampler_ops sampler_thread_ops;

static struct sampler_thread *from_sampler(struct sampler *sampler)
{
	return (struct sampler_thread *)sampler;
}

/* ---- a snapshot ---- */

static void read_ring(void *userdata)
{
	struct sampler_thread *thread = userdata;

	collector_read(thread->collector);
}

static int run_pass(struct sampler_thread *thread, enum thread_pass pass)
{
	const struct thread_iterator iterator = {
		.link = thread->bpf->links.thread_snapshot,
		.n_looked = (const volatile uint64_t *)&thread->bpf->bss->n_looked,
		.meanwhile = read_ring,
		.userdata = thread,
	};
	int r;

	thread->bpf->bss->pass = pass;
	r = thread_iterator_run(&iterator);
	if (r != -ETIMEDOUT)
		return r;
	/* From then on no memory could be read: the kernel's part of the stacks is there, and that no more is is told. */
	if (!thread->was_held_up)
		log_print(LOG_WARNING, "Threads are told without their programs' stacks: the memory of one of them does not answer.");
	thread->was_held_up = true;
	return 0;
}

/* Those that ran, and were not met off their CPU since. */
static int read_running(const struct sampler_thread *thread, struct running_threads *ret)
{
	int r, fd = bpf_map__fd(thread->bpf->maps.running);
	struct thread_key key, *before = NULL;
	struct thread_name name;

	ret->threads.n = 0;
	while ((r = bpf_map_get_next_key(fd, before, &key)) == 0) {
		struct running_thread running = {
			.process = {
				.pid = key.process.pid,
				.exec_id = key.process.exec_id,
				.start_nsec = key.process.start_nsec / NSEC_PER_TICK * NSEC_PER_TICK,
			},
			.tid = key.tid,
		};

		before = &key;
		r = bpf_map_lookup_elem(fd, &key, &name);
		if (r < 0)
			return r;
		memcpy(running.thread, name.thread, sizeof(running.thread));
		if (vec_push(&ret->threads, running) < 0)
			return -ENOMEM;
	}
	return r == -ENOENT ? 0 : r;
}

static int forget_running(const struct sampler_thread *thread)
{
	int r, fd = bpf_map__fd(thread->bpf->maps.running);
	struct thread_key key;

	while ((r = bpf_map_get_next_key(fd, NULL, &key)) == 0) {
		r = bpf_map_delete_elem(fd, &key);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

/* What runs, for some 25 ms. */
static int burst(struct sampler_thread *thread, struct stacks **ret)
{
	uint64_t start_nsec = clock_monotonic_nsec(), gone_usec;
	struct stacks *before;
	int r;

	r = thread->clock->ops->drain(thread->clock, BURST_RATE, &before);
	if (r < 0)
		return r;
	stacks_free(before);
	/* To begin takes some ten milliseconds itself. */
	gone_usec = (clock_monotonic_nsec() - start_nsec) / NSEC_PER_USEC;
	if (gone_usec < BURST_USEC)
		usleep((useconds_t)(BURST_USEC - gone_usec));
	return thread->clock->ops->drain(thread->clock, 0, ret);
}

/* Whoever ran when we came by: most of them wait again by now, and the others are met by the clock. */
static int look_again(struct sampler_thread *thread, struct running_threads *running, struct stacks **ret_burst)
{
	int r = read_running(thread, running);

	if (r >= 0 && running->threads.n) {
		r = run_pass(thread, THREAD_PASS_MISSED);
		if (r >= 0)
			r = read_running(thread, running);
	}
	if (r < 0 || !running->threads.n)
		return r;
	return burst(thread, ret_burst);
}

static int drain(struct sampler *sampler, uint32_t rate, struct stacks **ret)
{
	struct sampler_thread *thread = from_sampler(sampler);
	uint64_t start_nsec = clock_monotonic_nsec(), start_wall_nsec = clock_wall_nsec(), end_nsec;
	_cleanup_(stacks_free_p) struct stacks *ran = NULL, *stacks = NULL;
	_cleanup_(running_threads_deinit) struct running_threads running = { 0 };
	int r;

	r = forget_running(thread);
	if (r >= 0)
		r = run_pass(thread, THREAD_PASS_ALL);
	if (r >= 0)
		r = look_again(thread, &running, &ran);
	end_nsec = clock_monotonic_nsec();
	if (r >= 0)
		r = collector_turn(thread->collector, 1, &stacks);
	if (r >= 0)
		r = running_add(stacks, running.threads.at, running.threads.n, ran);
	if (r < 0)
		return r;
	stacks->start_wall_nsec = start_wall_nsec;
	stacks->duration_nsec = end_nsec - start_nsec;
	if (ran)
		stacks->bpf_nsec += ran->bpf_nsec;
	*ret = TAKE(stacks);
	return 0;
}

/* ---- targets ---- */

static int set_target(struct sampler *sampler, uint32_t pid, bool is_target)
{
	struct sampler_thread *thread = from_sampler(sampler);
	int r;

	if (thread->all_processes)
		return 0;
	r = collector_set_target(thread->bpf->maps.target_pids, pid, is_target);
	if (r < 0)
		return r;
	return thread->clock->ops->set_target(thread->clock, pid, is_target);
}

static uint64_t bpf_nsec(const struct sampler *sampler)
{
	return collector_bpf_nsec(((const struct sampler_thread *)sampler)->collector);
}

static uint64_t memory(const struct sampler *sampler)
{
	const struct sampler_thread *thread = (const struct sampler_thread *)sampler;

	return thread->object_memory_bytes + collector_memory(thread->collector) + thread->clock->ops->memory(thread->clock);
}

/* ---- life ---- */

static struct sampler *sampler_thread_free(struct sampler *sampler)
{
	struct sampler_thread *thread = from_sampler(sampler);

	if (!thread)
		return NULL;
	if (thread->clock)
		thread->clock->ops->free(thread->clock);
	collector_free(thread->collector);
	thread_bpf__destroy(thread->bpf);
	free(thread);
	return NULL;
}

static void sampler_thread_free_p(struct sampler_thread **thread)
{
	if (*thread)
		sampler_thread_free(&(*thread)->sampler);
}

static int load(struct sampler_thread *thread, const struct sampler_options *options)
{
	struct thread_bpf *bpf = thread_bpf__open();
	int r;

	if (!bpf)
		return -errno;
	thread->bpf = bpf;
	/* Of the off-CPU sampler. */
	bpf_program__set_autoload(bpf->progs.thread_find_waits, false);
	bpf_map__set_autocreate(bpf->maps.threads, false);
	r = collector_prepare(&COLLECTOR_PROGRAMS(bpf), options, options->ring_bytes);
	if (r >= 0)
		r = bpf_map__set_max_entries(bpf->maps.running, MAX_RUNNING);
	if (r >= 0)
		r = thread_bpf__load(bpf);
	if (r < 0)
		return r;
	bpf->links.thread_snapshot = bpf_program__attach(bpf->progs.thread_snapshot);
	return bpf->links.thread_snapshot ? 0 : -errno;
}

static int make_collector(struct sampler_thread *thread, sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen,
		void *userdata)
{
	const struct collector_options collector = {
		.name = "thread_counts",
		.ring_fd = bpf_map__fd(thread->bpf->maps.ring),
		.counts_fd = bpf_map__fd(thread->bpf->maps.counts),
		.counters_fd = bpf_map__fd(thread->bpf->maps.counters),
		.epoch = &thread->bpf->bss->epoch,
		.n_entries = options->n_entries || options->all_processes ? options->n_entries : ENTRIES,
		.seen = seen,
		.userdata = userdata,
	};

	return collector_new(loop, &collector, &thread->collector);
}

static int make_clock(struct sampler_thread *thread, sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen,
		void *userdata)
{
	const struct sampler_options clock = {
		.all_processes = options->all_processes,
		.unwind_maps = options->unwind_maps,
		.n_entries = BURST_ENTRIES,
		.ring_bytes = BURST_RING_BYTES,
	};

	return sampler_cpu_new(loop, &clock, seen, userdata, &thread->clock);
}

int sampler_thread_new(sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen, void *userdata,
		struct sampler **ret)
{
	_cleanup_(sampler_thread_free_p) struct sampler_thread *thread = calloc(1, sizeof(*thread));
	int r;

	if (!thread)
		return -ENOMEM;
	thread->sampler.ops = &sampler_thread_ops;
	thread->all_processes = options->all_processes;
	r = load(thread, options);
	if (r >= 0)
		r = make_collector(thread, loop, options, seen, userdata);
	if (r >= 0)
		r = make_clock(thread, loop, options, seen, userdata);
	if (r < 0)
		return r;
	collector_begin(thread->collector, 1);
	thread->object_memory_bytes = collector_object_memory(thread->bpf->obj);
	*ret = &TAKE(thread)->sampler;
	return 0;
}

static const struct sampler_ops sampler_thread_ops = {
	.kind = "thread",
	.drain = drain,
	.set_target = set_target,
	.bpf_nsec = bpf_nsec,
	.memory = memory,
	.free = sampler_thread_free,
};
