/* SPDX-License-Identifier: Apache-2.0 */
#include "announce.h"

#include <stdbool.h>
#include <string.h>

#include "cleanup.h"
#include "deadlock_text.h"
#include "goroutine_deadlock_text.h"
#include "goroutine_leak_text.h"
#include "press.h"
#include "text.h"
#include "top.h"

static void announce_file(const struct press_file *file, FILE *f)
{
	char value[TOP_VALUE_SIZE];

	if (!file->path) {
		fprintf(f, "%s: not written: %s\n", file->service, strerror(-file->error));
		return;
	}
	fprintf(f, "%s  %llu samples%s", file->path, (unsigned long long)file->n_samples,
			file->is_late ? " (kept until it could be written)" : "");
	for (size_t i = 0; file->top && i < file->top->n_rows && file->top->rows[i].flat; i++) {
		top_format_value(file->top->rows[i].flat, file->top->unit, value);
		fprintf(f, "%s %s %s", i ? "," : " ", value, file->top->rows[i].name);
	}
	fputc('\n', f);
}

void announce_result(const struct press_result *result, FILE *f)
{
	static bool told;

	for (size_t i = 0; i < result->files.n; i++) {
		announce_file(&result->files.at[i], f);
		if (!told && result->files.at[i].path && result->files.at[i].n_samples && !result->files.at[i].is_text) {
			told = true;
			fprintf(f, "    open it with: go tool pprof -http=: %s\n", result->files.at[i].path);
		}
	}
	fflush(f);
}

void announce_deadlocks(const struct press_result *result, FILE *f)
{
	for (size_t i = 0; i < result->deadlocks.n; i++) {
		const struct deadlock_text *text = &result->deadlocks.at[i];
		_cleanup_free_ char *head = deadlock_text_head(text);

		fprintf(f, "%s\n", head ? head : "deadlock");
		for (size_t k = 0; k < text->waits.n; k++) {
			_cleanup_free_ char *line = deadlock_text_line(&text->waits.at[k], false);

			fprintf(f, "    %s\n", line ? line : "");
		}
	}
	fflush(f);
}

void announce_goroutine_deadlocks(const struct press_result *result, FILE *f)
{
	for (size_t i = 0; i < result->goroutine_deadlocks.n; i++) {
		const struct goroutine_deadlock_text *text = &result->goroutine_deadlocks.at[i];
		char service[256];

		text_clean(text->service, service, sizeof(service));
		fprintf(f, "goroutine deadlock in %s (process %u): %s\n", service, text->process.pid, text->head);
		for (size_t j = 0; j < text->members.n; j++)
			fprintf(f, "  %s\n", text->members.at[j]);
		if (text->n_members > text->members.n)
			fprintf(f, "  %llu more\n", (unsigned long long)(text->n_members - text->members.n));
	}
	fflush(f);
}

void announce_goroutine_leaks(const struct press_result *result, FILE *f)
{
	for (size_t i = 0; i < result->leaks.n; i++) {
		const struct goroutine_leak_text *leak = &result->leaks.at[i];
		_cleanup_free_ char *line = goroutine_leak_text_line(leak);
		char service[256];

		text_clean(leak->service, service, sizeof(service));
		fprintf(f, "goroutine leak in %s (process %u): %s\n", service, leak->process.pid, line ? line : "");
	}
	fflush(f);
}
