/* SPDX-License-Identifier: Apache-2.0 */
#include "helper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"

static void close_all_but(const int *kept, size_t n)
{
	for (int first = 0;;) {
		int next = INT32_MAX;

		for (size_t i = 0; i < n; i++)
			if (kept[i] >= first && kept[i] < next)
				next = kept[i];
		if (next > first)
			close_range((unsigned int)first, next == INT32_MAX ? ~0U : (unsigned int)next - 1, 0);
		if (next == INT32_MAX)
			return;
		first = next + 1;
	}
}

void helper_begin(const int *kept, size_t n, unsigned int most_sec)
{
	sigset_t alarm_set;

	close_all_but(kept, n);
	sigemptyset(&alarm_set);
	sigaddset(&alarm_set, SIGALRM);
	signal(SIGALRM, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &alarm_set, NULL);
	alarm(most_sec);
}

int helper_watch(struct helper *helper, pid_t pid)
{
	int r;

	*helper = HELPER_NONE;
	if (pid < 0)
		return -errno;
	helper->pid = pid;
	helper->fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (helper->fd >= 0)
		return 0;
	r = -errno;
	helper_finish(helper);
	return r;
}

void helper_deinit(struct helper *helper)
{
	helper_leave(helper);
	close_fd(helper->fd);
	*helper = HELPER_NONE;
}

bool helper_has_ended(const struct helper *helper, int most_msec)
{
	struct pollfd ended = { .fd = helper->fd, .events = POLLIN };

	return helper->fd >= 0 && poll(&ended, 1, most_msec) == 1;
}

int helper_finish(struct helper *helper)
{
	bool was_late = !helper_has_ended(helper, 0);
	pid_t pid = helper->pid;
	int status;

	if (was_late)
		kill(pid, SIGKILL);
	helper->pid = 0;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status))
		return -WEXITSTATUS(status);
	return was_late || WTERMSIG(status) == SIGALRM ? -ETIMEDOUT : -EIO;
}

void helper_kill(struct helper *helper)
{
	if (helper->pid)
		kill(helper->pid, SIGKILL);
	helper_leave(helper);
}

void helper_leave(struct helper *helper)
{
	if (helper->pid)
		waitpid(helper->pid, NULL, WNOHANG);
	helper->pid = 0;
}
