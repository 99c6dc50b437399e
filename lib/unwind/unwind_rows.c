/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each source speaks of ranges of the file. They are laid one under the other, sorted and without overlaps: where two
 * speak of the same code the earlier stays. What is left between them is looked at instruction by instruction, and what
 * still is left gets the rule of frame pointers. Everything is linear but for sorting, which is not needed when a source is
 * sorted already, as linkers nearly leave it.
 */
#include <elf.h>
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <zlib.h>

#include "cleanup.h"
#include "hash.h"
#include "unwind_cfi.h"
#include "unwind_code.h"
#include "unwind_depth.h"
#include "unwind_go.h"
#include "unwind_rows.h"

/* File offsets [start, end). */
struct range {
	uint32_t start, end;
	uint32_t rule;                       /* index into the builder's */
};

struct ranges {
	VEC(struct range) v;
};

enum {
	/* Of one source. A hostile file stops here; librustc_driver, the largest known, has 1.1 M. */
	MAX_RANGES = UNWIND_ROWS_MAX,
	/* Different ones while they are collected: 16 times what is kept in the end. */
	MAX_COLLECTED_RULES = 16 * UNWIND_MAX_RULES,
	N_SLOTS = 4 * MAX_COLLECTED_RULES,
	SORT_SMALL = 1024,
	/* Functions are aligned to it: a gap shorter than that up to such an offset is no code. */
	FUNCTION_ALIGN = 16,
};

/* Bytes of code without description that are looked through for stubs: in a C library they are few. */
#define MAX_LOOKED_THROUGH (UINT64_C(64) << 20)

/* Of .debug_frame unpacked: libLLVM's has 15 MiB; packed 3:1. */
#define MAX_INFLATED (UINT64_C(256) << 20)
#define MAX_INFLATE_RATIO 64U

enum { RULE_UNKNOWN, RULE_FRAME_POINTER, N_FIXED_RULES };

struct builder {
	const struct elf_image *image;
	struct unwind_rows_stats *stats;
	VEC(struct range) code;              /* executable segments, sorted, disjoint; rule is not used */
	const struct elf_segment *segment;   /* the last that an address was in */
	struct ranges taken;                 /* sorted, disjoint: the sources so far */
	struct ranges source;                /* the one being read, as it comes */
	VEC(struct unwind_rule) rules;
	uint32_t *slots;                     /* hash table of them: index + 1 */
	uint32_t last_rule;                  /* neighbours often have the same */
	uint64_t n_unlooked;                 /* bytes that may still be looked through for stubs */
};

static void builder_deinit(struct builder *b)
{
	vec_deinit(&b->code);
	vec_deinit(&b->taken.v);
	vec_deinit(&b->source.v);
	vec_deinit(&b->rules);
	free(b->slots);
}

void unwind_rows_deinit(struct unwind_rows *rows)
{
	vec_deinit(&rows->rows);
	vec_deinit(&rows->rules);
}

static int compare_ranges(const void *pa, const void *pb)
{
	const struct range *a = pa, *b = pb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	/* Whatever order, but always the same. */
	if (a->end != b->end)
		return a->end > b->end ? -1 : 1;
	return (a->rule > b->rule) - (a->rule < b->rule);
}

static bool are_sorted(const struct range *ranges, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (compare_ranges(&ranges[i - 1], &ranges[i]) > 0)
			return false;
	return true;
}

/*
 * Brings those with the same byte of `start` (shift: which) together, in order, in place ("American flag sort": McIlroy,
 * Bostic and McIlroy, Engineering Radix Sort, 1993). ends[] then says where each byte's end.
 */
static void distribute(struct range *ranges, size_t n, unsigned shift, size_t ends[256])
{
	size_t next[256], at = 0;

	memset(ends, 0, 256 * sizeof(*ends));
	for (size_t i = 0; i < n; i++)
		ends[ranges[i].start >> shift & 255]++;
	for (size_t i = 0; i < 256; i++) {
		next[i] = at;
		ends[i] = at += ends[i];
	}
	for (size_t i = 0; i < 256; i++)
		while (next[i] < ends[i]) {
			struct range *r = &ranges[next[i]];
			uint8_t byte = (uint8_t)(r->start >> shift);

			if (byte == i) {
				next[i]++;
			} else {
				struct range other = ranges[next[byte]];

				ranges[next[byte]++] = *r;
				*r = other;
			}
		}
}

/* In place: qsort(3) makes a copy of all, which is as much as the rest of what a large file takes. */
static void sort_ranges_by(struct range *ranges, size_t n, unsigned shift)
{
	size_t ends[256], begin = 0;

	if (are_sorted(ranges, n))
		return;
	if (n <= SORT_SMALL || shift > 24) {
		qsort(ranges, n, sizeof(*ranges), compare_ranges);
		return;
	}
	distribute(ranges, n, shift, ends);
	for (size_t i = 0; i < 256; i++) {
		/* From the last byte on to 32, above: all that is left has one start. */
		sort_ranges_by(ranges + begin, ends[i] - begin, shift ? shift - 8 : 32);
		begin = ends[i];
	}
}

static void sort_ranges(struct range *ranges, size_t n)
{
	sort_ranges_by(ranges, n, 24);
}

/* --- Rules --- */

/* Its index, or -ENOMEM. */
static int64_t intern(struct builder *b, const struct unwind_rule *rule)
{
	uint64_t slot;

	if (!memcmp(&b->rules.at[b->last_rule], rule, sizeof(*rule)))
		return b->last_rule;
	for (slot = hash_bytes(rule, sizeof(*rule)) % N_SLOTS; b->slots[slot]; slot = (slot + 1) % N_SLOTS)
		if (!memcmp(&b->rules.at[b->slots[slot] - 1], rule, sizeof(*rule))) {
			b->last_rule = b->slots[slot] - 1;
			return b->last_rule;
		}
	if (b->rules.n == MAX_COLLECTED_RULES) {
		b->stats->n_unsupported++;
		return RULE_UNKNOWN;
	}
	if (vec_push(&b->rules, *rule) < 0)
		return -ENOMEM;
	b->last_rule = (uint32_t)b->rules.n - 1;
	b->slots[slot] = (uint32_t)b->rules.n;
	return b->last_rule;
}

static int init_rules(struct builder *b)
{
	/* In the order of the fixed indexes. The walk knows what goes with frame pointers: nothing else is told. */
	static const struct unwind_rule fixed[N_FIXED_RULES] = { { .cfa = UNWIND_CFA_UNKNOWN }, { .cfa = UNWIND_CFA_FRAME_POINTER } };

	b->slots = calloc(N_SLOTS, sizeof(*b->slots));
	if (!b->slots || vec_push(&b->rules, fixed[RULE_UNKNOWN]) < 0)
		return -ENOMEM;
	b->slots[hash_bytes(&fixed[RULE_UNKNOWN], sizeof(fixed[0])) % N_SLOTS] = RULE_UNKNOWN + 1;
	return intern(b, &fixed[RULE_FRAME_POINTER]) < 0 ? -ENOMEM : 0;
}

/* --- Sources --- */

static int add_range(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct builder *b = userdata;
	struct range *last = b->source.v.n ? &b->source.v.at[b->source.v.n - 1] : NULL;
	int64_t index;

	end = MIN(end, (uint64_t)UINT32_MAX);
	if (start >= end)
		return 0;
	index = intern(b, rule);
	if (index < 0)
		return -ENOMEM;
	if (last && last->end == start && last->rule == index) {
		last->end = (uint32_t)end;
		return 0;
	}
	if (b->source.v.n == MAX_RANGES) {
		b->stats->n_unsupported++;
		return 0;
	}
	return vec_push(&b->source.v, ((struct range){ (uint32_t)start, (uint32_t)end, (uint32_t)index }));
}

static bool holds(const struct elf_segment *s, uint64_t address)
{
	return address >= s->address && address - s->address < s->file_size;
}

static const struct elf_segment *code_segment(struct builder *b, uint64_t address)
{
	size_t n;
	const struct elf_segment *segments;

	if (b->segment && holds(b->segment, address))
		return b->segment;
	segments = elf_image_segments(b->image, &n);
	for (size_t i = 0; i < n; i++)
		if (segments[i].type == PT_LOAD && (segments[i].flags & PF_X) && holds(&segments[i], address))
			return b->segment = &segments[i];
	return NULL;
}

/* The ELF header is no code: functions that the linker threw away are said to lie at address 0. */
static bool is_header(uint64_t offset)
{
	return offset < sizeof(Elf64_Ehdr);
}

static int add_addresses(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct builder *b = userdata;
	const struct elf_segment *s = code_segment(b, start);
	uint64_t offset;

	if (!s || __builtin_add_overflow(s->offset, start - s->address, &offset) || is_header(offset))
		return 0;
	return add_range(b, offset, offset + MIN(end - start, s->file_size - (start - s->address)), rule);
}

/* The pieces of source (both are sorted) that lie where nothing is taken, one behind the other. */
static int cut(const struct ranges *taken, const struct ranges *source, struct ranges *pieces)
{
	const struct range *t = taken->v.at, *t_end = t + taken->v.n;
	uint32_t behind = 0;

	for (size_t i = 0; i < source->v.n; i++) {
		const struct range s = source->v.at[i];
		uint32_t start = MAX(s.start, behind);

		while (start < s.end) {
			uint32_t end = s.end, next = s.end;

			while (t < t_end && t->end <= start)
				t++;
			if (t < t_end && t->start < s.end) {
				end = t->start;
				next = t->end;
			}
			if (start < end && vec_push(&pieces->v, ((struct range){ start, end, s.rule })) < 0)
				return -ENOMEM;
			start = next;
		}
		behind = MAX(behind, s.end);
	}
	return 0;
}

/* Both are sorted and do not overlap: from the end on, in the place of the first. */
static int merge(struct ranges *taken, const struct ranges *pieces)
{
	size_t i = taken->v.n, k = pieces->v.n, at = i + k;

	if (vec_reserve(&taken->v, at) < 0)
		return -ENOMEM;
	taken->v.n = at;
	while (k)
		if (i && taken->v.at[i - 1].start > pieces->v.at[k - 1].start)
			taken->v.at[--at] = taken->v.at[--i];
		else
			taken->v.at[--at] = pieces->v.at[--k];
	return 0;
}

/* Whether all of it has been spoken of. */
static bool is_taken(const struct ranges *taken, const struct range *wanted)
{
	size_t low = 0, high = taken->v.n;
	uint32_t at = wanted->start;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (taken->v.at[middle].end <= at)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < taken->v.n && taken->v.at[low].start <= at && at < wanted->end; low++)
		at = taken->v.at[low].end;
	return at >= wanted->end;
}

/* Takes out of the source what adds nothing. */
static void drop_taken(struct builder *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->source.v.n; i++)
		if (!is_taken(&b->taken, &b->source.v.at[i]))
			b->source.v.at[n++] = b->source.v.at[i];
	b->source.v.n = n;
}

/* Takes out what overlaps with an earlier one, in place. */
static void clip(struct ranges *ranges)
{
	uint32_t behind = 0;
	size_t n = 0;

	for (size_t i = 0; i < ranges->v.n; i++) {
		struct range s = ranges->v.at[i];

		s.start = MAX(s.start, behind);
		if (s.start >= s.end)
			continue;
		behind = s.end;
		ranges->v.at[n++] = s;
	}
	ranges->v.n = n;
}

/* Puts what the source says where nothing has been said yet, and empties it. Large ones are not copied without need. */
static int lay_under(struct builder *b)
{
	struct ranges pieces = { 0 };
	int r;

	drop_taken(b);
	if (!b->source.v.n)
		return 0;
	sort_ranges(b->source.v.at, b->source.v.n);
	if (!b->taken.v.n) {
		clip(&b->source);
		vec_deinit(&b->taken.v);
		b->taken = b->source;
		b->source = (struct ranges){ 0 };
		return 0;
	}
	r = cut(&b->taken, &b->source, &pieces);
	vec_deinit(&b->source.v);
	if (r >= 0)
		r = merge(&b->taken, &pieces);
	vec_deinit(&pieces.v);
	return r;
}

/* The other way round: the source wins. */
static int lay_over(struct builder *b)
{
	struct ranges source = b->source;

	if (!source.v.n)
		return 0;
	sort_ranges(source.v.at, source.v.n);
	clip(&source);
	b->source = b->taken;
	b->taken = source;
	return lay_under(b);
}

/* The callback of unwind_go_rows() cannot fail. */
struct go_rows {
	struct builder *builder;
	int r;
};

static void add_go_row(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct go_rows *go = userdata;

	if (go->r >= 0)
		go->r = add_range(go->builder, start, end, rule);
	go->builder->stats->n_unsupported += rule->cfa == UNWIND_CFA_UNKNOWN;
}

static int read_go(struct builder *b, bool *ret_is_go)
{
	struct go_rows go = { b };
	int r;

	r = unwind_go_rows(b->image, add_go_row, &go);
	*ret_is_go = r == 0;
	if (r < 0 || go.r < 0)
		return r < 0 ? r : go.r;
	return lay_under(b);
}

static int read_eh_frame(struct builder *b)
{
	struct unwind_cfi cfi;
	int r;

	if (!unwind_cfi_find_eh_frame(b->image, &cfi))
		return 0;
	r = unwind_cfi_read(&cfi, add_addresses, b, b->stats);
	return r ? r : lay_under(b);
}

/* Unpacks a section; NULL with *ret_failed when it cannot be, NULL without memory. */
static void *inflate_section(struct reader packed, uint64_t size, bool *ret_failed)
{
	uLongf n = size;
	void *bytes;

	*ret_failed = true;
	if (!size || size > MAX_INFLATED || size > (uint64_t)reader_left(&packed) * MAX_INFLATE_RATIO + 65536)
		return NULL;
	*ret_failed = false;
	bytes = malloc(size);
	if (!bytes)
		return NULL;
	if (uncompress(bytes, &n, packed.data + packed.at, reader_left(&packed)) == Z_OK && n == size)
		return bytes;
	free(bytes);
	*ret_failed = true;
	return NULL;
}

/*
 * The bytes of .debug_frame, compressed (ELF's own way: struct Elf64_Chdr before them; GNU's old one: ".zdebug_", "ZLIB"
 * and the size, big-endian) or not. 0 with *ret failed when there is none, -ENOMEM. *ret_bytes is for free(3).
 */
static int open_debug_frame(struct builder *b, const struct elf_image *image, struct reader *ret, void **ret_bytes)
{
	const struct elf_section *section = elf_image_section(image, ".debug_frame");
	struct reader file = elf_image_bytes(image), packed;
	bool failed = false;
	uint64_t size;

	*ret = (struct reader){ .failed = true };
	if (section && !(section->flags & SHF_COMPRESSED)) {
		*ret = elf_image_section_bytes(image, section);
		return 0;
	}
	if (section) {
		uint32_t type;

		packed = reader_part(&file, section->offset, section->size);
		type = reader_u32(&packed);
		reader_skip(&packed, offsetof(Elf64_Chdr, ch_size) - sizeof(type));
		size = reader_u64(&packed);
		reader_skip(&packed, sizeof(Elf64_Chdr) - offsetof(Elf64_Chdr, ch_addralign));
		failed = type != ELFCOMPRESS_ZLIB;
	} else {
		section = elf_image_section(image, ".zdebug_frame");
		if (!section)
			return 0;
		packed = reader_part(&file, section->offset, section->size);
		failed = reader_u32(&packed) != 0x42494c5a; /* "ZLIB" */
		size = be64toh(reader_u64(&packed));
	}
	if (!failed && reader_ok(&packed))
		*ret_bytes = inflate_section(packed, size, &failed);
	if (*ret_bytes) {
		*ret = reader_of(*ret_bytes, size);
		return 0;
	}
	b->stats->n_corrupt++;
	return failed || !reader_ok(&packed) ? 0 : -ENOMEM;
}

static int read_debug_frame(struct builder *b, const struct elf_image *image)
{
	struct unwind_cfi cfi = { .is_debug_frame = true };
	_cleanup_free_ void *unpacked = NULL;
	int r;

	if (!image)
		return 0;
	r = open_debug_frame(b, image, &cfi.bytes, &unpacked);
	if (r < 0 || !reader_ok(&cfi.bytes))
		return r;
	r = unwind_cfi_read(&cfi, add_addresses, b, b->stats);
	return r ? r : lay_under(b);
}

static bool is_padding(uint32_t start, uint32_t end)
{
	return end - start < FUNCTION_ALIGN && end % FUNCTION_ALIGN == 0;
}

/*
 * Calls fn() for each piece of code in order, with what was said of it: where that is nothing, the rule of frame pointers;
 * between segments, where no code is, the unknown one; what is padding only is left out. taken may not change meanwhile.
 */
static int for_each_piece(struct builder *b, int (*fn)(struct builder *b, const struct range *piece, void *userdata), void *userdata)
{
	const struct range *t = b->taken.v.at, *t_end = t + b->taken.v.n;
	int r = 0;

	for (size_t i = 0; i < b->code.n && !r; i++) {
		struct range gap = { b->code.at[i].start, b->code.at[i].end, RULE_FRAME_POINTER };

		for (; t < t_end && t->start < b->code.at[i].end && !r; t++) {
			gap.end = t->start;
			if (gap.start < gap.end && !is_padding(gap.start, gap.end))
				r = fn(b, &gap, userdata);
			if (!r)
				r = fn(b, t, userdata);
			gap.start = MAX(gap.start, t->end);
		}
		gap.end = b->code.at[i].end;
		if (gap.start < gap.end && !r)
			r = fn(b, &gap, userdata);
		if (i + 1 < b->code.n && !r)
			r = fn(b, &(struct range){ gap.end, b->code.at[i + 1].start, RULE_UNKNOWN }, userdata);
	}
	return r;
}

static int find_stubs(struct builder *b, const struct range *piece, void *userdata)
{
	uint64_t size = MIN((uint64_t)(piece->end - piece->start), b->n_unlooked);

	if (piece->rule != RULE_FRAME_POINTER)
		return 0;
	b->n_unlooked -= size;
	return unwind_code_stubs(b->image, piece->start, piece->start + size, add_range, b);
}

/* Trampolines are known better than by any source: in Go programs those of signals are looked for everywhere. */
static int read_stubs(struct builder *b, bool is_go)
{
	int r = unwind_code_contexts(b->image, add_range, b);

	b->n_unlooked = MAX_LOOKED_THROUGH;
	if (r)
		return r;
	if (is_go)
		for (size_t i = 0; i < b->code.n && !r; i++)
			r = find_stubs(b, &(struct range){ b->code.at[i].start, b->code.at[i].end, RULE_FRAME_POINTER }, NULL);
	else
		r = for_each_piece(b, find_stubs, NULL);
	return r ? r : lay_over(b);
}

static int add_gap(struct builder *b, const struct range *piece, void *userdata)
{
	struct ranges *gaps = userdata;

	if (piece->rule != RULE_FRAME_POINTER || is_taken(&b->taken, piece))
		return 0;
	return vec_push(&gaps->v, *piece);
}

/* Executable segments may have more than code in them: tables, strings. Sections say; where there are none, all may be code. */
static int find_executable(struct builder *b, struct ranges *executable)
{
	size_t n;
	const struct elf_section *sections = elf_image_sections(b->image, &n);

	for (size_t i = 0; i < n; i++) {
		const struct elf_section *s = &sections[i];
		uint64_t end;

		if (!(s->flags & SHF_EXECINSTR) || s->type == SHT_NOBITS || s->offset >= UINT32_MAX ||
		    __builtin_add_overflow(s->offset, s->size, &end))
			continue;
		if (vec_push(&executable->v, ((struct range){ (uint32_t)s->offset, (uint32_t)MIN(end, (uint64_t)UINT32_MAX), 0 })) < 0)
			return -ENOMEM;
	}
	if (!executable->v.n && vec_push(&executable->v, ((struct range){ 0, UINT32_MAX, 0 })) < 0)
		return -ENOMEM;
	sort_ranges(executable->v.at, executable->v.n);
	clip(executable);
	return 0;
}

struct depth_gaps {
	VEC(struct unwind_depth_gap) v;
};

/* What is in both; both are sorted. */
static int intersect(const struct ranges *gaps, const struct ranges *executable, struct depth_gaps *ret)
{
	for (size_t i = 0, k = 0; i < gaps->v.n && k < executable->v.n;) {
		const struct range *g = &gaps->v.at[i], *x = &executable->v.at[k];
		struct unwind_depth_gap both = { MAX(g->start, x->start), MIN(g->end, x->end) };

		if (both.start < both.end && vec_push(&ret->v, both) < 0)
			return -ENOMEM;
		if (g->end < x->end)
			i++;
		else
			k++;
	}
	return 0;
}

static int read_depth(struct builder *b, const struct elf_image *debug)
{
	struct ranges gaps = { 0 }, executable = { 0 };
	struct depth_gaps code = { 0 };
	int r;

	r = for_each_piece(b, add_gap, &gaps);
	if (!r)
		r = find_executable(b, &executable);
	if (!r)
		r = intersect(&gaps, &executable, &code);
	vec_deinit(&gaps.v);
	vec_deinit(&executable.v);
	if (!r && code.v.n)
		r = unwind_depth_rows(b->image, debug, code.v.at, code.v.n, add_range, b);
	vec_deinit(&code.v);
	return r ? r : lay_under(b);
}

static int read_sources(struct builder *b, const struct elf_image *debug)
{
	bool is_go;
	int r;

	r = read_go(b, &is_go);
	if (!r)
		r = read_eh_frame(b);
	if (!r)
		r = read_debug_frame(b, b->image);
	if (!r)
		r = read_debug_frame(b, debug);
	if (!r)
		r = unwind_code_plt(b->image, add_range, b);
	if (!r)
		r = unwind_code_entry(b->image, add_range, b);
	if (!r)
		r = lay_under(b);
	if (!r)
		r = read_stubs(b, is_go);
	return r ? r : read_depth(b, debug);
}

/* --- Rows --- */

static int find_code(struct builder *b)
{
	size_t n, n_code = 0;
	const struct elf_segment *segments = elf_image_segments(b->image, &n);
	struct reader file = elf_image_bytes(b->image);

	for (size_t i = 0; i < n; i++) {
		const struct elf_segment *s = &segments[i];
		uint64_t end = MIN((uint64_t)file.size, (uint64_t)UINT32_MAX);

		if (s->type != PT_LOAD || !(s->flags & PF_X) || s->offset >= end)
			continue;
		end = s->offset + MIN(s->file_size, end - s->offset);
		if (s->offset < end && vec_push(&b->code, ((struct range){ (uint32_t)s->offset, (uint32_t)end, 0 })) < 0)
			return -ENOMEM;
	}
	if (!b->code.n)
		return UNWIND_ROWS_E_NONE;
	sort_ranges(b->code.at, b->code.n);
	for (size_t i = 1; i < b->code.n; i++)
		if (b->code.at[i].start <= b->code.at[n_code].end)
			b->code.at[n_code].end = MAX(b->code.at[n_code].end, b->code.at[i].end);
		else
			b->code.at[++n_code] = b->code.at[i];
	b->code.n = n_code + 1;
	return 0;
}

/* How often a rule is used, most used first. */
struct use {
	uint32_t n, rule;
	struct unwind_rule bytes;
};

static int compare_uses(const void *pa, const void *pb)
{
	const struct use *a = pa, *b = pb;

	if (a->n != b->n)
		return a->n > b->n ? -1 : 1;
	return memcmp(&a->bytes, &b->bytes, sizeof(a->bytes));
}

/*
 * Keeps the rules that are used most, unknown always among them. *ret_numbers has the new number of each old one; those
 * that are not kept are unknown.
 */
static int choose_rules(struct builder *b, struct unwind_rows *rows, uint16_t **ret_numbers)
{
	_cleanup_free_ struct use *uses = calloc(b->rules.n, sizeof(*uses));
	_cleanup_free_ uint16_t *numbers = calloc(b->rules.n, sizeof(*numbers));

	if (!uses || !numbers)
		return -ENOMEM;
	for (size_t i = 0; i < b->rules.n; i++)
		uses[i] = (struct use){ .rule = (uint32_t)i, .bytes = b->rules.at[i] };
	for (size_t i = 0; i < b->taken.v.n; i++)
		uses[b->taken.v.at[i].rule].n++;
	/* Both are always there: what is dropped and what lies between segments, what nothing was said of. */
	uses[RULE_UNKNOWN].n = uses[RULE_FRAME_POINTER].n = UINT32_MAX;
	qsort(uses, b->rules.n, sizeof(*uses), compare_uses);
	for (size_t i = 0; i < b->rules.n && uses[i].n; i++) {
		if (rows->rules.n == UNWIND_MAX_RULES) {
			b->stats->n_unsupported += uses[i].n;
			continue;
		}
		numbers[uses[i].rule] = (uint16_t)rows->rules.n;
		if (vec_push(&rows->rules, uses[i].bytes) < 0)
			return -ENOMEM;
	}
	*ret_numbers = TAKE(numbers);
	return 0;
}

struct rows_being_made {
	struct unwind_rows *rows;
	const uint16_t *numbers;             /* of rules */
};

/* Rows beyond the limit are dropped; the last of all says that nothing is known from there on. */
static int add_row(struct unwind_rows *rows, uint32_t offset, uint16_t rule)
{
	struct unwind_rows_row *last = rows->rows.n ? &rows->rows.at[rows->rows.n - 1] : NULL;

	if (last && last->rule == rule)
		return 0;
	if (last && last->offset == offset) { /* only where a section is said to lie outside of the code */
		last->rule = rule;
		return 0;
	}
	if (rows->rows.n >= UNWIND_ROWS_MAX - 1) {
		rows->stats.n_unsupported++;
		if (last->rule == RULE_UNKNOWN)
			return 0;
		rule = RULE_UNKNOWN;
	}
	return vec_push(&rows->rows, ((struct unwind_rows_row){ offset, rule }));
}

static int add_piece(struct builder *b, const struct range *piece, void *userdata)
{
	struct rows_being_made *made = userdata;

	return add_row(made->rows, piece->start, made->numbers[piece->rule]);
}

static int make_rows(struct builder *b, const uint16_t *numbers, struct unwind_rows *rows)
{
	struct rows_being_made made = { rows, numbers };

	rows->end = b->code.at[b->code.n - 1].end;
	return for_each_piece(b, add_piece, &made);
}

static int build(struct builder *b, const struct elf_image *debug, struct unwind_rows *rows)
{
	_cleanup_free_ uint16_t *numbers = NULL;
	int r;

	r = find_code(b);
	if (!r)
		r = init_rules(b);
	if (!r)
		r = read_sources(b, debug);
	if (!r)
		r = choose_rules(b, rows, &numbers);
	return r ? r : make_rows(b, numbers, rows);
}

int unwind_rows_build(const struct elf_image *image, const struct elf_image *debug, struct unwind_rows *ret)
{
	struct unwind_rows rows = { 0 };
	struct builder b = { .image = image, .stats = &rows.stats };
	int r;

	r = build(&b, debug, &rows);
	builder_deinit(&b);
	if (r) {
		unwind_rows_deinit(&rows);
		return r;
	}
	unwind_rows_deinit(ret);
	*ret = rows;
	return 0;
}
