/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "text.h"

/* Ids and places in arrays are 32 bits wide where a billion of them is out of reach anyhow. */
static const size_t max_things = UINT32_MAX - 1;

struct profile *profile_new(void)
{
	struct profile *profile = calloc(1, sizeof(*profile));

	if (!profile)
		return NULL;
	profile->strings = strtab_new();
	if (!profile->strings)
		return profile_free(profile);
	return profile;
}

struct profile *profile_free(struct profile *profile)
{
	if (!profile)
		return NULL;
	strtab_free(profile->strings);
	vec_deinit(&profile->sample_types);
	vec_deinit(&profile->comments);
	vec_deinit(&profile->mappings);
	vec_deinit(&profile->functions);
	vec_deinit(&profile->locations);
	vec_deinit(&profile->lines);
	vec_deinit(&profile->samples);
	vec_deinit(&profile->stack);
	vec_deinit(&profile->labels);
	vec_deinit(&profile->values);
	intern_deinit(&profile->mapping_index);
	intern_deinit(&profile->function_index);
	intern_deinit(&profile->location_index);
	intern_deinit(&profile->sample_index);
	free(profile);
	return NULL;
}

int profile_string(struct profile *profile, const char *string, uint32_t *ret)
{
	return strtab_add_string(profile->strings, string, ret);
}

int profile_clean_string(struct profile *profile, const char *text, uint32_t *ret)
{
	char clean[PATH_MAX];

	text_clean(text, clean, sizeof(clean));
	return profile_string(profile, clean, ret);
}

const char *profile_get_string(const struct profile *profile, uint32_t string)
{
	return strtab_get(profile->strings, string, NULL);
}

static int value_type(struct profile *profile, const char *type, const char *unit, struct profile_value_type *ret)
{
	struct profile_value_type value_type;
	int r;

	r = profile_string(profile, type, &value_type.type);
	if (r < 0)
		return r;
	r = profile_string(profile, unit, &value_type.unit);
	if (r < 0)
		return r;
	*ret = value_type;
	return 0;
}

int profile_add_sample_type(struct profile *profile, const char *type, const char *unit)
{
	struct profile_value_type added;
	int r;

	if (profile->samples.n)
		return -EBUSY;
	r = value_type(profile, type, unit, &added);
	if (r < 0)
		return r;
	return vec_push(&profile->sample_types, added);
}

int profile_set_kind(struct profile *profile, enum profile_kind kind, int64_t period)
{
	const struct profile_kind_info *info = profile_kind_info(kind);
	struct profile_value_type period_type;
	uint32_t default_sample_type;
	int r;

	if (profile->sample_types.n || profile->samples.n)
		return -EBUSY;
	r = value_type(profile, info->period_type.type, info->period_type.unit, &period_type);
	if (r < 0)
		return r;
	r = profile_string(profile, info->default_sample_type, &default_sample_type);
	if (r < 0)
		return r;
	for (size_t i = 0; i < info->n_sample_types; i++) {
		r = profile_add_sample_type(profile, info->sample_types[i].type, info->sample_types[i].unit);
		if (r < 0) {
			profile->sample_types.n = 0;
			return r;
		}
	}
	profile->period_type = period_type;
	profile->default_sample_type = default_sample_type;
	profile->period = info->fixed_period ? info->fixed_period : period;
	return 0;
}

int profile_find_sample_type(const struct profile *profile, const char *type)
{
	for (size_t i = 0; i < profile->sample_types.n; i++)
		if (!strcmp(profile_get_string(profile, profile->sample_types.at[i].type), type))
			return (int)i;
	return -ENOENT;
}

int profile_add_comment(struct profile *profile, const char *comment)
{
	uint32_t string;
	int r;

	r = profile_string(profile, comment, &string);
	if (r < 0)
		return r;
	return vec_push(&profile->comments, string);
}

int profile_add_comment_format(struct profile *profile, const char *format, ...)
{
	_cleanup_free_ char *comment = NULL;
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vasprintf(&comment, format, arguments);
	va_end(arguments);
	if (n < 0) {
		comment = NULL;
		return -ENOMEM;
	}
	return profile_add_comment(profile, comment);
}

static bool mapping_equal(const void *owner, uint32_t index, const void *wanted)
{
	const struct profile_mapping *a = &((const struct profile *)owner)->mappings.at[index], *b = wanted;

	return a->start == b->start && a->limit == b->limit && a->offset == b->offset && a->file == b->file &&
			a->build_id == b->build_id;
}

int profile_add_mapping(struct profile *profile, const struct profile_mapping *mapping, uint32_t *ret_id)
{
	uint64_t hash = hash_bytes((uint64_t[]){ mapping->start, mapping->limit, mapping->offset,
			(uint64_t)mapping->file << 32 | mapping->build_id }, 4 * sizeof(uint64_t));
	struct profile_mapping *known;
	uint32_t index;
	int r;

	if (intern_find(&profile->mapping_index, hash, mapping_equal, profile, mapping, &index)) {
		known = &profile->mappings.at[index];
		known->has_functions |= mapping->has_functions;
		known->has_filenames |= mapping->has_filenames;
		known->has_line_numbers |= mapping->has_line_numbers;
		known->has_inline_frames |= mapping->has_inline_frames;
		*ret_id = index + 1;
		return 0;
	}
	r = intern_reserve(&profile->mapping_index);
	if (r < 0)
		return r;
	r = vec_push(&profile->mappings, *mapping);
	if (r < 0)
		return r;
	intern_add(&profile->mapping_index, hash, profile->mappings.n - 1);
	*ret_id = profile->mappings.n;
	return 0;
}

static bool function_equal(const void *owner, uint32_t index, const void *wanted)
{
	const struct profile_function *a = &((const struct profile *)owner)->functions.at[index], *b = wanted;

	return a->name == b->name && a->system_name == b->system_name && a->file == b->file && a->start_line == b->start_line;
}

int profile_add_function(struct profile *profile, const struct profile_function *function, uint32_t *ret_id)
{
	uint64_t hash = hash_bytes((uint64_t[]){ (uint64_t)function->name << 32 | function->system_name, function->file,
			function->start_line }, 3 * sizeof(uint64_t));
	uint32_t index;
	int r;

	if (intern_find(&profile->function_index, hash, function_equal, profile, function, &index)) {
		*ret_id = index + 1;
		return 0;
	}
	r = intern_reserve(&profile->function_index);
	if (r < 0)
		return r;
	r = vec_push(&profile->functions, *function);
	if (r < 0)
		return r;
	intern_add(&profile->function_index, hash, profile->functions.n - 1);
	*ret_id = profile->functions.n;
	return 0;
}

/* A location as it is looked for, before it has a place. */
struct wanted_location {
	uint32_t mapping;
	uint64_t address;
	const struct profile_line *lines;
	size_t n_lines;
};

static bool location_equal(const void *owner, uint32_t index, const void *wanted)
{
	const struct profile *profile = owner;
	const struct profile_location *a = &profile->locations.at[index];
	const struct wanted_location *b = wanted;

	if (a->mapping != b->mapping || a->address != b->address || a->n_lines != b->n_lines)
		return false;
	for (size_t i = 0; i < b->n_lines; i++) {
		const struct profile_line *line = &profile->lines.at[a->first_line + i];

		if (line->function != b->lines[i].function || line->line != b->lines[i].line ||
				line->column != b->lines[i].column)
			return false;
	}
	return true;
}

static uint64_t location_hash(const struct wanted_location *wanted)
{
	uint64_t hash = hash_bytes((uint64_t[]){ wanted->mapping, wanted->address, wanted->n_lines }, 3 * sizeof(uint64_t));

	for (size_t i = 0; i < wanted->n_lines; i++)
		hash = hash_bytes((uint64_t[]){ hash, wanted->lines[i].function, wanted->lines[i].line, wanted->lines[i].column },
				4 * sizeof(uint64_t));
	return hash;
}

int profile_add_location(struct profile *profile, uint32_t mapping, uint64_t address, const struct profile_line *lines,
		size_t n_lines, uint32_t *ret_id)
{
	const struct wanted_location wanted = { mapping, address, lines, n_lines };
	const struct profile_location added = { .mapping = mapping, .address = address,
		.first_line = profile->lines.n, .n_lines = n_lines };
	uint64_t hash;
	uint32_t index;
	int r;

	if (mapping > profile->mappings.n)
		return -EINVAL;
	for (size_t i = 0; i < n_lines; i++)
		if (lines[i].function == 0 || lines[i].function > profile->functions.n)
			return -EINVAL;
	hash = location_hash(&wanted);
	if (intern_find(&profile->location_index, hash, location_equal, profile, &wanted, &index)) {
		*ret_id = index + 1;
		return 0;
	}
	if (n_lines > max_things - profile->lines.n)
		return -ENOMEM;
	r = intern_reserve(&profile->location_index);
	if (r < 0)
		return r;
	r = vec_reserve(&profile->locations, profile->locations.n + 1);
	if (r < 0)
		return r;
	r = vec_append(&profile->lines, lines, n_lines);
	if (r < 0)
		return r;
	profile->locations.at[profile->locations.n] = added;
	intern_add(&profile->location_index, hash, profile->locations.n);
	*ret_id = ++profile->locations.n;
	return 0;
}

static int label_compare(const void *left, const void *right)
{
	const struct profile_label *a = left, *b = right;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	if (a->str != b->str)
		return a->str < b->str ? -1 : 1;
	if (a->num != b->num)
		return a->num < b->num ? -1 : 1;
	return a->num_unit == b->num_unit ? 0 : a->num_unit < b->num_unit ? -1 : 1;
}

static void sort_labels(struct profile_label *labels, size_t n)
{
	if (n > 16) {
		qsort(labels, n, sizeof(*labels), label_compare);
		return;
	}
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && label_compare(&labels[j - 1], &labels[j]) > 0; j--) {
			struct profile_label moved = labels[j];

			labels[j] = labels[j - 1];
			labels[j - 1] = moved;
		}
}

/* A sample as it is looked for; its labels are sorted. */
struct wanted_sample {
	const uint32_t *locations;
	size_t n_locations;
	const struct profile_label *labels;
	size_t n_labels;
};

static bool sample_equal(const void *owner, uint32_t index, const void *wanted)
{
	const struct profile *profile = owner;
	const struct profile_sample *a = &profile->samples.at[index];
	const struct wanted_sample *b = wanted;

	if (a->n_locations != b->n_locations || a->n_labels != b->n_labels)
		return false;
	if (a->n_locations &&
			memcmp(profile->stack.at + a->first_location, b->locations, a->n_locations * sizeof(uint32_t)) != 0)
		return false;
	for (size_t i = 0; i < b->n_labels; i++)
		if (label_compare(&profile->labels.at[a->first_label + i], &b->labels[i]) != 0)
			return false;
	return true;
}

static uint64_t sample_hash(const struct wanted_sample *wanted)
{
	uint64_t hash = hash_bytes(wanted->locations, wanted->n_locations * sizeof(uint32_t));

	for (size_t i = 0; i < wanted->n_labels; i++) {
		const struct profile_label *label = &wanted->labels[i];

		hash = hash_bytes((uint64_t[]){ hash, (uint64_t)label->key << 32 | label->str, label->num, label->num_unit },
				4 * sizeof(uint64_t));
	}
	return hash;
}

static int add_values(int64_t *to, const int64_t *from, size_t n)
{
	int64_t sum;

	for (size_t i = 0; i < n; i++)
		if (__builtin_add_overflow(to[i], from[i], &sum))
			return -EOVERFLOW;
	for (size_t i = 0; i < n; i++)
		to[i] += from[i];
	return 0;
}

int profile_add_sample(struct profile *profile, const uint32_t *locations, size_t n_locations, const int64_t *values,
		const struct profile_label *labels, size_t n_labels)
{
	const size_t n_types = profile->sample_types.n;
	const struct profile_sample added = { profile->stack.n, profile->labels.n, n_locations, n_labels };
	struct wanted_sample wanted = { locations, n_locations, NULL, n_labels };
	struct profile_label *sorted;
	uint64_t hash;
	uint32_t index;
	int r;

	if (n_types == 0)
		return -EINVAL;
	for (size_t i = 0; i < n_locations; i++)
		if (locations[i] == 0 || locations[i] > profile->locations.n)
			return -EINVAL;
	if (n_locations > max_things || n_labels > max_things || profile->samples.n >= max_things)
		return -ENOMEM;

	/* The labels are sorted where they will lie if the sample is new. */
	if (n_labels) {
		r = vec_reserve(&profile->labels, profile->labels.n + n_labels);
		if (r < 0)
			return r;
		sorted = profile->labels.at + profile->labels.n;
		memcpy(sorted, labels, n_labels * sizeof(*sorted));
		sort_labels(sorted, n_labels);
		wanted.labels = sorted;
	}

	hash = sample_hash(&wanted);
	if (intern_find(&profile->sample_index, hash, sample_equal, profile, &wanted, &index))
		return add_values(profile->values.at + index * n_types, values, n_types);

	r = intern_reserve(&profile->sample_index);
	if (r < 0)
		return r;
	r = vec_reserve(&profile->samples, profile->samples.n + 1);
	if (r < 0)
		return r;
	r = vec_reserve(&profile->values, profile->values.n + n_types);
	if (r < 0)
		return r;
	r = vec_append(&profile->stack, locations, n_locations);
	if (r < 0)
		return r;
	vec_append(&profile->values, values, n_types);
	profile->labels.n += n_labels;
	profile->samples.at[profile->samples.n] = added;
	intern_add(&profile->sample_index, hash, profile->samples.n++);
	return 1;
}

int64_t profile_total(const struct profile *profile, size_t sample_type)
{
	int64_t total = 0;

	for (size_t i = 0; i < profile->samples.n; i++) {
		int64_t value = profile_values(profile, i)[sample_type];

		if (__builtin_add_overflow(total, value, &total))
			return value > 0 ? INT64_MAX : INT64_MIN;
	}
	return total;
}

#define VEC_MEMORY(v) ((v)->n_allocated * sizeof(*(v)->at))

size_t profile_memory(const struct profile *profile)
{
	size_t n_strings = strtab_count(profile->strings), length;
	const char *last = strtab_get(profile->strings, n_strings - 1, &length);

	/* All strings lie behind each other; what finds them takes an entry of 16 bytes and two to four slots each. */
	return sizeof(*profile) + (size_t)(last - strtab_get(profile->strings, 0, NULL)) + length + n_strings * 28 +
			VEC_MEMORY(&profile->sample_types) + VEC_MEMORY(&profile->comments) + VEC_MEMORY(&profile->mappings) +
			VEC_MEMORY(&profile->functions) + VEC_MEMORY(&profile->locations) + VEC_MEMORY(&profile->lines) +
			VEC_MEMORY(&profile->samples) + VEC_MEMORY(&profile->stack) + VEC_MEMORY(&profile->labels) +
			VEC_MEMORY(&profile->values) + intern_memory(&profile->mapping_index) +
			intern_memory(&profile->function_index) + intern_memory(&profile->location_index) +
			intern_memory(&profile->sample_index);
}
