/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "elf_image.h"
#include "main.h"

/* A small executable: code at offset 0x100 mapped to 0x401100, data overlapping it in the file, three sections. */
struct file {
	Elf64_Ehdr header;
	Elf64_Phdr segments[2];
	uint8_t code[64];
	char names[32];
	Elf64_Shdr sections[3];
};

static struct file make(void)
{
	struct file f = {
		.header = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_DYN, .e_machine = EM_X86_64, .e_entry = 0x401000,
			.e_phoff = offsetof(struct file, segments), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
			.e_shoff = offsetof(struct file, sections), .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 3, .e_shstrndx = 1,
		},
		.segments = {
			{ .p_type = PT_LOAD, .p_flags = PF_R, .p_offset = 0, .p_vaddr = 0x400000, .p_filesz = sizeof(struct file), .p_memsz = sizeof(struct file) },
			{ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = offsetof(struct file, code), .p_vaddr = 0x401000, .p_filesz = 64, .p_memsz = 64 },
		},
		.names = "\0.shstrtab\0.text",
		.sections = {
			[1] = { .sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = offsetof(struct file, names), .sh_size = 32 },
			[2] = { .sh_name = 11, .sh_type = SHT_PROGBITS, .sh_addr = 0x401000, .sh_offset = offsetof(struct file, code), .sh_size = 64 },
		},
	};

	for (unsigned i = 0; i < sizeof(f.code); i++)
		f.code[i] = (uint8_t)i;
	return f;
}

START_TEST(offsets_become_addresses_and_back)
{
	struct file f = make();
	struct elf_image *image;
	uint64_t value, code = offsetof(struct file, code);

	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), 0);
	/* Both segments have it: the executable one counts. */
	ck_assert(elf_image_address_of_offset(image, code + 5, &value));
	ck_assert_uint_eq(value, 0x401005);
	ck_assert(elf_image_address_of_offset(image, 1, &value));
	ck_assert_uint_eq(value, 0x400001);
	ck_assert(!elf_image_address_of_offset(image, sizeof(f), &value));
	ck_assert(elf_image_offset_of_address(image, 0x40103f, &value));
	ck_assert_uint_eq(value, code + 63);
	ck_assert(!elf_image_offset_of_address(image, 0x401040, &value));
	elf_image_free(image);
}
END_TEST

START_TEST(sections_are_found_by_name)
{
	struct file f = make();
	struct elf_image *image;
	struct reader bytes;
	size_t n;

	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), 0);
	elf_image_sections(image, &n);
	ck_assert_uint_eq(n, 3);
	ck_assert_ptr_null(elf_image_section(image, ".data"));
	bytes = elf_image_section_bytes(image, elf_image_section(image, ".text"));
	ck_assert_uint_eq(bytes.size, 64);
	ck_assert_uint_eq(bytes.data[7], 7);
	bytes = elf_image_bytes_at(image, 0x401010, 4);
	ck_assert_uint_eq(bytes.data[0], 16);
	ck_assert_uint_eq(elf_image_bytes_at(image, 0x401010, SIZE_MAX).size, 48);
	ck_assert(!reader_ok(&(struct reader){ .failed = elf_image_bytes_at(image, 0x401010, 49).failed }));
	elf_image_free(image);
}
END_TEST

START_TEST(a_section_outside_of_the_file_has_no_bytes)
{
	struct file f = make();
	struct elf_image *image;
	struct reader bytes;

	f.sections[2].sh_offset = UINT64_MAX - 8;
	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), 0);
	bytes = elf_image_section_bytes(image, elf_image_section(image, ".text"));
	ck_assert(!reader_ok(&bytes));
	ck_assert(!elf_image_section_is_here(image, elf_image_section(image, ".text")));
	elf_image_free(image);
}
END_TEST

START_TEST(names_outside_of_their_table_are_empty)
{
	struct file f = make();
	struct elf_image *image;

	f.sections[2].sh_name = UINT32_MAX;
	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), 0);
	ck_assert_ptr_nonnull(elf_image_section(image, ""));
	ck_assert_ptr_null(elf_image_section(image, ".text"));
	elf_image_free(image);
	/* No end of string up to the end of the table. */
	memset(f.names, 'x', sizeof(f.names));
	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), 0);
	ck_assert_ptr_null(elf_image_section(image, ".shstrtab"));
	elf_image_free(image);
}
END_TEST

START_TEST(what_is_not_for_us_is_told_apart)
{
	struct elf_image *image;
	struct file f = make();

	ck_assert_int_eq(elf_image_open_memory("#!/bin/sh\n", 10, &image), ELF_IMAGE_E_NOT_ELF);
	ck_assert_int_eq(elf_image_open_memory("", 0, &image), ELF_IMAGE_E_NOT_ELF);
	ck_assert_int_eq(elf_image_open_memory(&f, 32, &image), ELF_IMAGE_E_CORRUPT);
	f.header.e_machine = EM_AARCH64;
	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), ELF_IMAGE_E_UNSUPPORTED);
	f = make();
	f.header.e_type = ET_CORE;
	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), ELF_IMAGE_E_UNSUPPORTED);
	f = make();
	f.header.e_phoff = sizeof(f) - 8;
	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), ELF_IMAGE_E_CORRUPT);
	f = make();
	f.header.e_phentsize = 1;
	ck_assert_int_eq(elf_image_open_memory(&f, sizeof(f), &image), ELF_IMAGE_E_CORRUPT);
}
END_TEST

START_TEST(a_file_without_section_headers_is_fine)
{
	struct file f = make();
	struct elf_image *image;
	uint64_t value;
	size_t n;

	/* Cut off, as sstrip does. */
	ck_assert_int_eq(elf_image_open_memory(&f, offsetof(struct file, sections), &image), 0);
	elf_image_sections(image, &n);
	ck_assert_uint_eq(n, 0);
	ck_assert(elf_image_address_of_offset(image, 3, &value));
	elf_image_free(image);
}
END_TEST

UNIT_TESTS("elf_image", offsets_become_addresses_and_back, sections_are_found_by_name, a_section_outside_of_the_file_has_no_bytes,
	   names_outside_of_their_table_are_empty, what_is_not_for_us_is_told_apart, a_file_without_section_headers_is_fine)
