/* SPDX-License-Identifier: Apache-2.0 */
#include "go_memory.h"

#include <errno.h>
#include <unistd.h>

#include "cleanup.h"

static int read_file(void *userdata, uint64_t address, void *to, size_t size)
{
	int fd = *(const int *)userdata;
	size_t n_read = 0;

	if (address > INT64_MAX - size)
		return -EFAULT;
	while (n_read < size) {
		ssize_t n = pread(fd, (char *)to + n_read, size - n_read, (off_t)(address + n_read));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EFAULT;
		n_read += (size_t)n;
	}
	return 0;
}

struct go_memory go_memory_of_file(const int *fd, uint64_t max_bytes)
{
	return (struct go_memory){ .read = read_file, .userdata = (void *)(uintptr_t)fd, .left_bytes = max_bytes };
}

int go_memory_read(struct go_memory *memory, uint64_t address, void *to, size_t size)
{
	if (size > memory->left_bytes)
		return -E2BIG;
	memory->left_bytes -= size;
	return memory->read(memory->userdata, address, to, size);
}

int go_memory_u64(struct go_memory *memory, uint64_t address, uint64_t *ret)
{
	return go_memory_read(memory, address, ret, sizeof(*ret));
}

int go_memory_u32(struct go_memory *memory, uint64_t address, uint32_t *ret)
{
	return go_memory_read(memory, address, ret, sizeof(*ret));
}

int go_memory_string(struct go_memory *memory, uint64_t address, uint64_t length, char *to, size_t size)
{
	size_t n = MIN(length, (uint64_t)size - 1);
	int r;

	if (length > GO_MEMORY_MAX_STRING)
		return -EINVAL;
	r = n ? go_memory_read(memory, address, to, n) : 0;
	if (r >= 0)
		to[n] = '\0';
	return r;
}
