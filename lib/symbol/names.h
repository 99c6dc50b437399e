/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the code at some offsets of one file is called: the answer of a symbolizer, as flat tables that travel between
 * processes and stay in the cache of the press.
 */
#include <stddef.h>
#include <stdint.h>

#include "location.h"
#include "strtab.h"
#include "vec.h"

/* A loadable segment of the file: what turns a file offset into the address that the file itself speaks of. */
struct names_segment {
	uint64_t file_offset, size;          /* bytes of the file */
	uint64_t address;                    /* p_vaddr */
};

/* Strings are numbers of `strings`, 0 for absent. */
struct names_frame {
	uint32_t name;                       /* demangled */
	uint32_t system_name;                /* as the linker knows it; equal to name when it is the same */
	uint32_t file;
	uint32_t line, start_line;
};

/* What a language says of showing a place: both are so that a stack reads as in its own tracebacks. */
enum {
	NAMES_HIDDEN = 1,                    /* all of its frames are generated code that is left out: Go's wrappers */
	NAMES_SHOWS_CALLER = 2,              /* what called it is not left out, hidden or not: Go's panics */
	NAMES_FLAGS = NAMES_HIDDEN | NAMES_SHOWS_CALLER,
};

/* The answer for one asked offset: frames[first_frame ...), innermost first; n_frames 0: nothing has a name there. */
struct names_location {
	uint64_t offset;                     /* what was asked */
	uint64_t address;                    /* the same as an address of the file (p_vaddr based); kernel, perf map: equal; SYMBOLIZER_DATA: of the variable */
	uint32_t first_frame;
	uint32_t n_frames;
	uint32_t flags;                      /* NAMES_* */
};

struct names {
	VEC(struct names_location) locations; /* in the order asked */
	VEC(struct names_frame) frames;
	VEC(struct names_segment) segments;   /* executable ones; none for the kernel, perf maps */
	uint32_t place_flags;                /* NAMES_* of the place that a resolver is naming; goes into its location */
	struct strtab *strings;
	struct build_id build_id;             /* of the file itself, size 0 when it has none */
	bool has_functions, has_filenames, has_line_numbers, has_inline_frames; /* what the debug information could tell */
};

struct names *names_new(void);
struct names *names_free(struct names *names);

/*
 * Appends a frame to the location being named; strings are copied, names that are no text are made text (control
 * characters and what is not UTF-8 become '?'), too long ones are cut. 0 or -errno with nothing appended.
 */
int names_add_frame(struct names *names, const struct frame *frame);
