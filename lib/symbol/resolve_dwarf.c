/* SPDX-License-Identifier: Apache-2.0 */
#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <endian.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "demangle.h"
#include "line_rows.h"
#include "map.h"
#include "ranges.h"
#include "resolve_dwarf.h"
#include "resolve_elf.h"
#include "symbolizer.h"

#define NONE UINT32_MAX
/* References from a DIE to that which names it: abstract origin, then specification, and one more for LTO. As libdw's own limit. */
#define MAX_REFERENCES 16U
/* What all indexes of units may hold together before they are thrown away and made anew: 128 MiB. */
#define MAX_INDEXED (UINT32_C(4) << 20)
/* Descriptions kept (see struct description); beyond, all are thrown away. */
#define MAX_DESCRIPTIONS (UINT32_C(1) << 17)

/* A function with code, or a copy of one inlined into another. */
struct function {
	Dwarf_Off die;
	uint32_t caller;                     /* index of the function it is inlined into; NONE for one of its own */
	bool inlined;
};

/* A DIE that others are named by, and where it ends. */
struct scope {
	Dwarf_Off start, end;
	uint32_t outer;                      /* index, or NONE */
};

struct unit {
	Dwarf_Die die;
	bool mangles;                        /* its language has names for the linker that differ from those of the source */
	bool functions_read, lines_read;
	struct ranges ranges;                /* values are indexes of functions */
	VEC(struct function) functions;
	Dwarf_Lines *lines;
	size_t n_lines;
	struct line_rows rows;               /* instead of .lines when those hold discarded functions */
};

/* The scopes of a unit, of any file; read when a name has to be told with its scopes. */
struct scopes {
	VEC(struct scope) all;               /* by start */
};

/* What a function is called, by the address of the DIE that says so. Strings are numbers of .strings; 0: none. */
struct description {
	uint32_t name, system_name, start_line;
};

struct dwarf {
	const struct elf_image *image, *supplement;
	const struct resolver *symbols;
	bool opened;
	Elf *elf, *supplement_elf;
	Dwarf *debug, *supplement_debug;
	VEC(struct unit) units;
	struct ranges unit_ranges;
	size_t n_indexed;
	struct map descriptions;             /* void * of a DIE -> struct description */
	struct map scopes;                   /* void * of a unit's DIE -> struct scopes */
	struct strtab *strings;
};

static bool is_code(const struct elf_image *image, uint64_t address)
{
	size_t n;
	const struct elf_segment *segments = elf_image_segments(image, &n);

	for (size_t i = 0; i < n; i++)
		if (segments[i].type == PT_LOAD && (segments[i].flags & PF_X) && address >= segments[i].address &&
		    address - segments[i].address < segments[i].memory_size)
			return true;
	return false;
}

/*
 * Adds the ranges of a DIE. Linkers leave those of functions they discarded, at 0 or 1 or far away: they are no code.
 * *budget: how many ranges may still be looked at, so that many DIEs cannot share one endless list.
 */
static int add_ranges(const struct dwarf *d, Dwarf_Die *die, struct ranges *ranges, uint32_t value, uint32_t *budget, bool *ret_any)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;

	while (*budget && (at = dwarf_ranges(die, at, &base, &start, &end)) > 0) {
		int r;

		(*budget)--;
		if (!is_code(d->image, start))
			continue;
		r = ranges_add(ranges, start, end, value, SYMBOLIZER_MAX_RANGES);
		if (r < 0)
			return r;
		if (ret_any)
			*ret_any = true;
	}
	return 0;
}

static bool language_mangles(int language)
{
	switch (language) {
	case DW_LANG_C_plus_plus:
	case DW_LANG_C_plus_plus_03:
	case DW_LANG_C_plus_plus_11:
	case DW_LANG_C_plus_plus_14:
	case DW_LANG_ObjC_plus_plus:
	case DW_LANG_Rust:
	case DW_LANG_D:
	case DW_LANG_Swift:
	case 0x2b: /* DW_LANG_C_plus_plus_17 and _20: DWARF 6 numbers that compilers use in 5; not in elfutils 0.188 */
	case 0x2c:
		return true;
	default:
		return false;
	}
}

static int read_units(struct dwarf *d)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Die die;
	uint8_t type;
	uint32_t budget = SYMBOLIZER_MAX_RANGES;

	while (d->units.n < SYMBOLIZER_MAX_UNITS && dwarf_get_units(d->debug, cu, &cu, NULL, &type, &die, NULL) == 0) {
		struct unit unit = { .die = die };
		int r;

		if (dwarf_tag(&die) != DW_TAG_compile_unit)
			continue;
		unit.mangles = language_mangles(dwarf_srclang(&die));
		r = add_ranges(d, &die, &d->unit_ranges, (uint32_t)d->units.n, &budget, NULL);
		if (r >= 0)
			r = vec_push(&d->units, unit);
		if (r < 0)
			return r;
	}
	ranges_sort(&d->unit_ranges);
	return 0;
}

/* libelf unpacks what a section claims to hold: refuse claims that are out of proportion. */
static bool unpacking_is_bounded(const struct elf_image *image)
{
	uint64_t total = 0;
	size_t n;
	const struct elf_section *sections = elf_image_sections(image, &n);

	for (size_t i = 0; i < n; i++) {
		struct reader file = elf_image_bytes(image), packed = reader_part(&file, sections[i].offset, sections[i].size);
		uint64_t size;

		if (sections[i].flags & SHF_COMPRESSED) {
			reader_skip(&packed, offsetof(Elf64_Chdr, ch_size));
			size = reader_u64(&packed);
		} else if (!strncmp(sections[i].name, ".zdebug", 7)) {
			reader_skip(&packed, 4); /* "ZLIB" */
			size = be64toh(reader_u64(&packed));
		} else
			continue;
		if (!reader_ok(&packed))
			continue;
		if (size > SYMBOLIZER_MAX_INFLATED || size > packed.size * SYMBOLIZER_MAX_INFLATE_RATIO + 65536)
			return false;
		total += size;
		if (total > SYMBOLIZER_MAX_INFLATED)
			return false;
	}
	return true;
}

static int open_debug(const struct elf_image *image, Elf **ret_elf, Dwarf **ret_debug)
{
	struct reader bytes = elf_image_bytes(image);

	elf_version(EV_CURRENT);
	/* Not written to, but for headers of compressed sections, which elf_image keeps writable for that. */
	*ret_elf = elf_memory((char *)(uintptr_t)bytes.data, bytes.size);
	if (!*ret_elf)
		return RESOLVE_E_NONE;
	*ret_debug = dwarf_begin_elf(*ret_elf, DWARF_C_READ, NULL);
	return *ret_debug ? 0 : RESOLVE_E_NONE;
}

/* Once; what cannot be opened stays empty, and each address is unknown. */
static int open_once(struct dwarf *d)
{
	int r;

	if (d->opened)
		return 0;
	d->opened = true;
	d->strings = strtab_new();
	if (!d->strings)
		return -ENOMEM;
	r = open_debug(d->image, &d->elf, &d->debug);
	if (r)
		return r < 0 ? r : 0;
	if (d->supplement && open_debug(d->supplement, &d->supplement_elf, &d->supplement_debug) == 0)
		dwarf_setalt(d->debug, d->supplement_debug);
	return read_units(d);
}

/* What may hold functions, or blocks of them, inside. Parameters, variables, call sites and plain types do not. */
static bool may_hold_functions(int tag)
{
	switch (tag) {
	case DW_TAG_subprogram:
	case DW_TAG_inlined_subroutine:
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_with_stmt:
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_enumeration_type: /* Rust: methods of enums */
	case DW_TAG_interface_type:
		return true;
	default:
		return false;
	}
}

/*
 * A walk over the DIEs of a unit in their order, without recursion. Levels beyond the limit are not entered.
 */
struct walk {
	struct level {
		Dwarf_Die die;
		uint32_t inside;             /* of the caller: what the DIEs of this level are inside of */
	} levels[SYMBOLIZER_MAX_DIE_DEPTH];
	unsigned n;
	uint32_t budget;
};

/* Where the walk is, and what `inside` was given for it; false at the end. */
static bool walk_start(struct walk *walk, Dwarf_Die *unit)
{
	walk->n = 1;
	walk->budget = SYMBOLIZER_MAX_UNIT_DIES;
	walk->levels[0].inside = NONE;
	return dwarf_child(unit, &walk->levels[0].die) == 0;
}

static struct level *walk_at(struct walk *walk)
{
	return &walk->levels[walk->n - 1];
}

/* On: into the DIE when `enter`, its children being inside of `inside`; else to what comes after it. */
static bool walk_next(struct walk *walk, bool enter, uint32_t inside)
{
	if (walk->budget-- == 0)
		return false;
	if (enter && walk->n < SYMBOLIZER_MAX_DIE_DEPTH && dwarf_child(&walk_at(walk)->die, &walk->levels[walk->n].die) == 0) {
		walk->levels[walk->n++].inside = inside;
		return true;
	}
	while (walk->n) {
		if (dwarf_siblingof(&walk_at(walk)->die, &walk_at(walk)->die) == 0)
			return true;
		walk->n--;
	}
	return false;
}

/* Adds the function of a DIE; *inside becomes what its own children are inside of. */
static int add_function(struct dwarf *d, struct unit *unit, Dwarf_Die *die, int tag, uint32_t *inside, uint32_t *budget)
{
	struct function function = { .die = dwarf_dieoffset(die), .caller = *inside, .inlined = tag == DW_TAG_inlined_subroutine };
	uint32_t index = (uint32_t)unit->functions.n;
	bool any = false;
	int r;

	if (index >= SYMBOLIZER_MAX_RANGES)
		return 0;
	r = add_ranges(d, die, &unit->ranges, index, budget, &any);
	if (r < 0)
		return r;
	/*
	 * Abstract functions and declarations have no code, and nothing is inlined into them. An inlined one without code
	 * of its own may still hold others, which are then inlined into it.
	 */
	if (!any && !(function.inlined && *inside != NONE)) {
		if (!function.inlined)
			*inside = NONE;
		return 0;
	}
	if (!function.inlined)
		function.caller = NONE;
	*inside = index;
	return vec_push(&unit->functions, function);
}

static void forget_functions(struct dwarf *d)
{
	for (size_t i = 0; i < d->units.n; i++) {
		ranges_deinit(&d->units.at[i].ranges);
		vec_deinit(&d->units.at[i].functions);
		d->units.at[i].functions_read = false;
	}
	d->n_indexed = 0;
}

static int read_functions(struct dwarf *d, struct unit *unit)
{
	struct walk walk;
	uint32_t budget = SYMBOLIZER_MAX_RANGES;

	if (d->n_indexed > MAX_INDEXED)
		forget_functions(d);
	unit->functions_read = true;
	if (!walk_start(&walk, &unit->die))
		return 0;
	for (bool on = true; on;) {
		Dwarf_Die *die = &walk_at(&walk)->die;
		uint32_t inside = walk_at(&walk)->inside;
		int tag = dwarf_tag(die), r;

		if (tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine) {
			r = add_function(d, unit, die, tag, &inside, &budget);
			if (r < 0)
				return r;
		}
		on = walk_next(&walk, may_hold_functions(tag), inside);
	}
	ranges_sort(&unit->ranges);
	d->n_indexed += unit->functions.n + unit->ranges.all.n;
	return 0;
}

static bool names_a_scope(int tag)
{
	return tag != DW_TAG_lexical_block && tag != DW_TAG_inlined_subroutine && may_hold_functions(tag);
}

static int read_scopes(Dwarf_Die *unit, struct scopes *scopes)
{
	struct walk walk;
	uint32_t open = NONE;

	if (!walk_start(&walk, unit))
		return 0;
	for (bool on = true; on;) {
		Dwarf_Die *die = &walk_at(&walk)->die;
		uint32_t inside = walk_at(&walk)->inside;
		int tag = dwarf_tag(die);
		bool enter = may_hold_functions(tag) && dwarf_haschildren(die) == 1;
		struct scope scope = { .start = dwarf_dieoffset(die), .end = UINT64_MAX, .outer = inside };

		/* What was open and is not around this DIE has ended before it. */
		for (; open != NONE && open != inside; open = scopes->all.at[open].outer)
			scopes->all.at[open].end = scope.start;
		if (enter && scopes->all.n < SYMBOLIZER_MAX_UNIT_DIES) {
			int r = vec_push(&scopes->all, scope);

			if (r < 0)
				return r;
			inside = open = (uint32_t)scopes->all.n - 1;
		}
		on = walk_next(&walk, enter, inside);
	}
	return 0;
}

/* The scopes of the unit that a DIE is in, read when first asked for; NULL: none, or out of memory. */
static const struct scopes *scopes_of(struct dwarf *d, Dwarf_Die *die)
{
	Dwarf_Die unit;
	void *value;
	int r;

	if (!dwarf_diecu(die, &unit, NULL, NULL))
		return NULL;
	r = map_put(&d->scopes, &unit.addr, &value);
	if (r > 0)
		r = read_scopes(&unit, value);
	return r < 0 ? NULL : value;
}

static const char *attribute_string(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;

	return dwarf_attr(die, name, &attribute) ? dwarf_formstring(&attribute) : NULL;
}

static const char *linkage_name(Dwarf_Die *die)
{
	const char *name = attribute_string(die, DW_AT_linkage_name);

	return name ? name : attribute_string(die, DW_AT_MIPS_linkage_name);
}

/* From a DIE to that which it is a copy of, or which declares it. */
static bool follow(Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	Dwarf_Die to;

	if (!dwarf_attr(die, DW_AT_abstract_origin, &attribute) && !dwarf_attr(die, DW_AT_specification, &attribute))
		return false;
	if (!dwarf_formref_die(&attribute, &to))
		return false;
	*die = to;
	return true;
}

/* The name of a scope, from the DIE itself or the one it refers to. */
static const char *scope_name(Dwarf_Die die, int *ret_tag)
{
	const char *name = NULL;

	*ret_tag = dwarf_tag(&die);
	for (unsigned i = 0; i < MAX_REFERENCES && !name; i++) {
		name = attribute_string(&die, DW_AT_name);
		if (!name && !follow(&die))
			break;
	}
	return name;
}

/*
 * Writes the name of the function behind the names of its scopes: "a::b::name". die is the DIE that has the name.
 */
static void qualify(struct dwarf *d, Dwarf_Die *die, const char *name, char ret[static RESOLVE_MAX_STRING])
{
	const struct scopes *scopes = scopes_of(d, die);
	const char *parts[32]; /* real ones end at ten */
	size_t n = 0, used = 0, low = 0, high = scopes ? scopes->all.n : 0;
	Dwarf_Off offset = dwarf_dieoffset(die);
	Dwarf_Die unit;
	uint32_t at;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (scopes->all.at[middle].start < offset)
			low = middle + 1;
		else
			high = middle;
	}
	at = low ? (uint32_t)(low - 1) : NONE;
	for (; at != NONE && n < ARRAY_SIZE(parts); at = scopes->all.at[at].outer) {
		Dwarf_Die scope;
		const char *part;
		int tag;

		if (scopes->all.at[at].end <= offset || !dwarf_diecu(die, &unit, NULL, NULL) ||
		    !dwarf_offdie(dwarf_cu_getdwarf(unit.cu), scopes->all.at[at].start, &scope) || !names_a_scope(dwarf_tag(&scope)))
			continue;
		part = scope_name(scope, &tag);
		if (!part && tag == DW_TAG_namespace)
			part = "(anonymous namespace)";
		/* GCC leaves a closure's type without a name. */
		if (!part && tag != DW_TAG_subprogram)
			part = strncmp(name, "operator()", 10) ? "{unnamed}" : "{lambda}";
		if (part)
			parts[n++] = part;
	}
	for (; n; n--) {
		int r = snprintf(ret + used, RESOLVE_MAX_STRING - used, "%s::", parts[n - 1]);

		used = MIN(used + (size_t)MAX(r, 0), (size_t)RESOLVE_MAX_STRING - 1);
	}
	snprintf(ret + used, RESOLVE_MAX_STRING - used, "%s", name);
}

static int keep(struct dwarf *d, const char *string, uint32_t *ret)
{
	return strtab_add(d->strings, string, strnlen(string, RESOLVE_MAX_STRING), ret);
}

static int keep_linkage_name(struct dwarf *d, const char *linkage, struct description *ret)
{
	char demangled[DEMANGLE_MAX];
	int r = keep(d, linkage, &ret->system_name);

	if (r < 0)
		return r;
	return keep(d, demangle(linkage, demangled) ? demangled : linkage, &ret->name);
}

/* `own`: a function with code of its own, whose first address a symbol may name. */
static int make_description(struct dwarf *d, const struct unit *unit, Dwarf_Die die, bool own, struct description *ret)
{
	Dwarf_Attribute attribute;
	Dwarf_Word line = 0;
	Dwarf_Addr base, low, high;
	Dwarf_Die first = die, named = die;
	const char *plain = NULL, *linkage = NULL;
	char qualified[RESOLVE_MAX_STRING];
	int r;

	if (dwarf_attr_integrate(&die, DW_AT_decl_line, &attribute) && dwarf_formudata(&attribute, &line) == 0)
		ret->start_line = (uint32_t)MIN(line, (Dwarf_Word)UINT32_MAX);
	for (unsigned i = 0; i < MAX_REFERENCES; i++) {
		linkage = linkage_name(&die);
		if (linkage)
			break;
		if (!plain)
			plain = attribute_string(&die, DW_AT_name);
		/* The last one, a declaration inside of its class, knows the scopes. */
		named = die;
		if (!follow(&die))
			break;
	}
	if (!linkage && own && unit->mangles && d->symbols && dwarf_ranges(&first, 0, &base, &low, &high) > 0)
		linkage = resolve_elf_symbol(d->symbols, low);
	if (linkage)
		return keep_linkage_name(d, linkage, ret);
	if (!plain)
		return 0;
	r = keep(d, plain, &ret->system_name);
	if (r < 0 || !unit->mangles) {
		ret->name = ret->system_name;
		return r;
	}
	qualify(d, &named, plain, qualified);
	return keep(d, qualified, &ret->name);
}

static void forget_descriptions(struct dwarf *d)
{
	struct strtab *strings = strtab_new();

	if (!strings)
		return;
	map_clear(&d->descriptions);
	strtab_free(d->strings);
	d->strings = strings;
}

static int describe(struct dwarf *d, const struct unit *unit, const struct function *function, Dwarf_Die *die, struct description *ret)
{
	Dwarf_Die key = *die;
	struct description made = { 0 };
	const struct description *known;
	void *value;
	int r;

	/* All inlined copies of a function are called the same. */
	if (function->inlined)
		follow(&key);
	known = map_get(&d->descriptions, &key.addr);
	if (known) {
		*ret = *known;
		return 0;
	}
	if (d->descriptions.n >= MAX_DESCRIPTIONS)
		forget_descriptions(d);
	r = make_description(d, unit, function->inlined ? key : *die, !function->inlined, &made);
	if (r < 0)
		return r;
	r = map_put(&d->descriptions, &key.addr, &value);
	if (r < 0)
		return r;
	*(struct description *)value = *ret = made;
	return 0;
}

/* Where in the source: a file, which lives as long as the DWARF, and a line. */
struct place {
	const char *file;                    /* may be relative to the directory of the unit */
	uint32_t line;
};

static Dwarf_Addr line_address(const struct unit *unit, size_t i)
{
	Dwarf_Addr address = 0;

	dwarf_lineaddr(dwarf_onesrcline(unit->lines, i), &address);
	return address;
}

static const char *file_name(struct unit *unit, uint64_t number)
{
	Dwarf_Files *files;
	size_t n;

	return dwarf_getsrcfiles(&unit->die, &files, &n) == 0 && number < n ? dwarf_filesrc(files, (size_t)number, NULL, NULL) : NULL;
}

/* .debug_line as libdw has it, unpacked. */
static struct reader line_section(const struct dwarf *d)
{
	Elf_Scn *section = NULL;
	size_t names;

	if (elf_getshdrstrndx(d->elf, &names) < 0)
		return (struct reader){ .failed = true };
	while ((section = elf_nextscn(d->elf, section))) {
		Elf64_Shdr *header = elf64_getshdr(section);
		const char *name = header ? elf_strptr(d->elf, names, header->sh_name) : NULL;
		Elf_Data *data;

		if (!name || (strcmp(name, ".debug_line") && strcmp(name, ".zdebug_line")) || header->sh_type == SHT_NOBITS)
			continue;
		data = elf_getdata(section, NULL);
		if (data && data->d_buf)
			return reader_of(data->d_buf, data->d_size);
	}
	return (struct reader){ .failed = true };
}

static bool is_code_of(const void *userdata, uint64_t address)
{
	return is_code(userdata, address);
}

/* Rows before all code are those of discarded functions, which may go on among the real ones: see line_rows.h. */
static int read_lines(const struct dwarf *d, struct unit *unit)
{
	Dwarf_Attribute attribute;
	Dwarf_Word offset;
	int r;

	unit->lines_read = true;
	if (dwarf_getsrclines(&unit->die, &unit->lines, &unit->n_lines) < 0)
		unit->n_lines = 0;
	if (!unit->n_lines || is_code(d->image, line_address(unit, 0)))
		return 0;
	if (!dwarf_attr(&unit->die, DW_AT_stmt_list, &attribute) || dwarf_formudata(&attribute, &offset) < 0)
		return 0;
	r = line_rows_read(line_section(d), offset, is_code_of, d->image, &unit->rows);
	return r < 0 ? r : 0;
}

/* libdw's rows are sorted by address, and at one address the end of what was before comes first. */
static struct place place_in_lines(const struct unit *unit, uint64_t address)
{
	struct place place = { 0 };
	size_t low = 0, high = unit->n_lines;
	Dwarf_Line *row;
	bool end = true;
	int line = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (line_address(unit, middle) <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return place;
	row = dwarf_onesrcline(unit->lines, low - 1);
	if (dwarf_lineendsequence(row, &end) < 0 || end)
		return place;
	place.file = dwarf_linesrc(row, NULL, NULL);
	if (dwarf_lineno(row, &line) == 0 && line > 0)
		place.line = (uint32_t)line;
	return place;
}

static int place_of_address(const struct dwarf *d, struct unit *unit, uint64_t address, struct place *ret)
{
	const struct line_row *row;

	if (!unit->lines_read) {
		int r = read_lines(d, unit);

		if (r < 0)
			return r;
	}
	if (!unit->rows.rows.n) {
		*ret = place_in_lines(unit, address);
		return 0;
	}
	row = line_rows_find(&unit->rows, address);
	*ret = (struct place){ 0 };
	if (row)
		*ret = (struct place){ .file = file_name(unit, row->file), .line = row->line };
	return 0;
}

static uint64_t attribute_number(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value;

	return dwarf_attr(die, name, &attribute) && dwarf_formudata(&attribute, &value) == 0 ? value : 0;
}

/* Where a function was called that is inlined there. */
static struct place place_of_call(struct unit *unit, Dwarf_Die *die)
{
	struct place place = { .line = (uint32_t)MIN(attribute_number(die, DW_AT_call_line), (uint64_t)UINT32_MAX) };

	if (dwarf_hasattr(die, DW_AT_call_file))
		place.file = file_name(unit, attribute_number(die, DW_AT_call_file));
	return place;
}

static int add_frame(struct dwarf *d, struct unit *unit, const struct description *description, const struct place *place,
		struct names *names)
{
	struct frame frame = { .line = place->line, .start_line = description->start_line };
	char whole[RESOLVE_MAX_STRING];

	/* libdw's word for file 0 of the tables before DWARF 5, which means none. */
	if (place->file && strcmp(place->file, "???"))
		frame.file = place->file;
	/* libdw 0.188 leaves relative directories of DWARF 5 as they are. */
	if (frame.file && *frame.file != '/') {
		const char *directory = attribute_string(&unit->die, DW_AT_comp_dir);

		if (directory) {
			snprintf(whole, sizeof(whole), "%s/%s", directory, frame.file);
			frame.file = whole;
		}
	}
	/* Both pointers are good at once: nothing is added in between. */
	if (description->name)
		frame.name = strtab_get(d->strings, description->name, NULL);
	if (description->system_name && description->system_name != description->name)
		frame.system_name = strtab_get(d->strings, description->system_name, NULL);
	return names_add_frame(names, &frame);
}

static int add_frames(struct dwarf *d, struct unit *unit, uint64_t address, struct names *names)
{
	const struct range *range = ranges_find(&unit->ranges, address);
	uint32_t at = range ? range->value : NONE;
	struct place place;
	int r = place_of_address(d, unit, address, &place);

	if (r < 0)
		return r;
	if (at == NONE) {
		/* Assembly has lines, but no functions. */
		if (!place.file)
			return RESOLVE_E_UNKNOWN;
		return add_frame(d, unit, &(struct description){ 0 }, &place, names);
	}
	for (unsigned depth = 0; at != NONE; depth++) {
		const struct function *function = &unit->functions.at[at];
		struct description description;
		Dwarf_Die die;

		if (!dwarf_offdie(d->debug, function->die, &die))
			break;
		/* Too deep: leave out the middle, the last one is always the function that has the code. */
		if (depth < RESOLVE_MAX_INLINE_DEPTH - 1 || function->caller == NONE) {
			r = describe(d, unit, function, &die, &description);
			if (r < 0)
				return r;
			/* An inlined one without a name (its supplement is missing) is as if it were not inlined. */
			r = description.name || !function->inlined ? add_frame(d, unit, &description, &place, names) : 0;
			if (r < 0)
				return r;
		}
		if (function->inlined)
			place = place_of_call(unit, &die);
		at = function->caller;
	}
	return 0;
}

static int resolve(void *state, uint64_t address, struct names *names)
{
	struct dwarf *d = state;
	const struct range *range;
	struct unit *unit;
	size_t before = names->frames.n;
	int r;

	r = open_once(d);
	if (r < 0)
		return r;
	range = ranges_find(&d->unit_ranges, address);
	if (!range)
		return RESOLVE_E_UNKNOWN;
	unit = &d->units.at[range->value];
	if (!unit->functions_read) {
		r = read_functions(d, unit);
		if (r < 0)
			return r;
	}
	r = add_frames(d, unit, address, names);
	if (r < 0)
		names->frames.n = before;
	return r == 0 && names->frames.n == before ? RESOLVE_E_UNKNOWN : r;
}

static void free_state(void *state)
{
	struct dwarf *d = state;
	const void *key;
	void *value;
	size_t cursor = 0;

	if (!d)
		return;
	forget_functions(d);
	for (size_t i = 0; i < d->units.n; i++)
		line_rows_deinit(&d->units.at[i].rows);
	vec_deinit(&d->units);
	ranges_deinit(&d->unit_ranges);
	while (map_next(&d->scopes, &cursor, &key, &value))
		vec_deinit(&((struct scopes *)value)->all);
	map_deinit(&d->scopes);
	map_deinit(&d->descriptions);
	strtab_free(d->strings);
	dwarf_end(d->debug);
	dwarf_end(d->supplement_debug);
	elf_end(d->elf);
	elf_end(d->supplement_elf);
	free(d);
}

static const struct resolver_ops ops = {
	.name = "dwarf",
	.tells = RESOLVE_TELLS_FUNCTIONS | RESOLVE_TELLS_FILENAMES | RESOLVE_TELLS_LINE_NUMBERS | RESOLVE_TELLS_INLINE_FRAMES,
	.resolve = resolve,
	.free = free_state,
};

bool resolve_dwarf_is_in(const struct elf_image *image)
{
	const struct elf_section *info = elf_image_section(image, ".debug_info");

	if (!info)
		info = elf_image_section(image, ".zdebug_info");
	return info && elf_image_section_is_here(image, info);
}

int resolve_dwarf_open(const struct elf_image *image, const struct elf_image *supplement, const struct resolver *symbols,
		struct resolver *ret)
{
	struct dwarf *d;

	if (!resolve_dwarf_is_in(image) || !unpacking_is_bounded(image))
		return RESOLVE_E_NONE;
	if (supplement && !unpacking_is_bounded(supplement))
		supplement = NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->image = image;
	d->supplement = supplement;
	d->symbols = symbols;
	map_init(&d->descriptions, sizeof(void *), sizeof(struct description));
	map_init(&d->scopes, sizeof(void *), sizeof(struct scopes));
	*ret = (struct resolver){ .ops = &ops, .state = d };
	return 0;
}
