/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * .gnu_debugdata: an ELF file within an executable, packed with xz, of what its symbol table and .debug_frame were before it
 * was stripped (Fedora's MiniDebugInfo; https://sourceware.org/gdb/current/onlinedocs/gdb/MiniDebugInfo.html).
 *
 * Foreign bytes: bounded in size and memory.
 */
#include "elf_image.h"

struct minidebug {
	struct elf_image *image;             /* NULL: there is none */
	void *bytes;
};

/* 0, also when there is none or it is no good: ret->image tells; -ENOMEM. */
int minidebug_open(const struct elf_image *image, struct minidebug *ret);
void minidebug_close(struct minidebug *minidebug);

/* Limits, with reasons. */
#define MINIDEBUG_MAX_SIZE (UINT64_C(64) << 20)     /* unpacked: libLLVM's has 10 MiB */
