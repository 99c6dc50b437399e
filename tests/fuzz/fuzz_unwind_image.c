/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An unwind table as bytes. First as they are, with a check sum that is right; then as rows, 4 bytes each, of which an image
 * is made, that must be found in it again, and in which a few bytes are then changed as the last of the input say.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "unwind_image.h"
#include "unwind_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The format, once more: what is in front of the table. */
enum { CHECKSUM_AT = 16, TABLE_AT = 24, PAGES_AT = TABLE_AT + sizeof(struct unwind_table) };

static void ask(uint8_t *image_bytes, size_t size)
{
	struct unwind_image image;
	uint32_t *numbers;
	uint64_t checksum;

	if (size >= TABLE_AT) {
		checksum = XXH3_64bits(image_bytes + TABLE_AT, size - TABLE_AT);
		memcpy(image_bytes + CHECKSUM_AT, &checksum, sizeof(checksum));
	}
	if (unwind_image_open(image_bytes, size, &image))
		return;
	for (uint64_t i = 0; i < 512; i++) {
		uint64_t span = image.table.end - image.table.begin;

		if (!unwind_image_find(&image, image.table.begin + span * i / 512))
			abort();
		unwind_image_find(&image, i << 23);
	}
	numbers = calloc(image.n_pages, sizeof(*numbers));
	if (!numbers)
		return;
	unwind_image_relocate(&image.table, image_bytes + PAGES_AT, image.n_pages, numbers);
	free(numbers);
}

static void ask_rows(const uint8_t *data, size_t size)
{
	struct unwind_rows rows = {0};
	size_t n = size / 4, image_size;
	struct unwind_image image;
	uint32_t offset = 0;
	void *bytes;

	for (size_t i = 0; i < 300; i++)
		if (vec_push(&rows.rules, ((struct unwind_rule){ .cfa = UNWIND_CFA_REGISTER, .offset = i })))
			abort();
	for (size_t i = 0; i < n; i++) {
		uint16_t words[2];

		memcpy(words, data + i * 4, 4);
		if (vec_push(&rows.rows, ((struct unwind_rows_row){ .offset = offset, .rule = words[1] % 300 })))
			abort();
		offset += 1 + words[0] * (words[0] & 1 ? 1 : 16);
	}
	rows.end = offset;
	if (unwind_image_encode(&rows, &bytes, &image_size) == 0) {
		if (unwind_image_open(bytes, image_size, &image))
			abort();
		for (size_t i = 0; i < n; i++) {
			const struct unwind_rule *rule = unwind_image_find(&image, rows.rows.at[i].offset);

			if (rows.rows.at[i].offset < image.table.end && (!rule || rule->offset != rows.rows.at[i].rule))
				abort();
		}
		for (size_t i = 0; i < 3 && size >= (i + 1) * 8; i++) {
			uint32_t words[2];

			memcpy(words, data + size - (i + 1) * 8, 8);
			memcpy((uint8_t *)bytes + TABLE_AT + words[0] % (image_size - TABLE_AT - 4), &words[1], 4);
		}
		ask(bytes, image_size);
		free(bytes);
	}
	vec_deinit(&rows.rows);
	vec_deinit(&rows.rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	ask(copy, size);
	free(copy);
	ask_rows(data, size < 65536 ? size : 65536);
	return 0;
}
