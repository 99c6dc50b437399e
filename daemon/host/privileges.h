/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What tsprofd may do, and no more: capabilities(7) of the core process. It needs
 *
 *	CAP_BPF, CAP_PERFMON      load programs, open perf events
 *	CAP_SYS_PTRACE            read other users' processes: /proc/PID/{maps,exe,root,mem}
 *	CAP_DAC_READ_SEARCH       read their files
 *	CAP_SYSLOG                see the addresses in /proc/kallsyms
 *	CAP_CHECKPOINT_RESTORE    open /proc/PID/map_files: binaries that were replaced or deleted
 *
 * and, where kernel.perf_event_paranoid is above 2 (Debian's own patch), CAP_SYS_ADMIN to open perf events: that one
 * stays permitted but not effective, but for the moment of the call; everywhere else it is dropped for good.
 *
 * A drop-in of the service may give it CAP_SETUID and CAP_SETGID, for jit.java_perfmap: these stay permitted but not
 * effective, too, for privileges_become() alone.
 *
 * Started by root itself (sudo scripts/run, --once) it keeps in addition what it takes to write into the folders of who
 * typed sudo, to give files to them, to start a command as them and to end it.
 *
 * Linux keeps capabilities per thread: call privileges_init() before there is a second one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct privileges_options {
	bool will_start_command; /* its own abilities must not be less than it would have without us */
};

/*
 * Drops what is not needed. 0; PRIVILEGES_E_MISSING when one is not there without which there is no useful profile
 * (the first four): exit with EX_NOPERM; PRIVILEGES_E_LESS when only names will be missing; or -errno.
 * privileges_missing() tells which.
 */
int privileges_init(const struct privileges_options *options);
enum { PRIVILEGES_E_MISSING = 1, PRIVILEGES_E_LESS = 2 };

/*
 * What is missing, for people, as one line, with the remedy or without: "missing CAP_BPF (load BPF programs)".
 * Returns 0 with "" when nothing is, else as privileges_init().
 */
int privileges_missing(char *ret_text, size_t size);
int privileges_missing_names(char *ret_text, size_t size);

/* All events are open and all programs loaded: drops what is needed for that alone. */
int privileges_after_start(void);

/*
 * Around each perf_event_open(), in the thread that calls it: raises CAP_SYS_ADMIN if this kernel wants it for that and
 * it is permitted; does nothing otherwise, and before privileges_init(). 0 or -errno; end it in any case.
 */
int privileges_begin_admin(void);
void privileges_end_admin(void);

/* Who typed sudo; true and both set if there is such a user, and we are root. */
bool privileges_owner(uid_t *ret_uid, gid_t *ret_gid);

/*
 * In a forked child, before exec: becomes who typed sudo, with their groups and no capability; leaves a child of root
 * itself alone. 0 or -errno. Async-signal-unsafe: only for a process with one thread.
 */
int privileges_become_owner(void);

/*
 * In a forked child: becomes another user for good, with no other group and no capability, and lets nobody of that user
 * trace it. Only system calls, so that the parent may have threads. 0 or -errno: without CAP_SETUID and CAP_SETGID only
 * who it is already is possible.
 */
int privileges_become(uid_t uid, gid_t gid);

/* In a forked child: keeps CAP_SYS_PTRACE alone, and cannot get more. Only system calls. 0 or -errno. */
int privileges_keep_ptrace(void);
