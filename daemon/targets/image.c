/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include <stdlib.h>

#include "cleanup.h"

struct image *image_free(struct image *image)
{
	if (!image)
		return NULL;
	for (size_t i = 0; i < image->mappings.n; i++)
		binary_unref(image->mappings.at[i].binary);
	vec_deinit(&image->mappings);
	free(image->service);
	free(image->comm);
	free(image->exe);
	free(image->unit);
	free(image->container);
	labels_deinit(&image->labels);
	close_fd(image->perf_map_fd);
	free(image);
	return NULL;
}

const struct image_mapping *image_find(const struct image *image, uint64_t address)
{
	size_t low = 0, high = image->mappings.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct image_mapping *mapping = &image->mappings.at[middle];

		if (address < mapping->start)
			high = middle;
		else if (address >= mapping->end)
			low = middle + 1;
		else
			return mapping;
	}
	return NULL;
}
