/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "names.h"
#include "resolve.h"

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

/* The length of the well-formed UTF-8 sequence at s, 0 when it is none (RFC 3629 §4, table 3-7 of Unicode). */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
	size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	if (length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

/* Profiles hold UTF-8 (proto3 strings), and terminals must not be steered by a symbol's name. */
static int add_string(struct strtab *strings, const char *string, uint32_t *ret)
{
	char clean[RESOLVE_MAX_STRING];
	size_t n = 0, length;

	if (!string)
		return strtab_add(strings, "", 0, ret);
	length = strnlen(string, RESOLVE_MAX_STRING);
	while (n < length) {
		size_t sequence = utf8_sequence((const unsigned char *)string + n, length - n);

		if (sequence <= 1 && (sequence == 0 || (unsigned char)string[n] < ' ' || string[n] == 0x7f)) {
			clean[n++] = '?';
			continue;
		}
		memcpy(clean + n, string + n, sequence);
		n += sequence;
	}
	return strtab_add(strings, clean, n, ret);
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
