/* SPDX-License-Identifier: Apache-2.0 */
#include "names_cache.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "clock.h"
#include "map.h"

/* One source: `names` grows with each answer, `places` finds an offset in it. */
struct entry {
	struct symbol_source source;         /* pointers are valid in the window that named it */
	uint64_t serial;
	struct map places;                   /* offset -> index into names->locations, or place_missing */
	VEC(uint64_t) missing;               /* wanted in this window and not known */
	struct names *names;                 /* NULL: never had an answer */
	uint64_t window;                     /* when it was used last */
	uint64_t born_nsec;
};

struct entry_key {
	uint64_t serial;
	uint64_t kind;
};

struct names_cache {
	struct symbolizer_process *process;
	struct map entries;                  /* struct entry_key -> struct entry * */
	VEC(struct entry *) sources;         /* of this window, by number */
	size_t limit_bytes;
	uint64_t window;
	struct names_cache_stats stats;
};

static const uint32_t place_missing = UINT32_MAX;
/* As often as the symbolizer reads the kernel's symbols again: addresses of BPF programs and modules are used again. */
static const uint64_t kernel_nsec = 600 * NSEC_PER_SEC;

static struct entry *entry_free(struct entry *entry)
{
	if (!entry)
		return NULL;
	map_deinit(&entry->places);
	vec_deinit(&entry->missing);
	names_free(entry->names);
	free(entry);
	return NULL;
}

int names_cache_new(struct symbolizer_process *process, size_t limit_bytes, struct names_cache **ret)
{
	struct names_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return -ENOMEM;
	cache->process = process;
	cache->limit_bytes = limit_bytes;
	map_init(&cache->entries, sizeof(struct entry_key), sizeof(struct entry *));
	*ret = cache;
	return 0;
}

struct names_cache *names_cache_free(struct names_cache *cache)
{
	size_t cursor = 0;
	const void *key;
	void *value;

	if (!cache)
		return NULL;
	while (map_next(&cache->entries, &cursor, &key, &value))
		entry_free(*(struct entry **)value);
	map_deinit(&cache->entries);
	vec_deinit(&cache->sources);
	free(cache);
	return NULL;
}

int names_cache_source(struct names_cache *cache, const struct symbol_source *source, uint64_t serial, uint32_t *ret)
{
	struct entry_key key = { .serial = serial, .kind = source->kind };
	struct entry *entry;
	void *value;
	int r;

	r = vec_reserve(&cache->sources, cache->sources.n + 1);
	if (r < 0)
		return r;
	r = map_put(&cache->entries, &key, &value);
	if (r < 0)
		return r;
	if (r == 1) {
		entry = calloc(1, sizeof(*entry));
		if (!entry) {
			map_remove(&cache->entries, &key);
			return -ENOMEM;
		}
		entry->serial = serial;
		entry->born_nsec = clock_monotonic_nsec();
		map_init(&entry->places, sizeof(uint64_t), sizeof(uint32_t));
		*(struct entry **)value = entry;
	}
	entry = *(struct entry **)value;
	entry->source = *source;
	entry->window = cache->window;
	*ret = cache->sources.n;
	cache->sources.at[cache->sources.n++] = entry;
	return 0;
}

int names_cache_want(struct names_cache *cache, uint32_t source, uint64_t offset)
{
	struct entry *entry = cache->sources.at[source];
	void *value;
	int r;

	r = map_put(&entry->places, &offset, &value);
	if (r < 0)
		return r;
	if (r == 0) {
		cache->stats.hits++;
		return 0;
	}
	cache->stats.misses++;
	*(uint32_t *)value = place_missing;
	r = vec_push(&entry->missing, offset);
	if (r < 0)
		map_remove(&entry->places, &offset);
	return r;
}

/* Adds the answer to what is known already; `answer` has one location for each of entry->missing, in that order. */
static int merge_answer(struct entry *entry, const struct names *answer)
{
	struct names *names = entry->names;
	VEC(uint32_t) strings = { 0 };
	uint32_t first_frame = names->frames.n;
	int r = 0;

	r = vec_reserve(&strings, strtab_count(answer->strings));
	for (uint32_t i = 0; r >= 0 && i < strtab_count(answer->strings); i++) {
		const char *string;
		size_t length;

		string = strtab_get(answer->strings, i, &length);
		r = strtab_add(names->strings, string, length, &strings.at[i]);
	}
	for (size_t i = 0; r >= 0 && i < answer->frames.n; i++) {
		struct names_frame frame = answer->frames.at[i];

		frame.name = strings.at[frame.name];
		frame.system_name = strings.at[frame.system_name];
		frame.file = strings.at[frame.file];
		r = vec_push(&names->frames, frame);
	}
	for (size_t i = 0; r >= 0 && i < answer->locations.n && i < entry->missing.n; i++) {
		struct names_location location = answer->locations.at[i];
		uint32_t *place = map_get(&entry->places, &entry->missing.at[i]);

		location.first_frame += first_frame;
		r = vec_push(&names->locations, location);
		if (r >= 0)
			*place = names->locations.n - 1;
	}
	vec_deinit(&strings);
	names->has_functions |= answer->has_functions;
	names->has_filenames |= answer->has_filenames;
	names->has_line_numbers |= answer->has_line_numbers;
	names->has_inline_frames |= answer->has_inline_frames;
	return r;
}

static int resolve_entry(struct names_cache *cache, struct entry *entry)
{
	struct names *answer = NULL;
	int r;

	r = symbolizer_process_resolve(cache->process, &entry->source, entry->missing.at, entry->missing.n, &answer);
	if (r == SYMBOLIZER_E_UNAVAILABLE)
		return 0;
	if (r < 0)
		return r;
	if (!entry->names && answer->locations.n == entry->missing.n) {
		/* The first answer is taken as it is. */
		for (size_t i = 0; i < entry->missing.n; i++)
			*(uint32_t *)map_get(&entry->places, &entry->missing.at[i]) = i;
		entry->names = TAKE(answer);
	}
	if (answer && entry->names)
		r = merge_answer(entry, answer);
	names_free(answer);
	if (r >= 0)
		entry->missing.n = 0;
	return r;
}

int names_cache_resolve(struct names_cache *cache)
{
	int result = 0;

	for (size_t i = 0; i < cache->sources.n; i++) {
		struct entry *entry = cache->sources.at[i];
		int r;

		if (!entry->missing.n)
			continue;
		r = resolve_entry(cache, entry);
		/* One file that could not be asked about must not cost the others their names. */
		if (r < 0) {
			cache->stats.failures++;
			result = r;
		}
	}
	return result;
}

void names_cache_get(const struct names_cache *cache, uint32_t source, uint64_t offset, struct names_cache_name *ret)
{
	const struct entry *entry = cache->sources.at[source];
	const uint32_t *place = map_get(&entry->places, &offset);
	const struct names_location *location;

	*ret = (struct names_cache_name){ .address = offset };
	if (!entry->names || !place || *place == place_missing)
		return;
	location = &entry->names->locations.at[*place];
	*ret = (struct names_cache_name){
		.address = location->address,
		.frames = entry->names->frames.at + location->first_frame,
		.n_frames = location->n_frames,
		.flags = location->flags,
		.strings = entry->names->strings,
		.known = true,
	};
}

const struct names *names_cache_tables(const struct names_cache *cache, uint32_t source)
{
	return cache->sources.at[source]->names;
}

/* What was asked for in vain is asked for again in the next window: the symbolizer knows which files are hopeless. */
static void forget_missing(struct entry *entry)
{
	for (size_t i = 0; i < entry->missing.n; i++) {
		const uint32_t *place = map_get(&entry->places, &entry->missing.at[i]);

		if (place && *place == place_missing)
			map_remove(&entry->places, &entry->missing.at[i]);
	}
	vec_deinit(&entry->missing);
}

static size_t entry_bytes(const struct entry *entry)
{
	size_t bytes = sizeof(*entry) + entry->places.n_slots * entry->places.slot_size;

	if (entry->names) {
		bytes += entry->names->locations.n_allocated * sizeof(struct names_location);
		bytes += entry->names->frames.n_allocated * sizeof(struct names_frame);
		bytes += strtab_bytes(entry->names->strings);
	}
	return bytes;
}

static bool is_stale(const struct entry *entry)
{
	return entry->source.kind == SYMBOL_SOURCE_PERF_MAP ||
	       (entry->source.kind == SYMBOL_SOURCE_KERNEL && clock_monotonic_nsec() - entry->born_nsec > kernel_nsec);
}

static void drop(struct names_cache *cache, struct entry *entry)
{
	struct entry_key key = { .serial = entry->serial, .kind = entry->source.kind };

	map_remove(&cache->entries, &key);
	entry_free(entry);
}

/* The entry used longest ago; NULL when there is none. Adds up the bytes of all. */
static struct entry *oldest(const struct names_cache *cache, size_t *ret_bytes)
{
	struct entry *found = NULL;
	size_t cursor = 0;
	const void *key;
	void *value;

	*ret_bytes = 0;
	while (map_next(&cache->entries, &cursor, &key, &value)) {
		struct entry *entry = *(struct entry **)value;

		*ret_bytes += entry_bytes(entry);
		if (!found || entry->window < found->window)
			found = entry;
	}
	return found;
}

void names_cache_end_window(struct names_cache *cache)
{
	struct entry *entry;

	for (size_t i = 0; i < cache->sources.n; i++) {
		entry = cache->sources.at[i];
		forget_missing(entry);
	}
	for (size_t i = 0; i < cache->sources.n; i++)
		if (is_stale(cache->sources.at[i]))
			drop(cache, cache->sources.at[i]);
	cache->sources.n = 0;
	while ((entry = oldest(cache, &cache->stats.bytes)) && cache->stats.bytes > cache->limit_bytes) {
		cache->stats.evicted++;
		drop(cache, entry);
	}
	cache->window++;
}

void names_cache_clear(struct names_cache *cache)
{
	size_t cursor = 0;
	const void *key;
	void *value;

	while (map_next(&cache->entries, &cursor, &key, &value)) {
		cache->stats.evicted++;
		entry_free(*(struct entry **)value);
	}
	map_clear(&cache->entries);
	cache->stats.bytes = 0;
}

struct names_cache_stats names_cache_stats(const struct names_cache *cache)
{
	return cache->stats;
}
