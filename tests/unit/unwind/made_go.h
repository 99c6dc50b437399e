/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A Go program for tests: an ELF file with the code of a few functions and Go's table of them, layout of 1.20. */
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vec.h"

#define MADE_GO_TEXT UINT64_C(0x401000)
#define MADE_GO_OFFSET 0x1000U               /* of the code in the file */

enum { MADE_GO_TOP = 1, MADE_GO_SP_WRITE = 2 };

struct made_go_depth {
	uint32_t size;                       /* for so many bytes of code */
	int32_t depth;
};

struct made_go_function {
	const char *name;
	uint8_t flags;
	const uint8_t *code;
	size_t size;
	const struct made_go_depth *depths;
	size_t n_depths;
};

struct made_go {
	VEC(uint8_t) b;
};

static inline void made_go_bytes(struct made_go *made, const void *bytes, size_t n)
{
	if (vec_append(&made->b, (const uint8_t *)bytes, n))
		abort();
}

static inline void made_go_u32(struct made_go *made, uint32_t v)
{
	made_go_bytes(made, &v, sizeof(v));
}

static inline void made_go_u64(struct made_go *made, uint64_t v)
{
	made_go_bytes(made, &v, sizeof(v));
}

static inline void made_go_varint(struct made_go *made, uint32_t v)
{
	for (uint8_t byte; ; v >>= 7) {
		byte = v < 0x80 ? v : (v & 0x7f) | 0x80;
		made_go_bytes(made, &byte, 1);
		if (v < 0x80)
			return;
	}
}

/* The table, whose text is at MADE_GO_TEXT. */
static inline struct made_go made_go_table(const struct made_go_function *functions, size_t n)
{
	struct made_go names = {0}, values = {0}, entries = {0}, table = {0};
	const struct made_go *const parts[] = { &names, NULL, NULL, &values, &entries };
	uint32_t entry = 0, at = 72;

	made_go_bytes(&names, "", 1);
	made_go_bytes(&values, "", 1);
	for (size_t i = 0; i <= n; i++) {
		made_go_u32(&entries, entry);
		if (i < n)
			made_go_u32(&entries, (uint32_t)((n * 2 + 1) * 4 + i * 44));
		entry += i < n ? functions[i].size : 0;
	}
	entry = 0;
	for (size_t i = 0; i < n; i++) {
		const struct made_go_function *f = &functions[i];
		int32_t value = -1;

		made_go_u32(&entries, entry);
		made_go_u32(&entries, names.b.n);
		made_go_bytes(&names, f->name, strlen(f->name) + 1);
		made_go_u64(&entries, 0);
		made_go_u32(&entries, f->n_depths ? values.b.n : 0);
		for (size_t j = 0; j < f->n_depths; j++) {
			uint32_t delta = (uint32_t)f->depths[j].depth - (uint32_t)value;

			made_go_varint(&values, delta << 1 ^ -(delta >> 31));
			made_go_varint(&values, f->depths[j].size);
			value = f->depths[j].depth;
		}
		made_go_bytes(&values, "", 1);
		for (size_t j = 0; j < 5; j++) /* pcfile, pcln, npcdata, cuOffset, startLine */
			made_go_u32(&entries, 0);
		made_go_u32(&entries, (uint32_t)f->flags << 8);
		entry += f->size;
	}
	made_go_u64(&table, UINT64_C(0x08010000fffffff1));
	made_go_u64(&table, n);
	made_go_u64(&table, 0);
	made_go_u64(&table, MADE_GO_TEXT);
	for (size_t i = 0; i < 5; i++) {
		made_go_u64(&table, at);
		at += parts[i] ? parts[i]->b.n : 0;
	}
	for (size_t i = 0; i < 5; i++)
		if (parts[i])
			made_go_bytes(&table, parts[i]->b.at, parts[i]->b.n);
	vec_deinit(&names.b);
	vec_deinit(&values.b);
	vec_deinit(&entries.b);
	return table;
}

/*
 * The file; its entry point is the start of function `entry`, which is believed when its name begins with _rt0_. To free
 * with vec_deinit().
 */
static inline struct made_go made_go(const struct made_go_function *functions, size_t n, size_t entry)
{
	static const char names[] = "\0.text\0.gopclntab\0.shstrtab";
	struct made_go file = {0}, table = made_go_table(functions, n);
	uint64_t size = 0, start = 0;
	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_ehsize = sizeof(header),
		.e_phoff = sizeof(header), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
		.e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 4, .e_shstrndx = 3,
	};
	Elf64_Phdr segment;
	Elf64_Shdr sections[4] = {0};

	for (size_t i = 0; i < n; i++) {
		start += i < entry ? functions[i].size : 0;
		size += functions[i].size;
	}
	header.e_entry = MADE_GO_TEXT + start;
	segment = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = MADE_GO_OFFSET, .p_vaddr = MADE_GO_TEXT,
		.p_filesz = size, .p_memsz = size, .p_align = 4096 };
	sections[1] = (Elf64_Shdr){ .sh_name = 1, .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
		.sh_addr = MADE_GO_TEXT, .sh_offset = MADE_GO_OFFSET, .sh_size = size };
	sections[2] = (Elf64_Shdr){ .sh_name = 7, .sh_type = SHT_PROGBITS, .sh_offset = MADE_GO_OFFSET + size, .sh_size = table.b.n };
	sections[3] = (Elf64_Shdr){ .sh_name = 18, .sh_type = SHT_STRTAB, .sh_offset = sections[2].sh_offset + table.b.n,
		.sh_size = sizeof(names) };
	header.e_shoff = sections[3].sh_offset + sizeof(names);
	made_go_bytes(&file, &header, sizeof(header));
	made_go_bytes(&file, &segment, sizeof(segment));
	while (file.b.n < MADE_GO_OFFSET)
		made_go_bytes(&file, "", 1);
	for (size_t i = 0; i < n; i++)
		made_go_bytes(&file, functions[i].code, functions[i].size);
	made_go_bytes(&file, table.b.at, table.b.n);
	made_go_bytes(&file, names, sizeof(names));
	made_go_bytes(&file, sections, sizeof(sections));
	vec_deinit(&table.b);
	return file;
}
