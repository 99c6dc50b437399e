/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line of tsprofd as a value. tsprofd(8) describes it. Options take one dash or two and no abbreviation. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"

struct diag;

enum options_mode {
	OPTIONS_RUN,
	OPTIONS_ONCE,
	OPTIONS_CHECK_CONFIG,
	OPTIONS_PRINT_CONFIG,
	OPTIONS_CHECK_HOST,
	OPTIONS_VERSION,
	OPTIONS_HELP,
};

/* --once. Exactly one of all, pid, service and command is given. */
struct options_once {
	const char *kinds[8];        /* none twice; "cpu" when nothing was asked for */
	size_t n_kinds;
	bool all;
	uint32_t pid;                /* 0: not by pid */
	const char *service;         /* NULL: not by service */
	char **command;              /* argv of what to start, NULL-terminated; NULL: nothing */
	uint64_t duration_usec;      /* 0: until the command exits */
	bool has_duration;           /* it was asked for */
	uint32_t rate;
	int debug;                   /* of goroutines: text as net/http/pprof's debug=1 or 2, into one file; 0: a profile */
	const char *output;          /* file or folder; NULL: the current folder, under the names of the store */
};

enum { OPTIONS_MAX_OVERRIDES = 8 };

struct options {
	enum options_mode mode;
	/* For config_load(). Overrides of options given twice: the last one counts. */
	const char *config_path;     /* never NULL */
	bool config_given;           /* else the default one, which may be absent */
	struct config_override overrides[OPTIONS_MAX_OVERRIDES];
	size_t n_overrides;
	struct options_once once;
	bool announce;               /* --announce: tell on standard output what was written */
	/* --test-entries N, --test-ring BYTES: small kernel maps, so that tests see them overflow; 0: default. Not in the help. */
	uint32_t test_entries, test_ring_bytes;
	char storage[128];           /* of values that had to be put together; options must not be copied */
};

/*
 * Strings point into argv. 0 with *ret filled; OPTIONS_E_USAGE with one line in diag: exit with EX_USAGE.
 * Uses getopt: not for two threads.
 */
int options_parse(int argc, char **argv, struct diag *diag, struct options *ret);
enum { OPTIONS_E_USAGE = 1 };

/* What config_load() is to read; borrows from options. --once reads no file unless one was named. */
struct config_source options_config_source(const struct options *options);

void options_print_help(FILE *f);
