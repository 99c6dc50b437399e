/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve_jitdump.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "map.h"
#include "overlay.h"
#include "reader.h"
#include "strtab.h"

enum {
	MAGIC = 0x4a695444,                  /* of our byte order; a file of the other one is another machine's */
	VERSION = 1,
	HEADER_SIZE = 40,
	PREFIX_SIZE = 16,
	LOAD_SIZE = 40,                      /* of what is before the name */
	ALIGNMENT = 8,                       /* to which V8 fills records up; others do not */

	/*
	 * V8 tells addresses of lines as they will be in the ELF file that `perf inject` makes, behind its header
	 * (src/diagnostics/perf-jit.cc, kElfHeaderSize, V8 6.5 to 11.3 at least), and this in the header's reserved word.
	 */
	V8_BIAS = 64,

	/* A table of lines longer than that is left out: it would be of 10,000 lines and more. */
	BUFFER_SIZE = 1 << 20,
};

static const uint32_t v8_reserved = 0xdeadbeef;

/* enum jit_record_type of the specification. */
enum record_type { CODE_LOAD, CODE_MOVE, CODE_DEBUG_INFO, CODE_CLOSE };

struct record {
	uint32_t type, size;                 /* size: prefix included */
};

/* Where a line begins; rows of a function are in the order of the file, which is that of addresses. */
struct row {
	uint32_t offset;                     /* from the start of the function */
	uint32_t line;
	uint32_t file;
};

struct function {
	uint32_t name;
	uint32_t first_row, n_rows;
};

struct jitdump {
	struct overlay code;                 /* values: indices into functions */
	VEC(struct function) functions;
	VEC(struct row) rows;
	struct strtab *strings;

	/* While reading. */
	int fd;
	uint64_t size;
	uint8_t *buffer;
	uint64_t buffer_at;                  /* offset in the file of what is in the buffer */
	size_t n_buffered;
	struct map by_index;                 /* code_index -> uint32_t index into functions */
	uint64_t lines_bias;
	/* The lines told last: those of the code that is loaded next. */
	uint64_t lines_address;
	uint32_t first_row, n_rows;
};

/* `n` bytes (at most BUFFER_SIZE) at an offset of the file; a failed reader when they are not there. */
static struct reader bytes_at(struct jitdump *dump, uint64_t offset, size_t n)
{
	if (offset > dump->size || n > dump->size - offset || n > BUFFER_SIZE)
		return (struct reader){ .failed = true };
	if (offset < dump->buffer_at || offset - dump->buffer_at > dump->n_buffered ||
	    n > dump->n_buffered - (size_t)(offset - dump->buffer_at)) {
		ssize_t got;

		do
			got = pread(dump->fd, dump->buffer, BUFFER_SIZE, (off_t)offset);
		while (got < 0 && errno == EINTR);
		dump->buffer_at = offset;
		dump->n_buffered = got < 0 ? 0 : (size_t)got;
	}
	if (n > dump->n_buffered - (size_t)(offset - dump->buffer_at))
		return (struct reader){ .failed = true };
	return reader_of(dump->buffer + (offset - dump->buffer_at), n);
}

struct header {
	uint32_t size, reserved;
};

static bool read_header(struct reader bytes, struct header *ret)
{
	uint32_t magic = reader_u32(&bytes), version = reader_u32(&bytes), machine;

	ret->size = reader_u32(&bytes);
	machine = reader_u32(&bytes);
	ret->reserved = reader_u32(&bytes);
	return reader_ok(&bytes) && magic == MAGIC && version == VERSION && ret->size >= HEADER_SIZE && machine == EM_X86_64;
}

bool resolve_jitdump_is_in(int fd)
{
	uint8_t bytes[HEADER_SIZE];
	struct header header;

	return pread(fd, bytes, sizeof(bytes), 0) == sizeof(bytes) && read_header(reader_of(bytes, sizeof(bytes)), &header);
}

/* The number of a string; 0, that of "", when there is no more room for any. */
static int add_string(struct jitdump *dump, const char *string, size_t length, uint32_t *ret)
{
	*ret = 0;
	if (strtab_bytes(dump->strings) > RESOLVE_JITDUMP_MAX_TEXT)
		return 0;
	return strtab_add(dump->strings, string, length, ret);
}

static int add_code(struct jitdump *dump, uint64_t address, uint64_t size, uint32_t function)
{
	if (dump->code.all.n >= RESOLVE_JITDUMP_MAX_RECORDS)
		return 0;
	return overlay_add(&dump->code, address, size, function);
}

static int add_function(struct jitdump *dump, uint64_t index, const struct function *function, uint32_t *ret)
{
	void *value;
	int r;

	*ret = (uint32_t)dump->functions.n;
	r = vec_push(&dump->functions, *function);
	if (r < 0)
		return r;
	r = map_put(&dump->by_index, &index, &value);
	if (r >= 0)
		*(uint32_t *)value = *ret;
	return r;
}

static int read_load(struct jitdump *dump, uint64_t at, size_t size)
{
	size_t n = MIN(size, (size_t)LOAD_SIZE + RESOLVE_JITDUMP_MAX_NAME);
	struct reader body = bytes_at(dump, at, n);
	uint64_t address, code_size, index;
	struct function function = { 0 };
	const char *name;
	uint32_t number;
	int r;

	reader_skip(&body, 16);              /* pid, tid, vma */
	address = reader_u64(&body);
	code_size = reader_u64(&body);
	index = reader_u64(&body);
	n = reader_left(&body);
	name = reader_bytes(&body, n);
	/* Code follows the name: what has no end within the record is none, but a long one. */
	if (!reader_ok(&body) || !n || !name[0] || dump->functions.n >= RESOLVE_JITDUMP_MAX_RECORDS)
		return 0;
	r = add_string(dump, name, strnlen(name, n), &function.name);
	if (r < 0)
		return r;
	if (dump->n_rows && dump->lines_address == address) {
		function.first_row = dump->first_row;
		function.n_rows = dump->n_rows;
	}
	dump->n_rows = 0;
	r = add_function(dump, index, &function, &number);
	return r < 0 ? r : add_code(dump, address, code_size, number);
}

static int read_move(struct jitdump *dump, uint64_t at, size_t size)
{
	struct reader body = bytes_at(dump, at, MIN(size, (size_t)48));
	uint64_t address, code_size, index;
	const uint32_t *function;

	reader_skip(&body, 24);              /* pid, tid, vma, old address */
	address = reader_u64(&body);
	code_size = reader_u64(&body);
	index = reader_u64(&body);
	function = reader_ok(&body) ? map_get(&dump->by_index, &index) : NULL;
	/* The old place stays until something else is there: samples are older than what we read now. */
	return function ? add_code(dump, address, code_size, *function) : 0;
}

/* A row of the table of lines of the code at `start`. */
static int read_row(struct jitdump *dump, struct reader *body, uint64_t start, uint32_t *file)
{
	uint64_t address = reader_u64(body);
	struct row row = { .line = reader_u32(body) };
	const char *name;
	int r = 0;

	reader_skip(body, 4);                /* column, or discriminator */
	name = reader_string(body);
	if (!name)
		return 0;
	/* "\xff": the file of the row before. */
	if (strcmp(name, "\xff") != 0 && strlen(name) < RESOLVE_JITDUMP_MAX_NAME)
		r = add_string(dump, name, strlen(name), file);
	if (r < 0 || address - start > UINT32_MAX)
		return r;
	row.offset = (uint32_t)(address - start);
	row.file = *file;
	if (dump->n_rows && dump->rows.at[dump->rows.n - 1].offset > row.offset)
		return 0;
	dump->n_rows++;
	return vec_push(&dump->rows, row);
}

static int read_lines(struct jitdump *dump, uint64_t at, size_t size)
{
	struct reader body = bytes_at(dump, at, size);
	uint64_t n_entries;
	uint32_t file = 0;
	int r = 0;

	dump->lines_address = reader_u64(&body);
	n_entries = reader_u64(&body);
	dump->first_row = (uint32_t)dump->rows.n;
	dump->n_rows = 0;
	for (uint64_t i = 0; i < n_entries && reader_ok(&body) && r >= 0 && dump->rows.n < RESOLVE_JITDUMP_MAX_ROWS; i++)
		r = read_row(dump, &body, dump->lines_address + dump->lines_bias, &file);
	/* Node.js 20 writes names that it has freed, with zeros in them: a table that does not add up is none. */
	if (r >= 0 && dump->rows.n < RESOLVE_JITDUMP_MAX_ROWS && (!reader_ok(&body) || reader_left(&body) >= ALIGNMENT)) {
		dump->rows.n = dump->first_row;
		dump->n_rows = 0;
	}
	return r;
}

static int read_record(struct jitdump *dump, const struct record *record, uint64_t at)
{
	size_t size = record->size - PREFIX_SIZE;

	switch (record->type) {
	case CODE_LOAD:
		return read_load(dump, at, size);
	case CODE_MOVE:
		return read_move(dump, at, size);
	case CODE_DEBUG_INFO:
		return read_lines(dump, at, size);
	}
	/* Of unwinding, and of versions to come. */
	return 0;
}

static int read_records(struct jitdump *dump)
{
	struct header header;
	uint64_t at;

	if (!read_header(bytes_at(dump, 0, HEADER_SIZE), &header))
		return 0;
	dump->lines_bias = header.reserved == v8_reserved ? V8_BIAS : 0;
	for (at = header.size;;) {
		struct reader prefix = bytes_at(dump, at, PREFIX_SIZE);
		struct record record;
		int r;

		record.type = reader_u32(&prefix);
		record.size = reader_u32(&prefix);
		if (!reader_ok(&prefix) || record.size < PREFIX_SIZE || record.size > dump->size - at || record.type == CODE_CLOSE)
			return 0;
		r = read_record(dump, &record, at + PREFIX_SIZE);
		if (r < 0)
			return r;
		at += record.size;
	}
}

/* The row that holds an offset of a function: the last one that begins at it or before. */
static const struct row *find_row(const struct jitdump *dump, const struct function *function, uint64_t offset)
{
	const struct row *rows = dump->rows.at + function->first_row;
	size_t low = 0, high = function->n_rows;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (rows[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &rows[low - 1] : NULL;
}

static int resolve(void *state, uint64_t address, struct names *names)
{
	const struct jitdump *dump = state;
	const struct overlay_range *range = overlay_find(&dump->code, address);
	const struct function *function;
	struct frame frame = { 0 };
	const struct row *row;

	if (!range)
		return RESOLVE_E_UNKNOWN;
	function = &dump->functions.at[range->value];
	if (!function->name)
		return RESOLVE_E_UNKNOWN;
	frame.name = strtab_get(dump->strings, function->name, NULL);
	row = find_row(dump, function, address - range->whole_start);
	if (row && row->file) {
		frame.file = strtab_get(dump->strings, row->file, NULL);
		frame.line = row->line;
	}
	return names_add_frame(names, &frame);
}

static void free_state(void *state)
{
	struct jitdump *dump = state;

	if (!dump)
		return;
	overlay_deinit(&dump->code);
	vec_deinit(&dump->functions);
	vec_deinit(&dump->rows);
	map_deinit(&dump->by_index);
	strtab_free(dump->strings);
	free(dump->buffer);
	free(dump);
}

static const struct resolver_ops ops = {
	.name = "jitdump",
	.tells = RESOLVE_TELLS_FUNCTIONS | RESOLVE_TELLS_FILENAMES | RESOLVE_TELLS_LINE_NUMBERS,
	.resolve = resolve,
	.free = free_state,
};

static int read_dump(struct jitdump *dump)
{
	struct stat st;
	int r;

	if (fstat(dump->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	dump->size = MIN((uint64_t)st.st_size, RESOLVE_JITDUMP_MAX_SIZE);
	dump->buffer = malloc(BUFFER_SIZE);
	dump->strings = strtab_new();
	if (!dump->buffer || !dump->strings)
		return -ENOMEM;
	r = read_records(dump);
	if (r >= 0)
		r = dump->code.all.n ? overlay_flatten(&dump->code) : RESOLVE_E_NONE;
	map_deinit(&dump->by_index);
	free(dump->buffer);
	dump->buffer = NULL;
	return r;
}

int resolve_jitdump_open(int fd, struct resolver *ret)
{
	struct jitdump *dump = calloc(1, sizeof(*dump));
	int r;

	if (!dump)
		return -ENOMEM;
	dump->fd = fd;
	map_init(&dump->by_index, sizeof(uint64_t), sizeof(uint32_t));
	r = read_dump(dump);
	if (r) {
		free_state(dump);
		return r;
	}
	*ret = (struct resolver){ .ops = &ops, .state = dump };
	return 0;
}
