/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The value everything is about, in the shape of profile.proto (google/pprof proto/profile.proto, whose words it uses):
 * stacks with values, and the locations, functions and mappings that give the stacks a name.
 *
 * All of it lies in a few flat arrays. They may be read directly; they are written through the functions below, which
 * keep each mapping, function, location and sample once. Ids count from 1 and are the index plus one; 0 is "none".
 * Strings are numbers of `strings`, 0 is "": turn a string into its number once, with profile_string(), not per sample.
 *
 *	profile_set_kind(p, PROFILE_CPU, period_nsec);
 *	profile_add_mapping(p, &(struct profile_mapping){ .start = ..., .has_functions = true }, &mapping);
 *	profile_add_function(p, &(struct profile_function){ .name = name, .system_name = name }, &function);
 *	profile_add_location(p, mapping, address, &(struct profile_line){ .function = function, .line = 7 }, 1, &location);
 *	profile_add_sample(p, locations, n_locations, (int64_t[]){ 1, period_nsec }, labels, n_labels);
 *
 * Functions that return int give 0 or -ENOMEM, or what they name; the profile is as it was after a failure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "intern.h"
#include "profile_kind.h"
#include "strtab.h"
#include "vec.h"

struct profile_value_type {
	uint32_t type, unit;                 /* strings */
};

/*
 * Where a file lay in memory. The first one is taken for the main program by pprof. has_* tell what was symbolized:
 * with none of them set, `go tool pprof` replaces our names by those of the analyst's own copy of the file.
 */
struct profile_mapping {
	uint64_t start, limit, offset;       /* addresses [start, limit) show the file from offset on */
	uint32_t file, build_id;             /* strings; the build id in hexadecimal */
	bool has_functions, has_filenames, has_line_numbers, has_inline_frames;
};

struct profile_function {
	uint32_t name;                       /* string; for people */
	uint32_t system_name;                /* string; as the linker knows it (mangled); equal to name when it is the same */
	uint32_t file;                       /* string */
	int64_t start_line;                  /* 0: unknown */
};

struct profile_line {
	uint32_t function;                   /* id */
	int64_t line, column;                /* 0: unknown */
};

struct profile_location {
	uint32_t mapping;                    /* id, or 0 */
	bool is_folded;
	uint64_t address;
	uint32_t first_line, n_lines;        /* in lines[]: innermost first, the last one is the function that is not inlined */
};

/* Either str or num. Give a key once in a sample: pprof shows only one of its values. */
struct profile_label {
	uint32_t key;                        /* string */
	uint32_t str;                        /* string */
	int64_t num;
	uint32_t num_unit;                   /* string */
};

struct profile_sample {
	size_t first_location;               /* in stack[]: location ids, leaf first */
	size_t first_label;                  /* in labels[], sorted by key, so that order makes no difference */
	uint32_t n_locations, n_labels;
};

struct profile {
	struct strtab *strings;

	VEC(struct profile_value_type) sample_types;
	uint32_t default_sample_type;        /* string, or 0: the last one */
	struct profile_value_type period_type;
	int64_t period;
	int64_t time_nsec;                   /* wall clock of the start, since 1970 */
	int64_t duration_nsec;
	VEC(uint32_t) comments;              /* strings */
	uint32_t doc_url, drop_frames, keep_frames; /* strings */

	VEC(struct profile_mapping) mappings;
	VEC(struct profile_function) functions;
	VEC(struct profile_location) locations;
	VEC(struct profile_line) lines;
	VEC(struct profile_sample) samples;
	VEC(uint32_t) stack;
	VEC(struct profile_label) labels;
	VEC(int64_t) values;                 /* sample_types.n for each sample, in the order of samples */

	/* What finds an equal one; for profile.c. */
	struct intern mapping_index, function_index, location_index, sample_index;
};

/* NULL when out of memory. */
struct profile *profile_new(void);
struct profile *profile_free(struct profile *profile);
DEFINE_CLEANUP(struct profile, profile_free);

/* The number of a string, added when it is new; NULL counts as "". -E2BIG above 2^31 strings. */
int profile_string(struct profile *profile, const char *string, uint32_t *ret);
/* The same of a stranger's text, as a path or the name of a thread, made fit to show (text.h); of at most PATH_MAX bytes. */
int profile_clean_string(struct profile *profile, const char *text, uint32_t *ret);
/* The terminated string of a number; valid until the next string is added. */
const char *profile_get_string(const struct profile *profile, uint32_t string);

/*
 * Sets sample types, default sample type, period type and period as profile_kind.h has them. -EBUSY when the profile has
 * sample types or samples.
 */
int profile_set_kind(struct profile *profile, enum profile_kind kind, int64_t period);
/* One more sample type. -EBUSY when there are samples. */
int profile_add_sample_type(struct profile *profile, const char *type, const char *unit);
/* The index of a sample type by its type, or -ENOENT. */
int profile_find_sample_type(const struct profile *profile, const char *type);

/* A line that pprof shows verbatim under the header. Not deduplicated. */
int profile_add_comment(struct profile *profile, const char *comment);
int profile_add_comment_format(struct profile *profile, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Equal in all but has_*, which are joined: what one of the two knew is known. */
int profile_add_mapping(struct profile *profile, const struct profile_mapping *mapping, uint32_t *ret_id);
int profile_add_function(struct profile *profile, const struct profile_function *function, uint32_t *ret_id);
/* Lines innermost first, none when nothing is known. -EINVAL when mapping or a function is no id of this profile. */
int profile_add_location(struct profile *profile, uint32_t mapping, uint64_t address, const struct profile_line *lines,
	size_t n_lines, uint32_t *ret_id);

/*
 * Adds values (sample_types.n of them) to the sample with these locations (ids, leaf first) and labels (in any order;
 * none when n_labels is 0), which is made when there is none.
 * Returns 1 when it was made, 0 when it was there; -EINVAL when there are no sample types or a location is no id of this
 * profile, -EOVERFLOW when a sum does not fit.
 */
int profile_add_sample(struct profile *profile, const uint32_t *locations, size_t n_locations, const int64_t *values,
	const struct profile_label *labels, size_t n_labels);

/* The values of samples.at[i]. */
static inline const int64_t *profile_values(const struct profile *profile, size_t i)
{
	return profile->values.at + i * profile->sample_types.n;
}

/* The sum of one sample type over all samples; stops at the ends of int64_t. */
int64_t profile_total(const struct profile *profile, size_t sample_type);

/* Bytes of memory that it takes, within a few percent. */
size_t profile_memory(const struct profile *profile);
