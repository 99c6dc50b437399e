/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve_go.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gopclntab.h"

/*
 * The runtime leaves wrappers out of tracebacks (runtime/traceback.go elideWrapperCalling): methods that the compiler
 * generates, and some of its own, such as reflect.callMethod. We do too, as long as another frame is left at the address:
 * code that is nothing but a wrapper keeps its name.
 */
static size_t elide_wrappers(struct gopclntab_frame *frames, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (!frames[i].wrapper)
			frames[kept++] = frames[i];
	return kept ? kept : n;
}

static int resolve(void *state, uint64_t address, struct names *names)
{
	struct gopclntab_frame frames[RESOLVE_MAX_INLINE_DEPTH];
	size_t n, n_frames_before = names->frames.n;
	int r;

	r = gopclntab_lookup(state, address, frames, RESOLVE_MAX_INLINE_DEPTH, &n);
	if (r)
		return RESOLVE_E_UNKNOWN;
	n = elide_wrappers(frames, n);
	for (size_t i = 0; i < n; i++) {
		char buffer[RESOLVE_MAX_STRING];
		const struct frame frame = {
			.name = gopclntab_print_name(frames[i].name, buffer, sizeof(buffer)),
			.system_name = frames[i].name,
			.file = frames[i].file,
			.line = frames[i].line,
			.start_line = frames[i].start_line,
		};

		r = names_add_frame(names, &frame);
		if (r < 0) {
			names->frames.n = n_frames_before;
			return r;
		}
	}
	return 0;
}

static void resolve_free(void *state)
{
	gopclntab_free(state);
}

static const struct resolver_ops ops = {
	.name = "go",
	.tells = RESOLVE_TELLS_FUNCTIONS | RESOLVE_TELLS_FILENAMES | RESOLVE_TELLS_LINE_NUMBERS | RESOLVE_TELLS_INLINE_FRAMES,
	.resolve = resolve,
	.free = resolve_free,
};

static const struct resolver_ops ops_without_inline = {
	.name = "go",
	.tells = RESOLVE_TELLS_FUNCTIONS | RESOLVE_TELLS_FILENAMES | RESOLVE_TELLS_LINE_NUMBERS,
	.resolve = resolve,
	.free = resolve_free,
};

int resolve_go_open(const struct elf_image *image, struct resolver *ret)
{
	struct gopclntab *tab;
	int r;

	r = gopclntab_open(image, &tab);
	if (r < 0)
		return r;
	if (r)
		return RESOLVE_E_NONE;
	*ret = (struct resolver){ .ops = gopclntab_has_inline(tab) ? &ops : &ops_without_inline, .state = tab };
	return 0;
}
