/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A Go process for tests, of any version: a program of a few functions (an ELF file), and its memory, in which lie goroutines that
 * wait in several ways, records of the runtime's profilers and its statistics.
 */
#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unwind/made_go.h"
#include "elf_image.h"
#include "go_binary.h"
#include "go_layout.h"
#include "go_memory.h"
#include "go_process.h"

#define MADE_MEMORY UINT64_C(0x600000)
#define MADE_MEMORY_SIZE (128U << 10)

enum {
	MADE_N_GOROUTINES = 8,
	MADE_FUNCTION_SIZE = 0x20,
	/* Where in the memory what lies. */
	MADE_STATS_AT = 0x4000, MADE_SEMAPHORES_AT = 0x8000, MADE_REASONS_AT = 0xe000, MADE_TEXTS_AT = 0xe400, MADE_GS_AT = 0x10000,
	MADE_STACKS_AT = 0x12000, MADE_SUDOGS_AT = 0x14000, MADE_CHANNELS_AT = 0x15000, MADE_LABELS_AT = 0x16000, MADE_BUCKETS_AT = 0x18000,
	MADE_M_AT = 0x1a000, MADE_ALLGS_AT = 0x1b000,
	MADE_STACK_SIZE = 0x200, MADE_G_SIZE = 0x200,
};

enum { MADE_RT0, MADE_GOEXIT, MADE_RUNTIME_MAIN, MADE_MAIN, MADE_WAITS, MADE_FORCE_GC, MADE_N_FUNCTIONS };

/* The text's index in runtime.waitReasonStrings. */
enum { MADE_REASON_NONE, MADE_REASON_RECEIVE, MADE_REASON_SELECT, MADE_REASON_SEMACQUIRE, MADE_REASON_IDLE, MADE_REASON_CONDITION, MADE_N_REASONS };

struct made_process {
	const struct go_layout *layout;
	struct go_version version;
	struct made_go file;
	struct elf_image *image;
	struct go_binary *binary;
	struct go_process *process;
	struct go_memory memory;
	uint8_t bytes[MADE_MEMORY_SIZE];
	uint64_t n_reads;
};

/* --- the program ------------------------------------------------------------------------------------------------ */

static inline uint64_t made_variable(int which)
{
	if (which == GO_STATS)
		return MADE_MEMORY + MADE_STATS_AT;
	if (which == GO_SEMAPHORES)
		return MADE_MEMORY + MADE_SEMAPHORES_AT;
	if (which == GO_WAIT_REASONS)
		return MADE_MEMORY + MADE_REASONS_AT;
	return MADE_MEMORY + (uint64_t)which * 0x400;
}

static inline uint64_t made_function(int which)
{
	return MADE_GO_TEXT + (uint64_t)which * MADE_FUNCTION_SIZE;
}

struct made_section {
	uint32_t name, type, link;
	uint64_t address, size;
	const void *bytes;                   /* NULL: it has none in the file */
};

static inline struct made_go made_program(const char *version)
{
	static const char section_names[] = "\0.text\0.gopclntab\0.go.buildinfo\0.symtab\0.strtab\0.noptrbss\0.shstrtab";
	static const uint8_t code[MADE_FUNCTION_SIZE] = { 0x90 };
	static const struct made_go_depth no_depth = { MADE_FUNCTION_SIZE, 0 }, depth = { MADE_FUNCTION_SIZE, 32 };
	const struct made_go_function functions[MADE_N_FUNCTIONS] = {
		[MADE_RT0] = { "_rt0_amd64_linux", MADE_GO_TOP, code, sizeof(code), &no_depth, 1 },
		[MADE_GOEXIT] = { "runtime.goexit", MADE_GO_TOP, code, sizeof(code), &no_depth, 1 },
		[MADE_RUNTIME_MAIN] = { "runtime.main", 0, code, sizeof(code), &depth, 1 },
		[MADE_MAIN] = { "main.main", 0, code, sizeof(code), &depth, 1 },
		[MADE_WAITS] = { "main.waits", 0, code, sizeof(code), &depth, 1 },
		[MADE_FORCE_GC] = { "runtime.forcegchelper", 0, code, sizeof(code), &depth, 1 },
	};
	struct made_go table = made_go_table(functions, MADE_N_FUNCTIONS), file = { 0 }, names = { 0 }, symbols = { 0 };
	uint8_t build_info[128] = "\xff Go buildinf:", text[MADE_N_FUNCTIONS * MADE_FUNCTION_SIZE];
	Elf64_Shdr headers[8] = { 0 };
	struct made_section sections[8];
	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_ehsize = sizeof(header), .e_entry = MADE_GO_TEXT,
		.e_phoff = sizeof(header), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
		.e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 8, .e_shstrndx = 7,
	};
	Elf64_Phdr segment = { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = MADE_GO_OFFSET, .p_vaddr = MADE_GO_TEXT,
		.p_filesz = sizeof(text), .p_memsz = sizeof(text), .p_align = 4096 };

	memset(text, 0x90, sizeof(text));
	build_info[14] = 8;
	build_info[15] = 2;
	build_info[32] = (uint8_t)strlen(version);
	memcpy(build_info + 33, version, strlen(version));
	made_go_bytes(&names, "", 1);
	made_go_bytes(&symbols, &(Elf64_Sym){ 0 }, sizeof(Elf64_Sym));
	for (int i = 0; i < GO_N_VARIABLES; i++) {
		Elf64_Sym symbol = { .st_name = (uint32_t)names.b.n, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), .st_value = made_variable(i) };
		const char *name = i == GO_MEMORY_CYCLE && strstr(version, "1.18") ? "runtime.mProf" : go_variable_name((enum go_variable)i);

		made_go_bytes(&names, name, strlen(name) + 1);
		made_go_bytes(&symbols, &symbol, sizeof(symbol));
	}
	memcpy(sections, (struct made_section[8]){
		[1] = { 1, SHT_PROGBITS, 0, MADE_GO_TEXT, sizeof(text), text },
		[2] = { 7, SHT_PROGBITS, 0, 0, table.b.n, table.b.at },
		[3] = { 18, SHT_PROGBITS, 0, 0, sizeof(build_info), build_info },
		[4] = { 32, SHT_SYMTAB, 5, 0, symbols.b.n, symbols.b.at },
		[5] = { 40, SHT_STRTAB, 0, 0, names.b.n, names.b.at },
		[6] = { 48, SHT_NOBITS, 0, MADE_MEMORY, MADE_MEMORY_SIZE, NULL },
		[7] = { 58, SHT_STRTAB, 0, 0, sizeof(section_names), section_names },
	}, sizeof(sections));
	header.e_shoff = sizeof(header) + sizeof(segment);
	for (uint64_t i = 1, at = MADE_GO_OFFSET; i < 8; i++) {
		headers[i] = (Elf64_Shdr){ .sh_name = sections[i].name, .sh_type = sections[i].type, .sh_link = sections[i].link,
			.sh_flags = sections[i].address ? SHF_ALLOC : 0, .sh_addr = sections[i].address, .sh_offset = at, .sh_size = sections[i].size };
		at += sections[i].bytes ? sections[i].size : 0;
	}
	made_go_bytes(&file, &header, sizeof(header));
	made_go_bytes(&file, &segment, sizeof(segment));
	made_go_bytes(&file, headers, sizeof(headers));
	while (file.b.n < MADE_GO_OFFSET)
		made_go_bytes(&file, "", 1);
	for (size_t i = 1; i < 8; i++)
		if (sections[i].bytes)
			made_go_bytes(&file, sections[i].bytes, sections[i].size);
	vec_deinit(&table.b);
	vec_deinit(&names.b);
	vec_deinit(&symbols.b);
	return file;
}

/* --- its memory ------------------------------------------------------------------------------------------------- */

static inline void made_put(struct made_process *made, uint64_t address, uint64_t value)
{
	memcpy(made->bytes + (address - MADE_MEMORY), &value, sizeof(value));
}

static inline void made_put_u8(struct made_process *made, uint64_t address, uint8_t value)
{
	made->bytes[address - MADE_MEMORY] = value;
}

static inline uint64_t made_g(int i)
{
	return MADE_MEMORY + MADE_GS_AT + (uint64_t)i * MADE_G_SIZE;
}

static inline uint64_t made_channel(int i)
{
	return MADE_MEMORY + MADE_CHANNELS_AT + (uint64_t)i * 0x80;
}

static inline uint64_t made_sudog(int i)
{
	return MADE_MEMORY + MADE_SUDOGS_AT + (uint64_t)i * 0x80;
}

/* A text, once for each call; returns its address. */
static inline uint64_t made_text(struct made_process *made, uint64_t *at, const char *text, uint64_t place)
{
	uint64_t address = *at;

	memcpy(made->bytes + (address - MADE_MEMORY), text, strlen(text));
	*at += strlen(text);
	made_put(made, place, address);
	made_put(made, place + 8, strlen(text));
	return address;
}

/* Its stack is of main.waits, called by `caller`, called by runtime.goexit. */
static inline void made_goroutine(struct made_process *made, int i, uint8_t status, uint8_t reason, int caller)
{
	const struct go_layout *layout = made->layout;
	uint64_t g = made_g(i), low = MADE_MEMORY + MADE_STACKS_AT + (uint64_t)i * MADE_STACK_SIZE, sp = low + 0x100;

	made_put(made, MADE_MEMORY + MADE_ALLGS_AT + (uint64_t)i * 8, g);
	made_put(made, g, low);
	made_put(made, g + 8, low + MADE_STACK_SIZE);
	made_put(made, g + layout->g.sched_sp, sp);
	made_put(made, g + layout->g.sched_pc, made_function(MADE_WAITS) + 8);
	made_put(made, g + layout->g.id, (uint64_t)i + 1);
	made_put(made, g + layout->g.go_pc, made_function(MADE_MAIN) + 9);
	made_put(made, g + layout->g.start_pc, made_function(caller));
	made_put_u8(made, g + layout->g.status, status);
	made_put_u8(made, g + layout->g.wait_reason, reason);
	made_put(made, sp + 32, made_function(caller) + 8);
	made_put(made, sp + 32 + 8 + 32, made_function(MADE_GOEXIT) + 1);
}

static inline void made_wait(struct made_process *made, int sudog, int g, uint64_t channel, bool is_send)
{
	const struct go_layout *layout = made->layout;
	uint64_t address = made_sudog(sudog);

	made_put(made, address, made_g(g));
	made_put(made, address + layout->sudog.channel, channel);
	made_put(made, channel + (is_send ? layout->channel.senders : layout->channel.receivers), address);
}

static inline void made_labels(struct made_process *made, int g, uint64_t *texts)
{
	uint64_t labels = MADE_MEMORY + MADE_LABELS_AT, pairs = labels + 0x200;

	made_put(made, made_g(g) + made->layout->g.labels, labels);
	if (made->layout->labels_are_map) {
		/* The map, with one bucket of two cells: tophash, keys, values. */
		made_put(made, labels, labels + 0x40);
		made_put(made, labels + 0x40, 2);
		made_put(made, labels + 0x40 + 16, pairs);
		made_put_u8(made, pairs + 1, 0x77);
		made_put_u8(made, pairs + 6, 0x99);
		made_text(made, texts, "tenant", pairs + 8 + 16);
		made_text(made, texts, "seven", pairs + 136 + 16);
		made_text(made, texts, "request", pairs + 8 + 6 * 16);
		made_text(made, texts, "slow", pairs + 136 + 6 * 16);
		return;
	}
	made_put(made, labels, pairs);
	made_put(made, labels + 8, 2);
	made_put(made, labels + 16, 2);
	made_text(made, texts, "tenant", pairs);
	made_text(made, texts, "seven", pairs + 16);
	made_text(made, texts, "request", pairs + 32);
	made_text(made, texts, "slow", pairs + 48);
}

static inline void made_goroutines(struct made_process *made)
{
	static const char *const reasons[MADE_N_REASONS] = { "", "chan receive", "select", "semacquire", "force gc (idle)", "sync.Cond.Wait" };
	const struct go_layout *layout = made->layout;
	uint64_t allgs = made_variable(GO_ALLGS), texts = MADE_MEMORY + MADE_TEXTS_AT, m = MADE_MEMORY + MADE_M_AT, sema = MADE_MEMORY + 0x3f00;

	made_put(made, allgs, MADE_MEMORY + MADE_ALLGS_AT);
	made_put(made, allgs + 8, MADE_N_GOROUTINES);
	made_put(made, allgs + 16, MADE_N_GOROUTINES);
	for (int i = 0; i < MADE_N_REASONS; i++)
		made_text(made, &texts, reasons[i], made_variable(GO_WAIT_REASONS) + (uint64_t)i * 16);
	made_goroutine(made, 0, 4, MADE_REASON_RECEIVE, MADE_RUNTIME_MAIN);
	made_goroutine(made, 1, 4, MADE_REASON_IDLE, MADE_FORCE_GC);
	made_goroutine(made, 2, 4, MADE_REASON_SELECT, MADE_MAIN);
	made_goroutine(made, 3, 4, MADE_REASON_SEMACQUIRE, MADE_MAIN);
	made_goroutine(made, 4, 4, MADE_REASON_SEMACQUIRE, MADE_MAIN);
	made_goroutine(made, 5, 2, MADE_REASON_NONE, MADE_MAIN);
	made_goroutine(made, 6, 6, MADE_REASON_NONE, MADE_MAIN);
	made_goroutine(made, 7, 1, MADE_REASON_NONE, MADE_MAIN);
	/* One waits for a channel, one for two. */
	made_wait(made, 0, 0, made_channel(0), false);
	made_put(made, made_g(0) + layout->g.waiting, made_sudog(0));
	made_wait(made, 1, 2, made_channel(1), true);
	made_wait(made, 2, 2, made_channel(2), false);
	made_put(made, made_g(2) + layout->g.waiting, made_sudog(1));
	made_put(made, made_sudog(1) + layout->sudog.wait_link, made_sudog(2));
	made_put_u8(made, made_sudog(1) + layout->sudog.is_select, 1);
	made_put_u8(made, made_sudog(2) + layout->sudog.is_select, 1);
	/* Two wait for the same semaphore. */
	for (int i = 3; i < 5; i++) {
		made_put(made, made_sudog(i), made_g(i));
		made_put(made, made_sudog(i) + layout->sudog.elem, sema);
		if (layout->sudog.has_semaphores)
			made_put(made, made_g(i) + layout->g.waiting, made_sudog(i));
	}
	made_put(made, made_sudog(3) + layout->sudog.wait_link, made_sudog(4));
	made_put(made, made_variable(GO_SEMAPHORES) + 64 * 17 + 8, made_sudog(3));
	/* One runs. */
	made_put(made, made_g(5) + layout->g.m, m);
	made_put(made, m + layout->m.thread, 4711);
	made_put(made, m + layout->m.current_g, made_g(5));
	made_labels(made, 2, &texts);
}

/* One bucket each, with a stack of two. */
static inline void made_buckets(struct made_process *made)
{
	static const int lists[] = { GO_MEMORY_BUCKETS, GO_BLOCK_BUCKETS, GO_MUTEX_BUCKETS };

	for (uint64_t i = 0; i < 3; i++) {
		uint64_t bucket = MADE_MEMORY + MADE_BUCKETS_AT + i * 0x200, record = bucket + 48 + 16;

		made_put(made, made_variable(lists[i]), bucket);
		made_put(made, bucket + 16, i + 1);
		made_put(made, bucket + 32, 64);
		made_put(made, bucket + 40, 2);
		made_put(made, bucket + 48, made_function(MADE_WAITS) + 8);
		made_put(made, bucket + 56, made_function(MADE_MAIN) + 8);
		made_put(made, record, i ? UINT64_C(0x4008000000000000) : 5); /* 3.0 */
		made_put(made, record + 8, i ? 1234567 : 2);
		if (!i && made->version.minor < 27) {
			made_put(made, record + 16, 5 * 64);
			made_put(made, record + 24, 2 * 64);
		}
	}
	made_put(made, made_variable(GO_MEMORY_RATE), 512 * 1024);
	made_put(made, made_variable(GO_TICKS) + made->layout->ticks_value, 2300000000);
}

static inline void made_stats(struct made_process *made)
{
	const struct go_layout *layout = made->layout;

	made_put(made, made_variable(GO_STATS) + layout->stats.n_gc, 3);
	for (uint64_t i = 0; i < 3; i++)
		made_put(made, made_variable(GO_STATS) + layout->stats.pauses + i * 8, (i + 1) * 1000);
	made_put(made, made_variable(GO_GC) + layout->gc.live, 4 << 20);
	made_put(made, made_variable(GO_GOMAXPROCS), 2);
}

static inline void made_module(struct made_process *made)
{
	uint64_t module = made_variable(GO_FIRST_MODULE);

	made_put(made, module, 0x700000);
	made_put(made, module + 17 * 8, MADE_N_FUNCTIONS + 1);
	made_put(made, module + 22 * 8, MADE_GO_TEXT);
	made_put(made, module + 23 * 8, made_function(MADE_N_FUNCTIONS));
}

static inline int made_read(void *userdata, uint64_t address, void *to, size_t size)
{
	struct made_process *made = userdata;

	made->n_reads++;
	if (address < MADE_MEMORY || address - MADE_MEMORY > sizeof(made->bytes) || sizeof(made->bytes) - (address - MADE_MEMORY) < size)
		return -EIO;
	memcpy(to, made->bytes + (address - MADE_MEMORY), size);
	return 0;
}

/* --- its heap --------------------------------------------------------------------------------------------------- */

/* Sixteen mspans, and the list of them: of goroutines, of sudogs and channels, of labels, of objects of the program's, and one without pointers. */
enum { MADE_OBJECTS_AT = 0x1c000, MADE_OBJECT_SIZE = 0x40, MADE_SPANS_AT = 0x1e000, MADE_SPAN_SIZE = 0x100, MADE_N_SPANS = 16, MADE_ALL_SPANS_AT = 0x1f800 };

static inline uint64_t made_span(int i)
{
	return MADE_MEMORY + MADE_SPANS_AT + (uint64_t)i * MADE_SPAN_SIZE;
}

static inline uint64_t made_object(int i)
{
	return MADE_MEMORY + MADE_OBJECTS_AT + (uint64_t)i * MADE_OBJECT_SIZE;
}

static inline void made_span_is(struct made_process *made, int i, uint64_t start, uint64_t pages, uint64_t element, bool has_pointers)
{
	uint64_t shift = made->version.minor == 21 ? 8 : 0;

	made_put(made, made_span(i) + 24, start);
	made_put(made, made_span(i) + 32, pages);
	made_put_u8(made, made_span(i) + 98 + shift, !has_pointers);
	made_put_u8(made, made_span(i) + 99 + shift, 1);
	made_put(made, made_span(i) + 104 + shift, element);
}

static inline void made_spans(struct made_process *made)
{
	uint64_t list = MADE_MEMORY + MADE_ALL_SPANS_AT + 0x100;

	for (int i = 0; i < MADE_N_SPANS; i++)
		made_put(made, list + (uint64_t)i * 8, made_span(i));
	made_span_is(made, 0, MADE_MEMORY + MADE_GS_AT, 1, MADE_G_SIZE, true);
	made_span_is(made, 3, MADE_MEMORY + MADE_SUDOGS_AT, 1, 0x80, true);
	made_span_is(made, 7, MADE_MEMORY + MADE_LABELS_AT, 1, 0x400, true);
	made_span_is(made, 8, MADE_MEMORY + MADE_BUCKETS_AT, 1, 0x200, false);
	made_span_is(made, 15, MADE_MEMORY + MADE_OBJECTS_AT, 1, MADE_OBJECT_SIZE, true);
	made_put(made, MADE_MEMORY + MADE_ALL_SPANS_AT, list);
	made_put(made, MADE_MEMORY + MADE_ALL_SPANS_AT + 8, MADE_N_SPANS);
	made_put(made, MADE_MEMORY + MADE_ALL_SPANS_AT + 16, MADE_N_SPANS);
}

/* Of "go1.26.1". The process is not opened yet; what is to be damaged can be. */
static inline struct made_process *made_process_new(const char *version)
{
	struct made_process *made = calloc(1, sizeof(*made));
	struct go_binary_options options = { 0 };
	bool is_guess;

	if (!made || !go_version_parse(version, &made->version))
		abort();
	made->layout = go_layout_of(made->version, &is_guess);
	made->file = made_program(version);
	if (!made->layout || elf_image_open_memory(made->file.b.at, made->file.b.n, &made->image) ||
	    go_binary_open(made->image, &options, &made->binary))
		abort();
	made->memory = (struct go_memory){ .read = made_read, .userdata = made, .left_bytes = 64 << 20 };
	made_module(made);
	made_goroutines(made);
	made_buckets(made);
	made_stats(made);
	made_spans(made);
	return made;
}

/* go_process_new() of it. */
static inline int made_process_open(struct made_process *made, const char **why)
{
	return go_process_new(&(struct go_process_options){ .program = made->binary, .memory = &made->memory, .why = why }, &made->process);
}

static inline void made_process_free(struct made_process *made)
{
	go_process_free(made->process);
	go_binary_free(made->binary);
	elf_image_free(made->image);
	vec_deinit(&made->file.b);
	free(made);
}
