/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <string.h>

#include "cleanup.h"

/* Of a well-formed sequence (RFC 3629 section 4, table 3-7 of Unicode); 0 when it is none. */
static size_t sequence_length(const unsigned char *s, size_t left)
{
	size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	if (length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, above U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

size_t text_character(const char *text, size_t left)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t length = left ? sequence_length(s, left) : 0;

	if (length == 1 && (s[0] < ' ' || s[0] == 0x7f))
		return 0;
	if (length == 2 && s[0] == 0xc2 && s[1] < 0xa0)
		return 0;
	return length;
}

void text_clean(const char *text, char *ret, size_t size)
{
	size_t left = strlen(text), n = 0;

	while (left) {
		size_t length = text_character(text, left), taken = MAX(length, (size_t)1);

		if (n + taken >= size)
			break;
		if (length)
			memcpy(ret + n, text, length);
		else
			ret[n] = '?';
		n += taken;
		text += taken;
		left -= taken;
	}
	ret[n] = '\0';
}
