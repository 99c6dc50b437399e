/* SPDX-License-Identifier: Apache-2.0 */
#include "stolen.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"

uint64_t stolen_parse(const char *text)
{
	unsigned long long ticks;
	long ticks_per_sec = sysconf(_SC_CLK_TCK);

	/* "cpu  user nice system idle iowait irq softirq steal ..." */
	if (sscanf(text, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &ticks) != 1 || ticks_per_sec <= 0)
		return 0;
	return ticks * (NSEC_PER_SEC / (uint64_t)ticks_per_sec);
}

uint64_t stolen_nsec(void)
{
	/* The first line alone is read: what follows has a line for each CPU and each interrupt. */
	_cleanup_close_ int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	char text[512];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return 0;
	text[n] = 0;
	return stolen_parse(text);
}
