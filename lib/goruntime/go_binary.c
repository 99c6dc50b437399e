/* SPDX-License-Identifier: Apache-2.0 */
#include "go_binary.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "elf_image.h"
#include "gopclntab.h"
#include "map.h"
#include "reader.h"

enum {
	MAX_VERSION = 128,
	MAX_CODE = 64 << 10,                 /* of one function: runtime.semacquire1 has 2 KiB */
};

struct go_binary {
	const struct elf_image *image;
	struct gopclntab *functions;
	char version_text[MAX_VERSION];
	struct go_version version;
	uint64_t data_start, data_end;
	uint64_t variables[GO_N_VARIABLES];  /* 0: not found */
	bool has_memory_profile;
};

DEFINE_CLEANUP(struct go_binary, go_binary_free);

static const char *const names[GO_N_VARIABLES] = {
	[GO_ALLGS] = "runtime.allgs",
	[GO_ALLM] = "runtime.allm",
	[GO_GOMAXPROCS] = "runtime.gomaxprocs",
	[GO_FIRST_MODULE] = "runtime.firstmoduledata",
	[GO_WAIT_REASONS] = "runtime.waitReasonStrings",
	[GO_MEMORY_BUCKETS] = "runtime.mbuckets",
	[GO_BLOCK_BUCKETS] = "runtime.bbuckets",
	[GO_MUTEX_BUCKETS] = "runtime.xbuckets",
	[GO_MEMORY_CYCLE] = "runtime.mProfCycle",
	[GO_MEMORY_RATE] = "runtime.MemProfileRate",
	[GO_BLOCK_RATE] = "runtime.blockprofilerate",
	[GO_MUTEX_RATE] = "runtime.mutexprofilerate",
	[GO_STATS] = "runtime.memstats",
	[GO_GC] = "runtime.gcController",
	[GO_SEMAPHORES] = "runtime.semtable",
	[GO_TICKS] = "runtime.ticks",
};

/*
 * Which operand in the data segment, counted from 0 in the order of the code, of which function is the variable. The same
 * in programs of 1.18.10, 1.19.13, 1.20.14, 1.21.13, 1.22.12, 1.23.12, 1.24.11, 1.25.5, 1.26.8 and 1.27.1 where no versions stand.
 * What is found so must prove itself when the process is read (go_process.h).
 */
static const struct use {
	enum go_variable which;
	uint16_t from, until;                /* minor versions; 0: all */
	uint16_t operand;
	const char *function;
} uses[] = {
	{ GO_ALLGS, 0, 0, 1, "runtime.forEachG" },
	{ GO_ALLM, 0, 0, 3, "runtime.mexit" },
	{ GO_GOMAXPROCS, 0, 0, 1, "runtime.GOMAXPROCS" },
	{ GO_FIRST_MODULE, 0, 0, 0, "runtime.findfunc" },
	{ GO_WAIT_REASONS, 0, 0, 0, "runtime.waitReason.String" },
	{ GO_MEMORY_BUCKETS, 19, 0, 0, "runtime.mProf_FlushLocked" },
	{ GO_MEMORY_BUCKETS, 18, 18, 1, "runtime.mProf_FlushLocked" },
	{ GO_BLOCK_BUCKETS, 19, 0, 9, "runtime.stkbucket" },
	{ GO_BLOCK_BUCKETS, 18, 18, 13, "runtime.stkbucket" },
	{ GO_MUTEX_BUCKETS, 19, 0, 8, "runtime.stkbucket" },
	{ GO_MUTEX_BUCKETS, 18, 18, 11, "runtime.stkbucket" },
	{ GO_MEMORY_CYCLE, 19, 0, 0, "runtime.mProf_Flush" },
	{ GO_MEMORY_CYCLE, 18, 18, 1, "runtime.mProf_Malloc" },
	{ GO_MEMORY_RATE, 0, 0, 1, "runtime.profilealloc" },
	{ GO_BLOCK_RATE, 0, 0, 0, "runtime.blockevent" },
	{ GO_MUTEX_RATE, 21, 0, 3, "runtime.semacquire1" },
	{ GO_MUTEX_RATE, 18, 20, 1, "runtime.semacquire1" },
	{ GO_STATS, 0, 0, 2, "runtime.gcenable" }, /* its enablegc; readmemstats_m is not in every program */
	{ GO_GC, 0, 0, 2, "runtime.gcPaceSweeper" }, /* its heapLive */
	{ GO_SEMAPHORES, 21, 0, 0, "runtime.semacquire1" },
	{ GO_SEMAPHORES, 18, 20, 2, "runtime.semacquire1" },
	{ GO_TICKS, 22, 0, 1, "runtime.ticksPerSecond" },
	{ GO_TICKS, 18, 21, 1, "runtime.tickspersecond" },
};

const char *go_variable_name(enum go_variable which)
{
	return names[which];
}

/* --- the version ---------------------------------------------------------------------------------------------- */

/*
 * .go.buildinfo (cmd/link/internal/ld/data.go buildinfo(), debug/buildinfo): 16 bytes, of which the last two are the size of
 * a pointer and flags; since 1.18 flag 2 says that the version follows at 32 with its length in front.
 */
static bool read_version(struct go_binary *program)
{
	static const uint8_t magic[] = "\xff Go buildinf:";
	const struct elf_section *section = elf_image_section(program->image, ".go.buildinfo");
	struct reader r = section ? elf_image_section_bytes(program->image, section) : (struct reader){ .failed = true };
	const void *found = reader_bytes(&r, sizeof(magic) - 1), *text;
	uint64_t length;
	uint8_t flags;

	if (!found || memcmp(found, magic, sizeof(magic) - 1))
		return false;
	reader_u8(&r);
	flags = reader_u8(&r);
	reader_seek(&r, 32);
	length = reader_uleb128(&r);
	if (!(flags & 2) || length >= sizeof(program->version_text))
		return false;
	text = reader_bytes(&r, length);
	if (!text)
		return false;
	memcpy(program->version_text, text, length);
	return go_version_parse(program->version_text, &program->version);
}

/* --- variables by symbols ------------------------------------------------------------------------------------- */

static void find_by_symbols(struct go_binary *program)
{
	const struct elf_section *symbols = elf_image_section(program->image, ".symtab"), *sections;
	struct reader r, strings;
	size_t n_sections;

	sections = elf_image_sections(program->image, &n_sections);
	if (!symbols || symbols->link >= n_sections)
		return;
	r = elf_image_section_bytes(program->image, symbols);
	strings = elf_image_section_bytes(program->image, &sections[symbols->link]);
	while (reader_left(&r) >= sizeof(Elf64_Sym)) {
		Elf64_Sym symbol;
		struct reader at = strings;
		const char *name;

		memcpy(&symbol, reader_bytes(&r, sizeof(symbol)), sizeof(symbol));
		if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT)
			continue;
		reader_seek(&at, symbol.st_name);
		name = reader_string(&at);
		if (!name || strncmp(name, "runtime.", 8) != 0)
			continue;
		for (int i = 0; i < GO_N_VARIABLES; i++)
			if (!strcmp(name, names[i]))
				program->variables[i] = symbol.st_value;
		/* Of 1.18, whose first member it is not (runtime/mprof.go). */
		if (program->version.minor == 18 && !strcmp(name, "runtime.mProf"))
			program->variables[GO_MEMORY_CYCLE] = symbol.st_value;
	}
}

/* --- variables by code ---------------------------------------------------------------------------------------- */

static bool is_data(const struct go_binary *program, uint64_t address)
{
	return address >= program->data_start && address < program->data_end;
}

/* The address that an operand of the instruction has relative to rip; 0: none. */
static uint64_t target_of(const ZydisDecodedInstruction *instruction, const ZydisDecodedOperand *operands, uint64_t address)
{
	for (uint8_t i = 0; i < instruction->operand_count_visible; i++) {
		const ZydisDecodedOperand *o = &operands[i];
		ZyanU64 target;

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RIP &&
		    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(instruction, o, address, &target)))
			return target;
	}
	return 0;
}

/* The n-th operand of a function that lies in the data segment; 0: there are not so many. */
static uint64_t operand_of(const struct go_binary *program, const struct gopclntab_function *function, uint32_t n)
{
	uint64_t size = MIN(function->end - function->start, (uint64_t)MAX_CODE), at = 0;
	struct reader code = elf_image_bytes_at(program->image, function->start, size);
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction instruction;
	ZydisDecoder decoder;

	if (!reader_ok(&code) || ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return 0;
	while (at < code.size && ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data + at, code.size - at, &instruction, operands))) {
		uint64_t target = target_of(&instruction, operands, function->start + at);

		if (is_data(program, target) && n-- == 0)
			return target;
		at += instruction.length;
	}
	return 0;
}

static bool holds_for(const struct use *use, struct go_version version)
{
	return version.minor >= use->from && (!use->until || version.minor <= use->until);
}

/* The receiver of a method that the compiler makes of another one is a pointer: "runtime.(*waitReason).String". */
static bool is_function(const struct gopclntab_function *function, const char *name)
{
	return !strcmp(function->name, name);
}

/* Where the variable begins whose operand was found: of one it is a member. */
static uint64_t start_of(const struct go_binary *program, enum go_variable which, uint64_t operand)
{
	bool is_guess;
	const struct go_layout *layout = go_layout_of(program->version, &is_guess);

	if (!operand)
		return 0;
	return operand - (which == GO_GC ? layout->gc.live : which == GO_STATS ? layout->stats_enabled : 0);
}

static void find_by_code(struct go_binary *program)
{
	size_t n = gopclntab_n_functions(program->functions);

	for (size_t i = 0; i < n; i++) {
		struct gopclntab_function function;

		if (gopclntab_function(program->functions, i, &function) || !function.name || strncmp(function.name, "runtime.", 8) != 0)
			continue;
		/* The latter since 1.23, which is never inlined; the former is too large to be. */
		if (is_function(&function, program->version.minor < 23 ? "runtime.MemProfile" : "runtime.memProfileInternal"))
			program->has_memory_profile = true;
		for (size_t j = 0; j < ARRAY_SIZE(uses); j++)
			if (holds_for(&uses[j], program->version) && is_function(&function, uses[j].function) && !program->variables[uses[j].which])
				program->variables[uses[j].which] =
					start_of(program, uses[j].which, operand_of(program, &function, uses[j].operand));
	}
}

/* --- the thread's own g ---------------------------------------------------------------------------------------- */

/*
 * runtime.stackcheck (runtime/asm_amd64.s) begins with get_tls() and loads g, by `mov %fs:-8, %rax` or, position
 * independent, `mov $-8, %rcx; mov %fs:(%rcx), %rax`: the same in 1.18 to 1.27. What a linker left to the loader, as in a shared
 * library, is not followed.
 */
static bool find_thread_g(const struct go_binary *program, const struct gopclntab_function *function, int32_t *ret)
{
	uint64_t size = MIN(function->end - function->start, (uint64_t)64), at = 0;
	struct reader code = elf_image_bytes_at(program->image, function->start, size);
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisRegister loaded = ZYDIS_REGISTER_NONE;
	ZydisDecodedInstruction instruction;
	ZydisDecoder decoder;
	int64_t value = 0;

	if (!reader_ok(&code) || ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return false;
	while (at < code.size && ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data + at, code.size - at, &instruction, operands))) {
		const ZydisDecodedOperand *to = &operands[0], *from = &operands[1];

		at += instruction.length;
		if (instruction.mnemonic != ZYDIS_MNEMONIC_MOV || to->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			loaded = to->reg.value;
			value = from->imm.value.s;
			continue;
		}
		if (from->type != ZYDIS_OPERAND_TYPE_MEMORY || from->mem.segment != ZYDIS_REGISTER_FS || from->mem.index != ZYDIS_REGISTER_NONE ||
		    (from->mem.base != ZYDIS_REGISTER_NONE && from->mem.base != loaded))
			continue;
		value = from->mem.disp.value + (from->mem.base != ZYDIS_REGISTER_NONE ? value : 0);
		*ret = (int32_t)value;
		return value < 0 && value >= INT32_MIN && value % 8 == 0;
	}
	return false;
}

bool go_binary_thread_g(const struct go_binary *program, int32_t *ret_offset)
{
	size_t n = gopclntab_n_functions(program->functions);

	for (size_t i = 0; i < n; i++) {
		struct gopclntab_function function;

		if (!gopclntab_function(program->functions, i, &function) && function.name && is_function(&function, "runtime.stackcheck"))
			return find_thread_g(program, &function, ret_offset);
	}
	return false;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

/* By its sections: the runtime's own variables have four, and 1.26 a fifth for moduledata; else the whole segment. */
static void find_data(struct go_binary *program)
{
	static const char *const data_sections[] = { ".go.module", ".noptrdata", ".data", ".bss", ".noptrbss" };
	const struct elf_segment *segments;
	size_t n;

	program->data_start = UINT64_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(data_sections); i++) {
		const struct elf_section *section = elf_image_section(program->image, data_sections[i]);

		if (!section || !section->address || section->size > UINT64_MAX - section->address)
			continue;
		program->data_start = MIN(program->data_start, section->address);
		program->data_end = MAX(program->data_end, section->address + section->size);
	}
	if (program->data_end)
		return;
	segments = elf_image_segments(program->image, &n);
	for (size_t i = 0; i < n; i++) {
		if (segments[i].type != PT_LOAD || !(segments[i].flags & PF_W) || segments[i].memory_size > UINT64_MAX - segments[i].address)
			continue;
		program->data_start = MIN(program->data_start, segments[i].address);
		program->data_end = MAX(program->data_end, segments[i].address + segments[i].memory_size);
	}
}

int go_binary_open(const struct elf_image *image, const struct go_binary_options *options, struct go_binary **ret)
{
	_cleanup_(go_binary_free_p) struct go_binary *program = calloc(1, sizeof(*program));
	bool is_guess;
	int r;

	if (!program)
		return -ENOMEM;
	program->image = image;
	r = gopclntab_open(image, &program->functions);
	if (r)
		return r < 0 ? r : GO_BINARY_E_NONE;
	if (!read_version(program) || !go_layout_of(program->version, &is_guess))
		return GO_BINARY_E_VERSION;
	find_data(program);
	if (!options->without_symbols)
		find_by_symbols(program);
	find_by_code(program);
	*ret = TAKE(program);
	return 0;
}

struct go_binary *go_binary_free(struct go_binary *program)
{
	if (!program)
		return NULL;
	gopclntab_free(program->functions);
	free(program);
	return NULL;
}

const char *go_binary_version_text(const struct go_binary *program)
{
	return program->version_text;
}

struct go_version go_binary_version(const struct go_binary *program)
{
	return program->version;
}

const struct gopclntab *go_binary_functions(const struct go_binary *program)
{
	return program->functions;
}

bool go_binary_variable(const struct go_binary *program, enum go_variable which, uint64_t *ret_address)
{
	if (!program->variables[which])
		return false;
	*ret_address = program->variables[which];
	return true;
}

bool go_binary_has_memory_profile(const struct go_binary *program)
{
	return program->has_memory_profile;
}

void go_binary_data(const struct go_binary *program, uint64_t *ret_start, uint64_t *ret_end)
{
	*ret_start = program->data_start;
	*ret_end = program->data_end;
}
