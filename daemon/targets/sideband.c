/* SPDX-License-Identifier: Apache-2.0 */
#include "sideband.h"

#include <errno.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "perf_event.h"
#include "reader.h"
#include "vec.h"

enum {
	/* With the control page just inside kernel.perf_event_mlock_kb, 516 on all distributions we know. */
	RING_MAX_BYTES = 512 << 10,
	RING_MIN_BYTES = 32 << 10,
	/* All rings together: a machine of many CPUs does not start more programs on each. */
	RINGS_MAX_BYTES = 8 << 20,
	/* The longest record: MMAP2 with a path of PATH_MAX and the trailer. */
	MAX_RECORD = 64 << 10,
};

struct ring {
	int cpu;
	int fd;
	struct perf_event_mmap_page *control;
	uint8_t *data;
	size_t size;                         /* of data: a power of two */
	sd_event_source *source;
	struct sideband *sideband;
};

struct sideband {
	sd_event *loop;
	sideband_wake_fn wake;
	void *userdata;
	VEC(struct ring *) rings;
	uint8_t *record;                     /* one that lies across the end of a ring, in one piece */
	uint64_t n_lost;
	bool has_build_ids;
};

static void parse_mapping(struct reader *r, uint16_t misc, struct sideband_record *record)
{
	uint32_t major, minor, protection;
	uint64_t length;

	record->pid = reader_u32(r);
	record->tid = reader_u32(r);
	record->start = reader_u64(r);
	length = reader_u64(r);
	record->file_offset = reader_u64(r);
	if (misc & PERF_RECORD_MISC_MMAP_BUILD_ID) {
		uint8_t size = reader_u8(r);
		const void *bytes;

		reader_skip(r, 3);
		bytes = reader_bytes(r, sizeof(record->build_id.bytes));
		if (bytes && size && size <= sizeof(record->build_id.bytes)) {
			record->build_id.size = size;
			memcpy(record->build_id.bytes, bytes, size);
		}
	} else {
		major = reader_u32(r);
		minor = reader_u32(r);
		record->inode = reader_u64(r);
		reader_skip(r, sizeof(uint64_t)); /* generation of the inode */
		if (record->inode)
			record->device = makedev(major, minor);
	}
	protection = reader_u32(r);
	reader_skip(r, sizeof(uint32_t)); /* MAP_SHARED and the like */
	record->name = reader_string(r);
	if (__builtin_add_overflow(record->start, length, &record->end) || !length)
		reader_fail(r);
	if (!(protection & PROT_EXEC))
		record->kind = SIDEBAND_OTHER;
}

static void parse_comm(struct reader *r, uint16_t misc, struct sideband_record *record)
{
	record->pid = reader_u32(r);
	record->tid = reader_u32(r);
	record->name = reader_string(r);
	record->is_exec = misc & PERF_RECORD_MISC_COMM_EXEC;
}

int sideband_parse(const void *data, size_t size, struct sideband_record *ret)
{
	/* attr.sample_id_all with TID and TIME puts this behind every record. */
	enum { TRAILER = 2 * sizeof(uint32_t) + sizeof(uint64_t) };
	struct sideband_record record = { 0 };
	struct reader r = reader_of(data, size), trailer;
	uint32_t type = reader_u32(&r);
	uint16_t misc = reader_u16(&r);
	uint16_t whole = reader_u16(&r);

	if (!reader_ok(&r) || whole != size || size < sizeof(struct perf_event_header) + TRAILER)
		return -EBADMSG;
	trailer = reader_part(&r, size - sizeof(uint64_t), sizeof(uint64_t));
	record.time_nsec = reader_u64(&trailer);
	/* What stands before the trailer, so that no string runs into it. */
	r.size = size - TRAILER;
	switch (type) {
	case PERF_RECORD_MMAP2:
		record.kind = SIDEBAND_MAPPING;
		parse_mapping(&r, misc, &record);
		break;
	case PERF_RECORD_COMM:
		record.kind = SIDEBAND_COMM;
		parse_comm(&r, misc, &record);
		break;
	case PERF_RECORD_LOST:
		record.kind = SIDEBAND_LOST;
		reader_skip(&r, sizeof(uint64_t)); /* id of the event */
		record.n_lost = reader_u64(&r);
		break;
	}
	if (!reader_ok(&r))
		return -EBADMSG;
	*ret = record;
	return 0;
}

static struct ring *ring_free(struct ring *ring)
{
	if (!ring)
		return NULL;
	sd_event_source_disable_unref(ring->source);
	if (ring->control)
		munmap(ring->control, ring->size + sysconf(_SC_PAGESIZE));
	close_fd(ring->fd);
	free(ring);
	return NULL;
}
DEFINE_CLEANUP(struct ring, ring_free);

static int on_ring(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct ring *ring = userdata;

	/* The event's CPU went: nothing comes any more, and the descriptor would stay readable. */
	if (revents & (EPOLLHUP | EPOLLERR))
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	ring->sideband->wake(ring->sideband->userdata);
	return 0;
}

static int ring_open(struct sideband *sideband, int cpu, size_t bytes, struct ring **ret)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED,
		.sample_id_all = 1,
		.mmap = 1,
		.mmap2 = 1,
		.build_id = sideband->has_build_ids,
		.comm = 1,
		.comm_exec = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		.watermark = 1,
	};
	_cleanup_(ring_free_p) struct ring *ring = calloc(1, sizeof(*ring));
	size_t page = sysconf(_SC_PAGESIZE);
	void *memory;
	int r;

	if (!ring)
		return -ENOMEM;
	*ring = (struct ring){ .cpu = cpu, .fd = -1, .size = bytes, .sideband = sideband };
	/* A quarter: what is left lasts the daemon's longest pause at 600 execs a second, 1 KB each. */
	attr.wakeup_watermark = bytes / 4;
	ring->fd = perf_event_open(&attr, -1, cpu, 0);
	if (ring->fd < 0)
		return ring->fd;
	memory = mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	ring->control = memory;
	ring->data = (uint8_t *)memory + page;
	r = sd_event_add_io(sideband->loop, &ring->source, ring->fd, EPOLLIN, on_ring, ring);
	if (r < 0)
		return r;
	*ret = TAKE(ring);
	return 0;
}

/* Smaller when others of our user hold too much locked memory; without build ids on kernels that have none. */
static int add_cpu(struct sideband *sideband, int cpu, size_t bytes)
{
	struct ring *ring;
	int r = ring_open(sideband, cpu, bytes, &ring);

	if (r == -EINVAL && sideband->has_build_ids && !sideband->rings.n) {
		sideband->has_build_ids = false;
		r = ring_open(sideband, cpu, bytes, &ring);
	}
	while (r == -EPERM && bytes > RING_MIN_BYTES) {
		bytes /= 2;
		r = ring_open(sideband, cpu, bytes, &ring);
	}
	if (r < 0)
		return r;
	r = vec_push(&sideband->rings, ring);
	if (r < 0)
		ring_free(ring);
	return r;
}

static size_t ring_bytes(size_t n_cpus)
{
	size_t bytes = RING_MAX_BYTES;

	while (bytes > RING_MIN_BYTES && bytes * n_cpus > RINGS_MAX_BYTES)
		bytes /= 2;
	return bytes;
}

struct sideband *sideband_free(struct sideband *sideband)
{
	if (!sideband)
		return NULL;
	for (size_t i = 0; i < sideband->rings.n; i++)
		ring_free(sideband->rings.at[i]);
	vec_deinit(&sideband->rings);
	sd_event_unref(sideband->loop);
	free(sideband->record);
	free(sideband);
	return NULL;
}
DEFINE_CLEANUP(struct sideband, sideband_free);

int sideband_new(sd_event *loop, sideband_wake_fn wake, void *userdata, struct sideband **ret)
{
	_cleanup_(sideband_free_p) struct sideband *sideband = calloc(1, sizeof(*sideband));
	struct perf_event_cpus cpus = { 0 };
	int r;

	if (!sideband)
		return -ENOMEM;
	sideband->loop = sd_event_ref(loop);
	sideband->wake = wake;
	sideband->userdata = userdata;
	sideband->has_build_ids = true;
	sideband->record = malloc(MAX_RECORD);
	if (!sideband->record)
		return -ENOMEM;
	r = perf_event_online_cpus(&cpus);
	for (size_t i = 0; r >= 0 && i < cpus.cpus.n; i++) {
		r = add_cpu(sideband, cpus.cpus.at[i], ring_bytes(cpus.cpus.n));
		/* It went between the list and now. */
		if (r == -ENODEV)
			r = 0;
	}
	vec_deinit(&cpus.cpus);
	if (r < 0)
		return r;
	*ret = TAKE(sideband);
	return 0;
}

static bool is_online(const struct perf_event_cpus *cpus, int cpu)
{
	for (size_t i = 0; i < cpus->cpus.n; i++)
		if (cpus->cpus.at[i] == cpu)
			return true;
	return false;
}

static bool is_empty(const struct ring *ring)
{
	return __atomic_load_n(&ring->control->data_head, __ATOMIC_ACQUIRE) == ring->control->data_tail;
}

static bool has_ring(const struct sideband *sideband, int cpu)
{
	for (size_t i = 0; i < sideband->rings.n; i++)
		if (sideband->rings.at[i]->cpu == cpu)
			return true;
	return false;
}

void sideband_follow_cpus(struct sideband *sideband)
{
	struct perf_event_cpus cpus = { 0 };
	size_t n_kept = 0;

	if (perf_event_online_cpus(&cpus) < 0)
		return;
	for (size_t i = 0; i < sideband->rings.n; i++) {
		struct ring *ring = sideband->rings.at[i];

		if (!is_online(&cpus, ring->cpu) && is_empty(ring))
			ring_free(ring);
		else
			sideband->rings.at[n_kept++] = ring;
	}
	sideband->rings.n = n_kept;
	/* What can't be opened now is tried again the next time. */
	for (size_t i = 0; i < cpus.cpus.n; i++)
		if (!has_ring(sideband, cpus.cpus.at[i]))
			add_cpu(sideband, cpus.cpus.at[i], ring_bytes(cpus.cpus.n));
	vec_deinit(&cpus.cpus);
}

/* The time of an event that is on its CPU goes on, even between two reads. */
static bool stands_still(const struct ring *ring)
{
	uint64_t first[2], second[2]; /* count, time enabled */

	if (read(ring->fd, first, sizeof(first)) != sizeof(first) || read(ring->fd, second, sizeof(second)) != sizeof(second))
		return true;
	return first[1] == second[1];
}

void sideband_revive(struct sideband *sideband)
{
	size_t n_kept = 0;

	for (size_t i = 0; i < sideband->rings.n; i++) {
		struct ring *ring = sideband->rings.at[i];

		/* What it still holds is read first. */
		if (is_empty(ring) && stands_still(ring)) {
			ring_free(ring);
			sideband->n_lost++;
		} else {
			sideband->rings.at[n_kept++] = ring;
		}
	}
	sideband->rings.n = n_kept;
	sideband_follow_cpus(sideband);
}

/* The bytes at a position of the ring in one piece: they stay in the ring unless they lie across its end. */
static const uint8_t *ring_bytes_at(struct ring *ring, uint64_t position, size_t size)
{
	size_t at = position & (ring->size - 1), first = ring->size - at;
	uint8_t *copy = ring->sideband->record;

	if (size <= first)
		return ring->data + at;
	memcpy(copy, ring->data + at, first);
	memcpy(copy + first, ring->data, size - first);
	return copy;
}

static void ring_read(struct ring *ring, sideband_fn fn, void *userdata)
{
	/* Asked once: a machine that writes as fast as we read must not keep us here. */
	uint64_t head = __atomic_load_n(&ring->control->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = ring->control->data_tail;

	while (head - tail >= sizeof(struct perf_event_header)) {
		struct reader header = reader_of(ring_bytes_at(ring, tail, sizeof(struct perf_event_header)),
				sizeof(struct perf_event_header));
		struct sideband_record record;
		uint16_t size;

		reader_skip(&header, offsetof(struct perf_event_header, size));
		size = reader_u16(&header);
		if (size < sizeof(struct perf_event_header) || size > head - tail) {
			/* The kernel never writes this; going on would mean guessing where a record starts. */
			ring->sideband->n_lost++;
			tail = head;
			break;
		}
		if (sideband_parse(ring_bytes_at(ring, tail, size), size, &record) == 0) {
			if (record.kind == SIDEBAND_LOST)
				ring->sideband->n_lost += record.n_lost;
			else if (record.kind != SIDEBAND_OTHER)
				fn(&record, userdata);
		}
		tail += size;
	}
	__atomic_store_n(&ring->control->data_tail, tail, __ATOMIC_RELEASE);
}

void sideband_read(struct sideband *sideband, sideband_fn fn, void *userdata)
{
	for (size_t i = 0; i < sideband->rings.n; i++)
		ring_read(sideband->rings.at[i], fn, userdata);
}

uint64_t sideband_lost(const struct sideband *sideband)
{
	return sideband->n_lost;
}

uint64_t sideband_memory(const struct sideband *sideband)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < sideband->rings.n; i++)
		bytes += sideband->rings.at[i]->size + sysconf(_SC_PAGESIZE);
	return bytes;
}

bool sideband_has_build_ids(const struct sideband *sideband)
{
	return sideband->has_build_ids;
}
