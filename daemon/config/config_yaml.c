/* SPDX-License-Identifier: Apache-2.0 */
#include "config_yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

#include "cleanup.h"
#include "config_arena.h"
#include "config_value.h"
#include "diag.h"
#include "vec.h"

/* The schema is 6 deep; the rest is room for what is wrong with a file to be told by name. */
enum { MAX_DEPTH = 20 };
/* A thousand targets with every key are 50,000 nodes. */
static const size_t max_nodes = 100000;
/* Searched one by one. */
static const size_t max_anchors = 100;

struct anchor {
	const char *name;
	struct config_yaml_node *node;
};

struct document {
	struct config_arena *arena;
	const char *file;
	struct diag *diag;
	yaml_parser_t parser;
	size_t n_nodes;
	VEC(struct anchor) anchors;
	/* The open lists and mappings, and the key in each that waits for its value. */
	struct level {
		struct config_yaml_node *node;
		struct config_yaml_node *key;
	} levels[MAX_DEPTH];
	size_t depth;
	struct config_yaml_node *root;
};

bool config_yaml_is_null(const struct config_yaml_node *node)
{
	return node->kind == CONFIG_YAML_SCALAR && node->plain &&
			(!*node->text || strcmp(node->text, "~") == 0 || strcasecmp(node->text, "null") == 0);
}

__attribute__((format(printf, 3, 4))) static int refuse(struct document *document, yaml_mark_t mark, const char *format,
		...)
{
	char message[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	diag_error(document->diag, document->file, mark.line + 1, mark.column + 1, "%s", message);
	return CONFIG_YAML_E_INVALID;
}

/* libyaml tells of bytes that are no text by their offset alone. */
static yaml_mark_t mark_of_offset(const char *data, size_t offset)
{
	yaml_mark_t mark = { .index = offset };

	for (size_t i = 0; i < offset; i++) {
		mark.column += (data[i] & 0xc0) != 0x80;
		if (data[i] == '\n') {
			mark.line++;
			mark.column = 0;
		}
	}
	return mark;
}

static int refuse_syntax(struct document *document, const char *data, size_t size)
{
	const yaml_parser_t *parser = &document->parser;
	const char *problem = parser->problem ? parser->problem : "not YAML";

	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (parser->error == YAML_READER_ERROR)
		return refuse(document, mark_of_offset(data, MIN(parser->problem_offset, size)), "not valid UTF-8 text: %s",
				problem);
	if (parser->context && parser->context_mark.line != parser->problem_mark.line)
		return refuse(document, parser->problem_mark, "%s (%s that began in line %zu)", problem, parser->context,
				parser->context_mark.line + 1);
	if (parser->context)
		return refuse(document, parser->problem_mark, "%s (%s)", problem, parser->context);
	return refuse(document, parser->problem_mark, "%s", problem);
}

static int compare_keys(const void *a, const void *b)
{
	const struct config_yaml_item *x = *(const struct config_yaml_item *const *)a;
	const struct config_yaml_item *y = *(const struct config_yaml_item *const *)b;
	int r = strcmp(x->key->text, y->key->text);

	if (r != 0)
		return r;
	return x < y ? -1 : x > y;
}

static int compare_items(const void *a, const void *b)
{
	const struct config_yaml_item *x = *(const struct config_yaml_item *const *)a;
	const struct config_yaml_item *y = *(const struct config_yaml_item *const *)b;

	return x < y ? -1 : x > y;
}

/* Tells of each key that is there twice, in the order of the file, and leaves the first one. */
static int refuse_duplicates(struct document *document, struct config_yaml_node *mapping)
{
	_cleanup_free_ struct config_yaml_item **sorted = NULL, **twice = NULL;
	size_t n_twice = 0;

	sorted = calloc(mapping->n_items + 1, sizeof(*sorted));
	twice = calloc(mapping->n_items + 1, sizeof(*twice));
	if (!sorted || !twice)
		return -ENOMEM;
	for (size_t i = 0; i < mapping->n_items; i++)
		sorted[i] = &mapping->items[i];
	qsort(sorted, mapping->n_items, sizeof(*sorted), compare_keys);
	for (size_t i = 1, first = 0; i < mapping->n_items; i++) {
		char quoted[CONFIG_VALUE_BYTES];

		if (strcmp(sorted[i]->key->text, sorted[first]->key->text) != 0) {
			first = i;
			continue;
		}
		config_value_quote(quoted, sorted[i]->key->text);
		diag_error(document->diag, document->file, sorted[i]->key->place.line, sorted[i]->key->place.column,
				"duplicate key `%s`, the first one is in line %zu", quoted,
				sorted[first]->key->place.line);
		twice[n_twice++] = sorted[i];
	}
	if (n_twice == 0)
		return 0;
	qsort(twice, n_twice, sizeof(*twice), compare_items);
	for (size_t i = 0, next_twice = 0, kept = 0, n = mapping->n_items; i < n; i++) {
		if (next_twice < n_twice && twice[next_twice] == &mapping->items[i]) {
			next_twice++;
			mapping->n_items--;
		} else {
			mapping->items[kept++] = mapping->items[i];
		}
	}
	return 0;
}

static int count_nodes(struct document *document, yaml_mark_t mark, size_t n)
{
	document->n_nodes += n;
	if (document->n_nodes > max_nodes)
		return refuse(document, mark, "more than %zu values, aliases counted with all they stand for", max_nodes);
	return 0;
}

/* Puts a finished or just begun node where it belongs. */
static int place_node(struct document *document, struct config_yaml_node *node, yaml_mark_t mark)
{
	struct level *level = document->depth ? &document->levels[document->depth - 1] : NULL;
	struct config_yaml_node *parent;

	if (!level) {
		document->root = node;
		return 0;
	}
	parent = level->node;
	if (parent->kind == CONFIG_YAML_MAPPING && !level->key) {
		if (node->kind != CONFIG_YAML_SCALAR)
			return refuse(document, mark, "a key must be a single word, not a %s",
					node->kind == CONFIG_YAML_LIST ? "list" : "mapping");
		level->key = node;
		return 0;
	}
	if (parent->n_items == parent->n_allocated) {
		size_t n = MAX((size_t)8, 2 * parent->n_allocated);
		struct config_yaml_item *items = config_arena_take(document->arena, n * sizeof(*items));

		if (!items)
			return -ENOMEM;
		if (parent->n_items)
			memcpy(items, parent->items, parent->n_items * sizeof(*items));
		parent->items = items;
		parent->n_allocated = n;
	}
	parent->items[parent->n_items++] = (struct config_yaml_item){ .key = level->key, .value = node };
	level->key = NULL;
	return 0;
}

static int add_anchor(struct document *document, const yaml_char_t *name, struct config_yaml_node *node, yaml_mark_t mark)
{
	struct anchor anchor = { .node = node };

	if (!name)
		return 0;
	if (document->anchors.n >= max_anchors)
		return refuse(document, mark, "more than %zu anchors", max_anchors);
	anchor.name = config_arena_text(document->arena, (const char *)name, strlen((const char *)name));
	return anchor.name ? vec_push(&document->anchors, anchor) : -ENOMEM;
}

static int new_node(struct document *document, const yaml_event_t *event, enum config_yaml_kind kind,
		const yaml_char_t *anchor, const yaml_char_t *tag, struct config_yaml_node **ret)
{
	struct config_yaml_node *node;
	int r;

	if (tag) {
		char quoted[CONFIG_VALUE_BYTES];

		config_value_quote(quoted, (const char *)tag);
		return refuse(document, event->start_mark, "tags such as `%s` are not known here", quoted);
	}
	r = count_nodes(document, event->start_mark, 1);
	if (r != 0)
		return r;
	node = config_arena_take(document->arena, sizeof(*node));
	if (!node)
		return -ENOMEM;
	*node = (struct config_yaml_node){
		.kind = kind,
		.place = { document->file, event->start_mark.line + 1, event->start_mark.column + 1 },
		.n_nodes = 1,
	};
	r = add_anchor(document, anchor, node, event->start_mark);
	if (r == 0)
		*ret = node;
	return r;
}

static int add_scalar(struct document *document, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	struct config_yaml_node *node;
	int r;

	if (strlen(text) != event->data.scalar.length)
		return refuse(document, event->start_mark, "a zero byte in a text");
	r = new_node(document, event, CONFIG_YAML_SCALAR, event->data.scalar.anchor, event->data.scalar.tag, &node);
	if (r != 0)
		return r;
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->text = config_arena_text(document->arena, text, event->data.scalar.length);
	return node->text ? place_node(document, node, event->start_mark) : -ENOMEM;
}

static int add_alias(struct document *document, const yaml_event_t *event)
{
	const char *name = (const char *)event->data.alias.anchor;
	char quoted[CONFIG_VALUE_BYTES];

	config_value_quote(quoted, name);
	/* The last anchor of a name counts. */
	for (size_t i = document->anchors.n; i > 0; i--) {
		struct config_yaml_node *node = document->anchors.at[i - 1].node;
		int r;

		if (strcmp(document->anchors.at[i - 1].name, name) != 0)
			continue;
		for (size_t j = 0; j < document->depth; j++)
			if (document->levels[j].node == node)
				return refuse(document, event->start_mark, "alias `*%s` inside of what it stands for",
						quoted);
		r = count_nodes(document, event->start_mark, node->n_nodes);
		return r != 0 ? r : place_node(document, node, event->start_mark);
	}
	return refuse(document, event->start_mark, "alias `*%s` without an anchor before it", quoted);
}

static int open_level(struct document *document, const yaml_event_t *event, enum config_yaml_kind kind,
		const yaml_char_t *anchor, const yaml_char_t *tag)
{
	struct config_yaml_node *node;
	int r;

	if (document->depth == MAX_DEPTH)
		return refuse(document, event->start_mark, "nested more than %d deep", MAX_DEPTH);
	r = new_node(document, event, kind, anchor, tag, &node);
	if (r != 0)
		return r;
	r = place_node(document, node, event->start_mark);
	if (r != 0)
		return r;
	/* Until it is closed, n_nodes is the count at which it began. */
	node->n_nodes = document->n_nodes - 1;
	document->levels[document->depth++] = (struct level){ .node = node };
	return 0;
}

static int close_level(struct document *document)
{
	struct config_yaml_node *node = document->levels[--document->depth].node;

	node->n_nodes = document->n_nodes - node->n_nodes;
	return node->kind == CONFIG_YAML_MAPPING ? refuse_duplicates(document, node) : 0;
}

static int add_event(struct document *document, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return add_scalar(document, event);
	case YAML_ALIAS_EVENT:
		return add_alias(document, event);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(document, event, CONFIG_YAML_LIST, event->data.sequence_start.anchor,
				event->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return open_level(document, event, CONFIG_YAML_MAPPING, event->data.mapping_start.anchor,
				event->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return close_level(document);
	case YAML_DOCUMENT_START_EVENT:
		if (document->root)
			return refuse(document, event->start_mark, "a second document; one file holds one");
		return 0;
	default:
		return 0;
	}
}

int config_yaml_read(struct config_arena *arena, const char *file, const void *data, size_t size, struct diag *diag,
		const struct config_yaml_node **ret)
{
	struct document document = { .arena = arena, .file = file, .diag = diag };
	bool ended = false;
	int r = 0;

	if (!yaml_parser_initialize(&document.parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&document.parser, data, size);
	/* Else a file could call itself UTF-16. */
	yaml_parser_set_encoding(&document.parser, YAML_UTF8_ENCODING);
	while (r == 0 && !ended) {
		yaml_event_t event;

		if (!yaml_parser_parse(&document.parser, &event)) {
			r = refuse_syntax(&document, data, size);
			break;
		}
		r = add_event(&document, &event);
		ended = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&document.parser);
	vec_deinit(&document.anchors);
	if (r == 0)
		*ret = document.root && !config_yaml_is_null(document.root) ? document.root : NULL;
	return r;
}
