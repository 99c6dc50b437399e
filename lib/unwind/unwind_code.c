/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <string.h>

#include "cleanup.h"
#include "unwind_code.h"

static int add_rsp_plus(unwind_code_add add, void *userdata, uint64_t start, uint64_t end, int32_t offset)
{
	const struct unwind_rule rule = { .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .offset = offset };

	return start < end ? add(userdata, start, end, &rule) : 0;
}

/* --- PLT --- */

enum {
	PLT_ENTRY_SIZE = 16,
};

/*
 * From which byte of an entry on the index of the function has been pushed; PLT_ENTRY_SIZE: it is not. Linkers know four
 * sorts (System V ABI, AMD64 supplement, 5.2 and 13.1; lld/ELF/Arch/X86_64.cpp):
 *
 *	jmp *slot(%rip); push $index; jmp header         lazy
 *	endbr64; push $index; jmp header                 lazy, of a PLT in two parts
 *	push $index; bnd jmp header                      the same before endbr64
 *	all else                                         jumps on and leaves the stack as it is
 */
static int32_t pushed_from(const uint8_t *entry)
{
	static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

	if (entry[0] == 0xff && entry[1] == 0x25 && entry[6] == 0x68)
		return 11;
	if (!memcmp(entry, endbr64, sizeof(endbr64)) && entry[4] == 0x68)
		return 9;
	if (entry[0] == 0x68)
		return 5;
	return PLT_ENTRY_SIZE;
}

/* push (%rip); jmp *(%rip): the first entry of a lazy one, where the index has been pushed. */
static bool is_plt_header(const uint8_t *entry)
{
	return entry[0] == 0xff && entry[1] == 0x35;
}

static int add_plt_section(const struct elf_section *section, struct reader bytes, unwind_code_add add, void *userdata)
{
	uint64_t start = section->offset, end = start + bytes.size;
	struct unwind_rule rule = { .cfa = UNWIND_CFA_PLT, .reg = UNWIND_REGISTER_SP };
	int r;

	/* The walk looks at the address' last four bits. */
	if (section->address % PLT_ENTRY_SIZE || bytes.size < PLT_ENTRY_SIZE)
		return add_rsp_plus(add, userdata, start, end, 8);
	if (is_plt_header(bytes.data)) {
		r = add_rsp_plus(add, userdata, start, start + 6, 16);
		if (!r)
			r = add_rsp_plus(add, userdata, start + 6, start + PLT_ENTRY_SIZE, 24);
		if (r)
			return r;
		start += PLT_ENTRY_SIZE;
		reader_skip(&bytes, PLT_ENTRY_SIZE);
	}
	if (reader_left(&bytes) < PLT_ENTRY_SIZE)
		return add_rsp_plus(add, userdata, start, end, 8);
	rule.offset = pushed_from(bytes.data + bytes.at);
	if (rule.offset == PLT_ENTRY_SIZE)
		return add_rsp_plus(add, userdata, start, end, 8);
	return add(userdata, start, end, &rule);
}

int unwind_code_plt(const struct elf_image *image, unwind_code_add add, void *userdata)
{
	static const char *const names[] = { ".plt", ".plt.got", ".plt.sec", ".iplt" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct elf_section *section = elf_image_section(image, names[i]);
		struct reader bytes;
		int r;

		if (!section)
			continue;
		bytes = elf_image_section_bytes(image, section);
		if (!reader_ok(&bytes))
			continue;
		r = add_plt_section(section, bytes, add, userdata);
		if (r)
			return r;
	}
	return 0;
}

/* --- The entry point --- */

/*
 * How long it is: up to its last byte before what the C library's start function returns to. All C libraries align the
 * stack for that call. Else a few bytes: enough for a thread that is there, too few to take in another function.
 */
static size_t entry_size(struct reader code)
{
	static const uint8_t align_stack[] = { 0x48, 0x83, 0xe4, 0xf0 }; /* and $-16, %rsp */
	const uint8_t *p = memmem(code.data, MIN(code.size, (size_t)48), align_stack, sizeof(align_stack));
	struct reader r;

	if (!p)
		return 8;
	r = reader_part(&code, (size_t)(p - code.data), MIN(code.size - (size_t)(p - code.data), (size_t)64));
	while (reader_left(&r) >= 6) {
		const uint8_t *at = r.data + r.at;

		if (at[0] == 0xe8) /* call */
			return (size_t)(at - code.data) + 5;
		if (at[0] == 0xff && at[1] == 0x15) /* call *(%rip) */
			return (size_t)(at - code.data) + 6;
		reader_skip(&r, 1);
	}
	return 8;
}

int unwind_code_entry(const struct elf_image *image, unwind_code_add add, void *userdata)
{
	const struct unwind_rule rule = { .cfa = UNWIND_CFA_END };
	uint64_t entry = elf_image_entry(image), offset;
	struct reader code;
	size_t size;

	if (!entry || !elf_image_offset_of_address(image, entry, &offset))
		return 0;
	code = elf_image_bytes_at(image, entry, SIZE_MAX);
	if (!reader_ok(&code))
		return 0;
	size = MIN(entry_size(code), code.size);
	return add(userdata, offset, offset + size, &rule);
}

/* --- Stubs --- */

/*
 * mov $15, %eax or %rax; syscall: rt_sigreturn, for which the kernel wants the ucontext at rsp. The frame's address is
 * that of the stub's first byte, as if the byte before it had called the handler: that one belongs to it.
 */
static int add_sigreturn(const uint8_t *code, uint64_t offset, uint64_t start, uint64_t at, unwind_code_add add, void *userdata)
{
	const struct unwind_rule rule = { .cfa = UNWIND_CFA_SIGNAL };
	uint64_t first = at;

	if (at - start >= 1 && code[at - 1] == 0xb8)
		first = at - 1;
	else if (at - start >= 3 && code[at - 3] == 0x48 && code[at - 2] == 0xc7 && code[at - 1] == 0xc0)
		first = at - 3;
	else
		return 0;
	first -= first > start;
	return add(userdata, offset + first, offset + at + 6, &rule);
}

static int find_sigreturns(struct reader bytes, uint64_t offset, unwind_code_add add, void *userdata)
{
	static const uint8_t wanted[] = { 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05 };
	const uint8_t *p = bytes.data, *end = p + bytes.size;
	int r;

	while ((p = memmem(p, (size_t)(end - p), wanted, sizeof(wanted)))) {
		r = add_sigreturn(bytes.data, offset, 0, (uint64_t)(p - bytes.data), add, userdata);
		if (r)
			return r;
		p += sizeof(wanted);
	}
	return 0;
}

/*
 * Where clone(2) of musl (src/thread/x86_64/clone.s, since 0.7) begins a thread:
 *
 *	xor %ebp,%ebp; pop %rdi; call *%r9; mov %eax,%edi; xor %eax,%eax; mov $60,%al; syscall; hlt
 */
static int find_thread_starts(struct reader bytes, uint64_t offset, unwind_code_add add, void *userdata)
{
	static const uint8_t wanted[] = { 0x31, 0xed, 0x5f, 0x41, 0xff, 0xd1, 0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05 };
	const struct unwind_rule rule = { .cfa = UNWIND_CFA_END };
	const uint8_t *p = bytes.data, *end = p + bytes.size;
	int r;

	while ((p = memmem(p, (size_t)(end - p), wanted, sizeof(wanted)))) {
		uint64_t at = offset + (uint64_t)(p - bytes.data);

		r = add(userdata, at, at + sizeof(wanted), &rule);
		if (r)
			return r;
		p += sizeof(wanted);
	}
	return 0;
}

/* Pages that are looked at stay in memory: the C library has 2 MiB, programs with one of their own some more. */
#define MAX_CONTEXT_BYTES (UINT64_C(32) << 20)

static int find_contexts(struct reader bytes, uint64_t offset, unwind_code_add add, void *userdata)
{
	/* mov %rbx,%rsp; mov (%rsp),%rdi; test %rdi,%rdi; je; call setcontext; mov %rax,%rdi; call exit; hlt */
	static const uint8_t wanted[] = { 0x48, 0x89, 0xdc, 0x48, 0x8b, 0x3c, 0x24, 0x48, 0x85, 0xff, 0x74, 0x08, 0xe8 };
	enum { SIZE = 26 };
	const struct unwind_rule rule = { .cfa = UNWIND_CFA_END, .reg = UNWIND_END_NOT_CALLED };
	const uint8_t *start = bytes.data, *end = start + bytes.size, *p = start;
	int r = 0;

	while (!r && (p = memmem(p, (size_t)(end - p), wanted, sizeof(wanted)))) {
		uint64_t at = (uint64_t)(p - start);

		if (at > 0 && bytes.size - at >= SIZE)
			r = add(userdata, offset + at - 1, offset + at + SIZE, &rule);
		p += sizeof(wanted);
	}
	return r;
}

int unwind_code_contexts(const struct elf_image *image, unwind_code_add add, void *userdata)
{
	struct reader file = elf_image_bytes(image);
	uint64_t n_left = MAX_CONTEXT_BYTES;
	size_t n;
	const struct elf_segment *segments = elf_image_segments(image, &n);
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		uint64_t size = MIN(segments[i].file_size, n_left);
		struct reader bytes = reader_part(&file, segments[i].offset, size);

		if (segments[i].type != PT_LOAD || !(segments[i].flags & PF_X) || !reader_ok(&bytes))
			continue;
		n_left -= size;
		r = find_contexts(bytes, segments[i].offset, add, userdata);
	}
	return r;
}

int unwind_code_stubs(const struct elf_image *image, uint64_t start, uint64_t end, unwind_code_add add, void *userdata)
{
	struct reader file = elf_image_bytes(image), bytes = reader_part(&file, start, end - start);
	int r;

	if (end < start || !reader_ok(&bytes))
		return 0;
	r = find_sigreturns(bytes, start, add, userdata);
	return r ? r : find_thread_starts(bytes, start, add, userdata);
}
