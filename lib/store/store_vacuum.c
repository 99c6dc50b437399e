/* SPDX-License-Identifier: Apache-2.0 */
#include "store_vacuum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "pprof_encode.h"
#include "store.h"
#include "store_clock.h"
#include "store_directory.h"
#include "store_name.h"
#include "strtab.h"
#include "vec.h"

/* A directory of one service on one day. */
struct service_directory {
	uint64_t day_wall_nsec;
	uint32_t service;                    /* string */
};

/* A file that is ours by name, type and owner. Its name is built from the parts when it is needed. */
struct file {
	uint64_t start_wall_nsec, written_wall_nsec;
	uint64_t bytes;
	uint32_t directory;                  /* index into directories */
	uint32_t trigger;                    /* string */
	uint32_t number;
	uint32_t second;
	uint8_t kind;
	bool is_alert, is_future;
	bool is_settled;                     /* tried: what could not go for one reason will not go for the next one */
	bool is_gone;                        /* removed, or found not to be ours */
};

struct vacuum {
	int root;
	const struct store_owner *owner;
	uint64_t now;
	struct store_vacuum *result;

	struct strtab *strings;
	VEC(struct service_directory) directories;
	VEC(struct file) files;

	/* While scanning. */
	uint64_t day_wall_nsec;
	size_t n_entries;                    /* seen in the directory that is being read */
};

static bool is_alert_trigger(const char *trigger)
{
	return trigger[0] && strcmp(trigger, "background") != 0 && strcmp(trigger, "api") != 0;
}

static bool is_pin(const char *name)
{
	static const char suffix[] = ".pin";
	size_t n = strlen(name), n_suffix = strlen(suffix);
	char file[STORE_FILE_SIZE];
	struct store_name parsed;

	if (n <= n_suffix || n - n_suffix >= sizeof(file) || strcmp(name + n - n_suffix, suffix) != 0)
		return false;
	memcpy(file, name, n - n_suffix);
	file[n - n_suffix] = '\0';
	return store_name_parse(file, &parsed);
}

static int add_file(struct vacuum *v, const struct store_name *name, const struct stat *st)
{
	struct file file = {
		.start_wall_nsec = v->day_wall_nsec + name->second * NSEC_PER_SEC,
		.written_wall_nsec = (uint64_t)MAX(st->st_mtim.tv_sec, 0) * NSEC_PER_SEC,
		.bytes = (uint64_t)st->st_size,
		.directory = v->directories.n - 1,
		.number = name->number,
		.second = name->second,
		.kind = name->kind,
		.is_alert = is_alert_trigger(name->trigger),
	};
	int r;

	file.is_future = file.start_wall_nsec > v->now && file.start_wall_nsec - v->now > STORE_DAY_NSEC;
	r = strtab_add_string(v->strings, name->trigger, &file.trigger);
	if (r < 0)
		return r;
	v->result->files++;
	v->result->bytes += file.bytes;
	return vec_push(&v->files, file);
}

static int scan_file(int directory, const char *name, void *userdata)
{
	struct vacuum *v = userdata;
	struct store_name parsed;
	struct stat st;

	v->n_entries++;
	if (is_pin(name)) {
		v->result->pinned++;
		return 0;
	}
	if (!store_name_parse(name, &parsed) || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISREG(st.st_mode) || st.st_nlink != 1 || !store_owner_is_us(v->owner, st.st_uid)) {
		v->result->foreign++;
		return 0;
	}
	return add_file(v, &parsed, &st);
}

/* Removes a directory of ours; one that is not empty stays, and nothing is lost by trying. */
static void remove_directory(const struct vacuum *v, int parent, const char *name)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && store_owner_is_us(v->owner, st.st_uid))
		unlinkat(parent, name, AT_REMOVEDIR);
}

static int scan_service(int directory, const char *name, void *userdata)
{
	struct vacuum *v = userdata;
	struct service_directory service = { .day_wall_nsec = v->day_wall_nsec };
	_cleanup_close_ int fd = -1;
	int r;

	v->n_entries++;
	fd = store_service_is_valid(name) ? store_directory_open(directory, name, v->owner) : -1;
	if (fd < 0) {
		v->result->foreign++;
		return 0;
	}
	r = strtab_add_string(v->strings, name, &service.service);
	if (r < 0)
		return r;
	if (vec_push(&v->directories, service) < 0)
		return -ENOMEM;
	v->n_entries = 0;
	r = store_directory_each(fd, scan_file, v);
	if (r == -ENOMEM || r == -E2BIG)
		return r;
	if (r == 0 && v->n_entries == 0)
		remove_directory(v, directory, name);
	v->n_entries = 1;
	return 0;
}

static int scan_day(int directory, const char *name, void *userdata)
{
	struct vacuum *v = userdata;
	_cleanup_close_ int fd = -1;
	int r;

	fd = store_day_parse(name, &v->day_wall_nsec) ? store_directory_open(directory, name, v->owner) : -1;
	if (fd < 0) {
		v->result->foreign++;
		return 0;
	}
	r = store_directory_each(fd, scan_service, v);
	if (r == -ENOMEM || r == -E2BIG)
		return r;
	/* Fails, as it should, unless what it held has just gone. */
	remove_directory(v, directory, name);
	return 0;
}

/* The order in which files go. */
static int compare_files(const void *left, const void *right)
{
	const struct file *a = left, *b = right;

	if (a->is_alert != b->is_alert)
		return a->is_alert ? 1 : -1;
	if (a->is_future != b->is_future)
		return a->is_future ? -1 : 1;
	if (a->start_wall_nsec != b->start_wall_nsec)
		return a->start_wall_nsec < b->start_wall_nsec ? -1 : 1;
	if (a->directory != b->directory)
		return a->directory < b->directory ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->number == b->number ? 0 : a->number < b->number ? -1 : 1;
}

static int compare_times(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a == *b ? 0 : *a < *b ? -1 : 1;
}

/*
 * Looks for the last gap of more than a day in the times files were written. Returns whether less than a day has passed
 * behind it, and then when the last file before it was written.
 */
static int find_fresh_gap(const struct vacuum *v, bool *ret_is_fresh, uint64_t *ret_before)
{
	_cleanup_free_ uint64_t *times = calloc(v->files.n + 1, sizeof(*times));
	uint64_t next = v->now;
	size_t n = 0;

	if (!times)
		return -ENOMEM;
	for (size_t i = 0; i < v->files.n; i++)
		if (v->files.at[i].written_wall_nsec <= v->now)
			times[n++] = v->files.at[i].written_wall_nsec;
	qsort(times, n, sizeof(*times), compare_times);
	*ret_is_fresh = false;
	while (n-- > 0 && v->now - next < STORE_DAY_NSEC) {
		if (next - times[n] > STORE_DAY_NSEC) {
			*ret_is_fresh = true;
			*ret_before = times[n];
			break;
		}
		next = times[n];
	}
	return 0;
}

enum verdict {
	REMOVED,
	PINNED,
	NOT_OURS,
	FAILED,
};

/* Looks again, at the file itself, and only then removes it. */
static enum verdict remove_checked(const struct vacuum *v, int directory, const char *name)
{
	_cleanup_close_ int fd = -1;
	char pin[STORE_FILE_SIZE + 4], mark[PPROF_MARK_SIZE];
	struct stat st;

	snprintf(pin, sizeof(pin), "%s.pin", name);
	if (fstatat(directory, pin, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return PINNED;
	fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return FAILED;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || !store_owner_is_us(v->owner, st.st_uid))
		return NOT_OURS;
	if (pread(fd, mark, sizeof(mark), 0) != (ssize_t)sizeof(mark) || !pprof_has_mark(mark, sizeof(mark)))
		return NOT_OURS;
	return unlinkat(directory, name, 0) == 0 ? REMOVED : FAILED;
}

static enum verdict remove_file(const struct vacuum *v, const struct file *file)
{
	const struct service_directory *in = &v->directories.at[file->directory];
	const char *service = strtab_get(v->strings, in->service, NULL);
	struct store_name name = { .kind = file->kind, .second = file->second, .number = file->number };
	_cleanup_close_ int day = -1, directory = -1;
	char day_name[STORE_DAY_LENGTH + 1], file_name[STORE_FILE_SIZE];
	enum verdict verdict;

	snprintf(name.trigger, sizeof(name.trigger), "%s", strtab_get(v->strings, file->trigger, NULL));
	if (store_name_format(&name, file_name) < 0 || store_day_format(in->day_wall_nsec, day_name) < 0)
		return FAILED;
	day = store_directory_open(v->root, day_name, v->owner);
	directory = day < 0 ? -1 : store_directory_open(day, service, v->owner);
	if (directory < 0)
		return FAILED;
	verdict = remove_checked(v, directory, file_name);
	if (verdict == REMOVED) {
		remove_directory(v, day, service);
		remove_directory(v, v->root, day_name);
	}
	return verdict;
}

/* Removes a file for one of the reasons; whether it is gone. */
static bool evict(struct vacuum *v, struct file *file, uint64_t *counter)
{
	enum verdict verdict = remove_file(v, file);

	file->is_settled = true;
	switch (verdict) {
	case PINNED:
		return false;
	case FAILED:
		v->result->failed++;
		return false;
	case NOT_OURS:
		v->result->foreign++;
		break;
	case REMOVED:
		(*counter)++;
		v->result->deleted_bytes += file->bytes;
		break;
	}
	file->is_gone = true;
	v->result->files--;
	v->result->bytes -= file->bytes;
	return verdict == REMOVED;
}

static void evict_old(struct vacuum *v, uint64_t age_nsec)
{
	for (size_t i = 0; i < v->files.n; i++) {
		struct file *file = &v->files.at[i];

		if (file->start_wall_nsec < v->now && v->now - file->start_wall_nsec > age_nsec)
			evict(v, file, &v->result->deleted_age);
	}
}

static void evict_for_size(struct vacuum *v, uint64_t max_bytes)
{
	for (size_t i = 0; i < v->files.n && v->result->bytes > max_bytes; i++)
		if (!v->files.at[i].is_settled)
			evict(v, &v->files.at[i], &v->result->deleted_size);
}

/* The start of what is never removed to keep space free: a day before the newest file, or before the gap. */
static uint64_t protected_since(const struct vacuum *v, bool is_suspect, uint64_t before_gap)
{
	uint64_t newest = 0;

	for (size_t i = 0; i < v->files.n; i++)
		if (!v->files.at[i].is_future)
			newest = MAX(newest, v->files.at[i].start_wall_nsec);
	if (is_suspect)
		newest = MIN(newest, before_gap);
	return newest > STORE_DAY_NSEC ? newest - STORE_DAY_NSEC : 0;
}

static int evict_for_space(struct vacuum *v, uint64_t keep_free_bytes, uint64_t since)
{
	struct statvfs vfs;
	uint64_t available, missing;

	if (fstatvfs(v->root, &vfs) < 0)
		return -errno;
	available = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (available >= keep_free_bytes)
		return 0;
	/* Counted by ourselves: some file systems give space back only later. */
	missing = keep_free_bytes - available;
	for (size_t i = 0; i < v->files.n && missing > 0; i++) {
		struct file *file = &v->files.at[i];

		if (file->is_settled || (!file->is_future && file->start_wall_nsec >= since))
			continue;
		if (evict(v, file, &v->result->deleted_free))
			missing -= MIN(missing, (file->bytes + vfs.f_frsize - 1) / vfs.f_frsize * vfs.f_frsize);
	}
	return 0;
}

/* When all files are of the future, it is the clock that is of the past. */
static void settle_future(struct vacuum *v)
{
	size_t n_future = 0;

	for (size_t i = 0; i < v->files.n; i++)
		n_future += v->files.at[i].is_future;
	for (size_t i = 0; i < v->files.n && n_future == v->files.n; i++)
		v->files.at[i].is_future = false;
}

static int apply(struct vacuum *v, const struct store_retention *retention, struct store_clock *clock)
{
	bool is_steady = store_clock_is_steady(clock, v->now, clock_nsec(CLOCK_BOOTTIME));
	bool is_suspect = false;
	uint64_t before_gap = 0;
	int r;

	if (!is_steady) {
		r = find_fresh_gap(v, &is_suspect, &before_gap);
		if (r < 0)
			return r;
	}
	settle_future(v);
	vec_sort(&v->files, compare_files);
	v->result->clock_suspect = is_suspect && retention->age_nsec;
	if (retention->age_nsec && !is_suspect)
		evict_old(v, retention->age_nsec);
	if (retention->max_bytes)
		evict_for_size(v, retention->max_bytes);
	if (retention->keep_free_bytes)
		return evict_for_space(v, retention->keep_free_bytes, protected_since(v, is_suspect, before_gap));
	return 0;
}

/* Of what is left. */
static uint64_t oldest(const struct vacuum *v)
{
	uint64_t start = 0;

	for (size_t i = 0; i < v->files.n; i++)
		if (!v->files.at[i].is_gone && (start == 0 || v->files.at[i].start_wall_nsec < start))
			start = v->files.at[i].start_wall_nsec;
	return start;
}

int store_vacuum(struct store *store, const struct store_retention *retention, uint64_t now_wall_nsec,
		struct store_vacuum *ret)
{
	struct store_vacuum result = { 0 };
	struct vacuum v = { .owner = store_owner(store), .now = now_wall_nsec, .result = &result };
	int r;

	v.root = store_open_root(store);
	if (v.root < 0)
		return v.root;
	v.strings = strtab_new();
	if (!v.strings)
		return -ENOMEM;
	r = store_directory_each(v.root, scan_day, &v);
	if (r == 0)
		r = apply(&v, retention, store_clock(store));
	if (r == 0) {
		result.oldest_wall_nsec = oldest(&v);
		*ret = result;
	}
	strtab_free(v.strings);
	vec_deinit(&v.directories);
	vec_deinit(&v.files);
	return r;
}
