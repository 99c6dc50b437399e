/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A YAML document as a tree that knows where each part was written. Reads hostile bytes: size, depth and the number of
 * nodes are bounded, aliases count with all they stand for.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_arena;
struct diag;

struct config_place {
	const char *file;
	size_t line, column;         /* from 1; 0: the command line */
};

enum config_yaml_kind {
	CONFIG_YAML_SCALAR,
	CONFIG_YAML_LIST,
	CONFIG_YAML_MAPPING,
};

struct config_yaml_node {
	enum config_yaml_kind kind;
	struct config_place place;
	const char *text;            /* of a scalar */
	bool plain;                  /* a scalar without quotes: may be a number, a boolean or nothing */
	struct config_yaml_item *items;
	size_t n_items;
	/* While it is being read. */
	size_t n_allocated, n_nodes; /* n_nodes: with all below, aliases followed */
};

struct config_yaml_item {
	const struct config_yaml_node *key; /* a scalar, each text once in a mapping; NULL in lists */
	const struct config_yaml_node *value;
};

/* Whether it is a plain scalar that stands for nothing: absent, ~, null. */
bool config_yaml_is_null(const struct config_yaml_node *node);

/*
 * Reads one document; `file` is how messages call it and must live as long as the arena, which the tree lives in.
 * 0, with *ret NULL when there is nothing but comments; CONFIG_YAML_E_INVALID after telling diag why; -ENOMEM. A key
 * that is there twice is told to diag as an error, too, and the first one is in the tree: what is below is worth reading.
 */
int config_yaml_read(struct config_arena *arena, const char *file, const void *data, size_t size, struct diag *diag,
		const struct config_yaml_node **ret);
enum { CONFIG_YAML_E_INVALID = 1 };
