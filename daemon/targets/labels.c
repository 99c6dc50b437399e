/* SPDX-License-Identifier: Apache-2.0 */
#include "labels.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "config.h"
#include "text.h"

const char *labels_get(const struct labels *labels, const char *key)
{
	for (size_t i = 0; i < labels->pairs.n; i++)
		if (!strcmp(labels->pairs.at[i].key, key))
			return labels->pairs.at[i].value;
	return NULL;
}

static char *clean(const char *value)
{
	char text[LABELS_MAX_VALUE + 1];

	text_clean(value, text, sizeof(text));
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
