/* SPDX-License-Identifier: Apache-2.0 */
#include "locations.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "image.h"
#include "map.h"
#include "places.h"
#include "profile.h"

struct locations {
	const struct places *places;
	struct profile *profile;
	struct map id_of;                    /* struct place -> location id */
	VEC(struct profile_line) lines;      /* scratch */
};

static int build_id_string(struct profile *profile, const struct build_id *id, uint32_t *ret)
{
	char hex[2 * sizeof(id->bytes) + 1] = "";

	for (size_t i = 0; i < MIN(id->size, sizeof(id->bytes)); i++)
		snprintf(hex + 2 * i, 3, "%02x", id->bytes[i]);
	return profile_string(profile, hex, ret);
}

/* The segment of the file that an address of it is in. */
static const struct names_segment *find_segment(const struct names *names, uint64_t address)
{
	for (size_t i = 0; i < names->segments.n; i++) {
		const struct names_segment *segment = &names->segments.at[i];

		if (address >= segment->address && address - segment->address < segment->size)
			return segment;
	}
	return NULL;
}

static int add_mapping(struct locations *locations, const struct place *place, const struct names_cache_name *name, uint32_t *ret)
{
	const struct place_origin *origin = places_origin(locations->places, place);
	const struct names *names = places_tables(locations->places, place);
	struct profile_mapping mapping = { 0 };
	const struct names_segment *segment = names ? find_segment(names, name->address) : NULL;
	int r;

	if (!origin->file) {
		*ret = 0;
		return 0;
	}
	if (segment) {
		mapping.start = segment->address;
		mapping.limit = segment->address + segment->size;
		mapping.offset = segment->file_offset;
	} else if (origin->mapping && origin->mapping->kind == IMAGE_MAPPING_FILE) {
		/* Nothing but the offset is known: addresses are offsets, then. */
		mapping.start = origin->mapping->file_offset;
		mapping.limit = mapping.start + (origin->mapping->end - origin->mapping->start);
		mapping.offset = mapping.start;
	} else if (place->offset >= PLACES_KERNEL_START) {
		mapping.start = PLACES_KERNEL_START;
		mapping.limit = UINT64_MAX;
	} else {
		mapping.limit = PLACES_KERNEL_START;
	}
	if (names) {
		mapping.has_functions = names->has_functions;
		mapping.has_filenames = names->has_filenames;
		mapping.has_line_numbers = names->has_line_numbers;
		mapping.has_inline_frames = names->has_inline_frames;
	}
	/* Every location gets a function, if only "file+0xoffset": pprof must not look for better ones elsewhere. */
	mapping.has_functions = true;
	r = profile_clean_string(locations->profile, origin->file, &mapping.file);
	if (r >= 0 && origin->mapping && origin->mapping->binary)
		r = build_id_string(locations->profile, names && names->build_id.size ? &names->build_id :
				&origin->mapping->binary->build_id, &mapping.build_id);
	return r < 0 ? r : profile_add_mapping(locations->profile, &mapping, ret);
}

/* A function of which there is no more than what it is called. */
static int add_bare_line(struct profile *profile, const char *name, struct profile_line *ret)
{
	struct profile_function function = { 0 };
	int r;

	r = profile_clean_string(profile, name, &function.name);
	if (r < 0)
		return r;
	function.system_name = function.name;
	*ret = (struct profile_line){ 0 };
	return profile_add_function(profile, &function, &ret->function);
}

static int add_line(struct profile *profile, const struct strtab *strings, const struct names_frame *frame,
		struct profile_line *ret)
{
	struct profile_function function = { .start_line = frame->start_line };
	int r;

	r = profile_string(profile, strtab_get(strings, frame->name, NULL), &function.name);
	if (r >= 0)
		r = profile_string(profile, strtab_get(strings, frame->system_name, NULL), &function.system_name);
	if (r >= 0)
		r = profile_string(profile, strtab_get(strings, frame->file, NULL), &function.file);
	if (r < 0)
		return r;
	*ret = (struct profile_line){ .line = frame->line };
	return profile_add_function(profile, &function, &ret->function);
}

static int add_names(struct locations *locations, const struct place *place, const struct names_cache_name *name)
{
	struct profile_line line;
	int r = 0;

	locations->lines.n = 0;
	for (uint32_t i = 0; r >= 0 && i < name->n_frames; i++) {
		r = add_line(locations->profile, name->strings, &name->frames[i], &line);
		if (r >= 0)
			r = vec_push(&locations->lines, line);
	}
	if (r >= 0 && !name->n_frames) {
		_cleanup_free_ char *title = places_title(locations->places, place);

		r = title ? add_bare_line(locations->profile, title, &line) : -ENOMEM;
		if (r >= 0)
			r = vec_push(&locations->lines, line);
	}
	return r;
}

static int add_location(struct locations *locations, const struct place *place, uint32_t n_left_out, uint32_t *ret)
{
	const struct names_cache_name name = places_name(locations->places, place);
	uint32_t mapping;
	int r;

	r = add_mapping(locations, place, &name, &mapping);
	if (r >= 0)
		r = add_names(locations, place, &name);
	if (r < 0)
		return r;
	n_left_out = MIN(n_left_out, (uint32_t)locations->lines.n - 1);
	return profile_add_location(locations->profile, mapping, name.address, locations->lines.at + n_left_out, locations->lines.n - n_left_out, ret);
}

int locations_find_outer(struct locations *locations, const struct place *place, uint32_t n, uint32_t *ret)
{
	return add_location(locations, place, n, ret);
}

int locations_find(struct locations *locations, const struct place *place, uint32_t *ret)
{
	void *value;
	int r;

	r = map_put(&locations->id_of, place, &value);
	if (r < 0)
		return r;
	if (r == 1) {
		r = add_location(locations, place, 0, value);
		if (r < 0)
			return r;
	}
	*ret = *(uint32_t *)value;
	return 0;
}

int locations_find_pseudo(struct locations *locations, const char *name, uint32_t *ret)
{
	struct profile_line line;
	int r;

	r = add_bare_line(locations->profile, name, &line);
	return r < 0 ? r : profile_add_location(locations->profile, 0, 0, &line, 1, ret);
}

int locations_add_mapping(struct locations *locations, const struct place *place)
{
	const struct names_cache_name name = places_name(locations->places, place);
	uint32_t id;

	return add_mapping(locations, place, &name, &id);
}

int locations_new(const struct places *places, struct profile *profile, struct locations **ret)
{
	struct locations *locations = calloc(1, sizeof(*locations));

	if (!locations)
		return -ENOMEM;
	locations->places = places;
	locations->profile = profile;
	map_init(&locations->id_of, sizeof(struct place), sizeof(uint32_t));
	*ret = locations;
	return 0;
}

struct locations *locations_free(struct locations *locations)
{
	if (!locations)
		return NULL;
	map_deinit(&locations->id_of);
	vec_deinit(&locations->lines);
	free(locations);
	return NULL;
}
