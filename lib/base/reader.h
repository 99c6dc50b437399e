/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads foreign bytes without ever leaving them. A read past the end, or of a number that does not fit, gives 0 or NULL
 * and marks the reader failed; it stays failed, so that a parser may read on and ask reader_ok() once at the end of
 * each thing it parses. All numbers are little-endian (ELF and DWARF of x86-64, protobuf).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct reader {
	const uint8_t *data;
	size_t size;
	size_t at;
	bool failed;
};

static inline struct reader reader_of(const void *data, size_t size)
{
	return (struct reader){ .data = data, .size = size };
}

static inline bool reader_ok(const struct reader *r)
{
	return !r->failed;
}

static inline size_t reader_left(const struct reader *r)
{
	return r->failed ? 0 : r->size - r->at;
}

static inline void reader_fail(struct reader *r)
{
	r->failed = true;
}

/* The next n bytes, which stay where they are; NULL when there are fewer. */
static inline const void *reader_bytes(struct reader *r, size_t n)
{
	const void *bytes = r->data + r->at;

	if (n > reader_left(r)) {
		reader_fail(r);
		return NULL;
	}
	r->at += n;
	return bytes;
}

static inline void reader_skip(struct reader *r, size_t n)
{
	reader_bytes(r, n);
}

/* Goes to an offset from the start. */
static inline void reader_seek(struct reader *r, uint64_t offset)
{
	if (offset > r->size)
		reader_fail(r);
	else
		r->at = offset;
}

/* A reader of a part of this one's data, by offset from the start; failed when the part is not inside. */
static inline struct reader reader_part(const struct reader *r, uint64_t offset, uint64_t size)
{
	if (r->failed || offset > r->size || size > r->size - offset)
		return (struct reader){ .failed = true };
	return reader_of(r->data + offset, size);
}

#define READER_DEFINE_NUMBER(name, type)                                                           \
	static inline type reader_##name(struct reader *r)                                         \
	{                                                                                          \
		const void *bytes = reader_bytes(r, sizeof(type));                                 \
		type value = 0;                                                                    \
                                                                                                   \
		if (bytes)                                                                         \
			memcpy(&value, bytes, sizeof(value));                                      \
		return value;                                                                      \
	}
READER_DEFINE_NUMBER(u8, uint8_t)
READER_DEFINE_NUMBER(u16, uint16_t)
READER_DEFINE_NUMBER(u32, uint32_t)
READER_DEFINE_NUMBER(u64, uint64_t)
READER_DEFINE_NUMBER(i16, int16_t)
READER_DEFINE_NUMBER(i32, int32_t)

/* Unsigned LEB128, which is also protobuf's varint: fails on more than 64 bits. */
uint64_t reader_uleb128(struct reader *r);
int64_t reader_sleb128(struct reader *r);
/* A terminated string, whose terminator must be inside; NULL when there is none. */
const char *reader_string(struct reader *r);
