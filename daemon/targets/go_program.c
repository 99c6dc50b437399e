/* SPDX-License-Identifier: Apache-2.0 */
#include "go_program.h"

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

/* Of a file that anybody may have made. 1.3 MB is what the data of kubelet has. */
enum { MAX_SEGMENTS = 64, MAX_DATA_BYTES = 8 << 20, CHUNK = 64 << 10, ALIGNMENT = 16 };

static const char magic[] = "\xff Go buildinf:";

/* What we need of a segment, of either class. */
struct segment {
	uint64_t offset, address, file_size;
	uint32_t type, flags;
};

static bool has_magic(int fd, const struct segment *segment, char *bytes)
{
	uint64_t size = MIN(segment->file_size, (uint64_t)MAX_DATA_BYTES);
	/* Aligned in memory, as in the file to the page. */
	uint64_t skip = -segment->address % ALIGNMENT;

	for (uint64_t at = skip; at < size; at += CHUNK) {
		ssize_t n = pread(fd, bytes, MIN(size - at, (uint64_t)CHUNK), (off_t)(segment->offset + at));

		for (ssize_t i = 0; i + (ssize_t)sizeof(magic) - 1 <= n; i += ALIGNMENT)
			if (!memcmp(bytes + i, magic, sizeof(magic) - 1))
				return true;
		if (n < CHUNK)
			return false;
	}
	return false;
}

static bool read_segment(int fd, uint64_t at, bool is_32, struct segment *ret)
{
	union {
		Elf64_Phdr is_64;
		Elf32_Phdr is_32;
	} h;
	ssize_t size = is_32 ? sizeof(h.is_32) : sizeof(h.is_64);

	if (at > INT64_MAX || pread(fd, &h, (size_t)size, (off_t)at) != size)
		return false;
	if (is_32)
		*ret = (struct segment){ h.is_32.p_offset, h.is_32.p_vaddr, h.is_32.p_filesz, h.is_32.p_type, h.is_32.p_flags };
	else
		*ret = (struct segment){ h.is_64.p_offset, h.is_64.p_vaddr, h.is_64.p_filesz, h.is_64.p_type, h.is_64.p_flags };
	return true;
}

static bool is_go(int fd, uint64_t headers, unsigned int n, bool is_32)
{
	_cleanup_free_ char *bytes = malloc(CHUNK);

	for (unsigned int i = 0; bytes && i < MIN(n, (unsigned int)MAX_SEGMENTS); i++) {
		struct segment segment;

		if (!read_segment(fd, headers + i * (is_32 ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr)), is_32, &segment))
			return false;
		if (segment.type == PT_LOAD && segment.flags & PF_W && segment.offset <= INT64_MAX / 2 && has_magic(fd, &segment, bytes))
			return true;
	}
	return false;
}

bool go_program_is(int fd)
{
	Elf64_Ehdr header;

	return pread(fd, &header, sizeof(header), 0) == sizeof(header) && !memcmp(header.e_ident, ELFMAG, SELFMAG) &&
	       header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_phentsize == sizeof(Elf64_Phdr) && is_go(fd, header.e_phoff, header.e_phnum, false);
}

bool go_program_is_of_32_bits(int fd)
{
	Elf32_Ehdr header;

	return pread(fd, &header, sizeof(header), 0) == sizeof(header) && !memcmp(header.e_ident, ELFMAG, SELFMAG) &&
	       header.e_ident[EI_CLASS] == ELFCLASS32 && header.e_phentsize == sizeof(Elf32_Phdr) && is_go(fd, header.e_phoff, header.e_phnum, true);
}
