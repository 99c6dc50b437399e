/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the daemon says: to the journal with fields when it runs under systemd, else as plain lines to standard error.
 * Priorities are those of syslog(3).
 */
#include <syslog.h>

__attribute__((format(printf, 2, 3))) void log_print(int priority, const char *format, ...);

/*
 * Something that an operator may look for afterwards: fields TSPROF_EVENT, and where not NULL TSPROF_SERVICE and
 * TSPROF_PROFILE (a path).
 */
__attribute__((format(printf, 5, 6))) void log_event(int priority, const char *event, const char *service,
		const char *profile, const char *format, ...);
