/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names and lines of code made at run time, from the binary file that its runtime writes for `perf inject --jit`
 * (linux/tools/perf/Documentation/jitdump-specification.txt, version 1): node --perf-prof, CPython 3.13 -X perf_jit,
 * LLVM's PerfJITEventListener, libperf-jvmti.so, .NET.
 *
 * Written while we read: a last record that is cut off is not there yet. Code memory is reused, and code moves: of two
 * records that speak of one address, the later one tells. The machine code itself is skipped.
 */
#include <stdbool.h>

#include "resolve.h"

/* Whether it begins like one of this machine. */
bool resolve_jitdump_is_in(int fd);
/* Reads the descriptor, of a file that is too large its beginning. RESOLVE_E_NONE when it has no code. */
int resolve_jitdump_open(int fd, struct resolver *ret);

/* What is beyond is left out; the rest is named. */
#define RESOLVE_JITDUMP_MAX_SIZE (UINT64_C(256) << 20)    /* bytes: node's dump of a large server has some 50 MiB */
#define RESOLVE_JITDUMP_MAX_RECORDS (UINT32_C(1) << 20)   /* of code, moves included */
#define RESOLVE_JITDUMP_MAX_ROWS (UINT32_C(2) << 20)      /* of lines */
#define RESOLVE_JITDUMP_MAX_TEXT (UINT64_C(64) << 20)     /* bytes of all names */
#define RESOLVE_JITDUMP_MAX_NAME 4096U                    /* longer ones are cut; files with longer paths are left out */
