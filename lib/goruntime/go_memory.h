/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads the memory of a Go process, whatever it holds: by pieces of fixed size at addresses that may be anything, and only
 * so much in all. What was read is a copy; it may be torn, since the process goes on.
 */
#include <stddef.h>
#include <stdint.h>

struct go_memory_pages;

struct go_memory {
	/* All of it, or -errno. */
	int (*read)(void *userdata, uint64_t address, void *to, size_t size);
	void *userdata;
	uint64_t left_bytes;         /* that may still be asked for */
	struct go_memory_pages *held; /* NULL: each read is one of the process */
};

/* Of a descriptor of /proc/PID/mem, borrowed. */
struct go_memory go_memory_of_file(const int *fd, uint64_t max_bytes);

/* 0; -errno; -E2BIG: more than was allowed in all. */
int go_memory_read(struct go_memory *memory, uint64_t address, void *to, size_t size);
/* One number of 8 or 4 bytes. */
int go_memory_u64(struct go_memory *memory, uint64_t address, uint64_t *ret);
int go_memory_u32(struct go_memory *memory, uint64_t address, uint32_t *ret);

/* A string of the process, cut to the size of the buffer and terminated. A length of more than GO_MEMORY_MAX_STRING is no string: -EINVAL. */
int go_memory_string(struct go_memory *memory, uint64_t address, uint64_t length, char *to, size_t size);
#define GO_MEMORY_MAX_STRING (UINT64_C(1) << 20)

/*
 * For many small reads near each other that may be of one time: what is read while pages are held is read by whole pages, and those not again
 * (/proc/PID/mem takes as long for 8 bytes as for 4096). What spans more than two pages, or lies where a whole page cannot be read, is read
 * as ever. `pages` is borrowed until the release; what was held before is not known any more.
 */
struct go_memory_pages *go_memory_pages_new(void);
struct go_memory_pages *go_memory_pages_free(struct go_memory_pages *pages);
void go_memory_hold(struct go_memory *memory, struct go_memory_pages *pages);
void go_memory_release(struct go_memory *memory);
