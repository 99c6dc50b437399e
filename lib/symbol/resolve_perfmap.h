/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names of code made at run time, from the text file its runtime writes: lines "START SIZE name", hexadecimal, name up
 * to the end of the line (linux/tools/perf/Documentation/jit-interface.txt). Written while we read: a last line without
 * its end is not there yet. Code memory is reused: of two lines that overlap, the later one tells.
 */
#include "resolve.h"

/*
 * Reads the descriptor, of a file that is too large its end. RESOLVE_E_NONE when it has no entry. A jitdump, which
 * serves the same end and is told by its first bytes, is opened as such (resolve_jitdump.h).
 */
int resolve_perfmap_open(int fd, struct resolver *ret);
