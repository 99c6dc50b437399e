/* SPDX-License-Identifier: Apache-2.0 */
#include "go_switch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "fs.h"
#include "go_clock.h"
#include "go_write.h"
#include "location.h"
#include "log.h"
#include "process.h"
#include "text.h"
#include "vec.h"

static const char file_name[] = "go-rates";
static const char first_line[] = "tsprofd go-rates 1";

enum {
	MOST_MSEC = 2000,                    /* of one process: on a machine that is busy with others a helper may start late */
	MAX_FILE = 4 << 20,
	MAX_ENTRIES = 16384,
	BOOT_ID = 36,
};

/* At the end; systemd waits longer (TimeoutStopSec). */
static const uint64_t most_restore_nsec = 10 * NSEC_PER_SEC;

/*
 * So old is a process that is written to: what it sets at its start is its own, and until 1.19 MemProfileRate is 0 before the runtime has
 * initialised it (runtime/mprof.go defaultMemProfileRate()).
 */
static const uint64_t least_age_nsec = NSEC_PER_SEC;

enum entry_state {
	ENTRY_OURS,                          /* in the file: it is ours, or may be */
	ENTRY_STRANDED,                      /* the same, but it could not be undone, and nobody wishes it any more */
	ENTRY_LEFT,                          /* not in the file: it is the program's own, or cannot be written; not tried again */
};

struct entry {
	struct process_id process;           /* zeros: from the file of one before us */
	struct go_write_process is;
	enum go_rate_of which;
	enum entry_state state;
	uint64_t address;
	int64_t before, ours;
	uint64_t since_nsec;
};

struct go_switch {
	int proc, directory;
	char boot_id[BOOT_ID + 1];
	VEC(struct entry) entries;
	bool has_file;
	struct go_switch_stats stats;
};

DEFINE_CLEANUP(struct go_switch, go_switch_free);

int64_t go_switch_block_rate(uint32_t rate_nsec, double cycles_per_second)
{
	double cycles;

	/* runtime/mprof.go SetBlockProfileRate() */
	if (rate_nsec <= 1)
		return rate_nsec;
	if (!(cycles_per_second >= 1 && cycles_per_second < 1e12))
		return -1;
	cycles = (double)rate_nsec * cycles_per_second / 1e9;
	return cycles < 1 ? 1 : (int64_t)cycles;
}

struct go_switch_wish go_switch_wish_of(const struct config *config, double cycles_per_second)
{
	const struct config_memory *memory = &config->memory;
	struct go_switch_wish wish = { 0 };

	if (!config->enabled)
		return wish;
	if (memory->enabled && memory->mode != CONFIG_MEMORY_OFF && memory->go_enable)
		wish.values[GO_RATE_MEMORY] = (int64_t)memory->sample_size_bytes;
	if (config->block.enabled)
		wish.values[GO_RATE_BLOCK] = go_switch_block_rate(config->block.go_rate, cycles_per_second);
	if (config->mutex.enabled)
		wish.values[GO_RATE_MUTEX] = config->mutex.go_fraction;
	return wish;
}

/* --- entries -------------------------------------------------------------------------------------------------- */

static bool is_process(const struct entry *entry, const struct process_id *process)
{
	return !memcmp(&entry->process, process, sizeof(*process));
}

static struct entry *find(const struct go_switch *sw, const struct process_id *process, enum go_rate_of which)
{
	for (size_t i = 0; i < sw->entries.n; i++)
		if (is_process(&sw->entries.at[i], process) && sw->entries.at[i].which == which)
			return &sw->entries.at[i];
	return NULL;
}

static bool is_in_file(const struct entry *entry)
{
	return entry->state != ENTRY_LEFT;
}

static void remove_at(struct go_switch *sw, size_t i)
{
	sw->entries.at[i] = sw->entries.at[--sw->entries.n];
}

/* --- what the journal is told --------------------------------------------------------------------------------- */

static const char *name_of(const struct go_switch *sw, uint32_t pid, char *buffer, size_t size)
{
	struct process_stat stat;

	if (process_read_stat(sw->proc, pid, &stat))
		return "gone";
	text_clean(stat.comm, buffer, size);
	return buffer;
}

static void tell_written(const struct go_switch *sw, const struct entry *entry, int64_t before, int64_t after, const char *why)
{
	char name[PROCESS_COMM_LENGTH * 4];

	log_event(LOG_NOTICE, "go-rate", NULL, NULL, "Process %u (%s): %s was %" PRId64 ", is %" PRId64 " now: %s.", entry->is.pid,
			name_of(sw, entry->is.pid, name, sizeof(name)), go_rate_name(entry->which), before, after, why);
}

static void tell_changed(const struct go_switch *sw, const struct entry *entry, int64_t found)
{
	char name[PROCESS_COMM_LENGTH * 4];

	log_event(LOG_NOTICE, "go-rate", NULL, NULL, "Process %u (%s): %s is %" PRId64 ", not %" PRId64 " as it was set: the program changed it, "
			"it stays.", entry->is.pid, name_of(sw, entry->is.pid, name, sizeof(name)), go_rate_name(entry->which), found, entry->ours);
}

static const char *reason(int outcome)
{
	switch (outcome) {
	case GO_WRITE_E_CHANGED:
		return "it is not 0 any more";
	case GO_WRITE_E_NO_VARIABLE:
		return "it was not found among the variables of the program";
	case GO_WRITE_E_NOT_KNOWN:
	case -ETIMEDOUT:
		return "the process makes its memory wait";
	case -EPERM:
	case -ENOSYS:
		return "not permitted; the service wants SystemCallFilter=process_vm_writev for it, see profiling.yaml(5)";
	default:
		return strerror(-outcome);
	}
}

static void tell_failed(const struct go_switch *sw, const struct entry *entry, int64_t wanted, int outcome)
{
	char name[PROCESS_COMM_LENGTH * 4];

	log_event(LOG_WARNING, "go-rate", NULL, NULL, "Process %u (%s): %s cannot be set to %" PRId64 ": %s.", entry->is.pid,
			name_of(sw, entry->is.pid, name, sizeof(name)), go_rate_name(entry->which), wanted, reason(outcome));
}

/* --- the file ------------------------------------------------------------------------------------------------- */

static int write_entries(const struct go_switch *sw, FILE *f)
{
	fprintf(f, "%s\n%s\n", first_line, sw->boot_id);
	for (size_t i = 0; i < sw->entries.n; i++) {
		const struct entry *entry = &sw->entries.at[i];

		if (is_in_file(entry))
			fprintf(f, "%u %" PRIu64 " %#" PRIx64 " %s %#" PRIx64 " %" PRId64 " %" PRId64 "\n", entry->is.pid, entry->is.start_ticks,
					entry->is.start_stack, go_rate_name(entry->which), entry->address, entry->before, entry->ours);
	}
	return ferror(f) ? -ENOMEM : 0;
}

/* 0 or -errno: then it is as it was. */
static int save(struct go_switch *sw)
{
	_cleanup_free_ char *text = NULL;
	bool is_empty = true;
	size_t size;
	FILE *f;
	int r;

	if (sw->directory < 0)
		return -EROFS;
	for (size_t i = 0; i < sw->entries.n; i++)
		is_empty &= !is_in_file(&sw->entries.at[i]);
	if (is_empty) {
		if (sw->has_file && unlinkat(sw->directory, file_name, 0) < 0 && errno != ENOENT)
			return -errno;
		sw->has_file = false;
		return 0;
	}
	f = open_memstream(&text, &size);
	if (!f)
		return -ENOMEM;
	r = write_entries(sw, f);
	if (fclose(f))
		r = -ENOMEM;
	/* Where the memory of processes lies is for nobody else to know. */
	if (r >= 0)
		r = fs_replace(sw->directory, file_name, 0600, text, size);
	if (r >= 0)
		sw->has_file = true;
	return r;
}

/* After something was undone: an entry too many does no harm, since what is not ours is not undone. */
static void save_anyhow(struct go_switch *sw)
{
	int r = save(sw);

	if (r < 0 && r != -EROFS)
		log_print(LOG_WARNING, "Cannot write %s in the runtime directory: %s.", file_name, strerror(-r));
}

static bool parse_line(const char *line, struct entry *ret)
{
	struct entry entry = { .state = ENTRY_STRANDED };
	char name[64];
	int n = 0;

	if (sscanf(line, "%" SCNu32 " %" SCNu64 " %" SCNx64 " %63s %" SCNx64 " %" SCNd64 " %" SCNd64 "%n", &entry.is.pid, &entry.is.start_ticks,
		   &entry.is.start_stack, name, &entry.address, &entry.before, &entry.ours, &n) != 7 || line[n])
		return false;
	for (int i = 0; i < GO_N_RATES; i++) {
		if (strcmp(name, go_rate_name((enum go_rate_of)i)) != 0)
			continue;
		entry.which = (enum go_rate_of)i;
		*ret = entry;
		return entry.is.pid && entry.before == 0 && entry.ours > 0;
	}
	return false;
}

/* 0; 1: of another boot; -EBADMSG: not a file of ours; -errno. */
static int parse(struct go_switch *sw, char *text, size_t size)
{
	bool is_whole = size && text[size - 1] == '\n';
	char *save_at = NULL, *line = strtok_r(text, "\n", &save_at);

	if (!is_whole || !line || strcmp(line, first_line) != 0)
		return -EBADMSG;
	line = strtok_r(NULL, "\n", &save_at);
	if (!line)
		return -EBADMSG;
	if (strcmp(line, sw->boot_id) != 0)
		return 1;
	while ((line = strtok_r(NULL, "\n", &save_at))) {
		struct entry entry;

		if (!parse_line(line, &entry) || sw->entries.n >= MAX_ENTRIES)
			return -EBADMSG;
		if (vec_push(&sw->entries, entry) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int load(struct go_switch *sw)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	int r = fs_read(sw->directory, file_name, MAX_FILE, &text, &size);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	sw->has_file = true;
	return parse(sw, text, size);
}

static int read_boot_id(struct go_switch *sw)
{
	_cleanup_free_ char *text = NULL;
	int r = fs_read(sw->proc, "sys/kernel/random/boot_id", 128, &text, NULL);

	if (r < 0)
		return r;
	if (strlen(text) < BOOT_ID)
		return -EBADMSG;
	memcpy(sw->boot_id, text, BOOT_ID);
	return 0;
}

/* --- undoing -------------------------------------------------------------------------------------------------- */

static bool is_one_process(const struct go_write_process *a, const struct go_write_process *b)
{
	return a->pid == b->pid && a->start_ticks == b->start_ticks && a->start_stack == b->start_stack;
}

/* Returns whether it is to be forgotten. */
static bool take_undone(struct go_switch *sw, struct entry *entry, const struct go_write *write, const char *why)
{
	if (write->outcome == 0) {
		sw->stats.n_undone++;
		tell_written(sw, entry, entry->ours, entry->before, why);
		return true;
	}
	if (write->outcome == -ESRCH)
		return true;
	/* It was not written, or is undone already: after a death between the file and the process. */
	if (write->outcome == GO_WRITE_E_CHANGED && write->found == entry->before)
		return true;
	if (write->outcome == GO_WRITE_E_CHANGED) {
		sw->stats.n_changed++;
		tell_changed(sw, entry, write->found);
		return true;
	}
	sw->stats.n_failed++;
	tell_failed(sw, entry, entry->before, write->outcome);
	entry->state = ENTRY_STRANDED;
	return false;
}

/* All that is ours in the process of an entry, but only `which` unless that is GO_N_RATES. Entries that are done with go; the file is not written. */
static void undo_process(struct go_switch *sw, const struct go_write_process *is, enum go_rate_of which, const char *why)
{
	struct go_write_process process = *is;
	struct go_write writes[GO_WRITE_MAX];
	size_t at[GO_WRITE_MAX], n = 0;

	for (size_t i = 0; i < sw->entries.n && n < GO_WRITE_MAX; i++) {
		const struct entry *entry = &sw->entries.at[i];

		if (!is_in_file(entry) || !is_one_process(&entry->is, &process) || (which != GO_N_RATES && entry->which != which))
			continue;
		writes[n] = (struct go_write){ .address = entry->address, .expected = entry->ours, .value = entry->before };
		at[n++] = i;
	}
	if (!n)
		return;
	go_write(sw->proc, &process, writes, n, MOST_MSEC);
	/* From the end: what remove_at() moves is behind. */
	while (n-- > 0)
		if (take_undone(sw, &sw->entries.at[at[n]], &writes[n], why))
			remove_at(sw, at[n]);
}

static const struct entry *next_to_undo(const struct go_switch *sw, size_t from)
{
	for (size_t i = from; i < sw->entries.n; i++)
		if (is_in_file(&sw->entries.at[i]))
			return &sw->entries.at[i];
	return NULL;
}

/* Each process once. */
static void undo_all(struct go_switch *sw, const char *why)
{
	uint64_t until = clock_monotonic_nsec() + most_restore_nsec;
	VEC(struct go_write_process) processes = { 0 };
	const struct entry *entry;

	for (size_t from = 0; (entry = next_to_undo(sw, from)); from = (size_t)(entry - sw->entries.at) + 1) {
		bool is_known = false;

		for (size_t i = 0; i < processes.n && !is_known; i++)
			is_known = is_one_process(&processes.at[i], &entry->is);
		/* Without memory it is left to the next start. */
		if (!is_known && vec_push(&processes, entry->is) < 0)
			break;
	}
	for (size_t i = 0; i < processes.n && clock_monotonic_nsec() < until; i++)
		undo_process(sw, &processes.at[i], GO_N_RATES, why);
	vec_deinit(&processes);
	save_anyhow(sw);
	entry = next_to_undo(sw, 0);
	if (entry)
		log_print(LOG_WARNING, "Rates of Go's profilers that could not be undone are undone at the next start: process %u and perhaps others.",
				entry->is.pid);
}

/* --- setting -------------------------------------------------------------------------------------------------- */

/* Of one rate of a process that has an entry for it: whether that is settled. */
static bool is_settled(struct go_switch *sw, struct entry *entry, const struct go_rate *rate, int64_t wanted)
{
	if (entry->state != ENTRY_OURS)
		return true;
	if (rate->address == entry->address && rate->value != entry->ours) {
		sw->stats.n_changed++;
		tell_changed(sw, entry, rate->value);
		entry->state = ENTRY_LEFT;
		save_anyhow(sw);
		return true;
	}
	if (wanted < 0 || wanted == entry->ours)
		return true;
	/* A clock that is measured anew is not another wish. */
	return entry->which == GO_RATE_BLOCK && wanted && llabs(wanted - entry->ours) <= entry->ours / 256;
}

static void take_written(struct go_switch *sw, struct entry *entry, const struct go_write *write)
{
	if (write->outcome == 0) {
		sw->stats.n_written++;
		tell_written(sw, entry, entry->before, entry->ours, "the configuration asks for Go's own profiles");
		return;
	}
	/* The program was quicker: it is its own now. */
	if (write->outcome != GO_WRITE_E_CHANGED && write->outcome != -ESRCH) {
		sw->stats.n_failed++;
		tell_failed(sw, entry, entry->ours, write->outcome);
	}
	entry->state = write->outcome == GO_WRITE_E_NOT_KNOWN ? ENTRY_STRANDED : ENTRY_LEFT;
}

/* The last n entries are new. */
static void write_new(struct go_switch *sw, size_t n)
{
	struct entry *entries = &sw->entries.at[sw->entries.n - n];
	struct go_write writes[GO_N_RATES];
	int r;

	for (size_t i = 0; i < n; i++)
		writes[i] = (struct go_write){ .address = entries[i].address, .expected = entries[i].before, .value = entries[i].ours };
	r = save(sw);
	if (r >= 0)
		go_write(sw->proc, &entries[0].is, writes, n, MOST_MSEC);
	for (size_t i = 0; i < n; i++) {
		if (r < 0)
			writes[i].outcome = r;
		take_written(sw, &entries[i], &writes[i]);
	}
	if (r >= 0)
		save_anyhow(sw);
}

/* Whether it is to be written: `is_undone` when it was ours a moment ago, under another wish. */
static bool is_to_be_written(const struct go_switch *sw, const struct process_id *process, enum go_rate_of which, const struct go_rate *rate,
		int64_t wanted, bool is_undone)
{
	if (clock_nsec(CLOCK_BOOTTIME) < process->start_nsec + least_age_nsec)
		return false;
	return wanted > 0 && (!rate->value || is_undone) && !find(sw, process, which) && sw->entries.n < MAX_ENTRIES;
}

void go_switch_set(struct go_switch *sw, const struct process_id *process, const struct go_rates *rates, const struct go_switch_wish *wish)
{
	bool is_undone[GO_N_RATES] = { false };
	struct go_write_process is;
	size_t n = 0;

	for (int i = 0; i < GO_N_RATES; i++) {
		struct entry *entry = find(sw, process, (enum go_rate_of)i);

		if (!entry || is_settled(sw, entry, &rates->of[i], wish->values[i]))
			continue;
		undo_process(sw, &entry->is, (enum go_rate_of)i, "the configuration says otherwise now");
		save_anyhow(sw);
		is_undone[i] = true;
	}
	for (int i = 0; i < GO_N_RATES; i++) {
		const struct go_rate *rate = &rates->of[i];
		struct entry entry = { .process = *process, .which = (enum go_rate_of)i, .state = ENTRY_OURS, .ours = wish->values[i],
			.since_nsec = clock_monotonic_nsec() };

		if (!is_to_be_written(sw, process, entry.which, rate, entry.ours, is_undone[i]) ||
		    go_write_identify(sw->proc, process->pid, process->start_nsec / NSEC_PER_TICK, &is))
			continue;
		entry.is = is;
		entry.address = rate->size == sizeof(int64_t) ? rate->address : 0;
		if (vec_push(&sw->entries, entry) < 0)
			break;
		n++;
	}
	if (n)
		write_new(sw, n);
}

void go_switch_release(struct go_switch *sw, const struct process_id *process)
{
	const struct entry *ours = NULL;

	for (size_t i = 0; i < sw->entries.n && !ours; i++)
		if (is_process(&sw->entries.at[i], process) && sw->entries.at[i].state == ENTRY_OURS)
			ours = &sw->entries.at[i];
	if (ours) {
		undo_process(sw, &ours->is, GO_N_RATES, "the process is no target any more");
		save_anyhow(sw);
	}
	for (size_t i = sw->entries.n; i-- > 0;)
		if (is_process(&sw->entries.at[i], process) && sw->entries.at[i].state == ENTRY_LEFT)
			remove_at(sw, i);
}

void go_switch_restore_all(struct go_switch *sw)
{
	if (next_to_undo(sw, 0))
		undo_all(sw, "tsprofd ends");
}

/* --- life ----------------------------------------------------------------------------------------------------- */

void go_switch_recover(struct go_switch *sw)
{
	int r;

	if (sw->directory < 0)
		return;
	r = load(sw);
	if (r < 0) {
		log_print(LOG_WARNING, "Cannot read %s in the runtime directory: %s. If a tsprofd before this one was killed, rates that it set in Go "
				"programs stay until these end.", file_name, strerror(-r));
		sw->entries.n = 0;
	}
	if (sw->entries.n)
		undo_all(sw, "one before this tsprofd was killed and had set it");
	else
		save_anyhow(sw);
}

bool go_switch_is_ours(const struct go_switch *sw, const struct process_id *process, enum go_rate_of which, uint64_t *ret_since_nsec)
{
	const struct entry *entry = find(sw, process, which);

	if (!entry || entry->state != ENTRY_OURS)
		return false;
	*ret_since_nsec = entry->since_nsec;
	return true;
}

struct go_switch_stats go_switch_stats(const struct go_switch *sw)
{
	struct go_switch_stats stats = sw->stats;

	for (size_t i = 0; i < sw->entries.n; i++)
		stats.n_now += is_in_file(&sw->entries.at[i]);
	return stats;
}

int go_switch_new(int proc, int directory, struct go_switch **ret)
{
	_cleanup_(go_switch_free_p) struct go_switch *sw = calloc(1, sizeof(*sw));

	if (!sw)
		return -ENOMEM;
	sw->proc = proc;
	sw->directory = directory;
	/* It is known when the first process is a second old. */
	go_clock_begin();
	/* What cannot be told from another boot's is not written. */
	if (read_boot_id(sw) < 0)
		sw->directory = -1;
	*ret = TAKE(sw);
	return 0;
}

struct go_switch *go_switch_free(struct go_switch *sw)
{
	if (!sw)
		return NULL;
	vec_deinit(&sw->entries);
	free(sw);
	return NULL;
}
