/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "futex_wait.h"
#include "go_findings.h"
#include "image.h"
#include "lock_owners.h"
#include "process.h"
#include "sampler.h"
#include "stacks.h"
#include "targets.h"
#include "wall.h"

void capture_drop_samples(struct capture *capture)
{
	vec_deinit(&capture->stacks->samples);
	if (capture->go)
		vec_deinit(&capture->go->samples);
}

struct capture *capture_free(struct capture *capture)
{
	if (!capture)
		return NULL;
	for (size_t i = 0; i < capture->images.n; i++)
		image_free(capture->images.at[i]);
	vec_deinit(&capture->images);
	for (size_t i = 0; i < capture->neighbours.n; i++)
		free(capture->neighbours.at[i].service);
	vec_deinit(&capture->neighbours);
	deadlocks_deinit(&capture->deadlocks);
	go_findings_free(capture->go);
	stacks_free(capture->stacks);
	free(capture);
	return NULL;
}

const char *capture_service(const struct capture *capture, uint32_t process, const char *thread)
{
	const struct image *image = capture->images.at[process];

	if (image)
		return image->service;
	return thread[0] ? thread : "unknown";
}

static int find_images(struct capture *capture, struct targets *targets)
{
	size_t n = capture->stacks->processes.n;
	int r;

	r = vec_reserve(&capture->images, n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct image *image = NULL;

		/*
		 * A program of which nothing is known, or that cannot be looked at, keeps its samples; they only stay without
		 * names. It must not cost the others theirs.
		 */
		r = targets_image(targets, &capture->stacks->processes.at[i], &image);
		if (r == -ENOMEM)
			return r;
		capture->images.at[capture->images.n++] = image;
	}
	return 0;
}

/* --- Who had the CPU --- */

/* A machine on which more processes had the CPUs of targets in one window is no quieter for their names. */
enum { MOST_NEIGHBOURS = 4096 };

static int compare_neighbours(const void *a, const void *b)
{
	const struct capture_neighbour *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* Their pids, sorted, each once. */
static int find_pids(struct capture *capture)
{
	size_t n = 0;

	for (size_t i = 0; i < capture->stacks->samples.n; i++) {
		const struct sample_wait *wait = &capture->stacks->samples.at[i].wait;

		if (wait->reason == SAMPLE_RUNQUEUE && wait->object &&
		    vec_push(&capture->neighbours, ((struct capture_neighbour){ .pid = (uint32_t)wait->object })) < 0)
			return -ENOMEM;
	}
	vec_sort(&capture->neighbours, compare_neighbours);
	for (size_t i = 0; i < capture->neighbours.n; i++)
		if (!n || capture->neighbours.at[n - 1].pid != capture->neighbours.at[i].pid)
			capture->neighbours.at[n++] = capture->neighbours.at[i];
	capture->neighbours.n = n;
	return 0;
}

static int find_neighbours(struct capture *capture, struct targets *targets)
{
	int r = find_pids(capture);

	for (size_t i = 0; r >= 0 && i < MIN(capture->neighbours.n, (size_t)MOST_NEIGHBOURS); i++) {
		char **service = &capture->neighbours.at[i].service;

		if (targets_service(targets, capture->neighbours.at[i].pid, service) == 0)
			continue;
		*service = strdup("(exited)");
		r = *service ? 0 : -ENOMEM;
	}
	return r;
}

const char *capture_neighbour(const struct capture *capture, uint32_t pid)
{
	const struct capture_neighbour key = { .pid = pid }, *found;

	if (!capture->neighbours.n)
		return NULL;
	found = bsearch(&key, capture->neighbours.at, capture->neighbours.n, sizeof(key), compare_neighbours);
	if (!found)
		return NULL;
	return found->service ? found->service : "other";
}

/* --- Deadlocks --- */

/* A number may belong to another process by now. */
static bool is_still(int proc, const struct process_id *process)
{
	struct process_stat stat;

	return process_read_stat(proc, process->pid, &stat) == 0 && stat.start_ticks == process->start_nsec / NSEC_PER_TICK;
}

/* Whoever is to be looked at can make it last; the machine may be busy, too. */
enum { LOOK_MOST_MSEC = 400, LOOKS_MOST_MSEC = 800 }; /* at a process, and at all of a window */

struct looks {
	int proc;
	uint64_t until_nsec;
};

static int ask_owners(const struct process_id *process, const uint64_t *locks, size_t n, uint32_t *ret_owners, void *userdata)
{
	const struct looks *looks = userdata;
	uint64_t now = clock_monotonic_nsec();

	if (!is_still(looks->proc, process))
		return 0;
	if (now >= looks->until_nsec)
		return -ETIMEDOUT;
	return MIN(lock_owners_read(process_living_thread(looks->proc, process->pid), locks, n,
			(int)MIN((looks->until_nsec - now) / NSEC_PER_MSEC + 1, (uint64_t)LOOK_MOST_MSEC), ret_owners), 0);
}

static int ask_wait(const struct process_id *process, uint32_t tid, struct futex_wait *ret, void *userdata)
{
	const struct looks *looks = userdata;

	return futex_wait_read(looks->proc, process->pid, tid, ret);
}

/* What cannot be looked for now is found in a later window, if it is one: no reason to lose this one. */
static void find_deadlocks(struct capture *capture)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct looks limits = { .proc = proc, .until_nsec = clock_monotonic_nsec() + LOOKS_MOST_MSEC * NSEC_PER_MSEC };
	const struct deadlocks_looks looks = { .owners = ask_owners, .wait = ask_wait, .userdata = &limits };

	if (proc >= 0 && deadlocks_find(capture->stacks, &looks, &capture->deadlocks) >= 0)
		return;
	deadlocks_deinit(&capture->deadlocks);
	capture->deadlocks.has_looked = false;
}

/* --- What ran --- */

/* For how a thread is asked how long it lived. */
struct life {
	int proc;
	uint64_t start_boottime_nsec, end_boottime_nsec; /* of the window */
};

static uint64_t lived(const struct process_id *process, uint32_t tid, void *userdata)
{
	const struct life *life = userdata;
	struct process_stat stat;
	uint64_t born_nsec;

	/* /proc has a directory for each thread, too. */
	if (process_read_stat(life->proc, tid, &stat) != 0)
		return WALL_UNKNOWN;
	born_nsec = MAX(stat.start_ticks * NSEC_PER_TICK, life->start_boottime_nsec);
	return life->end_boottime_nsec - MIN(born_nsec, life->end_boottime_nsec);
}

/* Adds what ran to what waited. */
static int add_ran(struct capture *capture, const struct capture_request *request)
{
	const struct capture *ran = request->ran;
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ bool *is_wanted = calloc(ran->images.n + 1, sizeof(*is_wanted));
	struct life life = { .proc = proc };

	if (!is_wanted)
		return -ENOMEM;
	if (proc < 0)
		return -errno;
	life.end_boottime_nsec = clock_nsec(CLOCK_BOOTTIME);
	life.start_boottime_nsec = life.end_boottime_nsec - capture->stacks->duration_nsec;
	for (size_t i = 0; i < ran->images.n; i++)
		is_wanted[i] = request->all_processes || (ran->images.at[i] && ran->images.at[i]->in_depth);
	return wall_add(capture->stacks, ran->stacks, is_wanted, lived, &life);
}

int capture_window(struct sampler *sampler, struct targets *targets, const struct capture_request *request, struct capture **ret)
{
	_cleanup_(capture_free_p) struct capture *capture = calloc(1, sizeof(*capture));
	int r;

	if (!capture)
		return -ENOMEM;
	capture->kind = request->kind;
	capture->kinds = request->kinds;
	capture->trigger = request->trigger;
	r = sampler->ops->drain(sampler, request->next_rate, &capture->stacks);
	if (r < 0)
		return r;
	capture->end_nsec = clock_monotonic_nsec();
	/* Soon: the waits of the window are compared with what is so now. */
	if (capture->kind == PROFILE_BLOCK)
		find_deadlocks(capture);
	r = request->ran ? add_ran(capture, request) : 0;
	if (r < 0)
		return r;
	/* What was mapped before the last sample was taken is known after this. */
	r = targets_catch_up(targets);
	if (r < 0)
		return r;
	r = find_images(capture, targets);
	if (r >= 0)
		r = find_neighbours(capture, targets);
	if (r < 0)
		return r;
	*ret = TAKE(capture);
	return 0;
}

/* What is told beside the samples. */
static void select_locks(struct capture *capture, bool (*keep)(const struct image *image, const void *userdata), const void *userdata)
{
	struct deadlocks *deadlocks = &capture->deadlocks;
	struct locks *locks = &capture->stacks->locks;
	size_t n = 0;

	for (size_t i = 0; i < deadlocks->circles.n; i++) {
		if (keep(capture->images.at[deadlocks->circles.at[i].process], userdata))
			deadlocks->circles.at[n++] = deadlocks->circles.at[i];
		else
			deadlock_deinit(&deadlocks->circles.at[i]);
	}
	deadlocks->circles.n = n;
	n = 0;
	for (size_t i = 0; i < locks->longest.n; i++)
		if (keep(capture->images.at[locks->longest.at[i].process], userdata))
			locks->longest.at[n++] = locks->longest.at[i];
	locks->longest.n = n;
	n = 0;
	for (size_t i = 0; i < locks->processes.n; i++)
		if (keep(capture->images.at[locks->processes.at[i].process], userdata))
			locks->processes.at[n++] = locks->processes.at[i];
	locks->processes.n = n;
}

/* go_findings has as many samples as stacks, in their order, or fewer: the last ones have nothing there. */
static void move_go(struct go_findings *go, size_t from, size_t to)
{
	if (go && from < go->samples.n)
		go->samples.at[to] = go->samples.at[from];
}

static void select_go(const struct capture *capture, size_t n, bool (*keep)(const struct image *image, const void *userdata),
		const void *userdata)
{
	struct go_findings *go = capture->go;
	size_t n_kept = 0;

	if (!go)
		return;
	go->samples.n = MIN(go->samples.n, n);
	for (size_t i = 0; i < go->processes.n; i++)
		if (keep(capture->images.at[go->processes.at[i].process], userdata))
			go->processes.at[n_kept++] = go->processes.at[i];
	go->processes.n = n_kept;
	n_kept = 0;
	for (size_t i = 0; i < go->leaks.n; i++)
		if (keep(capture->images.at[go->leaks.at[i].process], userdata))
			go->leaks.at[n_kept++] = go->leaks.at[i];
	go->leaks.n = n_kept;
	n_kept = 0;
	for (size_t i = 0; i < go->deadlocks.n; i++)
		if (keep(capture->images.at[go->deadlocks.at[i].process], userdata))
			go->deadlocks.at[n_kept++] = go->deadlocks.at[i];
	go->deadlocks.n = n_kept;
}

void capture_select(struct capture *capture, bool (*keep)(const struct image *image, const void *userdata),
		const void *userdata)
{
	struct stacks *stacks = capture->stacks;
	size_t n = 0;

	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const struct stacks_stack *stack = &stacks->stacks.at[sample->stack];

		if (keep(capture->images.at[stack->process], userdata)) {
			move_go(capture->go, i, n);
			stacks->samples.at[n++] = *sample;
			continue;
		}
		if (!stacks_is_counted(stacks, sample))
			continue;
		/* Where waits are estimates there are more than were seen. */
		stacks->seen -= MIN(sample->count, stacks->seen);
		/* The hash that tells stacks apart has the verdict in it; the bound is for the day when two hashes are equal. */
		stacks->verdicts[stack->verdict] -= MIN(stacks->verdicts[stack->verdict], sample->count);
	}
	select_go(capture, n, keep, userdata);
	stacks->samples.n = n;
	select_locks(capture, keep, userdata);
	capture->is_selected = true;
}
