/* SPDX-License-Identifier: Apache-2.0 */
#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdbool.h>
#include <string.h>

#include "demangle.h"

struct output {
	char *bytes;
	size_t n;
	jmp_buf too_long;
};

/*
 * Called by libiberty for each piece. It has no way to say "enough", and substitutions let a short name grow without
 * end, so that we leave by longjmp: in this mode its C++ side has all its memory on the stack, and its Rust side loses
 * at most one decoded identifier.
 */
static void take_piece(const char *piece, size_t size, void *opaque)
{
	struct output *output = opaque;

	if (size >= DEMANGLE_MAX - output->n)
		longjmp(output->too_long, 1);
	memcpy(output->bytes + output->n, piece, size);
	output->n += size;
}

size_t demangle(const char *mangled, char ret[static DEMANGLE_MAX])
{
	/* As cplus_demangle() with DMGL_AUTO tries them: a legacy Rust name is a valid C++ one, too. */
	const int options = DMGL_PARAMS | DMGL_ANSI;
	struct output output = { .bytes = ret };

	/* All that we know start with _Z, _R or (some linkers add one) __Z; spare the rest the attempt. */
	if (strncmp(mangled, "_Z", 2) && strncmp(mangled, "_R", 2) && strncmp(mangled, "__Z", 3) && strncmp(mangled, "_GLOBAL_", 8))
		return 0;
	if (setjmp(output.too_long))
		return 0;
	if (!rust_demangle_callback(mangled, options, take_piece, &output)) {
		output.n = 0;
		if (!cplus_demangle_v3_callback(mangled, options, take_piece, &output))
			return 0;
	}
	ret[output.n] = '\0';
	return output.n;
}
