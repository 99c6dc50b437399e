/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The nouns that every floor speaks. The words are those of profile.proto. */
#include <stdbool.h>
#include <stdint.h>

/*
 * One program running in one process. A pid alone is reused, and exec replaces the program under a living pid.
 * Compared and hashed as bytes: no padding.
 */
struct process_id {
	uint32_t pid;          /* of the thread group, in the daemon's pid namespace */
	uint32_t exec_id;      /* task_struct.self_exec_id, low bits: counts the execs of a process and its ancestors */
	uint64_t start_nsec;   /* task_struct.start_boottime of the group leader, in whole clock ticks as /proc/PID/stat has it */
};

/* Linux tells process start times to user space in ticks of 1/100 s (USER_HZ on every architecture we know). */
#define NSEC_PER_TICK UINT64_C(10000000)

/* The build id of an ELF file: bytes of the GNU note; size 0 when there is none. */
struct build_id {
	uint8_t size; /* at most 20: what the kernel passes on, include/linux/buildid.h BUILD_ID_SIZE_MAX */
	uint8_t bytes[20];
};

/* A named place in source, as symbolization found it. Absent strings are NULL, absent numbers 0. */
struct frame {
	const char *name;        /* for people: demangled */
	const char *system_name; /* as the linker knows it; NULL when it is the same */
	const char *file;
	uint32_t line;
	uint32_t start_line;     /* where the function begins */
};
