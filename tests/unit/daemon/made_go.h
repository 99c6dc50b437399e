/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A Go program made by hand: functions of 0x100 bytes each, the i-th at 0x401000 + 0x100 * i, as file offset 0x1000 + .... */
#include <check.h>
#include <elf.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct made_go_function {
	const char *name;
	uint8_t id;                          /* the largest of all is that of wrappers */
};

enum { MADE_GO_SIZE = 0x3000, MADE_GO_TEXT = 0x1000, MADE_GO_TABLE = 0x2000, MADE_GO_NAMES = 72, MADE_GO_FUNCTIONS = 0x400 };

static inline uint64_t made_go_offset(unsigned function)
{
	return MADE_GO_TEXT + 0x100 * function + 0x10;
}

static inline void made_go_u32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void made_go_u64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* The function table, as lib/object/gopclntab.h describes it: names only, without lines. */
static inline void made_go_table(uint8_t *table, const struct made_go_function *functions, unsigned n)
{
	uint8_t *entries = table + MADE_GO_FUNCTIONS;
	uint32_t name = 1, f = (2 * n + 1) * 4;

	made_go_u32(table, 0xfffffff1);
	made_go_u32(table + 4, 0x08010000);
	made_go_u64(table + 8, n);
	made_go_u64(table + 24, 0x400000 + MADE_GO_TEXT);
	for (unsigned i = 0; i < 5; i++)
		made_go_u64(table + 32 + 8 * i, i ? MADE_GO_FUNCTIONS : MADE_GO_NAMES);
	for (unsigned i = 0; i < n; i++) {
		made_go_u32(entries + 8 * i, 0x100 * i);
		made_go_u32(entries + 8 * i + 4, f);
		made_go_u32(entries + f, 0x100 * i);
		made_go_u32(entries + f + 4, name);
		entries[f + 40] = functions[i].id;
		strcpy((char *)table + MADE_GO_NAMES + name, functions[i].name);
		name += strlen(functions[i].name) + 1;
		f += 44;
	}
	made_go_u32(entries + 8 * n, 0x100 * n);
	ck_assert_uint_lt(MADE_GO_NAMES + name, MADE_GO_FUNCTIONS);
}

/* The first function must be "_rt0_amd64_linux": the program begins there. Returns a descriptor. */
static inline int made_go(const struct made_go_function *functions, unsigned n)
{
	static const char names[] = "\0.shstrtab\0.gopclntab";
	uint8_t file[MADE_GO_SIZE] = {0};
	Elf64_Ehdr header = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC, .e_machine = EM_X86_64,
		.e_version = EV_CURRENT, .e_entry = 0x400000 + MADE_GO_TEXT, .e_phoff = 64, .e_shoff = 0x200, .e_ehsize = 64,
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2, .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 3, .e_shstrndx = 1,
	};
	Elf64_Phdr segments[2] = {
		{ PT_LOAD, PF_R | PF_X, MADE_GO_TEXT, 0x400000 + MADE_GO_TEXT, 0, 0x1000, 0x1000, 0x1000 },
		{ PT_LOAD, PF_R, MADE_GO_TABLE, 0x400000 + MADE_GO_TABLE, 0, 0x1000, 0x1000, 0x1000 },
	};
	Elf64_Shdr sections[3] = {
		{0},
		{ .sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = 0x300, .sh_size = sizeof(names) },
		{ .sh_name = 11, .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC, .sh_addr = 0x400000 + MADE_GO_TABLE,
		  .sh_offset = MADE_GO_TABLE, .sh_size = 0x1000 },
	};
	int fd = memfd_create("go", MFD_CLOEXEC);

	memcpy(file, &header, sizeof(header));
	memcpy(file + 64, segments, sizeof(segments));
	memcpy(file + 0x200, sections, sizeof(sections));
	memcpy(file + 0x300, names, sizeof(names));
	made_go_table(file + MADE_GO_TABLE, functions, n);
	ck_assert_int_eq(write(fd, file, sizeof(file)), sizeof(file));
	return fd;
}
