/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Go's function table (pclntab): which function, file and line an address of Go code belongs to, and what was inlined
 * there. The Go runtime needs it at run time, so it is in every Go program, stripped or not.
 *
 * Go 1.18 to 1.27 on amd64. Sources of the format: runtime/symtab.go (pcHeader, moduledata, funcdata, pcvalue),
 * runtime/symtabinl.go, runtime/runtime2.go (_func) of Go 1.18.10, 1.20.14, 1.22.12, 1.26.8 and 1.27.1;
 * cmd/link/internal/ld/pcln.go and symtab.go write it. Two layouts are told apart by the magic number:
 *
 *	0xfffffff0  1.18, 1.19    _func of 40 bytes, inlined calls of 20 bytes, no start lines, names hold "[...]" already
 *	0xfffffff1  1.20 and up   _func of 44 bytes, inlined calls of 16 bytes
 *
 * Older ones (1.2, 1.16) are refused: their programs are named by their ELF symbols and DWARF.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "elf_image.h"
#include "reader.h"

struct gopclntab;

enum {
	GOPCLNTAB_E_NONE = 1,                /* no Go program, or its table could not be tied to its code */
	GOPCLNTAB_E_UNSUPPORTED = 2,         /* a table of another version or processor */
	GOPCLNTAB_E_CORRUPT = 3,
	GOPCLNTAB_E_UNKNOWN = 4,             /* lookup: not Go code */
};

/* One function that the address is in: the physical one, or one inlined into it. Strings are borrowed from the table. */
struct gopclntab_frame {
	const char *name;                    /* as the linker knows it, with the type arguments of generics */
	const char *file;                    /* that the line is in; NULL: unknown */
	const char *function_file;           /* that the function is in: seldom another one, see gopclntab.c */
	uint32_t line, start_line;           /* 0: unknown */
	bool wrapper;                        /* a generated method or the like: the runtime hides it from tracebacks */
};

/* All of a table as bytes; they must outlive it. */
struct gopclntab_source {
	struct reader table;                 /* from its magic number on; what follows it is ignored */
	uint64_t text;                       /* address of runtime.text, which all entries are relative to */
	struct reader funcdata;              /* go:func.*, where inline trees lie; empty or failed: nothing is known to be inlined */
};

/* 0, GOPCLNTAB_E_UNSUPPORTED, GOPCLNTAB_E_CORRUPT, -ENOMEM. */
int gopclntab_new(const struct gopclntab_source *source, struct gopclntab **ret);
/* Finds the table, its text and its inline trees in a file, which must outlive it; the same results and GOPCLNTAB_E_NONE. */
int gopclntab_open(const struct elf_image *image, struct gopclntab **ret);
struct gopclntab *gopclntab_free(struct gopclntab *tab);

/* The code that it speaks of, [start, end), as addresses of the file. C code of cgo programs is outside. */
void gopclntab_range(const struct gopclntab *tab, uint64_t *ret_start, uint64_t *ret_end);
/* Whether inline trees were found. Without, an inlined function's code counts as its caller's, with the callee's line. */
bool gopclntab_has_inline(const struct gopclntab *tab);

/*
 * The frames at an address (of the instruction itself: for a return address ask about the byte before), innermost
 * first. 0 with at least one frame; GOPCLNTAB_E_UNKNOWN outside of the range; GOPCLNTAB_E_CORRUPT when what is there
 * makes no sense. Frames beyond `max` are left out, from the middle: the last one is always the physical function.
 */
int gopclntab_lookup(const struct gopclntab *tab, uint64_t address, struct gopclntab_frame *frames, size_t max, size_t *ret_n);

/* A function as it lies in the program; what was inlined into it is in its code. */
struct gopclntab_function {
	const char *name;                    /* NULL: unknown, or longer than GOPCLNTAB_MAX_NAME */
	uint64_t start, end;                 /* addresses of the file; the end is the next one's start */
	bool is_top;                         /* the outermost of a stack: the runtime's traceback ends in it (funcFlag TOPFRAME) */
	bool writes_sp;                      /* assembly that sets rsp by hand: its depths do not tell where the stack is (SPWRITE) */
	uint32_t depths;                     /* for gopclntab_walk_depths() */
};

/* Numbers of functions, in the order of their addresses. */
size_t gopclntab_n_functions(const struct gopclntab *tab);
/* 0, or GOPCLNTAB_E_CORRUPT when the entry makes no sense: others may. */
int gopclntab_function(const struct gopclntab *tab, size_t i, struct gopclntab_function *ret);

/*
 * The function that an address is in, and how far rsp is there below what it was at the function's entry. 0;
 * GOPCLNTAB_E_UNKNOWN outside of the range, or where the table does not say; GOPCLNTAB_E_CORRUPT.
 */
int gopclntab_depth(const struct gopclntab *tab, uint64_t address, struct gopclntab_function *ret, int32_t *ret_depth);

/*
 * How far rsp is below what it was at a function's entry, for each of its instructions from the start on (pcsp,
 * runtime/symtab.go funcspdelta): calls `add` for each stretch of code, and stops when it returns false. What is behind the
 * last stretch is padding. No stretch at all: code that the Go linker knows nothing of (C that it linked in).
 */
void gopclntab_walk_depths(const struct gopclntab *tab, const struct gopclntab_function *function,
	bool (*add)(void *userdata, uint64_t start, uint64_t end, int32_t depth), void *userdata);

/*
 * A function's name as the runtime prints it: type arguments as "[...]" (funcNameForPrint of runtime/symtab.go).
 * Returns `name` itself when there are none, else `buffer`, cut to its size.
 */
const char *gopclntab_print_name(const char *name, char *buffer, size_t size);

#define GOPCLNTAB_MAX_SIZE (UINT64_C(128) << 20)   /* of a table: kubelet's has 30 MiB */
#define GOPCLNTAB_MAX_SCAN (UINT64_C(128) << 20)   /* bytes searched where no section tells; each one counts as resident */
#define GOPCLNTAB_MAX_NAME 4096U                   /* where all functions are asked: a hostile table may have them share one name of its size */
#define GOPCLNTAB_MAX_STEPS (UINT32_C(8) << 20)    /* of all pc-value tables for one lookup; the largest functions have 100 k */
