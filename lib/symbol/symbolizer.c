/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "build_id.h"
#include "cleanup.h"
#include "elf_image.h"
#include "resolve.h"
#include "resolve_dwarf.h"
#include "resolve_elf.h"
#include "resolve_go.h"
#include "resolve_kernel.h"
#include "resolve_perfmap.h"
#include "symbolizer.h"

/* Of an ELF file: Go, DWARF, symbols. */
enum { MAX_RESOLVERS = 3 };

struct symbolizer {
	struct elf_image *image;             /* NULL: offsets are addresses */
	struct elf_image *debug;             /* its separate debug file */
	struct elf_image *supplement;
	bool prepared;
	struct resolver resolvers[MAX_RESOLVERS]; /* in the order they are asked */
	size_t n_resolvers;
	struct resolver data;                /* names variables; without ops: not opened yet, or there are none */
	bool data_prepared;
	struct resolver symbols;             /* the one of resolve_elf among them, which DWARF's asks, too; borrowed */
};

DEFINE_CLEANUP(struct symbolizer, symbolizer_free);
DEFINE_CLEANUP(struct elf_image, elf_image_free);
DEFINE_CLEANUP(struct names, names_free);

static void forget_resolvers(struct symbolizer *s)
{
	for (size_t i = 0; i < s->n_resolvers; i++)
		s->resolvers[i].ops->free(s->resolvers[i].state);
	s->n_resolvers = 0;
	if (s->data.ops)
		s->data.ops->free(s->data.state);
	s->data = (struct resolver){ 0 };
	s->data_prepared = false;
	s->symbols = (struct resolver){ 0 };
	s->prepared = false;
}

/* The vdso of this process, which is that of all others: the kernel's word for where it is, and its own for its size. */
static int open_vdso(struct elf_image **ret)
{
	const unsigned char *vdso = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
	Elf64_Ehdr header;

	if (!vdso)
		return -ENOENT;
	memcpy(&header, vdso, sizeof(header));
	return elf_image_open_memory(vdso, header.e_shoff + (size_t)header.e_shnum * header.e_shentsize, ret);
}

/* A source with one resolver and no image. With nothing in it, every offset is unknown. */
static int open_single(struct symbolizer *s, int r)
{
	if (r < 0)
		return r;
	s->n_resolvers = r == 0;
	s->prepared = true;
	return 0;
}

static int open_kind(struct symbolizer *s, enum symbolizer_kind kind, int fd)
{
	int r;

	switch (kind) {
	case SYMBOLIZER_ELF:
		r = elf_image_open(fd, &s->image);
		/* Object files are not mapped to run. */
		return r == 0 && elf_image_type(s->image) == ET_REL ? SYMBOLIZER_E_UNSUPPORTED : r;
	case SYMBOLIZER_VDSO:
		return open_vdso(&s->image);
	case SYMBOLIZER_KERNEL:
		r = open_single(s, resolve_kernel_open(fd, &s->resolvers[0]));
		return r == 0 && !s->n_resolvers ? SYMBOLIZER_E_HIDDEN : r;
	case SYMBOLIZER_PERF_MAP:
		return open_single(s, resolve_perfmap_open(fd, &s->resolvers[0]));
	}
	return -EINVAL;
}

int symbolizer_open(enum symbolizer_kind kind, int fd, struct symbolizer **ret)
{
	_cleanup_(symbolizer_free_p) struct symbolizer *s = calloc(1, sizeof(*s));
	int r;

	_Static_assert((int)SYMBOLIZER_E_NOT_ELF == (int)ELF_IMAGE_E_NOT_ELF && (int)SYMBOLIZER_E_UNSUPPORTED == (int)ELF_IMAGE_E_UNSUPPORTED &&
		       (int)SYMBOLIZER_E_CORRUPT == (int)ELF_IMAGE_E_CORRUPT, "passed on as they are");
	if (!s)
		return -ENOMEM;
	r = open_kind(s, kind, fd);
	if (r)
		return r;
	*ret = TAKE(s);
	return 0;
}

struct symbolizer *symbolizer_free(struct symbolizer *s)
{
	if (!s)
		return NULL;
	forget_resolvers(s);
	elf_image_free(s->image);
	elf_image_free(s->debug);
	elf_image_free(s->supplement);
	free(s);
	return NULL;
}

/* The image that has the DWARF, NULL: none. */
static const struct elf_image *dwarf_image(const struct symbolizer *s)
{
	if (s->image && resolve_dwarf_is_in(s->image))
		return s->image;
	return s->debug && resolve_dwarf_is_in(s->debug) ? s->debug : NULL;
}

static void copy_link(struct reader section, struct debug_file_wants *ret)
{
	const char *name = reader_string(&section);

	/* The checksum follows, aligned to 4. */
	if (!name || !*name || strlen(name) >= sizeof(ret->link))
		return;
	reader_seek(&section, (section.at + 3) & ~UINT64_C(3));
	ret->link_crc = reader_u32(&section);
	if (reader_ok(&section))
		memcpy(ret->link, name, strlen(name) + 1);
}

static void copy_supplement(struct reader section, struct debug_file_wants *ret)
{
	const char *name = reader_string(&section);
	size_t size = reader_left(&section);

	/* The rest is the build id. */
	if (!name || strlen(name) >= sizeof(ret->supplement_path) || !size || size > sizeof(ret->supplement_build_id.bytes))
		return;
	memcpy(ret->supplement_path, name, strlen(name) + 1);
	ret->supplement_build_id.size = (uint8_t)size;
	memcpy(ret->supplement_build_id.bytes, reader_bytes(&section, size), size);
	ret->supplement = true;
}

static bool section_of(const struct elf_image *image, const char *name, struct reader *ret)
{
	const struct elf_section *section = elf_image_section(image, name);

	if (!section)
		return false;
	*ret = elf_image_section_bytes(image, section);
	return reader_ok(ret);
}

void symbolizer_wants(const struct symbolizer *s, struct debug_file_wants *ret)
{
	const struct elf_image *dwarf = dwarf_image(s);
	struct reader section;

	memset(ret, 0, sizeof(*ret));
	if (!s->image)
		return;
	if (!dwarf && !s->debug) {
		ret->build_id = elf_image_build_id(s->image);
		if (section_of(s->image, ".gnu_debuglink", &section))
			copy_link(section, ret);
		ret->debug_file = ret->build_id.size || ret->link[0];
	}
	if (dwarf && !s->supplement && section_of(dwarf, ".gnu_debugaltlink", &section))
		copy_supplement(section, ret);
}

/* 0: it is the debug file that is wanted. */
static int agrees(const struct debug_file_wants *wants, const struct elf_image *candidate)
{
	struct build_id id = elf_image_build_id(candidate);
	struct reader bytes = elf_image_bytes(candidate);

	if (wants->build_id.size && id.size)
		return build_id_equal(&wants->build_id, &id) ? 0 : SYMBOLIZER_E_MISMATCH;
	/* The same CRC-32 (ISO 3309) as zlib's and xz's. */
	if (wants->link[0] && lzma_crc32(bytes.data, bytes.size, 0) == wants->link_crc)
		return 0;
	return SYMBOLIZER_E_MISMATCH;
}

int symbolizer_add_debug_file(struct symbolizer *s, int fd)
{
	_cleanup_(elf_image_free_p) struct elf_image *candidate = NULL;
	struct debug_file_wants wants;
	int r;

	symbolizer_wants(s, &wants);
	if (!wants.debug_file)
		return SYMBOLIZER_E_USELESS;
	r = elf_image_open(fd, &candidate);
	if (r)
		return r;
	r = agrees(&wants, candidate);
	if (r)
		return r;
	if (!resolve_dwarf_is_in(candidate) && !elf_image_section(candidate, ".symtab"))
		return SYMBOLIZER_E_USELESS;
	forget_resolvers(s);
	s->debug = TAKE(candidate);
	return 0;
}

int symbolizer_add_supplement(struct symbolizer *s, int fd)
{
	_cleanup_(elf_image_free_p) struct elf_image *candidate = NULL;
	struct debug_file_wants wants;
	struct build_id id;
	int r;

	symbolizer_wants(s, &wants);
	if (!wants.supplement)
		return SYMBOLIZER_E_USELESS;
	r = elf_image_open(fd, &candidate);
	if (r)
		return r;
	id = elf_image_build_id(candidate);
	if (!build_id_equal(&id, &wants.supplement_build_id))
		return SYMBOLIZER_E_MISMATCH;
	forget_resolvers(s);
	s->supplement = TAKE(candidate);
	return 0;
}

const struct elf_image *symbolizer_image(const struct symbolizer *s)
{
	return s->image;
}

const struct elf_image *symbolizer_debug_image(const struct symbolizer *s)
{
	return s->debug;
}

/* Takes what a resolver's open returned; what has nothing for it (RESOLVE_E_NONE) is left out. */
static int add_resolver(struct symbolizer *s, int r)
{
	if (r == 0)
		s->n_resolvers++;
	return r < 0 ? r : 0;
}

static int open_resolvers(struct symbolizer *s)
{
	const struct elf_image *dwarf = dwarf_image(s);
	struct resolver symbols;
	int r;

	r = add_resolver(s, resolve_go_open(s->image, &s->resolvers[s->n_resolvers]));
	if (r < 0)
		return r;
	r = resolve_elf_open(s->image, s->debug, &symbols);
	if (r < 0)
		return r;
	if (r == 0)
		s->symbols = symbols;
	r = 0;
	if (dwarf)
		r = add_resolver(s, resolve_dwarf_open(dwarf, s->supplement, s->symbols.ops ? &s->symbols : NULL,
				&s->resolvers[s->n_resolvers]));
	if (s->symbols.ops)
		s->resolvers[s->n_resolvers++] = s->symbols;
	return r;
}

static int prepare(struct symbolizer *s)
{
	int r;

	if (s->prepared)
		return 0;
	r = open_resolvers(s);
	if (r < 0) {
		forget_resolvers(s);
		return r;
	}
	s->prepared = true;
	return 0;
}

/* Asks the resolvers from `first` on; how many frames there are in the answer, or -errno. *ret_next: behind who answered. */
static int ask(struct symbolizer *s, size_t first, uint64_t address, struct names *names, size_t *ret_next, unsigned *ret_tells)
{
	size_t before = names->frames.n;

	for (size_t i = first; i < s->n_resolvers; i++) {
		int r = s->resolvers[i].ops->resolve(s->resolvers[i].state, address, names);

		if (r < 0) {
			names->frames.n = before;
			return r;
		}
		if (r == 0 && names->frames.n > before) {
			*ret_next = i + 1;
			*ret_tells |= s->resolvers[i].ops->tells;
			return (int)(names->frames.n - before);
		}
	}
	return 0;
}

/* The outermost frame has lines, but no name: takes that of the next resolver who knows one, else is dropped. */
static int complete_last(struct symbolizer *s, size_t next, uint64_t address, struct names *names, unsigned *tells)
{
	size_t last = names->frames.n - 1;
	int n = ask(s, next, address, names, &next, tells);

	if (n < 0)
		return n;
	if (n == 0) {
		names->frames.n = last;
		return 0;
	}
	names->frames.at[last].name = names->frames.at[names->frames.n - 1].name;
	names->frames.at[last].system_name = names->frames.at[names->frames.n - 1].system_name;
	names->frames.n = last + 1;
	return 0;
}

static int resolve_one(struct symbolizer *s, uint64_t offset, struct names *names)
{
	struct names_location location = { .offset = offset, .address = offset, .first_frame = (uint32_t)names->frames.n };
	unsigned tells = 0;
	size_t next = 0;
	int r = 0;

	names->place_flags = 0;
	if (!s->image || elf_image_address_of_offset(s->image, offset, &location.address))
		r = ask(s, 0, location.address, names, &next, &tells);
	if (r > 0 && !names->frames.at[names->frames.n - 1].name)
		r = complete_last(s, next, location.address, names, &tells);
	if (r < 0)
		return r;
	location.n_frames = (uint32_t)names->frames.n - location.first_frame;
	location.flags = location.n_frames ? names->place_flags : 0;
	if (location.n_frames) {
		names->has_functions |= tells & RESOLVE_TELLS_FUNCTIONS;
		names->has_filenames |= (tells & RESOLVE_TELLS_FILENAMES) != 0;
		names->has_line_numbers |= (tells & RESOLVE_TELLS_LINE_NUMBERS) != 0;
		names->has_inline_frames |= (tells & RESOLVE_TELLS_INLINE_FRAMES) != 0;
	}
	return vec_push(&names->locations, location);
}

static int prepare_data(struct symbolizer *s)
{
	int r;

	if (s->data_prepared)
		return 0;
	r = resolve_elf_open_data(s->image, s->debug, &s->data);
	if (r >= 0)
		s->data_prepared = true;
	return r < 0 ? r : 0;
}

static int resolve_data(struct symbolizer *s, uint64_t offset, struct names *names)
{
	struct names_location location = { .offset = offset, .address = offset, .first_frame = (uint32_t)names->frames.n };
	uint64_t address = offset & ~SYMBOLIZER_DATA;
	int r;

	r = prepare_data(s);
	if (r < 0)
		return r;
	if (s->data.ops && resolve_elf_variable(&s->data, address, &location.address)) {
		r = s->data.ops->resolve(s->data.state, address, names);
		if (r < 0)
			return r;
	}
	location.n_frames = (uint32_t)names->frames.n - location.first_frame;
	return vec_push(&names->locations, location);
}

static int add_segments(const struct elf_image *image, struct names *names)
{
	size_t n;
	const struct elf_segment *segments = elf_image_segments(image, &n);

	for (size_t i = 0; i < n; i++) {
		struct names_segment segment = {
			.file_offset = segments[i].offset, .size = segments[i].file_size, .address = segments[i].address,
		};

		if (segments[i].type == PT_LOAD && (segments[i].flags & PF_X) && vec_push(&names->segments, segment) < 0)
			return -ENOMEM;
	}
	names->build_id = elf_image_build_id(image);
	return 0;
}

int symbolizer_resolve(struct symbolizer *s, const uint64_t *offsets, size_t n, struct names **ret)
{
	_cleanup_(names_free_p) struct names *names = names_new();
	int r;

	if (!names)
		return -ENOMEM;
	r = s->image ? add_segments(s->image, names) : 0;
	if (r < 0)
		return r;
	r = prepare(s);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (s->image && offsets[i] & SYMBOLIZER_DATA)
			r = resolve_data(s, offsets[i], names);
		else
			r = resolve_one(s, offsets[i], names);
		if (r < 0)
			return r;
	}
	*ret = TAKE(names);
	return 0;
}
