/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The symbolizer's own life: confined first, then one answer for each question until its owner hangs up. */

/* The socket's other end is a symbolizer_process. Returns the exit status: 0 when the owner hung up. */
int symbolizer_child_run(int socket);
