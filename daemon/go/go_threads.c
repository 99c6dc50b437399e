/* SPDX-License-Identifier: Apache-2.0 */
#include "go_threads.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "clock.h"
#include "go_file_reader.h"
#include "go_program.h"
#include "image.h"
#include "location.h"
#include "log.h"
#include "process.h"
#include "targets.h"

enum {
	MAX_AT_WORK = 2,                     /* helpers */
	LEAST_SWEEP = 64,                    /* processes, before it is looked which are gone */
};

enum state {
	WANTED,                              /* to be looked at, when there is room */
	AT_WORK,
	NONE,                                /* nothing is to be told of it */
	KNOWN,
};

struct process {
	struct go_threads *labels;
	struct process_id id;
	enum state state;
	struct go_file_reader *reader;
	struct go_thread known;
	TAILQ_ENTRY(process) link;
};

struct go_threads {
	sd_event *loop;
	struct go_threads_options options;
	int proc;
	TAILQ_HEAD(, process) processes;
	size_t n, n_at_work, sweep_at;
	bool is_full;                        /* was, once: told to the journal */
};

static void drop(struct go_threads *labels, struct process *process)
{
	TAILQ_REMOVE(&labels->processes, process, link);
	labels->n--;
	labels->n_at_work -= process->state == AT_WORK;
	if (process->state == KNOWN)
		labels->options.tell(process->id.pid, NULL, labels->options.userdata);
	go_file_reader_free(process->reader);
	free(process);
}

static bool is_gone(const struct go_threads *labels, const struct process *process)
{
	struct process_stat stat;

	return process_read_stat(labels->proc, process->id.pid, &stat) != 0 || stat.start_ticks != process->id.start_nsec / NSEC_PER_TICK;
}

/* When there are twice as many as were left the last time; no more than the kernel side has room for. */
static void sweep(struct go_threads *labels)
{
	struct process *process, *next;

	if (labels->n < labels->sweep_at)
		return;
	for (process = TAILQ_FIRST(&labels->processes); process; process = next) {
		next = TAILQ_NEXT(process, link);
		if (is_gone(labels, process))
			drop(labels, process);
	}
	labels->sweep_at = MIN(MAX(2 * labels->n, (size_t)LEAST_SWEEP), (size_t)GO_THREAD_MAX);
}

static const char *reason_of(enum go_file_reader_outcome outcome)
{
	switch (outcome) {
	case GO_FILE_READER_VERSION:
		return "its version of Go is none that is known";
	case GO_FILE_READER_NO_G:
		return "where its threads keep their goroutine is not found";
	case GO_FILE_READER_NO_GO:
		return "its function table is not understood";
	default:
		return "its file could not be read";
	}
}

static void look_at_wanted(struct go_threads *labels);

static void on_read(enum go_file_reader_outcome outcome, const struct go_thread *known, void *userdata)
{
	struct process *process = userdata;
	struct go_threads *labels = process->labels;

	process->reader = go_file_reader_free(process->reader);
	labels->n_at_work--;
	process->state = outcome == GO_FILE_READER_KNOWN ? KNOWN : NONE;
	if (process->state == KNOWN) {
		process->known = *known;
		process->known.start_ticks = process->id.start_nsec / NSEC_PER_TICK;
		process->known.exec_id = process->id.exec_id;
		labels->options.tell(process->id.pid, &process->known, labels->options.userdata);
	} else {
		log_print(LOG_INFO, "The Go process %" PRIu32 " is sampled without labels of its goroutines: %s.", process->id.pid, reason_of(outcome));
	}
	look_at_wanted(labels);
}

/* -1: not known. Borrowed from the image. */
static int executable_of(const struct image *image)
{
	for (size_t i = 0; image->exe && i < image->mappings.n; i++) {
		const struct binary *binary = image->mappings.at[i].binary;

		/* What is perhaps another file is not worth a wrong label. */
		if (binary && binary->fd >= 0 && !binary->unverified && !strcmp(binary->path, image->exe))
			return binary->fd;
	}
	return -1;
}

static bool is_wanted(const struct go_threads *labels, const struct image *image)
{
	return !labels->options.wants || labels->options.wants(image, labels->options.wants_userdata);
}

static void look(struct process *process)
{
	struct go_threads *labels = process->labels;
	struct image *image = NULL;
	int fd, r;

	process->state = NONE;
	if (targets_image(labels->options.targets, &process->id, &image) != 0)
		return;
	fd = executable_of(image);
	if (fd >= 0 && is_wanted(labels, image) && go_program_is(fd)) {
		r = go_file_reader_new(labels->loop, fd, on_read, process, &process->reader);
		if (r < 0)
			log_print(LOG_DEBUG, "no helper to read the file of process %" PRIu32 ": %s", process->id.pid, strerror(-r));
		process->state = r < 0 ? NONE : AT_WORK;
		labels->n_at_work += r >= 0;
	}
	image_free(image);
}

static void look_at_wanted(struct go_threads *labels)
{
	struct process *process;

	TAILQ_FOREACH (process, &labels->processes, link) {
		if (labels->n_at_work >= MAX_AT_WORK)
			return;
		if (process->state == WANTED)
			look(process);
	}
}

void go_threads_seen(struct go_threads *labels, const struct process_id *id)
{
	struct process *process, *next;

	for (process = TAILQ_FIRST(&labels->processes); process; process = next) {
		next = TAILQ_NEXT(process, link);
		if (process->id.pid != id->pid)
			continue;
		if (!memcmp(&process->id, id, sizeof(*id))) {
			if (process->state == KNOWN)
				labels->options.tell(id->pid, &process->known, labels->options.userdata);
			return;
		}
		drop(labels, process); /* the number is another one's now */
	}
	sweep(labels);
	if (labels->n >= GO_THREAD_MAX) {
		if (!labels->is_full)
			log_print(LOG_WARNING, "More than %d processes: Go programs among the others are sampled without labels of their goroutines.",
					GO_THREAD_MAX);
		labels->is_full = true;
		return;
	}
	process = calloc(1, sizeof(*process));
	if (!process)
		return;
	process->labels = labels;
	process->id = *id;
	TAILQ_INSERT_TAIL(&labels->processes, process, link);
	labels->n++;
	look_at_wanted(labels);
}

/* ---- life ---- */

DEFINE_CLEANUP(struct go_threads, go_threads_free);

int go_threads_new(sd_event *loop, const struct go_threads_options *options, struct go_threads **ret)
{
	_cleanup_(go_threads_free_p) struct go_threads *labels = calloc(1, sizeof(*labels));

	if (!labels)
		return -ENOMEM;
	TAILQ_INIT(&labels->processes);
	labels->loop = sd_event_ref(loop);
	labels->options = *options;
	labels->sweep_at = LEAST_SWEEP;
	labels->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (labels->proc < 0)
		return -errno;
	*ret = TAKE(labels);
	return 0;
}

struct go_threads *go_threads_free(struct go_threads *labels)
{
	struct process *process;

	if (!labels)
		return NULL;
	while ((process = TAILQ_FIRST(&labels->processes))) {
		TAILQ_REMOVE(&labels->processes, process, link);
		go_file_reader_free(process->reader);
		free(process);
	}
	close_fd(labels->proc);
	sd_event_unref(labels->loop);
	free(labels);
	return NULL;
}
