/* SPDX-License-Identifier: Apache-2.0 */
#include "futex_wait.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "process.h"

/* Since Linux 5.14, commit bf22a6976897; headers of Debian 12 have it, older ones do not. */
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

enum { MAX_SYSCALL = 256 };

static int gone(int error)
{
	return error == ENOENT || error == ESRCH ? PROCESS_E_GONE : -error;
}

/* Reads at most size - 1 bytes and terminates them. */
static int read_text(int proc, uint32_t pid, uint32_t tid, const char *name, char *buffer, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "%u/task/%u/%s", pid, tid, name);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return gone(errno);
	/* Both are made at the first read, and are no longer than a page but for the groups of status. */
	n = pread(fd, buffer, size - 1, 0);
	if (n < 0)
		return gone(errno);
	buffer[n] = '\0';
	return 0;
}

/* The number behind "\nKEY:\t"; of a list the last one. */
static int parse_line(const char *status, const char *key, uint64_t *ret)
{
	const char *at = strstr(status, key);
	char *end;

	if (!at)
		return -EBADMSG;
	at += strlen(key);
	do {
		at += strspn(at, " \t");
		*ret = strtoull(at, &end, 10);
		if (end == at)
			return -EBADMSG;
		at = end;
	} while (*at == '\t' || *at == ' ');
	return 0;
}

static bool is_wait(uint64_t operation)
{
	operation &= ~(uint64_t)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
	return operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET || operation == FUTEX_LOCK_PI || operation == FUTEX_LOCK_PI2;
}

/* NUMBER and six arguments in hexadecimal, stack and instruction pointer; "-1 ..." outside of calls; or "running". */
static void parse_syscall(const char *text, struct futex_wait *ret)
{
	unsigned long long arguments[4];
	long number;

	if (sscanf(text, "%ld %llx %llx %llx %llx", &number, &arguments[0], &arguments[1], &arguments[2], &arguments[3]) != 5 ||
			number != SYS_futex || !is_wait(arguments[1]))
		return;
	ret->address = arguments[0];
	ret->is_timed = arguments[3] != 0;
}

int futex_wait_parse(const char *status, const char *syscall, struct futex_wait *ret)
{
	struct futex_wait wait = { 0 };
	uint64_t voluntary, other, tid;

	if (parse_line(status, "\nvoluntary_ctxt_switches:", &voluntary) < 0 ||
			parse_line(status, "\nnonvoluntary_ctxt_switches:", &other) < 0 || parse_line(status, "\nNSpid:", &tid) < 0)
		return -EBADMSG;
	wait.n_switches = voluntary + other;
	wait.namespace_tid = (uint32_t)tid;
	parse_syscall(syscall, &wait);
	*ret = wait;
	return 0;
}

int futex_wait_read(int proc, uint32_t pid, uint32_t tid, struct futex_wait *ret)
{
	char status[PROCESS_MAX_STATUS], syscall[MAX_SYSCALL];
	int r;

	r = read_text(proc, pid, tid, "status", status, sizeof(status));
	if (r == 0)
		r = read_text(proc, pid, tid, "syscall", syscall, sizeof(syscall));
	return r ? r : futex_wait_parse(status, syscall, ret);
}

uint32_t futex_owner(const uint32_t words[5])
{
	enum { GLIBC_LAST_PLAIN_KIND = 3 };  /* PTHREAD_MUTEX_ADAPTIVE_NP */

	if (words[0] & FUTEX_WAITERS)
		return words[0] & FUTEX_TID_MASK;
	if (words[0] != 2 || !words[3] || words[4] > GLIBC_LAST_PLAIN_KIND)
		return 0;
	return words[2];
}

int futex_read_owner(uint32_t pid, uint64_t address, uint32_t *ret)
{
	uint32_t words[5] = { 0 };
	const struct iovec ours = { words, sizeof(words) };
	/* Pointers of another process: never followed here. */
	struct iovec theirs = { .iov_len = sizeof(words) };
	ssize_t n;

	memcpy(&theirs.iov_base, &address, sizeof(theirs.iov_base));
	n = process_vm_readv((pid_t)pid, &ours, 1, &theirs, 1, 0);
	if (n < 0)
		return gone(errno);
	*ret = n == sizeof(words) ? futex_owner(words) : 0;
	return 0;
}
