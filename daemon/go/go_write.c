/* SPDX-License-Identifier: Apache-2.0 */
#include "go_write.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "helper.h"
#include "mappings.h"
#include "privileges.h"
#include "process.h"

enum { MOST_SEC = 5 };                       /* of the helper, should we end before it */

/* --- which program -------------------------------------------------------------------------------------------- */

/* `ret_code`: an address in its code. */
static int look(int proc, uint32_t pid, struct go_write_process *ret, uint64_t *ret_code)
{
	struct process_stat stat;
	int r = process_read_stat(proc, pid, &stat);

	if (r)
		return r;
	if (stat.is_zombie)
		return PROCESS_E_GONE;
	if (stat.start_stack <= 1 || stat.start_code <= 1)
		return -EACCES;
	*ret = (struct go_write_process){ .pid = pid, .start_ticks = stat.start_ticks, .start_stack = stat.start_stack };
	*ret_code = stat.start_code;
	return 0;
}

int go_write_identify(int proc, uint32_t pid, uint64_t start_ticks, struct go_write_process *ret)
{
	struct go_write_process is;
	uint64_t code;
	int r = look(proc, pid, &is, &code);

	if (r)
		return r;
	if (is.start_ticks != start_ticks)
		return PROCESS_E_GONE;
	*ret = is;
	return 0;
}

static bool is_same(const struct go_write_process *a, const struct go_write_process *b)
{
	return a->pid == b->pid && a->start_ticks == b->start_ticks && a->start_stack == b->start_stack;
}

/* --- which addresses are variables of it ---------------------------------------------------------------------- */

struct variables {
	uint64_t code;                       /* an address in the executable's code */
	uint64_t device, inode;              /* of that; 0: not found */
	uint64_t end;                        /* of the last mapping that belongs to its data */
	struct go_write *writes;
	size_t n;
};

static int note_executable(const struct mapping *mapping, void *userdata)
{
	struct variables *variables = userdata;

	if (variables->code >= mapping->start && variables->code < mapping->end && mapping->kind != MAPPING_ANONYMOUS) {
		variables->device = mapping->device;
		variables->inode = mapping->inode;
	}
	return 0;
}

/* What has no value at the start lies behind what the file has, without a file, and without a gap: the kernel maps both at exec. */
static int note_data(const struct mapping *mapping, void *userdata)
{
	struct variables *variables = userdata;
	bool is_of_file = mapping->inode && mapping->device == variables->device && mapping->inode == variables->inode;
	bool is_bss = !mapping->inode && mapping->start == variables->end;

	if (!is_of_file && !is_bss)
		return 0;
	variables->end = mapping->end;
	for (size_t i = 0; i < variables->n; i++) {
		struct go_write *write = &variables->writes[i];

		if (write->address >= mapping->start && write->address <= mapping->end - sizeof(write->value) &&
		    write->address % sizeof(write->value) == 0)
			write->outcome = 0;
	}
	return 0;
}

/* All have GO_WRITE_E_NO_VARIABLE before. */
static int find_variables(int proc, uint32_t pid, uint64_t code, struct go_write *writes, size_t n)
{
	struct variables variables = { .code = code, .writes = writes, .n = n };
	int r = mappings_read(proc, pid, note_executable, &variables);

	if (!r && variables.inode)
		r = mappings_read_which(proc, pid, MAPPINGS_WRITABLE, note_data, &variables);
	return r == MAPPINGS_E_TRUNCATED ? -E2BIG : r;
}

/* --- the helper ----------------------------------------------------------------------------------------------- */

/* Shared with the helper: what it did is known even if it is ended. */
struct errand {
	struct go_write writes[GO_WRITE_MAX];
};

static int read_number(int memory, uint64_t address, int64_t *ret)
{
	ssize_t n = pread(memory, ret, sizeof(*ret), (off_t)address);

	/* 0: nobody has this memory any more. */
	return n == (ssize_t)sizeof(*ret) ? 0 : n < 0 ? -errno : n ? -EFAULT : -ESRCH;
}

static int write_number(int memory, uint32_t pid, struct go_write *write)
{
	struct iovec from = { &write->value, sizeof(write->value) };
	struct iovec to = { (void *)(uintptr_t)write->address, sizeof(write->value) };
	int64_t now;
	ssize_t n;
	int r;

	r = read_number(memory, write->address, &write->found);
	if (r < 0)
		return r;
	if (write->found != write->expected)
		return GO_WRITE_E_CHANGED;
	__atomic_store_n(&write->outcome, GO_WRITE_E_NOT_KNOWN, __ATOMIC_SEQ_CST);
	n = process_vm_writev((pid_t)pid, &from, 1, &to, 1, 0);
	if (n != (ssize_t)sizeof(write->value))
		return n < 0 ? -errno : -EFAULT;
	r = read_number(memory, write->address, &now);
	/* Whoever changes it in this very moment has the last word. */
	if (r < 0 || now == write->value)
		return r;
	write->found = now;
	return GO_WRITE_E_CHANGED;
}

static _Noreturn void run(int memory, pid_t parent, uint32_t pid, struct errand *errand, size_t n)
{
	int r;

	helper_begin(&memory, 1, MOST_SEC);
	r = privileges_keep_ptrace();
	/* Who is started after us may undo what we did, but not what we are about to do. */
	if (r >= 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent))
		r = -ECANCELED;
	for (size_t i = 0; i < n; i++) {
		struct go_write *write = &errand->writes[i];

		if (write->outcome != -ETIMEDOUT)
			continue;
		__atomic_store_n(&write->outcome, r < 0 ? r : write_number(memory, pid, write), __ATOMIC_SEQ_CST);
	}
	_exit(0);
}

/* Of those with outcome 0. */
static int send_helper(int memory, uint32_t pid, struct go_write *writes, size_t n, int most_msec)
{
	struct errand *errand = mmap(NULL, sizeof(*errand), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct helper helper = HELPER_NONE;
	pid_t self = getpid(), child;
	int error;

	if (errand == MAP_FAILED)
		return -errno;
	memcpy(errand->writes, writes, n * sizeof(writes[0]));
	for (size_t i = 0; i < n; i++)
		if (!writes[i].outcome)
			errand->writes[i].outcome = -ETIMEDOUT;
	child = fork();
	if (child == 0)
		run(memory, self, pid, errand, n);
	error = helper_watch(&helper, child);
	if (error >= 0) {
		helper_has_ended(&helper, most_msec);
		helper_finish(&helper); /* how it ended says nothing: what it did stands in the errand */
	}
	helper_deinit(&helper);
	for (size_t i = 0; i < n; i++) {
		if (writes[i].outcome)
			continue;
		writes[i].outcome = error < 0 ? error : errand->writes[i].outcome;
		writes[i].found = errand->writes[i].found;
	}
	munmap(errand, sizeof(*errand));
	return 0;
}

/* --- all ------------------------------------------------------------------------------------------------------ */

static int try(int proc, const struct go_write_process *process, struct go_write *writes, size_t n, int most_msec)
{
	_cleanup_close_ int memory = -1;
	struct go_write_process is;
	char path[32];
	uint64_t code;
	int r;

	/* First of all: whatever this process becomes, the descriptor stays with the memory that it has now. */
	snprintf(path, sizeof(path), "%u/mem", process->pid);
	memory = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (memory < 0)
		return errno == ENOENT || errno == ESRCH ? PROCESS_E_GONE : -errno;
	r = look(proc, process->pid, &is, &code);
	if (r)
		return r;
	if (!is_same(process, &is))
		return PROCESS_E_GONE;
	r = find_variables(proc, process->pid, code, writes, n);
	return r ? r : send_helper(memory, process->pid, writes, n, most_msec);
}

int go_write(int proc, const struct go_write_process *process, struct go_write *writes, size_t n, int most_msec)
{
	bool is_gone;
	int r;

	n = MIN(n, (size_t)GO_WRITE_MAX);
	for (size_t i = 0; i < n; i++)
		writes[i].outcome = GO_WRITE_E_NO_VARIABLE;
	r = try(proc, process, writes, n, most_msec);
	is_gone = r == PROCESS_E_GONE;
	for (size_t i = 0; i < n; i++) {
		if (r)
			writes[i].outcome = r < 0 ? r : -ESRCH;
		is_gone |= writes[i].outcome == -ESRCH;
	}
	return is_gone ? PROCESS_E_GONE : 0;
}
