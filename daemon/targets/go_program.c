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

static bool has_magic(int fd, const Elf64_Phdr *segment, char *bytes)
{
	uint64_t size = MIN(segment->p_filesz, (uint64_t)MAX_DATA_BYTES);
	/* Aligned in memory, as in the file to the page. */
	uint64_t skip = -segment->p_vaddr % ALIGNMENT;

	for (uint64_t at = skip; at < size; at += CHUNK) {
		ssize_t n = pread(fd, bytes, MIN(size - at, (uint64_t)CHUNK), (off_t)(segment->p_offset + at));

		for (ssize_t i = 0; i + (ssize_t)sizeof(magic) - 1 <= n; i += ALIGNMENT)
			if (!memcmp(bytes + i, magic, sizeof(magic) - 1))
				return true;
		if (n < CHUNK)
			return false;
	}
	return false;
}

bool go_program_is(int fd)
{
	_cleanup_free_ char *bytes = malloc(CHUNK);
	Elf64_Ehdr header;

	if (!bytes || pread(fd, &header, sizeof(header), 0) != sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
		return false;
	for (unsigned int i = 0; i < MIN(header.e_phnum, MAX_SEGMENTS); i++) {
		Elf64_Phdr segment;

		if (pread(fd, &segment, sizeof(segment), (off_t)(header.e_phoff + i * sizeof(segment))) != sizeof(segment))
			return false;
		if (segment.p_type == PT_LOAD && segment.p_flags & PF_W && segment.p_offset <= INT64_MAX / 2 && has_magic(fd, &segment, bytes))
			return true;
	}
	return false;
}
