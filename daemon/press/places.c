/* SPDX-License-Identifier: Apache-2.0 */
#include "places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "image.h"
#include "map.h"
#include "stacks.h"

struct places {
	const struct capture *capture;
	struct names_cache *cache;
	VEC(struct place_origin) origins;
	struct map origin_of;                /* struct origin_key -> index into origins */
	struct place *all;                   /* of stacks->frames */
};

static const uint32_t source_none = UINT32_MAX;

struct origin_key {
	uint64_t serial;
	uint32_t kind;
	uint32_t zero;
};

enum origin_kind { ORIGIN_KERNEL, ORIGIN_BINARY, ORIGIN_VDSO, ORIGIN_PERF_MAP, ORIGIN_ANONYMOUS, ORIGIN_UNMAPPED };

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static int make_origin(struct places *places, const struct origin_key *key, const struct image *image,
		const struct image_mapping *mapping, struct place_origin *ret)
{
	struct symbol_source source = { .fd = -1 };
	struct place_origin origin = { .mapping = mapping, .source = source_none };

	switch ((enum origin_kind)key->kind) {
	case ORIGIN_KERNEL:
		source.kind = SYMBOL_SOURCE_KERNEL;
		origin.file = origin.title = "[kernel.kallsyms]";
		break;
	case ORIGIN_VDSO:
		source.kind = SYMBOL_SOURCE_VDSO;
		origin.file = origin.title = "[vdso]";
		break;
	case ORIGIN_BINARY:
		source.kind = SYMBOL_SOURCE_ELF;
		source.fd = mapping->binary->fd;
		source.path = mapping->binary->path;
		source.build_id = mapping->binary->build_id;
		origin.file = mapping->binary->path;
		origin.title = base_name(mapping->binary->path);
		break;
	case ORIGIN_PERF_MAP:
		source.kind = SYMBOL_SOURCE_PERF_MAP;
		source.fd = image->perf_map_fd;
		origin.file = origin.title = "[jit]";
		origin.is_jit = true;
		break;
	case ORIGIN_ANONYMOUS:
		origin.file = "[anon]";
		origin.title = "[jit]";
		origin.is_jit = true;
		*ret = origin;
		return 0;
	case ORIGIN_UNMAPPED:
		origin.title = "[unknown]";
		*ret = origin;
		return 0;
	}
	*ret = origin;
	/* Without a descriptor there is nothing to ask. */
	if (key->kind == ORIGIN_BINARY && source.fd < 0)
		return 0;
	return names_cache_source(places->cache, &source, key->serial, &ret->source);
}

static int find_origin(struct places *places, enum origin_kind kind, uint64_t serial, const struct image *image,
		const struct image_mapping *mapping, uint32_t *ret)
{
	struct origin_key key = { .serial = serial, .kind = kind };
	struct place_origin origin;
	void *value;
	int r;

	r = map_put(&places->origin_of, &key, &value);
	if (r < 0)
		return r;
	if (r == 1) {
		r = make_origin(places, &key, image, mapping, &origin);
		if (r < 0)
			return r;
		*(uint32_t *)value = places->origins.n;
		r = vec_push(&places->origins, origin);
		if (r < 0)
			return r;
	}
	*ret = *(uint32_t *)value;
	return 0;
}

static int find_place(struct places *places, uint32_t process, uint64_t address, struct place *ret)
{
	const struct image *image = places->capture->images.at[process];
	const struct image_mapping *mapping = NULL;
	uint64_t serial = 0, offset = address;
	enum origin_kind kind;
	uint32_t source;
	int r;

	if (address >= PLACES_KERNEL_START) {
		kind = ORIGIN_KERNEL;
	} else {
		mapping = image ? image_find(image, address) : NULL;
		if (!mapping) {
			kind = ORIGIN_UNMAPPED;
		} else if (mapping->kind == IMAGE_MAPPING_VDSO) {
			kind = ORIGIN_VDSO;
			offset = address - mapping->start;
		} else if (mapping->kind == IMAGE_MAPPING_FILE) {
			kind = ORIGIN_BINARY;
			serial = mapping->binary->serial;
			offset = address - mapping->start + mapping->file_offset;
		} else {
			kind = image->perf_map_fd >= 0 ? ORIGIN_PERF_MAP : ORIGIN_ANONYMOUS;
			serial = kind == ORIGIN_PERF_MAP ? process + 1 : 0;
		}
	}
	r = find_origin(places, kind, serial, image, mapping, &ret->origin);
	if (r < 0)
		return r;
	ret->offset = offset;
	source = places->origins.at[ret->origin].source;
	return source == source_none ? 0 : names_cache_want(places->cache, source, offset);
}

/*
 * Return addresses point behind the call, which may be another line or function: the call itself is one byte before.
 * The leaf is where the processor was; so is the first user frame below kernel frames, which the kernel entered from, and
 * what a signal interrupted. (A leaf may lie above 2^63: the vsyscall page does.)
 */
static uint64_t call_address(const struct stacks_stack *stack, size_t i, uint64_t address)
{
	if (i == 0 || i == stack->n_kernel || !address)
		return address;
	if (i > stack->n_kernel && address & SAMPLE_INTERRUPTED)
		return address & ~SAMPLE_INTERRUPTED;
	return address - 1;
}

static int find_places(struct places *places)
{
	const struct stacks *stacks = places->capture->stacks;
	int r;

	places->all = calloc(stacks->frames.n + 1, sizeof(*places->all));
	if (!places->all)
		return -ENOMEM;
	for (size_t i = 0; i < stacks->stacks.n; i++) {
		const struct stacks_stack *stack = &stacks->stacks.at[i];

		for (size_t j = 0; j < (size_t)stack->n_kernel + stack->n_user; j++) {
			uint64_t address = call_address(stack, j, stacks->frames.at[stack->first_frame + j]);

			r = find_place(places, stack->process, address, &places->all[stack->first_frame + j]);
			if (r < 0)
				return r;
		}
	}
	/* What could not be asked about keeps its number: worse than a name, better than no sample. The cache counts it. */
	names_cache_resolve(places->cache);
	return 0;
}

int places_new(const struct capture *capture, struct names_cache *cache, struct places **ret)
{
	_cleanup_(places_free_p) struct places *places = calloc(1, sizeof(*places));
	int r;

	if (!places)
		return -ENOMEM;
	places->capture = capture;
	places->cache = cache;
	map_init(&places->origin_of, sizeof(struct origin_key), sizeof(uint32_t));
	r = find_places(places);
	if (r < 0)
		return r;
	*ret = TAKE(places);
	return 0;
}

struct places *places_free(struct places *places)
{
	if (!places)
		return NULL;
	map_deinit(&places->origin_of);
	vec_deinit(&places->origins);
	free(places->all);
	free(places);
	return NULL;
}

const struct place *places_of(const struct places *places, const struct stacks_stack *stack)
{
	return &places->all[stack->first_frame];
}

const struct place_origin *places_origin(const struct places *places, const struct place *place)
{
	return &places->origins.at[place->origin];
}

struct names_cache_name places_name(const struct places *places, const struct place *place)
{
	uint32_t source = places_origin(places, place)->source;
	struct names_cache_name name = { .address = place->offset };

	if (source != source_none)
		names_cache_get(places->cache, source, place->offset, &name);
	return name;
}

const struct names *places_tables(const struct places *places, const struct place *place)
{
	uint32_t source = places_origin(places, place)->source;

	return source == source_none ? NULL : names_cache_tables(places->cache, source);
}

char *places_title(const struct places *places, const struct place *place)
{
	const struct place_origin *origin = places_origin(places, place);
	char *title;

	if (origin->is_jit)
		return strdup(origin->title);
	if (asprintf(&title, "%s+0x%llx", origin->title, (unsigned long long)places_name(places, place).address) < 0)
		return NULL;
	return title;
}
