/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A place (places.h) in words, in one line that is fit to show: "main.handle (/src/server.go:42)". Where the file is not known the
 * function alone, type arguments of Go as the runtime prints them; what has no name is "server+0x1234", as in a profile.
 */
struct place;
struct places;

enum place_text_sort {
	PLACE_TEXT_CODE,                     /* what is executed there: of functions that were inlined the innermost one */
	PLACE_TEXT_FUNCTION,                 /* the function that it lies in, not what was inlined there, and no line of it */
	PLACE_TEXT_GO_STATEMENT,             /* the function that it lies in, but the line of the statement: as "created by" of a traceback */
};

/* The caller frees it; NULL: out of memory. */
char *place_text(const struct places *places, const struct place *place, enum place_text_sort sort);
