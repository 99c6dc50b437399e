/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Jitdump files made by hand, as a runtime writes them. */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "main.h"

enum { MADE_JIT_LOAD, MADE_JIT_MOVE, MADE_JIT_LINES, MADE_JIT_CLOSE, MADE_JIT_UNWINDING };

struct made_jitdump {
	uint8_t bytes[1 << 16];
	size_t size;
};

struct made_jit_line {
	uint64_t address;
	uint32_t line;
	const char *file;
};

static inline void made_jit_put(struct made_jitdump *dump, const void *bytes, size_t size)
{
	ck_assert_uint_le(size, sizeof(dump->bytes) - dump->size);
	memcpy(dump->bytes + dump->size, bytes, size);
	dump->size += size;
}

static inline void made_jit_u32(struct made_jitdump *dump, uint32_t value)
{
	made_jit_put(dump, &value, sizeof(value));
}

static inline void made_jit_u64(struct made_jitdump *dump, uint64_t value)
{
	made_jit_put(dump, &value, sizeof(value));
}

/* `reserved` tells V8. */
static inline void made_jit_begin(struct made_jitdump *dump, uint32_t reserved)
{
	dump->size = 0;
	made_jit_u32(dump, 0x4a695444);
	made_jit_u32(dump, 1);
	made_jit_u32(dump, 40);
	made_jit_u32(dump, EM_X86_64);
	made_jit_u32(dump, reserved);
	made_jit_u32(dump, 4711);
	made_jit_u64(dump, 1);
	made_jit_u64(dump, 0);
}

static inline void made_jit_prefix(struct made_jitdump *dump, uint32_t type, size_t body)
{
	made_jit_u32(dump, type);
	made_jit_u32(dump, (uint32_t)(16 + body));
	made_jit_u64(dump, 2);
}

/* The code itself is filled with int3. */
static inline void made_jit_load(struct made_jitdump *dump, uint64_t index, uint64_t address, uint32_t size, const char *name)
{
	made_jit_prefix(dump, MADE_JIT_LOAD, 40 + strlen(name) + 1 + size);
	made_jit_u64(dump, 0);
	made_jit_u64(dump, address);
	made_jit_u64(dump, address);
	made_jit_u64(dump, size);
	made_jit_u64(dump, index);
	made_jit_put(dump, name, strlen(name) + 1);
	for (uint32_t i = 0; i < size; i++)
		made_jit_put(dump, "\xcc", 1);
}

static inline void made_jit_move(struct made_jitdump *dump, uint64_t index, uint64_t from, uint64_t to, uint64_t size)
{
	made_jit_prefix(dump, MADE_JIT_MOVE, 48);
	made_jit_u64(dump, 0);
	made_jit_u64(dump, to);
	made_jit_u64(dump, from);
	made_jit_u64(dump, to);
	made_jit_u64(dump, size);
	made_jit_u64(dump, index);
}

static inline void made_jit_lines(struct made_jitdump *dump, uint64_t address, const struct made_jit_line *lines, size_t n)
{
	size_t size = 16;

	for (size_t i = 0; i < n; i++)
		size += 16 + strlen(lines[i].file) + 1;
	made_jit_prefix(dump, MADE_JIT_LINES, size);
	made_jit_u64(dump, address);
	made_jit_u64(dump, n);
	for (size_t i = 0; i < n; i++) {
		made_jit_u64(dump, lines[i].address);
		made_jit_u32(dump, lines[i].line);
		made_jit_u32(dump, 0);
		made_jit_put(dump, lines[i].file, strlen(lines[i].file) + 1);
	}
}

static inline void made_jit_empty(struct made_jitdump *dump, uint32_t type)
{
	made_jit_prefix(dump, type, 0);
}
