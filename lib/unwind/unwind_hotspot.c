/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind_hotspot.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cleanup.h"

enum {
	PAGE = 4096,
	N_PAGES = 16,
	MAX_READS = 4096,                    /* of pages; JDK 17 takes 149, JDK 25 111 */
	MAX_SEGMENTS = 64,                   /* of a file; libjvm.so has 8 to 12 */
	MAX_DYNAMIC = 256,                   /* 36 */
	MAX_CHAIN = 256,                     /* symbols in a bucket */
	MAX_ENTRIES = 16384,                 /* of a table: 3,000 */
	MAX_STRIDE = 256,                    /* 48 */
	MAX_CODELETS = 1024,                 /* of the interpreter: 270 */
	MAX_TEXT = 48,                       /* of the names that we look for */
};
#define USER_END 0x7ffffffff000ULL           /* TASK_SIZE_MAX with four levels of page tables */

struct page {
	uint64_t address;                    /* 0: nothing is here */
	uint8_t bytes[PAGE];
};

/* The process's memory. Once a read has failed all give zeroes, so that it is enough to look at the end of each thing. */
struct memory {
	unwind_hotspot_read_fn read;
	void *userdata;
	int error;                           /* -errno, or UNWIND_HOTSPOT_E_UNKNOWN */
	size_t n_reads, next;
	struct page pages[N_PAGES];
};

/* --- memory --- */

static const struct page *page_at(struct memory *memory, uint64_t address)
{
	struct page *page;
	int r;

	for (size_t i = 0; i < N_PAGES; i++)
		if (memory->pages[i].address == address)
			return &memory->pages[i];
	page = &memory->pages[memory->next++ % N_PAGES];
	page->address = 0;
	r = !address || address >= USER_END || memory->n_reads++ >= MAX_READS ? UNWIND_HOTSPOT_E_UNKNOWN
		: memory->read(memory->userdata, address, page->bytes, PAGE);
	if (r) {
		memory->error = r;
		return NULL;
	}
	page->address = address;
	return page;
}

static void get(struct memory *memory, uint64_t address, void *to, size_t size)
{
	uint8_t *at = to;

	while (size && !memory->error) {
		size_t offset = address % PAGE, n = MIN(size, PAGE - offset);
		const struct page *page = page_at(memory, address - offset);

		if (!page)
			break;
		memcpy(at, page->bytes + offset, n);
		at += n;
		address += n;
		size -= n;
	}
	memset(at, 0, size);
}

static uint64_t get_u64(struct memory *memory, uint64_t address)
{
	uint64_t value;

	get(memory, address, &value, sizeof(value));
	return value;
}

static uint32_t get_u32(struct memory *memory, uint64_t address)
{
	uint32_t value;

	get(memory, address, &value, sizeof(value));
	return value;
}

/* As much of a string as names that we look for have; it ends with a 0. */
static void get_text(struct memory *memory, uint64_t address, char *ret)
{
	size_t n = 0;

	for (; n + 1 < MAX_TEXT && (n == 0 || ret[n - 1]); n++)
		get(memory, address + n, &ret[n], 1);
	ret[n] = 0;
}

static bool is_text(struct memory *memory, uint64_t address, const char *text)
{
	char found[MAX_TEXT];

	get_text(memory, address, found);
	return !memory->error && !strcmp(found, text);
}

/* --- exported symbols --- */

struct library {
	uint64_t bias;                       /* what addresses in the file are moved by */
	uint64_t symbols, strings, hash;     /* addresses */
	uint32_t n_buckets, first_symbol;
	uint64_t buckets, chains;
};

/* The dynamic linker of glibc moves these itself, that of musl does not. */
static uint64_t moved(const struct library *library, uint64_t base, uint64_t value)
{
	return value < base ? value + library->bias : value;
}

static uint64_t find_dynamic(struct memory *memory, uint64_t base, struct library *library)
{
	uint64_t dynamic = 0, lowest = UINT64_MAX;
	Elf64_Ehdr header;

	get(memory, base, &header, sizeof(header));
	if (memory->error || memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    header.e_machine != EM_X86_64 || header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > MAX_SEGMENTS ||
	    header.e_phoff > PAGE)
		return 0;
	for (size_t i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;

		get(memory, base + header.e_phoff + i * sizeof(segment), &segment, sizeof(segment));
		if (segment.p_type == PT_LOAD)
			lowest = MIN(lowest, segment.p_vaddr);
		if (segment.p_type == PT_DYNAMIC)
			dynamic = segment.p_vaddr;
	}
	if (!dynamic || lowest == UINT64_MAX)
		return 0;
	library->bias = base - lowest / PAGE * PAGE;
	return library->bias + dynamic;
}

/* 0 or UNWIND_HOTSPOT_E_UNKNOWN; the memory's error is seen by the caller. */
static int open_library(struct memory *memory, uint64_t base, struct library *ret)
{
	uint64_t dynamic = find_dynamic(memory, base, ret);

	if (!dynamic)
		return UNWIND_HOTSPOT_E_UNKNOWN;
	for (size_t i = 0; i < MAX_DYNAMIC; i++) {
		Elf64_Dyn entry;

		get(memory, dynamic + i * sizeof(entry), &entry, sizeof(entry));
		if (entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_SYMTAB)
			ret->symbols = moved(ret, base, entry.d_un.d_ptr);
		if (entry.d_tag == DT_STRTAB)
			ret->strings = moved(ret, base, entry.d_un.d_ptr);
		if (entry.d_tag == DT_GNU_HASH)
			ret->hash = moved(ret, base, entry.d_un.d_ptr);
	}
	if (!ret->symbols || !ret->strings || !ret->hash)
		return UNWIND_HOTSPOT_E_UNKNOWN;
	ret->n_buckets = get_u32(memory, ret->hash);
	ret->first_symbol = get_u32(memory, ret->hash + 4);
	ret->buckets = ret->hash + 16 + 8ULL * get_u32(memory, ret->hash + 8);
	ret->chains = ret->buckets + 4ULL * ret->n_buckets;
	return ret->n_buckets ? 0 : UNWIND_HOTSPOT_E_UNKNOWN;
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

/* The address of an exported symbol; 0: there is none. */
static uint64_t find_symbol(struct memory *memory, const struct library *library, const char *name)
{
	uint32_t hash = hash_of(name), at = get_u32(memory, library->buckets + 4ULL * (hash % library->n_buckets)), found = 0;

	if (at < library->first_symbol)
		return 0;
	for (size_t i = 0; i < MAX_CHAIN && !memory->error && !(found & 1); i++, at++) {
		Elf64_Sym symbol;

		found = get_u32(memory, library->chains + 4ULL * (at - library->first_symbol));
		if ((found | 1) != (hash | 1))
			continue;
		get(memory, library->symbols + (uint64_t)at * sizeof(symbol), &symbol, sizeof(symbol));
		if (symbol.st_shndx != SHN_UNDEF && is_text(memory, library->strings + symbol.st_name, name))
			return library->bias + symbol.st_value;
	}
	return 0;
}

/* What an exported variable holds; 0 when there is none. */
static uint64_t variable(struct memory *memory, const struct library *library, const char *name)
{
	uint64_t address = find_symbol(memory, library, name);

	return address ? get_u64(memory, address) : 0;
}

/* --- tables of fields and types --- */

enum field {
	CODE_CACHE_HEAPS, CODE_CACHE_HEAP, ARRAY_LENGTH, ARRAY_DATA, HEAP_MEMORY, HEAP_SEGMENTS, HEAP_SHIFT,
	SPACE_LOW, SPACE_HIGH, BLOB_FRAME_SIZE, BLOB_FRAME_COMPLETE, BLOB_CODE_BEGIN, BLOB_CODE_OFFSET,
	INTERPRETER_CODE, QUEUE_BUFFER, QUEUE_LIMIT, QUEUE_END, CODELET_SIZE, CODELET_DESCRIPTION,
	N_FIELDS,
};

static const struct {
	const char *type, *name;
	enum field field;
} wanted[] = {
	{ "CodeCache", "_heaps", CODE_CACHE_HEAPS },
	{ "CodeCache", "_heap", CODE_CACHE_HEAP },                  /* JDK 8 */
	{ "GrowableArrayBase", "_len", ARRAY_LENGTH },
	{ "GenericGrowableArray", "_len", ARRAY_LENGTH },           /* until JDK 15 */
	{ "GrowableArray<int>", "_data", ARRAY_DATA },
	{ "CodeHeap", "_memory", HEAP_MEMORY },
	{ "CodeHeap", "_segmap", HEAP_SEGMENTS },
	{ "CodeHeap", "_log2_segment_size", HEAP_SHIFT },
	{ "VirtualSpace", "_low", SPACE_LOW },
	{ "VirtualSpace", "_high_boundary", SPACE_HIGH },
	{ "CodeBlob", "_frame_size", BLOB_FRAME_SIZE },
	{ "CodeBlob", "_frame_complete_offset", BLOB_FRAME_COMPLETE },
	{ "CodeBlob", "_code_begin", BLOB_CODE_BEGIN },
	{ "CodeBlob", "_code_offset", BLOB_CODE_OFFSET },           /* JDK 8; JDK 24 and later */
	{ "AbstractInterpreter", "_code", INTERPRETER_CODE },
	{ "StubQueue", "_stub_buffer", QUEUE_BUFFER },
	{ "StubQueue", "_buffer_limit", QUEUE_LIMIT },
	{ "StubQueue", "_queue_end", QUEUE_END },
	{ "InterpreterCodelet", "_size", CODELET_SIZE },
	{ "InterpreterCodelet", "_description", CODELET_DESCRIPTION },
};

struct found {
	bool is_there;
	bool is_short;                       /* its type is int16_t */
	uint64_t at;                         /* offset, or, of static ones, address */
};

struct fields {
	struct found at[N_FIELDS];
	uint64_t block_size;                 /* sizeof(HeapBlock) */
};

/* Where a table's entries have what. */
struct layout {
	uint64_t entries, stride, type, name, type_text, is_static, offset, address, size;
};

static bool may_be_of_interest(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!strcmp(wanted[i].type, type))
			return true;
	return false;
}

static void note_field(struct memory *memory, const struct layout *layout, uint64_t entry, const char *type,
		struct fields *fields)
{
	char name[MAX_TEXT];

	get_text(memory, get_u64(memory, entry + layout->name), name);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct found *found = &fields->at[wanted[i].field];

		if (strcmp(wanted[i].type, type) || strcmp(wanted[i].name, name))
			continue;
		found->is_there = true;
		found->is_short = wanted[i].field == BLOB_FRAME_COMPLETE &&
				is_text(memory, get_u64(memory, entry + layout->type_text), "int16_t");
		found->at = get_u64(memory, entry + (get_u32(memory, entry + layout->is_static) ? layout->address : layout->offset));
	}
}

static void read_fields(struct memory *memory, const struct layout *layout, struct fields *fields)
{
	for (size_t i = 0; i < MAX_ENTRIES && !memory->error; i++) {
		uint64_t entry = layout->entries + i * layout->stride, text = get_u64(memory, entry + layout->type);
		char type[MAX_TEXT];

		if (!text)
			return;
		get_text(memory, text, type);
		if (may_be_of_interest(type))
			note_field(memory, layout, entry, type, fields);
	}
}

static void read_types(struct memory *memory, const struct layout *layout, struct fields *fields)
{
	for (size_t i = 0; i < MAX_ENTRIES && !memory->error; i++) {
		uint64_t entry = layout->entries + i * layout->stride, text = get_u64(memory, entry + layout->type);

		if (!text)
			return;
		if (is_text(memory, text, "HeapBlock"))
			fields->block_size = get_u64(memory, entry + layout->size);
	}
}

static bool is_layout(const struct layout *layout)
{
	const uint64_t offsets[] = { layout->type, layout->name, layout->type_text, layout->is_static, layout->offset,
		layout->address, layout->size };

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
		if (offsets[i] >= MAX_STRIDE)
			return false;
	return layout->entries && layout->stride && layout->stride <= MAX_STRIDE;
}

static int read_tables(struct memory *memory, const struct library *library, struct fields *ret)
{
	const struct layout fields = {
		.entries = variable(memory, library, "gHotSpotVMStructs"),
		.stride = variable(memory, library, "gHotSpotVMStructEntryArrayStride"),
		.type = variable(memory, library, "gHotSpotVMStructEntryTypeNameOffset"),
		.name = variable(memory, library, "gHotSpotVMStructEntryFieldNameOffset"),
		.type_text = variable(memory, library, "gHotSpotVMStructEntryTypeStringOffset"),
		.is_static = variable(memory, library, "gHotSpotVMStructEntryIsStaticOffset"),
		.offset = variable(memory, library, "gHotSpotVMStructEntryOffsetOffset"),
		.address = variable(memory, library, "gHotSpotVMStructEntryAddressOffset"),
	};
	const struct layout types = {
		.entries = variable(memory, library, "gHotSpotVMTypes"),
		.stride = variable(memory, library, "gHotSpotVMTypeEntryArrayStride"),
		.type = variable(memory, library, "gHotSpotVMTypeEntryTypeNameOffset"),
		.size = variable(memory, library, "gHotSpotVMTypeEntrySizeOffset"),
	};

	/* The numbers are set when libjvm.so is initialized. */
	if (fields.entries && types.entries && (!fields.stride || !types.stride))
		return UNWIND_HOTSPOT_E_EARLY;
	if (!is_layout(&fields) || !is_layout(&types))
		return UNWIND_HOTSPOT_E_UNKNOWN;
	read_fields(memory, &fields, ret);
	read_types(memory, &types, ret);
	return 0;
}

/* --- code heaps --- */

static int fill_blob(const struct fields *fields, struct hotspot *hotspot)
{
	const struct found *code = &fields->at[BLOB_CODE_BEGIN], *relative = &fields->at[BLOB_CODE_OFFSET];

	if (!fields->at[BLOB_FRAME_SIZE].is_there || !fields->at[BLOB_FRAME_COMPLETE].is_there ||
	    (!code->is_there && !relative->is_there))
		return UNWIND_HOTSPOT_E_UNKNOWN;
	hotspot->block_size = (uint32_t)MIN(fields->block_size, (uint64_t)UINT32_MAX);
	hotspot->frame_size = (uint32_t)MIN(fields->at[BLOB_FRAME_SIZE].at, (uint64_t)UINT32_MAX);
	hotspot->frame_complete = (uint32_t)MIN(fields->at[BLOB_FRAME_COMPLETE].at, (uint64_t)UINT32_MAX);
	hotspot->is_frame_complete_short = fields->at[BLOB_FRAME_COMPLETE].is_short;
	hotspot->is_code_relative = !code->is_there;
	hotspot->code = (uint32_t)MIN(code->is_there ? code->at : relative->at, (uint64_t)UINT32_MAX);
	return 0;
}

static int add_heap(struct memory *memory, const struct fields *fields, uint64_t heap, struct hotspot *hotspot)
{
	struct hotspot_heap *added = &hotspot->heaps[hotspot->n_heaps];
	uint64_t space = heap + fields->at[HEAP_MEMORY].at, segments = heap + fields->at[HEAP_SEGMENTS].at;

	if (!heap)
		return UNWIND_HOTSPOT_E_EARLY;
	added->low = get_u64(memory, space + fields->at[SPACE_LOW].at);
	added->high = get_u64(memory, space + fields->at[SPACE_HIGH].at);
	added->segments = get_u64(memory, segments + fields->at[SPACE_LOW].at);
	hotspot->segment_shift = get_u32(memory, heap + fields->at[HEAP_SHIFT].at);
	if (!added->low || !added->segments)
		return UNWIND_HOTSPOT_E_EARLY;
	hotspot->n_heaps++;
	return 0;
}

static int add_heaps(struct memory *memory, const struct fields *fields, struct hotspot *hotspot)
{
	uint64_t array, data;
	uint32_t n;

	if (fields->at[CODE_CACHE_HEAP].is_there)
		return add_heap(memory, fields, get_u64(memory, fields->at[CODE_CACHE_HEAP].at), hotspot);
	array = get_u64(memory, fields->at[CODE_CACHE_HEAPS].at);
	if (!array)
		return UNWIND_HOTSPOT_E_EARLY;
	n = get_u32(memory, array + fields->at[ARRAY_LENGTH].at);
	data = get_u64(memory, array + fields->at[ARRAY_DATA].at);
	if (!n)
		return UNWIND_HOTSPOT_E_EARLY;
	if (n > HOTSPOT_MAX_HEAPS)
		return UNWIND_HOTSPOT_E_UNKNOWN;
	for (size_t i = 0; i < n; i++) {
		int r = add_heap(memory, fields, get_u64(memory, data + 8 * i), hotspot);

		if (r)
			return r;
	}
	return 0;
}

/* Those of the interpreter's pieces that enter a method: one for each kind of method, one behind another. */
static void find_entries(struct memory *memory, const struct fields *fields, uint64_t queue, struct hotspot *hotspot)
{
	uint64_t codelet = hotspot->interpreter_start, end = codelet + get_u32(memory, queue + fields->at[QUEUE_END].at);
	static const char entry[] = "method entry point";

	if (!fields->at[QUEUE_END].is_there || !fields->at[CODELET_SIZE].is_there || !fields->at[CODELET_DESCRIPTION].is_there)
		return;
	for (size_t i = 0; i < MAX_CODELETS && codelet < end && end <= hotspot->interpreter_end && !memory->error; i++) {
		uint32_t size = get_u32(memory, codelet + fields->at[CODELET_SIZE].at);
		char text[MAX_TEXT];

		get_text(memory, get_u64(memory, codelet + fields->at[CODELET_DESCRIPTION].at), text);
		if (!strncmp(text, entry, sizeof(entry) - 1)) {
			hotspot->entries_start = hotspot->entries_start ? hotspot->entries_start : codelet;
			hotspot->entries_end = codelet + size;
		} else if (hotspot->entries_start) {
			return;
		}
		if (!size)
			return;
		codelet += size;
	}
}

static int fill_heaps(struct memory *memory, const struct fields *fields, struct hotspot *hotspot)
{
	static const enum field needed[] = { HEAP_MEMORY, HEAP_SEGMENTS, HEAP_SHIFT, SPACE_LOW, SPACE_HIGH, INTERPRETER_CODE,
		QUEUE_BUFFER, QUEUE_LIMIT };
	bool has_array = fields->at[CODE_CACHE_HEAPS].is_there && fields->at[ARRAY_LENGTH].is_there && fields->at[ARRAY_DATA].is_there;
	uint64_t queue;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!fields->at[needed[i]].is_there)
			return UNWIND_HOTSPOT_E_UNKNOWN;
	if (!has_array && !fields->at[CODE_CACHE_HEAP].is_there)
		return UNWIND_HOTSPOT_E_UNKNOWN;
	r = add_heaps(memory, fields, hotspot);
	if (r)
		return r;
	queue = get_u64(memory, fields->at[INTERPRETER_CODE].at);
	if (!queue)
		return UNWIND_HOTSPOT_E_EARLY;
	hotspot->interpreter_start = get_u64(memory, queue + fields->at[QUEUE_BUFFER].at);
	hotspot->interpreter_end = hotspot->interpreter_start + get_u32(memory, queue + fields->at[QUEUE_LIMIT].at);
	find_entries(memory, fields, queue, hotspot);
	return 0;
}

static bool is_field(uint32_t offset, uint32_t size)
{
	return offset % size == 0 && offset <= HOTSPOT_BLOB_SIZE - size;
}

static bool is_range(uint64_t start, uint64_t end)
{
	return start && start < end && end < USER_END && end - start <= UINT32_MAX;
}

int unwind_hotspot_check(const struct hotspot *hotspot)
{
	if (hotspot->state != HOTSPOT_KNOWN || !hotspot->n_heaps || hotspot->n_heaps > HOTSPOT_MAX_HEAPS ||
	    hotspot->segment_shift < 4 || hotspot->segment_shift > 16 || hotspot->block_size > HOTSPOT_BLOB_SIZE ||
	    hotspot->block_size % 8 || !is_field(hotspot->frame_size, 4) ||
	    !is_field(hotspot->frame_complete, hotspot->is_frame_complete_short ? 2 : 4) ||
	    !is_field(hotspot->code, hotspot->is_code_relative ? 4 : 8) ||
	    !is_range(hotspot->interpreter_start, hotspot->interpreter_end))
		return UNWIND_HOTSPOT_E_UNKNOWN;
	for (size_t i = 0; i < hotspot->n_heaps; i++)
		if (!is_range(hotspot->heaps[i].low, hotspot->heaps[i].high) || hotspot->heaps[i].segments >= USER_END)
			return UNWIND_HOTSPOT_E_UNKNOWN;
	return 0;
}

int unwind_hotspot_read(uint64_t base, unwind_hotspot_read_fn read, void *userdata, struct hotspot *ret)
{
	struct hotspot hotspot = { .state = HOTSPOT_KNOWN };
	struct fields fields = {0};
	struct library library = {0};
	struct memory memory;
	int r;

	memory.read = read;
	memory.userdata = userdata;
	memory.error = 0;
	memory.n_reads = memory.next = 0;
	for (size_t i = 0; i < N_PAGES; i++)
		memory.pages[i].address = 0;
	r = open_library(&memory, base, &library);
	if (!r && !memory.error)
		r = read_tables(&memory, &library, &fields);
	if (!r && !memory.error)
		r = fill_blob(&fields, &hotspot);
	if (!r && !memory.error)
		r = fill_heaps(&memory, &fields, &hotspot);
	/* What was found out with zeroes instead of memory is nothing. */
	if (memory.error)
		return memory.error;
	if (!r)
		r = unwind_hotspot_check(&hotspot);
	if (!r)
		*ret = hotspot;
	return r;
}
