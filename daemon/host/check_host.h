/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What this machine lets us do: each ability is tried by the very call that needs it, never guessed from a version.
 * `tsprofd --check-host` prints the table; when a start fails, check_host_explain() says in one line why and what to do.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum check_host_state {
	CHECK_HOST_OK,
	CHECK_HOST_DEGRADED,         /* works, but something is less than it could be */
	CHECK_HOST_MISSING,
};

struct check_host_ability {
	const char *name;            /* "bpf", "perf-events", … */
	const char *what;            /* what it is for, a few words */
	enum check_host_state state;
	bool essential;              /* no profile without it */
	int exit_code;               /* when an essential one is missing: EX_UNAVAILABLE, EX_OSERR or EX_NOPERM */
	char why[320];               /* found, or what is wrong: one line */
	char remedy[240];            /* what to do; "" when ok */
};

struct check_host {
	struct check_host_ability abilities[24];
	size_t n;
};

/*
 * Tries everything with the capabilities that are effective now; takes some 50 ms and leaves nothing behind.
 * output_directory: where profiles go; NULL: not asked for.
 */
void check_host(const char *output_directory, struct check_host *ret);

/* A line each, and its remedy below. */
void check_host_print(const struct check_host *host, FILE *f);

/* 0 when all that is essential is there, else the exit code of the first one that is not. */
int check_host_exit_code(const struct check_host *host);

/*
 * Why starting failed with -errno `error` while `doing` ("load the BPF programs"): the cause and the remedy as one
 * line without a newline. Returns the exit code: 69, 71 or 77.
 */
int check_host_explain(int error, const char *doing, char *ret_text, size_t size);
