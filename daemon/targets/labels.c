/* SPDX-License-Identifier: Apache-2.0 */
#include "labels.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "config.h"

const char *labels_get(const struct labels *labels, const char *key)
{
	for (size_t i = 0; i < labels->pairs.n; i++)
		if (!strcmp(labels->pairs.at[i].key, key))
			return labels->pairs.at[i].value;
	return NULL;
}

/*
 * Bytes of the character that `text` begins with, 0 when it is none to show: a control character (C0, DEL, C1), or not
 * UTF-8 by RFC 3629 (no overlong forms, no surrogates, nothing above U+10FFFF).
 */
static size_t character_length(const unsigned char *text)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = { { 0xE0, 0xC0, 0xA0 }, { 0xF0, 0xE0, 0x800 }, { 0xF8, 0xF0, 0x10000 } };

	if (text[0] < 0x80)
		return text[0] >= 0x20 && text[0] != 0x7F;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		uint32_t code = text[0] & (unsigned char)~forms[i].mask;

		if ((text[0] & forms[i].mask) != forms[i].lead)
			continue;
		/* The NUL at the end is no continuation: nothing behind it is read. */
		for (size_t j = 1; j <= i + 1; j++) {
			if ((text[j] & 0xC0) != 0x80)
				return 0;
			code = code << 6 | (text[j] & 0x3F);
		}
		if (code < forms[i].least || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
			return 0;
		return i + 2;
	}
	return 0;
}

static char *clean(const char *value)
{
	char text[LABELS_MAX_VALUE + 1];
	size_t n = 0;

	while (*value) {
		size_t length = character_length((const unsigned char *)value);

		if (n + MAX(length, (size_t)1) > LABELS_MAX_VALUE)
			break;
		if (length)
			memcpy(text + n, value, length);
		else
			text[n] = '?';
		length = MAX(length, (size_t)1);
		n += length;
		value += length;
	}
	text[n] = '\0';
	return strdup(text);
}

int labels_add(struct labels *labels, const char *key, const char *value)
{
	struct label label;

	if (!*key || !*value || labels->pairs.n >= LABELS_MAX || config_label_is_reserved(key) || labels_get(labels, key))
		return 0;
	label.key = strdup(key);
	label.value = clean(value);
	if (!label.key || !label.value || vec_push(&labels->pairs, label) < 0) {
		free(label.key);
		free(label.value);
		return -ENOMEM;
	}
	return 0;
}

int labels_copy(const struct labels *from, struct labels *ret)
{
	for (size_t i = 0; i < from->pairs.n; i++)
		if (labels_add(ret, from->pairs.at[i].key, from->pairs.at[i].value) < 0)
			return -ENOMEM;
	return 0;
}

void labels_deinit(struct labels *labels)
{
	for (size_t i = 0; i < labels->pairs.n; i++) {
		free(labels->pairs.at[i].key);
		free(labels->pairs.at[i].value);
	}
	vec_deinit(&labels->pairs);
}
