/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Who has the locks of a process, read from its memory. A process can make that last as long as it likes (userfaultfd(2), pages
 * of a file system of its own), so a helper reads, and is ended when it takes too long.
 */
#include <stddef.h>
#include <stdint.h>

enum {
	LOCK_OWNERS_MAX = 4096,              /* locks at a time */
};

/*
 * The thread that has the lock at each address, as its process counts threads (futex_wait.h), or 0: nobody has it, it does not say, or
 * it could not be read in time. A thousand take a millisecond and the helper's start one; the caller is held up for most_msec
 * at most. 0; PROCESS_E_GONE (process.h); -ETIMEDOUT when not all were read; -errno.
 */
int lock_owners_read(uint32_t pid, const uint64_t *locks, size_t n, int most_msec, uint32_t *ret_owners);
