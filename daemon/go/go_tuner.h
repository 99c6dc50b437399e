/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Has the rates of the profilers in Go's runtimes as the configuration asks for: decides of whom and when; go_switch.h writes, undoes,
 * and keeps the state. A process is looked at for it a second after it has come, whenever it is read later, and when what is wished
 * changes.
 */
#include <stdbool.h>
#include <stdint.h>

#include "go_switch.h"

struct config;
struct go_report;
struct process_id;

/* Zeros: nothing is ever written, nothing is wished. Both pointers are borrowed. */
struct go_tuner {
	struct go_switch *sw;
	const struct config *config;
	bool is_over;                        /* at the end all is undone: nothing is begun */
};

/* What it remembers of a process. */
struct go_tuning {
	uint64_t settle_nsec;                /* CLOCK_MONOTONIC: then its rates are looked at, not before; 0: whenever it is read */
	uint64_t set_nsec;                   /* CLOCK_MONOTONIC: when go_switch_set() was called last */
};

/* Whether any rate is to be another than the programs' own. */
bool go_tuner_wants(const struct go_tuner *tuner);
/* Whether there is anything to do: that, or something that was written is to be undone. */
bool go_tuner_has_work(const struct go_tuner *tuner);

/* A process has come. */
void go_tuner_begin(struct go_tuning *tuning, uint64_t now_nsec);
/* What is wished has changed: its rates are looked at now, or when they would have been anyway. */
void go_tuner_renew(struct go_tuning *tuning, uint64_t now_nsec);
/* Whether its rates are to be looked at now; once. */
bool go_tuner_take(struct go_tuning *tuning, uint64_t now_nsec);

/* It was read. May take as long as go_switch_set(). */
void go_tuner_set(const struct go_tuner *tuner, struct go_tuning *tuning, const struct process_id *process, const struct go_report *report);
/* Nothing of ours is left in it; it may have ended. May take as long as go_switch_release(). */
void go_tuner_release(const struct go_tuner *tuner, const struct process_id *process);

/* Since when the heap profiler that the report is of is on by us, by the wall clock; 0: the program has it on by itself, or none. */
uint64_t go_tuner_memory_since(const struct go_tuner *tuner, const struct process_id *process, const struct go_report *report);

struct go_switch_stats go_tuner_stats(const struct go_tuner *tuner);
