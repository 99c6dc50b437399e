/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * CPU time that the machine wanted and did not have, because the hypervisor gave its CPUs to others ("steal": /proc/stat,
 * proc(5)). 0 on machines that are none, or whose hypervisor does not tell.
 */
#include <stdint.h>

/* Of all CPUs since boot, in steps of a tick of the kernel's statistics (10 ms); 0 where it is not told. It may go back when a CPU goes. */
uint64_t stolen_nsec(void);

/* Of the text of /proc/stat. */
uint64_t stolen_parse(const char *text);
