/* SPDX-License-Identifier: Apache-2.0 */
#include "prometheus.h"

#include <stdarg.h>

void prometheus_family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void prometheus_number(FILE *f, const char *name, double value)
{
	fprintf(f, "%s %.17g\n", name, value);
}

void prometheus_labelled(FILE *f, const char *name, double value, const char *labels, ...)
{
	va_list arguments;

	fprintf(f, "%s{", name);
	va_start(arguments, labels);
	vfprintf(f, labels, arguments);
	va_end(arguments);
	fprintf(f, "} %.17g\n", value);
}

void prometheus_label_value(FILE *f, const char *value)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fprintf(f, "\\%c", *value);
		else
			fputc((unsigned char)*value < ' ' || (unsigned char)*value >= 127 ? '?' : *value, f);
	}
}
