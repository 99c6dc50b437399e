/* SPDX-License-Identifier: Apache-2.0 */
#include "gopclntab.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"

#define MAGIC_118 UINT32_C(0xfffffff0)
#define MAGIC_120 UINT32_C(0xfffffff1)
#define HEADER_SIZE 72
#define NONE UINT32_MAX                      /* no such data: funcdata, cutab */

enum {
	PCDATA_INLINE_INDEX = 2,             /* internal/abi/symtab.go PCDATA_InlTreeIndex: the same since 1.12 */
	FUNCDATA_INLINE_TREE = 3,            /* FUNCDATA_InlTree */
};

enum {
	FLAG_TOP_FRAME = 1, FLAG_SP_WRITE = 2, /* internal/abi/symtab.go FuncFlag: the same since 1.17 */
};

/* What differs between the two layouts. */
struct layout {
	uint8_t function_size, start_line, function_id, n_funcdata; /* _func: size and offsets; start_line 0: none */
	uint8_t call_size, call_id, call_name, call_parent, call_start_line; /* inlinedCall */
};

static const struct layout layout_118 = {
	.function_size = 40, .function_id = 36, .n_funcdata = 39,
	.call_size = 20, .call_id = 2, .call_name = 12, .call_parent = 16,
};

static const struct layout layout_120 = {
	.function_size = 44, .start_line = 36, .function_id = 40, .n_funcdata = 43,
	.call_size = 16, .call_id = 0, .call_name = 4, .call_parent = 8, .call_start_line = 12,
};

struct gopclntab {
	const struct layout *layout;
	uint64_t text;
	uint32_t n_functions;
	uint64_t name_offset;                /* of funcnametab in the table */
	struct reader names, units, files, values, functions; /* funcnametab, cutab, filetab, pctab, pclntable */
	struct reader funcdata;              /* failed: unknown */
	uint8_t wrapper_id;                  /* funcID of generated code */
	uint32_t start, end;                 /* first and last entry, relative to text */
};

/* A function, as the fixed part of its _func tells it. */
struct function {
	uint32_t at;                         /* of the _func in pclntable */
	uint32_t entry, end;                 /* relative to text */
	uint32_t name, depth_values, file_values, line_values, n_pcdata, unit, start_line;
	uint8_t id, flags, n_funcdata;
};

static uint32_t u32_at(const struct reader *bytes, uint64_t offset)
{
	struct reader r = *bytes;

	reader_seek(&r, offset);
	return reader_u32(&r);
}

static bool u32_try(const struct reader *bytes, uint64_t offset, uint32_t *ret)
{
	struct reader r = *bytes;

	reader_seek(&r, offset);
	*ret = reader_u32(&r);
	return reader_ok(&r);
}

static const char *string_at(const struct reader *bytes, uint64_t offset)
{
	struct reader r = *bytes;
	const char *string;

	reader_seek(&r, offset);
	string = reader_string(&r);
	return string && *string ? string : NULL;
}

static struct reader part_from(const struct reader *bytes, uint64_t offset, uint64_t end)
{
	end = MIN(end, (uint64_t)bytes->size);
	if (offset > end)
		return (struct reader){ .failed = true };
	return reader_part(bytes, offset, end - offset);
}

/* --- functions ------------------------------------------------------------------------------------------------ */

static uint32_t entry_of(const struct gopclntab *tab, uint32_t i)
{
	return u32_at(&tab->functions, (uint64_t)i * 8);
}

static bool function_read(const struct gopclntab *tab, uint32_t i, struct function *ret)
{
	uint32_t at = u32_at(&tab->functions, (uint64_t)i * 8 + 4);
	struct reader r = reader_part(&tab->functions, at, tab->layout->function_size);
	struct function f = { .at = at, .end = entry_of(tab, i + 1) };

	f.entry = reader_u32(&r);
	f.name = reader_u32(&r);
	reader_skip(&r, 8);                  /* args, deferreturn */
	f.depth_values = reader_u32(&r);
	f.file_values = reader_u32(&r);
	f.line_values = reader_u32(&r);
	f.n_pcdata = reader_u32(&r);
	f.unit = reader_u32(&r);
	if (tab->layout->start_line)
		f.start_line = reader_u32(&r);
	f.id = reader_u8(&r);
	f.flags = reader_u8(&r);
	reader_skip(&r, 1);
	f.n_funcdata = reader_u8(&r);
	/* What findfunctab finds is what the function says of itself, else the table belongs to other code. */
	if (!reader_ok(&r) || f.entry != entry_of(tab, i) || f.end < f.entry)
		return false;
	*ret = f;
	return true;
}

/* The last function that does not begin behind the offset. */
static uint32_t function_index(const struct gopclntab *tab, uint32_t offset)
{
	uint32_t low = 0, high = tab->n_functions;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (entry_of(tab, middle) <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The offset of a pc-value table in pctab; false when the function has none. */
static bool pcdata(const struct gopclntab *tab, const struct function *f, uint32_t which, uint32_t *ret)
{
	return which < f->n_pcdata &&
		u32_try(&tab->functions, (uint64_t)f->at + tab->layout->function_size + which * 4, ret) && *ret;
}

/* The offset of a funcdata in go:func.*; false when the function has none. */
static bool funcdata(const struct gopclntab *tab, const struct function *f, uint32_t which, uint32_t *ret)
{
	return which < f->n_funcdata &&
		u32_try(&tab->functions, (uint64_t)f->at + tab->layout->function_size + ((uint64_t)f->n_pcdata + which) * 4, ret) &&
		*ret != NONE;
}

static bool varint(struct reader *r, uint32_t *ret)
{
	uint32_t value = 0;

	for (unsigned shift = 0; shift < 35; shift += 7) {
		uint8_t byte = reader_u8(r);

		value |= (uint32_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return reader_ok(r);
		}
	}
	return false;
}

struct value_walk {
	struct reader at;
	uint64_t pc;
	uint32_t value;
	bool begun;
};

/* One step of a pc-value table: value holds from the pc before to the pc after. See step() of runtime/symtab.go. */
static bool value_step(struct value_walk *walk)
{
	uint32_t value_delta, pc_delta;

	if (!varint(&walk->at, &value_delta) || (!value_delta && walk->begun) || !varint(&walk->at, &pc_delta))
		return false;
	walk->begun = true;
	walk->value += (value_delta >> 1) ^ -(value_delta & 1);
	walk->pc += pc_delta;
	return true;
}

static struct value_walk value_walk(const struct gopclntab *tab, const struct function *f, uint32_t table)
{
	struct value_walk walk = { .at = part_from(&tab->values, table, UINT64_MAX), .pc = f->entry, .value = UINT32_MAX };

	return walk;
}

/* The value of a table at a pc, -1 when it has none. */
static int32_t value_at(const struct gopclntab *tab, const struct function *f, uint32_t table, uint32_t pc, uint32_t *steps)
{
	struct value_walk walk = value_walk(tab, f, table);

	if (!table)                          /* runtime/symtab.go pcvalue: no table */
		return -1;
	while (*steps && value_step(&walk)) {
		(*steps)--;
		if (pc < walk.pc)
			return (int32_t)walk.value;
	}
	return -1;
}

static void line_at(const struct gopclntab *tab, const struct function *f, uint32_t pc, uint32_t *steps, struct gopclntab_frame *frame)
{
	int32_t file = value_at(tab, f, f->file_values, pc, steps);
	int32_t line = value_at(tab, f, f->line_values, pc, steps);
	uint32_t offset;

	if (file < 0 || line < 0)
		return;
	if (!u32_try(&tab->units, ((uint64_t)f->unit + (uint32_t)file) * 4, &offset) || offset == NONE)
		return;
	frame->file = string_at(&tab->files, offset);
	frame->line = frame->file ? (uint32_t)line : 0;
}

/* --- inlined calls --------------------------------------------------------------------------------------------- */

struct inlined_call {
	uint8_t id;
	uint32_t name, parent, start_line;
};

static bool call_read(const struct gopclntab *tab, uint32_t tree, uint32_t index, struct inlined_call *ret)
{
	const struct layout *layout = tab->layout;
	struct reader r = reader_part(&tab->funcdata, tree + (uint64_t)index * layout->call_size, layout->call_size);
	struct inlined_call call = {
		.name = u32_at(&r, layout->call_name),
		.parent = u32_at(&r, layout->call_parent),
		.start_line = layout->call_start_line ? u32_at(&r, layout->call_start_line) : 0,
	};

	reader_skip(&r, layout->call_id);
	call.id = reader_u8(&r);
	if (!reader_ok(&r))
		return false;
	*ret = call;
	return true;
}

static bool frame_push(struct gopclntab_frame *frames, size_t max, size_t *n, struct gopclntab_frame frame)
{
	if (*n >= max)
		return false;
	frames[(*n)++] = frame;
	return true;
}

/* The inline tree of a function; none: the function has no inlined calls. */
struct inline_tree {
	uint32_t index_values, calls;
	bool is_there;
};

static struct inline_tree inline_tree(const struct gopclntab *tab, const struct function *f)
{
	struct inline_tree tree = {0};

	tree.is_there = reader_ok(&tab->funcdata) && pcdata(tab, f, PCDATA_INLINE_INDEX, &tree.index_values) &&
		funcdata(tab, f, FUNCDATA_INLINE_TREE, &tree.calls);
	return tree;
}

/*
 * One step outwards: which inlined call a pc is in, and the pc in the caller's code that stands for the call: its line is
 * that of the call, and there the next call outwards is looked up. False when the pc is of the function itself.
 */
static bool inlined_at(const struct gopclntab *tab, const struct function *f, const struct inline_tree *tree, uint32_t pc,
		uint32_t *steps, struct inlined_call *ret)
{
	int32_t index = tree->is_there ? value_at(tab, f, tree->index_values, pc, steps) : -1;

	return index >= 0 && call_read(tab, tree->calls, index, ret);
}

/*
 * The compiler gives single instructions of a function the line of what was inlined around them, in a file of its own, but
 * not the inlined call (runtime.suspendG of 1.26 has 5 bytes in stubs.go). The function is where its first instruction is;
 * but that of a package's init, which the compiler gathers from all of its files, is told for each instruction.
 */
static const char *function_file(const struct gopclntab *tab, const struct function *f, const struct inline_tree *tree, size_t max,
		uint32_t *steps)
{
	struct gopclntab_frame frame = {0};
	struct inlined_call call;
	const char *name = string_at(&tab->names, f->name);
	size_t length = name ? strlen(name) : 0;
	uint32_t pc = f->entry;

	/* Functions that are called init in the source have a number behind. */
	if (length > 5 && !strcmp(name + length - 5, ".init"))
		return NULL;
	for (size_t depth = 0; depth < max && inlined_at(tab, f, tree, pc, steps, &call); depth++) {
		if (call.parent >= f->end - f->entry)
			return NULL;
		pc = f->entry + call.parent;
	}
	line_at(tab, f, pc, steps, &frame);
	return frame.file;
}

int gopclntab_lookup(const struct gopclntab *tab, uint64_t address, struct gopclntab_frame *frames, size_t max, size_t *ret_n)
{
	uint32_t steps = GOPCLNTAB_MAX_STEPS, pc;
	struct gopclntab_frame frame = {0};
	struct inline_tree tree;
	struct inlined_call call;
	struct function f;
	size_t n = 0;

	if (!max || address < tab->text || address - tab->text < tab->start || address - tab->text >= tab->end)
		return GOPCLNTAB_E_UNKNOWN;
	pc = address - tab->text;
	if (!function_read(tab, function_index(tab, pc), &f))
		return GOPCLNTAB_E_CORRUPT;
	tree = inline_tree(tab, &f);
	for (size_t depth = 0; depth < max && inlined_at(tab, &f, &tree, pc, &steps, &call); depth++) {
		frame = (struct gopclntab_frame){
			.name = string_at(&tab->names, call.name),
			.start_line = call.start_line,
			.wrapper = call.id == tab->wrapper_id,
		};
		line_at(tab, &f, pc, &steps, &frame);
		frame.function_file = frame.file;
		if (frame.name)
			frame_push(frames, max - 1, &n, frame);
		if (call.parent >= f.end - f.entry)
			break;
		pc = f.entry + call.parent;
	}
	frame = (struct gopclntab_frame){
		.name = string_at(&tab->names, f.name), .start_line = f.start_line, .wrapper = f.id == tab->wrapper_id,
	};
	line_at(tab, &f, pc, &steps, &frame);
	frame.function_file = function_file(tab, &f, &tree, max, &steps);
	if (!frame.function_file)
		frame.function_file = frame.file;
	if (frame.name)
		frame_push(frames, max, &n, frame);
	if (!n)
		return GOPCLNTAB_E_CORRUPT;
	*ret_n = n;
	return 0;
}

/* --- all functions --------------------------------------------------------------------------------------------- */

size_t gopclntab_n_functions(const struct gopclntab *tab)
{
	return tab->n_functions;
}

int gopclntab_function(const struct gopclntab *tab, size_t i, struct gopclntab_function *ret)
{
	struct reader names;
	struct function f;

	if (i >= tab->n_functions || !function_read(tab, i, &f) || f.end > tab->end)
		return GOPCLNTAB_E_CORRUPT;
	names = part_from(&tab->names, f.name, (uint64_t)f.name + GOPCLNTAB_MAX_NAME);
	*ret = (struct gopclntab_function){
		.name = string_at(&names, 0),
		.start = tab->text + f.entry,
		.end = tab->text + f.end,
		.is_top = f.flags & FLAG_TOP_FRAME,
		.writes_sp = f.flags & FLAG_SP_WRITE,
		.depths = f.depth_values,
	};
	return 0;
}

int gopclntab_depth(const struct gopclntab *tab, uint64_t address, struct gopclntab_function *ret, int32_t *ret_depth)
{
	uint32_t steps = GOPCLNTAB_MAX_STEPS, pc, i;
	struct function f;
	int32_t depth;
	int r;

	if (address < tab->text || address - tab->text < tab->start || address - tab->text >= tab->end)
		return GOPCLNTAB_E_UNKNOWN;
	pc = address - tab->text;
	i = function_index(tab, pc);
	r = function_read(tab, i, &f) ? gopclntab_function(tab, i, ret) : GOPCLNTAB_E_CORRUPT;
	if (r)
		return r;
	depth = value_at(tab, &f, f.depth_values, pc, &steps);
	if (depth < 0)
		return GOPCLNTAB_E_UNKNOWN;
	*ret_depth = depth;
	return 0;
}

void gopclntab_walk_depths(const struct gopclntab *tab, const struct gopclntab_function *function,
		bool (*add)(void *userdata, uint64_t start, uint64_t end, int32_t depth), void *userdata)
{
	struct value_walk walk = { .at = part_from(&tab->values, function->depths, UINT64_MAX), .value = UINT32_MAX };
	uint64_t size = function->end - function->start, start = 0;

	/* Each step goes on by a byte at least: none of the linker's stands still. */
	while (function->depths && start < size && value_step(&walk) && walk.pc > start) {
		uint64_t end = MIN(walk.pc, size);

		if (!add(userdata, function->start + start, function->start + end, (int32_t)walk.value))
			return;
		start = end;
	}
}

/* --- the table ------------------------------------------------------------------------------------------------- */

/*
 * Generated code has the largest of all funcIDs (internal/abi/symtab.go FuncIDWrapper: the last of an enum that grows
 * with versions), and every package has some: equality and hash of its types.
 */
static uint8_t find_wrapper_id(const struct gopclntab *tab)
{
	/* The runtime's own packages come first and hold hundreds: a bound that costs a millisecond. */
	uint32_t n = MIN(tab->n_functions, UINT32_C(65536));
	uint8_t largest = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct reader f = tab->functions;
		uint8_t id;

		reader_seek(&f, u32_at(&tab->functions, (uint64_t)i * 8 + 4));
		reader_skip(&f, tab->layout->function_id);
		id = reader_u8(&f);
		largest = reader_ok(&f) ? MAX(largest, id) : largest;
	}
	/* 0 is every ordinary function: then nothing is known to be generated. */
	return largest ? largest : UINT8_MAX;
}

static int read_header(struct gopclntab *tab, const struct reader *table)
{
	struct reader bytes = reader_part(table, 0, MIN((uint64_t)table->size, GOPCLNTAB_MAX_SIZE)), r = bytes;
	uint32_t magic = reader_u32(&r);
	uint16_t pad = reader_u16(&r);
	uint8_t quantum = reader_u8(&r), pointer_size = reader_u8(&r);
	uint64_t n_functions = reader_u64(&r), offsets[5];

	reader_skip(&r, 16);                 /* number of files; textStart, which 1.26 no longer fills */
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
		offsets[i] = reader_u64(&r);
	if (!reader_ok(&r))
		return GOPCLNTAB_E_CORRUPT;
	if ((magic != MAGIC_118 && magic != MAGIC_120) || pad || quantum != 1 || pointer_size != 8)
		return GOPCLNTAB_E_UNSUPPORTED;
	/* The parts lie in this order since they exist; each ends where the next begins. */
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
		if (offsets[i] > bytes.size || offsets[i] < (i ? offsets[i - 1] : HEADER_SIZE))
			return GOPCLNTAB_E_CORRUPT;
	tab->layout = magic == MAGIC_118 ? &layout_118 : &layout_120;
	tab->name_offset = offsets[0];
	tab->names = part_from(&bytes, offsets[0], offsets[1]);
	tab->units = part_from(&bytes, offsets[1], offsets[2]);
	tab->files = part_from(&bytes, offsets[2], offsets[3]);
	tab->values = part_from(&bytes, offsets[3], offsets[4]);
	tab->functions = part_from(&bytes, offsets[4], UINT64_MAX);
	if (!n_functions || n_functions > tab->functions.size / 8)
		return GOPCLNTAB_E_CORRUPT;
	tab->n_functions = n_functions;
	tab->start = entry_of(tab, 0);
	tab->end = entry_of(tab, tab->n_functions);
	return tab->end > tab->start && (n_functions + 1) * 8 <= tab->functions.size ? 0 : GOPCLNTAB_E_CORRUPT;
}

int gopclntab_new(const struct gopclntab_source *source, struct gopclntab **ret)
{
	struct gopclntab *tab = calloc(1, sizeof(*tab));
	int r;

	if (!tab)
		return -ENOMEM;
	r = read_header(tab, &source->table);
	if (!r && tab->end > UINT64_MAX - source->text)
		r = GOPCLNTAB_E_CORRUPT;
	if (r) {
		gopclntab_free(tab);
		return r;
	}
	tab->text = source->text;
	tab->funcdata = source->funcdata.size ? source->funcdata : (struct reader){ .failed = true };
	tab->wrapper_id = find_wrapper_id(tab);
	*ret = tab;
	return 0;
}

struct gopclntab *gopclntab_free(struct gopclntab *tab)
{
	free(tab);
	return NULL;
}

DEFINE_CLEANUP(struct gopclntab, gopclntab_free);

void gopclntab_range(const struct gopclntab *tab, uint64_t *ret_start, uint64_t *ret_end)
{
	*ret_start = tab->text + tab->start;
	*ret_end = tab->text + tab->end;
}

bool gopclntab_has_inline(const struct gopclntab *tab)
{
	return reader_ok(&tab->funcdata);
}

const char *gopclntab_print_name(const char *name, char *buffer, size_t size)
{
	const char *open = strchr(name, '['), *close = strrchr(name, ']');
	size_t head, tail, i = 0;

	if (!open || !close || close <= open || !size)
		return name;
	head = open - name;
	tail = strlen(close + 1);
	for (; i < head && i < size - 1; i++)
		buffer[i] = name[i];
	for (size_t j = 0; j < 5 && i < size - 1; j++)
		buffer[i++] = "[...]"[j];
	for (size_t j = 0; j < tail && i < size - 1; j++)
		buffer[i++] = close[1 + j];
	buffer[i] = '\0';
	return buffer;
}

/* --- finding it in a file -------------------------------------------------------------------------------------- */

/*
 * runtime/symtab.go moduledata, in words. Everything up to text is the same in 1.18 to 1.27; gofunc moves (38 in 1.18,
 * 40 in 1.20, 43 in 1.27), so it is recognized by what it points at.
 */
enum {
	MODULE_HEADER = 0, MODULE_NAMES = 1, MODULE_N_ENTRIES = 17,
	MODULE_TEXT = 22, MODULE_END_TEXT = 23, MODULE_FUNCDATA_FIRST = 36, MODULE_FUNCDATA_LAST = 52,
	MODULE_WORDS,
};

struct table_place {
	struct reader bytes;
	uint64_t address;
};

struct module {
	uint64_t words[MODULE_WORDS];
};

static bool header_looks_right(const uint8_t *bytes)
{
	static const uint8_t magic_118[8] = { 0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8 };
	static const uint8_t magic_120[8] = { 0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8 };

	return !memcmp(bytes, magic_118, sizeof(magic_118)) || !memcmp(bytes, magic_120, sizeof(magic_120));
}

static bool table_looks_right(const struct reader *bytes)
{
	struct gopclntab tab = {0};

	return !read_header(&tab, bytes);
}

static bool table_in_section(const struct elf_image *image, const char *name, struct table_place *ret)
{
	const struct elf_section *section = elf_image_section(image, name);
	struct reader bytes;

	if (!section)
		return false;
	bytes = elf_image_section_bytes(image, section);
	if (!reader_ok(&bytes) || !table_looks_right(&bytes))
		return false;
	*ret = (struct table_place){ bytes, section->address };
	return true;
}

/* Whether a search may find something: a file whose sections are known and hold no sign of Go is not searched. */
static bool may_be_go(const struct elf_image *image)
{
	size_t n;

	elf_image_sections(image, &n);
	return !n || elf_image_section(image, ".go.buildinfo") || elf_image_section(image, ".note.go.buildid");
}

static bool table_by_search(const struct elf_image *image, struct table_place *ret)
{
	uint64_t left = GOPCLNTAB_MAX_SCAN;
	const struct elf_segment *segments;
	size_t n;

	segments = elf_image_segments(image, &n);
	for (size_t i = 0; i < n; i++) {
		struct reader bytes;
		uint64_t size;

		if (segments[i].type != PT_LOAD || segments[i].flags & PF_X)
			continue;
		bytes = elf_image_bytes_at(image, segments[i].address, SIZE_MAX);
		size = reader_ok(&bytes) ? MIN((uint64_t)bytes.size, left) : 0;
		left -= size;
		/* The linker aligns it to 32; words are enough. */
		for (uint64_t at = -segments[i].address & 7; at + HEADER_SIZE <= size; at += 8) {
			struct reader table;

			if (!header_looks_right(bytes.data + at))
				continue;
			table = part_from(&bytes, at, UINT64_MAX);
			if (!table_looks_right(&table))
				continue;
			*ret = (struct table_place){ table, segments[i].address + at };
			return true;
		}
	}
	return false;
}

static bool find_table(const struct elf_image *image, struct table_place *ret)
{
	return table_in_section(image, ".gopclntab", ret) || table_in_section(image, ".data.rel.ro.gopclntab", ret) ||
		(may_be_go(image) && table_by_search(image, ret));
}

static bool is_code(const struct elf_image *image, uint64_t address)
{
	const struct elf_segment *segments;
	size_t n;

	segments = elf_image_segments(image, &n);
	for (size_t i = 0; i < n; i++)
		if (segments[i].type == PT_LOAD && segments[i].flags & PF_X && address >= segments[i].address &&
		    address - segments[i].address < segments[i].memory_size)
			return true;
	return false;
}

/* The relocations that a dynamic linker applies at start: in a position independent program all pointers are there. */
static struct reader find_relocations(const struct elf_image *image)
{
	uint64_t address = 0, size = 0;
	const struct elf_segment *segments;
	size_t n;

	segments = elf_image_segments(image, &n);
	for (size_t i = 0; i < n; i++) {
		struct reader r;

		if (segments[i].type != PT_DYNAMIC)
			continue;
		r = elf_image_bytes_at(image, segments[i].address, segments[i].file_size);
		while (reader_left(&r) >= sizeof(Elf64_Dyn)) {
			int64_t tag = (int64_t)reader_u64(&r);
			uint64_t value = reader_u64(&r);

			if (tag == DT_NULL)
				break;
			if (tag == DT_RELA)
				address = value;
			if (tag == DT_RELASZ)
				size = value;
		}
	}
	if (!size || size > GOPCLNTAB_MAX_SCAN)
		return (struct reader){ .failed = true };
	return elf_image_bytes_at(image, address, size);
}

static bool next_relative(struct reader *relocations, uint64_t *ret_place, uint64_t *ret_addend)
{
	while (reader_left(relocations) >= sizeof(Elf64_Rela)) {
		uint64_t place = reader_u64(relocations), info = reader_u64(relocations), addend = reader_u64(relocations);

		if (ELF64_R_TYPE(info) != R_X86_64_RELATIVE)
			continue;
		*ret_place = place;
		*ret_addend = addend;
		return true;
	}
	return false;
}

/* Reads what may be a moduledata, as it will be in memory, and checks all that ties it to this table. */
static bool module_read(const struct elf_image *image, const struct gopclntab *tab, uint64_t table_address,
		struct reader relocations, uint64_t address, struct module *ret)
{
	struct reader r = elf_image_bytes_at(image, address, sizeof(ret->words));
	struct module m = {0};
	uint64_t place, value;

	for (size_t i = 0; i < MODULE_WORDS; i++)
		m.words[i] = reader_u64(&r);
	if (!reader_ok(&r))
		return false;
	while (next_relative(&relocations, &place, &value))
		if (place >= address && place - address < sizeof(m.words) && !((place - address) & 7))
			m.words[(place - address) / 8] = value;
	if (m.words[MODULE_HEADER] != table_address || m.words[MODULE_NAMES] != table_address + tab->name_offset ||
	    m.words[MODULE_N_ENTRIES] != (uint64_t)tab->n_functions + 1)
		return false;
	if (!is_code(image, m.words[MODULE_TEXT]) || m.words[MODULE_END_TEXT] < m.words[MODULE_TEXT] ||
	    m.words[MODULE_END_TEXT] - m.words[MODULE_TEXT] < tab->end)
		return false;
	*ret = m;
	return true;
}

static bool module_by_relocations(const struct elf_image *image, const struct gopclntab *tab, uint64_t table_address,
		struct reader relocations, struct module *ret)
{
	struct reader r = relocations;
	uint64_t place, value;
	unsigned tries = 8;                  /* one pointer to the table is the module's, some are the runtime's */

	while (tries && next_relative(&r, &place, &value)) {
		if (value != table_address)
			continue;
		tries--;
		if (module_read(image, tab, table_address, relocations, place, ret))
			return true;
	}
	return false;
}

static bool module_by_search(const struct elf_image *image, const struct gopclntab *tab, uint64_t table_address, struct module *ret)
{
	uint64_t left = GOPCLNTAB_MAX_SCAN;
	const struct elf_segment *segments;
	size_t n;

	segments = elf_image_segments(image, &n);
	for (size_t i = 0; i < n; i++) {
		struct reader bytes;
		uint64_t size;

		if (segments[i].type != PT_LOAD || !(segments[i].flags & PF_W))
			continue;
		bytes = elf_image_bytes_at(image, segments[i].address, SIZE_MAX);
		size = reader_ok(&bytes) ? MIN((uint64_t)bytes.size, left) : 0;
		left -= size;
		for (uint64_t at = -segments[i].address & 7; at + 16 <= size; at += 8) {
			uint64_t pair[2];

			memcpy(pair, bytes.data + at, sizeof(pair));
			if (pair[0] == table_address && pair[1] == table_address + tab->name_offset &&
			    module_read(image, tab, table_address, (struct reader){ .failed = true }, segments[i].address + at, ret))
				return true;
		}
	}
	return false;
}

/* The largest index of a function's inline tree that its code uses, -1 when none. */
static int32_t largest_index(const struct gopclntab *tab, const struct function *f, uint32_t table)
{
	struct value_walk walk = value_walk(tab, f, table);
	int32_t largest = -1;

	for (uint32_t steps = 0; steps < 65536 && walk.pc < f->end && value_step(&walk); steps++)
		largest = MAX(largest, (int32_t)walk.value);
	return largest;
}

/* A name's offset is right when a name ends just before it. */
static bool is_name(const struct gopclntab *tab, uint32_t offset)
{
	return string_at(&tab->names, offset) && (!offset || !tab->names.data[offset - 1]);
}

static bool tree_makes_sense(const struct gopclntab *tab, const struct function *f, uint32_t tree, int32_t largest)
{
	for (int32_t i = 0; i <= largest; i++) {
		struct inlined_call call;

		if (!call_read(tab, tree, i, &call) || !is_name(tab, call.name) || call.parent >= f->end - f->entry)
			return false;
	}
	return true;
}

/* Whether the inline trees of many functions are what tab->funcdata says; a wrong address fails at the first or second. */
static bool funcdata_makes_sense(const struct gopclntab *tab)
{
	unsigned seen = 0;

	for (uint32_t i = 0; i < MIN(tab->n_functions, UINT32_C(4096)) && seen < 64; i++) {
		uint32_t table, tree;
		struct function f;
		int32_t largest;

		if (!function_read(tab, i, &f) || !pcdata(tab, &f, PCDATA_INLINE_INDEX, &table) ||
		    !funcdata(tab, &f, FUNCDATA_INLINE_TREE, &tree))
			continue;
		largest = largest_index(tab, &f, table);
		if (largest < 0)
			continue;
		if (largest > 65535 || !tree_makes_sense(tab, &f, tree, largest))
			return false;
		seen++;
	}
	return seen > 0;
}

static void find_funcdata(const struct elf_image *image, struct gopclntab *tab, const struct module *module)
{
	for (size_t i = MODULE_FUNCDATA_FIRST; i <= MODULE_FUNCDATA_LAST; i++) {
		tab->funcdata = elf_image_bytes_at(image, module->words[i], SIZE_MAX);
		if (module->words[i] && reader_ok(&tab->funcdata) && funcdata_makes_sense(tab))
			return;
	}
	tab->funcdata = (struct reader){ .failed = true };
}

/*
 * Where the text begins when there is no moduledata to tell: what the header says (until 1.25), or the section. Believed
 * only if the program's entry point is then the function of the Go runtime that it must be.
 */
static bool text_by_entry(const struct elf_image *image, struct gopclntab *tab, const struct table_place *place)
{
	const struct elf_section *section = elf_image_section(image, ".text");
	const uint64_t candidates[] = {
		u32_at(&place->bytes, 24) | (uint64_t)u32_at(&place->bytes, 28) << 32,
		section ? section->address : 0,
	};
	struct gopclntab_frame frame;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		tab->text = candidates[i];
		if (tab->text && is_code(image, tab->text) && tab->text < UINT64_MAX - tab->end &&
		    !gopclntab_lookup(tab, elf_image_entry(image), &frame, 1, &n) && !strncmp(frame.name, "_rt0_", 5))
			return true;
	}
	return false;
}

int gopclntab_open(const struct elf_image *image, struct gopclntab **ret)
{
	_cleanup_(gopclntab_free_p) struct gopclntab *tab = NULL;
	struct gopclntab_source source = { .funcdata.failed = true };
	struct reader relocations;
	struct table_place place;
	struct module module;
	int r;

	if (!find_table(image, &place))
		return GOPCLNTAB_E_NONE;
	source.table = place.bytes;
	r = gopclntab_new(&source, &tab);
	if (r)
		return r;
	relocations = find_relocations(image);
	if (module_by_relocations(image, tab, place.address, relocations, &module) ||
	    module_by_search(image, tab, place.address, &module)) {
		tab->text = module.words[MODULE_TEXT];
		find_funcdata(image, tab, &module);
	} else if (!text_by_entry(image, tab, &place))
		return GOPCLNTAB_E_NONE;
	*ret = TAKE(tab);
	return 0;
}
