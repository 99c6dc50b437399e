/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Writes numbers into the memory of one Go process, if all of this holds:
 *
 *	it is the program that it is taken for       pid, start time, and the address of its first stack, which exec draws anew
 *	the address is one of its variables          in the writable data of its executable, or in the bss right behind
 *	the number there is the one expected         read right before
 *
 * The process is not stopped, and not asked. A helper process does it (helper.h), since reading and writing the memory of a process may
 * last as long as that process likes. The helper has CAP_SYS_PTRACE, which process_vm_writev(2) wants, a descriptor of /proc/PID/mem to
 * read by, and nothing else. Unlike a write through /proc/PID/mem, process_vm_writev() respects read-only memory, and needs no permission
 * for files of others (CAP_DAC_OVERRIDE). It finds the process by its pid; the descriptor is bound to the memory that was looked at,
 * and tells afterwards whether that has the number now.
 */
#include <stddef.h>
#include <stdint.h>

struct go_write_process {
	uint32_t pid;
	uint64_t start_ticks, start_stack;   /* process.h */
};

/* The program that a process runs now. 0; PROCESS_E_GONE (process.h), also when it did not start then; -EACCES: it is not ours to read; -errno. */
int go_write_identify(int proc, uint32_t pid, uint64_t start_ticks, struct go_write_process *ret);

enum {
	GO_WRITE_E_CHANGED = 1,              /* another number is there: nothing was written */
	GO_WRITE_E_NO_VARIABLE = 2,          /* no variable of the executable has this address, a multiple of 8 */
	GO_WRITE_E_NOT_KNOWN = 3,            /* it took too long: whether it was written is not known */
	GO_WRITE_MAX = 8,                    /* at a time */
};

struct go_write {
	uint64_t address;
	int64_t expected, value;
	int outcome;                         /* 0: it is there now; GO_WRITE_E_*; -errno: nothing was written */
	int64_t found;                       /* of GO_WRITE_E_CHANGED */
};

/*
 * Each as its outcome tells. The caller is held up for most_msec at most; without trouble for the start of a helper, some milliseconds.
 * 0; PROCESS_E_GONE: not this program any more, nothing was written, or nobody is left who could read it.
 */
int go_write(int proc, const struct go_write_process *process, struct go_write *writes, size_t n, int most_msec);
