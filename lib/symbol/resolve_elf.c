/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "demangle.h"
#include "minidebug.h"
#include "resolve_elf.h"
#include "symbolizer.h"

struct symbol {
	uint64_t address;
	const char *name;                    /* in an image, or in .stubs; a '@' and what follows is not of it unless plt */
	uint32_t size;                       /* 0: up to `limit` */
	uint32_t outer;                      /* index of the symbol around it, NONE */
	uint8_t rank;                        /* smaller is better, see rank_of() */
	bool plt;
};

#define NONE UINT32_MAX

struct elf_symbols {
	const struct elf_image *image, *debug;
	bool loaded;
	bool is_data;                        /* variables instead of functions */
	struct minidebug mini;
	VEC(struct symbol) symbols;
	size_t n_sorted;                     /* how many of them find() sees: stubs are added behind, then arranged with the rest */
	VEC(char *) stubs;                   /* names made for PLT stubs */
};

/* Symbols of one table, with what is needed to judge them. */
struct table {
	struct reader symbols, strings;
	size_t n;
};

static bool table_of(const struct elf_image *image, uint32_t type, struct table *ret)
{
	size_t n;
	const struct elf_section *sections = elf_image_sections(image, &n);

	for (size_t i = 0; i < n; i++) {
		struct table table;

		if (sections[i].type != type || sections[i].link >= n || sections[i].entry_size != sizeof(Elf64_Sym))
			continue;
		table = (struct table){
			.symbols = elf_image_section_bytes(image, &sections[i]),
			.strings = elf_image_section_bytes(image, &sections[sections[i].link]),
		};
		table.n = MIN(table.symbols.size / sizeof(Elf64_Sym), (size_t)SYMBOLIZER_MAX_SYMBOLS);
		if (!reader_ok(&table.symbols) || !reader_ok(&table.strings) || !table.n)
			continue;
		*ret = table;
		return true;
	}
	return false;
}

static Elf64_Sym symbol_at(const struct table *table, size_t i)
{
	Elf64_Sym s;

	memcpy(&s, table->symbols.data + i * sizeof(s), sizeof(s));
	return s;
}

static const char *name_at(const struct table *table, uint32_t offset)
{
	struct reader strings = table->strings;

	reader_seek(&strings, offset);
	return reader_string(&strings);
}

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

/* .bss is in memory, not in the file. */
static bool is_variable(const struct elf_image *image, uint64_t address, uint64_t size)
{
	size_t n;
	const struct elf_segment *segments = elf_image_segments(image, &n);

	for (size_t i = 0; i < n; i++)
		if (segments[i].type == PT_LOAD && (segments[i].flags & PF_W) && address >= segments[i].address &&
		    address - segments[i].address < segments[i].memory_size)
			return size && size <= segments[i].memory_size - (address - segments[i].address);
	return false;
}

/*
 * Assemblers leave labels without type (_start of some C libraries, hand-written loops of OpenSSL); compilers leave
 * markers that name no code ($d, .L, annobin's).
 */
static bool is_label(const char *name)
{
	return name[0] != '$' && name[0] != '.' && strncmp(name, "__start_", 8) && strncmp(name, "__stop_", 7) &&
	       strcmp(name, "_init_array_start") && strcmp(name, "_etext") && strcmp(name, "etext") && strcmp(name, "__etext") &&
	       !strstr(name, "annobin");
}

static uint8_t rank_of(const Elf64_Sym *s)
{
	unsigned type = ELF64_ST_TYPE(s->st_info), bind = ELF64_ST_BIND(s->st_info);

	return (uint8_t)((type == STT_NOTYPE ? 4 : type == STT_GNU_IFUNC ? 2 : 0) + (bind == STB_LOCAL ? 1 : 0));
}

static bool is_wanted(const struct elf_symbols *e, const Elf64_Sym *s, const char *name)
{
	unsigned kind = ELF64_ST_TYPE(s->st_info);

	if (!name || !*name)
		return false;
	if (e->is_data)
		return kind == STT_OBJECT && is_variable(e->image, s->st_value, s->st_size);
	return (kind == STT_FUNC || kind == STT_GNU_IFUNC || (kind == STT_NOTYPE && is_label(name))) && is_code(e->image, s->st_value);
}

static int load_table(struct elf_symbols *e, const struct elf_image *image, uint32_t type)
{
	struct table table;

	if (!image || !table_of(image, type, &table))
		return 0;
	for (size_t i = 1; i < table.n; i++) {
		Elf64_Sym s = symbol_at(&table, i);
		const char *name;
		struct symbol symbol;

		if (s.st_shndx == SHN_UNDEF || s.st_shndx == SHN_ABS || s.st_shndx == SHN_COMMON)
			continue;
		name = name_at(&table, s.st_name);
		if (!is_wanted(e, &s, name))
			continue;
		symbol = (struct symbol){
			.address = s.st_value, .name = name, .outer = NONE, .rank = rank_of(&s),
			.size = (uint32_t)MIN(s.st_size, (uint64_t)UINT32_MAX),
		};
		if (e->symbols.n >= SYMBOLIZER_MAX_SYMBOLS)
			return 0;
		if (vec_push(&e->symbols, symbol) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int load_mini(struct elf_symbols *e)
{
	int r = minidebug_open(e->image, &e->mini);

	return r < 0 || !e->mini.image ? r : load_table(e, e->mini.image, SHT_SYMTAB);
}

/* Many symbols of one address that share one endless name are not worth the time to tell apart. */
#define MAX_COMPARED 4096U

static size_t underscores(const char *name)
{
	return *name == '_' ? 1U + (name[1] == '_') : 0;
}

static int compare_names(const struct symbol *a, const struct symbol *b)
{
	size_t ua = underscores(a->name), ub = underscores(b->name), la, lb;

	if (ua != ub)
		return ua < ub ? -1 : 1;
	la = strnlen(a->name, MAX_COMPARED);
	lb = strnlen(b->name, MAX_COMPARED);
	if (la != lb)
		return la < lb ? -1 : 1;
	return strncmp(a->name, b->name, MAX_COMPARED);
}

/* By address; the best symbol of an address first. */
static int compare_symbols(const void *pa, const void *pb)
{
	const struct symbol *a = pa, *b = pb;

	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	if (a->plt != b->plt)
		return a->plt ? 1 : -1;
	if (!a->size != !b->size)
		return a->size ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return compare_names(a, b);
}

/* Keeps the best symbol of each address, with the size of the largest; then notes which symbol is around which. */
static void arrange(struct elf_symbols *e)
{
	struct symbol *all = e->symbols.at;
	uint32_t n = 0, open = NONE;

	if (!e->symbols.n)
		return;
	qsort(all, e->symbols.n, sizeof(*all), compare_symbols);
	for (size_t i = 0; i < e->symbols.n; i++) {
		if (n && all[n - 1].address == all[i].address) {
			all[n - 1].size = MAX(all[n - 1].size, all[i].size);
			continue;
		}
		while (open != NONE && all[open].size && all[open].address + all[open].size <= all[i].address)
			open = all[open].outer;
		/* A label inside of a function is a place in it. A symbol without size ends where the next begins. */
		if (open != NONE && all[open].size && !all[i].size)
			continue;
		if (open != NONE && !all[open].size)
			open = all[open].outer;
		all[n] = all[i];
		all[n].outer = open;
		open = n++;
	}
	e->symbols.n = e->n_sorted = n;
}

static const struct symbol *last_before(const struct elf_symbols *e, uint64_t address)
{
	size_t low = 0, high = e->n_sorted;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (e->symbols.at[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &e->symbols.at[low - 1] : NULL;
}

/* A symbol without size does not reach into another section (no sections: another segment). */
static bool same_section(const struct elf_image *image, uint64_t a, uint64_t b)
{
	size_t n;
	const struct elf_section *sections = elf_image_sections(image, &n);

	for (size_t i = 0; i < n; i++)
		if ((sections[i].flags & SHF_EXECINSTR) && a >= sections[i].address && a - sections[i].address < sections[i].size)
			return b - sections[i].address < sections[i].size;
	return n == 0;
}

static const struct symbol *find(const struct elf_symbols *e, uint64_t address)
{
	const struct symbol *s = last_before(e, address);

	/* Functions do not nest more than once or twice; a table made to be walked is not walked. */
	for (unsigned step = 0; s && step < 64; step++) {
		if (s->size ? address - s->address < s->size : s == last_before(e, address) && same_section(e->image, s->address, address))
			return s;
		s = s->outer == NONE ? NULL : &e->symbols.at[s->outer];
	}
	return NULL;
}

/* A relocation that a PLT stub's slot may have. */
struct slot {
	uint64_t address;
	uint32_t symbol;
	int64_t addend;                      /* IRELATIVE: address of the resolver */
};

struct slots {
	VEC(struct slot) all;
};

/* every: also those that no stub can have, so that the n-th is the n-th of the section. */
static int load_slots(const struct elf_image *image, const char *name, bool every, struct slots *slots)
{
	const struct elf_section *section = elf_image_section(image, name);
	struct reader rela;

	if (!section || section->type != SHT_RELA)
		return 0;
	rela = elf_image_section_bytes(image, section);
	while (reader_left(&rela) >= sizeof(Elf64_Rela) && slots->all.n < SYMBOLIZER_MAX_SYMBOLS) {
		Elf64_Rela entry;
		struct slot slot;
		uint32_t type;

		memcpy(&entry, reader_bytes(&rela, sizeof(entry)), sizeof(entry));
		type = (uint32_t)ELF64_R_TYPE(entry.r_info);
		if (!every && type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_IRELATIVE)
			continue;
		slot = (struct slot){
			.address = entry.r_offset, .symbol = (uint32_t)ELF64_R_SYM(entry.r_info),
			.addend = type == R_X86_64_IRELATIVE ? entry.r_addend : 0,
		};
		if (vec_push(&slots->all, slot) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int compare_slots(const void *pa, const void *pb)
{
	const struct slot *a = pa, *b = pb;

	return (a->address > b->address) - (a->address < b->address);
}

/*
 * What a stub does, as linkers for x86-64 write it: [endbr64] [bnd] jmp *slot(%rip), or, in a lazy .plt beside a
 * .plt.sec, endbr64; push $n; which leads to the n-th entry of .rela.plt.
 */
struct stub {
	bool jumps, pushes;
	uint64_t slot;
	uint32_t number;
};

static struct stub decode_stub(struct reader code, uint64_t address)
{
	static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	struct stub stub = { 0 };

	if (code.size >= sizeof(endbr64) && !memcmp(code.data, endbr64, sizeof(endbr64)))
		reader_skip(&code, sizeof(endbr64));
	if (reader_left(&code) && code.data[code.at] == 0xf2)
		reader_skip(&code, 1);
	switch (reader_u8(&code)) {
	case 0xff: /* jmp *disp32(%rip) */
		if (reader_u8(&code) != 0x25)
			break;
		stub.slot = (uint64_t)(int64_t)reader_i32(&code);
		stub.slot += address + code.at;
		stub.jumps = reader_ok(&code);
		break;
	case 0x68: /* push imm32 */
		stub.number = reader_u32(&code);
		stub.pushes = reader_ok(&code);
		break;
	}
	return stub;
}

static const char *slot_name(const struct elf_symbols *e, const struct table *dynamic, const struct slot *slot)
{
	const struct symbol *s;

	if (slot->symbol)
		return slot->symbol < dynamic->n ? name_at(dynamic, symbol_at(dynamic, slot->symbol).st_name) : NULL;
	s = slot->addend ? find(e, (uint64_t)slot->addend) : NULL;
	return s ? s->name : NULL;
}

static int add_stub(struct elf_symbols *e, uint64_t address, uint32_t size, const char *name)
{
	_cleanup_free_ char *whole = NULL;
	struct symbol symbol = { .address = address, .size = size, .outer = NONE, .plt = true };

	if (asprintf(&whole, "%.*s@plt", (int)MIN(strcspn(name, "@"), (size_t)RESOLVE_MAX_STRING - 8), name) < 0) {
		whole = NULL;
		return -ENOMEM;
	}
	symbol.name = whole;
	if (vec_push(&e->stubs, whole) < 0)
		return -ENOMEM;
	(void)TAKE(whole);
	return vec_push(&e->symbols, symbol);
}

static int load_stubs(struct elf_symbols *e, const char *name, const struct table *dynamic, const struct slots *by_number,
		const struct slots *by_address)
{
	const struct elf_section *section = elf_image_section(e->image, name);
	struct reader code;
	uint64_t step;

	if (!section)
		return 0;
	code = elf_image_section_bytes(e->image, section);
	/* .plt.got has 8-byte stubs without endbr64, 16-byte ones with; linkers tell so in sh_entsize. */
	step = section->entry_size == 8 ? 8 : 16;
	for (uint64_t at = 0; reader_ok(&code) && at + step <= code.size && e->symbols.n < SYMBOLIZER_MAX_SYMBOLS; at += step) {
		struct stub stub = decode_stub(reader_part(&code, at, step), section->address + at);
		const struct slot *slot = NULL;
		const char *target;
		int r;

		if (stub.jumps) {
			struct slot key = { .address = stub.slot };

			slot = by_address->all.n ? bsearch(&key, by_address->all.at, by_address->all.n, sizeof(key), compare_slots) : NULL;
		} else if (stub.pushes && stub.number < by_number->all.n)
			slot = &by_number->all.at[stub.number];
		target = slot ? slot_name(e, dynamic, slot) : NULL;
		if (!target || !*target)
			continue;
		r = add_stub(e, section->address + at, (uint32_t)step, target);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_plt(struct elf_symbols *e)
{
	static const char *const sections[] = { ".plt", ".plt.sec", ".plt.got", ".iplt" };
	struct slots by_number = { 0 }, by_address = { 0 };
	struct table dynamic = { 0 };
	int r;

	table_of(e->image, SHT_DYNSYM, &dynamic);
	r = load_slots(e->image, ".rela.plt", true, &by_number);
	if (r >= 0 && by_number.all.n && vec_append(&by_address.all, by_number.all.at, by_number.all.n) < 0)
		r = -ENOMEM;
	if (r >= 0)
		r = load_slots(e->image, ".rela.dyn", false, &by_address);
	if (r >= 0 && by_address.all.n)
		vec_sort(&by_address.all, compare_slots);
	for (size_t i = 0; i < ARRAY_SIZE(sections) && r >= 0; i++)
		r = load_stubs(e, sections[i], &dynamic, &by_number, &by_address);
	vec_deinit(&by_number.all);
	vec_deinit(&by_address.all);
	return r;
}

static int load(struct elf_symbols *e)
{
	int r;

	r = load_table(e, e->debug, SHT_SYMTAB);
	if (r >= 0)
		r = load_table(e, e->image, SHT_SYMTAB);
	if (r >= 0)
		r = load_table(e, e->image, SHT_DYNSYM);
	if (r >= 0 && !e->is_data)
		r = load_mini(e);
	if (r < 0)
		return r;
	arrange(e);
	if (e->is_data)
		return 0;
	r = load_plt(e);
	if (r < 0)
		return r;
	arrange(e);
	return 0;
}

/* Failure leaves an empty table behind, which is not tried again. */
static int load_once(struct elf_symbols *e)
{
	int r;

	if (e->loaded)
		return 0;
	e->loaded = true;
	r = load(e);
	if (r < 0) {
		vec_deinit(&e->symbols);
		e->n_sorted = 0;
	}
	return r;
}

static int resolve(void *state, uint64_t address, struct names *names)
{
	struct elf_symbols *e = state;
	char demangled[DEMANGLE_MAX], plain[RESOLVE_MAX_STRING];
	struct frame frame = { .system_name = plain };
	const struct symbol *s;
	int r;

	r = load_once(e);
	if (r < 0)
		return r;
	s = find(e, address);
	if (!s)
		return RESOLVE_E_UNKNOWN;
	/* "memcpy@@GLIBC_2.14": the version is the linker's. */
	snprintf(plain, sizeof(plain), "%.*s", (int)(s->plt ? strlen(s->name) : strcspn(s->name, "@")), s->name);
	if (s->plt) {
		/* Demangle what the stub leads to. */
		char target[RESOLVE_MAX_STRING];
		size_t n;

		snprintf(target, sizeof(target), "%.*s", (int)strcspn(plain, "@"), plain);
		n = demangle(target, demangled);
		if (n && n + sizeof("@plt") <= sizeof(demangled)) {
			memcpy(demangled + n, "@plt", sizeof("@plt"));
			frame.name = demangled;
		}
	} else if (demangle(plain, demangled))
		frame.name = demangled;
	if (!frame.name) {
		frame.name = plain;
		frame.system_name = NULL;
	}
	return names_add_frame(names, &frame);
}

static void free_state(void *state)
{
	struct elf_symbols *e = state;

	if (!e)
		return;
	for (size_t i = 0; i < e->stubs.n; i++)
		free(e->stubs.at[i]);
	vec_deinit(&e->stubs);
	vec_deinit(&e->symbols);
	minidebug_close(&e->mini);
	free(e);
}

static const struct resolver_ops ops = {
	.name = "elf",
	.tells = RESOLVE_TELLS_FUNCTIONS,
	.resolve = resolve,
	.free = free_state,
};

int resolve_elf_open(const struct elf_image *image, const struct elf_image *debug, struct resolver *ret)
{
	struct table table;
	struct elf_symbols *e;

	if (!table_of(image, SHT_SYMTAB, &table) && !table_of(image, SHT_DYNSYM, &table) && !elf_image_section(image, ".gnu_debugdata") &&
	    !(debug && table_of(debug, SHT_SYMTAB, &table)))
		return RESOLVE_E_NONE;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->image = image;
	e->debug = debug;
	*ret = (struct resolver){ .ops = &ops, .state = e };
	return 0;
}

const char *resolve_elf_symbol(const struct resolver *resolver, uint64_t address)
{
	struct elf_symbols *e = resolver->state;
	const struct symbol *s;

	if (!e || load_once(e) < 0)
		return NULL;
	s = last_before(e, address);
	return s && s->address == address && !s->plt ? s->name : NULL;
}

int resolve_elf_open_data(const struct elf_image *image, const struct elf_image *debug, struct resolver *ret)
{
	int r = resolve_elf_open(image, debug, ret);

	if (r == 0)
		((struct elf_symbols *)ret->state)->is_data = true;
	return r;
}

bool resolve_elf_variable(const struct resolver *resolver, uint64_t address, uint64_t *ret_start)
{
	struct elf_symbols *e = resolver->state;
	const struct symbol *s;

	if (!e || load_once(e) < 0)
		return false;
	s = find(e, address);
	if (!s)
		return false;
	*ret_start = s->address;
	return true;
}
