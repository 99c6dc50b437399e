/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of Go code: of a whole program, or of one made of the bytes, with functions of the names that are known to the rows:
 * name, flags, length of its code, the code, number of stretches, then of each its length and depth.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../unit/unwind/made_go.h"
#include "cleanup.h"
#include "elf_image.h"
#include "reader.h"
#include "unwind_go.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	uint64_t *last = userdata;

	if (start < *last || end <= start || rule->cfa >= UNWIND_N_CFAS || rule->reg >= UNWIND_N_REGISTERS)
		abort();
	*last = end;
}

static void ask(const void *data, size_t size)
{
	struct elf_image *image;
	uint64_t last = 0;

	if (elf_image_open_memory(data, size, &image))
		return;
	unwind_go_rows(image, add, &last);
	elf_image_free(image);
}

static void ask_made(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
		"_rt0_amd64_linux", "main.f", "runtime.mcall", "runtime.morestack", "gogo", "runtime.clone", "runtime.systemstack",
		"runtime.asmcgocall", "runtime.cgocall", "runtime.sigreturn", "runtime.sigtramp", "crosscall2", "",
	};
	struct made_go_function functions[64] = {0};
	struct made_go_depth depths[64][8];
	struct reader r = reader_of(data, size);
	struct made_go file;
	size_t n = 0;

	while (n < ARRAY_SIZE(functions) && reader_left(&r)) {
		struct made_go_function *f = &functions[n];
		size_t length;

		f->name = n ? names[reader_u8(&r) % ARRAY_SIZE(names)] : names[0];
		f->flags = reader_u8(&r);
		length = reader_u8(&r);
		f->size = MIN(length, reader_left(&r));
		f->code = reader_bytes(&r, f->size);
		f->depths = depths[n];
		f->n_depths = reader_u8(&r) % 9;
		for (size_t i = 0; i < f->n_depths; i++) {
			uint8_t stretch = reader_u8(&r);
			int8_t depth = (int8_t)reader_u8(&r);

			depths[n][i] = (struct made_go_depth){ stretch, depth == INT8_MAX ? INT32_MAX : depth * 8 };
		}
		if (!f->code)
			break;
		n++;
	}
	if (!n)
		return;
	file = made_go(functions, n, 0);
	ask(file.b.at, file.b.n);
	vec_deinit(&file.b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ask(data, size);
	ask_made(data, size);
	return 0;
}
