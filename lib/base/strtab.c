/* SPDX-License-Identifier: Apache-2.0 */
#include "strtab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "vec.h"

struct strtab_string {
	size_t offset, length;
};

struct strtab {
	VEC(char) bytes;                /* all strings behind each other, each terminated */
	VEC(struct strtab_string) strings;
	uint32_t *slots;                /* open addressing: string number + 1, 0 is free */
	size_t n_slots;
};

struct strtab *strtab_free(struct strtab *strtab)
{
	if (!strtab)
		return NULL;
	vec_deinit(&strtab->bytes);
	vec_deinit(&strtab->strings);
	free(strtab->slots);
	free(strtab);
	return NULL;
}

struct strtab *strtab_new(void)
{
	struct strtab *strtab = calloc(1, sizeof(*strtab));
	uint32_t empty;

	if (!strtab || strtab_add(strtab, "", 0, &empty) < 0)
		return strtab_free(strtab);
	return strtab;
}

static uint32_t *find_slot(const struct strtab *strtab, const char *string, size_t length)
{
	size_t i = hash_bytes(string, length) & (strtab->n_slots - 1);

	for (;; i = (i + 1) & (strtab->n_slots - 1)) {
		uint32_t id = strtab->slots[i];

		if (!id)
			return &strtab->slots[i];
		if (strtab->strings.at[id - 1].length == length &&
		    !memcmp(strtab->bytes.at + strtab->strings.at[id - 1].offset, string, length))
			return &strtab->slots[i];
	}
}

static int grow_slots(struct strtab *strtab)
{
	uint32_t *old = strtab->slots, *slots;
	size_t n_slots = strtab->n_slots ? strtab->n_slots * 2 : 64;

	slots = calloc(n_slots, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	strtab->slots = slots;
	strtab->n_slots = n_slots;
	for (size_t i = 0; i < strtab->strings.n; i++)
		*find_slot(strtab, strtab->bytes.at + strtab->strings.at[i].offset, strtab->strings.at[i].length) = i + 1;
	free(old);
	return 0;
}

int strtab_add(struct strtab *strtab, const char *string, size_t length, uint32_t *ret_id)
{
	size_t offset = strtab->bytes.n;
	uint32_t *slot;
	int r;

	if ((strtab->strings.n + 1) * 2 > strtab->n_slots) {
		r = grow_slots(strtab);
		if (r < 0)
			return r;
	}
	slot = find_slot(strtab, string, length);
	if (*slot) {
		*ret_id = *slot - 1;
		return 0;
	}
	if (strtab->strings.n >= INT32_MAX)
		return -E2BIG;
	r = vec_reserve(&strtab->strings, strtab->strings.n + 1);
	if (r < 0)
		return r;
	r = vec_reserve(&strtab->bytes, offset + length + 1);
	if (r < 0)
		return r;
	if (length)
		memcpy(strtab->bytes.at + offset, string, length);
	strtab->bytes.at[offset + length] = '\0';
	strtab->bytes.n = offset + length + 1;
	strtab->strings.at[strtab->strings.n].offset = offset;
	strtab->strings.at[strtab->strings.n].length = length;
	*ret_id = strtab->strings.n++;
	*slot = strtab->strings.n;
	return 0;
}

int strtab_add_string(struct strtab *strtab, const char *string, uint32_t *ret_id)
{
	return strtab_add(strtab, string ? string : "", string ? strlen(string) : 0, ret_id);
}

const char *strtab_get(const struct strtab *strtab, uint32_t id, size_t *ret_length)
{
	if (id >= strtab->strings.n)
		id = 0;
	if (ret_length)
		*ret_length = strtab->strings.at[id].length;
	return strtab->bytes.at + strtab->strings.at[id].offset;
}

size_t strtab_count(const struct strtab *strtab)
{
	return strtab->strings.n;
}

size_t strtab_bytes(const struct strtab *strtab)
{
	return sizeof(*strtab) + strtab->bytes.n_allocated + strtab->strings.n_allocated * sizeof(*strtab->strings.at) +
	       strtab->n_slots * sizeof(*strtab->slots);
}
