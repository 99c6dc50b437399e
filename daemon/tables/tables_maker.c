/* SPDX-License-Identifier: Apache-2.0 */
#include "tables_maker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "binary.h"
#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "symbolizer_process.h"
#include "tables_cache.h"
#include "vec.h"

#define BURST_NSEC ((int64_t)NSEC_PER_SEC)   /* a hundred libraries' tables: what runs when a host is met first */
#define SHARE 5                              /* a fifth of a CPU afterwards: a thousand files are done in a minute */
#define NICE 10
#define REST_NSEC (5 * NSEC_PER_SEC)         /* to start a process takes 5 ms */
#define CACHE_BYTES (UINT64_C(64) << 20)     /* all executables of a desktop take 16 MiB; some versions of them */
#define MAX_DONE 4                           /* results that wait for the loop: each may have 24 MiB */
#define MAX_UNSAVED_BYTES (UINT64_C(4) << 20)/* tables that wait for a quiet moment to be written to the disk */

struct unsaved {
	struct tables_cache_key key;
	void *bytes;
	size_t size;
};

/* What the thread does next. */
enum work { WORK_LOOK_UP, WORK_MAKE, WORK_SAVE, WORK_REST, WORK_STOP };

struct tables_maker {
	/* Of both, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct tables_job *fresh, **fresh_end; /* nobody has looked for them yet */
	struct tables_job *missing;          /* not in the cache: to be made, small files first */
	struct tables_job *done, **done_end;
	size_t n_done;
	bool stop;
	int event_fd;

	/* Of the thread. */
	pthread_t thread;
	bool has_thread;
	struct symbolizer_process *process;
	const char *cache_directory;
	struct tables_cache *cache;          /* NULL: none */
	VEC(struct unsaved) unsaved;
	uint64_t unsaved_bytes;
	bool is_rested;                      /* there is no process */
	int64_t balance_nsec;                /* CPU time that may be taken; below 0: wait */
	uint64_t balanced_nsec, worked_nsec; /* when it was reckoned; when the process was last needed */
};

struct tables_job *tables_job_free(struct tables_job *job)
{
	if (!job)
		return NULL;
	binary_unref(job->binary);
	free(job->bytes);
	free(job);
	return NULL;
}

/* --- the cache ------------------------------------------------------------------------------------------------- */

/* In the thread: it reads the whole directory. */
static void open_cache(struct tables_maker *maker)
{
	int r;

	if (!maker->cache_directory)
		return;
	r = tables_cache_new(maker->cache_directory, CACHE_BYTES, &maker->cache);
	if (r)
		log_print(LOG_WARNING, "tables: %s: %s; unwind tables are made anew at each start", maker->cache_directory,
				r < 0 ? strerror(-r) : "not a directory that only we can write to");
}

/* Whether the cache may know the file. */
static bool key_of(const struct tables_maker *maker, const struct tables_job *job, struct tables_cache_key *ret)
{
	return maker->cache && job->binary && tables_cache_key_of(job->binary->fd, &job->binary->build_id, ret) == 0;
}

/* True when the job is done. */
static bool look_up(struct tables_maker *maker, struct tables_job *job)
{
	struct tables_cache_key key;

	if (!key_of(maker, job, &key) || tables_cache_get(maker->cache, &key, &job->bytes, &job->size) ||
	    unwind_image_open(job->bytes, job->size, &job->image))
		return false;
	job->is_cached = true;
	return true;
}

/* Later: who waits for the table does not wait for the disk. */
static void keep_unsaved(struct tables_maker *maker, const struct tables_job *job, const struct tables_cache_key *key)
{
	struct unsaved unsaved = { .key = *key, .size = job->size };

	if (maker->unsaved_bytes + job->size > MAX_UNSAVED_BYTES && maker->unsaved.n)
		return;
	unsaved.bytes = malloc(job->size);
	if (!unsaved.bytes)
		return;
	memcpy(unsaved.bytes, job->bytes, job->size);
	if (vec_push(&maker->unsaved, unsaved) < 0) {
		free(unsaved.bytes);
		return;
	}
	maker->unsaved_bytes += job->size;
}

static void save_one(struct tables_maker *maker)
{
	struct unsaved *unsaved = &maker->unsaved.at[maker->unsaved.n - 1];
	int r = tables_cache_put(maker->cache, &unsaved->key, unsaved->bytes, unsaved->size);

	/* Not worth a warning each time: it is made anew at the next start. */
	if (r < 0)
		log_print(LOG_DEBUG, "tables: a table could not be cached: %s", strerror(-r));
	maker->unsaved_bytes -= unsaved->size;
	free(unsaved->bytes);
	maker->unsaved.n--;
}

/* --- making ---------------------------------------------------------------------------------------------------- */

static int ask_process(struct tables_maker *maker, struct tables_job *job)
{
	struct symbol_source source = { .kind = SYMBOL_SOURCE_VDSO, .fd = -1, .path = "[vdso]" };
	int r;

	if (job->binary)
		source = (struct symbol_source){
			.kind = SYMBOL_SOURCE_ELF, .fd = job->binary->fd, .path = job->binary->path, .build_id = job->binary->build_id,
		};
	maker->is_rested = false;
	r = symbolizer_process_table(maker->process, &source, &job->bytes, &job->size);
	if (r)
		return r < 0 ? r : TABLES_MAKER_E_NONE;
	r = unwind_image_open(job->bytes, job->size, &job->image);
	return r > 0 ? -EIO : r;
}

static void make(struct tables_maker *maker, struct tables_job *job)
{
	struct tables_cache_key before, after;
	bool may_save = key_of(maker, job, &before);

	job->status = ask_process(maker, job);
	/* What was changed while it was read is nobody's table. */
	if (!job->status && may_save && key_of(maker, job, &after) && !memcmp(&before, &after, sizeof(before)))
		keep_unsaved(maker, job, &before);
}

/* --- the thread ------------------------------------------------------------------------------------------------ */

static uint64_t cpu_nsec(const struct tables_maker *maker)
{
	return clock_nsec(CLOCK_THREAD_CPUTIME_ID) + symbolizer_process_stats(maker->process).cpu_nsec;
}

static void refill(struct tables_maker *maker, uint64_t now)
{
	maker->balance_nsec = MIN(maker->balance_nsec + (int64_t)((now - maker->balanced_nsec) / SHARE), BURST_NSEC);
	maker->balanced_nsec = now;
}

static void wait_until(struct tables_maker *maker, uint64_t nsec)
{
	const struct timespec until = { .tv_sec = (time_t)(nsec / NSEC_PER_SEC), .tv_nsec = (long)(nsec % NSEC_PER_SEC) };

	pthread_cond_timedwait(&maker->work, &maker->lock, &until);
}

/* The first of the list whose file is not the smaller one. */
static struct tables_job **place_of(struct tables_maker *maker, const struct tables_job *job)
{
	struct tables_job **at = &maker->missing;

	/* The vdso is small. */
	while (job->binary && *at && (!(*at)->binary || (*at)->binary->size <= job->binary->size))
		at = &(*at)->next;
	return at;
}

static struct tables_job *take_fresh(struct tables_maker *maker)
{
	struct tables_job *job = maker->fresh;

	maker->fresh = job->next;
	if (!maker->fresh)
		maker->fresh_end = &maker->fresh;
	return job;
}

static struct tables_job *take_missing(struct tables_maker *maker)
{
	struct tables_job *job = maker->missing;

	maker->missing = job->next;
	return job;
}

/* With the lock. */
static enum work next_work(struct tables_maker *maker, struct tables_job **ret)
{
	for (;;) {
		uint64_t now = clock_monotonic_nsec();

		refill(maker, now);
		if (maker->stop)
			return WORK_STOP;
		if (maker->n_done >= MAX_DONE) {
			pthread_cond_wait(&maker->work, &maker->lock);
			continue;
		}
		if (maker->fresh) {
			*ret = take_fresh(maker);
			return WORK_LOOK_UP;
		}
		if (maker->missing && maker->balance_nsec >= 0) {
			*ret = take_missing(maker);
			return WORK_MAKE;
		}
		if (maker->unsaved.n)
			return WORK_SAVE;
		if (maker->missing)
			wait_until(maker, now + (uint64_t)-maker->balance_nsec * SHARE + NSEC_PER_MSEC);
		else if (maker->is_rested)
			pthread_cond_wait(&maker->work, &maker->lock);
		else if (now - maker->worked_nsec >= REST_NSEC)
			return WORK_REST;
		else
			wait_until(maker, maker->worked_nsec + REST_NSEC);
	}
}

/* True when the job is done. */
static bool work_on(struct tables_maker *maker, enum work work, struct tables_job *job)
{
	uint64_t begun = clock_monotonic_nsec(), cpu_begun = cpu_nsec(maker), cpu;
	bool is_done = true;

	switch (work) {
	case WORK_LOOK_UP:
		is_done = look_up(maker, job);
		break;
	case WORK_MAKE:
		make(maker, job);
		maker->worked_nsec = clock_monotonic_nsec();
		break;
	case WORK_SAVE:
		save_one(maker);
		break;
	case WORK_REST:
		symbolizer_process_rest(maker->process);
		maker->is_rested = true;
		break;
	case WORK_STOP:
		break;
	}
	cpu = cpu_nsec(maker) - cpu_begun;
	maker->balance_nsec -= (int64_t)cpu;
	if (job) {
		job->nsec += clock_monotonic_nsec() - begun;
		job->cpu_nsec += cpu;
	}
	return is_done;
}

static void put_back(struct tables_maker *maker, struct tables_job *job, bool is_done)
{
	uint64_t one = 1;

	if (!is_done) {
		struct tables_job **at = place_of(maker, job);

		job->next = *at;
		*at = job;
		return;
	}
	job->next = NULL;
	*maker->done_end = job;
	maker->done_end = &job->next;
	maker->n_done++;
	/* Cannot fail: the counter is far from full. */
	if (write(maker->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void *maker_thread(void *argument)
{
	struct tables_maker *maker = argument;

	/* Of this thread, as Linux has it, and of what it starts. */
	(void)!setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	pthread_setname_np(pthread_self(), "tsprofd-tables");
	open_cache(maker);
	pthread_mutex_lock(&maker->lock);
	for (;;) {
		struct tables_job *job = NULL;
		enum work work = next_work(maker, &job);
		bool is_done;

		if (work == WORK_STOP)
			break;
		pthread_mutex_unlock(&maker->lock);
		is_done = work_on(maker, work, job);
		pthread_mutex_lock(&maker->lock);
		if (job)
			put_back(maker, job, is_done);
	}
	pthread_mutex_unlock(&maker->lock);
	return NULL;
}

/* --- the side of the event loop -------------------------------------------------------------------------------- */

static int init_sync(struct tables_maker *maker)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&maker->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&maker->work, &attributes);
	pthread_condattr_destroy(&attributes);
	maker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return maker->event_fd < 0 ? -errno : 0;
}

int tables_maker_new(const struct tables_maker_options *options, struct tables_maker **ret)
{
	const struct symbolizer_options symbolizer = { .debug_directories = options->debug_directories, .purpose = "tables" };
	struct tables_maker *maker = calloc(1, sizeof(*maker));
	int r;

	if (!maker)
		return -ENOMEM;
	maker->fresh_end = &maker->fresh;
	maker->done_end = &maker->done;
	maker->cache_directory = options->cache_directory;
	maker->is_rested = true;
	maker->balance_nsec = BURST_NSEC;
	maker->balanced_nsec = clock_monotonic_nsec();
	r = init_sync(maker);
	if (r >= 0)
		r = symbolizer_process_new(&symbolizer, &maker->process);
	if (r >= 0)
		r = -pthread_create(&maker->thread, NULL, maker_thread, maker);
	if (r < 0) {
		tables_maker_free(maker);
		return r;
	}
	maker->has_thread = true;
	*ret = maker;
	return 0;
}

static void free_jobs(struct tables_job *jobs)
{
	while (jobs) {
		struct tables_job *next = jobs->next;

		tables_job_free(jobs);
		jobs = next;
	}
}

static void stop_thread(struct tables_maker *maker)
{
	pthread_mutex_lock(&maker->lock);
	maker->stop = true;
	pthread_cond_signal(&maker->work);
	pthread_mutex_unlock(&maker->lock);
	symbolizer_process_cancel(maker->process);
	pthread_join(maker->thread, NULL);
}

struct tables_maker *tables_maker_free(struct tables_maker *maker)
{
	if (!maker)
		return NULL;
	if (maker->has_thread)
		stop_thread(maker);
	free_jobs(maker->fresh);
	free_jobs(maker->missing);
	free_jobs(maker->done);
	for (size_t i = 0; i < maker->unsaved.n; i++)
		free(maker->unsaved.at[i].bytes);
	vec_deinit(&maker->unsaved);
	tables_cache_free(maker->cache);
	symbolizer_process_free(maker->process);
	close_fd(maker->event_fd);
	pthread_cond_destroy(&maker->work);
	pthread_mutex_destroy(&maker->lock);
	free(maker);
	return NULL;
}

void tables_maker_submit_take(struct tables_maker *maker, struct tables_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&maker->lock);
	*maker->fresh_end = job;
	maker->fresh_end = &job->next;
	pthread_cond_signal(&maker->work);
	pthread_mutex_unlock(&maker->lock);
}

int tables_maker_fd(const struct tables_maker *maker)
{
	return maker->event_fd;
}

struct tables_job *tables_maker_take_done(struct tables_maker *maker)
{
	struct tables_job *job;
	uint64_t n;

	pthread_mutex_lock(&maker->lock);
	job = maker->done;
	if (job) {
		maker->done = job->next;
		if (!maker->done)
			maker->done_end = &maker->done;
		maker->n_done--;
		pthread_cond_signal(&maker->work);
	} else if (read(maker->event_fd, &n, sizeof(n)) < 0) {
		/* Empty already: nobody writes without the lock. */
	}
	pthread_mutex_unlock(&maker->lock);
	return job;
}

uint64_t tables_maker_helper_memory(const struct tables_maker *maker)
{
	return symbolizer_process_stats(maker->process).memory_bytes;
}
