/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names Go code by Go's own function table, as the Go runtime itself would: the names, files and lines of
 * runtime.CallersFrames, and its inlined calls. Ask it before DWARF: it is there in stripped programs, is exact, and
 * says "not mine" for the C code of a cgo program.
 */
#include "elf_image.h"
#include "resolve.h"

/* 0; RESOLVE_E_NONE when there is no Go in the file; -errno. */
int resolve_go_open(const struct elf_image *image, struct resolver *ret);
