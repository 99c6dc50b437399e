/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process with two lives: before_exec() burns 300 ms of CPU, then the process runs itself under the name
 * <program>-after (a link beside it) and after_exec() burns for the given time: same pid, other mappings, other comm.
 * `execer [SECONDS]`
 */
#include "truth.h"
#include "work.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BEFORE_NSEC UINT64_C(300000000)

__attribute__((noinline)) static void before_exec(uint64_t n_rounds)
{
	alpha(n_rounds);
	__asm__ volatile(""); /* no tail call: the frame shall be seen */
}

__attribute__((noinline)) static void after_exec(uint64_t n_rounds)
{
	beta(n_rounds);
	__asm__ volatile("");
}

static int run_after(double seconds, const char *before_nsec)
{
	struct share shares[] = {
		{"before_exec", 0, before_exec, strtoull(before_nsec, NULL, 10)},
		{"after_exec", 100, after_exec, 0},
	};

	truth_spend(shares + 1, 1, seconds);
	truth_print(shares, 2);
	return 0;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 1);
	struct share before = {"before_exec", 100, before_exec, 0};
	uint64_t random = truth_seed();
	char path[PATH_MAX], seconds_text[32], before_text[32];
	ssize_t n;

	if (argc == 3)
		return run_after(seconds, argv[2]);

	while (before.cpu_nsec < BEFORE_NSEC && !truth_stopped())
		truth_slice(&before, &random);

	n = readlink("/proc/self/exe", path, sizeof path - sizeof "-after");
	if (n < 0)
		return 71;
	snprintf(path + n, sizeof path - (size_t)n, "-after");
	snprintf(seconds_text, sizeof seconds_text, "%f", seconds);
	snprintf(before_text, sizeof before_text, "%" PRIu64, before.cpu_nsec);
	execl(path, path, seconds_text, before_text, (char *)NULL);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return 71;
}
