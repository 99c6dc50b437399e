/* SPDX-License-Identifier: Apache-2.0 */
#include "pprof_decode.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "cleanup.h"
#include "diag.h"
#include "map.h"
#include "pprof_inflate.h"
#include "pprof_wire.h"
#include "profile.h"
#include "reader.h"

#define MIB ((size_t)1 << 20)

/* The largest profiles seen in the field (heap profiles of servers with 100,000 stacks) inflate to some tens of MiB. */
const struct pprof_limits pprof_limits_tool = {
	.file_bytes = 512 * MIB,
	.inflated_bytes = 512 * MIB,
	.inflated_ratio = 200, /* real ones: 3 to 20 */
	.ratio_from_bytes = 16 * MIB,
	.memory_bytes = 2048 * MIB,
	.stack_depth = 1000000,
};

const struct pprof_limits pprof_limits_daemon = {
	.file_bytes = 32 * MIB,
	.inflated_bytes = 64 * MIB,
	.inflated_ratio = 200,
	.ratio_from_bytes = 16 * MIB,
	.memory_bytes = 128 * MIB,
	.stack_depth = 100000,
};

/* Labels of a sample, and comments: real profiles have a few dozen. */
static const size_t max_small = 10000;

/* From the ids of a file to ours. Nearly all writers count from 1 upwards: no map is needed for these. */
struct id_table {
	VEC(uint32_t) dense;                 /* ours of id i + 1 */
	struct map sparse;
};

static void id_table_init(struct id_table *table)
{
	*table = (struct id_table){ 0 };
	map_init(&table->sparse, sizeof(uint64_t), sizeof(uint32_t));
}

static void id_table_deinit(struct id_table *table)
{
	vec_deinit(&table->dense);
	map_deinit(&table->sparse);
}

/* 0: no such id. */
static uint32_t id_table_get(const struct id_table *table, uint64_t id)
{
	const uint32_t *ours;

	if (id - 1 < table->dense.n)
		return table->dense.at[id - 1];
	ours = map_get(&table->sparse, &id);
	return ours ? *ours : 0;
}

static int id_table_add(struct id_table *table, uint64_t id, uint32_t ours)
{
	void *value;
	int r;

	if (id == table->dense.n + 1)
		return vec_push(&table->dense, ours);
	r = map_put(&table->sparse, &id, &value);
	if (r < 0)
		return r;
	memcpy(value, &ours, sizeof(ours));
	return 0;
}

static size_t id_table_memory(const struct id_table *table)
{
	return table->dense.n_allocated * sizeof(uint32_t) + table->sparse.n_slots * table->sparse.slot_size;
}

struct decoder {
	const char *file;
	const struct pprof_limits *limits;
	struct diag *diag;
	struct profile *profile;
	struct reader bytes;                 /* inflated */
	size_t inflated_memory;

	VEC(uint32_t) strings;               /* ours of each string of the file */
	struct id_table mappings, functions, locations;

	/* Parts of the message being read; kept between messages for their memory. */
	VEC(struct profile_line) lines;
	VEC(uint32_t) stack;
	VEC(int64_t) values;
	VEC(struct profile_label) labels;
};

__attribute__((format(printf, 2, 3))) static int invalid(const struct decoder *d, const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&message, format, arguments) < 0)
		message = NULL;
	va_end(arguments);
	if (!message)
		return -ENOMEM;
	diag_error(d->diag, d->file, 0, 0, "broken profile: %s", message);
	return PPROF_E_INVALID;
}

/* One field of a message. */
struct field {
	uint32_t number, wire;
	uint64_t value;                      /* of a varint */
	struct reader body;                  /* of bytes */
};

/* The next field, which has to be asked for while something is left. Fails the reader on what protobuf does not allow. */
static bool next_field(struct reader *r, struct field *ret)
{
	uint64_t tag, size;

	if (reader_left(r) == 0)
		return false;
	tag = reader_uleb128(r);
	ret->number = tag >> 3;
	ret->wire = tag & 7;
	if (tag >> 3 == 0 || tag >> 3 > (1 << 29) - 1)
		reader_fail(r);
	switch (ret->wire) {
	case WIRE_VARINT:
		ret->value = reader_uleb128(r);
		break;
	case WIRE_BYTES:
		size = reader_uleb128(r);
		ret->body = reader_part(r, r->at, size);
		reader_skip(r, size);
		break;
	case WIRE_FIXED64:
		reader_skip(r, 8);
		break;
	case WIRE_FIXED32:
		reader_skip(r, 4);
		break;
	default: /* groups, which profile.proto never had */
		reader_fail(r);
	}
	return reader_ok(r);
}

/* Whether a known field has the type it must have. */
static bool has_wire(struct reader *r, const struct field *field, uint32_t wire)
{
	if (field->wire != wire)
		reader_fail(r);
	return reader_ok(r);
}

static int get_string(const struct decoder *d, uint64_t number, uint32_t *ret)
{
	if (number >= d->strings.n)
		return invalid(d, "string %" PRIu64 " is used, but there are only %zu strings", number, d->strings.n);
	*ret = d->strings.at[number];
	return 0;
}

/* Numbers of a repeated field, packed or not; `each` is called for every one. */
#define FOR_EACH_NUMBER(field, reader, number, ...)                                                \
	do {                                                                                       \
		if ((field)->wire == WIRE_VARINT) {                                                \
			uint64_t number = (field)->value;                                          \
			__VA_ARGS__;                                                               \
		} else if (has_wire(reader, field, WIRE_BYTES)) {                                  \
			while (reader_left(&(field)->body) > 0) {                                  \
				uint64_t number = reader_uleb128(&(field)->body);                  \
				if (!reader_ok(&(field)->body))                                    \
					break;                                                     \
				__VA_ARGS__;                                                       \
			}                                                                          \
			if (!reader_ok(&(field)->body))                                            \
				reader_fail(reader);                                               \
		}                                                                                  \
	} while (0)

/*
 * Reads a message of plain numbers: numbers[i] is field i, and 0 when it is absent. Fields that are unknown, or above
 * n, are skipped.
 */
static int read_numbers(const struct decoder *d, struct reader *r, const char *what, uint64_t *numbers, size_t n)
{
	struct field field;

	memset(numbers, 0, n * sizeof(*numbers));
	while (next_field(r, &field))
		if (field.number < n && has_wire(r, &field, WIRE_VARINT))
			numbers[field.number] = field.value;
	if (!reader_ok(r))
		return invalid(d, "a %s is cut off or has a field of a wrong type", what);
	return 0;
}

static int read_value_type(struct decoder *d, struct reader *r, struct profile_value_type *ret)
{
	uint64_t numbers[VALUE_TYPE_UNIT + 1];
	int z;

	z = read_numbers(d, r, "value type", numbers, ARRAY_SIZE(numbers));
	if (z != 0)
		return z;
	z = get_string(d, numbers[VALUE_TYPE_TYPE], &ret->type);
	if (z != 0)
		return z;
	return get_string(d, numbers[VALUE_TYPE_UNIT], &ret->unit);
}

static int read_sample_type(struct decoder *d, struct field *field)
{
	struct profile_value_type type;
	int r;

	r = read_value_type(d, &field->body, &type);
	if (r != 0)
		return r;
	return vec_push(&d->profile->sample_types, type);
}

static int read_mapping(struct decoder *d, struct field *field)
{
	uint64_t numbers[MAPPING_HAS_INLINE_FRAMES + 1];
	struct profile_mapping mapping = { 0 };
	uint32_t id;
	int r;

	r = read_numbers(d, &field->body, "mapping", numbers, ARRAY_SIZE(numbers));
	if (r != 0)
		return r;
	if (numbers[MAPPING_ID] == 0 || id_table_get(&d->mappings, numbers[MAPPING_ID]))
		return invalid(d, "mapping id %" PRIu64 " is %s", numbers[MAPPING_ID],
				numbers[MAPPING_ID] ? "there twice" : "not allowed");
	mapping.start = numbers[MAPPING_MEMORY_START];
	mapping.limit = numbers[MAPPING_MEMORY_LIMIT];
	mapping.offset = numbers[MAPPING_FILE_OFFSET];
	mapping.has_functions = numbers[MAPPING_HAS_FUNCTIONS];
	mapping.has_filenames = numbers[MAPPING_HAS_FILENAMES];
	mapping.has_line_numbers = numbers[MAPPING_HAS_LINE_NUMBERS];
	mapping.has_inline_frames = numbers[MAPPING_HAS_INLINE_FRAMES];
	r = get_string(d, numbers[MAPPING_FILENAME], &mapping.file);
	if (r != 0)
		return r;
	r = get_string(d, numbers[MAPPING_BUILD_ID], &mapping.build_id);
	if (r != 0)
		return r;
	r = profile_add_mapping(d->profile, &mapping, &id);
	if (r < 0)
		return r;
	return id_table_add(&d->mappings, numbers[MAPPING_ID], id);
}

static int read_function(struct decoder *d, struct field *field)
{
	uint64_t numbers[FUNCTION_START_LINE + 1];
	struct profile_function function;
	uint32_t id;
	int r;

	r = read_numbers(d, &field->body, "function", numbers, ARRAY_SIZE(numbers));
	if (r != 0)
		return r;
	if (numbers[FUNCTION_ID] == 0 || id_table_get(&d->functions, numbers[FUNCTION_ID]))
		return invalid(d, "function id %" PRIu64 " is %s", numbers[FUNCTION_ID],
				numbers[FUNCTION_ID] ? "there twice" : "not allowed");
	function.start_line = (int64_t)numbers[FUNCTION_START_LINE];
	r = get_string(d, numbers[FUNCTION_NAME], &function.name);
	if (r != 0)
		return r;
	r = get_string(d, numbers[FUNCTION_SYSTEM_NAME], &function.system_name);
	if (r != 0)
		return r;
	r = get_string(d, numbers[FUNCTION_FILENAME], &function.file);
	if (r != 0)
		return r;
	r = profile_add_function(d->profile, &function, &id);
	if (r < 0)
		return r;
	return id_table_add(&d->functions, numbers[FUNCTION_ID], id);
}

static int read_line(struct decoder *d, struct reader *r)
{
	uint64_t numbers[LINE_COLUMN + 1];
	struct profile_line line;
	int z;

	z = read_numbers(d, r, "line", numbers, ARRAY_SIZE(numbers));
	if (z != 0)
		return z;
	line.function = id_table_get(&d->functions, numbers[LINE_FUNCTION_ID]);
	line.line = (int64_t)numbers[LINE_LINE];
	line.column = (int64_t)numbers[LINE_COLUMN];
	if (!line.function)
		return invalid(d, "a line is in function %" PRIu64 ", which does not exist", numbers[LINE_FUNCTION_ID]);
	return vec_push(&d->lines, line);
}

static int too_many(const struct decoder *d, const char *what)
{
	diag_error(d->diag, d->file, 0, 0, "has more %s than the limit of %zu", what, max_small);
	return PPROF_E_LIMIT;
}

static int too_deep(const struct decoder *d, const char *what)
{
	diag_error(d->diag, d->file, 0, 0, "a %s is over the limit of %zu", what, d->limits->stack_depth);
	return PPROF_E_LIMIT;
}

static int read_location(struct decoder *d, struct field *message)
{
	struct reader *r = &message->body;
	uint64_t numbers[LOCATION_IS_FOLDED + 1] = { 0 };
	struct field field;
	uint32_t mapping, id;
	int z;

	d->lines.n = 0;
	while (next_field(r, &field)) {
		if (field.number == LOCATION_LINE) {
			if (!has_wire(r, &field, WIRE_BYTES))
				break;
			if (d->lines.n >= d->limits->stack_depth)
				return too_deep(d, "location's number of lines");
			z = read_line(d, &field.body);
			if (z != 0)
				return z;
		} else if (field.number < ARRAY_SIZE(numbers) && has_wire(r, &field, WIRE_VARINT))
			numbers[field.number] = field.value;
	}
	if (!reader_ok(r))
		return invalid(d, "a location is cut off or has a field of a wrong type");
	if (numbers[LOCATION_ID] == 0 || id_table_get(&d->locations, numbers[LOCATION_ID]))
		return invalid(d, "location id %" PRIu64 " is %s", numbers[LOCATION_ID],
				numbers[LOCATION_ID] ? "there twice" : "not allowed");
	mapping = id_table_get(&d->mappings, numbers[LOCATION_MAPPING_ID]);
	if (!mapping && numbers[LOCATION_MAPPING_ID] != 0)
		return invalid(d, "location %" PRIu64 " is in mapping %" PRIu64 ", which does not exist", numbers[LOCATION_ID],
				numbers[LOCATION_MAPPING_ID]);
	z = profile_add_location(d->profile, mapping, numbers[LOCATION_ADDRESS], d->lines.at, d->lines.n, &id);
	if (z < 0)
		return z;
	d->profile->locations.at[id - 1].is_folded |= numbers[LOCATION_IS_FOLDED] != 0;
	return id_table_add(&d->locations, numbers[LOCATION_ID], id);
}

static int read_label(struct decoder *d, struct reader *r)
{
	uint64_t numbers[LABEL_NUM_UNIT + 1];
	struct profile_label label = { 0 };
	int z;

	z = read_numbers(d, r, "label", numbers, ARRAY_SIZE(numbers));
	if (z != 0)
		return z;
	if (d->labels.n >= max_small)
		return too_many(d, "labels in a sample");
	label.num = (int64_t)numbers[LABEL_NUM];
	z = get_string(d, numbers[LABEL_KEY], &label.key);
	if (z != 0)
		return z;
	z = get_string(d, numbers[LABEL_STR], &label.str);
	if (z != 0)
		return z;
	z = get_string(d, numbers[LABEL_NUM_UNIT], &label.num_unit);
	if (z != 0)
		return z;
	return vec_push(&d->labels, label);
}

static int push_location(struct decoder *d, uint64_t id)
{
	uint32_t ours = id_table_get(&d->locations, id);

	if (!ours)
		return invalid(d, "a sample is in location %" PRIu64 ", which does not exist", id);
	if (d->stack.n >= d->limits->stack_depth)
		return too_deep(d, "sample's stack depth");
	return vec_push(&d->stack, ours);
}

static int push_value(struct decoder *d, uint64_t value)
{
	if (d->values.n >= d->profile->sample_types.n)
		return invalid(d, "a sample has more values than there are sample types (%zu)", d->profile->sample_types.n);
	return vec_push(&d->values, (int64_t)value);
}

static int read_sample_field(struct decoder *d, struct reader *r, struct field *field)
{
	int z = 0;

	switch (field->number) {
	case SAMPLE_LOCATION_ID:
		FOR_EACH_NUMBER(field, r, id, {
			z = push_location(d, id);
			if (z != 0)
				return z;
		});
		break;
	case SAMPLE_VALUE:
		FOR_EACH_NUMBER(field, r, value, {
			z = push_value(d, value);
			if (z != 0)
				return z;
		});
		break;
	case SAMPLE_LABEL:
		if (has_wire(r, field, WIRE_BYTES))
			z = read_label(d, &field->body);
		break;
	}
	return z;
}

static int read_sample(struct decoder *d, struct field *message)
{
	struct reader *r = &message->body;
	struct field field;
	int z;

	d->stack.n = d->values.n = d->labels.n = 0;
	while (next_field(r, &field)) {
		z = read_sample_field(d, r, &field);
		if (z != 0)
			return z;
	}
	if (!reader_ok(r))
		return invalid(d, "a sample is cut off or has a field of a wrong type");
	if (d->profile->sample_types.n == 0)
		return invalid(d, "there are samples, but no sample types");
	if (d->values.n != d->profile->sample_types.n)
		return invalid(d, "a sample has %zu values, but there are %zu sample types", d->values.n,
				d->profile->sample_types.n);
	z = profile_add_sample(d->profile, d->stack.at, d->stack.n, d->values.at, d->labels.at, d->labels.n);
	if (z == -EOVERFLOW)
		return invalid(d, "the values of equal samples add up to more than 2^63");
	return z < 0 ? z : 0;
}

static int read_string(struct decoder *d, struct field *field)
{
	uint32_t string;
	int r;

	if (d->strings.n == 0 && field->body.size != 0)
		return invalid(d, "the first string must be empty");
	r = strtab_add(d->profile->strings, (const char *)field->body.data, field->body.size, &string);
	if (r < 0)
		return r == -E2BIG ? invalid(d, "there are more than 2^31 strings") : r;
	return vec_push(&d->strings, string);
}

static int read_period_type(struct decoder *d, struct field *field)
{
	return read_value_type(d, &field->body, &d->profile->period_type);
}

static int read_comment(struct decoder *d, struct reader *r, struct field *field)
{
	uint32_t comment = 0;
	int z;

	FOR_EACH_NUMBER(field, r, number, {
		z = get_string(d, number, &comment);
		if (z == 0 && d->profile->comments.n >= max_small)
			z = too_many(d, "comments");
		if (z == 0)
			z = vec_push(&d->profile->comments, comment);
		if (z != 0)
			return z;
	});
	return 0;
}

/* What is not a message and not repeated. */
static int read_scalar(struct decoder *d, struct reader *r, const struct field *field)
{
	struct profile *profile = d->profile;

	if (!has_wire(r, field, WIRE_VARINT))
		return 0;
	switch (field->number) {
	case PROFILE_DROP_FRAMES:
		return get_string(d, field->value, &profile->drop_frames);
	case PROFILE_KEEP_FRAMES:
		return get_string(d, field->value, &profile->keep_frames);
	case PROFILE_DEFAULT_SAMPLE_TYPE:
		return get_string(d, field->value, &profile->default_sample_type);
	case PROFILE_DOC_URL:
		return get_string(d, field->value, &profile->doc_url);
	case PROFILE_TIME_NANOS:
		profile->time_nsec = (int64_t)field->value;
		return 0;
	case PROFILE_DURATION_NANOS:
		profile->duration_nsec = (int64_t)field->value;
		return 0;
	default:
		profile->period = (int64_t)field->value;
		return 0;
	}
}

static int read_header(struct decoder *d, struct reader *r, struct field *field)
{
	switch (field->number) {
	case PROFILE_DROP_FRAMES:
	case PROFILE_KEEP_FRAMES:
	case PROFILE_DEFAULT_SAMPLE_TYPE:
	case PROFILE_DOC_URL:
	case PROFILE_TIME_NANOS:
	case PROFILE_DURATION_NANOS:
	case PROFILE_PERIOD:
		return read_scalar(d, r, field);
	case PROFILE_COMMENT:
		return read_comment(d, r, field);
	}
	return 0;
}

static int check_memory(const struct decoder *d)
{
	size_t used = d->inflated_memory + profile_memory(d->profile) + d->strings.n_allocated * sizeof(uint32_t) +
			id_table_memory(&d->mappings) + id_table_memory(&d->functions) + id_table_memory(&d->locations) +
			d->lines.n_allocated * sizeof(struct profile_line) + d->stack.n_allocated * sizeof(uint32_t) +
			d->labels.n_allocated * sizeof(struct profile_label);

	if (used <= d->limits->memory_bytes)
		return 0;
	diag_error(d->diag, d->file, 0, 0, "takes more than the limit of %zu MiB of memory", d->limits->memory_bytes >> 20);
	return PPROF_E_LIMIT;
}

/* One walk over the fields of the profile; `read` gets those of one number that are messages or bytes. */
typedef int (*read_fn)(struct decoder *d, struct field *field);

static int walk(struct decoder *d, uint32_t number, read_fn read)
{
	struct reader r = d->bytes;
	struct field field;
	int z;

	while (next_field(&r, &field)) {
		if (field.number != number)
			continue;
		if (!has_wire(&r, &field, WIRE_BYTES))
			break;
		z = read(d, &field);
		if (z == 0)
			z = check_memory(d);
		if (z != 0)
			return z;
	}
	if (!reader_ok(&r))
		return invalid(d, "it is no protobuf, is cut off, or has a field of a wrong type, at byte %zu of %zu", r.at, r.size);
	return 0;
}

static int walk_header(struct decoder *d)
{
	struct reader r = d->bytes;
	struct field field;
	int z;

	while (next_field(&r, &field)) {
		z = read_header(d, &r, &field);
		if (z != 0)
			return z;
	}
	if (!reader_ok(&r))
		return invalid(d, "a field of the header has a wrong type, before byte %zu", r.at);
	return check_memory(d);
}

/* Fields come in any order, so each sort is read when all that it refers to is known. */
static int read_profile(struct decoder *d)
{
	static const struct {
		uint32_t number;
		read_fn read;
	} walks[] = {
		{ PROFILE_SAMPLE_TYPE, read_sample_type },
		{ PROFILE_PERIOD_TYPE, read_period_type },
		{ PROFILE_MAPPING, read_mapping },
		{ PROFILE_FUNCTION, read_function },
		{ PROFILE_LOCATION, read_location },
		{ PROFILE_SAMPLE, read_sample },
	};
	int r;

	r = walk(d, PROFILE_STRING_TABLE, read_string);
	if (r != 0)
		return r;
	if (d->strings.n == 0)
		return invalid(d, "it has no string table; expected is a pprof profile (profile.proto), gzip-compressed or not");
	for (size_t i = 0; i < ARRAY_SIZE(walks); i++) {
		r = walk(d, walks[i].number, walks[i].read);
		if (r != 0)
			return r;
	}
	return walk_header(d);
}

static int decode_bytes(struct decoder *d)
{
	int r;

	d->profile = profile_new();
	if (!d->profile)
		return -ENOMEM;
	id_table_init(&d->mappings);
	id_table_init(&d->functions);
	id_table_init(&d->locations);
	r = read_profile(d);
	id_table_deinit(&d->mappings);
	id_table_deinit(&d->functions);
	id_table_deinit(&d->locations);
	vec_deinit(&d->strings);
	vec_deinit(&d->lines);
	vec_deinit(&d->stack);
	vec_deinit(&d->values);
	vec_deinit(&d->labels);
	if (r != 0)
		d->profile = profile_free(d->profile);
	return r;
}

int pprof_decode(const void *data, size_t size, const char *file, const struct pprof_limits *limits, struct diag *diag,
		struct profile **ret)
{
	struct decoder d = { .file = file, .limits = limits ? limits : &pprof_limits_tool, .diag = diag };
	_cleanup_free_ uint8_t *inflated = NULL;
	int r;

	if (size == 0) {
		diag_error(diag, file, 0, 0, "is empty; expected is a pprof profile");
		return PPROF_E_INVALID;
	}
	if (size > d.limits->file_bytes) {
		diag_error(diag, file, 0, 0, "is over the limit of %zu MiB for a profile", d.limits->file_bytes >> 20);
		return PPROF_E_LIMIT;
	}
	d.bytes = reader_of(data, size);
	if (pprof_is_gzip(data, size)) {
		size_t n;

		r = pprof_inflate(data, size, file, d.limits, diag, &inflated, &n);
		if (r != 0)
			return r;
		d.bytes = reader_of(inflated, n);
		d.inflated_memory = n;
	}
	r = decode_bytes(&d);
	if (r != 0)
		return r;
	*ret = d.profile;
	return 0;
}
