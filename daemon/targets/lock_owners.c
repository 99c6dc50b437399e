/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_owners.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

/* Its exit status; -ETIMEDOUT when it had to be ended. */
static int wait_for_end(pid_t helper, int most_msec)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, helper, 0);
	struct pollfd ended = { .fd = fd, .events = POLLIN };
	bool is_late = fd < 0 || poll(&ended, 1, most_msec) <= 0;
	int status;

	if (is_late)
		kill(helper, SIGKILL);
	/* Whoever waits for a page can be killed. */
	while (waitpid(helper, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (is_late || !WIFEXITED(status))
		return -ETIMEDOUT;
	return -WEXITSTATUS(status);
}

int lock_owners_read(uint32_t pid, const uint64_t *locks, size_t n, int most_msec, uint32_t *ret_owners)
{
	struct report *report;
	uint32_t n_read;
	pid_t helper;
	int r;

	n = MIN(n, (size_t)LOCK_OWNERS_MAX);
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		return -errno;
	helper = fork();
	if (helper == 0)
		help(pid, locks, n, report);
	r = helper < 0 ? -errno : wait_for_end(helper, most_msec);
	n_read = MIN(__atomic_load_n(&report->n, __ATOMIC_ACQUIRE), (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		ret_owners[i] = i < n_read ? report->owners[i] : 0;
	munmap(report, sizeof(*report));
	return r == -ESRCH ? PROCESS_E_GONE : r;
}
