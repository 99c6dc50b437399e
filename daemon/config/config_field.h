/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The table of all keys of profiling.yaml. It alone drives what is read, what is checked, what has which default, what
 * is printed, which key is suggested for a misspelt one, and which has no effect in this version.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

/* What a key holds, and in which C type. */
enum config_type {
	CONFIG_BOOL,                 /* bool */
	CONFIG_INTEGER,              /* uint32_t */
	CONFIG_DURATION,             /* uint64_t: microseconds */
	CONFIG_SIZE,                 /* uint64_t: bytes */
	CONFIG_SHARE,                /* uint32_t: parts per million */
	CONFIG_CHOICE,               /* uint32_t: number of the choice */
	CONFIG_STRING,               /* const char * */
	CONFIG_STRINGS,              /* struct config_strings */
	CONFIG_SECTION,              /* its own struct, embedded */
	CONFIG_RECORDS,              /* pointer to structs, then size_t: how many */
	CONFIG_PAIRS,                /* pointer to struct config_env_label, then size_t: how many */
	CONFIG_ANYTHING,             /* not read at all */
};

/* Of CONFIG_RECORDS and CONFIG_PAIRS, in this order in the struct. */
struct config_array {
	const void *at;
	size_t n;
};

/*
 * What is wrong with a text, as the end of "`KEY` wants …"; NULL when nothing is. command_line: it was given there,
 * where a relative path is nothing odd. A check may return another form of the text in *text (static or from the arena).
 */
struct config_arena;
typedef const char *(*config_check_fn)(struct config_arena *arena, bool command_line, const char **text);

struct config_field {
	const char *key;
	enum config_type type;
	bool no_effect;              /* accepted with a warning: belongs to a part that does not exist yet */
	bool required;
	size_t offset;
	uint64_t min, max;           /* inclusive */
	const char *standard;        /* the default, as one would write it; NULL: zero */
	const char *const *choices;  /* NULL-terminated */
	config_check_fn check;
	const struct config_section *section; /* of sections and records */
	/* A section whose values begin as those of this part of struct config, not as the table's: 1 + offset. */
	size_t inherits;
};

struct config_section {
	const struct config_field *fields;
	size_t n_fields;
	size_t size;                 /* of the struct */
};

/* The whole file, into struct config. */
extern const struct config_section config_root;

/* For messages: "a whole number from 1 to 9999". */
void config_field_describe(const struct config_field *field, char *ret_text, size_t size);
