/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go's function table: a whole program that holds one, or a byte that says how many 256ths of the rest are go:func.*,
 * the table, go:func.*.
 */
#include <stdint.h>
#include <stdlib.h>

#include "elf_image.h"
#include "gopclntab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct gopclntab *tab)
{
	struct gopclntab_frame frames[128];
	char buffer[64];
	uint64_t start, end;
	size_t n;

	gopclntab_range(tab, &start, &end);
	for (unsigned i = 0; i < 64; i++) {
		if (gopclntab_lookup(tab, start + (end - start) / 64 * i + i, frames, 128, &n))
			continue;
		for (size_t j = 0; j < n; j++)
			gopclntab_print_name(frames[j].name, buffer, sizeof(buffer));
	}
	gopclntab_free(tab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gopclntab *tab;
	struct elf_image *image;

	if (elf_image_open_memory(data, size, &image) == 0) {
		if (gopclntab_open(image, &tab) == 0)
			ask(tab);
		elf_image_free(image);
		return 0;
	}
	if (size > 1) {
		size_t rest = size - 1, tail = rest * data[0] / 256;

		if (gopclntab_new(&(struct gopclntab_source){
				.table = reader_of(data + 1, rest - tail),
				.text = 0x401000,
				.funcdata = reader_of(data + 1 + rest - tail, tail),
			}, &tab) == 0)
			ask(tab);
	}
	return 0;
}
