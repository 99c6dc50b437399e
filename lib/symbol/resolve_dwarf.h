/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names, files, lines and inlined functions from DWARF 2 to 5, with libdw. What is read is what is asked for: the
 * address ranges of all units at the first question, then of a unit its functions and its line table.
 *
 * Chosen to agree with addr2line of binutils: the linkage name wins over the name; of several functions that hold an
 * address that with the shortest range does; of several lines at one address the last. Where there is no linkage name
 * (GCC's lambdas, inlined) the name is told with its scopes, "main::{lambda}::operator()", and system_name without.
 *
 * Not read: split units (.dwo, .dwp), which lie in files that nobody passes.
 */
#include "elf_image.h"
#include "resolve.h"

/*
 * image: the one with the DWARF; supplement: its dwz supplement or NULL; symbols: a resolver of resolve_elf, which knows
 * the linkage name of functions whose DWARF lacks it, or NULL. All outlive the resolver. RESOLVE_E_NONE: no DWARF, or
 * its compressed sections are beyond the limits.
 */
int resolve_dwarf_open(const struct elf_image *image, const struct elf_image *supplement, const struct resolver *symbols,
		struct resolver *ret);

/* Whether the image has DWARF of its own; costs nothing. */
bool resolve_dwarf_is_in(const struct elf_image *image);
