/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tells somebody who watches a terminal what was just written: --announce, and --once. */
#include <stdio.h>

struct press_result;

/* For each file its path, how much is in it and its largest functions; once a run, how to open one. */
void announce_result(const struct press_result *result, FILE *f);
/* Deadlocks that were found, with the application's part of the stacks. */
void announce_deadlocks(const struct press_result *result, FILE *f);
/* Goroutines that nobody will wake any more. */
void announce_goroutine_deadlocks(const struct press_result *result, FILE *f);
/* Goroutines that leak. */
void announce_goroutine_leaks(const struct press_result *result, FILE *f);
