/* SPDX-License-Identifier: Apache-2.0 */
#include "image_make.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address_space.h"
#include "binaries.h"
#include "cleanup.h"
#include "clock.h"
#include "identities.h"
#include "image.h"
#include "programs.h"

static struct binaries_query query_of(const struct program *program, const struct address_range *range)
{
	return (struct binaries_query){
		.pid = program->is_alive ? program->thread : 0,
		.start = range->start,
		.end = range->end,
		.root = program->root,
		.path = binaries_file_path(range->file),
		.time_nsec = program->is_alive ? clock_monotonic_nsec() : program->end_nsec,
	};
}

static struct binary *program_binary(struct binaries *binaries, const struct program *program,
		const struct address_range *range)
{
	const struct binaries_query query = query_of(program, range);

	return binaries_file_binary(binaries, range->file, &query);
}

struct binary *image_binary_at(struct binaries *binaries, const struct program *program, uint64_t address)
{
	const struct address_range *range = program->space ? address_space_find(program->space, address) : NULL;

	return range && range->file ? program_binary(binaries, program, range) : NULL;
}

struct binary *image_binary_anew(struct binaries *binaries, const struct program *program, uint64_t address)
{
	const struct address_range *range = program->space ? address_space_find(program->space, address) : NULL;
	struct binaries_query query;

	if (!range || !range->file)
		return NULL;
	query = query_of(program, range);
	return binaries_open_anew(binaries, &query);
}

uint64_t image_hotspot_base(const struct program *program)
{
	const struct address_space *space = program->space;
	uint64_t base = 0;

	for (size_t i = 0; space && i < space->ranges.n; i++) {
		const struct address_range *range = &space->ranges.at[i];
		const char *slash = range->file ? strrchr(binaries_file_path(range->file), '/') : NULL;

		if (slash && !strncmp(slash, "/libj9vm", 8))
			return 0;
		if (!base && slash && !strcmp(slash, "/libjvm.so") && range->file_offset <= range->start)
			base = range->start - range->file_offset;
	}
	return base;
}

static int copy_mappings(struct binaries *binaries, const struct program *program, struct image *image,
		bool *ret_needs_perf_map)
{
	const struct address_space *space = program->space;

	*ret_needs_perf_map = false;
	for (size_t i = 0; space && i < space->ranges.n; i++) {
		const struct address_range *range = &space->ranges.at[i];
		struct image_mapping mapping = {
			.start = range->start,
			.end = range->end,
			.file_offset = range->file_offset,
			.kind = range->kind,
		};

		if (range->file) {
			mapping.binary = program_binary(binaries, program, range);
			if (!mapping.binary)
				return -ENOMEM;
		}
		if (vec_push(&image->mappings, mapping) < 0) {
			binary_unref(mapping.binary);
			return -ENOMEM;
		}
		*ret_needs_perf_map |= range->kind == IMAGE_MAPPING_ANONYMOUS;
	}
	return 0;
}

static int copy_string(const char *from, char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

/* What its runtime tells of code made at run time: its perf map, or else the jitdump that it has mapped. */
static int duplicate_perf_map(struct programs *programs, struct program *program, const struct image *image)
{
	const struct identity *identity = program->identity;
	int fd = perf_maps_duplicate(programs->perf_maps, &program->perf_map);

	for (size_t i = 0; fd < 0 && i < image->mappings.n; i++) {
		const struct binary *binary = image->mappings.at[i].binary;

		if (binary && binary->fd >= 0 && perf_maps_is_dump(binary->path))
			fd = perf_maps_duplicate_dump(programs->perf_maps, &program->perf_map, binary->fd, identity->has_uid,
					identity->uid);
	}
	return fd;
}

DEFINE_CLEANUP(struct image, image_free);

int image_make(struct programs *programs, struct program *program, bool with_perf_map, struct image **ret)
{
	_cleanup_(image_free_p) struct image *image = calloc(1, sizeof(*image));
	const struct identity *identity = program->identity;
	bool needs_perf_map;
	int r;

	if (!image)
		return -ENOMEM;
	image->id = program->id;
	image->perf_map_fd = -1;
	image->in_depth = identity->in_depth;
	image->is_followed = program->is_followed;
	if (copy_string(identity->service, &image->service) < 0 || copy_string(program->comm, &image->comm) < 0 ||
	    copy_string(identity->exe, &image->exe) < 0 || copy_string(identity->cgroup.unit, &image->unit) < 0 ||
	    copy_string(identity->cgroup.container, &image->container) < 0 ||
	    labels_copy(&identity->labels, &image->labels) < 0)
		return -ENOMEM;
	r = copy_mappings(programs->binaries, program, image, &needs_perf_map);
	if (r < 0)
		return r;
	if (needs_perf_map && with_perf_map)
		image->perf_map_fd = duplicate_perf_map(programs, program, image);
	*ret = TAKE(image);
	return 0;
}
