/* SPDX-License-Identifier: Apache-2.0 */
#include "mappings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "process.h"
#include "reader.h"

static bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

enum mapping_kind mapping_classify(char *path, bool *ret_deleted)
{
	*ret_deleted = false;
	if (!strcmp(path, "[vdso]"))
		return MAPPING_VDSO;
	if (!strcmp(path, "[vsyscall]") || !strcmp(path, "[uprobes]") || !strcmp(path, "[vvar]") ||
	    !strcmp(path, "[vvar_vclock]"))
		return MAPPING_OTHER;
	/* [heap], [stack], [anon:name], "//anon", "anon_inode:...", "": no file that could be opened. */
	if (*path != '/' || starts_with(path, "//"))
		return MAPPING_ANONYMOUS;
	*ret_deleted = process_cut_deleted(path);
	if (starts_with(path, "/memfd:"))
		return MAPPING_MEMFD;
	/* Shared anonymous memory and System V segments are files of an inner tmpfs, always deleted. */
	if (*ret_deleted && (!strcmp(path, "/dev/zero") || starts_with(path, "/SYSV") || !strcmp(path, "/anon_hugepage")))
		return MAPPING_ANONYMOUS;
	return MAPPING_FILE;
}

static uint64_t read_number(struct reader *r, unsigned int base)
{
	uint64_t number = 0;
	size_t n = 0;

	for (; reader_left(r); n++) {
		unsigned int c = r->data[r->at];
		unsigned int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;

		if (digit >= base)
			break;
		if (number > (UINT64_MAX - digit) / base)
			reader_fail(r);
		number = number * base + digit;
		reader_skip(r, 1);
	}
	if (!n)
		reader_fail(r);
	return number;
}

static void expect(struct reader *r, char c)
{
	if (reader_u8(r) != (uint8_t)c)
		reader_fail(r);
}

/* A newline in a path is written as \012: fs/proc/task_mmu.c show_map_vma(), seq_path(m, path, "\n"). */
static void unescape_newlines(char *path)
{
	char *to = path;

	for (const char *from = path; *from; to++) {
		if (starts_with(from, "\\012")) {
			*to = '\n';
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* Of the modes of a line, as "r-xp". */
static bool has_modes(const char *modes, enum mappings_which which)
{
	return which == MAPPINGS_EXECUTABLE ? modes[2] == 'x' : modes[0] == 'r' && modes[1] == 'w' && modes[3] == 'p';
}

/* 1 when the line is a mapping of that sort; `line` is terminated. */
static int parse_line(char *line, size_t length, enum mappings_which which, struct mapping *ret)
{
	struct reader r = reader_of(line, length);
	struct mapping m = { 0 };
	uint64_t major, minor;
	const char *modes;
	char *path;

	m.start = read_number(&r, 16);
	expect(&r, '-');
	m.end = read_number(&r, 16);
	expect(&r, ' ');
	modes = reader_bytes(&r, 4);
	if (!modes || !has_modes(modes, which))
		return 0;
	expect(&r, ' ');
	m.file_offset = read_number(&r, 16);
	expect(&r, ' ');
	major = read_number(&r, 16);
	expect(&r, ':');
	minor = read_number(&r, 16);
	expect(&r, ' ');
	m.inode = read_number(&r, 10);
	if (!reader_ok(&r) || m.end <= m.start || major > UINT32_MAX || minor > UINT32_MAX)
		return 0;
	m.device = makedev(major, minor);
	path = line + r.at;
	path += strspn(path, " ");
	unescape_newlines(path);
	m.kind = mapping_classify(path, &m.deleted);
	m.path = path;
	*ret = m;
	return 1;
}

/* How many bytes of whole lines there were is added to *consumed. */
static int parse_lines(char *text, size_t size, enum mappings_which which, mappings_fn fn, void *userdata, size_t *n_found, size_t *consumed)
{
	while (*consumed < size) {
		char *line = text + *consumed, *end = memchr(line, '\n', size - *consumed);
		struct mapping mapping;
		int r;

		if (!end)
			break;
		*end = '\0';
		*consumed += end - line + 1;
		if (!parse_line(line, end - line, which, &mapping))
			continue;
		if (++*n_found > MAPPINGS_MAX)
			return MAPPINGS_E_TRUNCATED;
		r = fn(&mapping, userdata);
		if (r < 0)
			return r;
	}
	return 0;
}

int mappings_parse(char *text, size_t size, mappings_fn fn, void *userdata)
{
	size_t consumed = 0, n_found = 0;

	return parse_lines(text, size, MAPPINGS_EXECUTABLE, fn, userdata, &n_found, &consumed);
}

int mappings_read_which(int proc, uint32_t pid, enum mappings_which which, mappings_fn fn, void *userdata)
{
	/* The kernel hands out whole lines, a page or so at a time. Larger than the longest line: PATH_MAX, escaped. */
	enum { BUFFER = 64 << 10 };
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *buffer = NULL;
	size_t held = 0, total = 0, n_found = 0;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "%u/maps", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? PROCESS_E_GONE : -errno;
	buffer = malloc(BUFFER);
	if (!buffer)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, buffer + held, BUFFER - held);
		size_t consumed = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ESRCH ? PROCESS_E_GONE : -errno;
		if (n == 0)
			break;
		held += n;
		total += n;
		r = parse_lines(buffer, held, which, fn, userdata, &n_found, &consumed);
		if (r)
			return r;
		/* A line that fills the buffer is none that a kernel writes. */
		if (total > MAPPINGS_MAX_BYTES || (!consumed && held == BUFFER))
			return MAPPINGS_E_TRUNCATED;
		memmove(buffer, buffer + consumed, held - consumed);
		held -= consumed;
	}
	/* A living process has at least one mapping; a file without any is that of a process on its way out. */
	return total ? 0 : PROCESS_E_GONE;
}

int mappings_read(int proc, uint32_t pid, mappings_fn fn, void *userdata)
{
	return mappings_read_which(proc, pid, MAPPINGS_EXECUTABLE, fn, userdata);
}
