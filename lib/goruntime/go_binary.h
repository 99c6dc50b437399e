/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the file of a Go program says of its runtime: the version, the functions, and where the runtime's variables lie.
 * Without symbols these are found in the code of functions that use them: Go's own function table, which every program has,
 * tells where runtime.forEachG is, and its second operand in the data segment is runtime.allgs (go_binary.c has the list).
 *
 * Foreign input. Addresses are those of the file; in a position independent program the kernel moves all by one distance.
 */
#include <stdbool.h>
#include <stdint.h>

#include "go_layout.h"

struct elf_image;
struct gopclntab;
struct go_binary;

enum {
	GO_BINARY_E_NONE = 1,               /* no Go program, or its function table is not understood (gopclntab.h) */
	GO_BINARY_E_VERSION = 2,            /* one before 1.18, or of no version that it tells */
};

enum go_variable {
	GO_ALLGS,                            /* []*g */
	GO_ALLM,                             /* *m */
	GO_GOMAXPROCS,                       /* int32 */
	GO_FIRST_MODULE,                     /* moduledata */
	GO_WAIT_REASONS,                     /* [...]string */
	GO_MEMORY_BUCKETS, GO_BLOCK_BUCKETS, GO_MUTEX_BUCKETS, /* *bucket */
	GO_MEMORY_CYCLE,                     /* uint32; of 1.18: mProf.cycle, which has no flag bit */
	GO_MEMORY_RATE,                      /* int: MemProfileRate */
	GO_BLOCK_RATE, GO_MUTEX_RATE,        /* uint64: blockprofilerate, mutexprofilerate */
	GO_STATS,                            /* mstats: memstats */
	GO_GC,                               /* gcControllerState */
	GO_SEMAPHORES,                       /* semTable: semtable */
	GO_TICKS,                            /* ticksType: ticks */
	GO_N_VARIABLES,
};

struct go_binary_options {
	bool without_symbols;                /* as if there were none: for tests */
};

/* `image` must outlive it. 0, GO_BINARY_E_*, -errno. */
int go_binary_open(const struct elf_image *image, const struct go_binary_options *options, struct go_binary **ret);
struct go_binary *go_binary_free(struct go_binary *program);

const char *go_binary_version_text(const struct go_binary *program); /* "go1.26.8" */
struct go_version go_binary_version(const struct go_binary *program);
const struct gopclntab *go_binary_functions(const struct go_binary *program);

/* False: the program does not have it, or it was not found. */
bool go_binary_variable(const struct go_binary *program, enum go_variable which, uint64_t *ret_address);
/* As the runtime calls it: "runtime.allgs". Static. */
const char *go_variable_name(enum go_variable which);

/*
 * Whether the function is there that answers for heap profiles. Without it the linker sets runtime.disableMemoryProfiling, and the runtime
 * begins with a MemProfileRate of 0 (cmd/link/internal/ld/lib.go linksetup(); programs that import runtime/pprof have it).
 */
bool go_binary_has_memory_profile(const struct go_binary *program);

/*
 * Where each thread has the address of the g that it runs, counted from its thread pointer (x86-64: FS); false: not found. It is
 * -8, unless C libraries linked into the program have such variables of their own.
 */
bool go_binary_thread_g(const struct go_binary *program, int32_t *ret_offset);

/* The writable data, [start, end), in which all variables lie. */
void go_binary_data(const struct go_binary *program, uint64_t *ret_start, uint64_t *ret_end);
