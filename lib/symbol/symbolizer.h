/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names the code at offsets of one source: an ELF file (with its separate debug file and dwz supplement), the kernel, the
 * vdso, or a perf map. It is an ordered list of resolvers: Go's function table, DWARF, ELF symbols.
 *
 * It opens no path: descriptors are given. The dialogue is
 *
 *	symbolizer_open(SYMBOLIZER_ELF, fd, &s);
 *	symbolizer_wants(s, &wants);           wants.debug_file: open candidates, symbolizer_add_debug_file()
 *	symbolizer_wants(s, &wants);           wants.supplement: open candidates, symbolizer_add_supplement()
 *	symbolizer_resolve(s, offsets, n, &names);
 *
 * Everything read is hostile. Memory and time are bounded by the limits below, and in the end by those of the process.
 */
#include <stddef.h>
#include <stdint.h>

#include "debug_file.h"
#include "names.h"

struct elf_image;
struct symbolizer;

enum symbolizer_kind {
	SYMBOLIZER_ELF,                      /* offsets are file offsets */
	SYMBOLIZER_KERNEL,                   /* /proc/kallsyms: offsets are addresses */
	SYMBOLIZER_VDSO,                     /* this process's own: offsets are from its start; no descriptor */
	SYMBOLIZER_PERF_MAP,                 /* /tmp/perf-PID.map: offsets are addresses */
};

enum {
	SYMBOLIZER_E_NOT_ELF = 1,            /* as ELF_IMAGE_E_* */
	SYMBOLIZER_E_UNSUPPORTED = 2,
	SYMBOLIZER_E_CORRUPT = 3,
	SYMBOLIZER_E_MISMATCH = 4,           /* the debug file or supplement belongs to another executable */
	SYMBOLIZER_E_USELESS = 5,            /* it belongs, but has neither DWARF nor symbols; or none was wanted */
	SYMBOLIZER_E_HIDDEN = 6,             /* kernel: all addresses are 0, CAP_SYSLOG is missing */
};

/* Descriptors are borrowed and may be closed afterwards. 0, SYMBOLIZER_E_*, -errno. */
int symbolizer_open(enum symbolizer_kind kind, int fd, struct symbolizer **ret);
struct symbolizer *symbolizer_free(struct symbolizer *symbolizer);

/* What else would help; all false for other sources than ELF files. Not asking for it is fine: names may lack lines. */
void symbolizer_wants(const struct symbolizer *symbolizer, struct debug_file_wants *ret);

/*
 * Gives a candidate. Accepted (0) only if its build id is that of the executable or, when one of them has none, the CRC
 * of .gnu_debuglink agrees. Otherwise SYMBOLIZER_E_* or -errno, nothing is changed, and the next candidate may be given.
 */
int symbolizer_add_debug_file(struct symbolizer *symbolizer, int fd);
/* The same for the dwz supplement, by the build id that .gnu_debugaltlink names. */
int symbolizer_add_supplement(struct symbolizer *symbolizer, int fd);

/* The file and its separate debug file as they were opened, for other questions than names. NULL: none. Live as long as the symbolizer. */
const struct elf_image *symbolizer_image(const struct symbolizer *symbolizer);
const struct elf_image *symbolizer_debug_image(const struct symbolizer *symbolizer);

/*
 * In an offset: it is the address (p_vaddr based) of data, a variable of the program. ELF files only. Of such a place the
 * one frame is the variable, and its address is where that begins; without a name it is what was asked. (Not a file
 * offset, because .bss has none; offsets of files and addresses in a program are below 2^63.)
 */
#define SYMBOLIZER_DATA (UINT64_C(1) << 63)

/*
 * Names n offsets, in order: each has its location, named or not. 0 or -errno.
 * An offset outside of every segment has address = offset and no frames.
 */
int symbolizer_resolve(struct symbolizer *symbolizer, const uint64_t *offsets, size_t n, struct names **ret);

/* All limits of the rooms of this floor that bound hostile input; what is beyond is left out, the rest is named. */
#define SYMBOLIZER_MAX_SYMBOLS (UINT32_C(8) << 20)        /* of one table: chromium with debug symbols has 2 M; 24 bytes each in memory */
#define SYMBOLIZER_MAX_UNITS (UINT32_C(1) << 19)          /* compilation units: chromium has 60 k */
#define SYMBOLIZER_MAX_RANGES (UINT32_C(8) << 20)         /* address ranges of all units, or of the functions of one */
#define SYMBOLIZER_MAX_DIE_DEPTH 256U                     /* nested blocks; recursion in our own stack */
#define SYMBOLIZER_MAX_UNIT_DIES (UINT32_C(16) << 20)     /* visited for one index: LTO puts a program in one unit */
#define SYMBOLIZER_MAX_INFLATED (UINT64_C(2) << 30)       /* compressed sections of one file, unpacked by libelf */
#define SYMBOLIZER_MAX_INFLATE_RATIO 64U                  /* debug sections pack 3:1, string sections of zeros do not occur */
#define SYMBOLIZER_MAX_KALLSYMS (UINT64_C(256) << 20)     /* bytes of text: 12 MiB on Debian, 40 MiB with many modules */
#define SYMBOLIZER_MAX_PERF_MAP (UINT64_C(64) << 20)      /* bytes: Node adds 1 MB an hour; the rest is left out */
#define SYMBOLIZER_MAX_PERF_MAP_ENTRIES (UINT32_C(1) << 20)
#define SYMBOLIZER_MAX_PERF_MAP_LINE 4096U                /* longer lines are left out */
