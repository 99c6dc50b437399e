/* SPDX-License-Identifier: Apache-2.0 */
#include "diag.h"

#include <stdarg.h>
#include <stdlib.h>

#include "vec.h"

struct diag {
	VEC(char *) messages;
	size_t n_errors;
};

/* A broken file can hold more errors than anyone reads; the count goes on. */
static const size_t max_messages = 1000;

struct diag *diag_new(void)
{
	return calloc(1, sizeof(struct diag));
}

struct diag *diag_free(struct diag *diag)
{
	if (!diag)
		return NULL;
	for (size_t i = 0; i < diag->messages.n; i++)
		free(diag->messages.at[i]);
	vec_deinit(&diag->messages);
	free(diag);
	return NULL;
}

__attribute__((format(printf, 6, 0))) static void add(struct diag *diag, const char *file, size_t line, size_t column,
		const char *kind, const char *format, va_list arguments)
{
	char *message = NULL;
	size_t size = 0;
	FILE *f;

	if (diag->messages.n >= max_messages)
		return;
	f = open_memstream(&message, &size);
	if (!f)
		return;
	if (file)
		fprintf(f, "%s:", file);
	if (line)
		fprintf(f, "%zu:", line);
	if (line && column)
		fprintf(f, "%zu:", column);
	fprintf(f, "%s%s", file || line ? " " : "", kind);
	vfprintf(f, format, arguments);
	if (fclose(f) != 0 || vec_push(&diag->messages, message) < 0)
		free(message);
}

void diag_error(struct diag *diag, const char *file, size_t line, size_t column, const char *format, ...)
{
	va_list arguments;

	diag->n_errors++;
	va_start(arguments, format);
	add(diag, file, line, column, "", format, arguments);
	va_end(arguments);
}

void diag_warning(struct diag *diag, const char *file, size_t line, size_t column, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add(diag, file, line, column, "warning: ", format, arguments);
	va_end(arguments);
}

size_t diag_errors(const struct diag *diag)
{
	return diag->n_errors;
}

size_t diag_count(const struct diag *diag)
{
	return diag->messages.n;
}

const char *diag_message(const struct diag *diag, size_t i)
{
	return diag->messages.at[i];
}

void diag_print(const struct diag *diag, FILE *f)
{
	for (size_t i = 0; i < diag->messages.n; i++)
		fprintf(f, "%s\n", diag->messages.at[i]);
}
