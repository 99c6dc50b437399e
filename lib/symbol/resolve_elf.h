/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names from ELF symbol tables: .symtab of the file or its debug file, .dynsym, the table inside .gnu_debugdata
 * ("mini debug information"), and stubs of the procedure linkage table as name@plt. Functions only, no lines.
 *
 * Of several symbols at one address the choice is the same in every run: functions before labels, exported before local
 * names, fewer leading underscores, strong before weak, shorter, alphabetical.
 */
#include <stdbool.h>

#include "elf_image.h"
#include "resolve.h"

/* debug: the separate debug file or NULL; both outlive the resolver. RESOLVE_E_NONE when neither has any symbol table. */
int resolve_elf_open(const struct elf_image *image, const struct elf_image *debug, struct resolver *ret);

/*
 * The same for variables: symbols of objects, with a size, in memory that may be written. No stubs and no .gnu_debugdata,
 * which has functions only. Thread-local ones have no address of their own.
 */
int resolve_elf_open_data(const struct elf_image *image, const struct elf_image *debug, struct resolver *ret);

/* Whether there is a variable at this address, and where it begins; of resolve_elf_open_data(). */
bool resolve_elf_variable(const struct resolver *resolver, uint64_t address, uint64_t *ret_start);

/* The linker's name of the function symbol that starts exactly there, or NULL; lives as long as the resolver. */
const char *resolve_elf_symbol(const struct resolver *resolver, uint64_t address);
