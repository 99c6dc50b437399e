/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve_go.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "gopclntab.h"

/*
 * The runtime leaves wrappers out of tracebacks and profiles (runtime/traceback.go elideWrapperCalling): methods that the
 * compiler generates, and some of its own, such as reflect.callMethod. So do we. Where nothing else is, the frames are
 * kept and the place is hidden, for only the whole stack tells whether a panic called it.
 */
static size_t elide_wrappers(struct gopclntab_frame *frames, size_t n, uint32_t *flags)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (!frames[i].wrapper)
			frames[kept++] = frames[i];
	if (kept)
		return kept;
	*flags |= NAMES_HIDDEN;
	return n;
}

/* Those after which elideWrapperCalling() says no: a wrapper that called them did so instead of what it wraps. */
static bool is_panic(const char *name)
{
	static const char *const panics[] = { "runtime.gopanic", "runtime.sigpanic", "runtime.panicwrap" };

	for (size_t i = 0; i < ARRAY_SIZE(panics); i++)
		if (!strcmp(name, panics[i]))
			return true;
	return false;
}

static int resolve(void *state, uint64_t address, struct names *names)
{
	struct gopclntab_frame frames[RESOLVE_MAX_INLINE_DEPTH];
	size_t n, n_frames_before = names->frames.n;
	uint32_t flags = 0;
	int r;

	r = gopclntab_lookup(state, address, frames, RESOLVE_MAX_INLINE_DEPTH, &n);
	if (r)
		return RESOLVE_E_UNKNOWN;
	if (is_panic(frames[n - 1].name))
		flags |= NAMES_SHOWS_CALLER;
	n = elide_wrappers(frames, n, &flags);
	for (size_t i = 0; i < n; i++) {
		const struct frame frame = {
			.name = frames[i].name,
			.file = frames[i].function_file,
			.line = frames[i].line,
			.start_line = frames[i].start_line,
		};

		r = names_add_frame(names, &frame);
		if (r < 0) {
			names->frames.n = n_frames_before;
			return r;
		}
	}
	names->place_flags |= flags;
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
