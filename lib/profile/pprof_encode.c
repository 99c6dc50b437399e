/* SPDX-License-Identifier: Apache-2.0 */
#include "pprof_encode.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pprof_wire.h"
#include "profile.h"

/* Protobuf's own limit on a message. */
static const size_t max_message = INT32_MAX;

struct writer {
	VEC(uint8_t) bytes;
	int error;                           /* the first one; nothing is written any more then */
};

/* Room for n more bytes, or NULL. */
static uint8_t *reserve(struct writer *w, size_t n)
{
	if (w->error)
		return NULL;
	if (n > max_message - w->bytes.n)
		w->error = -E2BIG;
	else
		w->error = vec_reserve(&w->bytes, w->bytes.n + n);
	return w->error ? NULL : w->bytes.at + w->bytes.n;
}

static size_t varint_size(uint64_t value)
{
	size_t n = 1;

	while (value >>= 7)
		n++;
	return n;
}

static uint8_t *put_varint_at(uint8_t *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = 0x80 | (value & 0x7f);
	*at++ = value;
	return at;
}

static void put_varint(struct writer *w, uint64_t value)
{
	uint8_t *at = reserve(w, 10);

	if (at)
		w->bytes.n = put_varint_at(at, value) - w->bytes.at;
}

static void put_tag(struct writer *w, uint32_t field, uint32_t wire)
{
	put_varint(w, (uint64_t)field << 3 | wire);
}

/* A number field; zero is what a reader assumes and is left out. */
static void put_number(struct writer *w, uint32_t field, uint64_t value)
{
	if (value == 0)
		return;
	put_tag(w, field, WIRE_VARINT);
	put_varint(w, value);
}

static void put_bytes(struct writer *w, uint32_t field, const void *data, size_t size)
{
	uint8_t *at;

	put_tag(w, field, WIRE_BYTES);
	put_varint(w, size);
	at = reserve(w, size);
	if (!at)
		return;
	if (size)
		memcpy(at, data, size);
	w->bytes.n += size;
}

/* Begins a field that holds other ones; the result goes to end_message(). */
static size_t begin_message(struct writer *w, uint32_t field)
{
	put_tag(w, field, WIRE_BYTES);
	put_varint(w, 0); /* one byte for the length: enough for most */
	return w->bytes.n;
}

static void end_message(struct writer *w, size_t start)
{
	size_t size = w->bytes.n - start, extra;

	if (w->error)
		return;
	extra = varint_size(size) - 1;
	if (!reserve(w, extra))
		return;
	memmove(w->bytes.at + start + extra, w->bytes.at + start, size);
	put_varint_at(w->bytes.at + start - 1, size);
	w->bytes.n += extra;
}

static void put_value_type(struct writer *w, uint32_t field, const struct profile_value_type *type)
{
	size_t start = begin_message(w, field);

	put_number(w, VALUE_TYPE_TYPE, type->type);
	put_number(w, VALUE_TYPE_UNIT, type->unit);
	end_message(w, start);
}

static void put_label(struct writer *w, const struct profile_label *label)
{
	size_t start = begin_message(w, SAMPLE_LABEL);

	put_number(w, LABEL_KEY, label->key);
	put_number(w, LABEL_STR, label->str);
	put_number(w, LABEL_NUM, label->num);
	put_number(w, LABEL_NUM_UNIT, label->num_unit);
	end_message(w, start);
}

static void put_sample(struct writer *w, const struct profile *profile, size_t i)
{
	const struct profile_sample *sample = &profile->samples.at[i];
	const int64_t *values = profile_values(profile, i);
	size_t start = begin_message(w, PROFILE_SAMPLE), list;

	if (sample->n_locations) {
		list = begin_message(w, SAMPLE_LOCATION_ID);
		for (uint32_t j = 0; j < sample->n_locations; j++)
			put_varint(w, profile->stack.at[sample->first_location + j]);
		end_message(w, list);
	}
	list = begin_message(w, SAMPLE_VALUE);
	for (size_t j = 0; j < profile->sample_types.n; j++)
		put_varint(w, values[j]);
	end_message(w, list);
	for (uint32_t j = 0; j < sample->n_labels; j++)
		put_label(w, &profile->labels.at[sample->first_label + j]);
	end_message(w, start);
}

static void put_mapping(struct writer *w, const struct profile_mapping *mapping, size_t id)
{
	size_t start = begin_message(w, PROFILE_MAPPING);

	put_number(w, MAPPING_ID, id);
	put_number(w, MAPPING_MEMORY_START, mapping->start);
	put_number(w, MAPPING_MEMORY_LIMIT, mapping->limit);
	put_number(w, MAPPING_FILE_OFFSET, mapping->offset);
	put_number(w, MAPPING_FILENAME, mapping->file);
	put_number(w, MAPPING_BUILD_ID, mapping->build_id);
	put_number(w, MAPPING_HAS_FUNCTIONS, mapping->has_functions);
	put_number(w, MAPPING_HAS_FILENAMES, mapping->has_filenames);
	put_number(w, MAPPING_HAS_LINE_NUMBERS, mapping->has_line_numbers);
	put_number(w, MAPPING_HAS_INLINE_FRAMES, mapping->has_inline_frames);
	end_message(w, start);
}

static void put_location(struct writer *w, const struct profile *profile, size_t i)
{
	const struct profile_location *location = &profile->locations.at[i];
	size_t start = begin_message(w, PROFILE_LOCATION);

	put_number(w, LOCATION_ID, i + 1);
	put_number(w, LOCATION_MAPPING_ID, location->mapping);
	put_number(w, LOCATION_ADDRESS, location->address);
	for (uint32_t j = 0; j < location->n_lines; j++) {
		const struct profile_line *line = &profile->lines.at[location->first_line + j];
		size_t line_start = begin_message(w, LOCATION_LINE);

		put_number(w, LINE_FUNCTION_ID, line->function);
		put_number(w, LINE_LINE, line->line);
		put_number(w, LINE_COLUMN, line->column);
		end_message(w, line_start);
	}
	put_number(w, LOCATION_IS_FOLDED, location->is_folded);
	end_message(w, start);
}

static void put_function(struct writer *w, const struct profile_function *function, size_t id)
{
	size_t start = begin_message(w, PROFILE_FUNCTION);

	put_number(w, FUNCTION_ID, id);
	put_number(w, FUNCTION_NAME, function->name);
	put_number(w, FUNCTION_SYSTEM_NAME, function->system_name);
	put_number(w, FUNCTION_FILENAME, function->file);
	put_number(w, FUNCTION_START_LINE, function->start_line);
	end_message(w, start);
}

static void put_strings(struct writer *w, const struct strtab *strings)
{
	for (size_t i = 0; i < strtab_count(strings); i++) {
		size_t length;
		const char *string = strtab_get(strings, i, &length);

		put_bytes(w, PROFILE_STRING_TABLE, string, length);
	}
}

static void put_header(struct writer *w, const struct profile *profile)
{
	put_number(w, PROFILE_DROP_FRAMES, profile->drop_frames);
	put_number(w, PROFILE_KEEP_FRAMES, profile->keep_frames);
	put_number(w, PROFILE_TIME_NANOS, profile->time_nsec);
	put_number(w, PROFILE_DURATION_NANOS, profile->duration_nsec);
	/* An empty period type would match no other profile in `go tool pprof -base`, one that is absent does. */
	if (profile->period_type.type || profile->period_type.unit)
		put_value_type(w, PROFILE_PERIOD_TYPE, &profile->period_type);
	put_number(w, PROFILE_PERIOD, profile->period);
	for (size_t i = 0; i < profile->comments.n; i++) {
		put_tag(w, PROFILE_COMMENT, WIRE_VARINT);
		put_varint(w, profile->comments.at[i]);
	}
	put_number(w, PROFILE_DEFAULT_SAMPLE_TYPE, profile->default_sample_type);
	put_number(w, PROFILE_DOC_URL, profile->doc_url);
}

/* Fields in the order of their numbers, as every protobuf library writes them. */
static void put_profile(struct writer *w, const struct profile *profile)
{
	for (size_t i = 0; i < profile->sample_types.n; i++)
		put_value_type(w, PROFILE_SAMPLE_TYPE, &profile->sample_types.at[i]);
	for (size_t i = 0; i < profile->samples.n; i++)
		put_sample(w, profile, i);
	for (size_t i = 0; i < profile->mappings.n; i++)
		put_mapping(w, &profile->mappings.at[i], i + 1);
	for (size_t i = 0; i < profile->locations.n; i++)
		put_location(w, profile, i);
	for (size_t i = 0; i < profile->functions.n; i++)
		put_function(w, &profile->functions.at[i], i + 1);
	put_strings(w, profile->strings);
	put_header(w, profile);
}

/* RFC 1952: deflate, with a comment, no time, unknown system. */
static const uint8_t gzip_header[PPROF_MARK_SIZE] = {
	0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 255, 't', 's', 'p', 'r', 'o', 'f', 'd', 0,
};
static const size_t gzip_trailer_size = 8;

bool pprof_has_mark(const void *bytes, size_t size)
{
	return size >= PPROF_MARK_SIZE && !memcmp(bytes, gzip_header, sizeof(gzip_header));
}

static void put_u32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = value >> (8 * i);
}

static int compress_gzip(const uint8_t *data, size_t size, int level, char **ret, size_t *ret_size)
{
	struct libdeflate_compressor *compressor;
	_cleanup_free_ uint8_t *file = NULL;
	size_t bound, n;
	uint8_t *shrunk;

	compressor = libdeflate_alloc_compressor(level);
	if (!compressor)
		return -ENOMEM;
	bound = libdeflate_deflate_compress_bound(compressor, size);
	file = malloc(sizeof(gzip_header) + bound + gzip_trailer_size);
	if (!file) {
		libdeflate_free_compressor(compressor);
		return -ENOMEM;
	}
	memcpy(file, gzip_header, sizeof(gzip_header));
	n = libdeflate_deflate_compress(compressor, data, size, file + sizeof(gzip_header), bound);
	libdeflate_free_compressor(compressor);
	if (n == 0)
		return -E2BIG; /* cannot happen within the bound */
	n += sizeof(gzip_header);
	put_u32(file + n, libdeflate_crc32(0, data, size));
	put_u32(file + n + 4, size);
	n += gzip_trailer_size;
	shrunk = realloc(file, n);
	*ret = (char *)(shrunk ? shrunk : file);
	file = NULL;
	*ret_size = n;
	return 0;
}

int pprof_encode(const struct profile *profile, int level, char **ret, size_t *ret_size)
{
	struct writer w = { 0 };
	int r;

	if (level != PPROF_LEVEL_NONE && (level < 1 || level > 12))
		return -EINVAL;
	put_profile(&w, profile);
	r = w.error;
	if (r == 0 && level == PPROF_LEVEL_NONE) {
		*ret = (char *)w.bytes.at;
		*ret_size = w.bytes.n;
		return 0;
	}
	if (r == 0)
		r = compress_gzip(w.bytes.at, w.bytes.n, level, ret, ret_size);
	vec_deinit(&w.bytes);
	return r;
}
