/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Goroutines as text, as the process itself would print them (net/http/pprof's goroutine?debug=2, a crash): the same states,
 * functions, files, lines and creators, and the same ones left out. What is not read is not printed: arguments of functions
 * are "(...)".
 *
 * runtime/traceback.go (goroutineheader, traceback2, showfuncinfo, printcreatedby1) of the versions in go_layout.h.
 */
#include <stdint.h>
#include <stdio.h>

struct go_goroutine;
struct go_goroutines;
struct go_process;

/* What is between the brackets: "chan receive", "running", "IO wait". Lives as long as `goroutines`. */
const char *go_text_state(const struct go_goroutines *goroutines, const struct go_goroutine *goroutine);

/* All but those of the system. `now_nsec`: CLOCK_MONOTONIC, when they were read. Whether it could be written, `out` tells. */
void go_text_write(const struct go_process *process, const struct go_goroutines *goroutines, uint64_t now_nsec, FILE *out);
