/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a thread waits for at this moment, if that is a futex, and who has the lock that a futex is. Asked of /proc and of the
 * memory of the process, which may change in between: who draws a conclusion looks twice (n_switches).
 */
#include <stdbool.h>
#include <stdint.h>

struct futex_wait {
	uint64_t address;                    /* of the futex; 0: the thread runs, or waits for something else */
	uint64_t n_switches;                 /* how often it has left its CPU: as long as it waits, this stays */
	uint32_t namespace_tid;              /* its number as its own process counts threads */
	bool is_timed;                       /* the wait ends by itself */
};

/*
 * /proc/PID/task/TID/status and syscall (Documentation/filesystems/proc.rst; fs/proc/base.c, proc_pid_syscall()), of which the
 * second needs what a debugger needs. 0, PROCESS_E_GONE (process.h) or -errno. `proc` is a descriptor of /proc.
 */
int futex_wait_read(int proc, uint32_t pid, uint32_t tid, struct futex_wait *ret);

/* The text of these two files. -EBADMSG when it is not one. */
int futex_wait_parse(const char *status, const char *syscall, struct futex_wait *ret);

/*
 * The thread that has the lock, as its own process counts threads; 0: nobody has it, or it does not say. A
 * priority-inheriting futex that is waited for is its owner's number with FUTEX_WAITERS (futex(2)). A mutex of glibc that is
 * waited for is 2, and struct __pthread_mutex_s (sysdeps/nptl/bits/struct_mutex.h, x86-64, since 2.3) has the owner in its
 * third word; other locks that are 2 then (musl, Rust, Go) have something else there, and their fifth word is hardly one of
 * the four plain kinds of a mutex, or their fourth one, the number of users, is 0.
 */
uint32_t futex_owner(const uint32_t words[5]);
/* The same of the memory of a process. 0, PROCESS_E_GONE or -errno. */
int futex_read_owner(uint32_t pid, uint64_t address, uint32_t *ret);
