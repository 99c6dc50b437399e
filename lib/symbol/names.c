/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "names.h"
#include "resolve.h"
#include "text.h"

struct names *names_new(void)
{
	struct names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->strings = strtab_new();
	if (!names->strings)
		return names_free(names);
	return names;
}

struct names *names_free(struct names *names)
{
	if (!names)
		return NULL;
	vec_deinit(&names->locations);
	vec_deinit(&names->frames);
	vec_deinit(&names->segments);
	strtab_free(names->strings);
	free(names);
	return NULL;
}

static int add_string(struct strtab *strings, const char *string, uint32_t *ret)
{
	char clean[RESOLVE_MAX_STRING + 1];

	text_clean(string ? string : "", clean, sizeof(clean));
	return strtab_add_string(strings, clean, ret);
}

int names_add_frame(struct names *names, const struct frame *frame)
{
	struct names_frame added = { .line = frame->line, .start_line = frame->start_line };
	int r;

	r = add_string(names->strings, frame->name, &added.name);
	if (r < 0)
		return r;
	added.system_name = added.name;
	if (frame->system_name) {
		r = add_string(names->strings, frame->system_name, &added.system_name);
		if (r < 0)
			return r;
	}
	r = add_string(names->strings, frame->file, &added.file);
	if (r < 0)
		return r;
	return vec_push(&names->frames, added);
}
