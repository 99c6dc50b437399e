/* SPDX-License-Identifier: Apache-2.0 */
#include "wait_labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounded_values.h"
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
	uint32_t value;                      /* of wait_labels.values */
};

struct wait_labels {
	struct bounded_values *values;       /* by service and label */
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
	uint32_t name;                       /* string number */
};

struct variables {
	struct strtab *names;
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
	vec_sort(&locks->all, compare_locks);
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

static int name_lock(const struct names_cache *cache, struct variable *lock, struct strtab *names)
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
	return strtab_add_string(names, text, &lock->name);
}

static int name_locks(const struct capture *capture, struct names_cache *cache, struct variables *locks)
{
	int r;

	r = find_locks(capture->stacks, locks);
	if (r >= 0)
		r = ask(capture, cache, locks);
	for (size_t i = 0; i < locks->all.n && r >= 0; i++)
		r = name_lock(cache, &locks->all.at[i], locks->names);
	return r;
}

/* --- a label for each sample --- */

/* What a wait was about; NULL: nothing that has a name. */
static const char *find_label(const struct stacks *stacks, const struct variables *locks, const struct stacks_sample *sample,
		enum wait_label_key *ret_key)
{
	const struct stacks_object *object;

	if (is_lock(sample)) {
		const struct lock_key key = key_of(stacks, sample);
		const uint32_t *index = map_get(&locks->lock_of, &key);

		*ret_key = LABEL_LOCK;
		return strtab_get(locks->names, locks->all.at[*index].name, NULL);
	}
	object = stacks_object(stacks, &sample->wait);
	if (!object)
		return NULL;
	*ret_key = object->kind == SAMPLE_OBJECT_SOCKET ? LABEL_PEER : LABEL_FILE;
	return object->name;
}

static int label_sample(struct wait_labels *labels, const struct stacks *stacks, const struct variables *locks, uint32_t service,
		size_t i)
{
	const struct stacks_sample *sample = &stacks->samples.at[i];
	enum wait_label_key key;
	const char *value = find_label(stacks, locks, sample, &key);

	if (!value)
		return 0;
	labels->of_sample[i].key = key;
	return bounded_values_add(labels->values, (uint64_t)service << 32 | key, value, sample->nsec, &labels->of_sample[i].value);
}

static int fill(struct wait_labels *labels, const struct capture *capture, struct names_cache *cache, const uint32_t *services,
		struct variables *locks)
{
	int r;

	r = name_locks(capture, cache, locks);
	for (size_t i = 0; i < labels->n && r >= 0; i++)
		r = label_sample(labels, capture->stacks, locks, services[i], i);
	return r < 0 ? r : bounded_values_rank(labels->values);
}

int wait_labels_new(const struct capture *capture, struct names_cache *cache, const uint32_t *services, struct wait_labels **ret)
{
	_cleanup_(wait_labels_free_p) struct wait_labels *labels = calloc(1, sizeof(*labels));
	struct variables locks = { 0 };
	int r;

	if (!labels)
		return -ENOMEM;
	labels->n = capture->stacks->samples.n;
	labels->values = bounded_values_new(WAIT_LABELS_MAX);
	labels->of_sample = calloc(labels->n + 1, sizeof(*labels->of_sample));
	if (!labels->values || !labels->of_sample)
		return -ENOMEM;
	map_init(&locks.lock_of, sizeof(struct lock_key), sizeof(uint32_t));
	map_init(&locks.source_of, sizeof(uint64_t), sizeof(uint32_t));
	locks.names = strtab_new();
	r = locks.names ? fill(labels, capture, cache, services, &locks) : -ENOMEM;
	strtab_free(locks.names);
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
	bounded_values_free(labels->values);
	free(labels->of_sample);
	free(labels);
	return NULL;
}

struct wait_label wait_labels_get(const struct wait_labels *labels, size_t sample)
{
	const struct sample_label *label = &labels->of_sample[sample];

	return (struct wait_label){ .key = label_keys[label->key], .value = label->key ? bounded_values_get(labels->values, label->value) : NULL };
}
