/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Goes through /proc a few processes at a time: at the start for those that were there before us, and again when events
 * of the life of processes were lost, for those that came or went unheard.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

struct inspector;
struct programs;

/* Embedded and filled in by its owner: the first three. */
struct proc_scan {
	int proc;
	struct programs *programs;
	struct inspector *inspector;
	DIR *directory;                      /* NULL between two scans */
	uint32_t number;
	uint64_t begin_nsec;
	bool is_wanted;
};

void proc_scan_deinit(struct proc_scan *scan);

/* Another one is needed; losses may come again and again, so it is not begun at once. */
void proc_scan_want(struct proc_scan *scan);
/* Whether a wanted one should begin now. */
bool proc_scan_is_due(const struct proc_scan *scan, uint64_t now_nsec);

/* Looks at the next processes, from the first one on if no scan is under way. False when it is done, or can't be. */
bool proc_scan_step(struct proc_scan *scan);
