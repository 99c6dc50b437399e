/* SPDX-License-Identifier: Apache-2.0 */
#include "place_text.h"

#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "gopclntab.h"
#include "places.h"
#include "strtab.h"
#include "text.h"

enum { MAX_FILE = 512 };                     /* the end of a path says more than its beginning */

static char *copy_clean(const char *text)
{
	char clean[GOPCLNTAB_MAX_NAME];

	text_clean(text, clean, sizeof(clean));
	return strdup(clean);
}

static const char *end_of_path(const char *path)
{
	size_t length = strlen(path);

	return length < MAX_FILE ? path : path + length - (MAX_FILE - 1);
}

char *place_text(const struct places *places, const struct place *place, enum place_text_sort sort)
{
	const struct names_cache_name name = places_name(places, place);
	char buffer[GOPCLNTAB_MAX_NAME], function[GOPCLNTAB_MAX_NAME], clean_file[MAX_FILE], *text;
	const char *path;
	uint32_t inner;

	if (!name.n_frames) {
		_cleanup_free_ char *title = places_title(places, place);

		return title ? copy_clean(title) : NULL;
	}
	inner = sort == PLACE_TEXT_CODE ? 0 : name.n_frames - 1;
	text_clean(gopclntab_print_name(strtab_get(name.strings, name.frames[inner].name, NULL), buffer, sizeof(buffer)), function, sizeof(function));
	path = strtab_get(name.strings, name.frames[0].file, NULL);
	if (sort == PLACE_TEXT_FUNCTION || !path[0])
		return strdup(function);
	text_clean(end_of_path(path), clean_file, sizeof(clean_file));
	return asprintf(&text, "%s (%s:%u)", function, clean_file, name.frames[0].line) < 0 ? NULL : text;
}
