/* SPDX-License-Identifier: Apache-2.0 */
#include "proc_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "cleanup.h"
#include "clock.h"
#include "inspector.h"
#include "programs.h"
#include "vec.h"

enum {
	/* 64 processes take about 10 ms to read; 2,000 of them are known after 1 s, and samples are never held up. */
	BATCH = 64,
};
/* While life is lost again and again, how often all processes are counted anew: 2,000 take 40 ms. */
static const uint64_t interval_nsec = 10 * NSEC_PER_SEC;

static void close_directory(struct proc_scan *scan)
{
	if (scan->directory)
		closedir(scan->directory);
	scan->directory = NULL;
}

void proc_scan_deinit(struct proc_scan *scan)
{
	close_directory(scan);
}

void proc_scan_want(struct proc_scan *scan)
{
	scan->is_wanted = true;
}

bool proc_scan_is_due(const struct proc_scan *scan, uint64_t now_nsec)
{
	return scan->is_wanted && !scan->directory && scan->begin_nsec + interval_nsec < now_nsec;
}

/* Processes that were there before the scan and were not met by it have gone, and nobody told. */
static void end_unmet(struct proc_scan *scan)
{
	VEC(struct program *) unmet = { 0 };
	struct program *program;

	for (size_t cursor = 0; (program = programs_next(scan->programs, &cursor));)
		if (program->is_alive && program->scan != scan->number && program->begin_nsec < scan->begin_nsec)
			/* For want of memory it stays for the next scan. */
			(void)vec_push(&unmet, program);
	for (size_t i = 0; i < unmet.n; i++)
		if (!inspector_is_there(scan->inspector, unmet.at[i]))
			programs_end_process(scan->programs, unmet.at[i], clock_monotonic_nsec());
	vec_deinit(&unmet);
}

static int begin(struct proc_scan *scan)
{
	int fd = openat(scan->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	scan->directory = fdopendir(fd);
	if (!scan->directory) {
		close_fd(fd);
		return -ENOMEM;
	}
	scan->is_wanted = false;
	scan->number++;
	scan->begin_nsec = clock_monotonic_nsec();
	return 0;
}

/* False at the end. */
static bool look_at_next(struct proc_scan *scan)
{
	struct dirent *entry = readdir(scan->directory);
	struct program *program;
	char *end;
	unsigned long pid;

	if (!entry)
		return false;
	pid = strtoul(entry->d_name, &end, 10);
	if (*end || !pid || pid > UINT32_MAX)
		return true;
	if (inspector_read_process(scan->inspector, pid, NULL, &program) == 0) {
		program->scan = scan->number;
		inspector_look(scan->inspector, program);
	}
	return true;
}

bool proc_scan_step(struct proc_scan *scan)
{
	if (!scan->directory && begin(scan) < 0)
		return false;
	for (int i = 0; i < BATCH; i++)
		if (!look_at_next(scan)) {
			close_directory(scan);
			end_unmet(scan);
			return false;
		}
	return true;
}
