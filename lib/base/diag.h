/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is wrong with input that a human wrote, for that human: a list of "file:line:column: message". A reader of such
 * input takes a `struct diag *`, adds every error it finds and goes on, so that all are told at once.
 */
#include <stdio.h>

struct diag;

struct diag *diag_new(void);
struct diag *diag_free(struct diag *diag);

/* One more error. line and column count from 1; 0 leaves them out. file may be NULL. */
void diag_error(struct diag *diag, const char *file, size_t line, size_t column, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* The same for what is odd but accepted; diag_errors() does not count it. */
void diag_warning(struct diag *diag, const char *file, size_t line, size_t column, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* How many errors there are. */
size_t diag_errors(const struct diag *diag);
/* How many messages there are in all; each is one line, warnings start with "warning: " behind the place. */
size_t diag_count(const struct diag *diag);
const char *diag_message(const struct diag *diag, size_t i);
/* Prints each message as a line. */
void diag_print(const struct diag *diag, FILE *f);
