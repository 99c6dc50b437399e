/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../main.h"
#include "resolve.h"
#include "symbolizer_protocol.h"
#include "vec.h"

/* An answer as it travels: a list of records. */
struct recorded {
	VEC(struct symbolizer_record *) records;
};

static int record(void *userdata, const struct symbolizer_record *r)
{
	struct recorded *recorded = userdata;
	struct symbolizer_record *copy = malloc(sizeof(*copy));

	*copy = *r;
	return vec_push(&recorded->records, copy);
}

static void recorded_deinit(struct recorded *recorded)
{
	for (size_t i = 0; i < recorded->records.n; i++)
		free(recorded->records.at[i]);
	vec_deinit(&recorded->records);
}

/* Names n offsets (10, 20, ...), each with `depth` frames. */
static struct names *make_names(size_t n, unsigned depth)
{
	struct names *names = names_new();

	for (size_t i = 0; i < n; i++) {
		struct names_location location = { .offset = 10 * (i + 1), .address = 0x1000 + i, .first_frame = names->frames.n, .flags = i % 4 };
		char name[64];

		for (unsigned d = 0; d < depth; d++) {
			snprintf(name, sizeof(name), "function_%zu_%u", i, d);
			ck_assert_int_eq(names_add_frame(names, &(struct frame){
				.name = name, .system_name = d ? NULL : "_Zname", .file = "/src/file.c", .line = i + 1, .start_line = d,
			}), 0);
		}
		location.n_frames = depth;
		ck_assert_int_eq(vec_push(&names->locations, location), 0);
	}
	ck_assert_int_eq(vec_push(&names->segments, ((struct names_segment){ 0x1000, 0x2000, 0x401000 })), 0);
	names->build_id = (struct build_id){ .size = 3, .bytes = { 1, 2, 3 } };
	names->has_functions = names->has_inline_frames = true;
	return names;
}

static int play(const struct recorded *recorded, struct names *names, size_t n, bool *complete, int32_t *status)
{
	uint64_t offsets[SYMBOLIZER_OFFSETS_MAX];
	struct symbolizer_names_reader *reader;
	int r = 0;

	for (size_t i = 0; i < n; i++)
		offsets[i] = 10 * (i + 1);
	reader = symbolizer_names_reader_new(names, offsets, n);
	*complete = false;
	for (size_t i = 0; i < recorded->records.n && !r; i++)
		r = symbolizer_names_reader_add(reader, recorded->records.at[i]->bytes, recorded->records.at[i]->size, complete, status);
	symbolizer_names_reader_free(reader);
	return r;
}

static const char *text(const struct names *names, uint32_t id)
{
	return strtab_get(names->strings, id, NULL);
}

static void assert_same(const struct names *a, const struct names *b)
{
	ck_assert_uint_eq(a->locations.n, b->locations.n);
	for (size_t i = 0; i < a->locations.n; i++) {
		const struct names_location *la = &a->locations.at[i], *lb = &b->locations.at[i];

		ck_assert_uint_eq(la->offset, lb->offset);
		ck_assert_uint_eq(la->address, lb->address);
		ck_assert_uint_eq(la->n_frames, lb->n_frames);
		ck_assert_uint_eq(la->flags, lb->flags);
		for (uint32_t j = 0; j < la->n_frames; j++) {
			const struct names_frame *fa = &a->frames.at[la->first_frame + j], *fb = &b->frames.at[lb->first_frame + j];

			ck_assert_str_eq(text(a, fa->name), text(b, fb->name));
			ck_assert_str_eq(text(a, fa->system_name), text(b, fb->system_name));
			ck_assert_str_eq(text(a, fa->file), text(b, fb->file));
			ck_assert_uint_eq(fa->line, fb->line);
			ck_assert_uint_eq(fa->start_line, fb->start_line);
		}
	}
}

START_TEST(an_answer_arrives_as_it_was_sent)
{
	static const struct { size_t n; unsigned depth; } cases[] = { { 0, 0 }, { 1, 0 }, { 1, 1 }, { 3, 5 }, { 4096, 3 }, { 100, 128 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct names *sent = make_names(cases[i].n, cases[i].depth), *got = names_new();
		struct recorded recorded = {0};
		int32_t status = -1;
		bool complete;

		ck_assert_int_eq(symbolizer_protocol_put_names(0, sent, record, &recorded), 0);
		ck_assert_int_eq(play(&recorded, got, cases[i].n, &complete, &status), 0);
		ck_assert(complete);
		ck_assert_int_eq(status, 0);
		assert_same(sent, got);
		ck_assert(got->has_functions && got->has_inline_frames && !got->has_filenames && !got->has_line_numbers);
		ck_assert_uint_eq(got->segments.n, 1);
		ck_assert_uint_eq(got->segments.at[0].address, 0x401000);
		ck_assert_uint_eq(got->build_id.size, 3);
		recorded_deinit(&recorded);
		names_free(sent);
		names_free(got);
	}
}
END_TEST

START_TEST(a_failure_arrives_as_its_status)
{
	struct recorded recorded = {0};
	struct names *got = names_new();
	int32_t status = 0;
	bool complete;

	ck_assert_int_eq(symbolizer_protocol_put_names(-ENOMEM, NULL, record, &recorded), 0);
	ck_assert_int_eq(play(&recorded, got, 7, &complete, &status), 0);
	ck_assert(complete);
	ck_assert_int_eq(status, -ENOMEM);
	recorded_deinit(&recorded);
	names_free(got);
}
END_TEST

START_TEST(several_answers_are_appended)
{
	struct names *sent = make_names(2, 2), *got = names_new();
	struct recorded recorded = {0};
	int32_t status;
	bool complete;

	ck_assert_int_eq(symbolizer_protocol_put_names(0, sent, record, &recorded), 0);
	ck_assert_int_eq(play(&recorded, got, 2, &complete, &status), 0);
	ck_assert_int_eq(play(&recorded, got, 2, &complete, &status), 0);
	ck_assert_uint_eq(got->locations.n, 4);
	ck_assert_uint_eq(got->segments.n, 1);
	ck_assert_str_eq(text(got, got->frames.at[got->locations.at[3].first_frame].name), "function_1_0");
	recorded_deinit(&recorded);
	names_free(sent);
	names_free(got);
}
END_TEST

START_TEST(more_strings_than_allowed_are_left_out_not_the_frames)
{
	struct names *sent = names_new(), *got = names_new();
	struct recorded recorded = {0};
	char *name = malloc(RESOLVE_MAX_STRING);
	size_t n = SYMBOLIZER_STRINGS_MAX / RESOLVE_MAX_STRING + 50;
	int32_t status = -1;
	bool complete;

	for (size_t i = 0; i < n; i++) {
		memset(name, 'x', RESOLVE_MAX_STRING - 1);
		name[RESOLVE_MAX_STRING - 1] = '\0';
		memcpy(name, &(char[3]){ 'a' + i / 26 % 26, 'a' + i % 26, 'a' + i / 676 }, 3);
		ck_assert_int_eq(names_add_frame(sent, &(struct frame){ .name = name }), 0);
		ck_assert_int_eq(vec_push(&sent->locations, ((struct names_location){ .offset = 10 * (i + 1), .first_frame = i, .n_frames = 1 })), 0);
	}
	ck_assert_int_eq(symbolizer_protocol_put_names(0, sent, record, &recorded), 0);
	ck_assert_int_eq(play(&recorded, got, n, &complete, &status), 0);
	ck_assert(complete);
	ck_assert_uint_eq(got->frames.n, n);
	ck_assert_uint_eq(strlen(text(got, got->frames.at[0].name)), RESOLVE_MAX_STRING - 1);
	ck_assert_str_eq(text(got, got->frames.at[n - 1].name), "");
	free(name);
	recorded_deinit(&recorded);
	names_free(sent);
	names_free(got);
}
END_TEST

/* A liar's records: each is a sound one with one thing changed. */
static void assert_malformed(size_t which, size_t at, uint32_t value)
{
	struct names *sent = make_names(3, 2), *got = names_new();
	struct recorded recorded = {0};
	int32_t status;
	bool complete;

	ck_assert_int_eq(symbolizer_protocol_put_names(0, sent, record, &recorded), 0);
	ck_assert_uint_eq(recorded.records.n, 4);
	memcpy(recorded.records.at[which]->bytes + at, &value, sizeof(value));
	ck_assert_msg(play(&recorded, got, 3, &complete, &status) == SYMBOLIZER_PROTOCOL_E_MALFORMED, "record %zu, byte %zu = %u", which, at, value);
	recorded_deinit(&recorded);
	names_free(sent);
	names_free(got);
}

START_TEST(a_lie_is_seen)
{
	assert_malformed(0, 0, SYMBOLIZER_FRAMES);       /* another record first */
	assert_malformed(0, 8, 0);                       /* number of strings */
	assert_malformed(0, 8, UINT32_MAX);
	assert_malformed(0, 8, 100);                     /* more than come */
	assert_malformed(0, 12, 5);                      /* number of frames */
	assert_malformed(0, 12, 3 * 128 + 1);
	assert_malformed(0, 12, UINT32_MAX);
	assert_malformed(0, 16, 2);                      /* number of locations */
	assert_malformed(0, 16, 4);
	assert_malformed(0, 20, 2);                      /* a bool */
	assert_malformed(0, 24, 21);                     /* size of the build id */
	assert_malformed(1, 0, SYMBOLIZER_ANSWER);       /* twice */
	assert_malformed(1, 0, 77);                      /* no such type */
	assert_malformed(1, 4, UINT32_MAX);              /* length of a string */
	assert_malformed(1, 4, RESOLVE_MAX_STRING + 1);
	assert_malformed(1, 8, 0);                       /* a terminator inside */
	assert_malformed(2, 4, UINT32_MAX);              /* number of a string */
	assert_malformed(2, 4, 100);
	assert_malformed(3, 12, 7);                      /* frames of a location */
	assert_malformed(3, 12, UINT32_MAX);
	assert_malformed(3, 16, NAMES_FLAGS + 1);        /* a flag that is none */
	assert_malformed(3, 16, UINT32_MAX);
	assert_malformed(3, 12, 1);                      /* too few: some frame is nobody's */
}
END_TEST

START_TEST(a_question_arrives_and_a_wrong_one_does_not)
{
	struct symbolizer_question *question = calloc(1, sizeof(*question)), *got = calloc(1, sizeof(*got));
	struct symbolizer_record *r = malloc(sizeof(*r));
	uint32_t bad = SYMBOLIZER_SLOTS;

	*question = (struct symbolizer_question){ .type = SYMBOLIZER_RESOLVE, .slot = 3, .n_offsets = SYMBOLIZER_OFFSETS_MAX };
	question->offsets[4095] = 99;
	symbolizer_protocol_put_question(r, question);
	ck_assert_int_eq(symbolizer_protocol_get_question(r->bytes, r->size, got), 0);
	ck_assert_int_eq(got->type, SYMBOLIZER_RESOLVE);
	ck_assert_uint_eq(got->offsets[4095], 99);
	for (size_t size = 0; size < r->size; size += size < 64 ? 1 : 509)
		ck_assert_int_eq(symbolizer_protocol_get_question(r->bytes, size, got), SYMBOLIZER_PROTOCOL_E_MALFORMED);
	memcpy(r->bytes + 4, &bad, 4);
	ck_assert_int_eq(symbolizer_protocol_get_question(r->bytes, r->size, got), SYMBOLIZER_PROTOCOL_E_MALFORMED);
	free(question);
	free(got);
	free(r);
}
END_TEST

START_TEST(wants_arrive_and_cut_ones_do_not)
{
	struct symbolizer_opened opened = {
		.status = -5, .build_id = { .size = 20 },
		.wants = { .debug_file = true, .link = "name.debug", .link_crc = 7, .supplement = true, .supplement_path = "../x" },
		.lacks_frames = true,
	}, got;
	struct symbolizer_record *r = malloc(sizeof(*r));

	symbolizer_protocol_put_opened(r, &opened);
	ck_assert_int_eq(symbolizer_protocol_get_opened(r->bytes, r->size, &got), 0);
	ck_assert_int_eq(got.status, -5);
	ck_assert_str_eq(got.wants.link, "name.debug");
	ck_assert_str_eq(got.wants.supplement_path, "../x");
	ck_assert_uint_eq(got.wants.link_crc, 7);
	ck_assert(got.lacks_frames);
	for (size_t size = 0; size < r->size; size++)
		ck_assert_int_eq(symbolizer_protocol_get_opened(r->bytes, size, &got), SYMBOLIZER_PROTOCOL_E_MALFORMED);
	r->bytes[r->size++] = 0;
	ck_assert_int_eq(symbolizer_protocol_get_opened(r->bytes, r->size, &got), SYMBOLIZER_PROTOCOL_E_MALFORMED);
	free(r);
}
END_TEST

START_TEST(names_that_are_no_text_become_text)
{
	struct names *sent = make_names(1, 1), *got = names_new();
	struct recorded recorded = {0};
	int32_t status;
	bool complete;

	ck_assert_int_eq(symbolizer_protocol_put_names(0, sent, record, &recorded), 0);
	recorded.records.at[1]->bytes[8] = '\033';
	ck_assert_int_eq(play(&recorded, got, 1, &complete, &status), 0);
	ck_assert_str_eq(text(got, got->frames.at[0].name), "?unction_0_0");
	recorded_deinit(&recorded);
	names_free(sent);
	names_free(got);
}
END_TEST

static uint8_t *some_bytes(size_t n)
{
	uint8_t *bytes = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	return bytes;
}

/* Reads up to the first failure. */
static int play_table(const struct recorded *recorded, struct symbolizer_table_reader *reader, bool *complete, int32_t *status)
{
	int r = 0;

	*complete = false;
	for (size_t i = 0; i < recorded->records.n && !r; i++) {
		ck_assert_msg(!*complete, "record %zu comes after the last", i);
		r = symbolizer_table_reader_add(reader, recorded->records.at[i]->bytes, recorded->records.at[i]->size, complete, status);
	}
	return r;
}

START_TEST(a_table_arrives_as_it_was_sent)
{
	static const size_t sizes[] = { 1, SYMBOLIZER_RECORD_MAX - 5, SYMBOLIZER_RECORD_MAX - 4, SYMBOLIZER_RECORD_MAX, 1234567, SYMBOLIZER_TABLE_MAX };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct symbolizer_table_reader reader = {0};
		uint8_t *bytes = some_bytes(sizes[i]);
		struct recorded recorded = {0};
		int32_t status = -1;
		bool complete;

		ck_assert_int_eq(symbolizer_protocol_put_table(0, bytes, sizes[i], record, &recorded), 0);
		ck_assert_int_eq(play_table(&recorded, &reader, &complete, &status), 0);
		ck_assert(complete);
		ck_assert_int_eq(status, 0);
		ck_assert_uint_eq(reader.size, sizes[i]);
		ck_assert(!memcmp(reader.bytes, bytes, sizes[i]));
		symbolizer_table_reader_deinit(&reader);
		recorded_deinit(&recorded);
		free(bytes);
	}
}
END_TEST

START_TEST(a_table_that_is_too_large_or_none_arrives_as_a_status)
{
	uint8_t *bytes = some_bytes(10);
	const struct { int32_t status, expected; size_t size; } cases[] = {
		{ 1, 1, 0 }, { -ENOMEM, -ENOMEM, 10 }, { 0, -EFBIG, SYMBOLIZER_TABLE_MAX + 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct symbolizer_table_reader reader = {0};
		struct recorded recorded = {0};
		int32_t status = 0;
		bool complete;

		ck_assert_int_eq(symbolizer_protocol_put_table(cases[i].status, bytes, cases[i].size, record, &recorded), 0);
		ck_assert_int_eq(play_table(&recorded, &reader, &complete, &status), 0);
		ck_assert(complete);
		ck_assert_int_eq(status, cases[i].expected);
		ck_assert_ptr_null(reader.bytes);
		recorded_deinit(&recorded);
	}
	free(bytes);
}
END_TEST

/* Of a table of 100,000 bytes in two records. */
static void assert_malformed_table(size_t which, size_t at, uint32_t value, ssize_t grow)
{
	struct symbolizer_table_reader reader = {0};
	uint8_t *bytes = some_bytes(100000);
	struct recorded recorded = {0};
	int32_t status;
	bool complete;

	ck_assert_int_eq(symbolizer_protocol_put_table(0, bytes, 100000, record, &recorded), 0);
	ck_assert_uint_eq(recorded.records.n, 3);
	memcpy(recorded.records.at[which]->bytes + at, &value, sizeof(value));
	recorded.records.at[which]->size += grow;
	ck_assert_msg(play_table(&recorded, &reader, &complete, &status) == SYMBOLIZER_PROTOCOL_E_MALFORMED, "record %zu, byte %zu = %u, %zd more",
		which, at, value, grow);
	symbolizer_table_reader_deinit(&reader);
	recorded_deinit(&recorded);
	free(bytes);
}

START_TEST(a_lie_about_a_table_is_seen)
{
	assert_malformed_table(0, 0, SYMBOLIZER_TABLE_BYTES, 0);     /* another record first */
	assert_malformed_table(0, 0, SYMBOLIZER_ANSWER, 0);
	assert_malformed_table(0, 4, 1, 0);                          /* a status, and bytes */
	assert_malformed_table(0, 8, 0, 0);                          /* neither */
	assert_malformed_table(0, 8, SYMBOLIZER_TABLE_MAX + 1, 0);
	assert_malformed_table(0, 8, UINT32_MAX, 0);
	assert_malformed_table(0, 8, 99999, 0);                      /* more than announced */
	assert_malformed_table(0, 8, 100000, -1);                    /* cut, long */
	assert_malformed_table(0, 8, 100000, 1);
	assert_malformed_table(1, 0, SYMBOLIZER_TABLE_ANSWER, 0);    /* twice */
	assert_malformed_table(2, 0, SYMBOLIZER_TABLE_BYTES, 1);
	assert_malformed_table(1, 0, SYMBOLIZER_TABLE_BYTES, 4 - SYMBOLIZER_RECORD_MAX); /* an empty one */
}
END_TEST

START_TEST(a_question_for_a_table_arrives)
{
	struct symbolizer_question *question = calloc(1, sizeof(*question)), *got = calloc(1, sizeof(*got));
	struct symbolizer_record *r = malloc(sizeof(*r));

	*question = (struct symbolizer_question){ .type = SYMBOLIZER_TABLE, .slot = 3, .n_offsets = 9 };
	symbolizer_protocol_put_question(r, question);
	ck_assert_int_eq(symbolizer_protocol_get_question(r->bytes, r->size, got), 0);
	ck_assert_int_eq(got->type, SYMBOLIZER_TABLE);
	ck_assert_uint_eq(got->slot, 3);
	for (uint32_t type = SYMBOLIZER_CLOSE + 1; type < SYMBOLIZER_TABLE_BYTES + 3; type++) {
		memcpy(r->bytes, &type, 4);
		if (type != SYMBOLIZER_TABLE)
			ck_assert_int_eq(symbolizer_protocol_get_question(r->bytes, r->size, got), SYMBOLIZER_PROTOCOL_E_MALFORMED);
	}
	free(question);
	free(got);
	free(r);
}
END_TEST

UNIT_TESTS("symbolizer_protocol", a_table_arrives_as_it_was_sent, a_table_that_is_too_large_or_none_arrives_as_a_status,
	a_lie_about_a_table_is_seen, a_question_for_a_table_arrives, an_answer_arrives_as_it_was_sent, a_failure_arrives_as_its_status, several_answers_are_appended,
	more_strings_than_allowed_are_left_out_not_the_frames, a_lie_is_seen, a_question_arrives_and_a_wrong_one_does_not,
	wants_arrive_and_cut_ones_do_not, names_that_are_no_text_become_text)
