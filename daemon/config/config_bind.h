/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Carries a YAML tree into the structs that the field table describes, and remembers where each value was written.
 */
#include <stdbool.h>
#include <stddef.h>

#include "config_field.h"
#include "config_yaml.h"
#include "map.h"
#include "vec.h"

struct config_arena;
struct diag;

struct config_written {
	struct config_place place;
	bool is_wrong;               /* an error was told about it: the value says nothing */
};

struct config_binder {
	struct config_arena *arena;
	struct diag *diag;
	struct config *config;       /* that sections of records inherit from */
	bool quiet;                  /* tells diag nothing: all was told before */
	size_t n_errors;             /* told or not */
	struct map written;          /* place in the config, is it a section -> struct config_written */
	VEC(const struct config_field *) warned;
};

void config_binder_init(struct config_binder *binder, struct config_arena *arena, struct diag *diag,
		struct config *config);
void config_binder_deinit(struct config_binder *binder);

/* These return 0 or -ENOMEM; what is wrong with the file is told to diag, and those values stay as they were. */

/* Sets each value of the config to its default. */
int config_bind_defaults(struct config_binder *binder);
/* Carries over what the tree has. */
int config_bind_tree(struct config_binder *binder, const struct config_yaml_node *root);
/* Whether a tree has a list of targets, and carries over that alone. */
bool config_bind_has_targets(const struct config_yaml_node *root);
int config_bind_targets(struct config_binder *binder, const struct config_yaml_node *root);
/* Carries over one value; the key is a dotted path that the table must know. */
int config_bind_override(struct config_binder *binder, const struct config_override *override);

/*
 * Where a value was written last; NULL: nowhere, it is a default or inherited. is_section: the section that begins at
 * this address is meant, not its first key.
 */
const struct config_written *config_written(const struct config_binder *binder, const void *value, bool is_section);

/* Tells of an error, with file, line and column. */
void config_bind_error(struct config_binder *binder, const struct config_place *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
