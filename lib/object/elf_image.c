/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build_id.h"
#include "cleanup.h"
#include "elf_image.h"

struct elf_image {
	struct reader bytes;
	void *mapping;                       /* NULL when the bytes are the caller's */
	uint16_t type;
	uint64_t entry;
	struct elf_segment *segments;
	size_t n_segments;
	struct elf_section *sections;
	size_t n_sections;
	struct build_id build_id;
};

DEFINE_CLEANUP(struct elf_image, elf_image_free);

static int read_header(struct reader *file, Elf64_Ehdr *ret)
{
	const void *bytes = reader_bytes(file, sizeof(*ret));

	if (file->size < SELFMAG || memcmp(file->data, ELFMAG, SELFMAG))
		return ELF_IMAGE_E_NOT_ELF;
	if (!bytes)
		return ELF_IMAGE_E_CORRUPT;
	memcpy(ret, bytes, sizeof(*ret));
	if (ret->e_ident[EI_CLASS] != ELFCLASS64 || ret->e_ident[EI_DATA] != ELFDATA2LSB || ret->e_machine != EM_X86_64 ||
	    (ret->e_type != ET_EXEC && ret->e_type != ET_DYN && ret->e_type != ET_REL))
		return ELF_IMAGE_E_UNSUPPORTED;
	if ((ret->e_phnum && ret->e_phentsize != sizeof(Elf64_Phdr)) || (ret->e_shoff && ret->e_shentsize != sizeof(Elf64_Shdr)))
		return ELF_IMAGE_E_CORRUPT;
	return 0;
}

static int read_segments(struct elf_image *image, const Elf64_Ehdr *header)
{
	struct reader table = reader_part(&image->bytes, header->e_phoff, (uint64_t)header->e_phnum * sizeof(Elf64_Phdr));

	if (!header->e_phnum)
		return 0;
	/* PN_XNUM (the count is in section 0) is for core files. */
	if (header->e_phnum > ELF_IMAGE_MAX_SEGMENTS || !reader_ok(&table))
		return ELF_IMAGE_E_CORRUPT;
	image->segments = calloc(header->e_phnum, sizeof(*image->segments));
	if (!image->segments)
		return -ENOMEM;
	for (; image->n_segments < header->e_phnum; image->n_segments++) {
		Elf64_Phdr p;

		memcpy(&p, reader_bytes(&table, sizeof(p)), sizeof(p));
		image->segments[image->n_segments] = (struct elf_segment){
			.type = p.p_type, .flags = p.p_flags, .offset = p.p_offset, .file_size = p.p_filesz,
			.address = p.p_vaddr, .memory_size = p.p_memsz, .align = p.p_align,
		};
	}
	return 0;
}

/* Many sections: the count and the index of the names are in section 0. */
static void extended_numbers(const struct elf_image *image, const Elf64_Ehdr *header, uint64_t *n, uint32_t *names)
{
	struct reader first = reader_part(&image->bytes, header->e_shoff, sizeof(Elf64_Shdr));
	Elf64_Shdr s;

	*n = header->e_shnum;
	*names = header->e_shstrndx;
	if (!reader_ok(&first))
		return;
	memcpy(&s, first.data, sizeof(s));
	if (*n == 0)
		*n = s.sh_size;
	if (*names == SHN_XINDEX)
		*names = s.sh_link;
}

static void name_sections(struct elf_image *image, uint32_t names)
{
	struct reader strings = { .failed = true };

	if (names < image->n_sections)
		strings = elf_image_section_bytes(image, &image->sections[names]);
	for (size_t i = 0; i < image->n_sections; i++) {
		struct reader string = strings;
		const char *name;

		/* Still the offset that read_sections() put there. */
		reader_seek(&string, (uint64_t)(uintptr_t)image->sections[i].name);
		name = reader_string(&string);
		image->sections[i].name = name ? name : "";
	}
}

static int read_sections(struct elf_image *image, const Elf64_Ehdr *header)
{
	uint32_t names;
	uint64_t n;
	struct reader table;

	/* No sections (sstrip, some packers) is odd, but such a file still runs. */
	if (!header->e_shoff)
		return 0;
	extended_numbers(image, header, &n, &names);
	if (n > ELF_IMAGE_MAX_SECTIONS)
		return ELF_IMAGE_E_CORRUPT;
	table = reader_part(&image->bytes, header->e_shoff, n * sizeof(Elf64_Shdr));
	/* A table beyond the end: a file cut short, or one whose section headers were cut off. Segments are enough to run. */
	if (!n || !reader_ok(&table))
		return 0;
	image->sections = calloc(n, sizeof(*image->sections));
	if (!image->sections)
		return -ENOMEM;
	for (; image->n_sections < n; image->n_sections++) {
		Elf64_Shdr s;

		memcpy(&s, reader_bytes(&table, sizeof(s)), sizeof(s));
		image->sections[image->n_sections] = (struct elf_section){
			.name = (const char *)(uintptr_t)s.sh_name, /* an offset until name_sections() */
			.type = s.sh_type, .link = s.sh_link, .info = s.sh_info, .flags = s.sh_flags, .address = s.sh_addr,
			.offset = s.sh_offset, .size = s.sh_size, .entry_size = s.sh_entsize,
		};
	}
	name_sections(image, names);
	return 0;
}

static void find_build_id(struct elf_image *image)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		const struct elf_segment *s = &image->segments[i];
		struct reader notes = reader_part(&image->bytes, s->offset, s->file_size);

		if (s->type == PT_NOTE && reader_ok(&notes) && build_id_from_notes(notes, s->align, &image->build_id))
			return;
	}
	/* Debug files: their PT_NOTE may point to where the executable has its notes. Supplements of dwz have no segments. */
	for (size_t i = 0; i < image->n_sections; i++) {
		struct reader notes = elf_image_section_bytes(image, &image->sections[i]);

		if (image->sections[i].type == SHT_NOTE && reader_ok(&notes) && build_id_from_notes(notes, 4, &image->build_id))
			return;
	}
}

static int parse(struct elf_image *image)
{
	struct reader file = image->bytes;
	Elf64_Ehdr header;
	int r;

	r = read_header(&file, &header);
	if (r)
		return r;
	image->type = header.e_type;
	image->entry = header.e_entry;
	r = read_segments(image, &header);
	if (r)
		return r;
	r = read_sections(image, &header);
	if (r)
		return r;
	find_build_id(image);
	return 0;
}

/* libelf, when it unpacks a compressed section, notes so in the section headers where they lie: give it private copies of those. */
static int allow_unpacking(struct elf_image *image)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)image->mapping, end;
	bool packed = false;
	Elf64_Ehdr header;

	for (size_t i = 0; i < image->n_sections && !packed; i++)
		packed = (image->sections[i].flags & SHF_COMPRESSED) || !strncmp(image->sections[i].name, ".zdebug", 7);
	if (!packed)
		return 0;
	memcpy(&header, image->mapping, sizeof(header));
	end = start + header.e_shoff + image->n_sections * sizeof(Elf64_Shdr);
	start = (start + header.e_shoff) & ~(page - 1);
	return mprotect((void *)start, end - start, PROT_READ | PROT_WRITE) < 0 ? -errno : 0;
}

int elf_image_open_memory(const void *data, size_t size, struct elf_image **ret)
{
	_cleanup_(elf_image_free_p) struct elf_image *image = calloc(1, sizeof(*image));
	int r;

	if (!image)
		return -ENOMEM;
	image->bytes = reader_of(data, size);
	r = parse(image);
	if (r)
		return r;
	*ret = TAKE(image);
	return 0;
}

int elf_image_open(int fd, struct elf_image **ret)
{
	_cleanup_(elf_image_free_p) struct elf_image *image = NULL;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < SELFMAG)
		return ELF_IMAGE_E_NOT_ELF;
	if ((uint64_t)st.st_size > ELF_IMAGE_MAX_SIZE)
		return -EFBIG;
	image = calloc(1, sizeof(*image));
	if (!image)
		return -ENOMEM;
	image->mapping = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (image->mapping == MAP_FAILED) {
		image->mapping = NULL;
		return -errno;
	}
	image->bytes = reader_of(image->mapping, (size_t)st.st_size);
	r = parse(image);
	if (r)
		return r;
	r = allow_unpacking(image);
	if (r < 0)
		return r;
	*ret = TAKE(image);
	return 0;
}

struct elf_image *elf_image_free(struct elf_image *image)
{
	if (!image)
		return NULL;
	if (image->mapping)
		munmap(image->mapping, image->bytes.size);
	free(image->segments);
	free(image->sections);
	free(image);
	return NULL;
}

struct reader elf_image_bytes(const struct elf_image *image)
{
	return image->bytes;
}

uint16_t elf_image_type(const struct elf_image *image)
{
	return image->type;
}

uint64_t elf_image_entry(const struct elf_image *image)
{
	return image->entry;
}

const struct elf_segment *elf_image_segments(const struct elf_image *image, size_t *ret_n)
{
	*ret_n = image->n_segments;
	return image->segments;
}

const struct elf_section *elf_image_sections(const struct elf_image *image, size_t *ret_n)
{
	*ret_n = image->n_sections;
	return image->sections;
}

const struct elf_section *elf_image_section(const struct elf_image *image, const char *name)
{
	for (size_t i = 0; i < image->n_sections; i++)
		if (!strcmp(image->sections[i].name, name))
			return &image->sections[i];
	return NULL;
}

struct reader elf_image_section_bytes(const struct elf_image *image, const struct elf_section *section)
{
	if (section->type == SHT_NOBITS || section->type == SHT_NULL || (section->flags & SHF_COMPRESSED))
		return (struct reader){ .failed = true };
	return reader_part(&image->bytes, section->offset, section->size);
}

bool elf_image_section_is_here(const struct elf_image *image, const struct elf_section *section)
{
	struct reader part = reader_part(&image->bytes, section->offset, section->size);

	return section->type != SHT_NOBITS && section->type != SHT_NULL && section->size > 0 && reader_ok(&part);
}

bool elf_image_address_of_offset(const struct elf_image *image, uint64_t offset, uint64_t *ret)
{
	bool found = false;

	for (size_t i = 0; i < image->n_segments; i++) {
		const struct elf_segment *s = &image->segments[i];

		if (s->type != PT_LOAD || offset < s->offset || offset - s->offset >= s->file_size)
			continue;
		if (!found || (s->flags & PF_X))
			*ret = s->address + (offset - s->offset);
		if (s->flags & PF_X)
			return true;
		found = true;
	}
	return found;
}

bool elf_image_offset_of_address(const struct elf_image *image, uint64_t address, uint64_t *ret)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		const struct elf_segment *s = &image->segments[i];

		if (s->type == PT_LOAD && address >= s->address && address - s->address < s->file_size) {
			*ret = s->offset + (address - s->address);
			return true;
		}
	}
	return false;
}

struct reader elf_image_bytes_at(const struct elf_image *image, uint64_t address, size_t size)
{
	for (size_t i = 0; i < image->n_segments; i++) {
		const struct elf_segment *s = &image->segments[i];
		uint64_t left;

		if (s->type != PT_LOAD || address < s->address || address - s->address >= s->file_size)
			continue;
		left = s->file_size - (address - s->address);
		if (size == SIZE_MAX)
			size = left;
		if (size > left)
			break;
		return reader_part(&image->bytes, s->offset + (address - s->address), size);
	}
	return (struct reader){ .failed = true };
}

struct build_id elf_image_build_id(const struct elf_image *image)
{
	return image->build_id;
}
