/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "vec.h"

enum {
	PF_KTHREAD = 0x00200000,             /* include/linux/sched.h; shown in field 9 of stat */
	MAX_STAT = 2048,
	MAX_COMMAND_LINE = 4096,
	MAX_ENVIRONMENT = 128 << 10,
};

/* What reading a file of a process that has gone gives: no directory, no process behind an open one. */
static int gone(int error)
{
	return error == ENOENT || error == ESRCH ? PROCESS_E_GONE : -error;
}

static int open_file(int proc, uint32_t pid, const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%u/%s", pid, name);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Reads at most size - 1 bytes and terminates them. */
static int read_file(int proc, uint32_t pid, const char *name, char *buffer, size_t size, size_t *ret_n)
{
	_cleanup_close_ int fd = open_file(proc, pid, name);
	size_t n = 0;

	if (fd < 0)
		return gone(-fd);
	while (n < size - 1) {
		ssize_t got = read(fd, buffer + n, size - 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return gone(errno);
		if (got == 0)
			break;
		n += got;
	}
	buffer[n] = '\0';
	*ret_n = n;
	return 0;
}

int process_parse_stat(const char *text, size_t size, struct process_stat *ret)
{
	const char *open = memchr(text, '(', size), *close = memrchr(text, ')', size);
	_cleanup_free_ char *rest = NULL;
	struct process_stat stat = { 0 };
	unsigned long n_threads = 1;
	bool is_dead = false;
	char *save = NULL;
	int field = 3;

	if (!open || !close || close < open)
		return -EBADMSG;
	memcpy(stat.comm, open + 1, MIN((size_t)(close - open - 1), sizeof(stat.comm) - 1));
	rest = strndup(close + 1, text + size - close - 1);
	if (!rest)
		return -ENOMEM;
	for (char *word = strtok_r(rest, " \n", &save); word; word = strtok_r(NULL, " \n", &save), field++) {
		if (field == 3)
			is_dead = *word == 'Z' || *word == 'X';
		else if (field == 4)
			stat.parent_pid = strtoul(word, NULL, 10);
		else if (field == 9)
			stat.is_kernel_thread = strtoul(word, NULL, 10) & PF_KTHREAD;
		else if (field == 20)
			n_threads = strtoul(word, NULL, 10);
		else if (field == 22)
			stat.start_ticks = strtoull(word, NULL, 10);
		else if (field == 26)
			stat.start_code = strtoull(word, NULL, 10);
		else if (field == 28)
			stat.start_stack = strtoull(word, NULL, 10);
	}
	if (field <= 22)
		return -EBADMSG;
	stat.is_zombie = is_dead && n_threads <= 1;
	stat.lost_leader = is_dead && n_threads > 1;
	*ret = stat;
	return 0;
}

int process_read_stat(int proc, uint32_t pid, struct process_stat *ret)
{
	char text[MAX_STAT];
	size_t n;
	int r = read_file(proc, pid, "stat", text, sizeof(text), &n);

	return r ? r : process_parse_stat(text, n, ret);
}

uint32_t process_living_thread(int proc, uint32_t pid)
{
	enum { MAX_DEAD = 64 };              /* threads other than the first leave no zombie: one that is met amid its exit */
	uint32_t found = pid;
	struct process_stat stat;
	struct dirent *entry;
	DIR *directory;
	char path[32];
	int fd, n = 0;

	snprintf(path, sizeof(path), "%u/task", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return pid;
	directory = fdopendir(fd);
	if (!directory) {
		close_fd(fd);
		return pid;
	}
	while (found == pid && (entry = readdir(directory)) && n++ < MAX_DEAD) {
		uint32_t thread = (uint32_t)strtoul(entry->d_name, NULL, 10);

		if (thread && thread != pid && process_read_stat(proc, thread, &stat) == 0 && !stat.is_zombie && !stat.lost_leader)
			found = thread;
	}
	closedir(directory);
	return found;
}

/* The number at an index behind "\nNAME:"; -1: the last one. */
static bool find_number(const char *text, const char *name, int index, uint64_t *ret)
{
	const char *line = strstr(text, name);
	char *end;

	if (!line)
		return false;
	line += strlen(name);
	for (int i = 0;; i++) {
		uint64_t number = strtoull(line, &end, 10);

		if (end == line)
			return false;
		line = end + strspn(end, "\t ");
		if (i == index || (index < 0 && (*line == '\n' || !*line))) {
			*ret = number;
			return true;
		}
		if (*line == '\n')
			return false;
	}
}

int process_parse_status(const char *text, size_t size, struct process_status *ret)
{
	_cleanup_free_ char *copy = strndup(text, size);
	uint64_t uid, gid, pid;

	if (!copy)
		return -ENOMEM;
	/* The kernel escapes a newline in the name that stands first, so that no process can forge a line. */
	if (!find_number(copy, "\nUid:", 1, &uid) || !find_number(copy, "\nGid:", 1, &gid) ||
	    !find_number(copy, "\nNSpid:", -1, &pid))
		return -EBADMSG;
	*ret = (struct process_status){ .effective_uid = uid, .effective_gid = gid, .namespace_pid = pid };
	return 0;
}

bool process_catches(const char *text, size_t size, int signal)
{
	static const char name[] = "\nSigCgt:\t";
	const char *at = memmem(text, size, name, sizeof(name) - 1), *end = text + size;
	uint64_t caught = 0;
	size_t n = 0;

	if (!at || signal < 1 || signal > 64)
		return false;
	/* Sixteen digits, the signals from 64 to 1: render_sigset_t() in fs/proc/array.c. */
	for (at += sizeof(name) - 1; at < end && n < 16; at++, n++) {
		unsigned int digit = *at >= '0' && *at <= '9' ? (unsigned int)(*at - '0') :
				     *at >= 'a' && *at <= 'f' ? (unsigned int)(*at - 'a') + 10 : 16;

		if (digit == 16)
			return false;
		caught = caught << 4 | digit;
	}
	return n == 16 && at < end && *at == '\n' && caught >> (signal - 1) & 1;
}

int process_read_status(int proc, uint32_t pid, struct process_status *ret)
{
	char text[PROCESS_MAX_STATUS];
	size_t n;
	int r = read_file(proc, pid, "status", text, sizeof(text), &n);

	return r ? r : process_parse_status(text, n, ret);
}

bool process_cut_deleted(char *path)
{
	static const char mark[] = " (deleted)";
	size_t length = strlen(path);

	if (length <= sizeof(mark) - 1 || strcmp(path + length - (sizeof(mark) - 1), mark))
		return false;
	path[length - (sizeof(mark) - 1)] = '\0';
	return true;
}

int process_read_exe(int proc, uint32_t pid, char **ret)
{
	char link[64], path[PATH_MAX];
	ssize_t n;
	char *copy;

	snprintf(link, sizeof(link), "%u/exe", pid);
	n = readlinkat(proc, link, path, sizeof(path) - 1);
	if (n < 0)
		return gone(errno);
	path[n] = '\0';
	process_cut_deleted(path);
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

int process_read_command_line(int proc, uint32_t pid, char **ret)
{
	char text[MAX_COMMAND_LINE];
	size_t n;
	char *copy;
	int r = read_file(proc, pid, "cmdline", text, sizeof(text), &n);

	if (r)
		return r;
	while (n > 0 && !text[n - 1])
		n--;
	for (size_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = ' ';
	text[n] = '\0';
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

int process_read_variable(int proc, uint32_t pid, const char *name, char **ret)
{
	_cleanup_free_ char *text = malloc(MAX_ENVIRONMENT);
	size_t n, length = strlen(name);
	char *found = NULL;
	int r;

	if (!text)
		return -ENOMEM;
	r = read_file(proc, pid, "environ", text, MAX_ENVIRONMENT, &n);
	if (r)
		return r;
	for (size_t at = 0; at < n; at += strlen(text + at) + 1) {
		if (strncmp(text + at, name, length) || text[at + length] != '=')
			continue;
		found = strdup(text + at + length + 1);
		if (!found)
			return -ENOMEM;
		break;
	}
	*ret = found;
	return 0;
}
