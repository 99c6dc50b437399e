/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "main.h"

static struct binary *binary_of(int fd)
{
	struct binary *binary = calloc(1, sizeof(*binary));

	ck_assert_ptr_nonnull(binary);
	binary->n_references = 1;
	binary->fd = fd;
	binary->path = strdup("/x");
	return binary;
}

static struct image *image_with(const struct image_mapping *mappings, size_t n)
{
	struct image *image = calloc(1, sizeof(*image));

	ck_assert_ptr_nonnull(image);
	image->perf_map_fd = -1;
	ck_assert_int_eq(vec_append(&image->mappings, mappings, n), 0);
	return image;
}

START_TEST(an_address_is_found_in_its_mapping_alone)
{
	static const struct image_mapping mappings[] = {
		{ .start = 0x1000, .end = 0x2000, .kind = IMAGE_MAPPING_ANONYMOUS },
		{ .start = 0x2000, .end = 0x3000, .kind = IMAGE_MAPPING_VDSO },
		{ .start = 0x5000, .end = UINT64_MAX, .kind = IMAGE_MAPPING_ANONYMOUS },
	};
	struct image *image = image_with(mappings, 3);

	ck_assert_ptr_null(image_find(image, 0));
	ck_assert_ptr_null(image_find(image, 0xfff));
	ck_assert_ptr_eq(image_find(image, 0x1000), &image->mappings.at[0]);
	ck_assert_ptr_eq(image_find(image, 0x1fff), &image->mappings.at[0]);
	ck_assert_ptr_eq(image_find(image, 0x2000), &image->mappings.at[1]);
	ck_assert_ptr_null(image_find(image, 0x3000));
	ck_assert_ptr_null(image_find(image, 0x4fff));
	ck_assert_ptr_eq(image_find(image, UINT64_MAX - 1), &image->mappings.at[2]);
	ck_assert_ptr_null(image_find(image, UINT64_MAX));
	image_free(image);
}
END_TEST

START_TEST(nothing_is_found_where_nothing_is_mapped)
{
	struct image *image = image_with(NULL, 0);

	ck_assert_ptr_null(image_find(image, 0x1000));
	ck_assert_ptr_null(image_free(image));
	ck_assert_ptr_null(image_free(NULL));
}
END_TEST

START_TEST(a_file_stays_open_until_the_last_image_is_gone)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), map = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct binary *binary = binary_of(fd);
	struct image_mapping mapping = { .start = 1, .end = 2, .binary = binary, .kind = IMAGE_MAPPING_FILE };
	struct image *first = image_with(&mapping, 1), *second;

	binary_ref(binary);
	second = image_with(&mapping, 1);
	second->perf_map_fd = map;
	image_free(first);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	image_free(second);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_int_eq(fcntl(map, F_GETFD), -1);
	ck_assert_ptr_null(binary_unref(NULL));
}
END_TEST

UNIT_TESTS("image", an_address_is_found_in_its_mapping_alone, nothing_is_found_where_nothing_is_mapped,
	a_file_stays_open_until_the_last_image_is_gone)
