/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The memory of a process that runs HotSpot, as far as unwind_hotspot reads it: one piece, at a fixed address, that holds
 * libjvm.so's headers, symbols and tables, and the objects that they lead to.
 */
#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MADE_BASE 0x7f5000000000ULL
#define MADE_HEAP 0x7f6000000000ULL

enum {
	MADE_SIZE = 0x6000,
	MADE_DYNAMIC = 0x200, MADE_HASH = 0x300, MADE_SYMBOLS = 0x400, MADE_VARIABLES = 0x800, MADE_FIELDS = 0xc00,
	MADE_TYPES = 0x1800, MADE_OBJECTS = 0x2000, MADE_TEXT = 0x4000,
	MADE_STRIDE = 48,
};

struct made {
	uint8_t bytes[MADE_SIZE];
	size_t n_symbols, n_fields, n_types, text_end;
	bool is_moved;                       /* the dynamic linker has moved the addresses in .dynamic (glibc) */
};

static inline void made_u64(struct made *made, size_t at, uint64_t value)
{
	memcpy(made->bytes + at, &value, sizeof(value));
}

static inline void made_u32(struct made *made, size_t at, uint32_t value)
{
	memcpy(made->bytes + at, &value, sizeof(value));
}

/* Where in the memory the text is. */
static inline size_t made_text(struct made *made, const char *text)
{
	size_t at = made->text_end;

	memcpy(made->bytes + at, text, strlen(text) + 1);
	made->text_end += strlen(text) + 1;
	return at;
}

static inline void made_variable(struct made *made, const char *name, uint64_t value)
{
	size_t i = ++made->n_symbols, at = MADE_VARIABLES + 8 * i;
	Elf64_Sym symbol = { .st_name = (Elf64_Word)(made_text(made, name) - MADE_TEXT), .st_shndx = 1, .st_value = at };
	uint32_t hash = 5381;

	for (const char *c = name; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	memcpy(made->bytes + MADE_SYMBOLS + i * sizeof(symbol), &symbol, sizeof(symbol));
	made_u64(made, at, value);
	/* All in one bucket: the last has the lowest bit. */
	made_u32(made, MADE_HASH + 28 + 4 * (i - 1), hash | 1);
	if (i > 1)
		made->bytes[MADE_HASH + 28 + 4 * (i - 2)] &= 0xfe;
}

/* `offset`, or the place of a static one in the memory. */
static inline void made_field(struct made *made, const char *type, const char *name, const char *type_text, bool is_static,
		uint64_t offset)
{
	size_t at = MADE_FIELDS + MADE_STRIDE * made->n_fields++;

	made_u64(made, at, MADE_BASE + made_text(made, type));
	made_u64(made, at + 8, MADE_BASE + made_text(made, name));
	made_u64(made, at + 16, MADE_BASE + made_text(made, type_text));
	made_u32(made, at + 24, is_static);
	made_u64(made, at + (is_static ? 40 : 32), is_static ? MADE_BASE + offset : offset);
}

static inline void made_type(struct made *made, const char *name, uint64_t size)
{
	size_t at = MADE_TYPES + 40 * made->n_types++;

	made_u64(made, at, MADE_BASE + made_text(made, name));
	made_u64(made, at + 24, size);
}

static inline void made_library(struct made *made)
{
	uint64_t moved = made->is_moved ? MADE_BASE : 0;
	const Elf64_Ehdr header = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_DYN, .e_machine = EM_X86_64,
		.e_phoff = sizeof(header), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
	};
	const Elf64_Phdr segments[] = {
		{ .p_type = PT_LOAD, .p_memsz = MADE_SIZE }, { .p_type = PT_DYNAMIC, .p_vaddr = MADE_DYNAMIC },
	};
	const Elf64_Dyn dynamic[] = {
		{ .d_tag = DT_SYMTAB, .d_un.d_ptr = moved + MADE_SYMBOLS }, { .d_tag = DT_STRTAB, .d_un.d_ptr = moved + MADE_TEXT },
		{ .d_tag = DT_GNU_HASH, .d_un.d_ptr = moved + MADE_HASH }, { .d_tag = DT_NULL },
	};
	const uint32_t hash[] = { 1, 1, 1, 0, 0, 0, 1 }; /* one bucket, symbol 1 first, one word of bloom */

	memcpy(made->bytes, &header, sizeof(header));
	memcpy(made->bytes + sizeof(header), segments, sizeof(segments));
	memcpy(made->bytes + MADE_DYNAMIC, dynamic, sizeof(dynamic));
	memcpy(made->bytes + MADE_HASH, hash, sizeof(hash));
}

/* Symbols, and fields of all versions. What is where differs: see made_hotspot(). */
static inline void made_tables(struct made *made)
{
	made->text_end = MADE_TEXT + 1;
	made_library(made);
	made_variable(made, "gHotSpotVMStructs", MADE_BASE + MADE_FIELDS);
	made_variable(made, "gHotSpotVMStructEntryTypeNameOffset", 0);
	made_variable(made, "gHotSpotVMStructEntryFieldNameOffset", 8);
	made_variable(made, "gHotSpotVMStructEntryTypeStringOffset", 16);
	made_variable(made, "gHotSpotVMStructEntryIsStaticOffset", 24);
	made_variable(made, "gHotSpotVMStructEntryOffsetOffset", 32);
	made_variable(made, "gHotSpotVMStructEntryAddressOffset", 40);
	made_variable(made, "gHotSpotVMStructEntryArrayStride", MADE_STRIDE);
	made_variable(made, "gHotSpotVMTypes", MADE_BASE + MADE_TYPES);
	made_variable(made, "gHotSpotVMTypeEntryTypeNameOffset", 0);
	made_variable(made, "gHotSpotVMTypeEntrySizeOffset", 24);
	made_variable(made, "gHotSpotVMTypeEntryArrayStride", 40);
	made_field(made, "Klass", "_name", "Symbol*", false, 24);
	made_field(made, "CodeHeap", "_memory", "VirtualSpace", false, 8);
	made_field(made, "CodeHeap", "_segmap", "VirtualSpace", false, 48);
	made_field(made, "CodeHeap", "_log2_segment_size", "int", false, 88);
	made_field(made, "VirtualSpace", "_low", "char*", false, 16);
	made_field(made, "VirtualSpace", "_high_boundary", "char*", false, 8);
	made_field(made, "CodeBlob", "_frame_size", "int", false, 44);
	made_field(made, "AbstractInterpreter", "_code", "StubQueue*", true, MADE_OBJECTS + 8);
	made_field(made, "StubQueue", "_stub_buffer", "address", false, 8);
	made_field(made, "StubQueue", "_buffer_limit", "int", false, 20);
	made_field(made, "StubQueue", "_queue_end", "int", false, 28);
	made_field(made, "InterpreterCodelet", "_size", "int", false, 8);
	made_field(made, "InterpreterCodelet", "_description", "char*", false, 0);
	made_type(made, "CodeHeap", 300);
	made_type(made, "HeapBlock", 16);
}

/* A heap at `at`: its code, 1 MiB for each number, and its notes. */
static inline void made_heap(struct made *made, size_t at, uint64_t number)
{
	made_u64(made, at + 8 + 16, MADE_HEAP + (number << 20));
	made_u64(made, at + 8 + 8, MADE_HEAP + ((number + 1) << 20));
	made_u64(made, at + 48 + 16, MADE_HEAP + 0x10000000 + (number << 16));
	made_u32(made, at + 88, 7);
}

/* The interpreter: three pieces, of which the second enters methods, in the memory as well. */
static inline void made_interpreter(struct made *made)
{
	static const char *const texts[] = { "return entry points", "method entry point (kind = zerolocals)", "nop" };

	made_u64(made, MADE_OBJECTS + 8, MADE_BASE + MADE_OBJECTS + 0x100);
	made_u64(made, MADE_OBJECTS + 0x108, MADE_BASE + MADE_OBJECTS + 0x800);
	made_u32(made, MADE_OBJECTS + 0x100 + 20, 0x600);
	made_u32(made, MADE_OBJECTS + 0x100 + 28, 3 * 0x80);
	for (size_t i = 0; i < 3; i++) {
		made_u64(made, MADE_OBJECTS + 0x800 + 0x80 * i, MADE_BASE + made_text(made, texts[i]));
		made_u32(made, MADE_OBJECTS + 0x800 + 0x80 * i + 8, 0x80);
	}
}

/* As JDK 25 has it, three heaps; or as JDK 8, one. */
static inline void made_hotspot(struct made *made, bool is_old, bool is_moved)
{
	memset(made, 0, sizeof(*made));
	made->is_moved = is_moved;
	made_tables(made);
	if (is_old) {
		made_field(made, "CodeCache", "_heap", "CodeHeap*", true, MADE_OBJECTS);
		made_field(made, "CodeBlob", "_frame_complete_offset", "int", false, 20);
		made_field(made, "CodeBlob", "_code_begin", "address", false, 32);
		made_u64(made, MADE_OBJECTS, MADE_BASE + MADE_OBJECTS + 0x300);
	} else {
		made_field(made, "CodeCache", "_heaps", "GrowableArray<CodeHeap*>*", true, MADE_OBJECTS);
		made_field(made, "GrowableArrayBase", "_len", "int", false, 0);
		made_field(made, "GrowableArray<int>", "_data", "int*", false, 8);
		made_field(made, "CodeBlob", "_frame_complete_offset", "int16_t", false, 54);
		made_field(made, "CodeBlob", "_code_offset", "int", false, 36);
		made_u64(made, MADE_OBJECTS, MADE_BASE + MADE_OBJECTS + 0x200);
		made_u32(made, MADE_OBJECTS + 0x200, 3);
		made_u64(made, MADE_OBJECTS + 0x208, MADE_BASE + MADE_OBJECTS + 0x280);
		for (size_t i = 0; i < 3; i++)
			made_u64(made, MADE_OBJECTS + 0x280 + 8 * i, MADE_BASE + MADE_OBJECTS + 0x300 + 0x100 * i);
	}
	for (size_t i = 0; i < 3; i++)
		made_heap(made, MADE_OBJECTS + 0x300 + 0x100 * i, i);
	made_interpreter(made);
}
