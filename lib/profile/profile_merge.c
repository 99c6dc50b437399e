/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "diag.h"
#include "map.h"
#include "profile.h"

/* What became of the numbers of one profile in the other; index 0 is 0. */
struct merge {
	struct profile *into;
	const struct profile *from;
	uint32_t *strings, *mappings, *functions, *locations;
};

static bool type_equal(const struct profile *a, const struct profile_value_type *a_type, const struct profile *b,
		const struct profile_value_type *b_type)
{
	return !strcmp(profile_get_string(a, a_type->type), profile_get_string(b, b_type->type)) &&
			!strcmp(profile_get_string(a, a_type->unit), profile_get_string(b, b_type->unit));
}

static bool is_fresh(const struct profile *profile)
{
	return profile->sample_types.n == 0 && profile->samples.n == 0 && profile->period_type.type == 0;
}

static int wrong_type(const char *name, const char *what, const struct profile *into, const struct profile_value_type *wanted,
		const struct profile *from, const struct profile_value_type *found, struct diag *diag)
{
	diag_error(diag, name, 0, 0, "cannot be merged: its %s is %s/%s, that of the others is %s/%s", what,
			profile_get_string(from, found->type), profile_get_string(from, found->unit),
			profile_get_string(into, wanted->type), profile_get_string(into, wanted->unit));
	return PROFILE_MERGE_E_TYPES;
}

static int check_types(const struct profile *into, const struct profile *from, const char *name, struct diag *diag)
{
	if (!type_equal(into, &into->period_type, from, &from->period_type))
		return wrong_type(name, "period type", into, &into->period_type, from, &from->period_type, diag);
	if (into->sample_types.n != from->sample_types.n) {
		diag_error(diag, name, 0, 0, "cannot be merged: it has %zu sample types, the others have %zu",
				from->sample_types.n, into->sample_types.n);
		return PROFILE_MERGE_E_TYPES;
	}
	for (size_t i = 0; i < into->sample_types.n; i++)
		if (!type_equal(into, &into->sample_types.at[i], from, &from->sample_types.at[i]))
			return wrong_type(name, "sample type", into, &into->sample_types.at[i], from,
					&from->sample_types.at[i], diag);
	return 0;
}

/* Only strings that are used are taken along. */
static int merge_string(struct merge *m, uint32_t number, uint32_t *ret)
{
	const char *string;
	size_t length;
	int r;

	if (number && !m->strings[number]) {
		string = strtab_get(m->from->strings, number, &length);
		r = strtab_add(m->into->strings, string, length, &m->strings[number]);
		if (r < 0)
			return r;
	}
	*ret = m->strings[number];
	return 0;
}

static int merge_types(struct merge *m)
{
	struct profile_value_type type;
	int r;

	for (size_t i = 0; i <= m->from->sample_types.n; i++) {
		const bool is_period = i == m->from->sample_types.n;
		const struct profile_value_type *from = is_period ? &m->from->period_type : &m->from->sample_types.at[i];

		r = merge_string(m, from->type, &type.type);
		if (r < 0)
			return r;
		r = merge_string(m, from->unit, &type.unit);
		if (r < 0)
			return r;
		if (is_period)
			m->into->period_type = type;
		else if (vec_push(&m->into->sample_types, type) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int merge_comments(struct merge *m)
{
	struct map known;
	uint32_t comment;
	void *value;
	int r = 0;

	map_init(&known, sizeof(comment), 0);
	for (size_t i = 0; i < m->into->comments.n && r >= 0; i++)
		r = map_put(&known, &m->into->comments.at[i], &value);
	for (size_t i = 0; i < m->from->comments.n && r >= 0; i++) {
		r = merge_string(m, m->from->comments.at[i], &comment);
		if (r >= 0)
			r = map_put(&known, &comment, &value);
		if (r > 0)
			r = vec_push(&m->into->comments, comment);
	}
	map_deinit(&known);
	return MIN(r, 0);
}

static int merge_header(struct merge *m)
{
	struct profile *into = m->into;
	const struct profile *from = m->from;
	const struct {
		uint32_t *into, from;
	} firsts[] = {
		{ &into->default_sample_type, from->default_sample_type },
		{ &into->doc_url, from->doc_url },
		{ &into->drop_frames, from->drop_frames },
		{ &into->keep_frames, from->keep_frames },
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(firsts); i++)
		if (!*firsts[i].into) {
			r = merge_string(m, firsts[i].from, firsts[i].into);
			if (r < 0)
				return r;
		}
	if (from->time_nsec && (!into->time_nsec || from->time_nsec < into->time_nsec))
		into->time_nsec = from->time_nsec;
	if (__builtin_add_overflow(into->duration_nsec, from->duration_nsec, &into->duration_nsec))
		return -EOVERFLOW;
	into->period = MAX(into->period, from->period);
	return merge_comments(m);
}

static int merge_mappings(struct merge *m)
{
	for (size_t i = 0; i < m->from->mappings.n; i++) {
		struct profile_mapping mapping = m->from->mappings.at[i];
		int r;

		r = merge_string(m, mapping.file, &mapping.file);
		if (r < 0)
			return r;
		r = merge_string(m, mapping.build_id, &mapping.build_id);
		if (r < 0)
			return r;
		r = profile_add_mapping(m->into, &mapping, &m->mappings[i + 1]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int merge_functions(struct merge *m)
{
	for (size_t i = 0; i < m->from->functions.n; i++) {
		struct profile_function function = m->from->functions.at[i];
		int r;

		r = merge_string(m, function.name, &function.name);
		if (r < 0)
			return r;
		r = merge_string(m, function.system_name, &function.system_name);
		if (r < 0)
			return r;
		r = merge_string(m, function.file, &function.file);
		if (r < 0)
			return r;
		r = profile_add_function(m->into, &function, &m->functions[i + 1]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int merge_locations(struct merge *m)
{
	VEC(struct profile_line) lines = { 0 };
	int r = 0;

	for (size_t i = 0; i < m->from->locations.n && r >= 0; i++) {
		const struct profile_location *location = &m->from->locations.at[i];

		lines.n = 0;
		r = vec_append(&lines, m->from->lines.at + location->first_line, location->n_lines);
		for (size_t j = 0; j < lines.n; j++)
			lines.at[j].function = m->functions[lines.at[j].function];
		if (r >= 0)
			r = profile_add_location(m->into, m->mappings[location->mapping], location->address, lines.at, lines.n,
					&m->locations[i + 1]);
		if (r >= 0)
			m->into->locations.at[m->locations[i + 1] - 1].is_folded |= location->is_folded;
	}
	vec_deinit(&lines);
	return r;
}

static int merge_label(struct merge *m, struct profile_label *label)
{
	int r;

	r = merge_string(m, label->key, &label->key);
	if (r < 0)
		return r;
	r = merge_string(m, label->str, &label->str);
	if (r < 0)
		return r;
	return merge_string(m, label->num_unit, &label->num_unit);
}

static int merge_samples(struct merge *m)
{
	const struct profile *from = m->from;
	VEC(uint32_t) stack = { 0 };
	VEC(struct profile_label) labels = { 0 };
	int r = 0;

	for (size_t i = 0; i < from->samples.n && r >= 0; i++) {
		const struct profile_sample *sample = &from->samples.at[i];

		stack.n = labels.n = 0;
		r = vec_append(&stack, from->stack.at + sample->first_location, sample->n_locations);
		if (r >= 0)
			r = vec_append(&labels, from->labels.at + sample->first_label, sample->n_labels);
		for (size_t j = 0; j < stack.n; j++)
			stack.at[j] = m->locations[stack.at[j]];
		for (size_t j = 0; j < labels.n && r >= 0; j++)
			r = merge_label(m, &labels.at[j]);
		if (r >= 0)
			r = profile_add_sample(m->into, stack.at, stack.n, profile_values(from, i), labels.at, labels.n);
	}
	vec_deinit(&stack);
	vec_deinit(&labels);
	return r;
}

static int merge_all(struct merge *m)
{
	int r = 0;

	if (is_fresh(m->into))
		r = merge_types(m);
	if (r >= 0)
		r = merge_header(m);
	if (r >= 0)
		r = merge_mappings(m);
	if (r >= 0)
		r = merge_functions(m);
	if (r >= 0)
		r = merge_locations(m);
	if (r >= 0)
		r = merge_samples(m);
	return MIN(r, 0);
}

int profile_merge_into(struct profile *into, const struct profile *from, const char *name, struct diag *diag)
{
	_cleanup_free_ uint32_t *numbers = NULL;
	size_t n_strings = strtab_count(from->strings);
	struct merge m = { .into = into, .from = from };
	int r;

	if (!is_fresh(into)) {
		r = check_types(into, from, name, diag);
		if (r != 0)
			return r;
	}
	numbers = calloc(n_strings + from->mappings.n + from->functions.n + from->locations.n + 3, sizeof(*numbers));
	if (!numbers)
		return -ENOMEM;
	m.strings = numbers;
	m.mappings = m.strings + n_strings;
	m.functions = m.mappings + from->mappings.n + 1;
	m.locations = m.functions + from->functions.n + 1;
	return merge_all(&m);
}

int profile_merge(const struct profile *const *profiles, const char *const *names, size_t n, struct diag *diag,
		struct profile **ret)
{
	_cleanup_(profile_free_p) struct profile *merged = profile_new();
	int r;

	if (!merged)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		r = profile_merge_into(merged, profiles[i], names[i], diag);
		if (r != 0)
			return r;
	}
	*ret = TAKE(merged);
	return 0;
}
