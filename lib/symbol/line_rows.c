/* SPDX-License-Identifier: Apache-2.0 */
#include <dwarf.h>
#include <errno.h>

#include "line_rows.h"

struct table {
	struct reader program;
	uint8_t min_instruction, opcode_base, line_range;
	int8_t line_base;
	uint8_t lengths[256];                /* operands of the standard opcodes */
};

/* The registers of the state machine that we need. */
struct state {
	uint64_t address;
	uint32_t file, line;
};

void line_rows_deinit(struct line_rows *rows)
{
	vec_deinit(&rows->rows);
}

static uint64_t read_offset(struct reader *r, bool wide)
{
	return wide ? reader_u64(r) : reader_u32(r);
}

static bool read_header(struct reader section, uint64_t offset, struct table *ret)
{
	struct reader unit;
	uint64_t length, header_length;
	uint16_t version;
	bool wide;

	reader_seek(&section, offset);
	length = reader_u32(&section);
	wide = length == UINT32_MAX;
	if (wide)
		length = reader_u64(&section);
	if (!reader_ok(&section))
		return false;
	unit = reader_part(&section, section.at, length);
	version = reader_u16(&unit);
	if (version < 2 || version > 5)
		return false;
	if (version == 5)
		reader_skip(&unit, 2); /* address_size, segment_selector_size */
	header_length = read_offset(&unit, wide);
	if (!reader_ok(&unit))
		return false;
	ret->program = reader_part(&unit, unit.at, reader_left(&unit));
	reader_seek(&ret->program, header_length);
	ret->min_instruction = reader_u8(&unit);
	if (version >= 4)
		reader_skip(&unit, 1); /* maximum_operations_per_instruction: 1 but for VLIW */
	reader_skip(&unit, 1); /* default_is_stmt */
	ret->line_base = (int8_t)reader_u8(&unit);
	ret->line_range = reader_u8(&unit);
	ret->opcode_base = reader_u8(&unit);
	for (unsigned i = 1; i < ret->opcode_base; i++)
		ret->lengths[i] = reader_u8(&unit);
	return reader_ok(&unit) && reader_ok(&ret->program) && ret->line_range && ret->opcode_base;
}

static int add_row(struct line_rows *rows, const struct state *state, bool end)
{
	struct line_row row = {
		.address = state->address, .line = state->line, .file = state->file, .order = (uint32_t)rows->rows.n, .end = end,
	};

	return rows->rows.n < LINE_ROWS_MAX ? vec_push(&rows->rows, row) : LINE_ROWS_E_CORRUPT;
}

static void advance(const struct table *table, struct state *state, uint64_t operations)
{
	state->address += operations * table->min_instruction;
}

/* 0, or what add_row() returned; *ret_end when it ended a sequence. */
static int extended(struct table *table, struct state *state, struct line_rows *rows, bool *ret_end)
{
	uint64_t size = reader_uleb128(&table->program);
	struct reader operands = reader_part(&table->program, table->program.at, size);

	if (size > reader_left(&table->program)) {
		reader_fail(&table->program);
		return 0;
	}
	reader_skip(&table->program, (size_t)size);
	switch (reader_u8(&operands)) {
	case DW_LNE_end_sequence:
		*ret_end = true;
		return add_row(rows, state, true);
	case DW_LNE_set_address:
		state->address = size == 9 ? reader_u64(&operands) : reader_u32(&operands);
		break;
	}
	return 0;
}

static int standard(struct table *table, uint8_t opcode, struct state *state, struct line_rows *rows)
{
	struct reader *program = &table->program;

	switch (opcode) {
	case DW_LNS_copy:
		return add_row(rows, state, false);
	case DW_LNS_advance_pc:
		advance(table, state, reader_uleb128(program));
		break;
	case DW_LNS_advance_line:
		state->line += (uint32_t)reader_sleb128(program);
		break;
	case DW_LNS_set_file:
		state->file = (uint32_t)reader_uleb128(program);
		break;
	case DW_LNS_const_add_pc:
		advance(table, state, (255U - table->opcode_base) / table->line_range);
		break;
	case DW_LNS_fixed_advance_pc:
		state->address += reader_u16(program);
		break;
	default: /* those that set what we do not need, and those of later versions: the header knows their operands */
		for (unsigned i = 0; i < table->lengths[opcode]; i++)
			reader_uleb128(program);
	}
	return 0;
}

static int special(const struct table *table, uint8_t opcode, struct state *state, struct line_rows *rows)
{
	uint8_t adjusted = (uint8_t)(opcode - table->opcode_base);

	advance(table, state, adjusted / table->line_range);
	state->line += (uint32_t)(table->line_base + adjusted % table->line_range);
	return add_row(rows, state, false);
}

static int run(struct table *table, bool (*is_code)(const void *, uint64_t), const void *userdata, struct line_rows *rows)
{
	const struct state start = { .file = 1, .line = 1 };
	struct state state = start;
	size_t first = 0;

	while (reader_left(&table->program)) {
		uint8_t opcode = reader_u8(&table->program);
		bool end = false;
		int r;

		if (opcode >= table->opcode_base)
			r = special(table, opcode, &state, rows);
		else if (opcode == 0)
			r = extended(table, &state, rows, &end);
		else
			r = standard(table, opcode, &state, rows);
		if (r)
			return r;
		if (!end)
			continue;
		if (!is_code(userdata, rows->rows.at[first].address))
			rows->rows.n = first;
		first = rows->rows.n;
		state = start;
	}
	/* What has no end is no sequence. */
	rows->rows.n = first;
	return reader_ok(&table->program) ? 0 : LINE_ROWS_E_CORRUPT;
}

static int compare(const void *pa, const void *pb)
{
	const struct line_row *a = pa, *b = pb;

	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	if (a->end != b->end)
		return a->end ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

int line_rows_read(struct reader section, uint64_t offset, bool (*is_code)(const void *userdata, uint64_t address),
		const void *userdata, struct line_rows *rows)
{
	struct table table = { 0 };
	int r = LINE_ROWS_E_CORRUPT;

	if (read_header(section, offset, &table))
		r = run(&table, is_code, userdata, rows);
	if (r) {
		line_rows_deinit(rows);
		return r;
	}
	vec_sort(&rows->rows, compare);
	return 0;
}

const struct line_row *line_rows_find(const struct line_rows *rows, uint64_t address)
{
	size_t low = 0, high = rows->rows.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (rows->rows.at[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && !rows->rows.at[low - 1].end ? &rows->rows.at[low - 1] : NULL;
}
