/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The symbolizer: a process of our own without any privilege that parses what foreigners wrote (executables, debug
 * files, perf maps) and is given nothing but read-only descriptors. This is its owner's side; it may be killed at any
 * time, which costs the answer in flight and nothing else.
 *
 * Used by one thread at a time: each room that has questions has one of its own (press: names; tables: unwind tables).
 */
#include <stddef.h>
#include <stdint.h>

#include "location.h"

struct names;
struct symbolizer_process;

enum symbol_source_kind {
	SYMBOL_SOURCE_ELF,                   /* offsets are file offsets */
	SYMBOL_SOURCE_KERNEL,                /* /proc/kallsyms: offsets are addresses */
	SYMBOL_SOURCE_VDSO,                  /* offsets are from the start of the vdso; no descriptor */
	SYMBOL_SOURCE_PERF_MAP,              /* /tmp/perf-PID.map: offsets are addresses */
};

struct symbol_source {
	enum symbol_source_kind kind;
	int fd;                              /* borrowed; -1 for the vdso; the kernel's may be -1: opened here */
	const char *path;                    /* of the file as its process knows it: where debug links start */
	struct build_id build_id;            /* size 0: unknown */
};

struct symbolizer_options {
	const char *const *debug_directories; /* NULL-terminated; outlives the process */
	/* 0: default 2 s, and for each 50 MiB of file and debug file (names) or 256 MiB (table) 1 s more. */
	uint32_t cpu_seconds_per_file;
	const char *purpose;                  /* a word that ps(1) shows, to tell several of them apart; NULL: none */
};

struct symbolizer_stats {
	uint64_t requests, locations, named; /* named: locations with at least one frame */
	uint64_t starts, deaths, timeouts;
	uint64_t files_refused;              /* asked about a file that an earlier answer called hopeless */
	uint64_t cpu_nsec, memory_bytes;     /* of the process, now */
};

/* Starts nothing yet: the process is started by the first question, and again after a death. */
int symbolizer_process_new(const struct symbolizer_options *options, struct symbolizer_process **ret);
struct symbolizer_process *symbolizer_process_free(struct symbolizer_process *process);

/*
 * Names n distinct offsets of one source. Blocks, at most as long as the limits allow.
 * 0 with *ret set; SYMBOLIZER_E_UNAVAILABLE when no answer is to be had (not an ELF file, not the one with that build
 * id, it hung, the process died of it: remembered for a while by device, inode, size and time of change, not by build
 * id, which a hostile file may borrow from libc); -errno when the machine failed.
 */
int symbolizer_process_resolve(struct symbolizer_process *process, const struct symbol_source *source,
		const uint64_t *offsets, size_t n, struct names **ret);
enum { SYMBOLIZER_E_UNAVAILABLE = 1 };

/*
 * The unwind table of an ELF file or of the vdso. Blocks likewise. 0 with bytes to free(3) that unwind_image_open()
 * accepts; SYMBOLIZER_E_UNAVAILABLE, remembered likewise; -errno. The file is not kept open in there.
 */
int symbolizer_process_table(struct symbolizer_process *process, const struct symbol_source *source,
		void **ret, size_t *ret_size);

/* No question is expected for a while: ends the process, which gives all its memory back. The next question starts one. */
void symbolizer_process_rest(struct symbolizer_process *process);

/* By any thread: a question in flight fails soon (-ECANCELED), and so does every later one. For who must not wait. */
void symbolizer_process_cancel(struct symbolizer_process *process);

/* May be asked by another thread. */
struct symbolizer_stats symbolizer_process_stats(const struct symbolizer_process *process);

/* What main() is called as when it is to be the symbolizer: argv[0]. */
#define SYMBOLIZER_PROCESS_NAME "tsprofd-symbolizer"

/* The life of the symbolizer itself: main() goes here when started as "tsprofd-symbolizer"; descriptor 3 is its socket. */
int symbolizer_process_main(void);
