/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An executable, shared library or debug file opened once: its segments, sections and build id, and their bytes.
 * Foreign input: every access goes through bounds; whatever does not lie inside the file is as if it were not there.
 *
 * x86-64, 64 bit, little-endian. A file that shrinks while it is mapped raises SIGBUS: this is for the confined process.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "location.h"
#include "reader.h"

struct elf_image;

enum {
	ELF_IMAGE_E_NOT_ELF = 1,             /* no ELF magic: a script, an archive, an empty file */
	ELF_IMAGE_E_UNSUPPORTED = 2,         /* another processor, 32 bit, a core file */
	ELF_IMAGE_E_CORRUPT = 3,             /* the headers contradict the file */
};

struct elf_section {
	const char *name;                    /* "" when its name lies outside of the string table */
	uint32_t type;                       /* SHT_* */
	uint32_t link, info;
	uint64_t flags;                      /* SHF_* */
	uint64_t address;                    /* 0: not loaded */
	uint64_t offset, size;
	uint64_t entry_size;
};

struct elf_segment {
	uint32_t type;                       /* PT_* */
	uint32_t flags;                      /* PF_* */
	uint64_t offset, file_size;
	uint64_t address, memory_size;
	uint64_t align;
};

/*
 * Opens a regular file (the descriptor is borrowed and may be closed afterwards: the file is mapped privately), or bytes
 * that the caller keeps until elf_image_free(). 0, ELF_IMAGE_E_*, or -errno (-EINVAL: not a regular file; -EFBIG).
 */
int elf_image_open(int fd, struct elf_image **ret);
int elf_image_open_memory(const void *data, size_t size, struct elf_image **ret);
struct elf_image *elf_image_free(struct elf_image *image);

/* The whole file. */
struct reader elf_image_bytes(const struct elf_image *image);
/* ET_EXEC or ET_DYN; ET_REL for object files and dwz supplements. */
uint16_t elf_image_type(const struct elf_image *image);
uint64_t elf_image_entry(const struct elf_image *image);

/* All segments and sections in the order of the file; section 0 (SHT_NULL) is among them. Live as long as the image. */
const struct elf_segment *elf_image_segments(const struct elf_image *image, size_t *ret_n);
const struct elf_section *elf_image_sections(const struct elf_image *image, size_t *ret_n);

/* The first section of that name, or NULL. */
const struct elf_section *elf_image_section(const struct elf_image *image, const char *name);
/* Its bytes as they lie in the file; a failed reader when it has none (SHT_NOBITS), they are compressed, or outside of the file. */
struct reader elf_image_section_bytes(const struct elf_image *image, const struct elf_section *section);
/* Whether it has bytes, compressed or not (in a debug file, .text has none). */
bool elf_image_section_is_here(const struct elf_image *image, const struct elf_section *section);

/* From a file offset to the address of the file's own speech (p_vaddr) and back, by PT_LOAD; false when no segment has it. An offset in two segments is the executable one's. */
bool elf_image_address_of_offset(const struct elf_image *image, uint64_t offset, uint64_t *ret);
bool elf_image_offset_of_address(const struct elf_image *image, uint64_t address, uint64_t *ret);
/* `size` bytes at an address; failed when they are not in one segment's part of the file. SIZE_MAX: up to the end of that part. */
struct reader elf_image_bytes_at(const struct elf_image *image, uint64_t address, size_t size);

/* Size 0 when there is none. */
struct build_id elf_image_build_id(const struct elf_image *image);

/* Limits, with reasons. */
#define ELF_IMAGE_MAX_SIZE (UINT64_C(4) << 30)      /* the largest debug files (browsers) have 3 GiB; the process has a memory limit too */
#define ELF_IMAGE_MAX_SECTIONS 65536U               /* -ffunction-sections is linked away; kernels have some hundred */
#define ELF_IMAGE_MAX_SEGMENTS 4096U                /* real files have a dozen */
