/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_stack PID [LEAF-ADDRESS-LOW LEAF-ADDRESS-HIGH]
 *
 * Stops a thread for a moment, walks its stack with the walk of bpf/unwind.bpf.h and tables of lib/unwind, has elfutils
 * walk it, too, and prints all that went in and came out (recorded.h): what tests/unit/bpf/stacks/ is made of. Exit
 * status 0: both agree; 3: they don't, which is printed as comments (elfutils knows nothing of Go's stacks).
 */
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "elf_image.h"
#include "recorded.h"
#include "unwind_rows.h"

struct mapped {
	uint64_t start, end, file_offset;
	struct unwind_rows rows;
	bool is_executable, has_rows, is_looked_at;
	char path[256];
};

static struct recorded recorded;
static VEC(struct mapped) mappings;
static pid_t pid;

static long unwind_read(void *to, uint32_t size, uint64_t from)
{
	struct recorded_memory memory = { .start = from, .size = size };
	struct iovec local = { memory.bytes, size }, remote = { (void *)(uintptr_t)from, size };

	if (size > sizeof(memory.bytes) || process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)size)
		return -14; /* EFAULT */
	memcpy(to, memory.bytes, size);
	return vec_push(&recorded.memory, memory);
}

static void read_mappings(void)
{
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		struct mapped m = { 0 };
		char protection[8];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %*s %255s", &m.start, &m.end, protection, &m.file_offset, m.path) < 4)
			continue;
		m.is_executable = protection[2] == 'x';
		if (vec_push(&mappings, m) < 0)
			exit(1);
	}
	if (f)
		fclose(f);
}

static int open_image(const struct mapped *m, struct elf_image **ret)
{
	struct iovec local = { malloc(m->end - m->start), m->end - m->start };
	struct iovec remote = { (void *)(uintptr_t)m->start, local.iov_len };
	char path[128];
	int fd, r;

	if (!strcmp(m->path, "[vdso]")) { /* its bytes live as long as we do */
		if (process_vm_readv(pid, &local, 1, &remote, 1, 0) < 0)
			return -EFAULT;
		return elf_image_open_memory(local.iov_base, local.iov_len, ret);
	}
	free(local.iov_base);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, m->start, m->end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = elf_image_open(fd, ret);
	close(fd);
	return r;
}

static void look_at(struct mapped *m)
{
	struct elf_image *image;

	if (m->is_looked_at)
		return;
	m->is_looked_at = true;
	if (open_image(m, &image) != 0)
		return;
	m->has_rows = unwind_rows_build(image, NULL, &m->rows) == 0 && m->rows.rows.n;
	elf_image_free(image);
}

static struct recorded_rule find_row(struct mapped *m, uint64_t address)
{
	uint64_t offset = address - m->start + m->file_offset, bias = m->start - m->file_offset;
	const struct unwind_rows *rows = &m->rows;
	size_t low = 0, high = rows->rows.n;

	if (offset < rows->rows.at[0].offset || offset >= rows->end)
		return (struct recorded_rule){ .start = address, .end = address + 1, .verdict = SAMPLE_VERDICT_NO_ROW };
	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (rows->rows.at[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return (struct recorded_rule){
		.start = bias + rows->rows.at[low].offset,
		.end = bias + (high < rows->rows.n ? rows->rows.at[high].offset : rows->end),
		.rule = rows->rules.at[rows->rows.at[low].rule],
		.guess = SAMPLE_VERDICT_BAD_FRAME,
	};
}

static int unwind_rule_at(struct unwind *unwind, memory_owner owner, __u64 address, struct unwind_rule *ret)
{
	struct recorded_rule found = { .start = address, .end = address + 1, .verdict = SAMPLE_VERDICT_NO_MAPPING };

	for (size_t i = 0; i < mappings.n; i++) {
		struct mapped *m = &mappings.at[i];

		if (address < m->start || address >= m->end || !m->is_executable)
			continue;
		look_at(m);
		if (m->has_rows)
			found = find_row(m, address);
		else
			found = (struct recorded_rule){ .start = m->start, .end = m->end, .guess = SAMPLE_VERDICT_NO_FRAME,
				.rule = { .cfa = UNWIND_CFA_FRAME_POINTER, .bx = UNWIND_SAVED_NOWHERE } };
	}
	if (!recorded_rule_at(&recorded, address))
		(void)vec_push(&recorded.rules, found);
	*ret = found.rule;
	unwind->guess = found.guess;
	return (int)found.verdict;
}

static struct unwind_registers registers_of(const struct user_regs_struct *r)
{
	return (struct unwind_registers){ .ip = r->rip, .known = UNWIND_KNOWN_ALL, .is_exact = true,
		.at = { r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 } };
}

/* elfutils' walk */

static VEC(uint64_t) theirs;

static int on_frame(Dwfl_Frame *frame, void *userdata)
{
	Dwarf_Addr pc;
	bool is_activation;

	if (!dwfl_frame_pc(frame, &pc, &is_activation))
		return DWARF_CB_ABORT;
	if (theirs.n && is_activation)
		pc |= SAMPLE_INTERRUPTED;
	return vec_push(&theirs, (uint64_t)pc) < 0 ? DWARF_CB_ABORT : DWARF_CB_OK;
}

static void walk_with_elfutils(pid_t tid)
{
	static const Dwfl_Callbacks callbacks = { .find_elf = dwfl_linux_proc_find_elf, .find_debuginfo = dwfl_standard_find_debuginfo };
	Dwfl *dwfl = dwfl_begin(&callbacks);

	if (dwfl && dwfl_linux_proc_report(dwfl, pid) == 0 && dwfl_report_end(dwfl, NULL, NULL) == 0 &&
			dwfl_linux_proc_attach(dwfl, pid, true) == 0)
		dwfl_getthread_frames(dwfl, tid, on_frame, NULL);
	dwfl_end(dwfl);
}

static void print(void)
{
	printf("registers %" PRIx64, (uint64_t)recorded.registers.ip);
	for (size_t i = 0; i < UNWIND_N_REGISTERS; i++)
		printf(" %" PRIx64, (uint64_t)recorded.registers.at[i]);
	putchar('\n');
	for (size_t i = 0; i < recorded.memory.n; i++) {
		printf("memory %" PRIx64 " ", recorded.memory.at[i].start);
		for (size_t k = 0; k < recorded.memory.at[i].size; k++)
			printf("%02x", recorded.memory.at[i].bytes[k]);
		putchar('\n');
	}
	for (size_t i = 0; i < recorded.rules.n; i++) {
		const struct recorded_rule *r = &recorded.rules.at[i];

		printf("rule %" PRIx64 " %" PRIx64 " %x %x %x %x %x %x %x\n", r->start, r->end, r->rule.cfa, r->rule.reg, (uint8_t)r->rule.bp,
				(uint8_t)r->rule.bx, (uint32_t)r->rule.offset, r->guess, r->verdict);
	}
	for (size_t i = 0; i < recorded.frames.n; i++)
		printf("frame %" PRIx64 "\n", recorded.frames.at[i]);
	printf("verdict %x\n", recorded.verdict);
}

static bool compare(void)
{
	bool agree = recorded.frames.n == theirs.n;

	/* That the first function of a context was not called, elfutils does not know. */
	for (size_t i = 0; agree && i < theirs.n; i++)
		agree = recorded.frames.at[i] == theirs.at[i] || (i == theirs.n - 1 && (recorded.frames.at[i] & ~SAMPLE_INTERRUPTED) == theirs.at[i]);
	if (agree) {
		printf("# elfutils agrees\n");
		return true;
	}
	printf("# elfutils disagrees: %zu frames, theirs are %zu\n", recorded.frames.n, theirs.n);
	for (size_t i = 0; i < theirs.n; i++)
		printf("# theirs %" PRIx64 "\n", theirs.at[i]);
	return false;
}

int main(int argc, char **argv)
{
	static struct unwind walk;
	struct user_regs_struct regs;
	bool agree;
	int status;

	if (argc < 2)
		return 2;
	pid = atoi(argv[1]);
	read_mappings();
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 ||
			waitpid(pid, &status, __WALL) != pid || ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0) {
		perror("record_stack");
		return 1;
	}
	if (argc == 4 && (regs.rip < strtoull(argv[2], NULL, 16) || regs.rip >= strtoull(argv[3], NULL, 16)))
		return 4; /* not there now */
	recorded.registers = registers_of(&regs);
	walk.registers = recorded.registers;
	unwind_user(&walk, 0, 1);
	for (size_t i = 0; i < walk.n && i < SAMPLE_MAX_USER_FRAMES; i++)
		if (vec_push(&recorded.frames, (uint64_t)walk.frames[i]) < 0)
			return 1;
	recorded.verdict = walk.verdict;
	walk_with_elfutils(pid);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	agree = compare();
	print();
	return agree ? 0 : 3;
}
