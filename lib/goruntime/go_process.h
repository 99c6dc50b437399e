/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A running Go process, read from outside: its program, where that lies in memory, and the function tables of all its
 * modules (plugins bring their own, which are read from the process's memory).
 *
 * Nothing is believed before it proved itself: the module data has to point at the very function table that the file has,
 * and what is built on this (go_goroutines.h) checks more. The process may be anything and go on all the time.
 */
#include <stddef.h>
#include <stdint.h>

#include "go_layout.h"
#include "go_memory.h"
#include "go_binary.h"
#include "gopclntab.h"

struct go_process;

enum {
	GO_PROCESS_E_UNKNOWN = 1,            /* its runtime is not as we know it */
	GO_PROCESS_E_EARLY = 2,              /* it has not begun yet */
};

struct go_process_options {
	const struct go_binary *program;    /* borrowed for life */
	struct go_memory *memory;            /* likewise */
	uint64_t bias;                       /* what is to be added to addresses of the file */
	const char **why;                    /* may be NULL; of GO_PROCESS_E_UNKNOWN: static, a few words */
};

int go_process_new(const struct go_process_options *options, struct go_process **ret);
struct go_process *go_process_free(struct go_process *process);

struct go_version go_process_version(const struct go_process *process);
const struct go_layout *go_process_layout(const struct go_process *process);
const struct go_binary *go_process_program(const struct go_process *process);
struct go_memory *go_process_memory(const struct go_process *process);
/* In the process's memory; false: not known. */
bool go_process_variable(const struct go_process *process, enum go_variable which, uint64_t *ret_address);

/* The program's writable data, [start, end), in the process's memory. */
void go_process_data(const struct go_process *process, uint64_t *ret_start, uint64_t *ret_end);

/*
 * The table that an address in memory belongs to, and the address as that table has it; NULL: it is no Go code.
 */
const struct gopclntab *go_process_functions_at(const struct go_process *process, uint64_t address, uint64_t *ret_address);

enum {
	GO_PROCESS_MAX_MODULES = 64,
};
