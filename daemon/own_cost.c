/* SPDX-License-Identifier: Apache-2.0 */
#include "own_cost.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cleanup.h"
#include "clock.h"
#include "fs.h"

/* Of lists and figures of /proc: a few children, a few lines. */
static const size_t max_file_bytes = 4096;

typedef void (*child_fn)(pid_t pid, void *userdata);

/*
 * Children are those of threads (CONFIG_PROC_CHILDREN, which comes with CONFIG_CHECKPOINT_RESTORE: Linux 4.2, commit
 * 2e13ba54a268); a thread that ends leaves them to another one.
 */
static void children_of_thread(const char *thread, child_fn fn, void *userdata)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *at, *end;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", thread);
	if (fs_read(AT_FDCWD, path, max_file_bytes, &text, NULL) < 0)
		return;
	for (at = text;; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			return;
		fn((pid_t)pid, userdata);
	}
}

static void for_each_child(child_fn fn, void *userdata)
{
	struct dirent *entry;
	DIR *directory = opendir("/proc/self/task");

	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			children_of_thread(entry->d_name, fn, userdata);
	if (directory)
		closedir(directory);
}

/* CPU time */

static void add_cpu(pid_t pid, void *userdata)
{
	clockid_t clock;

	/* Any process's CPU clock may be read, clock_getcpuclockid(3). */
	if (clock_getcpuclockid(pid, &clock) == 0)
		*(uint64_t *)userdata += clock_nsec(clock);
}

static uint64_t nsec_of(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * NSEC_PER_SEC + (uint64_t)time->tv_usec * NSEC_PER_USEC;
}

static uint64_t helpers_cpu(void)
{
	struct rusage dead;
	uint64_t nsec = 0;

	/* First those that live: who ends in between is missing for once, but not counted twice. */
	for_each_child(add_cpu, &nsec);
	if (getrusage(RUSAGE_CHILDREN, &dead) == 0)
		nsec += nsec_of(&dead.ru_utime) + nsec_of(&dead.ru_stime);
	return nsec;
}

void own_cost_add_bpf(struct own_cost *cost, uint64_t nsec)
{
	cost->bpf_nsec += nsec;
}

struct own_cost_cpu own_cost_cpu(struct own_cost *cost)
{
	/* Of the dead the kernel tells microseconds, of the living nanoseconds. */
	cost->helpers_nsec = MAX(cost->helpers_nsec, helpers_cpu());
	return (struct own_cost_cpu){
		.core_nsec = clock_nsec(CLOCK_PROCESS_CPUTIME_ID),
		.helpers_nsec = cost->helpers_nsec,
		.bpf_nsec = cost->bpf_nsec,
	};
}

/* Memory */

static uint64_t resident(const char *path)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long pages = 0, n_resident = 0;

	if (fs_read(AT_FDCWD, path, max_file_bytes, &text, NULL) < 0)
		return 0;
	if (sscanf(text, "%llu %llu", &pages, &n_resident) != 2)
		return 0;
	return n_resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void add_memory(pid_t pid, void *userdata)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	*(uint64_t *)userdata += resident(path);
}

struct own_cost_memory own_cost_memory(void)
{
	struct own_cost_memory memory = { .core_bytes = resident("/proc/self/statm") };

	for_each_child(add_memory, &memory.helpers_bytes);
	return memory;
}
