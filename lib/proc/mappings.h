/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * /proc/PID/maps as data: the mappings that can hold code, or a program's variables. Paths come from hostile processes and may hold any byte but 0.
 * Format: Documentation/filesystems/proc.rst; fs/proc/task_mmu.c show_map_vma().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mapping_kind {
	MAPPING_FILE,
	MAPPING_MEMFD,                       /* a program or a JIT's memory: only the one who asks can tell */
	MAPPING_VDSO,
	MAPPING_ANONYMOUS,
	MAPPING_OTHER,                       /* the kernel's own: [vsyscall], [uprobes]; holds no stack */
};

struct mapping {
	uint64_t start, end;                 /* [start, end) */
	uint64_t file_offset;
	uint64_t device, inode;              /* as makedev(3) and stat(2) have them; 0 without a file */
	enum mapping_kind kind;
	bool deleted;                        /* the path does not lead to this file any more */
	const char *path;                    /* without " (deleted)"; "" when there is none; valid during the call */
};

/*
 * What a name of a mapping says, as maps and the perf subsystem give it (the latter writes "//anon").
 * Cuts " (deleted)" off `path`.
 */
enum mapping_kind mapping_classify(char *path, bool *ret_deleted);

/* Return negative to stop. */
typedef int (*mappings_fn)(const struct mapping *mapping, void *userdata);

/*
 * Calls fn for each executable mapping in a text of whole lines; a last line without its end and lines that make no
 * sense are passed over. 0, or what fn returned. `text` is changed.
 */
int mappings_parse(char *text, size_t size, mappings_fn fn, void *userdata);

/* Bounds on one file: a process may have more, and is not worth more. */
enum { MAPPINGS_MAX_BYTES = 32 << 20, MAPPINGS_MAX = 65536 };

/* The same with /proc/PID/maps. 0; PROCESS_E_GONE; MAPPINGS_E_TRUNCATED when a bound was met; -errno, or what fn returned. */
int mappings_read(int proc, uint32_t pid, mappings_fn fn, void *userdata);
enum { MAPPINGS_E_TRUNCATED = 2 };

/* The same with those of one sort. */
enum mappings_which {
	MAPPINGS_EXECUTABLE,
	MAPPINGS_WRITABLE,                   /* readable, writable, private: "rw-p" */
};
int mappings_read_which(int proc, uint32_t pid, enum mappings_which which, mappings_fn fn, void *userdata);
