/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Call frame information and executables that hold it, written byte by byte. */
#include <dwarf.h>
#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "main.h"
#include "vec.h"

struct made {
	VEC(uint8_t) b;
};

static inline void put(struct made *m, const void *bytes, size_t n)
{
	ck_assert_int_eq(vec_append(&m->b, (const uint8_t *)bytes, n), 0);
}

static inline void put8(struct made *m, uint8_t v) { put(m, &v, sizeof(v)); }
static inline void put32(struct made *m, uint32_t v) { put(m, &v, sizeof(v)); }
static inline void put64(struct made *m, uint64_t v) { put(m, &v, sizeof(v)); }

static inline void put_uleb(struct made *m, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		put8(m, (uint8_t)(v | 0x80));
	put8(m, (uint8_t)v);
}

/* A program: bytes, given as a list. */
struct program {
	const uint8_t *bytes;
	size_t n;
};
#define PROGRAM(...) ((struct program){ (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }) })
#define NO_PROGRAM ((struct program){ NULL, 0 })

/* What compilers put into each CIE: rsp + 8, the return address below it. */
#define USUAL_RULES DW_CFA_def_cfa, 7, 8, DW_CFA_offset | 16, 1

/* Entries have their length in front: returns where it is, for entry_end(). */
static inline size_t entry_begin(struct made *m)
{
	put32(m, 0);
	return m->b.n - 4;
}

static inline void entry_end(struct made *m, size_t at)
{
	uint32_t length = (uint32_t)(m->b.n - at - 4);

	memcpy(m->b.at + at, &length, sizeof(length));
}

/* .eh_frame: returns the offset of the CIE. encoding: DW_EH_PE_*. */
static inline size_t put_cie(struct made *m, uint8_t encoding, struct program program)
{
	size_t at = entry_begin(m);

	put32(m, 0);
	put8(m, 1);
	put(m, "zR", 3);
	put(m, (const uint8_t[]){ 1, 0x78, 16, 1, encoding }, 5); /* factors 1, -8; return address; augmentation */
	put(m, program.bytes, program.n);
	entry_end(m, at);
	return at;
}

/* For an encoding pcrel | sdata4; the section is at `section`. */
static inline void put_fde(struct made *m, size_t cie, uint64_t section, uint64_t start, uint32_t size, struct program program)
{
	size_t at = entry_begin(m);

	put32(m, (uint32_t)(m->b.n - cie));
	put32(m, (uint32_t)(start - (section + m->b.n)));
	put32(m, size);
	put8(m, 0);
	put(m, program.bytes, program.n);
	entry_end(m, at);
}

#define RELATIVE (DW_EH_PE_pcrel | DW_EH_PE_sdata4)

/* .debug_frame, version 1. */
static inline size_t put_debug_cie(struct made *m, struct program program)
{
	size_t at = entry_begin(m);

	put32(m, UINT32_MAX);
	put(m, (const uint8_t[]){ 1, 0, 1, 0x78, 16 }, 5);
	put(m, program.bytes, program.n);
	entry_end(m, at);
	return at;
}

static inline void put_debug_fde(struct made *m, size_t cie, uint64_t start, uint64_t size, struct program program)
{
	size_t at = entry_begin(m);

	put32(m, (uint32_t)cie);
	put64(m, start);
	put64(m, size);
	put(m, program.bytes, program.n);
	entry_end(m, at);
}

/* --- Executables --- */

/* Code is at CODE in the file and at ADDRESS + CODE in memory, .eh_frame behind it likewise, in a segment that is read only. */
enum {
	CODE = 0x1000,
	MAX_SECTIONS = 8,
};
#define ADDRESS UINT64_C(0x400000)

struct made_section {
	const char *name;
	const void *bytes;
	size_t size;
	uint64_t flags;
	uint64_t offset;                     /* 0: behind the code */
	uint32_t type;                       /* 0: SHT_PROGBITS */
};

struct made_file {
	size_t code_size;
	const void *code;                    /* NULL: bytes 0x55 */
	uint64_t entry;
	struct made_section sections[MAX_SECTIONS];
	bool is_stripped;                    /* no section headers, but PT_GNU_EH_FRAME for ".eh_frame" */
	bool is_data;                        /* nothing is executable */
};

/* At once: each check is a system call. */
static inline void put_repeated(struct made *m, uint8_t v, size_t n)
{
	ck_assert_int_eq(vec_reserve(&m->b, m->b.n + n), 0);
	memset(m->b.at + m->b.n, v, n);
	m->b.n += n;
}

static inline uint64_t align(struct made *m, size_t to)
{
	put_repeated(m, 0, (to - m->b.n % to) % to);
	return m->b.n;
}

/* The bytes are for vec_deinit(). */
static inline struct made make_file(const struct made_file *file)
{
	static const char names[] = "\0.shstrtab\0";
	struct made m = { 0 }, strings = { 0 };
	Elf64_Ehdr header = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_DYN, .e_machine = EM_X86_64,
		.e_entry = file->entry, .e_phoff = sizeof(header), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3,
		.e_shentsize = sizeof(Elf64_Shdr), .e_shstrndx = 1,
	};
	Elf64_Phdr segments[3] = {
		{ .p_type = PT_LOAD, .p_flags = PF_R | (file->is_data ? 0 : PF_X), .p_offset = CODE, .p_vaddr = ADDRESS + CODE,
		  .p_filesz = file->code_size, .p_memsz = file->code_size },
		{ .p_type = PT_LOAD, .p_flags = PF_R },
		{ .p_type = PT_NULL },
	};
	Elf64_Shdr sections[2 + MAX_SECTIONS] = { 0 };
	uint64_t behind;

	put(&strings, names, sizeof(names) - 1);
	put(&m, &header, sizeof(header));
	put(&m, segments, sizeof(segments));
	align(&m, CODE);
	if (file->code)
		put(&m, file->code, file->code_size);
	else
		put_repeated(&m, 0x55, file->code_size);
	behind = align(&m, 0x1000);
	for (size_t i = 0; i < MAX_SECTIONS && file->sections[i].name; i++) {
		const struct made_section *s = &file->sections[i];
		Elf64_Shdr *h = &sections[2 + i];

		*h = (Elf64_Shdr){ .sh_name = (uint32_t)strings.b.n, .sh_type = s->type ? s->type : SHT_PROGBITS,
			.sh_flags = s->flags, .sh_size = s->size };
		put(&strings, s->name, strlen(s->name) + 1);
		h->sh_offset = s->offset ? s->offset : align(&m, 8);
		h->sh_addr = ADDRESS + h->sh_offset;
		if (!s->offset)
			put(&m, s->bytes, s->size);
		if (file->is_stripped && !strcmp(s->name, ".eh_frame")) {
			uint64_t at = align(&m, 8);

			segments[2] = (Elf64_Phdr){ .p_type = PT_GNU_EH_FRAME, .p_offset = at, .p_vaddr = ADDRESS + at, .p_filesz = 8, .p_memsz = 8 };
			put(&m, (const uint8_t[]){ 1, RELATIVE, DW_EH_PE_omit, DW_EH_PE_omit }, 4);
			put32(&m, (uint32_t)(h->sh_offset - (at + 4)));
		}
	}
	segments[1].p_offset = behind;
	segments[1].p_vaddr = ADDRESS + behind;
	segments[1].p_filesz = segments[1].p_memsz = m.b.n - behind;
	if (!file->is_stripped) {
		sections[1] = (Elf64_Shdr){ .sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = m.b.n, .sh_size = strings.b.n };
		put(&m, strings.b.at, strings.b.n);
		header.e_shoff = align(&m, 8);
		header.e_shnum = ARRAY_SIZE(sections);
		put(&m, sections, sizeof(sections));
	}
	memcpy(m.b.at, &header, sizeof(header));
	memcpy(m.b.at + sizeof(header), segments, sizeof(segments));
	vec_deinit(&strings.b);
	return m;
}

/* Where the first section that is not placed lies in memory. */
static inline uint64_t first_section(const struct made_file *file)
{
	return ADDRESS + (CODE + file->code_size + 0xfff) / 0x1000 * 0x1000;
}
