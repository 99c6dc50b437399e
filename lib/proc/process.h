/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What /proc/PID tells about one process. All of it is written, in part, by the process itself: sizes are bounded,
 * nothing is trusted. `proc` is a descriptor of a directory that is, or looks like, /proc.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_E_GONE = 1 };                 /* there is no such process (any more) */

enum { PROCESS_COMM_LENGTH = 16 };           /* TASK_COMM_LEN, with its terminator */

struct process_stat {
	uint64_t start_ticks;                /* field 22: since boot, in ticks of NSEC_PER_TICK */
	/*
	 * Fields 26 and 28: an address in the program's code, and of its first stack, which the kernel draws anew at each exec. 0 or 1
	 * to who may not trace it, and when its first thread has ended.
	 */
	uint64_t start_code, start_stack;
	uint32_t parent_pid;
	bool is_kernel_thread;               /* PF_KTHREAD, include/linux/sched.h */
	bool is_zombie;                      /* dead but not yet waited for: nothing else is to be had of it */
	bool lost_leader;                    /* its first thread has ended, others live: see process_living_thread() */
	char comm[PROCESS_COMM_LENGTH];
};

/* The text of /proc/PID/stat; -EBADMSG when it is not one. comm may hold blanks and parentheses. */
int process_parse_stat(const char *text, size_t size, struct process_stat *ret);
/* 0, PROCESS_E_GONE or -errno; so do all that follow. */
int process_read_stat(int proc, uint32_t pid, struct process_stat *ret);

/*
 * The number of a thread that shows what belongs to all of the process: maps, map_files, exe, root, ns, cmdline. It is the pid, but
 * for a process with `lost_leader`, for which this finds one that lives: /proc has a directory for each of them, too.
 * The pid when there is none.
 */
uint32_t process_living_thread(int proc, uint32_t pid);

struct process_status {
	uid_t effective_uid;
	gid_t effective_gid;
	uint32_t namespace_pid;              /* its pid as it knows it itself: last of NSpid (since Linux 4.1) */
};

/* The text of /proc/PID/status; -EBADMSG when it lacks one of them. */
int process_parse_status(const char *text, size_t size, struct process_status *ret);
int process_read_status(int proc, uint32_t pid, struct process_status *ret);

/* Bytes that hold all of that text; its end may be needed. */
enum { PROCESS_MAX_STATUS = 8192 };          /* NSpid and SigCgt stand behind the groups, of which 1,000 fit */
/*
 * Whether that text says that the process has a handler for a signal, which then neither ends nor stops it. False when
 * it does not say. Allocates nothing: for a forked child.
 */
bool process_catches(const char *text, size_t size, int signal);

/* The path of the program without the mark of a deleted file; PROCESS_E_GONE for kernel threads, too. */
int process_read_exe(int proc, uint32_t pid, char **ret);
/* The first 4 KiB of the arguments with blanks between them. For matching only: it may hold secrets. */
int process_read_command_line(int proc, uint32_t pid, char **ret);
/* The value of one variable of the environment it was started with; NULL when it is not in the first 128 KiB. */
int process_read_variable(int proc, uint32_t pid, const char *name, char **ret);

/* Cuts the " (deleted)" that the kernel adds to the path of a file that was unlinked; says whether it was there. */
bool process_cut_deleted(char *path);
