/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_owners.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "futex_wait.h"
#include "helper.h"
#include "privileges.h"
#include "process.h"

enum { MOST_SEC = 2 };                       /* of the helper, should we end before it */

/* Shared with the helper: what it found so far is there even if it is ended. */
struct report {
	uint32_t n;
	uint32_t owners[LOCK_OWNERS_MAX];
};

static _Noreturn void help(uint32_t pid, const uint64_t *locks, size_t n, struct report *report)
{
	int r;

	helper_begin(NULL, 0, MOST_SEC);
	r = privileges_keep_ptrace();
	for (size_t i = 0; i < n && r >= 0; i++) {
		uint32_t owner = 0;

		r = futex_read_owner(pid, locks[i], &owner);
		/* Memory that is not there any more says nothing of the other locks. */
		r = r == -EFAULT ? 0 : r > 0 ? -ESRCH : r;
		report->owners[i] = owner;
		__atomic_store_n(&report->n, (uint32_t)i + 1, __ATOMIC_RELEASE);
	}
	_exit(r < 0 ? -r : 0);
}

int lock_owners_read(uint32_t pid, const uint64_t *locks, size_t n, int most_msec, uint32_t *ret_owners)
{
	_cleanup_(helper_deinit) struct helper helper = HELPER_NONE;
	struct report *report;
	uint32_t n_read;
	pid_t child;
	int r;

	n = MIN(n, (size_t)LOCK_OWNERS_MAX);
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		return -errno;
	child = fork();
	if (child == 0)
		help(pid, locks, n, report);
	r = helper_watch(&helper, child);
	if (r >= 0) {
		helper_has_ended(&helper, most_msec);
		r = helper_finish(&helper);
	}
	n_read = MIN(__atomic_load_n(&report->n, __ATOMIC_ACQUIRE), (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		ret_owners[i] = i < n_read ? report->owners[i] : 0;
	munmap(report, sizeof(*report));
	return r == -ESRCH ? PROCESS_E_GONE : r;
}
