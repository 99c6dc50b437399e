/* SPDX-License-Identifier: Apache-2.0 */
/* An executable as its owner may write it: headers, symbol tables, PLT, mini debug information, DWARF. */
#include <elf.h>
#include <stdint.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "elf_image.h"
#include "fs.h"
#include "symbolizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A few offsets of each executable segment, and of the file, whatever the segments say. */
static size_t pick_offsets(const struct elf_image *image, uint64_t *offsets, size_t max)
{
	size_t n, n_segments;
	const struct elf_segment *segments = elf_image_segments(image, &n_segments);

	for (n = 0; n < max / 2; n++)
		offsets[n] = n * 64;
	for (size_t i = 0; i < n_segments; i++)
		for (uint64_t at = 0; n < max && (segments[i].flags & PF_X) && at < segments[i].file_size; at += segments[i].file_size / 16 + 1)
			offsets[n++] = segments[i].offset + at;
	return n;
}

static void read_image(const struct elf_image *image)
{
	size_t n;
	const struct elf_section *sections = elf_image_sections(image, &n);
	uint64_t value;

	for (size_t i = 0; i < n; i++) {
		struct reader bytes = elf_image_section_bytes(image, &sections[i]);

		/* Whatever is handed out must be readable to its end. */
		if (reader_ok(&bytes) && bytes.size) {
			volatile uint8_t last = bytes.data[bytes.size - 1];

			(void)last;
		}
		elf_image_offset_of_address(image, sections[i].address, &value);
		elf_image_bytes_at(image, sections[i].address, sections[i].size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = -1;
	struct symbolizer *s = NULL;
	struct debug_file_wants wants;
	struct elf_image *image;
	uint64_t offsets[128];
	struct names *names;
	size_t n;

	if (elf_image_open_memory(data, size, &image) != 0)
		return 0;
	read_image(image);
	n = pick_offsets(image, offsets, ARRAY_SIZE(offsets));
	elf_image_free(image);
	/* The rest wants a file: libelf writes into its private mapping of one. */
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || fs_write_all(fd, data, size) < 0 || symbolizer_open(SYMBOLIZER_ELF, fd, &s) != 0)
		return 0;
	symbolizer_wants(s, &wants);
	/* It is its own debug file and supplement when it says so. */
	symbolizer_add_debug_file(s, fd);
	symbolizer_add_supplement(s, fd);
	if (symbolizer_resolve(s, offsets, n, &names) == 0)
		names_free(names);
	/* The same numbers as addresses of variables. */
	for (size_t i = 0; i < n; i++)
		offsets[i] |= SYMBOLIZER_DATA;
	if (symbolizer_resolve(s, offsets, n, &names) == 0)
		names_free(names);
	symbolizer_free(s);
	return 0;
}
