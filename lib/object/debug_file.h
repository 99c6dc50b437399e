/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where the separate debug information of an executable may lie: pure work on strings, for the core, which opens the
 * candidates and passes their descriptors on without reading a byte of them. What a file asks for (the wants) comes from
 * the confined symbolizer and is as hostile as the file: names with '/' or '..' where none belong lead nowhere.
 *
 * The places are those of GDB ("Debugging Information in Separate Files") and of dwz(1).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "location.h"
#include "vec.h"

#define DEBUG_FILE_LINK_SIZE 256U   /* NAME_MAX and a terminator: a debug link is a base name */
#define DEBUG_FILE_PATH_SIZE 1024U  /* dwz writes "../../../../.dwz/x86_64-linux-gnu/package.debug": well below */

/*
 * What a symbolizer still lacks. Fixed size, no pointer: it crosses a process boundary as it is. Strings are terminated
 * when the sender is sound; the functions below do not rely on it.
 */
struct debug_file_wants {
	bool debug_file;                     /* the file has no DWARF of its own: the next three may lead to it */
	struct build_id build_id;
	char link[DEBUG_FILE_LINK_SIZE];     /* .gnu_debuglink; "": none */
	uint32_t link_crc;

	bool supplement;                     /* the DWARF refers to a dwz supplement: the next two lead to it */
	struct build_id supplement_build_id;
	char supplement_path[DEBUG_FILE_PATH_SIZE]; /* .gnu_debugaltlink: absolute, or relative to the file that has the DWARF */
};

/* Paths owned by the list. */
struct debug_file_paths {
	VEC(char *) paths;
};
void debug_file_paths_deinit(struct debug_file_paths *paths);

/*
 * Appends the candidate paths for the debug file of the executable at `path` (absolute, as its process knows it; may be
 * NULL: only the build id leads then), best first, each once. 0 or -ENOMEM.
 * directories: NULL-terminated, e.g. /usr/lib/debug.
 */
int debug_file_candidates(const struct debug_file_wants *wants, const char *path, const char *const *directories,
		struct debug_file_paths *paths);

/*
 * The same for the dwz supplement. `path` is that of the file which has the DWARF: the debug file's, when one was
 * found, else the executable's. Relative references are folded here ("a/../b" is "b"), never left to the file system,
 * and one that leaves the root leads nowhere.
 */
int debug_file_supplement_candidates(const struct debug_file_wants *wants, const char *path, const char *const *directories,
		struct debug_file_paths *paths);
