/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is known of code that nothing describes: the stubs of a PLT (not all linkers describe them), the entry point, and
 * the pieces of assembly in C libraries where a stack begins or where a signal handler returns to. They are told by their
 * bytes, so a file without symbols is no worse off.
 */
#include <stdint.h>

#include "elf_image.h"
#include "unwind_table.h"

/* Is told file offsets [start, end) and their rule. */
typedef int (*unwind_code_add)(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule);

/* All of them stop with what add() returns when that is not 0. 0 otherwise. */

/* The sections .plt, .plt.got, .plt.sec, .iplt. */
int unwind_code_plt(const struct elf_image *image, unwind_code_add add, void *userdata);
/* The entry point: it has no caller. */
int unwind_code_entry(const struct elf_image *image, unwind_code_add add, void *userdata);
/*
 * Where a function that makecontext(3) was given returns to: glibc's __start_context, and the byte before it, since it was
 * not called (sysdeps/unix/sysv/linux/x86_64/__start_context.S, as it is since 2.28). Its CFI does not say that the stack
 * begins there.
 */
int unwind_code_contexts(const struct elf_image *image, unwind_code_add add, void *userdata);
/* Looks for signal trampolines and for where a thread begins among the file's bytes [start, end). */
int unwind_code_stubs(const struct elf_image *image, uint64_t start, uint64_t end, unwind_code_add add, void *userdata);
