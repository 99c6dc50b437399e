/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Whether an executable was made by Go's linker: then what its threads do says little, and its goroutines say it. Told by
 * the build information that the linker puts into the writable data, at a multiple of 16 bytes: "\xff Go buildinf:"
 * (cmd/link/internal/ld/data.go, debug/buildinfo/buildinfo.go; since Go 1.13). It stays when the program is stripped.
 */
#include <stdbool.h>

/* `fd`: the file, borrowed. False also when it is no 64-bit ELF file, or cannot be read. Reads some megabytes at most. */
bool go_program_is(int fd);

/* Likewise of a 32-bit ELF file, whose runtime we do not understand: false of one of 64 bits. */
bool go_program_is_of_32_bits(int fd);
