/* SPDX-License-Identifier: Apache-2.0 */
#include "bounded_values.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "map.h"
#include "strtab.h"
#include "vec.h"

struct value_key {
	uint64_t group;
	uint32_t text;                       /* number of bounded_values.texts */
	uint32_t zero;
};

struct value {
	struct value_key key;
	uint64_t nsec;
	const char *text;                    /* since they are ranked */
	bool is_told;
};

struct bounded_values {
	size_t max;
	struct strtab *texts;
	VEC(struct value) all;
	struct map index_of;                 /* struct value_key -> index */
};

struct bounded_values *bounded_values_new(size_t max)
{
	struct bounded_values *values = calloc(1, sizeof(*values));

	if (!values)
		return NULL;
	values->max = max;
	map_init(&values->index_of, sizeof(struct value_key), sizeof(uint32_t));
	values->texts = strtab_new();
	return values->texts ? values : bounded_values_free(values);
}

struct bounded_values *bounded_values_free(struct bounded_values *values)
{
	if (!values)
		return NULL;
	strtab_free(values->texts);
	vec_deinit(&values->all);
	map_deinit(&values->index_of);
	free(values);
	return NULL;
}

int bounded_values_add(struct bounded_values *values, uint64_t group, const char *text, uint64_t nsec, uint32_t *ret)
{
	struct value_key key = { .group = group };
	void *index;
	int r;

	r = strtab_add_string(values->texts, text, &key.text);
	if (r >= 0)
		r = map_put(&values->index_of, &key, &index);
	if (r < 0)
		return r;
	if (r > 0) {
		*(uint32_t *)index = (uint32_t)values->all.n;
		if (vec_push(&values->all, ((struct value){ .key = key })) < 0)
			return -ENOMEM;
	}
	*ret = *(uint32_t *)index;
	values->all.at[*ret].nsec += nsec;
	return 0;
}

/* Those of one group together, the longest first. */
static int compare_values(const void *a, const void *b)
{
	const struct value *x = *(const struct value *const *)a, *y = *(const struct value *const *)b;

	if (x->key.group != y->key.group)
		return x->key.group < y->key.group ? -1 : 1;
	if (x->nsec != y->nsec)
		return x->nsec < y->nsec ? 1 : -1;
	return strcmp(x->text, y->text);
}

int bounded_values_rank(struct bounded_values *values)
{
	_cleanup_free_ struct value **order = calloc(values->all.n + 1, sizeof(*order));
	size_t n_told = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < values->all.n; i++) {
		order[i] = &values->all.at[i];
		order[i]->text = strtab_get(values->texts, order[i]->key.text, NULL);
	}
	qsort(order, values->all.n, sizeof(*order), compare_values);
	for (size_t i = 0; i < values->all.n; i++) {
		if (i && order[i]->key.group != order[i - 1]->key.group)
			n_told = 0;
		order[i]->is_told = n_told++ < values->max;
	}
	return 0;
}

const char *bounded_values_get(const struct bounded_values *values, uint32_t value)
{
	const struct value *found = &values->all.at[value];

	return found->is_told ? found->text : "other";
}
