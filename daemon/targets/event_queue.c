/* SPDX-License-Identifier: Apache-2.0 */
#include "event_queue.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "clock.h"
#include "life.skel.h"
#include "sample.h"
#include "sideband.h"
#include "vec.h"

enum {
	MAX_IDLE_EVENTS = 4096,              /* room kept for the next ones */
};

struct queued {
	struct event event;                  /* without its name */
	uint64_t number;                     /* order of arrival, for equal times */
	size_t name;                         /* into names */
};

struct event_queue {
	event_queue_wake_fn wake;
	void *userdata;
	struct life_bpf *life;
	struct ring_buffer *life_ring;
	struct sideband *sideband;
	sd_event_source *life_source;

	VEC(struct queued) events;           /* arrived, not yet taken */
	VEC(char) names;                     /* theirs */
	uint64_t n_events;
	uint64_t collected_nsec;             /* when the rings were read last */
	struct event_queue_losses unqueued;  /* for want of memory here */
	struct event_queue_losses losses;
};

static int queue_event(struct event_queue *queue, const struct event *event, const char *name, size_t length)
{
	const struct queued queued = { *event, queue->n_events++, queue->names.n };

	if (vec_reserve(&queue->names, queue->names.n + length + 1) < 0 || vec_push(&queue->events, queued) < 0)
		return -ENOMEM;
	memcpy(queue->names.at + queue->names.n, name, length);
	queue->names.at[queue->names.n + length] = '\0';
	queue->names.n += length + 1;
	return 0;
}

static int on_life(void *userdata, void *data, size_t size)
{
	static const enum event_kind kinds[] = {
		[LIFE_FORK] = EVENT_FORK, [LIFE_EXEC] = EVENT_EXEC, [LIFE_EXIT] = EVENT_EXIT,
	};
	struct event_queue *queue = userdata;
	const struct life_event *life = data;
	struct event event = { 0 };

	if (size < sizeof(*life) || life->kind >= ARRAY_SIZE(kinds))
		return 0;
	event.time_nsec = life->time_nsec;
	event.kind = kinds[life->kind];
	event.pid = life->process.pid;
	event.start_nsec = life->process.start_nsec / NSEC_PER_TICK * NSEC_PER_TICK;
	event.exec_id = life->process.exec_id;
	event.parent_pid = life->parent_pid;
	if (queue_event(queue, &event, life->comm, strnlen(life->comm, sizeof(life->comm))) < 0)
		queue->unqueued.life++;
	return 0;
}

static void on_sideband(const struct sideband_record *record, void *userdata)
{
	struct event_queue *queue = userdata;
	const struct event event = {
		.time_nsec = record->time_nsec,
		.kind = record->kind == SIDEBAND_MAPPING ? EVENT_MAPPING : record->is_exec ? EVENT_COMM_EXEC : EVENT_COMM,
		.pid = record->pid,
		.tid = record->tid,
		.build_id = record->build_id,
		.start = record->start,
		.end = record->end,
		.file_offset = record->file_offset,
		.device = record->device,
		.inode = record->inode,
	};

	/* Outside our pid namespace, or gone before the kernel could say who it was. */
	if (!record->pid || record->pid == UINT32_MAX)
		return;
	if (queue_event(queue, &event, record->name, strlen(record->name)) < 0)
		queue->unqueued.sideband++;
}

void event_queue_collect(struct event_queue *queue)
{
	/*
	 * What is stamped before this was in its ring before we look into the first one; of what comes while we look, an
	 * effect could be in a ring yet to be read and its cause in one just left. That waits for the next time.
	 */
	queue->collected_nsec = clock_monotonic_nsec();
	ring_buffer__consume(queue->life_ring);
	sideband_read(queue->sideband, on_sideband, queue);
	queue->losses.life = queue->unqueued.life + __atomic_load_n(&queue->life->bss->n_lost, __ATOMIC_RELAXED);
	queue->losses.sideband = queue->unqueued.sideband + sideband_lost(queue->sideband);
}

static int compare_events(const void *a, const void *b)
{
	const struct queued *x = a, *y = b;

	if (x->event.time_nsec != y->event.time_nsec)
		return x->event.time_nsec < y->event.time_nsec ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

/* Keeps the events from `first` on, and their names. */
static void forget_events(struct event_queue *queue, size_t first)
{
	size_t n_names = 0;

	memmove(queue->events.at, queue->events.at + first, (queue->events.n - first) * sizeof(*queue->events.at));
	queue->events.n -= first;
	if (!queue->events.n) {
		queue->names.n = 0;
		/* After a storm. */
		if (queue->events.n_allocated > MAX_IDLE_EVENTS) {
			vec_deinit(&queue->events);
			vec_deinit(&queue->names);
		}
		return;
	}
	/* Few: what came while the rings were read. Their names move down in the order in which they stand. */
	for (size_t at = 0; at < queue->names.n;) {
		size_t length = strlen(queue->names.at + at) + 1;

		for (size_t i = 0; i < queue->events.n; i++)
			if (queue->events.at[i].name == at) {
				memmove(queue->names.at + n_names, queue->names.at + at, length);
				queue->events.at[i].name = n_names;
				n_names += length;
				break;
			}
		at += length;
	}
	queue->names.n = n_names;
}

void event_queue_take(struct event_queue *queue, event_queue_fn fn, void *userdata)
{
	size_t n = 0;

	if (!queue->events.n)
		return;
	vec_sort(&queue->events, compare_events);
	for (; n < queue->events.n && queue->events.at[n].event.time_nsec <= queue->collected_nsec; n++) {
		struct event event = queue->events.at[n].event;

		event.name = queue->names.at + queue->events.at[n].name;
		fn(&event, userdata);
	}
	forget_events(queue, n);
}

void event_queue_follow_cpus(struct event_queue *queue, bool is_doubted)
{
	if (is_doubted)
		sideband_revive(queue->sideband);
	else
		sideband_follow_cpus(queue->sideband);
}

struct event_queue_losses event_queue_losses(const struct event_queue *queue)
{
	return queue->losses;
}

uint64_t event_queue_memory(const struct event_queue *queue)
{
	return sideband_memory(queue->sideband) + bpf_map__max_entries(queue->life->maps.events);
}

static int on_life_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct event_queue *queue = userdata;

	queue->wake(queue->userdata);
	return 0;
}

static void on_sideband_ready(void *userdata)
{
	struct event_queue *queue = userdata;

	queue->wake(queue->userdata);
}

static int open_life(struct event_queue *queue, sd_event *loop, int proc)
{
	struct stat namespace;
	int r;

	queue->life = life_bpf__open();
	if (!queue->life)
		return -errno;
	/* PROC_PID_INIT_INO, include/linux/proc_ns.h: the first namespace has a fixed inode. */
	if (fstatat(proc, "self/ns/pid", &namespace, 0) == 0 && namespace.st_ino != 0xEFFFFFFCU)
		queue->life->rodata->pid_namespace = namespace.st_ino;
	r = life_bpf__load(queue->life);
	if (r < 0)
		return r;
	queue->life_ring = ring_buffer__new(bpf_map__fd(queue->life->maps.events), on_life, queue, NULL);
	if (!queue->life_ring)
		return -errno;
	r = life_bpf__attach(queue->life);
	if (r < 0)
		return r;
	return sd_event_add_io(loop, &queue->life_source, ring_buffer__epoll_fd(queue->life_ring), EPOLLIN, on_life_ready,
			queue);
}

DEFINE_CLEANUP(struct event_queue, event_queue_free);

int event_queue_new(sd_event *loop, int proc, event_queue_wake_fn wake, void *userdata, struct event_queue **ret)
{
	_cleanup_(event_queue_free_p) struct event_queue *queue = calloc(1, sizeof(*queue));
	int r;

	if (!queue)
		return -ENOMEM;
	queue->wake = wake;
	queue->userdata = userdata;
	/* Before the life of processes: what execs in between has its mappings. */
	r = sideband_new(loop, on_sideband_ready, queue, &queue->sideband);
	if (r >= 0)
		r = open_life(queue, loop, proc);
	if (r < 0)
		return r;
	*ret = TAKE(queue);
	return 0;
}

struct event_queue *event_queue_free(struct event_queue *queue)
{
	if (!queue)
		return NULL;
	sd_event_source_disable_unref(queue->life_source);
	ring_buffer__free(queue->life_ring);
	life_bpf__destroy(queue->life);
	sideband_free(queue->sideband);
	vec_deinit(&queue->events);
	vec_deinit(&queue->names);
	free(queue);
	return NULL;
}
