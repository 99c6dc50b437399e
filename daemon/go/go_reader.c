/* SPDX-License-Identifier: Apache-2.0 */
#include "go_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "clock.h"
#include "go_clock.h"
#include "go_program.h"
#include "go_reader_child.h"
#include "go_report.h"
#include "image.h"
#include "mappings.h"
#include "process.h"
#include "spawn_self.h"

#define DEFAULT_NSEC (10 * NSEC_PER_SEC)
#define DEFAULT_TALLY_NSEC (50 * NSEC_PER_MSEC)
#define DEFAULT_TALLY_PPM 10000
#define TALLY_PART (UINT32_C(1) << GO_REPORT_TALLY)
#define REACH_NSEC (10 * NSEC_PER_SEC)
#define REACH_BYTES (UINT64_C(16) << 30)
#define ACCURACY_USEC (10 * USEC_PER_SEC / 1000)
#define CHUNK (256U << 10)                   /* read at once: what a socket holds */

struct go_reader {
	sd_event *loop;
	go_reader_fn done;
	void *userdata;
	struct go_reader_task task;
	VEC(struct go_reach_region) regions; /* of the task */
	int program_fd, memory_fd, pagemap_fd; /* for one that is begun anew; the last one may be -1 */
	uint64_t begun_nsec;                 /* the helper */
	uint64_t most_nsec;
	uint64_t end_nsec;                   /* CLOCK_MONOTONIC: when it has to be done */
	bool is_endless;                     /* takes snapshots until it is told not to */
	bool has_given_up_reach;             /* the helper had no time for GO_REPORT_REACH: it is begun anew without */
	bool *has_ended;                     /* of who waits; NULL: nobody does */

	pid_t pid;                           /* of the helper; 0: none */
	int socket;
	sd_event_source *answer_source, *starved_source, *end_source;
	VEC(uint8_t) answer;
};

DEFINE_CLEANUP(struct go_reader, go_reader_free);

static bool wants_reach(const struct go_reader *reader)
{
	return reader->task.parts >> GO_REPORT_REACH & 1;
}

/* --- the helper ------------------------------------------------------------------------------------------------ */

static int on_death(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	waitpid((pid_t)(intptr_t)userdata, NULL, WNOHANG);
	/* What floats belongs to the loop alone, and goes when it no longer does. */
	sd_event_source_set_floating(source, false);
	return 0;
}

/*
 * One that reads a page which its owner never delivers sleeps in the kernel, where not even SIGKILL reaches it: nobody waits for
 * that but the loop.
 */
static void bury(sd_event *loop, pid_t pid)
{
	sd_event_source *source = NULL;
	_cleanup_close_ int fd = -1;

	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, WNOHANG) != 0)
		return;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* If it fails, there is a zombie until we end. */
	if (fd < 0 || sd_event_add_io(loop, &source, fd, EPOLLIN, on_death, (void *)(intptr_t)pid) < 0)
		return;
	sd_event_source_set_io_fd_own(source, true);
	take_fd(&fd);
	sd_event_source_set_floating(source, true);
	sd_event_source_unref(source);
}

static void end_helper(struct go_reader *reader)
{
	reader->answer_source = sd_event_source_disable_unref(reader->answer_source);
	reader->socket = close_fd(reader->socket);
	reader->answer.n = 0;
	if (reader->pid > 0)
		bury(reader->loop, reader->pid);
	reader->pid = 0;
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata);

static int send_all(int socket, const void *bytes, size_t size)
{
	return !size || send(socket, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size ? 0 : -EIO;
}

static int start_helper(struct go_reader *reader)
{
	_cleanup_close_ int theirs = -1;
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	reader->socket = fds[0];
	theirs = fds[1];
	/* Into a new socket: there is room. */
	if (send_all(reader->socket, &reader->task, sizeof(reader->task)) < 0 ||
	    send_all(reader->socket, reader->regions.at, reader->regions.n * sizeof(*reader->regions.at)) < 0)
		return -EIO;
	reader->begun_nsec = clock_monotonic_nsec();
	r = spawn_self(&(struct spawn_self){ .name = GO_READER_NAME, .fds = (int[]){ theirs, reader->program_fd, reader->memory_fd, reader->pagemap_fd },
			.n_fds = reader->task.has_pagemap ? 4 : 3 }, &reader->pid);
	if (r < 0)
		return r;
	return sd_event_add_io(reader->loop, &reader->answer_source, reader->socket, EPOLLIN, on_answer, reader);
}

/* --- the answer ------------------------------------------------------------------------------------------------ */

/* The last thing that is done: the callee may free the reader. */
static int finish(struct go_reader *reader, struct go_report *report, int error)
{
	reader->starved_source = sd_event_source_disable_unref(reader->starved_source);
	reader->end_source = sd_event_source_disable_unref(reader->end_source);
	vec_deinit(&reader->answer);
	end_helper(reader);
	reader->program_fd = close_fd(reader->program_fd);
	reader->memory_fd = close_fd(reader->memory_fd);
	reader->pagemap_fd = close_fd(reader->pagemap_fd);
	if (reader->has_ended)
		*reader->has_ended = true;
	reader->done(report, error, reader->userdata);
	if (report)
		go_report_deinit(report);
	return 0;
}

/* What was sent up to its end. */
static int take_answer(struct go_reader *reader)
{
	struct go_report report = { 0 };
	int32_t error;
	int r;

	if (reader->answer.n < sizeof(error))
		return finish(reader, NULL, -ECHILD);
	memcpy(&error, reader->answer.at, sizeof(error));
	if (error)
		return finish(reader, NULL, error < 0 && error > -4096 ? error : -EBADMSG);
	r = go_report_read(reader->answer.at + sizeof(error), reader->answer.n - sizeof(error), &report);
	if (r)
		return finish(reader, NULL, r < 0 ? r : -EBADMSG);
	if (report.asked != reader->task.parts || report.goroutines.all.n > reader->task.max_goroutines) {
		go_report_deinit(&report);
		return finish(reader, NULL, -EBADMSG);
	}
	if (reader->has_given_up_reach) {
		report.asked |= 1U << GO_REPORT_REACH;
		report.status[GO_REPORT_REACH] = -ETIMEDOUT;
	}
	/* Zero it is only if nothing was said. */
	if (!(report.cycles_per_second > 0))
		report.cycles_per_second = go_clock_cycles_per_second();
	return finish(reader, &report, 0);
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct go_reader *reader = userdata;
	ssize_t n;

	if (reader->answer.n > GO_READER_MAX_ANSWER(reader->task.max_goroutines) + (wants_reach(reader) ? GO_READER_REACH_ANSWER : 0))
		return finish(reader, NULL, -EMSGSIZE);
	if (vec_reserve(&reader->answer, reader->answer.n + CHUNK) < 0)
		return finish(reader, NULL, -ENOMEM);
	n = recv(fd, reader->answer.at + reader->answer.n, CHUNK, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : finish(reader, NULL, errno == ECONNRESET ? -ECHILD : -errno);
	reader->answer.n += (size_t)n;
	return n ? 0 : take_answer(reader);
}

/* --- its time -------------------------------------------------------------------------------------------------- */

static int on_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	return finish(userdata, NULL, -ETIMEDOUT);
}

/* It would run if it were let: the letter of proc(5). */
static bool waits_for_a_processor(pid_t pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], state = '?';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	/* Its name has no parenthesis. */
	return f && fscanf(f, "%*[^)]) %c", &state) == 1 && state == 'R';
}

static uint64_t cpu_nsec_of(pid_t pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) == 0 ? clock_nsec(clock) : 0;
}

/* A quarter of its time has passed. One that has had half of that for itself has much to do; one that sleeps, bad luck. */
static int on_starved(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct go_reader *reader = userdata;
	uint64_t passed_nsec = clock_monotonic_nsec() - reader->begun_nsec;
	int r;

	if (reader->answer.n)
		return 0;
	/* Searching all memory is worth what is left over, and no more; what the look was for is worth more than that. */
	if (wants_reach(reader)) {
		reader->has_given_up_reach = true;
		reader->task.parts &= ~(1U << GO_REPORT_REACH);
		reader->task.n_regions = 0;
		reader->regions.n = 0;
	} else if (reader->task.is_urgent || !waits_for_a_processor(reader->pid) || cpu_nsec_of(reader->pid) > passed_nsec / 2) {
		return 0;
	}
	end_helper(reader);
	reader->task.is_urgent = true;
	r = start_helper(reader);
	return r < 0 ? finish(reader, NULL, r) : 0;
}

static int add_timers(struct go_reader *reader)
{
	uint64_t now_nsec = clock_monotonic_nsec();
	uint64_t most_usec = (reader->end_nsec - MIN(reader->end_nsec, now_nsec)) / NSEC_PER_USEC;
	uint64_t reach_usec = MIN(most_usec, wants_reach(reader) ? reader->task.max_reach_nsec / NSEC_PER_USEC : 0);
	int r;

	if (reader->is_endless)
		return 0;
	r = sd_event_add_time_relative(reader->loop, &reader->end_source, CLOCK_MONOTONIC, most_usec, ACCURACY_USEC, on_end, reader);
	/* Who is urgent already is not begun anew. */
	if (r < 0 || reader->task.is_urgent)
		return r;
	return sd_event_add_time_relative(reader->loop, &reader->starved_source, CLOCK_MONOTONIC, reach_usec + (most_usec - reach_usec) / 4, ACCURACY_USEC, on_starved, reader);
}

static int begin_end(struct go_reader *reader)
{
	reader->end_nsec = clock_monotonic_nsec() + reader->most_nsec;
	return add_timers(reader);
}

void go_reader_stop(struct go_reader *reader)
{
	if (!reader->is_endless)
		return;
	reader->is_endless = false;
	shutdown(reader->socket, SHUT_WR);
	/* Without a timer it may last as long as the process likes; then it is not waited for at all. */
	if (begin_end(reader) < 0)
		kill(reader->pid, SIGKILL);
}

/* --- the process ----------------------------------------------------------------------------------------------- */

/* Where the program itself is mapped, not one of its libraries or plugins. NULL: it is no Go program. */
static const struct image_mapping *find_program(const struct image *image)
{
	for (size_t i = 0; image->exe && i < image->mappings.n; i++) {
		const struct image_mapping *mapping = &image->mappings.at[i];
		const struct binary *binary = mapping->binary;

		if (binary && binary->fd >= 0 && !binary->unverified && !strcmp(binary->path, image->exe))
			return go_program_is(binary->fd) ? mapping : NULL;
	}
	return NULL;
}

/* `ret_pagemap` is -1 where the kernel has none: that is no reason not to read. */
static int open_memory(const struct process_id *id, int *ret, int *ret_pagemap)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1, pagemap = -1;
	struct process_stat stat;
	uint32_t thread;
	char path[64];

	if (proc < 0)
		return -errno;
	thread = process_living_thread(proc, id->pid);
	snprintf(path, sizeof(path), "%u/mem", thread);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : errno == EPERM ? -EACCES : -errno;
	snprintf(path, sizeof(path), "%u/pagemap", thread);
	pagemap = openat(proc, path, O_RDONLY | O_CLOEXEC);
	/* Read after it was opened: whose time of start this is, the descriptor is of, or of one that is gone. */
	if (process_read_stat(proc, id->pid, &stat) != 0 || stat.is_zombie || stat.start_ticks != id->start_nsec / NSEC_PER_TICK)
		return -ESRCH;
	*ret = take_fd(&fd);
	*ret_pagemap = take_fd(&pagemap);
	return 0;
}

static int add_region(const struct mapping *mapping, void *userdata)
{
	struct go_reader *reader = userdata;
	struct go_reach_region *last = reader->regions.n ? &reader->regions.at[reader->regions.n - 1] : NULL;

	if (last && last->end == mapping->start) {
		last->end = mapping->end;
		return 0;
	}
	return reader->regions.n < GO_READER_MAX_REGIONS ? vec_push(&reader->regions, ((struct go_reach_region){ mapping->start, mapping->end })) : -E2BIG;
}

/* All memory in which a pointer may be; without any of it nothing is searched, which the helper tells. 0 or -ENOMEM. */
static int find_regions(struct go_reader *reader, uint32_t pid)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = proc < 0 ? -errno : mappings_read_which(proc, pid, MAPPINGS_WRITABLE, add_region, reader);

	if (r)
		reader->regions.n = 0;
	reader->task.n_regions = (uint32_t)reader->regions.n;
	return r == -ENOMEM ? r : 0;
}

int go_reader_new(sd_event *loop, const struct image *image, const struct go_request *request, go_reader_fn done, void *userdata,
		struct go_reader **ret)
{
	_cleanup_(go_reader_free_p) struct go_reader *reader = NULL;
	const struct image_mapping *mapping = find_program(image);
	bool is_tally = request->parts & TALLY_PART;
	int r;

	if (!mapping)
		return -ENOEXEC;
	if (request->parts >> GO_REPORT_N_PARTS || (is_tally && request->parts != TALLY_PART) ||
	    (request->parts >> GO_REPORT_REACH & 1 && !(request->parts >> GO_REPORT_GOROUTINES & 1)))
		return -EINVAL;
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	reader->socket = reader->program_fd = reader->memory_fd = reader->pagemap_fd = -1;
	r = loop ? 0 : sd_event_new(&reader->loop);
	if (r < 0)
		return r;
	if (loop)
		reader->loop = sd_event_ref(loop);
	reader->done = done;
	reader->userdata = userdata;
	reader->task = (struct go_reader_task){
		.start = mapping->start, .end = mapping->end, .file_offset = mapping->file_offset, .parts = request->parts,
		.max_goroutines = request->max_goroutines ? MIN(request->max_goroutines, GO_GOROUTINES_MAX) : GO_READER_GOROUTINES,
		.is_urgent = is_tally || request->is_urgent,
		.tally_period_nsec = request->tally_period_nsec ? request->tally_period_nsec : DEFAULT_TALLY_NSEC,
		.tally_ppm = request->tally_ppm ? request->tally_ppm : DEFAULT_TALLY_PPM,
		.max_reach_bytes = request->max_reach_bytes ? request->max_reach_bytes : REACH_BYTES,
		.max_reach_nsec = request->max_reach_nsec ? request->max_reach_nsec : REACH_NSEC,
	};
	go_clock_begin();
	r = open_memory(&image->id, &reader->memory_fd, &reader->pagemap_fd);
	if (r < 0)
		return r;
	/* Nothing that it does not need. */
	if (!wants_reach(reader))
		reader->pagemap_fd = close_fd(reader->pagemap_fd);
	reader->task.has_pagemap = reader->pagemap_fd >= 0;
	reader->program_fd = fcntl(mapping->binary->fd, F_DUPFD_CLOEXEC, 3);
	if (reader->program_fd < 0)
		return -errno;
	reader->most_nsec = request->most_nsec ? request->most_nsec : DEFAULT_NSEC;
	if (wants_reach(reader))
		reader->most_nsec += reader->task.max_reach_nsec;
	reader->is_endless = is_tally;
	r = wants_reach(reader) ? find_regions(reader, image->id.pid) : 0;
	if (r >= 0 && !is_tally)
		r = begin_end(reader);
	if (r >= 0)
		r = start_helper(reader);
	if (r < 0)
		return r;
	*ret = TAKE(reader);
	return 0;
}

/* A loop of its own, since the other one may have ended. */
static int change_loop(struct go_reader *reader)
{
	sd_event *loop;
	int r = sd_event_new(&loop);

	if (r < 0)
		return r;
	reader->answer_source = sd_event_source_disable_unref(reader->answer_source);
	reader->starved_source = sd_event_source_disable_unref(reader->starved_source);
	reader->end_source = sd_event_source_disable_unref(reader->end_source);
	sd_event_unref(reader->loop);
	reader->loop = loop;
	r = add_timers(reader);
	return r < 0 ? r : sd_event_add_io(loop, &reader->answer_source, reader->socket, EPOLLIN, on_answer, reader);
}

void go_reader_wait(struct go_reader *reader)
{
	bool has_ended = false;
	sd_event *loop;
	int r = change_loop(reader);

	loop = sd_event_ref(reader->loop);
	reader->has_ended = &has_ended;
	while (r >= 0 && !has_ended)
		r = sd_event_run(loop, UINT64_MAX);
	if (!has_ended)
		finish(reader, NULL, r);
	sd_event_unref(loop);
}

struct go_reader *go_reader_free(struct go_reader *reader)
{
	if (!reader)
		return NULL;
	sd_event_source_disable_unref(reader->starved_source);
	sd_event_source_disable_unref(reader->end_source);
	end_helper(reader);
	vec_deinit(&reader->answer);
	vec_deinit(&reader->regions);
	close_fd(reader->program_fd);
	close_fd(reader->memory_fd);
	close_fd(reader->pagemap_fd);
	sd_event_unref(reader->loop);
	free(reader);
	return NULL;
}

int go_reader_main(void)
{
	return go_reader_child_run();
}
