/* SPDX-License-Identifier: Apache-2.0 */
#include "minidebug.h"

#include <errno.h>
#include <lzma.h>
#include <stdlib.h>

#include "cleanup.h"

enum { MAX_RATIO = 100 };                    /* symbol tables pack 5:1 */

static const uint64_t max_memory = UINT64_C(64) << 20; /* xz -9 needs 65 MiB, Fedora's -2e needs 3 */

/* 0 with nothing when it is no good. */
static int unpack(struct reader packed, void **ret_bytes, size_t *ret_size)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	uint64_t limit = MIN(MINIDEBUG_MAX_SIZE, (uint64_t)packed.size * MAX_RATIO), memory = max_memory;
	size_t size = MIN((size_t)limit, MAX(packed.size * 8, (size_t)65536));

	for (;;) {
		size_t in = 0, out = 0;
		lzma_ret l;
		uint8_t *grown = realloc(bytes, size);

		if (!grown)
			return -ENOMEM;
		bytes = grown;
		l = lzma_stream_buffer_decode(&memory, 0, NULL, packed.data, &in, packed.size, bytes, &out, size);
		if (l == LZMA_OK) {
			*ret_bytes = TAKE(bytes);
			*ret_size = out;
			return 0;
		}
		if (l != LZMA_BUF_ERROR || size >= limit)
			return 0;
		size = (size_t)MIN(limit, (uint64_t)size * 4);
	}
}

int minidebug_open(const struct elf_image *image, struct minidebug *ret)
{
	const struct elf_section *section = elf_image_section(image, ".gnu_debugdata");
	struct minidebug mini = { 0 };
	struct reader packed;
	size_t size = 0;
	int r;

	*ret = mini;
	if (!section)
		return 0;
	packed = elf_image_section_bytes(image, section);
	if (!reader_ok(&packed) || !packed.size)
		return 0;
	r = unpack(packed, &mini.bytes, &size);
	if (r < 0 || !mini.bytes)
		return r;
	r = elf_image_open_memory(mini.bytes, size, &mini.image);
	if (r) {
		free(mini.bytes);
		return r < 0 ? r : 0;
	}
	*ret = mini;
	return 0;
}

void minidebug_close(struct minidebug *minidebug)
{
	elf_image_free(minidebug->image);
	free(minidebug->bytes);
	*minidebug = (struct minidebug){ 0 };
}
