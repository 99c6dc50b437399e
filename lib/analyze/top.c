/* SPDX-License-Identifier: Apache-2.0 */
#include "top.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "profile.h"
#include "strtab.h"
#include "vec.h"

struct top *top_free(struct top *top)
{
	if (!top)
		return NULL;
	free(top->rows);
	free(top->type);
	free(top->unit);
	strtab_free(top->names);
	free(top);
	return NULL;
}

/* One name, while counting. */
struct tally {
	int64_t flat, cum;
	size_t last_sample;                  /* counted in cum last, plus one */
	bool is_used;
};

struct counting {
	const struct profile *profile;
	struct strtab *names;
	VEC(struct tally) tallies;           /* by number of the name */
	uint32_t *of_function;               /* number of the name plus one, by id; 0: not looked at yet */
	uint32_t *of_location;               /* the same for locations that have no function */
};

static int64_t add_saturated(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b > 0 ? INT64_MAX : INT64_MIN;
	return sum;
}

static int name_tally(struct counting *c, const char *name, uint32_t *cache, uint32_t *ret)
{
	uint32_t number;
	int r;

	r = strtab_add_string(c->names, name, &number);
	if (r < 0)
		return r;
	while (c->tallies.n <= number)
		if (vec_push(&c->tallies, (struct tally){ 0 }) < 0)
			return -ENOMEM;
	c->tallies.at[number].is_used = true;
	*cache = number + 1;
	*ret = number;
	return 0;
}

static int function_tally(struct counting *c, uint32_t function, uint32_t *ret)
{
	if (c->of_function[function]) {
		*ret = c->of_function[function] - 1;
		return 0;
	}
	return name_tally(c, profile_get_string(c->profile, c->profile->functions.at[function - 1].name),
			&c->of_function[function], ret);
}

/* A place without a name is called by where it is in its file, or in memory. */
static int nameless_tally(struct counting *c, uint32_t id, uint32_t *ret)
{
	const struct profile_location *location = &c->profile->locations.at[id - 1];
	const struct profile_mapping *mapping;
	_cleanup_free_ char *name = NULL;
	const char *file, *slash;
	int n;

	if (c->of_location[id]) {
		*ret = c->of_location[id] - 1;
		return 0;
	}
	mapping = location->mapping ? &c->profile->mappings.at[location->mapping - 1] : NULL;
	file = mapping ? profile_get_string(c->profile, mapping->file) : "";
	slash = strrchr(file, '/');
	if (file[0])
		n = asprintf(&name, "%s+0x%" PRIx64, slash && slash[1] ? slash + 1 : file,
				location->address - mapping->start + mapping->offset);
	else
		n = asprintf(&name, "0x%" PRIx64, location->address);
	if (n < 0) {
		name = NULL;
		return -ENOMEM;
	}
	return name_tally(c, name, &c->of_location[id], ret);
}

static void count(struct counting *c, uint32_t number, size_t sample, int64_t value, bool is_leaf)
{
	struct tally *tally = &c->tallies.at[number];

	if (is_leaf)
		tally->flat = add_saturated(tally->flat, value);
	/* Once a sample, however often a function recurs in it. */
	if (tally->last_sample == sample + 1)
		return;
	tally->last_sample = sample + 1;
	tally->cum = add_saturated(tally->cum, value);
}

static int count_location(struct counting *c, uint32_t id, size_t sample, int64_t value, bool is_leaf)
{
	const struct profile_location *location = &c->profile->locations.at[id - 1];
	uint32_t number;
	int r;

	if (location->n_lines == 0) {
		r = nameless_tally(c, id, &number);
		if (r < 0)
			return r;
		count(c, number, sample, value, is_leaf);
	}
	for (uint32_t i = 0; i < location->n_lines; i++) {
		r = function_tally(c, c->profile->lines.at[location->first_line + i].function, &number);
		if (r < 0)
			return r;
		count(c, number, sample, value, is_leaf && i == 0);
	}
	return 0;
}

static int count_all(struct counting *c, size_t sample_type)
{
	const struct profile *profile = c->profile;
	int r;

	c->of_function = calloc(profile->functions.n + 1, sizeof(*c->of_function));
	c->of_location = calloc(profile->locations.n + 1, sizeof(*c->of_location));
	if (!c->of_function || !c->of_location)
		return -ENOMEM;
	for (size_t i = 0; i < profile->samples.n; i++) {
		const struct profile_sample *sample = &profile->samples.at[i];
		int64_t value = profile_values(profile, i)[sample_type];

		for (uint32_t j = 0; j < sample->n_locations; j++) {
			r = count_location(c, profile->stack.at[sample->first_location + j], i, value, j == 0);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Larger numbers first, whatever their sign: what changed most is at the top of a difference, too. */
static int compare_values(int64_t left, int64_t right)
{
	uint64_t a = left < 0 ? -(uint64_t)left : (uint64_t)left, b = right < 0 ? -(uint64_t)right : (uint64_t)right;

	return a == b ? 0 : a > b ? -1 : 1;
}

static int compare_flat(const void *left, const void *right)
{
	const struct top_row *a = left, *b = right;
	int order = compare_values(a->flat, b->flat);

	if (order == 0)
		order = compare_values(a->cum, b->cum);
	return order ? order : strcmp(a->name, b->name);
}

static int compare_cum(const void *left, const void *right)
{
	const struct top_row *a = left, *b = right;
	int order = compare_values(a->cum, b->cum);

	if (order == 0)
		order = compare_values(a->flat, b->flat);
	return order ? order : strcmp(a->name, b->name);
}

static int make_rows(struct top *top, const struct counting *c, enum top_order order, size_t limit)
{
	top->rows = calloc(c->tallies.n + 1, sizeof(*top->rows));
	if (!top->rows)
		return -ENOMEM;
	for (size_t i = 0; i < c->tallies.n; i++)
		if (c->tallies.at[i].is_used)
			top->rows[top->n_functions++] = (struct top_row){ strtab_get(top->names, i, NULL),
				c->tallies.at[i].flat, c->tallies.at[i].cum };
	qsort(top->rows, top->n_functions, sizeof(*top->rows), order == TOP_CUM ? compare_cum : compare_flat);
	top->n_rows = limit ? MIN(limit, top->n_functions) : top->n_functions;
	return 0;
}

static int choose_sample_type(const struct profile *profile, int sample_type)
{
	if (sample_type < 0 && profile->default_sample_type)
		sample_type = profile_find_sample_type(profile, profile_get_string(profile, profile->default_sample_type));
	if (sample_type < 0)
		sample_type = (int)profile->sample_types.n - 1;
	return sample_type < (int)profile->sample_types.n ? sample_type : -1;
}

int top_new(const struct profile *profile, int sample_type, enum top_order order, size_t limit, struct top **ret)
{
	_cleanup_(top_free_p) struct top *top = NULL;
	struct counting c = { .profile = profile };
	int r;

	sample_type = choose_sample_type(profile, sample_type);
	if (sample_type < 0)
		return -EINVAL;
	top = calloc(1, sizeof(*top));
	if (!top)
		return -ENOMEM;
	top->names = c.names = strtab_new();
	top->type = strdup(profile_get_string(profile, profile->sample_types.at[sample_type].type));
	top->unit = strdup(profile_get_string(profile, profile->sample_types.at[sample_type].unit));
	top->total = profile_total(profile, sample_type);
	r = top->names && top->type && top->unit ? count_all(&c, sample_type) : -ENOMEM;
	if (r >= 0)
		r = make_rows(top, &c, order, limit);
	free(c.of_function);
	free(c.of_location);
	vec_deinit(&c.tallies);
	if (r < 0)
		return r;
	*ret = TAKE(top);
	return 0;
}

struct scale {
	const char *unit;
	double factor;
};

static const struct scale times[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { NULL, 0 } };
static const struct scale sizes[] = { { "B", 1 }, { "KiB", 0x1p10 }, { "MiB", 0x1p20 }, { "GiB", 0x1p30 },
	{ "TiB", 0x1p40 }, { NULL, 0 } };

void top_format_value(int64_t value, const char *unit, char ret[static TOP_VALUE_SIZE])
{
	const struct scale *scale = !strcmp(unit, "nanoseconds") ? times : !strcmp(unit, "bytes") ? sizes : NULL;
	double size = value < 0 ? -(double)value : (double)value;
	char *end;

	if (!scale) {
		snprintf(ret, TOP_VALUE_SIZE, "%" PRId64, value);
		return;
	}
	while (scale[1].unit && size >= scale[1].factor)
		scale++;
	snprintf(ret, TOP_VALUE_SIZE, "%.2f", (double)value / scale->factor);
	end = ret + strlen(ret);
	if (!strcmp(end - 3, ".00"))
		end -= 3;
	snprintf(end, TOP_VALUE_SIZE - (size_t)(end - ret), "%s", scale->unit);
}

/* Names come from hostile binaries: no terminal may take them for orders. */
static void print_name(const char *name, FILE *f)
{
	for (const unsigned char *at = (const unsigned char *)name; *at; at++) {
		bool is_c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f;

		if (is_c1)
			at++;
		putc(is_c1 || *at < 0x20 || *at == 0x7f ? '?' : *at, f);
	}
}

static double percent(int64_t value, int64_t total)
{
	return total ? 100.0 * (double)value / (double)total : 0;
}

void top_print(const struct top *top, FILE *f)
{
	char flat[TOP_VALUE_SIZE], cum[TOP_VALUE_SIZE];
	int64_t sum = 0;

	top_format_value(top->total, top->unit, flat);
	fprintf(f, "%s: %s in all, %zu of %zu functions\n", top->type, flat, top->n_rows, top->n_functions);
	fprintf(f, "%10s %6s %6s %10s %6s\n", "flat", "flat%", "sum%", "cum", "cum%");
	for (size_t i = 0; i < top->n_rows; i++) {
		const struct top_row *row = &top->rows[i];

		sum = add_saturated(sum, row->flat);
		top_format_value(row->flat, top->unit, flat);
		top_format_value(row->cum, top->unit, cum);
		fprintf(f, "%10s %5.1f%% %5.1f%% %10s %5.1f%%  ", flat, percent(row->flat, top->total), percent(sum, top->total),
				cum, percent(row->cum, top->total));
		print_name(row->name, f);
		putc('\n', f);
	}
}
