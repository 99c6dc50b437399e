/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The symbolizer's own life: confined first, then one answer for each question until its owner hangs up. */

/* The socket's other end is a symbolizer_process. Does not return: ends the process, 0 when the owner hung up. */
_Noreturn void symbolizer_child_run(int socket);
