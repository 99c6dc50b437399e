/* SPDX-License-Identifier: Apache-2.0 */
#include "collector.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "sample.h"
#include "stacks.h"
#include "stacks_builder.h"
#include "unwind_maps.h"

enum {
	/* 99 samples a second for 30 s on 2 CPUs are 6,000 samples: if each were another stack, 12,000 entries. */
	DEFAULT_ENTRIES = 16384,
	LEAST_ENTRIES = 1024,
	LEAST_RING_BYTES = 1 << 20,
	MOST_RING_BYTES = 8 << 20,
	/* While the reader pauses, 999 stacks of 2 KiB a second and CPU want 40 KiB of each CPU. */
	RING_BYTES_PER_CPU = 64 << 10,
	BATCH_ENTRIES = 4096,
	MAX_TARGETS = 16384,
};

/*
 * After the ring woke us we let it fill for a while and take all at once: a busy machine costs at most 50 wake-ups a
 * second, a quiet one none, and a new process is known 20 ms after its first sample.
 */
static const uint64_t gather_usec = 20 * 1000;

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

struct collector {
	struct collector_options options;
	sd_event_source *ring_source, *gather_source;
	struct ring_buffer *ring;
	struct ring_positions positions;
	struct epoch epochs[SAMPLE_EPOCHS];
	uint32_t now;                        /* epoch in which samples are counted */
	int n_cpus;                          /* possible: the values of a per-CPU map */
};

/* ---- the ring ---- */

static int take_record(void *context, void *data, size_t size)
{
	struct collector *collector = context;
	const struct sample_stack *record = data; /* or struct sample_go_labels, which begins like it */
	const struct process_id *process;
	uint32_t epoch;

	if (size < offsetof(struct sample_go_labels, at))
		return 0;
	epoch = record->epoch % SAMPLE_EPOCHS;
	if (record->n_kernel == SAMPLE_LABELS_MARK) {
		(void)stacks_builder_add_labels(collector->epochs[epoch].builder, data, size);
		return 0;
	}
	if (stacks_builder_add_record(collector->epochs[epoch].builder, data, size, &process) == STACKS_BUILDER_NEW_PROCESS &&
			collector->options.seen)
		collector->options.seen(process, collector->options.userdata);
	return 0;
}

static int ring_wants_reading(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct collector *collector = userdata;
	int r;

	r = sd_event_source_set_time_relative(collector->gather_source, gather_usec);
	if (r >= 0)
		r = sd_event_source_set_enabled(collector->gather_source, SD_EVENT_ONESHOT);
	return r; /* the ring's own source is one-shot: off until it has been read */
}

static int read_ring(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct collector *collector = userdata;

	(void)ring_buffer__consume(collector->ring);
	return sd_event_source_set_enabled(collector->ring_source, SD_EVENT_ONESHOT);
}

void collector_read(struct collector *collector)
{
	(void)ring_buffer__consume(collector->ring);
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
static int read_ring_until_now(struct collector *collector)
{
	unsigned long end = __atomic_load_n(collector->positions.producer, __ATOMIC_ACQUIRE);

	for (unsigned int i = 0; i < 1000; i++) {
		int r = ring_buffer__consume(collector->ring);

		if (r < 0)
			return r;
		if ((long)(__atomic_load_n(collector->positions.consumer, __ATOMIC_ACQUIRE) - end) >= 0)
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
static int fence(struct collector *collector, uint32_t epoch)
{
	return bpf_map_update_elem(collector->options.counts_fd, &epoch, &collector->epochs[epoch].counts_fd, 0);
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

static int read_counters(const struct collector *collector, uint32_t epoch, uint64_t *values, uint64_t *sums)
{
	size_t n = (size_t)collector->n_cpus * SAMPLE_N_COUNTERS;
	int r;

	r = bpf_map_lookup_elem(collector->options.counters_fd, &epoch, values);
	if (r < 0)
		return r;
	memset(sums, 0, SAMPLE_N_COUNTERS * sizeof(*sums));
	for (size_t i = 0; i < n; i++)
		sums[i % SAMPLE_N_COUNTERS] += values[i];
	return 0;
}

static uint64_t *new_counters(const struct collector *collector)
{
	return calloc((size_t)collector->n_cpus * SAMPLE_N_COUNTERS, sizeof(uint64_t));
}

/* Sums the counters of an epoch that has ended, and zeroes them. */
static int take_counters(struct collector *collector, uint32_t epoch, uint64_t *sums)
{
	_cleanup_free_ uint64_t *values = new_counters(collector);
	int r;

	if (!values)
		return -ENOMEM;
	r = read_counters(collector, epoch, values, sums);
	if (r < 0)
		return r;
	memset(values, 0, (size_t)collector->n_cpus * SAMPLE_N_COUNTERS * sizeof(*values));
	return bpf_map_update_elem(collector->options.counters_fd, &epoch, values, 0);
}

uint64_t collector_bpf_nsec(const struct collector *collector)
{
	_cleanup_free_ uint64_t *values = new_counters(collector);
	uint64_t sums[SAMPLE_N_COUNTERS];

	return values && read_counters(collector, collector->now, values, sums) >= 0 ? sums[SAMPLE_NSEC] : 0;
}

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

/* ---- a window's end ---- */

static void begin_epoch(struct collector *collector, uint32_t epoch, uint64_t period_nsec)
{
	struct epoch *e = &collector->epochs[epoch];

	e->start_nsec = clock_monotonic_nsec();
	e->start_wall_nsec = clock_wall_nsec();
	e->period_nsec = period_nsec;
	collector->now = epoch;
	__atomic_store_n(collector->options.epoch, epoch, __ATOMIC_SEQ_CST);
}

int collector_turn(struct collector *collector, uint64_t period_nsec, struct stacks **ret)
{
	struct stacks_builder *next = NULL;
	uint64_t sums[SAMPLE_N_COUNTERS];
	uint32_t ended = collector->now;
	struct epoch *epoch = &collector->epochs[ended];
	struct stacks *stacks;
	uint64_t end_nsec;
	int r;

	r = stacks_builder_new(&limits, &next);
	if (r < 0)
		return r;

	begin_epoch(collector, (ended + 1) % SAMPLE_EPOCHS, period_nsec);
	end_nsec = collector->epochs[collector->now].start_nsec;

	r = fence(collector, ended);
	if (r >= 0)
		r = read_ring_until_now(collector);
	if (r >= 0)
		r = take_entries(epoch);
	if (r >= 0)
		r = take_counters(collector, ended, sums);
	if (r < 0) {
		stacks_builder_free(next);
		return r;
	}

	stacks = stacks_builder_finish_take(epoch->builder);
	epoch->builder = next;
	stacks_builder_carry(collector->epochs[collector->now].builder, stacks);
	stacks->start_wall_nsec = epoch->start_wall_nsec;
	stacks->duration_nsec = end_nsec - epoch->start_nsec;
	stacks->period_nsec = epoch->period_nsec;
	stacks->bpf_nsec = sums[SAMPLE_NSEC];
	stacks->seen = sums[SAMPLE_SEEN];
	stacks->lost_ring = sums[SAMPLE_LOST_RING];
	stacks->lost_namespace = sums[SAMPLE_LOST_NAMESPACE];
	stacks->lost_storage = sums[SAMPLE_LOST_STORAGE];
	stacks->lost_nsec += sums[SAMPLE_LOST_NSEC];
	stacks->lost_others += sums[SAMPLE_LOST_OTHER];
	stacks->labels_unread = sums[SAMPLE_LABELS_UNREAD];
	stacks->labels_cut = sums[SAMPLE_LABELS_CUT];
	stacks->labels_left_out += sums[SAMPLE_LABELS_LEFT_OUT];
	stacks->short_waits = sums[SAMPLE_SHORT];
	stacks->short_nsec = sums[SAMPLE_SHORT_NSEC];
	stacks->untimed_variance = (double)sums[SAMPLE_SKIP_VARIANCE] * (1 << SAMPLE_VARIANCE_SHIFT);
	memcpy(stacks->verdicts, &sums[SAMPLE_VERDICTS], sizeof(stacks->verdicts));
	*ret = stacks;
	return 0;
}


/* ---- life ---- */

void collector_begin(struct collector *collector, uint64_t period_nsec)
{
	begin_epoch(collector, 0, period_nsec);
}

uint64_t collector_memory(const struct collector *collector)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < SAMPLE_EPOCHS; i++)
		bytes += map_memory(collector->epochs[i].counts_fd);
	return bytes;
}

uint64_t collector_object_memory(const struct bpf_object *object)
{
	uint64_t bytes = 0;
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
		if (bpf_map__autocreate(map) && strncmp(bpf_map__name(map), "unwind_", strlen("unwind_")) != 0)
			bytes += map_memory(bpf_map__fd(map));
	return bytes;
}

int collector_set_target(const struct bpf_map *target_pids, uint32_t pid, bool is_target)
{
	int r, fd = bpf_map__fd(target_pids);
	uint8_t one = 1;

	r = is_target ? bpf_map_update_elem(fd, &pid, &one, BPF_NOEXIST) : bpf_map_delete_elem(fd, &pid);
	if (r == (is_target ? -EEXIST : -ENOENT))
		return 0;
	return r < 0 ? r : 1;
}

uint32_t collector_ring_bytes(void)
{
	uint32_t bytes = LEAST_RING_BYTES;
	int n_cpus = libbpf_num_possible_cpus();

	while (bytes < MOST_RING_BYTES && n_cpus > 0 && bytes < (uint64_t)n_cpus * RING_BYTES_PER_CPU)
		bytes *= 2;
	return bytes;
}

/* The inode of our pid namespace, or 0 in the initial one: nothing to translate then (bpf/target.bpf.h). */
static int find_pid_namespace(uint32_t *ret)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) < 0)
		return -errno;
	*ret = st.st_ino == initial_pid_namespace ? 0 : (uint32_t)st.st_ino;
	return 0;
}

int collector_prepare(const struct collector_programs *programs, const struct sampler_options *options, uint32_t ring_bytes)
{
	uint64_t salt;
	int r;

	r = find_pid_namespace(programs->pid_namespace);
	if (r < 0)
		return r;
	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		return -errno;
	*programs->stack_salt = salt | 1;
	*programs->all_processes = options->all_processes;
	*programs->has_tables = !!options->unwind_maps;
	r = bpf_map__set_max_entries(programs->ring, ring_bytes ? ring_bytes : collector_ring_bytes());
	if (r >= 0 && !options->all_processes)
		r = bpf_map__set_max_entries(programs->target_pids, MAX_TARGETS);
	if (r >= 0 && options->unwind_maps)
		r = unwind_maps_share(options->unwind_maps, programs->object);
	return r;
}

struct collector *collector_free(struct collector *collector)
{
	if (!collector)
		return NULL;
	sd_event_source_disable_unref(collector->gather_source);
	sd_event_source_disable_unref(collector->ring_source);
	ring_positions_deinit(&collector->positions);
	ring_buffer__free(collector->ring);
	for (size_t i = 0; i < SAMPLE_EPOCHS; i++) {
		close_fd(collector->epochs[i].counts_fd);
		stacks_builder_free(collector->epochs[i].builder);
	}
	free(collector);
	return NULL;
}

static void collector_free_p(struct collector **collector)
{
	collector_free(*collector);
}

static int make_counts(struct collector *collector, uint32_t epoch, uint32_t *n_entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	struct epoch *e = &collector->epochs[epoch];
	int r;

	/* Not preallocated, as the template in the programs: since Linux 6.1 each of them can allocate where it runs (bpf_mem_alloc). */
	while ((r = bpf_map_create(BPF_MAP_TYPE_HASH, collector->options.name, sizeof(struct sample_key), sizeof(struct sample_value),
			*n_entries, &options)) == -ENOMEM && *n_entries > LEAST_ENTRIES)
		*n_entries /= 2;
	if (r < 0)
		return r;
	e->counts_fd = r;
	return fence(collector, epoch);
}

static int add_sources(struct collector *collector, sd_event *loop)
{
	int r;

	r = sd_event_add_io(loop, &collector->ring_source, ring_buffer__epoll_fd(collector->ring), EPOLLIN, ring_wants_reading, collector);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(collector->ring_source, SD_EVENT_ONESHOT);
	if (r < 0)
		return r;
	r = sd_event_add_time(loop, &collector->gather_source, CLOCK_MONOTONIC, 0, gather_usec / 4, read_ring, collector);
	if (r < 0)
		return r;
	return sd_event_source_set_enabled(collector->gather_source, SD_EVENT_OFF);
}

int collector_new(sd_event *loop, const struct collector_options *options, struct collector **ret)
{
	_cleanup_(collector_free_p) struct collector *collector = calloc(1, sizeof(*collector));
	uint32_t n_entries = options->n_entries ? options->n_entries : DEFAULT_ENTRIES;
	int r;

	if (!collector)
		return -ENOMEM;
	collector->options = *options;
	for (size_t i = 0; i < SAMPLE_EPOCHS; i++)
		collector->epochs[i].counts_fd = -1;
	collector->n_cpus = libbpf_num_possible_cpus();
	if (collector->n_cpus < 0)
		return collector->n_cpus;
	for (uint32_t i = 0; i < SAMPLE_EPOCHS; i++) {
		r = stacks_builder_new(&limits, &collector->epochs[i].builder);
		if (r >= 0)
			r = make_counts(collector, i, &n_entries);
		if (r < 0)
			return r;
	}
	collector->ring = ring_buffer__new(options->ring_fd, take_record, collector, NULL);
	if (!collector->ring)
		return -errno;
	r = ring_positions_init(&collector->positions, options->ring_fd);
	if (r >= 0)
		r = add_sources(collector, loop);
	if (r < 0)
		return r;
	*ret = TAKE(collector);
	return 0;
}
