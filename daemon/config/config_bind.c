/* SPDX-License-Identifier: Apache-2.0 */
#include "config_bind.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config_arena.h"
#include "config_value.h"
#include "diag.h"
#include "nearest.h"

/* No message needs more; the schema is 5 deep with short names. */
enum { PATH_BYTES = 160, DESCRIPTION_BYTES = 320 };

/* Longer than any path, pattern or address that means something. */
static const size_t max_text = 4096;

/* A key of the map. */
struct written_key {
	uint64_t value;
	uint64_t is_section;
};

void config_binder_init(struct config_binder *binder, struct config_arena *arena, struct diag *diag,
		struct config *config)
{
	*binder = (struct config_binder){ .arena = arena, .diag = diag, .config = config };
	map_init(&binder->written, sizeof(struct written_key), sizeof(struct config_written));
}

void config_binder_deinit(struct config_binder *binder)
{
	map_deinit(&binder->written);
	vec_deinit(&binder->warned);
}

void config_bind_error(struct config_binder *binder, const struct config_place *place, const char *format, ...)
{
	char message[2 * DESCRIPTION_BYTES];
	va_list arguments;

	binder->n_errors++;
	if (binder->quiet)
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	diag_error(binder->diag, place->file, place->line, place->column, "%s", message);
}

const struct config_written *config_written(const struct config_binder *binder, const void *value, bool is_section)
{
	const struct written_key key = { .value = (uintptr_t)value, .is_section = is_section };

	return map_get(&binder->written, &key);
}

static int note_written(struct config_binder *binder, const void *value, bool is_section, bool is_wrong,
		const struct config_place *place)
{
	const struct written_key key = { .value = (uintptr_t)value, .is_section = is_section };
	void *written;
	int r = map_put(&binder->written, &key, &written);

	if (r < 0)
		return r;
	*(struct config_written *)written = (struct config_written){ .place = *place, .is_wrong = is_wrong };
	return 0;
}

/* Key by key, so that one warning tells of a part of which nothing has an effect yet. */
static int warn_once(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_place *place)
{
	for (size_t i = 0; i < binder->warned.n; i++)
		if (binder->warned.at[i] == field)
			return 0;
	if (!binder->quiet)
		diag_warning(binder->diag, place->file, place->line, place->column,
				"`%s` has no effect in this version", path);
	return vec_push(&binder->warned, field);
}

/* What a value looks like, for "… wants X, not Y". */
static void describe_node(const struct config_yaml_node *node, char *ret_text, size_t size)
{
	char quoted[CONFIG_VALUE_BYTES];

	if (node->kind != CONFIG_YAML_SCALAR) {
		snprintf(ret_text, size, "a %s", node->kind == CONFIG_YAML_LIST ? "list" : "mapping");
	} else if (config_yaml_is_null(node)) {
		snprintf(ret_text, size, "nothing");
	} else {
		config_value_quote(quoted, node->text);
		snprintf(ret_text, size, "%s`%s`", node->plain ? "" : "the quoted text ", quoted);
	}
}

static void refuse_value(struct config_binder *binder, const char *path, const struct config_yaml_node *node,
		const char *wanted)
{
	char found[2 * CONFIG_VALUE_BYTES];

	describe_node(node, found, sizeof(found));
	config_bind_error(binder, &node->place, "`%s` wants %s, not %s", path, wanted, found);
}

static int bind_choice(const struct config_field *field, const char *text, uint64_t *ret)
{
	for (size_t i = 0; field->choices[i]; i++)
		if (strcmp(field->choices[i], text) == 0) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

/* Reads a value that is a number inside; 0 or a negative number when it has the wrong form or is out of range. */
static int read_number(const struct config_field *field, const char *text, uint64_t *ret)
{
	uint64_t number = 0;
	bool truth = false;
	int r;

	switch (field->type) {
	case CONFIG_BOOL:
		r = config_value_bool(text, &truth);
		*ret = truth;
		return r;
	case CONFIG_CHOICE:
		return bind_choice(field, text, ret);
	case CONFIG_INTEGER:
		r = config_value_integer(text, &number);
		break;
	case CONFIG_DURATION:
		r = config_value_duration(text, &number);
		break;
	case CONFIG_SIZE:
		r = config_value_size(text, &number);
		break;
	default:
		r = config_value_share(text, &number);
		break;
	}
	if (r == 0 && (number < field->min || number > field->max))
		r = -ERANGE;
	if (r == 0)
		*ret = number;
	return r;
}

static void store_number(const struct config_field *field, void *value, uint64_t number)
{
	if (field->type == CONFIG_BOOL)
		*(bool *)value = number;
	else if (field->type == CONFIG_DURATION || field->type == CONFIG_SIZE)
		*(uint64_t *)value = number;
	else
		*(uint32_t *)value = number;
}

static void bind_number(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_yaml_node *node, void *value)
{
	/* "99" in quotes is a text; of what has a unit, and of names, it is a matter of taste. */
	bool needs_plain = field->type == CONFIG_BOOL || field->type == CONFIG_INTEGER;
	char wanted[DESCRIPTION_BYTES];
	uint64_t number;

	if (node->kind == CONFIG_YAML_SCALAR && (node->plain || !needs_plain) && !config_yaml_is_null(node) &&
			read_number(field, node->text, &number) == 0) {
		store_number(field, value, number);
		return;
	}
	config_field_describe(field, wanted, sizeof(wanted));
	refuse_value(binder, path, node, wanted);
}

/* One text: returns 0 with *ret set or NULL when it is refused, or -ENOMEM. */
static int read_text(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_yaml_node *node, const char **ret)
{
	const char *text = node->text, *wrong;

	*ret = NULL;
	if (node->kind != CONFIG_YAML_SCALAR || config_yaml_is_null(node)) {
		refuse_value(binder, path, node, "a text");
		return 0;
	}
	if (strlen(text) > max_text || config_value_has_control(text)) {
		refuse_value(binder, path, node, "a text of at most 4096 bytes without control characters");
		return 0;
	}
	wrong = field->check ? field->check(binder->arena, node->place.line == 0, &text) : NULL;
	if (wrong) {
		refuse_value(binder, path, node, wrong);
		return 0;
	}
	*ret = config_arena_text(binder->arena, text, strlen(text));
	return *ret ? 0 : -ENOMEM;
}

static int bind_string(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_yaml_node *node, const char **value)
{
	const char *text;
	int r = read_text(binder, field, path, node, &text);

	if (r == 0 && text)
		*value = text;
	return r;
}

static void refuse_length(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_yaml_node *node)
{
	config_bind_error(binder, &node->place, "`%s` has %zu entries, at most %zu are allowed", path, node->n_items,
			(size_t)field->max);
}

static int bind_strings(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_yaml_node *node, struct config_strings *value)
{
	const struct config_yaml_item single = { .value = node };
	const struct config_yaml_item *items = node->items;
	size_t n = node->n_items;
	const char **texts;
	size_t n_texts = 0;

	if (node->kind == CONFIG_YAML_SCALAR && node->place.line == 0) {
		items = &single;
		n = 1;
	} else if (node->kind != CONFIG_YAML_LIST) {
		refuse_value(binder, path, node, "a list of texts");
		return 0;
	}
	if (n > field->max) {
		refuse_length(binder, field, path, node);
		return 0;
	}
	texts = config_arena_take(binder->arena, (n + 1) * sizeof(*texts));
	if (!texts)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		char element[PATH_BYTES];
		int r;

		snprintf(element, sizeof(element), "%s[%zu]", path, i);
		r = read_text(binder, field, element, items[i].value, &texts[n_texts]);
		if (r < 0)
			return r;
		n_texts += texts[n_texts] != NULL;
	}
	*value = (struct config_strings){ .at = texts, .n = n_texts };
	return 0;
}

static int bind_pairs(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_yaml_node *node, struct config_array *value)
{
	struct config_env_label *pairs;
	size_t n_pairs = 0;

	if (node->kind != CONFIG_YAML_MAPPING) {
		refuse_value(binder, path, node, "a mapping of variables to labels");
		return 0;
	}
	if (node->n_items > field->max) {
		refuse_length(binder, field, path, node);
		return 0;
	}
	pairs = config_arena_take(binder->arena, (node->n_items + 1) * sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	for (size_t i = 0; i < node->n_items; i++) {
		struct config_env_label *pair = &pairs[n_pairs];
		int r = read_text(binder, field, path, node->items[i].key, &pair->variable);

		if (r == 0)
			r = read_text(binder, field, path, node->items[i].value, &pair->label);
		if (r < 0)
			return r;
		if (pair->label && config_label_is_reserved(pair->label)) {
			refuse_value(binder, path, node->items[i].value, "a label of your own, not one that every sample has");
			continue;
		}
		n_pairs += pair->variable && pair->label;
	}
	*value = (struct config_array){ .at = pairs, .n = n_pairs };
	return 0;
}

/* Defaults come from the table, by the same way as what a user writes. */

static int set_default(struct config_binder *binder, const struct config_field *field, void *value)
{
	uint64_t number = 0;
	const char *rest = field->standard, **texts;
	size_t n = 0;

	switch (field->type) {
	case CONFIG_STRING:
		*(const char **)value = field->standard;
		return 0;
	case CONFIG_STRINGS:
		texts = config_arena_take(binder->arena, (strlen(rest) / 2 + 2) * sizeof(*texts));
		if (!texts)
			return -ENOMEM;
		while (*rest) {
			size_t length = strcspn(rest, " ");

			texts[n] = config_arena_text(binder->arena, rest, length);
			if (!texts[n++])
				return -ENOMEM;
			rest += length + (rest[length] == ' ');
		}
		*(struct config_strings *)value = (struct config_strings){ .at = texts, .n = n };
		return 0;
	case CONFIG_RECORDS:
	case CONFIG_PAIRS:
	case CONFIG_ANYTHING:
	case CONFIG_SECTION:
		return 0;
	default:
		if (field->standard && read_number(field, field->standard, &number) < 0)
			return -EINVAL;
		store_number(field, value, number);
		return 0;
	}
}

static int set_defaults(struct config_binder *binder, const struct config_section *section, void *base)
{
	for (size_t i = 0; i < section->n_fields; i++) {
		const struct config_field *field = &section->fields[i];
		void *value = (char *)base + field->offset;
		int r = 0;

		if (field->inherits)
			memcpy(value, (const char *)binder->config + field->inherits - 1, field->section->size);
		else if (field->type == CONFIG_SECTION)
			r = set_defaults(binder, field->section, value);
		else
			r = set_default(binder, field, value);
		if (r < 0)
			return r;
	}
	return 0;
}

int config_bind_defaults(struct config_binder *binder)
{
	return set_defaults(binder, &config_root, binder->config);
}

static int bind_section(struct config_binder *binder, const struct config_section *section, const char *path,
		const struct config_yaml_node *node, void *base);

static int bind_records(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_yaml_node *node, struct config_array *value)
{
	size_t size = field->section->size;
	char *records;

	if (node->kind != CONFIG_YAML_LIST) {
		refuse_value(binder, path, node, "a list of mappings");
		return 0;
	}
	if (node->n_items > field->max) {
		refuse_length(binder, field, path, node);
		return 0;
	}
	records = config_arena_take(binder->arena, node->n_items * size + 1);
	if (!records)
		return -ENOMEM;
	for (size_t i = 0; i < node->n_items; i++) {
		char element[PATH_BYTES];
		int r;

		snprintf(element, sizeof(element), "%s[%zu]", path, i);
		r = set_defaults(binder, field->section, records + i * size);
		if (r == 0)
			r = bind_section(binder, field->section, element, node->items[i].value, records + i * size);
		if (r < 0)
			return r;
	}
	*value = (struct config_array){ .at = records, .n = node->n_items };
	return 0;
}

/* key: NULL when it was written nowhere. */
static int bind_value(struct config_binder *binder, const struct config_field *field, const char *path,
		const struct config_yaml_node *key, const struct config_yaml_node *node, void *value)
{
	bool may_be_nothing = field->type == CONFIG_SECTION || field->type == CONFIG_RECORDS ||
			field->type == CONFIG_PAIRS || field->type == CONFIG_STRINGS || field->type == CONFIG_ANYTHING;
	size_t n_errors = binder->n_errors;
	int r = 0;

	/* A key all of whose content is commented out. */
	if (may_be_nothing && config_yaml_is_null(node) && !field->required)
		return 0;
	switch (field->type) {
	case CONFIG_STRING:
		r = bind_string(binder, field, path, node, value);
		break;
	case CONFIG_STRINGS:
		r = bind_strings(binder, field, path, node, value);
		break;
	case CONFIG_PAIRS:
		r = bind_pairs(binder, field, path, node, value);
		break;
	case CONFIG_RECORDS:
		r = bind_records(binder, field, path, node, value);
		break;
	case CONFIG_SECTION:
		r = bind_section(binder, field->section, path, node, value);
		break;
	case CONFIG_ANYTHING:
		if (node->kind != CONFIG_YAML_MAPPING)
			refuse_value(binder, path, node, "a mapping of names to settings");
		break;
	default:
		bind_number(binder, field, path, node, value);
		break;
	}
	if (r < 0)
		return r;
	if (field->no_effect && (node->kind == CONFIG_YAML_SCALAR || node->n_items))
		r = warn_once(binder, field, path, key ? &key->place : &node->place);
	if (r < 0)
		return r;
	return note_written(binder, value, field->type == CONFIG_SECTION, binder->n_errors > n_errors, &node->place);
}

static const struct config_field *find_field(const struct config_section *section, const char *key, size_t length)
{
	for (size_t i = 0; i < section->n_fields; i++)
		if (strlen(section->fields[i].key) == length && memcmp(section->fields[i].key, key, length) == 0)
			return &section->fields[i];
	return NULL;
}

static void refuse_key(struct config_binder *binder, const struct config_section *section, const char *path,
		const struct config_yaml_node *key)
{
	char quoted[CONFIG_VALUE_BYTES], where[PATH_BYTES + 8] = "", hint[PATH_BYTES] = "";
	struct nearest nearest = { 0 };

	config_value_quote(quoted, key->text);
	if (*path)
		snprintf(where, sizeof(where), " in `%s`", path);
	for (size_t i = 0; i < section->n_fields; i++)
		nearest_offer(&nearest, key->text, section->fields[i].key);
	if (nearest.word)
		snprintf(hint, sizeof(hint), ", did you mean `%s`?", nearest.word);
	/* Perhaps it stands one level too high. */
	for (size_t i = 0; i < section->n_fields && !*hint; i++) {
		const struct config_field *field = &section->fields[i];

		if (field->type == CONFIG_SECTION && find_field(field->section, key->text, strlen(key->text)))
			snprintf(hint, sizeof(hint), ", did you mean `%s` inside of `%s`?", key->text, field->key);
	}
	if (strcmp(key->text, "<<") == 0)
		snprintf(hint, sizeof(hint), ": merge keys are not supported");
	config_bind_error(binder, &key->place, "unknown key `%s`%s%s", quoted, where, hint);
}

static int bind_section(struct config_binder *binder, const struct config_section *section, const char *path,
		const struct config_yaml_node *node, void *base)
{
	if (node->kind != CONFIG_YAML_MAPPING && !*path) {
		config_bind_error(binder, &node->place, "not a configuration: that begins with `profiling:`");
		return 0;
	}
	if (node->kind != CONFIG_YAML_MAPPING) {
		refuse_value(binder, path, node, "a mapping of keys to values");
		return 0;
	}
	for (size_t i = 0; i < node->n_items; i++) {
		const struct config_yaml_node *key = node->items[i].key;
		const struct config_field *field = find_field(section, key->text, strlen(key->text));
		char below[PATH_BYTES];
		int r;

		if (!field) {
			refuse_key(binder, section, path, key);
			continue;
		}
		snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", field->key);
		r = bind_value(binder, field, below, key, node->items[i].value, (char *)base + field->offset);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < section->n_fields; i++) {
		const char *key = section->fields[i].key;
		size_t j = 0;

		if (!section->fields[i].required)
			continue;
		while (j < node->n_items && strcmp(node->items[j].key->text, key) != 0)
			j++;
		if (j == node->n_items)
			config_bind_error(binder, &node->place, "`%s` lacks the key `%s`", path, key);
	}
	return 0;
}

int config_bind_tree(struct config_binder *binder, const struct config_yaml_node *root)
{
	return bind_section(binder, &config_root, "", root, binder->config);
}

static const struct config_yaml_node *find_node(const struct config_yaml_node *node, const char *key)
{
	if (!node || node->kind != CONFIG_YAML_MAPPING)
		return NULL;
	for (size_t i = 0; i < node->n_items; i++)
		if (strcmp(node->items[i].key->text, key) == 0)
			return node->items[i].value;
	return NULL;
}

bool config_bind_has_targets(const struct config_yaml_node *root)
{
	const struct config_yaml_node *targets = find_node(find_node(root, "profiling"), "targets");

	return targets && !config_yaml_is_null(targets);
}

int config_bind_targets(struct config_binder *binder, const struct config_yaml_node *root)
{
	const struct config_section *profiling = find_field(&config_root, "profiling", strlen("profiling"))->section;
	const struct config_field *targets = find_field(profiling, "targets", strlen("targets"));

	return bind_value(binder, targets, "profiling.targets", NULL, find_node(find_node(root, "profiling"), "targets"),
			(char *)binder->config + targets->offset);
}

int config_bind_override(struct config_binder *binder, const struct config_override *override)
{
	const struct config_yaml_node node = {
		.kind = CONFIG_YAML_SCALAR,
		.plain = true,
		.text = override->value,
		.place = { .file = override->option },
	};
	const struct config_section *section = &config_root;
	char *base = (char *)binder->config;
	const char *rest = override->key;

	while (section) {
		size_t length = strcspn(rest, ".");
		const struct config_field *field = find_field(section, rest, length);

		if (!field)
			return -EINVAL;
		base += field->offset;
		if (!rest[length])
			return bind_value(binder, field, override->key, NULL, &node, base);
		if (field->no_effect) {
			int r = warn_once(binder, field, override->key, &node.place);

			if (r < 0)
				return r;
		}
		rest += length + 1;
		section = field->section;
	}
	return -EINVAL;
}
