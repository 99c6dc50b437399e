/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler_cpu.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "collector.h"
#include "cpu.skel.h"
#include "go_thread.h"
#include "log.h"
#include "perf_event.h"
#include "unwind_maps.h"

enum { LEAST_RING_BYTES = 64 << 10 };

/* CPUs come and go by hand or by cloud: a second late is early enough, and the look costs some 10 us. */
static const uint64_t follow_usec = USEC_PER_SEC;

struct sampler_cpu {
	struct sampler sampler; /* first */
	sd_event *loop;
	sd_event_source *follow_source;
	struct cpu_bpf *bpf;
	struct collector *collector;
	struct perf_events *events;
	bool all_processes;
	uint64_t object_memory_bytes;
};

static const struct sampler_ops sampler_cpu_ops;

static struct sampler_cpu *from_sampler(struct sampler *sampler)
{
	return (struct sampler_cpu *)sampler;
}

static uint64_t period_of(uint32_t rate)
{
	return rate ? NSEC_PER_SEC / rate : 0;
}

static int print_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

__attribute__((format(printf, 2, 0))) static int print_warnings(enum libbpf_print_level level, const char *format,
		va_list arguments)
{
	char line[512];

	/* One line of what may be a long verifier log; for developers only. */
	if (level == LIBBPF_WARN) {
		vsnprintf(line, sizeof(line), format, arguments);
		log_print(LOG_DEBUG, "%s", line);
	}
	return 0;
}

static int drain(struct sampler *sampler, uint32_t rate, struct stacks **ret)
{
	struct sampler_cpu *cpu = from_sampler(sampler);
	uint32_t ended = cpu->bpf->bss->epoch % SAMPLE_EPOCHS;
	int r;

	(void)perf_events_set_period(cpu->events, period_of(rate)); /* fails for CPUs that went: perf_events_follow() */
	r = collector_turn(cpu->collector, period_of(rate), ret);
	if (r >= 0) /* nobody counts in it any more */
		cpu->bpf->bss->n_label_sets[ended] = 0;
	return r;
}

static int set_target(struct sampler *sampler, uint32_t pid, bool is_target)
{
	struct sampler_cpu *cpu = from_sampler(sampler);
	int r = 0;

	if (!cpu->all_processes)
		r = collector_set_target(cpu->bpf->maps.target_pids, pid, is_target);
	return r < 0 ? r : 0;
}

int sampler_cpu_set_go(struct sampler *sampler, uint32_t pid, const struct go_thread *process)
{
	struct sampler_cpu *cpu = from_sampler(sampler);
	int fd = bpf_map__fd(cpu->bpf->maps.go_processes);
	struct go_thread before;
	int r, was_there;

	was_there = bpf_map_lookup_elem(fd, &pid, &before) == 0;
	if (!process && !was_there)
		return 0;
	r = process ? bpf_map_update_elem(fd, &pid, process, 0) : bpf_map_delete_elem(fd, &pid);
	if (r < 0)
		return r;
	cpu->bpf->bss->n_go_processes += (process ? 1U : 0U) - (was_there ? 1U : 0U);
	return 0;
}

int sampler_cpu_go_running(struct sampler *sampler, uint32_t pid, uint32_t thread, struct go_running *ret)
{
	struct sampler_cpu *cpu = from_sampler(sampler);
	int fd = bpf_map__fd(cpu->bpf->maps.go_running), n = libbpf_num_possible_cpus();
	uint32_t slot = go_running_slot(thread);
	_cleanup_free_ struct go_running *all = n > 0 ? calloc(2 * (size_t)n, sizeof(*all)) : NULL;

	if (!all)
		return n < 0 ? n : -ENOMEM;
	/* One that is being written is not the same twice. */
	if (bpf_map_lookup_elem(fd, &slot, all) < 0 || bpf_map_lookup_elem(fd, &slot, all + n) < 0)
		return -errno;
	ret->time_nsec = 0;
	for (int i = 0; i < n; i++)
		if (all[i].pid == pid && all[i].thread == thread && all[i].time_nsec > ret->time_nsec && !memcmp(&all[i], &all[n + i], sizeof(*all)))
			*ret = all[i];
	return ret->time_nsec ? 0 : -ENOENT;
}

static uint64_t bpf_nsec(const struct sampler *sampler)
{
	return collector_bpf_nsec(((const struct sampler_cpu *)sampler)->collector);
}

static uint64_t memory(const struct sampler *sampler)
{
	const struct sampler_cpu *cpu = (const struct sampler_cpu *)sampler;

	return cpu->object_memory_bytes + collector_memory(cpu->collector);
}

/* ---- life ---- */

static struct sampler *sampler_cpu_free(struct sampler *sampler)
{
	struct sampler_cpu *cpu = from_sampler(sampler);

	if (!cpu)
		return NULL;
	sd_event_source_disable_unref(cpu->follow_source);
	perf_events_free(cpu->events);
	collector_free(cpu->collector);
	cpu_bpf__destroy(cpu->bpf);
	sd_event_unref(cpu->loop);
	free(cpu);
	return NULL;
}

static void sampler_cpu_free_p(struct sampler_cpu **cpu)
{
	if (*cpu)
		sampler_cpu_free(&(*cpu)->sampler);
}

static int load(struct sampler_cpu *cpu, const struct sampler_options *options, uint32_t ring_bytes)
{
	struct cpu_bpf *bpf = cpu_bpf__open();
	int r;

	if (!bpf)
		return -errno;
	r = collector_prepare(&COLLECTOR_PROGRAMS(bpf), options, ring_bytes);
	if (r >= 0)
		r = cpu_bpf__load(bpf);
	if (r < 0) {
		cpu_bpf__destroy(bpf);
		return r;
	}
	cpu->bpf = bpf;
	return 0;
}

/* Loads with as large a ring as there is memory for. */
static int load_or_less(struct sampler_cpu *cpu, const struct sampler_options *options)
{
	uint32_t ring_bytes = options->ring_bytes ? options->ring_bytes : collector_ring_bytes();
	libbpf_print_fn_t print;
	int r;

	while ((r = load(cpu, options, ring_bytes)) == -ENOMEM && ring_bytes > LEAST_RING_BYTES)
		ring_bytes /= 2;
	if (r >= 0 || r == -ENOMEM)
		return r;
	/* Our programs want bpf_loop(): Linux 5.17, commit e6f2dd0f8067. */
	print = libbpf_set_print(print_nothing);
	if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_PERF_EVENT, BPF_FUNC_loop, NULL) == 0)
		r = -EOPNOTSUPP;
	libbpf_set_print(print);
	return r;
}

static int follow_cpus(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sampler_cpu *cpu = userdata;
	int r;

	r = perf_events_follow(cpu->events);
	if (r >= 0)
		r = perf_events_revive(cpu->events);
	if (r < 0)
		log_print(LOG_WARNING, "cannot follow CPUs that come and go: %s", strerror(-r));
	r = sd_event_source_set_time_relative(source, follow_usec);
	if (r < 0)
		return r;
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int make_collector(struct sampler_cpu *cpu, const struct sampler_options *options, sampler_seen_fn seen, void *userdata)
{
	const struct collector_options collector = {
		.name = "cpu_counts",
		.ring_fd = bpf_map__fd(cpu->bpf->maps.ring),
		.counts_fd = bpf_map__fd(cpu->bpf->maps.counts),
		.counters_fd = bpf_map__fd(cpu->bpf->maps.counters),
		.epoch = &cpu->bpf->bss->epoch,
		.n_entries = options->n_entries,
		.seen = seen,
		.userdata = userdata,
	};

	return collector_new(cpu->loop, &collector, &cpu->collector);
}

int sampler_cpu_new(sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen, void *userdata,
		struct sampler **ret)
{
	_cleanup_(sampler_cpu_free_p) struct sampler_cpu *cpu = NULL;
	int r;

	cpu = calloc(1, sizeof(*cpu));
	if (!cpu)
		return -ENOMEM;
	cpu->sampler.ops = &sampler_cpu_ops;
	cpu->loop = sd_event_ref(loop);
	cpu->all_processes = options->all_processes;
	libbpf_set_print(print_warnings);
	r = load_or_less(cpu, options);
	if (r >= 0)
		r = make_collector(cpu, options, seen, userdata);
	if (r < 0)
		return r;
	cpu->object_memory_bytes = collector_object_memory(cpu->bpf->obj);
	r = sd_event_add_time_relative(cpu->loop, &cpu->follow_source, CLOCK_MONOTONIC, follow_usec, follow_usec / 2, follow_cpus, cpu);
	if (r < 0)
		return r;
	collector_begin(cpu->collector, period_of(options->rate));
	r = perf_events_new(bpf_program__fd(cpu->bpf->progs.sample_cpu),
				options->cycles ? PERF_EVENT_CYCLES : PERF_EVENT_CPU_CLOCK, period_of(options->rate), &cpu->events);
	if (r < 0)
		return r;
	*ret = &TAKE(cpu)->sampler;
	return 0;
}

static const struct sampler_ops sampler_cpu_ops = {
	.kind = "cpu",
	.drain = drain,
	.set_target = set_target,
	.bpf_nsec = bpf_nsec,
	.memory = memory,
	.free = sampler_cpu_free,
};
