/* SPDX-License-Identifier: Apache-2.0 */
#include "wait_labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "cleanup.h"
#include "image.h"
#include "map.h"
#include "names_cache.h"
#include "stacks.h"
#include "strtab.h"
#include "symbolizer.h"

/* Locks of one window that are asked about, those with the longest waits: answers stay in the cache. The others keep their address. */
enum { MAX_ASKED = 1024 };

/* Code and data of one file are this near to each other, or the file is not what it seems. */
static const uint64_t max_span = UINT64_C(4) << 30;

enum wait_label_key { LABEL_NONE, LABEL_FILE, LABEL_PEER, LABEL_LOCK };

static const char *const label_keys[] = { NULL, "file", "peer", "lock" };

struct sample_label {
	uint32_t key;                        /* enum wait_label_key */
	uint32_t value;                      /* string number */
};

struct wait_labels {
	struct strtab *strings;
	uint32_t other;
	size_t n;
	struct sample_label *of_sample;
};

DEFINE_CLEANUP(struct wait_labels, wait_labels_free);

struct lock_key {
	uint64_t address;
	uint32_t process;
	uint32_t zero;
};

struct variable {
	struct lock_key key;
	uint64_t nsec;
	const struct image_mapping *mapping; /* code of the file that it may be a variable of; NULL: none */
	uint32_t source;                     /* of the names cache */
	uint64_t address;                    /* in the file's own terms */
	bool is_asked;
	uint32_t value;                      /* string number */
};

struct variables {
	VEC(struct variable) all;
	struct map lock_of;                  /* struct lock_key -> index */
	struct map source_of;                /* serial of a binary -> number of the names cache */
};

/* --- locks --- */

static struct lock_key key_of(const struct stacks *stacks, const struct stacks_sample *sample)
{
	return (struct lock_key){ .address = sample->wait.object, .process = stacks->stacks.at[sample->stack].process };
}

static bool is_lock(const struct stacks_sample *sample)
{
	return sample->wait.reason == SAMPLE_LOCK && sample->wait.object;
}

static int find_locks(const struct stacks *stacks, struct variables *locks)
{
	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const struct lock_key key = key_of(stacks, sample);
		void *value;
		int r;

		if (!is_lock(sample))
			continue;
		r = map_put(&locks->lock_of, &key, &value);
		if (r < 0)
			return r;
		if (r == 1) {
			*(uint32_t *)value = (uint32_t)locks->all.n;
			if (vec_push(&locks->all, (struct variable){ .key = key }) < 0)
				return -ENOMEM;
		}
		locks->all.at[*(uint32_t *)value].nsec += sample->nsec;
	}
	return 0;
}

/* The code next below: data follows code in all that linkers make. */
static const struct image_mapping *code_below(const struct image *image, uint64_t address)
{
	size_t low = 0, high = image->mappings.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (image->mappings.at[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && image->mappings.at[low - 1].kind == IMAGE_MAPPING_FILE ? &image->mappings.at[low - 1] : NULL;
}

static int find_source(struct names_cache *cache, struct variables *locks, const struct binary *binary, uint32_t *ret)
{
	const struct symbol_source source = {
		.kind = SYMBOL_SOURCE_ELF, .fd = binary->fd, .path = binary->path, .build_id = binary->build_id,
	};
	void *value;
	int r;

	r = map_put(&locks->source_of, &binary->serial, &value);
	if (r == 1)
		r = names_cache_source(cache, &source, binary->serial, value);
	if (r >= 0)
		*ret = *(uint32_t *)value;
	return MIN(r, 0);
}

/* What the lock may be a variable of; wants that file's segments. */
static int find_file(const struct capture *capture, struct names_cache *cache, struct variables *locks, struct variable *lock)
{
	const struct image *image = capture->images.at[lock->key.process];
	const struct image_mapping *mapping = image ? code_below(image, lock->key.address) : NULL;
	int r;

	if (!mapping || mapping->binary->fd < 0)
		return 0;
	r = find_source(cache, locks, mapping->binary, &lock->source);
	if (r < 0)
		return r;
	lock->mapping = mapping;
	/* Any place will do: the answer tells the segments as well. */
	return names_cache_tables(cache, lock->source) ? 0 : names_cache_want(cache, lock->source, mapping->file_offset);
}

/* The segment that is mapped there. Mappings begin at pages, segments anywhere in their first one. */
static const struct names_segment *segment_of(const struct names *names, const struct image_mapping *mapping)
{
	const uint64_t page = 4096;

	for (size_t i = 0; i < names->segments.n; i++) {
		const struct names_segment *segment = &names->segments.at[i];
		uint64_t start = segment->file_offset / page * page;

		if (mapping->file_offset >= start && mapping->file_offset - start < segment->size + (segment->file_offset - start))
			return segment;
	}
	return NULL;
}

static int want_variable(struct names_cache *cache, struct variable *lock)
{
	const struct names *names = names_cache_tables(cache, lock->source);
	const struct names_segment *segment = names ? segment_of(names, lock->mapping) : NULL;

	if (!segment)
		return 0;
	/* Both differences may be negative; they sum up to where it is. */
	lock->address = lock->key.address - lock->mapping->start + segment->address + (lock->mapping->file_offset - segment->file_offset);
	if (lock->address & SYMBOLIZER_DATA || lock->address - segment->address > max_span)
		return 0;
	lock->is_asked = true;
	return names_cache_want(cache, lock->source, SYMBOLIZER_DATA | lock->address);
}

static int compare_locks(const void *a, const void *b)
{
	const struct variable *x = a, *y = b;

	if (x->nsec != y->nsec)
		return x->nsec < y->nsec ? 1 : -1;
	if (x->key.process != y->key.process)
		return x->key.process < y->key.process ? -1 : 1;
	return (x->key.address > y->key.address) - (x->key.address < y->key.address);
}

static int ask(const struct capture *capture, struct names_cache *cache, struct variables *locks)
{
	size_t n = MIN(locks->all.n, (size_t)MAX_ASKED);
	int r = 0;

	if (!n)
		return 0;
	qsort(locks->all.at, locks->all.n, sizeof(*locks->all.at), compare_locks);
	for (size_t i = 0; i < locks->all.n; i++)
		*(uint32_t *)map_get(&locks->lock_of, &locks->all.at[i].key) = (uint32_t)i;
	for (size_t i = 0; i < n && r >= 0; i++)
		r = find_file(capture, cache, locks, &locks->all.at[i]);
	if (r < 0)
		return r;
	/* What cannot be asked about keeps its address; the cache counts it. */
	names_cache_resolve(cache);
	for (size_t i = 0; i < n && r >= 0; i++)
		if (locks->all.at[i].mapping)
			r = want_variable(cache, &locks->all.at[i]);
	if (r >= 0)
		names_cache_resolve(cache);
	return r;
}

static int name_lock(const struct names_cache *cache, struct variable *lock, struct strtab *strings)
{
	struct names_cache_name name = { 0 };
	_cleanup_free_ char *text = NULL;
	uint64_t offset;
	int n;

	if (lock->is_asked)
		names_cache_get(cache, lock->source, SYMBOLIZER_DATA | lock->address, &name);
	offset = name.n_frames ? lock->address - name.address : 0;
	if (!name.n_frames)
		n = asprintf(&text, "0x%llx", (unsigned long long)lock->key.address);
	else if (offset)
		n = asprintf(&text, "%s+0x%llx", strtab_get(name.strings, name.frames[0].name, NULL), (unsigned long long)offset);
	else
		n = asprintf(&text, "%s", strtab_get(name.strings, name.frames[0].name, NULL));
	if (n < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return strtab_add_string(strings, text, &lock->value);
}

static int name_locks(const struct capture *capture, struct names_cache *cache, struct variables *locks, struct strtab *strings)
{
	int r;

	r = find_locks(capture->stacks, locks);
	if (r >= 0)
		r = ask(capture, cache, locks);
	for (size_t i = 0; i < locks->all.n && r >= 0; i++)
		r = name_lock(cache, &locks->all.at[i], strings);
	return r;
}

/* --- a label for each sample --- */

static int label_sample(const struct stacks *stacks, const struct variables *locks, struct strtab *strings, const struct stacks_sample *sample,
		struct sample_label *ret)
{
	const struct stacks_object *object;

	if (is_lock(sample)) {
		const struct lock_key key = key_of(stacks, sample);
		const uint32_t *index = map_get(&locks->lock_of, &key);

		ret->key = LABEL_LOCK;
		ret->value = locks->all.at[*index].value;
		return 0;
	}
	object = stacks_object(stacks, &sample->wait);
	if (!object)
		return 0;
	ret->key = object->kind == SAMPLE_OBJECT_SOCKET ? LABEL_PEER : LABEL_FILE;
	return strtab_add_string(strings, object->name, &ret->value);
}

/* --- and no more of them than anybody looks at --- */

struct value_key {
	uint32_t service, key, value;
};

struct value {
	struct value_key key;
	uint64_t nsec;
	const char *text;                    /* of equal ones the order is that of the text: equal windows give equal files */
};

static int compare_values(const void *a, const void *b)
{
	const struct value *x = a, *y = b;

	if (x->key.service != y->key.service)
		return x->key.service < y->key.service ? -1 : 1;
	if (x->key.key != y->key.key)
		return x->key.key < y->key.key ? -1 : 1;
	if (x->nsec != y->nsec)
		return x->nsec < y->nsec ? 1 : -1;
	return strcmp(x->text, y->text);
}

/* Ranks the values of each label and service; leaves in the map those that are too many. */
static void find_excess(const struct wait_labels *labels, struct map *values, struct value *sorted)
{
	size_t cursor = 0, n = 0, rank = 0;
	const void *key;
	void *nsec;

	while (map_next(values, &cursor, &key, &nsec)) {
		sorted[n] = (struct value){ .key = *(const struct value_key *)key, .nsec = *(uint64_t *)nsec };
		sorted[n].text = strtab_get(labels->strings, sorted[n].key.value, NULL);
		n++;
	}
	qsort(sorted, n, sizeof(*sorted), compare_values);
	for (size_t i = 0; i < n; i++) {
		bool is_same = i && sorted[i].key.service == sorted[i - 1].key.service && sorted[i].key.key == sorted[i - 1].key.key;

		rank = is_same ? rank + 1 : 0;
		if (rank < WAIT_LABELS_MAX)
			map_remove(values, &sorted[i].key);
	}
}

static int bound(struct wait_labels *labels, const struct stacks *stacks, const uint32_t *services)
{
	_cleanup_free_ struct value *sorted = NULL;
	struct map values;                   /* struct value_key -> ns */
	int r = 0;

	map_init(&values, sizeof(struct value_key), sizeof(uint64_t));
	for (size_t i = 0; i < labels->n && r >= 0; i++) {
		const struct value_key key = { services[i], labels->of_sample[i].key, labels->of_sample[i].value };
		void *nsec;

		if (key.key == LABEL_NONE)
			continue;
		r = map_put(&values, &key, &nsec);
		if (r >= 0)
			*(uint64_t *)nsec += stacks->samples.at[i].nsec;
	}
	if (r >= 0) {
		sorted = calloc(values.n + 1, sizeof(*sorted));
		r = sorted ? 0 : -ENOMEM;
	}
	if (r >= 0)
		find_excess(labels, &values, sorted);
	for (size_t i = 0; i < labels->n && r >= 0; i++) {
		const struct value_key key = { services[i], labels->of_sample[i].key, labels->of_sample[i].value };

		if (map_get(&values, &key))
			labels->of_sample[i].value = labels->other;
	}
	map_deinit(&values);
	return r;
}

static int fill(struct wait_labels *labels, const struct capture *capture, struct names_cache *cache, const uint32_t *services,
		struct variables *locks)
{
	const struct stacks *stacks = capture->stacks;
	int r;

	r = strtab_add_string(labels->strings, "other", &labels->other);
	if (r >= 0)
		r = name_locks(capture, cache, locks, labels->strings);
	for (size_t i = 0; i < labels->n && r >= 0; i++)
		r = label_sample(stacks, locks, labels->strings, &stacks->samples.at[i], &labels->of_sample[i]);
	return r < 0 ? r : bound(labels, stacks, services);
}

int wait_labels_new(const struct capture *capture, struct names_cache *cache, const uint32_t *services, struct wait_labels **ret)
{
	_cleanup_(wait_labels_free_p) struct wait_labels *labels = calloc(1, sizeof(*labels));
	struct variables locks = { 0 };
	int r;

	if (!labels)
		return -ENOMEM;
	labels->n = capture->stacks->samples.n;
	labels->strings = strtab_new();
	labels->of_sample = calloc(labels->n + 1, sizeof(*labels->of_sample));
	if (!labels->strings || !labels->of_sample)
		return -ENOMEM;
	map_init(&locks.lock_of, sizeof(struct lock_key), sizeof(uint32_t));
	map_init(&locks.source_of, sizeof(uint64_t), sizeof(uint32_t));
	r = fill(labels, capture, cache, services, &locks);
	map_deinit(&locks.lock_of);
	map_deinit(&locks.source_of);
	vec_deinit(&locks.all);
	if (r < 0)
		return r;
	*ret = TAKE(labels);
	return 0;
}

struct wait_labels *wait_labels_free(struct wait_labels *labels)
{
	if (!labels)
		return NULL;
	strtab_free(labels->strings);
	free(labels->of_sample);
	free(labels);
	return NULL;
}

struct wait_label wait_labels_get(const struct wait_labels *labels, size_t sample)
{
	const struct sample_label *label = &labels->of_sample[sample];

	return (struct wait_label){ .key = label_keys[label->key], .value = label->key ? strtab_get(labels->strings, label->value, NULL) : NULL };
}
