/* SPDX-License-Identifier: Apache-2.0 */
/* On files made by hand; real ones of ten kinds: tests/system/test_threads.py. */
#include "go_program.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "main.h"

enum { DATA = 0x1000, DATA_SIZE = 0x30000 };

/* A file with one segment, and the magic at that offset of it. */
static int made_file(uint32_t flags, uint64_t address, size_t magic_at)
{
	const Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB },
		.e_phoff = sizeof(header), .e_phnum = 1, .e_phentsize = sizeof(Elf64_Phdr),
	};
	const Elf64_Phdr segment = { .p_type = PT_LOAD, .p_flags = flags, .p_offset = DATA, .p_vaddr = address, .p_filesz = DATA_SIZE };
	int fd = memfd_create("made", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, DATA + DATA_SIZE), 0);
	ck_assert_int_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	ck_assert_int_eq(pwrite(fd, &segment, sizeof(segment), sizeof(header)), sizeof(segment));
	ck_assert_int_eq(pwrite(fd, "\xff Go buildinf:", 14, (off_t)(DATA + magic_at)), 14);
	return fd;
}

static bool is_go(uint32_t flags, uint64_t address, size_t magic_at)
{
	_cleanup_close_ int fd = made_file(flags, address, magic_at);

	return go_program_is(fd);
}

START_TEST(the_build_information_is_found_wherever_it_is_in_the_writable_data)
{
	ck_assert(is_go(PF_R | PF_W, 0x500000, 0));
	ck_assert(is_go(PF_R | PF_W, 0x500000, 0x20));
	ck_assert(is_go(PF_R | PF_W, 0x500000, 0x10000));
	ck_assert(is_go(PF_R | PF_W, 0x500000, DATA_SIZE - 16));
	ck_assert(is_go(PF_R | PF_W, 0x500008, 0x18)); /* aligned in memory */
}
END_TEST

START_TEST(what_only_looks_like_it_is_none)
{
	ck_assert(!is_go(PF_R | PF_W, 0x500000, 0x28));
	ck_assert(!is_go(PF_R | PF_X, 0x500000, 0x20));
	ck_assert(!is_go(PF_R | PF_W, 0x500000, DATA_SIZE)); /* behind it */
}
END_TEST

START_TEST(a_program_of_32_bits_is_another_question)
{
	const Elf32_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB },
		.e_phoff = sizeof(header), .e_phnum = 1, .e_phentsize = sizeof(Elf32_Phdr),
	};
	const Elf32_Phdr segment = { .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = DATA, .p_vaddr = 0x500000, .p_filesz = DATA_SIZE };
	_cleanup_close_ int fd = made_file(PF_R | PF_W, 0x500000, 0x20), of_64 = made_file(PF_R | PF_W, 0x500000, 0x20);

	ck_assert_int_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	ck_assert_int_eq(pwrite(fd, &segment, sizeof(segment), sizeof(header)), sizeof(segment));
	ck_assert(!go_program_is(fd));
	ck_assert(go_program_is_of_32_bits(fd));
	ck_assert(!go_program_is_of_32_bits(of_64));
	ck_assert_int_eq(pwrite(fd, "x", 1, DATA + 0x20), 1);
	ck_assert(!go_program_is_of_32_bits(fd));
	ck_assert(!go_program_is_of_32_bits(-1));
}
END_TEST

START_TEST(other_files_are_none)
{
	_cleanup_close_ int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), empty = memfd_create("empty", MFD_CLOEXEC);
	_cleanup_close_ int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert(!go_program_is(self));
	ck_assert(!go_program_is(empty));
	ck_assert(!go_program_is(folder));
	ck_assert(!go_program_is(-1));
}
END_TEST

UNIT_TESTS("go_program", the_build_information_is_found_wherever_it_is_in_the_writable_data, what_only_looks_like_it_is_none, a_program_of_32_bits_is_another_question,
		other_files_are_none)
