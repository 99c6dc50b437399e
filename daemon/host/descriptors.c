/* SPDX-License-Identifier: Apache-2.0 */
#include "descriptors.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <unistd.h>

static struct rlimit original;
static bool is_raised;

void descriptors_fill_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY | O_NOCTTY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

void descriptors_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &original) < 0)
		return;
	limit = (struct rlimit){ original.rlim_max, original.rlim_max };
	is_raised = setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

void descriptors_restore_limit(void)
{
	if (is_raised)
		setrlimit(RLIMIT_NOFILE, &original);
}
