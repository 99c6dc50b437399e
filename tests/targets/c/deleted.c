/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program whose file is gone: it runs a copy of itself, which deletes its own file and then works as shares.c does.
 * Only the running process still leads to its symbols. `deleted [SECONDS]`; the copy is made in $TMPDIR, else /tmp.
 */
#include "truth.h"
#include "work.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* Returns the path of the copy, or exits. */
static const char *copy_self(void)
{
	static char path[PATH_MAX];
	const char *folder = getenv("TMPDIR");
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;
	int to;

	snprintf(path, sizeof path, "%s/c-deleted-XXXXXX", folder ? folder : "/tmp");
	to = mkstemp(path);
	if (from < 0 || to < 0 || fstat(from, &st) < 0 || fchmod(to, 0700) < 0)
		goto failed;
	while (st.st_size > 0) {
		ssize_t n = sendfile(to, from, NULL, (size_t)st.st_size);

		if (n <= 0)
			goto failed;
		st.st_size -= n;
	}
	close(from);
	close(to);
	return path;

failed:
	perror(path);
	exit(71);
}

static void run_copy(const char *path, char **argv)
{
	setenv("C_DELETED", path, 1);
	execv(path, argv);
	perror(path);
	unlink(path);
	exit(71);
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	const char *copy = getenv("C_DELETED");
	struct share shares[] = {
		{"alpha", 50, alpha, 0},
		{"beta", 30, beta, 0},
		{"gamma", 20, gamma, 0},
	};

	if (!copy)
		run_copy(copy_self(), argv);
	if (unlink(copy) < 0) {
		perror(copy);
		return 71;
	}
	truth_spend(shares, 3, seconds);
	truth_print(shares, 3);
	return 0;
}
