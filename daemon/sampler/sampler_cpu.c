/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a window ends: the programs in the kernel are told to count in the other set of maps; then we wait until none of
 * those that were running at that moment still does (see fence()), and what the first set holds is final.
 */
#include "sampler_cpu.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "clock.h"
#include "cpu.skel.h"
#include "log.h"
#include "perf_event.h"
#include "sample.h"
#include "stacks.h"
#include "stacks_builder.h"
#include "unwind_maps.h"

enum {
	/* 99 samples a second for 30 s on 2 CPUs are 6,000 samples: if each were another stack, 12,000 entries. */
	DEFAULT_ENTRIES = 16384,
	LEAST_ENTRIES = 1024,
	DEFAULT_RING_BYTES = 1 << 20,
	MOST_RING_BYTES = 8 << 20,
	LEAST_RING_BYTES = 64 << 10,
	/* While the reader pauses, 999 stacks of 2 KiB a second and CPU want 40 KiB of each CPU. */
	RING_BYTES_PER_CPU = 64 << 10,
	MAX_TARGETS = 16384,
	BATCH_ENTRIES = 4096,
};

/*
 * After the ring woke us we let it fill for a while and take all at once: a busy machine costs at most 50 wake-ups a
 * second, a quiet one none, and a new process is known 20 ms after its first sample.
 */
static const uint64_t gather_usec = 20 * 1000;

/* CPUs come and go by hand or by cloud: a second late is early enough, and the look costs some 10 us. */
static const uint64_t follow_usec = USEC_PER_SEC;

/* 24 MiB in all. A 64-CPU machine at 99 Hz takes 190,000 samples in 30 s, of some 10,000 stacks of 30 frames. */
static const struct stacks_limits limits = { .n_frames = 2 << 20, .n_stacks = 64 << 10, .n_samples = 128 << 10 };

/* The initial pid namespace: PROC_PID_INIT_INO, include/linux/proc_ns.h. */
static const ino_t initial_pid_namespace = 0xEFFFFFFCU;

/* One set of maps and what has already been read of it. */
struct epoch {
	int counts_fd;
	struct stacks_builder *builder;
	uint64_t start_nsec, start_wall_nsec;
	uint64_t period_nsec;
};

/* The two page-sized counters of a BPF ring, of which libbpf 1.1 shows nothing: Documentation/bpf/ringbuf.rst. */
struct ring_positions {
	const void *memory;
	const unsigned long *consumer, *producer;
	size_t size;
};

struct sampler_cpu {
	struct sampler sampler; /* first */
	sd_event *loop;
	sd_event_source *ring_source, *gather_source, *follow_source;
	sampler_seen_fn seen;
	void *userdata;

	struct cpu_bpf *bpf;
	struct ring_buffer *ring;
	struct ring_positions positions;
	struct perf_events *events;
	struct epoch epochs[SAMPLE_EPOCHS];
	uint32_t now;           /* epoch in which samples are counted */
	bool all_processes;
	int n_cpus;             /* possible: the values of a per-CPU map */
	uint64_t memory_bytes;
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

/* ---- the ring ---- */

static int take_record(void *context, void *data, size_t size)
{
	struct sampler_cpu *cpu = context;
	const struct process_id *process;
	uint32_t epoch;

	if (size < sizeof(struct sample_stack))
		return 0;
	epoch = ((const struct sample_stack *)data)->epoch % SAMPLE_EPOCHS;
	if (stacks_builder_add_record(cpu->epochs[epoch].builder, data, size, &process) == STACKS_BUILDER_NEW_PROCESS &&
			cpu->seen)
		cpu->seen(process, cpu->userdata);
	return 0;
}

static int ring_wants_reading(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct sampler_cpu *cpu = userdata;
	int r;

	r = sd_event_source_set_time_relative(cpu->gather_source, gather_usec);
	if (r >= 0)
		r = sd_event_source_set_enabled(cpu->gather_source, SD_EVENT_ONESHOT);
	return r; /* the ring's own source is one-shot: off until it has been read */
}

static int read_ring(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sampler_cpu *cpu = userdata;

	(void)ring_buffer__consume(cpu->ring);
	return sd_event_source_set_enabled(cpu->ring_source, SD_EVENT_ONESHOT);
}

static int ring_positions_init(struct ring_positions *positions, int fd)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *memory;

	/* Page 0: how far the reader is; page 1: the writers. */
	memory = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*positions = (struct ring_positions){
		.memory = memory,
		.consumer = memory,
		.producer = (const void *)((const char *)memory + page),
		.size = 2 * page,
	};
	return 0;
}

static void ring_positions_deinit(struct ring_positions *positions)
{
	if (positions->memory)
		munmap((void *)(uintptr_t)positions->memory, positions->size);
	*positions = (struct ring_positions){0};
}

/*
 * Reads all that was reserved before this call, though a record of a program that runs this moment may stand before it:
 * the reader halts at a record that is not complete yet. Programs run with interrupts off, hence for microseconds.
 */
static int read_ring_until_now(struct sampler_cpu *cpu)
{
	unsigned long end = __atomic_load_n(cpu->positions.producer, __ATOMIC_ACQUIRE);

	for (unsigned int i = 0; i < 1000; i++) {
		int r = ring_buffer__consume(cpu->ring);

		if (r < 0)
			return r;
		if ((long)(__atomic_load_n(cpu->positions.consumer, __ATOMIC_ACQUIRE) - end) >= 0)
			return 0;
		usleep(100); /* a CPU of a virtual machine may stand still for a while */
	}
	return -ETIMEDOUT;
}

/* ---- maps ---- */

/*
 * Returns when every program that was running has ended: the kernel promises it to whoever replaces an inner map (commit
 * 1ae80cf31938, maybe_wait_bpf_programs()), even by itself.
 */
static int fence(struct sampler_cpu *cpu, uint32_t epoch)
{
	return bpf_map_update_elem(bpf_map__fd(cpu->bpf->maps.counts), &epoch, &cpu->epochs[epoch].counts_fd, 0);
}

static int take_entries(struct epoch *epoch)
{
	_cleanup_free_ struct sample_key *keys = NULL;
	_cleanup_free_ struct sample_value *values = NULL;
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	uint32_t position;
	void *from = NULL;
	int r;

	keys = reallocarray(NULL, BATCH_ENTRIES, sizeof(*keys));
	values = reallocarray(NULL, BATCH_ENTRIES, sizeof(*values));
	if (!keys || !values)
		return -ENOMEM;
	do {
		uint32_t n = BATCH_ENTRIES;

		r = bpf_map_lookup_and_delete_batch(epoch->counts_fd, from, &position, keys, values, &n, &options);
		if (r < 0 && r != -ENOENT) /* ENOENT: these were the last */
			return r;
		for (uint32_t i = 0; i < n; i++)
			stacks_builder_add_entry(epoch->builder, &keys[i], &values[i]);
		from = &position;
	} while (r == 0);
	return 0;
}

/* Sums the counters of an epoch that has ended, and zeroes them. */
static int take_counters(struct sampler_cpu *cpu, uint32_t epoch, uint64_t *sums)
{
	size_t n = (size_t)cpu->n_cpus * SAMPLE_N_COUNTERS;
	int r, fd = bpf_map__fd(cpu->bpf->maps.counters);
	_cleanup_free_ uint64_t *values = NULL;

	values = calloc(n, sizeof(*values));
	if (!values)
		return -ENOMEM;
	r = bpf_map_lookup_elem(fd, &epoch, values);
	if (r < 0)
		return r;
	memset(sums, 0, SAMPLE_N_COUNTERS * sizeof(*sums));
	for (size_t i = 0; i < n; i++)
		sums[i % SAMPLE_N_COUNTERS] += values[i];
	memset(values, 0, n * sizeof(*values));
	return bpf_map_update_elem(fd, &epoch, values, 0);
}

/* What the kernel accounts for a map, as /proc tells. */
static uint64_t map_memory(int fd)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[128];
	uint64_t bytes = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %" SCNu64, &bytes) == 1)
			break;
	return bytes;
}

static uint64_t all_memory(const struct sampler_cpu *cpu)
{
	uint64_t bytes = 0;
	struct bpf_map *map;

	/* Those of unwind_maps are not ours alone: counted there. */
	bpf_object__for_each_map(map, cpu->bpf->obj)
		if (strncmp(bpf_map__name(map), "unwind_", strlen("unwind_")) != 0)
			bytes += map_memory(bpf_map__fd(map));
	for (size_t i = 0; i < SAMPLE_EPOCHS; i++)
		bytes += map_memory(cpu->epochs[i].counts_fd);
	return bytes;
}

/* ---- a window's end ---- */

static void begin_epoch(struct sampler_cpu *cpu, uint32_t epoch, uint64_t period_nsec)
{
	struct epoch *e = &cpu->epochs[epoch];

	e->start_nsec = clock_monotonic_nsec();
	e->start_wall_nsec = clock_wall_nsec();
	e->period_nsec = period_nsec;
	cpu->now = epoch;
	__atomic_store_n(&cpu->bpf->bss->epoch, epoch, __ATOMIC_SEQ_CST);
}

/*
 * What fails after the epochs have changed leaves all that was not taken yet in the maps: it is counted in the window
 * that ends when this epoch is drained again. Nothing is lost.
 */
static int drain(struct sampler *sampler, uint32_t rate, struct stacks **ret)
{
	struct sampler_cpu *cpu = from_sampler(sampler);
	struct stacks_builder *next = NULL;
	uint64_t sums[SAMPLE_N_COUNTERS];
	uint32_t ended = cpu->now;
	struct epoch *epoch = &cpu->epochs[ended];
	struct stacks *stacks;
	uint64_t end_nsec;
	int r;

	r = stacks_builder_new(&limits, &next);
	if (r < 0)
		return r;

	begin_epoch(cpu, (ended + 1) % SAMPLE_EPOCHS, period_of(rate));
	end_nsec = cpu->epochs[cpu->now].start_nsec;
	(void)perf_events_set_period(cpu->events, period_of(rate)); /* fails for CPUs that went: perf_events_follow() */

	r = fence(cpu, ended);
	if (r >= 0)
		r = read_ring_until_now(cpu);
	if (r >= 0)
		r = take_entries(epoch);
	if (r >= 0)
		r = take_counters(cpu, ended, sums);
	if (r < 0) {
		stacks_builder_free(next);
		return r;
	}

	stacks = stacks_builder_finish_take(epoch->builder);
	epoch->builder = next;
	stacks->start_wall_nsec = epoch->start_wall_nsec;
	stacks->duration_nsec = end_nsec - epoch->start_nsec;
	stacks->period_nsec = epoch->period_nsec;
	stacks->bpf_nsec = sums[SAMPLE_NSEC];
	stacks->seen = sums[SAMPLE_SEEN];
	stacks->lost_ring = sums[SAMPLE_LOST_RING];
	stacks->lost_namespace = sums[SAMPLE_LOST_NAMESPACE];
	memcpy(stacks->verdicts, &sums[SAMPLE_VERDICTS], sizeof(stacks->verdicts));
	*ret = stacks;
	return 0;
}

static int set_target(struct sampler *sampler, uint32_t pid, bool is_target)
{
	struct sampler_cpu *cpu = from_sampler(sampler);
	int r, fd = bpf_map__fd(cpu->bpf->maps.target_pids);
	uint8_t one = 1;

	if (cpu->all_processes)
		return 0;
	if (is_target)
		return bpf_map_update_elem(fd, &pid, &one, 0);
	r = bpf_map_delete_elem(fd, &pid);
	return r == -ENOENT ? 0 : r;
}

static uint64_t memory(const struct sampler *sampler)
{
	return ((const struct sampler_cpu *)sampler)->memory_bytes;
}

/* ---- life ---- */

static struct sampler *sampler_cpu_free(struct sampler *sampler)
{
	struct sampler_cpu *cpu = from_sampler(sampler);

	if (!cpu)
		return NULL;
	sd_event_source_disable_unref(cpu->follow_source);
	sd_event_source_disable_unref(cpu->gather_source);
	sd_event_source_disable_unref(cpu->ring_source);
	perf_events_free(cpu->events);
	ring_positions_deinit(&cpu->positions);
	ring_buffer__free(cpu->ring);
	for (size_t i = 0; i < SAMPLE_EPOCHS; i++) {
		close_fd(cpu->epochs[i].counts_fd);
		stacks_builder_free(cpu->epochs[i].builder);
	}
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

/* 0 in the initial pid namespace: nothing to translate. */
static int own_pid_namespace(uint32_t *ret)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) < 0)
		return -errno;
	*ret = st.st_ino == initial_pid_namespace ? 0 : (uint32_t)st.st_ino;
	return 0;
}

static int load(struct sampler_cpu *cpu, const struct sampler_options *options, uint32_t ring_bytes)
{
	struct cpu_bpf *bpf;
	uint64_t salt;
	uint32_t pid_namespace = 0;
	int r;

	r = own_pid_namespace(&pid_namespace);
	if (r < 0)
		return r;
	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		return -errno;
	bpf = cpu_bpf__open();
	if (!bpf)
		return -errno;
	bpf->rodata->salt = salt | 1;
	bpf->rodata->all_processes = options->all_processes;
	bpf->rodata->pid_namespace = pid_namespace;
	bpf->rodata->has_tables = !!options->unwind_maps;
	r = bpf_map__set_max_entries(bpf->maps.ring, ring_bytes);
	if (r >= 0 && options->unwind_maps)
		r = unwind_maps_share(options->unwind_maps, bpf->obj);
	if (r >= 0 && !options->all_processes)
		r = bpf_map__set_max_entries(bpf->maps.target_pids, MAX_TARGETS);
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
	uint32_t ring_bytes = options->ring_bytes;
	libbpf_print_fn_t print;
	int r;

	if (!ring_bytes) {
		ring_bytes = DEFAULT_RING_BYTES;
		while (ring_bytes < MOST_RING_BYTES && ring_bytes < (uint64_t)cpu->n_cpus * RING_BYTES_PER_CPU)
			ring_bytes *= 2;
	}
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

static int make_counts(struct sampler_cpu *cpu, const struct sampler_options *options, uint32_t epoch, uint32_t *n_entries)
{
	struct epoch *e = &cpu->epochs[epoch];
	int r;

	/* Preallocated: a program in an interrupt could not allocate on every kernel, and memory is known beforehand. */
	while ((r = bpf_map_create(BPF_MAP_TYPE_HASH, "cpu_counts", sizeof(struct sample_key), sizeof(struct sample_value),
			*n_entries, NULL)) == -ENOMEM && *n_entries > LEAST_ENTRIES)
		*n_entries /= 2;
	if (r < 0)
		return r;
	e->counts_fd = r;
	return fence(cpu, epoch);
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

static int add_sources(struct sampler_cpu *cpu)
{
	int r;

	r = sd_event_add_io(cpu->loop, &cpu->ring_source, ring_buffer__epoll_fd(cpu->ring), EPOLLIN, ring_wants_reading, cpu);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(cpu->ring_source, SD_EVENT_ONESHOT);
	if (r < 0)
		return r;
	r = sd_event_add_time(cpu->loop, &cpu->gather_source, CLOCK_MONOTONIC, 0, gather_usec / 4, read_ring, cpu);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(cpu->gather_source, SD_EVENT_OFF);
	if (r < 0)
		return r;
	return sd_event_add_time_relative(cpu->loop, &cpu->follow_source, CLOCK_MONOTONIC, follow_usec, follow_usec / 2,
			follow_cpus, cpu);
}

int sampler_cpu_new(sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen, void *userdata,
		struct sampler **ret)
{
	_cleanup_(sampler_cpu_free_p) struct sampler_cpu *cpu = NULL;
	uint32_t n_entries = options->n_entries ? options->n_entries : DEFAULT_ENTRIES;
	int r;

	cpu = calloc(1, sizeof(*cpu));
	if (!cpu)
		return -ENOMEM;
	cpu->sampler.ops = &sampler_cpu_ops;
	cpu->loop = sd_event_ref(loop);
	cpu->seen = seen;
	cpu->userdata = userdata;
	cpu->all_processes = options->all_processes;
	for (size_t i = 0; i < SAMPLE_EPOCHS; i++)
		cpu->epochs[i].counts_fd = -1;
	for (size_t i = 0; i < SAMPLE_EPOCHS; i++) {
		r = stacks_builder_new(&limits, &cpu->epochs[i].builder);
		if (r < 0)
			return r;
	}

	libbpf_set_print(print_warnings);
	cpu->n_cpus = libbpf_num_possible_cpus();
	if (cpu->n_cpus < 0)
		return cpu->n_cpus;
	r = load_or_less(cpu, options);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < SAMPLE_EPOCHS; i++) {
		r = make_counts(cpu, options, i, &n_entries);
		if (r < 0)
			return r;
	}
	cpu->ring = ring_buffer__new(bpf_map__fd(cpu->bpf->maps.ring), take_record, cpu, NULL);
	if (!cpu->ring)
		return -errno;
	r = ring_positions_init(&cpu->positions, bpf_map__fd(cpu->bpf->maps.ring));
	if (r < 0)
		return r;
	cpu->memory_bytes = all_memory(cpu);
	r = add_sources(cpu);
	if (r < 0)
		return r;

	begin_epoch(cpu, 0, period_of(options->rate));
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
	.memory = memory,
	.free = sampler_cpu_free,
};
