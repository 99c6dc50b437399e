/* SPDX-License-Identifier: Apache-2.0 */
#include "go_memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

enum {
	PAGE = 4096,
	N_PAGES = 512,               /* what 512 goroutines wait for lies in some ten of them, when it is spread wide in hundreds */
};

struct page {
	uint64_t number, round;
};

struct go_memory_pages {
	uint64_t round;              /* of go_memory_hold(): pages of others are not there */
	struct page pages[N_PAGES];
	uint8_t bytes[N_PAGES][PAGE];
};

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

/* NULL: it cannot be read whole. */
static const uint8_t *hold_page(struct go_memory *memory, uint64_t number)
{
	struct go_memory_pages *held = memory->held;
	struct page *page = &held->pages[number % N_PAGES];
	uint8_t *bytes = held->bytes[number % N_PAGES];

	if (page->number == number && page->round == held->round)
		return bytes;
	page->round = 0;
	if (memory->read(memory->userdata, number * PAGE, bytes, PAGE) < 0)
		return NULL;
	*page = (struct page){ .number = number, .round = held->round };
	return bytes;
}

/* size is at most PAGE: of two pages. */
static bool read_held(struct go_memory *memory, uint64_t address, uint8_t *to, size_t size)
{
	while (size) {
		size_t offset = address % PAGE, n = MIN(size, PAGE - offset);
		const uint8_t *page = hold_page(memory, address / PAGE);

		if (!page)
			return false;
		memcpy(to, page + offset, n);
		address += n;
		to += n;
		size -= n;
	}
	return true;
}

int go_memory_read(struct go_memory *memory, uint64_t address, void *to, size_t size)
{
	if (size > memory->left_bytes)
		return -E2BIG;
	memory->left_bytes -= size;
	if (memory->held && size <= PAGE && address <= UINT64_MAX - size && read_held(memory, address, to, size))
		return 0;
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

struct go_memory_pages *go_memory_pages_new(void)
{
	struct go_memory_pages *pages = malloc(sizeof(*pages));

	if (!pages)
		return NULL;
	pages->round = 0;
	memset(pages->pages, 0, sizeof(pages->pages));
	return pages;
}

struct go_memory_pages *go_memory_pages_free(struct go_memory_pages *pages)
{
	free(pages);
	return NULL;
}

void go_memory_hold(struct go_memory *memory, struct go_memory_pages *pages)
{
	pages->round++;
	memory->held = pages;
}

void go_memory_release(struct go_memory *memory)
{
	memory->held = NULL;
}
