/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Profiles made up by a seed, and a comparison of two profiles that does not care for ids and order. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "profile.h"

/* xorshift64*: the same everywhere, unlike random(). */
static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return random_next(state) % n;
}

/* TEST_SEED of the environment, else another one each time; printed, so that a failure can be had again. */
static inline uint64_t random_seed(void)
{
	const char *given = getenv("TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : clock_monotonic_nsec() | 1;

	fprintf(stderr, "# TEST_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

static inline uint32_t random_string(uint64_t *state, struct profile *p, const char *prefix)
{
	char string[64];
	uint32_t number;

	snprintf(string, sizeof(string), "%s%u", prefix, (unsigned int)random_below(state, 20));
	ck_assert_int_eq(profile_string(p, random_below(state, 10) ? string : "", &number), 0);
	return number;
}

static inline void random_locations(uint64_t *state, struct profile *p)
{
	struct profile_line lines[4];
	uint32_t id;

	for (uint64_t n = random_below(state, 4); n > 0; n--) {
		struct profile_mapping mapping = { random_next(state), random_next(state), random_below(state, 1 << 20) };

		mapping.file = random_string(state, p, "/usr/bin/file");
		mapping.build_id = random_string(state, p, "abcdef");
		mapping.has_functions = random_below(state, 2);
		mapping.has_inline_frames = random_below(state, 2);
		ck_assert_int_eq(profile_add_mapping(p, &mapping, &id), 0);
	}
	for (uint64_t n = 1 + random_below(state, 10); n > 0; n--) {
		struct profile_function function = { random_string(state, p, "function"), random_string(state, p, "_ZN"),
			random_string(state, p, "/src/file"), (int64_t)random_below(state, 3) };

		ck_assert_int_eq(profile_add_function(p, &function, &id), 0);
	}
	for (uint64_t n = 1 + random_below(state, 20); n > 0; n--) {
		size_t n_lines = random_below(state, 4);

		for (size_t i = 0; i < n_lines; i++)
			lines[i] = (struct profile_line){ (uint32_t)(1 + random_below(state, p->functions.n)),
				(int64_t)random_below(state, 200), (int64_t)random_below(state, 2) };
		ck_assert_int_eq(profile_add_location(p, random_below(state, p->mappings.n + 1), random_next(state), lines,
				n_lines, &id), 0);
		p->locations.at[id - 1].is_folded = !random_below(state, 10);
	}
}

static inline void random_samples(uint64_t *state, struct profile *p, size_t n)
{
	uint32_t stack[300];
	int64_t values[PROFILE_KIND_MAX_TYPES];
	struct profile_label labels[5];

	while (n-- > 0) {
		size_t depth = random_below(state, random_below(state, 10) ? 4 : 300), n_labels = random_below(state, 5);

		for (size_t i = 0; i < depth; i++)
			stack[i] = (uint32_t)(1 + random_below(state, p->locations.n));
		for (size_t i = 0; i < p->sample_types.n; i++)
			values[i] = (int64_t)(random_next(state) >> (20 + random_below(state, 40))) -
					(int64_t)random_below(state, 1000);
		for (size_t i = 0; i < n_labels; i++) {
			labels[i] = (struct profile_label){ .key = random_string(state, p, "key") };
			if (random_below(state, 2))
				labels[i].str = random_string(state, p, "value");
			else {
				labels[i].num = (int64_t)random_next(state);
				labels[i].num_unit = random_string(state, p, "unit");
			}
		}
		ck_assert_int_ge(profile_add_sample(p, stack, depth, values, labels, n_labels), 0);
	}
}

static inline struct profile *random_profile(uint64_t *state, enum profile_kind kind)
{
	struct profile *p = profile_new();

	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(profile_set_kind(p, kind, (int64_t)random_below(state, 1000000)), 0);
	p->time_nsec = (int64_t)random_below(state, INT64_MAX);
	p->duration_nsec = (int64_t)random_below(state, 1000000000);
	for (uint64_t n = random_below(state, 4); n > 0; n--)
		ck_assert_int_eq(profile_add_comment_format(p, "comment %u", (unsigned int)random_below(state, 10)), 0);
	if (random_below(state, 2))
		p->drop_frames = random_string(state, p, "drop");
	if (random_below(state, 2))
		p->keep_frames = random_string(state, p, "keep");
	if (random_below(state, 2))
		p->doc_url = random_string(state, p, "https://example.org/");
	random_locations(state, p);
	random_samples(state, p, random_below(state, 100));
	return p;
}

static inline int label_text_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void print_label(FILE *f, const struct profile *p, const struct profile_label *label)
{
	fprintf(f, "%s=%s/%lld/%s", profile_get_string(p, label->key), profile_get_string(p, label->str),
			(long long)label->num, profile_get_string(p, label->num_unit));
}

/* All of one sample in words, free of ids and numbers of strings. */
static inline char *sample_text(const struct profile *p, size_t i)
{
	const struct profile_sample *sample = &p->samples.at[i];
	char *labels[16], *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (size_t j = 0; j < sample->n_locations; j++) {
		const struct profile_location *l = &p->locations.at[p->stack.at[sample->first_location + j] - 1];
		static const struct profile_mapping none;
		const struct profile_mapping *m = l->mapping ? &p->mappings.at[l->mapping - 1] : &none;

		fprintf(f, "[%llx@%llx-%llx+%llx %s %s", (unsigned long long)l->address, (unsigned long long)m->start,
				(unsigned long long)m->limit, (unsigned long long)m->offset, profile_get_string(p, m->file),
				profile_get_string(p, m->build_id));
		for (size_t k = 0; k < l->n_lines; k++) {
			const struct profile_line *line = &p->lines.at[l->first_line + k];
			const struct profile_function *function = &p->functions.at[line->function - 1];

			fprintf(f, " %s(%s) %s:%lld:%lld from %lld", profile_get_string(p, function->name),
					profile_get_string(p, function->system_name), profile_get_string(p, function->file),
					(long long)line->line, (long long)line->column, (long long)function->start_line);
		}
		fprintf(f, "]");
	}
	ck_assert_uint_le(sample->n_labels, 16);
	for (size_t j = 0; j < sample->n_labels; j++) {
		FILE *label = open_memstream(&labels[j], &size);

		print_label(label, p, &p->labels.at[sample->first_label + j]);
		fclose(label);
	}
	qsort(labels, sample->n_labels, sizeof(*labels), label_text_compare);
	for (size_t j = 0; j < sample->n_labels; j++) {
		fprintf(f, " %s", labels[j]);
		free(labels[j]);
	}
	for (size_t j = 0; j < p->sample_types.n; j++)
		fprintf(f, " %lld", (long long)profile_values(p, i)[j]);
	fclose(f);
	return text;
}

/* All samples in words, sorted: equal for profiles that say the same. */
static inline char *profile_text(const struct profile *p)
{
	char **samples = calloc(p->samples.n + 1, sizeof(*samples)), *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (size_t i = 0; i < p->samples.n; i++)
		samples[i] = sample_text(p, i);
	qsort(samples, p->samples.n, sizeof(*samples), label_text_compare);
	for (size_t i = 0; i < p->samples.n; i++) {
		fprintf(f, "%s\n", samples[i]);
		free(samples[i]);
	}
	free(samples);
	fclose(f);
	return text;
}

/* main calls leaf, through an inlined helper; one sample of each value given. */
static inline struct profile *small_profile(const char *source_file, int64_t value)
{
	struct profile *p = profile_new();
	uint32_t file, leaf, helper, entry, mapping, function[3], location[2], key;

	ck_assert_int_eq(profile_set_kind(p, PROFILE_CPU, 10000000), 0);
	profile_string(p, source_file, &file);
	profile_string(p, "leaf", &leaf);
	profile_string(p, "helper", &helper);
	profile_string(p, "main", &entry);
	struct profile_mapping m = { 0x400000, 0x500000, 0, .has_functions = true, .has_filenames = true,
		.has_line_numbers = true, .has_inline_frames = true };
	profile_string(p, "/nowhere/program", &m.file);
	profile_string(p, "0123456789abcdef0123456789abcdef01234567", &m.build_id);
	profile_add_mapping(p, &m, &mapping);
	profile_add_function(p, &(struct profile_function){ leaf, leaf, file, 1 }, &function[0]);
	profile_add_function(p, &(struct profile_function){ helper, helper, file, 3 }, &function[1]);
	profile_add_function(p, &(struct profile_function){ entry, entry, file, 5 }, &function[2]);
	profile_add_location(p, mapping, 0x401000, (struct profile_line[]){ { function[0], 2, 0 }, { function[1], 4, 0 } }, 2,
			&location[0]);
	profile_add_location(p, mapping, 0x402000, &(struct profile_line){ function[2], 6, 0 }, 1, &location[1]);
	profile_string(p, "service", &key);
	struct profile_label label = { .key = key };
	profile_string(p, "shop", &label.str);
	ck_assert_int_eq(profile_add_sample(p, location, 2, (int64_t[]){ value, value * 10000000 }, &label, 1), 1);
	ck_assert_int_eq(profile_add_sample(p, location + 1, 1, (int64_t[]){ 1, 10000000 }, &label, 1), 1);
	p->time_nsec = INT64_C(1795500000000000000);
	p->duration_nsec = INT64_C(10000000000);
	profile_add_comment(p, "host: example");
	return p;
}
