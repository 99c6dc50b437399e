/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "cleanup.h"

/* systemd.exec(5), $JOURNAL_STREAM: set, and equal to our standard error, when the journal reads it. */
static bool stderr_is_journal;

/* Before main(), hence before any thread. */
__attribute__((constructor)) static void find_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	stderr_is_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

static void to_stderr(int priority, const char *message)
{
	if (priority <= LOG_INFO)
		fprintf(stderr, "tsprofd: %s\n", message);
}

static void to_journal(int priority, const char *event, const char *service, const char *profile, const char *message)
{
	const char *const names[] = { "MESSAGE", "TSPROF_EVENT", "TSPROF_SERVICE", "TSPROF_PROFILE" };
	const char *const values[] = { message, event, service, profile };
	struct iovec fields[ARRAY_SIZE(names) + 1];
	char *texts[ARRAY_SIZE(names) + 1] = { 0 };
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (values[i] && asprintf(&texts[n], "%s=%s", names[i], values[i]) >= 0)
			n++;
	if (asprintf(&texts[n], "PRIORITY=%d", priority) >= 0)
		n++;
	for (int i = 0; i < n; i++)
		fields[i] = (struct iovec){ texts[i], strlen(texts[i]) };
	sd_journal_sendv(fields, n);
	for (int i = 0; i < n; i++)
		free(texts[i]);
}

__attribute__((format(printf, 5, 0))) static void emit(int priority, const char *event, const char *service,
		const char *profile, const char *format, va_list arguments)
{
	_cleanup_free_ char *message = NULL;

	if (vasprintf(&message, format, arguments) < 0)
		return;
	if (stderr_is_journal)
		to_journal(priority, event, service, profile, message);
	else
		to_stderr(priority, message);
}

void log_print(int priority, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	emit(priority, NULL, NULL, NULL, format, arguments);
	va_end(arguments);
}

void log_event(int priority, const char *event, const char *service, const char *profile, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	emit(priority, event, service, profile, format, arguments);
	va_end(arguments);
}
