/* SPDX-License-Identifier: Apache-2.0 */
#include "java_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "binary.h"
#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "image.h"
#include "java_attach.h"
#include "log.h"
#include "process.h"
#include "stacks.h"
#include "targets.h"

enum {
	/* Each is a descriptor and, while it is asked, a process. */
	MAX_JVMS = 256,
	MAX_AT_WORK = 8,
	/* That one in a hundred hangs must not hold up the others' names for longer. */
	PATIENCE_MSEC = 6000,
	COST_LIMIT = 100,                    /* of the time a JVM takes */
	MAX_DOUBLINGS = 6,
};
static const uint64_t least_pause_nsec = NSEC_PER_SEC, failure_pause_nsec = 60 * NSEC_PER_SEC,
		      longest_pause_nsec = 3600 * NSEC_PER_SEC;

/* One Java program. */
struct jvm {
	struct java_maps *maps;
	struct process_id id;
	char *service;
	int pid_fd;
	struct java_attach *attach;          /* while it is asked */
	bool is_wanted;                      /* to be asked, when there is room */
	bool may_signal;
	bool is_told, is_failure_told;       /* to the journal */
	uint32_t n_failures;                 /* in a row */
	uint64_t next_nsec;
	TAILQ_ENTRY(jvm) link;
};

struct waiting {
	struct capture *capture;
	uint64_t end_nsec;
	TAILQ_ENTRY(waiting) link;
};

struct java_maps {
	sd_event *loop;
	struct targets *targets;
	java_maps_ready_fn ready;
	void *userdata;
	int proc;
	TAILQ_HEAD(, jvm) jvms;
	TAILQ_HEAD(, waiting) waiting;       /* the first has waited longest */
	size_t n_jvms, n_at_work;
	sd_event_source *timer;
	struct java_maps_stats stats;
};

/* ---- which ---- */

/* OpenJ9 has a libjvm.so, too, but takes the signal for the wish for a dump. */
static bool is_hotspot(const struct image *image)
{
	bool found = false;

	for (size_t i = 0; i < image->mappings.n; i++) {
		const struct binary *binary = image->mappings.at[i].binary;
		const char *slash = binary ? strrchr(binary->path, '/') : NULL;

		if (slash && !strncmp(slash, "/libj9vm", 8))
			return false;
		found |= slash && !strcmp(slash, "/libjvm.so");
	}
	return found;
}

static bool has_made_frame(const struct stacks *stacks, const struct stacks_stack *stack, const struct image *image)
{
	for (size_t i = 0; i < stack->n_user; i++) {
		uint64_t address = stacks->frames.at[stack->first_frame + stack->n_kernel + i] & ~SAMPLE_INTERRUPTED;
		const struct image_mapping *mapping = image_find(image, address);

		if (mapping && mapping->kind == IMAGE_MAPPING_ANONYMOUS)
			return true;
	}
	return false;
}

/* Whether a sample of a process has code that was made at run time. Not all stacks have samples (capture_select()). */
static bool needs_map(const struct capture *capture, uint32_t process)
{
	const struct stacks *stacks = capture->stacks;

	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_stack *stack = &stacks->stacks.at[stacks->samples.at[i].stack];

		if (stack->process == process && has_made_frame(stacks, stack, capture->images.at[process]))
			return true;
	}
	return false;
}

/* ---- those that are known ---- */

static void drop_jvm(struct java_maps *maps, struct jvm *jvm)
{
	TAILQ_REMOVE(&maps->jvms, jvm, link);
	maps->n_jvms--;
	maps->n_at_work -= !!jvm->attach;
	java_attach_free(jvm->attach);
	close_fd(jvm->pid_fd);
	free(jvm->service);
	free(jvm);
}

static bool is_gone(const struct jvm *jvm)
{
	struct pollfd poll_fd = { .fd = jvm->pid_fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) > 0;
}

static void drop_gone(struct java_maps *maps)
{
	struct jvm *jvm, *next;

	for (jvm = TAILQ_FIRST(&maps->jvms); jvm; jvm = next) {
		next = TAILQ_NEXT(jvm, link);
		if (!jvm->attach && is_gone(jvm))
			drop_jvm(maps, jvm);
	}
}

static bool is_same(const struct process_id *a, const struct process_id *b)
{
	return a->pid == b->pid && a->exec_id == b->exec_id && a->start_nsec == b->start_nsec;
}

/* A descriptor of that very process: its number may be another's by now. */
static int open_process(const struct java_maps *maps, const struct process_id *id)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, id->pid, 0);
	struct process_stat stat;

	if (fd < 0)
		return -errno;
	/* Read after it was opened: whose time of start this is, the descriptor means, or one that is gone. */
	if (process_read_stat(maps->proc, id->pid, &stat) != 0 ||
	    stat.start_ticks != id->start_nsec / NSEC_PER_TICK)
		return -ESRCH;
	return take_fd(&fd);
}

/* NULL when it is gone, or there are too many. */
static struct jvm *find_jvm(struct java_maps *maps, const struct image *image)
{
	struct jvm *jvm;
	int pid_fd;

	TAILQ_FOREACH (jvm, &maps->jvms, link)
		if (is_same(&jvm->id, &image->id))
			return jvm;
	pid_fd = maps->n_jvms < MAX_JVMS ? open_process(maps, &image->id) : -ENOBUFS;
	jvm = pid_fd >= 0 ? calloc(1, sizeof(*jvm)) : NULL;
	if (jvm)
		jvm->service = strdup(image->service);
	if (!jvm || !jvm->service) {
		close_fd(pid_fd);
		free(jvm);
		return NULL;
	}
	jvm->maps = maps;
	jvm->id = image->id;
	jvm->pid_fd = pid_fd;
	jvm->may_signal = true;
	TAILQ_INSERT_TAIL(&maps->jvms, jvm, link);
	maps->n_jvms++;
	return jvm;
}

/* ---- captures ---- */

static void hand_over(struct java_maps *maps, struct capture *capture)
{
	for (size_t i = 0; i < capture->images.n; i++) {
		struct image *image = capture->images.at[i];

		if (image && is_hotspot(image))
			targets_renew_perf_map(maps->targets, image);
	}
	maps->ready(capture, maps->userdata);
}

static bool is_idle(const struct java_maps *maps)
{
	const struct jvm *jvm;

	TAILQ_FOREACH (jvm, &maps->jvms, link)
		if (jvm->is_wanted || jvm->attach)
			return false;
	return true;
}

static void arm(struct java_maps *maps)
{
	const struct waiting *first = TAILQ_FIRST(&maps->waiting);

	sd_event_source_set_enabled(maps->timer, first ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	if (first)
		sd_event_source_set_time(maps->timer, first->end_nsec / NSEC_PER_USEC);
}

/* Those that have nothing more to wait for, or have waited long enough. */
static void hand_over_due(struct java_maps *maps)
{
	bool all = is_idle(maps);
	uint64_t now = clock_monotonic_nsec();
	struct waiting *waiting;

	while ((waiting = TAILQ_FIRST(&maps->waiting)) && (all || waiting->end_nsec <= now)) {
		TAILQ_REMOVE(&maps->waiting, waiting, link);
		hand_over(maps, waiting->capture);
		free(waiting);
	}
	arm(maps);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	hand_over_due(userdata);
	return 0;
}

/* ---- asking ---- */

static void tell(struct jvm *jvm, const struct java_attach_result *result)
{
	char why[512];

	if (result->outcome == JAVA_ATTACH_WRITTEN) {
		if (!jvm->is_told)
			log_event(LOG_INFO, "java-perfmap", jvm->service, NULL,
					"Java process %" PRIu32 " (%s) has written /tmp/perf-%" PRIu32 ".map, as it sees /tmp, in %.1f ms; "
					"it is asked again at the end of each window with samples of its code.", jvm->id.pid, jvm->service,
					result->namespace_pid, (double)result->answer_nsec / NSEC_PER_MSEC);
		jvm->is_told = true;
		return;
	}
	if (jvm->is_failure_told)
		return;
	jvm->is_failure_told = true;
	java_attach_explain(result, why, sizeof(why));
	log_event(LOG_WARNING, "java-perfmap", jvm->service, NULL,
			"Java process %" PRIu32 " (%s) writes no perf map, its code has no names: %s.", jvm->id.pid, jvm->service, why);
}

static void start_wanted(struct java_maps *maps);

static void on_answer(const struct java_attach_result *result, void *userdata)
{
	struct jvm *jvm = userdata;
	struct java_maps *maps = jvm->maps;
	uint64_t now = clock_monotonic_nsec();

	jvm->attach = java_attach_free(jvm->attach);
	maps->n_at_work--;
	if (result->outcome == JAVA_ATTACH_WRITTEN) {
		maps->stats.written++;
		jvm->n_failures = 0;
		jvm->may_signal = true;
		jvm->next_nsec = now + MAX(least_pause_nsec, COST_LIMIT * result->answer_nsec);
	} else if (result->outcome != JAVA_ATTACH_GONE) {
		maps->stats.failed++;
		jvm->may_signal &= !result->was_signalled;
		jvm->next_nsec = now + MIN(failure_pause_nsec << MIN(jvm->n_failures, (uint32_t)MAX_DOUBLINGS), longest_pause_nsec);
		jvm->n_failures++;
	}
	maps->stats.answer_nsec += result->answer_nsec;
	if (result->outcome != JAVA_ATTACH_GONE)
		tell(jvm, result);
	start_wanted(maps);
	hand_over_due(maps);
}

static void start_asking(struct jvm *jvm)
{
	struct java_maps *maps = jvm->maps;
	const struct java_attach_query query = {
		.proc = maps->proc,
		.pid = jvm->id.pid,
		.pid_fd = jvm->pid_fd,
		.may_signal = jvm->may_signal,
	};
	int r;

	jvm->is_wanted = false;
	r = java_attach_new(maps->loop, &query, on_answer, jvm, &jvm->attach);
	if (r < 0) {
		const struct java_attach_result result = { .outcome = JAVA_ATTACH_FAILED, .error = -r };

		/* The machine's fault, not its. */
		maps->stats.failed++;
		jvm->next_nsec = clock_monotonic_nsec() + failure_pause_nsec;
		tell(jvm, &result);
		return;
	}
	maps->n_at_work++;
}

static void start_wanted(struct java_maps *maps)
{
	struct jvm *jvm;

	TAILQ_FOREACH (jvm, &maps->jvms, link) {
		if (maps->n_at_work >= MAX_AT_WORK)
			return;
		if (jvm->is_wanted && !jvm->attach)
			start_asking(jvm);
	}
}

static void want_maps(struct java_maps *maps, const struct capture *capture)
{
	uint64_t now = clock_monotonic_nsec();

	for (uint32_t i = 0; i < capture->images.n; i++) {
		const struct image *image = capture->images.at[i];
		struct jvm *jvm;

		if (!image || !is_hotspot(image) || !needs_map(capture, i))
			continue;
		jvm = find_jvm(maps, image);
		if (jvm && jvm->next_nsec <= now && !jvm->attach)
			jvm->is_wanted = true;
	}
}

void java_maps_add_take(struct java_maps *maps, struct capture *capture)
{
	struct waiting *waiting;

	drop_gone(maps);
	want_maps(maps, capture);
	start_wanted(maps);
	waiting = is_idle(maps) ? NULL : calloc(1, sizeof(*waiting));
	if (!waiting) {
		hand_over(maps, capture);
		return;
	}
	waiting->capture = capture;
	waiting->end_nsec = clock_monotonic_nsec() + PATIENCE_MSEC * NSEC_PER_MSEC;
	TAILQ_INSERT_TAIL(&maps->waiting, waiting, link);
	arm(maps);
}

void java_maps_finish(struct java_maps *maps)
{
	struct jvm *jvm;
	bool found = true;

	/* Each answer may start another, and hands over what is due. */
	while (!TAILQ_EMPTY(&maps->waiting) && found) {
		found = false;
		TAILQ_FOREACH (jvm, &maps->jvms, link) {
			if (!jvm->attach)
				continue;
			java_attach_wait(jvm->attach);
			found = true;
			break;
		}
	}
}

/* ---- life ---- */

DEFINE_CLEANUP(struct java_maps, java_maps_free);

int java_maps_new(sd_event *loop, struct targets *targets, java_maps_ready_fn ready, void *userdata,
		struct java_maps **ret)
{
	_cleanup_(java_maps_free_p) struct java_maps *maps = calloc(1, sizeof(*maps));
	int r;

	if (!maps)
		return -ENOMEM;
	TAILQ_INIT(&maps->jvms);
	TAILQ_INIT(&maps->waiting);
	maps->loop = sd_event_ref(loop);
	maps->targets = targets;
	maps->ready = ready;
	maps->userdata = userdata;
	maps->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = maps->proc < 0 ? -errno : sd_event_add_time(loop, &maps->timer, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_timer, maps);
	if (r < 0)
		return r;
	*ret = TAKE(maps);
	return 0;
}

struct java_maps *java_maps_free(struct java_maps *maps)
{
	struct waiting *waiting;
	struct jvm *jvm;

	if (!maps)
		return NULL;
	while ((waiting = TAILQ_FIRST(&maps->waiting))) {
		TAILQ_REMOVE(&maps->waiting, waiting, link);
		capture_free(waiting->capture);
		free(waiting);
	}
	while ((jvm = TAILQ_FIRST(&maps->jvms)))
		drop_jvm(maps, jvm);
	sd_event_source_disable_unref(maps->timer);
	close_fd(maps->proc);
	sd_event_unref(maps->loop);
	free(maps);
	return NULL;
}

struct java_maps_stats java_maps_stats(const struct java_maps *maps)
{
	return maps->stats;
}
