/* SPDX-License-Identifier: Apache-2.0 */
/* The way back of config_bind.c, by the same table. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config_field.h"
#include "config_value.h"

static void print_text(FILE *f, const char *text)
{
	fputc('"', f);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', f);
		fputc(*text, f);
	}
	fputc('"', f);
}

static void indent(FILE *f, int depth)
{
	fprintf(f, "%*s", 2 * depth, "");
}

/* What fits in one line. */
static void print_value(FILE *f, const struct config_field *field, const void *value)
{
	char text[CONFIG_VALUE_BYTES];

	switch (field->type) {
	case CONFIG_BOOL:
		fputs(*(const bool *)value ? "true" : "false", f);
		return;
	case CONFIG_INTEGER:
		fprintf(f, "%" PRIu32, *(const uint32_t *)value);
		return;
	case CONFIG_DURATION:
		config_value_print_duration(text, *(const uint64_t *)value);
		break;
	case CONFIG_SIZE:
		config_value_print_size(text, *(const uint64_t *)value);
		break;
	case CONFIG_SHARE:
		config_value_print_share(text, *(const uint32_t *)value);
		break;
	case CONFIG_CHOICE:
		/* Quoted: one of them is "off". */
		print_text(f, field->choices[*(const uint32_t *)value]);
		return;
	case CONFIG_STRING:
		print_text(f, *(const char *const *)value);
		return;
	default:
		return;
	}
	fputs(text, f);
}

static bool fields_equal(const struct config_field *field, const void *a, const void *b);

static bool sections_equal(const struct config_section *section, const void *a, const void *b)
{
	for (size_t i = 0; i < section->n_fields; i++) {
		size_t offset = section->fields[i].offset;

		if (!fields_equal(&section->fields[i], (const char *)a + offset, (const char *)b + offset))
			return false;
	}
	return true;
}

/* Of what a target may override: numbers and sections of them. */
static bool fields_equal(const struct config_field *field, const void *a, const void *b)
{
	switch (field->type) {
	case CONFIG_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CONFIG_DURATION:
	case CONFIG_SIZE:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	case CONFIG_SECTION:
		return sections_equal(field->section, a, b);
	case CONFIG_INTEGER:
	case CONFIG_SHARE:
	case CONFIG_CHOICE:
		return *(const uint32_t *)a == *(const uint32_t *)b;
	default:
		return false;
	}
}

static void print_section(FILE *f, const struct config *config, const struct config_section *section, const void *base,
		const void *inherited, int depth);

static void print_strings(FILE *f, const struct config_strings *strings)
{
	fputc('[', f);
	for (size_t i = 0; i < strings->n; i++) {
		fputs(i ? ", " : "", f);
		print_text(f, strings->at[i]);
	}
	fputs("]\n", f);
}

static void print_pairs(FILE *f, const struct config_array *array)
{
	const struct config_env_label *pairs = array->at;

	fputc('{', f);
	for (size_t i = 0; i < array->n; i++) {
		fputs(i ? ", " : "", f);
		print_text(f, pairs[i].variable);
		fputs(": ", f);
		print_text(f, pairs[i].label);
	}
	fputs("}\n", f);
}

static void print_records(FILE *f, const struct config *config, const struct config_field *field,
		const struct config_array *array, int depth)
{
	const char *records = array->at;

	fputs(array->n ? "\n" : " []\n", f);
	for (size_t i = 0; i < array->n; i++) {
		indent(f, depth);
		fputs("-\n", f);
		print_section(f, config, field->section, records + i * field->section->size, NULL, depth + 1);
	}
}

static bool is_absent(const struct config_field *field, const void *value)
{
	return field->type == CONFIG_ANYTHING || (field->type == CONFIG_STRING && !*(const char *const *)value) ||
			(field->type == CONFIG_PAIRS && ((const struct config_array *)value)->n == 0);
}

static void print_field(FILE *f, const struct config *config, const struct config_field *field, const void *value,
		const void *inherited, int depth)
{
	/* What a target does not override it says nothing about. */
	if (field->inherits)
		inherited = (const char *)config + field->inherits - 1;
	if (inherited && fields_equal(field, value, inherited))
		return;
	if (is_absent(field, value))
		return;
	indent(f, depth);
	fprintf(f, "%s:", field->key);
	switch (field->type) {
	case CONFIG_SECTION:
		fputc('\n', f);
		print_section(f, config, field->section, value, inherited, depth + 1);
		return;
	case CONFIG_RECORDS:
		print_records(f, config, field, value, depth + 1);
		return;
	case CONFIG_STRINGS:
		fputc(' ', f);
		print_strings(f, value);
		return;
	case CONFIG_PAIRS:
		fputc(' ', f);
		print_pairs(f, value);
		return;
	default:
		fputc(' ', f);
		print_value(f, field, value);
		fputc('\n', f);
		return;
	}
}

static void print_section(FILE *f, const struct config *config, const struct config_section *section, const void *base,
		const void *inherited, int depth)
{
	for (size_t i = 0; i < section->n_fields; i++) {
		const struct config_field *field = &section->fields[i];

		print_field(f, config, field, (const char *)base + field->offset,
				inherited ? (const char *)inherited + field->offset : NULL, depth);
	}
}

int config_print(const struct config *config, FILE *f)
{
	errno = 0;
	print_section(f, config, &config_root, config, NULL, 0);
	if (fflush(f) != 0 || ferror(f))
		return errno ? -errno : -EIO;
	return 0;
}
