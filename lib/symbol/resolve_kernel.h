/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names of kernel code from /proc/kallsyms (or a file like it): functions only; a module's name, "[ext4]", goes where a
 * file would. Kept small, for there are some 200,000: 16 bytes and the name each.
 */
#include "resolve.h"

/* Reads the descriptor to its end. RESOLVE_E_NONE when it has no function, or all addresses are 0 (CAP_SYSLOG is missing). */
int resolve_kernel_open(int fd, struct resolver *ret);
