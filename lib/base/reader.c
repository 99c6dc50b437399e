/* SPDX-License-Identifier: Apache-2.0 */
#include "reader.h"

uint64_t reader_uleb128(struct reader *r)
{
	uint64_t value = 0;

	for (unsigned int shift = 0;; shift += 7) {
		uint8_t byte = reader_u8(r);

		if (!reader_ok(r))
			return 0;
		/* The tenth byte has room for one bit. */
		if (shift > 63 || (shift == 63 && (byte & 0x7f) > 1)) {
			reader_fail(r);
			return 0;
		}
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
}

int64_t reader_sleb128(struct reader *r)
{
	uint64_t value = 0;
	unsigned int shift = 0;
	uint8_t byte;

	do {
		byte = reader_u8(r);
		if (!reader_ok(r) || shift > 63) {
			reader_fail(r);
			return 0;
		}
		value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	if (shift < 64 && (byte & 0x40))
		value |= ~(uint64_t)0 << shift;
	return (int64_t)value;
}

const char *reader_string(struct reader *r)
{
	const uint8_t *start = r->data + r->at;
	const uint8_t *end = reader_left(r) ? memchr(start, '\0', reader_left(r)) : NULL;

	if (!end) {
		reader_fail(r);
		return NULL;
	}
	r->at += end - start + 1;
	return (const char *)start;
}
