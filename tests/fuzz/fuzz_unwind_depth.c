/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine code whose depth is to be found: in a whole program, or in one made of the bytes: number of symbols, where each of
 * them is, number of gaps, how long each is, then the code.
 */
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "elf_image.h"
#include "reader.h"
#include "unwind_depth.h"

#define ADDRESS UINT64_C(0x400000)

enum { MAX_SYMBOLS = 16, MAX_GAPS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct asked {
	const struct unwind_depth_gap *gaps;
	size_t n_gaps;
	uint64_t last;
};

static int add(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct asked *asked = userdata;
	bool is_in_gap = false;

	for (size_t i = 0; i < asked->n_gaps; i++)
		is_in_gap |= start >= asked->gaps[i].start && end <= asked->gaps[i].end;
	if (!is_in_gap || start < asked->last || end <= start || rule->reg >= UNWIND_N_REGISTERS)
		abort();
	if (rule->cfa != UNWIND_CFA_UNKNOWN && rule->cfa != UNWIND_CFA_REGISTER && rule->cfa != UNWIND_CFA_DEREFERENCE)
		abort();
	/* The walk only goes up. */
	if (rule->cfa == UNWIND_CFA_REGISTER && rule->reg == UNWIND_REGISTER_SP && rule->offset < 8)
		abort();
	asked->last = end;
	return 0;
}

static void ask(const void *bytes, size_t size, const struct unwind_depth_gap *gaps, size_t n_gaps)
{
	struct asked asked = { gaps, n_gaps, 0 };
	struct elf_image *image;

	if (elf_image_open_memory(bytes, size, &image))
		return;
	unwind_depth_rows(image, image, gaps, n_gaps, add, &asked);
	elf_image_free(image);
}

static void ask_made(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(data, size);
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segment;
		Elf64_Shdr sections[2];
		Elf64_Sym symbols[MAX_SYMBOLS];
	} front = {
		.header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_DYN,
			.e_machine = EM_X86_64, .e_phoff = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
			.e_shoff = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr), .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 2 },
	};
	size_t n_symbols = reader_u8(&r) % (MAX_SYMBOLS + 1), n_gaps, n_code;
	struct unwind_depth_gap gaps[MAX_GAPS];
	uint32_t at = sizeof(front);
	_cleanup_free_ uint8_t *file = NULL;

	for (size_t i = 0; i < n_symbols; i++)
		front.symbols[i] = (Elf64_Sym){ .st_info = STT_FUNC, .st_shndx = 1, .st_value = ADDRESS + sizeof(front) + reader_u16(&r) };
	n_gaps = reader_u8(&r) % (MAX_GAPS + 1);
	for (size_t i = 0; i < n_gaps; i++) {
		gaps[i].start = at + reader_u8(&r);
		at = gaps[i].end = gaps[i].start + reader_u16(&r);
	}
	n_code = reader_left(&r);
	file = malloc(sizeof(front) + n_code);
	if (!n_code || !file)
		return;
	front.sections[1] = (Elf64_Shdr){ .sh_type = SHT_SYMTAB, .sh_offset = offsetof(__typeof__(front), symbols),
		.sh_size = n_symbols * sizeof(Elf64_Sym), .sh_entsize = sizeof(Elf64_Sym) };
	front.segment = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = ADDRESS, .p_filesz = sizeof(front) + n_code,
		.p_memsz = sizeof(front) + n_code };
	memcpy(file, &front, sizeof(front));
	memcpy(file + sizeof(front), reader_bytes(&r, n_code), n_code);
	ask(file, sizeof(front) + n_code, gaps, n_gaps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct unwind_depth_gap all = { 0, (uint32_t)MIN(size, (size_t)UINT32_MAX) };

	ask(data, size, &all, 1);
	ask_made(data, size);
	return 0;
}
