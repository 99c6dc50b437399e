/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Names for people from names for linkers: C++ (Itanium ABI), Rust (legacy and v0). By libiberty, as binutils does it. */
#include <stddef.h>

/* What a demangled name may grow to: a mangled one of 200 bytes can stand for gigabytes. Beyond, it counts as not mangled. */
#define DEMANGLE_MAX 16384U

/*
 * Writes the demangled form, terminated, and returns its length; 0 when the name is not mangled, or is mangled so badly
 * or so deeply that it is best shown as it is.
 */
size_t demangle(const char *mangled, char ret[static DEMANGLE_MAX]);
