/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where the functions of the running test program are in its file: a program whose names are known to a test. */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <sys/auxv.h>

static inline int own_first_bias(struct dl_phdr_info *info, size_t size, void *ret)
{
	*(uint64_t *)ret = info->dlpi_addr;
	return 1;                            /* the program is the first */
}

/* As the file speaks of it: p_vaddr. */
static inline uint64_t own_address(void (*function)(void))
{
	uint64_t bias;

	dl_iterate_phdr(own_first_bias, &bias);
	return (uint64_t)(uintptr_t)function - bias;
}

static inline uint64_t own_offset(void (*function)(void))
{
	uint64_t address = own_address(function), offset = 0;
	const Elf64_Phdr *headers = (const Elf64_Phdr *)(uintptr_t)getauxval(AT_PHDR);

	for (uint64_t i = 0; i < getauxval(AT_PHNUM); i++)
		if (headers[i].p_type == PT_LOAD && address >= headers[i].p_vaddr &&
		    address < headers[i].p_vaddr + headers[i].p_filesz)
			offset = address - headers[i].p_vaddr + headers[i].p_offset;
	return offset;
}

static inline int own_open(void)
{
	return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
}
