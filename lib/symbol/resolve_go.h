/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names Go code by Go's own function table, as the profiles of its own runtime do (runtime/pprof/proto.go emitLocation, Go
 * 1.26.8), so that both can be compared, merged and given to the compiler: names are whole symbol names, with the type
 * arguments of generics that tracebacks and pprof show as "[...]"; inlined calls are expanded; wrappers are left out. Lines
 * are those of runtime.CallersFrames; the file is that of the function.
 *
 * Ask it before DWARF: it is there in stripped programs, is exact, and says "not mine" for the C code of a cgo program.
 */
#include "elf_image.h"
#include "resolve.h"

/* 0; RESOLVE_E_NONE when there is no Go in the file; -errno. */
int resolve_go_open(const struct elf_image *image, struct resolver *ret);
