/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Lines of Prometheus' text exposition format 0.0.4. */
#include <stdio.h>

/* Each family once, before its numbers. */
void prometheus_family(FILE *f, const char *name, const char *type, const char *help);
void prometheus_number(FILE *f, const char *name, double value);
/* `labels` as they are between the braces; values of strangers go through prometheus_label_value(). */
void prometheus_labelled(FILE *f, const char *name, double value, const char *labels, ...) __attribute__((format(printf, 4, 5)));
/* A label value: backslash, quote and newline are escaped; the format says nothing of other bytes, so they become '?'. */
void prometheus_label_value(FILE *f, const char *value);
