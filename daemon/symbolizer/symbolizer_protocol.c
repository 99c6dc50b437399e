/* SPDX-License-Identifier: Apache-2.0 */
#include "symbolizer_protocol.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "reader.h"
#include "resolve.h"

/* Sizes of what records are made of: a record begins with its type. */
enum {
	RECORD_HEADER_SIZE = 4,
	FRAME_SIZE = 5 * 4,
	LOCATION_SIZE = 8 + 2 * 4,
	SEGMENT_SIZE = 3 * 8,
	BUILD_ID_SIZE = 1 + sizeof(((struct build_id *)0)->bytes),
};

#define NO_STRING 0U

/* --- writing --------------------------------------------------------------------------------------------------- */

static void put_bytes(struct symbolizer_record *record, const void *bytes, size_t size)
{
	/* Every record is sized by its writer; this is for a mistake in one. */
	if (size > sizeof(record->bytes) - record->size)
		abort();
	if (size)
		memcpy(record->bytes + record->size, bytes, size);
	record->size += size;
}

static void put_u32(struct symbolizer_record *record, uint32_t value)
{
	put_bytes(record, &value, sizeof(value));
}

static void put_u64(struct symbolizer_record *record, uint64_t value)
{
	put_bytes(record, &value, sizeof(value));
}

static void put_u8(struct symbolizer_record *record, uint8_t value)
{
	put_bytes(record, &value, sizeof(value));
}

static void put_build_id(struct symbolizer_record *record, const struct build_id *id)
{
	put_u8(record, id->size);
	put_bytes(record, id->bytes, sizeof(id->bytes));
}

static void put_text(struct symbolizer_record *record, const char *text, size_t room)
{
	size_t length = strnlen(text, room - 1);

	put_u32(record, length);
	put_bytes(record, text, length);
}

static void begin(struct symbolizer_record *record, enum symbolizer_record_type type)
{
	record->size = 0;
	put_u32(record, type);
}

static size_t room(const struct symbolizer_record *record)
{
	return sizeof(record->bytes) - record->size;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

/* Begins to read a record that must be of this type; failed otherwise. */
static struct reader record_reader(const void *data, size_t size, enum symbolizer_record_type type)
{
	struct reader r = reader_of(data, size);

	if (size > SYMBOLIZER_RECORD_MAX || reader_u32(&r) != type)
		reader_fail(&r);
	return r;
}

static int finished(const struct reader *r)
{
	return reader_ok(r) && !reader_left(r) ? 0 : SYMBOLIZER_PROTOCOL_E_MALFORMED;
}

static void get_build_id(struct reader *r, struct build_id *ret)
{
	uint8_t size = reader_u8(r);
	const void *bytes = reader_bytes(r, sizeof(ret->bytes));

	if (!bytes || size > sizeof(ret->bytes)) {
		reader_fail(r);
		return;
	}
	ret->size = size;
	memset(ret->bytes, 0, sizeof(ret->bytes));
	memcpy(ret->bytes, bytes, size);
}

static bool get_bool(struct reader *r)
{
	uint8_t value = reader_u8(r);

	if (value > 1)
		reader_fail(r);
	return value == 1;
}

/* A text of at most room - 1 bytes without a terminator inside. */
static void get_text(struct reader *r, char *ret, size_t size)
{
	uint32_t length = reader_u32(r);
	const void *bytes;

	if (length >= size) {
		reader_fail(r);
		return;
	}
	bytes = reader_bytes(r, length);
	if (!bytes || memchr(bytes, 0, length)) {
		reader_fail(r);
		return;
	}
	memcpy(ret, bytes, length);
	ret[length] = '\0';
}

/* --- questions ------------------------------------------------------------------------------------------------- */

void symbolizer_protocol_put_question(struct symbolizer_record *record, const struct symbolizer_question *question)
{
	begin(record, question->type);
	put_u32(record, question->slot);
	put_u32(record, question->type == SYMBOLIZER_OPEN ? question->kind : 0);
	put_u32(record, question->type == SYMBOLIZER_RESOLVE ? question->n_offsets : 0);
	for (uint32_t i = 0; question->type == SYMBOLIZER_RESOLVE && i < question->n_offsets; i++)
		put_u64(record, question->offsets[i]);
}

int symbolizer_protocol_get_question(const void *data, size_t size, struct symbolizer_question *ret)
{
	struct reader r = reader_of(data, size);
	uint32_t kind;

	ret->type = reader_u32(&r);
	ret->slot = reader_u32(&r);
	kind = reader_u32(&r);
	ret->n_offsets = reader_u32(&r);
	if (((ret->type < SYMBOLIZER_OPEN || ret->type > SYMBOLIZER_CLOSE) && ret->type != SYMBOLIZER_TABLE) || ret->slot >= SYMBOLIZER_SLOTS ||
	    kind > SYMBOLIZER_PERF_MAP || ret->n_offsets > SYMBOLIZER_OFFSETS_MAX)
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	ret->kind = kind;
	for (uint32_t i = 0; i < ret->n_offsets; i++)
		ret->offsets[i] = reader_u64(&r);
	return finished(&r);
}

/* --- short answers --------------------------------------------------------------------------------------------- */

void symbolizer_protocol_put_hello(struct symbolizer_record *record, const struct symbolizer_hello *hello)
{
	begin(record, SYMBOLIZER_HELLO);
	put_u32(record, hello->landlock_abi);
	put_u8(record, hello->limited);
	put_u8(record, hello->unprivileged_user);
}

int symbolizer_protocol_get_hello(const void *data, size_t size, struct symbolizer_hello *ret)
{
	struct reader r = record_reader(data, size, SYMBOLIZER_HELLO);

	ret->landlock_abi = reader_u32(&r);
	ret->limited = get_bool(&r);
	ret->unprivileged_user = get_bool(&r);
	return finished(&r);
}

void symbolizer_protocol_put_opened(struct symbolizer_record *record, const struct symbolizer_opened *opened)
{
	const struct debug_file_wants *wants = &opened->wants;

	begin(record, SYMBOLIZER_OPENED);
	put_u32(record, opened->status);
	put_build_id(record, &opened->build_id);
	put_u8(record, wants->debug_file);
	put_build_id(record, &wants->build_id);
	put_text(record, wants->link, sizeof(wants->link));
	put_u32(record, wants->link_crc);
	put_u8(record, wants->supplement);
	put_build_id(record, &wants->supplement_build_id);
	put_text(record, wants->supplement_path, sizeof(wants->supplement_path));
	put_u8(record, opened->lacks_frames);
}

int symbolizer_protocol_get_opened(const void *data, size_t size, struct symbolizer_opened *ret)
{
	struct reader r = record_reader(data, size, SYMBOLIZER_OPENED);
	struct debug_file_wants *wants = &ret->wants;

	memset(ret, 0, sizeof(*ret));
	ret->status = reader_i32(&r);
	get_build_id(&r, &ret->build_id);
	wants->debug_file = get_bool(&r);
	get_build_id(&r, &wants->build_id);
	get_text(&r, wants->link, sizeof(wants->link));
	wants->link_crc = reader_u32(&r);
	wants->supplement = get_bool(&r);
	get_build_id(&r, &wants->supplement_build_id);
	get_text(&r, wants->supplement_path, sizeof(wants->supplement_path));
	ret->lacks_frames = get_bool(&r);
	return finished(&r);
}

void symbolizer_protocol_put_closed(struct symbolizer_record *record)
{
	begin(record, SYMBOLIZER_CLOSED);
}

int symbolizer_protocol_get_closed(const void *data, size_t size)
{
	struct reader r = record_reader(data, size, SYMBOLIZER_CLOSED);

	return finished(&r);
}

/* --- names, sending -------------------------------------------------------------------------------------------- */

struct sender {
	const struct names *names;
	struct symbolizer_record record;
	int (*emit)(void *userdata, const struct symbolizer_record *record);
	void *userdata;
	uint32_t n_strings;                  /* those sent: [1, n_strings) */
};

/* Sends what is in the record and begins the next one of the same type, when there is no room for `size` more. */
static int make_room(struct sender *sender, enum symbolizer_record_type type, size_t size)
{
	int r;

	if (size <= room(&sender->record))
		return 0;
	r = sender->emit(sender->userdata, &sender->record);
	if (r < 0)
		return r;
	begin(&sender->record, type);
	return 0;
}

/* The end of a list of records of one type: an empty list has none. */
static int flush(struct sender *sender)
{
	if (sender->record.size == RECORD_HEADER_SIZE)
		return 0;
	return sender->emit(sender->userdata, &sender->record);
}

/* How many of the strings fit into an answer; those behind are left out. */
static uint32_t count_strings(const struct names *names)
{
	size_t n = strtab_count(names->strings), sum = 0, length;
	uint32_t i;

	for (i = 1; i < n; i++) {
		strtab_get(names->strings, i, &length);
		sum += length;
		if (length > RESOLVE_MAX_STRING || sum > SYMBOLIZER_STRINGS_MAX || i >= SYMBOLIZER_N_STRINGS_MAX)
			break;
	}
	return i;
}

static uint32_t sent_frames(const struct names_location *location)
{
	return MIN(location->n_frames, RESOLVE_MAX_INLINE_DEPTH);
}

static uint32_t count_frames(const struct names *names)
{
	uint32_t n = 0;

	for (size_t i = 0; i < names->locations.n; i++)
		n += sent_frames(&names->locations.at[i]);
	return n;
}

static int send_answer(struct sender *sender, int32_t status)
{
	const struct names *names = sender->names;
	uint32_t n_segments = names ? MIN(names->segments.n, SYMBOLIZER_SEGMENTS_MAX) : 0;
	const struct build_id none = {0};

	begin(&sender->record, SYMBOLIZER_ANSWER);
	put_u32(&sender->record, status);
	put_u32(&sender->record, sender->n_strings);
	put_u32(&sender->record, names ? count_frames(names) : 0);
	put_u32(&sender->record, names ? names->locations.n : 0);
	put_u8(&sender->record, names && names->has_functions);
	put_u8(&sender->record, names && names->has_filenames);
	put_u8(&sender->record, names && names->has_line_numbers);
	put_u8(&sender->record, names && names->has_inline_frames);
	put_build_id(&sender->record, names ? &names->build_id : &none);
	put_u32(&sender->record, n_segments);
	for (uint32_t i = 0; i < n_segments; i++) {
		put_u64(&sender->record, names->segments.at[i].file_offset);
		put_u64(&sender->record, names->segments.at[i].size);
		put_u64(&sender->record, names->segments.at[i].address);
	}
	return sender->emit(sender->userdata, &sender->record);
}

static int send_strings(struct sender *sender)
{
	begin(&sender->record, SYMBOLIZER_STRINGS);
	for (uint32_t i = 1; i < sender->n_strings; i++) {
		size_t length;
		const char *string = strtab_get(sender->names->strings, i, &length);
		int r = make_room(sender, SYMBOLIZER_STRINGS, 4 + length);

		if (r < 0)
			return r;
		put_u32(&sender->record, length);
		put_bytes(&sender->record, string, length);
	}
	return flush(sender);
}

static uint32_t sent_string(const struct sender *sender, uint32_t id)
{
	return id < sender->n_strings ? id : NO_STRING;
}

static int send_frame(struct sender *sender, const struct names_frame *frame)
{
	int r = make_room(sender, SYMBOLIZER_FRAMES, FRAME_SIZE);

	if (r < 0)
		return r;
	put_u32(&sender->record, sent_string(sender, frame->name));
	put_u32(&sender->record, sent_string(sender, frame->system_name));
	put_u32(&sender->record, sent_string(sender, frame->file));
	put_u32(&sender->record, frame->line);
	put_u32(&sender->record, frame->start_line);
	return 0;
}

static int send_frames(struct sender *sender)
{
	const struct names *names = sender->names;

	begin(&sender->record, SYMBOLIZER_FRAMES);
	for (size_t i = 0; i < names->locations.n; i++) {
		const struct names_location *location = &names->locations.at[i];

		for (uint32_t j = 0; j < sent_frames(location); j++) {
			int r = send_frame(sender, &names->frames.at[location->first_frame + j]);

			if (r < 0)
				return r;
		}
	}
	return flush(sender);
}

/* Locations are in the order asked and their frames behind each other: only the counts and flags travel. */
static int send_locations(struct sender *sender)
{
	begin(&sender->record, SYMBOLIZER_LOCATIONS);
	for (size_t i = 0; i < sender->names->locations.n; i++) {
		const struct names_location *location = &sender->names->locations.at[i];
		int r = make_room(sender, SYMBOLIZER_LOCATIONS, LOCATION_SIZE);

		if (r < 0)
			return r;
		put_u64(&sender->record, location->address);
		put_u32(&sender->record, sent_frames(location));
		put_u32(&sender->record, location->flags);
	}
	return flush(sender);
}

int symbolizer_protocol_put_names(int32_t status, const struct names *names,
		int (*emit)(void *userdata, const struct symbolizer_record *record), void *userdata)
{
	_cleanup_free_ struct sender *sender = malloc(sizeof(*sender));
	int r;

	if (!sender)
		return -ENOMEM;
	sender->names = status ? NULL : names;
	sender->emit = emit;
	sender->userdata = userdata;
	sender->n_strings = sender->names ? count_strings(names) : 1;
	r = send_answer(sender, status);
	if (r < 0 || !sender->names)
		return r;
	r = send_strings(sender);
	if (r >= 0)
		r = send_frames(sender);
	if (r >= 0)
		r = send_locations(sender);
	return r;
}

/* --- names, receiving ------------------------------------------------------------------------------------------ */

struct received_string {
	uint32_t offset, length;
};

struct received_frame {
	uint32_t strings[3];                 /* name, system name, file */
	uint32_t line, start_line;
};

struct symbolizer_names_reader {
	struct names *names;
	const uint64_t *offsets;
	size_t n_offsets;
	bool begun;
	int32_t status;
	uint32_t n_strings, n_frames;        /* as announced */
	VEC(char) bytes;                     /* of all strings, each terminated */
	VEC(struct received_string) strings;
	VEC(struct received_frame) frames;
	size_t n_locations, n_frames_used;   /* until now */
};

struct symbolizer_names_reader *symbolizer_names_reader_new(struct names *names, const uint64_t *offsets, size_t n_offsets)
{
	struct symbolizer_names_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return NULL;
	reader->names = names;
	reader->offsets = offsets;
	reader->n_offsets = n_offsets;
	return reader;
}

struct symbolizer_names_reader *symbolizer_names_reader_free(struct symbolizer_names_reader *reader)
{
	if (!reader)
		return NULL;
	vec_deinit(&reader->bytes);
	vec_deinit(&reader->strings);
	vec_deinit(&reader->frames);
	free(reader);
	return NULL;
}

/* The segments are the same in all answers about one file: the first one tells them. */
static int take_segments(struct symbolizer_names_reader *reader, struct reader *r)
{
	uint32_t n = reader_u32(r);
	bool wanted = !reader->names->segments.n;

	if (n > SYMBOLIZER_SEGMENTS_MAX)
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	for (uint32_t i = 0; i < n; i++) {
		struct names_segment segment = { .file_offset = reader_u64(r), .size = reader_u64(r) };

		segment.address = reader_u64(r);
		if (!reader_ok(r) || segment.size > UINT64_MAX - segment.file_offset || segment.size > UINT64_MAX - segment.address)
			return SYMBOLIZER_PROTOCOL_E_MALFORMED;
		if (wanted && vec_push(&reader->names->segments, segment) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int take_answer(struct symbolizer_names_reader *reader, struct reader *r)
{
	struct names *names = reader->names;
	uint32_t n_locations;
	bool has[4];
	int result;

	reader->status = reader_i32(r);
	reader->n_strings = reader_u32(r);
	reader->n_frames = reader_u32(r);
	n_locations = reader_u32(r);
	for (size_t i = 0; i < ARRAY_SIZE(has); i++)
		has[i] = get_bool(r);
	if (!reader_ok(r) || n_locations != (reader->status ? 0 : reader->n_offsets) ||
	    reader->n_frames > (uint64_t)n_locations * RESOLVE_MAX_INLINE_DEPTH ||
	    reader->n_strings > SYMBOLIZER_N_STRINGS_MAX || !reader->n_strings)
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	get_build_id(r, &names->build_id);
	names->has_functions |= has[0];
	names->has_filenames |= has[1];
	names->has_line_numbers |= has[2];
	names->has_inline_frames |= has[3];
	result = take_segments(reader, r);
	if (result)
		return result;
	reader->begun = true;
	return finished(r);
}

static int take_string(struct symbolizer_names_reader *reader, struct reader *r)
{
	uint32_t length = reader_u32(r);
	struct received_string string = { .offset = reader->bytes.n, .length = length };
	const char *bytes;

	if (length > RESOLVE_MAX_STRING || reader->strings.n + 1 >= reader->n_strings ||
	    reader->bytes.n + length > (uint64_t)SYMBOLIZER_STRINGS_MAX + reader->n_strings)
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	bytes = reader_bytes(r, length);
	if (!bytes || memchr(bytes, 0, length))
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	if (vec_append(&reader->bytes, bytes, length) < 0 || vec_push(&reader->bytes, '\0') < 0 ||
	    vec_push(&reader->strings, string) < 0)
		return -ENOMEM;
	return 0;
}

static int take_frame(struct symbolizer_names_reader *reader, struct reader *r)
{
	struct received_frame frame;

	for (size_t i = 0; i < ARRAY_SIZE(frame.strings); i++) {
		frame.strings[i] = reader_u32(r);
		if (frame.strings[i] >= reader->n_strings)
			return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	}
	frame.line = reader_u32(r);
	frame.start_line = reader_u32(r);
	if (!reader_ok(r) || reader->frames.n >= reader->n_frames || reader->strings.n + 1 != reader->n_strings)
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	return vec_push(&reader->frames, frame) < 0 ? -ENOMEM : 0;
}

static const char *received_text(const struct symbolizer_names_reader *reader, uint32_t id)
{
	/* An index was checked as it came, and all strings were there by then. */
	return id == NO_STRING ? NULL : reader->bytes.at + reader->strings.at[id - 1].offset;
}

static int take_location(struct symbolizer_names_reader *reader, struct reader *r)
{
	struct names *names = reader->names;
	struct names_location location = { .address = reader_u64(r), .first_frame = names->frames.n };
	uint32_t n_frames = reader_u32(r);

	location.flags = reader_u32(r);
	if (!reader_ok(r) || location.flags & ~(uint32_t)NAMES_FLAGS || reader->frames.n != reader->n_frames || reader->n_locations >= reader->n_offsets ||
	    n_frames > RESOLVE_MAX_INLINE_DEPTH || n_frames > reader->frames.n - reader->n_frames_used)
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	location.offset = reader->offsets[reader->n_locations++];
	location.n_frames = n_frames;
	for (uint32_t i = 0; i < n_frames; i++) {
		const struct received_frame *received = &reader->frames.at[reader->n_frames_used++];
		const struct frame frame = {
			.name = received_text(reader, received->strings[0]),
			.system_name = received_text(reader, received->strings[1]),
			.file = received_text(reader, received->strings[2]),
			.line = received->line,
			.start_line = received->start_line,
		};
		int result = names_add_frame(names, &frame);

		if (result < 0)
			return result;
	}
	return vec_push(&names->locations, location) < 0 ? -ENOMEM : 0;
}

int symbolizer_names_reader_add(struct symbolizer_names_reader *reader, const void *data, size_t size,
		bool *ret_complete, int32_t *ret_status)
{
	struct reader r = reader_of(data, size);
	uint32_t type = reader_u32(&r);
	int result = 0;

	if (!reader_ok(&r) || size > SYMBOLIZER_RECORD_MAX || reader->begun == (type == SYMBOLIZER_ANSWER))
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	if (type == SYMBOLIZER_ANSWER)
		result = take_answer(reader, &r);
	/* An empty record would let an answer go on for ever. */
	else if (!reader_left(&r))
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	while (!result && reader_left(&r)) {
		if (type == SYMBOLIZER_STRINGS)
			result = take_string(reader, &r);
		else if (type == SYMBOLIZER_FRAMES)
			result = take_frame(reader, &r);
		else if (type == SYMBOLIZER_LOCATIONS)
			result = take_location(reader, &r);
		else
			return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	}
	if (result)
		return result;
	*ret_complete = reader->status || reader->n_locations == reader->n_offsets;
	*ret_status = reader->status;
	/* Frames that belong to no location. */
	if (*ret_complete && reader->n_frames_used != reader->n_frames)
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	return 0;
}

/* --- unwind tables --------------------------------------------------------------------------------------------- */

int symbolizer_protocol_put_table(int32_t status, const void *bytes, size_t size,
		int (*emit)(void *userdata, const struct symbolizer_record *record), void *userdata)
{
	_cleanup_free_ struct symbolizer_record *record = malloc(sizeof(*record));
	size_t done = 0;
	int r;

	if (!record)
		return -ENOMEM;
	if (!status && size > SYMBOLIZER_TABLE_MAX)
		status = -EFBIG;
	if (status)
		size = 0;
	begin(record, SYMBOLIZER_TABLE_ANSWER);
	put_u32(record, status);
	put_u32(record, size);
	r = emit(userdata, record);
	while (r >= 0 && done < size) {
		size_t n;

		begin(record, SYMBOLIZER_TABLE_BYTES);
		n = MIN(size - done, room(record));
		put_bytes(record, (const uint8_t *)bytes + done, n);
		done += n;
		r = emit(userdata, record);
	}
	return r < 0 ? r : 0;
}

/* Memory is taken with the first bytes: who announces the most and sends nothing gets none. */
static int take_table_bytes(struct symbolizer_table_reader *reader, struct reader *r)
{
	size_t n = reader_left(r);

	/* An empty record would let an answer go on for ever. */
	if (!n || n > reader->size - reader->n)
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	if (!reader->bytes)
		reader->bytes = malloc(reader->size);
	if (!reader->bytes)
		return -ENOMEM;
	memcpy(reader->bytes + reader->n, reader_bytes(r, n), n);
	reader->n += n;
	return 0;
}

static int take_table_answer(struct symbolizer_table_reader *reader, struct reader *r)
{
	uint32_t size;

	reader->status = reader_i32(r);
	size = reader_u32(r);
	/* Nothing is no table. */
	if (!reader_ok(r) || size > SYMBOLIZER_TABLE_MAX || (reader->status == 0) != (size > 0))
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	reader->size = size;
	reader->begun = true;
	return finished(r);
}

int symbolizer_table_reader_add(struct symbolizer_table_reader *reader, const void *data, size_t size,
		bool *ret_complete, int32_t *ret_status)
{
	struct reader r = reader_of(data, size);
	uint32_t type = reader_u32(&r);
	int result;

	if (!reader_ok(&r) || size > SYMBOLIZER_RECORD_MAX ||
	    type != (reader->begun ? SYMBOLIZER_TABLE_BYTES : SYMBOLIZER_TABLE_ANSWER))
		return SYMBOLIZER_PROTOCOL_E_MALFORMED;
	result = reader->begun ? take_table_bytes(reader, &r) : take_table_answer(reader, &r);
	if (result)
		return result;
	*ret_complete = reader->n == reader->size;
	*ret_status = reader->status;
	return 0;
}

void symbolizer_table_reader_deinit(struct symbolizer_table_reader *reader)
{
	free(reader->bytes);
	reader->bytes = NULL;
}
