/* SPDX-License-Identifier: Apache-2.0 */
#include "press.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "fs.h"
#include "go_findings.h"
#include "goroutine_text.h"
#include "places.h"
#include "pprof_encode.h"
#include "profile.h"
#include "profile_builder.h"
#include "profile_comments.h"
#include "stacks.h"
#include "top.h"

/* Windows that may wait. One is normal; more than this means that the disk or the symbolizer hangs for minutes. */
static const size_t max_queued = 8;
/* Encoded profiles kept while the disk is full: some hours of a small host. */
static const size_t max_unsaved_bytes = 8 << 20;
/* How often what could not be written is tried again. */
static const unsigned int retry_sec = 2;
/* A vacuum reads the whole tree; between two of them files can only grow by what a few windows write. */
static const uint64_t vacuum_every_nsec = 60 * NSEC_PER_SEC;
static const size_t default_names_bytes = 8 << 20;
static const size_t top_rows = 3;

struct done {
	struct done *next;
	struct press_result result;
	bool is_capture;                     /* else only about what was kept for later */
};

struct job {
	struct job *next;
	struct capture *capture;             /* else a change of output, unless: */
	bool drops_caches;
	struct done *done;                   /* for the result of the capture */
	struct press_output output;          /* strings are the job's own */
};

/* An encoded profile that waits for the disk. */
struct unsaved {
	char *service;
	enum profile_kind kind;
	const char *trigger;
	uint64_t start_wall_nsec, n_samples;
	void *bytes;
	size_t size;
};

struct press {
	/* Of the event loop. */
	sd_event_source *source;
	press_done_fn done;
	void *userdata;
	size_t n_pending;

	/* Of both, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct job *jobs, **jobs_end;
	struct done *results, **results_end;
	bool stop, busy;
	int event_fd;

	/* Of the thread. */
	pthread_t thread;
	bool has_thread;
	struct symbolizer_process *symbolizer;
	struct names_cache *names;
	struct press_output output;
	struct store *store;
	VEC(struct unsaved) unsaved;
	size_t unsaved_bytes;
	uint64_t n_discarded, discarded_samples[PROFILE_N_KINDS];
	uint64_t last_vacuum_nsec;
	struct store_vacuum vacuum;
	struct utsname host;
};

/* Results */

static void result_deinit(struct press_result *result)
{
	for (size_t i = 0; i < result->files.n; i++) {
		free(result->files.at[i].path);
		free(result->files.at[i].service);
		top_free(result->files.at[i].top);
	}
	vec_deinit(&result->files);
	service_waits_deinit(&result->waits);
	for (size_t i = 0; i < result->deadlocks.n; i++)
		deadlock_text_deinit(&result->deadlocks.at[i]);
	vec_deinit(&result->deadlocks);
	goroutine_leak_text_deinit(&result->leaks);
	vec_deinit(&result->leak_pids);
	goroutine_deadlock_text_deinit(&result->goroutine_deadlocks);
	vec_deinit(&result->goroutine_deadlock_pids);
}

static void output_deinit(struct press_output *output)
{
	free((char *)output->directory);
	free((char *)output->path);
	*output = (struct press_output){ 0 };
}

static struct job *job_free(struct job *job)
{
	if (!job)
		return NULL;
	capture_free(job->capture);
	free(job->done);
	output_deinit(&job->output);
	free(job);
	return NULL;
}

/* Files */

/* Splits the path of a file into its directory, opened, and its name, which belongs to the path. 0 or -errno. */
static int open_parent(const char *path, int *ret_fd, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = slash ? strndup(path, MAX(slash - path, 1)) : strdup(".");

	if (!parent)
		return -ENOMEM;
	*ret_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*ret_name = slash ? slash + 1 : path;
	return *ret_fd < 0 ? -errno : 0;
}

/* A device or pipe is written to as it stands; only a plain file is replaced. */
static bool is_special(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static int write_special(const char *path, const void *bytes, size_t size)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);

	return fd < 0 ? -errno : fs_write_all(fd, bytes, size);
}

static int replace_file(const struct press_output *output, const void *bytes, size_t size)
{
	_cleanup_close_ int directory = -1;
	const char *name;
	int r;

	r = open_parent(output->path, &directory, &name);
	if (r < 0)
		return r;
	r = fs_replace(directory, name, output->store.file_mode ? output->store.file_mode : 0644, bytes, size);
	if (r < 0 || output->store.uid == (uid_t)-1)
		return r;
	return fchownat(directory, name, output->store.uid, output->store.gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* One file instead of a store: where --once --output FILE goes. */
static int write_path(const struct press_output *output, const void *bytes, size_t size, char **ret_path)
{
	int r;

	if (!strcmp(output->path, "-"))
		r = fs_write_all(STDOUT_FILENO, bytes, size);
	else if (is_special(output->path))
		r = write_special(output->path, bytes, size);
	else
		r = replace_file(output, bytes, size);
	if (r < 0)
		return r;
	*ret_path = strdup(output->path);
	return *ret_path ? 0 : -ENOMEM;
}

static int check_path(const char *path)
{
	_cleanup_close_ int directory = -1;
	const char *name;
	int r;

	if (!strcmp(path, "-"))
		return (fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY ? -EBADF : 0;
	if (is_special(path))
		return access(path, W_OK) < 0 ? -errno : 0;
	r = open_parent(path, &directory, &name);
	if (r < 0)
		return r;
	return faccessat(directory, ".", W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int press_check_output(const struct press_output *output)
{
	_cleanup_(store_free_p) struct store *store = NULL;
	int r;

	if (output->path)
		return check_path(output->path);
	r = store_new(output->directory, &output->store, &store);
	return r < 0 ? r : store_check(store);
}

static void run_vacuum(struct press *press)
{
	struct store_vacuum now = { 0 };

	if (!press->store)
		return;
	press->last_vacuum_nsec = clock_monotonic_nsec();
	if (store_vacuum(press->store, &press->output.retention, clock_wall_nsec(), &now) < 0)
		return;
	now.deleted_age += press->vacuum.deleted_age;
	now.deleted_size += press->vacuum.deleted_size;
	now.deleted_free += press->vacuum.deleted_free;
	now.deleted_bytes += press->vacuum.deleted_bytes;
	now.failed += press->vacuum.failed;
	press->vacuum = now;
}

static int put(struct press *press, const char *service, enum profile_kind kind, uint64_t start_wall_nsec,
		const char *trigger, const void *bytes, size_t size, char **ret_path)
{
	int r;

	if (press->output.path)
		return write_path(&press->output, bytes, size, ret_path);
	if (!press->store)
		return -ENOENT;
	r = store_put(press->store, service, kind, start_wall_nsec, trigger[0] ? trigger : NULL, bytes, size, ret_path);
	if (r >= 0) {
		/* Until the next vacuum counts again. */
		press->vacuum.files++;
		press->vacuum.bytes += size;
	}
	return r;
}

static void unsaved_free(struct press *press, size_t i)
{
	struct unsaved *u = &press->unsaved.at[i];

	press->unsaved_bytes -= u->size;
	free(u->service);
	free(u->bytes);
	memmove(u, u + 1, (press->unsaved.n - i - 1) * sizeof(*u));
	press->unsaved.n--;
}

static void count_discarded(struct press *press, enum profile_kind kind, uint64_t n_samples)
{
	press->n_discarded++;
	press->discarded_samples[kind] += n_samples;
}

/* Keeps a profile for better times; the oldest ones go when there is no room. Takes bytes. */
static void keep_unsaved(struct press *press, const struct capture *capture, const struct service_profile *service,
		void *bytes, size_t size)
{
	struct unsaved u = {
		.service = strdup(service->service),
		.kind = service->kind,
		.trigger = capture->trigger,
		.start_wall_nsec = capture->stacks->start_wall_nsec,
		.n_samples = service->n_samples,
		.bytes = bytes,
		.size = size,
	};

	while (size <= max_unsaved_bytes && press->unsaved.n && press->unsaved_bytes + size > max_unsaved_bytes) {
		count_discarded(press, press->unsaved.at[0].kind, press->unsaved.at[0].n_samples);
		unsaved_free(press, 0);
	}
	if (!u.service || size > max_unsaved_bytes || vec_push(&press->unsaved, u) < 0) {
		free(u.service);
		free(bytes);
		count_discarded(press, service->kind, service->n_samples);
		return;
	}
	press->unsaved_bytes += size;
}

/* Something is wrong with one folder, which says nothing of the others. */
static bool is_about_one_service(int error)
{
	return error == -ELOOP || error == -ENOTDIR || error == -EPERM || error == -EACCES || error == -EEXIST;
}

/* Writes what could not be written before, oldest first, until the disk refuses again. */
static void save_unsaved(struct press *press, struct press_result *result)
{
	size_t i = 0;

	/* One small question instead of thousands of large ones. */
	if (!press->unsaved.n || !press->store || store_check(press->store) < 0)
		return;
	while (i < press->unsaved.n) {
		struct unsaved *u = &press->unsaved.at[i];
		struct press_file file = {
			.kind = u->kind, .trigger = u->trigger, .is_late = true, .n_bytes = u->size, .n_samples = u->n_samples,
		};
		int r = put(press, u->service, u->kind, u->start_wall_nsec, u->trigger, u->bytes, u->size, &file.path);

		if (r < 0 && !is_about_one_service(r))
			return;
		if (r < 0) {
			i++;
			continue;
		}
		file.service = TAKE(u->service);
		if (vec_push(&result->files, file) < 0) {
			free(file.path);
			free(file.service);
		}
		unsaved_free(press, i);
	}
}

static int press_profile(struct press *press, const struct capture *capture, struct service_profile *service,
		struct press_file *file)
{
	char *bytes;
	size_t size;
	int r;

	profile_comments_add(capture, service, &press->host);
	r = pprof_encode(service->profile, PPROF_LEVEL_DEFAULT, &bytes, &size);
	if (r < 0) {
		count_discarded(press, service->kind, service->n_samples);
		return r;
	}
	file->n_bytes = size;
	r = put(press, service->service, service->kind, capture->stacks->start_wall_nsec, capture->trigger, bytes, size,
			&file->path);
	if (r == -ENOSPC || r == -EDQUOT) {
		/* What retention would remove anyway may be all the room that is needed. */
		run_vacuum(press);
		r = put(press, service->service, service->kind, capture->stacks->start_wall_nsec, capture->trigger, bytes,
				size, &file->path);
	}
	if (r < 0 && !press->output.path) {
		keep_unsaved(press, capture, service, bytes, size);
		return r;
	}
	free(bytes);
	return r;
}

/* Those of a capture that becomes text, for which the caches have all names. */
static int find_stuck(struct press *press, const struct capture *capture, struct service_profiles *ret)
{
	_cleanup_(places_free_p) struct places *places = NULL;
	int r = 0;

	if (!capture->go || (!capture->go->leaks.n && !capture->go->deadlocks.n))
		return 0;
	r = places_new(capture, press->names, &places);
	if (r >= 0)
		r = goroutine_leak_text_describe(capture, places, &ret->leaks);
	if (r >= 0)
		r = goroutine_deadlock_text_describe(capture, places, &ret->goroutine_deadlocks);
	names_cache_end_window(press->names);
	return r;
}

/* Goroutines as text, in the one file that is wanted. */
static int press_text(struct press *press, const struct capture *capture, struct press_result *result)
{
	struct press_file file = { .service = strdup("go"), .kind = PROFILE_GOROUTINE, .trigger = capture->trigger, .is_text = true,
		.n_samples = stacks_kept(capture->stacks) };
	char *text = NULL;
	FILE *f = open_memstream(&text, &file.n_bytes);
	int r = f && file.service ? goroutine_text_write(capture, press->names, press->output.debug, f) : -ENOMEM;

	/* Want of memory shows here. */
	if (f && fclose(f) != 0 && r >= 0)
		r = -ENOMEM;
	file.error = r < 0 ? r : write_path(&press->output, text, file.n_bytes, &file.path);
	free(text);
	if (r >= 0 && vec_push(&result->files, file) >= 0)
		return 0;
	free(file.path);
	free(file.service);
	return r < 0 ? r : -ENOMEM;
}

static bool is_first_kind(const struct capture *capture, enum profile_kind kind)
{
	return !(capture->kinds & (capture_kind_bit(kind) - 1));
}

static void press_service(struct press *press, const struct capture *capture, struct service_profile *service,
		struct press_result *result)
{
	struct press_file file = {
		.service = TAKE(service->service),
		.kind = service->kind,
		.trigger = capture->trigger,
		.n_samples = service->n_samples,
		.nsec = service->nsec,
	};

	service->service = file.service;
	top_new(service->profile, capture_kind_is_of_runtime(service->kind) ? -1 : 1, TOP_FLAT, top_rows, &file.top);
	file.error = press_profile(press, capture, service, &file);
	service->service = NULL;
	/* Other files of the window have the same samples, or some of them. */
	if (is_first_kind(capture, service->kind)) {
		result->n_frames += service->n_frames;
		result->n_unnamed += service->n_unnamed;
		result->n_unmapped += service->n_unmapped;
	}
	if (vec_push(&result->files, file) < 0) {
		free(file.path);
		free(file.service);
		top_free(file.top);
	}
}

/* The thread */

static void describe_window(const struct capture *capture, struct press_result *result)
{
	const struct stacks *s = capture->stacks;

	result->kind = capture->kind;
	result->duration_nsec = s->duration_nsec;
	result->seen = s->seen;
	result->lost_ring = s->lost_ring;
	result->lost_namespace = s->lost_namespace;
	result->lost_storage = s->lost_storage;
	result->lost_frames = s->lost_frames;
	result->waited_nsec = s->waited_nsec + s->untimed_nsec;
	result->estimated_nsec = s->untimed_nsec;
	result->lost_nsec = s->lost_nsec;
	result->short_waits = s->short_waits;
	result->lost_others = s->lost_others;
	result->labels_unread = s->labels_unread;
	result->labels_cut = s->labels_cut;
	result->labels_left_out = s->labels_left_out;
	result->kept = stacks_kept(s);
	result->goroutines_seen = go_findings_count(capture->go, GO_SAMPLE_GOROUTINE)->seen;
	result->goroutines_lost = go_findings_count(capture->go, GO_SAMPLE_GOROUTINE)->lost;
	result->allocations_seen = go_findings_count(capture->go, GO_SAMPLE_MEMORY)->seen;
	result->allocations_lost = go_findings_count(capture->go, GO_SAMPLE_MEMORY)->lost;
	for (size_t i = 0; capture->go && i < capture->go->processes.n; i++)
		result->n_go_read += !capture->go->processes.at[i].is_unread;
	for (size_t i = 0; i < SAMPLE_N_VERDICTS; i++)
		result->verdicts[i] = s->verdicts[i];
}

/* For want of memory some may be missing, which the counters cannot tell from none. */
static void add_waits(const struct press *press, const struct capture *capture, struct press_result *result)
{
	struct device_names names;

	device_names_init(&names, AT_FDCWD);
	service_waits_add(capture, press->output.max_services, &names, &result->waits);
	device_names_deinit(&names);
}

/* They outlive the profiles. */
static void take_deadlocks(const struct capture *capture, struct service_profiles *services, struct press_result *result)
{
	result->has_looked_for_deadlocks = capture->deadlocks.has_looked;
	result->deadlocks_left_out = capture->deadlocks.n_left_out;
	result->deadlocks.at = TAKE(services->deadlocks.at);
	result->deadlocks.n = services->deadlocks.n;
	services->deadlocks.n = 0;
}

/* They outlive the profiles. For want of memory nothing is told of a process. */
static void take_leaks(const struct capture *capture, goroutine_leak_text_list *leaks, struct press_result *result)
{
	result->leaks = *leaks;
	*leaks = (goroutine_leak_text_list){ 0 };
	for (size_t i = 0; capture->go && i < capture->go->processes.n; i++) {
		const struct go_process_facts *facts = &capture->go->processes.at[i];

		if (facts->has_leaks && facts->n_leaks <= GO_LEAKS_MAX)
			vec_push(&result->leak_pids, capture->stacks->processes.at[facts->process].pid);
	}
}

static void take_goroutine_deadlocks(const struct capture *capture, goroutine_deadlock_text_list *deadlocks, struct press_result *result)
{
	result->goroutine_deadlocks = *deadlocks;
	*deadlocks = (goroutine_deadlock_text_list){ 0 };
	for (size_t i = 0; capture->go && i < capture->go->processes.n; i++) {
		const struct go_process_facts *facts = &capture->go->processes.at[i];

		if (facts->has_deadlocks && facts->n_deadlocks <= GO_DEADLOCKS_MAX)
			vec_push(&result->goroutine_deadlock_pids, capture->stacks->processes.at[facts->process].pid);
	}
}

static void press_capture(struct press *press, struct capture *capture, struct press_result *result)
{
	struct service_profiles services = { 0 };
	uint64_t start = clock_monotonic_nsec();
	uint32_t max_services = press->output.path ? PROFILE_BUILDER_TOGETHER : press->output.max_services;
	int r;

	describe_window(capture, result);
	if (press->output.path && press->output.debug && capture->kinds == capture_kind_bit(PROFILE_GOROUTINE)) {
		result->error = press_text(press, capture, result);
		if (find_stuck(press, capture, &services) >= 0) {
			take_leaks(capture, &services.leaks, result);
			take_goroutine_deadlocks(capture, &services.goroutine_deadlocks, result);
		}
		service_profiles_deinit(&services);
		result->latency_nsec = clock_monotonic_nsec() - capture->end_nsec;
		return;
	}
	r = profile_builder_run(capture, press->names, max_services, &services);
	result->symbolize_nsec = clock_monotonic_nsec() - start;
	if (r < 0) {
		result->error = r;
		return;
	}
	if (capture->kind == PROFILE_BLOCK)
		add_waits(press, capture, result);
	/* Of a hundred thousand goroutines they take as much as the profile. */
	if (capture_kind_is_of_runtime(capture->kind))
		capture_drop_samples(capture);
	for (size_t i = 0; i < services.profiles.n; i++)
		/* Who waited for no lock has no file that says so. */
		if (services.profiles.at[i].profile->samples.n || services.profiles.at[i].tells_unread || max_services == PROFILE_BUILDER_TOGETHER)
			press_service(press, capture, &services.profiles.at[i], result);
	take_deadlocks(capture, &services, result);
	take_leaks(capture, &services.leaks, result);
	take_goroutine_deadlocks(capture, &services.goroutine_deadlocks, result);
	service_profiles_deinit(&services);
	result->latency_nsec = clock_monotonic_nsec() - capture->end_nsec;
	if (clock_monotonic_nsec() - press->last_vacuum_nsec >= vacuum_every_nsec)
		run_vacuum(press);
}

static void set_output(struct press *press, struct press_output *output)
{
	output_deinit(&press->output);
	press->store = store_free(press->store);
	press->output = *output;
	*output = (struct press_output){ 0 };
	/* What is there now is not known before it is read; what was deleted goes on being counted. */
	press->vacuum.files = press->vacuum.bytes = press->vacuum.oldest_wall_nsec = 0;
	/* Whatever keeps the store from opening, each put tries again and tells. */
	if (press->output.directory)
		store_new(press->output.directory, &press->output.store, &press->store);
	run_vacuum(press);
}

static void fill_stats(const struct press *press, struct press_result *result)
{
	result->n_unsaved = press->unsaved.n;
	result->unsaved_bytes = press->unsaved_bytes;
	result->n_discarded = press->n_discarded;
	memcpy(result->discarded_samples, press->discarded_samples, sizeof(result->discarded_samples));
	result->names = names_cache_stats(press->names);
	result->symbolizer = symbolizer_process_stats(press->symbolizer);
	result->vacuum = press->vacuum;
	if (press->store)
		result->store = *store_stats(press->store);
}

/* NULL when it is time to stop, or to try again what could not be written: *ret_stop tells which. */
static struct job *next_job(struct press *press, bool *ret_stop)
{
	struct timespec until;
	struct job *job;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += retry_sec;
	pthread_mutex_lock(&press->lock);
	press->busy = false;
	pthread_cond_broadcast(&press->idle);
	while (!press->stop && !press->jobs && r != ETIMEDOUT)
		r = press->unsaved.n ? pthread_cond_timedwait(&press->work, &press->lock, &until)
				     : pthread_cond_wait(&press->work, &press->lock);
	*ret_stop = press->stop;
	job = press->stop ? NULL : press->jobs;
	if (job) {
		press->jobs = job->next;
		if (!press->jobs)
			press->jobs_end = &press->jobs;
		press->busy = true;
	}
	pthread_mutex_unlock(&press->lock);
	return job;
}

static void deliver(struct press *press, struct done *done)
{
	uint64_t one = 1;

	pthread_mutex_lock(&press->lock);
	done->next = NULL;
	*press->results_end = done;
	press->results_end = &done->next;
	pthread_mutex_unlock(&press->lock);
	/* Cannot fail: the counter is far from full. */
	if (write(press->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void run_capture(struct press *press, struct job *job)
{
	struct done *done = TAKE(job->done);

	save_unsaved(press, &done->result);
	press_capture(press, job->capture, &done->result);
	fill_stats(press, &done->result);
	deliver(press, done);
}

static void retry_unsaved(struct press *press)
{
	struct done *done = calloc(1, sizeof(*done));

	if (!done)
		return;
	save_unsaved(press, &done->result);
	if (!done->result.files.n) {
		free(done);
		return;
	}
	fill_stats(press, &done->result);
	deliver(press, done);
}

static void drop_caches(struct press *press)
{
	names_cache_clear(press->names);
	symbolizer_process_rest(press->symbolizer);
	/* What was freed long ago, in all threads, goes back as well. */
	malloc_trim(0);
}

static void *press_thread(void *argument)
{
	struct press *press = argument;
	struct job *job;
	bool stop;

	for (;;) {
		job = next_job(press, &stop);
		if (stop)
			return NULL;
		if (!job)
			retry_unsaved(press);
		else if (job->capture)
			run_capture(press, job);
		else if (job->drops_caches)
			drop_caches(press);
		else
			set_output(press, &job->output);
		job_free(job);
	}
}

/* The side of the event loop */

static void deliver_results(struct press *press)
{
	struct done *done, *next;

	pthread_mutex_lock(&press->lock);
	done = press->results;
	press->results = NULL;
	press->results_end = &press->results;
	pthread_mutex_unlock(&press->lock);
	for (; done; done = next) {
		next = done->next;
		if (done->is_capture)
			press->n_pending--;
		press->done(&done->result, press->userdata);
		result_deinit(&done->result);
		free(done);
	}
}

static int on_results(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return -errno;
	deliver_results(userdata);
	return 0;
}

static int init_sync(struct press *press)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&press->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&press->work, &attributes);
	pthread_cond_init(&press->idle, NULL);
	pthread_condattr_destroy(&attributes);
	press->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return press->event_fd < 0 ? -errno : 0;
}

int press_new(sd_event *loop, const struct press_options *options, press_done_fn done, void *userdata, struct press **ret)
{
	struct press *press = calloc(1, sizeof(*press));
	int r;

	if (!press)
		return -ENOMEM;
	press->jobs_end = &press->jobs;
	press->results_end = &press->results;
	press->done = done;
	press->userdata = userdata;
	uname(&press->host);
	r = init_sync(press);
	if (r >= 0)
		r = symbolizer_process_new(&options->symbolizer, &press->symbolizer);
	if (r >= 0)
		r = names_cache_new(press->symbolizer, options->names_bytes ? options->names_bytes : default_names_bytes,
				&press->names);
	if (r >= 0)
		r = sd_event_add_io(loop, &press->source, press->event_fd, EPOLLIN, on_results, press);
	if (r >= 0)
		r = -pthread_create(&press->thread, NULL, press_thread, press);
	if (r < 0) {
		press_free(press);
		return r;
	}
	press->has_thread = true;
	*ret = press;
	return 0;
}

static void stop_thread(struct press *press)
{
	pthread_mutex_lock(&press->lock);
	press->stop = true;
	pthread_cond_signal(&press->work);
	pthread_mutex_unlock(&press->lock);
	pthread_join(press->thread, NULL);
}

struct press *press_free(struct press *press)
{
	struct done *done;
	struct job *job;

	if (!press)
		return NULL;
	if (press->has_thread)
		stop_thread(press);
	while ((job = press->jobs)) {
		press->jobs = job->next;
		job_free(job);
	}
	while ((done = press->results)) {
		press->results = done->next;
		result_deinit(&done->result);
		free(done);
	}
	while (press->unsaved.n)
		unsaved_free(press, press->unsaved.n - 1);
	vec_deinit(&press->unsaved);
	sd_event_source_disable_unref(press->source);
	names_cache_free(press->names);
	symbolizer_process_free(press->symbolizer);
	store_free(press->store);
	output_deinit(&press->output);
	close_fd(press->event_fd);
	pthread_cond_destroy(&press->work);
	pthread_cond_destroy(&press->idle);
	pthread_mutex_destroy(&press->lock);
	free(press);
	return NULL;
}

static void enqueue(struct press *press, struct job *job)
{
	pthread_mutex_lock(&press->lock);
	*press->jobs_end = job;
	press->jobs_end = &job->next;
	pthread_cond_signal(&press->work);
	pthread_mutex_unlock(&press->lock);
}

int press_set_output(struct press *press, const struct press_output *output)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->output = *output;
	job->output.directory = output->directory ? strdup(output->directory) : NULL;
	job->output.path = output->path ? strdup(output->path) : NULL;
	if ((output->directory && !job->output.directory) || (output->path && !job->output.path)) {
		job_free(job);
		return -ENOMEM;
	}
	enqueue(press, job);
	return 0;
}

int press_drop_caches(struct press *press)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->drops_caches = true;
	enqueue(press, job);
	return 0;
}

int press_submit_take(struct press *press, struct capture *capture)
{
	struct job *job;

	if (press->n_pending >= max_queued) {
		capture_free(capture);
		return -ENOBUFS;
	}
	job = calloc(1, sizeof(*job));
	if (job)
		job->done = calloc(1, sizeof(*job->done));
	if (!job || !job->done) {
		capture_free(capture);
		job_free(job);
		return -ENOMEM;
	}
	job->capture = capture;
	job->done->is_capture = true;
	press->n_pending++;
	enqueue(press, job);
	return 0;
}

size_t press_pending(const struct press *press)
{
	return press->n_pending;
}

void press_finish(struct press *press)
{
	pthread_mutex_lock(&press->lock);
	while (press->jobs || press->busy)
		pthread_cond_wait(&press->idle, &press->lock);
	pthread_mutex_unlock(&press->lock);
	deliver_results(press);
}
