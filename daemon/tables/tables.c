/* SPDX-License-Identifier: Apache-2.0 */
#include "tables.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "binary.h"
#include "cleanup.h"
#include "clock.h"
#include "file_identity.h"
#include "hash.h"
#include "hotspots.h"
#include "location.h"
#include "log.h"
#include "map.h"
#include "tables_maker.h"
#include "unwind_maps.h"
#include "vec.h"

/* Wants come in bursts: who samples one program met some of its libraries. Little beside a window. */
#define GATHER_USEC (10 * USEC_PER_SEC / 1000)
#define MAX_WAITING 1024                     /* jobs: each holds a descriptor */
#define MAX_FILES 3072                       /* that the kernel was told of: below its 4,096 (unwind_maps.c), so that new ones are asked for */
#define MAX_FORGOTTEN 8192
#define FIND_NSEC (50 * NSEC_PER_MSEC)       /* of the event loop, for one burst: a file may cost a look into /proc */
#define PAUSE_NSEC NSEC_PER_SEC              /* the first time; twice as long each time after */
#define WITHOUT_NSEC (300 * NSEC_PER_SEC)
#define MAX_DOUBLINGS 8                      /* of a pause: 4 minutes */
#define MAX_WITHOUT_DOUBLINGS 4              /* 80 minutes */
#define FORGET_NSEC (3600 * NSEC_PER_SEC)    /* that it failed */
#define RECENT_SEC 5                         /* a table used since then stays: what does not fit must not turn out what is in use, in turns */
#define EVICT_SHARE 8
#define DONE_AT_ONCE 8
#define TIMER_ACCURACY_USEC (USEC_PER_SEC / 4)
#define LOG_INTERVAL_NSEC (6 * NSEC_PER_SEC)

enum file_state {
	FILE_FORGOTTEN,                      /* the kernel asks when it meets it; what is remembered is that it failed */
	FILE_WAITING,                        /* a job is under way */
	FILE_PAUSED,                         /* failed: unknown to the kernel again at `until` */
	FILE_WITHOUT,                        /* has none; likewise */
	FILE_BOUND,
};

struct file {
	struct unwind_file id;
	enum file_state state;
	struct table *table;                 /* BOUND */
	unsigned n_failures;                 /* since it last had a table */
	uint64_t until_nsec;
};

/* In the kernel. Files that lead to the same bytes (copies of one library in many containers) share it: they are compared, no claim is believed. */
struct table {
	uint32_t number;
	uint64_t hash;
	size_t size, n_pages, n_rows;
	uint32_t added_sec;
	VEC(struct file *) files;            /* bound to it; borrowed */
};

struct tables {
	struct unwind_maps *maps;
	struct binary *(*find)(const struct process_id *process, uint64_t address, bool anew, void *userdata);
	void *userdata;
	struct tables_maker *maker;
	struct file_identity *identity;
	struct hotspots *hotspots;           /* NULL: no process is a JVM */
	sd_event *loop;
	sd_event_source *wants, *gather, *done, *timer;
	uint64_t timer_nsec;                 /* when it is set to; UINT64_MAX: not */
	struct map files;                    /* struct unwind_file -> struct file * */
	size_t n_told;                       /* files that the kernel has: all but those FORGOTTEN */
	VEC(struct table *) tables;
	size_t max_pages;                    /* SIZE_MAX: only the maps' own bound */
	uint64_t burst_nsec;                 /* when the burst in work began */
	uint64_t logged_nsec;
	struct tables_stats stats;
};

DEFINE_CLEANUP(struct tables, tables_free);
DEFINE_CLEANUP(struct tables_job, tables_job_free);
DEFINE_CLEANUP(struct binary, binary_unref);

/* --- files ----------------------------------------------------------------------------------------------------- */

static void set_state(struct tables *tables, struct file *file, enum file_state state)
{
	tables->n_told += (state != FILE_FORGOTTEN) - (size_t)(file->state != FILE_FORGOTTEN);
	file->state = state;
}

static struct file *file_of(const struct tables *tables, const struct unwind_file *id)
{
	struct file **file = map_get(&tables->files, id);

	return file ? *file : NULL;
}

static struct file *file_add(struct tables *tables, const struct unwind_file *id)
{
	struct file *file = calloc(1, sizeof(*file));
	void *value;

	if (!file || map_put(&tables->files, id, &value) < 0) {
		free(file);
		return NULL;
	}
	file->id = *id;
	*(struct file **)value = file;
	return file;
}

static void set_timer(struct tables *tables, uint64_t nsec)
{
	if (nsec >= tables->timer_nsec)
		return;
	tables->timer_nsec = nsec;
	sd_event_source_set_time(tables->timer, nsec / NSEC_PER_USEC);
	sd_event_source_set_enabled(tables->timer, SD_EVENT_ONESHOT);
}

static void wait_for(struct tables *tables, struct file *file, enum file_state state, uint64_t nsec)
{
	set_state(tables, file, state);
	file->until_nsec = clock_monotonic_nsec() + nsec;
	set_timer(tables, file->until_nsec);
}

/* The kernel may ask for it again; that it failed is remembered for a while. */
static void unbind(struct tables *tables, struct file *file)
{
	unwind_maps_unbind(tables->maps, &file->id);
	file->table = NULL;
	wait_for(tables, file, FILE_FORGOTTEN, FORGET_NSEC);
}

static uint64_t doubled(uint64_t nsec, struct file *file, unsigned max_doublings)
{
	unsigned n = MIN(file->n_failures, max_doublings);

	file->n_failures++;
	return nsec << n;
}

/* Not now; perhaps by the next process that has it. */
static void fail(struct tables *tables, struct file *file)
{
	tables->stats.failed++;
	wait_for(tables, file, FILE_PAUSED, doubled(PAUSE_NSEC, file, MAX_DOUBLINGS));
}

static void set_without(struct tables *tables, struct file *file)
{
	tables->stats.failed++;
	if (unwind_maps_bind(tables->maps, &file->id, UNWIND_FILE_WITHOUT))
		wait_for(tables, file, FILE_PAUSED, doubled(PAUSE_NSEC, file, MAX_DOUBLINGS));
	else
		wait_for(tables, file, FILE_WITHOUT, doubled(WITHOUT_NSEC, file, MAX_WITHOUT_DOUBLINGS));
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct tables *tables = userdata;
	uint64_t now = clock_monotonic_nsec(), next = UINT64_MAX;
	size_t cursor = 0;
	const void *id;
	void *value;

	tables->timer_nsec = UINT64_MAX;
	while (map_next(&tables->files, &cursor, &id, &value)) {
		struct file *file = *(struct file **)value;

		if (file->state == FILE_WAITING || file->state == FILE_BOUND)
			continue;
		if (file->until_nsec <= now && file->state == FILE_FORGOTTEN) {
			map_remove(&tables->files, id);
			free(file);
			continue;
		}
		if (file->until_nsec <= now)
			unbind(tables, file);
		next = MIN(next, file->until_nsec);
	}
	if (next != UINT64_MAX)
		set_timer(tables, next);
	return 0;
}

/* --- room ------------------------------------------------------------------------------------------------------ */

static struct table *table_free(struct table *table)
{
	if (!table)
		return NULL;
	vec_deinit(&table->files);
	free(table);
	return NULL;
}

/* A table that was never used is as old as it is. */
static uint32_t last_used(const struct tables *tables, const struct table *table)
{
	return MAX(unwind_maps_used(tables->maps, table->number), table->added_sec);
}

struct candidate {
	uint32_t used_sec;
	struct table *table;
};

static int compare_use(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->used_sec > y->used_sec) - (x->used_sec < y->used_sec);
}

static size_t all_pages(const struct tables *tables)
{
	size_t n = 0;

	for (size_t i = 0; i < tables->tables.n; i++)
		n += tables->tables.at[i]->n_pages;
	return n;
}

/* The longest unused of those that may go (not used since `recent`), up to so many pages. They are in no list any more. */
static size_t take_oldest(struct tables *tables, const struct table *keep, size_t n_pages, uint32_t recent,
		struct table **taken)
{
	_cleanup_free_ struct candidate *candidates = calloc(tables->tables.n + 1, sizeof(*candidates));
	size_t n = 0, n_taken = 0, sum = 0, left = 0;

	if (!candidates)
		return 0;
	for (size_t i = 0; i < tables->tables.n; i++)
		candidates[n++] = (struct candidate){ last_used(tables, tables->tables.at[i]), tables->tables.at[i] };
	qsort(candidates, n, sizeof(*candidates), compare_use);
	for (size_t i = 0; i < n; i++) {
		struct table *table = candidates[i].table;

		if (sum < n_pages && table != keep && candidates[i].used_sec < recent) {
			sum += table->n_pages;
			taken[n_taken++] = table;
		} else
			tables->tables.at[left++] = table;
	}
	tables->tables.n = left;
	return n_taken;
}

/*
 * Makes room for so many pages, and for an eighth of all: removing makes the kernel wait until no walk is under way.
 * False when all tables are in use.
 */
static bool evict_until(struct tables *tables, const struct table *keep, size_t n_pages, uint32_t recent)
{
	_cleanup_free_ struct table **taken = calloc(tables->tables.n + 1, sizeof(*taken));
	_cleanup_free_ uint32_t *numbers = calloc(tables->tables.n + 1, sizeof(*numbers));
	size_t n;
	int r;

	if (!taken || !numbers)
		return false;
	n = take_oldest(tables, keep, MAX(n_pages, all_pages(tables) / EVICT_SHARE), recent, taken);
	for (size_t i = 0; i < n; i++) {
		numbers[i] = taken[i]->number;
		for (size_t j = 0; j < taken[i]->files.n; j++)
			unbind(tables, taken[i]->files.at[j]);
		tables->stats.n_rows -= taken[i]->n_rows;
		table_free(taken[i]);
	}
	if (!n)
		return false;
	tables->stats.evicted += n;
	log_print(LOG_DEBUG, "tables: %zu tables were removed, there is no room for all", n);
	r = unwind_maps_remove(tables->maps, numbers, n);
	if (r < 0)
		log_print(LOG_WARNING, "tables: tables could not be removed from the kernel: %s", strerror(-r));
	return r >= 0;
}

static bool evict(struct tables *tables, const struct table *keep, size_t n_pages)
{
	return evict_until(tables, keep, n_pages, (uint32_t)(clock_monotonic_nsec() / NSEC_PER_SEC) - RECENT_SEC);
}

/* The kernel's table of files is to have room for those it will meet. */
static void forget_files(struct tables *tables)
{
	size_t cursor = 0;
	const void *id;
	void *value;

	if (tables->n_told >= MAX_FILES && !evict(tables, NULL, 0)) {
		while (map_next(&tables->files, &cursor, &id, &value))
			if ((*(struct file **)value)->state == FILE_WITHOUT || (*(struct file **)value)->state == FILE_PAUSED)
				unbind(tables, *(struct file **)value);
		cursor = 0;
	}
	if (tables->files.n - tables->n_told < MAX_FORGOTTEN)
		return;
	while (map_next(&tables->files, &cursor, &id, &value)) {
		struct file *file = *(struct file **)value;

		if (file->state != FILE_FORGOTTEN)
			continue;
		map_remove(&tables->files, id);
		free(file);
	}
}

/* --- tables ---------------------------------------------------------------------------------------------------- */

/* A page of rows is filled up with copies of its last one. */
static size_t rows_of_page(const struct unwind_image *image, uint32_t page)
{
	const struct unwind_row *rows = (const void *)((const uint8_t *)image->pages + (size_t)page * UNWIND_PAGE_SIZE);
	size_t n = UNWIND_ROW_ENTRIES;

	while (n > 1 && rows[n - 1].delta == rows[n - 2].delta && rows[n - 1].rule == rows[n - 2].rule)
		n--;
	return n;
}

static size_t rows_below(const struct unwind_image *image, const struct unwind_index *entries, size_t n, unsigned n_levels)
{
	size_t sum = 0;

	for (size_t i = 0; i < n && entries[i].offset != UINT32_MAX; i++)
		sum += n_levels == 1 ? rows_of_page(image, entries[i].page)
				     : rows_below(image, (const void *)((const uint8_t *)image->pages + (size_t)entries[i].page * UNWIND_PAGE_SIZE),
						UNWIND_INDEX_ENTRIES, n_levels - 1);
	return sum;
}

static struct table *find_same(const struct tables *tables, uint64_t hash, size_t size)
{
	for (size_t i = 0; i < tables->tables.n; i++)
		if (tables->tables.at[i]->hash == hash && tables->tables.at[i]->size == size)
			return tables->tables.at[i];
	return NULL;
}

static int add_to_kernel(struct tables *tables, const struct unwind_image *image, uint32_t *ret)
{
	size_t n_all = all_pages(tables);
	int r;

	if (n_all + image->n_pages > tables->max_pages &&
	    (image->n_pages > tables->max_pages || !evict(tables, NULL, n_all + image->n_pages - tables->max_pages)))
		return UNWIND_MAPS_E_FULL;
	r = unwind_maps_add(tables->maps, image, ret);
	/* The second time it fits, unless pages are in use or the table is larger than all room. */
	if (r == UNWIND_MAPS_E_FULL && evict(tables, NULL, image->n_pages))
		r = unwind_maps_add(tables->maps, image, ret);
	return r;
}

static int get_table(struct tables *tables, const struct tables_job *job, struct table **ret)
{
	uint64_t hash = hash_bytes(job->bytes, job->size);
	struct table *table = find_same(tables, hash, job->size);
	int r;

	if (table) {
		*ret = table;
		return 0;
	}
	table = calloc(1, sizeof(*table));
	if (!table)
		return -ENOMEM;
	r = vec_reserve(&tables->tables, tables->tables.n + 1);
	if (!r)
		r = add_to_kernel(tables, &job->image, &table->number);
	if (r) {
		table_free(table);
		return r;
	}
	table->hash = hash;
	table->size = job->size;
	table->n_pages = job->image.n_pages;
	table->n_rows = rows_below(&job->image, job->image.table.root, UNWIND_ROOT_ENTRIES, job->image.table.n_levels);
	table->added_sec = (uint32_t)(clock_monotonic_nsec() / NSEC_PER_SEC);
	tables->tables.at[tables->tables.n++] = table;
	tables->stats.n_rows += table->n_rows;
	*ret = table;
	return 0;
}

static int bind_file(struct tables *tables, struct file *file, struct table *table)
{
	int r;

	r = vec_reserve(&table->files, table->files.n + 1);
	if (!r)
		r = unwind_maps_bind(tables->maps, &file->id, table->number);
	if (r == UNWIND_MAPS_E_FULL && evict(tables, table, 0))
		r = unwind_maps_bind(tables->maps, &file->id, table->number);
	if (r)
		return r;
	table->files.at[table->files.n++] = file;
	file->table = table;
	file->n_failures = 0;
	set_state(tables, file, FILE_BOUND);
	return 0;
}

/* --- results --------------------------------------------------------------------------------------------------- */

static void log_error(struct tables *tables, const struct tables_job *job, int error)
{
	uint64_t now = clock_monotonic_nsec();

	if (tables->logged_nsec && now - tables->logged_nsec < LOG_INTERVAL_NSEC)
		return;
	tables->logged_nsec = now;
	log_print(LOG_WARNING, "tables: no unwind table for %s: %s", job->binary ? job->binary->path : "[vdso]", strerror(-error));
}

/* The file may have been written to since, or never have been the one that was met. */
static bool is_the_file(struct tables *tables, const struct unwind_file *id, const struct binary *binary)
{
	struct unwind_file now;

	return file_identity_of(tables->identity, binary->fd, &now) == 0 && !memcmp(&now, id, sizeof(now));
}

static void finish(struct tables *tables, struct file *file, const struct tables_job *job)
{
	struct table *table;
	int r = job->status;

	if (r >= 0 && job->binary && !is_the_file(tables, &job->file, job->binary)) {
		fail(tables, file);
		return;
	}
	if (r == TABLES_MAKER_E_NONE) {
		log_print(LOG_DEBUG, "tables: %s has no unwind table", job->binary ? job->binary->path : "[vdso]");
		set_without(tables, file);
		return;
	}
	if (!r)
		r = get_table(tables, job, &table);
	if (!r)
		r = bind_file(tables, file, table);
	if (r) {
		if (r < 0)
			log_error(tables, job, r);
		fail(tables, file);
		return;
	}
	if (job->is_cached)
		tables->stats.cached++;
	else
		tables->stats.made++;
}

static int on_done(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct tables *tables = userdata;
	/* Others want the loop, too; what is left is told again at once. */
	for (unsigned i = 0; i < DONE_AT_ONCE; i++) {
		struct tables_job *job = tables_maker_take_done(tables->maker);
		struct file *file;

		if (!job)
			break;
		file = file_of(tables, &job->file);
		tables->stats.n_waiting--;
		tables->stats.make_nsec += job->nsec;
		tables->stats.cpu_nsec += job->cpu_nsec;
		finish(tables, file, job);
		tables_job_free(job);
	}
	return 0;
}

/* --- wants ----------------------------------------------------------------------------------------------------- */

static struct binary *find(struct tables *tables, const struct unwind_want *want)
{
	const struct process_id process = {
		.pid = want->process.pid,
		.exec_id = want->process.exec_id,
		.start_nsec = want->process.start_nsec / NSEC_PER_TICK * NSEC_PER_TICK,
	};
	_cleanup_(binary_unref_p) struct binary *binary = NULL;

	if (clock_monotonic_nsec() - tables->burst_nsec > FIND_NSEC)
		return NULL;
	binary = tables->find(&process, want->address, false, tables->userdata);
	if (!binary)
		return NULL;
	if (binary->fd >= 0 && is_the_file(tables, &want->file, binary))
		return TAKE(binary);
	binary_unref(binary);
	binary = tables->find(&process, want->address, true, tables->userdata);
	return binary && is_the_file(tables, &want->file, binary) ? TAKE(binary) : NULL;
}

static void submit(struct tables *tables, struct file *file, const struct unwind_want *want)
{
	_cleanup_(tables_job_free_p) struct tables_job *job = NULL;

	tables->stats.wanted++;
	if (tables->stats.n_waiting < MAX_WAITING)
		job = calloc(1, sizeof(*job));
	if (job && !want->is_vdso) {
		job->binary = find(tables, want);
		if (!job->binary)
			job = tables_job_free(job);
	}
	if (!job) {
		fail(tables, file);
		return;
	}
	job->file = file->id;
	set_state(tables, file, FILE_WAITING);
	tables->stats.n_waiting++;
	tables_maker_submit_take(tables->maker, TAKE(job));
}

static void on_want(const struct unwind_want *want, void *userdata)
{
	struct tables *tables = userdata;
	struct file *file;

	if (want->is_made) {
		if (tables->hotspots)
			hotspots_want(tables->hotspots, want);
		return;
	}
	file = file_of(tables, &want->file);
	if (!file) {
		forget_files(tables);
		file = tables->n_told < MAX_FILES ? file_add(tables, &want->file) : NULL;
	}
	if (!file) {
		/* Asked for again at once, when there may be room. */
		tables->stats.wanted++;
		tables->stats.failed++;
		unwind_maps_unbind(tables->maps, &want->file);
		return;
	}
	if (file->state == FILE_FORGOTTEN)
		submit(tables, file, want);
	else if (file->state == FILE_BOUND)
		/* Asked before it was bound, most likely; if the kernel forgot it, it knows it again. */
		unwind_maps_bind(tables->maps, &file->id, file->table->number);
}

static int on_gathered(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct tables *tables = userdata;
	int r;

	tables->burst_nsec = clock_monotonic_nsec();
	r = unwind_maps_read_wants(tables->maps, on_want, tables);
	if (r < 0)
		log_print(LOG_WARNING, "tables: wants could not be read: %s", strerror(-r));
	return sd_event_source_set_enabled(tables->wants, SD_EVENT_ON);
}

static int on_wants(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct tables *tables = userdata;
	int r;

	r = sd_event_source_set_enabled(tables->wants, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_time(tables->gather, (clock_monotonic_nsec() / NSEC_PER_USEC) + GATHER_USEC);
	return r < 0 ? r : sd_event_source_set_enabled(tables->gather, SD_EVENT_ONESHOT);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static int add_timer(struct tables *tables, uint64_t accuracy_usec, sd_event_time_handler_t handler, sd_event_source **ret)
{
	int r = sd_event_add_time(tables->loop, ret, CLOCK_MONOTONIC, 0, accuracy_usec, handler, tables);

	return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static int add_sources(struct tables *tables)
{
	int r;

	r = add_timer(tables, TIMER_ACCURACY_USEC, on_timer, &tables->timer);
	if (r >= 0)
		r = add_timer(tables, 1, on_gathered, &tables->gather);
	if (r >= 0)
		r = sd_event_add_io(tables->loop, &tables->done, tables_maker_fd(tables->maker), EPOLLIN, on_done, tables);
	if (r >= 0)
		r = sd_event_add_io(tables->loop, &tables->wants, unwind_maps_wants_fd(tables->maps), EPOLLIN, on_wants, tables);
	return r;
}

int tables_new(sd_event *loop, const struct tables_options *options, struct tables **ret)
{
	const struct tables_maker_options maker = {
		.cache_directory = options->cache_directory, .debug_directories = options->debug_directories,
	};
	_cleanup_(tables_free_p) struct tables *tables = calloc(1, sizeof(*tables));
	int r;

	if (!tables)
		return -ENOMEM;
	tables->loop = sd_event_ref(loop);
	tables->maps = options->maps;
	tables->find = options->find;
	tables->userdata = options->userdata;
	tables->max_pages = SIZE_MAX;
	tables->timer_nsec = UINT64_MAX;
	map_init(&tables->files, sizeof(struct unwind_file), sizeof(struct file *));
	r = file_identity_new(&tables->identity);
	if (r >= 0)
		r = tables_maker_new(&maker, &tables->maker);
	if (r >= 0 && options->find_hotspot)
		r = hotspots_new(loop, options->maps, options->find_hotspot, options->userdata, &tables->hotspots);
	if (r >= 0)
		r = add_sources(tables);
	if (r < 0)
		return r;
	*ret = TAKE(tables);
	return 0;
}

/* What is in the kernel stays there: it is the owner's, and goes with the maps. */
struct tables *tables_free(struct tables *tables)
{
	size_t cursor = 0;
	const void *id;
	void *value;

	if (!tables)
		return NULL;
	sd_event_source_disable_unref(tables->wants);
	sd_event_source_disable_unref(tables->gather);
	sd_event_source_disable_unref(tables->done);
	sd_event_source_disable_unref(tables->timer);
	hotspots_free(tables->hotspots);
	tables_maker_free(tables->maker);
	file_identity_free(tables->identity);
	while (map_next(&tables->files, &cursor, &id, &value))
		free(*(struct file **)value);
	map_deinit(&tables->files);
	for (size_t i = 0; i < tables->tables.n; i++)
		table_free(tables->tables.at[i]);
	vec_deinit(&tables->tables);
	sd_event_unref(tables->loop);
	free(tables);
	return NULL;
}

void tables_set_limit(struct tables *tables, uint64_t max_bytes)
{
	tables->max_pages = max_bytes / UNWIND_PAGE_SIZE;
	evict_until(tables, NULL, SIZE_MAX, UINT32_MAX);
}

struct tables_stats tables_stats(const struct tables *tables)
{
	struct tables_stats stats = tables->stats;

	if (tables->hotspots) {
		struct hotspots_stats hotspots = hotspots_stats(tables->hotspots);

		stats.n_hotspots = hotspots.n_known;
		stats.hotspots_failed = hotspots.failed;
	}
	stats.helper_memory_bytes = tables_maker_helper_memory(tables->maker);
	return stats;
}
