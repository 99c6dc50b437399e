/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of lib/unwind against elfutils' own reading of the same file: at each place where one of the two begins a new row
 * both are asked where the caller's registers are, and compute them from the same made-up registers and memory. They must
 * agree wherever elfutils has an answer, but for what our rules cannot say, which is counted.
 *
 *	compare_cfi [--measure] FILE...
 *	compare_cfi --debug DEBUGFILE FILE
 *
 * Prints a line for each file: rows, rules, places compared, differences, places unsupported, each difference with its
 * address (ten of a file at most). 1 when there is a difference. With --measure, size, time and memory instead.
 */
#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "elf_image.h"
#include "unwind_cfi.h"
#include "unwind_code.h"
#include "unwind_go.h"
#include "unwind_rows.h"
#include "vec.h"

enum { REGISTER_RETURN = 16, N_VALUES = 17, MAX_TOLD = 10, MAX_STACK = 32 };

struct counts {
	size_t compared, differ, unsupported, without_bp, without_bx, go_differ;
};

struct range {
	uint64_t start, end;
};

struct file {
	const char *path;
	struct elf_image *image, *debug_image;
	struct unwind_rows rows;
	Elf *elf, *debug_elf;
	Dwarf *dwarf;
	Dwarf_CFI *eh, *debug;
	VEC(struct range) go;                        /* file offsets that Go's own tables speak of: they win over CFI */
	VEC(struct range) contexts;                  /* and where unwind_code_contexts() knows better than CFI, too */
	struct counts counts;
};

/* --- A made-up process --- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15;
	return x ^ (x >> 29);
}

static uint64_t memory_at(uint64_t address)
{
	return mix(address + 0x1234567);
}

static void make_registers(uint64_t pc, uint64_t values[N_VALUES])
{
	for (unsigned i = 0; i < N_VALUES; i++)
		values[i] = mix(pc * 31 + i + 1) & 0x7ffffffffff8;
	values[REGISTER_RETURN] = pc;
}

/* What is found, if anything is. */
struct found {
	enum { FOUND_NOTHING, FOUND_VALUE, FOUND_UNDEFINED } what;
	uint64_t value;
};

/* --- As elfutils has it --- */

struct machine {
	const uint64_t *registers;
	uint64_t cfa;
	uint64_t stack[MAX_STACK];
	unsigned n;
};

static uint64_t pop(struct machine *m)
{
	if (!m->n) {
		printf("# an expression pops what is not there\n");
		exit(2);
	}
	return m->stack[--m->n];
}

static bool push(struct machine *m, uint64_t value)
{
	if (m->n == MAX_STACK)
		return false;
	m->stack[m->n++] = value;
	return true;
}

static bool operate_binary(struct machine *m, uint8_t atom)
{
	uint64_t b = pop(m), a = pop(m);

	switch (atom) {
	case DW_OP_plus:
		return push(m, a + b);
	case DW_OP_minus:
		return push(m, a - b);
	case DW_OP_and:
		return push(m, a & b);
	case DW_OP_or:
		return push(m, a | b);
	case DW_OP_shl:
		return push(m, a << (b & 63));
	case DW_OP_shr:
		return push(m, a >> (b & 63));
	case DW_OP_mul:
		return push(m, a * b);
	case DW_OP_ge:
		return push(m, (int64_t)a >= (int64_t)b);
	case DW_OP_gt:
		return push(m, (int64_t)a > (int64_t)b);
	case DW_OP_le:
		return push(m, (int64_t)a <= (int64_t)b);
	case DW_OP_lt:
		return push(m, (int64_t)a < (int64_t)b);
	default:
		return false;
	}
}

static bool operate(struct machine *m, const Dwarf_Op *op)
{
	if (op->atom >= DW_OP_lit0 && op->atom <= DW_OP_lit31)
		return push(m, op->atom - DW_OP_lit0);
	if (op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg16)
		return push(m, m->registers[op->atom - DW_OP_breg0] + op->number);
	switch (op->atom) {
	case DW_OP_nop:
		return true;
	case DW_OP_bregx:
		return op->number < N_VALUES && push(m, m->registers[op->number] + op->number2);
	case DW_OP_call_frame_cfa:
		return push(m, m->cfa);
	case DW_OP_addr: case DW_OP_const1u: case DW_OP_const1s: case DW_OP_const2u: case DW_OP_const2s: case DW_OP_const4u:
	case DW_OP_const4s: case DW_OP_const8u: case DW_OP_const8s: case DW_OP_constu: case DW_OP_consts:
		return push(m, op->number);
	case DW_OP_plus_uconst:
		return push(m, pop(m) + op->number);
	case DW_OP_deref:
		return push(m, memory_at(pop(m)));
	case DW_OP_dup:
		return m->n && push(m, m->stack[m->n - 1]);
	default:
		return operate_binary(m, op->atom);
	}
}

/* The value of a register in the caller, or of the CFA itself (is_address: an expression of it has no memory behind it). */
static struct found evaluate(const Dwarf_Op *ops, size_t n, const uint64_t *registers, uint64_t cfa, bool is_value)
{
	struct machine m = { .registers = registers, .cfa = cfa };

	for (size_t i = 0; i < n; i++) {
		if (ops[i].atom == DW_OP_stack_value)
			is_value = true;
		else if (ops[i].atom >= DW_OP_reg0 && ops[i].atom <= DW_OP_reg16 && n == 1)
			return (struct found){ FOUND_VALUE, registers[ops[i].atom - DW_OP_reg0] };
		else if (ops[i].atom == DW_OP_regx && n == 1 && ops[i].number < N_VALUES)
			return (struct found){ FOUND_VALUE, registers[ops[i].number] };
		else if (!operate(&m, &ops[i]))
			return (struct found){ FOUND_NOTHING };
	}
	if (!m.n)
		return (struct found){ FOUND_NOTHING };
	return (struct found){ FOUND_VALUE, is_value ? pop(&m) : memory_at(pop(&m)) };
}

static struct found their_register(Dwarf_Frame *frame, int reg, const uint64_t *registers, uint64_t cfa)
{
	Dwarf_Op memory[3], *ops;
	size_t n;

	if (dwarf_frame_register(frame, reg, memory, &ops, &n) != 0)
		return (struct found){ FOUND_NOTHING };
	if (!n)
		return ops ? (struct found){ FOUND_UNDEFINED } : (struct found){ FOUND_VALUE, registers[reg] };
	return evaluate(ops, n, registers, cfa, false);
}

/* --- As our rule has it, and as bpf/unwind.bpf.h follows it --- */

static struct found our_cfa(const struct unwind_rule *rule, const uint64_t *registers)
{
	uint64_t base = registers[rule->reg & ~UNWIND_CALLER_INTERRUPTED];

	switch (rule->cfa) {
	case UNWIND_CFA_REGISTER:
		return (struct found){ FOUND_VALUE, base + (uint64_t)(int64_t)rule->offset };
	case UNWIND_CFA_RETURN_REGISTER:
		return (struct found){ FOUND_VALUE, registers[UNWIND_REGISTER_SP] + (uint64_t)(int64_t)rule->offset };
	case UNWIND_CFA_DEREFERENCE:
		return (struct found){ FOUND_VALUE, memory_at(base + (uint64_t)(int64_t)rule->inner) + (uint64_t)(int64_t)rule->addend };
	case UNWIND_CFA_PLT:
		return (struct found){ FOUND_VALUE, registers[UNWIND_REGISTER_SP] + 8 +
			((int32_t)(registers[REGISTER_RETURN] & 15) >= rule->offset ? 8 : 0) };
	case UNWIND_CFA_SIGNAL:
		return (struct found){ FOUND_VALUE, memory_at(registers[UNWIND_REGISTER_SP] + 160) };
	default:
		return (struct found){ FOUND_NOTHING };
	}
}

static struct found our_register(const struct unwind_rule *rule, int reg, const uint64_t *registers, uint64_t cfa)
{
	static const uint8_t in_ucontext[N_VALUES] = { [UNWIND_REGISTER_BP] = 120, [UNWIND_REGISTER_BX] = 128, [REGISTER_RETURN] = 168 };
	int8_t place = reg == REGISTER_RETURN ? -1 : reg == UNWIND_REGISTER_BP ? rule->bp : rule->bx;

	if (rule->cfa == UNWIND_CFA_SIGNAL)
		return (struct found){ FOUND_VALUE, memory_at(registers[UNWIND_REGISTER_SP] + in_ucontext[reg]) };
	if (rule->cfa == UNWIND_CFA_RETURN_REGISTER && reg == REGISTER_RETURN)
		return (struct found){ FOUND_VALUE, registers[rule->reg] };
	if (place == UNWIND_SAVED_NOWHERE)
		return (struct found){ FOUND_NOTHING };
	if (place == UNWIND_SAVED_SAME)
		return (struct found){ FOUND_VALUE, registers[reg] };
	if (place > 0)
		return (struct found){ FOUND_VALUE, memory_at(registers[UNWIND_REGISTER_BP] - 8 * (uint64_t)(place - UNWIND_SAVED_AT_BP)) };
	return (struct found){ FOUND_VALUE, memory_at(cfa + (uint64_t)(8 * (int64_t)place)) };
}

/* --- Comparing --- */

static const struct unwind_rule *our_rule(const struct file *f, uint64_t offset)
{
	size_t low = 0, high = f->rows.rows.n;

	if (offset >= f->rows.end)
		return NULL;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (f->rows.rows.at[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &f->rows.rules.at[f->rows.rows.at[low - 1].rule] : NULL;
}

static bool is_go(const struct file *f, uint64_t offset)
{
	size_t low = 0, high = f->go.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (f->go.at[middle].end <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < f->go.n && f->go.at[low].start <= offset;
}

/* The rule for code that the compiler did not describe may not be used for code that it did. */
static const char *difference(struct counts *counts, const struct unwind_rule *rule, Dwarf_Frame *frame, uint64_t pc)
{
	uint64_t registers[N_VALUES];
	struct found cfa, ours, theirs, back;
	Dwarf_Op *ops;
	size_t n;

	make_registers(pc, registers);
	back = their_register(frame, REGISTER_RETURN, registers, 0);
	if (back.what == FOUND_UNDEFINED || rule->cfa == UNWIND_CFA_END)
		return back.what == FOUND_UNDEFINED && rule->cfa == UNWIND_CFA_END ? NULL : "end of the stack";
	if (dwarf_frame_cfa(frame, &ops, &n) != 0)
		return NULL; /* elfutils has no answer */
	if (rule->cfa == UNWIND_CFA_UNKNOWN) {
		counts->unsupported++;
		return NULL;
	}
	theirs = evaluate(ops, n, registers, 0, true);
	cfa = our_cfa(rule, registers);
	if (cfa.what != FOUND_VALUE || theirs.what != FOUND_VALUE || cfa.value != theirs.value)
		return "CFA";
	ours = our_register(rule, REGISTER_RETURN, registers, cfa.value);
	theirs = their_register(frame, REGISTER_RETURN, registers, cfa.value);
	if (theirs.what != FOUND_VALUE || ours.value != theirs.value)
		return "return address";
	ours = our_register(rule, UNWIND_REGISTER_BP, registers, cfa.value);
	theirs = their_register(frame, UNWIND_REGISTER_BP, registers, cfa.value);
	if (ours.what == FOUND_VALUE && (theirs.what != FOUND_VALUE || ours.value != theirs.value))
		return "rbp";
	counts->without_bp += ours.what == FOUND_NOTHING && theirs.what == FOUND_VALUE;
	ours = our_register(rule, UNWIND_REGISTER_BX, registers, cfa.value);
	theirs = their_register(frame, UNWIND_REGISTER_BX, registers, cfa.value);
	/* elfutils 0.188's table of callee-saved registers (backends/x86_64_cfi.c) has rax where it means rbx. */
	if (theirs.what == FOUND_UNDEFINED && rule->bx == UNWIND_SAVED_SAME)
		theirs = (struct found){ FOUND_VALUE, registers[UNWIND_REGISTER_BX] };
	if (ours.what == FOUND_VALUE && (theirs.what != FOUND_VALUE || ours.value != theirs.value))
		return "rbx";
	counts->without_bx += ours.what == FOUND_NOTHING && theirs.what == FOUND_VALUE;
	return NULL;
}

static void compare_at(struct file *f, uint64_t pc, Dwarf_Frame *frame)
{
	const struct unwind_rule *rule;
	const char *what;
	uint64_t offset;

	if (!elf_image_offset_of_address(f->image, pc, &offset))
		return;
	rule = our_rule(f, offset);
	f->counts.compared++;
	what = rule ? difference(&f->counts, rule, frame, pc) : "no row";
	if (!what)
		return;
	if (is_go(f, offset)) {
		f->counts.go_differ++;
		return;
	}
	for (size_t i = 0; i < f->contexts.n; i++)
		if (rule && rule->cfa == UNWIND_CFA_END && offset >= f->contexts.at[i].start && offset < f->contexts.at[i].end)
			return;
	if (f->counts.differ++ >= MAX_TOLD)
		return;
	printf("# %s: 0x%" PRIx64 ": %s differs", f->path, pc, what);
	if (rule)
		printf("; ours: cfa %u reg %u offset %d bp %d bx %d", rule->cfa, rule->reg, rule->offset, rule->bp, rule->bx);
	printf("\n");
}

/* .eh_frame is the first of the two for us, too. */
static Dwarf_Frame *their_frame(const struct file *f, uint64_t pc)
{
	Dwarf_Frame *frame;

	if (f->eh && dwarf_cfi_addrframe(f->eh, pc, &frame) == 0)
		return frame;
	if (f->debug && dwarf_cfi_addrframe(f->debug, pc, &frame) == 0)
		return frame;
	return NULL;
}

/* All of their rows from an address on, as far as they go on; returns where they stop. */
static uint64_t compare_from(struct file *f, uint64_t pc, uint64_t limit)
{
	while (pc < limit) {
		Dwarf_Frame *frame = their_frame(f, pc);
		Dwarf_Addr start, end;

		if (!frame)
			break;
		compare_at(f, pc, frame);
		dwarf_frame_info(frame, &start, &end, NULL);
		if (end > pc + 1 && end <= limit)
			compare_at(f, end - 1, frame);
		free(frame);
		if (end <= pc)
			break;
		pc = end;
	}
	return pc;
}

static int compare_addresses(const void *pa, const void *pb)
{
	uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

	return (a > b) - (a < b);
}

typedef VEC(uint64_t) addresses;

/* Where functions begin, by the table that the linker sorted for its own search: not by our parser. */
static void add_table_of_linker(const struct file *f, addresses *starts)
{
	size_t n;
	const struct elf_segment *segments = elf_image_segments(f->image, &n);

	for (size_t i = 0; i < n; i++) {
		struct reader r;
		uint32_t n_functions;

		if (segments[i].type != PT_GNU_EH_FRAME)
			continue;
		r = elf_image_bytes_at(f->image, segments[i].address, segments[i].file_size);
		/* Version 1, eh_frame_ptr pcrel sdata4, count udata4, table datarel sdata4: what all linkers write. */
		if (reader_u32(&r) != 0x3b031b01)
			continue;
		reader_skip(&r, 4);
		n_functions = reader_u32(&r);
		for (uint32_t k = 0; k < n_functions; k++) {
			int32_t start = reader_i32(&r);

			reader_skip(&r, 4);
			if (!reader_ok(&r) || vec_push(starts, segments[i].address + (uint64_t)(int64_t)start) < 0)
				break;
		}
	}
}

/* Likewise from .debug_frame, where addresses are plain. */
static void add_functions_of_debug_frame(const struct file *f, addresses *starts)
{
	Elf_Scn *section = NULL;
	size_t names;

	if (elf_getshdrstrndx(f->debug_elf, &names) != 0)
		return;
	while ((section = elf_nextscn(f->debug_elf, section))) {
		GElf_Shdr header;
		const char *name = gelf_getshdr(section, &header) ? elf_strptr(f->debug_elf, names, header.sh_name) : NULL;
		Elf_Data *data;
		Dwarf_Off at = 0, next;
		Dwarf_CFI_Entry entry;

		if (!name || strcmp(name, ".debug_frame"))
			continue;
		if (header.sh_flags & SHF_COMPRESSED)
			elf_compress(section, 0, 0);
		data = elf_getdata(section, NULL);
		while (data && dwarf_next_cfi((const unsigned char *)elf_getident(f->debug_elf, NULL), data, false, at, &next, &entry) == 0) {
			uint64_t start;

			if (entry.CIE_id != UINT64_MAX && entry.fde.end - entry.fde.start >= 8) {
				memcpy(&start, entry.fde.start, sizeof(start));
				if (vec_push(starts, start) < 0)
					break;
			}
			at = next;
		}
	}
}

static void add_our_rows(const struct file *f, addresses *starts)
{
	for (size_t i = 0; i < f->rows.rows.n; i++) {
		uint64_t address;

		if (elf_image_address_of_offset(f->image, f->rows.rows.at[i].offset, &address) && vec_push(starts, address) < 0)
			break;
	}
}

static void compare_file(struct file *f)
{
	addresses starts = { 0 };

	add_table_of_linker(f, &starts);
	add_functions_of_debug_frame(f, &starts);
	add_our_rows(f, &starts);
	if (starts.n)
		qsort(starts.at, starts.n, sizeof(*starts.at), compare_addresses);
	/* From each start to the next, so that no row of theirs is left out between two of ours. */
	for (size_t i = 0; i < starts.n; i++)
		if (i + 1 == starts.n || starts.at[i] != starts.at[i + 1])
			compare_from(f, starts.at[i], i + 1 < starts.n ? starts.at[i + 1] : UINT64_MAX);
	vec_deinit(&starts);
}

static void add_go(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct file *f = userdata;
	struct range range = { start, end };

	if (f->go.n && f->go.at[f->go.n - 1].end == start)
		f->go.at[f->go.n - 1].end = end;
	else if (vec_push(&f->go, range) < 0)
		exit(2);
}

static int add_context(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct file *f = userdata;

	return vec_push(&f->contexts, ((struct range){ start, end }));
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* getrusage(2) counts what the program was before execve(2). */
static long resident_kib(void)
{
	_cleanup_fclose_ FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	long kib = 0;

	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "VmHWM: %ld", &kib) == 1)
			break;
	return kib;
}

static void measure(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct elf_image *image;
	struct unwind_rows rows = { 0 };
	double start, took;

	if (fd < 0 || elf_image_open(fd, &image))
		return;
	start = cpu_seconds();
	if (unwind_rows_build(image, NULL, &rows) == 0) {
		took = cpu_seconds() - start;
		printf("%s: %zu rows, %zu rules, %zu bytes, %.3f s, %ld KiB resident at most, %zu functions, %zu unsupported, %zu corrupt\n",
			path, rows.rows.n, rows.rules.n, rows.rows.n * 4 + rows.rules.n * 8, took, resident_kib(),
			rows.stats.n_functions, rows.stats.n_unsupported, rows.stats.n_corrupt);
	}
	unwind_rows_deinit(&rows);
	elf_image_free(image);
}

static void open_theirs(struct file *f, int fd, int debug_fd)
{
	f->elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	f->debug_elf = elf_begin(debug_fd, ELF_C_READ_MMAP, NULL);
	f->eh = dwarf_getcfi_elf(f->elf);
	f->dwarf = dwarf_begin_elf(f->debug_elf, DWARF_C_READ, NULL);
	f->debug = f->dwarf ? dwarf_getcfi(f->dwarf) : NULL;
}

static void close_all(struct file *f)
{
	if (f->eh)
		dwarf_cfi_end(f->eh);
	if (f->dwarf)
		dwarf_end(f->dwarf);
	elf_end(f->elf);
	elf_end(f->debug_elf);
	vec_deinit(&f->go);
	vec_deinit(&f->contexts);
	unwind_rows_deinit(&f->rows);
	elf_image_free(f->image);
	elf_image_free(f->debug_image);
}

/* Whether there was a difference. */
static bool one_file(const char *path, const char *debug_path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int debug_fd = open(debug_path ? debug_path : path, O_RDONLY | O_CLOEXEC);
	struct file f = { .path = path };
	double seconds = -cpu_seconds();

	if (fd < 0 || debug_fd < 0 || elf_image_open(fd, &f.image) || (debug_path && elf_image_open(debug_fd, &f.debug_image)) ||
	    unwind_rows_build(f.image, f.debug_image, &f.rows)) {
		printf("%s: no code\n", path);
	} else {
		seconds += cpu_seconds();
		unwind_go_rows(f.image, add_go, &f);
		if (unwind_code_contexts(f.image, add_context, &f) < 0)
			exit(2);
		open_theirs(&f, fd, debug_fd);
		compare_file(&f);
		printf("%s: %zu rows, %zu rules, %zu compared, %zu differ, %zu unsupported, %zu without rbp, %zu without rbx, "
			"%zu differ from Go's tables, %zu corrupt, %.3f s\n",
			path, f.rows.rows.n, f.rows.rules.n, f.counts.compared, f.counts.differ, f.counts.unsupported,
			f.counts.without_bp, f.counts.without_bx, f.counts.go_differ, f.rows.stats.n_corrupt, seconds);
	}
	close_all(&f);
	return f.counts.differ;
}

int main(int argc, char **argv)
{
	bool differs = false, is_measured = false;
	const char *debug = NULL;

	elf_version(EV_CURRENT);
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--measure"))
			is_measured = true;
		else if (!strcmp(argv[i], "--debug") && i + 1 < argc)
			debug = argv[++i];
		else if (is_measured)
			measure(argv[i]);
		else
			differs |= one_file(argv[i], debug);
	return differs;
}
