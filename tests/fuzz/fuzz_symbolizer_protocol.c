/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from the symbolizer process, should an attacker have it: a list of records, each a length (16 bits) and
 * its bytes, after a byte that says how many offsets were asked about. Each is read as a short answer, too, and as a
 * question, as the other side reads it; and all of them as an unwind table.
 */
#include <stdint.h>
#include <stdlib.h>

#include "names.h"
#include "reader.h"
#include "symbolizer_protocol.h"
#include "unwind_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(const struct names *names)
{
	for (size_t i = 0; i < names->locations.n; i++) {
		const struct names_location *location = &names->locations.at[i];

		if (location->flags & ~(uint32_t)NAMES_FLAGS || location->n_frames > names->frames.n || location->first_frame > names->frames.n - location->n_frames)
			abort();
	}
	for (size_t i = 0; i < names->frames.n; i++)
		if (names->frames.at[i].name >= strtab_count(names->strings) ||
		    names->frames.at[i].system_name >= strtab_count(names->strings) ||
		    names->frames.at[i].file >= strtab_count(names->strings))
			abort();
}

/* The bytes of an answer are looked at as the core does. */
static void read_table(struct reader r)
{
	struct symbolizer_table_reader reader = {0};
	struct unwind_image image;
	bool complete = false;
	int32_t status = 0;
	int failed = 0;

	while (reader_left(&r) >= 2 && !failed && !complete) {
		size_t length = reader_u16(&r);

		length = length < reader_left(&r) ? length : reader_left(&r);
		failed = symbolizer_table_reader_add(&reader, reader_bytes(&r, length), length, &complete, &status);
		if (reader.n > reader.size || reader.size > SYMBOLIZER_TABLE_MAX)
			abort();
	}
	if (!failed && complete && !status && unwind_image_open(reader.bytes, reader.size, &image) == 0)
		unwind_image_find(&image, image.table.begin);
	symbolizer_table_reader_deinit(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t offsets[256];
	static struct symbolizer_question question;
	struct reader r = reader_of(data, size);
	struct symbolizer_names_reader *reader;
	struct names *names = names_new();
	bool complete = false;
	size_t n = reader_u8(&r);
	int failed = 0;

	if (!names)
		return 0;
	read_table(r);
	reader = symbolizer_names_reader_new(names, offsets, n);
	while (reader && reader_left(&r) >= 2 && !failed && !complete) {
		size_t length = reader_u16(&r);
		const void *bytes;
		struct symbolizer_opened opened;
		struct symbolizer_hello hello;
		int32_t status;

		length = length < reader_left(&r) ? length : reader_left(&r);
		bytes = reader_bytes(&r, length);
		symbolizer_protocol_get_opened(bytes, length, &opened);
		symbolizer_protocol_get_hello(bytes, length, &hello);
		symbolizer_protocol_get_closed(bytes, length);
		symbolizer_protocol_get_question(bytes, length, &question);
		failed = symbolizer_names_reader_add(reader, bytes, length, &complete, &status);
	}
	if (complete && !failed)
		check_names(names);
	symbolizer_names_reader_free(reader);
	names_free(names);
	return 0;
}
